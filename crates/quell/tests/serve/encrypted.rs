//! A store with a key, from outside: nothing that names anybody lies on its disk in clear, another
//! key is told before anything is written, and a changed key opens what was there before.

use quell_lab::attack;
use serde_json::{Value, json};

use crate::common::{self, Folder, until};

const BEARER: &str = "invented-bearer-secret";
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f";

const SETTINGS: &str = r#"
[[source]]
name = "okta"
bearer = ["file:okta.token"]

[store]
key = "file:store.key"
"#;

/// True when a text lies in any file of the store.
fn on_disk(folder: &Folder, text: &str) -> bool {
    let files = std::fs::read_dir(folder.dir().join("store")).unwrap();
    files
        .map(|file| std::fs::read(file.unwrap().path()).unwrap())
        .any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_key_shows_nobody_and_opens_with_it_alone() {
    let company = quell_lab::company();
    let alice = company.person("alice").unwrap();
    let folder = Folder::init().await;
    folder.settings(SETTINGS);
    folder.secret("okta.token", BEARER);
    folder.secret("store.key", KEY);
    folder.secret("next.key", OTHER);
    folder.know("store.key as hexadecimal", "000102030405060708090a0b0c0d0e0f1011121314");
    folder.write("directory.json", &json!([common::entry(alice, &["human"], &[])]).to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    let checked = folder.quell(&["check", "--json"]).await.json();
    assert!(!checked.to_string().contains("the store has no key"), "{checked}");
    let serve = folder.serve().await;
    let event = attack::sign_in(alice, &alice.usual, common::now()).unwrap();
    serve.accept("okta", BEARER, &json!([event])).await;
    serve.accept("okta", BEARER, &json!([event])).await;
    let records = serve.get("/v1/records").await;
    assert!(records.to_string().contains("directory_imported"), "{records}");
    serve.stop().await;
    assert!(on_disk(&folder, "directory_imported"), "the search finds nothing");
    for text in [&alice.address, &alice.identity.key, "user.session.start"] {
        assert!(!on_disk(&folder, text), "`{text}` lies on the disk in clear");
    }
    // Offline, by the key that is named or the one of the folder.
    let store = folder.dir().join("store");
    let (store, public) = (store.to_str().unwrap(), folder.dir().join("key.pub"));
    let (bundle, public) = (folder.beside("one.bundle"), public.to_str().unwrap().to_owned());
    let export = ["evidence", "export", &bundle, "--store", store, "--key", &public];
    folder.quell(&export).await.good();
    folder.quell(&["evidence", "verify", &bundle, "--key", &public]).await.good();
    let whole = folder.dir();
    let against = ["replay", "--store", "--against", whole.to_str().unwrap(), "--json"];
    folder.quell(&["replay", "--store"]).await.good();
    folder.quell(&against).await.json();
    // Another key, then none: both told, nothing written, nothing lost.
    for (from, to, says) in [
        ("file:store.key", "file:next.key", "under another key than the one given"),
        ("key = \"file:next.key\"", "#no key", "is encrypted and no key was given"),
    ] {
        folder.edit("quell.toml", from, to);
        let told = folder.quell(&["serve"]).await.bad(1);
        assert!(told.contains("Q0003") && told.contains(says), "{told}");
        for command in [&["replay", "--store"][..], &against] {
            let told = folder.quell(command).await.bad(1);
            assert!(told.contains("frame `0` of tenant `default` cannot be read"), "{told}");
        }
    }
    folder.edit("quell.toml", "#no key", "key = \"file:store.key\"");
    let told = folder.quell(&["store", "rekey", "--to", "file:next.key", "--json"]).await.json();
    assert!(told.get("data_keys").and_then(Value::as_u64).unwrap() >= 2, "{told}");
    folder.quell(&["serve"]).await.bad(1);
    folder.edit("quell.toml", "file:store.key", "file:next.key");
    let serve = folder.serve().await;
    let rows = |records: &Value| records.as_array().unwrap().len();
    until("the records of before are there, and that of this start", async || {
        let again = serve.get("/v1/records").await;
        if rows(&again) > rows(&records) { Ok(()) } else { Err(again.to_string()) }
    })
    .await;
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_a_key_is_warned_of_and_a_bad_key_refused() {
    let folder = Folder::init().await;
    let told = folder.quell(&["check"]).await.good();
    assert!(told.contains("warning: quell.toml: the store has no key"), "{told}");
    let told = folder.quell(&["store", "rekey", "--to", "env:NOWHERE"]).await.bad(3);
    assert!(told.contains("the store has no key to be changed"), "{told}");
    folder.settings("\n[store]\nkey = \"file:store.key\"\n");
    folder.secret("store.key", "not-the-key-that-it-should-be");
    for command in [&["check"][..], &["serve"]] {
        let told = folder.quell(command).await.bad(3);
        assert!(told.contains("`file:store.key`: the store's key is not 32 bytes"), "{told}");
        assert!(!told.contains("not-the-key"), "{told}");
    }
}

//! A person is forgotten, from outside: who may ask, how it is asked, and that no file of the store
//! names her afterwards, while what was proved stays proved and the journal says what is gone.

use quell_lab::attack;
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{self, Folder};

const BEARER: &str = "invented-bearer-secret";
const APPROVER: &str = "invented-approver-token-0001";

const SETTINGS: &str = r#"
[[source]]
name = "okta"
bearer = ["file:okta.token"]
"#;

/// True when a text lies in any file of the store.
fn on_disk(folder: &Folder, text: &str) -> bool {
    let files = std::fs::read_dir(folder.dir().join("store")).unwrap();
    let mut files = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_forgotten_and_the_proof_stays() {
    let company = quell_lab::company();
    let (alice, bruno) = (company.person("alice").unwrap(), company.person("admin").unwrap());
    let account = alice.account().unwrap();
    let login = account.login.clone().unwrap();
    let folder = Folder::init().await;
    folder.settings(SETTINGS);
    folder.secret("okta.token", BEARER);
    folder.token("carla.moretti@example.com", "approver", APPROVER);
    let people = [common::entry(alice, &["human"], &[]), common::entry(bruno, &["human"], &[])];
    folder.write("directory.json", &json!(people).to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    let serve = folder.serve().await;
    let event = |person| {
        attack::sign_in(person, &company.person("alice").unwrap().usual, common::now()).unwrap()
    };
    serve.accept("okta", BEARER, &json!([event(alice), event(bruno)])).await;
    serve.accept("okta", BEARER, &json!([event(alice)])).await;
    let public = folder.dir().join("key.pub").to_str().unwrap().to_owned();
    let (before, after) = (folder.beside("before.bundle"), folder.beside("after.bundle"));
    folder.quell(&["evidence", "export", &before]).await.good();
    assert!(on_disk(&folder, &account.id), "the search finds nothing");

    let body = json!({ "who": login, "why": "asked on paper" });
    let denied = serve.control(Method::POST, "/v1/erasures", APPROVER).json(&body);
    assert_eq!(serve.send(denied).await.0, 403);
    let ask = ["evidence", "erase", &login];
    let told = folder.quell(&[&ask[..], &["--why", "asked on paper"]].concat()).await.bad(1);
    assert!(told.contains("there is no terminal to ask at"), "{told}");
    let named = [&ask[..], &["--yes", "--why", &login]].concat();
    let told = folder.quell(&named).await.bad(1);
    assert!(told.contains("the reason names the person"), "{told}");
    let nobody = ["evidence", "erase", "no-such-person@example.com", "--yes", "--why", "x"];
    let told = folder.quell(&nobody).await.bad(1);
    assert!(told.contains("the directory knows nobody by that name"), "{told}");

    // The ask that was refused for its reason is a frame that names her too.
    let done = [&ask[..], &["--yes", "--json", "--why", "asked on paper, art. 17"]].concat();
    let done = folder.quell(&done).await.json();
    let count = |at: &str| done.pointer(at).and_then(Value::as_u64).unwrap();
    assert_eq!((count("/erased/frames/count"), count("/erased/parts/count")), (2, 2), "{done}");
    assert_eq!(count("/erased/raw"), 2, "{done}");
    folder.quell(&["evidence", "export", &after]).await.good();
    for bundle in [&before, &after] {
        folder.quell(&["evidence", "verify", bundle, "--key", &public]).await.good();
    }
    serve.stop().await;
    for text in [&account.id, &login, &alice.address] {
        assert!(!on_disk(&folder, text), "`{text}` lies on the disk");
    }
    assert!(on_disk(&folder, &bruno.account().unwrap().id), "others stay");
    let lines = folder.quell(&["replay", "--store"]).await.lines();
    let erased = lines.iter().find(|line| line.get("type") == Some(&json!("erased"))).unwrap();
    assert_eq!(erased.pointer("/frames/count"), Some(&json!(2)), "{erased}");
    // The next life starts, and knows her no more.
    let serve = folder.serve().await;
    let records = serve.get("/v1/records?type=identity_erased").await;
    assert_eq!(records.as_array().unwrap().len(), 1);
    assert!(!records.to_string().contains(&account.id), "{records}");
    serve.stop().await;
}

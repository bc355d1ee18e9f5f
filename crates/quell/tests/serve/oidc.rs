//! The whole road against a provider that nobody here wrote: a person signs in, a click and a
//! foreign sign-in are told, and her token and refresh token are refused. It holds no rule.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quell_core::time::SECOND;
use quell_lab::attack::{self, Lure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::common::{self, Folder, PATIENCE, run, until};

const ADMIN_TOKEN: &str = "invented-oidc-admin-token";
const TAP_TOKEN: &str = "invented-tap-bearer-token";
const OKTA_TOKEN: &str = "invented-okta-bearer-token";

const SETTINGS: &str = r#"
[[source]]
name = "proofpoint_tap"
bearer = ["file:tap.token"]

[[source]]
name = "okta"
bearer = ["file:okta.token"]

[[target]]
provider = "corp"
kind = "oidc"
url = "@URL@"
token = "file:corp.token"
auth = "bearer"
end_sessions = { method = "DELETE", path = "/admin/users/{sub}/sessions", expected = [200] }
list_sessions = { path = "/admin/users/{sub}/sessions", pointer = "" }
quiet_ms = 500
"#;

/// npm's `oidc-provider` as a process of its own; it ends with its standard input.
struct Provider {
    _child: Child,
    url: String,
}

impl Provider {
    async fn start() -> Self {
        let mut child = Command::new("node")
            .args(["provider.mjs", "0", "--until-stdin-closes"])
            .current_dir(folder())
            .env("OIDC_ADMIN_TOKEN", ADMIN_TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            loop {
                let line = lines.next_line().await.unwrap().unwrap_or_else(|| {
                    panic!("the provider ended before it was ready");
                });
                if let Some(url) = line.strip_prefix("ready ") {
                    return url.to_owned();
                }
            }
        };
        let url = tokio::time::timeout(PATIENCE, ready).await;
        let url = url.unwrap_or_else(|_| panic!("waited for the provider to be ready"));
        Self { _child: child, url }
    }

    /// One step of a browser, an application or a resource.
    async fn flow(&self, step: &str, argument: &str) -> Value {
        let mut command = Command::new("node");
        command.args(["flow.mjs", step, argument]).current_dir(folder());
        run(command.env("OIDC_ISSUER", &self.url)).await.json()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/oidc")
}

/// Says on the real standard output why nothing was tested.
fn skipped(why: &str) {
    let line = format!("\nskipped: {why}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_click_and_a_foreign_sign_in_end_what_the_person_holds() {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        return skipped("node is not installed");
    }
    if !folder().join("node_modules").is_dir() {
        return skipped("tests/oidc is not installed");
    }
    story().await;
}

async fn story() {
    let provider = Provider::start().await;
    let company = quell_lab::company();
    let alice = company.person("alice").unwrap();
    let sub = alice.address.as_str();
    let quell = Folder::init().await;
    quell.settings(&SETTINGS.replace("@URL@", &provider.url));
    quell.secret("tap.token", TAP_TOKEN);
    quell.secret("okta.token", OKTA_TOKEN);
    quell.secret("corp.token", ADMIN_TOKEN);
    let person = common::entry(alice, &["human"], &[json!({ "provider": "corp", "id": sub })]);
    quell.write("directory.json", &json!([person]).to_string());
    quell.edit("quell.toml", "directory.csv", "directory.json");
    quell.quell(&["check"]).await.good();
    quell.arm().await;
    let serve = quell.serve().await;

    let login = provider.flow("login", sub).await;
    let text = |name: &str| login.get(name).unwrap().as_str().unwrap().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    for secret in [&access, &refresh] {
        quell.know("her token", secret);
    }
    let active = provider.flow("introspect", &access).await;
    assert_eq!(active.get("active"), Some(&json!(true)), "{active}");

    let at = common::now();
    let history = attack::sign_in_history(alice, at);
    serve.accept("okta", OKTA_TOKEN, &json!(history)).await;
    let clicked = at.plus(-20 * SECOND);
    let click = attack::click_permitted(alice, &Lure::default(), clicked, clicked.plus(SECOND));
    let click = attack::tap(&[click], &[], at.plus(-10 * SECOND));
    serve.accept("proofpoint_tap", TAP_TOKEN, &click).await;
    let active = provider.flow("introspect", &access).await;
    assert_eq!(active.get("active"), Some(&json!(true)), "after the click alone: {active}");
    let foreign = attack::sign_in(alice, &attack::attacker(), at.plus(-5 * SECOND)).unwrap();
    serve.accept("okta", OKTA_TOKEN, &json!([foreign])).await;

    until("her token introspects as inactive", async || {
        let seen = provider.flow("introspect", &access).await;
        if seen == json!({ "active": false }) { Ok(()) } else { Err(seen.to_string()) }
    })
    .await;
    let refused = provider.flow("refresh", &refresh).await;
    assert_eq!(refused.get("status"), Some(&json!(400)), "{refused}");
    let silent = provider.flow("silent", &text("cookie")).await;
    assert_eq!(silent.get("signed_in"), Some(&json!(false)), "{silent}");

    let order = serve.order_in("verified", "end_sessions", sub).await;
    let id = order.get("id").unwrap().as_str().unwrap();
    let told = quell.quell(&["explain", id]).await.good();
    assert!(told.lines().count() <= 10, "more than ten lines:\n{told}");
    for word in ["Phishing click followed by a sign-in", "end_sessions on corp:", "verified", id] {
        assert!(told.contains(word), "no `{word}` in:\n{told}");
    }
    let case = order.get("case").unwrap().as_str().unwrap();
    let told = quell.quell(&["explain", case]).await.good();
    assert!(told.lines().count() <= 10 && told.contains(id), "{told}");

    // She can sign in again: ending sessions locks nobody out.
    let again = provider.flow("login", sub).await;
    let again = again.get("access_token").unwrap().as_str().unwrap();
    let active = provider.flow("introspect", again).await;
    assert_eq!(active.get("active"), Some(&json!(true)), "{active}");

    evidence(&quell).await;
    serve.stop().await;
    quell.no_secret_leaked("end_sessions");
}

/// Exports and verifies; a changed byte fails with 5.
pub(crate) async fn evidence(quell: &Folder) {
    let (bundle, changed) = (quell.beside("evidence.bundle"), quell.beside("changed.bundle"));
    let key = quell.dir().join("key.pub");
    let key = key.to_str().unwrap();
    quell.quell(&["evidence", "export", &bundle]).await.good();
    let seen = quell.quell(&["evidence", "verify", &bundle, "--key", key, "--json"]).await.json();
    assert_eq!(seen.get("verified"), Some(&json!(true)), "{seen}");
    assert!(seen.get("records").and_then(Value::as_u64).unwrap() > 0, "{seen}");
    let bytes = std::fs::read(&bundle).unwrap();
    for at in [0, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let mut other = bytes.clone();
        *other.get_mut(at).unwrap() ^= 1;
        std::fs::write(&changed, &other).unwrap();
        let ran = quell.quell(&["evidence", "verify", &changed, "--key", key]).await;
        assert!(ran.bad(5).contains("Q0006"), "byte {at}");
    }
}

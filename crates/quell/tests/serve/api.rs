//! The description against the running program: schemathesis calls both listeners by it, and finds
//! no answer that it does not describe. Knows no route itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use quell_lab::attack;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::common::{self, Folder, Serve, until};

const OKTA: &str = "invented-okta-bearer-token";

const SETTINGS: &str = r#"
[[source]]
name = "okta"
bearer = ["file:okta.token"]
requests_per_second = 100000
"#;

/// Calls for each operation, about 1,100 in all, unless `QUELL_API_CALLS` names another number:
/// with 1100 it is more than 10,000 in all, in some ten minutes.
const CALLS: &str = "60";
/// How long the tool may take for one listener.
const LONG: Duration = Duration::from_secs(3600);

fn say(line: &str) {
    drop(std::io::stdout().write_all(format!("\n{line}\n").as_bytes()));
}

/// Where `./test` installs it: beside what cargo builds.
fn tool() -> Option<PathBuf> {
    let target = PathBuf::from(common::quell()).ancestors().nth(2)?.to_path_buf();
    Some(target.join("tools/api/bin/schemathesis")).filter(|tool| tool.exists())
}

/// What the tool cannot know: a source that is there, an order and its record.
fn knowledge(order: &str) -> String {
    let operation = |name: &str, parameter: &str, value: &str| {
        format!(
            "[[operations]]\ninclude-name = \"{name}\"\nparameters = {{ \"path.{parameter}\" = \
             \"{value}\" }}\n"
        )
    };
    let mut text = operation("POST /v1/sources/{name}", "name", "okta");
    text += &operation("GET /v1/explain/{id}", "id", order);
    for verb in ["approve", "deny", "undo"] {
        text += &operation(&format!("POST /v1/orders/{{id}}/{verb}"), "id", order);
    }
    text
}

/// Calls one listener; gives how many calls there were.
async fn called(serve: &Serve<'_>, tool: &PathBuf, listener: &str, token: &str) -> u64 {
    let folder = serve.folder;
    let address = if listener == "intake" { &serve.intake } else { &serve.control };
    let calls = std::env::var("QUELL_API_CALLS").unwrap_or(CALLS.to_owned());
    let description = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let config = folder.beside("schemathesis.toml");
    let mut command = Command::new(tool);
    command
        .args(["--config-file", &config, "run", description, "--no-color", "--warnings", "off"])
        .args(["--url", &format!("http://{address}"), "--include-tag", listener])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", &calls])
        .args(["--seed", "20261125", "--continue-on-failure"])
        .current_dir(folder.beside(""))
        .env("NO_PROXY", "127.0.0.1")
        .kill_on_drop(true);
    let ran = tokio::time::timeout(LONG, command.output()).await.unwrap().unwrap();
    let told = String::from_utf8_lossy(&ran.stdout).into_owned();
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{listener}: {told}\n{errors}");
    let generated = told.split(" generated").next().unwrap();
    let calls = generated.rsplit(char::is_whitespace).next().unwrap();
    say(&format!("{listener}: {calls} calls"));
    calls.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_listeners_answer_as_they_are_described() {
    let Some(tool) = tool() else {
        return say("skipped: schemathesis is not installed, ./test does that");
    };
    let company = quell_lab::company();
    let folder = Folder::init().await;
    folder.settings(SETTINGS);
    folder.secret("okta.token", OKTA);
    let rates = "[listen]\nrequests_per_token = 100000\nrequests_per_stranger = 100000\n";
    folder.edit("quell.toml", "[listen]\n", rates);
    let people = json!([common::entry(company.person("alice").unwrap(), &["human"], &[])]);
    folder.write("directory.json", &people.to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    let serve = folder.serve().await;
    let alice = company.person("alice").unwrap();
    let leaked = attack::breached_credential(alice, &attack::attacker(), common::now()).unwrap();
    serve.accept("okta", OKTA, &leaked).await;
    let account = &alice.account().unwrap().id;
    let order = until("there is an order", async || {
        let order = serve.order("end_sessions", account).await.ok_or("none".to_owned())?;
        Ok(order.get("id").and_then(Value::as_str).unwrap().to_owned())
    })
    .await;
    std::fs::write(folder.beside("schemathesis.toml"), knowledge(&order)).unwrap();
    let admin = folder.read("admin.token");
    let mut calls = called(&serve, &tool, "control", admin.trim()).await;
    calls += called(&serve, &tool, "intake", OKTA).await;
    let figures = serve.figures(admin.trim()).await;
    let mut counted = 0.0;
    let mut table = String::new();
    for (name, count) in figures.iter().filter(|(name, _)| name.starts_with("quell_requests")) {
        assert!(!name.contains("status=\"5"), "{name}: {count}");
        counted += count;
        table += &format!("{name} {count}\n");
    }
    say(&table);
    assert!(calls > 500 && counted > 500.0, "{calls} calls, {counted} counted");
    let (status, _) = serve.send(serve.source("okta").bearer_auth(OKTA).json(&json!([]))).await;
    assert_eq!(status, 202, "after all of that it still takes records in");
    serve.stop().await;
}

//! The commands by which authority is judged: `authority`, `authority why`, `authority test`,
//! `check` on what would lock executives out, `test` and `replay --against`. None needs an engine.

use std::collections::BTreeSet;

use expect_test::expect;
use serde_json::{Value, json};

use crate::common::{self, Folder};

/// The cells of a folder.
async fn cells(folder: &Folder) -> Vec<Value> {
    folder.quell(&["authority", "--json"]).await.json().as_array().unwrap().clone()
}

fn of<'a>(cells: &'a [Value], place: [&str; 4]) -> &'a Value {
    let names = ["source", "kind", "class", "action"];
    let same = |cell: &&Value| names.iter().zip(place).all(|(name, word)| cell[name] == word);
    cells.iter().find(same).unwrap_or_else(|| panic!("no cell {place:?}"))
}

const WALL: &str = r#"
@id("in-a-hurry")
@reason("somebody <b>wrote</b> it in a hurry")
permit (principal == Source::"proofpoint_tap", action == Action::"suspend", resource)
when {
  resource in [Class::"human", Class::"high_value"] &&
  context.kind == "credential_submitted"
};
"#;

/// Rules that ask for the most on everything.
const GREEDY: &str = "\
title: everything
id: 00000000-0000-4000-8000-000000000001
name: everything
status: test
logsource:
  product: quell
detection:
  selection:
    confidence|gte: 1
  condition: selection
level: high
quell:
  tier: evict
  confidence: 100
  subject: identity
  rationale: a rule author who wants the most
";

#[tokio::test]
async fn the_matrix_is_whole_and_rules_do_not_enter_it() {
    let folder = Folder::init().await;
    let all = cells(&folder).await;
    let names = |name: &str| -> BTreeSet<String> {
        all.iter().map(|cell| cell[name].as_str().unwrap().to_owned()).collect()
    };
    let packs: BTreeSet<String> = std::fs::read_dir(folder.dir().join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names("source"), packs);
    assert_eq!(names("class").len(), 10);
    assert_eq!(names("action").len(), 16);
    assert_eq!(all.len() % 160, 0);
    for cell in &all {
        let (decision, approvals) =
            (cell["decision"].as_str().unwrap(), cell["approvals"].as_u64());
        assert_eq!(decision == "approval", approvals > Some(0), "{cell}");
        assert_eq!(cell.as_object().unwrap().len(), 8, "{cell}");
        let outsider = ["phish_delivered", "sign_in_failed", "mfa_denied"];
        if outsider.iter().any(|kind| cell["kind"] == *kind) && cell["action"] != "watch" {
            assert_eq!(decision, "never", "{cell}");
        }
        if cell["class"] == "break_glass" {
            assert_eq!(decision, "never", "{cell}");
        }
    }
    let click = of(&all, ["proofpoint_tap", "url_click", "human", "end_sessions"]);
    assert_eq!(click["decision"], "autonomous");
    assert!(click["reasons"].as_array().unwrap().contains(&json!("if sources >= 2")), "{click}");
    let before = folder.quell(&["authority", "--json"]).await.good();
    for name in std::fs::read_dir(folder.dir().join("rules")).unwrap() {
        std::fs::remove_file(name.unwrap().path()).unwrap();
    }
    folder.write("rules/greedy.yml", GREEDY);
    assert_eq!(folder.quell(&["authority", "--json"]).await.good(), before);
}

#[tokio::test]
async fn a_table_and_a_page_are_for_people() {
    let folder = Folder::init().await;
    let table = folder.quell(&["authority"]).await.good();
    assert!(table.lines().all(|line| line.chars().count() <= 98), "{table}");
    let one = ["authority", "--source", "okta", "--kind", "sign_in", "--class", "high_value"];
    let told = folder.quell(&[&one[..], &["--action", "suspend"]].concat()).await.good();
    expect![[r#"
        okta sign_in on high_value: suspend 2 approvals
          evict-high-value-access: block the account for a day when two persons agree
          if finding_confidence >= 70
          if it has no anomaly attribution_weak
          only inside a correlation: stated as `fact`
          lasts at most 24 h
    "#]]
    .assert_eq(&told);
    let wrong = folder.quell(&["authority", "--kind", "sing_in"]).await.bad(1);
    expect![[r#"
        quell: Q0008: `sing_in` is no kind
          help: did you mean `sign_in`?
    "#]]
    .assert_eq(&wrong);
    folder.edit("policy/default.cedar", "watching hurts nobody", "<script>alert(1)</script> it");
    let page = folder.beside("authority.html");
    folder.quell(&["authority", "--html", &page]).await.good();
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; it"));
    for foreign in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(foreign), "the page holds `{foreign}`");
    }
}

#[tokio::test]
async fn one_cell_is_explained_with_file_and_line() {
    let folder = Folder::init().await;
    let why = ["authority", "why", "proofpoint_tap", "url_click", "high_value", "suspend"];
    let told = folder.quell(&why).await.good();
    assert!(told.contains("default.cedar:"), "{told}");
    assert!(told.contains("permit evict-high-value-click"), "{told}");
    let why = folder.quell(&[&why[..], &["--json"]].concat()).await.json();
    assert_eq!(why["cell"]["approvals"], 2);
    assert_eq!(why["permits"][0]["file"], "default.cedar");
    let never = ["authority", "why", "proofpoint_tap", "url_click", "human", "reset_password"];
    let told = folder.quell(&never).await.good();
    assert!(told.contains("no policy permits it"), "{told}");
    let unsaid = ["authority", "why", "okta", "url_click", "human", "watch"];
    let told = folder.quell(&unsaid).await.bad(1);
    assert!(told.contains("`okta` never states `url_click`"), "{told}");
}

#[tokio::test]
async fn a_mail_source_alone_may_not_suspend_an_executive() {
    let folder = Folder::init().await;
    folder.write("policy/own.cedar", WALL);
    let told = folder.quell(&["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          policy/own.cedar:2: `in-a-hurry` lets `proofpoint_tap` alone do `suspend` to `high_value` identities on `credential_submitted`, and nobody has to approve
            remedy: ask in it for a person, `context.approvals >= 1`, or for a second source, `context.sources >= 2`, or take these classes out
          help: correct the files and check again
    "#]]
    .assert_eq(&told);
    folder.edit("policy/own.cedar", "\n};", " &&\n  context.approvals >= 1\n};");
    folder.quell(&["check"]).await.good();
}

#[tokio::test]
async fn expectations_of_the_matrix_hold_or_say_what_is_so() {
    let folder = Folder::init().await;
    folder.write(
        "expected.yml",
        "version: 1\nexpect:\n  \
         - {source: \"*\", kind: \"*\", class: break_glass, action: \"*\", expect: never}\n  \
         - source: proofpoint_tap\n    kind: url_click\n    class: [human, privileged]\n    \
         action: evict\n    at_most: approval\n",
    );
    let file = folder.dir().join("expected.yml");
    let file = file.to_str().unwrap();
    let junit = folder.beside("junit.xml");
    let test = ["authority", "test", file, "--junit", &junit];
    expect![[r#"
        ok: 2 expectations hold
    "#]]
    .assert_eq(&folder.quell(&test).await.good());
    folder.edit("expected.yml", "at_most: approval", "expect: never");
    let ran = folder.quell(&test).await;
    assert!(
        ran.out.contains("proofpoint_tap url_click human suspend\n    - never\n    + 1 approval")
    );
    assert!(ran.bad(1).contains("Q0012: 1 of 2 expectations fail"));
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    folder.edit("expected.yml", "kind: url_click", "kind: url_clik");
    let told = folder.quell(&test).await.bad(1);
    assert!(
        told.contains("expected.yml:4: `url_clik` is no kind: did you mean `url_click`?"),
        "{told}"
    );
}

#[tokio::test]
async fn a_teams_tests_run_and_are_written_for_review() {
    let folder = Folder::init().await;
    expect![[r#"
        ok: 1 tests
    "#]]
    .assert_eq(&folder.quell(&["test"]).await.good());
    folder.edit("tests/breached_credential.yml", "approvals: 0", "approvals: 2");
    let junit = folder.beside("junit.xml");
    let ran = folder.quell(&["test", "--junit", &junit]).await;
    assert!(ran.out.contains("-     approvals: 2\n"), "{}", ran.out);
    assert!(ran.out.contains("+     approvals: 0\n"), "{}", ran.out);
    assert!(ran.bad(1).contains("Q0012: 1 of 1 tests fail"));
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains("failures=\"1\""), "{xml}");
    folder.quell(&["test", "--update"]).await.good();
    let written = folder.read("tests/breached_credential.yml");
    assert!(written.starts_with("# A first test"), "{written}");
    assert!(written.contains("    policies:\n"), "{written}");
    folder.quell(&["test"]).await.good();
    folder.quell(&["test", "--update"]).await.good();
    assert_eq!(folder.read("tests/breached_credential.yml"), written);
    let told = folder.quell(&["test", "--json"]).await.json();
    assert_eq!(told, json!({ "tests": 1, "written": 0, "failures": [] }));
}

#[tokio::test]
async fn what_another_policy_would_change_is_told_by_class_and_person() {
    let folder = Folder::init().await;
    let other = std::path::PathBuf::from(folder.beside("proposed"));
    std::fs::create_dir_all(other.join("policy")).unwrap();
    for entry in std::fs::read_dir(folder.dir().join("policy")).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("@id(\"contain-access\")", "@id(\"contain-access\")\n@ttl(\"2h\")");
        let name = entry.file_name();
        std::fs::write(other.join("policy").join(&name), text).unwrap();
    }
    folder.settings("\n[[source]]\nname = \"okta\"\nbearer = [\"file:okta.token\"]\n");
    folder.secret("okta.token", "invented-okta-secret");
    let records = folder.beside("okta.json");
    let record = json!({
        "uuid": "5f0c1e2a-0000-11f1-8000-000000000027", "published": common::now(),
        "eventType": "security.breached_credential.detected", "severity": "INFO",
        "actor": { "id": "00uALICE", "type": "User", "alternateId": "alice@example.com" },
        "client": { "ipAddress": "192.0.2.10" }, "outcome": { "result": "SUCCESS" },
        "target": [{ "id": "00uALICE", "type": "User", "alternateId": "alice@example.com" }],
    });
    std::fs::write(&records, record.to_string()).unwrap();
    let other = other.to_str().unwrap();
    let replay = ["replay", "--pack", "okta", &records, "--against", other];
    let told = folder.quell(&[&replay[..], &["--json"]].concat()).await.json();
    assert_eq!(told["gained"], json!([]));
    assert_eq!(told["lost"], json!([]));
    let changed = told["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{told}");
    assert_eq!(changed[0]["identity"], "E1001");
    assert_eq!(changed[0]["action"], "end_sessions");
    assert_eq!(changed[0]["from"]["decision"], "autonomous");
    assert_eq!(changed[0]["to"]["ttl"], "2h");
    assert_eq!(told["by_class"][0]["changed"], 1);
    let told = folder.quell(&replay).await.good();
    assert!(told.contains("1 changed, 1 people"), "{told}");
    // The same from the journal of a store.
    let serve = folder.serve().await;
    serve.accept("okta", "invented-okta-secret", &record).await;
    serve.stop().await;
    let store = ["replay", "--store", "--against", other];
    let told = folder.quell(&[&store[..], &["--json"]].concat()).await.json();
    let changed = told["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{told}");
    assert_eq!(changed[0]["from"]["decision"], "autonomous");
    assert_eq!(changed[0]["to"]["ttl"], "2h");
    let same = folder.dir();
    let same = ["replay", "--pack", "okta", &records, "--against", same.to_str().unwrap()];
    expect![[r#"
        no step differs
    "#]]
    .assert_eq(&folder.quell(&same).await.good());
}

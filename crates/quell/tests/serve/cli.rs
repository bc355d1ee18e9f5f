//! Commands that need no running engine: init, check, decode, replay, arm, and what the others say
//! when none runs. What is sent to providers is told in `people.rs`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use quell_core::time::SECOND;
use quell_lab::attack::{self, Lure};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::common::{self, Folder, Ran, run};

/// `quell` in a folder without a configuration.
async fn bare(folder: &Folder, arguments: &[&str]) -> Ran {
    let elsewhere = PathBuf::from(folder.beside(""));
    run(Command::new(common::quell()).args(arguments).current_dir(elsewhere)).await
}

/// The folder's own path is written as `DIR`.
fn plain(folder: &Folder, text: &str) -> String {
    text.replace(folder.dir().to_str().unwrap(), "DIR")
}

#[tokio::test]
async fn init_writes_a_folder_in_shadow_mode_that_checks() {
    let folder = Folder::init().await;
    let mode = |file: &str| {
        let meta = std::fs::metadata(folder.dir().join(file)).unwrap();
        format!("{file} {:o}\n", meta.permissions().mode() & 0o777)
    };
    expect![[r#"
        admin.token 600
        log.key 600
    "#]]
    .assert_eq(&(mode("admin.token") + &mode("log.key")));
    let token = folder.read("admin.token");
    assert!(!folder.read("quell.toml").contains(token.trim()), "the token stands in quell.toml");
    assert!(folder.read("policy/armed.toml").contains("mode = \"shadow\""));
    let told = folder.quell(&["check"]).await.good();
    expect![[r#"
        warning: quell.toml: the store has no key: whoever has its disk or a backup reads records and names
            remedy: write `[store]` with `key = "env:QUELL_STORE_KEY"`, see docs/store.md
        ok: 32 rules, 5 packs, 0 sources, 0 targets, 6 identities, mode shadow
    "#]]
    .assert_eq(&told);
    let checked = folder.quell(&["check", "--json"]).await.json();
    let without_key = |w: &Value| w.to_string().contains("the store has no key");
    let warnings = checked.get("warnings").and_then(Value::as_array).unwrap();
    assert!(warnings.len() == 1 && warnings.iter().all(without_key), "{checked}");
    assert_eq!(checked.get("problems"), Some(&json!([])));
    let again = bare(&folder, &["init", folder.dir().to_str().unwrap()]).await.bad(1);
    expect![[r#"
        quell: Q0008: `DIR/quell.toml` is there already
          help: name another folder
    "#]]
    .assert_eq(&plain(&folder, &again));
    assert_eq!(folder.read("admin.token"), token, "a second init changed the folder");
    let nowhere = bare(&folder, &["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: `./quell.toml` cannot be read: No such file or directory (os error 2)
          help: run `quell init DIR`, or name the folder with --config
    "#]]
    .assert_eq(&nowhere);
}

#[tokio::test]
async fn check_names_file_line_and_remedy() {
    let rule = "rules/breached_credential_used.yml";
    let wrong = async |file: &str, from: &str, to: &str, want: Expect| {
        let folder = Folder::init().await;
        folder.edit(file, from, to);
        let told = folder.quell(&["check"]).await.bad(3);
        want.assert_eq(&plain(&folder, &told));
        let json = folder.quell(&["check", "--json"]).await;
        assert_eq!(json.code, Some(3), "{json:?}");
        let serve = folder.quell(&["serve"]).await.bad(3);
        let first = |text: &str| text.lines().take(2).collect::<Vec<_>>().join("\n");
        assert_eq!(first(&serve), first(&told), "`serve` says something else");
    };
    wrong(rule, "credential_leaked", "credential_leakd", expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          rules/breached_credential_used.yml:22: unknown value `credential_leakd`: did you mean `credential_leaked`?
          help: correct the files and check again
    "#]]).await;
    wrong(rule, "condition: selection", "condition: selektion", expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          rules/breached_credential_used.yml:25: the condition names `selektion`, which is no selection of this rule
            remedy: did you mean `selection`?
          help: correct the files and check again
    "#]]).await;
    wrong(
        rule,
        "tier: contain",
        "teir: contain",
        expect![[r#"
        quell: Q0001: 3 problem(s) in the configuration:
          rules/breached_credential_used.yml:30: unknown key `teir`
            remedy: did you mean `tier`?
          rules/breached_credential_used.yml:31: `confidence` has no effect here
            remedy: add `tier` if the rule should ask for a response, else remove it
          rules/breached_credential_used.yml:32: `subject` has no effect here
            remedy: add `tier` if the rule should ask for a response, else remove it
          help: correct the files and check again
    "#]],
    )
    .await;
    wrong(
        "policy/default.cedar",
        "confidence >= 60",
        "confidence >= \"60\"",
        expect![[r#"
            quell: Q0001: 3 problem(s) in the configuration:
              policy/default.cedar:24: `challenge-lure`: unexpected type: expected Long but saw String
                remedy: compare with quell.cedarschema
              policy/default.cedar:40: `challenge-access`: unexpected type: expected Long but saw String
                remedy: compare with quell.cedarschema
              policy/default.cedar:56: `challenge-beside-access`: unexpected type: expected Long but saw String
                remedy: compare with quell.cedarschema
              help: correct the files and check again
        "#]],
    )
    .await;
    let open = "@id(\"own\")\n@reason(\"r\")\n\
                permit (principal, action == Action::\"suspend\", resource);\n\n@id(\"observe\")";
    wrong("policy/default.cedar", "@id(\"observe\")", open, expect![[r#"
        quell: Q0001: 3 problem(s) in the configuration:
          policy/default.cedar:8: a permit for contain or evict that leaves the class open
            remedy: name it: `resource in Class::"human"` in the scope, or `resource in [Class::"human"]` in `when`
          policy/default.cedar:8: a permit for contain or evict that leaves the kind open
            remedy: name it in `when`: `["url_click"].contains(context.kind)`
          policy/default.cedar:8: a permit for contain or evict that leaves the source open
            remedy: name it: `principal == Source::"okta"` in the scope, or `[Source::"okta"].contains(principal)` in `when`
          help: correct the files and check again
    "#]]).await;
    wrong(
        "policy/limits.toml",
        "max = 100",
        "max = \"100\"",
        expect![[r#"
            quell: Q0001: 1 problem(s) in the configuration:
              policy/limits.toml:35: invalid type: string "100", expected i64
                remedy: see docs/authority.md for the form of this file
              help: correct the files and check again
        "#]],
    )
    .await;
    wrong(
        "policy/armed.toml",
        "mode = \"shadow\"",
        "mode = \"armd\"",
        expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          policy/armed.toml:5: `armd` is not a known mode
            remedy: did you mean `armed`?
          help: correct the files and check again
    "#]],
    )
    .await;
    wrong(
        "quell.toml",
        "tenant = \"default\"",
        "tenant = default",
        expect![[r#"
        quell: Q0001: DIR/quell.toml:5: string values must be quoted, expected literal string
          help: compare with the commented file that `quell init` writes
    "#]],
    )
    .await;
    wrong("quell.toml", "merge_delay_ms", "merge_delay_s", expect![[r#"
        quell: Q0001: DIR/quell.toml:47: unknown field `merge_delay_s`, expected `key` or `merge_delay_ms`
          help: compare with the commented file that `quell init` writes
    "#]]).await;
    wrong(
        "packs/okta/pack.yml",
        "version: 1",
        "version: 1\nkeey: 2",
        expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          packs/okta/pack.yml:4: unknown key `keey`
            remedy: did you mean `key`?
          help: correct the files and check again
    "#]],
    )
    .await;
}

#[tokio::test]
async fn check_knows_sources_secrets_and_people() {
    let folder = Folder::init().await;
    folder.secret("tap.token", "an-invented-secret-of-tap");
    // Rules may name a source that is not configured: it is a pack that Quell ships.
    folder.settings("\n[[source]]\nname = \"proofpoint_tap\"\nbearer = [\"file:tap.token\"]\n");
    folder.quell(&["check"]).await.good();
    folder.settings("\n[[source]]\nname = \"sso\"\npack = \"octa\"\nbearer = [\"env:NO_SUCH\"]\n");
    let told = folder.quell(&["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: 2 problem(s) in the configuration:
          quell.toml:120: the environment variable `NO_SUCH` is not set
            remedy: set it before starting, or use `file:PATH`
          quell.toml:119: there is no pack `octa`
            remedy: did you mean `okta`?
          help: correct the files and check again
    "#]]
    .assert_eq(&plain(&folder, &told));
    folder.edit("quell.toml", "octa", "okta");
    folder.settings(
        "\n[[target]]\nprovider = \"okta\"\nkind = \"okta\"\nurl = \"https://example.okta.com\"\n\
         token = \"file:open.token\"\n",
    );
    folder.write("open.token", "readable by everybody");
    folder.write("directory.csv", "key,name,clases\nE1,Ada,human\n");
    let told = folder.quell(&["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: 3 problem(s) in the configuration:
          quell.toml: DIR/directory.csv:1: unknown column `clases`
            remedy: did you mean `classes`?
          quell.toml:120: the environment variable `NO_SUCH` is not set
            remedy: set it before starting, or use `file:PATH`
          quell.toml: `DIR/open.token` can be read by others
            remedy: run `chmod 600 DIR/open.token`
          help: correct the files and check again
    "#]]
    .assert_eq(&plain(&folder, &told));
}

#[tokio::test]
async fn arm_edits_one_pair_at_a_time() {
    let folder = Folder::init().await;
    folder.settings("\n[[source]]\nname = \"okta\"\nbearer = [\"file:admin.token\"]\n");
    let before = folder.read("policy/armed.toml");
    let source = folder.quell(&["arm", "otka", "suspend"]).await.bad(1);
    let action = folder.quell(&["arm", "okta", "suspnd"]).await.bad(1);
    expect![[r#"
        quell: Q0008: there is no source `otka`
          help: did you mean `okta`?
        quell: Q0008: `suspnd` is not a known action: did you mean `suspend`?
          help: one of watch, force_reauth, step_up, end_session, end_sessions, revoke_tokens, revoke_grant, confirm_compromised, disable_mail_rule, disable_device, expire_password, reset_password, suspend, remove_method, disable_app, rotate_credential
    "#]].assert_eq(&(source + &action));
    assert_eq!(folder.read("policy/armed.toml"), before, "a refused pair was written");
    let first = folder.quell(&["arm", "okta", "end_sessions"]).await.good();
    let again = folder.quell(&["arm", "okta", "end_sessions"]).await.good();
    let second = folder.quell(&["arm", "okta", "suspend"]).await.good();
    expect![[r#"
        armed `okta` for `end_sessions`; restart `quell serve` to put it in force
        `okta` was armed for `end_sessions` before
        armed `okta` for `suspend`; restart `quell serve` to put it in force
    "#]]
    .assert_eq(&(first + &again + &second));
    let armed = folder.read("policy/armed.toml");
    let bare: String = armed.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
    expect![[r#"
        version = 1
        mode = "armed"
        pairs = [
          { source = "okta", action = "end_sessions" },
          { source = "okta", action = "suspend" },
        ]"#]]
    .assert_eq(&bare);
    let told = folder.quell(&["check"]).await.good();
    assert_eq!(told.matches("warning").count(), 1, "beside that of the store's key: {told}");
    assert!(told.contains("mode armed"), "{told}");
    // What is armed for a source that does not exist is told, and fails nothing.
    folder.edit(
        "policy/armed.toml",
        "source = \"okta\", action = \"suspend\"",
        "source = \"otka\", action = \"suspend\"",
    );
    let told = folder.quell(&["check"]).await.good();
    expect![[r#"
        warning: policy/armed.toml:8: `otka` is armed for `suspend`, but is no configured source
            remedy: did you mean `okta`?
        warning: quell.toml: the store has no key: whoever has its disk or a backup reads records and names
            remedy: write `[store]` with `key = "env:QUELL_STORE_KEY"`, see docs/store.md
        ok: 32 rules, 5 packs, 1 sources, 0 targets, 6 identities, mode armed
    "#]]
    .assert_eq(&told);
    let json = folder.quell(&["check", "--json"]).await.json();
    assert_eq!(json.pointer("/warnings/0/file"), Some(&json!("policy/armed.toml")), "{json}");
}

#[tokio::test]
async fn what_must_not_be_asked_for_is_refused_before_an_engine_is_asked() {
    let folder = Folder::init().await;
    folder.write("policy/never.CEDAR", "");
    let told = folder.quell(&["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: 1 problem(s) in the configuration:
          policy/never.CEDAR: no file of a policy has such a name
            remedy: rename it to `never.cedar`: case counts
          help: correct the files and check again
    "#]]
    .assert_eq(&told);
    folder.write("nobody.csv", "key,name,classes\n");
    let nobody = folder.dir().join("nobody.csv");
    let told = folder.quell(&["directory", "import", nobody.to_str().unwrap()]).await.bad(1);
    expect![[r#"
        quell: Q0008: `DIR/nobody.csv` holds 0 identities
          help: an empty file would make everybody unknown; give the whole directory
    "#]]
    .assert_eq(&plain(&folder, &told));
    for minutes in ["0", "10081"] {
        let told = folder.quell(&["freeze", "--minutes", minutes]).await.bad(2);
        assert!(told.contains("1..=10080"), "{told}");
    }
    for verb in ["approve", "deny", "undo"] {
        let told = folder.quell(&[verb, "--help"]).await.good();
        assert!(told.contains(&format!("quell {verb} ord_")), "{told}");
        assert_eq!(told.matches("ord_").count(), 2, "{told}");
    }
}

#[tokio::test]
async fn without_an_engine_commands_end_with_4() {
    let folder = Folder::init().await;
    // Nobody listens at a port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    folder.edit("quell.toml", "control = \"127.0.0.1:0\"", &format!("control = \"{free}\""));
    let directory = folder.dir().join("directory.csv");
    let order = "ord_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for arguments in [
        &["case"][..],
        &["order"],
        &["explain", "cas_x"],
        &["approve", order],
        &["deny", order],
        &["undo", order],
        &["freeze"],
        &["watch", "user"],
        &["directory", "import", directory.to_str().unwrap()],
        &["evidence", "export", "never.bundle"],
        &["evidence", "checkpoint"],
    ] {
        let told = folder.quell(arguments).await.bad(4);
        assert!(told.contains("Q0004") && told.contains("quell serve"), "{arguments:?}: {told}");
    }
}

fn samples(pack: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packs").join(pack);
    let files = std::fs::read_dir(folder.join("samples")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The receive time under which the packs' expectations were written.
const NOW: &str = "2026-03-05T12:00:00Z";

/// The ids of the signals that the pack's own expectation lists.
fn expected(sample: &Path) -> Vec<Value> {
    let name = sample.with_extension("ndjson");
    let folder = sample.parent().unwrap().parent().unwrap().join("expected");
    let text = std::fs::read_to_string(folder.join(name.file_name().unwrap())).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get("id").cloned()).collect()
}

#[tokio::test]
async fn decode_prints_the_signals_and_rejects_of_a_pack() {
    let folder = Folder::init().await;
    let mut rejects = 0;
    for pack in ["okta", "proofpoint_tap"] {
        for sample in samples(pack) {
            let file = sample.to_str().unwrap();
            let lines =
                bare(&folder, &["decode", "--pack", pack, "--now", NOW, file]).await.lines();
            let ids = lines.iter().filter_map(|line| line.pointer("/signal/id")).cloned();
            assert_eq!(ids.collect::<Vec<_>>(), expected(&sample), "{file}");
            rejects += lines.iter().filter(|line| line.get("reject").is_some()).count();
        }
    }
    assert!(rejects > 0, "no sample shows a reject");
    let file = samples("okta").remove(0);
    let told = bare(&folder, &["decode", "--pack", "okat", file.to_str().unwrap()]).await.bad(1);
    expect![[r#"
        quell: Q0008: there is no pack `okat`
          help: did you mean `okta`?
    "#]]
    .assert_eq(&told);
}

#[tokio::test]
async fn replay_gives_the_same_lines_whatever_the_order_and_the_batches() {
    let folder = Folder::init().await;
    let company = quell_lab::company();
    let (alice, admin) = (company.person("alice").unwrap(), company.person("admin").unwrap());
    let people = [
        common::entry(alice, &["human"], &[]),
        common::entry(admin, &["human", "privileged"], &[]),
    ];
    let at = common::now();
    let clicked = at.plus(-60 * SECOND);
    let mut sign_ins = Vec::new();
    let mut clicks = Vec::new();
    for person in [alice, admin] {
        sign_ins.extend(attack::sign_in_history(person, at));
        sign_ins.extend(attack::sign_in(person, &attack::attacker(), at.plus(-9 * SECOND)));
        let judged = clicked.plus(SECOND);
        clicks.push(attack::click_permitted(person, &Lure::default(), clicked, judged));
    }
    let ndjson = |records: &[Value]| records.iter().map(|r| format!("{r}\n")).collect::<String>();
    let (log, reversed) = (folder.beside("log.ndjson"), folder.beside("reversed.ndjson"));
    let (tap, directory) = (folder.beside("tap.json"), folder.beside("people.json"));
    std::fs::write(&log, ndjson(&sign_ins)).unwrap();
    sign_ins.reverse();
    std::fs::write(&reversed, ndjson(&sign_ins)).unwrap();
    std::fs::write(&tap, attack::tap(&clicks, &[], at).to_string()).unwrap();
    std::fs::write(&directory, json!(people).to_string()).unwrap();
    let as_of = at.to_string();
    let replay = async |more: &[&str]| {
        let mut arguments = vec!["replay", "--directory", &directory, "--as-of", &as_of];
        arguments.extend(more);
        bare(&folder, &arguments).await.good()
    };
    let first = replay(&["--pack", "proofpoint_tap", &tap, "--pack", "okta", &log]).await;
    let lines: Vec<Value> = first.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let mut told: Vec<String> = lines.iter().map(shape).collect();
    told.sort();
    expect![[r#"
        finding E1001: Permitted phishing click alone (challenge)
        finding E1001: Phishing click followed by a sign-in from a new network and device (contain)
        finding E1002: Permitted phishing click alone (challenge)
        finding E1002: Phishing click followed by a sign-in from a new network and device (contain)
        step end_sessions on alice.weber@example.com -: permitted by contain-access, contain-click
        step end_sessions on bruno.keller@example.com -: permitted by contain-access, contain-click
        step force_reauth on alice.weber@example.com -: permitted by challenge-lure
        step force_reauth on bruno.keller@example.com -: permitted by challenge-lure
        step suspend on bruno.keller@example.com -: evict-person-access, evict-person-click ask for 1 approval(s)
        step watch on - https://sign-in.example.org/session/renew: permitted by observe
        step watch on - https://sign-in.example.org/session/renew: permitted by observe
        step watch on - it-desk@example.org: permitted by observe
        step watch on - it-desk@example.org: permitted by observe
        step watch on - sign-in.example.org: permitted by observe
        step watch on - sign-in.example.org: permitted by observe
        step watch on alice.weber@example.com -: permitted by observe
        step watch on bruno.keller@example.com -: permitted by observe"#]].assert_eq(&told.join("\n"));
    for more in [
        &["--pack", "okta", &log, "--pack", "proofpoint_tap", &tap][..],
        &["--pack", "okta", &reversed, "--pack", "proofpoint_tap", &tap],
        &["--batch", "7", "--seed", "1", "--pack", "okta", &log, "--pack", "proofpoint_tap", &tap],
        &[
            "--batch",
            "50",
            "--seed",
            "2",
            "--pack",
            "proofpoint_tap",
            &tap,
            "--pack",
            "okta",
            &reversed,
        ],
        &["--pack", "okta", &log, &log, "--pack", "proofpoint_tap", &tap, &tap],
    ] {
        assert_eq!(replay(more).await, first, "{more:?}");
    }
    let early = clicked.plus(-600 * SECOND).to_string();
    let parts = ["--pack", "proofpoint_tap", &tap, "--pack", "okta", &log];
    let mut arguments = vec!["replay", "--directory", &directory, "--as-of", &early];
    arguments.extend(parts);
    assert_eq!(bare(&folder, &arguments).await.good(), "", "what lies ahead of `--as-of` counts");
    // By default the greatest time that a vendor wrote is the time of the replay.
    let mut arguments = vec!["replay", "--directory", &directory];
    arguments.extend(parts);
    assert_eq!(bare(&folder, &arguments).await.lines().len(), lines.len());
}

/// A line without ids and times.
fn shape(line: &Value) -> String {
    let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or("-");
    match text("/type") {
        "finding" => format!(
            "finding {}: {} ({})",
            text("/identity"),
            text("/finding/title"),
            text("/finding/tier")
        ),
        _ => format!(
            "step {} on {} {}: {}",
            text("/step/action"),
            text("/step/on/account/login"),
            text("/step/on/entity/value"),
            text("/step/reason")
        ),
    }
}

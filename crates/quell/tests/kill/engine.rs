//! The kill test's engine: the folder of a real `quell serve`, its process, and its end.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quell_core::action::Action;
use quell_core::policy::Armed;
use quell_lab::{Company, Person};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::people;

const QUELL: &str = env!("CARGO_BIN_EXE_quell");

/// The longest start, stop or command.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that `quell init` wrote, edited for the lab.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) intake: String,
    pub(crate) control: String,
    pub(crate) source_token: String,
    pub(crate) control_token: String,
}

impl Folder {
    pub(crate) async fn write(
        path: PathBuf,
        company: &Company,
        lab: &quell_lab::Running,
        ports: [u16; 2],
    ) -> Self {
        run(&["init", path.to_str().unwrap()]).await;
        let [intake, control] = ports.map(|port| format!("127.0.0.1:{port}"));
        let source_token = "a-bearer-secret-of-the-kill-test".to_owned();
        secret(&path.join("source.token"), &source_token);
        secret(&path.join("lab.token"), lab.token());
        edit(&path.join("quell.toml"), |text| {
            let text = text
                .replace("127.0.0.1:8470", &intake)
                .replace("127.0.0.1:8471", &control)
                .replace("\"directory.csv\"", "\"directory.json\"")
                .replace("merge_delay_ms = 1000", "merge_delay_ms = 100");
            format!("{text}\n{}", settings(lab.base_url()))
        });
        edit(&path.join("policy/armed.toml"), |text| {
            let pairs = ["okta", "proofpoint_tap"];
            let pairs = pairs.iter().flat_map(|s| Action::ALL.iter().map(move |a| (s, a)));
            pairs.fold(text, |text, (s, a)| Armed::arm(&text, s, *a).unwrap())
        });
        edit(&path.join("policy/limits.toml"), |text| text.lines().map(raised).collect());
        let glass = people::account(company.person("break_glass").unwrap());
        edit(&path.join("policy/protected.toml"), |text| {
            let entry = format!(
                "version = 1\n\n[[account]]\nprovider = \"okta\"\nid = \"{glass}\"\n\
                 why = \"break_glass\"\n"
            );
            text.replacen("version = 1\n", &entry, 1)
        });
        let directory = people::directory(company).to_string();
        std::fs::write(path.join("directory.json"), directory).unwrap();
        let control_token = std::fs::read_to_string(path.join("admin.token")).unwrap();
        let control_token = control_token.trim().to_owned();
        run(&["check", "--config", path.to_str().unwrap()]).await;
        Self { path, intake, control, source_token, control_token }
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Starts the engine; its words go to a file in the folder.
    pub(crate) fn start(&self) -> Engine {
        let mut words = std::fs::OpenOptions::new();
        let words = words.create(true).append(true).open(self.path.join("stderr")).unwrap();
        let child = Command::new(QUELL)
            .args(["serve", "--json", "--config"])
            .arg(&self.path)
            .env("QUELL_LOG", "error")
            .stdout(Stdio::piped())
            .stderr(words)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Engine { child }
    }

    /// The end of what the engines said.
    pub(crate) fn words(&self) -> String {
        let text = std::fs::read_to_string(self.path.join("stderr")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Exports and verifies the evidence by the command line; gives the number of records.
    pub(crate) async fn verify(&self) -> u64 {
        let (store, key) = (self.store(), self.path.join("key.pub"));
        let bundle = self.path.join("evidence.bundle");
        let [store, key, bundle] = [&store, &key, &bundle].map(|path| path.to_str().unwrap());
        run(&["evidence", "export", bundle, "--store", store, "--key", key]).await;
        let told = run(&["evidence", "verify", bundle, "--key", key, "--json"]).await;
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["verified"], true, "{told}");
        told["records"].as_u64().unwrap()
    }
}

/// A running engine.
#[derive(Debug)]
pub(crate) struct Engine {
    child: Child,
}

impl Engine {
    /// Waits until it says where it listens; false when it ended instead.
    pub(crate) async fn ready(&mut self) -> bool {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut line = String::new();
        let mut reader = BufReader::new(stdout);
        let read = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await;
        read.expect("the engine was not ready in a minute").unwrap() > 0 && line.contains("intake")
    }

    /// SIGKILL; false when it had ended by itself.
    pub(crate) async fn kill(mut self) -> bool {
        let alive = self.child.try_wait().unwrap().is_none();
        self.child.kill().await.unwrap();
        alive
    }

    /// SIGTERM; it must end well.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.expect("the engine did not stop in a minute").unwrap();
        assert!(status.success(), "after SIGTERM: {status}");
    }
}

fn settings(lab: &str) -> String {
    format!(
        r#"
[[source]]
name = "proofpoint_tap"
bearer = ["file:source.token"]

[[source]]
name = "okta"
bearer = ["file:source.token"]
[source.poll]
url = "{lab}"
token = "file:lab.token"
every_s = 1

[[target]]
provider = "okta"
kind = "okta"
url = "{lab}"
token = "file:lab.token"
quiet_ms = 100
lag_ms = 3000
timeout_ms = 1000
"#
    )
}

/// A line of `limits.toml` with room for the whole test.
fn raised(line: &str) -> String {
    match line.split_once(" = ") {
        Some(("max", _)) => "max = 20000\n".to_owned(),
        Some(("one_source_max", _)) => "one_source_max = 19000\n".to_owned(),
        _ => format!("{line}\n"),
    }
}

fn edit(path: &Path, with: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(path, with(text)).unwrap();
}

fn secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs a command that must end well; gives what it printed.
async fn run(arguments: &[&str]) -> String {
    let output = Command::new(QUELL).args(arguments).output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8(output.stdout).unwrap()
}

/// Free ports below those that the system hands out, so that no client's own port is taken for
/// the listener's while the engine is down.
pub(crate) fn ports(mut draw: impl FnMut(u64) -> u64) -> [u16; 2] {
    let mut free = Vec::new();
    while free.len() < 2 {
        let port = u16::try_from(20_000 + draw(12_000)).unwrap();
        if !free.contains(&port) && std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            free.push(port);
        }
    }
    [free[0], free[1]]
}

/// Where everybody's account is at the lab, for messages.
pub(crate) fn named(person: &Person) -> String {
    format!("{} ({})", person.address, people::account(person))
}

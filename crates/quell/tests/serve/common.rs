//! Harness of the tests from outside: a folder made by `quell init`, a running `quell serve` on
//! free ports, its command line and its HTTP. Decides nothing and knows no story.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quell_core::time::Time;
use quell_store::frame::Content;
use quell_store::{SqliteViews, Views as _};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// The longest that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that an answer may have.
const ANSWER_MAX: usize = 64 << 20;

/// The system's clock: these tests are outside of everything that takes time as a value.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time(i64::try_from(since.as_micros()).unwrap())
}

/// What a process printed and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// Standard output, of a process that ended with 0.
    pub(crate) fn good(self) -> String {
        assert_eq!(self.code, Some(0), "out: {}\nerr: {}", self.out, self.err);
        self.out
    }

    /// Standard output as one JSON value.
    pub(crate) fn json(self) -> Value {
        let out = self.good();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("no JSON ({e}): {out}"))
    }

    /// Standard output as NDJSON.
    pub(crate) fn lines(self) -> Vec<Value> {
        self.good().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Standard error, of a process that ended with this code.
    pub(crate) fn bad(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "out: {}\nerr: {}", self.out, self.err);
        self.err
    }
}

/// Runs a program to its end.
pub(crate) async fn run(command: &mut Command) -> Ran {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let told = format!("{command:?}");
    let output = tokio::time::timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("waited for {told} to end")).unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Asks again and again until there is an answer; panics with what was waited for.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut seen = String::new();
    let waiting = async {
        loop {
            match ask().await {
                Ok(found) => return found,
                Err(other) => seen = other,
            }
            ticks.tick().await;
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(found) => found,
        Err(_) => panic!("waited for: {what}; last seen: {seen}"),
    }
}

/// A folder that `quell init` wrote, and the secrets that belong to it.
#[derive(Debug)]
pub(crate) struct Folder {
    whole: TempDir,
    secrets: Mutex<Vec<(String, String)>>,
    answers: Arc<Mutex<String>>,
}

impl Folder {
    /// Runs `quell init`; the listeners take free ports.
    pub(crate) async fn init() -> Self {
        let whole = tempfile::tempdir().unwrap();
        let folder = Self { whole, secrets: Mutex::default(), answers: Arc::default() };
        let dir = folder.dir();
        let dir = dir.to_str().unwrap();
        run(Command::new(quell()).args(["init", dir])).await.good();
        for port in ["8470", "8471"] {
            folder.edit("quell.toml", &format!("127.0.0.1:{port}"), "127.0.0.1:0");
        }
        for file in ["admin.token", "log.key"] {
            folder.know(file, folder.read(file).trim());
        }
        folder
    }

    /// The folder of `quell.toml`.
    pub(crate) fn dir(&self) -> PathBuf {
        self.whole.path().join("company")
    }

    /// A path beside it, for what a test writes.
    pub(crate) fn beside(&self, name: &str) -> String {
        self.whole.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir().join(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir().join(file), text).unwrap();
    }

    /// Replaces a text that must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "`{file}` holds no `{from}`");
        self.write(file, &text.replace(from, to));
    }

    /// Adds to `quell.toml`.
    pub(crate) fn settings(&self, text: &str) {
        self.write("quell.toml", &(self.read("quell.toml") + text));
    }

    /// Writes a secret into a file of mode 0600, which `file:NAME` refers to.
    pub(crate) fn secret(&self, name: &str, value: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.dir().join(name);
        std::fs::write(&path, value).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self.know(name, value);
    }

    /// A value that must never be seen again.
    pub(crate) fn know(&self, name: &str, value: &str) {
        self.secrets.lock().unwrap().push((name.to_owned(), value.to_owned()));
    }

    /// A token of the control listener with a role.
    pub(crate) fn token(&self, name: &str, role: &str, value: &str) {
        let hash = quell_core::id::Digest::of(value.as_bytes());
        self.settings(&format!(
            "\n[[token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{hash}\"\n"
        ));
        self.know(name, value);
    }

    /// Arms both shipped sources for what the shipped tiers ask for.
    pub(crate) async fn arm(&self) {
        for source in ["okta", "proofpoint_tap"] {
            for action in ["watch", "force_reauth", "end_sessions", "suspend"] {
                self.quell(&["arm", source, action]).await.good();
            }
        }
    }

    /// Runs a command of `quell` on this folder.
    pub(crate) async fn quell(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(quell());
        command.arg("--config").arg(self.dir()).args(arguments);
        let ran = run(&mut command).await;
        self.note(&ran.out);
        self.note(&ran.err);
        ran
    }

    fn note(&self, answer: &str) {
        self.answers.lock().unwrap().push_str(answer);
    }

    /// Starts `quell serve` and waits for the line that says where it listens.
    pub(crate) async fn serve(&self) -> Serve<'_> {
        self.serve_with_level("debug").await
    }

    /// The same with another level of the log.
    pub(crate) async fn serve_with_level(&self, level: &str) -> Serve<'_> {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut child = Command::new(quell())
            .arg("--config")
            .arg(self.dir())
            .args(["serve", "--json"])
            .env("QUELL_LOG", level)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("waited for `quell serve` to listen"));
        let ready = line.unwrap().unwrap_or_else(|| {
            panic!("`quell serve` ended: {}", std::fs::read_to_string(self.log()).unwrap())
        });
        let ready: Value = serde_json::from_str(&ready).unwrap();
        let address = |name: &str| ready.get(name).unwrap().as_str().unwrap().to_owned();
        let (intake, control) = (address("intake"), address("control"));
        // The command line finds the engine by the same file.
        for (name, address) in [("intake", &intake), ("control", &control)] {
            let text = self.read("quell.toml");
            let old = text.lines().find(|l| l.starts_with(&format!("{name} = "))).unwrap();
            self.edit("quell.toml", old, &format!("{name} = \"{address}\""));
        }
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Serve { folder: self, child, intake, control, http, ready }
    }

    /// What `quell serve` logged so far.
    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.whole.path().join("serve.log")
    }

    /// No secret stands in the store, in the log, or in any answer; `present` must stand in the
    /// store and in the answers, so that the search is known to find.
    pub(crate) fn no_secret_leaked(&self, present: &str) {
        let mut places = vec![("answers".to_owned(), self.answers.lock().unwrap().clone().into())];
        places.push(("serve.log".to_owned(), std::fs::read(self.log()).unwrap()));
        let store = self.dir().join("store");
        let mut stored = Vec::new();
        for path in files(&store) {
            let bytes = std::fs::read(&path).unwrap();
            stored.extend_from_slice(&bytes);
            places.push((path.display().to_string(), bytes));
        }
        let journal = self.journal();
        places.push(("journal".to_owned(), journal.clone()));
        let holds = |bytes: &[u8], text: &str| {
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        };
        assert!(holds(&journal, "user.session.start"), "the journal shows no record");
        assert!(holds(&stored, present), "the store does not show `{present}`");
        assert!(holds(&places.first().unwrap().1, present), "no answer shows `{present}`");
        for (place, bytes) in &places {
            for (name, secret) in self.secrets.lock().unwrap().iter() {
                assert!(!holds(bytes, secret), "the secret of `{name}` stands in {place}");
            }
        }
    }
}

impl Folder {
    /// The bodies of all frames of the journal, unpacked.
    fn journal(&self) -> Vec<u8> {
        let views = SqliteViews::open(&self.dir().join("store")).unwrap();
        let (mut bytes, mut seq) = (Vec::new(), 0);
        while let Some(group) = views.group("default", seq).unwrap() {
            seq = group.last().unwrap().seq + 1;
            for frame in group {
                match frame.content {
                    Content::Kept(body) => bytes.extend_from_slice(&body),
                    Content::Erased { .. } => panic!("nothing was erased"),
                }
            }
        }
        bytes
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

pub(crate) fn quell() -> &'static str {
    env!("CARGO_BIN_EXE_quell")
}

/// A running `quell serve`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Serve<'f> {
    pub(crate) folder: &'f Folder,
    child: Child,
    pub(crate) intake: String,
    pub(crate) control: String,
    pub(crate) http: reqwest::Client,
    /// What it said when it was ready.
    pub(crate) ready: Value,
}

impl Serve<'_> {
    /// A request to a source.
    pub(crate) fn source(&self, name: &str) -> RequestBuilder {
        self.http.post(format!("http://{}/v1/sources/{name}", self.intake))
    }

    /// A request to the control listener.
    pub(crate) fn control(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.control)).bearer_auth(token)
    }

    /// Sends, and gives status and body.
    pub(crate) async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let mut response = request.send().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            assert!(bytes.len() + chunk.len() <= ANSWER_MAX, "the answer is too long");
            bytes.extend_from_slice(&chunk);
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.folder.note(&text);
        (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(json!(text)))
    }

    /// The figures by name and labels; the text is well-formed.
    pub(crate) async fn figures(&self, token: &str) -> BTreeMap<String, f64> {
        let (status, text) = self.send(self.control(Method::GET, "/metrics", token)).await;
        let text = text.as_str().unwrap().to_owned();
        assert_eq!(status, 200, "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.map(|line| line.rsplit_once(' ').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    }

    /// GET from the control listener with the administrator's token.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let token = self.folder.read("admin.token");
        let (status, body) = self.send(self.control(Method::GET, path, token.trim())).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Posts records that must be accepted, each with a signal.
    pub(crate) async fn accept(&self, source: &str, bearer: &str, body: &Value) {
        let request = self.source(source).bearer_auth(bearer).json(body);
        let (status, answer) = self.send(request).await;
        assert_eq!(status, 202, "{answer}");
        let records = answer.get("records").and_then(Value::as_array).unwrap();
        let empty = records.iter().find(|record| record.pointer("/signals/0").is_none());
        assert!(!records.is_empty() && empty.is_none(), "a record gave no signal: {answer}");
    }

    /// The order for an action on an account, when there is one.
    pub(crate) async fn order(&self, action: &str, account: &str) -> Option<Value> {
        let rows = self.get("/v1/orders").await;
        let text =
            |row: &Value, at: &str| row.pointer(at).and_then(Value::as_str).map(str::to_owned);
        rows.as_array()
            .unwrap()
            .iter()
            .find(|row| {
                text(row, "/action").as_deref() == Some(action)
                    && text(row, "/on/account/id").as_deref() == Some(account)
            })
            .cloned()
    }

    /// Waits until the order for an action on an account is in a state, and gives it.
    pub(crate) async fn order_in(&self, state: &str, action: &str, account: &str) -> Value {
        until(&format!("`{action}` on `{account}` is `{state}`"), async || {
            let order = self.order(action, account).await.unwrap_or_default();
            match order.get("state") == Some(&json!(state)) {
                true => Ok(order),
                false => Err(order.to_string()),
            }
        })
        .await
    }

    /// Closes its terminal, as it were: it says that it goes on, and does.
    pub(crate) async fn hang_up(&self) {
        self.signal("-HUP").await;
        until("`quell serve` tells of the SIGHUP", async || {
            let log = std::fs::read_to_string(self.folder.log()).unwrap();
            if log.contains("SIGHUP") { Ok(()) } else { Err(log) }
        })
        .await;
        self.get("/v1/freeze").await;
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        run(Command::new("kill").args([signal, &id])).await.good();
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        run(Command::new("kill").args(["-TERM", &id])).await.good();
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let ended = ended.unwrap_or_else(|_| panic!("waited for `quell serve` to stop")).unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// A person of the lab as a directory file of the user writes it, with further accounts.
pub(crate) fn entry(person: &quell_lab::Person, classes: &[&str], more: &[Value]) -> Value {
    let mut accounts: Vec<Value> = more.to_vec();
    if let Some(account) = person.account() {
        let (id, login) = (&account.id, &account.login);
        accounts.push(json!({ "provider": "okta", "id": id, "login": login }));
    }
    json!({
        "key": person.identity.key, "name": person.identity.name, "classes": classes,
        "accounts": accounts, "addresses": [person.address],
    })
}

//! Both targets through a validating proxy made of the vendors' own API descriptions, in front of
//! the lab's providers: every request that they make is one that the vendor describes, and a broken
//! one is refused. The proxy is by others; without Node it is skipped.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quell_core::action::Action;
use quell_core::identity::Account;
use quell_core::order::{Answer, Verb};
use quell_core::time::SECOND;
use quell_lab::{Options, Provider, attack, company};
use quell_targets::okta::{Okta, OktaConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::common::{body, person};
use crate::entra_target;
use crate::okta_target::{Order, now, seen};

/// The longest that the proxy may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/prism")
}

/// Says on the real standard output why nothing was tested.
fn is_skipped() -> bool {
    let why = if std::process::Command::new("node").arg("--version").output().is_err() {
        "node is not installed"
    } else if !folder().join("node_modules").is_dir() {
        "tests/prism is not installed"
    } else {
        return false;
    };
    std::io::stdout().lock().write_all(format!("\nskipped: {why}\n").as_bytes()).unwrap();
    true
}

/// A port that was free a moment ago.
async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// The proxy as a process of its own.
struct Prism {
    _child: Child,
    _output: JoinHandle<()>,
    url: String,
}

impl Prism {
    async fn start(description: &str, port: u16, upstream: &str) -> Self {
        let port = port.to_string();
        let prism = "node_modules/@stoplight/prism-cli/dist/index.js";
        let mut child = Command::new("node")
            .args([prism, "proxy", "-h", "127.0.0.1", "-p", &port, "--errors"])
            .args([description, upstream])
            .current_dir(folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("is listening") {
                    return;
                }
            }
            panic!("the proxy ended before it was ready");
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap();
        // what it says about each request is read away, or it would stand still one day
        let output =
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { _child: child, _output: output, url: format!("http://127.0.0.1:{port}") }
    }

    /// A request that no target makes.
    async fn send(
        &self,
        method: Method,
        path: &str,
        auth: &str,
        text: &str,
    ) -> (StatusCode, String) {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        let mut request = http.request(method, format!("{}{path}", self.url));
        request = request.header("authorization", auth);
        if !text.is_empty() {
            let json = "application/json";
            request = request.header("content-type", json).body(text.to_owned());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        (status, String::from_utf8(body(response).await).unwrap())
    }
}

/// Brings an order from the probe to the end, and back where that is possible.
async fn life(target: &dyn Target, action: Action, account: Account) {
    let mut order = Order::on(account, action);
    let before = order.say(target, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { already: false, .. }), "{before:?}");
    let mut rounds = 0;
    loop {
        let executed = order.say(target, Verb::Execute, now()).await;
        assert_eq!(executed.answer, Answer::Accepted { already: false }, "{executed:?}");
        let at = order.call.sent_at.unwrap().plus(4 * SECOND);
        let read = order.proven(target, at).await;
        if matches!(read.answer, Answer::Seen { done: true, .. }) {
            break;
        }
        // an end within the second of the look before it is repeated
        assert_eq!(read.answer, seen(false, true), "{read:?}");
        rounds += 1;
        assert!(rounds < 100_000, "{read:?}");
    }
    if target.capabilities().iter().any(|c| c.action == action && c.undoes) {
        let undone = order.say(target, Verb::Undo, now()).await;
        assert_eq!(undone.answer, Answer::Accepted { already: false }, "{undone:?}");
        assert_eq!(order.say(target, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graph_accepts_every_request_and_refuses_broken_ones() {
    if is_skipped() {
        return;
    }
    let lab = entra_target::lab(|_| {}).await;
    let prism = Prism::start("graph.json", free_port().await, lab.base_url()).await;
    let target = entra_target::target(&lab, &prism.url);
    assert_eq!(target.check(now()).await, Ok(()));
    for capability in target.capabilities() {
        life(&target, capability.action, entra_target::account(&person("alice"))).await;
    }
    let effects = lab.effects().len();
    let user = entra_target::account(&person("alice")).id;
    let patch = format!("/v1.0/users/{user}");
    let member = format!("/v1.0/groups/{}/members/{user}", lab.group());
    let confirm = "/v1.0/identityProtection/riskyUsers/confirmCompromised";
    let broken = [
        (Method::PATCH, patch.as_str(), r#"{"accountEnabled":"no"}"#, 422),
        (Method::POST, confirm, r#"{"userIds":"u1"}"#, 422),
        (Method::POST, "/v1.0/users/u1/revokeSessions", "", 404),
        // without `/$ref` it would delete the user
        (Method::DELETE, member.as_str(), "", 404),
    ];
    for (method, path, text, want) in broken {
        let (status, told) = prism.send(method, path, "Bearer any", text).await;
        assert_eq!(status.as_u16(), want, "{path}: {told}");
        assert!(told.contains("stoplight.io/prism"), "not the proxy's word: {told}");
    }
    assert_eq!(lab.effects().len(), effects);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn okta_accepts_every_request_and_refuses_broken_ones() {
    if is_skipped() {
        return;
    }
    let port = free_port().await;
    let public_url = Some(format!("http://127.0.0.1:{port}"));
    let options = Options { public_url, ..Options::default() };
    let lab = Provider::start(&company(), options).await.unwrap();
    let prism = Prism::start("okta.json", port, lab.base_url()).await;
    let auth = Auth::Ssws(Secret::new(lab.token()));
    let mut config = OktaConfig::new("okta", VendorConfig::new(&prism.url, auth));
    config.step_up_group = Some(lab.step_up_group().to_owned());
    config.quiet = SECOND;
    let target = Okta::new(config).unwrap();
    assert_eq!(target.check(now()).await, Ok(()));
    let alice = person("alice");
    let from = attack::attacker();
    let signed = serde_json::json!({
        "login": alice.address, "ip": from.ip, "user_agent": from.user_agent,
        "device": from.device,
    });
    let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
    let request = http.post(format!("{}/lab/sign-in", lab.base_url()));
    let request = request.header("content-type", "application/json").body(signed.to_string());
    assert_eq!(request.send().await.unwrap().status(), 200);
    for capability in target.capabilities() {
        life(&target, capability.action, alice.account().unwrap().clone()).await;
    }
    let effects = lab.effects().len();
    let user = &alice.account().unwrap().id;
    let sessions = format!("/api/v1/users/{user}/sessions?oauthTokens=yes");
    let suspend = format!("/api/v1/users/{user}/lifecycle/suspnd");
    let ssws = format!("SSWS {}", lab.token());
    for (method, path, auth, want) in [
        (Method::DELETE, &sessions, ssws.as_str(), 422),
        (Method::POST, &suspend, ssws.as_str(), 404),
        (Method::PUT, &sessions, ssws.as_str(), 405),
    ] {
        let (status, told) = prism.send(method, path, auth, "").await;
        assert_eq!(status.as_u16(), want, "{path}: {told}");
        assert!(told.contains("stoplight.io/prism"), "not the proxy's word: {told}");
    }
    assert_eq!(lab.effects().len(), effects);
}

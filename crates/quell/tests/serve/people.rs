//! People's part: approve, deny, undo, freeze and the reading commands against a running engine
//! whose target and log are the lab's provider. What is claimed is asked of the provider.

use quell_core::time::SECOND;
use quell_lab::attack::{self, Lure};
use quell_lab::{Options, Person, Provider};
use reqwest::Method;
use serde_json::{Value, json};

use crate::common::{self, Folder, Serve, until};
use crate::oidc::evidence;

const TAP_SECRET: &str = "invented-tap-secret";
const VIEWER: &str = "invented-viewer-token-0001";
const APPROVER: &str = "invented-approver-token-0001";

/// The provider's call that ends sessions and tokens, without the person's id.
const ENDED: &str = "DELETE /sessions?oauthTokens=true&forgetDevices=true";

const SETTINGS: &str = r#"
[[source]]
name = "proofpoint_tap"
bearer = ["file:tap.token"]

[[source]]
name = "okta"
[source.poll]
url = "@URL@"
token = "file:okta.token"
every_s = 1
first_hours = 720

[[target]]
provider = "okta"
kind = "okta"
url = "@URL@"
token = "file:okta.token"
quiet_ms = 400
lag_ms = 5000
"#;

/// The lab's provider with an engine that polls it and acts on it.
struct Scene<'f> {
    provider: quell_lab::Running,
    serve: Serve<'f>,
}

impl Scene<'_> {
    fn account(person: &Person) -> &str {
        &person.account().unwrap().id
    }

    /// A click as Proofpoint TAP tells it, then the attacker's sign-in at the provider itself.
    async fn attack(&self, person: &Person) {
        let at = common::now().plus(-2 * SECOND);
        let click = attack::click_permitted(person, &Lure::default(), at, at.plus(SECOND));
        let body = attack::tap(&[click], &[], at.plus(2 * SECOND));
        self.serve.accept("proofpoint_tap", TAP_SECRET, &body).await;
        self.sign_in(person).await;
    }

    async fn sign_in(&self, person: &Person) {
        let from = attack::attacker();
        let body = json!({
            "login": person.account().unwrap().login, "ip": from.ip,
            "user_agent": from.user_agent, "device": from.device,
        });
        let url = format!("{}/lab/sign-in", self.provider.base_url());
        let (status, login) = self.serve.send(self.serve.http.post(url).json(&body)).await;
        assert_eq!(status, 200, "{login}");
    }

    /// The calls that changed something about a person at the provider, in their order.
    fn effects(&self, person: &Person) -> Vec<String> {
        let account = Self::account(person);
        let effects = self.provider.effects().into_iter().filter(|e| e.user == account);
        let last = |path: &str| path.split(account).last().unwrap_or_default().to_owned();
        effects.map(|e| format!("{} {}", e.method, last(&e.path))).collect()
    }

    /// Waits until the log is read, so that a person's usual places are known.
    async fn history_is_known(&self, folder: &Folder) {
        until("the poller's cursor has passed the history", async || {
            let views = quell_store::SqliteViews::open(&folder.dir().join("store"));
            let views = views.map_err(|e| e.to_string())?;
            let cursors = quell_store::Views::cursors(&views, "default");
            let cursors = cursors.map_err(|e| e.to_string())?;
            match cursors.iter().any(|(name, _)| name == "okta") {
                true => Ok(()),
                false => Err("no cursor".to_owned()),
            }
        })
        .await;
    }
}

fn id(order: &Value) -> String {
    order.get("id").and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn people_freeze_deny_approve_and_take_back() {
    let company = quell_lab::company();
    let person = |handle: &str| company.person(handle).unwrap();
    let (alice, bruno, dario) = (person("alice"), person("admin"), person("dario"));
    let now = common::now();
    let people = [alice, bruno, dario];
    let history = people.iter().flat_map(|p| attack::sign_in_history(p, now)).collect();
    let provider = Provider::start(&company, Options { history, ..Options::default() }).await;
    let provider = provider.unwrap();
    let folder = Folder::init().await;
    folder.settings(&SETTINGS.replace("@URL@", provider.base_url()));
    folder.secret("tap.token", TAP_SECRET);
    folder.secret("okta.token", provider.token());
    folder.token("watcher", "viewer", VIEWER);
    folder.token("carla.moretti@example.com", "approver", APPROVER);
    let privileged = ["human", "privileged"];
    let directory = json!([
        common::entry(alice, &["human"], &[]),
        common::entry(bruno, &privileged, &[]),
        common::entry(dario, &privileged, &[]),
    ]);
    folder.write("directory.json", &directory.to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    folder.arm().await;
    let serve = folder.serve().await;
    assert_eq!(serve.ready.get("mode"), Some(&json!("armed")));
    let scene = Scene { provider, serve };
    scene.history_is_known(&folder).await;
    one_writer(&folder).await;
    what_is_refused(&scene.serve).await;
    scene.serve.hang_up().await;
    freeze(&scene, alice).await;
    denied(&scene, bruno).await;
    taken_back(&scene, dario).await;
    reading(&scene, dario).await;
    evidence(&folder).await;
    figures(&scene.serve).await;
    let Scene { serve, provider } = scene;
    serve.stop().await;
    provider.stop();
    folder.no_secret_leaked("end_sessions");
}

/// Orders, pages and every stage of the way are counted.
async fn figures(serve: &Serve<'_>) {
    let figures = serve.figures(VIEWER).await;
    let counted = |name: &str| figures.get(name).copied().unwrap_or_default();
    for stage in [
        "event_to_received",
        "received_to_committed",
        "committed_to_asked",
        "committed_to_dispatched",
        "dispatched_to_acknowledged",
        "acknowledged_to_verified",
        "event_to_verified",
    ] {
        let name = format!("quell_stage_seconds_count{{stage=\"{stage}\"}}");
        assert!(counted(&name) >= 2.0, "{name}: {figures:?}");
    }
    for (action, state) in [("end_sessions", "verified"), ("suspend", "denied")] {
        let name = format!("quell_orders_total{{action=\"{action}\",state=\"{state}\"}}");
        assert!(counted(&name) >= 1.0, "{name}: {figures:?}");
    }
    assert!(counted("quell_pages_total{kind=\"approval_needed\"}") >= 2.0, "{figures:?}");
    assert!(counted("quell_polls_total{source=\"okta\",result=\"page\"}") >= 1.0, "{figures:?}");
    assert!(figures.contains_key("quell_poll_lag_seconds{source=\"okta\"}"), "{figures:?}");
}

/// A directory of nobody and a freeze of no minutes change nothing.
async fn what_is_refused(serve: &Serve<'_>) {
    let token = serve.folder.read("admin.token");
    for (path, body, why) in [
        ("/v1/directory", json!({ "origin": "", "identities": [] }), "everybody unknown"),
        ("/v1/freeze", json!({ "on": true, "minutes": 0 }), "`minutes` is 0"),
        ("/v1/freeze", json!({ "on": true, "minutes": 10_081 }), "1 to 10080"),
    ] {
        let request = serve.control(Method::POST, path, token.trim()).json(&body);
        let (status, answer) = serve.send(request).await;
        assert_eq!(status, 400, "{path}: {answer}");
        assert!(answer.to_string().contains(why), "{path}: {answer}");
    }
}

/// A second engine on the same store says so and ends. The store is its owner's alone.
async fn one_writer(folder: &Folder) {
    let store = std::fs::metadata(folder.dir().join("store")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&store.permissions()) & 0o777, 0o700);
    let told = folder.quell(&["serve"]).await.bad(1);
    assert!(told.contains("Q0003") && told.contains("another"), "{told}");
}

/// While frozen an order is held and nothing is sent; afterwards it goes out.
async fn freeze(scene: &Scene<'_>, alice: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    assert_eq!(folder.quell(&["freeze", "--status"]).await.good(), "not frozen\n");
    folder.quell(&["freeze", "--minutes", "5", "--why", "a drill"]).await.good();
    let told = folder.quell(&["freeze", "--status"]).await.good();
    assert!(told.contains("a drill"), "{told}");
    scene.attack(alice).await;
    let account = Scene::account(alice);
    let held = serve.order_in("held", "end_sessions", account).await;
    assert!(held.to_string().contains("frozen by admin: a drill"), "{held}");
    assert_eq!(scene.effects(alice), [""; 0], "something was sent while frozen");
    folder.quell(&["freeze", "--off"]).await.good();
    let done = serve.order_in("verified", "end_sessions", account).await;
    assert_eq!(id(&done), id(&held));
    let effects = scene.effects(alice);
    assert!(effects.iter().any(|effect| effect == ENDED), "{effects:?}");
}

/// Her sessions end at once, her suspension waits, and a denial is the end of it.
async fn denied(scene: &Scene<'_>, bruno: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    scene.attack(bruno).await;
    let account = Scene::account(bruno);
    serve.order_in("verified", "end_sessions", account).await;
    let order = id(&serve.order_in("awaiting_approval", "suspend", account).await);
    let listed = folder.quell(&["order", "--state", "awaiting_approval"]).await.good();
    assert!(listed.contains(&order) && listed.lines().count() == 1, "{listed}");
    for (token, verb, status) in [
        ("wrong-token-of-nobody", "approve", 401),
        ("", "deny", 401),
        (VIEWER, "approve", 403),
        (VIEWER, "deny", 403),
        (VIEWER, "undo", 403),
    ] {
        let path = format!("/v1/orders/{order}/{verb}");
        let (seen, answer) = serve.send(serve.control(Method::POST, &path, token)).await;
        assert_eq!(seen, status, "{verb}: {answer}");
    }
    let (seen, _) = serve.send(serve.control(Method::GET, "/v1/orders", "wrong-token")).await;
    assert_eq!(seen, 401);
    let (seen, _) = serve.send(serve.control(Method::GET, "/v1/orders", VIEWER)).await;
    assert_eq!(seen, 200);
    let told = folder.quell(&["deny", &order, "--why", "she called us"]).await.good();
    assert!(told.contains("denied"), "{told}");
    let late = folder.quell(&["approve", &order]).await.bad(1);
    assert!(late.contains("Q0005"), "{late}");
    let effects = scene.effects(bruno);
    assert!(!effects.iter().any(|e| e.contains("suspend")), "{effects:?}");
}

/// Approved by a person: suspended at the provider. Taken back: sessions end once more before the
/// account opens again.
async fn taken_back(scene: &Scene<'_>, dario: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    scene.attack(dario).await;
    let account = Scene::account(dario);
    serve.order_in("verified", "end_sessions", account).await;
    let order = id(&serve.order_in("awaiting_approval", "suspend", account).await);
    let path = format!("/v1/orders/{order}/approve");
    let request = serve.control(Method::POST, &path, APPROVER).json(&json!({ "why": "seen" }));
    let (status, answer) = serve.send(request).await;
    assert_eq!(status, 200, "{answer}");
    serve.order_in("verified", "suspend", account).await;
    let suspended = scene.effects(dario);
    assert_eq!(suspended.last().unwrap(), "POST /lifecycle/suspend", "{suspended:?}");
    let told = folder.quell(&["explain", &order]).await.good();
    assert!(told.contains("suspend on okta:") && told.contains("verified"), "{told}");
    folder.quell(&["undo", &order, "--why", "it was a drill"]).await.good();
    serve.order_in("undone", "suspend", account).await;
    let effects = scene.effects(dario);
    let after: Vec<&str> = effects.iter().skip(suspended.len()).map(String::as_str).collect();
    assert_eq!(
        after,
        [ENDED, "POST /lifecycle/unsuspend"],
        "sessions end before the block is lifted"
    );
    let again = folder.quell(&["undo", &order]).await.bad(1);
    assert!(again.contains("Q0005") && again.contains("`undone`"), "{again}");
    let ended = id(&serve.order("end_sessions", account).await.unwrap());
    let ended = folder.quell(&["undo", &ended]).await.bad(1);
    assert!(ended.contains("Q0005: the target has no inverse for it"), "{ended}");
    assert_eq!(scene.effects(dario), effects, "a refused undo sent something");
    let approved = folder.quell(&["approve", &order]).await.bad(1);
    assert!(approved.contains("Q0005"), "{approved}");
}

/// What the reading commands show of it.
async fn reading(scene: &Scene<'_>, dario: &Person) {
    let folder = scene.serve.folder;
    let cases = folder.quell(&["case"]).await.good();
    assert_eq!(cases.lines().count(), 3, "{cases}");
    let json = folder.quell(&["case", "--json"]).await.json();
    assert_eq!(json.as_array().map(Vec::len), Some(3), "{json}");
    for line in cases.lines() {
        let told = folder.quell(&["explain", line.split_whitespace().next().unwrap()]).await.good();
        assert!((3..=10).contains(&told.lines().count()), "{told}");
    }
    let watched = folder.quell(&["watch", "user"]).await.good();
    assert!(watched.contains(&format!("`okta:{}`", Scene::account(dario))), "{watched}");
    let orders = folder.quell(&["order"]).await.good();
    for state in ["undone", "denied", "verified"] {
        assert!(orders.contains(&format!(": {state} ")), "no `{state}` in:\n{orders}");
    }
    let nobody = folder.quell(&["explain", "cas_aaaaaaaaaaaaaaaaaaaaaaaaaa"]).await.bad(1);
    assert!(nobody.contains("Q0005"), "{nobody}");
}

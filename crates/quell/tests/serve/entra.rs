//! One person with an account at two providers: one finding ends what is held at both, and where
//! one of them fails the records say which and why. What is claimed is asked of the providers.

use quell_core::time::SECOND;
use quell_lab::attack::{self, Lure};
use quell_lab::entra::{Entra, EntraOptions, RunningEntra};
use quell_lab::{Fault, Injected, Options, Person, Provider, Running};
use serde_json::{Value, json};

use crate::common::{self, Folder, Serve, until};
use crate::oidc::evidence;

const TAP_TOKEN: &str = "invented-tap-bearer-token";
const OKTA_TOKEN: &str = "invented-okta-bearer-token";

const SETTINGS: &str = r#"
[[source]]
name = "proofpoint_tap"
bearer = ["file:tap.token"]

[[source]]
name = "okta"
bearer = ["file:okta-source.token"]

[[target]]
provider = "okta"
kind = "okta"
url = "@OKTA@"
token = "file:okta.token"
step_up_group = "@OKTA_GROUP@"
quiet_ms = 400
lag_ms = 5000

[[target]]
provider = "entra_id"
kind = "entra_id"
url = "@ENTRA@"
login_url = "@ENTRA@"
tenant_id = "@TENANT@"
client_id = "@CLIENT@"
client_secret = "file:entra.secret"
step_up_group = "@ENTRA_GROUP@"
actions = ["end_sessions", "force_reauth", "suspend", "step_up"]
effect_ms = 0
lag_ms = 2000
"#;

/// What a team adds to ask for a stronger sign-in after a click.
const STEP_UP: &str = r#"
@id("step-up-lure")
@reason("a click asks for a stronger sign-in for a while")
@ttl("12h")
permit (principal == Source::"proofpoint_tap", action == Action::"step_up", resource)
when { resource in Class::"human" && context.kind == "url_click" };
"#;

struct Scene<'f> {
    okta: Running,
    entra: RunningEntra,
    serve: Serve<'f>,
}

/// What somebody holds at one of the providers.
struct Held {
    base: String,
    cookie: String,
    access: String,
}

impl Scene<'_> {
    /// A sign-in with a password alone, as both providers take it.
    fn weak(person: &Person) -> Value {
        let from = &person.usual;
        json!({
            "login": person.address, "ip": from.ip, "user_agent": from.user_agent,
            "device": from.device,
        })
    }

    /// Signs somebody in at both.
    async fn sign_in(&self, person: &Person) -> [Held; 2] {
        let body = Self::weak(person);
        let mut held = Vec::new();
        for base in [self.okta.base_url(), self.entra.base_url()] {
            // not by `send`, which keeps the answers that must hold no secret
            let request = self.serve.http.post(format!("{base}/lab/sign-in"));
            let mut response = request.json(&body).send().await.unwrap();
            let login = response.chunk().await.unwrap().unwrap();
            let login: Value = serde_json::from_slice(&login).unwrap();
            let text = |name: &str| login.get(name).and_then(Value::as_str).unwrap().to_owned();
            let (session, access) = (text("session"), text("access_token"));
            let cookie = format!("sid={session}");
            for secret in [&session, &access, &text("refresh_token")] {
                self.serve.folder.know("what she holds", secret);
            }
            held.push(Held { base: base.to_owned(), cookie, access });
        }
        held.try_into().unwrap_or_else(|_| panic!("two providers"))
    }

    /// Whether cookie and access token still open the resource.
    async fn opens(&self, held: &Held) -> [bool; 2] {
        let resource = || self.serve.http.get(format!("{}/lab/resource", held.base));
        let cookie = resource().header("cookie", &held.cookie).send().await.unwrap().status();
        let access = resource().bearer_auth(&held.access).send().await.unwrap().status();
        [cookie.is_success(), access.is_success()]
    }

    /// How both providers answer a sign-in with a password alone.
    async fn weak_sign_ins(&self, person: &Person) -> [u16; 2] {
        let mut statuses = [0; 2];
        let bases = [self.okta.base_url(), self.entra.base_url()];
        for (status, base) in statuses.iter_mut().zip(bases) {
            let request = self.serve.http.post(format!("{base}/lab/sign-in"));
            let response = request.json(&Self::weak(person)).send().await.unwrap();
            *status = response.status().as_u16();
        }
        statuses
    }

    /// A click as Proofpoint TAP tells it, then a foreign sign-in as Okta tells it.
    async fn attack(&self, person: &Person) {
        let at = common::now();
        let history = attack::sign_in_history(person, at);
        self.serve.accept("okta", OKTA_TOKEN, &json!(history)).await;
        self.click(person).await;
        let foreign = attack::sign_in(person, &attack::attacker(), at.plus(-5 * SECOND)).unwrap();
        self.serve.accept("okta", OKTA_TOKEN, &json!([foreign])).await;
    }

    async fn click(&self, person: &Person) {
        let at = common::now();
        let clicked = at.plus(-20 * SECOND);
        let click =
            attack::click_permitted(person, &Lure::default(), clicked, clicked.plus(SECOND));
        let click = attack::tap(&[click], &[], at.plus(-10 * SECOND));
        self.serve.accept("proofpoint_tap", TAP_TOKEN, &click).await;
    }

    /// The next requests for an end of sessions at Entra ID go wrong.
    fn fail(&self, person: &Person, status: u16, times: u32) {
        let id = person.entra_account().unwrap().id;
        let fault = Fault::Answer { status, retry_after: None, after_effect: false };
        let path = format!("/v1.0/users/{id}/revokeSignInSessions");
        let injected = Injected { method: Some("POST".to_owned()), path, times, fault };
        self.entra.inject(injected).unwrap();
    }
}

fn id(order: &Value) -> String {
    order.get("id").and_then(Value::as_str).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_finding_contains_both_accounts() {
    let company = quell_lab::company();
    let person = |handle: &str| company.person(handle).unwrap();
    let (alice, dario, eva) = (person("alice"), person("dario"), person("eva"));
    let okta = Provider::start(&company, Options::default()).await.unwrap();
    let entra = Entra::start(&company, EntraOptions::default()).await.unwrap();
    let folder = Folder::init().await;
    let settings = [
        ("@OKTA_GROUP@", okta.step_up_group()),
        ("@ENTRA_GROUP@", entra.group()),
        ("@OKTA@", okta.base_url()),
        ("@ENTRA@", entra.base_url()),
        ("@TENANT@", entra.tenant()),
        ("@CLIENT@", entra.client().0),
    ];
    let settings = settings.iter().fold(SETTINGS.to_owned(), |s, (at, to)| s.replace(at, to));
    folder.settings(&settings);
    folder.secret("tap.token", TAP_TOKEN);
    folder.secret("okta-source.token", OKTA_TOKEN);
    folder.secret("okta.token", okta.token());
    folder.secret("entra.secret", entra.client().1);
    let both = |person: &Person| {
        let account = person.entra_account().unwrap();
        let (id, login) = (account.id, account.login);
        let more = json!({ "provider": "entra_id", "id": id, "login": login });
        common::entry(person, &["human"], &[more])
    };
    folder.write("directory.json", &json!([both(alice), both(dario), both(eva)]).to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    folder.write("policy/step_up.cedar", STEP_UP);
    let (old, new) = (r#"["watch", "force_reauth"]"#, r#"["watch", "step_up", "force_reauth"]"#);
    folder.edit("policy/tiers.toml", old, new);
    folder.quell(&["check"]).await.good();
    folder.arm().await;
    folder.quell(&["arm", "proofpoint_tap", "step_up"]).await.good();
    let serve = folder.serve().await;
    let scene = Scene { okta, entra, serve };
    busy_then_done(&scene, alice).await;
    refused_for_good(&scene, dario).await;
    stepped_up_and_taken_back(&scene, eva).await;
    evidence(&folder).await;
    scene.serve.stop().await;
    folder.no_secret_leaked("end_sessions");
}

/// Entra ID is busy for a while: Okta is done meanwhile, and the retry finishes the rest.
async fn busy_then_done(scene: &Scene<'_>, alice: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    let held = scene.sign_in(alice).await;
    for held in &held {
        assert_eq!(scene.opens(held).await, [true, true]);
    }
    // two orders ask for the same call: the click's and the finding's
    scene.fail(alice, 503, 4);
    scene.attack(alice).await;
    let (at_okta, at_entra) = (alice.account().unwrap(), alice.entra_account().unwrap());
    let first = serve.order_in("verified", "end_sessions", &at_okta.id).await;
    let second = serve.order_in("verified", "end_sessions", &at_entra.id).await;
    assert_eq!(first.get("case"), second.get("case"));
    assert_eq!(first.get("findings"), second.get("findings"));
    for held in &held {
        until("nothing of what she held opens the resource", async || {
            match scene.opens(held).await {
                [false, false] => Ok(()),
                other => Err(format!("{other:?} at {}", held.base)),
            }
        })
        .await;
    }
    assert_eq!(scene.entra.pending_faults(), 0);
    let mut effects = scene.entra.effects();
    effects.retain(|e| e.user_agent.contains(&id(&second)));
    // once, or twice where the first was within the second of the look before it
    assert!((1..=2).contains(&effects.len()), "{effects:?}");
    let told = folder.quell(&["explain", &id(&second), "--json"]).await.json().to_string();
    for word in ["answered 503", "serviceNotAvailable", "revokeSignInSessions", "entra_id"] {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
}

/// Entra ID is busy, then says that the application may not: the order fails there, people are
/// called, and what Okta did stands.
async fn refused_for_good(scene: &Scene<'_>, dario: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    let [at_okta, at_entra] = scene.sign_in(dario).await;
    scene.fail(dario, 503, 2);
    scene.fail(dario, 403, 2);
    scene.attack(dario).await;
    let account = dario.entra_account().unwrap().id;
    serve.order_in("verified", "end_sessions", &dario.account().unwrap().id).await;
    let failed = serve.order_in("failed", "end_sessions", &account).await;
    let reason = failed.get("reason").and_then(Value::as_str).unwrap();
    assert!(reason.contains("no_permission"), "{reason}");
    until("Okta ended what he held", async || match scene.opens(&at_okta).await {
        [false, false] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    // the click's step-up asks the cookie for more; the token lives on
    assert_eq!(scene.opens(&at_entra).await, [false, true]);
    let told = folder.quell(&["explain", &id(&failed), "--json"]).await.json().to_string();
    for word in ["answered 503", "answered 403", "Authorization_RequestDenied"] {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
    let case = failed.get("case").and_then(Value::as_str).unwrap();
    let told = folder.quell(&["explain", case]).await.good();
    assert!(told.contains("failed") && told.contains("verified"), "{told}");
}

/// A click alone: both providers ask her for more, until somebody takes it back, as the time to
/// live does once nothing is open.
async fn stepped_up_and_taken_back(scene: &Scene<'_>, eva: &Person) {
    let (serve, folder) = (&scene.serve, scene.serve.folder);
    assert_eq!(scene.weak_sign_ins(eva).await, [200, 200]);
    let history = attack::sign_in_history(eva, common::now());
    serve.accept("okta", OKTA_TOKEN, &json!(history)).await;
    scene.click(eva).await;
    let accounts = [eva.account().unwrap().id.clone(), eva.entra_account().unwrap().id];
    for account in &accounts {
        let order = serve.order_in("verified", "step_up", account).await;
        assert!(order.get("undo_at").is_some_and(Value::is_string), "no time to live: {order}");
    }
    assert_eq!(scene.weak_sign_ins(eva).await, [401, 400]);
    for account in &accounts {
        let order = id(&serve.order("step_up", account).await.unwrap());
        folder.quell(&["undo", &order, "--why", "a link checker clicked"]).await.good();
        // the finding is still in force, so that another order may ask for the same again
        until("the provider took her out of the group", async || {
            let effects = [scene.okta.effects(), scene.entra.effects()].concat();
            let taken_out = |e: &&quell_lab::Effect| {
                e.method == "DELETE" && e.user == *account && e.user_agent.contains(&order)
            };
            let times = effects.iter().filter(taken_out).count();
            if times == 1 { Ok(()) } else { Err(format!("{effects:?}")) }
        })
        .await;
        until("the records say so", async || {
            let told = folder.quell(&["explain", &order, "--json"]).await.good();
            if told.contains("the read-back finds access restored") { Ok(()) } else { Err(told) }
        })
        .await;
    }
}

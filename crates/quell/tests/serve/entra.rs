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
effect_ms = 0
lag_ms = 2000
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
    /// Signs somebody in at both.
    async fn sign_in(&self, person: &Person) -> [Held; 2] {
        let from = &person.usual;
        let body = json!({
            "login": person.address, "ip": from.ip, "user_agent": from.user_agent,
            "device": from.device,
        });
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

    /// A click as Proofpoint TAP tells it, then a foreign sign-in as Okta tells it.
    async fn attack(&self, person: &Person) {
        let at = common::now();
        let history = attack::sign_in_history(person, at);
        self.serve.accept("okta", OKTA_TOKEN, &json!(history)).await;
        let clicked = at.plus(-20 * SECOND);
        let click =
            attack::click_permitted(person, &Lure::default(), clicked, clicked.plus(SECOND));
        let click = attack::tap(&[click], &[], at.plus(-10 * SECOND));
        self.serve.accept("proofpoint_tap", TAP_TOKEN, &click).await;
        let foreign = attack::sign_in(person, &attack::attacker(), at.plus(-5 * SECOND)).unwrap();
        self.serve.accept("okta", OKTA_TOKEN, &json!([foreign])).await;
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
    let (alice, dario) = (person("alice"), person("dario"));
    let okta = Provider::start(&company, Options::default()).await.unwrap();
    let entra = Entra::start(&company, EntraOptions::default()).await.unwrap();
    let folder = Folder::init().await;
    let settings = [
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
    folder.write("directory.json", &json!([both(alice), both(dario)]).to_string());
    folder.edit("quell.toml", "directory.csv", "directory.json");
    folder.quell(&["check"]).await.good();
    folder.arm().await;
    let serve = folder.serve().await;
    let scene = Scene { okta, entra, serve };
    busy_then_done(&scene, alice).await;
    refused_for_good(&scene, dario).await;
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
    assert!(effects.iter().all(|e| e.path.ends_with("/revokeSignInSessions")), "{effects:?}");
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
    assert_eq!(scene.opens(&at_entra).await, [true, true]);
    let told = folder.quell(&["explain", &id(&failed), "--json"]).await.json().to_string();
    for word in ["answered 503", "answered 403", "Authorization_RequestDenied"] {
        assert!(told.contains(word), "no `{word}` in {told}");
    }
    let case = failed.get("case").and_then(Value::as_str).unwrap();
    let told = folder.quell(&["explain", case]).await.good();
    assert!(told.contains("failed") && told.contains("verified"), "{told}");
}

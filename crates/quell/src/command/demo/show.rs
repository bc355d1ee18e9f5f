//! The demonstration's play, scene by scene. What is claimed is asked of the provider.

use std::path::Path;

use quell_core::time::{MINUTE, SECOND, Time};
use quell_evidence::bundle;
use quell_evidence::note::VerifierKey;
use quell_lab::Person;
use quell_lab::attack::{self, Lure};
use serde_json::{Value, json};

use super::Shown;
use super::scene::{Login, Scene, Works, just_now};
use crate::fault::Fault;

type Narrate<'a> = &'a (dyn Fn(&str) -> Result<(), Fault> + Sync);

const DEAD: Works = Works { session: false, access: false, refresh: false };
const ALIVE: Works = Works { session: true, access: true, refresh: true };

/// Plays everything and gives what was shown.
pub(super) async fn play(
    scene: Scene,
    folder: &Path,
    narrate: Narrate<'_>,
) -> Result<Shown, Fault> {
    let mut shown = Shown::default();
    narrate("quell demo: a company with its identity provider on this machine")?;
    narrate(&format!("  provider {} (Okta dialect)", scene.provider.base_url()))?;
    narrate(&format!("  quell    intake {}, control {}", scene.quell.intake, scene.quell.control))?;
    alice(&scene, &mut shown, narrate).await?;
    administrator(&scene, &mut shown, narrate).await?;
    break_glass(&scene, &mut shown, narrate).await?;
    bystanders(&scene, &mut shown, narrate).await?;
    proof(scene, folder, &mut shown, narrate).await?;
    Ok(shown)
}

fn person<'a>(scene: &'a Scene, handle: &str) -> Result<&'a Person, Fault> {
    let person = scene.company.person(handle);
    person.ok_or_else(|| Fault::shown(format!("the lab has no `{handle}`")))
}

fn login_of(person: &Person) -> Result<String, Fault> {
    let login = person.account().and_then(|account| account.login.clone());
    login.ok_or_else(|| Fault::shown(format!("`{}` has no login", person.handle)))
}

fn account_of(person: &Person) -> String {
    person.account().map(|account| account.id.clone()).unwrap_or_default()
}

/// Somebody signs in from the usual place; returns when the provider's log shows it.
async fn come_to_work(scene: &Scene, person: &Person) -> Result<Login, Fault> {
    let known = scene.quell.polled();
    let login = scene.sign_in(&login_of(person)?, &person.usual).await?;
    let shown = async |scene: &Scene| scene.quell.polled() > known;
    scene.until("the provider's log shows the sign-in", shown).await?;
    Ok(login)
}

/// A click on the phishing page, as Proofpoint TAP tells it.
async fn click(scene: &Scene, person: &Person, at: Time) -> Result<(), Fault> {
    let lure = Lure::default();
    let record = attack::click_permitted(person, &lure, at, at.plus(SECOND));
    let body = attack::tap(&[record], &[], at.plus(2 * SECOND));
    let answer = scene.post("proofpoint_tap", &body).await?;
    match answer.pointer("/records/0/signals/0") {
        Some(_) => Ok(()),
        None => Err(Fault::shown(format!("the click gave no signal: {answer}"))),
    }
}

async fn orders(scene: &Scene, person: &Person) -> Result<Vec<Value>, Fault> {
    let account = account_of(person);
    let rows = scene.get("/v1/orders").await?;
    let mine = |row: &&Value| {
        let id = row.pointer("/on/account/id").and_then(Value::as_str);
        id == Some(account.as_str())
    };
    Ok(rows.as_array().into_iter().flatten().filter(mine).cloned().collect())
}

fn state_of(rows: &[Value], action: &str) -> Option<String> {
    let of = |row: &&Value| row.get("action").and_then(Value::as_str) == Some(action);
    let state = rows.iter().find(of).and_then(|row| row.get("state")).and_then(Value::as_str);
    state.map(str::to_owned)
}

async fn until_state(
    scene: &Scene,
    person: &Person,
    action: &str,
    state: &str,
) -> Result<(), Fault> {
    let what = format!("`{action}` for {} is `{state}`", person.handle);
    scene
        .until(&what, async |scene: &Scene| {
            let rows = orders(scene, person).await.unwrap_or_default();
            state_of(&rows, action).as_deref() == Some(state)
        })
        .await
}

async fn until_dead(scene: &Scene, who: &str, login: &Login) -> Result<(), Fault> {
    scene
        .until(&format!("the provider refuses {who}'s credentials"), async |scene: &Scene| {
            scene.works(login).await.is_ok_and(|works| works == DEAD)
        })
        .await
}

fn told(works: Works) -> String {
    let word = |works: bool| if works { "accepted" } else { "refused" };
    format!(
        "session {}, access token {}, refresh token {}",
        word(works.session),
        word(works.access),
        word(works.refresh)
    )
}

/// The whole road for one person.
async fn alice(scene: &Scene, shown: &mut Shown, narrate: Narrate<'_>) -> Result<(), Fault> {
    let alice = person(scene, "alice")?;
    let name = login_of(alice)?;
    narrate("\n1  a phishing click, then a sign-in from nowhere")?;
    let own = come_to_work(scene, alice).await?;
    narrate(&format!(
        "   {name} signs in from her usual place: {}",
        told(scene.works(&own).await?)
    ))?;
    click(scene, alice, just_now()).await?;
    narrate("   proofpoint_tap: permitted click on a phishing URL, recipient and address hers")?;
    until_state(scene, alice, "force_reauth", "verified").await?;
    narrate("   a click alone: challenge, she must sign in again (verified at the provider)")?;
    let stolen = scene.sign_in(&name, &attack::attacker()).await?;
    let before = scene.works(&stolen).await?;
    narrate(&format!("   the attacker signs in with what she typed: {}", told(before)))?;
    until_dead(scene, "the attacker", &stolen).await?;
    until_state(scene, alice, "end_sessions", "verified").await?;
    let after = scene.works(&stolen).await?;
    narrate(&format!("   a moment later, asked of the provider: {}", told(after)))?;
    shown.contained = before == ALIVE && after == DEAD;
    let rows = orders(scene, alice).await?;
    let done =
        rows.iter().find(|row| row.get("action").and_then(Value::as_str) == Some("end_sessions"));
    let order = done.cloned().unwrap_or_default();
    shown.signal_to_request_ms = between(&order, "sent_at");
    shown.signal_to_verified_ms = between(&order, "verified_at");
    narrate(&format!(
        "   signal to request {:.3} ms, signal to proof {:.3} ms (the provider's own delays in it)",
        shown.signal_to_request_ms, shown.signal_to_verified_ms
    ))?;
    let case = order.get("case").and_then(Value::as_str).unwrap_or_default();
    narrate(&format!("   quell explain {case}"))?;
    let told = scene.get(&format!("/v1/explain/{case}")).await?;
    for line in told.get("lines").and_then(Value::as_array).into_iter().flatten() {
        narrate(&format!("     {}", line.as_str().unwrap_or_default()))?;
    }
    Ok(())
}

/// Milliseconds from the commit of the completing signal.
fn between(order: &Value, name: &str) -> f64 {
    let time = |name: &str| {
        let text = order.get(name).and_then(Value::as_str).unwrap_or_default();
        Time::parse(text).map(|moment| moment.t)
    };
    match (time("received_at"), time(name)) {
        (Some(from), Some(to)) => i32::try_from(to.since(from)).map_or(0.0, f64::from) / 1000.0,
        _ => 0.0,
    }
}

async fn administrator(
    scene: &Scene,
    shown: &mut Shown,
    narrate: Narrate<'_>,
) -> Result<(), Fault> {
    let admin = person(scene, "admin")?;
    let name = login_of(admin)?;
    narrate("\n2  the same against an administrator")?;
    come_to_work(scene, admin).await?;
    click(scene, admin, just_now()).await?;
    until_state(scene, admin, "force_reauth", "verified").await?;
    let stolen = scene.sign_in(&name, &attack::attacker()).await?;
    until_dead(scene, "the attacker", &stolen).await?;
    until_state(scene, admin, "end_sessions", "verified").await?;
    shown.administrator_contained = scene.works(&stolen).await? == DEAD;
    narrate("   her sessions end at once, without asking anybody (verified)")?;
    let rows = orders(scene, admin).await?;
    let waiting = state_of(&rows, "suspend").as_deref() == Some("awaiting_approval");
    let account = account_of(admin);
    let suspended = scene
        .provider
        .effects()
        .iter()
        .any(|effect| effect.user == account && effect.path.contains("suspend"));
    shown.suspension_awaits_approval = waiting && !suspended;
    narrate("   her suspension would lock her out: it waits for an approval, nothing is sent")
}

async fn break_glass(scene: &Scene, shown: &mut Shown, narrate: Narrate<'_>) -> Result<(), Fault> {
    let glass = person(scene, "break_glass")?;
    narrate("\n3  a breached password at the break-glass account")?;
    let event = attack::breached_credential(glass, &attack::attacker(), just_now());
    let event = event.ok_or_else(|| Fault::shown("the break-glass account has no login"))?;
    scene.post("okta", &json!([event])).await?;
    scene
        .until("people are paged for the break-glass account", async |scene: &Scene| {
            let pages = scene.get("/v1/records?type=page").await.unwrap_or_default();
            let kind = |row: &Value| row.pointer("/body/kind") == Some(&json!("break_glass"));
            pages.as_array().is_some_and(|rows| rows.iter().any(kind))
        })
        .await?;
    let account = account_of(glass);
    let touched = scene.provider.effects().iter().any(|effect| effect.user == account);
    shown.break_glass_left_alone = !touched && orders(scene, glass).await?.is_empty();
    narrate("   nothing is done to it, and people are paged")
}

async fn bystanders(scene: &Scene, shown: &mut Shown, narrate: Narrate<'_>) -> Result<(), Fault> {
    let (dario, eva) = (person(scene, "dario")?, person(scene, "eva")?);
    narrate("\n4  what an outsider alone can cause, and a click alone")?;
    let at = just_now();
    let mail = attack::message_delivered(dario, &Lure::default(), at.plus(-MINUTE));
    scene.post("proofpoint_tap", &attack::tap(&[], &[mail], at)).await?;
    let failed: Vec<Value> = (0..20)
        .filter_map(|n| attack::sign_in_failed(dario, &attack::attacker(), at.plus(-n * SECOND)))
        .collect();
    scene.post("okta", &json!(failed)).await?;
    come_to_work(scene, eva).await?;
    click(scene, eva, just_now()).await?;
    until_state(scene, eva, "force_reauth", "verified").await?;
    let effects = scene.provider.effects();
    let of = |person: &Person| {
        let account = account_of(person);
        effects.iter().filter(|e| e.user == account).map(|e| e.path.clone()).collect::<Vec<_>>()
    };
    let rows = orders(scene, dario).await?;
    let watched = rows.iter().all(|row| row.get("action") == Some(&json!("watch")));
    shown.outsider_stayed_at_observe = of(dario).is_empty() && watched && !rows.is_empty();
    narrate("   phishing mail and 20 failed sign-ins: watched, nothing sent to the provider")?;
    let tokens_ended = of(eva).iter().any(|path| path.contains("oauthTokens=true"));
    shown.click_stayed_at_challenge = of(eva).len() == 1 && !tokens_ended;
    narrate("   a click alone: asked to sign in again, tokens and account untouched")
}

/// Export, verify, and verify again with one byte changed.
async fn proof(
    scene: Scene,
    folder: &Path,
    shown: &mut Shown,
    narrate: Narrate<'_>,
) -> Result<(), Fault> {
    narrate("\n5  the proof")?;
    let bytes = scene.bundle().await?;
    let path = folder.join("evidence.bundle");
    std::fs::write(&path, &bytes).map_err(|e| Fault::file(&path, &e))?;
    let key: VerifierKey =
        scene.quell.verifier.parse().map_err(|_| Fault::evidence("the public key is not valid"))?;
    let seen = bundle::verify(&bytes, &key, None);
    let seen = seen.map_err(|broken| Fault::evidence(broken.to_string()))?;
    let mut changed = bytes.clone();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    shown.evidence_verified = bundle::verify(&changed, &key, None).is_err() && seen.records > 0;
    shown.records = seen.records;
    narrate(&format!("   {} records verify offline with the public key alone", seen.records))?;
    narrate("   with one byte changed the bundle is refused")?;
    let took = (crate::start::clock())().since(scene.started);
    shown.seconds = i32::try_from(took / 1000).map_or(0.0, f64::from) / 1000.0;
    let Scene { quell, provider, .. } = scene;
    quell.stop().await;
    provider.stop();
    narrate(&format!("\nall of it true, in {:.1} s", shown.seconds))
}

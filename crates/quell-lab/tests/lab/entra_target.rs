//! The Entra ID target end to end against the lab's provider in the Graph dialect: what it says is
//! what the resource sees.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use quell_core::action::Action;
use quell_core::identity::Account;
use quell_core::order::{Answer, Fault, Verb};
use quell_core::time::SECOND;
use quell_lab::entra::{Certificate, Entra as Lab, EntraOptions, RunningEntra};
use quell_lab::{Fault as Strike, Injected, Person, company};
use quell_targets::entra::{Credential, Entra, EntraConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::common::{body, person};
use crate::okta_target::{Order, now, seen};

/// A provider whose reads are current, so that a test need not wait for them.
pub(crate) async fn lab(change: impl FnOnce(&mut EntraOptions)) -> RunningEntra {
    let mut options = EntraOptions { read_lag: Duration::ZERO, ..EntraOptions::default() };
    change(&mut options);
    Lab::start(&company(), options).await.unwrap()
}

/// Everything that the target can do, at a provider, whose Graph is reached by an address.
pub(crate) fn target(lab: &RunningEntra, graph: &str) -> Entra {
    let vendor = VendorConfig::new(graph, Auth::None);
    let (client, secret) = lab.client();
    let credential = Credential::Secret(Secret::new(secret));
    let mut config = EntraConfig::new("entra_id", vendor, lab.tenant(), client, credential);
    config.login = lab.base_url().to_owned();
    config.actions.extend([Action::StepUp, Action::ConfirmCompromised]);
    config.step_up_group = Some(lab.group().to_owned());
    (config.effect, config.lag) = (0, 0);
    Entra::new(config).unwrap()
}

pub(crate) fn account(person: &Person) -> Account {
    person.entra_account().unwrap()
}

/// A browser and an application of sorts.
struct Browser<'a> {
    lab: &'a RunningEntra,
    http: reqwest::Client,
}

struct Held {
    cookie: String,
    refresh: String,
    access: String,
}

impl<'a> Browser<'a> {
    fn new(lab: &'a RunningEntra) -> Self {
        let http = reqwest::Client::builder().tls_certs_only([]).no_proxy().build().unwrap();
        Self { lab, http }
    }

    async fn sign_in(&self, person: &Person, strong: bool) -> Result<Held, u16> {
        let url = format!("{}/lab/sign-in", self.lab.base_url());
        let asked = json!({ "login": person.address, "strong": strong });
        let request = self.http.post(url).header("content-type", "application/json");
        let response = request.body(asked.to_string()).send().await.unwrap();
        if response.status() != 200 {
            return Err(response.status().as_u16());
        }
        let told: Value = serde_json::from_slice(&body(response).await).unwrap();
        let text = |name: &str| told[name].as_str().unwrap().to_owned();
        Ok(Held {
            cookie: text("session"),
            refresh: text("refresh_token"),
            access: text("access_token"),
        })
    }

    /// What still opens a door: the cookie, the refresh token, the access token.
    async fn alive(&self, held: &Held) -> [bool; 3] {
        let resource = || self.http.get(format!("{}/lab/resource", self.lab.base_url()));
        let cookie = resource().header("cookie", format!("sid={}", held.cookie));
        let cookie = cookie.send().await.unwrap().status();
        let access = resource().bearer_auth(&held.access).send().await.unwrap().status();
        let url = format!("{}/{}/oauth2/v2.0/token", self.lab.base_url(), self.lab.tenant());
        let form = [("grant_type", "refresh_token"), ("refresh_token", held.refresh.as_str())];
        let refresh = self.http.post(url).form(&form).send().await.unwrap().status();
        [cookie.is_success(), refresh.is_success(), access.is_success()]
    }

    async fn until(&self, held: &Held, want: [bool; 3]) {
        for _ in 0..100_000 {
            if self.alive(held).await == want {
                return;
            }
        }
        panic!("never {want:?}");
    }
}

/// Ends sessions until that is proven, and says how often it was asked for.
async fn end(order: &mut Order, target: &Entra) -> usize {
    let before = order.say(target, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: true, .. }), "{before:?}");
    for times in 1..=100_000 {
        let executed = order.say(target, Verb::Execute, now()).await;
        assert_eq!(executed.answer, Answer::Accepted { already: false }, "{executed:?}");
        let mut rounds = 0;
        loop {
            let outcome = order.say(target, Verb::ReadBack, now()).await;
            if outcome.answer == seen(true, true) {
                assert!(outcome.detail.contains("access tokens"), "{outcome:?}");
                return times;
            }
            if outcome.answer == seen(false, true) {
                assert!(outcome.detail.contains("within the second"), "{outcome:?}");
                break;
            }
            rounds += 1;
            assert!(rounds < 100_000, "{outcome:?}");
        }
    }
    panic!("never proven");
}

#[tokio::test]
async fn what_was_issued_in_the_second_of_the_end_is_ended_by_its_repetition() {
    let lab = lab(|_| {}).await;
    let (browser, alice) = (Browser::new(&lab), person("alice"));
    let target = target(&lab, lab.base_url());
    assert_eq!(target.check(now()).await, Ok(()));
    let held = browser.sign_in(&alice, false).await.unwrap();
    assert_eq!(browser.alive(&held).await, [true; 3]);
    let mut order = Order::on(account(&alice), Action::EndSessions);
    let times = end(&mut order, &target).await;
    browser.until(&held, [false; 3]).await;
    let effects = lab.effects();
    assert_eq!(effects.len(), times);
    assert!(effects.iter().all(|e| e.user_agent.contains(&order.call.order.to_string())));
    // and the person gets in again
    assert!(browser.sign_in(&alice, false).await.is_ok());
}

#[tokio::test]
async fn access_tokens_outlive_the_end_where_nobody_listens() {
    let lab = lab(|options| options.cae_delay = None).await;
    let (browser, alice) = (Browser::new(&lab), person("alice"));
    let held = browser.sign_in(&alice, false).await.unwrap();
    let mut order = Order::on(account(&alice), Action::ForceReauth);
    end(&mut order, &target(&lab, lab.base_url())).await;
    browser.until(&held, [false, false, true]).await;
}

#[tokio::test]
async fn stepped_up_then_taken_back() {
    let lab = lab(|_| {}).await;
    let (browser, alice) = (Browser::new(&lab), person("alice"));
    let target = target(&lab, lab.base_url());
    let held = browser.sign_in(&alice, false).await.unwrap();
    let mut order = Order::on(account(&alice), Action::StepUp);
    order.say(&target, Verb::Probe, now()).await;
    let executed = order.say(&target, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: false }, "{executed:?}");
    assert_eq!(order.say(&target, Verb::ReadBack, now()).await.answer, seen(true, true));
    // a token that is out lives on; the next one is asked for more
    assert_eq!(browser.alive(&held).await, [false, false, true]);
    assert!(browser.sign_in(&alice, false).await.is_err());
    assert!(browser.sign_in(&alice, true).await.is_ok());
    // a second order finds it so and takes nothing back
    let mut second = Order::on(account(&alice), Action::StepUp);
    let before = second.say(&target, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { already: true, .. }), "{before:?}");
    let executed = second.say(&target, Verb::Execute, now()).await;
    assert_eq!(executed.answer, Answer::Accepted { already: true }, "{executed:?}");
    let refused = Answer::Fault { fault: Fault::Precondition, retry_at: None };
    assert_eq!(second.say(&target, Verb::Undo, now()).await.answer, refused);
    let undone = order.say(&target, Verb::Undo, now()).await;
    assert_eq!(undone.answer, Answer::Accepted { already: false }, "{undone:?}");
    assert_eq!(order.say(&target, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
    assert!(browser.sign_in(&alice, false).await.is_ok());
    assert_eq!(lab.effects().len(), 2);
}

#[tokio::test]
async fn disabled_then_enabled_and_the_block_alone_ends_nothing() {
    let lab = lab(|_| {}).await;
    let (browser, alice) = (Browser::new(&lab), person("alice"));
    let target = target(&lab, lab.base_url());
    let held = browser.sign_in(&alice, false).await.unwrap();
    let mut order = Order::on(account(&alice), Action::Suspend);
    order.say(&target, Verb::Probe, now()).await;
    order.say(&target, Verb::Execute, now()).await;
    assert_eq!(order.say(&target, Verb::ReadBack, now()).await.answer, seen(true, true));
    assert_eq!(browser.alive(&held).await, [false; 3]);
    assert!(browser.sign_in(&alice, true).await.is_err());
    order.say(&target, Verb::Undo, now()).await;
    assert_eq!(order.say(&target, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
    assert_eq!(browser.alive(&held).await, [true; 3], "the same tokens live again");
}

#[tokio::test]
async fn a_user_is_confirmed_and_dismissed() {
    let lab = lab(|_| {}).await;
    let target = target(&lab, lab.base_url());
    let mut order = Order::on(account(&person("alice")), Action::ConfirmCompromised);
    let before = order.say(&target, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: true, .. }), "{before:?}");
    order.say(&target, Verb::Execute, now()).await;
    assert_eq!(order.say(&target, Verb::ReadBack, now()).await.answer, seen(true, true));
    order.say(&target, Verb::Undo, now()).await;
    assert_eq!(order.say(&target, Verb::ReadBackUndo, now()).await.answer, seen(true, true));
}

#[tokio::test]
async fn a_certificate_proves_the_application_and_another_does_not() {
    let (ours, public_key) = pem(b"the DER of our certificate");
    let (others, _) = pem(b"the DER of our certificate");
    let digest = Sha256::digest(b"the DER of our certificate");
    let thumbprint = data_encoding::BASE64URL_NOPAD.encode(&digest);
    let certificate = Certificate { thumbprint, public_key };
    let lab = lab(|options| options.certificate = Some(certificate)).await;
    let check = async |text: String| {
        let vendor = VendorConfig::new(lab.base_url(), Auth::None);
        let credential = Credential::Certificate(Secret::new(text));
        let mut config =
            EntraConfig::new("entra_id", vendor, lab.tenant(), lab.client().0, credential);
        config.login = lab.base_url().to_owned();
        Entra::new(config).unwrap().check(now()).await
    };
    assert_eq!(check(ours).await, Ok(()));
    // the right thumbprint and the wrong key
    let refusal = check(others).await.unwrap_err();
    assert_eq!((refusal.fault, refusal.status), (Fault::AuthBroken, Some(401)));
}

/// A PEM with this DER as its certificate and a key of this run; and the public half.
fn pem(der: &[u8]) -> (String, Vec<u8>) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let key: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let block = |label: &str, der: &[u8]| {
        let body = data_encoding::BASE64_MIME.encode(der);
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", body.trim_end())
    };
    let text = block("CERTIFICATE", der) + &block("PRIVATE KEY", key.as_ref());
    (text, pair.public_key().as_ref().to_vec())
}

#[tokio::test]
async fn a_read_that_lags_is_no_absence() {
    let lab = lab(|options| options.read_lag = Duration::from_millis(300)).await;
    let target = {
        let vendor = VendorConfig::new(lab.base_url(), Auth::None);
        let (client, secret) = lab.client();
        let credential = Credential::Secret(Secret::new(secret));
        let mut config = EntraConfig::new("entra_id", vendor, lab.tenant(), client, credential);
        config.login = lab.base_url().to_owned();
        config.lag = 60 * SECOND;
        Entra::new(config).unwrap()
    };
    let mut order = Order::on(account(&person("alice")), Action::Suspend);
    order.say(&target, Verb::Probe, now()).await;
    order.say(&target, Verb::Execute, now()).await;
    assert_eq!(order.say(&target, Verb::ReadBack, now()).await.answer, seen(false, false));
    let at = now();
    assert_eq!(order.proven(&target, at).await.answer, seen(true, true));
}

#[tokio::test]
async fn tokens_that_are_withdrawn_and_permissions_that_are_missing_are_told_apart() {
    let few = |options: &mut EntraOptions| {
        options.permissions.retain(|name| name != "User.RevokeSessions.All");
    };
    let lab = lab(few).await;
    let target = target(&lab, lab.base_url());
    let refusal = target.check(now()).await.unwrap_err();
    assert_eq!(refusal.fault, Fault::NoPermission);
    assert!(refusal.detail.contains("User.RevokeSessions.All"), "{refusal}");
    let alice = person("alice");
    let mut order = Order::on(account(&alice), Action::EndSessions);
    order.say(&target, Verb::Probe, now()).await;
    let outcome = order.say(&target, Verb::Execute, now()).await;
    let refused = Answer::Fault { fault: Fault::NoPermission, retry_at: None };
    assert_eq!(outcome.answer, refused, "{outcome:?}");
    lab.withdraw_tokens();
    let mut order = Order::on(account(&alice), Action::Suspend);
    let before = order.say(&target, Verb::Probe, now()).await;
    assert!(matches!(before.answer, Answer::Before { alive: true, .. }), "{before:?}");
    // it happened, but nobody said so
    let lost = Strike::Drop { after_effect: true };
    lab.inject(Injected::once("PATCH", "/v1.0/users/", lost)).unwrap();
    let outcome = order.say(&target, Verb::Execute, now()).await;
    let open = Answer::Fault { fault: Fault::Indeterminate, retry_at: None };
    assert_eq!(outcome.answer, open, "{outcome:?}");
    assert_eq!(order.say(&target, Verb::ReadBack, now()).await.answer, seen(true, true));
    assert_eq!(lab.effects().len(), 1);
}

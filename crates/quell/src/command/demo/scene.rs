//! The demonstration's scene: the lab's company and provider, and a Quell that is armed for them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use quell_core::action::Action;
use quell_core::directory::Import;
use quell_core::identity::Identity;
use quell_core::policy::Armed;
use quell_core::time::{DAY, MINUTE, Time};
use quell_lab::{Company, Options, Place, Provider, attack, company};
use quell_sources::poll::SecretRef;
use quell_targets::Secret;
use serde_json::{Value, json};

use crate::assemble::{self, Brain};
use crate::command::init::new_key;
use crate::config::{Role, TargetKind, TargetSettings, Token};
use crate::fault::Fault;
use crate::start::{self, Ingredients, Running};
use crate::{secret, shipped, sources};

/// The log's name in the demonstration.
const ORIGIN: &str = "demo.quell.example.com/default";

/// Everything that the play needs.
pub(crate) struct Scene {
    pub(crate) company: Company,
    pub(crate) provider: quell_lab::Running,
    pub(crate) quell: Running,
    pub(crate) control_token: String,
    pub(crate) source_token: String,
    pub(crate) http: reqwest::Client,
    pub(crate) started: Time,
}

/// What a sign-in at the lab gives.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) session: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// Which of a person's credentials still work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Works {
    pub(crate) session: bool,
    pub(crate) access: bool,
    pub(crate) refresh: bool,
}

impl Scene {
    /// Starts provider and engine and waits until the sign-in history is known.
    pub(crate) async fn set(folder: &Path) -> Result<Self, Fault> {
        let now = (start::clock())();
        let company = company();
        let history: Vec<Value> =
            company.people.iter().flat_map(|p| attack::sign_in_history(p, now)).collect();
        let expected = history.len();
        let options = Options { history, ..Options::default() };
        let lab = |e: &dyn std::fmt::Display| Fault::shown(format!("the lab does not start: {e}"));
        let provider = Provider::start(&company, options).await.map_err(|e| lab(&e))?;
        let brain = armed(&company)?;
        let target = assemble::target(
            &target_settings(provider.base_url()),
            Secret::new(provider.token()),
            &brain.policy,
        )?;
        let key = new_key(ORIGIN)?;
        let key_file = folder.join("key.pub");
        std::fs::write(&key_file, format!("{}\n", key.verifier()))
            .map_err(|e| Fault::file(&key_file, &e))?;
        let control_token = secret::random_hex(32)?;
        let source_token = secret::random_hex(32)?;
        let token = Token {
            name: "admin".to_owned(),
            role: Role::Admin,
            hash: start::hash(&control_token),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let intakes = sources::demo_origins(&brain, &source_token)?;
        let quell = start::start(Ingredients {
            tenant: "default".to_owned(),
            store: folder.join("store"),
            store_key: None,
            brain,
            targets: [("okta".to_owned(), target)].into(),
            key,
            tokens: vec![token],
            intakes,
            intake: any,
            control: any,
            merge_delay: Duration::from_secs(1),
            holder: "demo".to_owned(),
            directory: Some(directory(&company)?),
        })
        .await?;
        let secret = provider.token().to_owned();
        let token = SecretRef::new(move || Ok(secret.clone()));
        sources::poll_okta(
            &quell,
            "okta",
            provider.base_url(),
            token,
            Duration::from_millis(50),
            now.plus(-30 * DAY),
        )?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| Fault::shown(e.to_string()))?;
        let scene =
            Self { company, provider, quell, control_token, source_token, http, started: now };
        scene.wait_for_history(expected).await?;
        Ok(scene)
    }

    /// The poller has read the whole history when the engine has taken that many signals.
    async fn wait_for_history(&self, expected: usize) -> Result<(), Fault> {
        self.until("the sign-in history is read", async |scene: &Self| {
            scene.quell.polled() >= expected
        })
        .await
    }

    /// Asks again and again, for at most 30 seconds.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut holds: impl AsyncFnMut(&Self) -> bool,
    ) -> Result<(), Fault> {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        for _ in 0..1500 {
            if holds(self).await {
                return Ok(());
            }
            ticks.tick().await;
        }
        Err(Fault::shown(format!("within 30 s it did not come true that {what}")))
    }

    /// Signs a person in at the provider.
    pub(crate) async fn sign_in(&self, login: &str, from: &Place) -> Result<Login, Fault> {
        let body = json!({
            "login": login, "ip": from.ip, "user_agent": from.user_agent, "device": from.device,
        });
        let answer = self.call(self.http.post(self.url("/lab/sign-in")).json(&body)).await?;
        let text = |name: &str| {
            let value = answer.get(name).and_then(Value::as_str);
            value.map(str::to_owned).ok_or_else(|| {
                Fault::shown(format!("the lab's sign-in gives no `{name}`: {answer}"))
            })
        };
        Ok(Login {
            session: text("session")?,
            access: text("access_token")?,
            refresh: text("refresh_token")?,
        })
    }

    /// Tries session, access token and refresh token at the provider.
    pub(crate) async fn works(&self, login: &Login) -> Result<Works, Fault> {
        let resource = || self.http.get(self.url("/lab/resource"));
        let session = resource().header("cookie", format!("sid={}", login.session));
        let session = self.status(session).await? == 200;
        let access = self.status(resource().bearer_auth(&login.access)).await? == 200;
        let (id, key) = self.provider.client();
        let form = [("grant_type", "refresh_token"), ("refresh_token", login.refresh.as_str())];
        let refresh = self.http.post(self.url("/oauth2/v1/token")).basic_auth(id, Some(key));
        let refresh = self.status(refresh.form(&form)).await? == 200;
        Ok(Works { session, access, refresh })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.provider.base_url())
    }

    async fn status(&self, request: reqwest::RequestBuilder) -> Result<u16, Fault> {
        let response = request.send().await.map_err(|e| Fault::shown(e.to_string()))?;
        Ok(response.status().as_u16())
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Result<Value, Fault> {
        let bytes = crate::client::capped(request, 16 << 20).await?;
        serde_json::from_slice(&bytes).map_err(|e| Fault::shown(e.to_string()))
    }

    /// Posts a vendor's body to a source.
    pub(crate) async fn post(&self, source: &str, body: &Value) -> Result<Value, Fault> {
        let url = format!("http://{}/v1/sources/{source}", self.quell.intake);
        self.call(self.http.post(url).bearer_auth(&self.source_token).json(body)).await
    }

    /// Asks the control listener.
    pub(crate) async fn get(&self, path: &str) -> Result<Value, Fault> {
        let url = format!("http://{}{path}", self.quell.control);
        self.call(self.http.get(url).bearer_auth(&self.control_token)).await
    }

    /// The bundle of everything so far.
    pub(crate) async fn bundle(&self) -> Result<Vec<u8>, Fault> {
        let url = format!("http://{}/v1/evidence/bundle", self.quell.control);
        let request = self.http.get(url).bearer_auth(&self.control_token);
        crate::client::capped(request, 1 << 30).await
    }
}

fn target_settings(url: &str) -> TargetSettings {
    TargetSettings {
        quiet_ms: Some(400),
        lag_ms: Some(5_000),
        timeout_ms: Some(5_000),
        ..TargetSettings::new("okta", TargetKind::Okta, url)
    }
}

/// The shipped configuration, armed, with the company's break-glass account protected by its id.
pub(crate) fn armed(company: &Company) -> Result<Brain, Fault> {
    let mut policy = shipped::policy();
    let mut text = policy.0.get("armed.toml").cloned().unwrap_or_default();
    for source in ["okta", "proofpoint_tap"] {
        for action in Action::ALL {
            text = Armed::arm(&text, source, *action)
                .map_err(|e| Fault::config(e.to_string(), e.remedy))?;
        }
    }
    policy.0.insert("armed.toml".to_owned(), text);
    let glass = company.person("break_glass").and_then(quell_lab::Person::account);
    if let (Some(account), Some(protected)) = (glass, policy.0.get_mut("protected.toml")) {
        let head = "version = 1\n";
        let entry = format!(
            "{head}\n[[account]]\nprovider = \"okta\"\nid = \"{}\"\nwhy = \"break_glass\"\n",
            account.id
        );
        *protected = protected.replacen(head, &entry, 1);
    }
    Brain::with_policy(&policy).map_err(|problems| assemble::fault(&problems))
}

/// The company's directory as an import.
pub(crate) fn directory(company: &Company) -> Result<Import, Fault> {
    let value = company.directory();
    let identities = value.get("identities").cloned().unwrap_or_default();
    let identities: Vec<Identity> =
        serde_json::from_value(identities).map_err(|e| Fault::shown(e.to_string()))?;
    Ok(Import { origin: "lab".to_owned(), as_of: None, identities })
}

/// A little before now, so that nothing lies in the future.
pub(crate) fn just_now() -> Time {
    (start::clock())().plus(-MINUTE / 60)
}

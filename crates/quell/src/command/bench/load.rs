//! The benchmark's load: generated records of both vendors, as many as fit and at a fixed rate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quell_core::action::Action;
use quell_core::directory::Import;
use quell_core::id::IdentityId;
use quell_core::identity::{Account, Class, Identity};
use quell_core::policy::Armed;
use quell_core::time::{SECOND, Time};
use quell_run::Clock;
use quell_targets::Secret;

use super::provider::Recorder;
use crate::assemble::{self, Brain};
use crate::command::init::new_key;
use crate::config::{TargetKind, TargetSettings};
use crate::fault::Fault;
use crate::start::{self, Ingredients, Running};
use crate::{secret, shipped, sources};

/// The engine under load.
pub(super) struct Rig {
    quell: Running,
    provider: Recorder,
    token: String,
    http: reqwest::Client,
    people: usize,
    store: PathBuf,
    clock: Clock,
    next: Arc<AtomicU64>,
    logged: Arc<AtomicU64>,
}

/// What the first part gave.
pub(super) struct Flood {
    pub(super) signals: u64,
    pub(super) stored_bytes: u64,
    pub(super) raw_bytes: u64,
    pub(super) orders: u64,
}

/// What the second part gave, microseconds.
pub(super) struct Drip {
    pub(super) to_request: Vec<i64>,
    pub(super) to_first_call: Vec<i64>,
    pub(super) late: u64,
}

impl Rig {
    /// Starts engine and provider.
    pub(super) async fn set(folder: &Path, people: usize) -> Result<Self, Fault> {
        let provider = Recorder::default();
        let address = provider.start().await?;
        let mut policy = shipped::policy();
        for source in ["okta", "proofpoint_tap"] {
            for action in Action::ALL {
                let text = policy.0.get("armed.toml").cloned().unwrap_or_default();
                let text = Armed::arm(&text, source, *action)
                    .map_err(|e| Fault::config(e.to_string(), e.remedy))?;
                policy.0.insert("armed.toml".to_owned(), text);
            }
        }
        if let Some(limits) = policy.0.get_mut("limits.toml") {
            *limits = without_budgets(limits);
        }
        let brain = Brain::with_policy(&policy).map_err(|problems| assemble::fault(&problems))?;
        let settings = TargetSettings {
            quiet_ms: Some(0),
            lag_ms: Some(0),
            ..TargetSettings::new("okta", TargetKind::Okta, &format!("http://{address}"))
        };
        let target = assemble::target(&settings, Secret::new("not-a-secret"), &brain.policy)?;
        let token = secret::random_hex(32)?;
        let intakes = sources::demo_origins(&brain, &token)?;
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let store = folder.join("store");
        let quell = start::start(Ingredients {
            tenant: "default".to_owned(),
            store: store.clone(),
            store_key: None,
            brain,
            targets: [("okta".to_owned(), target)].into(),
            key: new_key("bench.quell.example.com/default")?,
            tokens: Vec::new(),
            intakes,
            intake: any,
            control: any,
            merge_delay: Duration::from_secs(1),
            holder: "bench".to_owned(),
            directory: Some(Import {
                origin: "bench".to_owned(),
                as_of: None,
                identities: (0..people).map(person).collect(),
            }),
        })
        .await?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| Fault::store(&e))?;
        let next = Arc::new(AtomicU64::new(1));
        let (clock, logged) = (start::clock(), Arc::new(AtomicU64::new(0)));
        Ok(Self { quell, provider, token, http, people, store, clock, next, logged })
    }

    /// As many signals as fit, in bodies of `batch`, with `in_flight` bodies on their way.
    pub(super) async fn flood(
        &self,
        batch: usize,
        in_flight: usize,
        warm: Duration,
        measured: Duration,
    ) -> Result<Flood, Fault> {
        let (from, to) = self.window(warm, measured);
        let counted = Arc::new(AtomicU64::new(0));
        let raw = Arc::new(AtomicU64::new(0));
        let mut senders = tokio::task::JoinSet::new();
        for lane in 0..in_flight.max(1) {
            let sender = self.sender();
            let (counted, raw) = (Arc::clone(&counted), Arc::clone(&raw));
            senders.spawn(async move {
                let source = if lane % 2 == 0 { "okta" } else { "proofpoint_tap" };
                while (sender.clock)() < to {
                    let body = sender.body(source, batch);
                    let bytes = body.len() as u64;
                    if !sender.post(source, body).await? {
                        tokio::task::yield_now().await;
                        continue;
                    }
                    let now = (sender.clock)();
                    if now >= from && now < to {
                        counted.fetch_add(batch as u64, Ordering::Relaxed);
                        raw.fetch_add(bytes, Ordering::Relaxed);
                    }
                }
                Ok::<(), Fault>(())
            });
        }
        let before = self.stored_at(from).await;
        while let Some(joined) = senders.join_next().await {
            joined.map_err(|e| Fault::store(&e))??;
        }
        let orders = self.provider.seen().len() as u64;
        Ok(Flood {
            signals: counted.load(Ordering::Relaxed),
            stored_bytes: size(&self.store).saturating_sub(before),
            raw_bytes: raw.load(Ordering::Relaxed),
            orders,
        })
    }

    /// The size of the store when the measured time begins.
    async fn stored_at(&self, from: Time) -> u64 {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while (self.clock)() < from {
            ticks.tick().await;
        }
        size(&self.store)
    }

    fn window(&self, warm: Duration, measured: Duration) -> (Time, Time) {
        let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX / 4);
        let from = (self.clock)().plus(micros(warm));
        (from, from.plus(micros(measured)))
    }

    /// Single signals at their intended times; one in `order_every` asks for an order.
    pub(super) async fn drip(
        &self,
        rate: u64,
        order_every: u32,
        warm: Duration,
        measured: Duration,
    ) -> Result<Drip, Fault> {
        let gap = SECOND / i64::try_from(rate.max(1)).unwrap_or(SECOND);
        let every = usize::try_from(order_every).unwrap_or(1).max(1);
        let (from, to) = self.window(warm, measured);
        let start = (self.clock)();
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut sends = tokio::task::JoinSet::new();
        let mut intended: Vec<(String, Time)> = Vec::new();
        let mut late = 0;
        let mut due = start;
        let mut n = 0_usize;
        while due < to {
            while (self.clock)() < due {
                ticks.tick().await;
            }
            late += u64::from((self.clock)().since(due) > 5_000);
            // People from the end of the list, each once, so that every one is a new order.
            let who = self.people.saturating_sub(1 + n / every) % self.people.max(1);
            let asks = n.is_multiple_of(every);
            if asks && due >= from {
                intended.push((account(who), due));
            }
            let sender = self.sender();
            let body = sender.single(who, asks);
            sends.spawn(async move { sender.post("okta", body).await });
            while let Some(done) = sends.try_join_next() {
                done.map_err(|e| Fault::store(&e))??;
            }
            (due, n) = (due.plus(gap), n + 1);
        }
        while let Some(done) = sends.join_next().await {
            done.map_err(|e| Fault::store(&e))??;
        }
        let mut wait = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..30 {
            let seen = self.provider.seen();
            let arrived = |(user, _): &(String, Time)| {
                seen.get(user).is_some_and(|seen| seen.effecting.is_some())
            };
            if intended.iter().all(arrived) {
                break;
            }
            wait.tick().await;
        }
        let seen = self.provider.seen();
        let after = |pick: fn(&super::provider::Seen) -> Option<Time>| {
            let times = intended
                .iter()
                .filter_map(|(user, due)| seen.get(user).and_then(pick).map(|t| t.since(*due)));
            times.collect::<Vec<i64>>()
        };
        Ok(Drip {
            to_request: after(|seen| seen.effecting),
            to_first_call: after(|seen| seen.first),
            late,
        })
    }

    fn sender(&self) -> Sender {
        Sender {
            http: self.http.clone(),
            base: format!("http://{}/v1/sources", self.quell.intake),
            token: self.token.clone(),
            people: self.people,
            clock: Arc::clone(&self.clock),
            next: Arc::clone(&self.next),
            logged: Arc::clone(&self.logged),
        }
    }

    pub(super) async fn stop(self) {
        self.quell.stop().await;
    }
}

/// Makes bodies and posts them.
struct Sender {
    http: reqwest::Client,
    base: String,
    token: String,
    people: usize,
    clock: Clock,
    next: Arc<AtomicU64>,
    /// Records of Okta so far.
    logged: Arc<AtomicU64>,
}

impl Sender {
    /// False when the engine is busy.
    async fn post(&self, source: &str, body: Vec<u8>) -> Result<bool, Fault> {
        let url = format!("{}/{source}", self.base);
        let request = self.http.post(url).bearer_auth(&self.token).body(body);
        let response = request.send().await.map_err(|e| Fault::store(&e))?;
        match response.status().as_u16() {
            202 => Ok(true),
            503 => Ok(false),
            other => Err(Fault::shown(format!("the intake answers {other}"))),
        }
    }

    /// A body of one vendor. One record of Okta in 500 makes a finding: with as many bodies of the
    /// other vendor, one signal in a thousand.
    fn body(&self, source: &str, batch: usize) -> Vec<u8> {
        let mut body = String::with_capacity(batch * 1600);
        let now = (self.clock)();
        for _ in 0..batch {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let who = usize::try_from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33)
                .unwrap_or_default()
                % self.people.max(1);
            // Only the first half of the people, so that the second part finds fresh ones.
            let who = who / 2;
            if source == "okta" {
                let finds = self.logged.fetch_add(1, Ordering::Relaxed).is_multiple_of(500);
                okta(&mut body, n, who, now, finds);
            } else {
                tap(&mut body, n, who, now);
            }
        }
        body.into_bytes()
    }

    fn single(&self, who: usize, asks: bool) -> Vec<u8> {
        let mut body = String::with_capacity(1600);
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        okta(&mut body, n, who, (self.clock)(), asks);
        body.into_bytes()
    }
}

fn account(n: usize) -> String {
    format!("00uBENCH{n:08}")
}

fn person(n: usize) -> Identity {
    let key = format!("P{n:08}");
    let login = format!("p{n}@example.com");
    Identity {
        id: IdentityId::of("default", &key),
        name: key.clone(),
        key,
        classes: [Class::Human].into(),
        groups: Default::default(),
        accounts: vec![Account { provider: "okta".into(), id: account(n), login: Some(login) }],
        names: Vec::new(),
    }
}

/// One System Log event as a line: a successful sign-in, or a breached credential.
fn okta(out: &mut String, n: u64, who: usize, now: Time, asks: bool) {
    let kind = if asks { "security.breached_credential.detected" } else { "user.session.start" };
    let (id, text) = (account(who), now.to_string());
    let published = format!("{}Z", text.get(..23).unwrap_or_default());
    let line = format!(
        "{{\"uuid\":\"bench-{n:012}\",\"published\":\"{published}\",\"eventType\":\"{kind}\",\
         \"version\":\"0\",\"severity\":\"INFO\",\
         \"legacyEventType\":\"core.user_auth.login_success\",\
         \"displayMessage\":\"User login to Okta\",\"actor\":{{\"id\":\"{id}\",\"type\":\"User\",\
         \"alternateId\":\"p{who}@example.com\",\"displayName\":\"Person {who}\",\
         \"detailEntry\":null}},\"client\":{{\"userAgent\":{{\"rawUserAgent\":\"Mozilla/5.0 \
         (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Safari/537.36\",\"os\":\"Windows 10\",\"browser\":\"CHROME\"}},\"zone\":\"null\",\
         \"device\":\"Computer\",\"id\":null,\"ipAddress\":\"192.0.2.{octet}\",\
         \"geographicalContext\":{{\"city\":\"Utrecht\",\"state\":\"Utrecht\",\"country\":\
         \"Netherlands\",\"postalCode\":\"3511\",\
         \"geolocation\":{{\"lat\":52.09,\"lon\":5.12}}}}}},\
         \"device\":null,\"authenticationContext\":{{\"authenticationProvider\":null,\
         \"credentialProvider\":null,\"credentialType\":null,\"issuer\":null,\"interface\":null,\
         \"authenticationStep\":0,\"externalSessionId\":\"102bench{n:012}\",\"rootSessionId\":\
         \"102bench{n:012}\"}},\"outcome\":{{\"result\":\"SUCCESS\",\"reason\":null}},\"target\":\
         [{{\"id\":\"{id}\",\"type\":\"User\",\"alternateId\":\"p{who}@example.com\",\
         \"displayName\":\"Person {who}\"}}],\"transaction\":{{\"type\":\"WEB\",\"id\":\
         \"tx{n:012}\",\"detail\":{{}}}},\"debugContext\":{{\"debugData\":{{\"requestId\":\
         \"rq{n:012}\",\"dtHash\":\"{who:064x}\",\"requestUri\":\"/idp/idx/identify\",\
         \"threatSuspected\":\"false\",\"url\":\"/idp/idx/identify?\"}}}},\"securityContext\":\
         {{\"asNumber\":64496,\"asOrg\":\"example\",\"isp\":\"example\",\"domain\":\
         \"example.com\",\"isProxy\":false}},\"request\":{{\"ipChain\":[{{\"ip\":\
         \"192.0.2.{octet}\",\"geographicalContext\":null,\
         \"version\":\"V4\",\"source\":null}}]}}}}",
        octet = who % 250 + 1,
    );
    out.push_str(&line);
    out.push('\n');
}

/// One blocked click as customers forward it: a fact that the vendor already stopped.
fn tap(out: &mut String, n: u64, who: usize, now: Time) {
    let text = now.to_string();
    let time = format!("{}Z", text.get(..23).unwrap_or_default());
    let line = format!(
        "{{\"type\":\"click\",\"status\":\"blocked\",\"GUID\":\"guid-{n:012}\",\"campaignId\":null,\
         \"classification\":\"phish\",\"clickIP\":\"192.0.2.{octet}\",\"clickTime\":\"{time}\",\
         \"id\":\"click-{n:012}\",\"messageID\":\"m{n:012}@example.org\",\"recipient\":\
         \"p{who}@example.com\",\"sender\":\"it-desk@example.org\",\"senderIP\":\"198.51.100.25\",\
         \"threatID\":\"{threat:064x}\",\"threatStatus\":\"active\",\"threatTime\":\"{time}\",\
         \"threatURL\":\"https://threat.example.net/v2/{threat:064x}\",\"url\":\
         \"https://sign-in.example.org/session/renew?u={who}\",\"userAgent\":\"Mozilla/5.0 \
         (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
         Safari/537.36\"}}",
        octet = who % 250 + 1,
        threat = n / 5000,
    );
    out.push_str(&line);
    out.push('\n');
}

/// The limits with room for every order of the load.
fn without_budgets(text: &str) -> String {
    let wide = |line: &str| {
        let name = line.split('=').next().unwrap_or_default().trim();
        match name {
            "max" => "max = 100000\n".to_owned(),
            "one_source_max" => "one_source_max = 99999\n".to_owned(),
            _ => format!("{line}\n"),
        }
    };
    text.lines().map(wide).collect()
}

/// Bytes of a folder's files.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

//! The kill test's stories: what is sent to the engine and what happens at the lab meanwhile. A
//! body is sent again until it is accepted, as vendors do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quell_core::time::{MINUTE, SECOND, Time};
use quell_lab::attack::{self, Lure};
use quell_lab::{Fault, Injected, Person, Place, Running};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::engine::Folder;
use crate::people::{self, Plot};

/// SplitMix64: every random choice of the test comes from one seed.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `n`.
    pub(crate) fn draw(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What all stories share.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) lab: Arc<Running>,
    pub(crate) http: reqwest::Client,
    /// Ids of signals whose acceptance was answered.
    pub(crate) accepted: Arc<Mutex<BTreeSet<String>>>,
    /// What attackers hold: session cookie and access token.
    pub(crate) stolen: Arc<Mutex<Vec<(String, String, String)>>>,
}

impl World {
    /// Sends a body until it is accepted.
    async fn post(&self, source: &str, body: &Value) {
        let url = format!("http://{}/v1/sources/{source}", self.folder.intake);
        let text = body.to_string();
        loop {
            let request = self.http.post(&url).bearer_auth(&self.folder.source_token);
            let request = request.header("content-type", "application/json").body(text.clone());
            match self.ask(request).await {
                Some((StatusCode::ACCEPTED, answer)) => return self.note(&answer),
                Some((StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _))
                | None => quell_run::timer(Duration::from_millis(15)).await,
                Some((status, answer)) => panic!("{source} answered {status}: {answer}"),
            }
        }
    }

    fn note(&self, answer: &Value) {
        let records = answer["records"].as_array().unwrap();
        let mut accepted = self.accepted.lock().unwrap();
        for record in records {
            let signals = record["signals"].as_array();
            let signals = signals.unwrap_or_else(|| panic!("a record was rejected: {record}"));
            accepted.extend(signals.iter().map(|id| id.as_str().unwrap().to_owned()));
        }
    }

    /// Status and JSON of an answer; none when the engine is gone before it is complete.
    pub(crate) async fn ask(&self, request: RequestBuilder) -> Option<(StatusCode, Value)> {
        let mut response = request.send().await.ok()?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
            assert!(body.len() < 64 << 20);
        }
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    pub(crate) fn at_lab(&self, path: &str) -> String {
        format!("{}{path}", self.lab.base_url())
    }

    async fn sign_in(&self, person: &Person, from: &Place, attacker: bool) {
        let body = json!({
            "login": person.address, "ip": from.ip, "user_agent": from.user_agent,
            "device": from.device,
        });
        let request = self.http.post(self.at_lab("/lab/sign-in")).json(&body);
        let (status, answer) = self.ask(request).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        if attacker {
            let held = (person.address.clone(), text("session"), text("access_token"));
            self.stolen.lock().unwrap().push(held);
        }
    }

    /// One person's whole story.
    pub(crate) async fn play(self, person: Person, plot: Plot, mut dice: Dice) {
        let lure = Lure::default();
        let history = attack::sign_in_history(&person, now());
        self.post("okta", &json!(history)).await;
        self.sign_in(&person, &person.usual, false).await;
        self.misbehave(&person, &mut dice);
        let noise: Vec<Value> = (0..3)
            .filter_map(|n| attack::sign_in_failed(&person, &attack::attacker(), before(n)))
            .collect();
        self.post("okta", &json!(noise)).await;
        let t = now().plus(-SECOND);
        let mail = attack::message_delivered(&person, &lure, t.plus(-MINUTE));
        let click = attack::click_permitted(&person, &lure, t, t.plus(SECOND));
        let tap = attack::tap(&[click], &[mail], now());
        let breach = attack::breached_credential(&person, &attack::attacker(), t).unwrap();
        match plot {
            Plot::Phished | Plot::PhishedAdmin => {
                self.post("proofpoint_tap", &tap).await;
                self.sign_in(&person, &attack::attacker(), true).await;
            }
            Plot::Breached => {
                self.sign_in(&person, &attack::attacker(), true).await;
                self.post("okta", &json!([breach])).await;
            }
            Plot::Clicked => self.post("proofpoint_tap", &tap).await,
        }
        // the same records once more, as a vendor does that lost our answer
        if dice.draw(2) == 0 {
            self.post("okta", &json!(noise)).await;
        }
        match plot {
            Plot::Breached => self.post("okta", &json!([breach])).await,
            _ => self.post("proofpoint_tap", &tap).await,
        }
    }

    /// Signals about those whom nothing may touch, once.
    pub(crate) async fn touch_the_protected(self, protected: Vec<Person>) {
        for person in protected {
            let at = now().plus(-SECOND);
            if let Some(event) = attack::breached_credential(&person, &attack::attacker(), at) {
                self.post("okta", &json!([event])).await;
            }
            let click = attack::click_permitted(&person, &Lure::default(), at, at.plus(SECOND));
            self.post("proofpoint_tap", &attack::tap(&[click], &[], now())).await;
        }
    }

    /// Lets something go wrong at the provider for calls about this person.
    fn misbehave(&self, person: &Person, dice: &mut Dice) {
        let account = people::account(person);
        let acts = [
            ("DELETE", format!("/api/v1/users/{account}/sessions")),
            ("POST", format!("/api/v1/users/{account}/lifecycle/")),
        ];
        for (method, path) in acts {
            let fault = match dice.draw(16) {
                0 => Fault::Drop { after_effect: true },
                1 => Fault::Drop { after_effect: false },
                2 => Fault::Hang { after_effect: true },
                3 => Fault::Hang { after_effect: false },
                4 => Fault::Answer { status: 429, retry_after: Some(1), after_effect: false },
                5 => Fault::Answer { status: 503, retry_after: None, after_effect: false },
                6 => Fault::Answer { status: 500, retry_after: None, after_effect: true },
                7 => Fault::Delay { millis: 150 },
                _ => continue,
            };
            self.lab.inject(Injected::once(method, &path, fault)).unwrap();
        }
        let reads = [format!("/api/v1/users/{account}"), "/api/v1/logs".to_owned()];
        for path in reads {
            let fault = match dice.draw(12) {
                0 => Fault::Drop { after_effect: false },
                1 => Fault::Answer { status: 503, retry_after: None, after_effect: false },
                2 => Fault::Answer { status: 429, retry_after: Some(1), after_effect: false },
                _ => continue,
            };
            self.lab.inject(Injected::once("GET", &path, fault)).unwrap();
        }
    }

    /// Approves what waits, and takes some of what was approved back, until told to stop.
    pub(crate) async fn decide(self, stop: Arc<std::sync::atomic::AtomicBool>) {
        let url = format!("http://{}/v1/orders", self.folder.control);
        let token = self.folder.control_token.clone();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let rows = self.ask(self.http.get(&url).bearer_auth(&token)).await;
            let rows = rows.map(|(_, rows)| rows).unwrap_or_default();
            for row in rows.as_array().into_iter().flatten() {
                let id = row["id"].as_str().unwrap();
                let verb = match (row["action"].as_str(), row["state"].as_str()) {
                    (_, Some("awaiting_approval")) => "approve",
                    (Some("suspend"), Some("verified")) if id.as_bytes()[5] & 1 == 0 => "undo",
                    _ => continue,
                };
                let request = self.http.post(format!("{url}/{id}/{verb}")).bearer_auth(&token);
                // whether it was taken shows in the next list
                let _again = self.ask(request).await;
            }
            quell_run::timer(Duration::from_millis(100)).await;
        }
    }
}

/// Now, as the system has it.
pub(crate) fn now() -> Time {
    Time(jiff::Timestamp::now().as_microsecond())
}

fn before(n: i64) -> Time {
    now().plus(-(n + 1) * SECOND)
}

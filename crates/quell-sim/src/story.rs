//! Simulation room, stories: what happens to people, as the signals that sources will tell about
//! it, and when. Knows nothing of the engine.

use quell_core::id::{Digest, SignalId};
use quell_core::identity::{Identifier, Scheme};
use quell_core::signal::{Entity, EntityKind, Kind, Matched, Provenance, Signal, Times, Use};
use quell_core::time::{DAY, HOUR, MINUTE, Moment, Precision, SECOND, Time};

use crate::company::{self, GATEWAY, OKTA, TENANT};
use crate::rng::Rng;

/// A signal on its way to its source, with the time at which the source has it.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) at: Time,
    pub(crate) source: &'static str,
    pub(crate) matched: Matched,
}

/// What can happen to somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// A click, then a sign-in from elsewhere.
    Phished,
    /// A click that counts alone, and nothing after it.
    Clicked,
    /// A password from a known breach was used.
    Breached,
    /// Everything that anybody outside can cause.
    Pestered,
    /// Phished, then the vendor says that the mail was harmless.
    Cleared,
    /// Phished, then the click's record is written anew with little confidence.
    Revised,
    /// Phished long ago; told now.
    Late,
    /// A click by nobody knows whom.
    Scanned,
}

pub(crate) const STORIES: [Story; 8] = [
    Story::Phished,
    Story::Phished,
    Story::Clicked,
    Story::Breached,
    Story::Pestered,
    Story::Cleared,
    Story::Revised,
    Story::Late,
];

/// Writes the signals of stories; numbers make their keys unique.
#[derive(Debug)]
pub(crate) struct Teller<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) number: &'a mut u64,
    pub(crate) arrivals: Vec<Arrival>,
}

struct Draft<'a> {
    source: &'static str,
    key: &'a str,
    kind: Kind,
    usage: Use,
    confidence: u8,
    who: &'a str,
    t: Time,
    written: Time,
    entities: Vec<(EntityKind, String)>,
    withdraws: Option<EntityKind>,
    own: bool,
}

impl Teller<'_> {
    /// The sign-ins of the last days from the usual place; few of them leave a cold history.
    pub(crate) fn history(&mut self, who: &str, now: Time) -> Result<(), String> {
        let days = if self.rng.chance(850) { 12 } else { 4 };
        for day in 1..=days {
            let t = now.plus(-day * DAY);
            let told = now.plus(self.rng.span(0, MINUTE));
            self.sign_in(who, t, "192.0.2.10", "laptop", told)?;
        }
        Ok(())
    }

    /// One story that begins at `at`.
    pub(crate) fn tell(&mut self, story: Story, who: &str, at: Time) -> Result<(), String> {
        let threat = format!("threat-{}", self.next());
        match story {
            Story::Phished => self.phished(who, at, &threat, 0),
            Story::Clicked => {
                let key = format!("click-{}", self.next());
                self.click(who, &key, at, &threat, (Use::Alone, 70), "192.0.2.77", 0)
            }
            Story::Scanned => {
                let key = format!("click-{}", self.next());
                self.click(who, &key, at, &threat, (Use::Join, 85), "198.51.100.9", 0)?;
                let t = at.plus(10 * MINUTE);
                self.sign_in(who, t, "203.0.113.50", "other", t.plus(MINUTE))
            }
            Story::Breached => {
                let key = format!("leak-{}", self.next());
                let delay = self.rng.span(0, HOUR);
                self.put(
                    at.plus(delay),
                    Draft {
                        kind: Kind::CredentialLeaked,
                        usage: Use::Alone,
                        confidence: 90,
                        entities: vec![(EntityKind::Ip, "203.0.113.77".to_owned())],
                        ..draft(OKTA, &key, who, at)
                    },
                )
            }
            Story::Pestered => self.pestered(who, at),
            Story::Cleared => {
                self.phished(who, at, &threat, 0)?;
                let key = format!("clear-{}", self.next());
                let written = at.plus(HOUR + self.rng.span(0, 4 * HOUR));
                let delay = self.rng.span(0, MINUTE);
                self.put(
                    written.plus(delay),
                    Draft {
                        kind: Kind::VerdictChanged,
                        usage: Use::Undo,
                        written,
                        entities: vec![(EntityKind::Threat, threat)],
                        withdraws: Some(EntityKind::Threat),
                        ..draft(GATEWAY, &key, who, written)
                    },
                )
            }
            Story::Revised => {
                let key = self.phished_by(who, at, &threat, 0)?;
                let later = self.rng.span(MINUTE, 3 * HOUR);
                self.click(who, &key, at, &threat, (Use::Join, 20), "192.0.2.77", later)
            }
            Story::Late => self.phished(who, at.plus(-30 * HOUR), &threat, 30 * HOUR),
        }
    }

    /// What our own credential did at the provider, as its audit log tells it.
    pub(crate) fn own(&mut self, id: &str, kind: Kind, at: Time) -> Result<SignalId, String> {
        let key = format!("own-{}", self.next());
        let delay = self.rng.span(SECOND, 20 * MINUTE);
        self.put(at.plus(delay), Draft { kind, own: true, ..draft(OKTA, &key, id, at) })?;
        Ok(SignalId::of(TENANT, OKTA, &key, kind.name(), 0))
    }

    fn next(&mut self) -> u64 {
        *self.number += 1;
        *self.number
    }

    fn phished(&mut self, who: &str, at: Time, threat: &str, late: i64) -> Result<(), String> {
        self.phished_by(who, at, threat, late).map(|_| ())
    }

    /// Gives the key of the click's record.
    fn phished_by(
        &mut self,
        who: &str,
        at: Time,
        threat: &str,
        late: i64,
    ) -> Result<String, String> {
        let key = format!("click-{}", self.next());
        self.click(who, &key, at, threat, (Use::Join, 85), "192.0.2.77", late)?;
        let t = at.plus(self.rng.span(SECOND, 50 * MINUTE));
        let told = t.plus(late + self.rng.span(0, 2 * HOUR));
        self.sign_in(who, t, "203.0.113.5", "attacker", told)?;
        Ok(key)
    }

    fn pestered(&mut self, who: &str, at: Time) -> Result<(), String> {
        for (source, kind, usage) in [
            (GATEWAY, Kind::PhishDelivered, Use::Alone),
            (OKTA, Kind::SignInFailed, Use::Join),
            (OKTA, Kind::MfaDenied, Use::Join),
        ] {
            let key = format!("pest-{}", self.next());
            let t = at.plus(self.rng.span(0, HOUR));
            let delay = self.rng.span(0, HOUR);
            let url = format!("https://phish.example.net/{key}");
            self.put(
                t.plus(delay),
                Draft {
                    kind,
                    usage,
                    confidence: 80,
                    entities: vec![(EntityKind::Url, url)],
                    ..draft(source, &key, who, t)
                },
            )?;
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a click has that many traits")]
    fn click(
        &mut self,
        who: &str,
        key: &str,
        at: Time,
        threat: &str,
        (usage, confidence): (Use, u8),
        ip: &str,
        later: i64,
    ) -> Result<(), String> {
        let written = at.plus(later);
        let delay = self.rng.span(0, HOUR);
        self.put(
            written.plus(delay),
            Draft {
                kind: Kind::UrlClick,
                usage,
                confidence,
                written,
                entities: vec![
                    (EntityKind::Ip, ip.to_owned()),
                    (EntityKind::Threat, threat.to_owned()),
                    (EntityKind::Url, format!("https://phish.example.net/{threat}")),
                ],
                ..draft(GATEWAY, key, who, at)
            },
        )
    }

    fn sign_in(
        &mut self,
        who: &str,
        t: Time,
        ip: &str,
        device: &str,
        told: Time,
    ) -> Result<(), String> {
        let key = format!("in-{}", self.next());
        self.put(
            told,
            Draft {
                entities: vec![
                    (EntityKind::Device, device.to_owned()),
                    (EntityKind::Ip, ip.to_owned()),
                ],
                ..draft(OKTA, &key, who, t)
            },
        )
    }

    fn put(&mut self, at: Time, draft: Draft<'_>) -> Result<(), String> {
        let source = draft.source;
        let matched = matched(draft)?;
        self.arrivals.push(Arrival { at, source, matched });
        Ok(())
    }
}

fn draft<'a>(source: &'static str, key: &'a str, who: &'a str, t: Time) -> Draft<'a> {
    Draft {
        source,
        key,
        kind: Kind::SignIn,
        usage: Use::Fact,
        confidence: 85,
        who,
        t,
        written: t,
        entities: Vec::new(),
        withdraws: None,
        own: false,
    }
}

fn matched(draft: Draft<'_>) -> Result<Matched, String> {
    let address = || Identifier::new(Scheme::Address, None, &company::login(draft.who));
    let about = match (draft.source, draft.own) {
        (_, true) => vec![Identifier::new(Scheme::AccountId, Some(OKTA), draft.who)],
        (OKTA, false) => {
            let id = company::account_id(draft.who);
            vec![Identifier::new(Scheme::AccountId, Some(OKTA), &id), address()]
        }
        _ => vec![address()],
    };
    let mut entities: Vec<Entity> =
        draft.entities.into_iter().map(|(kind, value)| Entity { kind, value }).collect();
    entities.sort();
    let own = draft.own.then(|| ("self".to_owned(), "true".to_owned()));
    let bytes = format!("{} {} {}", draft.key, draft.written, draft.confidence);
    let confidence = !matches!(draft.usage, Use::Fact | Use::Undo);
    let signal = Signal {
        id: SignalId::of(TENANT, draft.source, draft.key, draft.kind.name(), 0),
        source: draft.source.to_owned(),
        kind: draft.kind,
        usage: draft.usage,
        confidence: confidence.then_some(draft.confidence),
        about,
        times: Times {
            happened: Moment { t: draft.t, precision: Precision::Milli },
            judged: None,
            written: draft.written,
        },
        entities,
        attributes: own.into_iter().collect(),
        anomalies: Vec::new(),
        provenance: Provenance::Polled,
        record: Digest::of(bytes.as_bytes()),
        record_key: draft.key.to_owned(),
        withdraws: draft.withdraws,
    };
    let rules = company::rules()?.match_ids(&signal);
    Ok(Matched { signal: signal.into(), rules })
}

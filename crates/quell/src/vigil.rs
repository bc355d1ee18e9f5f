//! Binary room, vigil: whether each source speaks, and the journalled word when one no longer does
//! or does again. Decides nothing about what follows from it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quell_core::id::{Digest, SignalId};
use quell_core::signal::{Kind, Provenance, Signal, Times, Use};
use quell_core::time::{MINUTE, Moment, Time};
use quell_store::views::{Pick, ReadError, Records, Views};
use serde_json::Value;

/// Requests that prove nothing, within [`PROOF_WINDOW`] and without one that does: from so many on
/// the source counts as degraded. Whoever floods a source that works does not silence it.
pub(crate) const UNPROVEN_MAX: usize = 20;
/// The window, microseconds.
pub(crate) const PROOF_WINDOW: i64 = 5 * MINUTE;
/// How often it is looked whether the journal has to be told something.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of each source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vigil(Arc<Mutex<BTreeMap<String, Watched>>>);

/// One source.
#[derive(Debug, Clone)]
struct Watched {
    /// Microseconds of silence after which it is degraded.
    silent_after: Option<i64>,
    /// When something new of it was last committed; when this program started, before that.
    heard: Time,
    /// The newest time that the vendor wrote on a record.
    written: Option<Time>,
    /// When requests came that prove nothing, since the last that did.
    unproven: VecDeque<Time>,
    /// Why it is degraded, by what found out.
    wrongs: BTreeMap<Wrong, String>,
    /// What the journal says.
    told: Told,
}

/// What can be wrong with a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// Its poller gets nothing.
    Poll,
    /// Nothing new came for too long.
    Silent,
    /// Who calls itself by its name proves nothing.
    Unproven,
}

/// What the journal says of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Degraded { blind: bool },
    Well,
}

/// A source, for figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source: String,
    pub(crate) degraded: bool,
    pub(crate) heard: Time,
    pub(crate) written: Option<Time>,
}

/// What the journal has to be told of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) source: String,
    pub(crate) degraded: bool,
    /// Signals of it may be missing: it is more than calls by strangers in its name.
    pub(crate) blind: bool,
    pub(crate) why: String,
}

impl Vigil {
    /// Watches over sources, each with the silence that is too long for it, in minutes.
    pub(crate) fn over<'s>(
        sources: impl IntoIterator<Item = (&'s str, Option<u32>)>,
        now: Time,
    ) -> Self {
        let all = sources.into_iter().map(|(name, minutes)| {
            let watched = Watched {
                silent_after: minutes.map(|minutes| i64::from(minutes) * MINUTE),
                heard: now,
                written: None,
                unproven: VecDeque::new(),
                wrongs: BTreeMap::new(),
                told: Told::Nothing,
            };
            (name.to_owned(), watched)
        });
        Self(Arc::new(Mutex::new(all.collect())))
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, source: &str, change: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.all().get_mut(source) {
            change(watched);
        }
    }

    /// Takes up what the records of an earlier run say, so that an end is told there too.
    pub(crate) fn remember(&self, views: &dyn Views, tenant: &str) -> Result<(), ReadError> {
        for record in Records::new(views, tenant, Pick::Type("source_degraded"), 0) {
            let record = record?;
            let Some((_, bytes)) = &record.body else { continue };
            let body: Value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
            let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
            let blind = body.get("blind") != Some(&Value::Bool(false));
            let told = match text("state") {
                "well" => Told::Well,
                _ => Told::Degraded { blind },
            };
            self.with(text("source"), |watched| watched.told = told);
        }
        Ok(())
    }

    /// Something new of a source is committed.
    pub(crate) fn heard(&self, source: &str, written: Option<Time>, now: Time) {
        self.with(source, |watched| {
            if written.is_none() {
                // An empty page or rejects alone: it answers, but says nothing new.
                return;
            }
            watched.heard = now;
            watched.written = watched.written.max(written);
            // What was written long ago, a backlog for example, ends no silence by itself.
            if !watched.is_silent(now) {
                watched.wrongs.remove(&Wrong::Silent);
            }
        });
    }

    /// A request proved to come from the source.
    pub(crate) fn proven(&self, source: &str) {
        self.with(source, |watched| {
            watched.unproven.clear();
            watched.wrongs.remove(&Wrong::Unproven);
        });
    }

    /// A request in the source's name proved nothing.
    pub(crate) fn unproven(&self, source: &str, now: Time) {
        self.with(source, |watched| {
            watched.unproven.push_back(now);
            while watched.unproven.len() > UNPROVEN_MAX {
                watched.unproven.pop_front();
            }
            let first = watched.unproven.front().filter(|first| {
                watched.unproven.len() >= UNPROVEN_MAX && now.since(**first) <= PROOF_WINDOW
            });
            if first.is_some() {
                let why = format!("{UNPROVEN_MAX} requests in 5 minutes without a proof that fits");
                watched.wrongs.entry(Wrong::Unproven).or_insert(why);
            }
        });
    }

    /// Its poller found it so.
    pub(crate) fn poll_fails(&self, source: &str, why: &str) {
        self.with(source, |watched| {
            watched.wrongs.entry(Wrong::Poll).or_insert_with(|| why.to_owned());
        });
    }

    /// Its poller gets what there is.
    pub(crate) fn poll_works(&self, source: &str) {
        self.with(source, |watched| {
            watched.wrongs.remove(&Wrong::Poll);
        });
    }

    /// Looks for silence, and gives what the journal does not say yet.
    pub(crate) fn words(&self, now: Time) -> Vec<Word> {
        let mut words = Vec::new();
        for (source, watched) in self.all().iter_mut() {
            if watched.is_silent(now) {
                let minutes = watched.silent_after.unwrap_or_default() / MINUTE;
                let why = format!("nothing new for {minutes} minutes");
                watched.wrongs.entry(Wrong::Silent).or_insert(why);
            }
            let degraded = !watched.wrongs.is_empty();
            let blind = watched.wrongs.keys().any(|wrong| *wrong != Wrong::Unproven);
            let known = match watched.told {
                Told::Degraded { blind } => Some(blind),
                Told::Nothing | Told::Well => None,
            };
            if degraded.then_some(blind) != known {
                let whys: Vec<&str> = watched.wrongs.values().map(String::as_str).collect();
                let why = if degraded { whys.join("; ") } else { "it speaks again".to_owned() };
                words.push(Word { source: source.clone(), degraded, blind, why });
            }
        }
        words
    }

    /// The journal says it now.
    pub(crate) fn told(&self, word: &Word) {
        let told = match word.degraded {
            true => Told::Degraded { blind: word.blind },
            false => Told::Well,
        };
        self.with(&word.source, |watched| watched.told = told);
    }

    /// Every source, for figures.
    pub(crate) fn states(&self) -> Vec<Seen> {
        let all = self.all();
        let seen = all.iter().map(|(source, watched)| Seen {
            source: source.clone(),
            degraded: !watched.wrongs.is_empty(),
            heard: watched.heard,
            written: watched.written,
        });
        seen.collect()
    }
}

impl Watched {
    fn is_silent(&self, now: Time) -> bool {
        let last = self.written.map_or(self.heard, |written| written.min(self.heard));
        self.silent_after.is_some_and(|most| now.since(last) > most)
    }
}

/// The built-in source's word about another source.
pub(crate) fn signal(tenant: &str, word: &Word, now: Time) -> Signal {
    let Word { source, degraded, blind, why } = word;
    let state = if *degraded { "degraded" } else { "well" };
    let key = format!("{state} {source} {}", now.0);
    let kind = Kind::SourceDegraded;
    let blind = if *blind { "true" } else { "false" };
    let attributes =
        [("source", source.as_str()), ("state", state), ("blind", blind), ("why", why)];
    Signal {
        id: SignalId::of(tenant, "quell", &key, kind.name(), 0),
        source: "quell".to_owned(),
        kind,
        usage: Use::Fact,
        confidence: None,
        about: Vec::new(),
        times: Times {
            happened: Moment { t: now, precision: Default::default() },
            judged: None,
            written: now,
        },
        entities: Vec::new(),
        attributes: attributes.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        anomalies: Vec::new(),
        provenance: Provenance::Own,
        record: Digest::of(key.as_bytes()),
        record_key: key,
        withdraws: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the journal is told at a time; it is told.
    fn words(vigil: &Vigil, now: i64) -> Vec<String> {
        let words = vigil.words(Time(now));
        words.iter().for_each(|word| vigil.told(word));
        words.iter().map(|w| format!("{} {}: {}", w.source, w.degraded, w.why)).collect()
    }

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let sources = [("loud", None), ("okta", Some(10)), ("tap", Some(20))];
        let vigil = Vigil::over(sources, Time(0));
        assert_eq!(words(&vigil, 10 * MINUTE), [""; 0]);
        vigil.heard("tap", Some(Time(9 * MINUTE)), Time(10 * MINUTE));
        let silent = ["okta true: nothing new for 10 minutes"];
        assert_eq!(words(&vigil, 10 * MINUTE + 1), silent);
        assert_eq!(words(&vigil, 15 * MINUTE), [""; 0]);
        // It answers without a record, and hands an old one in: neither ends the silence.
        vigil.heard("okta", None, Time(16 * MINUTE));
        vigil.heard("okta", Some(Time(2 * MINUTE)), Time(16 * MINUTE));
        assert_eq!(words(&vigil, 16 * MINUTE), [""; 0]);
        vigil.heard("okta", Some(Time(16 * MINUTE)), Time(17 * MINUTE));
        assert_eq!(words(&vigil, 17 * MINUTE), ["okta false: it speaks again"]);
        assert_eq!(
            words(&vigil, 29 * MINUTE + 1),
            ["okta true: nothing new for 10 minutes", "tap true: nothing new for 20 minutes",]
        );
    }

    #[test]
    fn wrong_proofs_count_only_while_no_right_one_comes() {
        let vigil = Vigil::over([("hook", None)], Time(0));
        let wrong = |n: usize, at: i64| (0..n).for_each(|_| vigil.unproven("hook", Time(at)));
        wrong(UNPROVEN_MAX - 1, 0);
        vigil.proven("hook");
        wrong(UNPROVEN_MAX - 1, 1);
        assert_eq!(words(&vigil, 2), [""; 0]);
        wrong(1, PROOF_WINDOW + 2);
        assert_eq!(words(&vigil, PROOF_WINDOW + 2), [""; 0], "not within the window");
        wrong(UNPROVEN_MAX, PROOF_WINDOW + 3);
        let told = ["hook true: 20 requests in 5 minutes without a proof that fits"];
        assert_eq!(words(&vigil, PROOF_WINDOW + 3), told);
        vigil.proven("hook");
        assert_eq!(words(&vigil, PROOF_WINDOW + 4), ["hook false: it speaks again"]);
        vigil.unproven("nobody", Time(0));
        assert_eq!(vigil.states().len(), 1, "only configured sources are remembered");
    }

    #[test]
    fn a_source_is_well_when_nothing_is_wrong_any_more() {
        let vigil = Vigil::over([("okta", Some(10))], Time(0));
        vigil.poll_fails("okta", "no answer");
        assert_eq!(words(&vigil, 1), ["okta true: no answer"]);
        assert_eq!(words(&vigil, 11 * MINUTE), [""; 0]);
        vigil.poll_works("okta");
        assert_eq!(words(&vigil, 11 * MINUTE), [""; 0], "it is still silent");
        vigil.heard("okta", Some(Time(11 * MINUTE)), Time(11 * MINUTE));
        assert_eq!(words(&vigil, 12 * MINUTE), ["okta false: it speaks again"]);
        let (source, why) = ("okta", "why");
        let word =
            |degraded| Word { source: source.into(), degraded, blind: degraded, why: why.into() };
        let [down, up] = [true, false].map(|d| signal("default", &word(d), Time(5)));
        assert_ne!(down.id, up.id);
        assert_eq!(up.attributes.get("state").map(String::as_str), Some("well"));
        assert_eq!((up.kind, up.usage, up.confidence), (Kind::SourceDegraded, Use::Fact, None));
    }
}

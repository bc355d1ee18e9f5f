//! Erasure: by what a person is known, what of the past names him, and what is left of it. Pure:
//! it looks and cuts, and neither stores nor decides who may ask.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effect::Input;
use crate::id::{Digest, IdentityId};
use crate::identity::{Held, Identifier, Scheme};
use crate::replay::{self, Unreadable, kind};
use crate::signal::{Entity, Matched, Signal};
use crate::time::Time;

/// Shorter names are not looked for in texts: they stand in anything.
const TEXT_MIN: usize = 5;
/// Ranges of numbers that one record lists; the rest is counted.
const RANGES_MAX: usize = 5_000;
/// What stands where something was.
const GONE: &str = "erased";

/// A person is to be forgotten, or was; an input. It holds no name of his, and the reason none.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Erase {
    /// Who is to be forgotten.
    pub identity: IdentityId,
    /// Who asks: the principal of the control token.
    pub by: String,
    /// Why, for the record; at most 240 characters.
    pub why: String,
    /// Cases that are still open go with him.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub force: bool,
    /// What was erased, once all of it is; none where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub done: Option<Erased>,
}

impl Pending {
    /// True for the journalled input that asked for this erasure: nothing after it is touched.
    pub fn is_ask(&self, at: Time, input: &Erase) -> bool {
        let asked = input.done.is_none() && at == self.found.asked_at;
        asked && input.identity == self.ask.identity
    }

    /// True when journal and evidence are searched to the end.
    pub fn is_searched(&self) -> bool {
        self.frame.is_none() && self.record.is_none()
    }
}

/// What was erased: numbers alone.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Erased {
    /// When it was asked for.
    pub asked_at: Time,
    /// Journal frames that are tombstones now.
    pub frames: Numbers,
    /// Journal frames of which a part is gone: what they say of others stays.
    pub parts: Numbers,
    /// Evidence records without salt and body now.
    pub records: Numbers,
    /// Those of the records that are about others and named him.
    pub others: u64,
    /// Signals that are gone.
    pub signals: u64,
    /// Signals about others in which his name is gone.
    pub redacted: u64,
    /// Raw records that are gone.
    pub raw: u64,
}

/// Numbers as ranges, both ends included, ascending.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// How many.
    pub count: u64,
    /// Which; at most `RANGES_MAX` ranges.
    pub ranges: Vec<(u64, u64)>,
}

impl Numbers {
    /// Adds a number greater than all before.
    pub fn add(&mut self, number: u64) {
        self.count = self.count.saturating_add(1);
        if let Some((_, last)) = self.ranges.last_mut()
            && last.checked_add(1) == Some(number)
        {
            *last = number;
        } else if self.ranges.len() < RANGES_MAX {
            self.ranges.push((number, number));
        }
    }
}

/// An erasure under way; the state row of table `erasure`. It alone still knows the names, and
/// goes with the last of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pending {
    /// What was asked for.
    pub ask: Erase,
    /// By what he is known.
    pub trace: Trace,
    /// The next journal frame to look at; none when all were seen.
    pub frame: Option<u64>,
    /// The next evidence record to look at; none when all were seen.
    pub record: Option<u64>,
    /// What was erased so far.
    pub found: Erased,
}

/// By what a person is known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Trace {
    /// His identity.
    pub identity: Option<IdentityId>,
    /// His names and accounts, with the time in which they were his, and his alone.
    pub names: Vec<Held>,
    /// Texts that name him, in lower case.
    pub texts: BTreeSet<String>,
    /// Written ids of his cases, findings and orders, and his own.
    pub ids: BTreeSet<String>,
}

/// What is left of a journal frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cut {
    /// All of it: it does not name him.
    Keep,
    /// Nothing.
    All,
    /// This body.
    Part(Vec<u8>),
}

impl Trace {
    /// Of names, and of a key where it is long enough to tell him.
    pub fn new(identity: IdentityId, names: Vec<Held>, key: &str) -> Self {
        let mut trace = Self { identity: Some(identity), names, ..Self::default() };
        trace.ids.insert(identity.to_string());
        let values = trace.names.iter().map(|held| held.identifier.value.as_str());
        let key = Some(key).filter(|key| key.len() > TEXT_MIN);
        for value in values.chain(key).filter(|value| value.len() >= TEXT_MIN) {
            let value = value.to_ascii_lowercase();
            for (plain, written) in [("\\", "\\\\"), ("@", "%40"), ("@", "\\u0040")] {
                if value.contains(plain) {
                    trace.texts.insert(value.replace(plain, written));
                }
            }
            trace.texts.insert(value);
        }
        trace
    }

    /// True when the name was his at `t`.
    pub fn is_him(&self, name: &Identifier, t: Time) -> bool {
        self.names.iter().any(|held| held.at(t) && same(&held.identifier, name))
    }

    /// True when the name was ever his.
    pub fn was_him(&self, name: &Identifier) -> bool {
        self.names.iter().any(|held| same(&held.identifier, name))
    }

    /// True when a text names him: whole names, never parts of longer ones.
    pub fn mentions(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        self.texts.iter().any(|name| {
            text.match_indices(name.as_str()).any(|(at, _)| {
                let (before, rest) = text.split_at_checked(at).unwrap_or_default();
                starts(before) && rest.get(name.len()..).is_none_or(ends)
            })
        })
    }

    /// True when a text holds an id of his.
    pub fn has_id(&self, text: &str) -> bool {
        text.match_indices('_').any(|(at, _)| {
            let from = at.checked_sub(3);
            let id = from.and_then(|from| text.get(from..at.saturating_add(27)));
            id.is_some_and(|id| self.ids.contains(id))
        })
    }

    /// True when the signal is about him.
    pub fn is_about(&self, signal: &Signal) -> bool {
        let t = signal.times.happened.t;
        signal.about.iter().any(|name| self.is_him(name, t))
    }

    /// The signal without his name; none where it does not name him.
    pub fn redact(&self, signal: &Signal) -> Option<Signal> {
        let t = signal.times.happened.t;
        let named = |entity: &Entity| {
            let value = &entity.value;
            self.mentions(value)
                || self.names.iter().any(|h| h.identifier.value.eq_ignore_ascii_case(value))
        };
        let about = signal.about.iter().any(|name| self.is_him(name, t));
        let texts = || signal.attributes.values();
        if !about && !signal.entities.iter().any(named) && !texts().any(|v| self.mentions(v)) {
            return None;
        }
        let mut signal = signal.clone();
        signal.about.retain(|name| !self.is_him(name, t));
        signal.entities.retain(|entity| !named(entity));
        signal.attributes.retain(|_, value| !self.mentions(value));
        Some(signal)
    }

    /// What is left of a journal frame, and what of it is counted in `found`.
    ///
    /// # Errors
    /// [`Unreadable`] for a body that this version cannot read: nothing of it is touched.
    pub fn cut(&self, kind: u16, body: &[u8], found: &mut Erased) -> Result<Cut, Unreadable> {
        match kind {
            kind::SIGNALS => self.cut_intake(body, found),
            kind::DIRECTORY => self.cut_import(body),
            kind::ERASE => self.cut_ask(body),
            _ => {
                let text = String::from_utf8_lossy(body);
                let his = self.has_id(&text) || self.mentions(&text);
                Ok(if his { Cut::All } else { Cut::Keep })
            }
        }
    }

    /// An ask that was refused may name him in its reason; what was done holds ids alone. The one
    /// that is carried out is not shown to this.
    fn cut_ask(&self, body: &[u8]) -> Result<Cut, Unreadable> {
        let Input::Erase(erase) = replay::decode(kind::ERASE, body)? else { return Ok(Cut::Keep) };
        let refused = erase.done.is_none() && Some(erase.identity) == self.identity;
        let named = refused || self.mentions(&String::from_utf8_lossy(body));
        Ok(if named { Cut::All } else { Cut::Keep })
    }

    fn cut_intake(&self, body: &[u8], found: &mut Erased) -> Result<Cut, Unreadable> {
        let (mut intake, before) = replay::decode_intake(body)?;
        let (mut signals, mut redacted) = (0_u64, 0_u64);
        let mut gone: BTreeSet<Digest> = BTreeSet::new();
        let mut matched = Vec::with_capacity(intake.matched.len());
        for one in std::mem::take(&mut intake.matched) {
            if self.is_about(&one.signal) {
                gone.insert(one.signal.record);
                signals += 1;
            } else if let Some(signal) = self.redact(&one.signal) {
                gone.insert(signal.record);
                redacted += 1;
                matched.push(Matched { signal: signal.into(), ..one });
            } else {
                matched.push(one);
            }
        }
        let all = intake.raw.len();
        intake.raw.retain(|raw| {
            let named = || self.mentions(&String::from_utf8_lossy(raw));
            let go = gone.contains(&Digest::of(raw)) || named();
            if go {
                gone.insert(Digest::of(raw));
            }
            !go
        });
        let mut rejects = 0_u64;
        for reject in &mut intake.rejects {
            if self.mentions(&reject.detail)
                || gone.contains(&reject.record) && reject.detail != GONE
            {
                GONE.clone_into(&mut reject.detail);
                rejects += 1;
            }
        }
        let raw = u64::try_from(all.saturating_sub(intake.raw.len())).unwrap_or(u64::MAX);
        if signals == 0 && redacted == 0 && raw == 0 && rejects == 0 {
            intake.matched = matched;
            return Ok(Cut::Keep);
        }
        found.signals = found.signals.saturating_add(signals);
        found.redacted = found.redacted.saturating_add(redacted);
        found.raw = found.raw.saturating_add(raw);
        intake.matched = matched;
        if intake.matched.is_empty() && intake.rejects.is_empty() && intake.raw.is_empty() {
            return Ok(Cut::All);
        }
        let erased = before.saturating_add(signals).saturating_add(redacted).max(1);
        Ok(Cut::Part(replay::encode_intake(&intake, Some(erased))))
    }

    fn cut_import(&self, body: &[u8]) -> Result<Cut, Unreadable> {
        let bad =
            |e: serde_json::Error| Unreadable::Body { kind: kind::DIRECTORY, cause: e.to_string() };
        let mut import: Value = serde_json::from_slice(body).map_err(bad)?;
        let own = self.identity.map(|id| id.to_string()).unwrap_or_default();
        let list = import.get_mut("identities").and_then(Value::as_array_mut);
        let Some(identities) = list else { return Ok(Cut::Keep) };
        let all = identities.len();
        identities.retain(|one| one.get("id").and_then(Value::as_str) != Some(own.as_str()));
        let gone = u64::try_from(all.saturating_sub(identities.len())).unwrap_or(u64::MAX);
        if gone == 0 {
            return Ok(Cut::Keep);
        }
        let before = import.get(GONE).and_then(Value::as_u64).unwrap_or_default();
        if let Some(members) = import.as_object_mut() {
            members.insert(GONE.to_owned(), before.saturating_add(gone).into());
        }
        serde_json::to_vec(&import).map(Cut::Part).map_err(bad)
    }

    /// What a record's body is to him: none when it does not name him, true when it is about
    /// somebody else who is told of beside him.
    pub fn named_in(&self, body: &[u8]) -> Option<bool> {
        let text = String::from_utf8_lossy(body);
        if self.has_id(&text) {
            return Some(false);
        }
        self.mentions(&text).then_some(true)
    }
}

/// How much of a journal frame of another version of itself is gone: signals, or identities.
pub fn erased_part(kind: u16, body: &[u8]) -> u64 {
    match kind {
        kind::SIGNALS => replay::decode_intake(body).map_or(0, |(_, erased)| erased),
        kind::DIRECTORY => {
            let import: Option<Value> = serde_json::from_slice(body).ok();
            import.and_then(|import| import.get(GONE)?.as_u64()).unwrap_or_default()
        }
        _ => 0,
    }
}

/// Two writings of one name: providers use addresses as logins; a plus part does not count.
fn same(his: &Identifier, name: &Identifier) -> bool {
    let text = |scheme| matches!(scheme, Scheme::Address | Scheme::Login);
    if !text(his.scheme) || !text(name.scheme) {
        return his == name;
    }
    let fold = |name: &Identifier| base(&name.value).to_lowercase();
    his.value == name.value || fold(name) == his.value.to_lowercase()
}

/// An address without its plus part.
fn base(address: &str) -> Cow<'_, str> {
    let parts = address.split_once('@');
    let plus = parts.and_then(|(local, domain)| Some((local.split_once('+')?.0, domain)));
    match plus {
        Some((local, domain)) if !local.is_empty() => Cow::Owned(format!("{local}@{domain}")),
        _ => Cow::Borrowed(address),
    }
}

/// True where a name may begin after this.
fn starts(before: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    // `\n` and `%3c` before a name are written marks, not letters of it.
    let mark = before.len().checked_sub(2).and_then(|at| before.get(at..));
    let escaped = mark.is_some_and(|two| matches!(two, "\\n" | "\\t" | "\\r"));
    let percent = before.len().checked_sub(3).and_then(|at| before.get(at..));
    let percent = percent.is_some_and(|three| {
        three.starts_with('%') && three.bytes().skip(1).all(|b| b.is_ascii_hexdigit())
    });
    escaped || percent || !before.chars().next_back().is_some_and(inside)
}

/// True where a name may end before this.
fn ends(after: &str) -> bool {
    let mut next = after.chars();
    match next.next() {
        None => true,
        Some('.' | '-') => !next.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric() && c != '_' && c != '@',
    }
}

#[cfg(test)]
mod tests;

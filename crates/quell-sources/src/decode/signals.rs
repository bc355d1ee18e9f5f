//! Sources room: what a record states, by the rows of its group, as signals. Touches no bytes.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::{Digest, SignalId};
use quell_core::identity::{Identifier, Scheme};
use quell_core::signal::{Anomaly, Entity, EntityKind, Kind, RejectReason, Signal, Times, Use};
use serde_json::Value;

use super::DecodeContext;
use super::record::Record;
use super::times;
use crate::body::BodyFault;
use crate::limits::{ENTITIES_MAX, SIGNALS_MAX};
use crate::pack::{Group, Otherwise, Pack, Row, Subject};

/// The confidence of `detection` where the pack knows the type but not the value.
const UNKNOWN_CONFIDENCE: u8 = 30;

/// One statement of a record, before it is said of each person.
struct Statement {
    usage: Use,
    confidence: Option<u8>,
    withdraws: Option<EntityKind>,
    times: Times,
    entities: BTreeSet<Entity>,
    attributes: BTreeMap<String, String>,
    anomalies: BTreeSet<Anomaly>,
}

/// What the record states: at least one signal, or why there is none.
pub(super) fn signals(
    pack: &Pack,
    ctx: &DecodeContext<'_>,
    mut record: Record<'_>,
    digest: Digest,
) -> Result<Vec<Signal>, BodyFault> {
    let Some(group) = record.group else { return Err(unlisted()) };
    note_anomalies(pack, group, &mut record);
    let statements = statements(pack, ctx, group, &mut record)?;
    if statements.is_empty() {
        return Err(unlisted());
    }
    let (subject, people) = people(pack, ctx, group, &mut record)?;
    let mut noted = BTreeSet::new();
    let traces = subject.map(|subject| record.entities(pack, &subject.entities, &mut noted));
    record.anomalies.extend(noted);
    let own = record.is_own(pack, ctx.own_principals);
    let key = record.key(pack, digest);
    if statements.len().saturating_mul(people.len()) > SIGNALS_MAX {
        let detail = format!("over the limit of {SIGNALS_MAX} signals from one record");
        return Err(BodyFault::new(RejectReason::TooLarge, detail));
    }
    let mut signals = Vec::new();
    for (kind, mut statement) in statements {
        statement.entities.extend(traces.iter().flatten().cloned());
        statement.cap();
        let mut anomalies = statement.anomalies;
        anomalies.extend(&record.anomalies);
        let mut attributes = statement.attributes;
        if own {
            attributes.insert("self".to_owned(), "true".to_owned());
        }
        let said = Signal {
            id: SignalId::of(ctx.tenant, ctx.source, &key, kind.name(), 0),
            source: ctx.source.to_owned(),
            kind,
            usage: statement.usage,
            confidence: statement.confidence,
            about: Vec::new(),
            times: statement.times,
            entities: statement.entities.into_iter().collect(),
            attributes,
            anomalies: anomalies.into_iter().collect(),
            provenance: ctx.provenance,
            record: digest,
            record_key: key.clone(),
            withdraws: statement.withdraws,
        };
        say(ctx, said, &people, &mut signals);
    }
    Ok(signals)
}

/// Says a statement of each person; the last takes it without a copy.
fn say(
    ctx: &DecodeContext<'_>,
    said: Signal,
    people: &[(u32, Vec<Identifier>)],
    signals: &mut Vec<Signal>,
) {
    let of = |signal: Signal, (ordinal, about): &(u32, Vec<Identifier>)| {
        let (key, kind) = (signal.record_key.as_str(), signal.kind.name());
        let id = match ordinal {
            0 => signal.id,
            ordinal => SignalId::of(ctx.tenant, ctx.source, key, kind, *ordinal),
        };
        Signal { id, about: about.clone(), ..signal }
    };
    if let Some((last, others)) = people.split_last() {
        signals.extend(others.iter().map(|person| of(said.clone(), person)));
        signals.push(of(said, last));
    }
}

fn unlisted() -> BodyFault {
    let detail = "the pack lists other values of this event type only".to_owned();
    BodyFault::new(RejectReason::UnlistedEvent, detail)
}

/// Notes what is odd about the record as a whole.
fn note_anomalies(pack: &Pack, group: &Group, record: &mut Record<'_>) {
    if group.expects.iter().any(|path| path.first(&record.value).is_none_or(Value::is_null)) {
        record.anomalies.insert(Anomaly::MissingMember);
    }
    if !pack.anomalies.means.is_empty() {
        let met = pack.anomalies.conditions.matches(&record.value);
        let means = met.iter().filter_map(|place| pack.anomalies.means.get(*place));
        record.anomalies.extend(means);
    }
}

/// The statements of all views of the record, one for each kind.
fn statements(
    pack: &Pack,
    ctx: &DecodeContext<'_>,
    group: &Group,
    record: &mut Record<'_>,
) -> Result<BTreeMap<Kind, Statement>, BodyFault> {
    let mut items = Vec::new();
    if let Some(each) = &group.each {
        each.each(&record.value, &mut |item| items.push(Some(item.clone())));
    }
    if items.is_empty() {
        items.push(None);
    }
    let mut statements = BTreeMap::new();
    for item in items {
        if let Some(item) = item {
            record.add("item", item);
        }
        view(pack, ctx, group, record, &mut statements)?;
    }
    Ok(statements)
}

/// Adds the statements of one view of the record.
fn view(
    pack: &Pack,
    ctx: &DecodeContext<'_>,
    group: &Group,
    record: &mut Record<'_>,
    statements: &mut BTreeMap<Kind, Statement>,
) -> Result<(), BodyFault> {
    let read = times::read(group, &record.value, pack.without_zone, ctx.now)?;
    if !group.judged.is_empty() {
        record.add("late_s", Value::from(read.late_s));
    }
    let met = match group.conditions.is_empty() {
        true => Vec::new(),
        false => group.conditions.matches(&record.value),
    };
    let holds = |place: &usize| met.binary_search(place).is_ok();
    let adjust = group.adjust.iter().filter(|(place, _)| holds(place));
    let adjust = adjust.fold(0_i16, |sum, (_, add)| sum.saturating_add(*add));
    let mut rows: Vec<&Row> = Vec::new();
    let mut answered = false;
    for row in group.rows.iter().filter(|row| row.when.as_ref().is_none_or(holds)) {
        rows.push(row);
        if !row.goes_on {
            answered = true;
            break;
        }
    }
    let unknown = unknown_value();
    if !answered && group.otherwise == Otherwise::Detection {
        rows.push(&unknown);
    }
    for row in rows {
        let mut statement = state(pack, group, record, row, &read);
        if !row.happened.is_empty() {
            let stated = times::stated(&row.happened, &record.value, pack.without_zone, ctx.now)?;
            statement.times.happened = stated.unwrap_or(statement.times.happened);
        }
        statement.confidence = row.confidence.map(|confidence| {
            let adjusted = i16::from(confidence).saturating_add(adjust).clamp(1, 100);
            u8::try_from(adjusted).unwrap_or(confidence)
        });
        match statements.get_mut(&row.kind) {
            Some(earlier) => earlier.join(statement),
            None => {
                statements.insert(row.kind, statement);
            }
        }
    }
    Ok(())
}

/// The row of an unknown value inside a known event type.
fn unknown_value() -> Row {
    Row {
        when: None,
        kind: Kind::Detection,
        usage: Use::Join,
        confidence: Some(UNKNOWN_CONFIDENCE),
        withdraws: None,
        happened: Vec::new(),
        anomaly: Some(Anomaly::UnknownValue),
        goes_on: false,
    }
}

/// What a row states about this view of the record.
fn state(
    pack: &Pack,
    group: &Group,
    record: &Record<'_>,
    row: &Row,
    read: &times::Read,
) -> Statement {
    let mut anomalies: BTreeSet<Anomaly> = row.anomaly.into_iter().collect();
    if read.zoneless {
        anomalies.insert(Anomaly::Dialect);
    }
    if read.is_late() {
        anomalies.insert(Anomaly::LateVerdict);
    }
    let entities = record.entities(pack, &group.entities, &mut anomalies);
    let attributes = record.attributes(pack, &mut anomalies);
    let mut statement = Statement {
        usage: row.usage,
        confidence: row.confidence,
        withdraws: row.withdraws,
        times: read.times,
        entities,
        attributes,
        anomalies,
    };
    statement.cap();
    statement
}

impl Statement {
    /// Joins another view's statement of the same kind: the strongest use and confidence, all
    /// entities, the earliest event, the latest verdict.
    fn join(&mut self, other: Self) {
        if strength(other.usage) > strength(self.usage) {
            self.usage = other.usage;
        }
        self.confidence = self.confidence.max(other.confidence);
        if self.usage == Use::Fact {
            self.confidence = None;
        }
        self.withdraws = self.withdraws.or(other.withdraws);
        self.times.happened = self.times.happened.min(other.times.happened);
        self.times.judged = self.times.judged.max(other.times.judged);
        self.times.written = self.times.written.max(other.times.written);
        self.entities.extend(other.entities);
        for (name, value) in other.attributes {
            self.attributes.entry(name).or_insert(value);
        }
        self.anomalies.extend(other.anomalies);
        self.cap();
    }

    /// Keeps the first entities in their order and says so.
    fn cap(&mut self) {
        while self.entities.len() > ENTITIES_MAX {
            self.entities.pop_last();
            self.anomalies.insert(Anomaly::MissingMember);
        }
    }
}

fn strength(usage: Use) -> u8 {
    match usage {
        Use::Fact => 0,
        Use::Stop => 1,
        Use::Undo => 2,
        Use::Join => 3,
        Use::Alone => 4,
    }
}

/// The subject that names somebody, and everybody whom it names with his ordinal, as far as the
/// source may speak of them; one empty entry when the record names nobody.
type People<'p> = (Option<&'p Subject>, Vec<(u32, Vec<Identifier>)>);

fn people<'p>(
    pack: &'p Pack,
    ctx: &DecodeContext<'_>,
    group: &Group,
    record: &mut Record<'_>,
) -> Result<People<'p>, BodyFault> {
    let provider = ctx.provider.or(pack.provider.as_deref());
    let mut noted = BTreeSet::new();
    let mut named = None;
    for subject in group.about.iter().filter_map(|place| pack.subjects.get(*place)) {
        let people = record.people(pack, subject, provider, &mut noted);
        if !people.is_empty() {
            named = Some((subject, people));
            break;
        }
    }
    record.anomalies.extend(noted);
    let Some((subject, people)) = named else { return Ok((None, vec![(0, Vec::new())])) };
    // ordinals count everybody, so that a change of the domains moves no id
    let numbered = (0_u32..).zip(people);
    let allowed: Vec<(u32, Vec<Identifier>)> =
        numbered.filter(|(_, ids)| is_its_to_say(ctx.allowed_domains, ids)).collect();
    if allowed.is_empty() {
        let detail = "nobody of the domains that the source may speak for".to_owned();
        return Err(BodyFault::new(RejectReason::NotItsToSay, detail));
    }
    Ok((Some(subject), allowed))
}

/// True unless an address lies outside the domains.
fn is_its_to_say(domains: &[String], ids: &[Identifier]) -> bool {
    let addresses = ids.iter().filter(|id| id.scheme == Scheme::Address);
    let mut theirs = addresses.filter_map(|id| id.value.rsplit_once('@').map(|(_, d)| d));
    domains.is_empty() || theirs.all(|domain| domains.iter().any(|own| own == domain))
}

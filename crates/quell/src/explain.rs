//! Binary room, explain: what happened and why, from the evidence records alone, in ten lines.

use std::collections::BTreeMap;

use quell_core::time::Time;
use quell_store::StoredRecord;
use quell_store::views::{Pick, ReadError, Records, Views};
use serde::Serialize;
use serde_json::{Value, json};

/// Records that one explanation reads.
const RECORDS_MAX: usize = 5000;

/// A record as people and machines read it.
pub(crate) fn record(stored: &StoredRecord) -> Value {
    let body = stored
        .body
        .as_ref()
        .map(|(_, bytes)| serde_json::from_slice::<Value>(bytes).unwrap_or(Value::Null));
    json!({
        "seq": stored.seq,
        "type": stored.record_type,
        "at": stored.at,
        "leaf": data_encoding::HEXLOWER.encode(&stored.leaf),
        "body": body,
    })
}

/// An explanation.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// What was asked for.
    pub(crate) id: String,
    /// The case it belongs to, if any.
    pub(crate) case: Option<String>,
    /// The lines, at most ten.
    pub(crate) lines: Vec<String>,
    /// The records that it rests on.
    pub(crate) records: Vec<Value>,
}

/// Explains a case, finding, order, signal or notice.
pub(crate) fn explain(
    views: &dyn Views,
    tenant: &str,
    id: &str,
) -> Result<Option<Told>, ReadError> {
    let of = |id: &str| -> Result<Vec<StoredRecord>, ReadError> {
        Records::new(views, tenant, Pick::Ref(id), 0).take(RECORDS_MAX).collect()
    };
    let own: Vec<Value> = of(id)?.iter().map(record).collect();
    if own.is_empty() {
        return Ok(None);
    }
    let case = own.iter().rev().find_map(|r| case_of(r)).map(str::to_owned);
    let all = match &case {
        Some(case) => of(case)?.iter().map(record).collect(),
        None => own,
    };
    let lines = lines(&all, id);
    Ok(Some(Told { id: id.to_owned(), case, lines, records: all }))
}

fn case_of(record: &Value) -> Option<&str> {
    record.pointer("/body/case").and_then(Value::as_str)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn time(value: &Value, pointer: &str) -> Option<Time> {
    Time::parse(text(value, pointer)).map(|moment| moment.t)
}

fn ms(later: Option<Time>, earlier: Option<Time>) -> Option<String> {
    let micros = later?.since(earlier?);
    Some(format!("{}.{:03} ms", micros / 1000, micros.rem_euclid(1000)))
}

/// At most ten lines: who, what was seen, which rule, what authority said, what was done and
/// proved, and where the proof is.
fn lines(records: &[Value], asked: &str) -> Vec<String> {
    let of_type = |kinds: &'static [&'static str]| {
        records.iter().filter(move |r| kinds.contains(&text(r, "/type")))
    };
    let mut lines = Vec::new();
    let findings: Vec<&Value> = of_type(&["finding_raised", "finding_amended"]).collect();
    let strongest =
        findings.iter().max_by_key(|r| tier_rank(text(r, "/body/finding/tier"))).copied();
    if let Some(found) = strongest {
        lines.extend(found_lines(found, findings.len()));
    }
    let withdrawn = of_type(&["finding_withdrawn", "finding_superseded"]).count();
    if withdrawn > 0 {
        lines.push(format!("later   {withdrawn} finding(s) withdrawn or superseded"));
    }
    let before = of_type(&["finding_contained"]).count();
    if before > 0 {
        lines.push(format!("before  {before} finding(s) from before the containment, on record"));
    }
    let mut orders: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for record in of_type(&["order"]) {
        orders.entry(text(record, "/body/order")).or_default().push(record);
    }
    let mut told: Vec<(u8, String)> = orders
        .iter()
        .filter(|(id, _)| !asked.starts_with("ord_") || **id == asked)
        .map(|(id, steps)| order_line(id, steps))
        .collect();
    told.sort();
    let room = 9_usize.saturating_sub(lines.len());
    let more = told.len().saturating_sub(room);
    let keep = if more > 0 { room.saturating_sub(1) } else { room };
    lines.extend(told.into_iter().take(keep).map(|(_, line)| line));
    if more > 0 {
        lines.push(format!("and     {} more order(s): see --json", more + 1));
    }
    if let (Some(first), Some(last)) = (records.first(), records.last()) {
        let seq = |r: &Value| r.pointer("/seq").and_then(Value::as_u64).unwrap_or_default();
        let (from, to) = (seq(first), seq(last));
        lines.push(format!("proof   records {from} to {to}: `quell evidence export`, then verify"));
    }
    lines
}

fn tier_rank(tier: &str) -> u8 {
    match tier {
        "observe" => 1,
        "challenge" => 2,
        "contain" => 3,
        "evict" => 4,
        _ => 0,
    }
}

fn found_lines(found: &Value, count: usize) -> Vec<String> {
    let finding = found.pointer("/body/finding").cloned().unwrap_or_default();
    let who = match text(found, "/body/identity/key") {
        "" => text(&finding, "/subject/account/source").to_owned() + " (unresolved account)",
        key => {
            let classes = found.pointer("/body/identity/classes").cloned().unwrap_or_default();
            format!("`{key}` {classes}")
        }
    };
    let confidence = finding.pointer("/confidence").cloned().unwrap_or_default();
    let signals: Vec<String> = finding
        .pointer("/signals")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .take(4)
        .map(|s| format!("{} by {} at {}", text(s, "/kind"), text(s, "/source"), text(s, "/at")))
        .collect();
    let caps: Vec<&str> = finding
        .pointer("/caps")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut lines = vec![
        format!("who     {who}, case {}", text(found, "/body/case")),
        format!(
            "found   {} (tier {}, confidence {confidence}; {count} statement(s) in all)",
            text(&finding, "/title"),
            text(&finding, "/tier"),
        ),
        format!("because {}", signals.join(", then ")),
    ];
    if !caps.is_empty() {
        lines.push(format!("capped  {}", caps.join("; ")));
    }
    lines
}

/// One line an order, with a rank: what contains goes first, what only watches last.
fn order_line(id: &str, steps: &[&Value]) -> (u8, String) {
    let last = steps.last().copied().cloned().unwrap_or_default();
    let action = text(&last, "/body/action");
    let on = match text(&last, "/body/on/account/provider") {
        "" => text(&last, "/body/on/entity/kind").to_owned(),
        provider => format!("{provider}:{}", text(&last, "/body/on/account/id")),
    };
    let state = text(&last, "/body/to");
    let sent = steps.iter().rev().find_map(|s| time(s, "/body/sent_at"));
    let received = steps.iter().rev().find_map(|s| time(s, "/body/received_at"));
    let verified = steps.iter().rev().find_map(|s| time(s, "/body/verified_at"));
    let reason = text(&last, "/body/reason");
    let permit = steps.iter().rev().find_map(|s| s.pointer("/body/more/permit"));
    let list = |name: &str| {
        let all = permit.and_then(|permit| permit.get(name)).and_then(Value::as_array);
        let all: Vec<&str> = all.into_iter().flatten().filter_map(Value::as_str).collect();
        all.join(", ")
    };
    let why = match (list("policies"), list("approved_by")) {
        (policies, _) if policies.is_empty() || state == "refused" => reason.to_owned(),
        (policies, by) if by.is_empty() => format!("by {policies}; {reason}"),
        (policies, by) => format!("by {policies}, approved by {by}; {reason}"),
    };
    let mut line = format!("did     {action} on {on}: {state} ({why})");
    if action != "watch" {
        if let Some(ms) = ms(sent, received) {
            line.push_str(&format!(", sent after {ms}"));
        }
        if let Some(ms) = ms(verified, received) {
            line.push_str(&format!(", verified after {ms}"));
        }
        line.push_str(&format!(" [{id}]"));
    }
    let rank = match action {
        "watch" => 2,
        _ if state == "verified" => 0,
        _ => 1,
    };
    (rank, line)
}

//! Simulation room, reference model: what the evidence alone says about each order. Reads records
//! as any auditor could and shares no code with the engine that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::identity::Account;
use quell_core::order::{Capability, Repeat, Verb};
use quell_core::time::Time;
use quell_store::StoredRecord;
use serde_json::Value;

use crate::company::Company;

/// One order as the evidence tells it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) state: String,
    pub(crate) reason: String,
    pub(crate) action: String,
    /// The account's `provider:id`; none for what is only watched.
    pub(crate) account: Option<Account>,
    pub(crate) permits: u32,
    pub(crate) claims: u32,
    pub(crate) undos: u32,
    /// Read-backs after which the act was sent again because they found it absent.
    pub(crate) absent: u32,
    /// Read-backs that found the inverse absent.
    pub(crate) undo_absent: u32,
    /// Effecting calls of which nobody knew whether they had happened.
    pub(crate) unknown: u32,
    pub(crate) undo_unknown: u32,
    /// When the last effecting call was acknowledged or lost from sight.
    sighted: Time,
    /// The same of the inverse.
    undo_sighted: Time,
    /// It ends sessions once more before a block is lifted: no freeze stops it.
    pub(crate) last_end: bool,
    /// Who approved, for the permit that comes next.
    approved: BTreeSet<String>,
}

/// What the evidence says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) next: u64,
    pub(crate) orders: BTreeMap<String, Told>,
    pub(crate) pages: BTreeSet<String>,
    /// Ids of orders and cases about which people were paged.
    pub(crate) paged: BTreeSet<String>,
    /// Signals that were called misuse of our own credential.
    pub(crate) misuse: BTreeSet<String>,
    /// A freeze is in force.
    pub(crate) frozen: bool,
    last_leaf: Option<[u8; 32]>,
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

impl Told {
    fn permit(&mut self, body: &Value) -> Result<(), String> {
        self.permits += 1;
        let permit = body.pointer("/more/permit").cloned().unwrap_or_default();
        let needed = number(&permit, "/approvals");
        let by = permit.pointer("/approved_by").and_then(Value::as_array).map_or(0, Vec::len);
        if u64::try_from(by).unwrap_or_default() < needed {
            return Err(format!("a permit that needs {needed} approvals has {by}"));
        }
        self.last_end = self.reason.starts_with("sessions end once more");
        if !self.last_end && by > self.approved.len() {
            return Err("a permit names approvals that are not recorded".to_owned());
        }
        self.approved.clear();
        Ok(())
    }

    fn capability(&self, company: &Company) -> Option<Capability> {
        let account = self.account.as_ref()?;
        let all = company.capabilities.get(&account.provider)?;
        all.iter().find(|capability| capability.action.name() == self.action).copied()
    }

    /// How long after the act the target's read-back may still not show it.
    fn patience(&self, company: &Company) -> i64 {
        self.capability(company).map_or(0, |c| c.effective_after + c.read_back_lag)
    }
}

impl Ledger {
    /// Takes in the next record; the first thing that does not follow is an error.
    pub(crate) fn take(&mut self, record: &StoredRecord, company: &Company) -> Result<(), String> {
        if record.seq != self.next {
            return Err(format!("record {} stands where {} is due", record.seq, self.next));
        }
        if self.last_leaf.is_some_and(|leaf| leaf != record.prev) {
            return Err(format!("record {} does not follow the one before it", record.seq));
        }
        self.next += 1;
        self.last_leaf = Some(record.leaf);
        let bytes = record.body.as_ref().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        let body: Value = serde_json::from_slice(bytes)
            .map_err(|e| format!("record {} is no JSON: {e}", record.seq))?;
        match record.record_type.as_str() {
            "order" => self
                .order(&body, record.at, company)
                .map_err(|e| format!("record {}: {e}", record.seq))?,
            "outcome" => self.outcome(&body, record.at, company),
            "approved" => self.approved(&body)?,
            "page" => {
                self.pages.insert(text(&body, "/id").to_owned());
                self.paged.insert(text(&body, "/order").to_owned());
                self.paged.insert(text(&body, "/case").to_owned());
                self.frozen &= text(&body, "/kind") != "freeze_ended";
            }
            "freeze" => self.frozen = body.get("on").and_then(Value::as_bool) == Some(true),
            "own_credential_misuse" => {
                self.misuse.insert(text(&body, "/signal").to_owned());
                self.frozen = true;
            }
            "order_event_refused" => {
                return Err(format!("record {}: an impossible event: {body}", record.seq));
            }
            _ => {}
        }
        Ok(())
    }

    fn order(&mut self, body: &Value, at: Time, company: &Company) -> Result<(), String> {
        let id = text(body, "/order");
        let told = self.orders.entry(id.to_owned()).or_default();
        let (from, to, event) = (text(body, "/from"), text(body, "/to"), text(body, "/event"));
        let before = if told.state.is_empty() { "planned" } else { &told.state };
        if before != from {
            return Err(format!("{id} goes from {from} to {to}, but it was {before}"));
        }
        told.state = to.to_owned();
        told.reason = text(body, "/reason").to_owned();
        told.action = text(body, "/action").to_owned();
        let account = body.pointer("/on/account").cloned();
        told.account = account.and_then(|value| serde_json::from_value(value).ok());
        match event {
            "permit" => told.permit(body).map_err(|e| format!("{id}: {e}"))?,
            "acknowledge" | "lose_sight" => told.sighted = at,
            "claim" => told.claims += 1,
            "give_back" => {
                let left = told.claims.checked_sub(1);
                told.claims = left.ok_or_else(|| format!("{id}: given back, never claimed"))?;
            }
            "undo" => told.undos += 1,
            "ask_approval" => told.approved.clear(),
            _ => {}
        }
        let found_absent = absent(body, "/more/outcome", "read_back");
        told.absent += u32::from(event == "retry" && found_absent);
        if found_absent && at.since(told.sighted) < told.patience(company) {
            return Err(format!("{id}: called absent while the target's own delays still run"));
        }
        told.unknown += u32::from(unknown(body, "/more/outcome", "execute"));
        told.undo_unknown += u32::from(unknown(body, "/more/outcome", "undo"));
        Ok(())
    }

    fn outcome(&mut self, body: &Value, at: Time, company: &Company) {
        let told = self.orders.entry(text(body, "/order").to_owned()).or_default();
        let undo = text(body, "/outcome/verb") == "undo";
        let accepted = text(body, "/outcome/answer/result") == "accepted";
        if undo && (accepted || unknown(body, "/outcome", "undo")) {
            told.undo_sighted = at;
        }
        // What is seen while the target's own delays run proves nothing.
        let over = at.since(told.undo_sighted) >= told.patience(company);
        told.undo_absent += u32::from(over && absent(body, "/outcome", "read_back_undo"));
        told.undo_unknown += u32::from(unknown(body, "/outcome", "undo"));
        told.unknown += u32::from(unknown(body, "/outcome", "execute"));
    }

    fn approved(&mut self, body: &Value) -> Result<(), String> {
        let by = text(body, "/reply/by").to_owned();
        let told = self.orders.entry(text(body, "/order").to_owned()).or_default();
        let own = told.account.as_ref().and_then(|account| account.login.as_ref());
        if own == Some(&by) {
            return Err(format!("{by} approved on himself"));
        }
        if !told.approved.insert(by.clone()) {
            return Err(format!("{by} counted twice"));
        }
        Ok(())
    }

    /// How many effecting calls of a verb the evidence explains.
    pub(crate) fn allowed(&self, order: &str, verb: Verb, company: &Company) -> u32 {
        let Some(told) = self.orders.get(order) else { return 0 };
        let Some(repeat) = told.capability(company).map(|c| c.repeat) else { return 0 };
        let (first, absent, unknown) = match verb {
            // Each time that somebody takes an order back is leave to do it once.
            Verb::Undo => (told.undos, told.undo_absent, told.undo_unknown),
            _ => (told.permits.min(1), told.absent, told.unknown),
        };
        match repeat {
            Repeat::Never => first,
            Repeat::AfterReadBack => first + absent,
            Repeat::Safe => first + absent + unknown,
        }
    }
}

fn absent(body: &Value, at: &str, verb: &str) -> bool {
    let outcome = body.pointer(at).unwrap_or(&Value::Null);
    let flag = |name| outcome.pointer(name).and_then(Value::as_bool);
    text(outcome, "/verb") == verb
        && text(outcome, "/answer/result") == "seen"
        && flag("/answer/done") == Some(false)
        && flag("/answer/conclusive") == Some(true)
}

fn unknown(body: &Value, at: &str, verb: &str) -> bool {
    let outcome = body.pointer(at).unwrap_or(&Value::Null);
    text(outcome, "/verb") == verb && text(outcome, "/answer/fault") == "indeterminate"
}

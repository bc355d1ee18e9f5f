//! Engine room, closing: a person says what a case was. A false or benign one withdraws the signals
//! that it cites, as an analyst may; nothing is sent because of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Engine;
use super::replan::newest_access;
use crate::case::{Case, CaseState, Disposition};
use crate::effect::Closing;
use crate::finding::Finding;
use crate::id::{CaseId, Digest, SignalId};
use crate::order::Event;
use crate::signal::{Kind, Signal};
use crate::time::Time;

/// Signals that an analyst withdrew, with the digest of the record that he saw: another revision
/// counts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Withdrawn {
    signals: Vec<(SignalId, Digest)>,
    /// When none of them is kept any more.
    until: Time,
}

/// What analysts withdrew, by the case that they closed.
#[derive(Debug, Default)]
pub(super) struct Dismissed {
    rows: BTreeMap<CaseId, Time>,
    signals: BTreeMap<(SignalId, Digest), CaseId>,
}

impl Dismissed {
    /// True when the signal, in this revision, does not count.
    pub(super) fn holds(&self, signal: &Signal) -> bool {
        !self.signals.is_empty() && self.signals.contains_key(&(signal.id, signal.record))
    }

    pub(super) fn keep(&mut self, case: CaseId, row: Withdrawn) {
        self.rows.insert(case, row.until);
        self.signals.extend(row.signals.into_iter().map(|signal| (signal, case)));
    }

    /// Drops what is no longer kept; gives the cases of the rows.
    fn forget(&mut self, at: Time) -> Vec<CaseId> {
        let old = self.rows.iter().filter(|(_, until)| **until < at).map(|(case, _)| *case);
        let old: Vec<CaseId> = old.collect();
        old.iter().for_each(|case| {
            self.rows.remove(case);
        });
        self.signals.retain(|_, case| !old.contains(case));
        old
    }

    /// Drops the row of one case; false where it has none.
    fn drop_of(&mut self, case: CaseId) -> bool {
        let had = self.rows.remove(&case).is_some();
        if had {
            self.signals.retain(|_, of| *of != case);
        }
        had
    }
}

impl Engine {
    pub(super) fn on_close(&mut self, closing: &Closing) {
        let closing = Closing {
            by: super::plain(&closing.by),
            why: super::plain(&closing.why),
            ..closing.clone()
        };
        let id = closing.case;
        if let Some(why) = self.unfit_to_close(&closing) {
            let body = json!({ "closing": closing, "refused": why });
            self.record("case_close_refused", body, vec![id.to_string()]);
            return;
        }
        let Some(case) = self.cases.get(&id) else { return };
        let findings: Vec<&Finding> = self.on_record(case).collect();
        let cited = || findings.iter().flat_map(|finding| &finding.signals);
        let pairs: BTreeSet<(String, Kind)> = cited().map(|c| (c.source.clone(), c.kind)).collect();
        let signals: BTreeSet<(SignalId, Digest)> = cited().map(|c| (c.signal, c.record)).collect();
        let told: Vec<String> = findings.iter().map(|finding| finding.id.to_string()).collect();
        let subject = case.subject.clone();
        let withdrawn = matches!(closing.disposition, Disposition::False | Disposition::Benign);
        let body = json!({
            "closing": closing, "subject": subject.to_string(), "findings": told,
            "withdrawn": if withdrawn { signals.len() } else { 0 },
        });
        self.record("case_closed", body, vec![id.to_string()]);
        if withdrawn {
            let until = self.at.plus(self.config.policy.limits.retention);
            let row = Withdrawn { signals: signals.into_iter().collect(), until };
            self.row("dismissed", id.to_string(), super::state::bytes(&row));
            self.dismissed.keep(id, row);
            self.touch_all(&subject);
        }
        self.tally(&pairs, closing.disposition);
        for case in self.dismissed.forget(self.at) {
            self.row("dismissed", case.to_string(), None);
        }
        self.scratch.closing = Some(closing);
    }

    /// Why a closing does not count.
    pub fn unfit_to_close(&self, closing: &Closing) -> Option<String> {
        let id = closing.case;
        let Some(case) = self.cases.get(&id) else {
            return Some(format!("there is no case `{id}`"));
        };
        if let Some(into) = case.merged_into {
            return Some(format!("the case lives on in `{into}`: close that one"));
        }
        if !case.is_live() {
            return Some("the case is closed already".to_owned());
        }
        self.may_not_decide(&closing.by, id, None)
    }

    /// Drops what an analyst withdrew with a case that is forgotten.
    pub(super) fn forget_dismissed(&mut self, case: CaseId) {
        if self.dismissed.drop_of(case) {
            self.row("dismissed", case.to_string(), None);
        }
    }

    /// Counts the case for each source and kind that it cites.
    fn tally(&mut self, pairs: &BTreeSet<(String, Kind)>, disposition: Disposition) {
        let right = match disposition {
            Disposition::True => true,
            Disposition::False => false,
            Disposition::Benign | Disposition::Unsure => return,
        };
        for (source, kind) in pairs {
            let (key, tally) = self.precision.count(source, *kind, self.at, right);
            self.row("precision", key, super::state::bytes(&tally));
        }
        for key in self.precision.forget(self.at) {
            self.row("precision", key, None);
        }
    }

    /// After findings and orders have followed: what has not left is cancelled, and the case is
    /// over. What was done stays done; an undo is people's to ask for.
    pub(super) fn finish_closing(&mut self) {
        let Some(closing) = self.scratch.closing.take() else { return };
        let id = closing.case;
        let Some(case) = self.cases.get(&id).filter(|case| case.is_live()) else { return };
        for order in case.orders.clone() {
            let waits = self.orders.get(&order).is_some_and(|order| order.state.waits());
            if waits {
                self.drop_call(order);
                let why =
                    format!("the case was closed as {} by {}", closing.disposition, closing.by);
                self.advance(order, Event::Cancel, &why, &Value::Null);
            }
        }
        let at = self.at;
        if let Some(case) = self.cases.get_mut(&id) {
            case.state = CaseState::Closed;
            case.disposition = Some(closing.disposition);
            case.closed_at = Some(at);
        }
        self.scratch.cases.insert(id);
    }

    /// The closed case of a finding that it holds, as long as no access came after the closing.
    pub(super) fn closed_home(&self, finding: &Finding) -> Option<CaseId> {
        let ids = self.cases_of.get(&finding.subject)?;
        let over = |case: &&Case| {
            let closed = case.closed_at.filter(|_| case.state == CaseState::Closed);
            let newer = |closed| newest_access(finding).is_some_and(|access| access > closed);
            case.holds(finding.id) && closed.is_some_and(|closed| !newer(closed))
        };
        ids.iter().filter_map(|id| self.cases.get(id)).find(over).map(|case| case.id)
    }

    /// What closed cases say of sources and kinds.
    pub fn precision(&self) -> &crate::precision::Precision {
        &self.precision
    }
}

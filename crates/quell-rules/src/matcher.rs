//! Rules room: one event to the sorted list of the rules that match it. Holds no state between
//! events, so any number of threads may share one matcher.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::block::Block;
use crate::event::{Event, Value, View};
use crate::set::{RuleIdx, RuleSet};
use crate::vocab::{Category, Field};

/// All detections of a rule set, ready to match.
///
/// Correlations, `novel` traits and tiers are not its business: a match says only that the event's
/// fields satisfy the rule's condition.
#[derive(Debug, Clone)]
pub struct Matcher {
    rules: Vec<Ready>,
    by_kind: BTreeMap<String, Vec<usize>>,
    any_kind: Vec<usize>,
}

#[derive(Debug, Clone)]
struct Ready {
    idx: RuleIdx,
    category: Category,
    block: Arc<Block>,
}

impl Matcher {
    /// Takes the detections of a set.
    pub fn new(set: &RuleSet) -> Self {
        let mut matcher =
            Self { rules: Vec::new(), by_kind: BTreeMap::new(), any_kind: Vec::new() };
        for (idx, detection) in set.detections() {
            let place = matcher.rules.len();
            let category = detection.category;
            matcher.rules.push(Ready { idx, category, block: Arc::clone(&detection.block) });
            match &detection.kinds {
                None => matcher.any_kind.push(place),
                Some(kinds) => {
                    for kind in kinds {
                        matcher.by_kind.entry(kind.clone()).or_default().push(place);
                    }
                }
            }
        }
        matcher
    }

    /// The rules that match the event, in the order of their ids; at most once each.
    pub fn match_event(&self, event: &Event<'_>) -> Vec<RuleIdx> {
        let view = View(event);
        let mut matched = Vec::new();
        let mut consider = |places: &[usize]| {
            for ready in places.iter().filter_map(|place| self.rules.get(*place)) {
                if fits(ready.category, event.category()) && ready.block.matches(&view) {
                    matched.push(ready.idx);
                }
            }
        };
        consider(&self.any_kind);
        for kind in event.values(Field::Kind) {
            match kind {
                Value::Text(kind)
                    if kind.bytes().any(|b| !b.is_ascii() || b.is_ascii_uppercase()) =>
                {
                    consider(self.of_kind(&kind.to_lowercase()));
                }
                Value::Text(kind) => consider(self.of_kind(kind)),
                Value::Int(kind) => consider(self.of_kind(&kind.to_string())),
            }
        }
        matched.sort_unstable();
        matched.dedup();
        matched
    }

    fn of_kind(&self, kind: &str) -> &[usize] {
        self.by_kind.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// Whether a rule of one category looks at an event of another.
fn fits(rule: Category, event: Category) -> bool {
    rule == Category::Any || event == Category::Any || rule == event
}

#[cfg(test)]
mod tests;

//! Rules room: what a detection requires of one field, so that most rules need not be evaluated.
//! Only ever too generous: it may let a rule through that does not match, never the other way.
//!
//! rsigma-eval 0.15.0 has an index of its own, inside its `Engine`, but that one loses matches:
//! with `condition: not selection`, and when one branch of a list of mappings has no exact value.

use std::collections::BTreeSet;

use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Quantifier, SelectorPattern, SigmaValue,
};

/// The lower-cased texts of which `field` must have one for the detection to match; `None` where
/// the detection can match whatever the field says.
pub(crate) fn required_values(detections: &Detections, field: &str) -> Option<BTreeSet<String>> {
    let scope = Scope { detections, field };
    any_of(detections.conditions.iter().map(|condition| scope.of_condition(condition)))
}

/// Every field that a plain item of the detection compares, for choosing what to index.
pub(crate) fn compared_fields(detections: &Detections) -> BTreeSet<&str> {
    let mut fields = BTreeSet::new();
    let mut open: Vec<&Detection> = detections.named.values().collect();
    while let Some(detection) = open.pop() {
        match detection {
            Detection::AllOf(items) => {
                fields.extend(items.iter().filter_map(|item| item.field.name.as_deref()));
            }
            Detection::AnyOf(parts) | Detection::And(parts) => open.extend(parts),
            _ => {}
        }
    }
    fields
}

struct Scope<'d> {
    detections: &'d Detections,
    field: &'d str,
}

impl Scope<'_> {
    fn of_condition(&self, condition: &ConditionExpr) -> Option<BTreeSet<String>> {
        match condition {
            ConditionExpr::Identifier(name) => {
                self.detections.named.get(name).and_then(|named| self.of_detection(named))
            }
            ConditionExpr::And(parts) => smallest(parts.iter().map(|part| self.of_condition(part))),
            ConditionExpr::Or(parts) => any_of(parts.iter().map(|part| self.of_condition(part))),
            ConditionExpr::Not(_) => None,
            ConditionExpr::Selector { quantifier, pattern } => {
                self.of_selector(quantifier, pattern)
            }
        }
    }

    fn of_selector(
        &self,
        quantifier: &Quantifier,
        pattern: &SelectorPattern,
    ) -> Option<BTreeSet<String>> {
        let named = self.detections.named.iter();
        let parts = named
            .filter(|(name, _)| pattern.matches_detection_name(name))
            .map(|(_, detection)| self.of_detection(detection));
        match quantifier {
            Quantifier::All => smallest(parts),
            Quantifier::Count(0) => None,
            Quantifier::Any | Quantifier::Count(_) => any_of(parts),
        }
    }

    fn of_detection(&self, detection: &Detection) -> Option<BTreeSet<String>> {
        match detection {
            Detection::AllOf(items) => smallest(items.iter().map(|item| self.of_item(item))),
            Detection::And(parts) => smallest(parts.iter().map(|part| self.of_detection(part))),
            Detection::AnyOf(parts) => any_of(parts.iter().map(|part| self.of_detection(part))),
            Detection::Keywords(_)
            | Detection::ArrayMatch { .. }
            | Detection::Conditional { .. } => None,
        }
    }

    fn of_item(&self, item: &DetectionItem) -> Option<BTreeSet<String>> {
        if item.field.name.as_deref() != Some(self.field) || !item.field.modifiers.is_empty() {
            return None;
        }
        item.values
            .iter()
            .map(|value| match value {
                SigmaValue::String(text) => text.as_plain().map(|text| text.to_lowercase()),
                _ => None,
            })
            .collect()
    }
}

/// Parts of which one must hold: all their values together, if each part requires some.
fn any_of(parts: impl Iterator<Item = Option<BTreeSet<String>>>) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for part in parts {
        all.extend(part?);
    }
    Some(all)
}

/// Parts that must all hold: the smallest of their requirements. Not the intersection, because a
/// field with several values may satisfy each part by another value.
fn smallest(parts: impl Iterator<Item = Option<BTreeSet<String>>>) -> Option<BTreeSet<String>> {
    parts.flatten().min_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
}

//! Rules room: a whole set of rules: reads files, resolves what rules say about each other, looks
//! rules up. Reads no file itself and decides nothing about an error.

mod link;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::correlation::Correlation;
use crate::error::{Fault, RuleError, did_you_mean};
use crate::limits::{MAX_FILES, MAX_PROBLEMS, MAX_RULES, MAX_SET_REGEXES};
use crate::rule::{self, Detection, Draft, Rule};
use crate::yaml::{self, Document};

/// The place of a rule in its set; places are in the order of ids, so sorting by place sorts by id.
///
/// A place means nothing in another set; what is stored is the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIdx(u32);

impl RuleIdx {
    pub(crate) fn new(place: usize) -> Self {
        // a set has at most MAX_RULES rules, far below the range
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

    /// The place as an index, below [`RuleSet::len`] of its set.
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Rules that were read together, in the order of their ids.
///
/// Invariant: ids and names are unique, every reference of a correlation leads to a rule of the
/// set, and no correlation leads back to itself.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    by_name: BTreeMap<String, RuleIdx>,
    referencing: Vec<Vec<RuleIdx>>,
    digest: [u8; 32],
}

/// A draft with the document that it was read from.
struct Read {
    draft: Draft,
    document: Document,
}

impl RuleSet {
    /// Reads rules from `files`, pairs of a name for messages and a YAML text.
    ///
    /// Returns the rules without any error and all errors, both in an order that does not depend on
    /// the order of the files; of one document at most [`crate::limits::MAX_PROBLEMS`] errors are
    /// told. A caller that acts on rules refuses the set when there is any error:
    /// the good part is for showing and checking only.
    pub fn parse(files: &[(&str, &str)]) -> (Self, Vec<RuleError>) {
        let mut sorted = files.to_vec();
        sorted.sort_unstable();
        let mut reading = Reading::default();
        for (number, (file, text)) in sorted.into_iter().enumerate() {
            if number == MAX_FILES {
                let fault = Fault::OverLimit { what: "the number of files", max: MAX_FILES };
                let help = "put several rules into one file";
                reading.errors.push(RuleError::new(file, 1, fault, help));
                break;
            }
            reading.file(file, text);
        }
        let Reading { read, mut broken, mut errors, .. } = reading;
        let read = link::unique(read, &mut broken, &mut errors);
        let set = Self::of(link::resolve(read, &broken, &mut errors));
        errors.sort();
        errors.dedup();
        (set, errors)
    }

    fn of(linked: Vec<(Rule, String)>) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"quell/rules/v1");
        let mut set = Self::default();
        for (rule, canonical) in linked {
            let len = u32::try_from(canonical.len()).unwrap_or(u32::MAX);
            hash.update(len.to_be_bytes());
            hash.update(canonical.as_bytes());
            let idx = RuleIdx::new(set.rules.len());
            if let Some(name) = &rule.meta().name {
                set.by_name.insert(name.clone(), idx);
            }
            set.rules.push(rule);
        }
        set.digest = hash.finalize().into();
        set.referencing = vec![Vec::new(); set.rules.len()];
        for (place, rule) in set.rules.iter().enumerate() {
            let Rule::Correlation(correlation) = rule else { continue };
            for member in &correlation.members {
                if let Some(list) = set.referencing.get_mut(member.idx.index()) {
                    list.push(RuleIdx::new(place));
                }
            }
        }
        set
    }

    /// SHA-256 over the canonical content of all rules in the order of their ids.
    ///
    /// The order and names of files, comments, key order and layout do not change it; everything
    /// else that a rule says does. Each rule counts as its length (u32, big-endian) and its
    /// canonical text, after the tag `quell/rules/v1`.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules with their places, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (RuleIdx, &Rule)> {
        self.rules.iter().enumerate().map(|(place, rule)| (RuleIdx::new(place), rule))
    }

    /// The rule at a place; `None` only for a place of another set.
    pub fn get(&self, idx: RuleIdx) -> Option<&Rule> {
        self.rules.get(idx.index())
    }

    /// The place of the rule with a Sigma `id`.
    pub fn idx_of_id(&self, id: &str) -> Option<RuleIdx> {
        self.rules.binary_search_by(|rule| rule.id().cmp(id)).ok().map(RuleIdx::new)
    }

    /// The place of the rule with a Sigma `name`.
    pub fn idx_of_name(&self, name: &str) -> Option<RuleIdx> {
        self.by_name.get(name).copied()
    }

    /// The rule with a Sigma `id`.
    pub fn by_id(&self, id: &str) -> Option<&Rule> {
        self.get(self.idx_of_id(id)?)
    }

    /// The rule with a Sigma `name`.
    pub fn by_name(&self, name: &str) -> Option<&Rule> {
        self.get(self.idx_of_name(name)?)
    }

    /// The correlations that list a rule, in the order of their ids.
    pub fn referencing(&self, idx: RuleIdx) -> &[RuleIdx] {
        self.referencing.get(idx.index()).map_or(&[], Vec::as_slice)
    }

    /// The detections with their places.
    pub fn detections(&self) -> impl Iterator<Item = (RuleIdx, &Detection)> {
        self.iter().filter_map(|(idx, rule)| match rule {
            Rule::Detection(detection) => Some((idx, detection)),
            Rule::Correlation(_) => None,
        })
    }

    /// The detections that ask for a response by themselves.
    pub fn asking_alone(&self) -> impl Iterator<Item = (RuleIdx, &Detection)> {
        self.detections().filter(|(_, detection)| detection.quell.ask.is_some())
    }

    /// The correlations with their places.
    pub fn correlations(&self) -> impl Iterator<Item = (RuleIdx, &Correlation)> {
        self.iter().filter_map(|(idx, rule)| match rule {
            Rule::Correlation(correlation) => Some((idx, correlation)),
            Rule::Detection(_) => None,
        })
    }

    /// Errors for every plain value that a rule compares `field` with and that is not in `known`.
    ///
    /// For closed lists that others own, such as the kinds of signals or the configured sources. A
    /// rule compares without regard to case, so the check does too; values with wildcards and
    /// values of modifiers such as `contains` are not checked.
    pub fn unknown_values(&self, field: &str, known: &[&str]) -> Vec<RuleError> {
        let is_known = |value: &str| known.iter().any(|name| name.eq_ignore_ascii_case(value));
        let mut errors = Vec::new();
        for (_, detection) in self.detections() {
            let literals = detection.block.literals.iter();
            let unknown = literals.filter(|literal| literal.field == field);
            let unknown = unknown.filter(|literal| !is_known(&literal.value));
            errors.extend(unknown.take(MAX_PROBLEMS).map(|literal| {
                let line = detection.source.line_of(&literal.path);
                let fault = Fault::UnknownValue { what: "value", value: literal.value.clone() };
                let help = did_you_mean(&literal.value, known.iter().copied());
                RuleError::new(&detection.meta.file, line, fault, help)
            }));
        }
        errors.sort();
        errors.dedup();
        errors
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    read: Vec<Read>,
    /// Ids and names of documents that are no rules for their errors.
    broken: BTreeSet<String>,
    errors: Vec<RuleError>,
    regexes: usize,
}

impl Reading {
    fn file(&mut self, file: &str, text: &str) {
        for document in yaml::documents(text) {
            match document {
                Ok(document) => self.document(file, document),
                Err(error) => {
                    self.errors.push(RuleError::new(file, error.line, error.fault, error.help));
                }
            }
        }
    }

    fn document(&mut self, file: &str, document: Document) {
        let mut refuse = |line: u32, fault: Fault, help: String| {
            self.broken.extend(references_of(document.value()));
            self.errors.push(RuleError::new(file, line, fault, help));
        };
        let over = |what, max| Fault::OverLimit { what, max };
        match rule::read(document.value(), file, document.line()) {
            Ok(_) if self.read.len() == MAX_RULES => {
                let fault = over("the number of rules", MAX_RULES);
                refuse(document.line(), fault, "remove some".to_owned());
            }
            Ok(draft) if self.regexes + draft.regexes() > MAX_SET_REGEXES => {
                let fault = over("the number of patterns in all rules", MAX_SET_REGEXES);
                refuse(document.line(), fault, "use `|contains` or plain values".to_owned());
            }
            Ok(draft) => {
                self.regexes += draft.regexes();
                self.read.push(Read { draft, document });
            }
            Err(problems) => {
                for problem in problems.into_iter().take(MAX_PROBLEMS) {
                    let line = document.line_of(&problem.path);
                    refuse(line, problem.fault, problem.help);
                }
            }
        }
    }
}

/// The texts by which others may refer to a document that is no rule for its errors.
fn references_of(value: &Value) -> impl Iterator<Item = String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    [text("id"), text("name")].into_iter().flatten()
}

#[cfg(test)]
mod tests;

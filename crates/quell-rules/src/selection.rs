//! Rules room: lists of Sigma `detection` blocks on a vendor's JSON records, for packs. Decides
//! only which blocks a record satisfies; what a block means is the pack's.

use std::collections::BTreeMap;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{Event as _, EventValue};
use serde_json::Value;

use crate::block::{Block, Dialect};
use crate::error::{Fault, Problem};
use crate::limits::{MAX_NESTING, MAX_PROBLEMS, MAX_SELECTIONS, MAX_SET_REGEXES};
use crate::narrow;

/// Compiled `detection` blocks, each known by its place in the list.
///
/// A block is a mapping of named selections and a `condition`. A selection's keys are paths into
/// the record: `a.b` is the member `b` of `a`, a list on the way means any of its members, and
/// `a[any]: {b: x, c: y}` asks one member for both (also `[all]`, `[none]`, `[0]`, `[-1]`).
#[derive(Debug, Clone, Default)]
pub struct SelectionSet {
    blocks: Vec<Block>,
    /// The field by which most blocks can be told apart, and the blocks for each of its texts.
    indexed: Option<(String, BTreeMap<String, Vec<usize>>)>,
    /// The blocks that any record may satisfy, whatever that field says.
    always: Vec<usize>,
}

/// What is wrong with one block of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectionError {
    /// The block's place in the list, from 0.
    pub block: usize,
    /// What is wrong, and where inside the block.
    pub problem: Problem,
}

impl SelectionSet {
    /// Checks and compiles a list of blocks.
    ///
    /// # Errors
    /// The problems of every block, at most [`crate::limits::MAX_PROBLEMS`] of each; there is
    /// no set with only some of its blocks.
    pub fn parse(blocks: &[&Value]) -> Result<Self, Vec<SelectionError>> {
        let mut set = Self::default();
        let mut errors = Vec::new();
        let over = |block, what, max| SelectionError {
            block,
            problem: Problem::new(&[], Fault::OverLimit { what, max }, "split or flatten it"),
        };
        if blocks.len() > MAX_SELECTIONS {
            return Err(vec![over(0, "the number of blocks", MAX_SELECTIONS)]);
        }
        let mut regexes = 0;
        for (place, value) in blocks.iter().enumerate() {
            if !is_flatter_than(value, MAX_NESTING) {
                errors.push(over(place, "the nesting of the block", MAX_NESTING));
                continue;
            }
            match Block::compile(value, Dialect::Record, &[]) {
                Ok(block) if regexes + block.regexes > MAX_SET_REGEXES => {
                    errors.push(over(
                        place,
                        "the number of patterns in all blocks",
                        MAX_SET_REGEXES,
                    ));
                }
                Ok(block) => {
                    regexes += block.regexes;
                    set.blocks.push(block);
                }
                Err(problems) => {
                    let at = |problem| SelectionError { block: place, problem };
                    errors.extend(problems.into_iter().take(MAX_PROBLEMS).map(at));
                }
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        set.index();
        Ok(set)
    }

    /// How many blocks there are.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Whether there is no block.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// The places of the blocks that the record satisfies, ascending.
    pub fn matches(&self, record: &Value) -> Vec<usize> {
        let event = JsonEvent::borrow(record);
        let mut places = self.always.clone();
        if let Some((field, by_text)) = &self.indexed
            && let Some(value) = event.get_field(field)
        {
            collect(&value, by_text, &mut places);
        }
        places.sort_unstable();
        places.dedup();
        places.retain(|place| self.blocks.get(*place).is_some_and(|block| block.matches(&event)));
        places
    }

    /// Indexes the blocks by the field that most of them require a text of.
    fn index(&mut self) {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for block in &self.blocks {
            for field in narrow::compared_fields(&block.detections) {
                if narrow::required_values(&block.detections, field).is_some() {
                    *counts.entry(field).or_default() += 1;
                }
            }
        }
        let most = counts.iter().max_by_key(|(field, count)| (**count, std::cmp::Reverse(**field)));
        let Some(field) = most.map(|(field, _)| (*field).to_owned()) else {
            self.always = (0..self.blocks.len()).collect();
            return;
        };
        let mut by_text: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (place, block) in self.blocks.iter().enumerate() {
            match narrow::required_values(&block.detections, &field) {
                None => self.always.push(place),
                Some(texts) => {
                    for text in texts {
                        by_text.entry(text).or_default().push(place);
                    }
                }
            }
        }
        self.indexed = Some((field, by_text));
    }
}

/// Adds the blocks for each text of a value, read as rsigma's string comparison reads it.
fn collect(
    value: &EventValue<'_>,
    by_text: &BTreeMap<String, Vec<usize>>,
    places: &mut Vec<usize>,
) {
    if let EventValue::Array(items) = value {
        for item in items {
            collect(item, by_text, places);
        }
    } else if let Some(text) = value.as_str() {
        places.extend(by_text.get(&text.to_lowercase()).into_iter().flatten());
    }
}

fn is_flatter_than(value: &Value, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return false };
    match value {
        Value::Array(items) => items.iter().all(|item| is_flatter_than(item, levels)),
        Value::Object(map) => map.values().all(|item| is_flatter_than(item, levels)),
        _ => true,
    }
}

#[cfg(test)]
mod tests;

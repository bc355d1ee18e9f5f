//! Rules room: Sigma v2 detections and correlations in, one event's sorted list of matching rules
//! out. Never touches I/O, clock, randomness, async or logging.
//!
//! Wraps rsigma-parser and rsigma-eval: texts come in, values and typed errors go out, and the same
//! input always gives the same output.
//!
//! - [`RuleSet::parse`] reads rule files and gives the good rules and all errors.
//! - [`Matcher::match_event`] tells which detections match an [`Event`].
//! - [`Correlation`] is what the engine correlates by event time.
//! - [`SelectionSet`] does the same for packs, on a vendor's JSON records.
//! - [`yaml::documents`] reads YAML with caps and tells the line of a key, for rules and packs.

pub mod limits;
pub mod yaml;

mod block;
mod canon;
mod correlation;
mod error;
mod event;
mod matcher;
mod narrow;
mod nearest;
mod quell;
mod reader;
mod rule;
mod selection;
mod set;
mod vocab;

pub use block::MODIFIERS;
pub use correlation::{Correlation, Member, Need};
pub use error::{Fault, Problem, RuleError};
pub use event::{Event, Value};
pub use matcher::Matcher;
pub use nearest::nearest;
pub use quell::{Ask, FrameworkItem, Frameworks, QUELL_KEYS, QuellBlock};
pub use rule::{Detection, Meta, Rule};
pub use selection::{SelectionError, SelectionSet};
pub use set::{RuleIdx, RuleSet};
pub use vocab::{
    ATTR_PREFIX, Category, CorrelationKind, ENTITY_PREFIX, EntityKind, FIELDS, Field, Measure,
    NovelTrait, Subject, Tier, Use,
};

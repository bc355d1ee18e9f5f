//! Rules room: every cap on what a rule file or a pack may ask of this crate. Holds numbers only.
//!
//! Rule files are written by the team, but a slip or a stolen repository must not stall or
//! overflow the process that reads them. A text beyond a cap is an error that names the cap.

/// Bytes of one rule file.
pub const MAX_FILE_BYTES: usize = 256 * 1024;
/// Documents (`---`) in one rule file.
pub const MAX_DOCUMENTS: usize = 64;
/// Levels of nesting in one document, the document itself being level 1.
pub const MAX_NESTING: usize = 32;
/// Values in one document after its aliases are expanded.
pub const MAX_NODES: usize = 32 * 1024;
/// Files in one rule set.
pub const MAX_FILES: usize = 1024;
/// Rules in one rule set.
pub const MAX_RULES: usize = 4096;
/// `[` and `{` in one document, wherever they stand: the YAML reader's time grows with the square
/// of the nesting, which is not known before it has read the text.
pub const MAX_OPENINGS: usize = 8 * 1024;
/// Errors that are told of one document.
pub const MAX_PROBLEMS: usize = 50;
/// Bytes of one value that a selection compares with.
pub const MAX_PATTERN_BYTES: usize = 1024;
/// Wildcards (`*`, `?`) in one value.
pub const MAX_WILDCARDS: usize = 16;
/// Bytes of one compiled regular expression.
pub const MAX_REGEX_BYTES: usize = 1024 * 1024;
/// Regular expressions and values with wildcards in one rule.
pub const MAX_REGEXES: usize = 64;
/// Regular expressions and values with wildcards in one rule set, or in one set of selections.
pub const MAX_SET_REGEXES: usize = 1024;
/// Values under one field of a selection.
pub const MAX_VALUES: usize = 1024;
/// Bytes of one `condition`.
pub const MAX_CONDITION_BYTES: usize = 2048;
/// Levels of parentheses in one `condition`.
pub const MAX_CONDITION_NESTING: usize = 16;
/// `not` words in one `condition`.
pub const MAX_CONDITION_NOTS: usize = 64;
/// Bytes of an id or a name of a rule.
pub const MAX_NAME_BYTES: usize = 128;
/// Bytes of any other single text of a rule, such as its rationale.
pub const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Rules that one correlation may list.
pub const MAX_CORRELATED: usize = 16;
/// Events or values that a correlation may count up to: as many as a finding cites.
pub const MAX_COUNT: usize = 64;
/// The longest `timespan` of a correlation: 31 days, in microseconds.
pub const MAX_TIMESPAN_US: i64 = 31 * 86_400 * 1_000_000;
/// Mappings in one set of selections.
pub const MAX_SELECTIONS: usize = 4096;

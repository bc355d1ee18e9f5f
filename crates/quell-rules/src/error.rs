//! Rules room: what can be wrong with a rule, as types, each with the user's words and a remedy.
//! Never decides what to do about it: a caller refuses the whole set when there is any error.

use thiserror::Error;

/// One error in a rule file.
///
/// The text is `file:line: what is wrong`; the remedy is apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[error("{file}:{line}: {fault}")]
pub struct RuleError {
    file: String,
    line: u32,
    fault: Fault,
    help: String,
}

impl RuleError {
    pub(crate) fn new(file: &str, line: u32, fault: Fault, help: impl Into<String>) -> Self {
        let help = tidy(&help.into());
        Self { file: file.to_owned(), line, fault: fault.tidied(), help }
    }

    /// The file's name as the caller gave it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line, from 1, of the offending key, as far as it can be told.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// What to do about it, in one sentence.
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// Something wrong at a place inside one document, before its file and line are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(crate) path: Vec<String>,
    pub(crate) fault: Fault,
    pub(crate) help: String,
}

impl Problem {
    pub(crate) fn new(path: &[&str], fault: Fault, help: impl Into<String>) -> Self {
        let path = path.iter().map(|segment| (*segment).to_owned()).collect();
        Self { path, fault: fault.tidied(), help: tidy(&help.into()) }
    }

    /// The keys that lead to the place, from the outermost.
    pub fn path(&self) -> &[String] {
        &self.path
    }

    /// What is wrong.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// What to do about it, in one sentence.
    pub fn help(&self) -> &str {
        &self.help
    }
}

/// What is wrong with a rule, or with a selection of a pack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum Fault {
    /// A cap of [`crate::limits`] is exceeded.
    #[error("{what} is over the limit of {max}")]
    OverLimit {
        /// What is too large, in words.
        what: &'static str,
        /// The cap.
        max: usize,
    },
    /// The text is not YAML, or has a construct that rules do not use.
    #[error("yaml: {0}")]
    Yaml(String),
    /// A key that must be there is not.
    #[error("`{0}` is missing")]
    MissingKey(&'static str),
    /// A key that means nothing here.
    #[error("unknown key `{0}`")]
    UnknownKey(String),
    /// A value of the wrong type or shape.
    #[error("`{key}` must be {expected}")]
    WrongValue {
        /// The key as written.
        key: String,
        /// What it must be, in words.
        expected: String,
    },
    /// A value that is not in its closed list.
    #[error("unknown {what} `{value}`")]
    UnknownValue {
        /// What the value should name.
        what: &'static str,
        /// The value as written.
        value: String,
    },
    /// A key that has no effect where it stands.
    #[error("`{0}` has no effect here")]
    NoEffect(String),
    /// A field that no signal has.
    #[error("unknown field `{0}`")]
    UnknownField(String),
    /// A field modifier that Sigma does not have.
    #[error("unknown modifier `{0}`")]
    UnknownModifier(String),
    /// A field modifier that this version does not evaluate.
    #[error("modifier `{0}` is not supported by this version")]
    UnsupportedModifier(String),
    /// Field modifiers or values that contradict each other.
    #[error("`{key}` cannot be matched: {why}")]
    Unmatchable {
        /// The key as written.
        key: String,
        /// Why, in words.
        why: String,
    },
    /// A selection without field names.
    #[error("selection `{0}` names no field")]
    Keywords(String),
    /// A condition that cannot be read.
    #[error("condition `{condition}` cannot be read: {why}")]
    Condition {
        /// The condition as written.
        condition: String,
        /// Why, in words.
        why: String,
    },
    /// A condition names a selection that does not exist.
    #[error("the condition names `{0}`, which is no selection of this rule")]
    UnknownSelection(String),
    /// A selection that no condition uses, so that the rule means something else than it says.
    #[error("selection `{0}` is not used by the condition")]
    UnusedSelection(String),
    /// Two rules with one id.
    #[error("id `{id}` is already taken by the rule at {file}:{line}")]
    DuplicateId {
        /// The id.
        id: String,
        /// The file of the rule that keeps it.
        file: String,
        /// Its line.
        line: u32,
    },
    /// Two rules with one name, or a name that is another rule's id.
    #[error("name `{name}` is already taken by the rule at {file}:{line}")]
    DuplicateName {
        /// The name.
        name: String,
        /// The file of the rule that keeps it.
        file: String,
        /// Its line.
        line: u32,
    },
    /// A correlation lists a rule that is in no file.
    #[error("unknown rule `{0}`")]
    UnknownRule(String),
    /// A correlation lists a rule that has an error of its own.
    #[error("rule `{0}` has an error of its own")]
    BrokenRule(String),
    /// Correlations that list each other in a circle.
    #[error("correlations refer to each other in a circle: {0}")]
    Cycle(String),
    /// A correlation type that this version does not evaluate.
    #[error("correlation type `{0}` is not supported by this version")]
    UnsupportedCorrelation(String),
    /// A Sigma document that is neither a detection nor a correlation.
    #[error("{0} documents are not supported by this version")]
    UnsupportedDocument(&'static str),
    /// A timespan that cannot be read or is out of range.
    #[error("invalid timespan `{0}`")]
    Timespan(String),
    /// A correlation whose finding would have no definite subject.
    #[error("the subject `{0}` is not among the `group-by` of every listed rule")]
    SubjectNotGrouped(String),
    /// rsigma refuses the document for a reason of its own.
    #[error("sigma: {0}")]
    Sigma(String),
}

impl Fault {
    /// The fault with the user's words fit to be shown in one line.
    pub(crate) fn tidied(mut self) -> Self {
        for text in self.texts() {
            *text = tidy(text);
        }
        self
    }

    fn texts(&mut self) -> Vec<&mut String> {
        match self {
            Self::OverLimit { .. } | Self::MissingKey(_) | Self::UnsupportedDocument(_) => vec![],
            Self::Yaml(text)
            | Self::UnknownKey(text)
            | Self::NoEffect(text)
            | Self::UnknownField(text)
            | Self::UnknownModifier(text)
            | Self::UnsupportedModifier(text)
            | Self::Keywords(text)
            | Self::UnknownSelection(text)
            | Self::UnusedSelection(text)
            | Self::UnknownRule(text)
            | Self::BrokenRule(text)
            | Self::Cycle(text)
            | Self::UnsupportedCorrelation(text)
            | Self::Timespan(text)
            | Self::SubjectNotGrouped(text)
            | Self::Sigma(text)
            | Self::UnknownValue { value: text, .. } => vec![text],
            Self::WrongValue { key: one, expected: other }
            | Self::Unmatchable { key: one, why: other }
            | Self::Condition { condition: one, why: other }
            | Self::DuplicateId { id: one, file: other, .. }
            | Self::DuplicateName { name: one, file: other, .. } => vec![one, other],
        }
    }
}

/// A text of bounded length with every character escaped that is no visible part of a line: control
/// characters, breaks of lines and paragraphs, and those that turn or hide what stands around them.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            tidied.push_str("...");
            break;
        }
        let hides = matches!(
            c,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
        );
        if c.is_control() || hides {
            tidied.extend(c.escape_unicode());
        } else {
            tidied.push(c);
        }
    }
    tidied
}

/// Characters of one text in an error; the longest remedy of our own, a list of names, is shorter.
const SHOWN_CHARS_MAX: usize = 400;

/// A remedy that names the nearest known word, else the whole list.
pub(crate) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> String {
    if let Some(nearest) = crate::nearest::nearest(word, known.clone()) {
        return format!("did you mean `{nearest}`?");
    }
    let listed: Vec<String> = known.into_iter().map(|name| format!("`{name}`")).collect();
    format!("use one of {}", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{Fault, RuleError};

    #[test]
    fn words_of_the_user_stay_in_one_line() {
        let long = "x".repeat(500);
        let error =
            RuleError::new("a.yml", 3, Fault::UnknownKey("a\n\u{202e}b`é".to_owned()), long);
        expect![[r"a.yml:3: unknown key `a\u{a}\u{202e}b`é`"]].assert_eq(&error.to_string());
        assert_eq!(error.help().len(), 403);
    }
}

//! Rules room: one rule as the engine uses it, and the reading of one document into it.
//! Knows no other rule; what rules say about each other is `set`'s.

use std::sync::Arc;

use serde_json::Value;

use crate::block::{Block, Dialect};
use crate::canon;
use crate::correlation::{self, Correlation, Wish};
use crate::error::{Fault, Problem, did_you_mean};
use crate::limits::MAX_NAME_BYTES;
use crate::narrow;
use crate::quell::{self, Bearer, QuellBlock};
use crate::reader::Reader;
use crate::vocab::Category;
use crate::yaml::Source;

/// What every rule says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The Sigma `id`: stable for ever, never reused; findings hang on it.
    pub id: String,
    /// The Sigma `name`, by which correlations may refer to the rule.
    pub name: Option<String>,
    /// One line for people.
    pub title: String,
    /// Sigma's `status`: stable, test, experimental, deprecated or unsupported.
    pub status: Option<String>,
    /// Sigma's `level`: informational, low, medium, high or critical.
    pub level: Option<String>,
    /// More for people; may be empty.
    pub description: String,
    /// Known ways in which the rule is wrong.
    pub false_positives: Vec<String>,
    /// Sigma tags, such as `attack.t1566.002`.
    pub tags: Vec<String>,
    /// Where to read more.
    pub references: Vec<String>,
    /// The file that the rule stands in, as the caller named it.
    pub file: String,
    /// The line of its first key, from 1.
    pub line: u32,
}

/// A rule about single signals.
#[derive(Debug, Clone)]
pub struct Detection {
    /// What the rule says about itself.
    pub meta: Meta,
    /// What it asks for, if anything.
    pub quell: QuellBlock,
    /// The category of `logsource`; [`Category::Any`] when unset.
    pub category: Category,
    /// The kinds, in lower case and sorted, of which a signal must have one for the rule to match;
    /// `None` where the rule can match signals of any kind.
    pub kinds: Option<Vec<String>>,
    pub(crate) block: Arc<Block>,
    pub(crate) source: Arc<Source>,
}

impl Detection {
    pub(crate) fn new(
        meta: Meta,
        quell: QuellBlock,
        category: Category,
        block: Box<Block>,
        source: Arc<Source>,
    ) -> Self {
        let kinds = narrow::required_values(&block.detections, "kind");
        let kinds = kinds.map(|kinds| kinds.into_iter().collect());
        Self { meta, quell, category, kinds, block: Arc::from(block), source }
    }
}

/// A rule of a set.
#[derive(Debug, Clone)]
pub enum Rule {
    /// A rule about single signals.
    Detection(Detection),
    /// A rule about several signals together.
    Correlation(Correlation),
}

impl Rule {
    /// What the rule says about itself.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Detection(detection) => &detection.meta,
            Self::Correlation(correlation) => &correlation.meta,
        }
    }

    /// The `quell:` block.
    pub fn quell(&self) -> &QuellBlock {
        match self {
            Self::Detection(detection) => &detection.quell,
            Self::Correlation(correlation) => &correlation.quell,
        }
    }

    /// The Sigma `id`.
    pub fn id(&self) -> &str {
        &self.meta().id
    }
}

/// A document that is a rule, before it is known which other rules there are.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) meta: Meta,
    pub(crate) quell: QuellBlock,
    pub(crate) body: Body,
    pub(crate) canonical: String,
}

#[derive(Debug)]
pub(crate) enum Body {
    Detection { category: Category, block: Box<Block> },
    Correlation(Wish),
}

impl Draft {
    /// How many regular expressions and values with wildcards the rule has.
    pub(crate) fn regexes(&self) -> usize {
        match &self.body {
            Body::Detection { block, .. } => block.regexes,
            Body::Correlation(_) => 0,
        }
    }
}

/// Reads one document into a rule; `file` and `line` are where it stands.
pub(crate) fn read(value: &Value, file: &str, line: u32) -> Result<Draft, Vec<Problem>> {
    let Some(map) = value.as_object() else {
        let fault = Fault::Yaml("the document is not a mapping".to_owned());
        return Err(vec![Problem::new(&[], fault, "start it with `title: ...`")]);
    };
    let document = Reader::new(map, &[]);
    let unsupported = [("filter", "filter"), ("action", "collection action")];
    if let Some((key, what)) = unsupported.into_iter().find(|(key, _)| map.contains_key(*key)) {
        let fault = Fault::UnsupportedDocument(what);
        return Err(vec![Problem::new(&[key], fault, "write each rule out in full")]);
    }
    let mut problems = Vec::new();
    let correlates = map.contains_key("correlation");
    let known = if correlates { CORRELATION_KEYS } else { DETECTION_KEYS };
    document.only(known, &mut problems);
    sigma_version(&document, &mut problems);
    let meta = meta(&document, file, line, &mut problems);
    let (quell, body) = if correlates {
        let quell = quell::read(&document, Bearer::Correlation, &mut problems);
        (quell, correlation::read(&document, &mut problems).map(Body::Correlation))
    } else {
        let quell = quell::read(&document, Bearer::Detection, &mut problems);
        (quell, detection(&document, &mut problems))
    };
    match (meta, body) {
        (Some(meta), Some(body)) if problems.is_empty() => {
            Ok(Draft { meta, quell, body, canonical: canon::text(value) })
        }
        _ => Err(problems),
    }
}

fn detection(document: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<Body> {
    let category = category(document, problems);
    let Some(value) = document.get("detection") else {
        let help = "add `detection:` with a selection and a `condition`";
        problems.push(document.missing("detection", help));
        return None;
    };
    match Block::compile(value, Dialect::Signal, &["detection"]) {
        Ok(block) => Some(Body::Detection { category: category?, block: Box::new(block) }),
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

fn category(document: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<Category> {
    let Some(source) = document.under("logsource", problems) else {
        if document.get("logsource").is_none() {
            problems.push(document.missing("logsource", LOGSOURCE_HELP));
        }
        return None;
    };
    source.only(&["product", "category", "definition"], problems);
    match source.text("product", problems) {
        Some("quell") => {}
        Some(other) => problems.push(source.unknown("product", other, &["quell"])),
        None => problems.push(source.missing("product", LOGSOURCE_HELP)),
    }
    if source.get("category").is_none() {
        return Some(Category::Any);
    }
    source.name("category", Category::NAMES, Category::from_name, problems)
}

fn meta(document: &Reader<'_>, file: &str, line: u32, problems: &mut Vec<Problem>) -> Option<Meta> {
    let title = document.text("title", problems);
    if document.get("title").is_none() {
        problems.push(document.missing("title", "add one line that says what the rule finds"));
    }
    let id = document.text("id", problems);
    if document.get("id").is_none() {
        problems.push(document.missing("id", "add a new UUID; it stays for ever"));
    }
    let name = document.text("name", problems);
    for (key, text) in [("id", id), ("name", name)] {
        if text.is_some_and(|text| !is_reference(text)) {
            let expected = "up to 128 letters, digits, `_`, `-` and `.`";
            problems.push(document.wrong(key, expected));
        }
    }
    let mut listed = |key: &'static str, known: &'static [&'static str]| {
        let text = document.text(key, problems)?;
        if !known.contains(&text) {
            problems.push(document.unknown(key, text, known));
        }
        Some(text.to_owned())
    };
    let status = listed("status", STATUSES);
    let level = listed("level", LEVELS);
    for key in ["author", "date", "modified", "license", "taxonomy"] {
        // checked for its type only
        document.text(key, problems);
    }
    let mut texts = |key: &'static str| -> Vec<String> {
        document.texts(key, problems).into_iter().map(str::to_owned).collect()
    };
    let false_positives = texts("falsepositives");
    let tags = texts("tags");
    let references = texts("references");
    let description = document.text("description", problems).unwrap_or_default().trim().to_owned();
    Some(Meta {
        id: id?.to_owned(),
        name: name.map(str::to_owned),
        title: title?.to_owned(),
        status,
        level,
        description,
        false_positives,
        tags,
        references,
        file: file.to_owned(),
        line,
    })
}

fn sigma_version(document: &Reader<'_>, problems: &mut Vec<Problem>) {
    let Some(value) = document.get("sigma-version") else { return };
    if rsigma_major(value) != Some(2) {
        problems.push(document.wrong("sigma-version", "2"));
    }
}

fn rsigma_major(value: &Value) -> Option<u32> {
    match value {
        Value::String(text) => rsigma_parser::version::major_from_str(text),
        Value::Number(number) if number.as_f64().is_some_and(|n| (2.0..3.0).contains(&n)) => {
            Some(2)
        }
        _ => None,
    }
}

fn is_reference(text: &str) -> bool {
    let is_char = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    text.len() <= MAX_NAME_BYTES && text.bytes().all(is_char)
}

/// A remedy for a reference to a rule that does not exist.
pub(crate) fn rule_help<'k>(
    reference: &str,
    known: impl IntoIterator<Item = &'k str> + Clone,
) -> String {
    match crate::nearest::nearest(reference, known.clone()) {
        Some(_) => did_you_mean(reference, known),
        None => "name a rule of this set by its `id` or `name`".to_owned(),
    }
}

const LOGSOURCE_HELP: &str = "add `logsource:` with `product: quell` below it";

const STATUSES: &[&str] = &["stable", "test", "experimental", "deprecated", "unsupported"];
const LEVELS: &[&str] = &["informational", "low", "medium", "high", "critical"];

const DETECTION_KEYS: &[&str] = &[
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "logsource",
    "detection",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "sigma-version",
    "custom_attributes",
    "quell",
];

const CORRELATION_KEYS: &[&str] = &[
    "title",
    "id",
    "name",
    "related",
    "taxonomy",
    "status",
    "description",
    "license",
    "author",
    "references",
    "date",
    "modified",
    "correlation",
    "fields",
    "falsepositives",
    "level",
    "tags",
    "scope",
    "sigma-version",
    "custom_attributes",
    "quell",
];

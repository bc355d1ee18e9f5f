//! Rules room: the `quell:` block of a rule: what it asks for, about whom, and why.
//! Never says who may ask for what; that is the policy's.

use crate::error::{Fault, Problem};
use crate::reader::Reader;
use crate::vocab::{NovelTrait, Subject, Tier};

/// What a rule asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The proportion of the response.
    pub tier: Tier,
    /// How sure the rule is, 1 to 100; a finding has the lower of this and its weakest necessary
    /// signal's.
    pub confidence: u8,
    /// What the finding is about.
    pub subject: Subject,
}

/// The `quell:` block of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuellBlock {
    /// What the rule asks for; `None` for a building block, which asks for nothing by itself.
    pub ask: Option<Ask>,
    /// Why the response is proportionate, in words for the evidence; may be empty only in a
    /// building block.
    pub rationale: String,
    /// Traits that must all be unseen for the identity before the event. The engine decides this;
    /// a match of the detection alone does not.
    pub novel: Vec<NovelTrait>,
    /// The items of published frameworks that the rule serves.
    pub frameworks: Frameworks,
}

/// Items of published frameworks, each in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frameworks {
    /// MITRE ATT&CK techniques, such as `T1566.002 Spearphishing Link`.
    pub attack: Vec<FrameworkItem>,
    /// NIST CSF 2.0 subcategories, such as `RS.MI-01: Incidents are contained`.
    pub csf: Vec<FrameworkItem>,
    /// OWASP Non-Human Identities Top 10, such as `NHI2:2025 Secret Leakage`.
    pub nhi: Vec<FrameworkItem>,
    /// CSA MAESTRO layers, such as `L6 Security and Compliance`.
    pub maestro: Vec<FrameworkItem>,
}

/// One item of a published framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkItem {
    /// The item's identifier.
    pub id: String,
    /// The item's published wording; may be empty.
    pub wording: String,
}

/// The keys of `quell:`.
pub const QUELL_KEYS: &[&str] =
    &["tier", "confidence", "subject", "rationale", "frameworks", "novel"];

/// Whether the rule may be a building block, and whether it may name novel traits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bearer {
    Detection,
    Correlation,
}

/// Reads the `quell:` block of a document.
pub(crate) fn read(
    document: &Reader<'_>,
    bearer: Bearer,
    problems: &mut Vec<Problem>,
) -> QuellBlock {
    let Some(block) = document.under("quell", problems) else {
        return QuellBlock::default();
    };
    block.only(QUELL_KEYS, problems);
    let tier = block.name("tier", Tier::NAMES, Tier::from_name, problems);
    let confidence = confidence(&block, problems);
    let subject = block.name("subject", SUBJECTS, Subject::from_name, problems);
    let rationale = block.text("rationale", problems).unwrap_or_default().trim().to_owned();
    let novel = novel(&block, bearer, problems);
    let frameworks = frameworks(&block, problems);
    if block.get("tier").is_some() {
        for key in ["tier", "confidence", "subject", "rationale"] {
            if block.get(key).is_none() {
                problems.push(block.missing(key, ASK_HELP));
            }
        }
    } else {
        for key in ["confidence", "subject"] {
            if block.get(key).is_some() {
                let help = "add `tier` if the rule should ask for a response, else remove it";
                problems.push(block.problem(key, Fault::NoEffect(key.to_owned()), help));
            }
        }
    }
    let ask = match (tier, confidence, subject) {
        (Some(tier), Some(confidence), Some(subject)) => Some(Ask { tier, confidence, subject }),
        _ => None,
    };
    QuellBlock { ask, rationale, novel, frameworks }
}

fn confidence(block: &Reader<'_>, problems: &mut Vec<Problem>) -> Option<u8> {
    let value = block.get("confidence")?;
    let number = value.as_u64().and_then(|number| u8::try_from(number).ok());
    let number = number.filter(|number| (1..=100).contains(number));
    if number.is_none() {
        problems.push(block.wrong("confidence", "a whole number from 1 to 100"));
    }
    number
}

fn novel(block: &Reader<'_>, bearer: Bearer, problems: &mut Vec<Problem>) -> Vec<NovelTrait> {
    if block.get("novel").is_some() && bearer == Bearer::Correlation {
        let fault = Fault::NoEffect("novel".to_owned());
        problems.push(block.problem("novel", fault, "write it in the detection rule"));
        return Vec::new();
    }
    let mut traits = Vec::new();
    for name in block.texts("novel", problems) {
        match NovelTrait::from_name(name) {
            Some(novel) => traits.push(novel),
            None => problems.push(block.unknown("novel", name, NovelTrait::NAMES)),
        }
    }
    traits.sort_unstable();
    traits
}

fn frameworks(block: &Reader<'_>, problems: &mut Vec<Problem>) -> Frameworks {
    let Some(listed) = block.under("frameworks", problems) else { return Frameworks::default() };
    listed.only(&["attack", "csf", "nhi", "maestro"], problems);
    let mut items = |key: &'static str, is_id: fn(&str) -> bool, example: &str| {
        let mut items = Vec::new();
        for text in listed.texts(key, problems) {
            let (id, wording) = text.trim().split_once(char::is_whitespace).unwrap_or((text, ""));
            let id = id.trim().strip_suffix(':').unwrap_or(id.trim());
            if is_id(id) {
                let wording = wording.trim().to_owned();
                items.push(FrameworkItem { id: id.to_owned(), wording });
            } else {
                let expected = format!("a list of items such as `{example}`");
                problems.push(listed.wrong(key, &expected));
            }
        }
        items
    };
    Frameworks {
        attack: items("attack", is_attack_id, "T1566.002 Spearphishing Link"),
        csf: items("csf", is_csf_id, "RS.MI-01: Incidents are contained"),
        nhi: items("nhi", is_nhi_id, "NHI2:2025 Secret Leakage"),
        maestro: items("maestro", is_maestro_id, "L6 Security and Compliance"),
    }
}

/// `T1566` or `T1566.002`.
fn is_attack_id(id: &str) -> bool {
    let Some(number) = id.strip_prefix('T') else { return false };
    match number.split_once('.') {
        Some((technique, sub)) => is_digits(technique, 4) && is_digits(sub, 3),
        None => is_digits(number, 4),
    }
}

/// `RS.MI-01`.
fn is_csf_id(id: &str) -> bool {
    let upper = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase());
    let Some((function, rest)) = id.split_once('.') else { return false };
    let Some((category, number)) = rest.split_once('-') else { return false };
    upper(function) && upper(category) && is_digits(number, 2)
}

/// `NHI1:2025` to `NHI10:2025`.
fn is_nhi_id(id: &str) -> bool {
    let Some((number, year)) = id.strip_prefix("NHI").and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    (is_digits(number, 1) || is_digits(number, 2)) && is_digits(year, 4)
}

/// `L1` to `L7`, or `Cross-Layer`.
fn is_maestro_id(id: &str) -> bool {
    matches!(id, "L1" | "L2" | "L3" | "L4" | "L5" | "L6" | "L7" | "Cross-Layer")
}

fn is_digits(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| b.is_ascii_digit())
}

pub(crate) const ASK_HELP: &str =
    "add `quell:` with `tier`, `confidence`, `subject` and `rationale`, as `docs/rules.md` shows";

/// What `quell.subject` may be.
const SUBJECTS: &[&str] = &[
    "identity",
    "sender",
    "domain",
    "url",
    "ip",
    "session",
    "device",
    "message",
    "oauth_app",
    "user_agent",
    "threat",
    "campaign",
];

//! The part of Okta's SCIM filter language that the lab's System Log understands: comparisons of
//! one member with one quoted word, joined by `and` and `or`. Pure.

use serde_json::Value;

/// Why a filter was refused; Okta's code and sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadFilter(pub(super) &'static str, pub(super) String);

/// A filter: any of the groups, all of whose comparisons hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter(Vec<Vec<Comparison>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Comparison {
    member: Vec<String>,
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    StartsWith,
    Contains,
    EndsWith,
    Present,
}

/// Longest filter, characters; most comparisons.
const FILTER_MAX: usize = 2_048;
const COMPARISONS_MAX: usize = 32;

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Self, BadFilter> {
        if text.len() > FILTER_MAX {
            return Err(BadFilter("E0000053", "the filter is too long".to_owned()));
        }
        let mut words = words(text)?.into_iter();
        let mut groups = vec![Vec::new()];
        let mut count = 0;
        loop {
            let group = groups.last_mut().ok_or_else(|| invalid(text))?;
            group.push(comparison(&mut words, text)?);
            count += 1;
            match words.next() {
                None => return Ok(Self(groups)),
                Some(_) if count >= COMPARISONS_MAX => return Err(invalid(text)),
                Some(Word::Bare(word)) if word == "and" => {}
                Some(Word::Bare(word)) if word == "or" => groups.push(Vec::new()),
                Some(_) => return Err(invalid(text)),
            }
        }
    }

    pub(super) fn matches(&self, event: &Value) -> bool {
        self.0.iter().any(|group| group.iter().all(|comparison| comparison.holds(event)))
    }
}

impl Comparison {
    fn holds(&self, event: &Value) -> bool {
        let mut values = Vec::new();
        collect(event, &self.member, &mut values);
        let value = self.value.as_str();
        match self.operator {
            Operator::Equal => values.contains(&value),
            Operator::NotEqual => !values.contains(&value),
            Operator::StartsWith => values.iter().any(|v| v.starts_with(value)),
            Operator::Contains => values.iter().any(|v| v.contains(value)),
            Operator::EndsWith => values.iter().any(|v| v.ends_with(value)),
            Operator::Present => !values.is_empty(),
        }
    }
}

/// The texts at a member path; lists are looked through.
fn collect<'a>(value: &'a Value, path: &[String], found: &mut Vec<&'a str>) {
    match (value, path.split_first()) {
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, path, found)),
        (Value::String(text), None) => found.push(text),
        (Value::Object(members), Some((first, rest))) => {
            if let Some(member) = members.get(first) {
                collect(member, rest, found);
            }
        }
        _ => {}
    }
}

fn comparison(words: &mut impl Iterator<Item = Word>, text: &str) -> Result<Comparison, BadFilter> {
    let (Some(Word::Bare(member)), Some(Word::Bare(operator))) = (words.next(), words.next())
    else {
        return Err(invalid(text));
    };
    if member == "published" {
        return Err(BadFilter("E0000053", "published is not a filter member".to_owned()));
    }
    let operator = match operator.as_str() {
        "eq" => Operator::Equal,
        "ne" => Operator::NotEqual,
        "sw" => Operator::StartsWith,
        "co" => Operator::Contains,
        "ew" => Operator::EndsWith,
        "pr" => Operator::Present,
        other => {
            let summary = format!("Unsupported operator: {other}");
            return Err(BadFilter("E0000031", summary));
        }
    };
    let value = match operator {
        Operator::Present => String::new(),
        _ => match words.next() {
            Some(Word::Quoted(value)) => value,
            _ => return Err(invalid(text)),
        },
    };
    Ok(Comparison { member: member.split('.').map(str::to_owned).collect(), operator, value })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
}

fn words(text: &str) -> Result<Vec<Word>, BadFilter> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' => {}
            '"' => {
                let mut word = String::new();
                loop {
                    match letters.next() {
                        Some('"') => break,
                        Some('\\') => word.push(letters.next().ok_or_else(|| invalid(text))?),
                        Some(other) => word.push(other),
                        None => return Err(invalid(text)),
                    }
                }
                words.push(Word::Quoted(word));
            }
            '(' | ')' | '[' | ']' => return Err(invalid(text)),
            first => {
                let mut word = String::from(first);
                while let Some(next) = letters.next_if(|c| !matches!(c, ' ' | '"' | '(' | ')')) {
                    word.push(next);
                }
                words.push(Word::Bare(word));
            }
        }
    }
    Ok(words)
}

fn invalid(text: &str) -> BadFilter {
    let shown: String = text.chars().take(80).collect();
    BadFilter("E0000053", format!("Invalid filter '{shown}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn comparisons_hold_as_scim_says() {
        let event = json!({
            "eventType": "user.session.clear",
            "actor": { "id": "00uadmin" },
            "target": [{ "id": "00ualice" }, { "id": "00t1" }],
        });
        let check = |text: &str, want: Result<bool, &str>| {
            let got = Filter::parse(text).map(|f| f.matches(&event)).map_err(|e| e.0);
            assert_eq!(got, want, "{text}");
        };
        check("eventType eq \"user.session.clear\"", Ok(true));
        check("eventType eq \"user.session.clear\" and target.id eq \"00ualice\"", Ok(true));
        check("eventType eq \"user.session.start\" and target.id eq \"00ualice\"", Ok(false));
        check("actor.id eq \"00ualice\" or target.id eq \"00ualice\"", Ok(true));
        check("actor.id eq \"x\" or target.id eq \"y\"", Ok(false));
        check("eventType sw \"user.\" and actor.id pr", Ok(true));
        check("actor.id ne \"00uadmin\"", Ok(false));
        check("published gt \"2026\"", Err("E0000053"));
        check("actor.id gt \"2026\"", Err("E0000031"));
        check("actor.id eq 2026", Err("E0000053"));
        check("(actor.id eq \"a\")", Err("E0000053"));
        check("actor.id eq \"a", Err("E0000053"));
        check("", Err("E0000053"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-z. \"\\\\()]{0,60}|\\PC{0,60}") {
            let _parsed = Filter::parse(&text);
        }
    }
}

//! Rules room: generates small Sigma rules and events, and says in the plainest way what matches.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::strategy::Union;
use quell_rules::{Category, EntityKind, Event, Field};
use serde_json::{Value, json};

/// The values of each field of an event; a field without values is absent.
pub(crate) type Fields = BTreeMap<String, Vec<String>>;

const FIELDS: [&str; 4] = ["kind", "source", "attr.x", "entity.ip"];

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) id: String,
    selections: BTreeMap<String, Vec<Vec<Item>>>,
    condition: Condition,
}

#[derive(Debug, Clone)]
struct Item {
    field: &'static str,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    Equals(Vec<String>),
    Differs(String),
    Contains(Vec<String>),
    StartsWith(String),
    Wildcard(String),
    Exists(bool),
    Null,
}

#[derive(Debug, Clone)]
enum Condition {
    Name(String),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    OneOfThem,
    AllOfThem,
}

impl Rule {
    /// Whether the rule matches, read off its parts.
    pub(crate) fn holds(&self, event: &Fields) -> bool {
        self.condition.holds(
            &|name| {
                self.selections[name].iter().any(|items| items.iter().all(|item| item.holds(event)))
            },
            &self.selections.keys().cloned().collect::<Vec<_>>(),
        )
    }

    /// The `detection` block.
    pub(crate) fn block(&self) -> Value {
        let mut block = serde_json::Map::new();
        for (name, alternatives) in &self.selections {
            let maps: Vec<Value> = alternatives
                .iter()
                .map(|items| Value::Object(items.iter().map(Item::entry).collect()))
                .collect();
            let value = if maps.len() == 1 { maps[0].clone() } else { Value::Array(maps) };
            block.insert(name.clone(), value);
        }
        block.insert("condition".to_owned(), self.condition.text().into());
        Value::Object(block)
    }

    /// The document.
    pub(crate) fn yaml(&self) -> String {
        json!({
            "title": self.id,
            "id": self.id,
            "logsource": {"product": "quell"},
            "detection": self.block(),
        })
        .to_string()
    }
}

impl Item {
    fn holds(&self, event: &Fields) -> bool {
        let values = event.get(self.field).map_or(&[] as &[String], Vec::as_slice);
        let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(&v.to_lowercase()));
        match &self.test {
            Test::Equals(texts) => any(&|v| texts.iter().any(|t| v == t.to_lowercase())),
            Test::Differs(text) => !values.is_empty() && !any(&|v| v == text.to_lowercase()),
            Test::Contains(texts) => any(&|v| texts.iter().any(|t| v.contains(&t.to_lowercase()))),
            Test::StartsWith(text) | Test::Wildcard(text) => {
                any(&|v| v.starts_with(&text.to_lowercase()))
            }
            Test::Exists(expected) => values.is_empty() != *expected,
            Test::Null => values.is_empty(),
        }
    }

    fn entry(&self) -> (String, Value) {
        let field = self.field;
        match &self.test {
            Test::Equals(texts) if texts.len() == 1 => (field.to_owned(), texts[0].clone().into()),
            Test::Equals(texts) => (field.to_owned(), texts.clone().into()),
            Test::Differs(text) => (format!("{field}|neq"), text.clone().into()),
            Test::Contains(texts) => (format!("{field}|contains"), texts.clone().into()),
            Test::StartsWith(text) => (format!("{field}|startswith"), text.clone().into()),
            Test::Wildcard(text) => (field.to_owned(), format!("{text}*").into()),
            Test::Exists(expected) => (format!("{field}|exists"), (*expected).into()),
            Test::Null => (field.to_owned(), Value::Null),
        }
    }
}

impl Condition {
    fn holds(&self, selection: &dyn Fn(&str) -> bool, names: &[String]) -> bool {
        match self {
            Self::Name(name) => selection(name),
            Self::Not(part) => !part.holds(selection, names),
            Self::And(a, b) => a.holds(selection, names) && b.holds(selection, names),
            Self::Or(a, b) => a.holds(selection, names) || b.holds(selection, names),
            Self::OneOfThem => names.iter().any(|name| selection(name)),
            Self::AllOfThem => names.iter().all(|name| selection(name)),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Not(part) => format!("not ({})", part.text()),
            Self::And(a, b) => format!("({}) and ({})", a.text(), b.text()),
            Self::Or(a, b) => format!("({}) or ({})", a.text(), b.text()),
            Self::OneOfThem => "1 of them".to_owned(),
            Self::AllOfThem => "all of them".to_owned(),
        }
    }

    fn names(&self, into: &mut Vec<String>) {
        match self {
            Self::Name(name) => into.push(name.clone()),
            Self::Not(part) => part.names(into),
            Self::And(a, b) | Self::Or(a, b) => {
                a.names(into);
                b.names(into);
            }
            Self::OneOfThem | Self::AllOfThem => {
                into.extend(["s0", "s1", "s2"].map(str::to_owned));
            }
        }
    }
}

fn a_text() -> impl Strategy<Value = String> {
    "[abAB]{1,2}|éÀ|İ"
}

fn an_item() -> impl Strategy<Value = Item> {
    let test = Union::new([
        proptest::collection::btree_set(a_text(), 1..3)
            .prop_map(|texts| Test::Equals(texts.into_iter().collect()))
            .boxed(),
        a_text().prop_map(Test::Differs).boxed(),
        proptest::collection::btree_set(a_text(), 1..10)
            .prop_map(|texts| Test::Contains(texts.into_iter().collect()))
            .boxed(),
        a_text().prop_map(Test::StartsWith).boxed(),
        a_text().prop_map(Test::Wildcard).boxed(),
        any::<bool>().prop_map(Test::Exists).boxed(),
        Just(Test::Null).boxed(),
    ]);
    (proptest::sample::select(&FIELDS[..]), test).prop_map(|(field, test)| Item { field, test })
}

/// One to three items with different keys.
fn a_map() -> impl Strategy<Value = Vec<Item>> {
    proptest::collection::vec(an_item(), 1..4).prop_map(|items| {
        let by_key: BTreeMap<String, Item> =
            items.into_iter().map(|item| (item.entry().0, item)).collect();
        by_key.into_values().collect()
    })
}

fn a_condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        6 => "s[0-2]".prop_map(Condition::Name),
        1 => Just(Condition::OneOfThem),
        1 => Just(Condition::AllOfThem),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| Condition::Not(Box::new(c))),
            (inner.clone(), inner.clone())
                .prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn a_rule() -> impl Strategy<Value = Rule> {
    let selections = proptest::collection::vec(proptest::collection::vec(a_map(), 1..3), 3);
    (selections, a_condition()).prop_map(|(selections, condition)| {
        let mut names = Vec::new();
        condition.names(&mut names);
        let selections = (0..)
            .map(|i| format!("s{i}"))
            .zip(selections)
            .filter(|(name, _)| names.contains(name))
            .collect();
        Rule { id: String::new(), selections, condition }
    })
}

/// One to eight rules with different ids.
pub(crate) fn rules() -> impl Strategy<Value = Vec<Rule>> {
    proptest::collection::vec(a_rule(), 1..8).prop_map(|mut rules| {
        for (i, rule) in rules.iter_mut().enumerate() {
            rule.id = format!("rule-{i}");
        }
        rules
    })
}

/// An event with up to two values of each field.
pub(crate) fn an_event() -> impl Strategy<Value = Fields> {
    let values = || proptest::collection::vec("[abAB]{1,3}|éÀ|x", 0..3);
    (values(), values(), values(), values()).prop_map(|(a, b, c, d)| {
        FIELDS.iter().map(|field| (*field).to_owned()).zip([a, b, c, d]).collect()
    })
}

/// The fields as an event.
pub(crate) fn to_event(fields: &Fields) -> Event<'_> {
    let mut event = Event::new(Category::Any);
    for (name, values) in fields {
        let field = match name.as_str() {
            "kind" => Field::Kind,
            "source" => Field::Source,
            "attr.x" => Field::Attr("x"),
            _ => Field::Entity(EntityKind::Ip),
        };
        for value in values {
            event.push(field, value.as_str());
        }
    }
    event
}

/// The fields as a vendor's record: nested, one value plain, several as a list.
pub(crate) fn to_record(fields: &Fields) -> Value {
    let mut record = json!({});
    for (name, values) in fields.iter().filter(|(_, values)| !values.is_empty()) {
        let value = if values.len() == 1 { json!(values[0]) } else { json!(values) };
        match name.split_once('.') {
            Some((outer, inner)) => record[outer][inner] = value,
            None => record[name] = value,
        }
    }
    record
}

//! Rules room: what a rule is matched against, as a flat list of fields that borrows everything.
//! Holds no signal, no time and no identity; the caller fills it.

use std::borrow::Cow;

use rsigma_eval::EventValue;

use crate::vocab::{ATTR_PREFIX, Category, ENTITY_PREFIX, Field};

/// One value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A text.
    Text(&'a str),
    /// An integer.
    Int(i64),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<u8> for Value<'_> {
    fn from(number: u8) -> Self {
        Self::Int(i64::from(number))
    }
}

/// One event: a category and a list of fields.
///
/// A field that is added several times has several values; a selection holds when one of them
/// matches. A field that is never added is absent: no comparison with it holds, `neq` included,
/// only `exists: false` and `null`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    category: Category,
    fields: Vec<(Field<'a>, Value<'a>)>,
}

impl<'a> Event<'a> {
    /// An event without fields, of the category that its kind belongs to.
    pub fn new(category: Category) -> Self {
        Self { category, fields: Vec::with_capacity(16) }
    }

    /// Adds one value of one field.
    pub fn push(&mut self, field: Field<'a>, value: impl Into<Value<'a>>) {
        self.fields.push((field, value.into()));
    }

    /// Adds one value of one field and returns the event.
    #[must_use]
    pub fn with(mut self, field: Field<'a>, value: impl Into<Value<'a>>) -> Self {
        self.push(field, value);
        self
    }

    /// The category that the event's kind belongs to.
    pub fn category(&self) -> Category {
        self.category
    }

    /// The fields in the order in which they were added.
    pub fn fields(&self) -> &[(Field<'a>, Value<'a>)] {
        &self.fields
    }

    pub(crate) fn values(&self, field: Field<'_>) -> impl Iterator<Item = Value<'a>> {
        let wanted =
            move |(name, value): &(Field<'a>, Value<'a>)| (*name == field).then_some(*value);
        self.fields.iter().filter_map(wanted)
    }
}

/// The event as rsigma reads it.
#[derive(Clone, Copy)]
pub(crate) struct View<'e, 'a>(pub(crate) &'e Event<'a>);

impl rsigma_eval::Event for View<'_, '_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        let mut values = self.0.values(Field::parse(path)?);
        let first = value(values.next()?);
        let Some(second) = values.next() else { return Some(first) };
        let mut all = vec![first, value(second)];
        all.extend(values.map(value));
        Some(EventValue::Array(all))
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.texts().any(pred)
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        self.texts().map(Cow::Borrowed).collect()
    }

    fn to_json(&self) -> serde_json::Value {
        let mut map = serde_json::Map::new();
        for name in self.field_keys() {
            let value = self.get_field(&name).map_or(serde_json::Value::Null, |v| v.to_json());
            map.insert(name.into_owned(), value);
        }
        serde_json::Value::Object(map)
    }

    fn field_keys(&self) -> Vec<Cow<'_, str>> {
        let mut names: Vec<Cow<'_, str>> =
            self.0.fields.iter().map(|(field, _)| name(*field)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl View<'_, '_> {
    fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.fields.iter().filter_map(|(_, value)| match value {
            Value::Text(text) => Some(*text),
            Value::Int(_) => None,
        })
    }
}

fn value(value: Value<'_>) -> EventValue<'_> {
    match value {
        Value::Text(text) => EventValue::Str(Cow::Borrowed(text)),
        Value::Int(number) => EventValue::Int(number),
    }
}

fn name(field: Field<'_>) -> Cow<'static, str> {
    match field {
        Field::Kind => Cow::Borrowed("kind"),
        Field::Use => Cow::Borrowed("use"),
        Field::Source => Cow::Borrowed("source"),
        Field::Confidence => Cow::Borrowed("confidence"),
        Field::Subject => Cow::Borrowed("subject"),
        Field::Anomaly => Cow::Borrowed("anomaly"),
        Field::Entity(kind) => Cow::Owned(format!("{ENTITY_PREFIX}{kind}")),
        Field::Attr(attr) => Cow::Owned(format!("{ATTR_PREFIX}{attr}")),
    }
}

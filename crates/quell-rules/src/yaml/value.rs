//! Rules room: builds a plain value from a YAML event stream under a budget.
//! Refuses what a rule never needs: keys that are no texts, keys that stand twice, tags, floats
//! that are no numbers.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::Fault;
use crate::limits::{MAX_NESTING, MAX_NODES};

/// What one document may still use, and the first typed fault that stopped it.
#[derive(Debug, Default)]
pub(super) struct Budget {
    nodes: Cell<usize>,
    pub(super) fault: RefCell<Option<(Fault, &'static str)>>,
}

impl Budget {
    fn refuse<E: Error>(&self, fault: Fault, help: &'static str) -> E {
        let error = E::custom(&fault);
        self.fault.borrow_mut().get_or_insert((fault, help));
        error
    }
}

/// Reads one value at one level of nesting.
#[derive(Clone, Copy)]
pub(super) struct Seed<'b> {
    level: usize,
    budget: &'b Budget,
}

impl<'b> Seed<'b> {
    pub(super) fn root(budget: &'b Budget) -> Self {
        Self { level: 0, budget }
    }

    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.level == MAX_NESTING {
            let fault = Fault::OverLimit { what: "the nesting of the document", max: MAX_NESTING };
            return Err(self.budget.refuse(fault, "write it flatter"));
        }
        Ok(Self { level: self.level + 1, budget: self.budget })
    }

    fn spend<E: Error>(self) -> Result<(), E> {
        let spent = self.budget.nodes.get() + 1;
        self.budget.nodes.set(spent);
        if spent > MAX_NODES {
            let fault =
                Fault::OverLimit { what: "the number of values in the document", max: MAX_NODES };
            return Err(self.budget.refuse(fault, "write fewer values, and no alias of an alias"));
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.spend()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true, false, a list or a mapping")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        match serde_json::Number::from_f64(number) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.budget.refuse(
                Fault::Yaml("a float that is no number".to_owned()),
                "quote it, or write a number",
            )),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut read = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            read.push(item);
        }
        Ok(Value::Array(read))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut read = Map::new();
        while let Some(key) = entries.next_key_seed(inner)? {
            let Value::String(key) = key else {
                let fault = Fault::Yaml("a key that is not a text".to_owned());
                return Err(self.budget.refuse(fault, "quote the key"));
            };
            if read.contains_key(&key) {
                let fault = Fault::Yaml(format!("key `{key}` stands twice"));
                return Err(self.budget.refuse(fault, "remove or rename one of them"));
            }
            let item = entries.next_value_seed(inner)?;
            read.insert(key, item);
        }
        Ok(Value::Object(read))
    }
}

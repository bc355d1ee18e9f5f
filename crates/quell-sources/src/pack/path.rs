//! Sources room: RFC 9535 paths, compiled once. Plain member paths are walked by hand, since they
//! are nearly all that packs use; everything else goes to serde_json_path.

use serde_json::Value;
use serde_json_path::JsonPath;

use crate::limits::PATH_CHARS_MAX;

/// A compiled path.
#[derive(Debug, Clone)]
pub(crate) enum Path {
    /// `$`, `$.a`, `$.a.b`, with `[*]` after any member.
    Plain(Vec<Step>),
    /// Any other path of RFC 9535.
    Query(Box<JsonPath>),
}

/// Where the path before led, without its last member. Only for one and the same record.
#[derive(Default)]
pub(crate) struct Near<'v, 'p> {
    steps: Option<&'p [Step]>,
    parent: Option<&'v Value>,
}

/// One step of a plain path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Member(String),
    Every,
}

impl Path {
    /// Compiles a path; the error is a sentence without the path itself.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > PATH_CHARS_MAX {
            return Err(format!("longer than {PATH_CHARS_MAX} characters"));
        }
        let query = JsonPath::parse(text).map_err(|error| {
            format!("no path of RFC 9535 at position {}: {}", error.position(), error.message())
        })?;
        Ok(plain(text).map_or_else(|| Self::Query(Box::new(query)), Self::Plain))
    }

    /// Visits the values that the path leads to, in their order in the record.
    pub(crate) fn each<'v>(&self, value: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
        match self {
            Self::Plain(steps) => walk(steps, value, visit),
            Self::Query(query) => query.query(value).all().into_iter().for_each(visit),
        }
    }

    /// The first value that the path leads to.
    pub(crate) fn first<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        if let Self::Plain(steps) = self
            && steps.iter().all(|step| matches!(step, Step::Member(_)))
        {
            return steps.iter().try_fold(value, |at, step| match step {
                Step::Member(name) => at.get(name.as_str()),
                Step::Every => None,
            });
        }
        let mut first = None;
        self.each(value, &mut |node| first = first.or(Some(node)));
        first
    }

    /// As [`Self::each`], but looks up the members before the last one only where `near` does not
    /// have them from the path before.
    pub(crate) fn each_near<'v, 'p>(
        &'p self,
        value: &'v Value,
        near: &mut Near<'v, 'p>,
        visit: &mut dyn FnMut(&'v Value),
    ) {
        let split = match self {
            Self::Plain(steps) => steps.split_last(),
            Self::Query(_) => None,
        };
        let Some((Step::Member(last), before)) = split.filter(|(_, b)| !b.contains(&Step::Every))
        else {
            return self.each(value, visit);
        };
        if near.steps != Some(before) {
            let mut parent = None;
            walk(before, value, &mut |node| parent = Some(node));
            *near = Near { steps: Some(before), parent };
        }
        if let Some(node) = near.parent.and_then(|parent| parent.get(last.as_str())) {
            visit(node);
        }
    }

    /// An order in which paths with the same members before the last one stand together.
    pub(crate) fn place(&self) -> Option<&[Step]> {
        match self {
            Self::Plain(steps) => Some(steps),
            Self::Query(_) => None,
        }
    }

    /// The members of a path that has nothing but members.
    pub(crate) fn members(&self) -> Option<Vec<String>> {
        let Self::Plain(steps) = self else { return None };
        let names = steps.iter().map(|step| match step {
            Step::Member(name) => Some(name.clone()),
            Step::Every => None,
        });
        names.collect()
    }
}

fn walk<'v>(steps: &[Step], value: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
    match steps.split_first() {
        None => visit(value),
        Some((Step::Member(name), rest)) => {
            if let Some(next) = value.get(name.as_str()) {
                walk(rest, next, visit);
            }
        }
        Some((Step::Every, rest)) => match value {
            Value::Array(items) => items.iter().for_each(|item| walk(rest, item, visit)),
            Value::Object(map) => map.values().for_each(|item| walk(rest, item, visit)),
            _ => {}
        },
    }
}

/// The steps of a path that is written with `.name` and `[*]` only (RFC 9535, member-name-shorthand
/// in ASCII).
fn plain(text: &str) -> Option<Vec<Step>> {
    let mut rest = text.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            steps.push(Step::Every);
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('.')?;
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let (name, after) = name.split_at(end.unwrap_or(name.len()));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        steps.push(Step::Member(name.to_owned()));
        rest = after;
    }
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn both(path: &str, record: &Value) -> (String, String) {
        let compiled = Path::parse(path).unwrap();
        let mut mine = Vec::new();
        compiled.each(record, &mut |node| mine.push(node.to_string()));
        let mut near = Near::default();
        for _ in 0..2 {
            let mut again = Vec::new();
            compiled.each_near(record, &mut near, &mut |node| again.push(node.to_string()));
            assert_eq!(again, mine, "{path}");
        }
        assert_eq!(compiled.first(record).map(Value::to_string), mine.first().cloned());
        let query = JsonPath::parse(path).unwrap();
        let theirs: Vec<String> = query.query(record).iter().map(|n| n.to_string()).collect();
        (mine.join(" "), theirs.join(" "))
    }

    #[test]
    fn plain_paths_are_walked_by_hand() {
        let check = |path: &str, want: bool| {
            let plain = matches!(Path::parse(path).unwrap(), Path::Plain(_));
            assert_eq!(plain, want, "{path}");
        };
        check("$", true);
        check("$.a.b_2", true);
        check("$.target[*].id", true);
        check("$._.item", true);
        check("$.target[?@.type == 'User'].id", false);
        check("$['a b']", false);
        check("$..a", false);
        check("$.a[0]", false);
        check("$.*", false);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", "a", "$.", "$[", "$.2a", "$.a b", "$$"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
        assert!(Path::parse(&format!("$.{}", "a".repeat(PATH_CHARS_MAX))).is_err());
    }

    proptest! {
        #[test]
        fn the_walk_agrees_with_serde_json_path(
            path in r"\$((\.[ab])|(\[\*\])){0,4}",
            shape in 0_usize..4,
        ) {
            let shapes = [
                json!({"a": {"b": [1, {"a": 2, "b": [3]}], "a": null}, "b": "x"}),
                json!([{"a": [{"b": 1}, {"b": {"a": 2}}]}, 4]),
                json!("text"),
                json!({"a": [[1, 2], [{"a": {"b": 3}}]]}),
            ];
            let (mine, theirs) = both(&path, &shapes[shape]);
            prop_assert_eq!(mine, theirs);
        }
    }
}

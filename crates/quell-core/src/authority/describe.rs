//! Conditions in words, for people. It judges nothing.

use super::logic::{Cond, Dim, Val};

/// A condition as a policy's author would say it.
pub(super) fn say(cond: &Cond) -> String {
    match cond {
        Cond::Just(true) => "always".to_owned(),
        Cond::Just(false) => "never".to_owned(),
        Cond::Opaque => "a condition that only the evaluation shows".to_owned(),
        Cond::Not(inner) => match &**inner {
            Cond::Word(dim, list) => format!("{} is not {}", dim.word(), words(list)),
            Cond::Holds(dim) if dim.is_anomaly() => format!("no anomaly {}", dim.word()),
            Cond::Holds(dim) => format!("not {}", dim.word()),
            Cond::Within(dim, i64::MIN, to) => {
                format!("{} >= {}", dim.word(), to.saturating_add(1))
            }
            Cond::Within(dim, from, i64::MAX) => format!("{} < {from}", dim.word()),
            Cond::Person => "it is an entity".to_owned(),
            Cond::Measured => "no precision is measured".to_owned(),
            Cond::Any(list) => joined(list, " and ", |c| say(&Cond::Not(Box::new(c.clone())))),
            other => format!("not ({})", say(other)),
        },
        Cond::All(list) => joined(list, " and ", say),
        Cond::Any(list) => joined(list, " or ", say),
        Cond::If(parts) => {
            let [cond, then, other] = &**parts;
            format!("if {} then {} else {}", say(cond), say(then), say(other))
        }
        Cond::Word(dim, list) => format!("{} is {}", dim.word(), words(list)),
        Cond::Within(dim, i64::MIN, to) => format!("{} < {}", dim.word(), to.saturating_add(1)),
        Cond::Within(dim, from, i64::MAX) => format!("{} >= {from}", dim.word()),
        Cond::Within(dim, from, to) if from == to => format!("{} == {from}", dim.word()),
        Cond::Within(dim, from, to) => format!("{} from {from} to {to}", dim.word()),
        Cond::Holds(dim) if dim.is_anomaly() => format!("anomaly {}", dim.word()),
        Cond::Holds(dim) => dim.word().to_owned(),
        Cond::Measured => "a precision is measured".to_owned(),
        Cond::Person => "it is an identity".to_owned(),
        Cond::Named(list) => {
            let names: Vec<&str> = list.iter().map(|(_, id)| id.as_str()).collect();
            format!("it is {}", names.join(" or "))
        }
        Cond::EntityKind(list) => format!("it is an entity of kind {}", words(list)),
    }
}

/// The parts that can hold, joined; what is never true is left out of an `or`.
fn joined(list: &[Cond], with: &str, say: impl Fn(&Cond) -> String) -> String {
    let empty = |cond: &&Cond| match cond {
        Cond::Word(_, list) => !list.is_empty(),
        Cond::Named(list) => !list.is_empty(),
        _ => true,
    };
    let parts: Vec<String> = list.iter().filter(empty).map(say).collect();
    match parts.as_slice() {
        [one] => one.clone(),
        parts => parts.join(with),
    }
}

fn words<'a>(list: impl IntoIterator<Item = &'a String>) -> String {
    let list: Vec<&str> = list.into_iter().map(String::as_str).collect();
    match list.as_slice() {
        [] => "nothing".to_owned(),
        [.., last] => match list.len() {
            1 => (*last).to_owned(),
            n => format!("{} or {last}", list.get(..n - 1).unwrap_or_default().join(", ")),
        },
    }
}

/// What a fact must be: the values that keep a permission, and those that lose it, both sorted.
pub(super) fn need(dim: Dim, kept: &[Val], lost: &[Val]) -> String {
    let word = dim.word();
    if dim.is_flag() {
        let holds = kept.contains(&Val::Flag(true));
        return match (dim.is_anomaly(), holds) {
            (true, true) => format!("if it has the anomaly {word}"),
            (true, false) => format!("if it has no anomaly {word}"),
            (false, true) => format!("if {word}"),
            (false, false) => format!("if not {word}"),
        };
    }
    let numbers = |vals: &[Val]| -> Vec<i64> {
        let numbers = vals.iter().filter_map(|val| match val {
            Val::Number(number) => Some(*number),
            _ => None,
        });
        numbers.collect()
    };
    if dim.is_number() {
        let (kept_n, lost_n) = (numbers(kept), numbers(lost));
        let absent = kept.contains(&Val::Absent);
        let range = match (kept_n.first(), kept_n.last(), lost_n.first(), lost_n.last()) {
            (Some(least), _, _, Some(most_lost)) if most_lost < least => {
                format!("{word} >= {least}")
            }
            (_, Some(most), Some(least_lost), _) if most < least_lost => {
                format!("{word} < {}", most.saturating_add(1))
            }
            (None, ..) => return format!("if no {word} is measured"),
            (_, _, None, _) => format!("a {word} is measured"),
            _ => {
                let list: Vec<String> = kept_n.iter().map(ToString::to_string).collect();
                format!("{word} is {}", words(&list))
            }
        };
        let absent = if absent { format!(" or no {word} is measured") } else { String::new() };
        return format!("if {range}{absent}");
    }
    let names: Vec<String> = kept.iter().map(name).collect();
    match dim {
        Dim::Resource => format!("only on {}", words(&names)),
        Dim::Rule => format!("only for the rule {}", words(&names)),
        _ => format!("if {word} is {}", words(&names)),
    }
}

fn name(val: &Val) -> String {
    match val {
        Val::Word(word) => word.clone(),
        Val::Number(number) => number.to_string(),
        Val::Flag(flag) => flag.to_string(),
        Val::Absent => "absent".to_owned(),
        Val::Person => "the identity".to_owned(),
        Val::Named(_, id) => id.clone(),
        Val::Entity(kind) => format!("an entity of kind {kind}"),
    }
}

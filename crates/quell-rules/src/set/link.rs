//! Rules room: what rules say about each other: unique ids and names, references, circles.

use std::collections::{BTreeMap, BTreeSet};

use super::{Read, RuleIdx};
use crate::correlation::{Correlation, Member, Wish};
use crate::error::{Fault, RuleError};
use crate::quell::ASK_HELP;
use crate::rule::{Body, Detection, Rule, rule_help};
use crate::vocab::Subject;

/// Keeps the first rule of each id and name, in the order of file and line.
pub(super) fn unique(
    read: Vec<Read>,
    broken: &mut BTreeSet<String>,
    errors: &mut Vec<RuleError>,
) -> Vec<Read> {
    let place = |read: &Read| (read.draft.meta.file.clone(), read.draft.meta.line);
    let ids: BTreeMap<String, (String, u32)> =
        read.iter().map(|read| (read.draft.meta.id.clone(), place(read))).collect();
    let mut taken: BTreeMap<String, (String, u32)> = BTreeMap::new();
    let mut kept: Vec<Read> = Vec::new();
    for read in read {
        let meta = &read.draft.meta;
        let here = (meta.file.clone(), meta.line);
        let mut refuse = |key: &str, fault: Fault, help: &str| {
            let line = read.document.line_of(&[key]);
            errors.push(RuleError::new(&meta.file, line, fault, help));
            broken.insert(meta.id.clone());
            broken.extend(meta.name.clone());
        };
        if let Some((file, line)) = taken.get(&meta.id).cloned() {
            let fault = Fault::DuplicateId { id: meta.id.clone(), file, line };
            refuse("id", fault, "give the rule a new UUID; an id is never reused");
            continue;
        }
        if let Some(name) = &meta.name {
            let clash = taken.get(name).or_else(|| ids.get(name).filter(|_| *name != meta.id));
            if let Some((file, line)) = clash.cloned() {
                let fault = Fault::DuplicateName { name: name.clone(), file, line };
                refuse("name", fault, "give the rule another name");
                continue;
            }
            taken.insert(name.clone(), here.clone());
        }
        taken.insert(meta.id.clone(), here);
        kept.push(read);
    }
    kept.sort_by(|a, b| a.draft.meta.id.cmp(&b.draft.meta.id));
    kept
}

/// Resolves references and drops every correlation that has none to rely on; what is left is in the
/// order of ids, each rule with its canonical text.
pub(super) fn resolve(
    read: Vec<Read>,
    broken: &BTreeSet<String>,
    errors: &mut Vec<RuleError>,
) -> Vec<(Rule, String)> {
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (place, read) in read.iter().enumerate() {
        places.insert(&read.draft.meta.id, place);
        if let Some(name) = &read.draft.meta.name {
            places.insert(name, place);
        }
    }
    let mut graph = Graph { read: &read, broken, places: &places, bad: BTreeSet::new(), errors };
    let edges: Vec<Vec<usize>> = (0..read.len()).map(|place| graph.edges(place)).collect();
    graph.circles(&edges);
    graph.idle(&edges);
    graph.spread(&edges);
    let bad = graph.bad;
    let mut new_place = 0;
    let renumbered: Vec<Option<RuleIdx>> = (0..read.len())
        .map(|place| {
            (!bad.contains(&place)).then(|| {
                new_place += 1;
                RuleIdx::new(new_place - 1)
            })
        })
        .collect();
    let ids: Vec<String> = read.iter().map(|read| read.draft.meta.id.clone()).collect();
    let mut linked = Vec::new();
    for (place, read) in read.into_iter().enumerate() {
        if bad.contains(&place) {
            continue;
        }
        let to = edges.get(place).map_or(&[] as &[usize], Vec::as_slice);
        linked.push(finish(read, to, &ids, &renumbered));
    }
    linked
}

fn finish(
    read: Read,
    edges: &[usize],
    ids: &[String],
    renumbered: &[Option<RuleIdx>],
) -> (Rule, String) {
    let Read { draft, document } = read;
    let rule = match draft.body {
        Body::Detection { category, block } => {
            let source = document.source();
            Rule::Detection(Detection::new(draft.meta, draft.quell, category, block, source))
        }
        Body::Correlation(wish) => {
            let members = edges.iter().zip(&wish.rules).filter_map(|(place, reference)| {
                Some(Member {
                    id: ids.get(*place)?.clone(),
                    idx: renumbered.get(*place).copied().flatten()?,
                    keys: keys(&wish, reference),
                })
            });
            Rule::Correlation(Correlation {
                members: members.collect(),
                meta: draft.meta,
                quell: draft.quell,
                kind: wish.kind,
                group_by: wish.group_by,
                timespan_us: wish.timespan_us,
                need: wish.need,
            })
        }
    };
    (rule, draft.canonical)
}

/// What to group a rule's signals by, aliases resolved.
fn keys(wish: &Wish, reference: &str) -> Vec<Subject> {
    let key = |field: &String| match wish.aliases.get(field) {
        Some(mapping) => mapping.get(reference).copied(),
        None => Subject::from_group_by(field),
    };
    wish.group_by.iter().filter_map(key).collect()
}

struct Graph<'r, 'e> {
    read: &'r [Read],
    broken: &'r BTreeSet<String>,
    places: &'r BTreeMap<&'r str, usize>,
    bad: BTreeSet<usize>,
    errors: &'e mut Vec<RuleError>,
}

impl Graph<'_, '_> {
    fn refuse(&mut self, place: usize, path: &[&str], fault: Fault, help: impl Into<String>) {
        self.bad.insert(place);
        if let Some(read) = self.read.get(place) {
            let line = read.document.line_of(path);
            self.errors.push(RuleError::new(&read.draft.meta.file, line, fault, help));
        }
    }

    /// The rules that the rule at `place` lists, in its order.
    fn edges(&mut self, place: usize) -> Vec<usize> {
        let Some(Read { draft, .. }) = self.read.get(place) else { return Vec::new() };
        let Body::Correlation(wish) = &draft.body else { return Vec::new() };
        let mut edges = Vec::new();
        for reference in &wish.rules {
            let path = ["correlation", "rules", reference.as_str()];
            match self.places.get(reference.as_str()) {
                Some(to) if edges.contains(to) => {
                    let fault = Fault::WrongValue {
                        key: "rules".to_owned(),
                        expected: format!("a list without the rule `{reference}` twice"),
                    };
                    self.refuse(place, &path, fault, "list it once, by its `id` or its `name`");
                }
                Some(to) => edges.push(*to),
                None if self.broken.contains(reference) => {
                    let fault = Fault::BrokenRule(reference.clone());
                    self.refuse(place, &path, fault, "correct that rule first");
                }
                None => {
                    let help = rule_help(reference, self.places.keys().copied());
                    self.refuse(place, &path, Fault::UnknownRule(reference.clone()), help);
                }
            }
        }
        let subject = draft.quell.ask.as_ref().map(|ask| ask.subject);
        if let Some(subject) = subject
            && wish.rules.iter().any(|reference| !keys(wish, reference).contains(&subject))
        {
            let fault = Fault::SubjectNotGrouped(subject.as_str().to_owned());
            let help = "group by the subject, or make what it groups by the subject";
            self.refuse(place, &["correlation", "group-by"], fault, help);
        }
        edges
    }

    /// Refuses every correlation that leads back to itself.
    fn circles(&mut self, edges: &[Vec<usize>]) {
        for place in 0..edges.len() {
            let Some(way) = way_back(place, edges) else { continue };
            let names: Vec<&str> = way
                .iter()
                .filter_map(|place| self.read.get(*place))
                .map(|read| read.draft.meta.id.as_str())
                .collect();
            let fault = Fault::Cycle(names.join(" -> "));
            self.refuse(place, &["correlation", "rules"], fault, "break the circle");
        }
    }

    /// Refuses every correlation that asks for nothing and that no other lists.
    fn idle(&mut self, edges: &[Vec<usize>]) {
        let listed: BTreeSet<usize> = edges.iter().flatten().copied().collect();
        for (place, read) in self.read.iter().enumerate() {
            let correlates = matches!(read.draft.body, Body::Correlation(_));
            if correlates && read.draft.quell.ask.is_none() && !listed.contains(&place) {
                self.refuse(place, &["correlation"], Fault::MissingKey("quell"), ASK_HELP);
            }
        }
    }

    /// Refuses every correlation that lists a refused one.
    fn spread(&mut self, edges: &[Vec<usize>]) {
        loop {
            let found = edges.iter().enumerate().find_map(|(place, to)| {
                if self.bad.contains(&place) {
                    return None;
                }
                to.iter().position(|to| self.bad.contains(to)).map(|nth| (place, nth))
            });
            let Some((place, nth)) = found else { return };
            let reference = match self.read.get(place).map(|read| &read.draft.body) {
                Some(Body::Correlation(wish)) => wish.rules.get(nth).cloned().unwrap_or_default(),
                _ => String::new(),
            };
            let path = ["correlation", "rules", &reference];
            let fault = Fault::BrokenRule(reference.clone());
            self.refuse(place, &path, fault, "correct that rule first");
        }
    }
}

/// The shortest way from a rule back to itself, both ends included.
fn way_back(start: usize, edges: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut from: Vec<Option<usize>> = vec![None; edges.len()];
    let mut open = std::collections::VecDeque::from([start]);
    while let Some(at) = open.pop_front() {
        for to in edges.get(at)? {
            if *to == start {
                let mut way = vec![start, at];
                let mut back = at;
                while back != start {
                    back = from.get(back).copied().flatten()?;
                    way.push(back);
                }
                way.reverse();
                if at == start {
                    way = vec![start, start];
                }
                return Some(way);
            }
            if let Some(seen @ None) = from.get_mut(*to) {
                *seen = Some(at);
                open.push_back(*to);
            }
        }
    }
    None
}

//! Sources room: turns the text of a pack into compiled parts, or into every problem that it has.
//! Touches no record.

mod fields;
mod groups;

use std::collections::BTreeMap;

use quell_core::id::Digest;
use quell_core::signal::Anomaly;
use quell_rules::SelectionSet;
use quell_rules::yaml;
use serde_json::{Value, json};

use super::glob::Glob;
use super::read::{Entries, PackError, Problems, SEE, list, shown};
use super::{Choice, Derive, Group, Pack, Path, TypeRule};
use crate::body::ListPath;
use crate::limits::PACK_BYTES_MAX;

/// The keys of a pack.
const KEYS: &[&str] = &[
    "version",
    "name",
    "title",
    "provider",
    "records",
    "dialects",
    "type",
    "key",
    "times",
    "own",
    "ignore",
    "derive",
    "anomalies",
    "subjects",
    "attributes",
    "entities",
    "events",
];

/// See [`Pack::load`].
pub(super) fn load(file: &str, text: &str) -> Result<Pack, Vec<PackError>> {
    let one = |line, what: &str, help: &str| vec![PackError::new(file, line, what, help)];
    if text.len() > PACK_BYTES_MAX {
        let what = format!("the size of the file is over the limit of {PACK_BYTES_MAX} bytes");
        return Err(one(1, &what, "split the pack by product"));
    }
    let mut documents = yaml::documents(text);
    let document = match (documents.pop(), documents.pop()) {
        (Some(Ok(document)), None) => document,
        (Some(Err(error)), None) => {
            return Err(one(error.line, &error.fault.to_string(), &error.help));
        }
        (None, _) => return Err(one(1, "the file is empty", "write a pack")),
        _ => return Err(one(1, "more than one document in the file", "one file, one pack")),
    };
    let mut problems = Problems { file, document: &document, found: Vec::new() };
    let pack = build(document.value(), text, &mut problems);
    problems.found.sort_by_key(PackError::line);
    match pack {
        Some(pack) if problems.found.is_empty() => Ok(pack),
        _ => Err(problems.found),
    }
}

fn build<'d>(root: &'d Value, text: &str, problems: &mut Problems<'d>) -> Option<Pack> {
    let root = Entries::of(root, &[], KEYS, problems)?;
    if root.need("version", problems).is_some_and(|version| version.as_i64() != Some(1)) {
        let what = "`version` must be 1";
        problems.at(&["version"], what, "this program reads packs of version 1");
    }
    let name = root.need("name", problems).and_then(|_| root.text("name", problems));
    let name = name.unwrap_or_default();
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        let what = format!("`name` has other characters than a-z, 0-9 and `_`: `{}`", shown(name));
        problems.at(&["name"], what, "name the folder and the pack alike");
    }
    let (types, type_conditions) = types(&root, problems);
    let subjects = fields::subjects(&root, problems);
    let shared = groups::Shared {
        times: fields::times(&root, problems),
        entities: fields::entities(&root, problems),
        subjects: &subjects.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(),
    };
    let (groups, listed) = groups::read(&root, &shared, problems);
    let (exact, globs) = index(listed, &groups, problems);
    let ignore = root.texts("ignore", problems);
    Some(Pack {
        name: name.to_owned(),
        title: root.text("title", problems).unwrap_or(name).to_owned(),
        provider: root.text("provider", problems).map(str::to_owned),
        digest: Digest::of(text.as_bytes()),
        lists: lists(&root, problems),
        dialects: dialects(&root, problems),
        types,
        type_conditions,
        keys: keys(&root, problems),
        own: paths(&root, "own", problems),
        ignore: ignore.into_iter().map(str::to_lowercase).collect(),
        without_zone: fields::without_zone(&root, problems),
        derived: derived(&root, problems),
        anomalies: anomalies(&root, problems),
        attributes: fields::attributes(&root, problems),
        subjects,
        groups,
        exact,
        globs,
    })
}

/// `records`: names of lists, each with the path to it.
fn lists<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Vec<ListPath> {
    let Some(value) = root.get("records") else { return Vec::new() };
    let Some(entries) = Entries::open(value, &["records"], problems) else { return Vec::new() };
    let mut lists = Vec::new();
    for (name, value) in entries.iter() {
        let at = entries.path_to(name);
        let members = path(value, &at, problems).and_then(|path| path.members());
        match members.filter(|members| !members.is_empty()) {
            Some(members) => lists.push(ListPath::new(members, name)),
            None => problems.at(&at, "a list of records is named by members only", "`$.a.b`"),
        }
    }
    lists
}

/// `dialects`: spellings that the pack knows but does not expect.
fn dialects<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Choice<Vec<(String, String)>> {
    let mut conditions = Conditions::default();
    let mut means = Vec::new();
    for value in root.get("dialects").map(list).unwrap_or_default() {
        let known = &["when", "rename"];
        let Some(entry) = Entries::of(value, &["dialects"], known, problems) else { continue };
        let (Some(when), Some(rename)) =
            (entry.need("when", problems), entry.need("rename", problems))
        else {
            continue;
        };
        conditions.add(when, entry.path_to("when"));
        let at = entry.path_to("rename");
        let Some(names) = Entries::open(rename, &at, problems) else { continue };
        let mut renames = Vec::new();
        for (from, to) in names.iter() {
            match to.as_str() {
                Some(to) => renames.push((from.to_owned(), to.to_owned())),
                None => problems.at(&names.path_to(from), "a member's name must be a text", SEE),
            }
        }
        means.push(renames);
    }
    Choice { conditions: conditions.compile(problems), means }
}

/// `type`: how to tell the event type, in order.
fn types<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> (Vec<TypeRule>, SelectionSet) {
    let mut conditions = Conditions::default();
    let mut rules = Vec::new();
    let value = root.need("type", problems);
    for item in value.map(list).unwrap_or_default() {
        if item.is_string() {
            rules.extend(path(item, &["type"], problems).map(TypeRule::From));
            continue;
        }
        let Some(entry) = Entries::of(item, &["type"], &["is", "when"], problems) else { continue };
        let (Some(_), Some(when)) = (entry.need("is", problems), entry.need("when", problems))
        else {
            continue;
        };
        let place = conditions.add(when, entry.path_to("when"));
        rules.extend(entry.text("is", problems).map(|is| TypeRule::Is(is.to_owned(), place)));
    }
    (rules, conditions.compile(problems))
}

/// `key`: lists of paths; the first list of which all lead to a text is the record key.
fn keys<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Vec<Vec<Path>> {
    let mut keys = Vec::new();
    for item in root.get("key").map(list).unwrap_or_default() {
        let parts = list(item).iter().filter_map(|part| path(part, &["key"], problems));
        keys.push(parts.collect());
    }
    keys
}

/// `derive`: names with captures, or with two paths to compare.
fn derived<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Vec<(String, Derive)> {
    let Some(value) = root.get("derive") else { return Vec::new() };
    let Some(entries) = Entries::open(value, &["derive"], problems) else { return Vec::new() };
    let mut derived = Vec::new();
    for (name, value) in entries.iter() {
        let at = entries.path_to(name);
        if ["list", "item", "late_s"].contains(&name) {
            problems.at(&at, format!("`{name}` is a name of Quell's own"), "choose another");
        }
        let how = if value.is_array() {
            let read = |item| capture(item, &at, problems);
            Some(Derive::Capture(list(value).iter().filter_map(read).collect()))
        } else {
            same(value, &at, problems)
        };
        derived.extend(how.map(|how| (name.to_owned(), how)));
    }
    derived
}

fn capture<'d>(
    value: &'d Value,
    at: &[&'d str],
    problems: &mut Problems<'d>,
) -> Option<(Path, regex::Regex)> {
    let entry = Entries::of(value, at, &["path", "capture"], problems)?;
    let from = path(entry.need("path", problems)?, &entry.path_to("path"), problems);
    entry.need("capture", problems)?;
    let pattern = entry.text("capture", problems)?;
    let built = regex::RegexBuilder::new(pattern).size_limit(64 * 1024).build();
    match built {
        Ok(regex) if regex.captures_len() == 2 => Some((from?, regex)),
        _ => {
            let what = format!("no pattern with one group: `{}`", shown(pattern));
            problems.at(&entry.path_to("capture"), what, "write one pair of parentheses");
            None
        }
    }
}

fn same<'d>(value: &'d Value, at: &[&'d str], problems: &mut Problems<'d>) -> Option<Derive> {
    let entry = Entries::of(value, at, &["same"], problems)?;
    let at = entry.path_to("same");
    let both = list(entry.need("same", problems)?);
    let paths: Vec<Path> = both.iter().filter_map(|p| path(p, &at, problems)).collect();
    match <[Path; 2]>::try_from(paths) {
        Ok([one, other]) => Some(Derive::Same(one, other)),
        Err(_) => {
            problems.at(&at, "`same` must list two paths", SEE);
            None
        }
    }
}

/// `anomalies`: anomalies that any record may have.
fn anomalies<'d>(root: &Entries<'d>, problems: &mut Problems<'d>) -> Choice<Anomaly> {
    let mut conditions = Conditions::default();
    let mut means = Vec::new();
    for value in root.get("anomalies").map(list).unwrap_or_default() {
        let known = &["anomaly", "when"];
        let Some(entry) = Entries::of(value, &["anomalies"], known, problems) else { continue };
        let (Some(_), Some(when)) = (entry.need("anomaly", problems), entry.need("when", problems))
        else {
            continue;
        };
        conditions.add(when, entry.path_to("when"));
        means.extend(entry.named::<Anomaly>("anomaly", problems));
    }
    Choice { conditions: conditions.compile(problems), means }
}

type Index = (BTreeMap<String, usize>, Vec<(Glob, usize)>);

/// Which event type is read by which group; no type may stand twice.
fn index<'d>(
    listed: Vec<(usize, &'d str)>,
    groups: &[Group],
    problems: &mut Problems<'d>,
) -> Index {
    let mut exact = BTreeMap::new();
    let mut globs: Vec<(Glob, usize)> = Vec::new();
    for (at, name) in listed {
        let twice = if name.contains('*') {
            let twice = globs.iter().any(|(glob, _)| glob.as_str() == name);
            globs.push((Glob::new(name), at));
            twice
        } else {
            exact.insert(name.to_owned(), at).is_some()
        };
        if twice {
            let what = format!("event type `{}` stands twice", shown(name));
            problems.at(&["events", name], what, "list it in one group");
        }
    }
    // the longest goes first, whatever the order of the file
    globs.sort_by(|(a, _), (b, _)| {
        (b.as_str().len(), a.as_str()).cmp(&(a.as_str().len(), b.as_str()))
    });
    debug_assert!(exact.values().all(|at| *at < groups.len()), "a group for each type");
    (exact, globs)
}

/// A path of RFC 9535.
fn path<'d>(value: &'d Value, at: &[&'d str], problems: &mut Problems<'d>) -> Option<Path> {
    let Some(text) = value.as_str() else {
        problems.at(at, "a path must be a text", "write for example `$.actor.id`");
        return None;
    };
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(why) => {
            let at = [at, &[text]].concat();
            problems.at(&at, format!("`{}` is {why}", shown(text)), "see RFC 9535");
            None
        }
    }
}

/// Paths of a list; a single path is a list of one.
fn paths<'d>(entries: &Entries<'d>, key: &'d str, problems: &mut Problems<'d>) -> Vec<Path> {
    let at = entries.path_to(key);
    let items = entries.get(key).map(list).unwrap_or_default();
    items.iter().filter_map(|item| path(item, &at, problems)).collect()
}

/// Conditions on the way to one compiled set.
#[derive(Default)]
struct Conditions<'d> {
    blocks: Vec<(Value, Vec<&'d str>)>,
}

impl<'d> Conditions<'d> {
    /// Adds a condition and gives its place: a Sigma `detection` block, or only its one selection.
    fn add(&mut self, when: &Value, at: Vec<&'d str>) -> usize {
        let block = if when.get("condition").is_some() {
            when.clone()
        } else {
            json!({ "selection": when, "condition": "selection" })
        };
        self.blocks.push((block, at));
        self.blocks.len() - 1
    }

    fn compile(self, problems: &mut Problems<'d>) -> SelectionSet {
        let blocks: Vec<&Value> = self.blocks.iter().map(|(block, _)| block).collect();
        match SelectionSet::parse(&blocks) {
            Ok(set) => set,
            Err(errors) => {
                for error in errors {
                    let Some((_, at)) = self.blocks.get(error.block) else { continue };
                    let inner = error.problem.path().iter().map(String::as_str);
                    let inner = inner.filter(|name| *name != "selection");
                    let at: Vec<&str> = at.iter().copied().chain(inner).collect();
                    problems.at(&at, error.problem.fault(), error.problem.help());
                }
                SelectionSet::default()
            }
        }
    }
}

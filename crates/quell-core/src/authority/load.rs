//! Loading: schema and policies from text to sliced sets, refusing what could mislead. It asks
//! nothing of a policy but its text.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::pst::{Effect, Template};
use cedar_policy::{
    ActionConstraint, Entities, Policy, PolicyId, PolicySet, Request, Schema, ValidationMode,
    Validator,
};

use super::open::{literals, open};
use super::question::{Question, Resource};
use super::{Authority, Note, Set, Slice, words};
use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::policy::{Mode, PolicyError, PolicyFiles, SCHEMA, line_of};
use crate::signal::{Entity, EntityKind, Kind, Provenance, Use};
use crate::time::{DAY, HOUR, MINUTE};

/// Policies that one set may have.
const POLICIES_MAX: usize = 2_000;

/// Bytes that one policy may have; it bounds how deep its expressions nest.
const POLICY_BYTES_MAX: usize = 16_384;

/// The annotations that mean something here.
const ANNOTATIONS: [&str; 4] = ["id", "reason", "ttl", "note"];

type Errors = Vec<PolicyError>;

pub(super) fn load(files: &PolicyFiles) -> Result<Authority, Errors> {
    let schema = schema(files)?;
    let (mut live, mut shadow) = (Vec::new(), Vec::new());
    for (name, text) in files.0.iter().filter(|(name, _)| name.ends_with(".cedar")) {
        let set = if name.ends_with(".shadow.cedar") { &mut shadow } else { &mut live };
        set.push((name.as_str(), text.as_str()));
    }
    if live.is_empty() {
        let remedy = "write the shipped `default.cedar` with `quell init` and edit it";
        return Err(vec![PolicyError::new("*.cedar", None, "there is no policy file", remedy)]);
    }
    match (set(&live, &schema), set(&shadow, &schema)) {
        (Ok(policies), Ok(shadow)) => Ok(Authority { policies, shadow, digest: files.digest() }),
        (live, shadow) => {
            let mut errors: Errors = live.err().into_iter().chain(shadow.err()).flatten().collect();
            errors.sort();
            Err(errors)
        }
    }
}

/// The schema, and that it fits the actions and questions of this version.
fn schema(files: &PolicyFiles) -> Result<Schema, Errors> {
    let shipped = "write the shipped one with `quell init`";
    let Some(text) = files.0.get(SCHEMA) else {
        return Err(vec![PolicyError::new(SCHEMA, None, "the file is missing", shipped)]);
    };
    super::depth::bounded(SCHEMA, text).map_err(|error| vec![error])?;
    let schema = match Schema::from_cedarschema_str(text) {
        Ok((schema, _)) => schema,
        Err(error) => return Err(translate(SCHEMA, text, &DetailedError::from(&error), shipped)),
    };
    let misfits = misfits(&schema);
    if misfits.is_empty() {
        return Ok(schema);
    }
    Err(misfits.into_iter().map(|m| PolicyError::new(SCHEMA, None, m, shipped)).collect())
}

/// Where a schema differs from what this version asks.
fn misfits(schema: &Schema) -> Vec<String> {
    let entities = match schema.action_entities() {
        Ok(entities) => entities,
        Err(error) => return vec![error.to_string()],
    };
    let mut misfits = Vec::new();
    for action in Action::ALL {
        let uid = match words::uid("Action", action.name()) {
            Ok(uid) if entities.get(&uid).is_some() => uid,
            _ => {
                misfits.push(format!("action `{action}` is missing"));
                continue;
            }
        };
        let mut groups: Vec<String> = entities
            .ancestors(&uid)
            .into_iter()
            .flatten()
            .map(|group| group.id().unescaped().to_owned())
            .collect();
        groups.sort();
        if groups != [action.group().name()] {
            let groups = groups.join("`, `");
            let group = action.group();
            misfits.push(format!("action `{action}` is in `{groups}`, not in `{group}` alone"));
        }
        for question in probes(*action) {
            misfits.extend(probe(schema, &question).err());
        }
    }
    misfits.sort();
    misfits.dedup();
    misfits
}

/// Asks the schema whether a question fits.
fn probe(schema: &Schema, question: &Question) -> Result<(), String> {
    let resource = question.resource_entity()?;
    let action = words::uid("Action", question.action.name())?;
    let source = words::uid("Source", &question.source)?;
    let context = question.context(0)?;
    Request::new(source, action, resource.uid(), context, Some(schema))
        .map_err(|_| "its facts are not those that this version asks with".to_owned())?;
    Entities::from_entities([resource], Some(schema))
        .map_err(|e| format!("a resource does not fit: {}", DetailedError::from(&e).message))?;
    Ok(())
}

/// Questions of every shape: identity and entity, with and without the optional attributes.
fn probes(action: Action) -> Vec<Question> {
    let entity = Entity { kind: EntityKind::Domain, value: "example.com".to_owned() };
    let base = Question {
        source: "probe".to_owned(),
        action,
        resource: Resource::Identity("probe".to_owned()),
        class: None,
        kind: Kind::Detection,
        usage: Use::Alone,
        confidence: None,
        provenance: Provenance::Own,
        anomalies: BTreeSet::new(),
        attribution_weak: true,
        rule: "probe".to_owned(),
        tier: Tier::Observe,
        finding_confidence: None,
        sources: 0,
        signal_age_s: 0,
        directory_age_s: 0,
        watched: false,
        case_state: "none".to_owned(),
        mode: Mode::Shadow,
        cold: true,
        late: true,
        precision: None,
    };
    let whole = Question { precision: Some(0), ..base.clone() };
    let watched = Question { resource: Resource::Entity(entity), ..base.clone() };
    let classes = Class::ALL.iter().map(|class| Question { class: Some(*class), ..base.clone() });
    classes.chain([base.clone(), whole, watched]).collect()
}

/// One policy with where it stands.
struct Found {
    policy: Policy,
    file: usize,
    line: u32,
}

/// Parses, checks and slices one set of files.
fn set(files: &[(&str, &str)], schema: &Schema) -> Result<Set, Errors> {
    let (mut errors, mut found) = (Errors::new(), Vec::new());
    for (index, (name, text)) in files.iter().enumerate() {
        if let Err(error) = super::depth::bounded(name, text) {
            errors.push(error);
            continue;
        }
        match text.parse::<PolicySet>() {
            Ok(policies) => collect(index, (name, text), &policies, &mut found, &mut errors),
            Err(error) => {
                let remedy = "see docs/authority.md for the form of a policy";
                errors.extend(translate(name, text, &DetailedError::from(&error), remedy));
            }
        }
    }
    if found.len() > POLICIES_MAX {
        let message = format!("{} policies, more than {POLICIES_MAX}", found.len());
        errors.push(PolicyError::new("*.cedar", None, message, "join or remove some"));
    }
    let (mut notes, mut whole) = (BTreeMap::new(), PolicySet::new());
    let mut places = BTreeMap::new();
    for Found { policy, file, line } in &found {
        let Some((name, _)) = files.get(*file) else { continue };
        let mut wrong = |message: String, remedy: &str| {
            errors.push(PolicyError::new(name, Some(*line), message, remedy));
        };
        let Some((id, note)) = annotations(policy, &mut wrong) else { continue };
        let named = policy.new_id(PolicyId::new(&id));
        if whole.add(named).is_err() {
            wrong(format!("the id `{id}` is used twice"), "give every policy an @id of its own");
            continue;
        }
        places.insert(id.clone(), *file);
        let note = body(policy, note, &mut wrong);
        notes.insert(id, Note { file: (*name).to_owned(), line: *line, ..note });
    }
    validate(files, &places, &whole, schema, &mut errors);
    if errors.is_empty() {
        let slices = slices(&whole, schema);
        return slices
            .map(|slices| Set { slices, notes, schema: Some(schema.clone()) })
            .map_err(|e| vec![PolicyError::new("*.cedar", None, e, "reduce the set to find it")]);
    }
    errors.sort();
    errors.dedup();
    Err(errors)
}

/// The policies of one file in their order, with their lines.
fn collect(
    file: usize,
    (name, text): (&str, &str),
    policies: &PolicySet,
    found: &mut Vec<Found>,
    errors: &mut Errors,
) {
    for template in policies.templates() {
        let line = text.find(template.to_cedar().as_str()).map(|at| line_of(text, at));
        let remedy = "write the entity in place of `?principal` or `?resource`";
        errors.push(PolicyError::new(name, line, "templates are not used here", remedy));
    }
    let number = |policy: &Policy| {
        let id = policy.id().to_string();
        id.trim_start_matches("policy").parse::<u32>().unwrap_or(u32::MAX)
    };
    let mut policies: Vec<Policy> = policies.policies().cloned().collect();
    policies.sort_by_key(number);
    let mut from = 0;
    for policy in policies {
        let own = policy.to_cedar().unwrap_or_default();
        let rest = text.get(from..).unwrap_or_default();
        let at = from + rest.find(own.as_str()).unwrap_or(0);
        let line = line_of(text, at);
        if own.len() > POLICY_BYTES_MAX {
            let message = format!("a policy larger than {POLICY_BYTES_MAX} bytes");
            errors.push(PolicyError::new(name, Some(line), message, "split it into several"));
        } else {
            found.push(Found { policy, file, line });
        }
        from = at + own.len();
    }
}

/// The id and note of a policy, unless an annotation is missing or wrong.
fn annotations(policy: &Policy, wrong: &mut impl FnMut(String, &str)) -> Option<(String, Note)> {
    for (name, _) in policy.annotations() {
        if !ANNOTATIONS.contains(&name) {
            let remedy = match crate::nearest(name, ANNOTATIONS) {
                Some(near) => format!("did you mean `@{near}`?"),
                None => "known here: `@id`, `@reason`, `@ttl`, `@note`".to_owned(),
            };
            wrong(format!("unknown annotation `@{name}`"), &remedy);
        }
    }
    let text = |name| policy.annotation(name).map(str::trim).filter(|text| !text.is_empty());
    let form = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    let id = text("id").filter(|id| id.len() <= 80 && id.bytes().all(form));
    if id.is_none() {
        let remedy = "write @id(\"a-name\") before it: lower case letters, digits, `-`, `_`, `.`";
        wrong("a policy without a valid @id".to_owned(), remedy);
    }
    let reason = text("reason").filter(|reason| reason.chars().count() <= 240);
    if reason.is_none() {
        let remedy = "write @reason(\"..\") before it: one sentence of at most 240 characters";
        wrong("a policy without a valid @reason".to_owned(), remedy);
    }
    let mut ttl = None;
    if let Some(written) = policy.annotation("ttl") {
        ttl = duration(written);
        if ttl.is_none() || policy.effect() == cedar_policy::Effect::Forbid {
            let remedy = "write @ttl(\"30m\"), (\"24h\") or (\"7d\") on a permit, at most 365 days";
            wrong(format!("`@ttl(\"{written}\")` gives no time to live"), remedy);
        }
    }
    let note = Note { reason: reason?.to_owned(), ttl, ..Note::default() };
    Some((id?.to_owned(), note))
}

/// `30m`, `24h`, `7d` in microseconds.
fn duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    let digits = number.len() <= 6 && number.bytes().all(|b| b.is_ascii_digit());
    let micros = digits.then(|| number.parse::<i64>().ok())??.checked_mul(unit)?;
    (micros > 0 && micros <= 365 * DAY).then_some(micros)
}

/// What the syntax shows: unknown words, and open permits for contain or evict.
fn body(policy: &Policy, note: Note, wrong: &mut impl FnMut(String, &str)) -> Note {
    let syntax = match policy.to_pst() {
        Ok(syntax) => syntax,
        Err(error) => {
            wrong(format!("its syntax cannot be read: {error}"), "write it more simply");
            return note;
        }
    };
    let template: &Template = syntax.body();
    let found = literals(template);
    for (attribute, word) in &found.unknown {
        let known = words::known(attribute).unwrap_or_default();
        let remedy = match crate::nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("see docs/authority.md for the words of `{attribute}`"),
        };
        wrong(format!("`{word}` is never a value of `context.{attribute}`"), &remedy);
    }
    let strong = Action::ALL
        .iter()
        .any(|action| action.group() >= Tier::Contain && matches(policy, *action));
    if template.effect == Effect::Permit && strong {
        for aspect in open(template) {
            let message =
                format!("a permit for contain or evict that leaves the {} open", aspect.name());
            wrong(message, aspect.remedy());
        }
    }
    Note { sources: found.sources, ..note }
}

/// True when the action scope of a policy can match an action: itself, or by its group.
fn matches(policy: &Policy, action: Action) -> bool {
    let is = |uid: &cedar_policy::EntityUid, name: &str| {
        uid.type_name().to_string() == "Action" && uid.id().unescaped() == name
    };
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => is(&uid, action.name()),
        ActionConstraint::In(uids) => {
            uids.iter().any(|uid| is(uid, action.name()) || is(uid, action.group().name()))
        }
    }
}

/// Strict validation of the whole set; warnings are refused too: each is a policy that does not
/// mean what it seems to.
fn validate(
    files: &[(&str, &str)],
    places: &BTreeMap<String, usize>,
    whole: &PolicySet,
    schema: &Schema,
    errors: &mut Errors,
) {
    let result = Validator::new(schema.clone()).validate(whole, ValidationMode::Strict);
    let mut note = |id: &PolicyId, error: DetailedError| {
        let id = id.to_string();
        let Some((name, text)) = places.get(&id).and_then(|file| files.get(*file)) else { return };
        let message = plain(&id, &error.message);
        let help = error.help.as_deref().map(|help| plain(&id, help));
        let help = remedy(&message, help);
        let error = DetailedError { message: format!("`{id}`: {message}"), help: None, ..error };
        errors.extend(translate(name, text, &error, &help));
    };
    for error in result.validation_errors() {
        note(error.policy_id(), DetailedError::from(error));
    }
    if result.validation_passed() {
        for warning in result.validation_warnings() {
            note(warning.policy_id(), DetailedError::from(warning));
        }
    }
}

/// Cedar's sentence without the policy's id and the one action of many that it names.
fn plain(id: &str, sentence: &str) -> String {
    let sentence = sentence.replace(&format!("for policy `{id}`, "), "");
    let sentence = sentence.replace(&format!("for policy `{id}`: "), "");
    match sentence.split_once(" in context for Action::\"") {
        Some((before, after)) => {
            let after = after.split_once('"').map_or("", |(_, after)| after);
            format!("{before} in context{after}")
        }
        None => sentence,
    }
}

/// What to do about a validation error: Cedar's help, unless a word is near enough to be a slip.
fn remedy(message: &str, help: Option<String>) -> String {
    const TYPES: [&str; 5] = ["Source", "Identity", "Entity", "Class", "Action"];
    let quoted = || message.split(['`', '"']);
    if message.starts_with("unrecognized entity type") {
        // Cedar offers any type, however far, and not always the same.
        let near = quoted().find_map(|part| crate::nearest(part, TYPES));
        return match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: `{}`", TYPES.join("`, `")),
        };
    }
    let known = words::classes();
    let near = quoted()
        .find_map(|part| crate::nearest(part, known.iter().copied()).filter(|n| *n != part));
    match (near, help) {
        (Some(near), _) => format!("did you mean `{near}`?"),
        (None, Some(help)) => help,
        (None, None) => format!("compare with {SCHEMA}"),
    }
}

/// Cedar's error in our form, with its related ones.
fn translate(file: &str, text: &str, error: &DetailedError, remedy: &str) -> Errors {
    let one = |error: &DetailedError| {
        let line = error.source_locations.first().map(|at| line_of(text, at.loc.start));
        let remedy = error.help.clone().unwrap_or_else(|| remedy.to_owned());
        let message = error.message.replace('\n', " ");
        PolicyError::new(file, line, message, remedy.replace('\n', " "))
    };
    std::iter::once(error).chain(&error.related).map(one).collect()
}

/// For each action the policies whose action scope can match it.
fn slices(whole: &PolicySet, schema: &Schema) -> Result<BTreeMap<Action, Slice>, String> {
    let actions = schema.action_entities().map_err(|e| e.to_string())?;
    let mut slices = BTreeMap::new();
    for action in Action::ALL {
        let fitting = whole.policies().filter(|policy| matches(policy, *action)).cloned();
        let policies = PolicySet::from_policies(fitting).map_err(|e| e.to_string())?;
        let uid = words::uid("Action", action.name())?;
        let group = words::uid("Action", action.group().name())?;
        let entities = [&uid, &group].into_iter().filter_map(|uid| actions.get(uid).cloned());
        let entities = entities.collect();
        slices.insert(*action, Slice { policies, action: uid, entities });
    }
    Ok(slices)
}

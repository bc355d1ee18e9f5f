//! Authority: which source, with which kind of signal, may trigger which action on which class of
//! identity, and after how many approvals. It decides only: it counts no budget, keeps no state
//! and sends nothing.
//!
//! Fail closed by value: [`Authority::none`] permits nothing, a policy that does not load gives no
//! `Authority` at all, and any evaluation error gives [`Verdict::Error`], which is no permit.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::{Authorizer, Decision, Entities, Entity, EntityUid, PolicySet, Request, Schema};
use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::id::Digest;
use crate::identity::Class;
use crate::policy::{PolicyError, PolicyFiles};

mod depth;
mod describe;
mod load;
mod logic;
pub mod matrix;
mod open;
mod permit;
mod probe;
mod question;
mod reach;
mod words;

#[cfg(test)]
mod tests;

pub use permit::{ApprovalMissing, Pending, Permit, Ruling};
pub use question::{Question, Resource};
pub use reach::reach_cap;

/// The most approvals that a question is asked with.
pub const APPROVALS_MAX: u8 = 2;

/// The policies in force, sliced by action.
#[derive(Clone)]
pub struct Authority {
    policies: Set,
    shadow: Set,
    digest: Digest,
}

/// What authority says to one question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Permitted once that many people approved.
    Permit {
        /// 0 is without asking anybody.
        approvals: u8,
        /// The shortest `@ttl` of the determining policies, microseconds.
        ttl: Option<i64>,
        /// Ids of the determining policies, sorted.
        policies: Vec<String>,
    },
    /// Not permitted, with any number of approvals.
    Deny {
        /// Ids of the forbids that apply, sorted; empty when no policy permits it.
        policies: Vec<String>,
        /// Why, for people.
        reason: String,
    },
    /// It could not be judged, which is never a permit.
    Error {
        /// What went wrong.
        message: String,
    },
}

impl Authority {
    /// Permits nothing.
    pub fn none() -> Self {
        let empty = Set { slices: BTreeMap::new(), notes: BTreeMap::new(), schema: None };
        let digest = PolicyFiles::default().digest();
        Self { policies: empty.clone(), shadow: empty, digest }
    }

    /// Reads the schema, every `*.cedar` file, and apart from them every `*.shadow.cedar` file.
    ///
    /// # Errors
    /// Everything that docs/authority.md lists as refused at load, sorted by file and line.
    pub fn load(files: &PolicyFiles) -> Result<Self, Vec<PolicyError>> {
        load::load(files)
    }

    /// Asks with 0, 1 and 2 approvals; the smallest permitted number wins.
    ///
    /// Measured with the shipped policies (release build, two busy cores): 27 to 40 us for
    /// `watch`, 56 to 85 us for `end_sessions`, 145 to 210 us for a denial after three questions.
    pub fn ask(&self, question: &Question) -> Verdict {
        self.policies.ask(question)
    }

    /// Asks the shadow policies alone: what would be if they were in force instead.
    pub fn ask_shadow(&self, question: &Question) -> Verdict {
        self.shadow.ask(question)
    }

    /// Asks once for each class alone, or for the unknown class when there is none: all must
    /// permit, the most approvals and the shortest time to live win, an error outweighs a denial.
    ///
    /// The question's own class does not matter.
    pub fn ask_classes(&self, question: &Question, classes: &BTreeSet<Class>) -> Verdict {
        all(each_class(question, classes).map(|question| self.ask(&question)))
    }

    /// [`Self::ask_classes`] over the shadow policies.
    pub fn ask_shadow_classes(&self, question: &Question, classes: &BTreeSet<Class>) -> Verdict {
        all(each_class(question, classes).map(|question| self.ask_shadow(&question)))
    }

    /// The only way to a permit without a person: asks for every accepted signal and every class
    /// of the subject. All questions are about one step, the same action on the same resource.
    pub fn rule(&self, questions: &[Question], classes: &BTreeSet<Class>) -> Ruling {
        let verdict = all(questions.iter().map(|question| self.ask_classes(question, classes)));
        permit::ruling(verdict, questions, self.digest)
    }

    /// The digest of the policy files that it was loaded from.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The `@reason` of a policy in force, for `explain`.
    pub fn reason(&self, id: &str) -> Option<&str> {
        self.policies.notes.get(id).map(|note| note.reason.as_str())
    }

    /// The file and line of a policy in force.
    pub fn place(&self, id: &str) -> Option<(&str, Option<u32>)> {
        self.policies.notes.get(id).map(|note| (note.file.as_str(), Some(note.line)))
    }

    /// The names of sources that policies speak of, sorted: `quell check` compares them with the
    /// configured ones.
    pub fn sources(&self) -> BTreeSet<String> {
        let notes = self.policies.notes.values().chain(self.shadow.notes.values());
        notes.flat_map(|note| note.sources.iter().cloned()).collect()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("policies", &self.policies.notes.keys())
            .field("shadow", &self.shadow.notes.keys())
            .field("digest", &self.digest)
            .finish()
    }
}

/// One set of policies, ready to be asked.
#[derive(Clone)]
struct Set {
    slices: BTreeMap<Action, Slice>,
    notes: BTreeMap<String, Note>,
    schema: Option<Schema>,
}

/// The policies whose action scope can match one action.
#[derive(Clone)]
struct Slice {
    policies: PolicySet,
    action: EntityUid,
    /// The action and its group, so that `action in Action::"contain"` is true.
    entities: Vec<Entity>,
}

/// What the annotations of one policy say.
#[derive(Clone, Debug, Default)]
struct Note {
    reason: String,
    ttl: Option<i64>,
    sources: BTreeSet<String>,
    /// Where it stands.
    file: String,
    line: u32,
}

impl Set {
    fn ask(&self, question: &Question) -> Verdict {
        let nobody = || Verdict::Deny { policies: Vec::new(), reason: NOBODY.to_owned() };
        let (Some(slice), Some(schema)) = (self.slices.get(&question.action), &self.schema) else {
            return nobody();
        };
        let prepared = match slice.prepare(question, schema) {
            Ok(prepared) => prepared,
            Err(message) => return Verdict::Error { message },
        };
        let mut verdict = nobody();
        for approvals in 0..=APPROVALS_MAX {
            verdict = self.ask_with(slice, &prepared, question, approvals);
            if !matches!(verdict, Verdict::Deny { .. }) {
                break;
            }
        }
        verdict
    }

    /// One question with one number of approvals.
    fn ask_with(
        &self,
        slice: &Slice,
        prepared: &Prepared<'_>,
        question: &Question,
        approvals: u8,
    ) -> Verdict {
        let request = match prepared.request(question, approvals) {
            Ok(request) => request,
            Err(message) => return Verdict::Error { message },
        };
        let response =
            Authorizer::new().is_authorized(&request, &slice.policies, &prepared.entities);
        let mut errors: Vec<String> =
            response.diagnostics().errors().map(ToString::to_string).collect();
        if !errors.is_empty() {
            // Cedar skips an erroring policy, a forbid too: here it stops everything.
            errors.sort();
            return Verdict::Error { message: errors.join("; ") };
        }
        let mut policies: Vec<String> =
            response.diagnostics().reason().map(ToString::to_string).collect();
        policies.sort();
        let notes = || policies.iter().filter_map(|id| self.notes.get(id));
        match response.decision() {
            Decision::Allow => {
                let ttl = notes().filter_map(|note| note.ttl).min();
                Verdict::Permit { approvals, ttl, policies }
            }
            Decision::Deny => {
                let reasons: Vec<&str> = notes().map(|note| note.reason.as_str()).collect();
                let reason =
                    if reasons.is_empty() { NOBODY.to_owned() } else { reasons.join("; ") };
                Verdict::Deny { policies, reason }
            }
        }
    }
}

/// What the questions about one step have in common, whatever the number of approvals.
struct Prepared<'a> {
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    entities: Entities,
    schema: &'a Schema,
}

impl Slice {
    fn prepare<'a>(&self, question: &Question, schema: &'a Schema) -> Result<Prepared<'a>, String> {
        let principal = words::uid("Source", &question.source)?;
        let entity = question.resource_entity()?;
        let resource = entity.uid();
        let entities = self.entities.iter().cloned().chain([entity]);
        let entities = Entities::from_entities(entities, None);
        let entities = entities.map_err(|e| format!("the entities do not fit: {e}"))?;
        Ok(Prepared { principal, action: self.action.clone(), resource, entities, schema })
    }
}

impl Prepared<'_> {
    fn request(&self, question: &Question, approvals: u8) -> Result<Request, String> {
        let (principal, action) = (self.principal.clone(), self.action.clone());
        let context = question.context(approvals)?;
        Request::new(principal, action, self.resource.clone(), context, Some(self.schema))
            .map_err(|e| format!("the question does not fit the schema: {e}"))
    }
}

const NOBODY: &str = "no policy permits it";

fn each_class(question: &Question, classes: &BTreeSet<Class>) -> impl Iterator<Item = Question> {
    let mut asked: Vec<Option<Class>> = classes.iter().copied().map(Some).collect();
    if asked.is_empty() {
        asked.push(None);
    }
    // What was measured may lower authority and never raise it: what is not permitted without it
    // is not permitted.
    let blind = question.precision.map(|_| None);
    let measured = move |class| {
        let known = std::iter::once(question.precision).chain(blind);
        known.map(move |precision| Question { class, precision, ..question.clone() })
    };
    asked.into_iter().flat_map(measured)
}

/// All must permit; no question at all is no permit.
fn all(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let joined = verdicts.reduce(|a, b| match (a, b) {
        (Verdict::Error { message }, _) | (_, Verdict::Error { message }) => {
            Verdict::Error { message }
        }
        (denial @ Verdict::Deny { .. }, _) | (_, denial @ Verdict::Deny { .. }) => denial,
        (
            Verdict::Permit { approvals, ttl, policies },
            Verdict::Permit { approvals: more, ttl: other, policies: others },
        ) => {
            let ids: BTreeSet<String> = policies.into_iter().chain(others).collect();
            Verdict::Permit {
                approvals: approvals.max(more),
                ttl: [ttl, other].into_iter().flatten().min(),
                policies: ids.into_iter().collect(),
            }
        }
    });
    let nobody = || Verdict::Deny { policies: Vec::new(), reason: "nothing was asked".to_owned() };
    joined.unwrap_or_else(nobody)
}

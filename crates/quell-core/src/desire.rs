//! What the findings in force ask for: steps by tier and class, before anybody judged them.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, Tier};
use crate::directory::Directory;
use crate::finding::Finding;
use crate::id::FindingId;
use crate::identity::Class;
use crate::order::On;
use crate::policy::Policy;
use crate::resolve::{Resolution, Subject};
use crate::signal::{Entity, EntityKind};

/// A step that some findings ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Desire {
    /// The findings, sorted.
    pub findings: BTreeSet<FindingId>,
    /// Approvals that circumstances demand, whatever policy says.
    pub floor: u32,
    /// Why there is a floor.
    pub why: BTreeSet<String>,
}

/// Steps by (action, what it acts on).
pub type Desires = BTreeMap<(Action, On), Desire>;

/// The kinds of entity that a finding puts on a watchlist.
const WATCHED: [EntityKind; 4] =
    [EntityKind::Sender, EntityKind::Domain, EntityKind::Url, EntityKind::OauthApp];

/// The classes of a finding's subject: the union of those held then and now.
pub fn classes(directory: &Directory, finding: &Finding) -> BTreeSet<Class> {
    match (&finding.subject, &finding.resolution) {
        (Subject::Identity(id), Resolution::Resolved) => directory.classes(*id, finding.first_at),
        _ => BTreeSet::new(),
    }
}

/// Adds what a finding asks for at a tier. With a floor it adds only what nobody asks for
/// without one: add what is asked for without a floor first.
pub fn add(
    desires: &mut Desires,
    directory: &Directory,
    policy: &Policy,
    finding: &Finding,
    tier: Tier,
    floor: Option<&str>,
) {
    let classes = classes(directory, finding);
    for action in policy.tiers.actions(tier, &classes) {
        for on in targets(directory, finding, action) {
            let key = (action, on);
            let free = desires.get(&key).is_some_and(|desire| desire.floor == 0);
            if free && floor.is_some() {
                continue;
            }
            let desire = desires.entry(key).or_default();
            desire.findings.insert(finding.id);
            if let Some(why) = floor {
                desire.floor = 1;
                desire.why.insert(why.to_owned());
            }
        }
    }
}

/// What an action acts on: every account of the identity, and for `watch` the entities too.
fn targets(directory: &Directory, finding: &Finding, action: Action) -> Vec<On> {
    let mut all = Vec::new();
    if let Subject::Identity(id) = &finding.subject
        && let Some(identity) = directory.identity(*id)
    {
        all.extend(identity.accounts.iter().cloned().map(On::Account));
    }
    if action == Action::Watch {
        let entities = finding.signals.iter().flat_map(|cited| &cited.entities);
        let watched: BTreeSet<&Entity> =
            entities.filter(|entity| WATCHED.contains(&entity.kind)).collect();
        all.extend(watched.into_iter().cloned().map(On::Entity));
    }
    all
}

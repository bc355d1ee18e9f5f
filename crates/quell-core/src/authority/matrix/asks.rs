//! The matrix, tiers: for which class which action is asked for, and by which tier. It permits
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::policy::Tiers;

/// One tier that asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ask {
    /// The tier of the finding.
    pub(super) tier: Tier,
    /// The approvals that circumstances demand, whatever policy says.
    pub(super) floor: u8,
    /// The classes that the identity must have beside; the fewest with which it is asked for.
    pub(super) with: BTreeSet<Class>,
}

impl Ask {
    pub(super) fn plain(tier: Tier) -> Self {
        Self { tier, floor: 0, with: BTreeSet::new() }
    }
}

/// Which tiers ask for what on whom.
#[derive(Debug)]
pub(super) struct Asks(BTreeMap<(Option<Class>, Action), Vec<Ask>>);

impl Asks {
    /// Looks at every set of classes that an identity can have.
    pub(super) fn of(tiers: &Tiers) -> Self {
        let mut all: BTreeMap<(Option<Class>, Action), Vec<Ask>> = BTreeMap::new();
        for tier in Tier::ALL {
            let mut fewest: BTreeMap<(Option<Class>, Action), BTreeSet<Class>> = BTreeMap::new();
            for classes in sets() {
                for action in tiers.actions(*tier, &classes) {
                    let mut own: Vec<Option<Class>> = classes.iter().copied().map(Some).collect();
                    if own.is_empty() {
                        own.push(None);
                    }
                    for class in own {
                        let with: BTreeSet<Class> =
                            classes.iter().copied().filter(|c| Some(*c) != class).collect();
                        fewest.entry((class, action)).or_insert(with);
                    }
                }
            }
            for ((class, action), with) in fewest {
                let asks = all.entry((class, action)).or_default();
                asks.push(Ask { tier: *tier, floor: 0, with: with.clone() });
                if *tier == Tier::Evict {
                    // A contained person who is attacked again: the next tier, with approval.
                    asks.push(Ask { tier: Tier::Contain, floor: 1, with });
                }
            }
        }
        Self(all)
    }

    /// The tiers that ask for an action on a class; none when nothing does.
    pub(super) fn of_cell(&self, class: Option<Class>, action: Action) -> &[Ask] {
        self.0.get(&(class, action)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Every set of classes, the smallest first. A break-glass account is never acted on.
fn sets() -> Vec<BTreeSet<Class>> {
    let classes: Vec<Class> =
        Class::ALL.iter().copied().filter(|class| *class != Class::BreakGlass).collect();
    let mut sets: Vec<BTreeSet<Class>> = vec![BTreeSet::new()];
    for class in classes {
        let with: Vec<BTreeSet<Class>> =
            sets.iter().map(|set| set.iter().copied().chain([class]).collect()).collect();
        sets.extend(with);
    }
    sets.sort_by_key(|set| (set.len(), set.clone()));
    sets
}

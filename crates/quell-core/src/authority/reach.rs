//! The cap that follows from who can cause a signal: defence in depth beside the policies. It
//! reads no policy.

use crate::action::Tier;
use crate::signal::{Kind, Reach};

/// The most that signals of these kinds can ask for, whatever rules and policies say: observe
/// for what anybody outside can cause, challenge with at least one well-attributed lure, evict
/// with at least one access.
///
/// `true` beside a kind marks weak attribution: such a signal raises nothing.
pub fn reach_cap(kinds: impl IntoIterator<Item = (Kind, bool)>) -> Tier {
    let caps = kinds.into_iter().filter(|(_, weak)| !weak).map(|(kind, _)| match kind.reach() {
        Reach::Outsider => Tier::Observe,
        Reach::Lure => Tier::Challenge,
        Reach::Access => Tier::Evict,
    });
    caps.max().unwrap_or(Tier::Observe)
}

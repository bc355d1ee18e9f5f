//! The words of `quell.cedarschema`: entity names and the closed lists of the context. It judges
//! nothing.

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

use crate::action::Tier;
use crate::identity::Class;
use crate::policy::Mode;
use crate::signal::{Anomaly, Kind, Provenance, Reach, Use};

/// The class of an identity without classes.
pub(super) const UNKNOWN: &str = "unknown";

/// The anomaly by which the engine says that a click may not be this person's.
pub(super) const ATTRIBUTION_WEAK: &str = "attribution_weak";

/// The states of a case, as policies see them.
const CASE_STATES: [&str; 6] = ["none", "open", "contained", "recovering", "recovered", "closed"];

/// A Cedar entity name; the id may be any text.
pub(super) fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|e| format!("`{kind}`: {e}"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

/// The values that an attribute of the context can have, where the list is closed.
pub(super) fn known(attribute: &str) -> Option<Vec<&'static str>> {
    fn all<T: Copy>(list: &[T], name: impl Fn(T) -> &'static str) -> Vec<&'static str> {
        list.iter().map(|item| name(*item)).collect()
    }
    Some(match attribute {
        "kind" => all(Kind::ALL, Kind::name),
        "reach" => all(Reach::ALL, Reach::name),
        "usage" => all(Use::ALL, Use::name),
        "provenance" => all(Provenance::ALL, Provenance::name),
        "tier" => all(Tier::ALL, Tier::name),
        "mode" => all(Mode::ALL, Mode::name),
        "case_state" => CASE_STATES.to_vec(),
        "anomalies" => {
            let mut names = all(Anomaly::ALL, Anomaly::name);
            names.push(ATTRIBUTION_WEAK);
            names
        }
        _ => return None,
    })
}

/// The names of the classes and of the class that stands for none.
pub(super) fn classes() -> Vec<&'static str> {
    Class::ALL.iter().map(|class| class.name()).chain([UNKNOWN]).collect()
}

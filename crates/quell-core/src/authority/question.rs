//! One question to authority: a step, the signal that asks for it and what is known. It is data;
//! only the authority answers it.

use std::collections::BTreeSet;

use cedar_policy::{Context, Entity, RestrictedExpression as Value};
use serde::{Deserialize, Serialize};

use super::words::{ATTRIBUTION_WEAK, UNKNOWN, uid};
use crate::action::{Action, Tier};
use crate::id::SourceName;
use crate::identity::Class;
use crate::policy::Mode;
use crate::signal::{self, Anomaly, Kind, Provenance, Use};

/// What a step is done to, as policies see it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// An identity by its id, or an unresolved account by its key.
    Identity(String),
    /// Something that is watched.
    Entity(signal::Entity),
}

impl Resource {
    /// The text that names it in permits and records.
    pub fn key(&self) -> String {
        match self {
            Self::Identity(id) => id.clone(),
            Self::Entity(entity) => format!("{}={}", entity.kind, entity.value),
        }
    }
}

/// One question: may this signal trigger this action on this resource, seen as this class?
///
/// The number of approvals is not part of it: the authority tries 0, 1 and 2.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The signal's source: the principal.
    pub source: SourceName,
    /// The step.
    pub action: Action,
    /// What it is done to.
    pub resource: Resource,
    /// One class of the identity; none is unknown. Entities have none.
    pub class: Option<Class>,
    /// What the signal states; its reach follows from it.
    pub kind: Kind,
    /// What its pack lets it be used for.
    pub usage: Use,
    /// The signal's confidence; none for facts.
    pub confidence: Option<u8>,
    /// How the source proved who it is.
    pub provenance: Provenance,
    /// The signal's anomalies.
    pub anomalies: BTreeSet<Anomaly>,
    /// The click may not be this person's; policies see the anomaly `attribution_weak`.
    pub attribution_weak: bool,
    /// The finding's rule id.
    pub rule: String,
    /// The tier that the finding asks for.
    pub tier: Tier,
    /// The finding's confidence; none when only facts support it.
    pub finding_confidence: Option<u8>,
    /// How many independent sources speak in the finding.
    pub sources: u32,
    /// Seconds from the signal's event to now.
    pub signal_age_s: i64,
    /// Seconds since the directory was last brought up to date.
    pub directory_age_s: i64,
    /// The subject stands on a watchlist.
    pub watched: bool,
    /// `none`, `open`, `contained`, `recovering`, `recovered` or `closed`.
    pub case_state: String,
    /// Whether anything is sent at all.
    pub mode: Mode,
    /// Too few sign-ins of this identity are known.
    pub cold: bool,
    /// The signal was too old at arrival and the threat is not shown alive.
    pub late: bool,
    /// Measured share of true findings of this source and kind, 0 to 100.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision: Option<u8>,
}

impl Question {
    /// The context of the Cedar request.
    pub(super) fn context(&self, approvals: u8) -> Result<Context, String> {
        let text = |text: &str| Value::new_string(text.to_owned());
        let long = |number: Option<u8>| Value::new_long(number.map_or(0, i64::from));
        let weak = self.attribution_weak.then_some(ATTRIBUTION_WEAK);
        let anomalies = self.anomalies.iter().map(|anomaly| anomaly.name()).chain(weak);
        let mut pairs = vec![
            ("kind", text(self.kind.name())),
            ("reach", text(self.kind.reach().name())),
            ("usage", text(self.usage.name())),
            ("confidence", long(self.confidence)),
            ("provenance", text(self.provenance.name())),
            ("anomalies", Value::new_set(anomalies.map(text))),
            ("rule", text(&self.rule)),
            ("tier", text(self.tier.name())),
            ("finding_confidence", long(self.finding_confidence)),
            ("sources", Value::new_long(i64::from(self.sources))),
            ("signal_age_s", Value::new_long(self.signal_age_s)),
            ("directory_age_s", Value::new_long(self.directory_age_s)),
            ("watched", Value::new_bool(self.watched)),
            ("case_state", text(&self.case_state)),
            ("mode", text(self.mode.name())),
            ("approvals", long(Some(approvals))),
            ("cold", Value::new_bool(self.cold)),
            ("late", Value::new_bool(self.late)),
        ];
        if let Some(precision) = self.precision {
            pairs.push(("precision", long(Some(precision))));
        }
        let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
        Context::from_pairs(pairs).map_err(|e| format!("the context cannot be made: {e}"))
    }

    /// The resource with its class alone as parent.
    pub(super) fn resource_entity(&self) -> Result<Entity, String> {
        match &self.resource {
            Resource::Identity(id) => {
                let class = self.class.map_or(UNKNOWN, Class::name);
                let parents = [uid("Class", class)?].into();
                Ok(Entity::new_no_attrs(uid("Identity", id)?, parents))
            }
            Resource::Entity(entity) => {
                let kind = Value::new_string(entity.kind.name().to_owned());
                let attributes = [("kind".to_owned(), kind)].into();
                Entity::new(uid("Entity", &self.resource.key())?, attributes, [].into())
                    .map_err(|e| format!("the entity cannot be made: {e}"))
            }
        }
    }
}

//! Rules room: the closed lists of words that a rule may use, and the fields that it may match.
//! Never touches YAML or rsigma.

use std::fmt;

/// Declares a closed list of names: the enum, its order, and both directions of its text form.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in its order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Every name as users write it, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($text,)+];

            /// The name as users write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of a name; `None` for any other text.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// The proportion of the response that a rule asks for, from the least to the most.
    Tier {
        /// Watch only.
        Observe => "observe",
        /// Force reauthentication or a further factor.
        Challenge => "challenge",
        /// End what the attacker holds: sessions, tokens, grants.
        Contain => "contain",
        /// Take away what lets the attacker come back.
        Evict => "evict",
    }
}

names! {
    /// What an entity of a signal is; a closed list.
    EntityKind {
        /// A mail sender's address.
        Sender => "sender",
        /// A domain name.
        Domain => "domain",
        /// A URL.
        Url => "url",
        /// An IP address.
        Ip => "ip",
        /// A session at a provider.
        Session => "session",
        /// A device.
        Device => "device",
        /// A mail message.
        Message => "message",
        /// An OAuth client that the directory does not know.
        OauthApp => "oauth_app",
        /// A user agent.
        UserAgent => "user_agent",
        /// The vendor's name or number of a threat.
        Threat => "threat",
        /// The vendor's name or number of a campaign.
        Campaign => "campaign",
    }
}

names! {
    /// A trait of a sign-in that can be new for an identity.
    NovelTrait {
        /// The network: IPv4 /24 or IPv6 /48.
        Network => "network",
        /// The device.
        Device => "device",
        /// The client.
        Client => "client",
    }
}

names! {
    /// The group of kinds that a rule's `logsource` names, and that an event belongs to.
    Category {
        /// Kinds about mail.
        Mail => "mail",
        /// Kinds about people's accounts and sessions.
        Identity => "identity",
        /// Kinds about principals that are not people.
        NonHuman => "non_human",
        /// In a rule: every category. In an event: a kind that belongs to none alone.
        Any => "any",
    }
}

names! {
    /// What a signal may be used for, as its source's pack states.
    Use {
        /// May trigger by itself.
        Alone => "alone",
        /// Only inside a correlation.
        Join => "join",
        /// The vendor already stopped it.
        Stop => "stop",
        /// Lowers or withdraws an earlier signal.
        Undo => "undo",
        /// Only feeds correlation and verification.
        Fact => "fact",
    }
}

names! {
    /// The type of a Sigma correlation (Sigma correlation rules specification, version 2).
    CorrelationKind {
        /// Counts events.
        EventCount => "event_count",
        /// Counts distinct values of a field.
        ValueCount => "value_count",
        /// Different rules within the timespan, in any order.
        Temporal => "temporal",
        /// Different rules within the timespan, in the listed order.
        TemporalOrdered => "temporal_ordered",
        /// Sums a field.
        ValueSum => "value_sum",
        /// Averages a field.
        ValueAvg => "value_avg",
        /// A percentile of a field.
        ValuePercentile => "value_percentile",
        /// The median of a field.
        ValueMedian => "value_median",
    }
}

impl CorrelationKind {
    /// Whether this version evaluates the type; a rule of any other type is an error.
    pub const fn is_supported(self) -> bool {
        matches!(self, Self::EventCount | Self::ValueCount | Self::Temporal | Self::TemporalOrdered)
    }
}

/// What a finding is about, and what a correlation groups by.
///
/// An account that the directory cannot resolve counts as an identity of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The identity that the signals are about.
    Identity,
    /// An entity that the signals name.
    Entity(EntityKind),
}

impl Subject {
    /// The word in `quell.subject`: `identity` or an entity kind.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Entity(kind) => kind.as_str(),
        }
    }

    /// Reads the word in `quell.subject`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "identity" => Some(Self::Identity),
            _ => EntityKind::from_name(name).map(Self::Entity),
        }
    }

    /// Reads an entry of `group-by`: `identity` or `entity.<kind>`.
    pub fn from_group_by(name: &str) -> Option<Self> {
        match name {
            "identity" => Some(Self::Identity),
            _ => EntityKind::from_name(name.strip_prefix(ENTITY_PREFIX)?).map(Self::Entity),
        }
    }
}

/// What a `value_count` counts the different values of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// The network of the address: IPv4 /24 or IPv6 /48.
    Network,
    /// What the signal states.
    Kind,
    /// The source that says so.
    Source,
    /// The identifier that the signal is about.
    Subject,
    /// Entities of one kind.
    Entity(EntityKind),
    /// An attribute that the pack extracted.
    Attr(String),
}

impl Measure {
    /// Reads the `field` of a `value_count`: `network`, `kind`, `source`, `subject`,
    /// `entity.<kind>` or `attr.<name>`; `None` for what has no values to count.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "network" {
            return Some(Self::Network);
        }
        Some(match Field::parse(name)? {
            Field::Kind => Self::Kind,
            Field::Source => Self::Source,
            Field::Subject => Self::Subject,
            Field::Entity(kind) => Self::Entity(kind),
            Field::Attr(name) => Self::Attr(name.to_owned()),
            Field::Use | Field::Confidence | Field::Anomaly => return None,
        })
    }
}

/// Before the kind of an entity in a field name.
pub const ENTITY_PREFIX: &str = "entity.";
/// Before the name of an attribute in a field name; attributes are an open list.
pub const ATTR_PREFIX: &str = "attr.";

/// Every field that a rule may match, except the open list `attr.<name>`.
pub const FIELDS: &[&str] = &[
    "kind",
    "use",
    "source",
    "confidence",
    "subject",
    "anomaly",
    "entity.sender",
    "entity.domain",
    "entity.url",
    "entity.ip",
    "entity.session",
    "entity.device",
    "entity.message",
    "entity.oauth_app",
    "entity.user_agent",
    "entity.threat",
    "entity.campaign",
];

/// One field of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field<'a> {
    /// What the signal states.
    Kind,
    /// What the signal may be used for.
    Use,
    /// The configured name of the source.
    Source,
    /// 1 to 100; absent for facts.
    Confidence,
    /// The identifier that the signal is about, as its source wrote it.
    Subject,
    /// The name of a deviation found while decoding; may repeat.
    Anomaly,
    /// An entity that the signal names; may repeat.
    Entity(EntityKind),
    /// An attribute that the pack extracted; may repeat.
    Attr(&'a str),
}

impl<'a> Field<'a> {
    /// Reads a field name as rules write it; `None` for a field that does not exist.
    ///
    /// The name of an attribute is one or more ASCII letters, digits, `_`, `-` or `.`.
    pub fn parse(name: &'a str) -> Option<Self> {
        Some(match name {
            "kind" => Self::Kind,
            "use" => Self::Use,
            "source" => Self::Source,
            "confidence" => Self::Confidence,
            "subject" => Self::Subject,
            "anomaly" => Self::Anomaly,
            _ => {
                if let Some(kind) = name.strip_prefix(ENTITY_PREFIX) {
                    return EntityKind::from_name(kind).map(Self::Entity);
                }
                let attr = name.strip_prefix(ATTR_PREFIX)?;
                if attr.is_empty() || !attr.bytes().all(is_attr_byte) {
                    return None;
                }
                Self::Attr(attr)
            }
        })
    }
}

fn is_attr_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::{ENTITY_PREFIX, EntityKind, FIELDS, Field};

    #[test]
    fn the_field_list_is_what_the_parser_knows() {
        for name in FIELDS {
            assert!(Field::parse(name).is_some(), "{name}");
        }
        for kind in EntityKind::NAMES {
            assert!(FIELDS.contains(&format!("{ENTITY_PREFIX}{kind}").as_str()), "{kind}");
        }
        assert_eq!(Field::parse("attr.user.name-2"), Some(Field::Attr("user.name-2")));
        for name in ["", "knd", "entity.", "entity.ipv6", "attr.", "attr.a b", "attr.a[0]", "Kind"]
        {
            assert_eq!(Field::parse(name), None, "{name}");
        }
    }
}

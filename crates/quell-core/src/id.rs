//! Identifiers and digests: content-derived, never random; no I/O. Formats are frozen in
//! `docs/formats.md`.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// One organisation; the first field of every key. `default` when unset.
pub type Tenant = String;

/// The name of a configured source; never reused for another origin.
pub type SourceName = String;

/// A SHA-256 digest, shown as `sha256:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| InvalidId(text.to_owned()))?;
        let bytes = HEXLOWER.decode(hex.as_bytes()).map_err(|_| InvalidId(text.to_owned()))?;
        let bytes = bytes.try_into().map_err(|_| InvalidId(text.to_owned()))?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<C> minicbor::Encode<C> for Digest {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?;
        Ok(())
    }
}

impl<'b, C> minicbor::Decode<'b, C> for Digest {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?.try_into();
        bytes.map(Self).map_err(|_| minicbor::decode::Error::message("wrong length"))
    }
}

/// Why a text is no identifier of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid id")]
pub struct InvalidId(String);

/// The first 128 bits of SHA-256 over `quell/<kind>/v1` and the fields, each with its length as
/// u32 big-endian before it.
///
/// Fields longer than 4 GiB do not occur: every field is capped at intake.
pub fn derive(kind: &str, fields: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha256::new();
    let mut feed = |field: &[u8]| {
        let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
        hash.update(length.to_be_bytes());
        hash.update(field);
    };
    feed(format!("quell/{kind}/v1").as_bytes());
    fields.iter().for_each(|field| feed(field));
    let full: [u8; 32] = hash.finalize().into();
    let mut id = [0; 16];
    id.iter_mut().zip(full).for_each(|(to, from)| *to = from);
    id
}

/// Lower-case RFC 4648 base32 without padding; trailing bits must be zero.
fn base32() -> &'static data_encoding::Encoding {
    static ENCODING: std::sync::OnceLock<data_encoding::Encoding> = std::sync::OnceLock::new();
    ENCODING.get_or_init(|| {
        let mut spec = Specification::new();
        spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
        spec.encoding().unwrap_or(data_encoding::BASE32_NOPAD)
    })
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), base32().encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = || InvalidId(text.chars().take(80).collect());
                let body = text.strip_prefix(concat!($prefix, "_")).ok_or_else(invalid)?;
                let bytes = base32().decode(body.as_bytes()).map_err(|_| invalid())?;
                Ok(Self(bytes.try_into().map_err(|_| invalid())?))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?.try_into();
                bytes.map(Self).map_err(|_| minicbor::decode::Error::message("wrong length"))
            }
        }
    )*};
}

ids! {
    /// A signal: (tenant, source, record key, kind, ordinal within that kind).
    SignalId "sig";
    /// A finding: (tenant, rule id, group key, anchor).
    FindingId "fnd";
    /// A case: (tenant, subject, first finding).
    CaseId "cas";
    /// An order: (tenant, case of birth, action, account or entity, how often before).
    OrderId "ord";
    /// An identity: (tenant, the directory's stable key).
    IdentityId "idn";
    /// A campaign: (tenant, entity kind of the trait shared, its value).
    CampaignId "cmp";
    /// An approval request: (tenant, order, how often before).
    ApprovalId "apr";
    /// A watch entry: (tenant, entity kind, value).
    WatchId "wat";
}

impl SignalId {
    /// See the type.
    pub fn of(tenant: &str, source: &str, record_key: &str, kind: &str, ordinal: u32) -> Self {
        Self(derive(
            "signal",
            &[
                tenant.as_bytes(),
                source.as_bytes(),
                record_key.as_bytes(),
                kind.as_bytes(),
                &ordinal.to_be_bytes(),
            ],
        ))
    }
}

impl FindingId {
    /// See the type.
    pub fn of(tenant: &str, rule: &str, group_key: &str, anchor: SignalId) -> Self {
        Self(derive(
            "finding",
            &[tenant.as_bytes(), rule.as_bytes(), group_key.as_bytes(), &anchor.0],
        ))
    }
}

impl CaseId {
    /// See the type.
    pub fn of(tenant: &str, subject: &str, first: FindingId) -> Self {
        Self(derive("case", &[tenant.as_bytes(), subject.as_bytes(), &first.0]))
    }
}

impl OrderId {
    /// See the type.
    pub fn of(tenant: &str, case: CaseId, action: &str, on: &str, before: u32) -> Self {
        Self(derive(
            "order",
            &[tenant.as_bytes(), &case.0, action.as_bytes(), on.as_bytes(), &before.to_be_bytes()],
        ))
    }
}

impl IdentityId {
    /// See the type.
    pub fn of(tenant: &str, key: &str) -> Self {
        Self(derive("identity", &[tenant.as_bytes(), key.as_bytes()]))
    }
}

impl CampaignId {
    /// See the type; `kind` is the entity kind of the trait.
    pub fn of(tenant: &str, kind: &str, value: &str) -> Self {
        Self(derive("campaign", &[tenant.as_bytes(), kind.as_bytes(), value.as_bytes()]))
    }
}

impl ApprovalId {
    /// See the type.
    pub fn of(tenant: &str, order: OrderId, before: u32) -> Self {
        Self(derive("approval", &[tenant.as_bytes(), &order.0, &before.to_be_bytes()]))
    }
}

impl WatchId {
    /// See the type.
    pub fn of(tenant: &str, kind: &str, value: &str) -> Self {
        Self(derive("watch", &[tenant.as_bytes(), kind.as_bytes(), value.as_bytes()]))
    }
}

/// A record across its revisions: (tenant, source, record key). Never shown, so without prefix.
pub fn record_id(tenant: &str, source: &str, record_key: &str) -> [u8; 16] {
    derive("record", &[tenant.as_bytes(), source.as_bytes(), record_key.as_bytes()])
}

/// A page to people: (tenant, kind, case or nothing, order or nothing, when, its number within
/// the step, its text before it was cleaned); `ntc_` and lower-case hexadecimal.
pub fn notice_id(
    tenant: &str,
    kind: &str,
    about: (Option<CaseId>, Option<OrderId>),
    at: crate::time::Time,
    number: u32,
    text: &str,
) -> String {
    let case = about.0.map(|case| case.0);
    let order = about.1.map(|order| order.0);
    let fields: [&[u8]; 7] = [
        tenant.as_bytes(),
        kind.as_bytes(),
        case.as_ref().map_or(&[], |id| id.as_slice()),
        order.as_ref().map_or(&[], |id| id.as_slice()),
        &at.0.to_be_bytes(),
        &number.to_be_bytes(),
        text.as_bytes(),
    ];
    format!("ntc_{}", HEXLOWER.encode(&derive("notice", &fields)))
}

//! Signals: one normalised statement each, with its kind, use, times, entities and provenance.

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::id::{Digest, SignalId, SourceName};
use crate::identity::Identifier;
use crate::name::names;
use crate::time::{Moment, Time};

names! {
    /// What a signal states: the closed list of DESIGN.md section 4, only appended to.
    Kind {
        /// `phish_delivered`
        PhishDelivered = "phish_delivered",
        /// `malware_delivered`
        MalwareDelivered = "malware_delivered",
        /// `suspicious_sender`
        SuspiciousSender = "suspicious_sender",
        /// `impersonation`
        Impersonation = "impersonation",
        /// `url_click`
        UrlClick = "url_click",
        /// `url_click_blocked`
        UrlClickBlocked = "url_click_blocked",
        /// `attachment_opened`
        AttachmentOpened = "attachment_opened",
        /// `credential_submitted`
        CredentialSubmitted = "credential_submitted",
        /// `user_reported`
        UserReported = "user_reported",
        /// `verdict_changed`
        VerdictChanged = "verdict_changed",
        /// `message_removed`
        MessageRemoved = "message_removed",
        /// `message_delivered`
        MessageDelivered = "message_delivered",
        /// `message_blocked`
        MessageBlocked = "message_blocked",
        /// `internal_phish_sent`
        InternalPhishSent = "internal_phish_sent",
        /// `mail_mass_send`
        MailMassSend = "mail_mass_send",
        /// `mailbox_rule_created`
        MailboxRuleCreated = "mailbox_rule_created",
        /// `forwarding_enabled`
        ForwardingEnabled = "forwarding_enabled",
        /// `mailbox_delegated`
        MailboxDelegated = "mailbox_delegated",
        /// `sign_in`
        SignIn = "sign_in",
        /// `sign_in_failed`
        SignInFailed = "sign_in_failed",
        /// `sign_in_risky`
        SignInRisky = "sign_in_risky",
        /// `impossible_travel`
        ImpossibleTravel = "impossible_travel",
        /// `adversary_in_the_middle`
        AdversaryInTheMiddle = "adversary_in_the_middle",
        /// `mfa_denied`
        MfaDenied = "mfa_denied",
        /// `mfa_fatigue`
        MfaFatigue = "mfa_fatigue",
        /// `mfa_method_added`
        MfaMethodAdded = "mfa_method_added",
        /// `mfa_reset`
        MfaReset = "mfa_reset",
        /// `oauth_consent`
        OauthConsent = "oauth_consent",
        /// `oauth_consent_risky`
        OauthConsentRisky = "oauth_consent_risky",
        /// `device_code_sign_in`
        DeviceCodeSignIn = "device_code_sign_in",
        /// `device_registered`
        DeviceRegistered = "device_registered",
        /// `session_anomaly`
        SessionAnomaly = "session_anomaly",
        /// `token_anomaly`
        TokenAnomaly = "token_anomaly",
        /// `credential_leaked`
        CredentialLeaked = "credential_leaked",
        /// `credential_changed`
        CredentialChanged = "credential_changed",
        /// `role_granted`
        RoleGranted = "role_granted",
        /// `account_locked`
        AccountLocked = "account_locked",
        /// `account_disabled`
        AccountDisabled = "account_disabled",
        /// `account_enabled`
        AccountEnabled = "account_enabled",
        /// `session_revoked`
        SessionRevoked = "session_revoked",
        /// `session_established`
        SessionEstablished = "session_established",
        /// `session_presented`
        SessionPresented = "session_presented",
        /// `identifier_changed`
        IdentifierChanged = "identifier_changed",
        /// `identifier_recycled`
        IdentifierRecycled = "identifier_recycled",
        /// `account_purged`
        AccountPurged = "account_purged",
        /// `risk_changed`
        RiskChanged = "risk_changed",
        /// `device_noncompliant`
        DeviceNoncompliant = "device_noncompliant",
        /// `user_reported_activity`
        UserReportedActivity = "user_reported_activity",
        /// `service_credential_added`
        ServiceCredentialAdded = "service_credential_added",
        /// `service_sign_in_anomaly`
        ServiceSignInAnomaly = "service_sign_in_anomaly",
        /// `secret_leaked`
        SecretLeaked = "secret_leaked",
        /// `interactive_use_of_service_account`
        InteractiveUseOfServiceAccount = "interactive_use_of_service_account",
        /// `detection`
        Detection = "detection",
        /// `source_degraded`
        SourceDegraded = "source_degraded",
        /// `own_credential_misuse`
        OwnCredentialMisuse = "own_credential_misuse",
    }
}

names! {
    /// What a signal may be used for; stated by the pack's mapping.
    Use {
        /// May trigger by itself where policy permits.
        Alone = "alone",
        /// Only inside a correlation.
        Join = "join",
        /// The vendor already stopped it: never asks for containment.
        Stop = "stop",
        /// Lowers or withdraws an earlier signal.
        Undo = "undo",
        /// Only feeds correlation and verification; carries no confidence.
        Fact = "fact",
    }
}

names! {
    /// Who can cause a kind: the ground of "nobody outside may lock anyone out".
    Reach {
        /// Needs nothing of the person: never more than observe.
        Outsider = "outsider",
        /// Needs the person's own act: at most challenge.
        Lure = "lure",
        /// Takes the person's credential, session or grant.
        Access = "access",
    }
}

names! {
    /// The family of a kind.
    Family {
        /// Mail.
        Mail = "mail",
        /// Identity.
        Identity = "identity",
        /// Non-human identities.
        NonHuman = "non_human",
        /// Any.
        Any = "any",
    }
}

impl Kind {
    /// The family that the kind belongs to.
    pub fn family(self) -> Family {
        match self {
            Self::PhishDelivered
            | Self::MalwareDelivered
            | Self::SuspiciousSender
            | Self::Impersonation
            | Self::UrlClick
            | Self::UrlClickBlocked
            | Self::AttachmentOpened
            | Self::CredentialSubmitted
            | Self::UserReported
            | Self::VerdictChanged
            | Self::MessageRemoved
            | Self::MessageDelivered
            | Self::MessageBlocked
            | Self::InternalPhishSent
            | Self::MailMassSend
            | Self::MailboxRuleCreated
            | Self::ForwardingEnabled
            | Self::MailboxDelegated => Family::Mail,
            Self::ServiceCredentialAdded
            | Self::ServiceSignInAnomaly
            | Self::SecretLeaked
            | Self::InteractiveUseOfServiceAccount => Family::NonHuman,
            Self::Detection | Self::SourceDegraded | Self::OwnCredentialMisuse => Family::Any,
            _ => Family::Identity,
        }
    }

    /// Who can cause it; total over the list.
    pub fn reach(self) -> Reach {
        match self {
            Self::UrlClick | Self::AttachmentOpened => Reach::Lure,
            Self::CredentialSubmitted
            | Self::InternalPhishSent
            | Self::MailMassSend
            | Self::MailboxRuleCreated
            | Self::ForwardingEnabled
            | Self::MailboxDelegated => Reach::Access,
            Self::Detection
            | Self::SourceDegraded
            | Self::SignInFailed
            | Self::MfaDenied
            | Self::MfaFatigue
            | Self::AccountLocked => Reach::Outsider,
            _ if self.family() == Family::Mail => Reach::Outsider,
            _ => Reach::Access,
        }
    }

    /// The OCSF 1.8 class that it maps to (`reference`: ocsf-schema).
    pub fn ocsf_class(self) -> u32 {
        match self {
            Self::SignIn
            | Self::SignInFailed
            | Self::SessionEstablished
            | Self::SessionPresented
            | Self::SessionRevoked => 3002,
            Self::CredentialChanged
            | Self::MfaMethodAdded
            | Self::MfaReset
            | Self::AccountLocked
            | Self::AccountDisabled
            | Self::AccountEnabled
            | Self::IdentifierChanged
            | Self::IdentifierRecycled
            | Self::AccountPurged => 3001,
            Self::OauthConsent | Self::RoleGranted => 3005,
            Self::ServiceCredentialAdded | Self::DeviceRegistered => 3004,
            Self::MessageDelivered | Self::MessageBlocked | Self::MessageRemoved => 4009,
            Self::SourceDegraded | Self::OwnCredentialMisuse => 6003,
            _ => 2004,
        }
    }

    /// The MITRE ATT&CK techniques that the kind speaks of, where one fits.
    pub fn techniques(self) -> &'static [&'static str] {
        match self {
            Self::PhishDelivered | Self::UrlClickBlocked => &["T1566"],
            Self::UrlClick => &["T1566.002", "T1204.001"],
            Self::MalwareDelivered | Self::AttachmentOpened => &["T1566.001"],
            Self::Impersonation | Self::SuspiciousSender => &["T1656"],
            Self::CredentialSubmitted => &["T1598"],
            Self::InternalPhishSent => &["T1534"],
            Self::MailboxRuleCreated => &["T1564.008"],
            Self::ForwardingEnabled => &["T1114.003"],
            Self::MailboxDelegated => &["T1098.002"],
            Self::AdversaryInTheMiddle => &["T1557"],
            Self::MfaDenied | Self::MfaFatigue => &["T1621"],
            Self::MfaMethodAdded | Self::MfaReset => &["T1556.006"],
            Self::OauthConsent | Self::OauthConsentRisky => &["T1528"],
            Self::SessionAnomaly => &["T1550.004"],
            Self::TokenAnomaly => &["T1550.001"],
            Self::SignInRisky | Self::ImpossibleTravel | Self::CredentialLeaked => &["T1078.004"],
            Self::DeviceRegistered => &["T1098.005"],
            Self::RoleGranted => &["T1098.003"],
            Self::ServiceCredentialAdded => &["T1098.001"],
            _ => &[],
        }
    }
}

names! {
    /// What else a signal names and that can be watched or counted.
    EntityKind {
        /// A sender's address.
        Sender = "sender",
        /// A domain name, lower case.
        Domain = "domain",
        /// A URL as the vendor wrote it.
        Url = "url",
        /// An IP address in canonical text.
        Ip = "ip",
        /// The provider's session id.
        Session = "session",
        /// A device id or fingerprint of the provider.
        Device = "device",
        /// A message id.
        Message = "message",
        /// An OAuth client id.
        OauthApp = "oauth_app",
        /// A user agent: the trait `client`.
        UserAgent = "user_agent",
        /// The vendor's id of a threat; what an undo of the same source refers to.
        Threat = "threat",
        /// The vendor's campaign id.
        Campaign = "campaign",
    }
}

/// One entity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, Encode, Decode)]
pub struct Entity {
    /// What it is.
    #[n(0)]
    pub kind: EntityKind,
    /// Its value, normalised by the decoder, at most 2,048 bytes.
    #[n(1)]
    pub value: String,
}

names! {
    /// How the source proved who it is.
    Provenance {
        /// We asked a configured host over TLS with our credential.
        Polled = "polled",
        /// HMAC over the body within the replay window.
        Hmac = "hmac",
        /// A bearer secret.
        Bearer = "bearer",
        /// A client certificate.
        Mtls = "mtls",
        /// A signed security event token.
        Set = "set",
        /// Read from a file by an operator: `decode`, `replay`.
        File = "file",
        /// Derived by Quell itself.
        Own = "own",
    }
}

names! {
    /// A named deviation found while authenticating or decoding.
    Anomaly {
        /// The click came from a known scanner or prefetcher.
        KnownScanner = "known_scanner",
        /// A member that the pack expects is missing.
        MissingMember = "missing_member",
        /// The record is written in a dialect that the pack knows but does not expect.
        Dialect = "dialect",
        /// The vendor's clocks disagree by more than the pack allows.
        Clock = "clock",
        /// The verdict came later than an hour after the event.
        LateVerdict = "late_verdict",
        /// An unknown value inside a known event type.
        UnknownValue = "unknown_value",
    }
}

/// The times of a signal, kept apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, Encode, Decode, Default)]
pub struct Times {
    /// When it happened; correlation uses it.
    #[n(0)]
    pub happened: Moment,
    /// When the vendor decided.
    #[n(1)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub judged: Option<Time>,
    /// When the vendor wrote the record; cursors and revisions use it.
    #[n(2)]
    pub written: Time,
}

/// One normalised statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Encode, Decode)]
pub struct Signal {
    /// See [`SignalId::of`].
    #[n(0)]
    pub id: SignalId,
    /// The configured source.
    #[n(1)]
    pub source: SourceName,
    /// What it states.
    #[n(2)]
    pub kind: Kind,
    /// What it may be used for.
    #[n(3)]
    #[serde(rename = "use")]
    pub usage: Use,
    /// 1 to 100; none for facts.
    #[n(4)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confidence: Option<u8>,
    /// Who it is about, strongest identifier first; empty when the record names no account.
    #[n(5)]
    pub about: Vec<Identifier>,
    /// See [`Times`].
    #[n(6)]
    pub times: Times,
    /// What else it names, sorted and without repetition.
    #[n(7)]
    pub entities: Vec<Entity>,
    /// Further fields that rules may match as `attr.<name>`; at most 32.
    #[n(8)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub attributes: BTreeMap<String, String>,
    /// Sorted, without repetition.
    #[n(9)]
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub anomalies: Vec<Anomaly>,
    /// How the source proved who it is.
    #[n(10)]
    pub provenance: Provenance,
    /// Digest of the record as received.
    #[n(11)]
    pub record: Digest,
    /// The record across its revisions: the source's record key, never a revision field.
    #[n(12)]
    pub record_key: String,
    /// For an undo: the entity kind through which it withdraws earlier signals of its source.
    #[n(13)]
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub withdraws: Option<EntityKind>,
}

impl Signal {
    /// The first entity value of a kind.
    pub fn entity(&self, kind: EntityKind) -> Option<&str> {
        self.entities.iter().find(|e| e.kind == kind).map(|e| e.value.as_str())
    }
}

/// A signal with the ids of the detection rules that it matches, sorted; the engine's input.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Encode, Decode)]
pub struct Matched {
    /// The signal; the engine keeps it without copying it.
    #[cbor(n(0), with = "shared")]
    pub signal: Arc<Signal>,
    /// Ids of the matched detection rules, sorted.
    #[n(1)]
    pub rules: Vec<String>,
}

/// A shared signal is written as the signal itself.
mod shared {
    use super::{Arc, Signal};
    use minicbor::decode::{self, Decode, Decoder};
    use minicbor::encode::{self, Encode, Encoder, Write};

    pub(super) fn encode<C, W: Write>(
        signal: &Arc<Signal>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        signal.as_ref().encode(e, ctx)
    }

    pub(super) fn decode<'b, C>(
        d: &mut Decoder<'b>,
        ctx: &mut C,
    ) -> Result<Arc<Signal>, decode::Error> {
        Signal::decode(d, ctx).map(Arc::new)
    }
}

names! {
    /// Why a record, or a part of it, gave no signal. Stored by name, bounded.
    RejectReason {
        /// The body is no JSON (or not of the declared encoding).
        Unparsable = "unparsable",
        /// The event type is not listed in the pack.
        UnlistedEvent = "unlisted_event",
        /// A member that identity or time rest on is missing or of the wrong type.
        MissingMember = "missing_member",
        /// A time that cannot be read.
        BadTime = "bad_time",
        /// An event time more than 5 minutes in the future.
        FutureTime = "future_time",
        /// Too large, too deep or too many parts.
        TooLarge = "too_large",
        /// The source may not speak for this tenant, domain or issuer.
        NotItsToSay = "not_its_to_say",
        /// A record of a known attack simulation: never a signal.
        Simulation = "simulation",
        /// What carries our own order id is never a signal.
        OwnOrder = "own_order",
    }
}

/// One record that gave no signal, kept bounded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Encode, Decode)]
pub struct Reject {
    /// The source.
    #[n(0)]
    pub source: SourceName,
    /// Why.
    #[n(1)]
    pub reason: RejectReason,
    /// One sentence in the user's words, at most 240 characters, control characters removed.
    #[n(2)]
    pub detail: String,
    /// Digest of the record as received.
    #[n(3)]
    pub record: Digest,
}

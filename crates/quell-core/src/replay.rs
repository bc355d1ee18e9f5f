//! Inputs as the journal keeps them: signals as CBOR, everything else as JSON. Fields are only
//! added; fixtures of every released version decode for ever.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::directory::Import;
use crate::effect::{CallId, Closing, Configured, Freeze, Input, Intake, Reply, TakeBack};
use crate::erase::Erase;
use crate::order::Outcome;
use crate::signal::{Matched, Reject};

/// The kinds of journal frames, stored as u16 and only appended to.
pub mod kind {
    /// Signals and rejects of one intake, with the records as received (CBOR).
    pub const SIGNALS: u16 = 1;
    /// A directory import (JSON).
    pub const DIRECTORY: u16 = 2;
    /// A person's answer (JSON).
    pub const ANSWER: u16 = 3;
    /// A claim (JSON).
    pub const CLAIM: u16 = 4;
    /// An outcome (JSON).
    pub const OUTCOME: u16 = 5;
    /// A freeze (JSON).
    pub const FREEZE: u16 = 6;
    /// An undo (JSON).
    pub const TAKE_BACK: u16 = 7;
    /// A restart (JSON).
    pub const RESTARTED: u16 = 8;
    /// A configuration (JSON).
    pub const CONFIGURED: u16 = 9;
    /// A tick (JSON).
    pub const TICK: u16 = 10;
    /// A claimed call that did not leave (JSON).
    pub const UNSENT: u16 = 11;
    /// A person is to be forgotten, or was (JSON).
    pub const ERASE: u16 = 12;
    /// A closed case (JSON).
    pub const CLOSE: u16 = 13;
}

/// A frame that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The kind is not known to this version.
    #[error("frame kind {0} is not known to this version")]
    Kind(u16),
    /// The body does not decode.
    #[error("frame of kind {kind} cannot be read: {cause}")]
    Body {
        /// The kind.
        kind: u16,
        /// Why.
        cause: String,
    },
}

#[derive(Encode)]
struct IntakeOut<'a> {
    #[n(0)]
    source: &'a str,
    #[n(1)]
    matched: &'a Vec<Matched>,
    #[n(2)]
    rejects: &'a Vec<Reject>,
    #[n(3)]
    raw: Vec<&'a minicbor::bytes::ByteSlice>,
    /// How many signals are gone, or have lost a name; none where nothing was erased.
    #[n(5)]
    erased: Option<u64>,
}

#[derive(Decode)]
struct IntakeIn {
    #[n(0)]
    source: String,
    #[n(1)]
    matched: Vec<Matched>,
    #[n(2)]
    rejects: Vec<Reject>,
    #[n(3)]
    raw: Vec<minicbor::bytes::ByteVec>,
    #[n(5)]
    erased: Option<u64>,
}

/// The frame of an input: its kind and body.
pub fn encode(input: &Input) -> (u16, Vec<u8>) {
    let json = |kind, value: Option<Vec<u8>>| (kind, value.unwrap_or_default());
    match input {
        Input::Signals(intake) => (kind::SIGNALS, encode_intake(intake, None)),
        Input::Directory(import) => json(kind::DIRECTORY, bytes(import)),
        Input::Answer(reply) => json(kind::ANSWER, bytes(reply)),
        Input::Claim(call) => json(kind::CLAIM, bytes(call)),
        Input::Outcome(outcome) => json(kind::OUTCOME, bytes(outcome)),
        Input::Freeze(freeze) => json(kind::FREEZE, bytes(freeze)),
        Input::TakeBack(back) => json(kind::TAKE_BACK, bytes(back)),
        Input::Restarted => (kind::RESTARTED, b"{}".to_vec()),
        Input::Configured(configured) => json(kind::CONFIGURED, bytes(configured)),
        Input::Tick => (kind::TICK, b"{}".to_vec()),
        Input::Unsent(call) => json(kind::UNSENT, bytes(call)),
        Input::Erase(erase) => json(kind::ERASE, bytes(erase)),
        Input::Close(closing) => json(kind::CLOSE, bytes(closing)),
    }
}

/// The body of an intake; `erased` says how much of it is gone.
pub(crate) fn encode_intake(intake: &Intake, erased: Option<u64>) -> Vec<u8> {
    let out = IntakeOut {
        source: &intake.source,
        matched: &intake.matched,
        rejects: &intake.rejects,
        raw: intake.raw.iter().map(|raw| raw.as_slice().into()).collect(),
        erased,
    };
    // Grown once: records as received, and about as much for their signals.
    let long: usize = intake.raw.iter().map(Vec::len).sum();
    let mut body = Vec::with_capacity(long.saturating_mul(2));
    let encoded = minicbor::encode(out, &mut body);
    encoded.map(|()| body).unwrap_or_default()
}

/// The intake of a body, and how much of it is gone.
pub(crate) fn decode_intake(body: &[u8]) -> Result<(Intake, u64), Unreadable> {
    let read: IntakeIn = minicbor::decode(body)
        .map_err(|e| Unreadable::Body { kind: kind::SIGNALS, cause: e.to_string() })?;
    let intake = Intake {
        source: read.source,
        matched: read.matched,
        rejects: read.rejects,
        raw: read.raw.into_iter().map(Vec::from).collect(),
    };
    Ok((intake, read.erased.unwrap_or_default()))
}

/// The input of a frame.
///
/// # Errors
/// [`Unreadable`] for an unknown kind or a body that does not decode; never a panic.
pub fn decode(kind: u16, body: &[u8]) -> Result<Input, Unreadable> {
    Ok(match kind {
        kind::SIGNALS => Input::Signals(decode_intake(body)?.0),
        kind::DIRECTORY => Input::Directory(json::<Import>(kind, body)?),
        kind::ANSWER => Input::Answer(json::<Reply>(kind, body)?),
        kind::CLAIM => Input::Claim(json::<CallId>(kind, body)?),
        kind::OUTCOME => Input::Outcome(json::<Outcome>(kind, body)?),
        kind::FREEZE => Input::Freeze(json::<Freeze>(kind, body)?),
        kind::TAKE_BACK => Input::TakeBack(json::<TakeBack>(kind, body)?),
        kind::RESTARTED => Input::Restarted,
        kind::CONFIGURED => Input::Configured(json::<Configured>(kind, body)?),
        kind::TICK => Input::Tick,
        kind::UNSENT => Input::Unsent(json::<CallId>(kind, body)?),
        kind::ERASE => Input::Erase(json::<Erase>(kind, body)?),
        kind::CLOSE => Input::Close(json::<Closing>(kind, body)?),
        other => return Err(Unreadable::Kind(other)),
    })
}

fn bytes<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

fn json<'a, T: Deserialize<'a>>(kind: u16, body: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(body).map_err(|e| Unreadable::Body { kind, cause: e.to_string() })
}

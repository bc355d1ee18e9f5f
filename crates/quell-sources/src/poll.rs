//! Sources room: what polling a vendor gives, whatever the vendor. Holds no state: the cursor is
//! the caller's, committed with its page.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use quell_core::time::Time;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Asks a vendor for what is new.
pub trait Poll {
    /// Asks for the page after `cursor`. `now` is the caller's clock.
    ///
    /// # Errors
    /// See [`PollFault`]; the cursor stays as it was.
    ///
    /// # Crash
    /// Nothing has happened. The caller commits the page and its cursor in one transaction; a page
    /// that was not committed is asked for again.
    fn next(
        &self,
        cursor: &Cursor,
        now: Time,
    ) -> impl Future<Output = Result<Page, PollFault>> + Send;
}

/// Where polling goes on. Serialisable; fields are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cursor {
    /// The vendor's own link to what comes next, as it was given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub link: Option<String>,
    /// From when to ask where there is no link.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Time>,
    /// The greatest time that any record of any page was published at.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub published: Option<Time>,
    /// Records to ask for at once, where it must be fewer than usual.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u16>,
}

impl Cursor {
    /// A cursor that starts at a time.
    pub fn starting(since: Time) -> Self {
        Self { since: Some(since), ..Self::default() }
    }

    /// The same cursor with half the records at once; none where it asks for the fewest already.
    /// `most` is what the vendor gives when no number is named.
    pub fn with_fewer(&self, most: u16, fewest: u16) -> Option<Self> {
        let limit = self.limit.unwrap_or(most);
        let half = (limit / 2).max(fewest);
        (half < limit).then(|| Self { limit: Some(half), ..self.clone() })
    }
}

/// One page, to be decoded and committed with its cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The body as received: records for [`crate::Pack::decode`].
    pub body: Vec<u8>,
    /// Where polling goes on.
    pub next: Cursor,
    /// What to do next.
    pub state: PageState,
    /// The vendor's allowance is nearly used up: ask again no earlier.
    pub not_before: Option<Time>,
}

/// What a page says about the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// There may be more at once.
    More,
    /// Nothing is left for the moment.
    CaughtUp,
    /// The vendor no longer knew the link; the new cursor starts a little before the last record.
    Restarted,
    /// As `Restarted`, but older records than the vendor keeps are missing: the source is degraded.
    Gap,
}

/// Why there is no page. Holds no secret and no text of the vendor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PollFault {
    /// 401 or 403.
    #[error("the credential is refused with status {0}")]
    Credential(u16),
    /// The secret could not be resolved.
    #[error("the secret cannot be resolved: {0}")]
    Secret(String),
    /// 429.
    #[error("the vendor's rate limit is used up until {until}")]
    Throttled {
        /// When to ask again.
        until: Time,
    },
    /// 400, 404 or another status that asking again does not change.
    #[error("the request is refused with status {0}")]
    Refused(u16),
    /// A status from 500 on.
    #[error("the vendor fails with status {0}")]
    Server(u16),
    /// No connection, no answer in time, or the answer breaks off.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// An answer that is no list of records.
    #[error("an answer that is no list of records: {0}")]
    Garbage(String),
    /// A page over the cap; the cursor asks for fewer records.
    #[error("a page over the limit of 16 MiB")]
    TooLarge {
        /// The cursor to ask with.
        retry: Box<Cursor>,
    },
    /// A page over the cap although it has the fewest records that can be asked for.
    #[error("the smallest page is over the limit of 16 MiB")]
    TooLargeStill,
    /// The link to the next page leads to another host.
    #[error("the link to the next page leads to another place than the configured one")]
    ForeignLink,
}

/// What to do after a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// Ask again with a growing pause.
    BackOff,
    /// Ask again at the given time.
    WaitUntil(Time),
    /// Ask again at once with another cursor.
    AskWith(Box<Cursor>),
    /// The source is degraded until somebody acts; ask again with the longest pause.
    Degraded,
}

impl PollFault {
    /// What to do about it.
    pub fn next_step(&self) -> NextStep {
        match self {
            Self::Credential(_)
            | Self::Secret(_)
            | Self::Refused(_)
            | Self::TooLargeStill
            | Self::ForeignLink => NextStep::Degraded,
            Self::Throttled { until } => NextStep::WaitUntil(*until),
            Self::TooLarge { retry } => NextStep::AskWith(retry.clone()),
            Self::Server(_) | Self::Unreachable(_) | Self::Garbage(_) => NextStep::BackOff,
        }
    }

    /// The reason of a `source_degraded`, where the source is degraded at once.
    pub fn degraded(&self) -> Option<String> {
        (self.next_step() == NextStep::Degraded).then(|| self.to_string())
    }
}

/// Resolves a secret when it is needed, so that a rotated one is used at once.
#[derive(Clone)]
pub struct SecretRef(Arc<dyn Fn() -> Result<String, String> + Send + Sync>);

impl SecretRef {
    /// A reference that `resolve` answers; the error text must not hold the secret.
    pub fn new(resolve: impl Fn() -> Result<String, String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(resolve))
    }

    pub(crate) fn resolve(&self) -> Result<String, PollFault> {
        let secret = (self.0)().map_err(PollFault::Secret)?;
        let secret = secret.trim();
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(PollFault::Secret("it is empty or has spaces inside".to_owned()));
        }
        Ok(secret.to_owned())
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretRef(..)")
    }
}

//! Okta: what the System Log says about one user. Reads only; event names and members are
//! Okta's (System Log API, event types).

use std::collections::BTreeSet;

use quell_core::order::{Call, Fault};
use quell_core::time::{MINUTE, Time};
use serde_json::Value;

use super::Okta;
use super::tokens::LOG_PAGE;
use crate::target::{Refusal, Trace};
use crate::text::encode;

/// How far the vendor's clock may be ahead of ours, microseconds.
const AHEAD: i64 = 5 * MINUTE;

/// What of the log was read about one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// The events, in the log's order.
    pub(super) events: Vec<LogEvent>,
    /// Everything since the asked time was read and could be understood.
    pub(super) complete: bool,
    /// The vendor's clock, whole seconds.
    pub(super) date: Option<Time>,
}

/// One event that the user caused or that was done to him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LogEvent {
    /// `eventType`.
    pub(super) kind: String,
    /// `published`.
    pub(super) published: Time,
    /// `outcome.result` is `SUCCESS` or `ALLOW`.
    pub(super) success: bool,
    /// The user is the actor.
    pub(super) by_user: bool,
    /// The user is among the targets.
    pub(super) on_user: bool,
    /// `authenticationContext.externalSessionId`.
    pub(super) session: Option<String>,
    /// `client.userAgent.rawUserAgent`: ours carries the order id.
    pub(super) agent: String,
}

impl LogEvent {
    /// All sessions of the user were cleared.
    pub(super) fn clears(&self) -> bool {
        self.kind == "user.session.clear" && self.success && self.on_user
    }

    /// The user got in, or stayed in: a session started or was used, a token was issued.
    pub(super) fn gets_in(&self) -> bool {
        let token = self.kind.starts_with("app.oauth2") && self.kind.contains(".token.grant");
        let session = self.by_user
            && matches!(self.kind.as_str(), "user.session.start" | "user.authentication.sso");
        self.success && (token || session)
    }
}

impl Log {
    /// Sessions that were started and neither ended nor cleared since, by the log alone.
    pub(super) fn live_sessions(&self) -> usize {
        let mut live = BTreeSet::new();
        for event in &self.events {
            match event.kind.as_str() {
                _ if event.clears() => live.clear(),
                "user.session.start" if event.success && event.by_user => {
                    live.extend(event.session.as_deref());
                }
                "user.session.end" | "user.session.expire" => {
                    if let Some(session) = event.session.as_deref() {
                        live.remove(session);
                    }
                }
                _ => {}
            }
        }
        live.len()
    }
}

impl Okta {
    /// The user's events since a time; none when our credential may not read the log.
    ///
    /// A quick look reads one page, the newest: what began in it and did not end in it is alive.
    /// What it cannot understand might be such an end, so that it then says nothing at all.
    pub(super) async fn log(
        &self,
        call: &Call,
        quick: bool,
        since: Time,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Option<Log>, Refusal> {
        let id = &call.account.id;
        let filter = encode(&format!("actor.id eq \"{id}\" or target.id eq \"{id}\""));
        let since = encode(&milliseconds(since));
        let path = if quick {
            let until = encode(&milliseconds(now.plus(AHEAD)));
            format!(
                "/api/v1/logs?since={since}&until={until}&sortOrder=DESCENDING&limit={LOG_PAGE}\
                 &filter={filter}"
            )
        } else {
            // a polling request (no `until`): ordered by commit, so that no late event is missed
            format!(
                "/api/v1/logs?since={since}&sortOrder=ASCENDING&limit={LOG_PAGE}&filter={filter}"
            )
        };
        let pages = match self.pages(&path, LOG_PAGE, quick, call, now, trace).await {
            Ok(pages) => pages,
            Err(refusal) if refusal.fault == Fault::NoPermission => return Ok(None),
            Err(refusal) => return Err(refusal),
        };
        let mut log = Log { events: Vec::new(), complete: pages.complete, date: pages.date };
        let mut understood = true;
        for item in &pages.items {
            match read(item, id) {
                Some(event) => log.events.push(event),
                None => understood = false,
            }
        }
        log.complete &= understood;
        if quick {
            // Newest first as asked for, or nothing is known of what came after.
            let falls = log.events.is_sorted_by(|a, b| a.published >= b.published);
            log.events.reverse();
            if !understood || !(falls || log.complete) {
                log.events.clear();
            }
        }
        log.events.sort_by_key(|event| event.published);
        Ok(Some(log))
    }
}

/// One LogEvent; none when a member that we rest on is missing.
fn read(item: &Value, user: &str) -> Option<LogEvent> {
    let text = |pointer: &str| item.pointer(pointer).and_then(Value::as_str);
    let result = text("/outcome/result").unwrap_or_default();
    let targets = item.get("target").and_then(Value::as_array);
    let on_user = |target: &Value| target.get("id").and_then(Value::as_str) == Some(user);
    Some(LogEvent {
        on_user: targets.is_some_and(|targets| targets.iter().any(on_user)),
        kind: text("/eventType")?.to_owned(),
        published: Time::parse(text("/published")?)?.t,
        success: matches!(result, "SUCCESS" | "ALLOW"),
        by_user: text("/actor/id") == Some(user),
        session: text("/authenticationContext/externalSessionId")
            .filter(|id| !id.is_empty() && *id != "unknown")
            .map(str::to_owned),
        agent: text("/client/userAgent/rawUserAgent").unwrap_or_default().to_owned(),
    })
}

/// RFC 3339 with three digits, as Okta writes it; cut, never rounded up.
fn milliseconds(t: Time) -> String {
    let whole = t.to_string();
    match whole.split_at_checked(23) {
        Some((head, _)) => format!("{head}Z"),
        None => whole,
    }
}

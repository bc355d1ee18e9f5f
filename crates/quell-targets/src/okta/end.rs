//! Okta: end all sessions (with or without the OAuth tokens) and prove it as far as Okta lets us.
//!
//! Okta has no call that lists sessions for an administrator. Done means: no refresh token is
//! listed, the clearing is in the System Log, and in the quiet time after it the log shows no
//! further success of the user. It is proof only if the probe saw something alive before.

use quell_core::action::Action;
use quell_core::order::{Answer, Call};
use quell_core::time::{HOUR, MINUTE, SECOND, Time};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::log::Log;
use super::tokens::Tokens;
use super::{Okta, user_path};
use crate::target::{Refusal, Said, Trace, snapshot};
use crate::vendor::{Ask, agent};

/// What the probe keeps: the positive control of the read-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    /// The System Log could be read.
    log: bool,
    /// Sessions alive by the log.
    sessions: usize,
    /// Refresh tokens listed; at least this many.
    tokens: usize,
}

/// How far the clocks may differ before the log query would miss the clearing, microseconds.
const CLOCKS: i64 = 5 * MINUTE;

/// The ending call. `oauthTokens` defaults to false at Okta and `forgetDevices` depends on the
/// engine, so both are always written; 204 alone means success.
fn ask(call: &Call, tokens: bool) -> Result<Ask, Refusal> {
    let user = user_path(call)?;
    let path = format!("{user}/sessions?oauthTokens={tokens}&forgetDevices=true");
    let mut ask = Ask::act(Method::DELETE, path, &agent(call));
    ask.expected = vec![204];
    Ok(ask)
}

impl Okta {
    pub(super) async fn probe_end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let since = now.plus(-self.session_age);
        let (tokens, log) = self.both(call, true, since, now, trace).await?;
        let sessions = log.as_ref().map_or(0, Log::live_sessions);
        let snapshot = Snapshot { log: log.is_some(), sessions, tokens: tokens.count };
        let detail = match snapshot.log {
            true => format!("{sessions} live sessions in the log, {} tokens listed", tokens.count),
            false => format!("{} tokens listed, the log may not be read", tokens.count),
        };
        let alive = tokens.count > 0 || sessions > 0;
        let snapshot = serde_json::to_string(&snapshot).ok();
        Ok(Said::new(Answer::Before { alive, already: false, snapshot }, detail))
    }

    pub(super) async fn end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        self.client.send(ask(call, call.action == Action::EndSessions)?, now, trace).await?;
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    pub(super) async fn read_back_end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let since = match call.sent_at {
            Some(sent) => sent.plus(-CLOCKS),
            // the outcome of the sending was lost: only our order id can name the clearing
            None => now.plus(-24 * HOUR),
        };
        let (tokens, log) = self.both(call, false, since, now, trace).await?;
        let control: Option<Snapshot> = snapshot(call);
        let with_tokens = call.action == Action::EndSessions;
        let view = View {
            tokens,
            log: log.as_ref(),
            order: call.order.to_string(),
            sent_at: call.sent_at,
            acknowledged_at: call.acknowledged_at,
            now,
            control: control.is_some_and(|was| was.tokens > 0 || was.sessions > 0),
            tokens_before: with_tokens && control.is_some_and(|was| was.tokens > 0),
            with_tokens,
            quiet: self.quiet,
            lag: self.log_lag,
        };
        let (done, conclusive, detail) = view.judge();
        Ok(Said::new(Answer::Seen { done, conclusive }, detail))
    }

    /// Tokens and log side by side: containment waits for this.
    async fn both(
        &self,
        call: &Call,
        any: bool,
        since: Time,
        now: Time,
        trace: &mut Trace,
    ) -> Result<(Tokens, Option<Log>), Refusal> {
        if call.action == Action::ForceReauth {
            let none = Tokens { count: 0, complete: true };
            return Ok((none, self.log(call, any, since, now, trace).await?));
        }
        let mut second = Trace::default();
        let (tokens, log) = tokio::join!(
            self.tokens(call, any, now, trace),
            self.log(call, any, since, now, &mut second),
        );
        // the tokens' answer stands in the outcome when it is the one that failed
        if tokens.is_ok() {
            trace.merge(second);
        } else {
            second.merge(std::mem::take(trace));
            *trace = second;
        }
        Ok((tokens?, log?))
    }
}

/// Everything that the verdict rests on.
struct View<'a> {
    tokens: Tokens,
    log: Option<&'a Log>,
    order: String,
    sent_at: Option<Time>,
    acknowledged_at: Option<Time>,
    now: Time,
    control: bool,
    /// The probe saw tokens listed, and they are what is ended.
    tokens_before: bool,
    with_tokens: bool,
    quiet: i64,
    lag: i64,
}

impl View<'_> {
    /// (done, conclusive, why).
    fn judge(&self) -> (bool, bool, String) {
        let asked = self.acknowledged_at.or(self.sent_at);
        let late = asked.is_none_or(|asked| self.now >= asked.plus(self.lag));
        let cleared = self.log.and_then(|log| self.cleared(log));
        if self.tokens.count > 0 {
            let why = format!("{} refresh tokens are still listed", self.tokens.count);
            return (false, late || cleared.is_some(), why);
        }
        let Some(log) = self.log else {
            let why = "no refresh token is listed; the log may not be read";
            let done = self.acknowledged_at.is_some() || self.tokens_before;
            return (done, false, why.to_owned());
        };
        let Some(cleared) = cleared else {
            let why = "the clearing is not in the log";
            return (false, late && log.complete, why.to_owned());
        };
        let again = log.events.iter().find(|e| e.published >= cleared && e.gets_in());
        if let Some(event) = again.filter(|_| self.with_tokens) {
            let why = format!("`{}` at {} succeeded after the end", event.kind, event.published);
            return (false, true, why);
        }
        let settled = whole_second_after(asked.unwrap_or(cleared));
        let quiet_until = settled.plus(if self.with_tokens { self.quiet } else { 0 });
        if self.with_tokens && self.now < quiet_until {
            return (false, false, format!("cleared at {cleared}; quiet until {quiet_until}"));
        }
        if !log.complete || !self.tokens.complete {
            return (true, false, format!("cleared at {cleared}; not everything was listed"));
        }
        if !self.control {
            return (true, false, format!("cleared at {cleared}; nothing was seen alive before"));
        }
        (true, true, format!("cleared at {cleared}; no further success since"))
    }

    /// When the newest clearing that can be ours was written, by the vendor's clock: it carries
    /// our order id, or it is not older than the whole second in which we sent. A vendor's clock
    /// that runs behind ours is allowed for through its `Date`.
    fn cleared(&self, log: &Log) -> Option<Time> {
        let behind = match log.date {
            Some(date) => date.plus(SECOND).since(self.now).min(0),
            None => 0,
        };
        let not_before = self.sent_at.map(|sent| whole_second(sent).plus(behind));
        let ours = |event: &&super::log::LogEvent| {
            let named = event.agent.contains(&self.order);
            event.clears() && (named || not_before.is_some_and(|t| event.published >= t))
        };
        log.events.iter().filter(ours).map(|event| event.published).max()
    }
}

fn whole_second(t: Time) -> Time {
    Time(t.0.div_euclid(SECOND).saturating_mul(SECOND))
}

fn whole_second_after(t: Time) -> Time {
    whole_second(t).plus(SECOND)
}

#[cfg(test)]
mod tests {
    use super::super::log::LogEvent;
    use super::*;
    use expect_test::{Expect, expect};

    const SENT: i64 = 1_000 * SECOND + 400_000;

    fn event(kind: &str, at: i64, by_user: bool, agent: &str) -> LogEvent {
        LogEvent {
            kind: kind.to_owned(),
            published: Time(at),
            success: true,
            by_user,
            on_user: !by_user,
            session: None,
            agent: agent.to_owned(),
        }
    }

    fn clear(at: i64) -> LogEvent {
        event("user.session.clear", at, false, "quell/1 (ord_x; execute 1)")
    }

    fn view<'a>(log: &'a Log, now: i64) -> View<'a> {
        View {
            tokens: Tokens { count: 0, complete: true },
            log: Some(log),
            order: "ord_x".to_owned(),
            sent_at: Some(Time(SENT)),
            acknowledged_at: Some(Time(SENT + 100_000)),
            now: Time(now),
            control: true,
            tokens_before: true,
            with_tokens: true,
            quiet: 2 * SECOND,
            lag: 60 * SECOND,
        }
    }

    fn log(events: Vec<LogEvent>) -> Log {
        Log { events, complete: true, date: None }
    }

    fn check(view: &View<'_>, want: &Expect) {
        let (done, conclusive, why) = view.judge();
        want.assert_eq(&format!("done {done}, conclusive {conclusive}: {why}"));
    }

    #[test]
    fn proof_needs_the_clearing_the_quiet_and_the_control() {
        let cleared = log(vec![clear(SENT + 50_000)]);
        let late = SENT + 10 * SECOND;
        check(
            &view(&cleared, late),
            &expect![
                "done true, conclusive true: cleared at 1970-01-01T00:16:40.450000Z; \
                 no further success since"
            ],
        );
        check(
            &view(&cleared, SENT + SECOND),
            &expect![
                "done false, conclusive false: cleared at 1970-01-01T00:16:40.450000Z; \
                 quiet until 1970-01-01T00:16:43.000000Z"
            ],
        );
        check(
            &View { control: false, ..view(&cleared, late) },
            &expect![
                "done true, conclusive false: cleared at 1970-01-01T00:16:40.450000Z; \
                 nothing was seen alive before"
            ],
        );
        check(
            &View { tokens: Tokens { count: 2, complete: true }, ..view(&cleared, late) },
            &expect!["done false, conclusive true: 2 refresh tokens are still listed"],
        );
        check(
            &View { log: None, ..view(&cleared, late) },
            &expect![
                "done true, conclusive false: no refresh token is listed; the log may not be read"
            ],
        );
    }

    #[test]
    fn without_the_log_an_unanswered_call_is_known_by_the_tokens_alone() {
        let cleared = log(vec![]);
        let blind = |tokens_before| View {
            log: None,
            acknowledged_at: None,
            tokens_before,
            ..view(&cleared, SENT + 90 * SECOND)
        };
        let told = |view: View<'_>| (view.judge().0, view.judge().1);
        assert_eq!(told(blind(true)), (true, false));
        assert_eq!(told(blind(false)), (false, false));
    }

    #[test]
    fn a_success_after_the_clearing_says_not_done() {
        let refresh = event("app.oauth2.token.grant.refresh_token", SENT + SECOND, false, "");
        let survived = log(vec![clear(SENT + 50_000), refresh.clone()]);
        let late = SENT + 10 * SECOND;
        check(
            &view(&survived, late),
            &expect![
                "done false, conclusive true: `app.oauth2.token.grant.refresh_token` at \
                 1970-01-01T00:16:41.400000Z succeeded after the end"
            ],
        );
        // forced reauthentication wants the next sign-in
        let again = event("user.session.start", SENT + SECOND, true, "");
        let signed_in = log(vec![clear(SENT + 50_000), again]);
        check(
            &View { with_tokens: false, ..view(&signed_in, late) },
            &expect![
                "done true, conclusive true: cleared at 1970-01-01T00:16:40.450000Z; \
                 no further success since"
            ],
        );
        // a second clearing ends what came before it
        let twice = log(vec![clear(SENT + 50_000), refresh, clear(SENT + 2 * SECOND)]);
        check(
            &view(&twice, late),
            &expect![
                "done true, conclusive true: cleared at 1970-01-01T00:16:42.400000Z; \
                 no further success since"
            ],
        );
    }

    #[test]
    fn a_missing_clearing_is_absence_only_after_the_lag() {
        let none = log(vec![]);
        let absent = "the clearing is not in the log";
        check(
            &view(&none, SENT + SECOND),
            &expect!["done false, conclusive false: the clearing is not in the log"],
        );
        check(
            &view(&none, SENT + 61 * SECOND),
            &expect!["done false, conclusive true: the clearing is not in the log"],
        );
        // tokens that are listed before anything is cleared say nothing yet
        let listed = |now| View { tokens: Tokens { count: 1, complete: true }, ..view(&none, now) };
        let why = "1 refresh tokens are still listed".to_owned();
        assert_eq!(listed(SENT + SECOND).judge(), (false, false, why.clone()));
        assert_eq!(listed(SENT + 61 * SECOND).judge(), (false, true, why));
        // an older clearing by somebody else is none of ours
        let foreign = event("user.session.clear", SENT - 5 * SECOND, false, "browser");
        let older = log(vec![foreign.clone()]);
        assert_eq!(view(&older, SENT + 61 * SECOND).judge(), (false, true, absent.to_owned()));
        // the vendor's clock runs 30 s behind ours: the same event can be ours
        let behind = Log { date: Some(Time(SENT - 25 * SECOND)), ..log(vec![foreign]) };
        assert!(view(&behind, SENT + 5 * SECOND).judge().0);
        // the order id names it whatever the clocks say, and even when the sending was forgotten
        let named = log(vec![clear(SENT - 90 * SECOND)]);
        let forgotten = View { sent_at: None, acknowledged_at: None, ..view(&named, SENT) };
        assert!(forgotten.judge().0);
    }

    #[test]
    fn live_sessions_are_counted_from_the_log() {
        let start = |at, session: &str| LogEvent {
            session: Some(session.to_owned()),
            ..event("user.session.start", at, true, "")
        };
        let end = |at, session: &str| LogEvent {
            session: Some(session.to_owned()),
            ..event("user.session.end", at, true, "")
        };
        let check = |events: Vec<LogEvent>, want: usize| {
            assert_eq!(log(events).live_sessions(), want);
        };
        check(vec![start(1, "a"), start(2, "b")], 2);
        check(vec![start(1, "a"), start(2, "b"), end(3, "a")], 1);
        check(vec![start(1, "a"), clear(2), start(3, "b")], 1);
        check(vec![start(1, "a"), clear(2)], 0);
        check(vec![LogEvent { success: false, ..start(1, "a") }], 0);
    }
}

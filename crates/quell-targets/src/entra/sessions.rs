//! Entra ID: revoke the sign-in sessions of a user and prove it as far as Graph lets us.
//!
//! Nobody can list a user's sessions at Graph. What can be read is the time from which sessions are
//! valid: refresh tokens and session cookies that were issued before it are refused. It moves in
//! whole seconds, so that what was issued within its second lives on: where it did not get past the
//! second in which we first looked, the end is not done and is repeated.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::{SECOND, Time};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Entra;
use super::graph::{VERSION, act, object_id};
use crate::target::{Refusal, Said, Trace, snapshot};

/// What the probe keeps: the positive control of the read-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    /// Sessions of after this time were valid; none when it could not be read.
    valid_from: Option<Time>,
    /// When we looked, by the vendor's clock where he told it: what lived then is to end.
    looked_at: Time,
}

impl Entra {
    pub(super) async fn probe_end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let user = self.user(call, now, trace).await?;
        if user.guest {
            let detail = "the sessions of a guest are kept by the tenant that he comes from";
            return Err(Refusal::new(Fault::Unsupported, detail));
        }
        let looked_at = user.date.unwrap_or(now);
        let snapshot = Snapshot { valid_from: user.valid_from, looked_at };
        let detail = match user.valid_from {
            Some(from) => format!("sessions issued since {from} are valid"),
            None => "the time from which sessions are valid cannot be read".to_owned(),
        };
        // another revocation in our very second is no end of ours: never "already"
        let answer = Answer::Before {
            alive: user.valid_from.is_some(),
            already: false,
            snapshot: serde_json::to_string(&snapshot).ok(),
        };
        Ok(Said::new(answer, detail))
    }

    pub(super) async fn end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let path = format!("{VERSION}/users/{}/revokeSignInSessions", object_id(call)?);
        let reply = self.graph(act(Method::POST, path, None, call), now, trace).await?;
        reply.json_or_nothing()?;
        let told = serde_json::from_slice::<Value>(&reply.body).ok();
        if told.as_ref().and_then(|told| told.get("value")) == Some(&Value::Bool(false)) {
            let why = "the answer says that nothing was revoked";
            return Err(Refusal::new(Fault::Indeterminate, why));
        }
        Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
    }

    pub(super) async fn read_back_end(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let user = self.user(call, now, trace).await?;
        let before: Option<Snapshot> = snapshot(call);
        let view = View {
            valid_from: user.valid_from,
            before,
            sent_at: call.sent_at,
            acknowledged_at: call.acknowledged_at,
            date: user.date,
            now,
            effect: self.effect,
            lag: self.lag,
        };
        let (done, conclusive, detail) = view.judge();
        Ok(Said::new(Answer::Seen { done, conclusive }, detail))
    }
}

/// Everything that the verdict rests on.
#[derive(Debug, Clone, Copy)]
struct View {
    valid_from: Option<Time>,
    before: Option<Snapshot>,
    sent_at: Option<Time>,
    acknowledged_at: Option<Time>,
    /// The vendor's clock, whole seconds.
    date: Option<Time>,
    now: Time,
    effect: i64,
    lag: i64,
}

impl View {
    /// (done, conclusive, why).
    fn judge(&self) -> (bool, bool, String) {
        let asked = self.acknowledged_at.or(self.sent_at);
        let after = |delay: i64| asked.is_none_or(|asked| self.now >= asked.plus(delay));
        let late = after(self.effect.saturating_add(self.lag));
        let Some(from) = self.valid_from else {
            let why = "the time from which sessions are valid cannot be read";
            return (self.acknowledged_at.is_some(), false, why.to_owned());
        };
        let sent = self.sent_at.map(|sent| whole_second(sent.plus(self.behind())));
        let old = self.before.and_then(|before| before.valid_from);
        if sent.is_some_and(|sent| from < sent) || old.is_some_and(|old| from <= old) {
            return (false, late, format!("sessions issued since {from} are still valid"));
        }
        // Without the look of before, the sending is the latest time of which something is known.
        let looked_at = self.before.map(|before| whole_second(before.looked_at));
        if looked_at.or(sent).is_none_or(|looked_at| from <= looked_at) {
            let why = format!("what was issued within the second of {from} is still valid");
            return (false, late, why);
        }
        let by_vendor = self.date.unwrap_or(self.now);
        if by_vendor < from.plus(SECOND) || !after(self.effect) {
            return (false, false, format!("valid from {from}, takes effect within minutes"));
        }
        let why = format!(
            "sessions and refresh tokens issued before {from} are refused; access tokens that are \
             out live on until they expire"
        );
        (true, old.is_some(), why)
    }

    /// By how much the vendor's clock is behind ours, at most: `Date` is cut to whole seconds.
    fn behind(&self) -> i64 {
        self.date.map_or(0, |date| date.plus(SECOND).since(self.now).min(0))
    }
}

fn whole_second(t: Time) -> Time {
    Time(t.0.div_euclid(SECOND).saturating_mul(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const MINUTE: i64 = 60 * SECOND;
    const LOOKED: Time = Time(1_000 * SECOND + 100_000);
    const SENT: Time = Time(1_000 * SECOND + 400_000);

    fn view(valid_from: i64, now: i64) -> View {
        View {
            valid_from: Some(Time(valid_from * SECOND)),
            before: Some(Snapshot { valid_from: Some(Time(10 * SECOND)), looked_at: LOOKED }),
            sent_at: Some(SENT),
            acknowledged_at: Some(SENT.plus(100_000)),
            date: None,
            now: Time(now * SECOND),
            effect: 3 * MINUTE,
            lag: MINUTE,
        }
    }

    fn check(view: View, want: &Expect) {
        let (done, conclusive, why) = view.judge();
        want.assert_eq(&format!("done {done}, conclusive {conclusive}: {why}"));
    }

    #[test]
    fn proof_needs_a_later_second_the_delay_and_the_control() {
        let proof = expect![[
            r#"done true, conclusive true: sessions and refresh tokens issued before 1970-01-01T00:16:41.000000Z are refused; access tokens that are out live on until they expire"#
        ]];
        check(view(1_001, 1_200), &proof);
        check(
            view(1_001, 1_100),
            &expect![
                "done false, conclusive false: valid from 1970-01-01T00:16:41.000000Z, takes effect within minutes"
            ],
        );
        let without = View { before: None, ..view(1_001, 1_200) };
        assert_eq!((without.judge().0, without.judge().1), (true, false));
        let unread = Snapshot { valid_from: None, looked_at: LOOKED };
        let without = View { before: Some(unread), ..view(1_001, 1_200) };
        assert_eq!((without.judge().0, without.judge().1), (true, false));
        let unread = View { valid_from: None, ..view(1_001, 1_200) };
        assert_eq!((unread.judge().0, unread.judge().1), (true, false));
        let lost = View { acknowledged_at: None, ..unread };
        assert_eq!((lost.judge().0, lost.judge().1), (false, false));
    }

    #[test]
    fn what_was_issued_within_the_second_is_not_ended() {
        // Looked, sent and set within one second: whoever got in in it is still in.
        let same =
            "what was issued within the second of 1970-01-01T00:16:40.000000Z is still valid";
        assert_eq!(view(1_000, 1_200).judge(), (false, false, same.to_owned()));
        assert_eq!(view(1_000, 1_300).judge(), (false, true, same.to_owned()));
        // the repetition of a later second ends it
        let again = View {
            sent_at: Some(Time(1_300 * SECOND)),
            acknowledged_at: Some(Time(1_300 * SECOND)),
            ..view(1_300, 1_500)
        };
        assert_eq!((again.judge().0, again.judge().1), (true, true));
        // and within the second of its value it is too early, whatever the delay
        let soon = View { effect: 0, now: Time(1_300 * SECOND + 900_000), ..again };
        assert_eq!((soon.judge().0, soon.judge().1), (false, false));
    }

    #[test]
    fn a_time_that_did_not_move_is_absence_only_after_the_lag() {
        let old = expect![
            "done false, conclusive false: sessions issued since 1970-01-01T00:00:10.000000Z are still valid"
        ];
        check(view(10, 1_100), &old);
        assert!(view(10, 1_241).judge().1);
        // somebody else's revocation between our look and our sending is none of ours
        let earlier = View { sent_at: Some(Time(1_005 * SECOND)), ..view(1_002, 1_241) };
        assert_eq!((earlier.judge().0, earlier.judge().1), (false, true));
        // unless the vendor's clock runs behind ours
        let behind = View { date: Some(Time(1_237 * SECOND)), ..earlier };
        assert!(behind.judge().0);
        // a sending that was forgotten
        let forgotten = View { sent_at: None, acknowledged_at: None, ..view(1_001, 1_200) };
        assert_eq!((forgotten.judge().0, forgotten.judge().1), (true, true));
        assert!(View { sent_at: None, acknowledged_at: None, ..view(10, 1_200) }.judge().1);
    }

    #[test]
    fn the_vendors_clock_is_read_through_its_date() {
        let check = |date: i64, want: i64| {
            let date = Some(Time(date * SECOND));
            let now = Time(100 * SECOND + 500_000);
            assert_eq!(View { date, now, ..view(1, 1) }.behind(), want);
        };
        check(100, 0);
        check(110, 0);
        check(99, -500_000);
        check(90, -9_500_000);
        assert_eq!(view(1, 1).behind(), 0);
    }
}

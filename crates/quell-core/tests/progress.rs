//! How an order goes on after read-backs: a look takes time, and lag and quiet have to be outlasted
//! before anything is proved or given up. It knows no target.

use quell_core::order::{Answer, Capability, Event, Order, Repeat, Verb};
use quell_core::progress;
use quell_core::time::{MINUTE, SECOND, Time};

/// An acknowledged order of which the probe saw the sessions alive.
const ORDER: &str = r#"{
    "id": "ord_ydw522lily7xyrrqdmtplyv5ly", "case": "cas_cnet5vfi2qjtxfpjmc2lqo3fty",
    "action": "end_sessions",
    "on": {"account": {"provider": "corp", "id": "ada@example.com"}},
    "state": "acknowledged", "findings": [], "reason": "the target accepted",
    "planned_at": "2026-03-02T10:00:00.000000Z", "changed_at": "2026-03-02T10:00:00.000000Z",
    "ttl": null, "undo_at": null, "snapshot": null, "control": true, "attempts": [1, 1, 0, 0, 0],
    "sent_at": "2026-03-02T10:00:00.000000Z", "acknowledged_at": "2026-03-02T10:00:00.000000Z",
    "effective_at": null, "verified_at": null, "signal_at": "2026-03-02T09:59:00.000000Z",
    "received_at": "2026-03-02T10:00:00.000000Z", "approvals_needed": 0, "approved_by": [],
    "approval_until": null, "policy": "", "escalations": 0
}"#;

/// Looks at a target that says "gone" only in looks that begin after the quiet, until the order is
/// at its end; gives that end and how many looks it took.
#[expect(clippy::unwrap_used, reason = "a helper of tests")]
fn look(quiet: i64, lag: i64, latency: i64, goes: bool) -> (Option<Event>, u32) {
    let mut order: Order = serde_json::from_str(ORDER).unwrap();
    let sent = order.acknowledged_at.unwrap();
    let capability = Capability {
        action: order.action,
        repeat: Repeat::Never,
        reads_back: true,
        effective_after: 0,
        read_back_lag: lag,
        quiet,
        undoes: false,
    };
    let mut due = sent;
    for looks in 1..=progress::LOOKS_MAX + 1 {
        let over = goes && due >= sent.plus(quiet);
        let answer = Answer::Seen { done: over, conclusive: over };
        *order.attempts.get_mut(progress::slot(Verb::ReadBack)).unwrap() = looks;
        let answered: Time = due.plus(latency);
        let next = progress::next(&order, capability, Verb::ReadBack, &answer, due, answered);
        match next.call {
            Some((verb, at)) => {
                assert_eq!(verb, Verb::ReadBack);
                assert!(at > answered, "the next look is at once");
                due = at;
            }
            None => return (next.event, looks),
        }
    }
    (None, progress::LOOKS_MAX + 1)
}

#[test]
fn looks_outlast_the_quiet_whatever_they_take() {
    let ms = SECOND / 1000;
    for quiet in [0, ms, 500 * ms, 2 * SECOND, 10 * SECOND, 5 * MINUTE] {
        for lag in [0, 400 * ms, 5 * SECOND, 2 * MINUTE] {
            for latency in [0, ms, 7 * ms, 49 * ms, 50 * ms, 51 * ms, 300 * ms, 9 * SECOND] {
                let (event, looks) = look(quiet, lag, latency, true);
                let case = format!("quiet {quiet}, lag {lag}, latency {latency}, {looks} looks");
                assert_eq!(event, Some(Event::Verify), "{case}");
            }
        }
    }
}

#[test]
fn a_target_that_never_tells_is_given_up() {
    for quiet in [0, SECOND / 2, 2 * SECOND, 5 * MINUTE] {
        for latency in [0, SECOND / 20, 9 * SECOND] {
            let (event, looks) = look(quiet, 0, latency, false);
            assert_eq!(event, Some(Event::CannotProve), "{quiet} {latency}");
            assert!(looks <= progress::LOOKS_MAX, "{looks} looks");
        }
    }
}

//! Run room, shell, tests: what a call does between its claim and its end. The engine is played by
//! the test; no store and no provider here.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;

use expect_test::expect;
use quell_core::action::Action;
use quell_core::id::OrderId;
use quell_core::identity::Account;
use quell_core::order::{Answer, Capability, Verb};
use quell_targets::{BoxFuture, Refusal, Said, Trace};

use super::carry::{Carried, carry_out};
use super::*;

/// A target that counts effecting calls.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU32,
    protected: BTreeSet<String>,
}

impl Counts {
    fn said(&self, answer: Answer) -> BoxFuture<'_, Result<Said, Refusal>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { Ok(Said::new(answer, "")) })
    }
}

type Told<'a> = BoxFuture<'a, Result<Said, Refusal>>;

impl Target for Counts {
    fn name(&self) -> &str {
        "okta"
    }

    fn capabilities(&self) -> Vec<Capability> {
        let repeat = quell_core::order::Repeat::Safe;
        vec![Capability {
            action: Action::Suspend,
            repeat,
            reads_back: true,
            effective_after: 0,
            read_back_lag: 0,
            quiet: 0,
            undoes: true,
        }]
    }

    fn protected(&self) -> &BTreeSet<String> {
        &self.protected
    }

    fn check(&self, _: Time) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async { Ok(()) })
    }

    fn probe<'a>(&'a self, _: &'a Call, _: Time, _: &'a mut Trace) -> Told<'a> {
        self.said(Answer::Before { alive: true, already: false, snapshot: None })
    }

    fn execute<'a>(&'a self, _: &'a Call, _: Time, _: &'a mut Trace) -> Told<'a> {
        self.said(Answer::Accepted { already: false })
    }

    fn read_back<'a>(&'a self, _: &'a Call, _: Time, _: &'a mut Trace) -> Told<'a> {
        self.said(Answer::Seen { done: true, conclusive: true })
    }

    fn undo<'a>(&'a self, _: &'a Call, _: Time, _: &'a mut Trace) -> Told<'a> {
        self.said(Answer::Accepted { already: false })
    }

    fn read_back_undo<'a>(&'a self, _: &'a Call, _: Time, _: &'a mut Trace) -> Told<'a> {
        self.said(Answer::Seen { done: true, conclusive: true })
    }
}

fn handle() -> Handle {
    Handle {
        figures: Arc::default(),
        queue: Arc::default(),
        healthy: Arc::new(AtomicBool::new(true)),
        frozen: Arc::default(),
        fault: Arc::default(),
        thread: Arc::default(),
    }
}

/// Carries one call out while a freeze comes right after its claim; gives what the engine heard.
fn carried(verb: Verb, freezes: bool, heeds_freeze: bool) -> String {
    let handle = handle();
    let target = Counts::default();
    let account = Account { provider: "okta".to_owned(), id: "00u1".to_owned(), login: None };
    let call = Call {
        order: OrderId([1; 16]),
        verb,
        attempt: 1,
        due: Time(0),
        action: Action::Suspend,
        account,
        snapshot: None,
        acknowledged_at: None,
        sent_at: None,
    };
    let clock: Clock = Arc::new(|| Time(0));
    let engine = handle.clone();
    let done = Arc::new(AtomicBool::new(false));
    let over = Arc::clone(&done);
    let heard = std::thread::spawn(move || {
        let mut heard = Vec::new();
        let mut refused = false;
        while !over.load(Ordering::SeqCst) {
            for Waiting { submission, reply } in engine.queue.next(IDLE).group {
                let name = match &submission.input {
                    Input::Claim(_) => "claim",
                    Input::Unsent(_) => "unsent",
                    Input::Outcome(_) => "outcome",
                    _ => "something else",
                };
                heard.push(name);
                // What is handed in after the claim is not taken at first.
                let taken = name == "claim" || std::mem::replace(&mut refused, true);
                engine.frozen.store(freezes, Ordering::SeqCst);
                let receipt =
                    Receipt { may_send: name == "claim", heeds_freeze, ..Receipt::default() };
                let answer = if taken { Ok(receipt) } else { Err(Busy) };
                reply.unwrap().send(answer).unwrap();
            }
        }
        heard.join(" ")
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let carried = runtime.block_on(carry_out(&call, &target, &handle, &clock));
    assert!(carried == Carried::Over);
    done.store(true, Ordering::SeqCst);
    handle.queue.close();
    let calls = target.calls.load(Ordering::SeqCst);
    format!("{} / sent {calls}", heard.join().unwrap())
}

#[test]
fn a_freeze_between_claim_and_send_stops_what_heeds_it() {
    let mut out = String::new();
    for (verb, heeds) in [(Verb::Execute, true), (Verb::Execute, false), (Verb::Undo, false)] {
        for freezes in [false, true] {
            let told = carried(verb, freezes, heeds);
            out.push_str(&format!("{verb}, freeze {freezes}, heeds it {heeds}: {told}\n"));
        }
    }
    let told = carried(Verb::ReadBack, true, false);
    out.push_str(&format!("read_back, freeze true: {told}\n"));
    expect![[r#"
        execute, freeze false, heeds it true: claim outcome outcome / sent 1
        execute, freeze true, heeds it true: claim unsent unsent / sent 0
        execute, freeze false, heeds it false: claim outcome outcome / sent 1
        execute, freeze true, heeds it false: claim outcome outcome / sent 1
        undo, freeze false, heeds it false: claim outcome outcome / sent 1
        undo, freeze true, heeds it false: claim outcome outcome / sent 1
        read_back, freeze true: outcome outcome / sent 1
    "#]]
    .assert_eq(&out);
}

//! Repetitions: how often an act and its inverse are sent, by what the target answers, what its
//! class permits and which delays it states; and what our own acts are known by afterwards.

use expect_test::{Expect, expect};
use quell_core::action::Action;
use quell_core::effect::{CallId, Effect, Freeze, Input, Reply, TakeBack};
use quell_core::engine::{Config, Engine};
use quell_core::order::{Answer, Call, Capability, Fault, Order, Repeat, Verb};
use quell_core::signal::{Kind, Matched, Use};
use quell_core::time::{HOUR, MINUTE, SECOND, Time};

use super::company::*;
use super::drive::Store;

/// What happens to the next effecting call.
#[derive(Clone, Copy)]
enum Fate {
    Accepted,
    Throttled,
    TimesOut,
    /// The engine dies between the claim and the answer.
    Dies,
    /// A freeze comes between claim and send.
    Frozen,
}

use Fate::*;

struct Scene {
    config: Config,
    engine: Engine,
    store: Store,
    now: Time,
    /// Effecting calls as they left, with seconds since the first.
    sent: Vec<String>,
    first: Option<Time>,
    looks: u32,
}

fn id_of(call: &Call) -> CallId {
    CallId { order: call.order, verb: call.verb, attempt: call.attempt }
}

impl Scene {
    /// Bob, whose block waits for approval, at a target with these capabilities.
    fn new(change: impl Fn(&mut Capability)) -> Self {
        let mut config = shipped().clone();
        config.capabilities.values_mut().flatten().for_each(change);
        let mut scene = Self {
            engine: Engine::new(config.clone()),
            config,
            store: Store::default(),
            now: Time(T0 + 6 * MINUTE),
            sent: Vec::new(),
            first: None,
            looks: 0,
        };
        scene.tell(import(company()));
        scene
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads as a sentence where it is called")]
    fn tell(&mut self, input: Input) {
        let effects: Vec<Effect> = self.engine.step(self.now, &input);
        self.store.commit(self.now, &input, &effects);
    }

    /// The process dies; another one takes over from the store.
    fn dies(&mut self) {
        self.engine = self.store.load(&self.config);
        self.tell(Input::Restarted);
    }

    fn freeze(&mut self, on: bool) {
        let (by, why) = ("officer".to_owned(), "drill".to_owned());
        self.tell(Input::Freeze(Freeze { on, until: None, by, why }));
    }

    /// Carries out what is in the outbox. The effecting calls of `verb` meet the fates in turn, the
    /// last one for ever; no look ever sees what they did. Everything else goes well.
    fn work(&mut self, verb: Verb, fates: &[Fate]) -> &Order {
        self.first = None;
        let mut fates = fates.iter().copied();
        let mut fate = fates.next().unwrap_or(Accepted);
        while let Some(call) = self.store.outbox.values().min_by_key(|c| (c.due, c.order)).cloned()
        {
            self.now = self.now.max(call.due);
            if matches!(call.verb, Verb::Execute | Verb::Undo) {
                self.tell(Input::Claim(id_of(&call)));
                assert!(self.engine.may_send(id_of(&call)));
            }
            let answer = match call.verb {
                Verb::Probe => Answer::Before { alive: true, already: false, snapshot: None },
                v if v == verb => {
                    let mine = fate;
                    fate = fates.next().unwrap_or(fate);
                    match mine {
                        Frozen => {
                            self.freeze(true);
                            self.tell(Input::Unsent(id_of(&call)));
                            assert!(self.store.outbox.is_empty());
                            self.freeze(false);
                            continue;
                        }
                        _ => self.leave(),
                    }
                    match mine {
                        Dies => {
                            self.now = self.now.plus(SECOND);
                            self.dies();
                            continue;
                        }
                        Throttled => Answer::Fault { fault: Fault::Throttled, retry_at: None },
                        TimesOut => Answer::Fault { fault: Fault::Indeterminate, retry_at: None },
                        Accepted | Frozen => Answer::Accepted { already: false },
                    }
                }
                Verb::Execute | Verb::Undo => Answer::Accepted { already: false },
                Verb::ReadBack if verb == Verb::Undo => {
                    Answer::Seen { done: true, conclusive: true }
                }
                Verb::ReadBack | Verb::ReadBackUndo => {
                    self.looks += 1;
                    Answer::Seen { done: false, conclusive: true }
                }
            };
            self.now = self.now.plus(SECOND / 10);
            let mut input = outcome(&call, answer, self.now);
            if let Input::Outcome(outcome) = &mut input {
                outcome.sent_at = Some(self.now.plus(-SECOND / 10));
            }
            self.tell(input);
        }
        self.orders().last().unwrap()
    }

    fn leave(&mut self) {
        let first = *self.first.get_or_insert(self.now);
        self.sent.push((self.now.since(first) / SECOND).to_string());
    }

    /// What is more than watching, the first planned last.
    fn orders(&self) -> impl Iterator<Item = &Order> {
        let mut all: Vec<&Order> =
            self.engine.orders().filter(|order| order.action != Action::Watch).collect();
        all.sort_by_key(|order| std::cmp::Reverse((order.planned_at, order.action)));
        all.into_iter()
    }

    fn told(&mut self, who: &str) {
        let config = self.config.clone();
        self.tell(told(&config, &story(&format!("{who}@example.com"))));
    }
}

fn delays(repeat: Repeat, lag: i64) -> impl Fn(&mut Capability) {
    move |capability| {
        capability.repeat = repeat;
        capability.reads_back = true;
        capability.read_back_lag = lag;
        capability.effective_after = 0;
        capability.quiet = 0;
    }
}

fn act(repeat: Repeat, fates: &[Fate]) -> String {
    let mut scene = Scene::new(delays(repeat, 20 * SECOND));
    scene.told("carol");
    let order = scene.work(Verb::Execute, fates);
    let (state, reason) = (order.state, order.reason.clone());
    let times = match scene.sent.len() {
        0..=6 => scene.sent.join(" "),
        n => format!("{} .. {} ({n})", scene.sent[..6].join(" "), scene.sent[n - 1]),
    };
    format!("{state}: {reason}; left at {times} s")
}

fn acts(repeat: Repeat) -> String {
    let cases: [(&str, &[Fate]); 7] = [
        ("accepted", &[Accepted]),
        ("throttled", &[Throttled]),
        ("times out", &[TimesOut]),
        ("dies", &[Dies]),
        ("three deaths, then accepted", &[Dies, Dies, Dies, Accepted]),
        ("throttled thrice, then accepted", &[Throttled, Throttled, Throttled, Accepted]),
        ("frozen thrice, then accepted", &[Frozen, Frozen, Frozen, Accepted]),
    ];
    let lines = cases.map(|(name, fates)| format!("{name}: {}", act(repeat, fates)));
    lines.join("\n")
}

/// What was throttled, given back or lost does not use up the repetitions of what was accepted.
#[test]
fn an_act_is_sent_as_often_as_its_class_permits() {
    expect![[r#"
        accepted: not_effective: the read-back found it not done after 3 calls; left at 0 20 40 s
        throttled: failed: not accepted in 60 attempts; left at 0 2 6 14 30 62 .. 15815 (60) s
        times out: not_effective: the read-back found it not done after 20 calls; left at 0 21 43 68 96 133 .. 3899 (20) s
        dies: not_effective: the read-back found it not done after 20 calls; left at 0 22 45 71 100 137 .. 3916 (20) s
        three deaths, then accepted: not_effective: the read-back found it not done after 6 calls; left at 0 22 45 71 95 119 s
        throttled thrice, then accepted: not_effective: the read-back found it not done after 3 calls; left at 0 2 6 14 34 55 s
        frozen thrice, then accepted: not_effective: the read-back found it not done after 3 calls; left at 0 20 40 s"#]].assert_eq(&acts(Repeat::AfterReadBack));
    expect![[r#"
        accepted: not_effective: the read-back found it not done after 1 calls; left at 0 s
        throttled: failed: not accepted in 60 attempts; left at 0 2 6 14 30 62 .. 15815 (60) s
        times out: not_effective: the read-back found it not done after 1 calls; left at 0 s
        dies: not_effective: the read-back found it not done after 1 calls; left at 0 s
        three deaths, then accepted: not_effective: the read-back found it not done after 1 calls; left at 0 s
        throttled thrice, then accepted: not_effective: the read-back found it not done after 1 calls; left at 0 2 6 14 s
        frozen thrice, then accepted: not_effective: the read-back found it not done after 1 calls; left at 0 s"#]].assert_eq(&acts(Repeat::Never));
}

fn undo(repeat: Repeat, lag: i64, fates: &[Fate]) -> String {
    let mut scene = Scene::new(delays(repeat, lag));
    scene.told("bob");
    let fine = |scene: &mut Scene| {
        // Sessions end and the block is set, whatever becomes of the undo.
        scene.work(Verb::Undo, &[]);
    };
    fine(&mut scene);
    let suspend = |scene: &Scene| scene.orders().find(|o| o.action == Action::Suspend).cloned();
    let order = suspend(&scene).unwrap().id;
    let reply = Reply { order, by: "officer".to_owned(), approve: true, why: String::new() };
    scene.tell(Input::Answer(reply));
    fine(&mut scene);
    scene.now = scene.now.plus(HOUR);
    let (by, why) = ("officer".to_owned(), "a mistake".to_owned());
    scene.tell(Input::TakeBack(TakeBack { order, by, why }));
    scene.work(Verb::Undo, fates);
    let order = suspend(&scene).unwrap();
    let (state, reason, looks) = (order.state, order.reason, scene.looks);
    let times = scene.sent.join(" ");
    format!("{state}: {reason}; left at {times} s, {looks} looks")
}

/// An undo waits as long as the target says, and is sent again only where the class permits it.
#[test]
fn an_undo_follows_class_and_delays() {
    let mut out = String::new();
    for repeat in Repeat::ALL {
        for (name, lag) in [("at once", 0), ("20 s", 20 * SECOND), ("10 min", 10 * MINUTE)] {
            let told = undo(*repeat, lag, &[Accepted]);
            out.push_str(&format!("{repeat}, {name}: {told}\n"));
        }
        let told = undo(*repeat, 20 * SECOND, &[TimesOut, Dies, Throttled, Accepted]);
        out.push_str(&format!("{repeat}, lost twice: {told}\n"));
    }
    expect![[r#"
        safe, at once: undo_failed: the read-back found no change after 3 calls; left at 0 0 0 s, 3 looks
        safe, 20 s: undo_failed: the read-back found no change after 3 calls; left at 0 20 40 s, 48 looks
        safe, 10 min: undo_failed: the read-back found no change after 3 calls; left at 0 601 1203 s, 51 looks
        safe, lost twice: undo_failed: the read-back found no change after 5 calls; left at 0 22 46 48 71 93 s, 80 looks
        after_read_back, at once: undo_failed: the read-back found no change after 3 calls; left at 0 0 0 s, 3 looks
        after_read_back, 20 s: undo_failed: the read-back found no change after 3 calls; left at 0 20 40 s, 48 looks
        after_read_back, 10 min: undo_failed: the read-back found no change after 3 calls; left at 0 601 1203 s, 51 looks
        after_read_back, lost twice: undo_failed: the read-back found no change after 5 calls; left at 0 22 46 48 71 93 s, 80 looks
        never, at once: undo_failed: the read-back found no change after 1 calls; left at 0 s, 1 looks
        never, 20 s: undo_failed: the read-back found no change after 1 calls; left at 0 s, 16 looks
        never, 10 min: undo_failed: the read-back found no change after 1 calls; left at 0 s, 17 looks
        never, lost twice: undo_failed: the read-back found no change after 1 calls; left at 0 s, 16 looks
    "#]].assert_eq(&out);
}

/// A call that was given back never left: nobody may say that it did.
#[test]
fn what_was_given_back_did_not_leave() {
    let show = |scene: &Scene, order: &Order| {
        let calls: Vec<String> =
            scene.store.outbox.keys().map(|id| format!("{} {}", id.verb, id.attempt)).collect();
        format!(
            "{} ({}), claims {}, parked {}, outbox {calls:?}",
            order.state,
            order.reason,
            order.claims.len(),
            order.parked
        )
    };
    let claimed = |fates: &[Fate]| {
        let mut scene = Scene::new(delays(Repeat::Safe, 0));
        scene.told("carol");
        let mut fates = fates.iter();
        // Up to the claim of the act that is given back.
        loop {
            let call = scene.store.outbox.values().next().cloned().unwrap();
            scene.now = scene.now.max(call.due);
            let answer = match call.verb {
                Verb::Probe => Answer::Before { alive: true, already: false, snapshot: None },
                Verb::Execute => {
                    scene.tell(Input::Claim(id_of(&call)));
                    match fates.next() {
                        Some(_) => Answer::Fault { fault: Fault::Indeterminate, retry_at: None },
                        None => return (scene, call),
                    }
                }
                _ => Answer::Seen { done: false, conclusive: true },
            };
            let input = outcome(&call, answer, scene.now);
            scene.tell(input);
        }
    };
    let check = |fates: &[Fate], want: Expect| {
        let mut lines = Vec::new();
        for dies in ["never", "before", "after"] {
            let (mut scene, call) = claimed(fates);
            scene.freeze(true);
            if dies == "before" {
                scene.dies();
            }
            scene.tell(Input::Unsent(id_of(&call)));
            if dies == "after" {
                scene.dies();
            }
            // Given back twice, and an answer out of nowhere: nothing more happens.
            scene.tell(Input::Unsent(id_of(&call)));
            let late = outcome(&call, Answer::Accepted { already: false }, scene.now);
            scene.tell(late);
            let order = scene.orders().next().unwrap();
            lines.push(format!("dies {dies}: {}", show(&scene, order)));
            scene.freeze(false);
            let order = scene.orders().next().unwrap();
            lines.push(format!("  thawed: {}", show(&scene, order)));
        }
        want.assert_eq(&lines.join("\n"));
    };
    check(
        &[],
        expect![[r#"
        dies never: held (frozen by officer: drill), claims 0, parked false, outbox []
          thawed: permitted (permitted by contain-access, contain-click), claims 0, parked false, outbox ["probe 2"]
        dies before: unknown (no proof either way: read back first), claims 1, parked false, outbox ["read_back 1"]
          thawed: unknown (no proof either way: read back first), claims 1, parked false, outbox ["read_back 1"]
        dies after: held (frozen by officer: drill), claims 0, parked false, outbox []
          thawed: permitted (permitted by contain-access, contain-click), claims 0, parked false, outbox ["probe 2"]"#]],
    );
    check(
        &[TimesOut],
        expect![[r#"
        dies never: unknown (this call did not leave, an earlier one may have), claims 1, parked true, outbox []
          thawed: unknown (this call did not leave, an earlier one may have), claims 1, parked false, outbox ["execute 3"]
        dies before: unknown (no proof either way: read back first), claims 2, parked false, outbox ["read_back 2"]
          thawed: unknown (no proof either way: read back first), claims 2, parked false, outbox ["read_back 2"]
        dies after: unknown (this call did not leave, an earlier one may have), claims 1, parked true, outbox []
          thawed: unknown (this call did not leave, an earlier one may have), claims 1, parked false, outbox ["execute 3"]"#]],
    );
}

/// Days after a restart the provider's record of what we did still answers for the order, and what
/// nobody claimed is still misuse.
#[test]
fn our_acts_are_known_after_a_long_stop() {
    let mut scene = Scene::new(delays(Repeat::AfterReadBack, 0));
    scene.told("carol");
    let call = loop {
        let call = scene.store.outbox.values().next().cloned().unwrap();
        if call.verb == Verb::Execute {
            break call;
        }
        let before = Answer::Before { alive: true, already: false, snapshot: None };
        let input = outcome(&call, before, scene.now);
        scene.tell(input);
    };
    scene.tell(Input::Claim(id_of(&call)));
    let acted = scene.now;
    // The request is out; the engine dies and comes back half a day later.
    scene.now = scene.now.plus(12 * HOUR);
    scene.dies();
    for (t, frozen) in [(acted.plus(MINUTE), false), (acted.plus(3 * HOUR), true)] {
        let mut sig = Sig::new("okta", Kind::SessionRevoked, "x", t.0).usage(Use::Fact);
        sig.key = format!("own-{t}");
        let scheme = quell_core::identity::Scheme::AccountId;
        sig.about =
            vec![quell_core::identity::Identifier::new(scheme, Some("okta"), &call.account.id)];
        let mut signal = sig.signal();
        signal.attributes = [("self".to_owned(), "true".to_owned())].into();
        scene.tell(signals(vec![Matched { signal: signal.into(), rules: Vec::new() }]));
        assert_eq!(scene.engine.freeze().is_some(), frozen, "{t}");
    }
}

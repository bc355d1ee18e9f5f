//! Fail closed: each way in which a step is not done, or not yet, as people would see it. One
//! scenario each: the orders beyond watching with their states and reasons, and the pages.

use expect_test::{Expect, expect};
use quell_core::action::Action;
use quell_core::effect::{CallId, Freeze, Input, Reply, TakeBack};
use quell_core::engine::{Config, Engine};
use quell_core::identity::{Class, Identity};
use quell_core::order::{Answer, Call, Fault, On, Verb};
use quell_core::policy::PolicyFiles;
use quell_core::signal::{Kind, Signal, Use};
use quell_core::time::{DAY, HOUR, MINUTE, SECOND, Time};

use super::company::*;

/// An engine with its outbox and everything that it said.
pub(crate) struct Scene {
    pub(crate) engine: Engine,
    pub(crate) outbox: Vec<Call>,
    pub(crate) pages: Vec<String>,
    pub(crate) now: Time,
}

impl Scene {
    pub(crate) fn new(config: &Config) -> Self {
        Self::of(config, company())
    }

    pub(crate) fn of(config: &Config, people: Vec<Identity>) -> Self {
        let engine = Engine::new(config.clone());
        let now = Time(T0 - MINUTE);
        let mut scene = Self { engine, outbox: Vec::new(), pages: Vec::new(), now };
        scene.tell(import(people));
        scene
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads as a sentence where it is called")]
    pub(crate) fn tell(&mut self, input: Input) {
        let effects = self.engine.step(self.now, &input);
        self.outbox.extend(calls(&effects));
        for effect in &effects {
            if let quell_core::effect::Effect::Done(id) = effect {
                self.outbox.retain(|call| id_of(call) != *id);
            }
        }
        self.pages.extend(pages(&effects));
    }

    pub(crate) fn at(&mut self, t: i64) -> &mut Self {
        self.now = Time(T0 + t);
        self
    }

    pub(crate) fn story(&mut self, config: &Config, who: &str) -> &mut Self {
        let story = story(&format!("{who}@example.com"));
        self.tell(told(config, &story));
        self
    }

    pub(crate) fn sig(&mut self, config: &Config, sig: &Sig) -> &mut Self {
        self.tell(signals(vec![sig.matched(config)]));
        self
    }

    pub(crate) fn order(&self, action: Action) -> quell_core::id::OrderId {
        let found = self.engine.orders().filter(|order| order.action == action);
        found.max_by_key(|order| order.planned_at).unwrap().id
    }

    pub(crate) fn reply(&mut self, action: Action, by: &str, approve: bool) -> Option<String> {
        let order = self.order(action);
        let reply = Reply { order, by: by.to_owned(), approve, why: "seen".to_owned() };
        let unfit = self.engine.unfit(&reply);
        self.tell(Input::Answer(reply));
        unfit
    }

    pub(crate) fn freeze(&mut self, on: bool, until: Option<i64>) -> &mut Self {
        let until = until.map(|t| Time(T0 + t));
        let (by, why) = ("officer".to_owned(), "drill".to_owned());
        self.tell(Input::Freeze(Freeze { on, until, by, why }));
        self
    }

    pub(crate) fn tick(&mut self) -> &mut Self {
        self.tell(Input::Tick);
        self
    }

    /// Carries out every call of the outbox with success, until nothing is due.
    pub(crate) fn work(&mut self) -> &mut Self {
        while !self.outbox.is_empty() {
            let call = self.outbox.remove(0);
            self.now = self.now.max(call.due);
            if matches!(call.verb, Verb::Execute | Verb::Undo) {
                self.tell(Input::Claim(id_of(&call)));
                if !self.engine.may_send(id_of(&call)) {
                    continue;
                }
            }
            let answer = match call.verb {
                Verb::Probe => Answer::Before { alive: true, already: false, snapshot: None },
                Verb::Execute | Verb::Undo => Answer::Accepted { already: false },
                Verb::ReadBack | Verb::ReadBackUndo => {
                    Answer::Seen { done: true, conclusive: true }
                }
            };
            let input = outcome(&call, answer, self.now);
            self.tell(input);
        }
        self
    }

    pub(crate) fn show(&self) -> String {
        let mut lines: Vec<String> = self
            .engine
            .orders()
            .filter(|order| order.action != Action::Watch)
            .map(|order| {
                let on = match &order.on {
                    On::Account(account) => account.to_string(),
                    On::Entity(entity) => entity.value.clone(),
                };
                let reason = &order.reason;
                let reason = reason.split(" by ord_").next().unwrap_or_default();
                (order.planned_at, order.action, on, order.state, reason.to_owned())
            })
            .map(|(at, action, on, state, reason)| {
                let hour = (at.0 - T0).div_euclid(HOUR);
                format!("{hour:03}h {action} {on}: {state} ({reason})")
            })
            .collect();
        lines.sort();
        let mut pages = self.pages.clone();
        pages.dedup();
        lines.push(format!("pages: {}", pages.join(" ")));
        lines.join("\n")
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads as a sentence where it is called")]
    pub(crate) fn is(&self, want: Expect) {
        want.assert_eq(&self.show());
    }
}

fn id_of(call: &Call) -> CallId {
    CallId { order: call.order, verb: call.verb, attempt: call.attempt }
}

pub(crate) fn with(files: &PolicyFiles) -> Config {
    config(rules(&SHIPPED), policy(files))
}

fn append(mut files: PolicyFiles, file: &str, text: &str) -> PolicyFiles {
    files.0.get_mut(file).unwrap().push_str(text);
    files
}

#[test]
fn all_is_well() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "alice").story(config, "bob").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: awaiting_approval (evict-person-access, evict-person-click ask for 1 approval(s))
        pages: approval_needed"#]]);
}

#[test]
fn an_erroring_policy_permits_nothing() {
    let forbid = "\n@id(\"broken\")\n@reason(\"overflows\")\nforbid (principal, action == \
                  Action::\"end_sessions\", resource)\nwhen { context.signal_age_s * \
                  9223372036854775807 == 7 };\n";
    let config = with(&append(armed_files(), "default.cedar", forbid));
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: refused (authority could not judge: error while evaluating policy `broken`: integer overflow while attempting to multiply the values `360` and `9223372036854775807`)
        000h end_sessions okta:00u1: refused (authority could not judge: error while evaluating policy `broken`: integer overflow while attempting to multiply the values `360` and `9223372036854775807`)
        pages: "#]]);
}

#[test]
fn what_is_not_armed_is_not_sent() {
    let files = edited(
        armed_files(),
        "armed.toml",
        "{ source = \"okta\", action = \"end_sessions\" }",
        "{ source = \"okta\", action = \"rotate_credential\" }",
    );
    let files = edited(
        files,
        "armed.toml",
        "{ source = \"okta\", action = \"rotate_credential\" },\n  { source = \"proof",
        "{ source = \"proof",
    );
    let config = with(&files);
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        000h end_sessions okta:00u1: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        pages: "#]]);
}

#[test]
fn shadow_mode_sends_nothing() {
    let config = with(&PolicyFiles::shipped());
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "alice").story(&config, "bob").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        000h end_sessions okta:00u1: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        000h end_sessions okta:00u2: shadowed (`okta` is not armed for `end_sessions`: nothing is sent)
        000h suspend okta:00u2: shadowed (`okta` is not armed for `suspend`: nothing is sent)
        pages: "#]]);
}

#[test]
fn protected_accounts_and_break_glass_are_left_alone() {
    let account = "\n[[account]]\nprovider = \"okta\"\nid = \"00u1\"\nwhy = \"own_principal\"\n";
    let files =
        edited(armed_files(), "protected.toml", "\n[entities]", &format!("{account}\n[entities]"));
    let config = with(&files);
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "alice").story(&config, "glass").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: refused (`okta:00u1` is protected: own_principal)
        pages: break_glass"#]]);
}

#[test]
fn nobody_knows_whose_account_it_is() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(HOUR);
    for who in ["both", "mallory", "nobody"] {
        let who = format!("{who}@example.com");
        scene.sig(config, &Sig::new("okta", Kind::CredentialLeaked, &who, T0));
        scene.pages.push("-".to_owned());
    }
    scene.work();
    scene.is(expect!["pages: unresolved_subject - unresolved_subject - unclassified_subject -"]);
}

#[test]
fn a_service_account_has_no_sessions_to_end() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "svc").work();
    scene.is(expect![[r#"
        000h revoke_tokens okta:00u4: refused (no policy permits it)
        pages: "#]]);
}

#[test]
fn a_freeze_holds_and_ends_loudly() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.freeze(true, Some(2 * HOUR)).at(6 * MINUTE).story(config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: held (frozen by officer: drill)
        000h end_sessions okta:00u1: held (frozen by officer: drill)
        pages: "#]]);
    scene.at(2 * HOUR).tick().work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        pages: freeze_ended"#]]);
}

#[test]
fn a_freeze_stops_a_permitted_order_before_it_is_sent() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "carol");
    scene.freeze(true, None).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: held (frozen by officer: drill)
        pages: "#]]);
    scene.at(HOUR).freeze(false, None).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: "#]]);
}

/// The answer to a call that may be repeated is lost, and a freeze comes before it is sent again.
#[test]
fn a_freeze_puts_an_unknown_order_aside() {
    let mut config = shipped().clone();
    let okta = config.capabilities.get_mut("okta").unwrap();
    for capability in okta {
        capability.repeat = quell_core::order::Repeat::Safe;
        capability.reads_back = false;
    }
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "carol");
    let call = scene.outbox.remove(0);
    scene.tell(Input::Claim(id_of(&call)));
    let lost = Answer::Fault { fault: Fault::Indeterminate, retry_at: None };
    let input = outcome(&call, lost, scene.now);
    scene.tell(input);
    scene.freeze(true, None).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: unknown (no proof either way; the call is safe to repeat)
        pages: "#]]);
    scene.freeze(false, None).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: not_provable (accepted; this target cannot be read back)
        pages: "#]]);
}

#[test]
fn a_spent_budget_asks_people_and_holds_what_only_watches() {
    let files = edited(
        armed_files(),
        "limits.toml",
        "group = \"contain\"\nmax = 50",
        "group = \"contain\"\nmax = 1",
    );
    let files = edited(
        files,
        "limits.toml",
        "action = \"watch\"\nmax = 2000",
        "action = \"watch\"\nmax = 3",
    );
    let config = with(&files);
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE);
    for who in ["alice", "bob", "carol"] {
        scene.story(&config, who);
    }
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: awaiting_approval (the budget `contain_any_okta_60m` of 1 is spent: 1 approval(s) needed)
        000h end_sessions okta:00u2: awaiting_approval (the budget `contain_any_okta_60m` of 1 is spent: 1 approval(s) needed)
        000h end_sessions okta:00u3: awaiting_approval (the budget `contain_any_okta_60m` of 1 is spent: 1 approval(s) needed)
        000h suspend okta:00u2: awaiting_approval (evict-person-access, evict-person-click ask for 1 approval(s))
        pages: budget_spent approval_needed budget_spent approval_needed"#]]);
    let watched = |scene: &Scene| {
        let orders = scene.engine.orders().filter(|order| order.action == Action::Watch);
        let mut states: Vec<String> = orders.map(|order| order.state.to_string()).collect();
        states.sort();
        states.join(" ")
    };
    expect!["held held held held verified verified verified"].assert_eq(&watched(&scene));
    // An hour later there is room again, without anybody's help.
    scene.at(2 * HOUR).tick();
    expect!["held verified verified verified verified verified verified"]
        .assert_eq(&watched(&scene));
}

fn approvers(config: &Config) -> Scene {
    let mut people = company();
    for key in ["alice", "bob", "carol"] {
        let who = people.iter_mut().find(|identity| identity.key == key).unwrap();
        who.groups.insert("approver".to_owned());
        who.classes.insert(Class::Privileged);
    }
    Scene::of(config, people)
}

fn floor(least: u32) -> Config {
    let to = format!("\"approvers\"]\nat_least = {least}");
    with(&edited(armed_files(), "limits.toml", "\"approvers\"]\nat_least = 2", &to))
}

#[test]
fn a_floor_holds_what_would_break_it() {
    let config = floor(3);
    let mut scene = approvers(&config);
    scene.at(6 * MINUTE).story(&config, "bob").work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: held (it would leave 2 usable `approver`, fewer than 3)
        pages: "#]]);
}

/// Two requests are each within the floor; together they are not.
#[test]
fn two_approvals_do_not_break_a_floor_together() {
    let to = "\"Super Administrators\"]\nat_least = 1";
    let from = "\"Super Administrators\"]\nat_least = 2";
    let config = with(&edited(armed_files(), "limits.toml", from, to));
    let mut people = company();
    for who in people.iter_mut().filter(|who| ["alice", "bob"].contains(&who.key.as_str())) {
        who.groups.insert("global_admin".to_owned());
        who.classes.insert(Class::Privileged);
    }
    let mut scene = Scene::of(&config, people);
    scene.at(6 * MINUTE).story(&config, "alice").story(&config, "bob").work();
    let waiting: Vec<_> = scene
        .engine
        .orders()
        .filter(|o| o.state == quell_core::order::State::AwaitingApproval)
        .map(|o| o.id)
        .collect();
    for order in waiting {
        let (by, why) = ("officer".to_owned(), String::new());
        scene.tell(Input::Answer(Reply { order, by, approve: true, why }));
    }
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend oidc:alice: manual (no target does `suspend` at `oidc`: a person must)
        000h suspend okta:00u1: held (approved, but it would leave 0 usable `global_admin`, fewer than 1)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: order_needs_people approval_needed approved_but_held"#]]);
}

#[test]
fn who_may_not_approve() {
    let config = floor(0);
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "bob").story(&config, "alice").work();
    let said = |scene: &mut Scene, by: &str| {
        let unfit = scene.reply(Action::Suspend, by, true);
        format!("{by}: {}\n", unfit.unwrap_or_else(|| "counts".to_owned()))
    };
    let mut out = String::new();
    for by in [
        "bob@example.com",
        "BOB@example.com",
        "bob",
        "desk@example.com",
        "alice@example.com",
        "al+x@example.com",
        "officer@example.com",
        "deputy@example.com",
    ] {
        out.push_str(&said(&mut scene, by));
    }
    expect![[r#"
        bob@example.com: nobody decides on himself
        BOB@example.com: nobody decides on himself
        bob: nobody decides on himself
        desk@example.com: nobody decides on himself
        alice@example.com: `alice@example.com` has an open case
        al+x@example.com: `al+x@example.com` has an open case
        officer@example.com: counts
        deputy@example.com: the order is `permitted` and waits for nobody
    "#]]
    .assert_eq(&out);
}

/// What an outsider can send to everybody makes nobody unfit.
#[test]
fn an_outsider_makes_no_approver_unfit() {
    let config = floor(0);
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "bob").work();
    let mail = Sig::new("proofpoint_tap", Kind::PhishDelivered, "carol@example.com", T0);
    scene.sig(&config, &mail);
    assert_eq!(scene.reply(Action::Suspend, "carol@example.com", true), None);
}

#[test]
fn two_approvals_are_two_persons() {
    let config = floor(0);
    let mut people = company();
    let carol = people.iter_mut().find(|identity| identity.key == "carol").unwrap();
    carol.classes.insert(Class::Privileged);
    let mut scene = Scene::of(&config, people);
    scene.at(6 * MINUTE).story(&config, "carol").work();
    let mut out = String::new();
    for by in ["alice@example.com", "alice@example.com", "al@example.com", "Alice@Example.com"] {
        let unfit = scene.reply(Action::Suspend, by, true);
        out.push_str(&format!("{by}: {}\n", unfit.unwrap_or_else(|| "counts".to_owned())));
    }
    expect![[r#"
        alice@example.com: counts
        alice@example.com: `alice@example.com` has approved already: two approvals are two persons
        al@example.com: `al@example.com` has approved already: two approvals are two persons
        Alice@Example.com: `Alice@Example.com` has approved already: two approvals are two persons
    "#]]
    .assert_eq(&out);
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u3: awaiting_approval (evict-high-value-access, evict-high-value-click, evict-person-access, evict-person-click ask for 2 approval(s))
        pages: approval_needed"#]]);
    assert_eq!(scene.reply(Action::Suspend, "officer", true), None);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
}

#[test]
fn an_approval_request_escalates_and_expires() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.at(HOUR + 6 * MINUTE).tick();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: awaiting_approval (evict-person-access, evict-person-click ask for 1 approval(s))
        pages: approval_needed approval_escalated"#]]);
    scene.at(2 * HOUR + 6 * MINUTE).tick();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: expired (nobody answered in time)
        pages: approval_needed approval_escalated approval_expired"#]]);
    assert!(scene.reply(Action::Suspend, "officer", true).is_some(), "too late");
    // A new sign-in of the attacker is new ground: people are asked again.
    let again = Sig::new("okta", Kind::SignIn, "bob@example.com", T0 + 50 * MINUTE).at(8);
    scene.sig(config, &again);
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: expired (nobody answered in time)
        pages: approval_needed approval_escalated approval_expired"#]]);
    let leaked = Sig::new("okta", Kind::CredentialLeaked, "bob@example.com", T0 + 4 * HOUR);
    scene.at(4 * HOUR).sig(config, &leaked);
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: expired (nobody answered in time)
        004h suspend okta:00u2: awaiting_approval (evict-person-access ask for 1 approval(s))
        pages: approval_needed approval_escalated approval_expired approval_needed"#]]);
}

#[test]
fn a_denied_step_is_not_done() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.reply(Action::Suspend, "officer", false);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: denied (denied by officer: seen)
        pages: approval_needed"#]]);
}

/// What the request was about changed: it is void, and asked anew where it still stands.
#[test]
fn what_voids_an_approval_request() {
    let config = floor(0);
    let suspend = |scene: &Scene| {
        let order = scene.engine.order(scene.order(Action::Suspend)).unwrap();
        format!("{} of {}, {} needed", order.state, order.approved_by.len(), order.approvals_needed)
    };
    let begin = || {
        let mut people = company();
        let carol = people.iter_mut().find(|identity| identity.key == "carol").unwrap();
        carol.classes.insert(Class::Privileged);
        let mut scene = Scene::of(&config, people);
        scene.at(6 * MINUTE).story(&config, "carol").work();
        scene.reply(Action::Suspend, "officer", true);
        scene
    };
    let mut out = String::new();
    let mut scene = begin();
    out.push_str(&format!("asked: {}\n", suspend(&scene)));
    let leaked = Sig::new("okta", Kind::CredentialLeaked, "carol@example.com", T0 + 7 * MINUTE);
    scene.at(8 * MINUTE).sig(&config, &leaked);
    out.push_str(&format!("another finding: {}\n", suspend(&scene)));
    let undo = Sig::new("proofpoint_tap", Kind::VerdictChanged, "carol@example.com", T0 + HOUR)
        .usage(Use::Undo)
        .threat(1);
    scene.at(HOUR).sig(&config, &undo);
    out.push_str(&format!("the first withdrawn: {}\n", suspend(&scene)));

    let mut scene = begin();
    scene.at(HOUR).sig(&config, &undo);
    out.push_str(&format!("the only one withdrawn: {}\n", suspend(&scene)));

    let mut scene = begin();
    scene.at(HOUR).tell(import(company()));
    out.push_str(&format!("a class less: {}\n", suspend(&scene)));
    let mut people = company();
    let carol = people.iter_mut().find(|identity| identity.key == "carol").unwrap();
    carol.classes.extend([Class::Privileged, Class::Human]);
    scene.tell(import(people));
    out.push_str(&format!("a class more: {}\n", suspend(&scene)));

    let mut scene = begin();
    let mut other = floor(1);
    other.policy.limits.floors.clear();
    scene.engine.configure(other.clone());
    let reply = scene.reply(Action::Suspend, "deputy", true);
    out.push_str(&format!("another policy: {}\n", reply.unwrap_or_default()));
    let digests = quell_core::effect::Configured {
        rules: other.rules.digest.to_string(),
        policy: other.policy.digest.to_string(),
        packs: Default::default(),
        engine: "test".to_owned(),
    };
    scene.tell(Input::Configured(digests));
    out.push_str(&format!("judged by it: {}\n", suspend(&scene)));
    expect![[r#"
        asked: awaiting_approval of 1, 2 needed
        another finding: awaiting_approval of 1, 2 needed
        the first withdrawn: awaiting_approval of 0, 2 needed
        the only one withdrawn: cancelled of 0, 2 needed
        a class less: awaiting_approval of 1, 2 needed
        a class more: awaiting_approval of 0, 2 needed
        another policy: the policy changed since the request: it is judged again
        judged by it: awaiting_approval of 0, 2 needed
    "#]]
    .assert_eq(&out);
}

/// A request waits for a weak finding; a strong one needs nobody.
#[test]
fn a_stronger_finding_does_not_wait_for_an_approval() {
    let config = shipped();
    let mut scene = Scene::new(config);
    let old = Sig::new("okta", Kind::CredentialLeaked, "alice@example.com", T0 - 30 * HOUR);
    scene.at(0).sig(config, &old);
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: awaiting_approval (contain-access ask for 1 approval(s))
        000h end_sessions okta:00u1: awaiting_approval (contain-access ask for 1 approval(s))
        pages: approval_needed"#]]);
    let fresh = Sig::new("okta", Kind::CredentialLeaked, "alice@example.com", T0 + HOUR);
    scene.at(HOUR + MINUTE).sig(config, &fresh).work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
}

#[test]
fn an_approval_during_a_freeze_is_held() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.freeze(true, None);
    scene.reply(Action::Suspend, "officer", true);
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: held (approved, but frozen by officer: drill)
        pages: approval_needed approved_but_held"#]]);
    scene.freeze(false, None);
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: awaiting_approval (evict-person-access, evict-person-click ask for 1 approval(s))
        pages: approval_needed approved_but_held approval_needed"#]]);
}

#[test]
fn a_late_signal_asks_people_unless_the_threat_is_alive() {
    let config = shipped();
    let late = |place| {
        let mut sig =
            Sig::new("okta", Kind::CredentialLeaked, "alice@example.com", T0 - 30 * HOUR).at(place);
        sig.key = format!("late-{place}");
        sig
    };
    let mut scene = Scene::new(config);
    scene.at(0).sig(config, &late(1)).work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: awaiting_approval (contain-access ask for 1 approval(s))
        000h end_sessions okta:00u1: awaiting_approval (contain-access ask for 1 approval(s))
        pages: approval_needed"#]]);
    // The same address signs in within the last hour.
    let mut scene = Scene::new(config);
    let mut alive = Sig::new("okta", Kind::SignIn, "alice@example.com", T0 - 30 * MINUTE).at(1);
    alive.t -= (alive.t - late(1).t).rem_euclid(200);
    scene.at(0).sig(config, &alive).sig(config, &late(1)).work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        pages: "#]]);
}

#[test]
fn a_repeated_attack_asks_for_the_next_tier_never_for_the_same_step() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "alice").work();
    let again = Sig::new("okta", Kind::SignIn, "alice@example.com", T0 + 40 * MINUTE).at(8);
    scene.at(41 * MINUTE).sig(config, &again).work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h suspend oidc:alice: manual (no target does `suspend` at `oidc`: a person must)
        000h suspend okta:00u1: awaiting_approval (the same person is attacked again after a verified containment: 1 approval(s) needed)
        pages: order_needs_people approval_needed"#]]);
    // Two days later it is another attack, in the same case.
    for n in 0..3 {
        let t = 50 * HOUR + n * MINUTE;
        let leaked = Sig::new("okta", Kind::CredentialLeaked, "alice@example.com", T0 + t);
        scene.at(t + SECOND).sig(config, &leaked).work();
    }
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        000h suspend oidc:alice: manual (no target does `suspend` at `oidc`: a person must)
        000h suspend okta:00u1: awaiting_approval (the same person is attacked again after a verified containment: 1 approval(s) needed)
        050h end_sessions oidc:alice: verified (the read-back agrees, and it saw the state before)
        050h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        050h suspend oidc:alice: manual (no target does `suspend` at `oidc`: a person must)
        pages: order_needs_people approval_needed order_needs_people"#]]);
}

#[test]
fn no_target_means_a_person_must() {
    let mut config = shipped().clone();
    config.capabilities.remove("oidc");
    let mut scene = Scene::new(&config);
    scene.at(6 * MINUTE).story(&config, "alice").work();
    scene.is(expect![[r#"
        000h end_sessions oidc:alice: manual (no target does `end_sessions` at `oidc`: a person must)
        000h end_sessions okta:00u1: verified (the read-back agrees, and it saw the state before)
        pages: order_needs_people"#]]);
}

#[test]
fn a_target_that_is_gone_leaves_the_order_to_people() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "carol");
    let mut other = config.clone();
    other.capabilities.clear();
    scene.engine.configure(other);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: manual (no target does this any more: a person must look)
        pages: order_needs_people"#]]);
}

pub(crate) fn own(kind: Kind, account: &str, t: i64) -> Input {
    let mut sig = Sig::new("okta", kind, "x", T0 + t).usage(Use::Fact);
    sig.key = format!("own-{account}-{t}");
    let (provider, id) = account.split_once(':').unwrap();
    let scheme = quell_core::identity::Scheme::AccountId;
    sig.about = vec![quell_core::identity::Identifier::new(scheme, Some(provider), id)];
    let signal: Signal = sig.signal();
    let attributes = [("self".to_owned(), "true".to_owned())].into();
    let signal = Signal { attributes, ..signal };
    signals(vec![quell_core::signal::Matched { signal: signal.into(), rules: Vec::new() }])
}

#[test]
fn our_own_credential_answers_for_an_order_or_is_misused() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "carol").work();
    let seen = own(Kind::SessionRevoked, "okta:00u3", 6 * MINUTE);
    scene.tell(seen.clone());
    scene.tell(seen);
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: "#]]);
    assert!(scene.engine.freeze().is_none());
    let misused = own(Kind::AccountDisabled, "okta:00u3", 6 * MINUTE);
    scene.tell(misused.clone());
    scene.tell(misused);
    scene.is(expect![[r#"
        000h end_sessions okta:00u3: verified (the read-back agrees, and it saw the state before)
        pages: own_credential_misuse"#]]);
    assert!(scene.engine.freeze().is_some_and(|freeze| freeze.by == "quell"));
}

#[test]
fn a_block_is_lifted_after_the_sessions_ended_once_more_even_in_a_freeze() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.reply(Action::Suspend, "officer", true);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
    scene.at(HOUR).freeze(true, None);
    let order = scene.order(Action::Suspend);
    let (by, why) = ("officer".to_owned(), "a mistake".to_owned());
    scene.tell(Input::TakeBack(TakeBack { order, by, why }));
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: undoing (taken back by officer: a mistake)
        001h end_sessions okta:00u2: permitted (sessions end once more before the block is lifted)
        pages: approval_needed"#]]);
    scene.work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: undone (the read-back finds access restored)
        001h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed"#]]);
}

#[test]
fn what_a_person_took_back_is_asked_for_again_only_by_new_access() {
    let config = shipped();
    let mut scene = Scene::new(config);
    scene.at(6 * MINUTE).story(config, "bob").work();
    scene.reply(Action::Suspend, "officer", true);
    scene.work();
    let order = scene.order(Action::Suspend);
    let (by, why) = ("officer".to_owned(), "a mistake".to_owned());
    scene.tell(Input::TakeBack(TakeBack { order, by, why }));
    scene.work();
    let blocks = |scene: &Scene| {
        let all = scene.engine.orders().filter(|order| order.action == Action::Suspend);
        all.map(|order| order.state.to_string()).collect::<Vec<_>>().join(" ")
    };
    // The episode goes on with what happened before the undo.
    let t = T0 + 5 * MINUTE + SECOND;
    scene.sig(config, &Sig::new("okta", Kind::SignIn, "bob@example.com", t).at(7));
    let before = blocks(&scene);
    scene.at(2 * HOUR);
    let late = Sig::new("okta", Kind::SignIn, "bob@example.com", T0 + 50 * MINUTE).at(8);
    scene.sig(config, &late);
    expect!["undone, then undone awaiting_approval"]
        .assert_eq(&format!("{before}, then {}", blocks(&scene)));
}

#[test]
fn a_block_ends_by_itself_only_when_nothing_is_open() {
    let config = shipped();
    let begin = || {
        let mut scene = Scene::new(config);
        scene.at(6 * MINUTE).story(config, "bob").work();
        scene.reply(Action::Suspend, "officer", true);
        scene.work();
        scene
    };
    let mut scene = begin();
    scene.at(25 * HOUR).tick().work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed ttl_escalated"#]]);
    let mut scene = begin();
    let undo = Sig::new("proofpoint_tap", Kind::VerdictChanged, "bob@example.com", T0 + HOUR)
        .usage(Use::Undo)
        .threat(1);
    scene.at(HOUR).sig(config, &undo).work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed undo_proposed"#]]);
    scene.at(25 * HOUR).tick().work();
    scene.is(expect![[r#"
        000h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        000h suspend okta:00u2: undone (the read-back finds access restored)
        025h end_sessions okta:00u2: verified (the read-back agrees, and it saw the state before)
        pages: approval_needed undo_proposed"#]]);
}

/// An undo withdraws what was written before it, and nothing that was written later.
#[test]
fn an_undo_withdraws_only_what_is_older() {
    let config = shipped();
    let click = |written: i64| {
        let mut story = story("carol@example.com");
        let click = story.iter_mut().find(|sig| sig.kind == Kind::UrlClick).unwrap();
        click.written = T0 + written;
        story
    };
    let undo = |source| {
        Sig::new(source, Kind::VerdictChanged, "carol@example.com", T0 + HOUR)
            .usage(Use::Undo)
            .threat(1)
    };
    let mut out = String::new();
    for (name, written, source) in [
        ("older, same source", 0, "proofpoint_tap"),
        ("as old", HOUR, "proofpoint_tap"),
        ("newer", HOUR + 1, "proofpoint_tap"),
        ("older, another source", 0, "okta"),
    ] {
        let mut scene = Scene::new(config);
        scene.at(HOUR).tell(told(config, &click(written)));
        scene.sig(config, &undo(source));
        out.push_str(&format!("{name}: {} findings\n", scene.engine.findings().count()));
    }
    expect![[r#"
        older, same source: 0 findings
        as old: 0 findings
        newer: 1 findings
        older, another source: 1 findings
    "#]]
    .assert_eq(&out);
}

/// A weak signal repeated is still a weak signal.
#[test]
fn many_weak_signals_make_no_strong_one() {
    let config = shipped();
    let mut scene = Scene::new(config);
    let mut sigs = story("carol@example.com");
    sigs.retain(|sig| sig.kind != Kind::UrlClick);
    for n in 0..80 {
        let mut click =
            Sig::new("proofpoint_tap", Kind::UrlClick, "carol@example.com", T0 + n * SECOND)
                .usage(Use::Join)
                .at(1)
                .threat(1);
        click.confidence = 55;
        sigs.push(click);
    }
    scene.at(DAY / 2).tell(told(config, &sigs));
    let findings: Vec<String> = scene
        .engine
        .findings()
        .map(|f| {
            let kinds = f.signals.iter().map(|c| c.kind.name());
            let sign_ins = kinds.filter(|kind| *kind == "sign_in").count();
            format!(
                "{} {} of {}, {} cited, {sign_ins} sign-in, capped {}",
                f.tier,
                f.confidence,
                f.asked,
                f.signals.len(),
                f.capped
            )
        })
        .collect();
    expect!["contain 55 of contain, 64 cited, 1 sign-in, capped true"]
        .assert_eq(&findings.join("\n"));
}

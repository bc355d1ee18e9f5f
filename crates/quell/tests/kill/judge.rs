//! The kill test's judgement: what the store and the provider's own log say afterwards. Nothing
//! is asked of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quell_core::effect::Input;
use quell_core::order::{On, Order, State, Verb};
use quell_core::replay;
use quell_evidence::note::VerifierKey;
use quell_lab::{Effect, Person};
use quell_store::audit;
use quell_store::frame::Content;
use quell_store::views::{Frames, Records, StateRows};
use quell_store::{Pick, SqliteViews, Views as _};
use serde_json::Value;

use crate::engine::{Folder, named};
use crate::people::{self, Plot};
use crate::story::World;

const TENANT: &str = "default";

/// Waits until every order is final, the outbox is empty and everybody's plot was answered; else
/// says what is open.
pub(crate) async fn rest(
    folder: &Folder,
    cast: &[(Person, Plot)],
    longest: Duration,
) -> Result<(), String> {
    let views = SqliteViews::open(&folder.store()).unwrap();
    let began = std::time::Instant::now();
    loop {
        let orders = orders(&views);
        let mut open: Vec<String> = orders
            .values()
            .filter(|order| !order.state.is_final())
            .map(|o| format!("{} {} {} is {}: {}", o.id, o.action, o.on.key(), o.state, o.reason))
            .collect();
        open.extend(unanswered(&orders, cast));
        open.extend(views.outbox(TENANT, 100).unwrap().iter().map(|row| format!("{row:?}")));
        if open.is_empty() {
            return Ok(());
        }
        if began.elapsed() > longest {
            return Err(open.join("\n"));
        }
        quell_run::timer(Duration::from_millis(200)).await;
    }
}

fn orders(views: &SqliteViews) -> BTreeMap<String, Order> {
    let read = |row: Result<(String, Vec<u8>), _>| {
        let (id, bytes) = row.unwrap();
        (id, serde_json::from_slice(&bytes).unwrap())
    };
    StateRows::new(views, TENANT, "order").map(read).collect()
}

fn account_of(order: &Order) -> Option<&str> {
    match &order.on {
        On::Account(account) => Some(account.id.as_str()),
        On::Entity(_) => None,
    }
}

/// A step that the provider carries out.
fn is_act(order: &Order) -> bool {
    account_of(order).is_some() && order.action.name() != "watch"
}

/// People for whom something was not ordered that their plot asks for.
fn unanswered(orders: &BTreeMap<String, Order>, cast: &[(Person, Plot)]) -> Vec<String> {
    let ordered: BTreeSet<(&str, &str)> =
        orders.values().filter_map(|o| Some((account_of(o)?, o.action.name()))).collect();
    let mut missing = Vec::new();
    for (person, plot) in cast {
        let account = people::account(person);
        let wants = plot.wants().iter().filter(|w| !ordered.contains(&(account.as_str(), **w)));
        missing.extend(wants.map(|w| format!("no {w} for {}, {plot:?}", named(person))));
    }
    missing
}

/// What the records say about one order.
#[derive(Debug, Default)]
struct Told {
    /// Times that sight of an effecting call was lost.
    unknown: u32,
    /// Read-backs that found the effect absent.
    absent: u32,
    /// The same for the undo.
    undo_absent: u32,
    /// It was permitted.
    permitted: bool,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) records: u64,
    pub(crate) told: String,
}

/// The provider's own log and what was promised to senders.
#[derive(Debug)]
pub(crate) struct Judge {
    accepted: BTreeSet<String>,
    effects: Vec<Effect>,
    stolen: Vec<(String, String, String)>,
}

impl Judge {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            accepted: world.accepted.lock().unwrap().clone(),
            effects: world.lab.effects(),
            stolen: world.stolen.lock().unwrap().clone(),
        }
    }

    /// Whose stolen session or access token is still accepted by the resource.
    pub(crate) async fn live_credentials(&self, world: &World) -> BTreeSet<String> {
        let mut live = BTreeSet::new();
        for (who, session, access) in &self.stolen {
            let url = world.at_lab("/lab/resource");
            let by_session = world.http.get(&url).header("cookie", format!("sid={session}"));
            let by_token = world.http.get(&url).bearer_auth(access);
            for request in [by_session, by_token] {
                let (status, _) = world.ask(request).await.unwrap();
                if status.as_u16() != 401 {
                    live.insert(who.clone());
                }
            }
        }
        live
    }

    /// Panics with what does not hold.
    pub(crate) fn judge(&self, folder: &Folder, untouchable: &BTreeSet<String>) -> Figures {
        let views = SqliteViews::open(&folder.store()).unwrap();
        let key = std::fs::read_to_string(folder.path.join("key.pub")).unwrap();
        let key: VerifierKey = key.trim().parse().unwrap();
        let audited = audit::audit(&views, TENANT, Some(&key)).unwrap();
        assert_eq!(audited.records, audited.leaves, "every record is in the signed tree");
        let journal = journal(&views);
        let lost: Vec<&String> = self.accepted.difference(&journal.signals).collect();
        assert!(lost.is_empty(), "accepted and not in the journal: {lost:?}");
        let orders = orders(&views);
        let told = told(&views);
        let mut wrong = self.effects_are_ours(&orders, &journal, untouchable);
        let sent = self.sent();
        for order in orders.values() {
            let none = Told::default();
            let told = told.get(&order.id.to_string()).unwrap_or(&none);
            wrong.extend(weigh(order, told, &sent));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let (mut states, mut ends) = (BTreeMap::new(), BTreeMap::new());
        for order in orders.values().filter(|o| is_act(o)) {
            *states.entry(order.state.name()).or_insert(0_u32) += 1;
            let end = format!("{} {}: {}", order.action, order.state, order.reason);
            *ends.entry(end).or_insert(0_u32) += 1;
        }
        ends.iter().for_each(|(end, count)| println!("{count:5} {end}"));
        let unknown: u32 = told.values().map(|told| told.unknown).sum();
        let restarts = journal.restarts;
        let told = format!(
            "{} in the journal, {restarts} restarts, {} orders ({states:?}), {} effecting calls, \
             {unknown} unknown outcomes",
            journal.signals.len(),
            orders.len(),
            self.effects.len(),
        );
        Figures { records: audited.records, told }
    }

    /// Effecting calls by order and verb, by the provider's own log.
    fn sent(&self) -> BTreeMap<(String, String), u32> {
        let mut sent = BTreeMap::new();
        for effect in &self.effects {
            if let Some((order, verb, _)) = signature(effect) {
                *sent.entry((order, verb)).or_default() += 1;
            }
        }
        sent
    }

    /// Every effect names an order on that account, was claimed in the journal before, and no
    /// attempt came twice.
    fn effects_are_ours(
        &self,
        orders: &BTreeMap<String, Order>,
        journal: &Journal,
        untouchable: &BTreeSet<String>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut seen = BTreeSet::new();
        for effect in &self.effects {
            if untouchable.contains(&effect.user) {
                wrong.push(format!("somebody protected was touched: {effect:?}"));
            }
            let Some(call) = signature(effect) else {
                wrong.push(format!("an effect without an order: {effect:?}"));
                continue;
            };
            let order = orders.get(&call.0);
            if order.and_then(account_of) != Some(effect.user.as_str()) {
                wrong.push(format!("an effect on another account than its order's: {effect:?}"));
            }
            if !journal.claims.contains(&call) {
                wrong.push(format!("an effect that was not claimed: {effect:?}"));
            }
            if !seen.insert(call) {
                wrong.push(format!("one attempt arrived twice: {effect:?}"));
            }
        }
        wrong
    }
}

/// Order, verb and attempt out of the user agent: `quell/0.1.0 (ord_x; execute 1)`.
fn signature(effect: &Effect) -> Option<(String, String, u32)> {
    let (_, inner) = effect.user_agent.split_once('(')?;
    let (order, call) = inner.strip_suffix(')')?.split_once("; ")?;
    let (verb, attempt) = call.split_once(' ')?;
    Some((order.to_owned(), verb.to_owned(), attempt.parse().ok()?))
}

/// What is wrong with one order.
fn weigh(order: &Order, told: &Told, sent: &BTreeMap<(String, String), u32>) -> Vec<String> {
    let of = |verb: Verb| {
        let key = (order.id.to_string(), verb.name().to_owned());
        sent.get(&key).copied().unwrap_or_default()
    };
    let (done, undone) = (of(Verb::Execute), of(Verb::Undo));
    // the Okta target: ends of sessions are `safe` to repeat, a suspension `after_read_back`
    let safe = order.action.name() != "suspend";
    let most = 1 + told.absent + if safe { told.unknown } else { 0 };
    let what = format!(
        "{} {} on {}, {}: {}; {done} sent, {undone} undone, {told:?}",
        order.id,
        order.action,
        order.on.key(),
        order.state,
        order.reason
    );
    let mut wrong = Vec::new();
    if done > most {
        wrong.push(format!("sent more often than there is ground for: {what}"));
    }
    if undone > 1 + told.undo_absent {
        wrong.push(format!("undone more often than there is ground for: {what}"));
    }
    if done > 0 && !told.permitted {
        wrong.push(format!("sent without a permit: {what}"));
    }
    if !is_act(order) || !told.permitted {
        return wrong;
    }
    // an end whose sight was lost may be found done by what another order ended meanwhile
    let ended_by_another = told.unknown > 0 && safe;
    let carried_out = match order.state {
        State::Verified | State::NotProvable => done > 0 || ended_by_another,
        State::NoChange => true,
        State::Undone => done > 0 && undone > 0,
        _ => false,
    };
    if !carried_out {
        wrong.push(format!("permitted and not carried out: {what}"));
    }
    wrong
}

fn told(views: &SqliteViews) -> BTreeMap<String, Told> {
    let mut all: BTreeMap<String, Told> = BTreeMap::new();
    for record in Records::new(views, TENANT, Pick::All, 0) {
        let record = record.unwrap();
        let kind = record.record_type.as_str();
        if !matches!(kind, "order" | "outcome") {
            continue;
        }
        let (_, bytes) = record.body.unwrap();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        let told = all.entry(body["order"].as_str().unwrap().to_owned()).or_default();
        told.permitted |= body["event"] == "permit";
        told.unknown += u32::from(body["event"] == "lose_sight");
        let outcome = body.pointer("/more/outcome").or_else(|| body.get("outcome"));
        let Some(outcome) = outcome else { continue };
        let answer = &outcome["answer"];
        let absent =
            answer["result"] == "seen" && answer["done"] == false && answer["conclusive"] == true;
        match outcome["verb"].as_str() {
            Some("read_back") => told.absent += u32::from(absent),
            Some("read_back_undo") => told.undo_absent += u32::from(absent),
            _ => {}
        }
    }
    all
}

/// What the journal holds.
#[derive(Debug, Default)]
struct Journal {
    signals: BTreeSet<String>,
    claims: BTreeSet<(String, String, u32)>,
    restarts: u64,
}

fn journal(views: &SqliteViews) -> Journal {
    let mut journal = Journal::default();
    for frame in Frames::new(views, TENANT, 0) {
        let frame = frame.unwrap();
        let Content::Kept(body) = &frame.content else { panic!("erased: {}", frame.seq) };
        match replay::decode(frame.kind, body).unwrap() {
            Input::Signals(intake) => {
                journal.signals.extend(intake.matched.iter().map(|m| m.signal.id.to_string()));
            }
            Input::Claim(call) => {
                let claim = (call.order.to_string(), call.verb.name().to_owned(), call.attempt);
                journal.claims.insert(claim);
            }
            Input::Restarted => journal.restarts += 1,
            _ => {}
        }
    }
    journal
}

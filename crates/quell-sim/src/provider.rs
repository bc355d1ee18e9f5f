//! Simulation room, providers: sessions and blocks as they truly are, and a log of every effecting
//! call that was carried out. Outlives any crash of the engine and knows nothing of it.

use std::collections::BTreeMap;

use quell_core::action::Action;
use quell_core::effect::CallId;
use quell_core::identity::Account;
use quell_core::order::{Answer, Call, Capability, Verb};
use quell_core::time::{DAY, MINUTE, Time};

use crate::company::Company;
use crate::rng::Rng;

/// An effecting call that a provider carried out.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) call: CallId,
    pub(crate) account: Account,
    /// It was not so before.
    pub(crate) changed: bool,
}

#[derive(Debug, Clone)]
struct Session {
    born: Time,
    ends: Option<Time>,
}

/// One account as it truly is.
#[derive(Debug, Clone, Default)]
struct State {
    sessions: Vec<Session>,
    /// Blocked or not from a time on, in order.
    blocks: Vec<(Time, bool)>,
}

impl State {
    fn alive(&self, born_by: Time, t: Time) -> bool {
        let lives = |s: &Session| s.born <= born_by && s.born <= t && s.ends.is_none_or(|e| e > t);
        self.sessions.iter().any(lives)
    }

    fn blocked(&self, t: Time) -> bool {
        self.blocks.iter().rev().find(|(from, _)| *from <= t).is_some_and(|(_, blocked)| *blocked)
    }

    fn block(&mut self, from: Time, blocked: bool) {
        let from = self.blocks.last().map_or(from, |(last, _)| from.max(*last));
        self.blocks.push((from, blocked));
    }
}

/// All providers.
#[derive(Debug)]
pub(crate) struct Providers {
    accounts: BTreeMap<String, State>,
    capabilities: BTreeMap<String, Vec<Capability>>,
    /// What our credential cannot see: whatever is asked, it looks as if there were nothing.
    blind: Vec<(String, Action)>,
    pub(crate) log: Vec<Entry>,
    rng: Rng,
}

impl Providers {
    pub(crate) fn new(company: &Company, now: Time, rng: &mut Rng) -> Self {
        let mut accounts: BTreeMap<String, State> = BTreeMap::new();
        for account in company.people.iter().flat_map(|person| &person.accounts) {
            let born = now.plus(-rng.span(MINUTE, DAY));
            let state = accounts.entry(account.to_string()).or_default();
            state.sessions.push(Session { born, ends: None });
        }
        let mut blind = Vec::new();
        for (provider, all) in &company.capabilities {
            for capability in all {
                if rng.chance(60) {
                    blind.push((provider.clone(), capability.action));
                }
            }
        }
        let capabilities = company.capabilities.clone();
        Self { accounts, capabilities, blind, log: Vec::new(), rng: rng.fork() }
    }

    fn capability(&self, call: &Call) -> Option<Capability> {
        let all = self.capabilities.get(&call.account.provider)?;
        all.iter().find(|capability| capability.action == call.action).copied()
    }

    /// Somebody signs in, unless the account is blocked.
    pub(crate) fn sign_in(&mut self, account: &Account, now: Time) {
        let state = self.accounts.entry(account.to_string()).or_default();
        if !state.blocked(now) {
            state.sessions.push(Session { born: now, ends: None });
        }
    }

    /// Carries a call out as it arrives; none for one that no such target has.
    pub(crate) fn arrive(&mut self, call: &Call, now: Time) -> Option<Answer> {
        let capability = self.capability(call)?;
        let blind = self.blind.contains(&(call.account.provider.clone(), call.action));
        Some(match call.verb {
            Verb::Execute | Verb::Undo => self.act(call, capability, now),
            _ if blind => match call.verb {
                Verb::Probe => Answer::Before { alive: false, already: false, snapshot: None },
                _ => Answer::Seen { done: true, conclusive: self.rng.chance(500) },
            },
            _ => self.look(call, capability, now),
        })
    }

    fn act(&mut self, call: &Call, capability: Capability, now: Time) -> Answer {
        let delay = self.rng.span(0, capability.effective_after);
        let from = now.plus(delay);
        let tells = self.rng.chance(500);
        let state = self.accounts.entry(call.account.to_string()).or_default();
        let suspend = call.action == Action::Suspend;
        let wished = call.verb == Verb::Execute;
        let changed = if suspend {
            state.blocks.last().is_some_and(|(_, blocked)| *blocked) != wished
        } else {
            state.sessions.iter().any(|s| s.born <= now && s.ends.is_none_or(|e| e > from))
        };
        if suspend && changed {
            state.block(from, wished);
        } else if !suspend {
            for session in state.sessions.iter_mut().filter(|s| s.born <= now) {
                session.ends = Some(session.ends.map_or(from, |end| end.min(from)));
            }
        }
        self.log.push(Entry {
            call: CallId { order: call.order, verb: call.verb, attempt: call.attempt },
            account: call.account.clone(),
            changed,
        });
        Answer::Accepted { already: !changed && tells }
    }

    fn look(&mut self, call: &Call, capability: Capability, now: Time) -> Answer {
        let stale = self.rng.span(0, capability.read_back_lag);
        let t = now.plus(-stale);
        let state = self.accounts.entry(call.account.to_string()).or_default();
        let blocked = state.blocked(t);
        let suspend = call.action == Action::Suspend;
        match call.verb {
            Verb::Probe => {
                let alive = if suspend { !blocked } else { state.alive(t, t) };
                Answer::Before { alive, already: suspend && blocked, snapshot: None }
            }
            verb => {
                let by = call.acknowledged_at.or(call.sent_at).unwrap_or(t);
                let done = match (suspend, verb) {
                    (true, Verb::ReadBack) => blocked,
                    (true, _) => !blocked,
                    (false, _) => !state.alive(by, t),
                };
                let conclusive = self.rng.chance(930);
                Answer::Seen { done: done && conclusive, conclusive }
            }
        }
    }
}

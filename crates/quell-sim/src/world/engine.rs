//! Simulation room, the engine's part: lives begin and end, groups are committed, calls are
//! carried out as `quell_run::shell` does it, checkpoints and pages leave.

use quell_core::effect::{CallId, Input};
use quell_core::order::{Answer, Fault, Outcome, Verb};
use quell_core::time::{MINUTE, SECOND, Time};
use quell_run::dispatch;
use quell_run::{KeepError, Keeper, Opener, Receipt};
use quell_store::mem::MemStore;
use quell_store::{CommitError, KeySigner, LeaseError, SeededSalts, Views, WriteError};

use super::{ORIGIN, Sabotage, World};
use crate::company::{self, TENANT};
use crate::oracle;
use crate::process::{Asker, Process, Stage};
use crate::wire::Waiter;

/// Microseconds between two attempts to hand an outcome in, at first and at most.
const REPORT_PAUSE: (i64, i64) = (20_000, 5 * SECOND);

impl World {
    /// A new life of the engine, unless its store does not open.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.life += 1;
        let skew = match self.rng.below(6) {
            0 => self.rng.span(-2 * MINUTE, 0),
            1 => self.rng.span(0, 2 * MINUTE),
            _ => 0,
        };
        if skew < 0 {
            self.stats.count("clock: went back");
        }
        let opener = self.opener();
        let config = self.company.config()?;
        let configured = company::configured(&config);
        let at = self.now.plus(skew);
        let opened = Keeper::open(opener, config, configured, "simulation", at);
        self.note(|| format!("life begins, skew {} ms: {}", skew / 1000, opened.is_ok()));
        match opened {
            Ok(keeper) => {
                let cursors = self.disk.views().cursors(TENANT).map_err(|e| e.to_string())?;
                for source in &mut self.sources {
                    let cursor = cursors.iter().find(|(name, _)| name == source.name);
                    let cursor = cursor.map(|(_, bytes)| bytes.as_slice());
                    source.engine_died(self.now, cursor, &mut self.stats);
                }
                self.process = Some(Process::start(keeper, self.life, skew)?);
                self.frozen = self.ledger.frozen;
                self.import()
            }
            Err(KeepError::Lease(LeaseError::Write(_)) | KeepError::Open(_)) => Ok(()),
            Err(error) => Err(format!("the engine does not start: {error}")),
        }
    }

    /// Opens the disk, now and then not; each time with other salts.
    fn opener(&self) -> Opener {
        let (disk, faults) = (self.disk.clone(), self.faults.clone());
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(self.life << 16);
        let mut times = 0;
        Box::new(move || {
            if !faults.opens() {
                return Err("the disk does not answer".to_owned());
            }
            times += 1;
            let salts = SeededSalts::new(seed.wrapping_add(times));
            let store: MemStore = disk.open(Box::new(salts));
            Ok(Box::new(store))
        })
    }

    /// The directory as it is now is handed in.
    pub(super) fn import(&mut self) -> Result<(), String> {
        let import = Input::Directory(self.company.import());
        self.process.iter_mut().try_for_each(|p| p.input(import.clone(), Asker::Directory))
    }

    /// The engine dies in the middle of whatever it does.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let place = process.place();
        self.stats.crashes += 1;
        self.stats.count(place);
        self.note(|| format!("life ends: {place}"));
        drop(process);
        oracle::check(self)
    }

    /// It may die here; `weight` says how interesting the place is.
    pub(super) fn perhaps_crash(&mut self, weight: u64) -> Result<(), String> {
        if !self.settling && self.rng.chance(weight * self.deadly) { self.crash() } else { Ok(()) }
    }

    pub(super) fn commit(&mut self) -> Result<(), String> {
        let most = 1 + self.rng.index(8);
        let now = self.now;
        let result = self.process.as_mut().map(|process| process.commit(now, most));
        self.committed(result)
    }

    pub(super) fn tick(&mut self) -> Result<(), String> {
        let now = self.now;
        let result = self.process.as_mut().map(|process| process.tick(now));
        self.committed(result)
    }

    /// What a commit may answer, and what it must have left behind.
    pub(super) fn committed(
        &mut self,
        result: Option<Result<(), KeepError>>,
    ) -> Result<(), String> {
        let told = match result {
            None => return Ok(()),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(KeepError::Commit(CommitError::Write(WriteError::Unsure(_))))) => {
                self.stats.count("commit: unsure, the store is opened again");
                "unsure".to_owned()
            }
            Some(Err(
                error @ (KeepError::Commit(CommitError::Write(WriteError::Full))
                | KeepError::Lease(LeaseError::Write(
                    WriteError::Full | WriteError::Unsure(_),
                ))),
            )) => error.to_string(),
            // Nothing more can be done in this life: the process ends.
            Some(Err(error @ KeepError::Open(_))) if error.is_final() => {
                self.stats.count("commit: the store does not open, the process ends");
                self.note(|| error.to_string());
                return self.crash();
            }
            Some(Err(error)) => return Err(format!("the engine cannot commit: {error}")),
        };
        self.note(|| format!("commit: {told}"));
        oracle::after_commit(self)?;
        self.perhaps_crash(4)
    }

    pub(super) fn reply(&mut self) -> Result<(), String> {
        let now = self.now;
        let Some((asker, result)) = self.process.as_mut().and_then(Process::reply) else {
            return Ok(());
        };
        match asker {
            Asker::Nobody | Asker::Person => {}
            Asker::Directory if result.is_err() => self.import()?,
            Asker::Directory => {}
            Asker::Source { source, batch } => {
                if let Some(source) = self.sources.get_mut(source) {
                    match result {
                        Ok(receipt) => source.taken(batch, &receipt),
                        Err(_) => source.refused(batch, now, &mut self.stats),
                    }
                }
            }
            Asker::Task(id) => self.task_reply(id, result.ok())?,
        }
        self.perhaps_crash(2)
    }

    fn task_reply(&mut self, id: u64, receipt: Option<Receipt>) -> Result<(), String> {
        let now = self.now;
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(task) = process.tasks.get_mut(&id) else { return Ok(()) };
        let call = dispatch::id(&task.call);
        let told = format!("reply to {} {}: {receipt:?}", call.verb, call.order);
        match (task.stage.clone(), receipt) {
            (Stage::Claiming, Some(receipt)) if receipt.may_send => {
                task.stage = Stage::Send(receipt.heeds_freeze);
            }
            (Stage::Claiming, Some(_)) => process.finish(id, now, false),
            (Stage::Claiming, None) => process.finish(id, now, true),
            (Stage::Reporting(..), Some(_)) => process.finish(id, now, false),
            (Stage::Reporting(told, pause), None) => {
                let again = (pause * 2).min(REPORT_PAUSE.1);
                task.stage = Stage::Report(told, now.plus(pause), again);
            }
            (stage, _) => return Err(format!("a reply to a call that is {stage:?}")),
        }
        self.note(|| told);
        Ok(())
    }

    /// A call that is being carried out goes on.
    pub(super) fn task(&mut self, id: u64) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let clock = process.clock(self.now);
        let Some(task) = process.tasks.get_mut(&id) else { return Ok(()) };
        let call = task.call.clone();
        let key = dispatch::id(&call);
        match task.stage.clone() {
            Stage::Claim if self.sabotage == Sabotage::SkipsClaim => {
                task.stage = Stage::Send(false);
            }
            Stage::Claim => {
                task.stage = Stage::Claiming;
                process.input(Input::Claim(key), Asker::Task(id))?;
            }
            Stage::Send(true) if process.frozen && self.sabotage != Sabotage::IgnoresFreeze => {
                task.stage = Stage::Report(Input::Unsent(key), self.now, REPORT_PAUSE.0);
                self.stats.count("freeze: a claimed call was given back");
                return self.perhaps_crash(60);
            }
            Stage::Send(_) => {
                task.stage = Stage::Sent(clock);
                self.send(id, call)?;
                return self.perhaps_crash(4);
            }
            Stage::Report(told, _, pause) => {
                if self.sabotage == Sabotage::ForgetsOutcome && self.rng.chance(20) {
                    process.finish(id, self.now, false);
                    return Ok(());
                }
                task.stage = Stage::Reporting(told.clone(), pause);
                process.input(told, Asker::Task(id))?;
            }
            Stage::Claiming | Stage::Sent(_) | Stage::Reporting(..) => {}
        }
        Ok(())
    }

    /// A request leaves.
    fn send(&mut self, task: u64, call: quell_core::order::Call) -> Result<(), String> {
        oracle::before_send(self, &call)?;
        let key = dispatch::id(&call);
        if dispatch::needs_claim(&call) {
            *self.sends.entry(key).or_default() += 1;
        }
        self.note(|| format!("{} {} {} leaves", call.verb, call.attempt, call.order));
        let waiter = Waiter { life: self.life, task };
        self.wire.send(call, waiter, self.now, &mut self.stats);
        Ok(())
    }

    /// Something arrives at one end of the wire.
    pub(super) fn hear(&mut self) -> Result<(), String> {
        let (told, carried) = self.wire.step(self.now, &mut self.providers, &mut self.stats);
        if let Some(call) = carried {
            self.note(|| format!("{} {} {} is done", call.verb, call.attempt, call.order));
            self.echo(&call)?;
        }
        let Some(told) = told else { return Ok(()) };
        let Some(process) = self.process.as_mut().filter(|p| p.life == told.waiter.life) else {
            return Ok(());
        };
        let Some(task) = process.tasks.get_mut(&told.waiter.task) else { return Ok(()) };
        let Stage::Sent(sent_at) = task.stage else { return Ok(()) };
        let lost = told.answer == Answer::Fault { fault: Fault::Indeterminate, retry_at: None };
        if lost && self.sabotage == Sabotage::RepeatsUnknown {
            let call = task.call.clone();
            return self.send(told.waiter.task, call);
        }
        let CallId { order, verb, attempt } = dispatch::id(&task.call);
        let outcome = Outcome {
            order,
            verb,
            attempt,
            answer: told.answer,
            sent_at: Some(sent_at),
            request: format!("POST /simulation/{verb}"),
            status: told.status,
            vendor_request: None,
            response: None,
            detail: String::new(),
        };
        let answer = format!("answer to {verb} {attempt} {order}: {:?}", outcome.answer);
        task.stage = Stage::Report(Input::Outcome(outcome), self.now, REPORT_PAUSE.0);
        self.note(|| answer);
        self.perhaps_crash(4)
    }

    /// The provider's audit log tells of what we did, sooner or later.
    fn echo(&mut self, call: &quell_core::order::Call) -> Result<(), String> {
        use quell_core::action::Action;
        use quell_core::signal::Kind;
        if call.account.provider != company::OKTA || !self.rng.chance(400) {
            return Ok(());
        }
        let kind = match (call.action, call.verb) {
            (Action::Suspend, Verb::Undo) => Kind::AccountEnabled,
            (Action::Suspend, _) => Kind::AccountDisabled,
            _ => Kind::SessionRevoked,
        };
        let at = self.now;
        let mut teller = self.teller();
        let signal = teller.own(&call.account.id, kind, at)?;
        let arrivals = teller.arrivals;
        self.arrivals.extend(arrivals);
        self.note(|| format!("the provider will tell of it as {signal}"));
        Ok(())
    }

    pub(super) fn sign(&mut self) -> Result<(), String> {
        let now = self.now;
        let signer = KeySigner { origin: ORIGIN.to_owned(), key: self.key.clone() };
        let Some(process) = &mut self.process else { return Ok(()) };
        let at = process.clock(now);
        process.unsigned = false;
        match process.keeper.checkpoint(at, &signer) {
            Ok(checkpoint) => self.held.push(checkpoint.note),
            Err(quell_store::SequenceError::Write(WriteError::Full | WriteError::Unsure(_))) => {}
            Err(error) => return Err(format!("no checkpoint can be signed: {error}")),
        }
        process.reopens(now);
        self.note(|| "checkpoint".to_owned());
        self.perhaps_crash(4)
    }

    /// A checkpoint over everything, once the faults are over.
    pub(crate) fn sign_last(&mut self) -> Result<(), String> {
        self.sign()?;
        match self.process.as_ref().is_some_and(|process| process.keeper.is_open()) {
            true => Ok(()),
            false => Err("the last checkpoint was not signed".to_owned()),
        }
    }

    pub(super) fn owes_pages(&self) -> bool {
        let far = Time(i64::MAX);
        self.disk.views().notices(TENANT, far, 1).is_ok_and(|notices| !notices.is_empty())
    }

    /// The pager delivers what is in the store and writes it off.
    pub(super) fn page(&mut self) -> Result<(), String> {
        let far = Time(i64::MAX);
        let notices = self.disk.views().notices(TENANT, far, 8).map_err(|e| e.to_string())?;
        let mut done = Vec::new();
        for notice in notices {
            let fate = if self.settling { 9 } else { self.rng.below(10) };
            match fate {
                0 => self.stats.fault("notice: failed, did not happen"),
                1 => {
                    self.stats.fault("notice: failed, did happen");
                    self.delivered.insert(notice.id);
                }
                _ => {
                    self.delivered.insert(notice.id.clone());
                    done.push(notice.id);
                }
            }
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        match process.keeper.notices_tried(done, Vec::new()) {
            Ok(())
            | Err(KeepError::Commit(CommitError::Write(
                WriteError::Full | WriteError::Unsure(_),
            ))) => {}
            Err(error) => return Err(format!("notices cannot be written off: {error}")),
        }
        process.reopens(self.now);
        Ok(())
    }

    pub(super) fn send_batch(&mut self, place: usize) -> Result<(), String> {
        let now = self.now;
        let Some(source) = self.sources.get_mut(place) else { return Ok(()) };
        let Some(id) = source.due(now) else { return Ok(()) };
        let Some(submission) = source.send(id)? else { return Ok(()) };
        let Some(process) = &mut self.process else { return Ok(()) };
        let asker = Asker::Source { source: place, batch: id };
        let early = self.sabotage == Sabotage::AnswersEarly;
        match process.submit(submission, if early { Asker::Nobody } else { asker }) {
            Err(_) => source.refused(id, now, &mut self.stats),
            Ok(()) if early => source.taken(id, &Receipt::default()),
            Ok(()) => {}
        }
        Ok(())
    }
}

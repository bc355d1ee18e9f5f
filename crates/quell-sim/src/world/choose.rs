//! Simulation room, choice: what can happen now, and what does.

use quell_core::time::{HOUR, MINUTE, SECOND, Time};

use super::World;
use crate::process::Stage;

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start,
    Crash,
    Commit,
    Release,
    Reply,
    Tick,
    Sign,
    Page,
    Dispatch,
    Task(u64),
    Wire,
    Learn,
    Gather(usize),
    Send(usize),
    Person,
    /// A person freezes everything while a call is about to leave.
    Freeze,
    SignIn,
    /// A little time passes while something is to be done.
    Pause,
    /// Time passes because nothing is to be done.
    Wait,
}

impl World {
    /// Does one of the things that can happen now.
    pub(super) fn one_step(&mut self) -> Result<(), String> {
        self.step += 1;
        let choices = self.choices();
        let total = choices.iter().map(|(_, weight)| weight).sum();
        let mut left = self.rng.below(total);
        let mut chosen = Step::Wait;
        for (step, weight) in choices {
            if left < weight {
                chosen = step;
                break;
            }
            left -= weight;
        }
        self.do_step(chosen)?;
        self.perhaps_crash(1)?;
        let counted = self.faults.take_stats();
        self.stats.add(&counted);
        Ok(())
    }

    fn choices(&self) -> Vec<(Step, u64)> {
        let mut all = Vec::new();
        let mut can = |step, weight, possible| {
            if possible {
                all.push((step, weight));
            }
        };
        let playing = !self.settling;
        can(Step::Wire, 8, self.wire.next().is_some_and(|at| at <= self.now));
        can(Step::Learn, 8, self.arrivals.iter().any(|arrival| arrival.at <= self.now));
        can(Step::SignIn, 1, playing);
        for (place, source) in self.sources.iter().enumerate() {
            can(Step::Gather(place), 4, source.has_pending());
        }
        let Some(process) = &self.process else {
            let idle = all.iter().all(|(step, _)| *step == Step::SignIn);
            all.push((if idle { Step::Wait } else { Step::Pause }, if playing { 4 } else { 0 }));
            all.push((Step::Start, 4));
            return all;
        };
        for (place, source) in self.sources.iter().enumerate() {
            can(Step::Send(place), 6, source.due(self.now).is_some());
        }
        let open = process.keeper.is_open();
        can(Step::Crash, 2, !open && playing);
        can(Step::Commit, 10, process.can_commit());
        can(Step::Release, 12, process.can_release());
        can(Step::Reply, 12, process.can_reply());
        can(Step::Tick, 6, process.can_tick(self.now));
        can(Step::Sign, 1, open && process.unsigned && !process.can_release());
        let pages = open && !process.can_release() && self.owes_pages();
        can(Step::Page, if playing { 1 } else { 12 }, pages);
        can(Step::Dispatch, 12, process.can_dispatch(self.now));
        can(Step::Person, 2, playing);
        let claimed = process.tasks.values().any(|t| matches!(t.stage, Stage::Send(true)));
        can(Step::Freeze, 6, playing && claimed);
        for (id, task) in &process.tasks {
            can(Step::Task(*id), 8, task.is_ready(self.now));
        }
        // Time passes by itself when nothing else is to be done; else seldom.
        let idle = all.iter().all(|(step, _)| {
            let anytime = matches!(step, Step::Crash | Step::Person | Step::SignIn | Step::Sign);
            anytime || playing && *step == Step::Page
        });
        match idle {
            true => all.push((Step::Wait, 12)),
            false => all.push((Step::Pause, 1)),
        }
        all
    }

    fn do_step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Start => self.start(),
            Step::Crash => self.crash(),
            Step::Commit => self.commit(),
            Step::Release => {
                self.note(|| "release".to_owned());
                self.process.iter_mut().for_each(super::Process::release);
                self.frozen = self.ledger.frozen;
                self.perhaps_crash(4)
            }
            Step::Reply => self.reply(),
            Step::Tick => self.tick(),
            Step::Sign => self.sign(),
            Step::Page => self.page(),
            Step::Dispatch => {
                let finished_first = self.rng.chance(500);
                let now = self.now;
                self.process.iter_mut().for_each(|process| process.dispatch(now, finished_first));
                Ok(())
            }
            Step::Task(id) => self.task(id),
            Step::Wire => self.hear(),
            Step::Learn => {
                self.learn();
                Ok(())
            }
            Step::Gather(place) => {
                let all = self.settling || self.rng.chance(300);
                if let Some(source) = self.sources.get_mut(place) {
                    source.gather(self.now, all, &mut self.stats);
                }
                Ok(())
            }
            Step::Send(place) => self.send_batch(place),
            Step::Person => self.person(),
            Step::Freeze => self.freeze(),
            Step::SignIn => {
                self.sign_in();
                Ok(())
            }
            Step::Pause => {
                let most = if self.rng.chance(30) { MINUTE } else { SECOND };
                let by = if self.settling { 1 } else { self.rng.span(1, most) };
                self.now = self.now.plus(by);
                Ok(())
            }
            Step::Wait => self.wait(),
        }
    }

    fn learn(&mut self) {
        let now = self.now;
        let (due, later) =
            std::mem::take(&mut self.arrivals).into_iter().partition(|a| a.at <= now);
        self.arrivals = later;
        let due: Vec<super::Arrival> = due;
        for arrival in due {
            let source = self.sources.iter_mut().find(|source| source.name == arrival.source);
            if let Some(source) = source {
                source.learn(arrival.matched);
            }
        }
    }

    /// Time goes on: to the next thing that is due, a little less or more, or by a jump.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let next = self.next_due();
        if next.is_none() && !self.settling {
            // Nothing would happen any more: somebody meets something new.
            self.meet(self.now)?;
        }
        let rest = next.map_or(HOUR, |at| at.since(self.now)).max(1);
        let by = if self.settling {
            rest
        } else {
            match self.rng.below(20) {
                // Requests do not stay on their way for hours.
                0 if self.wire.next().is_none() => self.rng.span(1, 3 * HOUR),
                1 => self.rng.span(1, MINUTE),
                2..=8 => self.rng.span(1, rest),
                _ => rest.saturating_add(self.rng.span(0, SECOND / 10)),
            }
        };
        self.now = self.now.plus(by);
        self.note(|| format!("{} ms pass", by / 1000));
        Ok(())
    }

    /// When the next thing is due that is not due yet.
    pub(super) fn next_due(&self) -> Option<Time> {
        let mut times: Vec<Time> = self.arrivals.iter().map(|arrival| arrival.at).collect();
        times.extend(self.wire.next());
        times.extend(self.sources.iter().filter_map(crate::source::Source::next));
        if let Some(process) = &self.process {
            times.extend(process.wake_at.map(|at| process.truly(at)));
            times.extend(process.dispatch.next_due().map(|at| process.truly(at)));
            times.extend(process.tasks.values().filter_map(|task| match &task.stage {
                Stage::Report(_, at, _) => Some(*at),
                _ => None,
            }));
        }
        times.into_iter().filter(|at| *at > self.now).min()
    }
}

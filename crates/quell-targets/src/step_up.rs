//! Step-up by membership in one configured group, of which the provider's sign-in policy asks a
//! stronger sign-in. Membership is read before and after; nobody is taken out who was in before. No
//! vendor's words here: how a member is read, added and taken out is the provider's.

use quell_core::order::{Answer, Call, Fault};
use quell_core::time::Time;
use serde::{Deserialize, Serialize};

use crate::target::{Refusal, Said, Trace, cannot, is_late, snapshot};

/// What the probe keeps for the undo.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Snapshot {
    /// The group of that time: the undo takes him out of this one, whatever is configured by then.
    group: String,
    /// He was in it.
    member: bool,
}

/// A provider with groups.
pub(crate) trait StepUp {
    /// What membership means, for people.
    const MEMBER: &'static str;

    /// The configured group.
    fn group(&self) -> Option<&str>;

    /// Whether a text has the form of a group's id.
    fn is_group(id: &str) -> bool;

    /// Microseconds by which a read of the membership may lag.
    fn lag(&self) -> i64;

    /// Reads the membership.
    async fn is_member(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<bool, Refusal>;

    /// Puts the user in; what the provider says of somebody who is in already is its own.
    async fn put_in(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal>;

    /// Takes the user out.
    async fn take_out(
        &self,
        group: &str,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal>;

    async fn probe_step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let group = self.group().ok_or_else(|| cannot(call))?;
        let member = self.is_member(group, call, now, trace).await?;
        let snapshot = Snapshot { group: group.to_owned(), member };
        let snapshot = serde_json::to_string(&snapshot).ok();
        let answer = Answer::Before { alive: !member, already: member, snapshot };
        Ok(Said::new(answer, words::<Self>(member)))
    }

    async fn step_up(&self, call: &Call, now: Time, trace: &mut Trace) -> Result<Said, Refusal> {
        let group = self.group().ok_or_else(|| cannot(call))?;
        self.put_in(group, call, now, trace).await
    }

    async fn read_back_step_up(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let was = before::<Self>(call);
        let group = match &was {
            Some(was) => was.group.as_str(),
            None => self.group().ok_or_else(|| cannot(call))?,
        };
        let done = self.is_member(group, call, now, trace).await?;
        let conclusive = done || is_late(call, now, self.lag());
        Ok(Said::new(Answer::Seen { done, conclusive }, words::<Self>(done)))
    }

    /// Takes the user out of the group, if the probe saw him outside before.
    ///
    /// *Crash*: he may or may not be in it; the membership tells.
    async fn step_down(&self, call: &Call, now: Time, trace: &mut Trace) -> Result<Said, Refusal> {
        let Some(was) = before::<Self>(call).filter(|was| !was.member) else {
            let detail = "the user was in the group before: left in it, nothing was sent";
            return Err(Refusal::new(Fault::Precondition, detail));
        };
        if !self.is_member(&was.group, call, now, trace).await? {
            return Ok(Said::new(Answer::Accepted { already: true }, "is not in the group"));
        }
        self.take_out(&was.group, call, now, trace).await
    }

    async fn read_back_step_down(
        &self,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Said, Refusal> {
        let Some(was) = before::<Self>(call) else {
            return Err(Refusal::new(Fault::Precondition, "the group of that time is not known"));
        };
        let member = self.is_member(&was.group, call, now, trace).await?;
        Ok(Said::new(Answer::Seen { done: !member, conclusive: true }, words::<Self>(member)))
    }
}

fn before<T: StepUp + ?Sized>(call: &Call) -> Option<Snapshot> {
    snapshot(call).filter(|was: &Snapshot| T::is_group(&was.group))
}

fn words<T: StepUp + ?Sized>(member: bool) -> &'static str {
    if member { T::MEMBER } else { "not in the step-up group" }
}

//! Orders, their states: one total function from state and event to the next state. What brings
//! an event about is decided elsewhere.

use crate::name::names;

names! {
    /// Where an order stands.
    State {
        /// Asked for, not yet judged.
        Planned = "planned",
        /// No policy permits it, or a guard forbids it.
        Refused = "refused",
        /// Permitted, but the pair (source, action) is not armed: nothing is sent.
        Shadowed = "shadowed",
        /// A budget, a floor or a freeze stands in the way.
        Held = "held",
        /// Waits for people.
        AwaitingApproval = "awaiting_approval",
        /// A person said no.
        Denied = "denied",
        /// Nobody answered in time.
        Expired = "expired",
        /// In the outbox.
        Permitted = "permitted",
        /// Claimed by dispatch: the request may be on its way.
        Dispatched = "dispatched",
        /// The target said yes.
        Acknowledged = "acknowledged",
        /// No answer, or one that proves nothing: read back before anything else.
        Unknown = "unknown",
        /// The target's own stated delay has passed.
        Effective = "effective",
        /// The read-back agrees, with its positive control.
        Verified = "verified",
        /// Acknowledged; this target cannot prove it (no positive control, no read-back).
        NotProvable = "not_provable",
        /// The read-back disagrees after every permitted repetition.
        NotEffective = "not_effective",
        /// It was already so; an undo must not touch it.
        NoChange = "no_change",
        /// Done in part.
        Partial = "partial",
        /// Refused by the target for good.
        Failed = "failed",
        /// Withdrawn before it left.
        Cancelled = "cancelled",
        /// Carried over to another case or finding.
        Superseded = "superseded",
        /// A person must do it.
        Manual = "manual",
        /// The inverse is on its way.
        Undoing = "undoing",
        /// The inverse is verified.
        Undone = "undone",
        /// The inverse failed: a person must look.
        UndoFailed = "undo_failed",
    }
}

names! {
    /// What moves an order from state to state.
    Event {
        /// Authority: no.
        Refuse = "refuse",
        /// Authority: yes, but not armed.
        Shadow = "shadow",
        /// A limit or freeze holds it.
        Hold = "hold",
        /// Authority: yes after approval.
        AskApproval = "ask_approval",
        /// Authority: yes.
        Permit = "permit",
        /// A person denied it.
        Deny = "deny",
        /// The approval ran out.
        Expire = "expire",
        /// Dispatch claimed it.
        Claim = "claim",
        /// The target acknowledged.
        Acknowledge = "acknowledge",
        /// Time-out, crash, or an answer that proves nothing.
        LoseSight = "lose_sight",
        /// The stated delay has passed.
        TakeEffect = "take_effect",
        /// The read-back found it done and the control held.
        Verify = "verify",
        /// The read-back found it done; the control did not hold, or there is none.
        CannotProve = "cannot_prove",
        /// The read-back found it not done: send again if the repeat class permits.
        Retry = "retry",
        /// The read-back found it not done and no repetition is permitted.
        GiveUp = "give_up",
        /// It was already so.
        FindUnchanged = "find_unchanged",
        /// Done in part.
        FindPartial = "find_partial",
        /// The target refused for good.
        Fail = "fail",
        /// The ground was withdrawn before it left.
        Cancel = "cancel",
        /// Another order stands for it.
        Supersede = "supersede",
        /// Hand it to a person.
        HandOver = "hand_over",
        /// Start the inverse.
        Undo = "undo",
        /// The inverse is verified.
        UndoVerify = "undo_verify",
        /// The inverse failed.
        UndoFail = "undo_fail",
        /// Dispatch gives a claimed call back: it did not leave.
        GiveBack = "give_back",
    }
}

/// An event that does not belong in a state; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` is not possible for an order that is `{state}`")]
pub struct IllegalEvent {
    /// The state it is in.
    pub state: State,
    /// The event that came.
    pub event: Event,
}

impl State {
    /// The one transition function, used live and on recovery.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the event does not belong in this state.
    pub fn next(self, event: Event) -> Result<Self, IllegalEvent> {
        use Event as E;
        use State as S;
        let judged = |event| match event {
            E::Refuse => Some(S::Refused),
            E::Shadow => Some(S::Shadowed),
            E::Hold => Some(S::Held),
            E::AskApproval => Some(S::AwaitingApproval),
            E::Permit => Some(S::Permitted),
            E::Cancel => Some(S::Cancelled),
            E::Supersede => Some(S::Superseded),
            E::HandOver => Some(S::Manual),
            _ => None,
        };
        let sighted = |event| match event {
            E::Acknowledge => Some(S::Acknowledged),
            E::LoseSight => Some(S::Unknown),
            E::FindUnchanged => Some(S::NoChange),
            E::FindPartial => Some(S::Partial),
            E::Verify => Some(S::Verified),
            E::CannotProve => Some(S::NotProvable),
            E::Retry => Some(S::Permitted),
            E::GiveUp => Some(S::NotEffective),
            E::Fail => Some(S::Failed),
            E::HandOver => Some(S::Manual),
            _ => None,
        };
        let next = match (self, event) {
            (S::Planned, event) => judged(event),
            (S::Refused | S::Shadowed | S::Held, event) => judged(event),
            (S::AwaitingApproval, E::Deny) => Some(S::Denied),
            (S::AwaitingApproval, E::Expire) => Some(S::Expired),
            (S::AwaitingApproval, event) => judged(event),
            (S::Permitted, E::Claim) => Some(S::Dispatched),
            (S::Permitted, E::Hold) => Some(S::Held),
            (S::Permitted, E::Cancel) => Some(S::Cancelled),
            (S::Permitted, E::Supersede) => Some(S::Superseded),
            (S::Permitted, E::HandOver) => Some(S::Manual),
            (S::Permitted, E::FindUnchanged) => Some(S::NoChange),
            (S::Permitted, E::Fail) => Some(S::Failed),
            (S::Permitted, E::LoseSight) => Some(S::Unknown),
            (S::Dispatched, E::GiveBack) => Some(S::Permitted),
            (S::Dispatched | S::Unknown, event) => sighted(event),
            (S::Acknowledged, E::TakeEffect) => Some(S::Effective),
            (S::Acknowledged | S::Effective, E::Acknowledge) => None,
            (S::Acknowledged | S::Effective, event) => sighted(event),
            (S::Verified | S::NotProvable | S::Partial, E::Undo) => Some(S::Undoing),
            (S::NotProvable, E::Verify) => Some(S::Verified),
            (S::Verified | S::NotProvable, E::GiveUp) => Some(S::NotEffective),
            (S::NotEffective | S::Failed, E::HandOver) => Some(S::Manual),
            (S::Undoing, E::UndoVerify) => Some(S::Undone),
            (S::Undoing, E::UndoFail) => Some(S::UndoFailed),
            (S::UndoFailed, E::Undo) => Some(S::Undoing),
            _ => None,
        };
        next.ok_or(IllegalEvent { state: self, event })
    }

    /// True while the step is asked for, carried out or taken back: the same step is not ordered
    /// again by what is known already.
    pub fn stands(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Superseded)
    }

    /// True while nothing of it has left: it may be cancelled.
    pub fn waits(self) -> bool {
        use State as S;
        self.is_judged_again() || matches!(self, S::Permitted)
    }

    /// True while it is judged again whenever its ground may have changed.
    pub fn is_judged_again(self) -> bool {
        use State as S;
        matches!(self, S::Planned | S::Refused | S::Shadowed | S::Held | S::AwaitingApproval)
    }

    /// True once nothing more will happen by itself.
    pub fn is_final(self) -> bool {
        use State as S;
        matches!(
            self,
            S::Refused
                | S::Shadowed
                | S::Denied
                | S::Expired
                | S::Verified
                | S::NotProvable
                | S::NotEffective
                | S::NoChange
                | S::Partial
                | S::Failed
                | S::Cancelled
                | S::Superseded
                | S::Manual
                | S::Undone
                | S::UndoFailed
        )
    }
}

//! Engine room, our own credential: what a provider saw it doing. It answers for an order, or it
//! is misuse; nothing else is decided here.

use serde_json::{Value, json};

use super::Engine;
use crate::action::Action;
use crate::effect::Freeze;
use crate::id::OrderId;
use crate::identity::Scheme;
use crate::order::{Event, Order, State, Verb};
use crate::progress;
use crate::signal::{Kind, Reach, Signal};
use crate::time::{HOUR, MINUTE, Time};

/// How far the provider's record of our act may lie from the act as we know it.
const SEEN_WITHIN: i64 = 10 * MINUTE;
/// How long a freeze lasts that sets itself.
const SELF_FREEZE: i64 = 24 * HOUR;

impl Engine {
    /// It verifies an order that names that step, account and time; without one it is misuse.
    pub(super) fn own_event(&mut self, signal: &Signal) {
        let actions: &[Action] = match signal.kind {
            Kind::SessionRevoked => &[
                Action::EndSessions,
                Action::ForceReauth,
                Action::RevokeTokens,
                Action::EndSession,
            ],
            Kind::AccountDisabled | Kind::AccountEnabled => &[Action::Suspend],
            _ => &[],
        };
        // What anybody can do to our login, a failed sign-in among it, says nothing about it.
        if actions.is_empty() && signal.kind.reach() != Reach::Access {
            let refs = vec![signal.id.to_string()];
            let body = json!({ "signal": signal.id, "kind": signal.kind });
            self.record("own_account_tried", body, refs);
            return;
        }
        let t = signal.times.happened.t;
        let enabled = signal.kind == Kind::AccountEnabled;
        let ids = signal.about.iter().filter(|name| name.scheme == Scheme::AccountId);
        let accounts = ids
            .map(|name| format!("{}:{}", name.provider.as_deref().unwrap_or_default(), name.value));
        let orders: Vec<OrderId> =
            accounts.flat_map(|a| self.index.on(&a).collect::<Vec<_>>()).collect();
        let orders = orders.iter().filter_map(|id| self.orders.get(id));
        let orders: Vec<&Order> = orders.filter(|o| actions.contains(&o.action)).collect();
        let seen = orders.iter().find(|order| did(order, enabled) && is_near(order, t));
        if let Some(order) = seen {
            let (id, case, state) = (order.id, order.case, order.state);
            let control = order.control;
            let refs = vec![id.to_string(), case.to_string(), signal.id.to_string()];
            let body = json!({ "order": id, "signal": signal.id, "at": t });
            self.record("order_seen_by_provider", body, refs);
            if state == State::NotProvable && !enabled && control == Some(true) {
                let at = self.at;
                self.change(id, |order| order.verified_at = Some(at));
                let why = "the provider's own record names the step, the account and the time";
                self.advance(id, Event::Verify, why, &Value::Null);
            }
            return;
        }
        // An order in flight whose answer is not recorded yet explains the event as well.
        if orders.iter().any(|order| order.claimed.is_some()) {
            return;
        }
        self.misused(signal, t);
    }

    fn misused(&mut self, signal: &Signal, t: Time) {
        let body = json!({
            "signal": signal.id, "kind": signal.kind, "source": signal.source,
            "record": signal.record, "at": t,
        });
        self.record("own_credential_misuse", body, vec![signal.id.to_string()]);
        let text = format!("our credential at `{}` acted without an order: frozen", signal.source);
        self.page("own_credential_misuse", None, None, &text);
        if self.freeze.is_none() {
            self.set_freeze(Some(Freeze {
                on: true,
                until: Some(self.at.plus(SELF_FREEZE)),
                by: "quell".to_owned(),
                why: "own credential misuse".to_owned(),
            }));
        }
    }
}

/// True when a call of the order may have left that does this: the inverse where something was
/// given back, the act otherwise. One that waits for its claim, or was given back, has not.
fn did(order: &Order, inverse: bool) -> bool {
    let verb = if inverse { Verb::Undo } else { Verb::Execute };
    let left = !order.claims.is_empty() || order.sent_at.is_some();
    left && progress::attempts(order, verb) > 0
}

fn is_near(order: &Order, t: Time) -> bool {
    let known = [order.sent_at, Some(order.changed_at), order.acknowledged_at];
    let mut near = known.iter().flatten().chain(&order.claims);
    near.any(|at| t.since(*at).abs() <= SEEN_WITHIN)
}

//! Binary room, routes: the one table of what both listeners answer. Routers, the description and
//! the tests of roles come from it. Handles no request.

use axum::routing::MethodFilter;

use crate::config::Role;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Intake,
    Control,
}

impl Listener {
    /// Its name for people and figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Control => "control",
        }
    }
}

/// What a route does; its operation id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    IntakeAlive,
    Take,
    Challenge,
    Alive,
    Ready,
    OpenApi,
    Metrics,
    Cases,
    CloseCase,
    Precision,
    Orders,
    Approve,
    Deny,
    Undo,
    Frozen,
    Freeze,
    Directory,
    Watchlist,
    Records,
    Explain,
    Checkpoint,
    Bundle,
    Erase,
    Erasure,
}

/// GET or POST; a link never acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
}

impl Verb {
    pub(crate) fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
        }
    }

    /// As it stands in a description.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Anybody who reaches the listener.
    Anybody,
    /// Who shows a token of at least this role.
    Token(Role),
    /// A source, which proves itself at its door.
    Source,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing; a body is not read.
    Nothing,
    /// JSON after a schema of the description.
    Json(&'static str),
    /// The same, or nothing at all.
    PerhapsJson(&'static str),
    /// Records of a vendor.
    Records,
}

/// What an answer of success carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gives {
    /// JSON after a schema of the description.
    Json(&'static str),
    Text,
    Bytes,
    OpenMetrics,
}

/// One route.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) name: Name,
    pub(crate) listener: Listener,
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) who: Who,
    pub(crate) takes: Takes,
    pub(crate) gives: Gives,
    /// One sentence for the description.
    pub(crate) summary: &'static str,
}

use Gives::{Bytes, OpenMetrics, Text};
use Listener::{Control, Intake};
use Role::{Admin, Approver, Metrics, Responder, Viewer};
use Takes::{Nothing, PerhapsJson};
use Who::{Anybody, Source, Token};

/// All of them. Whoever adds one adds its arm in `control.rs` and writes `docs/openapi.json` anew.
pub(crate) const ROUTES: &[Route] = &[
    row(Name::IntakeAlive, Intake, "/healthz", Anybody, Text, "The listener answers."),
    posts(
        Name::Take,
        Intake,
        "/v1/sources/{name}",
        Source,
        Takes::Records,
        Gives::Json("Taken"),
        "Takes records of a source in. The answer leaves after they are committed.",
    ),
    row(
        Name::Challenge,
        Intake,
        "/v1/sources/{name}",
        Anybody,
        Gives::Json("Verification"),
        "Okta's one-time verification of an event hook.",
    ),
    row(Name::Alive, Control, "/healthz", Anybody, Text, "The listener answers."),
    row(Name::Ready, Control, "/readyz", Anybody, Text, "The store commits: signals are taken."),
    row(
        Name::OpenApi,
        Control,
        "/openapi.json",
        Anybody,
        Gives::Json("Description"),
        "This description.",
    ),
    row(
        Name::Metrics,
        Control,
        "/metrics",
        Token(Metrics),
        OpenMetrics,
        "Figures for Prometheus, without personal data.",
    ),
    row(
        Name::Cases,
        Control,
        "/v1/cases",
        Token(Viewer),
        Gives::Json("Cases"),
        "The newest cases, at most 1,000.",
    ),
    posts(
        Name::CloseCase,
        Control,
        "/v1/cases/{id}/close",
        Token(Responder),
        Takes::Json("Closing"),
        Gives::Json("Case"),
        "Closes a case and says what it was.",
    ),
    row(
        Name::Precision,
        Control,
        "/v1/precision",
        Token(Viewer),
        Gives::Json("Precision"),
        "How often cases of a source and kind were closed as true, over 90 days.",
    ),
    row(
        Name::Orders,
        Control,
        "/v1/orders",
        Token(Viewer),
        Gives::Json("Orders"),
        "The newest orders, at most 1,000.",
    ),
    posts(
        Name::Approve,
        Control,
        "/v1/orders/{id}/approve",
        Token(Approver),
        PerhapsJson("Why"),
        Gives::Json("Order"),
        "Approves an order that waits for people.",
    ),
    posts(
        Name::Deny,
        Control,
        "/v1/orders/{id}/deny",
        Token(Approver),
        PerhapsJson("Why"),
        Gives::Json("Order"),
        "Denies an order that waits for people.",
    ),
    posts(
        Name::Undo,
        Control,
        "/v1/orders/{id}/undo",
        Token(Approver),
        PerhapsJson("Why"),
        Gives::Json("Order"),
        "Takes an order back where its target has an inverse.",
    ),
    row(
        Name::Frozen,
        Control,
        "/v1/freeze",
        Token(Viewer),
        Gives::Json("Frozen"),
        "The freeze in force, or null.",
    ),
    posts(
        Name::Freeze,
        Control,
        "/v1/freeze",
        Token(Responder),
        Takes::Json("Freeze"),
        Gives::Json("FreezeSet"),
        "Stops new orders for a while, or ends that.",
    ),
    posts(
        Name::Directory,
        Control,
        "/v1/directory",
        Token(Admin),
        Takes::Json("Directory"),
        Gives::Json("Imported"),
        "Puts another directory in force, whole.",
    ),
    row(
        Name::Watchlist,
        Control,
        "/v1/watchlists/{kind}",
        Token(Viewer),
        Gives::Json("Watched"),
        "What is watched: `user`, or a kind of entity.",
    ),
    row(
        Name::Records,
        Control,
        "/v1/records",
        Token(Viewer),
        Gives::Json("Records"),
        "Evidence records from a number on, at most 1,000.",
    ),
    row(
        Name::Explain,
        Control,
        "/v1/explain/{id}",
        Token(Viewer),
        Gives::Json("Told"),
        "What happened and why: a case, finding, order, signal or notice.",
    ),
    row(
        Name::Checkpoint,
        Control,
        "/v1/evidence/checkpoint",
        Token(Viewer),
        Text,
        "A signed checkpoint over everything committed so far (C2SP signed note).",
    ),
    row(
        Name::Bundle,
        Control,
        "/v1/evidence/bundle",
        Token(Admin),
        Bytes,
        "The whole evidence as a bundle that verifies offline.",
    ),
    posts(
        Name::Erase,
        Control,
        "/v1/erasures",
        Token(Admin),
        Takes::Json("Erase"),
        Gives::Json("ErasureAsked"),
        "Begins to forget a person, for ever; the proof stays.",
    ),
    row(
        Name::Erasure,
        Control,
        "/v1/erasures/{id}",
        Token(Admin),
        Gives::Json("Erasure"),
        "Waits up to 20 seconds for the end of an erasure, and tells what was erased.",
    ),
];

const fn row(
    name: Name,
    listener: Listener,
    path: &'static str,
    who: Who,
    gives: Gives,
    summary: &'static str,
) -> Route {
    Route { name, listener, verb: Verb::Get, path, who, takes: Nothing, gives, summary }
}

const fn posts(
    name: Name,
    listener: Listener,
    path: &'static str,
    who: Who,
    takes: Takes,
    gives: Gives,
    summary: &'static str,
) -> Route {
    Route { name, listener, verb: Verb::Post, path, who, takes, gives, summary }
}

/// The routes of one listener.
pub(crate) fn of(listener: Listener) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.listener == listener)
}

impl Route {
    /// The name of the parameter in its path, if there is one.
    pub(crate) fn parameter(&self) -> Option<&'static str> {
        let (_, rest) = self.path.split_once('{')?;
        rest.split_once('}').map(|(name, _)| name)
    }

    /// The status of success.
    pub(crate) fn success(&self) -> u16 {
        if matches!(self.name, Name::Take | Name::Erase) { 202 } else { 200 }
    }

    /// Every other status that it may answer with, in order.
    pub(crate) fn refusals(&self) -> Vec<u16> {
        let mut all = vec![405, 431];
        match self.who {
            Who::Anybody => {}
            Who::Token(Role::Metrics) => all.push(401),
            Who::Token(_) => all.extend([401, 403]),
            Who::Source => all.extend([401, 413]),
        }
        if self.listener == Listener::Control || self.who == Who::Source {
            all.push(429);
        }
        if self.takes != Takes::Nothing {
            all.extend([400, 408, 413]);
        }
        if matches!(self.takes, Takes::Json(_) | Takes::PerhapsJson(_)) {
            all.push(415);
        }
        if self.parameter().is_some() || self.name == Name::Records {
            all.push(400);
        }
        match self.name {
            Name::Approve | Name::Deny | Name::Undo | Name::CloseCase | Name::Erase => {
                all.extend([404, 409]);
            }
            Name::Explain | Name::Challenge | Name::Erasure => all.push(404),
            _ => {}
        }
        let silent = [Name::IntakeAlive, Name::Challenge, Name::Alive, Name::OpenApi];
        if !silent.contains(&self.name) {
            all.push(503);
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    /// Who may do what, against DESIGN.md section 10; a change here is a change of authority.
    #[test]
    fn the_least_role_of_every_route() {
        let line = |route: &Route| {
            let who = match route.who {
                Who::Anybody => "anybody",
                Who::Source => "the source",
                Who::Token(role) => role.name(),
            };
            let (listener, verb) = (route.listener.name(), route.verb.name());
            format!("{listener} {verb} {}: {who}\n", route.path)
        };
        let table: String = ROUTES.iter().map(line).collect();
        expect![[r#"
            intake get /healthz: anybody
            intake post /v1/sources/{name}: the source
            intake get /v1/sources/{name}: anybody
            control get /healthz: anybody
            control get /readyz: anybody
            control get /openapi.json: anybody
            control get /metrics: metrics
            control get /v1/cases: viewer
            control post /v1/cases/{id}/close: responder
            control get /v1/precision: viewer
            control get /v1/orders: viewer
            control post /v1/orders/{id}/approve: approver
            control post /v1/orders/{id}/deny: approver
            control post /v1/orders/{id}/undo: approver
            control get /v1/freeze: viewer
            control post /v1/freeze: responder
            control post /v1/directory: admin
            control get /v1/watchlists/{kind}: viewer
            control get /v1/records: viewer
            control get /v1/explain/{id}: viewer
            control get /v1/evidence/checkpoint: viewer
            control get /v1/evidence/bundle: admin
            control post /v1/erasures: admin
            control get /v1/erasures/{id}: admin
        "#]]
        .assert_eq(&table);
    }
}

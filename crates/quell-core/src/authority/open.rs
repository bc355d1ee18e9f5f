//! What one policy's text proves about itself: whether source, kind and class are named, and
//! whether its literals are words that exist. It evaluates nothing; what it cannot prove is open.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{
    BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, Var,
};

use super::words;

/// What a permit for contain or evict must name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Aspect {
    /// `principal`.
    Source,
    /// `context.kind`.
    Kind,
    /// The class that the resource stands under.
    Class,
}

impl Aspect {
    pub(super) const ALL: [Self; 3] = [Self::Source, Self::Kind, Self::Class];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Kind => "kind",
            Self::Class => "class",
        }
    }

    /// How to close it.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::Source => {
                "name it: `principal == Source::\"okta\"` in the scope, or \
                 `[Source::\"okta\"].contains(principal)` in `when`"
            }
            Self::Kind => "name it in `when`: `[\"url_click\"].contains(context.kind)`",
            Self::Class => {
                "name it: `resource in Class::\"human\"` in the scope, or \
                 `resource in [Class::\"human\"]` in `when`"
            }
        }
    }
}

/// Deeper conditions are not followed: what lies below counts as open.
const DEPTH_MAX: u32 = 200;

/// The aspects that a policy leaves open.
pub(super) fn open(policy: &Template) -> Vec<Aspect> {
    let closed = |aspect: &Aspect| {
        scope(policy, *aspect)
            || policy.clauses().iter().any(|clause| match clause {
                Clause::When(condition) => pins(condition, *aspect, DEPTH_MAX),
                Clause::Unless(_) => false,
            })
    };
    Aspect::ALL.into_iter().filter(|aspect| !closed(aspect)).collect()
}

/// True when the scope names the aspect.
fn scope(policy: &Template, aspect: Aspect) -> bool {
    let named = |slot: &EntityOrSlot, kind: &str| match slot {
        EntityOrSlot::Entity(uid) => is_of(uid, kind),
        EntityOrSlot::Slot(_) => false,
    };
    match aspect {
        Aspect::Kind => false,
        Aspect::Source => match &policy.principal {
            PrincipalConstraint::Eq(slot)
            | PrincipalConstraint::In(slot)
            | PrincipalConstraint::IsIn(_, slot) => named(slot, "Source"),
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => false,
        },
        Aspect::Class => match &policy.resource {
            ResourceConstraint::In(slot) | ResourceConstraint::IsIn(_, slot) => {
                named(slot, "Class")
            }
            ResourceConstraint::Any | ResourceConstraint::Eq(_) | ResourceConstraint::Is(_) => {
                false
            }
        },
    }
}

/// True when the expression can hold only where the aspect is one of finitely many literals.
fn pins(expr: &Expr, aspect: Aspect, depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let inner = |expr: &Expr| pins(expr, aspect, depth);
    match expr {
        Expr::Literal(Literal::Bool(false)) => true,
        Expr::BinaryOp { op: BinaryOp::And, left, right } => inner(left) || inner(right),
        Expr::BinaryOp { op: BinaryOp::Or, left, right } => inner(left) && inner(right),
        Expr::IfThenElse { cond, then_expr, else_expr } => {
            (inner(cond) || inner(then_expr)) && inner(else_expr)
        }
        Expr::BinaryOp { op: BinaryOp::Eq, left, right } if aspect != Aspect::Class => {
            (is_subject(left, aspect) && is_literal(right, aspect))
                || (is_subject(right, aspect) && is_literal(left, aspect))
        }
        Expr::BinaryOp { op: BinaryOp::Contains, left, right } if aspect != Aspect::Class => {
            is_subject(right, aspect) && is_set(left, aspect)
        }
        Expr::BinaryOp { op: BinaryOp::In, left, right } if aspect != Aspect::Kind => {
            is_subject(left, aspect) && (is_literal(right, aspect) || is_set(right, aspect))
        }
        Expr::Is { expr, in_expr: Some(parent), .. } if aspect != Aspect::Kind => {
            is_subject(expr, aspect) && (is_literal(parent, aspect) || is_set(parent, aspect))
        }
        _ => false,
    }
}

/// The expression that speaks of the aspect: `principal`, `context.kind` or `resource`.
fn is_subject(expr: &Expr, aspect: Aspect) -> bool {
    match (aspect, expr) {
        (Aspect::Source, Expr::Var(Var::Principal)) | (Aspect::Class, Expr::Var(Var::Resource)) => {
            true
        }
        (Aspect::Kind, _) => attribute(expr) == Some("kind"),
        _ => false,
    }
}

fn is_literal(expr: &Expr, aspect: Aspect) -> bool {
    match (aspect, expr) {
        (Aspect::Source, Expr::Literal(Literal::EntityUID(uid))) => is_of(uid, "Source"),
        (Aspect::Class, Expr::Literal(Literal::EntityUID(uid))) => is_of(uid, "Class"),
        (Aspect::Kind, Expr::Literal(Literal::String(_))) => true,
        _ => false,
    }
}

fn is_set(expr: &Expr, aspect: Aspect) -> bool {
    matches!(expr, Expr::Set(items) if items.iter().all(|item| is_literal(item, aspect)))
}

fn is_of(uid: &EntityUID, kind: &str) -> bool {
    uid.ty.0.namespace.is_empty() && uid.ty.0.id.as_str() == kind
}

/// The name of an attribute of the context.
fn attribute(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::GetAttr { expr, attr } if matches!(**expr, Expr::Var(Var::Context)) => Some(attr),
        _ => None,
    }
}

/// What a policy's literals say.
#[derive(Default)]
pub(super) struct Literals {
    /// Sources that it speaks of.
    pub(super) sources: BTreeSet<String>,
    /// Words that are on no closed list: attribute, word.
    pub(super) unknown: BTreeSet<(&'static str, String)>,
}

/// Looks at every literal of a policy.
pub(super) fn literals(policy: &Template) -> Literals {
    let mut found = Literals::default();
    match &policy.principal {
        PrincipalConstraint::Eq(EntityOrSlot::Entity(uid))
        | PrincipalConstraint::In(EntityOrSlot::Entity(uid))
        | PrincipalConstraint::IsIn(_, EntityOrSlot::Entity(uid)) => found.entity(uid),
        _ => {}
    }
    let mut left: Vec<&Expr> = Vec::new();
    for clause in policy.clauses() {
        let (Clause::When(condition) | Clause::Unless(condition)) = clause;
        left.push(condition);
    }
    while let Some(expr) = left.pop() {
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => found.entity(uid),
            Expr::BinaryOp { left: a, right: b, .. } => {
                found.compared(a, b);
                found.compared(b, a);
                left.extend([&**a, &**b]);
            }
            Expr::UnaryOp { expr, .. }
            | Expr::GetAttr { expr, .. }
            | Expr::HasAttr { expr, .. }
            | Expr::Like { expr, .. } => left.push(expr),
            Expr::Is { expr, in_expr, .. } => {
                left.push(expr);
                left.extend(in_expr.as_deref());
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                left.extend([&**cond, &**then_expr, &**else_expr]);
            }
            Expr::Set(items) => left.extend(items.iter().map(Arc::as_ref)),
            Expr::Record(fields) => left.extend(fields.values().map(Arc::as_ref)),
            _ => {}
        }
    }
    found
}

impl Literals {
    fn entity(&mut self, uid: &EntityUID) {
        if is_of(uid, "Source") {
            self.sources.insert(uid.eid.to_string());
        }
    }

    /// Notes the words that an attribute with a closed list is compared with.
    fn compared(&mut self, subject: &Expr, with: &Expr) {
        const CLOSED: [&str; 8] =
            ["kind", "reach", "usage", "provenance", "tier", "mode", "case_state", "anomalies"];
        let Some(name) = attribute(subject) else { return };
        let Some(name) = CLOSED.into_iter().find(|closed| *closed == name) else { return };
        let Some(known) = words::known(name) else { return };
        let mut note = |expr: &Expr| {
            if let Expr::Literal(Literal::String(word)) = expr
                && !known.contains(&word.as_str())
            {
                self.unknown.insert((name, word.to_string()));
            }
        };
        note(with);
        if let Expr::Set(items) = with {
            items.iter().for_each(|item| note(item));
        }
    }
}

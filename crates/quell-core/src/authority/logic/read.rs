//! From the syntax of a policy to a condition over the facts. What it cannot follow it calls
//! opaque; it never guesses.

use std::collections::BTreeSet;

use cedar_policy::pst::{
    BinaryOp, Clause, EntityOrSlot, EntityUID, Expr, Literal, PrincipalConstraint,
    ResourceConstraint, Template, UnaryOp, Var,
};

use super::{Cond, Dim};
use crate::action::Action;

/// Deeper conditions are not followed: what lies below is opaque.
const DEPTH_MAX: u32 = 200;

/// When a policy applies to a question about this action.
pub(in crate::authority) fn condition(policy: &Template, action: Action) -> Cond {
    let reader = Reader { action };
    let entity = |slot: &EntityOrSlot, subject: &Expr| match slot {
        EntityOrSlot::Entity(uid) => reader.is_in(subject, &[uid]),
        EntityOrSlot::Slot(_) => Cond::Opaque,
    };
    let mut parts = Vec::new();
    let principal = Expr::Var(Var::Principal);
    match &policy.principal {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => {}
        PrincipalConstraint::Eq(slot)
        | PrincipalConstraint::In(slot)
        | PrincipalConstraint::IsIn(_, slot) => parts.push(entity(slot, &principal)),
    }
    let resource = Expr::Var(Var::Resource);
    match &policy.resource {
        ResourceConstraint::Any => {}
        ResourceConstraint::Eq(slot) | ResourceConstraint::In(slot) => {
            parts.push(entity(slot, &resource));
        }
        ResourceConstraint::Is(kind) => parts.push(reader.is(&resource, &kind.to_string())),
        ResourceConstraint::IsIn(kind, slot) => {
            parts.push(reader.is(&resource, &kind.to_string()));
            parts.push(entity(slot, &resource));
        }
    }
    for clause in policy.clauses() {
        parts.push(match clause {
            Clause::When(expr) => reader.read(expr, DEPTH_MAX),
            Clause::Unless(expr) => Cond::Not(Box::new(reader.read(expr, DEPTH_MAX))),
        });
    }
    Cond::All(parts)
}

/// Reads expressions; of an action nothing is open.
#[derive(Clone, Copy)]
struct Reader {
    action: Action,
}

impl Reader {
    fn read(self, expr: &Expr, depth: u32) -> Cond {
        let Some(depth) = depth.checked_sub(1) else { return Cond::Opaque };
        let inner = |expr: &Expr| self.read(expr, depth);
        match expr {
            Expr::Literal(Literal::Bool(answer)) => Cond::Just(*answer),
            Expr::UnaryOp { op: UnaryOp::Not, expr } => Cond::Not(Box::new(inner(expr))),
            Expr::UnaryOp { op: UnaryOp::IsEmpty, expr } if is_anomalies(expr) => none_but(&[]),
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                Cond::If(Box::new([inner(cond), inner(then_expr), inner(else_expr)]))
            }
            Expr::BinaryOp { op: BinaryOp::And, left, right } => {
                Cond::All(vec![inner(left), inner(right)])
            }
            Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
                Cond::Any(vec![inner(left), inner(right)])
            }
            Expr::BinaryOp { op: BinaryOp::NotEq, left, right } => {
                Cond::Not(Box::new(self.equal(left, right, depth)))
            }
            Expr::BinaryOp { op: BinaryOp::Eq, left, right } => self.equal(left, right, depth),
            Expr::BinaryOp { op, left, right } => self.binary(*op, left, right),
            Expr::GetAttr { .. } => match attribute(expr) {
                Some(dim) if dim.is_flag() => Cond::Holds(dim),
                _ => Cond::Opaque,
            },
            Expr::HasAttr { expr, attrs } if attrs.len() == 1 => {
                match (&**expr, attrs.head.as_str()) {
                    (Expr::Var(Var::Context), "precision") => Cond::Measured,
                    (Expr::Var(Var::Context), _) => Cond::Just(true),
                    (Expr::Var(Var::Resource), _) => Cond::Not(Box::new(Cond::Person)),
                    _ => Cond::Opaque,
                }
            }
            Expr::Is { expr, entity_type, in_expr } => {
                let is = self.is(expr, &entity_type.to_string());
                match in_expr {
                    None => is,
                    Some(parent) => Cond::All(vec![is, self.is_in(expr, &uids(parent))]),
                }
            }
            _ => Cond::Opaque,
        }
    }

    fn is(self, expr: &Expr, kind: &str) -> Cond {
        match (expr, kind) {
            (Expr::Var(Var::Principal), _) => Cond::Just(kind == "Source"),
            (Expr::Var(Var::Action), _) => Cond::Just(kind == "Action"),
            (Expr::Var(Var::Resource), "Identity") => Cond::Person,
            (Expr::Var(Var::Resource), "Entity") => Cond::Not(Box::new(Cond::Person)),
            (Expr::Var(Var::Resource), _) => Cond::Just(false),
            _ => Cond::Opaque,
        }
    }

    /// `left == right`.
    fn equal(self, left: &Expr, right: &Expr, depth: u32) -> Cond {
        let (subject, with) = if is_plain(right) { (left, right) } else { (right, left) };
        if is_anomalies(subject) {
            return anomalies(with).map_or(Cond::Opaque, |list| none_but(&list));
        }
        match (subject, with) {
            (Expr::Var(Var::Principal | Var::Action | Var::Resource), Expr::Literal(_)) => {
                self.is_one(subject, &uids(with))
            }
            (_, Expr::Literal(Literal::Bool(answer))) => {
                let cond = self.read(subject, depth);
                if *answer { cond } else { Cond::Not(Box::new(cond)) }
            }
            _ => one_of(subject, &[with]),
        }
    }

    fn binary(self, op: BinaryOp, left: &Expr, right: &Expr) -> Cond {
        use BinaryOp as Op;
        match op {
            Op::Less | Op::LessEq | Op::Greater | Op::GreaterEq => compared(op, left, right),
            Op::In => match right {
                Expr::Literal(_) | Expr::Set(_) => self.is_in(left, &uids(right)),
                _ => Cond::Opaque,
            },
            Op::Contains => match (left, right) {
                (Expr::Set(_), Expr::Var(_)) => self.is_one(right, &uids(left)),
                (Expr::Set(items), _) => {
                    let items: Vec<&Expr> = items.iter().map(|item| &**item).collect();
                    one_of(right, &items)
                }
                _ if is_anomalies(left) => match anomalies(right).as_deref() {
                    Some([dim]) => Cond::Holds(*dim),
                    _ => Cond::Opaque,
                },
                _ => Cond::Opaque,
            },
            Op::ContainsAny | Op::ContainsAll => {
                let (set, list) = if is_anomalies(left) { (left, right) } else { (right, left) };
                let Some(dims) = anomalies(list).filter(|_| is_anomalies(set)) else {
                    return Cond::Opaque;
                };
                let holds = || dims.iter().map(|dim| Cond::Holds(*dim)).collect();
                match op {
                    Op::ContainsAny => Cond::Any(holds()),
                    _ if is_anomalies(left) => Cond::All(holds()),
                    _ => Cond::All(absent(&dims)),
                }
            }
            _ => Cond::Opaque,
        }
    }

    /// The subject is one of these.
    fn is_one(self, subject: &Expr, list: &[&EntityUID]) -> Cond {
        match subject {
            Expr::Var(Var::Principal) => Cond::Word(Dim::Source, of(list, "Source")),
            Expr::Var(Var::Action) => Cond::Just(of(list, "Action").contains(self.action.name())),
            Expr::Var(Var::Resource) => {
                let persons = of(list, "Identity").into_iter().map(|id| (false, id));
                let entities = of(list, "Entity").into_iter().map(|id| (true, id));
                Cond::Named(persons.chain(entities).collect())
            }
            _ => Cond::Opaque,
        }
    }

    /// The subject is one of these or stands under one of them.
    fn is_in(self, subject: &Expr, list: &[&EntityUID]) -> Cond {
        let one = self.is_one(subject, list);
        match subject {
            Expr::Var(Var::Resource) => {
                Cond::Any(vec![Cond::Word(Dim::Class, of(list, "Class")), one])
            }
            Expr::Var(Var::Action) => {
                let group = self.action.group().name();
                Cond::Just(of(list, "Action").contains(group) || one == Cond::Just(true))
            }
            _ => one,
        }
    }
}

/// The ids of the entities of one type.
fn of(list: &[&EntityUID], kind: &str) -> BTreeSet<String> {
    let named = list.iter().filter(|uid| uid.ty.to_string() == kind);
    named.map(|uid| uid.eid.to_string()).collect()
}

/// The entities of a literal or of a list of literals.
fn uids(expr: &Expr) -> Vec<&EntityUID> {
    match expr {
        Expr::Literal(Literal::EntityUID(uid)) => vec![uid],
        Expr::Set(items) => items.iter().flat_map(|item| uids(item)).collect(),
        _ => Vec::new(),
    }
}

/// True for a literal and for a list of literals.
fn is_plain(expr: &Expr) -> bool {
    match expr {
        Expr::Literal(_) => true,
        Expr::Set(items) => items.iter().all(|item| matches!(&**item, Expr::Literal(_))),
        _ => false,
    }
}

/// What of the context the expression speaks of.
fn attribute(expr: &Expr) -> Option<Dim> {
    match expr {
        Expr::GetAttr { expr, attr } if matches!(**expr, Expr::Var(Var::Context)) => {
            Dim::of_context(attr)
        }
        _ => None,
    }
}

fn is_anomalies(expr: &Expr) -> bool {
    match expr {
        Expr::GetAttr { expr, attr } => {
            matches!(**expr, Expr::Var(Var::Context)) && attr == "anomalies"
        }
        _ => false,
    }
}

/// The anomalies that a literal or a list of literals names.
fn anomalies(expr: &Expr) -> Option<Vec<Dim>> {
    match expr {
        Expr::Literal(Literal::String(name)) => Some(vec![Dim::anomaly(name)?]),
        Expr::Set(items) => {
            let named = items.iter().map(|item| anomalies(item));
            Some(named.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// None of the anomalies but these.
fn absent(but: &[Dim]) -> Vec<Cond> {
    let others = Dim::ANOMALIES.into_iter().filter(|dim| !but.contains(dim));
    others.map(|dim| Cond::Not(Box::new(Cond::Holds(dim)))).collect()
}

/// Exactly these anomalies.
fn none_but(these: &[Dim]) -> Cond {
    let mut parts = absent(these);
    parts.extend(these.iter().map(|dim| Cond::Holds(*dim)));
    Cond::All(parts)
}

/// The subject, an attribute, is one of these literals.
fn one_of(subject: &Expr, list: &[&Expr]) -> Cond {
    let (mut texts, mut numbers) = (BTreeSet::new(), Vec::new());
    for item in list {
        match item {
            Expr::Literal(Literal::String(text)) => {
                texts.insert(text.to_string());
            }
            Expr::Literal(Literal::Long(number)) => numbers.push(*number),
            _ => return Cond::Opaque,
        }
    }
    if let Expr::GetAttr { expr, attr } = subject
        && matches!(**expr, Expr::Var(Var::Resource))
        && attr == "kind"
    {
        return Cond::EntityKind(texts);
    }
    match attribute(subject) {
        Some(dim) if dim.is_number() => {
            Cond::Any(numbers.into_iter().map(|n| Cond::Within(dim, n, n)).collect())
        }
        Some(dim) if !dim.is_flag() => Cond::Word(dim, texts),
        _ => Cond::Opaque,
    }
}

/// An attribute against a literal number.
fn compared(op: BinaryOp, left: &Expr, right: &Expr) -> Cond {
    use BinaryOp as Op;
    let number = |expr: &Expr| match expr {
        Expr::Literal(Literal::Long(number)) => Some(*number),
        _ => None,
    };
    let is_number = |expr: &Expr| attribute(expr).filter(|dim| dim.is_number());
    let (dim, number, less) = match (is_number(left), number(right), is_number(right), number(left))
    {
        (Some(dim), Some(number), _, _) => (dim, number, matches!(op, Op::Less | Op::LessEq)),
        (_, _, Some(dim), Some(number)) => (dim, number, matches!(op, Op::Greater | Op::GreaterEq)),
        _ => return Cond::Opaque,
    };
    let (strict, inside) = (matches!(op, Op::Less | Op::Greater), number);
    match (less, strict) {
        (true, true) => Cond::Within(dim, i64::MIN, inside.saturating_sub(1)),
        (true, false) => Cond::Within(dim, i64::MIN, inside),
        (false, true) => Cond::Within(dim, inside.saturating_add(1), i64::MAX),
        (false, false) => Cond::Within(dim, inside, i64::MAX),
    }
}

//! `tiers.toml`: what each tier asks for, by class. It grants nothing: authority judges each step.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::PolicyError;
use super::file::Reader;
use crate::action::{Action, Tier};
use crate::identity::Class;
use crate::name::names;

names! {
    /// A row of a tier: a class, or what stands for classes without a row.
    Row {
        /// A class of persons without a row of its own.
        Default = "default",
        /// No class at all, and restricting classes without a row of their own.
        Unknown = "unknown",
        /// A person.
        Human = "human",
        /// Holds an administrative role.
        Privileged = "privileged",
        /// Finance, payroll, legal, executives.
        HighValue = "high_value",
        /// A non-human account that programs use.
        ServiceAccount = "service_account",
        /// An OAuth application.
        OauthApp = "oauth_app",
        /// An AI agent.
        AiAgent = "ai_agent",
        /// A mailbox that several people read.
        SharedMailbox = "shared_mailbox",
        /// A member whose home is another organisation.
        ExternalMember = "external_member",
        /// The account of last resort.
        BreakGlass = "break_glass",
    }
}

type Lists = BTreeMap<Row, Vec<Action>>;

/// For each tier and class the ordered list of actions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tiers {
    tiers: BTreeMap<Tier, Lists>,
}

type Written = BTreeMap<Row, Vec<Spanned<Action>>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    observe: Spanned<Written>,
    challenge: Spanned<Written>,
    contain: Spanned<Written>,
    evict: Spanned<Written>,
}

/// True for classes that narrow what the other classes of an identity list.
pub fn restricts(class: Class) -> bool {
    matches!(
        class,
        Class::ServiceAccount
            | Class::OauthApp
            | Class::AiAgent
            | Class::SharedMailbox
            | Class::BreakGlass
    )
}

impl Tiers {
    /// Reads the text of `tiers.toml`.
    ///
    /// # Errors
    /// Each thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let (mut reader, file) = Reader::open::<File>("tiers.toml", text)?;
        let mut tiers = BTreeMap::new();
        let written = [
            (Tier::Observe, file.observe),
            (Tier::Challenge, file.challenge),
            (Tier::Contain, file.contain),
            (Tier::Evict, file.evict),
        ];
        for (tier, rows) in written {
            for needed in [Row::Default, Row::Unknown] {
                if !rows.get_ref().contains_key(&needed) {
                    let message = format!("tier `{tier}` has no row `{needed}`");
                    reader.wrong(&rows, message, format!("add `{needed} = [\"watch\"]` to it"));
                }
            }
            let mut lists = Lists::new();
            for (row, actions) in rows.into_inner() {
                lists.insert(row, list(&mut reader, tier, row, &actions));
            }
            tiers.insert(tier, lists);
        }
        reader.close(Self { tiers })
    }

    /// What a tier asks for on an identity with these classes, in the order of the lists.
    ///
    /// The most protective class decides, never the first match (docs/authority.md):
    /// `break_glass` gives nothing; no class gives the row `unknown`; otherwise the union of the
    /// lists of the classes, in the closed order of classes, of which each restricting class
    /// (service account, OAuth app, AI agent, shared mailbox) leaves only what it lists itself.
    pub fn actions(&self, tier: Tier, classes: &BTreeSet<Class>) -> Vec<Action> {
        let Some(lists) = self.tiers.get(&tier) else { return Vec::new() };
        if classes.contains(&Class::BreakGlass) {
            return Vec::new();
        }
        let (narrow, wide): (Vec<Class>, Vec<Class>) = classes.iter().partition(|c| restricts(**c));
        let narrow: Vec<&[Action]> =
            narrow.into_iter().map(|class| row(lists, class, Row::Unknown)).collect();
        let wide: Vec<&[Action]> = if classes.is_empty() {
            vec![lists.get(&Row::Unknown).map_or(&[], Vec::as_slice)]
        } else if wide.is_empty() {
            narrow.clone()
        } else {
            wide.into_iter().map(|class| row(lists, class, Row::Default)).collect()
        };
        let mut actions: Vec<Action> = Vec::new();
        for action in wide.into_iter().flatten() {
            let left = narrow.iter().all(|list| list.contains(action));
            if left && !actions.contains(action) {
                actions.push(*action);
            }
        }
        actions
    }
}

/// The list of a class, or that of the row which stands for it.
fn row(lists: &Lists, class: Class, instead: Row) -> &[Action] {
    let own = Row::ALL.iter().find(|row| row.name() == class.name());
    let list = own.and_then(|own| lists.get(own)).or_else(|| lists.get(&instead));
    list.map_or(&[], Vec::as_slice)
}

/// One row, checked.
fn list(reader: &mut Reader<'_>, tier: Tier, row: Row, written: &[Spanned<Action>]) -> Vec<Action> {
    let mut actions = Vec::new();
    for spanned in written {
        let action = *spanned.get_ref();
        if row == Row::BreakGlass {
            let message = format!("`break_glass` lists `{action}`");
            reader.wrong(spanned, message, "leave `break_glass = []`: it is never acted on");
        } else if tier <= Tier::Challenge && action.group() > tier {
            let message =
                format!("tier `{tier}` lists `{action}`, which is of group `{}`", action.group());
            let remedy = format!("move it to tier `{}` or remove it", action.group());
            reader.wrong(spanned, message, remedy);
        } else if actions.contains(&action) {
            let message = format!("`{action}` is listed twice");
            reader.wrong(spanned, message, "remove one of the two");
        } else {
            actions.push(action);
        }
    }
    actions
}

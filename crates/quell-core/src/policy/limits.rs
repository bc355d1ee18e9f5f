//! `limits.toml`: budgets, floors and times that stand behind authority. It counts nothing; the
//! engine keeps the counters.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Spanned;

use super::PolicyError;
use super::file::Reader;
use crate::action::{Action, Tier};
use crate::identity::{Class, Identity};
use crate::name::names;
use crate::time::{DAY, HOUR, MINUTE};

/// Budgets, floors and times; times in microseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Findings of one subject whose episodes lie within it are one case.
    pub case_gap: i64,
    /// A signal older than this at arrival needs approval for its steps.
    pub act_within: i64,
    /// How long an approval request stays open.
    pub approval: i64,
    /// How long a watch entry lives when no policy says otherwise.
    pub watch_ttl: i64,
    /// How long signals are kept for correlation and deduplication.
    pub retention: i64,
    /// Entries that one key of a timeline may hold.
    pub entries_per_key: u32,
    /// Fewer sign-ins than this in `seen` make the history cold.
    pub cold_history: u32,
    /// How far back an identity's own sign-ins make a network, device or client known.
    pub seen: i64,
    /// How long the effect of an action lasts when no policy says otherwise.
    pub ttl: BTreeMap<Action, i64>,
    /// Budgets, in the order of the file; every one that fits a step must have room.
    pub budgets: Vec<Budget>,
    /// The budget over everything, except watch entries.
    pub total: Total,
    /// Who must stay able to work.
    pub floors: Vec<Floor>,
}

/// What a budget counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counted {
    /// One action.
    Action(Action),
    /// Every action of a group.
    Group(Tier),
}

/// For which sources a budget stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Of {
    /// Each source has a counter of its own: one source cannot spend another's.
    Each,
    /// One counter for all sources together.
    Any,
    /// For this source alone.
    Source(String),
}

/// At most `max` steps in any window of `per`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Budget {
    /// What it counts.
    pub counted: Counted,
    /// The class of identity; none is any.
    pub class: Option<Class>,
    /// The source.
    pub source: Of,
    /// Steps within the window.
    pub max: u32,
    /// The window, microseconds.
    pub per: i64,
}

/// The budget over all actions but watch entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Total {
    /// Steps of all sources within the window.
    pub max: u32,
    /// Steps of any one source within the window; less than `max`, so that a rest stays for the
    /// others.
    pub one_source_max: u32,
    /// The window, microseconds.
    pub per: i64,
}

/// A counter that a step spends from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counter {
    /// The stable name: `contain_human_okta_60m` and the like.
    pub key: String,
    /// Steps within the window.
    pub max: u32,
    /// The window, microseconds.
    pub per: i64,
}

names! {
    /// Roles of which some must stay able to work.
    Role {
        /// May answer approval requests.
        Approver = "approver",
        /// Administers the directory.
        GlobalAdmin = "global_admin",
        /// Helps people back in.
        ServiceDesk = "service_desk",
    }
}

/// No orders in force together may leave fewer than `at_least` usable holders of the role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Floor {
    /// The role.
    pub role: Role,
    /// The directory's groups whose members hold it, in lower case; the role's own name when the
    /// file lists none.
    pub groups: BTreeSet<String>,
    /// How many must stay.
    pub at_least: u32,
}

impl Floor {
    /// True when an identity holds the role; case does not count.
    pub fn holds(&self, identity: &Identity) -> bool {
        identity.groups.iter().any(|group| self.groups.contains(&group.trim().to_lowercase()))
    }
}

impl Limits {
    /// Reads the text of `limits.toml`.
    ///
    /// # Errors
    /// Each thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let (mut reader, file) = Reader::open::<File>("limits.toml", text)?;
        let r = &mut reader;
        let limits = Self {
            case_gap: HOUR * r.number("case_gap_hours", &file.case_gap_hours, 1, 720),
            act_within: HOUR * r.number("act_within_hours", &file.act_within_hours, 1, 720),
            approval: MINUTE * r.number("approval_minutes", &file.approval_minutes, 5, 10_080),
            watch_ttl: HOUR * r.number("watch_ttl_hours", &file.watch_ttl_hours, 1, 8_760),
            retention: DAY * r.number("retention_days", &file.retention_days, 1, 400),
            entries_per_key: small(r, "entries_per_key", &file.entries_per_key, 16, 65_536),
            cold_history: small(r, "cold_history", &file.cold_history, 0, 1_000),
            seen: DAY * r.number("seen_days", &file.seen_days, 1, 90),
            ttl: ttl(r, &file.ttl_hours),
            budgets: file.budget.iter().map(|row| budget(r, row)).collect(),
            total: total(r, &file.total),
            floors: floors(r, &file.floor),
        };
        if limits.seen > limits.retention {
            let message = format!("`seen_days` is {}", file.seen_days.get_ref());
            reader.wrong(&file.seen_days, message, "keep it at or under `retention_days`");
        }
        reader.close(limits)
    }

    /// The counters that a step spends from; every one must have room.
    ///
    /// Watch entries spend only from budgets that name them or their group.
    pub fn counters(
        &self,
        action: Action,
        classes: &BTreeSet<Class>,
        source: &str,
    ) -> Vec<Counter> {
        let fitting = self.budgets.iter().filter(|b| b.fits(action, classes, source));
        let mut counters: Vec<Counter> = fitting.map(|b| b.counter(source)).collect();
        if action.group() > Tier::Observe {
            let Total { max, one_source_max, per } = self.total;
            let minutes = per / MINUTE;
            counters.push(Counter { key: format!("total_{minutes}m"), max, per });
            let key = format!("total_{source}_{minutes}m");
            counters.push(Counter { key, max: one_source_max, per });
        }
        counters
    }
}

impl Budget {
    /// True when a step of this kind spends from it.
    pub fn fits(&self, action: Action, classes: &BTreeSet<Class>, source: &str) -> bool {
        let counted = match self.counted {
            Counted::Action(own) => own == action,
            Counted::Group(group) => group == action.group(),
        };
        let class = self.class.is_none_or(|class| classes.contains(&class));
        let from = match &self.source {
            Of::Each | Of::Any => true,
            Of::Source(own) => own == source,
        };
        counted && class && from
    }

    fn counter(&self, source: &str) -> Counter {
        let counted = match self.counted {
            Counted::Action(action) => action.name(),
            Counted::Group(group) => group.name(),
        };
        let class = self.class.map_or("any", Class::name);
        let source = match &self.source {
            Of::Each | Of::Source(_) => source,
            Of::Any => "any",
        };
        let key = format!("{counted}_{class}_{source}_{}m", self.per / MINUTE);
        Counter { key, max: self.max, per: self.per }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    case_gap_hours: Spanned<i64>,
    act_within_hours: Spanned<i64>,
    approval_minutes: Spanned<i64>,
    watch_ttl_hours: Spanned<i64>,
    retention_days: Spanned<i64>,
    entries_per_key: Spanned<i64>,
    cold_history: Spanned<i64>,
    seen_days: Spanned<i64>,
    #[serde(default)]
    ttl_hours: BTreeMap<Action, Spanned<i64>>,
    #[serde(default)]
    budget: Vec<Spanned<BudgetRow>>,
    total: Spanned<TotalRow>,
    #[serde(default)]
    floor: Vec<FloorRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetRow {
    action: Option<Action>,
    group: Option<Tier>,
    class: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    max: Spanned<i64>,
    per_minutes: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TotalRow {
    max: Spanned<i64>,
    one_source_max: Spanned<i64>,
    per_minutes: Spanned<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FloorRow {
    role: Spanned<Role>,
    groups: Option<Spanned<Vec<String>>>,
    at_least: Spanned<i64>,
}

/// Counts fit 32 bits: every range is below.
fn small(r: &mut Reader<'_>, name: &str, at: &Spanned<i64>, min: i64, max: i64) -> u32 {
    u32::try_from(r.number(name, at, min, max)).unwrap_or(u32::MAX)
}

fn ttl(r: &mut Reader<'_>, written: &BTreeMap<Action, Spanned<i64>>) -> BTreeMap<Action, i64> {
    let mut ttl = BTreeMap::new();
    for (action, hours) in written {
        ttl.insert(*action, HOUR * r.number(action.name(), hours, 1, 8_760));
    }
    ttl
}

fn budget(r: &mut Reader<'_>, spanned: &Spanned<BudgetRow>) -> Budget {
    let row = spanned.get_ref();
    let counted = match (row.action, row.group) {
        (Some(action), None) => Counted::Action(action),
        (None, Some(group)) => Counted::Group(group),
        _ => {
            let remedy = "write `action = ..` or `group = ..`";
            r.wrong(spanned, "a budget counts one action or one group", remedy);
            Counted::Group(Tier::Evict)
        }
    };
    let class = row.class.as_ref().filter(|class| class.get_ref() != "any").and_then(|class| {
        let parsed = class.get_ref().parse::<Class>();
        if let Err(error) = &parsed {
            r.wrong_name(class, error);
        }
        parsed.ok()
    });
    let source = match &row.source {
        None => Of::Each,
        Some(name) => match name.get_ref().as_str() {
            "each" => Of::Each,
            "any" => Of::Any,
            "" => {
                r.wrong(name, "a source without a name", "write a source, `each` or `any`");
                Of::Each
            }
            source => Of::Source(source.to_owned()),
        },
    };
    let max = small(r, "max", &row.max, 0, 1_000_000);
    let per = MINUTE * r.number("per_minutes", &row.per_minutes, 1, 44_640);
    Budget { counted, class, source, max, per }
}

fn total(r: &mut Reader<'_>, spanned: &Spanned<TotalRow>) -> Total {
    let row = spanned.get_ref();
    let max = small(r, "max", &row.max, 0, 1_000_000);
    let one_source_max = small(r, "one_source_max", &row.one_source_max, 0, 1_000_000);
    let per = MINUTE * r.number("per_minutes", &row.per_minutes, 1, 44_640);
    if one_source_max >= max && max > 0 {
        let message = format!("`one_source_max` is {one_source_max} of {max}");
        let remedy = "write less than `max`, so that one source cannot spend all of it";
        r.wrong(&row.one_source_max, message, remedy);
    }
    Total { max, one_source_max, per }
}

fn floors(r: &mut Reader<'_>, rows: &[FloorRow]) -> Vec<Floor> {
    let mut floors: Vec<Floor> = Vec::new();
    for row in rows {
        let role = *row.role.get_ref();
        if floors.iter().any(|floor| floor.role == role) {
            r.wrong(&row.role, format!("`{role}` has two floors"), "keep one of the two");
        }
        let at_least = small(r, "at_least", &row.at_least, 0, 10_000);
        let fold = |group: &String| group.trim().to_lowercase();
        let groups: BTreeSet<String> = match &row.groups {
            Some(groups) => groups.get_ref().iter().map(fold).collect(),
            None => [role.name().to_owned()].into(),
        };
        if let Some(written) = row.groups.as_ref().filter(|_| groups.iter().all(String::is_empty)) {
            r.wrong(written, "a floor without a group", "name the directory's groups");
        }
        floors.push(Floor { role, groups, at_least });
    }
    floors
}

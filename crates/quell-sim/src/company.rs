//! Simulation room, company: invented people, the shipped rules and policy armed, and what the
//! providers say they can do. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use quell_core::action::Action;
use quell_core::directory::Import;
use quell_core::effect::Configured;
use quell_core::engine::Config;
use quell_core::id::IdentityId;
use quell_core::identity::{Account, Class, Identity};
use quell_core::order::{Capability, On, Order, Repeat};
use quell_core::policy::{Armed, Policy, PolicyFiles};
use quell_core::rule::Rules;
use quell_core::time::{MINUTE, SECOND};
use quell_rules::RuleSet;

use crate::rng::Rng;

pub(crate) const TENANT: &str = "default";
/// The provider that is a source of signals too.
pub(crate) const OKTA: &str = "okta";
/// A second provider at which some people have an account.
pub(crate) const LAB: &str = "lab_idp";
pub(crate) const PROVIDERS: [&str; 2] = [OKTA, LAB];
/// The mail gateway.
pub(crate) const GATEWAY: &str = "proofpoint_tap";

const ACTIONS: [Action; 3] = [Action::EndSessions, Action::ForceReauth, Action::Suspend];

const RULES: [(&str, &str); 4] = [
    ("breached.yml", include_str!("../../../rules/breached_credential_used.yml")),
    ("outsider.yml", include_str!("../../../rules/outsider_observe.yml")),
    ("click.yml", include_str!("../../../rules/permitted_phish_click.yml")),
    ("phish.yml", include_str!("../../../rules/phish_click_then_new_sign_in.yml")),
];

/// What is read once for all seeds.
#[derive(Debug)]
struct Texts {
    rules: Rules,
    /// Everything armed, the shipped limits.
    usual: Policy,
    /// Everything armed, budgets of one.
    strict: Policy,
}

fn texts() -> Result<&'static Texts, String> {
    static TEXTS: OnceLock<Result<Texts, String>> = OnceLock::new();
    TEXTS.get_or_init(read).as_ref().map_err(Clone::clone)
}

fn read() -> Result<Texts, String> {
    let (set, errors) = RuleSet::parse(&RULES);
    if let Some(error) = errors.first() {
        return Err(format!("the shipped rules: {error}"));
    }
    let rules = Rules::new(set).map_err(|e| format!("the shipped rules: {e:?}"))?;
    let usual = policy(|_| {})?;
    let strict = policy(|files| {
        if let Some(limits) = files.0.get_mut("limits.toml") {
            *limits = limits.replace("max = 50\n", "max = 1\n").replace("max = 100\n", "max = 1\n");
        }
    })?;
    Ok(Texts { rules, usual, strict })
}

fn policy(change: impl Fn(&mut PolicyFiles)) -> Result<Policy, String> {
    let mut files = PolicyFiles::shipped();
    if let Some(text) = files.0.get_mut("armed.toml") {
        for source in [OKTA, GATEWAY] {
            for action in Action::ALL {
                *text = Armed::arm(text, source, *action).map_err(|e| format!("{e:?}"))?;
            }
        }
    }
    if let Some(text) = files.0.get_mut("protected.toml") {
        text.push_str("\n[[account]]\nprovider = \"okta\"\nid = \"00u-kept\"\n");
        text.push_str("why = \"own_principal\"\n");
    }
    change(&mut files);
    Policy::load(&files).map_err(|e| format!("the policy: {e:?}"))
}

/// The company of one seed.
#[derive(Debug, Clone)]
pub(crate) struct Company {
    /// Everybody who may ever be in the directory.
    pub(crate) people: Vec<Identity>,
    /// Keys of those who are not in it now.
    pub(crate) absent: BTreeSet<String>,
    /// What each provider says it can do.
    pub(crate) capabilities: BTreeMap<String, Vec<Capability>>,
    /// The policy is the strict one.
    pub(crate) strict: bool,
}

impl Company {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut people: Vec<Identity> = (0..4).map(|n| human(&format!("human{n}"))).collect();
        for person in &mut people {
            if rng.chance(300) {
                let id = format!("lab-{}", person.key);
                person.accounts.push(Account { provider: LAB.to_owned(), id, login: None });
            }
        }
        for n in 0..3 {
            let groups = ["okta-admins", "global_admin"];
            people.push(identity(&format!("admin{n}"), &[Class::Privileged], &groups));
        }
        people.push(identity("payroll", &[Class::Human], &["payroll"]));
        people.push(identity("robot", &[Class::ServiceAccount], &[]));
        people.push(identity("glass", &[Class::BreakGlass], &[]));
        people.push(human("kept"));
        people.push(identity("nobody", &[], &[]));
        for n in 0..4 {
            let groups = ["approver", "service_desk"];
            people.push(identity(&officer(n), &[Class::Human], &groups));
        }
        let absent = ["human3"].map(str::to_owned).into_iter().filter(|_| rng.chance(500));
        let absent = absent.collect();
        let provider = |name: &str, rng: &mut Rng| (name.to_owned(), capabilities(rng));
        let capabilities = PROVIDERS.iter().map(|name| provider(name, rng)).collect();
        Self { people, absent, capabilities, strict: false }
    }

    /// The directory as it is now.
    pub(crate) fn import(&self) -> Import {
        let there = |person: &&Identity| !self.absent.contains(&person.key);
        let identities = self.people.iter().filter(there).cloned().collect();
        Import { origin: "simulation".to_owned(), as_of: None, identities }
    }

    /// The configuration as it is on disk now.
    pub(crate) fn config(&self) -> Result<Config, String> {
        let texts = texts()?;
        let policy = if self.strict { &texts.strict } else { &texts.usual };
        Ok(Config {
            tenant: TENANT.to_owned(),
            rules: texts.rules.clone(),
            policy: policy.clone(),
            capabilities: self.capabilities.clone(),
        })
    }

    /// The configuration that a journalled digest stands for.
    pub(crate) fn config_of(&self, configured: &Configured) -> Result<Config, String> {
        let texts = texts()?;
        let strict = configured.policy == texts.strict.digest.to_string();
        Self { strict, ..self.clone() }.config()
    }

    /// The provider of the order's account can take it back.
    pub(crate) fn undoes(&self, order: &Order) -> bool {
        let On::Account(account) = &order.on else { return false };
        let all = self.capabilities.get(&account.provider);
        all.into_iter().flatten().any(|c| c.action == order.action && c.undoes)
    }

    /// Accounts that no effecting call may ever reach.
    pub(crate) fn untouchable(&self, account: &Account) -> bool {
        account.provider == OKTA && ["00u-kept", "00u-glass"].contains(&account.id.as_str())
    }
}

/// The digests that go with a configuration.
pub(crate) fn configured(config: &Config) -> Configured {
    Configured {
        rules: config.rules.digest.to_string(),
        policy: config.policy.digest.to_string(),
        packs: BTreeMap::new(),
        engine: "simulation".to_owned(),
    }
}

/// The rules in force, for whoever decodes.
pub(crate) fn rules() -> Result<&'static Rules, String> {
    texts().map(|texts| &texts.rules)
}

pub(crate) fn officer(n: usize) -> String {
    format!("officer{n}")
}

pub(crate) fn login(key: &str) -> String {
    format!("{key}@example.com")
}

/// The id of somebody's account at the first provider.
pub(crate) fn account_id(key: &str) -> String {
    format!("00u-{key}")
}

fn human(key: &str) -> Identity {
    identity(key, &[Class::Human], &[])
}

fn identity(key: &str, classes: &[Class], groups: &[&str]) -> Identity {
    let account =
        Account { provider: OKTA.to_owned(), id: account_id(key), login: Some(login(key)) };
    Identity {
        id: IdentityId::of(TENANT, key),
        key: key.to_owned(),
        name: key.to_owned(),
        classes: classes.iter().copied().collect(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        accounts: vec![account],
        names: Vec::new(),
    }
}

/// Any mixture of repeat classes, with and without read-back, now and then an action missing.
fn capabilities(rng: &mut Rng) -> Vec<Capability> {
    let mut all = Vec::new();
    for action in ACTIONS {
        if rng.chance(60) {
            continue;
        }
        let repeats = [Repeat::Safe, Repeat::AfterReadBack, Repeat::Never];
        let delays = [0, 0, SECOND, 20 * SECOND, 10 * MINUTE];
        all.push(Capability {
            action,
            repeat: rng.pick(&repeats).copied().unwrap_or(Repeat::Never),
            reads_back: rng.chance(700),
            effective_after: rng.pick(&delays).copied().unwrap_or_default(),
            read_back_lag: rng.pick(&delays).copied().unwrap_or_default(),
            quiet: if rng.chance(300) { 2 * SECOND } else { 0 },
            undoes: action == Action::Suspend && rng.chance(800),
        });
    }
    all
}

//! Helpers of the engine's tests: an invented company, rules, policies and signals.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use proptest::test_runner::{Config as Cases, RngSeed, TestRunner};
use quell_core::action::{Action, Tier};
use quell_core::directory::Import;
use quell_core::effect::{Effect, Input, Intake};
use quell_core::engine::Config;
use quell_core::id::{Digest, IdentityId, SignalId};
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use quell_core::order::{Answer, Call, Capability, Outcome, Repeat};
use quell_core::policy::{Armed, Policy, PolicyFiles};
use quell_core::rule::Rules;
use quell_core::signal::*;
use quell_core::time::{DAY, MINUTE, Moment, Precision, SECOND, Time};

/// When the stories begin.
pub(crate) const T0: i64 = 1_780_000_000_000_000;
pub(crate) const TENANT: &str = "default";

/// Small generator for shuffles, with a printed seed where it matters.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64, public domain (Sebastiano Vigna).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            all.swap(i, self.below(i + 1));
        }
    }
}

/// A runner of so many cases, or as `PROPTEST_CASES` says, from a seed that is printed when the
/// test fails, or from `PROPTEST_RNG_SEED`.
pub(crate) fn runner(cases: u32) -> TestRunner {
    let mut config = Cases { failure_persistence: None, ..Cases::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if !matches!(config.rng_seed, RngSeed::Fixed(_)) {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(cases));
    }
    eprintln!("{} cases from {:?}", config.cases, config.rng_seed);
    TestRunner::new(config)
}

/// The rules that Quell ships.
pub(crate) const SHIPPED: [(&str, &str); 4] = [
    ("breached.yml", include_str!("../../../../rules/breached_credential_used.yml")),
    ("outsider.yml", include_str!("../../../../rules/outsider_observe.yml")),
    ("click.yml", include_str!("../../../../rules/permitted_phish_click.yml")),
    ("click_then.yml", include_str!("../../../../rules/phish_click_then_new_sign_in.yml")),
];

/// A rule's id from a number.
pub(crate) fn rule_id(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012}")
}

/// What a rule asks for, as YAML.
pub(crate) fn ask(tier: Tier, confidence: u8) -> String {
    format!(
        "quell:\n  tier: {tier}\n  confidence: {confidence}\n  subject: identity\n  \
         rationale: generated\n"
    )
}

/// A detection of one kind, without its `quell:` block.
pub(crate) fn detection(n: usize, name: &str, kinds: &[Kind]) -> String {
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    format!(
        "title: {name}\nid: {}\nname: {name}\nstatus: test\nlogsource:\n  product: quell\n\
         detection:\n  selection:\n    kind: [{}]\n  condition: selection\nlevel: low\n",
        rule_id(n),
        kinds.join(", "),
    )
}

/// A correlation over names of detections, without its `quell:` block.
pub(crate) fn correlation(
    n: usize,
    ordered: bool,
    members: &[&str],
    minutes: u32,
    need: Option<usize>,
) -> String {
    let kind = if ordered { "temporal_ordered" } else { "temporal" };
    let need = need
        .filter(|_| !ordered)
        .map_or(String::new(), |need| format!("  condition:\n    gte: {need}\n"));
    format!(
        "title: correlation {n}\nid: {}\nname: correlation_{n}\nstatus: test\ncorrelation:\n  \
         type: {kind}\n  rules: [{}]\n  group-by: [identity]\n  timespan: {minutes}m\n{need}\
         level: low\n",
        rule_id(n),
        members.join(", "),
    )
}

pub(crate) fn rules(files: &[(&str, &str)]) -> Rules {
    let (set, errors) = quell_rules::RuleSet::parse(files);
    assert!(errors.is_empty(), "{errors:?}");
    Rules::new(set).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The sources that policies speak of.
pub(crate) const SOURCES: [&str; 2] = ["okta", "proofpoint_tap"];

/// The shipped policy files with every pair of source and action armed.
pub(crate) fn armed_files() -> PolicyFiles {
    let mut files = PolicyFiles::shipped();
    let mut armed = files.0["armed.toml"].clone();
    for source in SOURCES {
        for action in Action::ALL {
            armed = Armed::arm(&armed, source, *action).unwrap();
        }
    }
    files.0.insert("armed.toml".to_owned(), armed);
    files
}

/// Replaces text in one file; the text must be there.
pub(crate) fn edited(mut files: PolicyFiles, file: &str, from: &str, to: &str) -> PolicyFiles {
    let text = files.0.get_mut(file).unwrap();
    assert!(text.contains(from), "{file} has no `{from}`");
    *text = text.replace(from, to);
    files
}

/// A policy that permits everything to everybody without approval, as far as one can be loaded.
pub(crate) fn reckless_files() -> PolicyFiles {
    let mut files = armed_files();
    let list = |names: Vec<&str>| format!("[\"{}\"]", names.join("\", \""));
    let kinds = list(Kind::ALL.iter().map(|kind| kind.name()).collect());
    let sources: Vec<String> = SOURCES.iter().map(|s| format!("Source::\"{s}\"")).collect();
    let classes: Vec<String> =
        Class::ALL.iter().map(|class| format!("Class::\"{class}\"")).collect();
    let text = format!(
        "@id(\"all\")\n@reason(\"everything\")\npermit (principal, action, resource)\nwhen {{\n  \
         [{}].contains(principal) &&\n  resource in [{}] &&\n  {kinds}.contains(context.kind)\n\
         }};\n\n@id(\"watch\")\n@reason(\"watch\")\npermit (principal, action in \
         Action::\"observe\", resource);\n",
        sources.join(", "),
        classes.join(", "),
    );
    files.0.insert("default.cedar".to_owned(), text);
    files
}

pub(crate) fn policy(files: &PolicyFiles) -> Policy {
    Policy::load(files).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// What the providers' targets can do.
pub(crate) fn capability(action: Action, repeat: Repeat, reads_back: bool) -> Capability {
    Capability {
        action,
        repeat,
        reads_back,
        effective_after: SECOND,
        read_back_lag: 2 * SECOND,
        quiet: 0,
        undoes: action == Action::Suspend,
    }
}

pub(crate) fn config(rules: Rules, policy: Policy) -> Config {
    let all = Action::ALL.iter().filter(|action| **action != Action::Watch);
    let okta = all.map(|action| capability(*action, Repeat::AfterReadBack, true)).collect();
    let oidc = vec![capability(Action::EndSessions, Repeat::Safe, true)];
    let capabilities = [("okta".to_owned(), okta), ("oidc".to_owned(), oidc)].into();
    Config { tenant: TENANT.to_owned(), rules, policy, capabilities }
}

/// The shipped rules under the shipped policy, armed.
pub(crate) fn shipped() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| config(rules(&SHIPPED), policy(&armed_files())))
}

pub(crate) fn idn(key: &str) -> IdentityId {
    IdentityId::of(TENANT, key)
}

pub(crate) fn person(key: &str, accounts: &[&str], classes: &[Class]) -> Identity {
    let account = |id: &&str| {
        let (provider, id) = id.split_once(':').unwrap();
        let login = (provider == "okta").then(|| format!("{key}@example.com"));
        Account { provider: provider.to_owned(), id: id.to_owned(), login }
    };
    Identity {
        id: idn(key),
        key: key.to_owned(),
        name: key.to_owned(),
        classes: classes.iter().copied().collect(),
        groups: BTreeSet::new(),
        accounts: accounts.iter().map(account).collect(),
        names: Vec::new(),
    }
}

pub(crate) fn address(text: &str) -> Identifier {
    Identifier::new(Scheme::Address, None, text)
}

/// The company: people of each class, and an address that went from one to another.
pub(crate) fn company() -> Vec<Identity> {
    let mut alice = person("alice", &["okta:00u1", "oidc:alice"], &[Class::Human]);
    let reused = address("desk@example.com");
    alice.names.push(Held { identifier: reused.clone(), from: None, until: Some(Time(T0)) });
    alice.names.push(Held { identifier: address("al@example.com"), from: None, until: None });
    let mut bob = person("bob", &["okta:00u2"], &[Class::Human, Class::Privileged]);
    bob.names.push(Held { identifier: reused, from: Some(Time(T0)), until: None });
    let shared = Held { identifier: address("both@example.com"), from: None, until: None };
    alice.names.push(shared.clone());
    bob.names.push(shared);
    vec![
        alice,
        bob,
        person("carol", &["okta:00u3"], &[Class::HighValue]),
        person("svc", &["okta:00u4"], &[Class::ServiceAccount]),
        person("glass", &["okta:00u9"], &[Class::BreakGlass]),
        person("nobody", &["okta:00u8"], &[]),
    ]
}

pub(crate) fn import(identities: Vec<Identity>) -> Input {
    let as_of = Some(Time(T0));
    Input::Directory(Import { origin: "test".to_owned(), as_of, identities })
}

/// One signal, to be filled in.
#[derive(Clone, Debug)]
pub(crate) struct Sig {
    pub(crate) source: &'static str,
    pub(crate) key: String,
    pub(crate) kind: Kind,
    pub(crate) usage: Use,
    pub(crate) confidence: u8,
    pub(crate) about: Vec<Identifier>,
    pub(crate) t: i64,
    pub(crate) precision: Precision,
    pub(crate) written: i64,
    pub(crate) place: usize,
    pub(crate) threat: Option<usize>,
    pub(crate) ordinal: u32,
}

impl Sig {
    pub(crate) fn new(source: &'static str, kind: Kind, who: &str, t: i64) -> Self {
        Self {
            source,
            key: format!("{kind}-{who}-{t}"),
            kind,
            usage: if kind == Kind::SignIn { Use::Fact } else { Use::Alone },
            confidence: 90,
            about: vec![address(who)],
            t,
            precision: Precision::Milli,
            written: t,
            place: 0,
            threat: None,
            ordinal: 0,
        }
    }

    pub(crate) fn usage(mut self, usage: Use) -> Self {
        self.usage = usage;
        self
    }

    pub(crate) fn at(mut self, place: usize) -> Self {
        self.place = place;
        self
    }

    pub(crate) fn threat(mut self, threat: usize) -> Self {
        self.threat = Some(threat);
        self
    }

    pub(crate) fn signal(&self) -> Signal {
        let entity = |kind, value: String| Entity { kind, value };
        let mut entities = Vec::new();
        // Place 0 names no address and no device.
        if self.place > 0 {
            let ip = format!("192.0.{}.{}", 2 + self.place, self.t.rem_euclid(200));
            entities.push(entity(EntityKind::Ip, ip));
            entities.push(entity(EntityKind::Device, format!("device-{}", self.place)));
        }
        if let Some(threat) = self.threat {
            entities.push(entity(EntityKind::Threat, format!("threat-{threat}")));
            let url = format!("https://phish.example.net/{threat}");
            entities.push(entity(EntityKind::Url, url));
        }
        entities.sort();
        let digest = format!("{self:?}");
        Signal {
            id: SignalId::of(TENANT, self.source, &self.key, self.kind.name(), self.ordinal),
            source: self.source.to_owned(),
            kind: self.kind,
            usage: self.usage,
            confidence: (self.usage != Use::Fact).then_some(self.confidence),
            about: self.about.clone(),
            times: Times {
                happened: Moment { t: Time(self.t), precision: self.precision },
                judged: None,
                written: Time(self.written),
            },
            entities,
            attributes: Default::default(),
            anomalies: Vec::new(),
            provenance: Provenance::Polled,
            record: Digest::of(digest.as_bytes()),
            record_key: self.key.clone(),
            withdraws: (self.usage == Use::Undo).then_some(EntityKind::Threat),
        }
    }

    pub(crate) fn matched(&self, config: &Config) -> Matched {
        let signal = self.signal();
        let rules = config.rules.match_ids(&signal);
        Matched { signal: signal.into(), rules }
    }
}

pub(crate) fn signals(matched: Vec<Matched>) -> Input {
    Input::Signals(Intake { source: "test".to_owned(), matched, ..Intake::default() })
}

/// A person's usual sign-ins, then a click from the usual place and a sign-in from elsewhere.
pub(crate) fn story(who: &str) -> Vec<Sig> {
    let usual = |n: i64| Sig::new("okta", Kind::SignIn, who, T0 - n * DAY).at(1);
    let mut all: Vec<Sig> = (1..=12).map(usual).collect();
    let click = Sig::new("proofpoint_tap", Kind::UrlClick, who, T0).usage(Use::Join);
    all.push(click.at(1).threat(1));
    all.push(Sig::new("okta", Kind::SignIn, who, T0 + 5 * MINUTE).at(7));
    all
}

pub(crate) fn told(config: &Config, story: &[Sig]) -> Input {
    signals(story.iter().map(|sig| sig.matched(config)).collect())
}

pub(crate) fn calls(effects: &[Effect]) -> Vec<Call> {
    let calls = effects.iter().filter_map(|effect| match effect {
        Effect::Call(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

pub(crate) fn pages(effects: &[Effect]) -> Vec<String> {
    let pages = effects.iter().filter_map(|effect| match effect {
        Effect::Page(notice) => Some(notice.kind.clone()),
        _ => None,
    });
    pages.collect()
}

pub(crate) fn outcome(call: &Call, answer: Answer, at: Time) -> Input {
    Input::Outcome(Outcome {
        order: call.order,
        verb: call.verb,
        attempt: call.attempt,
        answer,
        sent_at: Some(at),
        request: "DELETE /x".to_owned(),
        status: Some(204),
        vendor_request: None,
        response: None,
        detail: String::new(),
    })
}

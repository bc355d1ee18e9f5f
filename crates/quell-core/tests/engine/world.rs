//! Helpers of the engine's tests: generated stories, and a pool of configurations to tell them
//! to. Making a configuration is slow, so that cases share them.

use std::sync::Arc;
use std::sync::OnceLock;

use proptest::prelude::*;
use quell_core::action::Tier;
use quell_core::effect::Input;
use quell_core::engine::{Config, Engine, PlanRow};
use quell_core::finding::{Containment, Finding};
use quell_core::id::IdentityId;
use quell_core::identity::Identifier;
use quell_core::signal::*;
use quell_core::time::{DAY, HOUR, MINUTE, Precision, SECOND, Time};

use super::company::*;

/// What signals of the stories state: (source, kind, use, confidence).
const WHAT: [(&str, Kind, Use, u8); 14] = [
    ("okta", Kind::SignIn, Use::Fact, 0),
    ("okta", Kind::SignIn, Use::Fact, 0),
    ("proofpoint_tap", Kind::UrlClick, Use::Join, 85),
    ("proofpoint_tap", Kind::UrlClick, Use::Alone, 60),
    ("proofpoint_tap", Kind::UrlClickBlocked, Use::Stop, 85),
    ("proofpoint_tap", Kind::PhishDelivered, Use::Alone, 70),
    ("proofpoint_tap", Kind::VerdictChanged, Use::Undo, 50),
    ("proofpoint_tap", Kind::CredentialSubmitted, Use::Alone, 75),
    ("okta", Kind::CredentialLeaked, Use::Alone, 90),
    ("okta", Kind::SignInFailed, Use::Join, 55),
    ("okta", Kind::MfaFatigue, Use::Join, 40),
    ("okta", Kind::MfaMethodAdded, Use::Join, 65),
    ("okta", Kind::SessionAnomaly, Use::Stop, 80),
    ("okta", Kind::MessageRemoved, Use::Fact, 0),
];

/// One generated signal in small numbers.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    who: usize,
    what: usize,
    slot: i64,
    fine: usize,
    place: usize,
    threat: usize,
    key: usize,
    revision: i64,
}

/// One generated story.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    /// The configuration of the pool.
    pub(crate) config: usize,
    specs: Vec<Spec>,
    /// Usual sign-ins of each of the first three people.
    history: [usize; 3],
    /// How long after the beginning everything is told.
    pub(crate) as_of: usize,
    /// Imports of the directory: none, the company, or first without and then with some.
    imports: usize,
    /// Verified containments: about the time of which signal, and the seed of what led to them.
    contained: Vec<(usize, u64)>,
    /// The seed of order, repetitions and batches.
    pub(crate) seed: u64,
}

pub(crate) fn story_strategy() -> impl Strategy<Value = Story> {
    let places = (0..6_usize, 0..WHAT.len(), 0..36_i64, 0..4_usize, 0..4_usize);
    let record = (0..3_usize, 0..24_usize, 0..3_i64);
    let spec =
        (places, record).prop_map(|((who, what, slot, fine, place), (threat, key, revision))| {
            Spec { who, what, slot, fine, place, threat, key, revision }
        });
    (
        0..pool().len(),
        prop::collection::vec(spec, 1..14),
        [0..4_usize, 0..4, 0..4],
        0..5_usize,
        0..4_usize,
        prop::collection::vec((0..14_usize, any::<u64>()), 0..4),
        any::<u64>(),
    )
        .prop_map(|(config, specs, history, as_of, imports, contained, seed)| Story {
            config,
            specs,
            history,
            as_of,
            imports,
            contained,
            seed,
        })
}

/// How a signal names its person: by address, account, alias with a plus part, the address that
/// changed hands, one that two people share, and one that nobody has.
fn about(who: usize) -> Vec<Identifier> {
    use quell_core::identity::Scheme;
    let account = |id| Identifier::new(Scheme::AccountId, Some("okta"), id);
    match who {
        0 => vec![address("alice@example.com")],
        1 => vec![account("00u1"), address("alice@example.com")],
        2 => vec![account("00u2")],
        3 => vec![address("al+news@example.com")],
        4 => vec![address("desk@example.com")],
        5 => vec![address("both@example.com"), address("mallory@example.org")],
        _ => vec![address("mallory@example.org")],
    }
}

impl Spec {
    fn sig(&self) -> Sig {
        let (source, kind, usage, confidence) = WHAT[self.what];
        let precision = [Precision::Micro, Precision::Milli, Precision::Second];
        let fine = i64::try_from(self.fine).unwrap();
        let t = T0 + self.slot * 7 * MINUTE + fine * SECOND / 2;
        Sig {
            source,
            key: format!("record-{}", self.key),
            kind,
            usage,
            confidence,
            about: about(self.who),
            t,
            precision: precision[self.fine % 3],
            written: T0 + (5 + self.revision) * HOUR,
            place: self.place,
            threat: Some(self.threat),
            ordinal: 0,
        }
    }
}

impl Story {
    pub(crate) fn config(&self) -> &'static Config {
        &pool()[self.config]
    }

    /// When everything is told.
    pub(crate) fn at(&self) -> Time {
        let after = [HOUR, 5 * HOUR, 3 * DAY, 20 * DAY, 31 * DAY + 2 * HOUR];
        Time(T0 + after[self.as_of])
    }

    /// Every signal once, in the order of the story.
    pub(crate) fn signals(&self) -> Vec<Matched> {
        let config = self.config();
        let mut sigs: Vec<Sig> = Vec::new();
        for (who, count) in self.history.iter().enumerate() {
            for n in 0..*count {
                let back = i64::try_from(n + 1).unwrap() * 9 * DAY;
                let mut usual = Sig::new("okta", Kind::SignIn, "x", T0 - back).at(1);
                usual.about = about(who);
                usual.key = format!("usual-{who}-{n}");
                sigs.push(usual);
            }
        }
        sigs.extend(self.specs.iter().map(Spec::sig));
        // A record of two signals: the second states something else about the same.
        let more: Vec<Sig> = sigs
            .iter()
            .filter(|sig| sig.kind == Kind::CredentialSubmitted)
            .map(|sig| Sig { ordinal: 1, ..sig.clone() })
            .collect();
        let mut matched: Vec<Matched> = sigs.iter().map(|sig| sig.matched(config)).collect();
        for sig in more {
            let mut second = sig.matched(config);
            Arc::make_mut(&mut second.signal).record = Sig { ordinal: 0, ..sig }.signal().record;
            matched.push(second);
        }
        matched
    }

    /// The verified containments, each with some signals of the story as what led to it.
    pub(crate) fn containments(&self) -> Vec<(IdentityId, Containment)> {
        let all = self.signals();
        let of = |(which, seed): &(usize, u64)| {
            let mut dice = Dice::new(*seed);
            let spec = &self.specs[which % self.specs.len()];
            let ground = self.config().rules.iter().map(|(_, rule)| {
                let led = all.iter().filter(|_| dice.one_in(8)).map(|m| m.signal.id);
                (rule.id.clone(), led.collect())
            });
            let ground = ground.collect();
            let before = Time(spec.sig().t + *dice.pick(&[0, 1, SECOND, MINUTE]));
            let containment =
                Containment { before, group: Tier::Contain, orders: Vec::new(), ground };
            (idn(if spec.who == 2 { "bob" } else { "alice" }), containment)
        };
        self.contained.iter().map(of).collect()
    }

    /// The imports, in their order.
    pub(crate) fn imports(&self) -> Vec<Input> {
        let mut part = company();
        part.truncate(1);
        match self.imports {
            0 => Vec::new(),
            1 => vec![import(company())],
            2 => vec![import(part), import(company())],
            _ => vec![import(company()), import(part)],
        }
    }

    /// The inputs as they are told: shuffled, some twice, in batches, with the imports anywhere.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let mut dice = Dice::new(self.seed);
        let mut all = self.signals();
        let twice: Vec<Matched> = all.iter().filter(|_| dice.one_in(4)).cloned().collect();
        all.extend(twice);
        dice.shuffle(&mut all);
        let mut inputs = Vec::new();
        let most = *dice.pick(&[1, 4, 9, 40]);
        while !all.is_empty() {
            let size = (1 + dice.below(most)).min(all.len());
            inputs.push(signals(all.drain(..size).collect()));
        }
        let mut places: Vec<usize> =
            self.imports().iter().map(|_| dice.below(inputs.len() + 1)).collect();
        places.sort_unstable();
        for (place, import) in places.into_iter().zip(self.imports()).rev() {
            inputs.insert(place, import);
        }
        inputs
    }

    /// The inputs as nobody ever sends them: in event order, imports first, all at once.
    pub(crate) fn sorted(&self) -> Vec<Input> {
        let mut all = self.signals();
        all.sort_by_key(|m| (m.signal.times.happened.t, m.signal.times.written, m.signal.id));
        let mut inputs = self.imports();
        inputs.push(signals(all));
        inputs
    }
}

/// What the law speaks of.
#[derive(PartialEq, Debug)]
pub(crate) struct End {
    pub(crate) findings: Vec<Finding>,
    /// What lies before a containment and is on record only.
    pub(crate) contained: Vec<Finding>,
    pub(crate) plan: Vec<PlanRow>,
}

pub(crate) fn end(engine: &Engine) -> End {
    let findings = engine.findings().cloned().collect();
    End { findings, contained: engine.contained().cloned().collect(), plan: engine.plan() }
}

/// Tells everything at one time; also says how often an event came after a later one.
pub(crate) fn tell(
    config: &Config,
    at: Time,
    contained: impl IntoIterator<Item = (IdentityId, Containment)>,
    inputs: &[Input],
) -> (Engine, usize) {
    let mut engine = Engine::new(config.clone());
    contained.into_iter().for_each(|(identity, one)| engine.assume(identity, one));
    let mut inverted = 0;
    let mut latest = Time(i64::MIN);
    for input in inputs {
        inverted += inversions(&mut latest, input);
        engine.step(at, input);
    }
    (engine, inverted)
}

/// How many events of an input happened before one that was told already.
pub(crate) fn inversions(latest: &mut Time, input: &Input) -> usize {
    let Input::Signals(intake) = input else { return 0 };
    let mut count = 0;
    for matched in &intake.matched {
        let t = matched.signal.times.happened.t;
        count += usize::from(t < *latest);
        *latest = t.max(*latest);
    }
    count
}

/// The building blocks of generated correlations.
const BLOCKS: [(&str, &[Kind]); 6] = [
    ("click", &[Kind::UrlClick]),
    ("sign_in_any", &[Kind::SignIn]),
    ("given", &[Kind::CredentialSubmitted, Kind::CredentialLeaked]),
    ("noise", &[Kind::SignInFailed, Kind::PhishDelivered, Kind::MfaFatigue]),
    ("change", &[Kind::MfaMethodAdded, Kind::SessionAnomaly, Kind::UrlClickBlocked]),
    ("removed", &[Kind::MessageRemoved, Kind::UrlClick]),
];

/// Rules of one seed: the shipped ones and up to five generated ones.
fn generated(seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let mut documents = Vec::new();
    for (n, (name, kinds)) in BLOCKS.iter().enumerate() {
        let mut text = detection(n, name, kinds);
        match dice.below(4) {
            0 => text.push_str(&ask(*dice.pick(Tier::ALL), 70)),
            1 => text.push_str("quell:\n  novel: [network]\n"),
            2 if *name == "sign_in_any" => {
                text.push_str("quell:\n  novel: [network, device]\n");
            }
            _ => {}
        }
        documents.push(text);
    }
    for n in 0..1 + dice.below(4) {
        let mut names: Vec<&str> = BLOCKS.iter().map(|(name, _)| *name).collect();
        dice.shuffle(&mut names);
        names.truncate(2 + dice.below(2));
        let ordered = dice.one_in(2);
        let need = (!ordered && dice.one_in(3)).then(|| names.len() - 1);
        let minutes = u32::try_from(*dice.pick(&[1, 7, 21, 60, 180])).unwrap();
        let text = correlation(100 + n, ordered, &names, minutes, need);
        let confidence = *dice.pick(&[40, 60, 80, 95]);
        documents.push(text + &ask(*dice.pick(Tier::ALL), confidence));
    }
    documents.extend(counting(&mut dice));
    documents.join("---\n")
}

/// A counting rule, and one that rests on it, grouped by devices or by the identity alone.
fn counting(dice: &mut Dice) -> Vec<String> {
    let mut names: Vec<&str> = BLOCKS.iter().map(|(name, _)| *name).collect();
    dice.shuffle(&mut names);
    let keys = *dice.pick(&["[identity]", "[identity, entity.device]"]);
    let outer = *dice.pick(&["[identity]", keys]);
    let (kind, what) = *dice.pick(&[
        ("event_count", "gte: 2"),
        ("event_count", "gte: 3"),
        ("value_count", "field: network\n    gte: 2"),
        ("value_count", "field: kind\n    gte: 2"),
    ]);
    let order = *dice.pick(&["temporal", "temporal_ordered"]);
    let (tier, other) = (*dice.pick(Tier::ALL), *dice.pick(Tier::ALL));
    let head = |n: usize, name: &str| {
        format!("title: {name}\nid: {}\nname: {name}\ncorrelation:\n", rule_id(n))
    };
    let counted = head(200, "counted")
        + &format!("  type: {kind}\n  rules: [{}, {}]\n", names[0], names[1])
        + &format!("  group-by: {keys}\n  timespan: 60m\n  condition:\n    {what}\n");
    let chained = head(201, "chained")
        + &format!("  type: {order}\n  rules: [counted, {}]\n", names[2])
        + &format!("  group-by: {outer}\n  timespan: 180m\n");
    let asks = dice.one_in(2);
    let counted = if asks { counted + &ask(tier, 70) } else { counted };
    vec![counted, chained + &ask(other, 80)]
}

/// The configurations: the shipped rules alone and with generated ones, under the shipped policy
/// and under one that permits everything, with bounds that the stories reach.
pub(crate) fn pool() -> &'static [Config] {
    static POOL: OnceLock<Vec<Config>> = OnceLock::new();
    POOL.get_or_init(|| {
        let near = |files| edited(files, "limits.toml", "cold_history = 10", "cold_history = 2");
        let policies = [policy(&near(armed_files())), policy(&near(reckless_files()))];
        let mut all = vec![config(rules(&SHIPPED), policies[0].clone())];
        for seed in 0..23_u64 {
            let text = generated(seed);
            let mut files = SHIPPED.to_vec();
            files.push(("generated.yml", &text));
            let which = usize::from(seed % 3 == 2);
            all.push(config(rules(&files), policies[which].clone()));
        }
        all
    })
}

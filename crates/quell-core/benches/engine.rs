//! Core: what a step of the engine costs, and what an identity holds. Prints rates; asserts
//! nothing. Matching is done before, as it is on other cores. `cargo bench -p quell-core`.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock and the process's size"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use quell_core::directory::Import;
use quell_core::effect::{Effect, Input, Intake};
use quell_core::engine::{Config, Engine};
use quell_core::id::{Digest, IdentityId, SignalId};
use quell_core::identity::{Account, Class, Identifier, Identity, Scheme};
use quell_core::policy::{Policy, PolicyFiles};
use quell_core::rule::Rules;
use quell_core::signal::{Entity, EntityKind, Kind, Matched, Provenance, Signal, Times, Use};
use quell_core::time::{HOUR, MINUTE, Moment, Precision, SECOND, Time};

const TENANT: &str = "default";
const T0: i64 = 1_780_000_000_000_000;
/// Signals of one intake.
const BATCH: u64 = 1000;
/// Retained signals of one identity before the clock runs.
const RETAINED: u64 = 5;
/// Signals that are measured.
const MEASURED: u64 = 200_000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    // Tests of all targets start benches too, without this argument.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let texts = [
        ("breached", include_str!("../../../rules/breached_credential_used.yml")),
        ("outsider", include_str!("../../../rules/outsider_observe.yml")),
        ("click", include_str!("../../../rules/permitted_phish_click.yml")),
        ("click_then", include_str!("../../../rules/phish_click_then_new_sign_in.yml")),
    ];
    let (set, errors) = quell_rules::RuleSet::parse(&texts);
    let rules = Rules::new(set).map_err(|errors| format!("{errors:?}"))?;
    let policy = Policy::load(&PolicyFiles::shipped()).map_err(|errors| format!("{errors:?}"))?;
    if !errors.is_empty() {
        return Err(format!("{errors:?}").into());
    }
    let capabilities = std::collections::BTreeMap::new();
    let config = Config { tenant: TENANT.to_owned(), rules, policy, capabilities };
    for people in [1_000, 100_000] {
        run(&config, people)?;
    }
    Ok(())
}

fn run(config: &Config, people: u64) -> Result<(), Failure> {
    let mut engine = Engine::new(config.clone());
    let identities = (0..people).map(person).collect();
    let import = Import { origin: "bench".to_owned(), as_of: None, identities };
    engine.step(Time(T0), &Input::Directory(import));
    let before = resident()?;
    let mut n = 0;
    while n < people * RETAINED {
        engine.step(now(n), &batch(config, n, people, false));
        n += BATCH;
    }
    let held = resident()?.saturating_sub(before);
    let mut signals = Duration::ZERO;
    let (mut effects, mut bytes) = (0, 0);
    let last = n + MEASURED;
    while n < last {
        let input = batch(config, n, people, true);
        let began = Instant::now();
        let out = engine.step(now(n), &input);
        signals += began.elapsed();
        effects += out.len();
        bytes += out.iter().map(size).sum::<usize>();
        n += BATCH;
    }
    let each = signals.as_nanos() / u128::from(MEASURED);
    println!(
        "{people} identities: {} signals/s, {each} ns each; {effects} effects, {bytes} bytes \
         of rows and records, {} findings; {} bytes resident per identity with {RETAINED} signals",
        u128::from(MEASURED) * 1_000_000_000 / signals.as_nanos().max(1),
        engine.findings().count(),
        held / people,
    );
    Ok(())
}

fn now(n: u64) -> Time {
    Time(T0 + HOUR).plus(i64::try_from(n).unwrap_or_default() * SECOND / 100)
}

/// Sign-ins from each person's usual place; of a thousand signals one finds something.
fn batch(config: &Config, from: u64, people: u64, finds: bool) -> Input {
    let one = |n: u64| {
        let leaked = finds && n % 1000 == 500;
        let signal = Arc::new(signal(n, (n * 7919 + n / BATCH) % people, leaked));
        Matched { rules: config.rules.match_ids(&signal), signal }
    };
    let matched = (from..from + BATCH).map(one).collect();
    Input::Signals(Intake { source: "okta".to_owned(), matched, ..Intake::default() })
}

fn person(n: u64) -> Identity {
    let login = format!("person{n}@example.com");
    Identity {
        id: IdentityId::of(TENANT, &n.to_string()),
        key: n.to_string(),
        name: format!("Person {n}"),
        classes: [Class::Human].into(),
        groups: std::collections::BTreeSet::new(),
        accounts: vec![Account {
            provider: "okta".to_owned(),
            id: format!("00u{n}"),
            login: Some(login),
        }],
        names: Vec::new(),
    }
}

fn signal(n: u64, who: u64, leaked: bool) -> Signal {
    let kind = if leaked { Kind::CredentialLeaked } else { Kind::SignIn };
    let key = format!("event-{n}");
    let entity = |kind, value: String| Entity { kind, value };
    let at = now(n).plus(-MINUTE);
    let account = Identifier::new(Scheme::AccountId, Some("okta"), &format!("00u{who}"));
    let login = Identifier::new(Scheme::Address, None, &format!("person{who}@example.com"));
    Signal {
        id: SignalId::of(TENANT, "okta", &key, kind.name(), 0),
        source: "okta".to_owned(),
        kind,
        usage: if leaked { Use::Alone } else { Use::Fact },
        confidence: leaked.then_some(90),
        about: vec![account, login],
        times: Times {
            happened: Moment { t: at, precision: Precision::Milli },
            judged: None,
            written: at,
        },
        entities: vec![
            entity(EntityKind::Ip, format!("192.0.2.{}", who % 250)),
            entity(EntityKind::Session, format!("session-{n}")),
            entity(EntityKind::UserAgent, format!("Browser {}", who % 30)),
        ],
        attributes: std::collections::BTreeMap::default(),
        anomalies: Vec::new(),
        provenance: Provenance::Polled,
        record: Digest::of(key.as_bytes()),
        record_key: key,
        withdraws: None,
    }
}

/// What an effect hands to the store, roughly.
fn size(effect: &Effect) -> usize {
    match effect {
        Effect::Put { value, .. } => value.len(),
        Effect::Record { body, .. } => body.to_string().len(),
        _ => 0,
    }
}

/// Resident bytes of this process; 0 where the system does not say.
fn resident() -> Result<u64, Failure> {
    let Ok(text) = std::fs::read_to_string("/proc/self/statm") else { return Ok(0) };
    let pages: u64 = text.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(pages * 4096)
}

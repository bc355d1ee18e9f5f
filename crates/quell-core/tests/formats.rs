//! The frozen formats against fixtures that stay for ever (docs/formats.md). A fixture is only
//! added, never changed: a test that fails here means that stored data can no longer be read.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a helper of a test fails the test by panicking, and reads fixtures"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use quell_core::case::Disposition;
use quell_core::directory::Import;
use quell_core::effect::{CallId, Closing, Configured, Freeze, Input, Intake, Reply, TakeBack};
use quell_core::erase::{Cut, Erase, Erased, Trace, erased_part};
use quell_core::id::*;
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use quell_core::order::{Answer, Fault, Outcome, Verb};
use quell_core::replay::{self, Unreadable};
use quell_core::signal::*;
use quell_core::time::{Moment, Precision, Time};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

fn rows(file: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// What the code makes of one row of `ids.tsv`.
fn id_of(kind: &str, f: &[String]) -> String {
    let count = |n: usize| f[n].parse::<u32>().unwrap();
    let case = |n: usize| f[n].parse::<CaseId>().ok();
    let order = |n: usize| f[n].parse::<OrderId>().ok();
    match kind {
        "signal" => SignalId::of(&f[0], &f[1], &f[2], &f[3], count(4)).to_string(),
        "identity" => IdentityId::of(&f[0], &f[1]).to_string(),
        "finding" => FindingId::of(&f[0], &f[1], &f[2], f[3].parse().unwrap()).to_string(),
        "case" => CaseId::of(&f[0], &f[1], f[2].parse().unwrap()).to_string(),
        "order" => OrderId::of(&f[0], case(1).unwrap(), &f[2], &f[3], count(4)).to_string(),
        "campaign" => CampaignId::of(&f[0], &f[1], &f[2]).to_string(),
        "approval" => ApprovalId::of(&f[0], order(1).unwrap(), count(2)).to_string(),
        "watch" => WatchId::of(&f[0], &f[1], &f[2]).to_string(),
        "record" => {
            let id = record_id(&f[0], &f[1], &f[2]);
            id.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        "notice" => {
            let at = Time(f[4].parse().unwrap());
            notice_id(&f[0], &f[1], (case(2), order(3)), at, count(5), &f[6])
        }
        other => panic!("unknown kind of id `{other}`"),
    }
}

#[test]
fn ids_are_those_of_the_fixture() {
    let mut kinds = BTreeSet::new();
    for row in rows("ids.tsv") {
        let equals = row.iter().position(|field| field == "=").unwrap();
        assert_eq!(id_of(&row[0], &row[1..equals]), row[equals + 1], "{row:?}");
        kinds.insert(row[0].clone());
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
}

#[test]
fn ids_are_read_strictly() {
    let good = "sig_ifywqxfb5lbhs4hbys37nbgq2e";
    assert_eq!(good.parse::<SignalId>().unwrap().to_string(), good);
    let bad = [
        "fnd_ifywqxfb5lbhs4hbys37nbgq2e",
        "sig_IFYWQXFB5LBHS4HBYS37NBGQ2E",
        "sig_ifywqxfb5lbhs4hbys37nbgq2f",
        "sig_ifywqxfb5lbhs4hbys37nbgq2",
        "sig_ifywqxfb5lbhs4hbys37nbgq2e=",
        "sig_ifywqxfb5lbhs4hbys37nbgq21",
        "sig-ifywqxfb5lbhs4hbys37nbgq2e",
        "",
    ];
    for text in bad {
        assert!(text.parse::<SignalId>().is_err(), "{text}");
    }
    let digest = Digest::of(b"");
    assert_eq!(
        digest.to_string(),
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
}

#[test]
fn times_are_those_of_the_fixture() {
    for row in rows("times.tsv") {
        let read = Time::parse(&row[0]);
        let got = read.map(|m| {
            let precision = serde_json::to_value(m.precision).unwrap();
            let precision = precision.as_str().unwrap().to_owned();
            vec![row[0].clone(), m.t.0.to_string(), precision, m.t.to_string()]
        });
        assert_eq!(got.unwrap_or_else(|| vec![row[0].clone(), "none".into()]), row);
    }
}

fn signal() -> Signal {
    let entity = |kind, value: &str| Entity { kind, value: value.to_owned() };
    Signal {
        id: SignalId::of("default", "proofpoint_tap", "a.b/c=d", "url_click", 0),
        source: "proofpoint_tap".into(),
        kind: Kind::UrlClick,
        usage: Use::Join,
        confidence: Some(85),
        about: vec![Identifier::new(Scheme::Address, None, "Alice@example.com")],
        times: Times {
            happened: Moment { t: Time(1_780_000_000_123_000), precision: Precision::Milli },
            judged: Some(Time(1_780_000_001_000_000)),
            written: Time(1_780_000_002_000_000),
        },
        entities: vec![
            entity(EntityKind::Ip, "192.0.2.10"),
            entity(EntityKind::Threat, "61f7622167144dba5e3ae4480eeee78b"),
            entity(EntityKind::Url, "https://phish.example.net/x?q=ü"),
        ],
        attributes: [("classification".to_owned(), "phish".to_owned())].into(),
        anomalies: vec![Anomaly::Clock, Anomaly::LateVerdict],
        provenance: Provenance::Polled,
        record: Digest::of(b"a record"),
        record_key: "a.b/c=d".into(),
        withdraws: None,
    }
}

fn fact() -> Signal {
    Signal {
        id: SignalId::of("default", "okta", "7f3c1e0a-0001", "sign_in", 0),
        source: "okta".into(),
        kind: Kind::SignIn,
        usage: Use::Fact,
        confidence: None,
        about: vec![
            Identifier::new(Scheme::AccountId, Some("okta"), "00u1"),
            Identifier::new(Scheme::Login, Some("okta"), "alice@example.com"),
        ],
        times: Times {
            happened: Moment { t: Time(-1), precision: Precision::Micro },
            judged: None,
            written: Time(0),
        },
        entities: Vec::new(),
        attributes: BTreeMap::new(),
        anomalies: Vec::new(),
        provenance: Provenance::Hmac,
        record: Digest::of(b"another"),
        record_key: "7f3c1e0a-0001".into(),
        withdraws: None,
    }
}

fn undo() -> Signal {
    Signal {
        id: SignalId::of("default", "proofpoint_tap", "undo", "verdict_changed", 0),
        kind: Kind::VerdictChanged,
        usage: Use::Undo,
        record_key: "undo".into(),
        withdraws: Some(EntityKind::Threat),
        ..signal()
    }
}

fn identity() -> Identity {
    Identity {
        id: IdentityId::of("default", "00001"),
        key: "00001".into(),
        name: "Alice Example".into(),
        classes: [Class::Human, Class::Privileged].into(),
        groups: ["okta-admins".to_owned()].into(),
        accounts: vec![
            Account {
                provider: "okta".into(),
                id: "00u1".into(),
                login: Some("alice@example.com".into()),
            },
            Account { provider: "oidc".into(), id: "alice".into(), login: None },
        ],
        names: vec![Held {
            identifier: Identifier::new(Scheme::Address, None, "a.example@example.com"),
            from: Some(Time(1_700_000_000_000_000)),
            until: None,
        }],
    }
}

fn erased() -> Erased {
    let mut erased = Erased { asked_at: Time(1_780_000_000_000_000), ..Erased::default() };
    [3, 4, 5, 9].into_iter().for_each(|seq| erased.frames.add(seq));
    erased.parts.add(7);
    [1, 2].into_iter().for_each(|seq| erased.records.add(seq));
    Erased { others: 1, signals: 6, redacted: 2, raw: 7, ..erased }
}

fn erase(done: Option<Erased>) -> Erase {
    let identity = IdentityId::of("default", "00001");
    let (by, why) = ("officer@example.com".into(), "art. 17, asked on paper".into());
    Erase { identity, by, why, force: done.is_none(), done }
}

fn outcome(answer: Answer) -> Input {
    let order = OrderId([7; 16]);
    Input::Outcome(Outcome {
        order,
        verb: Verb::Execute,
        attempt: 1,
        answer,
        sent_at: Some(Time(1_780_000_000_000_001)),
        request: "DELETE /api/v1/users/00u1/sessions?oauthTokens=true".into(),
        status: Some(204),
        vendor_request: Some("req-1".into()),
        response: Some(Digest::of(b"").to_string()),
        detail: "no content".into(),
    })
}

/// One of every kind of input, in every form that its parts can take.
fn inputs() -> Vec<(&'static str, Input)> {
    let rules = vec!["716e2989-1f11-4422-9e6c-f92f4960c60a".to_owned()];
    let reject = Reject {
        source: "okta".into(),
        reason: RejectReason::UnlistedEvent,
        detail: "`x.y` is not listed".into(),
        record: Digest::of(b"rejected"),
    };
    let intake = Intake {
        source: "proofpoint_tap".into(),
        matched: vec![
            Matched { signal: signal().into(), rules },
            Matched { signal: fact().into(), rules: Vec::new() },
            Matched { signal: undo().into(), rules: Vec::new() },
        ],
        rejects: vec![reject],
        raw: vec![b"{\"a\":1}".to_vec(), Vec::new(), vec![0, 255]],
    };
    let import = Import {
        origin: "people.csv".into(),
        as_of: Some(Time(1_780_000_000_000_000)),
        identities: vec![identity()],
    };
    let order = OrderId([7; 16]);
    let call = CallId { order, verb: Verb::Execute, attempt: 2 };
    let (by, why) = ("officer@example.com".to_owned(), "checked by telephone".to_owned());
    let configured = Configured {
        rules: Digest::of(b"rules").to_string(),
        policy: Digest::of(b"policy").to_string(),
        packs: [("okta".to_owned(), Digest::of(b"pack").to_string())].into(),
        engine: "0.1.0".into(),
    };
    let before = |snapshot: Option<&str>| Answer::Before {
        alive: true,
        already: false,
        snapshot: snapshot.map(str::to_owned),
    };
    let retry_at = Some(Time(1_780_000_060_000_000));
    let case = CaseId([9; 16]);
    let closing =
        Closing { case, disposition: Disposition::False, by: by.clone(), why: why.clone() };
    vec![
        ("01-signals.cbor", Input::Signals(intake)),
        ("01-signals-empty.cbor", Input::Signals(Intake::default())),
        ("02-directory.json", Input::Directory(import)),
        (
            "03-answer.json",
            Input::Answer(Reply { order, by: by.clone(), approve: true, why: why.clone() }),
        ),
        ("04-claim.json", Input::Claim(call)),
        ("05-outcome-accepted.json", outcome(Answer::Accepted { already: false })),
        ("05-outcome-before.json", outcome(before(Some("{\"status\":\"ACTIVE\"}")))),
        ("05-outcome-before-bare.json", outcome(before(None))),
        ("05-outcome-seen.json", outcome(Answer::Seen { done: true, conclusive: false })),
        ("05-outcome-fault.json", outcome(Answer::Fault { fault: Fault::Throttled, retry_at })),
        (
            "06-freeze.json",
            Input::Freeze(Freeze { on: true, until: retry_at, by: by.clone(), why: why.clone() }),
        ),
        ("07-take-back.json", Input::TakeBack(TakeBack { order, by, why })),
        ("08-restarted.json", Input::Restarted),
        ("09-configured.json", Input::Configured(configured)),
        ("10-tick.json", Input::Tick),
        ("11-unsent.json", Input::Unsent(call)),
        ("12-erase.json", Input::Erase(erase(None))),
        ("12-erase-done.json", Input::Erase(erase(Some(erased())))),
        ("13-close.json", Input::Close(closing)),
    ]
}

fn kind_of(name: &str) -> u16 {
    name.split('-').next().unwrap().parse().unwrap()
}

/// Writes fixtures that are missing when `WRITE_FIXTURES` is set; never changes one.
#[test]
fn journal_inputs_decode_and_encode_again() {
    let folder = folder().join("journal");
    let mut seen = BTreeSet::new();
    for (name, input) in inputs() {
        let path = folder.join(name);
        let (kind, body) = replay::encode(&input);
        assert_eq!(kind, kind_of(name), "{name}");
        if !path.exists() && std::env::var_os("WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        let stored = std::fs::read(&path).unwrap();
        assert_eq!(replay::decode(kind, &stored).unwrap(), input, "{name}");
        assert_eq!(stored, body, "{name}: encoded otherwise than it was stored");
        seen.insert(name.to_owned());
    }
    let there = std::fs::read_dir(&folder).unwrap();
    let there = there.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let older: BTreeSet<String> = there.filter(|name| !name.contains("-later-")).collect();
    assert_eq!(older, seen, "every fixture has its input");
}

/// What is left of a frame of which a part was erased, and that it says so.
#[test]
fn a_part_that_was_erased_stays_readable_and_told() {
    let folder = folder().join("journal");
    let Input::Signals(intake) = &inputs()[0].1 else { panic!() };
    let fact = &intake.matched[1].signal;
    let always = |name: &Identifier| Held { identifier: name.clone(), from: None, until: None };
    let names: Vec<Held> = fact.about.iter().map(always).collect();
    let trace = Trace::new(IdentityId::of("default", "00001"), names, "00001");
    for (from, to, gone) in [
        ("01-signals.cbor", "01-later-signals-erased.cbor", 3),
        ("02-directory.json", "02-later-directory-erased.json", 1),
    ] {
        let mut found = Erased::default();
        let before = std::fs::read(folder.join(from)).unwrap();
        let Cut::Part(body) = trace.cut(kind_of(from), &before, &mut found).unwrap() else {
            panic!("{from}: nothing was cut")
        };
        let path = folder.join(to);
        if !path.exists() && std::env::var_os("WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &body).unwrap();
        }
        let stored = std::fs::read(&path).unwrap();
        assert_eq!(stored, body, "{to}: cut otherwise than it was stored");
        replay::decode(kind_of(to), &stored).unwrap();
        let told = (erased_part(kind_of(from), &before), erased_part(kind_of(to), &stored));
        assert_eq!(told, (0, gone));
        assert!(!String::from_utf8_lossy(&stored).contains("alice@example.com"), "{to}");
        // Once more, there is nothing left to cut.
        assert_eq!(trace.cut(kind_of(to), &stored, &mut found).unwrap(), Cut::Keep);
    }
}

/// What a later version may have written: more fields than this one knows.
#[test]
fn added_fields_are_passed_over() {
    let folder = folder().join("journal");
    let known: BTreeMap<&str, Input> = inputs().into_iter().collect();
    let pairs = [
        ("01-later-signals.cbor", "01-signals.cbor"),
        ("02-later-directory.json", "02-directory.json"),
        ("05-later-outcome.json", "05-outcome-accepted.json"),
    ];
    for (later, today) in pairs {
        let stored = std::fs::read(folder.join(later)).unwrap();
        assert_eq!(replay::decode(kind_of(later), &stored).unwrap(), known[today], "{later}");
    }
}

#[test]
fn what_cannot_be_read_says_so() {
    assert_eq!(replay::decode(0, b"{}"), Err(Unreadable::Kind(0)));
    assert_eq!(replay::decode(999, b"{}"), Err(Unreadable::Kind(999)));
    for (name, input) in inputs() {
        let (kind, body) = replay::encode(&input);
        if matches!(input, Input::Tick | Input::Restarted) {
            continue;
        }
        for cut in 0..body.len() {
            let read = replay::decode(kind, &body[..cut]);
            assert!(matches!(read, Err(Unreadable::Body { .. })), "{name} cut at {cut}");
        }
    }
}

//! A person is forgotten: by state, timelines, journal, evidence and the files of the store, in
//! memory and on SQLite alike, whatever dies in between; the proof holds and others stay.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect;
use quell_core::directory::Import;
use quell_core::effect::{Configured, Input, Intake};
use quell_core::engine::Config;
use quell_core::erase::Erase;
use quell_core::id::{Digest, IdentityId, SignalId};
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use quell_core::policy::{Policy, PolicyFiles};
use quell_core::resolve::Subject;
use quell_core::rule::Rules;
use quell_core::signal::{Entity, EntityKind, Kind, Matched, Provenance, Signal, Times, Use};
use quell_core::time::{Moment, Precision, SECOND, Time};
use quell_evidence::note::SignerKey;
use quell_run::{Keeper, Opener, Submission};
use quell_store::audit::audit;
use quell_store::frame::Content;
use quell_store::mem::{Fault, MemDisk, Write};
use quell_store::views::{Frames, Pick, Records, StateRows, Views};
use quell_store::{KeySigner, Options, OuterKey, SeededSalts, SqliteStore, SqliteViews};

const TENANT: &str = "default";
const T0: i64 = 1_780_000_000_000_000;
const HER: &str = "ana.to.be.forgotten@example.com";
const HER_ID: &str = "00uFORGOTTEN";
const HIM: &str = "bob@example.com";
const RULES: [(&str, &str); 2] = [
    ("breached.yml", include_str!("../../../rules/breached_credential_used.yml")),
    ("outsider.yml", include_str!("../../../rules/outsider_observe.yml")),
];

/// Where a store is, and how it is opened.
#[derive(Clone)]
enum Place {
    Memory(MemDisk),
    Folder(PathBuf, Option<OuterKey>),
}

impl Place {
    fn opener(&self) -> Opener {
        let (place, mut times) = (self.clone(), 0);
        Box::new(move || {
            times += 1;
            let salts = Box::new(SeededSalts::new(times));
            Ok(match &place {
                Self::Memory(disk) => Box::new(disk.open(salts)),
                Self::Folder(folder, key) => {
                    let options = Options { salts, key: key.clone(), ..Options::default() };
                    let store = SqliteStore::open(folder, options).map_err(|e| e.to_string())?;
                    Box::new(store)
                }
            })
        })
    }

    fn views(&self) -> Box<dyn Views> {
        match self {
            Self::Memory(disk) => Box::new(disk.views()),
            Self::Folder(folder, key) => {
                Box::new(SqliteViews::open_with(folder, key.clone()).unwrap())
            }
        }
    }

    fn keeper(&self, now: i64) -> Keeper {
        let (config, configured) = config();
        Keeper::open(self.opener(), config, configured, "test", Time(T0 + now * SECOND)).unwrap()
    }
}

fn config() -> (Config, Configured) {
    let (set, errors) = quell_rules::RuleSet::parse(&RULES);
    assert!(errors.is_empty(), "{errors:?}");
    let config = Config {
        tenant: TENANT.to_owned(),
        rules: Rules::new(set).unwrap(),
        policy: Policy::load(&PolicyFiles::shipped()).unwrap(),
        capabilities: BTreeMap::new(),
    };
    let (rules, policy) = (config.rules.digest.to_string(), config.policy.digest.to_string());
    (config, Configured { rules, policy, packs: BTreeMap::new(), engine: "test".to_owned() })
}

fn person(key: &str, id: &str, login: &str) -> Identity {
    let alias = Identifier::new(Scheme::Address, None, &format!("alias-{login}"));
    Identity {
        id: IdentityId::of(TENANT, key),
        key: key.to_owned(),
        name: format!("Invented {key}"),
        classes: [Class::Human].into(),
        groups: Default::default(),
        accounts: vec![Account {
            provider: "okta".into(),
            id: id.into(),
            login: Some(login.into()),
        }],
        names: vec![Held { identifier: alias, from: None, until: None }],
    }
}

fn her() -> IdentityId {
    IdentityId::of(TENANT, "E-1001")
}

fn signal(kind: Kind, who: &str, n: u32, sender: Option<&str>) -> (Signal, Vec<u8>) {
    let raw = format!(r#"{{"n":{n},"actor":"{who}","sender":{sender:?}}}"#).into_bytes();
    let mut entities = vec![Entity { kind: EntityKind::Ip, value: format!("192.0.2.{n}") }];
    entities.extend(sender.map(|s| Entity { kind: EntityKind::Sender, value: s.to_owned() }));
    entities.sort();
    let t = Time(T0 + i64::from(n) * SECOND);
    let signal = Signal {
        id: SignalId::of(TENANT, "okta", &format!("r{n}"), kind.name(), 0),
        source: "okta".into(),
        kind,
        usage: Use::Alone,
        confidence: Some(90),
        about: vec![Identifier::new(Scheme::Address, None, who)],
        times: Times {
            happened: Moment { t, precision: Precision::Milli },
            judged: None,
            written: t,
        },
        entities,
        attributes: BTreeMap::new(),
        anomalies: Vec::new(),
        provenance: Provenance::Polled,
        record: Digest::of(&raw),
        record_key: format!("r{n}"),
        withdraws: None,
    };
    (signal, raw)
}

fn intake(rules: &Rules, all: Vec<(Signal, Vec<u8>)>) -> Input {
    let (signals, raw): (Vec<Signal>, Vec<Vec<u8>>) = all.into_iter().unzip();
    let matched = signals.into_iter().map(|signal| {
        let rules = rules.match_ids(&signal);
        Matched { signal: Arc::new(signal), rules }
    });
    let matched = matched.collect();
    Input::Signals(Intake { source: "okta".into(), matched, rejects: Vec::new(), raw })
}

fn commit(keeper: &mut Keeper, now: i64, inputs: Vec<Input>) -> Vec<Option<String>> {
    let all = inputs.into_iter().map(|i| Submission::new(i, Digest([0; 32])).unwrap()).collect();
    let outputs = keeper.commit(Time(T0 + now * SECOND), all).unwrap();
    outputs.receipts.into_iter().map(|receipt| receipt.refused).collect()
}

/// Two people with findings: frames of her alone, of both, of him, and one of him that names her.
fn furnish(keeper: &mut Keeper) {
    let rules = config().0.rules;
    let breached = |who, n| signal(Kind::CredentialLeaked, who, n, None);
    let tried = |who, n, sender| signal(Kind::MfaFatigue, who, n, sender);
    // Before the directory knows anybody: her account is a subject of its own.
    commit(keeper, 1, vec![intake(&rules, vec![tried(HER, 1, None)])]);
    let people = vec![person("E-1001", HER_ID, HER), person("E-1002", "00uBOB", HIM)];
    let import = Import { origin: "test".into(), as_of: None, identities: people };
    commit(keeper, 2, vec![Input::Directory(import)]);
    commit(keeper, 3, vec![intake(&rules, vec![breached(HER, 3)])]);
    commit(
        keeper,
        6,
        vec![
            intake(&rules, vec![tried(HER, 4, None), breached(HIM, 5)]),
            intake(&rules, vec![tried(HIM, 6, Some(HER))]),
        ],
    );
    commit(keeper, 7, vec![intake(&rules, vec![tried(HIM, 7, Some("eve@example.org"))])]);
}

fn ask(force: bool, why: &str) -> Input {
    let (by, why) = ("officer".to_owned(), why.to_owned());
    Input::Erase(Erase { identity: her(), by, why, force, done: None })
}

/// Turns until nothing is left to be done; so many at most.
fn erase(keeper: &mut Keeper, now: i64) {
    for _ in 0..200 {
        if !keeper.is_erasing() {
            return;
        }
        keeper.erase_some(Time(T0 + now * SECOND)).unwrap();
    }
    panic!("the erasure does not end");
}

/// Everything that can be read, as one text.
fn all_text(views: &dyn Views) -> String {
    let mut text = String::new();
    for frame in Frames::new(views, TENANT, 0) {
        if let Content::Kept(body) = frame.unwrap().content {
            text.push_str(&String::from_utf8_lossy(&body));
        }
    }
    for record in Records::new(views, TENANT, Pick::All, 0) {
        let body = record.unwrap().body.map(|(_, body)| body).unwrap_or_default();
        text.push_str(&String::from_utf8_lossy(&body));
    }
    for table in ["directory", "finding", "case", "order", "erasure", "budget"] {
        for row in StateRows::new(views, TENANT, table) {
            let (key, value) = row.unwrap();
            text.push_str(&key);
            text.push_str(&String::from_utf8_lossy(&value));
        }
    }
    text
}

/// What is left, told in numbers and kinds.
fn left(views: &dyn Views, keeper: &Keeper) -> String {
    let frames: Vec<String> = Frames::new(views, TENANT, 0)
        .map(|frame| frame.unwrap())
        .map(|frame| match &frame.content {
            Content::Erased { .. } => format!("{} gone", frame.kind),
            Content::Kept(body) => match quell_core::erase::erased_part(frame.kind, body) {
                0 => frame.kind.to_string(),
                n => format!("{} less {n}", frame.kind),
            },
        })
        .collect();
    let records: Vec<String> = Records::new(views, TENANT, Pick::All, 0)
        .map(|record| record.unwrap())
        .map(|r| r.record_type + if r.body.is_some() { "" } else { " gone" })
        .collect();
    let engine = keeper.engine().unwrap();
    let whose = |subject: &Subject| match subject {
        Subject::Identity(id) if *id == IdentityId::of(TENANT, "E-1002") => "bob",
        Subject::Identity(_) => "an identity",
        Subject::Account { .. } => "an account",
    };
    let findings: Vec<String> =
        engine.findings().map(|f| format!("{} of {}", f.title, whose(&f.subject))).collect();
    let cases: Vec<&str> = engine.cases().map(|case| whose(&case.subject)).collect();
    format!("journal {frames:?}\nrecords {records:?}\nfindings {findings:?}\ncases of {cases:?}\n")
}

fn signer() -> KeySigner {
    let key = SignerKey::from_seed("quell.example.org/erase", &[7; 32]).unwrap();
    KeySigner { origin: "quell.example.org/erase".to_owned(), key }
}

fn bundle(views: &dyn Views) -> (u64, u64) {
    let (key, mut bytes) = (signer().key.verifier().clone(), Vec::new());
    quell_store::views::export(views, TENANT, &key, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })
    .unwrap();
    let seen = quell_evidence::bundle::verify(&bytes, &key, None).unwrap();
    (seen.records, seen.erased)
}

fn names_her(text: &[u8]) -> bool {
    [HER, HER_ID].iter().any(|name| {
        text.windows(name.len()).any(|window| window.eq_ignore_ascii_case(name.as_bytes()))
    })
}

fn on_disk(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).any(|bytes| names_her(&bytes))
}

/// Furnishes, forgets her and starts again; gives what is left, which is the same everywhere.
fn forgotten(place: &Place) -> String {
    let mut keeper = place.keeper(0);
    furnish(&mut keeper);
    keeper.checkpoint(Time(T0 + 8 * SECOND), &signer()).unwrap();
    let views = place.views();
    assert!(names_her(all_text(&*views).as_bytes()), "the search finds nothing");
    let (records, none) = bundle(&*views);
    assert_eq!(none, 0);
    assert_eq!(commit(&mut keeper, 9, vec![ask(true, "asked on paper, art. 17")]), [None]);
    erase(&mut keeper, 10);
    keeper.checkpoint(Time(T0 + 11 * SECOND), &signer()).unwrap();
    assert!(!names_her(all_text(&*views).as_bytes()), "something still names her");
    let audited = audit(&*views, TENANT, Some(signer().key.verifier())).unwrap();
    let (more, erased) = bundle(&*views);
    assert!(more > records && erased == audited.erased_records && erased > 0);
    let told = left(&*views, &keeper);
    // The next life knows no more and no less.
    drop(keeper);
    let mut keeper = place.keeper(20);
    commit(&mut keeper, 20, Vec::new());
    let findings = |told: &str| told.lines().skip(2).collect::<Vec<_>>().join("\n");
    assert_eq!(findings(&left(&*views, &keeper)), findings(&told));
    assert!(!names_her(all_text(&*views).as_bytes()), "the next life named her");
    let done = views.records(TENANT, Pick::Type("identity_erased"), 0, 9).unwrap();
    let body = done.last().unwrap().body.as_ref().unwrap().1.clone();
    told + &String::from_utf8(body).unwrap() + "\n"
}

#[test]
fn memory_and_sqlite_forget_alike_and_the_proof_holds() {
    let memory = forgotten(&Place::Memory(MemDisk::new()));
    expect![[r#"
        journal ["9", "8", "1 gone", "2 less 1", "1 gone", "1 less 1", "1 less 1", "1", "12", "12"]
        records ["configured", "case_opened gone", "finding_raised gone", "directory_imported", "case_opened gone", "finding_raised gone", "finding_superseded gone", "order gone", "finding_raised gone", "order gone", "case_opened", "finding_raised", "finding_raised gone", "order", "order", "finding_raised gone", "order gone", "finding_raised", "order", "erasure_asked", "identity_erased"]
        findings ["Attack on an identity that needed nothing of it of bob", "Attack on an identity that needed nothing of it of bob", "Breached credential used at a sign-in of bob"]
        cases of ["bob"]
        {"by":"officer","erased":{"asked_at":"2026-05-28T20:26:49.000000Z","frames":{"count":2,"ranges":[[2,2],[4,4]]},"others":2,"parts":{"count":3,"ranges":[[3,3],[5,6]]},"raw":4,"records":{"count":11,"ranges":[[1,2],[4,9],[12,12],[15,16]]},"redacted":1,"signals":3},"identity":"idn_zxskvmcpgn2k4bttjji33pp6se","why":"asked on paper, art. 17"}
    "#]].assert_eq(&memory);
    for key in [None, Some("07".repeat(32))] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let key = key.map(|text| OuterKey::parse(&text).unwrap());
        let clear = key.is_none();
        let told = forgotten(&Place::Folder(path.clone(), key));
        assert_eq!(told, memory);
        assert!(!on_disk(&path), "clear {clear}: a file still names her");
    }
}

#[test]
fn a_clear_store_named_her_before_and_no_byte_does_after() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let place = Place::Folder(path.clone(), None);
    let mut keeper = place.keeper(0);
    furnish(&mut keeper);
    assert!(on_disk(&path), "the search finds nothing");
    commit(&mut keeper, 9, vec![ask(true, "asked on paper")]);
    // Between the ask and the end her name is still there, for the search alone.
    assert!(on_disk(&path));
    erase(&mut keeper, 10);
    assert!(!on_disk(&path), "while it runs");
    drop(keeper);
    assert!(!on_disk(&path), "when it is closed");
}

/// Dies before and after every write of the erasure, with the write lost or kept.
#[test]
fn whatever_dies_in_between_she_is_forgotten_once() {
    let whole = forgotten(&Place::Memory(MemDisk::new()));
    let gone = |told: &str| {
        told.lines().take(1).map(|l| l.matches("gone").count() + l.matches("less").count()).sum()
    };
    let expected: usize = gone(&whole);
    let mut deaths = 0;
    for fault in [Fault::Lost, Fault::Kept] {
        for nth in 1.. {
            let disk = MemDisk::new();
            let place = Place::Memory(disk.clone());
            let mut keeper = place.keeper(0);
            furnish(&mut keeper);
            let (mut seen, struck) = (0, Arc::new(std::sync::atomic::AtomicBool::new(false)));
            let strikes = Arc::clone(&struck);
            disk.set_faults(Some(Box::new(move |write| {
                seen += u64::from(write == Write::Commit);
                let strike = write == Write::Commit && seen == nth;
                strikes.fetch_or(strike, std::sync::atomic::Ordering::Relaxed);
                if strike { fault } else { Fault::None }
            })));
            let asked = Submission::new(ask(true, "asked on paper"), Digest([0; 32])).unwrap();
            let mut result = keeper.commit(Time(T0 + 9 * SECOND), vec![asked]).map(|_| ());
            while result.is_ok() && keeper.is_erasing() {
                result = keeper.erase_some(Time(T0 + 10 * SECOND)).map(|_| ());
            }
            if !struck.load(std::sync::atomic::Ordering::Relaxed) {
                break;
            }
            deaths += 1;
            drop(keeper);
            disk.set_faults(None);
            let mut keeper = place.keeper(20);
            commit(&mut keeper, 20, Vec::new());
            erase(&mut keeper, 21);
            let views = place.views();
            let asks = views.records(TENANT, Pick::Type("erasure_asked"), 0, 9).unwrap().len();
            if asks == 0 {
                // The ask itself was lost: nothing has begun.
                assert!(nth == 1 && fault == Fault::Lost);
                assert!(names_her(all_text(&*views).as_bytes()));
                continue;
            }
            assert!(!names_her(all_text(&*views).as_bytes()), "{fault:?} {nth}");
            let done = views.records(TENANT, Pick::Type("identity_erased"), 0, 9).unwrap();
            assert_eq!((asks, done.len()), (1, 1), "{fault:?} {nth}");
            assert_eq!(gone(&left(&*views, &keeper)), expected, "{fault:?} {nth}");
            audit(&*views, TENANT, None).unwrap();
        }
    }
    assert!(deaths >= 8, "{deaths}");
}

#[test]
fn what_is_not_over_or_named_is_refused() {
    let place = Place::Memory(MemDisk::new());
    let mut keeper = place.keeper(0);
    furnish(&mut keeper);
    let mut said = Vec::new();
    let mut refused = |keeper: &mut Keeper, input: Input| {
        let told = commit(keeper, 9, vec![input]).pop().unwrap().unwrap();
        let is_id = |w: &str| ["`cas_", "`idn_", "`ord_"].iter().any(|id| w.starts_with(id));
        let word = |w: &str| if is_id(w) { "ID".to_owned() } else { w.to_owned() };
        said.push(told.split(' ').map(word).collect::<Vec<_>>().join(" "));
    };
    refused(&mut keeper, ask(false, "asked on paper"));
    refused(&mut keeper, ask(true, " "));
    refused(&mut keeper, ask(true, &format!("{HER} asked")));
    refused(&mut keeper, ask(true, "invented e-1001 asked"));
    let nobody = Erase {
        identity: IdentityId([9; 16]),
        by: "officer".into(),
        why: "asked".into(),
        force: true,
        done: None,
    };
    refused(&mut keeper, Input::Erase(nobody));
    let own = |by: &str| {
        let (by, why) = (by.to_owned(), "asked".to_owned());
        Input::Erase(Erase { identity: her(), by, why, force: true, done: None })
    };
    refused(&mut keeper, own(HER));
    expect![[r#"
        case ID is `open`: close it, or force
        a reason is needed, for the record
        the reason names the person, and would outlive him
        the reason names the person, and would outlive him
        the directory has no ID nothing tells which names are his
        nobody decides on himself"#]]
    .assert_eq(&said.join("\n"));
    assert!(!keeper.is_erasing() || keeper.engine().unwrap().directory().len() == 2);
    // Asked again after it was done, nobody is known.
    assert_eq!(commit(&mut keeper, 10, vec![ask(true, "asked")]), [None]);
    erase(&mut keeper, 11);
    // The asks that were refused for naming her are gone with her.
    let text = all_text(&*place.views());
    assert!(!names_her(text.as_bytes()) && !text.contains("invented e-1001"), "{text}");
    let again = commit(&mut keeper, 12, vec![ask(true, "asked")]).pop().unwrap().unwrap();
    assert!(again.ends_with("nothing tells which names are his"), "{again}");
}

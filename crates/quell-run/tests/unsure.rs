//! Run room: after a write of which nobody knows whether it happened, the store is opened again and
//! the engine goes on from what it shows; where it does not open, the engine ends and says why.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use expect_test::expect;
use quell_core::effect::{Configured, Freeze, Input};
use quell_core::engine::Config;
use quell_core::id::Digest;
use quell_core::policy::{Policy, PolicyFiles};
use quell_core::rule::Rules;
use quell_core::time::Time;
use quell_evidence::note::SignerKey;
use quell_run::{Clock, Keeper, Opener, Parts, Submission};
use quell_store::frame::Content;
use quell_store::mem::{Fault, MemDisk, Write};
use quell_store::views::{Frames, Views};
use quell_store::{KeySigner, SeededSalts};

const TENANT: &str = "default";
const ORIGIN: &str = "quell.example/unsure";
const RULE: &str = include_str!("../../../rules/breached_credential_used.yml");

fn config() -> (Config, Configured) {
    let (set, errors) = quell_rules::RuleSet::parse(&[("rule.yml", RULE)]);
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

/// Opens the disk so many times.
fn opener(disk: &MemDisk, times: u64) -> Opener {
    let disk = disk.clone();
    let mut opened = 0;
    Box::new(move || {
        opened += 1;
        if opened > times {
            return Err("the folder is gone".to_owned());
        }
        Ok(Box::new(disk.open(Box::new(SeededSalts::new(opened)))))
    })
}

/// The n-th write of a kind, from 1, ends so.
fn fail(disk: &MemDisk, write: Write, nth: u64, fault: Fault) {
    let mut seen = 0;
    disk.set_faults(Some(Box::new(move |now| {
        seen += u64::from(now == write);
        if now == write && seen == nth { fault } else { Fault::None }
    })));
}

fn keeper(disk: &MemDisk, times: u64) -> Keeper {
    let (config, configured) = config();
    Keeper::open(opener(disk, times), config, configured, "test", Time(0)).unwrap()
}

fn submission(input: Input) -> Submission {
    Submission::new(input, Digest([0; 32])).unwrap()
}

fn freeze() -> Input {
    let (by, why) = ("officer".to_owned(), "drill".to_owned());
    Input::Freeze(Freeze { on: true, until: None, by, why })
}

/// The journal as kinds of frames.
fn journal(disk: &MemDisk) -> Vec<u16> {
    let views = disk.views();
    let frames = Frames::new(&views, TENANT, 0).map(|frame| frame.unwrap());
    frames.filter(|f| matches!(f.content, Content::Kept(_))).map(|f| f.kind).collect()
}

#[test]
fn an_unsure_commit_is_settled_by_what_the_store_shows() {
    let mut out = String::new();
    for fault in [Fault::None, Fault::Full, Fault::Lost, Fault::Kept] {
        let disk = MemDisk::new();
        let mut keeper = keeper(&disk, 2);
        let first = keeper.commit(Time(1), Vec::new()).unwrap();
        assert_eq!((first.frozen, first.outbox), (false, None));
        fail(&disk, Write::Commit, 1, fault);
        let told = match keeper.commit(Time(2), vec![submission(freeze())]) {
            Ok(outputs) => format!("taken, frozen {}", outputs.frozen),
            Err(error) => format!("{error}, final {}", error.is_final()),
        };
        let open = keeper.is_open();
        let epoch = |disk: &MemDisk| disk.views().head(TENANT).unwrap().epoch;
        let before = epoch(&disk);
        let outputs = keeper.commit(Time(3), vec![submission(Input::Tick)]).unwrap();
        out.push_str(&format!(
            "{fault:?}: {told}; open {open}; then frozen {}, tells the outbox {}, {} lives more, \
             journal {:?}\n",
            outputs.frozen,
            outputs.outbox.is_some(),
            epoch(&disk) - before,
            journal(&disk)
        ));
        let frozen = keeper.engine().unwrap().freeze().is_some();
        assert_eq!(frozen, outputs.frozen);
    }
    expect![[r#"
        None: taken, frozen true; open true; then frozen true, tells the outbox false, 0 lives more, journal [9, 8, 6, 10]
        Full: the disk is full, final false; open true; then frozen false, tells the outbox true, 0 lives more, journal [9, 8, 9, 8, 10]
        Lost: the store cannot say whether the write happened, open it again: the disk failed, final false; open false; then frozen false, tells the outbox true, 1 lives more, journal [9, 8, 9, 8, 10]
        Kept: the store cannot say whether the write happened, open it again: the disk failed, final false; open false; then frozen true, tells the outbox true, 1 lives more, journal [9, 8, 6, 9, 8, 10]
    "#]].assert_eq(&out);
}

/// Checkpoints and delivered pages are writes as well.
#[test]
fn every_write_that_ends_unsure_opens_the_store_again() {
    let signer = || {
        let key = SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
        KeySigner { origin: ORIGIN.to_owned(), key }
    };
    for write in [Write::Integrate, Write::Checkpoint, Write::Commit] {
        let disk = MemDisk::new();
        let mut keeper = keeper(&disk, 2);
        keeper.commit(Time(1), Vec::new()).unwrap();
        fail(&disk, write, 1, Fault::Kept);
        let failed = match write {
            Write::Commit => keeper.notices_tried(vec!["ntc_1".to_owned()], Vec::new()).is_err(),
            _ => keeper.checkpoint(Time(2), &signer()).is_err(),
        };
        assert!(failed && !keeper.is_open(), "{write:?}");
        // Until then nothing is written.
        assert!(keeper.checkpoint(Time(2), &signer()).is_err());
        assert!(keeper.notices_tried(Vec::new(), Vec::new()).is_err());
        keeper.commit(Time(3), vec![submission(Input::Tick)]).unwrap();
        assert!(keeper.checkpoint(Time(4), &signer()).is_ok(), "{write:?}");
    }
}

/// A lease that cannot be taken now may be taken later; a store that does not open is the end.
#[test]
fn only_what_cannot_get_better_is_final() {
    let disk = MemDisk::new();
    let mut keeper = keeper(&disk, 3);
    fail(&disk, Write::Commit, 1, Fault::Lost);
    let mut told = Vec::new();
    let mut go = |keeper: &mut Keeper| {
        let error = keeper.commit(Time(3), vec![submission(Input::Tick)]).map(|_| ());
        let last = matches!(&error, Err(error) if error.is_final());
        told.push(format!(
            "{}, final {last}",
            error.err().map_or("taken".into(), |e| e.to_string())
        ));
    };
    go(&mut keeper);
    fail(&disk, Write::Acquire, 1, Fault::Full);
    go(&mut keeper);
    go(&mut keeper);
    fail(&disk, Write::Commit, 1, Fault::Lost);
    go(&mut keeper);
    go(&mut keeper);
    expect![[r#"
        the store cannot say whether the write happened, open it again: the disk failed, final false
        the disk is full, final false
        taken, final false
        the store cannot say whether the write happened, open it again: the disk failed, final false
        the store cannot be opened: the folder is gone, final true"#]]
    .assert_eq(&told.join("\n"));
}

/// The whole shell: doors are told, people are told, and nothing spins.
#[test]
fn an_engine_that_cannot_open_its_store_ends() {
    let disk = MemDisk::new();
    let keeper = keeper(&disk, 1);
    fail(&disk, Write::Commit, 2, Fault::Lost);
    let now = Arc::new(AtomicI64::new(0));
    // Each look at the clock is two seconds later: nobody has to wait.
    let clock: Clock = Arc::new(move || Time(now.fetch_add(2_000_000, Ordering::Relaxed)));
    let key = SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(async {
        let (pages, mut page_news) = tokio::sync::mpsc::unbounded_channel();
        let handle = quell_run::start(Parts {
            keeper,
            targets: BTreeMap::new(),
            signer: Arc::new(KeySigner { origin: ORIGIN.to_owned(), key }),
            clock,
            pages,
            merge_delay: Duration::from_secs(3600),
        })
        .unwrap();
        while handle.fault().is_none() {
            drop(handle.input(freeze()).await);
        }
        let mut told = vec![handle.fault().unwrap_or_default().to_owned()];
        assert!(page_news.recv().await.is_none(), "whoever listens for pages hears the end");
        let refused = handle.input(freeze()).await.unwrap_err();
        told.push(refused.to_string());
        told.push(handle.checkpoint().await.unwrap_err());
        told.push(format!("ready {}", handle.is_ready()));
        handle.stop().await;
        told
    });
    expect![[r#"
        the store cannot be opened: the folder is gone
        not taken: the engine is busy or its store cannot commit
        the engine has stopped
        ready false"#]]
    .assert_eq(&told.join("\n"));
}

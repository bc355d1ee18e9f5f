//! The kill test's run: start, kill, start again; then quiet, and judgement.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use quell_lab::{Options, Provider};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::engine::{Folder, ports};
use crate::judge::{self, Judge};
use crate::people;
use crate::story::{Dice, World};

/// How long everything may take to come to rest once nobody kills any more.
const REST: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_is_done_twice_whenever_it_is_killed() {
    let began = Instant::now();
    let kills = number("QUELL_KILLS").unwrap_or(200);
    let seed = number("QUELL_KILL_SEED").unwrap_or_else(any_seed);
    println!("kill test: QUELL_KILL_SEED={seed} QUELL_KILLS={kills}");
    let mut dice = Dice(seed);
    let stories = usize::try_from(kills * 3 / 10).unwrap().max(12);
    let (company, cast) = people::enlarged(stories);
    let options = Options { rate_limit: 1_000_000, ..Options::default() };
    let lab = Provider::start(&company, options).await.unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let ports = ports(|n| dice.draw(n));
    let path = temporary.path().join("company");
    let folder = Folder::write(path, &company, &lab, ports).await;
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let lab = Arc::new(lab);
    let (accepted, stolen) = (Arc::default(), Arc::default());
    let world = World { folder: folder.clone(), lab, http, accepted, stolen };

    let (tell, told) = watch::channel(0);
    let mut playing = JoinSet::new();
    for (n, (person, plot)) in cast.iter().cloned().enumerate() {
        let (world, dice) = (world.clone(), Dice(dice.draw(u64::MAX)));
        let turn = u64::try_from(n).unwrap() * kills * 9 / (10 * u64::try_from(stories).unwrap());
        let mut told = told.clone();
        playing.spawn(async move {
            told.wait_for(|killed| *killed >= turn).await.unwrap();
            world.play(person, plot, dice).await;
        });
    }
    let protected = ["break_glass", "service", "shared"].map(|h| company.person(h).unwrap());
    playing.spawn(world.clone().touch_the_protected(protected.map(Clone::clone).to_vec()));
    let stop = Arc::new(AtomicBool::new(false));
    let deciding = tokio::spawn(world.clone().decide(Arc::clone(&stop)));

    let mut starts = Starts::default();
    for killed in 1..=kills {
        starts.one(&folder, &mut dice).await;
        tell.send(killed).unwrap();
        while let Some(played) = playing.try_join_next() {
            played.unwrap();
        }
    }
    let killing = began.elapsed();

    let mut engine = folder.start();
    assert!(engine.ready().await, "{}", folder.words());
    let played = tokio::time::timeout(REST, async {
        while let Some(played) = playing.join_next().await {
            played.unwrap();
        }
    });
    played.await.unwrap_or_else(|_| panic!("bodies are never accepted: {}", folder.words()));
    let rested = judge::rest(&folder, &cast, REST).await;
    stop.store(true, Ordering::Relaxed);
    deciding.await.unwrap();
    if let Err(open) = rested {
        panic!("seed {seed}: never at rest: {open}\n{}", folder.words());
    }
    // what was decided last comes to rest too
    if let Err(open) = judge::rest(&folder, &cast, REST).await {
        panic!("seed {seed}: never at rest: {open}\n{}", folder.words());
    }
    let judge = Judge::new(&world);
    let live = judge.live_credentials(&world).await;
    assert_eq!(live, BTreeSet::new(), "what attackers still hold");
    engine.stop().await;

    let untouchable = protected.iter().filter_map(|p| p.account().map(|a| a.id.clone()));
    let figures = judge.judge(&folder, &untouchable.collect());
    let verified = folder.verify().await;
    assert_eq!(verified, figures.records, "records of the bundle");
    println!(
        "kill test: seed {seed}, {kills} kills ({} while it started), {} accepted signals, {}, \
         {verified} evidence records verify, starts of {} ms at first and {} ms at last, \
         {:.0} s of kills, {:.0} s",
        starts.early,
        world.accepted.lock().unwrap().len(),
        figures.told,
        average(starts.took.iter().take(20)),
        starts.usual(),
        killing.as_secs_f64(),
        began.elapsed().as_secs_f64(),
    );
}

/// Starts so far.
#[derive(Debug, Default)]
struct Starts {
    early: u32,
    took: Vec<Duration>,
}

impl Starts {
    /// Starts the engine once and kills it: one in five while it starts, else 5 to 150 ms after
    /// it is ready.
    async fn one(&mut self, folder: &Folder, dice: &mut Dice) {
        let began = Instant::now();
        let mut engine = folder.start();
        if dice.draw(5) == 0 && !self.took.is_empty() {
            let micros = dice.draw(self.usual().max(1) * 1000);
            quell_run::timer(Duration::from_micros(micros)).await;
            self.early += 1;
        } else {
            assert!(engine.ready().await, "it does not start again: {}", folder.words());
            self.took.push(began.elapsed());
            quell_run::timer(Duration::from_micros(5_000 + dice.draw(145_000))).await;
        }
        assert!(engine.kill().await, "it ended by itself: {}", folder.words());
    }

    /// Milliseconds that the last starts took until the engine was ready.
    fn usual(&self) -> u64 {
        average(self.took.iter().rev().take(20))
    }
}

fn average<'a>(took: impl ExactSizeIterator<Item = &'a Duration>) -> u64 {
    let count = u64::try_from(took.len().max(1)).unwrap();
    took.map(|took| u64::try_from(took.as_millis()).unwrap()).sum::<u64>() / count
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|e| panic!("{name}=`{text}`: {e}")))
}

fn any_seed() -> u64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    u64::from(u32::from_le_bytes(bytes))
}

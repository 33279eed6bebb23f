//! Lives simulated worlds, one for each seed, and says whether the shipping service kept every promise in all of them.
//!
//! `prove --seeds N --from SEED` lives many, on every core; `prove --seed S` lives one and tells all of it. Ends with 1 at
//! the first broken promise, 64 when it is asked for something else.
//!
//! `prove --seeds N --keep-going` does not stop there: it names every seed whose life goes wrong, and ends with 1 when there
//! was one.
//!
//! `--harsh`, with `--seeds` or `--seed`: lives in which more goes wrong, and mostly at the same places.
//!
//! A life that went wrong is made smaller, after `--seeds`, or by `prove --seed S --shrink`: what is left of its scenario,
//! and all of what happens in it, is told.
//!
//! `prove --sabotage` shows that the proof can fail: it lives the seeds from 1 on with each deliberate defect until a
//! promise catches it, and prints which. Ends with 1 when one is not caught within `--seeds`, 500 unless told.

#[path = "../reasons.rs"]
mod reasons;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use model::ActionKind;
use simulation::{Catch, Catcher, Ending, Lived, Sabotage, Scenario, Size, Tally, live_bent, shrink};

/// A life is thousands of plans, each of which allocates: a fifth of the time. What was freed last is given out first, so that
/// a life stays in the cache of its core.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: prove [--harsh] --seeds N [--from SEED] [--keep-going] | prove [--harsh] --seed SEED [--shrink] | prove --sabotage [--seeds N]";

/// What a seed means.
#[derive(Clone, Copy)]
struct Draw {
    harsh: bool,
}

impl Draw {
    fn of(self, seed: u64) -> Scenario {
        if self.harsh { Scenario::harsh(seed) } else { Scenario::drawn(seed) }
    }
}

/// How many lives a defect may hide in.
const HUNTED: u64 = 500;

/// How often progress is told.
const TELL: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut seeds, mut from, mut seed) = (None, 1, None);
    let (mut sabotage, mut shrinks, mut keeps_going) = (false, false, false);
    let mut draw = Draw { harsh: false };
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--sabotage" => sabotage = true,
            "--shrink" => shrinks = true,
            "--keep-going" => keeps_going = true,
            "--harsh" => draw.harsh = true,
            _ => match (name.as_str(), arguments.next().and_then(|number| number.parse::<u64>().ok())) {
                ("--seeds", Some(number)) => seeds = Some(number),
                ("--from", Some(number)) => from = number,
                ("--seed", Some(number)) => seed = Some(number),
                _ => return usage(),
            },
        }
    }
    match (seeds, seed) {
        (seeds, None) if sabotage && !shrinks && !draw.harsh => hunt(seeds.unwrap_or(HUNTED)),
        (None, Some(seed)) if shrinks && !sabotage => one_made_smaller(draw, seed),
        (None, Some(seed)) if !sabotage => told_whole(draw, &draw.of(seed)),
        (Some(seeds), None) if !shrinks && !sabotage => many(draw, from, seeds, keeps_going),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(64)
}

/// Lives one world from its beginning to its end, on a clock that does not wait.
fn lived(scenario: &Scenario, sabotage: Option<Sabotage>, traced: bool) -> Lived {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime needs nothing").block_on(live_bent(scenario, sabotage, traced))
}

/// Hunts every defect, one on each core at a time, and prints the table.
fn hunt(seeds: u64) -> ExitCode {
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let works = || {
        let defects = std::iter::from_fn(|| Sabotage::ALL.get(next.fetch_add(1, Ordering::Relaxed)));
        let caught = |&defect: &Sabotage| {
            let catch = defect
                .hunt(1..=seeds, |seed, sabotage| lived(&Scenario::drawn(seed), sabotage, false).ending);
            eprintln!("{defect:?}: {}", if catch.is_some() { "caught" } else { "not caught" });
            (defect, catch)
        };
        defects.map(caught).collect::<Vec<_>>()
    };
    let mut table: Vec<(Sabotage, Option<Catch>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(works)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    table.sort_by_key(|(defect, _)| *defect);
    println!("{:<24}{:<12}{:>6}  how", "defect", "caught by", "seeds");
    for (defect, catch) in &table {
        let defect = format!("{defect:?}");
        match catch {
            Some(Catch { seed, by, told }) => println!("{defect:<24}{by:<12}{seed:>6}  {told}"),
            None => println!("{defect:<24}{:<12}{seeds:>6}", "nothing"),
        }
    }
    let all = table.len() == Sabotage::ALL.len() && table.iter().all(|(_, catch)| catch.is_some());
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lives a scenario, and prints all of it.
fn told_whole(draw: Draw, scenario: &Scenario) -> ExitCode {
    println!("{scenario}");
    let lived = lived(scenario, None, true);
    for recorded in &lived.journal {
        println!("journal {} {} {:?}", recorded.seq, recorded.at, recorded.event);
    }
    let (seed, took) = (scenario.seed, lived.took.as_secs_f64());
    println!("seed {seed}: {} events in {took:.1} s of its time", lived.events);
    tell(draw, seed, &lived.ending)
}

fn one_made_smaller(draw: Draw, seed: u64) -> ExitCode {
    match lived(&draw.of(seed), None, false).ending.caught_by() {
        Some(by) => told_smaller(draw, seed, by),
        None => tell(draw, seed, &Ending::Kept),
    }
}

/// Makes the life of a seed smaller while the same promise is broken, and prints all of what is left.
fn told_smaller(draw: Draw, seed: u64, by: Catcher) -> ExitCode {
    let mut lives = 0;
    let small = shrink(draw.of(seed), |smaller| {
        lives += 1;
        lived(smaller, None, false).ending.caught_by() == Some(by)
    });
    println!("\nseed {seed}, made smaller in {lives} lives; {by} is broken still:");
    told_whole(draw, &small)
}

/// Prints how a life ended.
fn tell(draw: Draw, seed: u64, ending: &Ending) -> ExitCode {
    match ending {
        Ending::Kept => {
            println!("seed {seed}: every promise kept");
            return ExitCode::SUCCESS;
        }
        Ending::Broken(violation) => println!("seed {seed}: {violation}"),
        Ending::Stuck { left, trace } => {
            trace.iter().for_each(|line| println!("    {line}"));
            println!("seed {seed}: faults stopped, and it did not get there:");
            left.iter().for_each(|left| println!("  {left}"));
        }
    }
    let harsh = if draw.harsh { "--harsh " } else { "" };
    println!("again: cargo run --release -p tests --bin prove -- {harsh}--seed {seed} [--shrink]");
    ExitCode::FAILURE
}

/// What the workers have in common.
struct Race {
    draw: Draw,
    next: AtomicU64,
    end: u64,
    broken: AtomicBool,
    keeps_going: bool,
}

fn many(draw: Draw, from: u64, seeds: u64, keeps_going: bool) -> ExitCode {
    let race = Race {
        draw,
        next: AtomicU64::new(from),
        end: from + seeds,
        broken: AtomicBool::new(false),
        keeps_going,
    };
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let results: Vec<Worked> = std::thread::scope(|scope| {
        let teller = scope.spawn(|| race.tells(from, began));
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(|| race.works())).collect();
        let lived =
            |worker: ScopedJoinHandle<'_, Worked>| worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        let results = workers.into_iter().map(lived).collect();
        teller.thread().unpark();
        results
    });
    let mut all = Worked::default();
    results.into_iter().for_each(|worked| all.add(worked));
    all.print(began.elapsed());
    all.failed.sort_by_key(|(seed, _)| *seed);
    match all.failed.into_iter().next() {
        Some((seed, ending)) if keeps_going => tell(draw, seed, &ending),
        Some((seed, ending)) => {
            let told = tell(draw, seed, &ending);
            ending.caught_by().map_or(told, |by| told_smaller(draw, seed, by))
        }
        None => ExitCode::SUCCESS,
    }
}

/// What a worker has lived.
#[derive(Default)]
struct Worked {
    seeds: u64,
    events: Vec<usize>,
    sizes: Vec<Size>,
    tally: Tally,
    failed: Vec<(u64, Ending)>,
}

/// Names the seed when its world or its judge panics, which is no violation but the end of the hunt.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: the world or its judge panicked", self.0);
        }
    }
}

impl Race {
    fn works(&self) -> Worked {
        let mut worked = Worked::default();
        while !self.broken.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.end {
                break;
            }
            let scenario = self.draw.of(seed);
            let named = Named(seed);
            let lived = lived(&scenario, None, false);
            drop(named);
            worked.seeds += 1;
            worked.sizes.push(scenario.size());
            worked.events.push(lived.events);
            worked.tally.add(&lived.tally);
            if lived.ending != Ending::Kept {
                self.broken.store(!self.keeps_going, Ordering::Relaxed);
                if let (true, Some(by)) = (self.keeps_going, lived.ending.caught_by()) {
                    eprintln!("seed {seed}: {by} is broken");
                }
                worked.failed.push((seed, lived.ending));
            }
        }
        worked
    }

    fn tells(&self, from: u64, began: Instant) {
        loop {
            std::thread::park_timeout(TELL);
            let next = self.next.load(Ordering::Relaxed);
            if next >= self.end || self.broken.load(Ordering::Relaxed) {
                return;
            }
            eprintln!("{} seeds in {:.0} s", next - from, began.elapsed().as_secs_f64());
        }
    }
}

impl Worked {
    fn add(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.events.extend(other.events);
        self.sizes.extend(other.sizes);
        self.tally.add(&other.tally);
        self.failed.extend(other.failed);
    }

    fn print(&mut self, took: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = self.seeds as f64 / took.as_secs_f64();
        println!("{} seeds in {:.0} s, {rate:.1} a second", self.seeds, took.as_secs_f64());
        let of = |count: fn(&Size) -> usize| median(self.sizes.iter().map(count).collect());
        println!(
            "the median life: {} hosts, {} load balancer nodes, {} targets, {} faults, {} events",
            of(|size| size.hosts),
            of(|size| size.nodes),
            of(|size| size.targets),
            of(|size| size.faults),
            median(std::mem::take(&mut self.events)),
        );
        println!("\nactions, by how they ended:");
        for ((kind, ended), count) in &self.tally.actions {
            println!("{count:>12}  {kind} {ended:?}");
        }
        println!("\nreasons to wait, whenever something went wrong or right again:");
        for (reason, count) in &self.tally.waits {
            println!("{count:>12}  {reason}");
        }
        let never = |name: &&str| !self.tally.waits.contains_key(*name);
        let never: Vec<&str> = reasons::names().into_iter().filter(never).collect();
        println!("{:>12}  {}", "never", never.join(", "));
        println!("\nfaults and deeds, and actions that set out while they were at work:");
        for (what, met) in &self.tally.met {
            let pairs = self.tally.pairs.iter().filter(|((with, _), _)| with == what);
            let kinds: Vec<String> = pairs.map(|((_, kind), count)| format!("{kind} {count}")).collect();
            println!("{met:>12}  {what}: {}", kinds.join(", "));
        }
        let kinds: BTreeSet<ActionKind> = self.tally.actions.keys().map(|(kind, _)| *kind).collect();
        let all = self.tally.met.keys().flat_map(|what| kinds.iter().map(move |kind| (what.clone(), *kind)));
        let never = all.filter(|pair| !self.tally.pairs.contains_key(pair));
        let never: Vec<String> = never.map(|(what, kind)| format!("{what} with {kind}")).collect();
        println!("{:>12}  {} pairs: {}", "never", never.len(), never.join(", "));
    }
}

fn median(mut counts: Vec<usize>) -> usize {
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(0)
}

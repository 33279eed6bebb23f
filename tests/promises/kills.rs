//! SIGKILL at any instant: nothing is lost, nothing is left behind, and nothing runs twice.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{HostKind, Lab};
use model::{ActionKind, Event, Recorded, Step};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};
use tests::deployment::Deployment;
use tests::stories::{NEW, on_a_fleet};

use crate::{PROGRAM, balancers, long};

/// Kinds of action that are aimed at, and how long after the start of one the kill may come: on a fast machine they
/// last little longer.
const AIMS: [(ActionKind, u64); 4] = [
    (ActionKind::Install, 600),
    (ActionKind::Activate, 150),
    (ActionKind::Drain, 15),
    (ActionKind::Install, 300),
];

/// A service that is killed again and again while it rolls out one commit after the other.
struct Killings<'d, 'lab> {
    deployment: &'d mut Deployment<'lab>,
    luck: Xoshiro256PlusPlus,
    /// The commit that is being rolled out.
    commit: String,
    rollouts: usize,
    forward: bool,
    /// What each kill interrupted.
    interrupted: Vec<Vec<ActionKind>>,
    services: Vec<u32>,
}

impl Killings<'_, '_> {
    fn below(&mut self, end: u64) -> u64 {
        self.luck.next_u64() % end
    }

    fn is_converged(&self) -> bool {
        let done = |recorded: &Recorded| matches!(&recorded.event, Event::Converged { commit, .. } if commit.as_str() == self.commit);
        self.deployment.journal().iter().any(done)
    }

    /// A bump, or its revert; only when the last one has wholly arrived, so that every version runs once.
    fn keep_rolling(&mut self) {
        if self.is_converged() {
            self.forward = !self.forward;
            self.commit = if self.forward { self.deployment.commit(NEW) } else { self.deployment.revert() };
            self.rollouts += 1;
        }
    }

    /// Waits for a random instant: any, or one inside of an action.
    fn instant(&mut self, aimed: bool) {
        self.keep_rolling();
        if !aimed {
            let pause = self.below(2000);
            return sleep(Duration::from_millis(pause));
        }
        let (kind, within_ms) = AIMS[self.interrupted.len() / 2 % AIMS.len()];
        let deadline = Instant::now() + Duration::from_secs(240);
        while !self.hits(kind, within_ms) {
            assert!(Instant::now() < deadline, "no {kind} to be killed\n{}", self.deployment.tail());
            self.keep_rolling();
            sleep(Duration::from_millis(5));
        }
    }

    /// Whether an action of that kind is under way, also a random while later.
    fn hits(&mut self, kind: ActionKind, within_ms: u64) -> bool {
        let is_open = |step: &Step| step.action.kind() == kind;
        let Some(step) = self.deployment.open_steps().into_iter().find(is_open) else { return false };
        let pause = self.below(within_ms);
        sleep(Duration::from_millis(pause));
        self.deployment.open_steps().contains(&step)
    }

    fn kill(&mut self) {
        self.services.extend(self.deployment.pid());
        self.deployment.kill();
        let open = self.deployment.open_steps();
        self.interrupted.push(open.iter().map(|step| step.action.kind()).collect());
        let pause = self.below(500);
        sleep(Duration::from_millis(pause));
        self.deployment.serve();
    }
}

fn seed() -> u64 {
    let chosen = std::env::var("RECONCILE_SEED").ok().and_then(|text| text.parse().ok());
    chosen.unwrap_or_else(|| u64::from(std::process::id()))
}

/// The versions whose install script ran on a host, in order.
fn installs(lab: &Lab, host: &str, package: &str) -> Vec<String> {
    let log = lab.host(host).and_then(|host| host.expect(&format!("cat /var/lib/{package}/installs.log")));
    let log = log.expect("the install script has counted");
    log.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn nothing_ran_twice(lab: &Lab, rollouts: usize) {
    for (kind, package) in [(HostKind::Web, "shop"), (HostKind::Storage, "store")] {
        for host in lab.hosts_of(kind) {
            let ran = installs(lab, host.name(), package);
            let twice = ran.windows(2).any(|pair| pair[0] == pair[1]);
            assert!(!twice, "{}: {ran:?}", host.name());
            // The lab's own install, and one for every rollout.
            assert_eq!(ran.len(), 1 + rollouts, "{}: {ran:?}", host.name());
        }
    }
}

fn nothing_is_left(lab: &Lab) {
    let out = balancers::out(lab);
    assert!(out.is_empty(), "not in rotation: {out:?}");
    for host in lab.hosts() {
        let claim = host.run("cat /var/lib/reconcile/claim.json").expect("the host answers");
        assert!(!claim.success(), "{} is still claimed: {}", host.name(), claim.stdout);
        let jobs = host.expect("systemctl list-units --all --plain --no-legend 'reconcile-*'");
        assert_eq!(jobs.expect("systemd answers").trim(), "", "{} still has a job", host.name());
    }
}

/// The ssh processes of services that are dead, by their command lines.
fn orphans(services: &[u32]) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").expect("there is /proc").flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    let is_ours = |line: &String| {
        line.starts_with("ssh") && services.iter().any(|pid| line.contains(&format!("/reconcile-ssh.{pid}.")))
    };
    lines.filter(is_ours).collect()
}

#[test]
fn a_service_that_is_killed_at_any_instant_loses_nothing_and_repeats_nothing() {
    let (kills, inside) = if long() { (30, 10) } else { (8, 3) };
    let seed = seed();
    println!("kills: RECONCILE_SEED={seed}");
    on_a_fleet("killed", PROGRAM, |deployment| {
        let commit = deployment.git(&["rev-parse", "HEAD"]);
        let luck = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut killings = Killings {
            deployment,
            luck,
            commit,
            rollouts: 0,
            forward: false,
            interrupted: Vec::new(),
            services: Vec::new(),
        };
        for kill in 0..kills {
            killings.instant(kill % 2 == 0);
            killings.kill();
            // Several rollouts, not one that is killed all the time.
            if kill % 4 == 3 {
                killings.deployment.converges(&killings.commit, 180);
            }
        }
        let Killings { deployment, commit, rollouts, interrupted, services, .. } = killings;
        deployment.converges(&commit, 180);
        let hit = interrupted.iter().filter(|open| !open.is_empty()).count();
        let told: Vec<String> = interrupted
            .iter()
            .map(|open| open.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"))
            .collect();
        println!("kills: {kills} over {rollouts} rollouts, {hit} inside an action: {}", told.join(", "));
        assert!(hit >= inside, "only {hit} kills hit an action");
        nothing_is_left(deployment.lab);
        nothing_ran_twice(deployment.lab, rollouts);
        assert_eq!(orphans(&services), Vec::<String>::new());
    });
}

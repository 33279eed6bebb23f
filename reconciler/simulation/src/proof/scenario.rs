//! Everything that a seed decides: the fleet, its pace, its luck, and what happens. A plain value.

use std::fmt;

use crate::chance::Chance;
use crate::pace::{Pace, Span};
use crate::proof::happening::{self, Deed, Happening, What};
use crate::proof::harsh;
use crate::proof::shape::Shape;

/// For how long things go wrong, in the world's time.
const TROUBLED_MS: u64 = 30_000;

/// What happens at about the same time happens at the same time, and costs one pass: a third of the work.
const STEP_MS: u64 = 20;

/// How often an answer goes astray, of a thousand commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mishaps {
    /// What was asked for happens, and nobody hears of it.
    pub lost: u64,
    /// The answer comes late.
    pub late: u64,
    /// The command arrives twice.
    pub repeated: u64,
}

/// A world's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides what is left to luck within the world.
    pub seed: u64,
    /// The fleet.
    pub shape: Shape,
    /// How long things take.
    pub pace: Pace,
    /// The network's luck.
    pub mishaps: Mishaps,
    /// In order of time.
    pub happenings: Vec<Happening>,
    /// Whether people want a new version in the end, and not what git wants by then, which may be the way back.
    pub ends_anew: bool,
}

/// How much there is in a life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Managed hosts and the host of jobs, of every environment.
    pub hosts: usize,
    /// Load balancer nodes.
    pub nodes: usize,
    /// Commits that want another version, with the last one.
    pub targets: usize,
    /// Faults.
    pub faults: usize,
}

impl Scenario {
    /// How much there is in this life.
    pub fn size(&self) -> Size {
        let happens = |fits: fn(&What) -> bool| self.happenings.iter().filter(|it| fits(&it.what)).count();
        let targets = happens(|what| {
            use Deed::{Bump, Canary, CanaryGone, Emergency, Promote, Revert};
            matches!(what, What::Deed(Bump | Canary | CanaryGone | Emergency | Promote | Revert, _))
        });
        Size {
            hosts: self.shape.hosts().len() + usize::from(self.shape.staging),
            nodes: self.shape.nodes().len(),
            targets: targets + 1,
            faults: happens(|what| matches!(what, What::Fault(..))),
        }
    }

    /// What a seed means. The same for ever on every machine, as long as this function stays.
    pub fn drawn(seed: u64) -> Self {
        Self::with(seed, happening::drawn(&mut Chance::stream(seed, "happenings"), TROUBLED_MS))
    }

    /// As [`Self::drawn`], of the same fleet, with more that goes wrong, mostly at the same places.
    pub fn harsh(seed: u64) -> Self {
        Self::with(seed, harsh::happenings(&mut Chance::stream(seed, "harsh"), TROUBLED_MS))
    }

    fn with(seed: u64, mut happenings: Vec<Happening>) -> Self {
        let mut chance = Chance::stream(seed, "scenario");
        let shape =
            Shape::drawn(&mut Chance::stream(seed, "shape"), &mut Chance::stream(seed, "more of the shape"));
        let often = |chance: &mut Chance| if chance.one_in(3) { chance.below(60) } else { 0 };
        let mishaps =
            Mishaps { lost: often(&mut chance), late: often(&mut chance), repeated: often(&mut chance) };
        if Chance::stream(seed, "how slowly").one_in(16) {
            happenings.iter_mut().for_each(Happening::comes_slowly);
        }
        let ends_anew = Chance::stream(seed, "the end").one_in(8);
        Self { seed, shape, pace: pace(&mut chance), mishaps, happenings, ends_anew }
    }
}

/// For people: the fleet, its pace and luck, and one line for each happening.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.shape)?;
        writeln!(f, "{:?}", self.pace)?;
        writeln!(f, "{:?}", self.mishaps)?;
        write!(f, "{} happenings", self.happenings.len())?;
        self.happenings.iter().try_for_each(|happening| write!(f, "\n    {happening}"))
    }
}

/// A brisk fleet: what takes minutes elsewhere takes a second or two here, so that a life is short.
fn pace(chance: &mut Chance) -> Pace {
    let slow = chance.ms(Span::ms(1, 3));
    Pace {
        trip: Span::ms(5, 20 * slow),
        look: if chance.one_in(3) { Span::ms(5, 40 * slow) } else { Span::ms(20, 20) },
        download: Span::ms(100, 400 * slow),
        unpack: Span::ms(300, 700 * slow),
        warm_up: Span::ms(100, 500 * slow),
        session: Span::ms(20, 400 * slow),
        migration: Span::ms(300, 1_000 * slow),
        check_job: Span::ms(300, 1_000 * slow),
        agent_every: Span::ms(20_000, 60_000),
        agent_run: Span::ms(500, 3_000),
        ..Pace::brisk()
    }
    .in_steps_of(STEP_MS)
}

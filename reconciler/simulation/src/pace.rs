//! How long things take in the simulated world.

/// From, to and with; in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Not less.
    pub min_ms: u64,
    /// Not more.
    pub max_ms: u64,
    /// Only whole multiples of this, counted from `min_ms`.
    pub step_ms: u64,
}

impl Span {
    /// From and to, both included.
    pub const fn ms(min_ms: u64, max_ms: u64) -> Self {
        Self { min_ms, max_ms, step_ms: 1 }
    }

    /// Only every so many milliseconds, so that what happens at about the same time happens at the same time.
    pub const fn in_steps_of(self, step_ms: u64) -> Self {
        Self { step_ms, ..self }
    }
}

/// How long things take, and how busy the load balancers are. Every single time is drawn from the entity's own luck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// From a command's start to its effect, and again from its effect to the answer.
    pub trip: Span,
    /// From the start of a reading to the moment it shows, and again to its answer.
    pub look: Span,
    /// How long a connection to a dead host is tried.
    pub connect_ms: u64,
    /// How long an answer is waited for.
    pub answer_ms: u64,
    /// How long apt waits for its lock.
    pub lock_ms: u64,
    /// Fetching packages.
    pub download: Span,
    /// Repairing an interrupted dpkg.
    pub repair: Span,
    /// Unpacking packages: from the first changed file to wholly installed.
    pub unpack: Span,
    /// Each command of the role's own.
    pub command: Span,
    /// From the stop of a service to its new process.
    pub restart: Span,
    /// From a new process to its first good answer.
    pub warm_up: Span,
    /// From power to running services.
    pub boot: Span,
    /// How many sessions a server in rotation has.
    pub sessions: Span,
    /// How long a session still takes when its server is drained.
    pub session: Span,
    /// Between two checks of a load balancer.
    pub check_ms: u64,
    /// Good checks until a server is up.
    pub rise: u64,
    /// Bad checks until a server is down.
    pub fall: u64,
    /// One look at the git remote.
    pub git: Span,
    /// Migrations.
    pub migration: Span,
    /// A check of a release.
    pub check_job: Span,
    /// From the end of one thought of a configuration agent to its next run.
    pub agent_every: Span,
    /// A run of a configuration agent.
    pub agent_run: Span,
    /// A fault in the last so many milliseconds may not have been seen yet: acting in spite of it breaks no promise.
    pub blind_ms: u64,
    /// As `blind_ms`, for what load balancers show when it is decided who leaves rotation: counted from the decision, since
    /// a step may be long under way.
    pub floor_blind_ms: u64,
    /// As `blind_ms`, for a drain that a reload or a person undid. Drained hosts are watched closely, but whoever stood still
    /// for a moment goes on with readings that are as old as those of load balancers may be, and a command takes its time.
    pub undone_ms: u64,
    /// As `blind_ms`, for a gate that turned: the planner's reading interval, with some slack.
    pub gate_blind_ms: u64,
    /// As `blind_ms`, for main servers that left rotation and for a commit that wants a smaller share.
    pub share_blind_ms: u64,
}

impl Pace {
    /// Times as a small Debian fleet shows them.
    pub fn realistic() -> Self {
        Self {
            trip: Span::ms(10, 60),
            look: Span::ms(20, 120),
            connect_ms: 5_000,
            answer_ms: 15_000,
            lock_ms: 10_000,
            download: Span::ms(1_000, 4_000),
            repair: Span::ms(500, 2_000),
            unpack: Span::ms(2_000, 9_000),
            command: Span::ms(100, 3_000),
            restart: Span::ms(200, 1_500),
            warm_up: Span::ms(1_000, 4_000),
            boot: Span::ms(8_000, 30_000),
            sessions: Span::ms(3, 40),
            session: Span::ms(50, 6_000),
            check_ms: 2_000,
            rise: 2,
            fall: 3,
            git: Span::ms(5, 40),
            migration: Span::ms(4_000, 20_000),
            check_job: Span::ms(3_000, 15_000),
            agent_every: Span::ms(900_000, 1_800_000),
            agent_run: Span::ms(5_000, 30_000),
            blind_ms: 30_000,
            floor_blind_ms: 3_100,
            undone_ms: 3_100,
            gate_blind_ms: 12_000,
            share_blind_ms: 15_000,
        }
    }

    /// Every time in whole steps: see [`Span::in_steps_of`].
    pub fn in_steps_of(mut self, step_ms: u64) -> Self {
        let spans = [
            &mut self.trip,
            &mut self.look,
            &mut self.download,
            &mut self.repair,
            &mut self.unpack,
            &mut self.command,
            &mut self.restart,
            &mut self.warm_up,
            &mut self.boot,
            &mut self.session,
            &mut self.git,
            &mut self.migration,
            &mut self.check_job,
            &mut self.agent_every,
            &mut self.agent_run,
        ];
        for span in spans {
            let rounded = |ms: u64| ms.div_ceil(step_ms) * step_ms;
            *span = Span { min_ms: rounded(span.min_ms), max_ms: rounded(span.max_ms), step_ms };
        }
        self
    }

    /// A fleet that a person can watch: a rollout of four hosts takes some seconds of real time.
    pub fn brisk() -> Self {
        Self {
            lock_ms: 2_000,
            connect_ms: 1_000,
            answer_ms: 3_000,
            download: Span::ms(300, 800),
            repair: Span::ms(200, 400),
            unpack: Span::ms(500, 1_200),
            command: Span::ms(50, 200),
            restart: Span::ms(100, 300),
            warm_up: Span::ms(300, 700),
            boot: Span::ms(2_000, 4_000),
            session: Span::ms(50, 1_200),
            check_ms: 300,
            migration: Span::ms(500, 2_000),
            check_job: Span::ms(500, 2_000),
            ..Self::realistic()
        }
    }
}

//! Waiting reasons in words: what, and who or what ends it.

use std::fmt;

use jiff::Timestamp;

use crate::waiting::Reason;

impl fmt::Display for Reason {
    #[expect(clippy::too_many_lines, reason = "one line for each reason: a catalogue, long and not complex")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FreshFacts => write!(f, "is being looked at"),
            Self::InFlight { action, step } => write!(f, "{action} is under way ({step})"),
            Self::StepOverdue { action, step, deadline } => {
                write!(f, "{action} has been under way for more than {deadline:#} ({step})")
            }
            Self::JobRunning { step } => write!(f, "a job from before the restart still runs ({step})"),
            Self::JobInDoubt { step } => write!(f, "job {step} began, has no recorded end and does not run"),
            Self::HostUnknown { kind, detail } => write!(f, "{kind}: {detail}"),
            Self::NodeUnknown { node, kind, detail } => {
                write!(f, "load balancer node {node}: {kind}: {detail}")
            }
            Self::RowMissing { row } => write!(f, "no server row {row}"),
            Self::RowElsewhere { row, address } => {
                write!(f, "server row {row} points to {address}, which is not this host")
            }
            Self::EarlierRole { role } => write!(f, "role {role} comes first"),
            Self::Downloading { missing } => {
                write!(f, "packages are being downloaded first ({missing} hosts to go)")
            }
            Self::Budget { out, limit, .. } => {
                write!(f, "{} of at most {limit} hosts are out: {}", out.len(), list(out))
            }
            Self::Parallel { limit } => write!(f, "{limit} hosts are being worked on, as many as may be"),
            Self::BelowFloor(floor) => write!(
                f,
                "backend {} has {} servers in rotation on {} and must keep {}",
                floor.backend, floor.in_rotation, floor.node, floor.floor
            ),
            Self::Draining { sessions, row, until, then } => {
                write!(
                    f,
                    "waits for {sessions} sessions, most of them in {row}; from {} on: {then}",
                    clock(*until)
                )
            }
            Self::DrainTimedOut { until } => {
                write!(f, "sessions did not end in time; given back, drained again at {}", clock(*until))
            }
            Self::Backoff { action, failure, times, until } => {
                write!(f, "{action}: {failure}; attempt {times}, again at {}", clock(*until))
            }
            Self::Halted { version, failure } => {
                write!(f, "{version} failed three times and is halted: {failure}")
            }
            Self::StageFailing { host, version, failure } => {
                write!(f, "{host} failed with {version}: {failure}")
            }
            Self::HealthPending { answer, until } => {
                write!(f, "not healthy yet ({answer}); has until {}", clock(*until))
            }
            Self::Unhealthy { answer } => write!(f, "not healthy: {answer}"),
            Self::LoadBalancerCheck { row, status } => write!(f, "server row {row} is {status}, not UP yet"),
            Self::ForeignDrain { rows } => write!(f, "taken out by somebody else: {}", list(rows)),
            Self::ClaimedByOther { generation, service, overdue } => {
                let orphan = if *overdue {
                    ", which expected to be done by now: its mark may be an orphan"
                } else {
                    ""
                };
                write!(f, "claimed by service {service}, generation {generation}{orphan}")
            }
            Self::DirectionUnknown { target, observed } => {
                write!(f, "{target} sorts below {observed}, which runs: forward or back?")
            }
            Self::ReportOnly { steps } => write!(f, "mode is report: {steps} steps would start"),
            Self::OutageNotAllowed { backend } => {
                write!(f, "the last server of backend {backend} would have to go")
            }
            Self::Vetoed { version, why } => write!(f, "{version} is vetoed: {why}"),
            Self::Held { scope, why, until } => {
                write!(f, "held ({scope}){}: {why}", until_text(*until))
            }
            Self::Paused { by, why, until } => {
                write!(f, "paused by {by} until {}: {why}", moment(*until))
            }
            Self::Frozen { why, until } => write!(f, "frozen until {}: {why}", moment(*until)),
            Self::WouldNotFinish { stage, takes, freeze, why } => write!(
                f,
                "stage {stage} would take {takes:#} and not finish before the freeze at {}: {why}",
                moment(*freeze)
            ),
            Self::GateNotGreen { gate, verdict, query, value, threshold } => {
                write!(f, "gate {gate} is {verdict}: {query} gives {value}; green is {threshold}")
            }
            Self::GateQuiet { gate, until } => {
                write!(f, "gate {gate} is green, and counts from {}", clock(*until))
            }
            Self::Soaking { stage, until } => {
                write!(f, "the work of stage {stage} is done; watched until {}", clock(*until))
            }
            Self::CheckFailed { key, failure } | Self::MigrationFailed { key, failure } => {
                write!(f, "{key} failed: {failure}")
            }
            Self::PromotionRequired { version, requires } => {
                write!(f, "{version} has not passed {requires}")
            }
            Self::OlderStillRuns { host, runs, version } => {
                let runs = runs.as_ref().map_or_else(
                    || format!("what {host} runs cannot be seen"),
                    |runs| format!("{host} still runs {runs}"),
                );
                write!(f, "{runs}: the post-deployment migrations of {version} would leave it behind")
            }
            Self::EarlierStage { stage } => write!(f, "stage {stage} comes first"),
            Self::MainFirst { target } => {
                write!(f, "main is on its way to {target}; the canary takes nothing new meanwhile")
            }
            Self::PastPostMigration { target, version, at } => write!(
                f,
                "{target} lies before the post-deployment migrations of {version}, which began at {}",
                moment(*at)
            ),
            Self::CanaryWeight { node } => {
                write!(f, "the canary's weights on {node} go down before a server leaves")
            }
            Self::Ramping { weight, of, until } => {
                write!(f, "the canary has {weight} of {of} percent until {}", clock(*until))
            }
            Self::PatchNotIncorporated { file, version } => {
                write!(f, "{version} does not hold the patch {file}, which is in force")
            }
            Self::SameMachine { host, environment } => {
                write!(f, "it is the same machine as {host} of environment {environment}, by its machine-id")
            }
            Self::AgentBusy => write!(f, "the configuration agent is in the middle of a run"),
            Self::JournalLost { host, generation } => write!(
                f,
                "{host} remembers generation {generation}, which this journal does not know: it was lost, or a newer service took over"
            ),
            Self::RunningUnknown { target } => {
                write!(f, "nothing tells whether {target} ran here, and so was migrated, before we came")
            }
            Self::HostOut { why, until } => write!(f, "declared out{}: {why}", until_text(*until)),
            Self::CommitUntrusted { commit, error } => {
                write!(f, "commit {} is not trusted: {error}", commit.short())
            }
            Self::SourceUnavailable { error } => write!(f, "the git remote cannot be read: {error}"),
            Self::HistoryRewritten { accepted, found } => write!(
                f,
                "history was rewritten: {} does not descend from the accepted {}",
                found.short(),
                accepted.short()
            ),
            Self::RevisionInvalid { commit, error, errors } => {
                write!(f, "commit {} is invalid ({errors} errors): {error}", commit.short())
            }
        }
    }
}

impl Reason {
    /// Who or what ends it.
    #[expect(clippy::too_many_lines, reason = "one line for each reason: a catalogue, long and not complex")]
    pub fn ends(&self) -> String {
        match self {
            Self::FreshFacts => "ends by itself, at the next reading".to_owned(),
            Self::InFlight { .. } | Self::JobRunning { .. } => "ends when the job ends".to_owned(),
            Self::StepOverdue { step, .. } => {
                format!(
                    "look at it on the host: systemctl list-units 'reconcile-*' ({step}); it is never killed by us"
                )
            }
            Self::JobInDoubt { step } => {
                format!("look at /var/lib/reconcile/once/{step} on the host, then `reconcile retry`")
            }
            Self::HostUnknown { kind, .. } | Self::NodeUnknown { kind, .. } => remedy(*kind).to_owned(),
            Self::RowMissing { .. } | Self::RowElsewhere { .. } => {
                "mend the load balancer's configuration, or the role's backends".to_owned()
            }
            Self::EarlierRole { .. } | Self::Downloading { .. } => "ends when those are done".to_owned(),
            Self::Budget { .. } | Self::Parallel { .. } => "ends when one of them is back".to_owned(),
            Self::BelowFloor(_) => "ends when more servers of it are in rotation".to_owned(),
            Self::Draining { .. } => "ends with the sessions, or at the drain's deadline".to_owned(),
            Self::DrainTimedOut { .. } | Self::Backoff { .. } => {
                "tried again by itself; at once with `reconcile retry`".to_owned()
            }
            Self::Halted { .. } => {
                "revert the commit, commit another version, or `reconcile retry`".to_owned()
            }
            Self::StageFailing { .. } => {
                "ends when that host is well; or revert the commit, or commit another version".to_owned()
            }
            Self::HealthPending { .. } => "ends when the health check passes, or at its deadline".to_owned(),
            Self::Unhealthy { .. } => "ends when the host is mended; it counts as out until then".to_owned(),
            Self::LoadBalancerCheck { .. } => "ends when the load balancer's own check passes".to_owned(),
            Self::ForeignDrain { .. } => "ends when whoever took it out makes it ready".to_owned(),
            Self::ClaimedByOther { overdue: true, .. } => {
                "make sure that this service is gone, then remove /var/lib/reconcile/claim.json there"
                    .to_owned()
            }
            Self::ClaimedByOther { .. } => {
                "stop one of the two services; a claim is in /var/lib/reconcile/claim.json".to_owned()
            }
            Self::DirectionUnknown { .. } => {
                "write `direction = \"forward\"` or `\"back\"` beside the version in release.toml".to_owned()
            }
            Self::ReportOnly { .. } => "set `mode = \"reconcile\"` in environment.toml".to_owned(),
            Self::OutageNotAllowed { .. } => {
                "add a server to the backend, or set `allow_outage = true` on the role".to_owned()
            }
            Self::Vetoed { .. } => "commit another version, or take the veto out of release.toml".to_owned(),
            Self::Held { until: None, .. } => "ends when the hold leaves release.toml".to_owned(),
            Self::Held { until: Some(_), .. } | Self::Frozen { .. } => {
                "ends by itself at that time".to_owned()
            }
            Self::Paused { .. } => "ends at that time, or with `reconcile resume`".to_owned(),
            Self::WouldNotFinish { .. } => {
                "starts after the freeze; or a person moves the freeze, or makes it an emergency".to_owned()
            }
            Self::GateNotGreen { .. } => "ends when the gate is green again; or revert the commit".to_owned(),
            Self::GateQuiet { .. } | Self::Soaking { .. } | Self::Ramping { .. } => {
                "ends by itself at that time, if the gates stay green".to_owned()
            }
            Self::CheckFailed { .. } => {
                "commit another version; or `reconcile retry` runs the check again".to_owned()
            }
            Self::MigrationFailed { key, .. } => format!(
                "mend it by hand or commit another version, then `reconcile retry` runs the {} again",
                key.kind
            ),
            Self::PromotionRequired {
                requires: crate::pipeline::Requirement::Environment(name),
                version,
            } => {
                format!(
                    "ends when it has passed there; or a person says so: `reconcile verify {name} {version}`"
                )
            }
            Self::PromotionRequired { version, .. } => format!(
                "ends when it has passed there; or a person says so: `reconcile verify ENV {version} --track canary`"
            ),
            Self::OlderStillRuns { .. } => {
                "ends when that host has the version or a later one; or declare it out".to_owned()
            }
            Self::EarlierStage { .. } | Self::MainFirst { .. } => "ends when that is done".to_owned(),
            Self::PastPostMigration { .. } => {
                "go forward; or write [allow] past_post_migrations_of with the reason why it is safe"
                    .to_owned()
            }
            Self::CanaryWeight { .. } => "ends when the weights were read back".to_owned(),
            Self::PatchNotIncorporated { .. } => {
                "commit a version that holds it, or add this one to the patch's incorporated_in".to_owned()
            }
            Self::SameMachine { .. } => {
                "take one of the two out of its environment.toml, or give a cloned machine an id of its own"
                    .to_owned()
            }
            Self::AgentBusy => "ends when the run ends; it is never killed by us".to_owned(),
            Self::JournalLost { .. } => {
                "a person looks, stops the other service if there is one, and says: `reconcile adopt`"
                    .to_owned()
            }
            Self::RunningUnknown { target } => format!(
                "look there: `reconcile adopt` when {target} was not migrated; else start its services, or give them a `running` command"
            ),
            Self::HostOut { .. } => "ends when it leaves release.toml, or at its time".to_owned(),
            Self::CommitUntrusted { .. } => {
                "push a commit with a trusted signature; the last trusted one stays in force".to_owned()
            }
            Self::SourceUnavailable { .. } => {
                "tried again by itself; the last accepted commit stays in force".to_owned()
            }
            Self::HistoryRewritten { found, .. } => {
                format!(
                    "a person accepts it: `reconcile accept-history {found} --reason …`; or push the old history back"
                )
            }
            Self::RevisionInvalid { .. } => {
                "push a valid commit (`reconcile check` tells); the last valid one stays in force".to_owned()
            }
        }
    }
}

fn remedy(kind: crate::observed::UnknownKind) -> &'static str {
    use crate::observed::UnknownKind;
    match kind {
        UnknownKind::Unreachable | UnknownKind::TimedOut => "ends when it answers again",
        UnknownKind::KeyRefused => "put the service's public key into the host's authorized_keys",
        UnknownKind::HostKeyChanged => {
            "verify the new host key with its owner, then replace it in known_hosts"
        }
        UnknownKind::Unreadable => "mend what the detail names; it is looked at again by itself",
    }
}

fn list<T: fmt::Display>(items: &std::collections::BTreeSet<T>) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn until_text(until: Option<Timestamp>) -> String {
    until.map_or_else(String::new, |until| format!(" until {}", moment(until)))
}

/// Day and time, UTC, to the minute.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%MZ").to_string()
}

/// Time of day, UTC, to the second.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

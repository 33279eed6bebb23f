//! HAProxy through its runtime socket, over ssh, with `socat`: one script for a reading, one for a set of commands.
//!
//! Old workers: a reload leaves the former worker running until its sessions end. Its sessions cannot be seen through
//! the runtime socket. They are read through the master's socket (Debian's unit has one); where there is none, an old worker is
//! still noticed by its process, and then every row counts one session until it is gone.
//!
//! Every change carries its owner's fence, and is refused where a newer service has been: the fence is checked, and what
//! it remembers raised, in the same script and under the same lock as the change. See [`crate::claim::raise`].

pub(crate) mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{Failure, FailureKind, HostName, NodeState, Outcome, RowId, Unknown, UnknownKind};
use tokio::task::JoinSet;

use crate::claim::{Fence, Owner, succeeded, taken};
use crate::shell::{last_lines, quote, sections};
use crate::ssh::{Output, Ssh};
pub use parse::{Unreadable, parse_node};

/// A healthy HAProxy answers in milliseconds; one that is busy with a reload takes a second.
const DEADLINE: Duration = Duration::from_secs(10);

/// Changes take turns on a node, so one may wait for others.
const CHANGE_DEADLINE: Duration = Duration::from_secs(20);

/// What to do with server rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Out of new traffic; also out of maintenance.
    Drain,
    /// Into maintenance.
    Maint,
    /// Back into rotation.
    Ready,
    /// End the sessions, also those in old workers.
    Cut,
}

impl Command {
    fn word(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Maint => "maint",
            Self::Ready => "ready",
            Self::Cut => "cut",
        }
    }

    fn text(self, backend: &str, server: &str) -> String {
        match self {
            Self::Drain | Self::Maint | Self::Ready => {
                format!("set server {backend}/{server} state {}", self.word())
            }
            Self::Cut => format!("shutdown sessions server {backend}/{server}"),
        }
    }

    /// Whether a mask shows the command's effect, by the bits that commands set: 1 maintenance, 8 drain.
    fn done(self, mask: u32) -> bool {
        match self {
            Self::Drain => mask & 9 == 8,
            Self::Maint => mask & 1 == 1,
            Self::Ready => mask & 9 == 0,
            Self::Cut => true,
        }
    }
}

/// Reads one node. `socket` is HAProxy's admin socket there, `memory` the file of [`crate::claim::memory`];
/// `us`: who reads, where that is somebody who has acted. Changes nothing.
///
/// # Errors
/// The obstacle, as a fact: no connection, no `socat`, no socket, or an answer that we cannot read.
pub async fn observe(
    ssh: &Ssh,
    node: &HostName,
    socket: &str,
    memory: &str,
    us: Option<&Owner>,
) -> Result<NodeState, Unknown> {
    let script =
        format!("MEMORY={}\n{}{}", quote(memory), prelude(socket), include_str!("haproxy/observe.sh"));
    let output = ssh.read(node, &script, DEADLINE).await.map_err(|error| error.to_unknown())?;
    let mut state = parse_node(&output.stdout).map_err(|error| {
        let words = last_lines(&output.stderr, 1);
        let detail = if words.is_empty() { error.to_string() } else { words };
        Unknown { kind: UnknownKind::Unreadable, detail }
    })?;
    state.last_generation = us.and_then(|us| taken(&output.stdout, us)).or(state.last_generation);
    Ok(state)
}

/// Gives a command to rows on their nodes, all nodes at once, and reads back that it was done.
///
/// `sockets` names the admin socket of every node in `rows`.
///
/// # Errors
/// The first node's failure: `Superseded` where a newer service has been, `LoadBalancerRefused` with the row, or no
/// connection. Other nodes may have done it.
pub async fn command(
    ssh: &std::sync::Arc<Ssh>,
    fence: &Fence,
    command: Command,
    rows: &BTreeSet<RowId>,
    sockets: &BTreeMap<HostName, String>,
) -> Result<Outcome, Failure> {
    let mut nodes: BTreeMap<&HostName, Vec<RowId>> = BTreeMap::new();
    for row in rows {
        nodes.entry(&row.node).or_default().push(row.clone());
    }
    let mut asked = JoinSet::new();
    for (node, rows) in nodes {
        let socket = sockets.get(node).cloned().ok_or_else(|| unknown_node(node))?;
        let (ssh, node, fence) = (std::sync::Arc::clone(ssh), node.clone(), fence.clone());
        asked.spawn(async move { command_node(&ssh, &fence, &node, &socket, command, &rows).await });
    }
    let mut changed = false;
    let mut failures = Vec::new();
    while let Some(answer) = asked.join_next().await {
        match answer {
            Ok(Ok(node_changed)) => changed |= node_changed,
            Ok(Err(failure)) => failures.push(failure),
            Err(panic) => failures.push(refused(format!("asking a node panicked: {panic}"), String::new())),
        }
    }
    match failures.into_iter().min_by(|a, b| a.what.cmp(&b.what)) {
        Some(failure) => Err(failure),
        None if changed => Ok(Outcome::Changed(format!("{} {} rows", command.word(), rows.len()))),
        None => Ok(Outcome::AlreadyDone),
    }
}

/// Whether anything changed on this node.
async fn command_node(
    ssh: &Ssh,
    fence: &Fence,
    node: &HostName,
    socket: &str,
    command: Command,
    rows: &[RowId],
) -> Result<bool, Failure> {
    let texts: Vec<String> =
        rows.iter().map(|row| command.text(row.backend.as_str(), row.server.as_str())).collect();
    let mut script = fence.held("raise") + &prelude(socket);
    script += "printf '@@before\\n'; ask 'show servers state'\n";
    script += &format!("printf '\\n@@answers\\n'; ask {}\n", quote(&texts.join(";")));
    if command == Command::Cut {
        script += &format!("COMMANDS={}\n{}", quote(&texts.join("\n")), include_str!("haproxy/cut_old.sh"));
    }
    script += "printf '\\n@@after\\n'; ask 'show servers state'\n";
    let output = change(ssh, node, &script).await?;
    let parts = sections(&output.stdout);
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let complain = |what: String| refused(what, last_lines(&output.stderr, 10));
    let answers = parse::answers(part("answers"), rows.len())
        .ok_or_else(|| complain(format!("{node} did not answer every command")))?;
    for (row, answer) in rows.iter().zip(answers) {
        if !answer.is_empty() {
            return Err(complain(format!("{row}: {} refused: {answer}", command.word())));
        }
    }
    let masks = |name: &str| parse::masks(part(name)).map_err(|error| complain(format!("{node}: {error}")));
    let (before, after) = (masks("before")?, masks("after")?);
    let mask = |masks: &parse::Numbers, row: &RowId| {
        masks.get(&(row.backend.as_str().to_owned(), row.server.as_str().to_owned())).copied()
    };
    for row in rows {
        match mask(&after, row) {
            Some(now) if command.done(now) => {}
            Some(now) => {
                return Err(complain(format!("{row}: {} had no effect, mask {now:#x}", command.word())));
            }
            None => return Err(complain(format!("{row}: no such row"))),
        }
    }
    let was_done = |row: &RowId| mask(&before, row).is_some_and(|mask| command.done(mask));
    Ok(command == Command::Cut || !rows.iter().all(was_done))
}

/// Sets the weights of rows on one node in one go, and reads back that each row shows its weight.
///
/// Every row is on `node`; a weight is 0 to 256.
///
/// # Errors
/// `LoadBalancerRefused` with the row: a weight that its backend does not take, no such row, or no effect; other rows
/// may have changed. `Superseded` where a newer service has been. Or no connection.
pub async fn weigh(
    ssh: &Ssh,
    fence: &Fence,
    node: &HostName,
    socket: &str,
    weights: &BTreeMap<RowId, u32>,
) -> Result<Outcome, Failure> {
    let commands = weights
        .iter()
        .map(|(row, weight)| format!("set server {}/{} weight {weight}", row.backend, row.server));
    let commands: Vec<String> = commands.collect();
    let script = format!(
        "{}{}printf '@@before\\n'; ask 'show servers state'\nprintf '\\n@@answers\\n'; ask {}\n\
         printf '\\n@@after\\n'; ask 'show servers state'\n",
        fence.held("raise"),
        prelude(socket),
        quote(&commands.join(";"))
    );
    let output = change(ssh, node, &script).await?;
    let complain = |what: String| refused(what, last_lines(&output.stderr, 10));
    let parts = sections(&output.stdout);
    let part = |name: &str| parts.get(name).copied().unwrap_or_default();
    let read = |name: &str| parse::weights(part(name)).map_err(|error| complain(format!("{node}: {error}")));
    let (before, after) = (read("before")?, read("after")?);
    let answers = parse::answers(part("answers"), weights.len())
        .ok_or_else(|| complain(format!("{node} did not answer every command")))?;
    let mut changed = false;
    for ((row, weight), answer) in weights.iter().zip(answers) {
        let key = (row.backend.as_str().to_owned(), row.server.as_str().to_owned());
        match after.get(&key) {
            _ if !answer.is_empty() => {
                return Err(complain(format!("{row}: weight {weight} refused: {answer}")));
            }
            Some(now) if now == weight => changed |= before.get(&key) != Some(weight),
            Some(now) => return Err(complain(format!("{row}: weight {weight} had no effect, it is {now}"))),
            None => return Err(complain(format!("{row}: no such row"))),
        }
    }
    let done = format!("weighed {} of {node}", weights.len());
    Ok(if changed { Outcome::Changed(done) } else { Outcome::AlreadyDone })
}

/// Runs a script of changes, which begins with the fence. Its other ends are told by what it printed.
async fn change(ssh: &Ssh, node: &HostName, script: &str) -> Result<Output, Failure> {
    let output = ssh.run(node, script, CHANGE_DEADLINE).await.map_err(|error| error.to_failure())?;
    // Before this line nothing was asked of HAProxy.
    if !output.stdout.contains("@@before") {
        succeeded(node, "fence", &output)?;
    }
    Ok(output)
}

/// `ask COMMANDS` speaks to the worker, `ask_master` to its master.
fn prelude(socket: &str) -> String {
    format!("LC_ALL=C; export LC_ALL\nSOCKET={}\n{}", quote(socket), include_str!("haproxy/prelude.sh"))
}

fn refused(what: String, detail: String) -> Failure {
    Failure { kind: FailureKind::LoadBalancerRefused, what, detail }
}

fn unknown_node(node: &HostName) -> Failure {
    Failure {
        kind: FailureKind::Bug,
        what: format!("{node} is in no load balancer of the accepted revision"),
        detail: String::new(),
    }
}

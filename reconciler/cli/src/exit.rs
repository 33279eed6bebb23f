//! Every exit code of `reconcile`, in one place.

use std::process::ExitCode;

use engine::Report;
use model::{Reason, Standing};

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Actual equals desired, there is nothing to do, or the command did what was asked.
    Done = 0,
    /// Steps would start, or are under way.
    Pending = 2,
    /// Nothing moves until the surroundings change or a person acts.
    Waiting = 3,
    /// The command line or the service's own file is wrong.
    Usage = 64,
    /// The desired state is not valid.
    Invalid = 65,
    /// A host, a load balancer, a repository, a file or the service cannot be reached.
    Unreachable = 69,
    /// A bug in `reconcile`.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<Standing> for Exit {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Converged => Self::Done,
            Standing::Moving => Self::Pending,
            Standing::Waiting | Standing::Halted => Self::Waiting,
        }
    }
}

/// What git shows and is not in force is not done, however well the fleet stands.
impl From<&Reason> for Exit {
    fn from(obstacle: &Reason) -> Self {
        match obstacle {
            Reason::SourceUnavailable { .. } => Self::Unreachable,
            _ => Self::Waiting,
        }
    }
}

impl From<&Report> for Exit {
    fn from(report: &Report) -> Self {
        let git = report.obstacle.iter().map(Self::from);
        let environments = report.environments.values().map(|environment| {
            if environment.refused_plan.is_empty() { environment.standing.into() } else { Self::Bug }
        });
        git.chain(environments).fold(Self::Done, Self::or_worse)
    }
}

impl Exit {
    /// The worse of the two: a later one in the table of codes says more.
    #[must_use]
    pub fn or_worse(self, other: Self) -> Self {
        self.max(other)
    }
}

/// A panic is a bug: it is told with its place, and ends the process with 70 once its task has ended.
///
/// A panic inside a step does not end the service: the executor turns it into a failure of kind `bug`.
pub(crate) fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("error: this is a bug in reconcile, please report it: {panic}");
        eprintln!("{}", std::backtrace::Backtrace::capture());
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_converged_fleet_under_a_commit_that_is_refused_is_not_done() {
        let mut report = crate::render::samples::report();
        report.environments.values_mut().for_each(|environment| environment.standing = Standing::Converged);
        report.obstacle = None;
        assert_eq!(Exit::from(&report), Exit::Done);
        let (commit, error) = (model::CommitId::new("c0ffee"), "unknown key".to_owned());
        report.obstacle = Some(Reason::RevisionInvalid { commit, error, errors: 1 });
        assert_eq!(Exit::from(&report), Exit::Waiting);
        let environment = report.environments.values_mut().next().expect("the sample has one");
        environment.refused_plan.push(crate::render::samples::finding());
        assert_eq!(Exit::from(&report), Exit::Bug);
    }

    #[test]
    fn a_halted_environment_outweighs_one_that_moves() {
        let both = [Standing::Moving, Standing::Halted, Standing::Converged];
        let worst = both.into_iter().map(Exit::from).fold(Exit::Done, Exit::or_worse);
        assert_eq!(worst, Exit::Waiting);
    }
}

//! The person on call: reads status, and does what it asks a person to do. Nothing else.

use engine::{Report, Request, Word};
use model::{
    Allow, Direction, EnvironmentName, Event, HostName, Reason, Recorded, Requirement, StepId, Subject,
    Track, Version,
};
use tokio::sync::oneshot;

use crate::proof::happening::{Deed, What};
use crate::proof::life::Life;
use crate::proof::scenario::Scenario;
use crate::proof::troubles::one_of;

impl Life<'_> {
    /// What the service says of itself; none: it is not there, or does not answer.
    pub(crate) async fn report(&self) -> Option<Report> {
        let handle = self.process.as_ref()?.handle.clone();
        let (reply, answer) = oneshot::channel();
        handle.requests.send(Request::Report { reply }).await.ok()?;
        let report = answer.await.ok()?;
        self.world.tells_reasons(report.obstacle.iter());
        for environment in report.environments.values() {
            self.world.tells_reasons(environment.plan.waiting.iter().map(|waiting| &waiting.reason));
        }
        Some(report)
    }

    /// A word about production. Whatever is answered, it was said.
    pub(crate) async fn says(&self, word: Word) {
        self.says_of(&Self::production(), word).await;
    }

    async fn says_of(&self, environment: &EnvironmentName, word: Word) {
        let Some(handle) = self.process.as_ref().map(|process| process.handle.clone()) else { return };
        if word == Word::Retry {
            self.world.person_asks_again(environment);
        }
        let (reply, answer) = oneshot::channel();
        let (by, reason) = ("ada".to_owned(), "on call".to_owned());
        let request = Request::Say { environment: environment.clone(), word, by, reason, reply };
        if handle.requests.send(request).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Does what the reasons ask for that only a person ends.
    pub(crate) async fn is_looked_after(&self) {
        let Some(report) = self.report().await else { return };
        if let Some(Reason::HistoryRewritten { found, .. }) = &report.obstacle {
            self.accepts(found.clone()).await;
        }
        for (name, environment) in &report.environments {
            for waiting in &environment.plan.waiting {
                self.answers(name, &waiting.subject, &waiting.reason).await;
                self.gives_back(&waiting.reason);
            }
        }
    }

    /// Whoever lost a journal, had two services, or declared a node out, is asked whose the drains are that nobody knows of.
    fn gives_back(&self, reason: &Reason) {
        if let Reason::ForeignDrain { rows } = reason {
            let unknown = rows.iter().filter(|row| self.journal_lacks || self.was_declared_out(&row.node));
            unknown.for_each(|row| self.world.person_sets(row, model::Admin::Ready));
        }
    }

    fn was_declared_out(&self, node: &HostName) -> bool {
        let Scenario { shape, happenings, .. } = self.scenario;
        happenings.iter().any(|happening| match happening.what {
            What::Deed(Deed::NodeOut, which) => one_of(shape.nodes(), which) == *node,
            _ => false,
        })
    }

    async fn answers(&self, environment: &EnvironmentName, subject: &Subject, reason: &Reason) {
        match reason {
            Reason::Halted { .. } | Reason::CheckFailed { .. } | Reason::MigrationFailed { .. } => {
                self.says_of(environment, Word::Retry).await;
            }
            Reason::JobInDoubt { step } => {
                self.settles(subject, step);
                self.says_of(environment, Word::Retry).await;
            }
            Reason::DirectionUnknown { .. } => {
                self.edits_of(environment, |desired| desired.direction = Some(Direction::Forward));
            }
            Reason::PastPostMigration { version, .. } => {
                let (past_post_migrations_of, reason) = (version.clone(), "on call".to_owned());
                let allow = Allow { past_post_migrations_of, reason };
                self.edits_of(environment, |desired| desired.exceptions.allow = Some(allow));
            }
            Reason::BelowFloor(_) => self.takes_out_what_is_half_upgraded(subject),
            Reason::Paused { .. } => self.says_of(environment, Word::Resume).await,
            Reason::JournalLost { .. } | Reason::ClaimedByOther { .. } | Reason::RunningUnknown { .. } => {
                self.says_of(environment, Word::Adopt).await;
            }
            Reason::PromotionRequired { version, requires: Requirement::Environment(of) }
                if self.was_found_running(of, version) =>
            {
                self.says_of(of, Word::Verify { track: Track::Main, version: version.clone() }).await;
            }
            _ => {}
        }
    }

    /// What ran when a fleet was adopted passes no stage there any more. That it had passed before is known to nobody but the
    /// people who lost the record of it.
    fn was_found_running(&self, environment: &EnvironmentName, version: &Version) -> bool {
        let found = |recorded: &Recorded| {
            matches!(&recorded.event, Event::Adopted { environment: of, running, .. }
                if of == environment && running.contains(version))
        };
        self.journal_lacks && self.journal.events().iter().any(found)
    }

    /// A host that somebody made ready in the middle of its upgrade can neither come back nor, where others are out, leave.
    fn takes_out_what_is_half_upgraded(&self, subject: &Subject) {
        if let Subject::Host(host) = subject {
            self.world.person_takes_out_half_upgraded(host);
        }
    }

    fn settles(&self, subject: &Subject, step: &StepId) {
        if let Subject::Host(host) = subject {
            self.world.person_settles(host, step);
        }
    }

    async fn accepts(&self, commit: model::CommitId) {
        let Some(handle) = self.process.as_ref().map(|process| process.handle.clone()) else { return };
        let (reply, answer) = oneshot::channel();
        let (by, reason) = ("ada".to_owned(), "on call".to_owned());
        if handle.requests.send(Request::AcceptHistory { commit, by, reason, reply }).await.is_ok() {
            let _ = answer.await;
        }
    }
}

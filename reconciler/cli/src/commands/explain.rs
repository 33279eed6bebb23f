//! `explain`: the one reason why an environment or a host is not converged.

use engine::{EnvironmentReport, Report};
use model::{EnvironmentName, HostName, Subject, Waiting};

use crate::args::{CommandLine, Explain};
use crate::config::Config;
use crate::documents::{DOCUMENT_FORMAT, Explanation};
use crate::error::CliError;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::{output, render};

pub(super) async fn explain(line: &CommandLine, args: &Explain) -> Result<Exit, CliError> {
    let config = Config::read(&line.config)?;
    let report = super::status::report(&config, Some(&args.subject)).await?;
    let explanation = explanation(&report, &args.subject)?;
    if line.json {
        output::json(&explanation)?;
    } else {
        output::data(&render::explain::explain(&explanation, Paint::stdout()))?;
    }
    let git = report.obstacle.iter().map(Exit::from).fold(Exit::Done, Exit::or_worse);
    let refused = report.environments.get(&explanation.environment);
    let bug = refused.filter(|environment| !environment.refused_plan.is_empty()).map(|_| Exit::Bug);
    Ok(git.or_worse(explanation.standing.into()).or_worse(bug.unwrap_or(Exit::Done)))
}

/// An environment of that name comes before a host of that name.
fn explanation(report: &Report, subject: &str) -> Result<Explanation, CliError> {
    if let Some((name, environment)) = report.environments.get_key_value(subject) {
        return Ok(of(report, name, environment, None));
    }
    let has = |environment: &EnvironmentReport| knows(environment, &subject.into());
    match report.environments.iter().find(|(_, environment)| has(environment)) {
        Some((name, environment)) => Ok(of(report, name, environment, Some(subject.into()))),
        None => {
            let known: Vec<&str> = report.environments.keys().map(EnvironmentName::as_str).collect();
            Err(CliError::new(Exit::Usage, format!("{subject} is no environment and no host of one"))
                .hint(format!("environments: {}; `reconcile status` lists the hosts", known.join(", "))))
        }
    }
}

/// A host of a role, or one of none that runs migrations and checks and is worked on or waited for.
fn knows(environment: &EnvironmentReport, host: &HostName) -> bool {
    let waits = |waiting: &Waiting| waiting.subject == Subject::Host(host.clone());
    environment.hosts.iter().any(|known| known.host == *host)
        || environment.plan.waiting.iter().any(waits)
        || environment.in_flight.iter().any(|in_flight| in_flight.step.host == *host)
}

fn of(
    report: &Report,
    name: &EnvironmentName,
    environment: &EnvironmentReport,
    host: Option<HostName>,
) -> Explanation {
    let (waiting, obstacle) = primary(report, environment, host.as_ref());
    let on_subject = |step: &&model::InFlight| host.as_ref().is_none_or(|host| step.step.host == *host);
    let mut also: Vec<String> =
        obstacle.iter().map(|it| format!("{} ({})", it.reason, it.reason.ends())).collect();
    if !environment.refused_plan.is_empty() {
        also.push(render::REFUSED.to_owned());
        also.extend(render::findings(&environment.refused_plan));
    }
    also.extend(report.journal_error.iter().map(|error| format!("nothing starts: {error}")));
    Explanation {
        format: DOCUMENT_FORMAT,
        at: report.at,
        environment: name.clone(),
        standing: environment.standing,
        target: environment.plan.target.clone(),
        commit: environment.plan.commit.clone(),
        ended_by: waiting.as_ref().map(|waiting| waiting.reason.ended_by()),
        ends: waiting.as_ref().map(|waiting| waiting.reason.ends()),
        waiting,
        in_flight: environment.in_flight.iter().filter(on_subject).cloned().collect(),
        converged_at: environment.converged_at,
        also,
        host,
    }
}

/// The fleet's reason or git's, whichever a person has to do more about; then the other one of git, if it was not it.
fn primary(
    report: &Report,
    environment: &EnvironmentReport,
    host: Option<&HostName>,
) -> (Option<Waiting>, Option<Waiting>) {
    let own = environment.explain(host).cloned();
    let since = report.read_at.unwrap_or(report.at);
    let git = report.obstacle.clone().map(|reason| Waiting { subject: Subject::Environment, reason, since });
    let urgency = |waiting: &Option<Waiting>| waiting.as_ref().map(|waiting| waiting.reason.ended_by());
    match (urgency(&own), urgency(&git)) {
        (None, Some(_)) => (git, None),
        (Some(own), Some(of_git)) if host.is_none() && of_git < own => (git, None),
        _ => (own, git),
    }
}

#[cfg(test)]
mod tests {
    use model::{CommitId, Reason};

    use super::*;
    use crate::render::samples;

    fn reason(explanation: &Explanation) -> &Reason {
        &explanation.waiting.as_ref().unwrap().reason
    }

    #[test]
    fn a_host_without_a_reason_of_its_own_has_its_roles() {
        let explanation = explanation(&samples::report(), "web-02").unwrap();
        assert_eq!(explanation.host, Some("web-02".into()));
        assert!(matches!(reason(&explanation), Reason::EarlierRole { .. }), "{explanation:?}");
        assert!(explanation.in_flight.is_empty(), "web-01 is the one that is worked on");
    }

    #[test]
    fn a_rewritten_history_outweighs_what_ends_by_itself() {
        let mut report = samples::report();
        let (accepted, found) = (CommitId::new("aaaaaaaaaaaa"), CommitId::new("bbbbbbbbbbbb"));
        report.obstacle = Some(Reason::HistoryRewritten { accepted, found });
        let explanation = explanation(&report, "production").unwrap();
        assert!(matches!(reason(&explanation), Reason::HistoryRewritten { .. }), "{explanation:?}");
        assert_eq!(explanation.also, Vec::<String>::new());
    }

    #[test]
    fn an_unreachable_remote_is_told_beside_the_fleets_own_reason() {
        let explanation = explanation(&samples::report(), "production").unwrap();
        assert!(matches!(reason(&explanation), Reason::EarlierRole { .. }), "{explanation:?}");
        assert!(explanation.also[0].starts_with("the git remote cannot be read"), "{explanation:?}");
    }

    #[test]
    fn a_plan_that_would_break_a_promise_is_told_beside_the_reason() {
        let mut report = samples::report();
        report.obstacle = None;
        report.environments.values_mut().for_each(|it| it.refused_plan.push(samples::finding()));
        let explanation = explanation(&report, "production").unwrap();
        assert_eq!(explanation.also[0], render::REFUSED);
        assert!(explanation.also[1].starts_with("S3: install of web-01"), "{explanation:?}");
    }

    #[test]
    fn a_name_that_nobody_has_is_a_usage_error() {
        assert_eq!(explanation(&samples::report(), "web-99").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_host_of_no_role_is_known_while_it_is_worked_on() {
        let mut report = samples::report();
        let environment = report.environments.values_mut().next().unwrap();
        environment.in_flight[0].step.host = "deploy-01".into();
        assert_eq!(explanation(&report, "deploy-01").unwrap().in_flight.len(), 1);
    }

    #[test]
    fn a_host_whose_stage_waits_has_the_stages_reason() {
        let mut report = samples::report();
        let environment = report.environments.values_mut().next().unwrap();
        let reason = Reason::EarlierStage { stage: "migrations".into() };
        let since = environment.plan.waiting[0].since;
        environment.plan.waiting[0].subject = Subject::Environment;
        environment.plan.waiting.push(Waiting { subject: Subject::Stage("deploy".into()), reason, since });
        let explanation = explanation(&report, "web-02").unwrap();
        assert!(matches!(self::reason(&explanation), Reason::EarlierStage { .. }), "{explanation:?}");
    }
}

//! Gates: judged on readings that are recent, newer than what they judge, and green for long enough.

use jiff::{SignedDuration, Timestamp};
use model::{Event, Fact, Gate, GateName, GateQuestion, GateState, Reason, Scope, Stage, Verdict};

use crate::next::Wait;
use crate::survey::Survey;
use crate::tuning::GATE_REFRESH;

/// Whether the gates of a stage let it go on.
///
/// # Errors
/// The first gate that does not, as a wait that keeps it under watch.
pub(crate) fn judge(survey: &Survey<'_>, stage: &Stage) -> Result<(), Wait> {
    judge_since(survey, stage, None)
}

/// As [`judge`], on readings that began at `from` or later, plus each gate's settle time.
pub(crate) fn judge_since(survey: &Survey<'_>, stage: &Stage, from: Option<Timestamp>) -> Result<(), Wait> {
    blocking(survey, stage).try_for_each(|(name, gate)| judge_one(survey, name, gate, from))
}

/// The gates of a stage that may stop it.
fn blocking<'a>(survey: &Survey<'a>, stage: &'a Stage) -> impl Iterator<Item = (&'a GateName, &'a Gate)> {
    let gates = &survey.desired.fleet.policy.gates;
    stage.gates.iter().filter_map(|name| Some((name, gates.get(name)?))).filter(|(_, gate)| !gate.observe)
}

fn judge_one(survey: &Survey<'_>, name: &GateName, gate: &Gate, from: Option<Timestamp>) -> Result<(), Wait> {
    let scopes = [scope(survey, name)].into();
    let counts = |fact: &&Fact<GateState>| from.is_none_or(|from| fact.at >= from + gate.settle);
    let fresh = survey.age(&scope(survey, name)).1;
    let Some(fact) = survey.observed.gates.get(name).filter(counts).filter(|_| fresh) else {
        let wait = Wait::new(Reason::FreshFacts).reading(scopes);
        return Err(match from.map(|from| from + gate.settle).filter(|from| *from > survey.now) {
            Some(from) => Wait::new(Reason::GateQuiet { gate: name.clone(), until: from }).until(from),
            None => wait,
        });
    };
    let (verdict, value, since) = match &fact.value {
        Ok(state) => (state.verdict, state.value.clone(), state.since),
        Err(unknown) => (Verdict::Error, unknown.detail.clone(), fact.at),
    };
    if !is_green(gate, verdict) {
        let (query, threshold) = question(gate);
        let reason = Reason::GateNotGreen { gate: name.clone(), verdict, query, value, threshold };
        return Err(Wait::new(reason).since(since).watching(scopes, GATE_REFRESH));
    }
    let until = since + gate.quiet_for;
    if survey.now < until {
        let reason = Reason::GateQuiet { gate: name.clone(), until };
        return Err(Wait::new(reason).since(since).until(until).watching(scopes, GATE_REFRESH));
    }
    Ok(())
}

fn is_green(gate: &Gate, verdict: Verdict) -> bool {
    verdict == Verdict::Green || (verdict == Verdict::NoData && gate.no_data_is_green)
}

/// What is asked, and what would be green, for people.
fn question(gate: &Gate) -> (String, String) {
    match &gate.asks {
        GateQuestion::Alertmanager { matchers, .. } => (matchers.join(", "), "no such alert".to_owned()),
        GateQuestion::Prometheus { query, threshold, .. } => (query.clone(), threshold.to_string()),
    }
}

/// Whether any gate of a stage is known not to be green, by a reading that is recent.
pub(crate) fn red(survey: &Survey<'_>, stage: &Stage) -> Option<GateName> {
    let known_red = |(name, gate): &(&GateName, &Gate)| {
        let fresh = survey.age(&scope(survey, name)).1;
        let fact = survey.observed.gates.get(*name).filter(|_| fresh);
        fact.is_some_and(|fact| !fact.known().is_some_and(|state| is_green(gate, state.verdict)))
    };
    blocking(survey, stage).find(known_red).map(|(name, _)| name.clone())
}

/// The longest settle time of a stage's gates.
pub(crate) fn settle(survey: &Survey<'_>, stage: &Stage) -> SignedDuration {
    blocking(survey, stage).map(|(_, gate)| gate.settle).max().unwrap_or(SignedDuration::ZERO)
}

/// When the last of a stage's gates turned green, as the journal remembers.
pub(crate) fn green_since(survey: &Survey<'_>, stage: &Stage) -> Option<Timestamp> {
    let turns = &survey.history.progress.gates;
    blocking(survey, stage).filter_map(|(name, _)| turns.get(name)).map(|turn| turn.at).max()
}

/// What is asked of the world.
pub(crate) fn scope(survey: &Survey<'_>, gate: &GateName) -> Scope {
    Scope::Gate(survey.desired.environment.clone(), gate.clone())
}

/// Gates that say something else than the journal knows.
pub(crate) fn turned(survey: &Survey<'_>) -> Vec<Event> {
    let turns = &survey.history.progress.gates;
    let seen = survey.observed.gates.iter().filter_map(|(name, fact)| Some((name, fact.known()?)));
    let news = seen.filter(|(name, state)| turns.get(*name).is_none_or(|turn| turn.verdict != state.verdict));
    news.map(|(name, state)| Event::GateTurned {
        environment: survey.desired.environment.clone(),
        gate: name.clone(),
        verdict: state.verdict,
        value: state.value.clone(),
    })
    .collect()
}

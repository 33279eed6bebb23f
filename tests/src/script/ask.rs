//! What people ask of the running service, and say to it.

use std::fmt::Write as _;

use engine::{Report, Request, Word};
use model::{HostName, Track};
use tokio::sync::oneshot;

use super::commits::reason;
use super::told::timeless;
use super::{Stage, parse};

/// Who asks.
pub(super) const PERSON: &str = "ada";

/// Since when, as roughly as luck allows: no wait is longer or shorter by it.
fn since(time: jiff::SignedDuration) -> String {
    match time.as_secs() {
        ..10 => "just now".to_owned(),
        10..60 => "for some seconds".to_owned(),
        60..3600 => "for some minutes".to_owned(),
        _ => "for hours".to_owned(),
    }
}

impl Stage {
    pub(super) async fn report(&mut self) -> Report {
        let requests = self.serve().requests.clone();
        let (reply, answer) = oneshot::channel();
        requests.send(Request::Report { reply }).await.expect("the service runs");
        answer.await.expect("the service answers")
    }

    pub(super) async fn explain(&mut self, host: Option<&str>) -> String {
        let report = self.report().await;
        let mut out = String::new();
        if let Some(obstacle) = &report.obstacle {
            let _ = writeln!(
                out,
                "  source: {}\n    {}",
                timeless(&obstacle.to_string()),
                timeless(&obstacle.ends())
            );
        }
        let environment = report.environments.get(&self.current).expect("it was planned");
        let host = host.map(HostName::new);
        match environment.explain(host.as_ref()) {
            Some(waiting) => {
                let (reason, ends) =
                    (timeless(&waiting.reason.to_string()), timeless(&waiting.reason.ends()));
                let since = since(report.at.duration_since(waiting.since));
                let _ = writeln!(out, "  {}: {reason}\n    {since}; {ends}", waiting.subject);
            }
            None => out.push_str("  nothing waits\n"),
        }
        out
    }

    /// `run until waiting TEXT`: until something waits with this in its text, which is then told, with what ends it.
    pub(super) async fn run_until_waiting(&mut self, text: &str) -> String {
        let found = tokio::time::timeout(super::LONGEST_RUN, async {
            loop {
                let report = self.report().await;
                let environment = report.environments.get(&self.current);
                let mut waiting = environment.iter().flat_map(|environment| &environment.plan.waiting);
                if let Some(found) = waiting.find(|waiting| waiting.reason.to_string().contains(text)) {
                    let reason = timeless(&found.reason.to_string());
                    return format!(
                        "  {}: {reason}\n    {}\n",
                        found.subject,
                        timeless(&found.reason.ends())
                    );
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
        let found = found.await.unwrap_or_else(|_| panic!("nothing ever waits with `{text}`"));
        self.told_since() + &found
    }

    /// `waiting`: everything that waits, the primary reason first.
    pub(super) async fn waiting(&mut self) -> String {
        let report = self.report().await;
        let environment = report.environments.get(&self.current).expect("it was planned");
        let line = |waiting: &model::Waiting| {
            format!("  {}: {}\n", waiting.subject, timeless(&waiting.reason.to_string()))
        };
        environment.plan.waiting.iter().map(line).collect()
    }

    pub(super) async fn status(&mut self) -> String {
        let report = self.report().await;
        let environment = report.environments.get(&self.current).expect("it was planned");
        let mut out = String::new();
        for host in &environment.hosts {
            let (serving, rows) = host.in_rotation;
            let claimed = if host.claimed { ", claimed" } else { "" };
            let installed = host.installed.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
            let _ = writeln!(
                out,
                "  {} has {installed}, runs {}, {}; {serving} of {rows} rows{claimed}",
                host.host,
                host.running,
                timeless(&host.health)
            );
        }
        out
    }

    /// `tracks`: where each track goes, and how far its stages are.
    pub(super) async fn tracks(&mut self) -> String {
        let report = self.report().await;
        let environment = report.environments.get(&self.current).expect("it was planned");
        let mut out = String::new();
        for track in &environment.plan.tracks {
            let emergency =
                track.emergency.as_ref().map_or_else(String::new, |why| format!(", emergency: {why}"));
            let _ = writeln!(out, "  {} {} to {}{emergency}", track.track, track.direction, track.target);
            for stage in &track.stages {
                let standing = format!("{:?}", stage.standing);
                let standing = standing.split([' ', '{']).next().unwrap_or_default().to_lowercase();
                let _ = writeln!(out, "    {}: {standing}", stage.stage);
            }
        }
        out
    }

    /// `retry`, `pause for TIME`, `resume`, `verify [canary] VERSION`, `adopt`; each with `because …`. What the service
    /// refuses is told.
    pub(super) async fn say(&mut self, words: &[&str]) -> String {
        let (words, reason) = reason(words);
        let word = match words {
            ["retry"] => Word::Retry,
            ["pause", "for", time] => Word::Pause { lasts: time.parse().expect("a duration") },
            ["resume"] => Word::Resume,
            ["verify", "canary", version] => Word::Verify { track: Track::Canary, version: parse(version) },
            ["verify", version] => Word::Verify { track: Track::Main, version: parse(version) },
            ["adopt"] => Word::Adopt,
            other => panic!("no command: {}", other.join(" ")),
        };
        let (reply, answer) = oneshot::channel();
        let environment = self.current.clone();
        let request = Request::Say { environment, word, by: PERSON.into(), reason, reply };
        self.serve().requests.send(request).await.expect("the service runs");
        match answer.await.expect("the service answers") {
            Ok(()) => String::new(),
            Err(refusal) => format!("  refused: {}\n", timeless(&refusal)),
        }
    }

    pub(super) async fn accept_history(&mut self) -> String {
        let (reply, answer) = oneshot::channel();
        let commit = self.before_rewrite.clone().expect("history was rewritten");
        let request = Request::AcceptHistory { commit, by: PERSON.into(), reason: "agreed".into(), reply };
        self.serve().requests.send(request).await.expect("the service runs");
        answer.await.expect("the service answers").expect("it is accepted");
        String::new()
    }
}

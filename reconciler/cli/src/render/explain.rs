//! The one reason why an environment or a host is not converged.

use std::fmt::Write;

use model::{EndedBy, Reason};

use super::{clean, failure_in, length, moment, one_line, standing};
use crate::documents::Explanation;
use crate::paint::Paint;

/// Subject, reason, since when, who or what ends it.
pub(crate) fn explain(explanation: &Explanation, paint: Paint) -> String {
    let Explanation { environment, host, target, commit, waiting, ends, in_flight, at, .. } = explanation;
    let mut text = String::new();
    let subject = host
        .as_ref()
        .map_or_else(|| paint.bold(environment), |host| format!("{} in {environment}", paint.bold(host)));
    let _ = writeln!(text, "{subject}: {}", standing(explanation.standing, paint));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9}  {value}");
    };
    line("wants", &format!("{target} at {}", commit.short()));
    match waiting {
        Some(waiting) => {
            line("reason", &format!("{}: {}", waiting.subject, one_line(&waiting.reason.to_string())));
            let ago = length(at.duration_since(waiting.since));
            let label = if is_of_git(&waiting.reason) { "seen" } else { "since" };
            line(label, &format!("{} ({ago} ago)", moment(waiting.since)));
            for (name, words) in facts(&waiting.reason) {
                line(name, &one_line(&words));
            }
            line("next", ends.as_deref().unwrap_or_default());
            line("ended by", who(&waiting.reason));
            let detail = failure_in(&waiting.reason).map_or("", |failure| failure.detail.as_str());
            for (place, words) in clean(detail).lines().enumerate() {
                line(if place == 0 { "detail" } else { "" }, words);
            }
        }
        None => match explanation.converged_at {
            Some(since) => line("since", &moment(since)),
            None => line("reason", "nothing waits"),
        },
    }
    for step in in_flight {
        let (kind, since) = (step.step.action.kind(), length(at.duration_since(step.since)));
        line("under way", &format!("{} {kind} for {since}", step.step.host));
    }
    for also in &explanation.also {
        line("also", &one_line(also));
    }
    text
}

fn who(reason: &Reason) -> &'static str {
    match reason.ended_by() {
        EndedBy::Person if reason.until().is_some() => "time; earlier by a person",
        EndedBy::Person => "a person",
        EndedBy::World => "the surroundings",
        EndedBy::Itself => "itself: it is work in progress",
        EndedBy::Nobody => "nobody has to: it holds nothing up",
    }
}

/// What the reason's one line does not tell as clearly.
fn facts(reason: &Reason) -> Vec<(&'static str, String)> {
    let mut facts = match reason {
        Reason::GateNotGreen { gate, verdict, query, value, threshold } => vec![
            ("gate", gate.to_string()),
            ("verdict", verdict.to_string()),
            ("query", query.clone()),
            ("value", value.clone()),
            ("green is", threshold.clone()),
        ],
        Reason::CheckFailed { key, .. } | Reason::MigrationFailed { key, .. } => {
            vec![("job", key.to_string())]
        }
        Reason::Draining { row, then, .. } => vec![("row", row.to_string()), ("then", then.to_string())],
        Reason::Budget { out, .. } => {
            vec![("out", out.iter().map(|host| host.as_str()).collect::<Vec<_>>().join(", "))]
        }
        _ => Vec::new(),
    };
    facts.extend(reason.until().map(|until| ("until", moment(until))));
    facts
}

/// Git is asked again and again: what is known is when it last answered so.
fn is_of_git(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::SourceUnavailable { .. } | Reason::HistoryRewritten { .. } | Reason::RevisionInvalid { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{samples, samples_of_reasons};

    #[test]
    fn a_halted_environment_says_what_failed_and_what_a_person_can_do() {
        insta::assert_snapshot!(explain(&samples::halted(), Paint::plain()), @r"
        production: halted
          wants      1.1.0-1 at 1f2e3d4c5b
          reason     gitaly-01: 1.1.0-1 failed three times and is halted: gitaly-01: install failed (100)
          since      2026-11-22 12:00:05Z (2m 0s ago)
          next       revert the commit, commit another version, or `reconcile retry`
          ended by   a person
          detail     E: Sub-process /usr/bin/dpkg returned an error code (1)
                     E:  [31mstore [0m
          under way  web-01 drain for 5.0 s
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn a_converged_environment_says_since_when() {
        let mut explanation = samples::halted();
        explanation.standing = model::Standing::Converged;
        (explanation.waiting, explanation.ends) = (None, None);
        explanation.in_flight.clear();
        explanation.converged_at = Some(samples::at(60));
        insta::assert_snapshot!(explain(&explanation, Paint::plain()), @r"
        production: converged
          wants      1.1.0-1 at 1f2e3d4c5b
          since      2026-11-22 12:01:00Z
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn a_red_gate_says_what_was_asked_what_was_answered_and_what_would_be_green() {
        let mut explanation = samples::halted();
        let reason = Reason::GateNotGreen {
            gate: "errors".into(),
            verdict: model::Verdict::Red,
            query: "rate(errors[5m])".into(),
            value: "0.031".into(),
            threshold: "below 0.01".into(),
        };
        explanation.ends = Some(reason.ends());
        explanation.waiting.as_mut().unwrap().reason = reason;
        insta::assert_snapshot!(explain(&explanation, Paint::plain()), @r"
        production: halted
          wants      1.1.0-1 at 1f2e3d4c5b
          reason     gitaly-01: gate errors is red: rate(errors[5m]) gives 0.031; green is below 0.01
          since      2026-11-22 12:00:05Z (2m 0s ago)
          gate       errors
          verdict    red
          query      rate(errors[5m])
          value      0.031
          green is   below 0.01
          next       ends when the gate is green again; or revert the commit
          ended by   the surroundings
          under way  web-01 drain for 5.0 s
          also       the git remote cannot be read: timed out
        ");
    }

    #[test]
    fn every_reason_is_explained_with_who_or_what_ends_it() {
        let lines = samples_of_reasons::every()
            .into_iter()
            .map(|reason| format!("{reason}\n    {}: {}", who(&reason), reason.ends()));
        let text: String = lines.collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(text, @r#"
        is being looked at
            itself: it is work in progress: ends by itself, at the next reading
        install is under way (g3-7-web-01-install)
            itself: it is work in progress: ends when the job ends
        install has been under way for more than 15m (g3-7-web-01-install)
            the surroundings: look at it on the host: systemctl status reconcile-g3-7-web-01-install; it is never killed by us
        a job from before the restart still runs (g3-7-web-01-install)
            itself: it is work in progress: ends when the job ends
        job g3-7-web-01-install began, has no recorded end and does not run
            a person: look at /var/lib/reconcile/jobs/g3-7-web-01-install on the host, then `reconcile retry`
        unreachable: Connection refused
            the surroundings: ends when it answers again
        load balancer node fe-01 is shows another host key: Connection refused
            the surroundings: verify the new host key with its owner, then replace it in known_hosts
        no server row web/web-01 on fe-01
            a person: mend the load balancer's configuration, or the role's backends
        server row web/web-01 on fe-01 points to 192.0.2.7, which is not this host
            a person: mend the load balancer's configuration, or the role's backends
        role store comes first
            itself: it is work in progress: ends when those are done
        packages are being downloaded first (3 hosts to go)
            itself: it is work in progress: ends when those are done
        2 of at most 2 hosts are out: web-01, web-02
            itself: it is work in progress: ends when one of them is back
        20 hosts are being worked on, as many as may be
            itself: it is work in progress: ends when one of them is back
        backend fe/web has 3 servers in rotation on fe-01 and must keep 3
            the surroundings: ends when more servers of it are in rotation
        waits for 4 sessions, most of them in web/web-01 on fe-01; at 12:10:00Z wait
            itself: it is work in progress: ends with the sessions, or at the drain's deadline
        sessions did not end in time; given back, drained again at 12:10:00Z
            the surroundings: tried again by itself; at once with `reconcile retry`
        install: it ended with 1; attempt 2, again at 12:10:00Z
            the surroundings: tried again by itself; at once with `reconcile retry`
        1.5.0 failed three times and is halted: it ended with 1
            a person: revert the commit, commit another version, or `reconcile retry`
        web-01 failed with 1.5.0: it ended with 1
            the surroundings: ends when that host is well; or revert the commit, or commit another version
        not healthy yet (503); has until 12:10:00Z
            itself: it is work in progress: ends when the health check passes, or at its deadline
        not healthy: 503
            nobody has to: it holds nothing up: ends when the host is mended; it counts as out until then
        server row web/web-01 on fe-01 is UP 1/3, not UP yet
            itself: it is work in progress: ends when the load balancer's own check passes
        taken out by somebody else: web/web-01 on fe-01
            nobody has to: it holds nothing up: ends when whoever took it out makes it ready
        claimed by service deploy-02, generation 4
            a person: stop one of the two services; a claim is in /var/lib/reconcile/claim.json
        1.5.0 was never a target, and sorts below 1.5.0-rc1, which runs: forward or back?
            a person: write `direction = "forward"` or `"back"` beside the version in release.toml
        mode is report: 7 steps would start
            a person: set `mode = "reconcile"` in environment.toml
        the last server of backend fe/web would have to go
            a person: add a server to the backend, or set `allow_outage = true` on the role
        1.5.0 is vetoed: load test
            a person: commit another version, or take the veto out of release.toml
        held (canary) until 2026-11-22 12:10Z: load test
            time; earlier by a person: ends by itself at that time
        paused by Ada until 2026-11-22 12:10Z: load test
            time; earlier by a person: ends at that time, or with `reconcile resume`
        frozen until 2026-11-22 12:10Z: weekend
            the surroundings: ends by itself at that time
        stage fleet would take 1h 30m and not finish before the freeze at 2026-11-22 12:10Z: weekend
            the surroundings: starts after the freeze; or a person moves the freeze, or makes it an emergency
        gate errors is no data: rate(errors[5m]) gives nothing; green is below 0.01
            the surroundings: ends when the gate is green again; or revert the commit
        gate alerts is green, and counts from 12:10:00Z
            itself: it is work in progress: ends by itself at that time, if the gates stay green
        the work of stage fleet is done; watched until 12:10:00Z
            itself: it is work in progress: ends by itself at that time, if the gates stay green
        check qa after stage fleet of 1.5.0 failed: it ended with 1
            a person: commit another version; or `reconcile retry` runs the check again
        migrations of 1.5.0 failed: it ended with 1
            a person: mend it by hand or commit another version, then `reconcile retry` runs the migrations again
        1.5.0 has not passed environment staging
            the surroundings: ends when it has passed environment staging; or a person says so: `reconcile verify`
        stage store comes first
            itself: it is work in progress: ends when that is done
        main is on its way to 1.4.3; the canary takes nothing new meanwhile
            itself: it is work in progress: ends when that is done
        1.4.2 lies before the post-deployment migrations of 1.5.0, which began at 2026-11-22 12:00Z
            a person: go forward; or write [allow] past_post_migrations_of with the reason why it is safe
        the canary's weights on fe-01 go down before a server leaves
            itself: it is work in progress: ends when the weights were read back
        the canary has 1 of 5 percent until 12:10:00Z
            itself: it is work in progress: ends by itself at that time, if the gates stay green
        1.5.0 does not hold the patch patches/fix.patch, which is in force
            a person: commit a version that holds it, or add this one to the patch's incorporated_in
        the configuration agent is in the middle of a run
            the surroundings: ends when the run ends; it is never killed by us
        web-01 remembers generation 4, which this journal does not know: it was lost
            a person: a person looks, and says: `reconcile adopt`
        declared out: INC-812
            nobody has to: it holds nothing up: ends when it leaves release.toml, or at its time
        it is the same machine as web-02 of environment staging, by its machine-id
            a person: take one of the two out of its environment.toml, or give a cloned machine an id of its own
        commit 5a6b7c8d9e is not trusted: it has no signature
            nobody has to: it holds nothing up: push a commit with a trusted signature; the last trusted one stays in force
        the git remote cannot be read: Connection refused
            nobody has to: it holds nothing up: tried again by itself; the last accepted commit stays in force
        history was rewritten: bbbbbbbbbb does not descend from the accepted aaaaaaaaaa
            a person: a person accepts it: `reconcile accept-history bbbbbbbbbbbb --reason …`; or push the old history back
        commit 5a6b7c8d9e is invalid (2 errors): unknown key
            nobody has to: it holds nothing up: push a valid commit (`reconcile check` tells); the last valid one stays in force
        "#);
    }
}

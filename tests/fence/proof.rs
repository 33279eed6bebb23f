//! What hosts and load balancers themselves show of who changed what, and when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use lab::{HostKind, Lab};
use model::{Action, Generation, RowId};

use crate::served::{Served, Told};

/// The administrative state of a row was another one at the end of this time than at its beginning.
pub(crate) struct RowChange {
    row: RowId,
    from: Timestamp,
    to: Timestamp,
    mask: String,
}

/// Everything that a watcher saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) looks: usize,
    pub(crate) rows: Vec<RowChange>,
    /// By host, in order, without repetitions: whose mark it carried.
    pub(crate) claims: BTreeMap<String, Vec<Generation>>,
}

/// Told when the story is over, however it ends: a watcher that outlived a failing story would hang it.
pub(crate) struct StopAtEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The mask of every server row, as HAProxy tells it.
pub(crate) fn masks(lab: &Lab) -> BTreeMap<RowId, String> {
    let mut masks = BTreeMap::new();
    for node in lab.hosts_of(HostKind::LoadBalancer) {
        let state = node.haproxy("show servers state").expect("the load balancer answers");
        let rows = state.lines().skip(2).map(|line| line.split(' ').collect::<Vec<_>>());
        for row in rows.filter(|row| row.len() > 6) {
            let id = RowId { node: node.name().into(), backend: row[1].into(), server: row[3].into() };
            masks.insert(id, row[6].to_owned());
        }
    }
    masks
}

/// Looks at all rows and marks until told to stop.
pub(crate) fn watch(lab: &Lab, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    let mut last = (Timestamp::now(), masks(lab));
    while !stop.load(Ordering::Relaxed) {
        let (began, now) = (Timestamp::now(), masks(lab));
        let to = Timestamp::now();
        let changed = now.iter().filter(|(row, mask)| last.1.get(row) != Some(mask));
        seen.rows.extend(changed.map(|(row, mask)| RowChange {
            row: row.clone(),
            from: last.0,
            to,
            mask: mask.clone(),
        }));
        last = (began, now);
        for host in lab.hosts_of(HostKind::Web) {
            let text = host.run("cat /var/lib/reconcile/claim.json").expect("the host answers").stdout;
            let Ok(claim) = serde_json::from_str::<model::Claim>(&text) else { continue };
            let owners = seen.claims.entry(host.name().to_owned()).or_default();
            if owners.last() != Some(&claim.generation) {
                owners.push(claim.generation);
            }
        }
        seen.looks += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    seen
}

/// When a service had put its mark on each host.
pub(crate) fn claimed(told: &[Told]) -> BTreeMap<String, Timestamp> {
    let mut claimed = BTreeMap::new();
    for told in told.iter().filter(|told| matches!(told.step.action, Action::Claim { .. })) {
        if let Some((at, Ok(_))) = &told.end {
            claimed.entry(told.step.host.to_string()).or_insert(*at);
        }
    }
    claimed
}

/// Changes of rows after the newer service had claimed the host that no step of that service accounts for.
pub(crate) fn unaccounted(seen: &Seen, newer: &[Told]) -> Vec<String> {
    let claimed = claimed(newer);
    let accounts = |told: &Told, change: &RowChange| {
        let touches = told.step.action.rows().is_some_and(|rows| rows.contains(&change.row));
        let over = told.end.as_ref().is_some_and(|(at, _)| *at < change.from);
        touches && told.began <= change.to && !over
    };
    let after =
        |change: &&RowChange| claimed.get(change.row.server.as_str()).is_some_and(|at| *at <= change.from);
    let changes = seen.rows.iter().filter(after);
    let nobodys = changes.filter(|change| !newer.iter().any(|told| accounts(told, change)));
    nobodys.map(|change| format!("{} became {} by {}", change.row, change.mask, change.to)).collect()
}

/// Jobs of an older generation that began on a host after the newer service had claimed it, by their own folders.
pub(crate) fn late_jobs(lab: &Lab, older: Generation, newer: &Served<'_>, after: u64) -> Vec<String> {
    let mut late = Vec::new();
    for (host, at) in claimed(&newer.steps_after(after)) {
        let listing = "cd /var/lib/reconcile/jobs && stat -c '%.6Y %n' */started 2>/dev/null || true";
        let text = lab.host(&host).and_then(|host| host.expect(listing)).expect("the host answers");
        let began = |line: &str| line.split_once(' ')?.0.parse::<f64>().ok();
        let is_older =
            |line: &&str| line.split(' ').nth(1).is_some_and(|name| name.starts_with(&format!("g{older}-")));
        let claimed_s = at.as_duration().as_secs_f64();
        let lines = text.lines().filter(is_older).filter(|line| began(line).is_none_or(|s| s > claimed_s));
        late.extend(lines.map(|line| format!("{host}: {line}")));
    }
    late
}

/// The versions whose install script ran on a host, in order.
pub(crate) fn installs(lab: &Lab, host: &str) -> Vec<String> {
    let log = lab.host(host).and_then(|host| host.expect("cat /var/lib/shop/installs.log"));
    let log = log.expect("the install script has counted");
    log.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// What a lost journal must not change: installs, jobs, marks and memories of every web host, and every row.
pub(crate) fn snapshot(lab: &Lab) -> String {
    let script = "cat /var/lib/shop/installs.log; cd /var/lib/reconcile && ls jobs && cat claim.json generation.* 2>&1; true";
    let hosts = lab.hosts_of(HostKind::Web).map(|host| host.expect(script).expect("an answer"));
    hosts.collect::<Vec<_>>().join("\n") + &format!("{:?}", masks(lab))
}

/// The highest generation that any web host or load balancer node remembers.
pub(crate) fn highest_remembered(lab: &Lab) -> Generation {
    let script = "cut -d' ' -f1 /var/lib/reconcile/generation.deploy-01";
    let of = |kind| lab.hosts_of(kind).map(|host| host.expect(script).expect("it remembers"));
    let all = of(HostKind::Web).chain(of(HostKind::LoadBalancer));
    Generation(all.map(|text| text.trim().parse::<u64>().expect("a number")).max().expect("there are hosts"))
}

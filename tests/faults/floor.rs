//! The floor, as HAProxy itself sees it: three of the four web hosts are up in every backend on every node that runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lab::{Host, HostKind, Lab};
use tests::deployment::Deployment;

const BACKENDS: [&str; 2] = ["web", "web_sticky"];

/// One server row of a node.
pub(crate) struct Row {
    pub(crate) backend: String,
    pub(crate) server: String,
    pub(crate) sessions: u32,
    pub(crate) status: String,
}

/// The web hosts' rows on a node; none: HAProxy does not answer there.
pub(crate) fn rows(node: &Host) -> Option<Vec<Row>> {
    let stat = node.haproxy("show stat -1 4 -1").ok()?;
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let is_ours = BACKENDS.contains(fields.first()?) && fields.get(1)?.starts_with("web-");
        is_ours.then(|| Row {
            backend: fields[0].to_owned(),
            server: fields[1].to_owned(),
            sessions: fields[4].parse().expect("scur is a number"),
            status: fields[17].to_owned(),
        })
    };
    let rows: Vec<Row> = stat.lines().filter_map(row).collect();
    (!rows.is_empty()).then_some(rows)
}

/// Tells a story and requires that HAProxy called three web hosts up at every moment of it, whatever the fault.
pub(crate) fn holding_the_floor(deployment: &mut Deployment<'_>, story: impl FnOnce(&mut Deployment<'_>)) {
    let lab = deployment.lab;
    let over = AtomicBool::new(false);
    let (fewest, looks) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| fewest_up(lab, &over));
        let end = OverAtEnd(&over);
        story(deployment);
        drop(end);
        watcher.join().unwrap()
    });
    assert!(looks > 20, "only {looks} looks at the load balancers");
    assert!(fewest >= 3, "only {fewest} web hosts were up at some time");
}

/// Told when the story is over, however it ends: a watcher that outlived a failing story would hang it.
struct OverAtEnd<'a>(&'a AtomicBool);

impl Drop for OverAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The fewest servers that take traffic, in any backend of any node that answers, and how often it was looked.
fn fewest_up(lab: &Lab, over: &AtomicBool) -> (usize, usize) {
    let (mut fewest, mut looks) = (usize::MAX, 0);
    while !over.load(Ordering::Relaxed) {
        for rows in lab.hosts_of(HostKind::LoadBalancer).filter_map(rows) {
            for backend in BACKENDS {
                // `UP 2/3` has missed a check on a busy machine, and is sent traffic all the same.
                let up = |row: &&Row| row.backend == backend && row.status.starts_with("UP");
                fewest = fewest.min(rows.iter().filter(up).count());
            }
            looks += 1;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    (fewest, looks)
}

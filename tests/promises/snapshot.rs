//! Everything of a lab that looking must not change, as lines that can be compared.

use std::collections::{BTreeMap, BTreeSet};

use lab::{Host, HostKind, Lab};

/// Packages, services with their processes, and every file with owner, mode, time and checksum. Nothing is left out:
/// a lab's hosts have no timers that write there within minutes.
const TELL: &str = r#"
dpkg-query -W -f 'package ${Package} ${Version} ${db:Status-Abbrev}\n'
for UNIT in $(systemctl list-units --type=service --all --plain --no-legend | cut -d' ' -f1); do
  echo "unit $UNIT" $(systemctl show -p ActiveState -p SubState -p MainPID -p NRestarts "$UNIT")
done
find /etc /var/lib -xdev -printf 'path %p %y %m %u:%g %T@ %l\n'
find /etc /var/lib -xdev -type f -exec sha256sum {} + | sed 's/^/sum /'
"#;

/// What one lab was like at one time: lines by host.
pub(crate) struct Snapshot(BTreeMap<String, BTreeSet<String>>);

impl Snapshot {
    pub(crate) fn take(lab: &Lab) -> Self {
        let of = |host: &Host| (host.name().to_owned(), lines(host));
        std::thread::scope(|scope| {
            let hosts: Vec<_> = lab.hosts().iter().map(|host| scope.spawn(move || of(host))).collect();
            Self(hosts.into_iter().map(|host| host.join().expect("the host tells")).collect())
        })
    }

    /// How many lines there are to compare.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeSet::len).sum()
    }

    /// Lines that only one of the two has.
    pub(crate) fn difference(&self, later: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (host, before) in &self.0 {
            let after = &later.0[host];
            found.extend(before.difference(after).map(|line| format!("{host} - {line}")));
            found.extend(after.difference(before).map(|line| format!("{host} + {line}")));
        }
        found
    }
}

fn lines(host: &Host) -> BTreeSet<String> {
    let told = host.expect(TELL).expect("the host tells");
    let mut lines: BTreeSet<String> = told.lines().map(str::to_owned).collect();
    if host.kind() == HostKind::LoadBalancer {
        let state = host.haproxy("show servers state").expect("the load balancer answers");
        lines.extend(state.lines().skip(2).map(server));
    }
    lines
}

/// A server's row without what passes: the seconds since its last change, and the check that may be under way.
fn server(line: &str) -> String {
    let passing = [9, 11, 13];
    let fields = line.split(' ').enumerate().filter(|(at, _)| !passing.contains(at));
    fields.fold("server".to_owned(), |text, (_, field)| text + " " + field)
}

//! What a release meets on its way, and what became of it in the world.

use std::fmt::Write as _;

use model::{CheckName, GateName, Verdict};
use simulation::Fate;

use super::{Stage, host_name, parse};

impl Stage {
    /// `gate NAME green|red VALUE|no-data|error TEXT`, `gate NAME flaps every TIME`,
    /// `migration works|fails|fails-once|is-lost|not-ready|hangs`, `check NAME passes|fails|fails-once|is-lost|hangs`,
    /// `agent HOST busy for TIME`, `agent HOST stopped-by-somebody|started-by-somebody`, `publish VERSION`,
    /// `patch NAME fits|does-not-fit`, `install-by-hand HOST VERSION`.
    pub(super) fn change_release(&mut self, words: &[&str]) {
        let (world, environment) = (&self.world.clone(), &self.current.clone());
        match words {
            ["gate", name, "flaps", "every", time] => {
                world.gate_flaps(environment, &GateName::new(*name), time.parse().expect("a duration"));
            }
            ["gate", name, verdict, value @ ..] => {
                let value = if value.is_empty() { "0".to_owned() } else { value.join(" ") };
                world.gate_is(environment, &GateName::new(*name), verdict_of(verdict), &value);
            }
            ["migration", fate] => world.migrations_are(environment, fate_of(fate)),
            ["check", name, fate] => world.check_is(&CheckName::new(*name), fate_of(fate)),
            ["agent", host, "busy", "for", time] => {
                world.agent_is_busy(&host_name(host), time.parse().expect("a duration"));
            }
            ["agent", host, "stopped-by-somebody"] => world.somebody_sets_agent(&host_name(host), false),
            ["agent", host, "started-by-somebody"] => world.somebody_sets_agent(&host_name(host), true),
            ["publish", version] => world.publish(&parse(version)),
            ["patch", name, "fits"] => world.patch_fits(name, true),
            ["patch", name, "does-not-fit"] => world.patch_fits(name, false),
            ["install-by-hand", host, version] => world.installs_by_hand(&host_name(host), &parse(version)),
            other => self.change_surroundings(other),
        }
    }

    /// `weights`: each shared backend's canary share on each node, as the world computes it.
    pub(super) fn weights(&self) -> String {
        let nodes = self.desired[&self.current].fleet.nodes();
        let shares = self.world.shares().into_iter().filter(|(node, ..)| nodes.contains(node));
        shares.fold(String::new(), |mut out, (node, backend, share)| {
            let _ = writeln!(out, "  {backend} on {node}: canary {share:.2}%");
            out
        })
    }

    /// `patches`: what each host's files have, and whether its processes have loaded it.
    pub(super) fn patches(&self) -> String {
        let mut out = String::new();
        for (_, host) in self.desired[&self.current].fleet.hosts() {
            let (files, loaded) = self.world.patches(host);
            for patch in &files {
                let running = if loaded.contains(patch) { "loaded" } else { "not loaded" };
                let _ = writeln!(out, "  {host} has {patch}, {running}");
            }
        }
        if out.is_empty() { "  no host is patched\n".to_owned() } else { out }
    }

    /// `migrations`: the rows that the environment's database has counted.
    pub(super) fn migrations(&self) -> String {
        let rows = self.world.migration_rows(&self.current);
        if rows.is_empty() {
            return "  nothing was migrated\n".to_owned();
        }
        rows.iter().fold(String::new(), |out, row| format!("{out}  {} of {}\n", row.kind, row.version))
    }
}

fn verdict_of(word: &str) -> Verdict {
    match word {
        "green" => Verdict::Green,
        "red" => Verdict::Red,
        "no-data" => Verdict::NoData,
        "error" => Verdict::Error,
        other => panic!("no verdict: {other}"),
    }
}

fn fate_of(word: &str) -> Fate {
    match word {
        "works" | "passes" => Fate::Works,
        "fails" => Fate::Fails,
        "fails-once" => Fate::FailsOnce,
        "is-lost" => Fate::IsLost,
        "not-ready" => Fate::NotReady,
        "hangs" => Fate::Hangs,
        other => panic!("no fate: {other}"),
    }
}

//! What people get wrong around a fleet, and what operators write into environment.toml.

use model::{HostName, InFlightAtFreeze, RowId};

use super::{Stage, host_name};

impl Stage {
    /// `row HOST vanishes on NODE`, `row HOST returns on NODE`, `row HOST points to HOST on NODE`,
    /// `machine HOST is HOST`, `machine HOST is itself`, `other-service claims|leaves HOST`, `cut-off HOST`,
    /// `reconnect HOST`, `distrust TEXT`, `trust`; and, for the next commit, `max-parallel N`, `step-deadline TIME`,
    /// `freeze finish-host|finish-stage`.
    pub(super) fn change_surroundings(&mut self, words: &[&str]) {
        let world = self.world.clone();
        match words {
            ["row", host, what @ .., "on", node] => self.change_row(host, what, node),
            ["machine", host, "is", "itself"] => world.gets_machine_id(&host_name(host)),
            ["machine", host, "is", other] => world.shows_machine_of(&host_name(host), &host_name(other)),
            ["other-service", "claims", host] => {
                world.other_service_claims(&host_name(host), "elsewhere", true)
            }
            ["other-service", "leaves", host] => {
                world.other_service_claims(&host_name(host), "elsewhere", false)
            }
            ["cut-off", host] => world.cut_off(&host_name(host)),
            ["reconnect", host] => world.reconnected(&host_name(host)),
            ["distrust", error @ ..] => self.source.distrust(Some(&error.join(" "))),
            ["trust"] => self.source.distrust(None),
            ["max-parallel", limit] => self.desired().fleet.max_parallel = limit.parse().expect("a number"),
            ["step-deadline", time] => {
                self.desired().fleet.deadlines.step = time.parse().expect("a duration");
            }
            ["freeze", in_flight] => self.freezes(in_flight),
            other => panic!("no command: {}", other.join(" ")),
        }
    }

    fn change_row(&mut self, host: &str, what: &[&str], node: &str) {
        let (world, rows) = (self.world.clone(), self.rows(&host_name(host), &host_name(node)));
        let address = |host: &str| world.address(&host_name(host)).expect("a host");
        for row in rows {
            match what {
                ["vanishes"] => world.row_vanishes(&row),
                ["returns"] => world.row_returns(&row),
                ["points", "to", other] => world.row_points_to(&row, &address(other)),
                other => panic!("no command: row {}", other.join(" ")),
            }
        }
    }

    /// A host's rows on a node, by the file.
    fn rows(&mut self, host: &HostName, node: &HostName) -> Vec<RowId> {
        let fleet = &self.desired().fleet;
        let role = fleet.role_of(host).expect("a host of the fleet");
        let row = |backend: &model::BackendId| {
            let lb = fleet.load_balancer(&backend.load_balancer).expect("it exists");
            RowId { node: node.clone(), backend: backend.backend.clone(), server: lb.server(host) }
        };
        role.backends.iter().map(row).collect()
    }

    fn freezes(&mut self, in_flight: &str) {
        let in_flight = match in_flight {
            "finish-host" => InFlightAtFreeze::FinishHost,
            "finish-stage" => InFlightAtFreeze::FinishStage,
            other => panic!("no way to freeze: {other}"),
        };
        for freeze in &mut self.desired().fleet.policy.freezes {
            freeze.in_flight = in_flight;
        }
    }
}

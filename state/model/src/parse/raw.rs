//! environment.toml as it is written: hosts, load balancers, roles. Doc comments become the schema's descriptions.

use std::borrow::Cow;
use std::rc::Rc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::hosts::HostRange;
use super::problem::Problems;
use super::raw_policy::{
    RawCheck, RawConfigAgent, RawFollow, RawFreeze, RawGate, RawMigrations, RawPromotion, RawStage,
    RawStageDefaults,
};
use super::read::{At, Map, Need, Read, expected, table, words};
use super::text::{
    Duration, HostPath, HttpUrl, Name, RepositoryPath, Requirement, ServerTemplate, Span, TcpAddress,
    VersionTemplate,
};
use super::tree::{Node, Value};
use crate::desired::{Argv, Limit, Mode, OnTimeout, Track};
use crate::ids::{BackendName, CheckName, GateName, LoadBalancerName, PackageName, RoleName, ServiceName};

table! {
    /// A fleet and its rollout policy.
    struct RawEnvironment {
        /// Another file whose keys come first; relative to this one. One level deep.
        #[expect(dead_code, reason = "read before there are types: the files are merged as trees")]
        extends: Option<At<RepositoryPath>>,
        /// Which versions of this program may read the file, for example `>=0.1`.
        requires: Option<At<Requirement>>,
        /// `reconcile` (default), or `report`: plan and drift, no change at all.
        mode: Option<Mode>,
        /// Debian packages, locked to one version together. Roles may name their own.
        packages: Option<At<Vec<At<PackageName>>>>,
        /// The packages' version: `{version}`, and `{codename}` of the host's Debian release. Default `{version}`.
        package_version: Option<At<VersionTemplate>>,
        /// How many hosts may be out at once.
        budget: Option<RawBudget>,
        /// How long is too long. Nothing is killed when one passes.
        deadlines: Option<RawDeadlines>,
        /// Groups of load balancer nodes.
        load_balancer: Option<Vec<At<RawLoadBalancer>>>,
        /// Hosts that do the same job. The order is the order of deployment.
        role: Need<Vec<At<RawRole>>>,
        /// Database migrations, once per version.
        migrations: Option<At<RawMigrations>>,
        /// A configuration agent, for example Chef: paused on hosts that are being worked on.
        config_agent: Option<At<RawConfigAgent>>,
        /// Conditions on the outside world.
        gates: Option<At<Map<GateName, RawGate>>>,
        /// Jobs that test a release.
        checks: Option<At<Map<CheckName, RawCheck>>>,
        /// What every stage has that does not say otherwise.
        stage_defaults: Option<At<RawStageDefaults>>,
        /// The steps of a release, in order. Without any: deploy every role in order, the canary track first.
        stage: Option<At<Vec<At<RawStage>>>>,
        /// What a version has to have passed before a track may take it.
        promotion: Option<At<RawPromotion>>,
        /// Versions that the service commits by itself; one for each track.
        follow: Option<At<Vec<At<RawFollow>>>>,
        /// Windows in which nothing starts.
        freeze: Option<At<Vec<At<RawFreeze>>>>,
        /// Folders on the hosts that patches apply to, by name.
        patch_roots: Option<At<Map<Name, HostPath>>>,
    }

    /// How many hosts may be out at once.
    struct RawBudget {
        /// Of a role's hosts, and of each backend's servers per track. Rounded down, at least 1. Default `10%`.
        max_unavailable: Option<Limit>,
        /// Hosts worked on at once in the whole environment. Default 20.
        max_parallel: Option<Count>,
        /// The budget of an emergency.
        emergency: Option<At<RawEmergencyBudget>>,
    }

    /// The budget of an emergency.
    struct RawEmergencyBudget {
        /// Instead of the usual one. Default `50%`.
        max_unavailable: Option<Limit>,
        /// How long sessions may take to end, in every backend; then they are cut. Default `10s`.
        drain: Option<Span>,
    }

    /// How long is too long.
    struct RawDeadlines {
        /// One step. Default `15m`.
        step: Option<Duration>,
        /// A whole rollout, without soaks, freezes and people. Default `4h`.
        rollout: Option<Duration>,
    }

    /// A group of load balancer nodes with the same configuration.
    struct RawLoadBalancer {
        /// Its name.
        name: Need<LoadBalancerName>,
        /// All of them must agree before a host counts as drained.
        nodes: Need<Vec<At<HostRange>>>,
        /// HAProxy's admin socket on the node. Default `/run/haproxy/admin.sock`.
        socket: Option<HostPath>,
        /// The name of a host's server row. Default `{host}`.
        server: Option<At<ServerTemplate>>,
        /// The backends we work with.
        backends: Need<Map<BackendName, RawBackend>>,
    }

    /// How a backend's servers are drained.
    struct RawBackend {
        /// How long sessions may take to end by themselves.
        drain: Need<Duration>,
        /// What then: `wait` (default) gives the host back and comes again, `cut` ends them, `proceed` goes on.
        on_timeout: Option<OnTimeout>,
    }

    /// Hosts that do the same job.
    struct RawRole {
        /// Its name.
        name: Need<RoleName>,
        /// `main` (default), or `canary`.
        track: Option<Track>,
        /// Hosts and ranges of hosts; work starts in this order.
        hosts: Need<Vec<At<HostRange>>>,
        /// Instead of the environment's.
        packages: Option<At<Vec<At<PackageName>>>>,
        /// Instead of the environment's.
        package_version: Option<At<VersionTemplate>>,
        /// Backends it serves in, in every load balancer that has them.
        backends: Option<Vec<At<BackendName>>>,
        /// Instead of the budget's.
        max_unavailable: Option<Limit>,
        /// Whether the last server of a backend may go.
        allow_outage: Option<bool>,
        /// Commands to run before the install.
        prepare: Option<Vec<At<Argv>>>,
        /// Commands to run after the install.
        configure: Option<Vec<At<Argv>>>,
        /// What runs there.
        services: Option<Vec<At<RawService>>>,
        /// How to tell that a host is well. Without it: every unit is active and has kept its pid for 10 s.
        health: Option<At<RawHealth>>,
    }

    /// One service: a systemd `unit`, or a `name` of your own for one that systemd does not know.
    struct RawService {
        /// The systemd unit.
        unit: Option<At<ServiceName>>,
        /// A name of your own; `activate` is then a command.
        name: Option<At<ServiceName>>,
        /// How it takes up a new version: `restart` (a unit's default), `reload`, `none`, or a command.
        activate: Option<At<RawActivate>>,
        /// A command that prints the version that is running.
        running: Option<At<Argv>>,
    }

    /// How to tell that a host is well: exactly one of `http`, `tcp` and `command`.
    struct RawHealth {
        /// GET answers 2xx. Asked from the deploy node.
        http: Option<At<HttpUrl>>,
        /// The port accepts a connection. Asked from the deploy node.
        tcp: Option<At<TcpAddress>>,
        /// Ends with 0. Run on the host.
        command: Option<At<Argv>>,
        /// How long after activation it may take. Default `2m`.
        within: Option<Duration>,
    }
}

words! {
    Mode, "Mode": "reconcile" => Mode::Reconcile, "report" => Mode::Report;
    Track, "Track": "main" => Track::Main, "canary" => Track::Canary;
    OnTimeout, "OnTimeout": "wait" => OnTimeout::Wait, "cut" => OnTimeout::Cut, "proceed" => OnTimeout::Proceed;
}

/// A whole number from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) usize);

/// `restart`, `reload`, `none`, or a command.
#[derive(Debug)]
pub(super) enum RawActivate {
    Restart,
    Reload,
    None,
    Command(Argv),
}

#[derive(Debug)]
enum ActivateWord {
    Restart,
    Reload,
    None,
}

words! {
    ActivateWord, "ActivateWord":
        "restart" => ActivateWord::Restart, "reload" => ActivateWord::Reload, "none" => ActivateWord::None;
}

impl Read for RawActivate {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        if matches!(node.value, Value::List(_)) {
            return Argv::read(node, problems).map(Self::Command);
        }
        ActivateWord::read(node, problems).map(|word| match word {
            ActivateWord::Restart => Self::Restart,
            ActivateWord::Reload => Self::Reload,
            ActivateWord::None => Self::None,
        })
    }
}

impl JsonSchema for RawActivate {
    fn schema_name() -> Cow<'static, str> {
        "Activate".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (words, command) = (generator.subschema_for::<ActivateWord>(), generator.subschema_for::<Argv>());
        json_schema!({ "anyOf": [words, command] })
    }
}

impl Read for Argv {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let Value::List(items) = &node.value else {
            return expected("a list of a program and its arguments", node, problems);
        };
        let mut argv = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(word) if word.contains('\0') => problems.add(&item.at, "an argument holds a NUL"),
                Value::Text(word) => argv.push(word.clone()),
                _ => drop(expected::<()>("a text", item, problems)),
            }
        }
        if items.is_empty() || argv.first().is_some_and(String::is_empty) {
            problems.add(&node.at, "a command needs a program");
        }
        Some(Self(argv))
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": { "type": "string" },
            "minItems": 1,
            "description": "A program and its arguments; never a shell string",
        })
    }
}

impl Read for Count {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let Value::Integer(number) = node.value else { return expected("a whole number", node, problems) };
        match usize::try_from(number) {
            Ok(number @ 1..=100_000) => Some(Self(number)),
            _ => {
                problems.add(&node.at, format!("`{number}` is not between 1 and 100000"));
                None
            }
        }
    }
}

impl JsonSchema for Count {
    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 100_000 })
    }
}

impl Read for Limit {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            Value::Integer(_) => Count::read(node, problems)
                .map(|Count(number)| Self::Count(u32::try_from(number).unwrap_or(u32::MAX))),
            Value::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|number| number.parse::<u8>().ok());
                let percent = percent.filter(|percent| (1..=100).contains(percent));
                if percent.is_none() {
                    problems
                        .add(&node.at, format!("`{text}` is neither a number nor a percentage like `10%`"));
                }
                percent.map(Self::Percent)
            }
            _ => expected("a number or a percentage like `10%`", node, problems),
        }
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let count = generator.subschema_for::<Count>();
        json_schema!({
            "anyOf": [count, { "type": "string", "pattern": "^(100|[1-9][0-9]?)%$" }],
            "description": "a number, or a percentage like `10%`",
        })
    }
}

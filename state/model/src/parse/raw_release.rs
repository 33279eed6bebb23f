//! release.toml as it is written: what engineers bump, and the exceptions that people take responsibility for.

use std::borrow::Cow;
use std::rc::Rc;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::problem::Problems;
use super::read::{At, Need, Read, Text, expected, table, words};
use super::text::{Instant, Name, PatchPath, Sha256, Span, Words};
use super::tree::{Node, Value};
use crate::desired::Direction;
use crate::ids::{HostName, RoleName};
use crate::release::HoldScope;
use crate::version::Version;

table! {
    /// What the environment should run.
    struct RawRelease {
        /// The version of the main track.
        main: Need<RawMain>,
        /// The version of the canary track, and its share of the traffic.
        canary: Option<At<RawCanary>>,
        /// Fast mode for exactly one version, forward or back.
        emergency: Option<At<RawEmergency>>,
        /// Versions never to be taken.
        veto: Option<At<Vec<At<RawVeto>>>>,
        /// Nothing new starts.
        hold: Option<At<Vec<At<RawHold>>>>,
        /// Hosts that do not count for now.
        out: Option<At<Vec<At<RawOut>>>>,
        /// Post-deployment patches.
        patch: Option<At<Vec<At<RawPatch>>>>,
        /// What a person takes responsibility for.
        allow: Option<At<RawAllow>>,
    }

    /// The main track.
    struct RawMain {
        /// What it should run.
        version: Need<Version>,
        /// Which way it goes to a version that sorts below one that runs, where nobody knows which of them came first.
        direction: Option<Direction>,
    }

    /// The canary track.
    struct RawCanary {
        /// What it should run.
        version: Need<Version>,
        /// Percent of each shared backend's traffic.
        weight: Need<Percent>,
        /// Smaller shares on the way to it, ascending.
        ramp: Option<Vec<At<RawRamp>>>,
    }

    /// A smaller share.
    struct RawRamp {
        /// Percent of each shared backend's traffic.
        weight: Need<Percent>,
        /// How long.
        soak: Need<Span>,
    }

    /// Fast mode.
    struct RawEmergency {
        /// For exactly this version.
        version: Need<Version>,
        /// Why.
        reason: Need<Words>,
    }

    /// A version never to be taken.
    struct RawVeto {
        /// Which.
        version: Need<Version>,
        /// Why.
        reason: Need<Words>,
    }

    /// Nothing new starts.
    struct RawHold {
        /// Where.
        scope: Need<HoldScope>,
        /// Why.
        reason: Need<Words>,
        /// How long; without it until it is taken out of the file.
        until: Option<Until>,
    }

    /// A host or load balancer node that does not count, and is not waited for.
    struct RawOut {
        /// A host of a role.
        host: Option<At<HostName>>,
        /// A node of a load balancer.
        load_balancer_node: Option<At<HostName>>,
        /// Why.
        reason: Need<Words>,
        /// How long; without it until it is taken out of the file.
        until: Option<Until>,
    }

    /// A post-deployment patch.
    struct RawPatch {
        /// The version it applies to.
        version: Need<Version>,
        /// The patch, below `patches/`.
        file: Need<PatchPath>,
        /// Its checksum, as `sha256sum` prints it.
        sha256: Need<Sha256>,
        /// A name from `[patch_roots]` in environment.toml.
        root: Need<Name>,
        /// Where it is applied.
        roles: Need<Vec<At<RoleName>>>,
        /// Why.
        reason: Need<Words>,
        /// Versions that hold the change; canary moves only to one of these.
        incorporated_in: Option<Vec<At<Version>>>,
    }

    /// What a person takes responsibility for.
    struct RawAllow {
        /// Going back past this version's post-deployment migrations.
        past_post_migrations_of: Need<Version>,
        /// Why it is safe.
        reason: Need<Words>,
    }
}

words! {
    Direction, "Direction": "forward" => Direction::Forward, "back" => Direction::Back;
    HoldScope, "HoldScope": "main" => HoldScope::Main, "canary" => HoldScope::Canary, "all" => HoldScope::All;
}

/// A share of the traffic. 100 would leave nothing for main.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Percent(pub(super) u8);

impl Read for Percent {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let Value::Integer(number) = node.value else { return expected("a whole number", node, problems) };
        match u8::try_from(number) {
            Ok(percent @ 0..=99) => Some(Self(percent)),
            _ => {
                problems.add(&node.at, format!("`{number}` is not a share between 0 and 99 percent"));
                None
            }
        }
    }
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": 99 })
    }
}

/// An instant: TOML's own, or the same as a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until(pub(super) Timestamp);

impl Read for Until {
    fn read(node: &Rc<Node>, problems: &mut Problems) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(datetime) => datetime.to_string(),
            _ => return expected("an instant like `2026-11-22T12:00:00Z`", node, problems),
        };
        Instant::parse(&text)
            .map_err(|error| problems.add(&node.at, error))
            .ok()
            .map(|Instant(instant)| Self(instant))
    }
}

impl JsonSchema for Until {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Until".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Instant>()
    }
}

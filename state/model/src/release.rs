//! release.toml beyond the main version: the canary, and the exceptions that people take responsibility for.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::desired::Track;
use crate::ids::{HostName, RoleName};
use crate::version::Version;

/// What the canary track should run, and its share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryTarget {
    /// The version.
    pub version: Version,
    /// Percent of each shared backend's traffic, 0 to 99.
    pub weight: u8,
    /// Smaller shares on the way to it, ascending.
    pub ramp: Vec<RampStep>,
}

/// A smaller share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RampStep {
    /// Percent of each shared backend's traffic.
    pub weight: u8,
    /// How long it is kept.
    pub soak: SignedDuration,
}

/// Each of these has a reason, and is shown everywhere until it is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exceptions {
    /// Fast mode for exactly one version.
    pub emergency: Option<Emergency>,
    /// Versions that are only ever moved away from.
    pub vetoes: Vec<Veto>,
    /// Where nothing new starts.
    pub holds: Vec<Hold>,
    /// Hosts and nodes that do not count.
    pub outs: Vec<Out>,
    /// Post-deployment patches.
    pub patches: Vec<Patch>,
    /// Going back past a point of no return.
    pub allow: Option<Allow>,
}

/// Fast mode for exactly one version, forward or back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emergency {
    /// Which.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// A version that is only ever moved away from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// Which.
    pub version: Version,
    /// Why.
    pub reason: String,
}

/// Nothing new starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Where.
    pub scope: HoldScope,
    /// Why.
    pub reason: String,
    /// How long; none: until it leaves the file.
    pub until: Option<Timestamp>,
}

/// Which tracks a hold stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldScope {
    /// The main track.
    Main,
    /// The canary track.
    Canary,
    /// Both.
    All,
}

impl HoldScope {
    /// Whether it stops a track.
    pub fn stops(self, track: Track) -> bool {
        match self {
            Self::All => true,
            Self::Main => track == Track::Main,
            Self::Canary => track == Track::Canary,
        }
    }
}

impl fmt::Display for HoldScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Canary => "canary",
            Self::All => "all",
        })
    }
}

/// A host or load balancer node that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Out {
    /// A host of a role, or a load balancer's node.
    pub what: OutTarget,
    /// Why.
    pub reason: String,
    /// How long; none: until it leaves the file.
    pub until: Option<Timestamp>,
}

/// What is out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutTarget {
    /// It is drained, and then neither counted nor waited for.
    Host(HostName),
    /// It is declared to be free of traffic.
    LoadBalancerNode(HostName),
}

/// A post-deployment patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// The release that it applies to.
    pub version: Version,
    /// Where it lies in the repository.
    pub file: String,
    /// Its checksum, 64 hexadecimal digits; the contents were checked against it.
    pub sha256: String,
    /// The patch itself, in unified form.
    pub contents: String,
    /// The folder on the hosts that it applies to.
    pub root: String,
    /// Where it is applied.
    pub roles: Vec<RoleName>,
    /// Why.
    pub reason: String,
    /// Versions that hold the change; empty: none does yet.
    pub incorporated_in: Vec<Version>,
}

/// A person's word that going back past a point of no return is safe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// The version whose post-deployment migrations are gone past.
    pub past_post_migrations_of: Version,
    /// Why.
    pub reason: String,
}

impl Exceptions {
    /// Why a version is vetoed, if it is.
    pub fn veto(&self, version: &Version) -> Option<&Veto> {
        self.vetoes.iter().find(|veto| veto.version == *version)
    }

    /// The hold that stops a track at an instant.
    pub fn hold(&self, track: Track, now: Timestamp) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.scope.stops(track) && hold.until.is_none_or(|until| now < until))
    }

    /// The exception that takes a host out at an instant.
    pub fn host_out(&self, host: &HostName, now: Timestamp) -> Option<&Out> {
        self.outs.iter().find(|out| {
            matches!(&out.what, OutTarget::Host(name) if name == host)
                && out.until.is_none_or(|until| now < until)
        })
    }

    /// The exception that declares a load balancer node free of traffic at an instant.
    pub fn node_out(&self, node: &HostName, now: Timestamp) -> Option<&Out> {
        self.outs.iter().find(|out| {
            matches!(&out.what, OutTarget::LoadBalancerNode(name) if name == node)
                && out.until.is_none_or(|until| now < until)
        })
    }

    /// The next instant at which a hold or out ends by itself.
    pub fn next_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let holds = self.holds.iter().filter_map(|hold| hold.until);
        let outs = self.outs.iter().filter_map(|out| out.until);
        holds.chain(outs).filter(|until| *until > now).min()
    }
}

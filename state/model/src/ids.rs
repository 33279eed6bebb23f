//! Names of things. Each kind of name is its own type, so that a host can never be passed for a backend.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps a text that the caller has already checked.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A fleet with one desired release: the folder's name under `environments/`.
    EnvironmentName
);
name!(
    /// A host, as ssh reaches it: a managed host or a load balancer node.
    HostName
);
name!(
    /// Hosts that do the same job.
    RoleName
);
name!(
    /// A group of load balancer nodes with the same configuration.
    LoadBalancerName
);
name!(
    /// A backend of a load balancer.
    BackendName
);
name!(
    /// A server's row within a backend.
    ServerName
);
name!(
    /// A Debian package.
    PackageName
);
name!(
    /// A service on a host: a systemd unit, or a name of the user's own.
    ServiceName
);
name!(
    /// A commit of the desired-state repository, in full hexadecimal.
    CommitId
);
name!(
    /// A step of a release.
    StageName
);
name!(
    /// A condition on the outside world.
    GateName
);
name!(
    /// A job that tests a release.
    CheckName
);
name!(
    /// One step, for ever: unique across services and restarts, and the name of its job on a host.
    StepId
);

impl CommitId {
    /// The first ten digits, as people read them.
    pub fn short(&self) -> &str {
        self.0.get(..10).unwrap_or(&self.0)
    }
}

/// The ever-growing number that fences an older service off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One server's row on one load balancer node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowId {
    /// The node.
    pub node: HostName,
    /// The backend on it.
    pub backend: BackendName,
    /// The server in that backend.
    pub server: ServerName,
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, backend, server } = self;
        write!(f, "{backend}/{server} on {node}")
    }
}

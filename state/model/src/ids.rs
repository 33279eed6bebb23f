//! Names of things. Each kind of name is its own type, so that a host can never be passed for a backend.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How long a text is that needs no memory of its own.
const SHORT: usize = 15;

/// The text of a name or a version. A pass copies and compares them thousands of times: copying a short one does not
/// allocate, and most comparisons end with its head.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "SmolStr", into = "SmolStr")]
pub(crate) struct Text {
    /// The first fifteen bytes; missing ones are 0. Then the text's length, or one more than fits. Sorts as the text does,
    /// as far as it goes.
    head: [u8; SHORT + 1],
    /// All of it, when that is longer. Behind one pointer, so that the rest stays small.
    long: Option<Arc<Box<str>>>,
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        let mut head = [0; SHORT + 1];
        head.iter_mut().zip(text.bytes().take(SHORT)).for_each(|(to, byte)| *to = byte);
        head[SHORT] = text.len().min(SHORT + 1) as u8;
        Self { head, long: (text.len() > SHORT).then(|| Arc::new(text.into())) }
    }

    pub(crate) fn as_str(&self) -> &str {
        match &self.long {
            Some(long) => long,
            // As it was given: nothing else is written there.
            None => std::str::from_utf8(&self.head[..usize::from(self.head[SHORT])]).unwrap_or_default(),
        }
    }
}

impl From<SmolStr> for Text {
    fn from(text: SmolStr) -> Self {
        Self::new(&text)
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.long == other.long
    }
}

impl Eq for Text {}

impl From<Text> for SmolStr {
    fn from(text: Text) -> Self {
        Self::new(text.as_str())
    }
}

impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Of two with the same head both are short, and the same, or both are long.
        let by_head = u128::from_be_bytes(self.head).cmp(&u128::from_be_bytes(other.head));
        by_head.then_with(|| self.long.cmp(&other.long))
    }
}

impl PartialOrd for Text {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    // As the text itself: names are looked up by it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Text);

        impl $name {
            /// Wraps a text that the caller has already checked.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Text::new(text.as_ref()))
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Text::new(text))
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
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

impl RoleName {
    /// Whether it stands for hosts of no role, which run migrations and checks for all tracks: no file can name a role so.
    pub fn is_of_jobs(&self) -> bool {
        self.as_str().starts_with('(')
    }
}

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

impl HostName {
    /// The name of a server that is called as its host.
    pub(crate) fn as_server(&self) -> ServerName {
        ServerName(self.0.clone())
    }
}

impl CommitId {
    /// The first ten digits, as people read them.
    pub fn short(&self) -> &str {
        self.as_str().get(..10).unwrap_or(self.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_texts_do() {
        let texts = [
            "",
            "a",
            "a\0",
            "a\0b",
            "web-0001",
            "web-0001a",
            "web-00010",
            "web-1",
            "webé",
            "zzzzzzzzz",
            "~",
            "exactly-fifteen",
            "exactly-fifteen1",
            "exactly-fifteen10",
            "exactly-fifteen2",
            "fourteen-and-aé",
            "fourteen-and-è",
        ];
        for a in texts {
            for b in texts {
                let (left, right) = (HostName::new(a), HostName::new(b));
                assert_eq!(left.cmp(&right), a.cmp(b), "{a:?} {b:?}");
                assert_eq!(left == right, a == b, "{a:?} {b:?}");
            }
            assert_eq!(HostName::new(a).as_str(), a);
        }
    }
}

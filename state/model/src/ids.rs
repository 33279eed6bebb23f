//! Names of things. Each kind of name is its own type, so that a host can never be passed for a backend.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// How much of a text its head holds.
const HEAD: usize = 15;

/// The text of a name. A pass copies and compares names thousands of times: copying a short one does not allocate, and
/// most comparisons end with its head.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "SmolStr", into = "SmolStr")]
struct Text {
    /// The first fifteen bytes, the first one highest; missing ones are 0. Then the text's length, or one more than fits.
    /// Sorts as the text does, as far as it goes.
    head: [u64; 2],
    text: SmolStr,
}

impl Text {
    #[inline]
    fn is_all_in_head(&self) -> bool {
        self.head[1] & 0xff <= HEAD as u64
    }
}

impl From<SmolStr> for Text {
    fn from(text: SmolStr) -> Self {
        let mut head = [0; HEAD + 1];
        head.iter_mut().zip(text.bytes().take(HEAD)).for_each(|(to, byte)| *to = byte);
        head[HEAD] = text.len().min(HEAD + 1) as u8;
        let (high, low) = head.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self { head: [number(high), number(low)], text }
    }
}

impl PartialEq for Text {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && (self.is_all_in_head() || self.text == other.text)
    }
}

impl Eq for Text {}

impl From<Text> for SmolStr {
    fn from(text: Text) -> Self {
        text.text
    }
}

impl Ord for Text {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| match self.is_all_in_head() {
            true => Ordering::Equal,
            false => self.text.cmp(&other.text),
        })
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
        self.text.hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
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
                Self(SmolStr::new(text).into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0.text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(SmolStr::new(text).into())
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
        let texts =
            ["", "a", "a\0", "a\0b", "web-0001", "web-0001a", "web-00010", "web-1", "webé", "zzzzzzzzz", "~"];
        for a in texts {
            for b in texts {
                let (left, right) = (HostName::new(a), HostName::new(b));
                assert_eq!(left.cmp(&right), a.cmp(b), "{a:?} {b:?}");
                assert_eq!(left == right, a == b, "{a:?} {b:?}");
            }
        }
    }
}

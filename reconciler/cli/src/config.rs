//! The service's own file: where the desired state is, how hosts are reached, where the journal lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use serde::Deserialize;

/// Where it is when nobody says otherwise.
pub(crate) const DEFAULT_FILE: &str = "/etc/reconcile/config.toml";

/// The file, as written. Secrets stand in files of their own, which are named here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) repository: Repository,
    /// Journal, mirror, lock and control socket; held by one service at a time.
    #[serde(default = "default_state_dir")]
    pub(crate) state_dir: PathBuf,
    /// This service's lasting name, as it stands in claims on hosts.
    #[serde(default = "host_name")]
    pub(crate) service: String,
    #[serde(default)]
    pub(crate) ssh: Ssh,
    pub(crate) gitlab: Option<Gitlab>,
}

/// The GitLab instance whose pipelines are checks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gitlab {
    /// Its address.
    pub(crate) url: String,
    /// A file with an access token of the scope `api`.
    pub(crate) token_file: PathBuf,
}

/// The desired-state repository.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repository {
    /// A path, `file://`, `ssh://`, `user@host:path` or `https://`.
    pub(crate) url: String,
    #[serde(default = "default_branch")]
    pub(crate) branch: String,
    /// The only ssh key to offer.
    pub(crate) ssh_key: Option<PathBuf>,
    /// The host keys to trust.
    pub(crate) known_hosts: Option<PathBuf>,
    /// A file with the token for https.
    pub(crate) token_file: Option<PathBuf>,
    /// The user that belongs to the token.
    pub(crate) username: Option<String>,
    /// The certificates to trust for https.
    pub(crate) ca_file: Option<PathBuf>,
    /// How often a remote is asked.
    #[serde(default = "default_poll")]
    pub(crate) poll: SignedDuration,
    /// In whose name the service commits what `[[follow]]` says.
    pub(crate) author: Option<Author>,
    /// The private ssh key that signs these commits.
    pub(crate) signing_key: Option<PathBuf>,
    /// Whose signatures the branch's commits need.
    pub(crate) trust: Option<Trust>,
}

/// A name and an address, as git knows them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Author {
    pub(crate) name: String,
    pub(crate) email: String,
}

/// Who may sign what comes into force. A commit needs one good signature, of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trust {
    /// Whether signatures are asked for.
    #[serde(default = "yes")]
    pub(crate) require: bool,
    /// As ssh-keygen(1) describes it under ALLOWED SIGNERS.
    pub(crate) ssh_allowed_signers: Option<PathBuf>,
    /// A GnuPG home with the public keys of those who may.
    pub(crate) gpg_home: Option<PathBuf>,
}

/// How hosts are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ssh {
    pub(crate) user: Option<String>,
    /// In place of `~/.ssh/config`.
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) known_hosts: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) connect_timeout: Option<SignedDuration>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// It is not as it should be.
    #[error("{} is not valid", path.display())]
    Invalid {
        path: PathBuf,
        #[source]
        source: toml::de::Error,
    },
    /// Signatures are asked for, and nobody may sign.
    #[error("{}: [repository.trust] names neither `ssh_allowed_signers` nor `gpg_home`: no commit could come into force", path.display())]
    NobodyTrusted { path: PathBuf },
    /// A time that makes no sense.
    #[error("{}: `{key}` must be longer than nothing", path.display())]
    NotPositive { path: PathBuf, key: &'static str },
    /// The lasting name is no name.
    #[error("{}: `service` must be a name of letters, digits, dots and dashes", path.display())]
    Service { path: PathBuf },
}

impl Config {
    /// Reads and checks the file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let path = || path.to_owned();
        let config: Self =
            toml::from_str(text).map_err(|source| ConfigError::Invalid { path: path(), source })?;
        if !config.repository.poll.is_positive() {
            return Err(ConfigError::NotPositive { path: path(), key: "repository.poll" });
        }
        let nobody =
            |trust: &Trust| trust.require && trust.ssh_allowed_signers.is_none() && trust.gpg_home.is_none();
        if config.repository.trust.as_ref().is_some_and(nobody) {
            return Err(ConfigError::NobodyTrusted { path: path() });
        }
        if config.ssh.connect_timeout.is_some_and(|timeout| !timeout.is_positive()) {
            return Err(ConfigError::NotPositive { path: path(), key: "ssh.connect_timeout" });
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if config.service.is_empty() || !config.service.chars().all(allowed) {
            return Err(ConfigError::Service { path: path() });
        }
        Ok(config)
    }

    /// Where `serve` answers.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.state_dir.join("control.sock")
    }
}

/// A checked time as the standard library has it.
pub(crate) fn unsigned(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn default_state_dir() -> PathBuf {
    "/var/lib/reconcile-service".into()
}

fn default_branch() -> String {
    "main".to_owned()
}

fn yes() -> bool {
    true
}

fn default_poll() -> SignedDuration {
    SignedDuration::from_secs(5)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "reconcile".to_owned(), |name| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let chain = |error: ConfigError| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        };
        Config::parse(Path::new("config.toml"), text).map_err(chain)
    }

    #[test]
    fn a_repository_is_all_that_has_to_be_said() {
        let config = parse("repository = { url = '/srv/desired' }").unwrap();
        assert_eq!(config.repository.branch, "main");
        assert_eq!(config.repository.poll, SignedDuration::from_secs(5));
        assert_eq!(config.state_dir, PathBuf::from("/var/lib/reconcile-service"));
        assert_eq!(config.control_socket(), PathBuf::from("/var/lib/reconcile-service/control.sock"));
        assert!(!config.service.is_empty());
    }

    #[test]
    fn trust_in_nobody_is_a_mistake_and_not_a_service_that_never_moves() {
        let file = |trust: &str| format!("[repository]\nurl = 'x'\n[repository.trust]\n{trust}");
        assert!(parse(&file("")).unwrap_err().contains("no commit could come into force"));
        let config = parse(&file("ssh_allowed_signers = '/etc/reconcile/allowed_signers'")).unwrap();
        assert!(config.repository.trust.unwrap().require);
        assert!(parse(&file("require = false")).is_ok());
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_place() {
        let error = parse("[repository]\nurl = '/srv/desired'\nbranhc = 'main'").unwrap_err();
        assert!(
            error.contains("line 3") && error.contains("branhc") && error.contains("`branch`"),
            "{error}"
        );
    }

    #[test]
    fn times_are_written_as_people_write_them() {
        let text = "repository = { url = 'x', poll = '1m 30s' }\nssh = { connect_timeout = '5s' }";
        let config = parse(text).unwrap();
        assert_eq!(config.repository.poll, SignedDuration::from_secs(90));
        assert_eq!(config.ssh.connect_timeout, Some(SignedDuration::from_secs(5)));
        assert!(parse("repository = { url = 'x', poll = '0s' }").unwrap_err().contains("repository.poll"));
    }

    #[test]
    fn gitlab_is_named_with_the_file_of_its_token() {
        let text = "repository = { url = 'x' }\n[gitlab]\nurl = 'https://gitlab.example'\ntoken_file = '/t'";
        assert_eq!(parse(text).unwrap().gitlab.unwrap().token_file, PathBuf::from("/t"));
        assert!(parse(&text.replace("token_file", "token")).unwrap_err().contains("unknown field `token`"));
    }

    #[test]
    fn a_service_name_that_a_claim_could_not_hold_is_refused() {
        assert!(parse("service = 'a b'\nrepository = { url = 'x' }").is_err());
    }
}

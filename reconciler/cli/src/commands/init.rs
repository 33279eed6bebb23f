//! `init`: begins a desired-state repository.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::args::{CommandLine, Init};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;

const ENVIRONMENT: &str = r#"# The fleet and how it is rolled out. Changes seldom.
# Every key: `reconcile schema environment`.

packages = ["my-app"]          # Debian packages, locked to one version together

[budget]
max_unavailable = 1            # hosts of a role that may be out at once

# Roles are deployed in this order, and taken back in reverse.
[[role]]
name     = "web"
hosts    = ["web-[01:04]"]     # web-01 to web-04, as ssh knows them
services = [{ unit = "my-app.service", activate = "restart" }]
health   = { http = "http://{host}:8080/", within = "1m" }

# With load balancers, a host is drained before it is touched. Name them, then
# give the role its backends: backends = ["web"]
#
# [[load_balancer]]
# name     = "fe"
# nodes    = ["fe-[01:02]"]
# socket   = "/run/haproxy/admin.sock"
# server   = "{host}"
# backends = { web = { drain = "1m", on_timeout = "wait" } }
"#;

const RELEASE: &str = r#"# What engineers bump. A merged change of this line moves the fleet; a revert of
# the commit takes it back.

[main]
version = "1.0.0-1"
"#;

const README: &str = "\
# Desired state

What each fleet should run. `environments/NAME/release.toml` names the version,
`environments/NAME/environment.toml` the hosts.

    reconcile check      is everything here valid?
    reconcile plan       what would happen?
";

pub(super) fn init(line: &CommandLine, args: &Init) -> Result<Exit, CliError> {
    let folder = args.folder.as_path();
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CliError::new(Exit::Usage, format!("{} is not empty", folder.display()))
            .hint("name a folder that is empty or does not exist"));
    }
    for (path, text) in [
        ("environments/staging/environment.toml", ENVIRONMENT),
        ("environments/staging/release.toml", RELEASE),
        ("README.md", README),
    ] {
        write(&folder.join(path), text)?;
    }
    if !git_init(folder) {
        output::aside("git could not be asked for a repository here: run `git init` yourself");
    }
    super::done(line, &format!("begun {0}; next: edit it, `reconcile check {0}`, commit", folder.display()))
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(|error| CliError::file("make", parent, &error))?;
    std::fs::write(path, text).map_err(|error| CliError::file("write", path, &error))
}

fn git_init(folder: &Path) -> bool {
    let mut git = Command::new("git");
    git.args(["init", "--quiet", "--initial-branch=main"]).current_dir(folder);
    git.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_first_files_are_valid() {
        let files = BTreeMap::from([
            ("environments/staging/environment.toml".to_owned(), ENVIRONMENT.to_owned()),
            ("environments/staging/release.toml".to_owned(), RELEASE.to_owned()),
        ]);
        let parsed = model::parse::repository(&files).unwrap();
        assert_eq!(parsed.warnings, []);
        assert_eq!(parsed.environments["staging"].fleet.hosts().count(), 4);
    }
}

//! Versions that a host's package sources offer, as `apt-cache madison` lists them.

use std::collections::BTreeSet;
use std::time::Duration;

use model::{HostName, PackageName, Unknown, UnknownKind, Version};

use crate::claim::STATE_DIR;
use crate::shell::{last_lines, quote};
use crate::ssh::Ssh;

/// Sources are slow at times; nothing waits for their answer.
const DEADLINE: Duration = Duration::from_secs(120);

/// The versions of a package that the sources of a host offer; none for a package that they do not know.
///
/// Refreshes the host's lists when they are older than half a minute, and nothing else there, except a mark of ours that
/// says when. When somebody else holds their lock, and for sources that cannot be reached, the old lists count.
///
/// # Errors
/// The obstacle, as a fact: no connection, or apt cannot read its sources or lists.
pub async fn available(
    ssh: &Ssh,
    host: &HostName,
    package: &PackageName,
) -> Result<BTreeSet<Version>, Unknown> {
    let output = ssh.run(host, &script(package, STATE_DIR), DEADLINE).await.map_err(|e| e.to_unknown())?;
    if output.status != 0 {
        let detail = format!("the versions of {package}: {}", last_lines(&output.stderr, 1));
        return Err(Unknown { kind: UnknownKind::Unreadable, detail });
    }
    Ok(parse(&output.stdout, package))
}

fn script(package: &PackageName, state: &str) -> String {
    let (package, state) = (quote(package.as_str()), quote(state));
    format!("STATE={state}\nPACKAGE={package}\n{}", include_str!("versions/madison.sh"))
}

/// Lines of `package | version | source`. What only sources of source packages have cannot be installed.
pub(crate) fn parse(text: &str, package: &PackageName) -> BTreeSet<Version> {
    let offered = |line: &str| {
        let mut fields = line.split('|').map(str::trim);
        let (name, version, source) = (fields.next()?, fields.next()?, fields.next()?);
        (name == package.as_str() && !source.ends_with(" Sources")).then(|| Version::parse(version).ok())?
    };
    text.lines().filter_map(offered).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Output};

    use super::*;

    fn versions(texts: &[&str]) -> BTreeSet<Version> {
        texts.iter().map(|text| Version::parse(text).unwrap()).collect()
    }

    #[test]
    fn only_this_packages_versions_count_and_no_source_packages() {
        let recorded = include_str!("versions/samples/madison.txt");
        assert_eq!(parse(recorded, &"nginx".into()), versions(&["1.22.1-9+deb12u11", "1.22.1-9+deb12u9"]));
        let source = " shop | 2.0 | http://apt.example stable/main Sources\n";
        assert!(parse(source, &"shop".into()).is_empty());
    }

    /// An apt of its own: sources, lists and locks below one folder.
    struct Apt {
        dir: tempfile::TempDir,
    }

    impl Apt {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path();
            for folder in ["lists/partial", "cache/archives/partial", "etc", "repo"] {
                fs::create_dir_all(root.join(folder)).unwrap();
            }
            let at = root.display();
            fs::write(root.join("status"), "").unwrap();
            fs::write(root.join("etc/sources.list"), format!("deb [trusted=yes] copy:{at}/repo ./\n"))
                .unwrap();
            fs::write(
                root.join("apt.conf"),
                format!(
                    "Dir::State \"{at}\";\nDir::State::status \"{at}/status\";\nDir::Cache \"{at}/cache\";\n\
                     Dir::Etc \"{at}/etc\";\nAPT::Sandbox::User \"\";\n"
                ),
            )
            .unwrap();
            Self { dir }
        }

        fn publish(&self, versions: &[&str]) {
            let entry = |version: &&str| {
                format!(
                    "Package: shop\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nFilename: ./{version}.deb\nSize: 1\n\
                     SHA256: {:064}\nDescription: x\n\n",
                    0
                )
            };
            fs::write(self.dir.path().join("repo/Packages"), versions.iter().map(entry).collect::<String>())
                .unwrap();
        }

        /// The shipped script, with its two folders in ours.
        fn ask(&self) -> Output {
            let root = self.dir.path();
            let lists = root.join("lists").display().to_string();
            let text = script(&"shop".into(), &root.join("state").display().to_string());
            let text = text.replace("/var/lib/apt/lists", &lists);
            Command::new("sh").arg("-c").arg(text).env("APT_CONFIG", root.join("apt.conf")).output().unwrap()
        }

        fn answers(&self, expected: &[&str]) {
            let output = self.ask();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{said}");
            let found = parse(&String::from_utf8_lossy(&output.stdout), &"shop".into());
            assert_eq!(found, versions(expected), "{said}");
        }

        fn let_half_a_minute_pass(&self) {
            for path in ["lists", "state/lists-refreshed"] {
                let path = self.dir.path().join(path);
                let touch = Command::new("touch").args(["-c", "-d", "31 seconds ago"]).arg(path).status();
                assert!(touch.unwrap().success());
            }
        }
    }

    /// Why apt cannot be tried here, printed.
    fn without_apt() -> bool {
        let absent = !Path::new("/usr/bin/apt-get").exists();
        if absent {
            eprintln!("SKIPPED: not installed: apt-get");
        }
        absent
    }

    #[test]
    fn the_lists_are_refreshed_when_they_are_older_than_half_a_minute() {
        if without_apt() {
            return;
        }
        let apt = Apt::new();
        apt.publish(&["1.0", "1:2.0~rc1-1"]);
        apt.let_half_a_minute_pass();
        apt.answers(&["1.0", "1:2.0~rc1-1"]);
        apt.publish(&["1.0", "3.0"]);
        apt.answers(&["1.0", "1:2.0~rc1-1"]);
        apt.let_half_a_minute_pass();
        apt.answers(&["1.0", "3.0"]);
    }
    #[test]
    fn whoever_holds_the_lists_lock_is_not_waited_for() {
        if without_apt() {
            return;
        }
        let apt = Apt::new();
        apt.publish(&["1.0"]);
        apt.let_half_a_minute_pass();
        apt.answers(&["1.0"]);
        apt.publish(&["2.0"]);
        apt.let_half_a_minute_pass();
        let lock = fs::File::create(apt.dir.path().join("lists/lock")).unwrap();
        rustix::fs::fcntl_lock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
        apt.let_half_a_minute_pass();
        apt.answers(&["1.0"]);
        drop(lock);
        apt.answers(&["2.0"]);
    }

    #[test]
    fn sources_that_apt_cannot_read_are_told() {
        if without_apt() {
            return;
        }
        let apt = Apt::new();
        fs::write(apt.dir.path().join("etc/sources.list"), "nonsense\n").unwrap();
        apt.let_half_a_minute_pass();
        let output = apt.ask();
        assert_eq!(output.status.code(), Some(22));
        assert!(String::from_utf8_lossy(&output.stderr).contains("sources.list"), "{output:?}");
    }
}

//! What a valid fleet means: defaults, order, references.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::SignedDuration;
use model::parse::{EnvironmentSpec, main_version, repository, targets};
use model::{Activate, Argv, Direction, Exceptions, Limit, Mode, OnTimeout, Probe, Track, Version};

use crate::{answer, environment, files};

/// A repository under examples/, read as a user's would be.
fn example(name: &str) -> EnvironmentSpec {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let read = |file: &str| {
        let path = format!("environments/production/{file}");
        let text = std::fs::read_to_string(root.join(&path)).unwrap();
        (path, text)
    };
    let mut parsed = repository(&["environment.toml", "release.toml"].map(read).into()).unwrap();
    assert_eq!(parsed.warnings, []);
    parsed.environments.remove("production").unwrap()
}

const MINIMAL: &str = "packages = [\"shop\"]\n[[role]]\nname = \"web\"\nhosts = [\"web-01\"]\n";

#[test]
fn what_is_not_written_has_the_documented_default() {
    let EnvironmentSpec { fleet, target, direction, canary, exceptions } =
        environment(MINIMAL, "[main]\nversion = \"1.0\"\n");
    assert_eq!(target.as_str(), "1.0");
    assert_eq!((direction, canary, exceptions), (None, None, Exceptions::default()));
    assert_eq!(fleet.mode, Mode::Reconcile);
    assert_eq!(fleet.backend_limit, Limit::Percent(10));
    assert_eq!(fleet.max_parallel, 20);
    assert_eq!(fleet.deadlines.step, SignedDuration::from_mins(15));
    assert_eq!(fleet.deadlines.rollout, SignedDuration::from_hours(4));
    let role = &fleet.roles[0];
    assert_eq!(role.track, Track::Main);
    assert_eq!(role.max_unavailable, 1);
    assert_eq!(role.package_version, "{version}");
    assert_eq!(role.packages[0].as_str(), "shop");
    assert!(!role.allow_outage && role.health.is_none() && role.services.is_empty());
}

#[test]
fn a_release_may_say_which_way_it_goes() {
    let spec = environment(MINIMAL, "[main]\nversion = \"1.0\"\ndirection = \"back\"\n");
    assert_eq!(spec.direction, Some(Direction::Back));
}

#[test]
fn a_load_balancer_has_defaults_too_and_a_role_serves_in_every_one_that_has_the_backend() {
    let fleet = environment(
        r#"
packages = ["shop"]
[[load_balancer]]
name = "inside"
nodes = ["in-01"]
backends = { web = { drain = "10s", on_timeout = "proceed" } }
[[load_balancer]]
name = "outside"
nodes = ["out-[1:2]"]
socket = "/run/h.sock"
server = "srv-{host}"
backends = { web = { drain = "1h 30m" } }
[[role]]
name = "web"
hosts = ["web-[01:04]"]
backends = ["web"]
"#,
        "[main]\nversion = \"1\"\n",
    )
    .fleet;
    let names: Vec<String> = fleet.roles[0].backends.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["inside/web", "outside/web"]);
    let [inside, outside] = fleet.load_balancers.as_slice() else { panic!("two load balancers") };
    assert_eq!((inside.socket.as_str(), inside.server.as_str()), ("/run/haproxy/admin.sock", "{host}"));
    assert_eq!(inside.backends["web"].on_timeout, OnTimeout::Proceed);
    assert_eq!(outside.server(&"web-01".into()).as_str(), "srv-web-01");
    assert_eq!(outside.backends["web"].timeout, SignedDuration::from_mins(90));
    assert_eq!(outside.backends["web"].on_timeout, OnTimeout::Wait);
}

#[test]
fn canary_roles_come_first_and_the_files_order_stays_within_a_track() {
    let roles = [("git", "main"), ("cny-a", "canary"), ("web", "main"), ("cny-b", "canary")];
    let roles = roles.map(|(name, track)| {
        format!(
            "[[role]]\nname = \"{name}\"\ntrack = \"{track}\"\nhosts = [\"{name}-[2:3]\", \"{name}-1\"]\n"
        )
    });
    let text = format!("packages = [\"shop\"]\n{}", roles.join(""));
    let fleet = environment(&text, "[main]\nversion = \"1\"\n").fleet;
    let order: Vec<&str> = fleet.roles.iter().map(|role| role.name.as_str()).collect();
    assert_eq!(order, ["cny-a", "cny-b", "git", "web"]);
    let hosts: Vec<&str> = fleet.roles[3].hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!(hosts, ["web-2", "web-3", "web-1"]);
}

#[test]
fn a_roles_own_words_win_over_the_environments_and_percentages_become_numbers() {
    let fleet = environment(
        r#"
packages = ["shop"]
package_version = "{version}~{codename}"
mode = "report"
[budget]
max_unavailable = "25%"
max_parallel = 3
[[role]]
name = "web"
hosts = ["web-[1:11]"]
[[role]]
name = "git"
hosts = ["git-[1:11]"]
packages = ["store", "store-data"]
package_version = "{version}"
max_unavailable = 5
"#,
        "[main]\nversion = \"2\"\n",
    )
    .fleet;
    let [web, git] = fleet.roles.as_slice() else { panic!("two roles") };
    assert_eq!((web.max_unavailable, git.max_unavailable), (2, 5));
    let version = Version::parse("2").unwrap();
    assert_eq!(web.package_version(&version, "trixie").as_str(), "2~trixie");
    assert_eq!(git.package_version(&version, "trixie").as_str(), "2");
    assert_eq!(git.packages.len(), 2);
    assert_eq!((fleet.mode, fleet.max_parallel), (Mode::Report, 3));
}

#[test]
fn services_and_health_are_what_was_written() {
    let fleet = environment(
        r#"
packages = ["shop"]
[[role]]
name = "web"
hosts = ["web-01"]
prepare = [["touch", "/skip"]]
services = [
  { unit = "shop" },
  { unit = "nginx", activate = "reload" },
  { name = "puma", activate = ["gitlab-ctl", "hup", "puma"], running = ["puma-version"] },
]
health = { command = ["check", "{host}"] }
"#,
        "[main]\nversion = \"1\"\n",
    )
    .fleet;
    let role = &fleet.roles[0];
    let argv = |words: &[&str]| Argv(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(role.prepare, [argv(&["touch", "/skip"])]);
    let activates: Vec<_> = role.services.iter().map(|it| (it.systemd, it.activate.clone())).collect();
    let hup = Activate::Command(argv(&["gitlab-ctl", "hup", "puma"]));
    assert_eq!(activates, [(true, Activate::Restart), (true, Activate::Reload), (false, hup)]);
    let health = role.health.clone().unwrap();
    assert_eq!(health.probe, Probe::Command(argv(&["check", "{host}"])));
    assert_eq!(health.within, SignedDuration::from_mins(2));
}

#[test]
fn an_extended_file_gives_what_the_file_itself_does_not_say() {
    let files = files(&[
        ("environments/e/environment.toml", "extends = \"../base.toml\"\n[budget]\nmax_parallel = 2\n"),
        ("environments/e/release.toml", "[main]\nversion = \"1\"\n"),
        (
            "environments/base.toml",
            &format!(
                "[budget]\nmax_unavailable = 4\nmax_parallel = 9\n[deadlines]\nstep = \"1m\"\n[[role]]\npackages = [\"shop\"]\n{}",
                "name = \"web\"\nhosts = [\"web-01\"]\n"
            ),
        ),
    ]);
    let parsed = repository(&files).unwrap();
    assert_eq!(parsed.warnings, []);
    let fleet = &parsed.environments["e"].fleet;
    assert_eq!((fleet.max_parallel, fleet.backend_limit), (2, Limit::Count(4)));
    assert_eq!(fleet.deadlines.step, SignedDuration::from_mins(1));
    assert_eq!(fleet.roles.len(), 1);
}

#[test]
fn history_is_read_leniently() {
    let version = |text: &str| main_version(text).map(|version| version.to_string());
    assert_eq!(version("[main]\nversion = \"1.0\"\nzebra = 1\n[old]\n").as_deref(), Some("1.0"));
    assert_eq!(version("[main]\nversion = \"-1\"\n"), None);
    assert_eq!(version("[main]\n"), None);
    assert_eq!(version("main = \n"), None);
}

#[test]
fn history_knows_the_targets_of_both_tracks_mains_first() {
    let targets = |text: &str| targets(text).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(targets("[canary]\nversion = \"2\"\nwait = 5\n[main]\nversion = \"1\"\n"), ["1", "2"]);
    assert_eq!(targets("[main]\nversion = \"1\"\n"), ["1"]);
    assert_eq!(targets("[main]\nversion = \"-1\"\n[canary]\nversion = \"2\"\n"), ["2"]);
    assert_eq!(targets("main = \n"), [""; 0]);
}

#[test]
fn the_minimal_example_is_valid() {
    let spec = example("minimal");
    assert_eq!(spec.fleet.hosts().count(), 4);
    assert_eq!(spec.target.as_str(), "1.0.0");
}

#[test]
fn the_web_example_is_the_fleet_that_its_comments_describe() {
    let fleet = example("web").fleet;
    let hosts: Vec<String> = fleet.hosts().map(|(role, host)| format!("{}/{host}", role.name)).collect();
    assert_eq!(hosts, ["storage/gitaly-01", "web/web-01", "web/web-02", "web/web-03", "web/web-04"]);
    let nodes: Vec<&str> = fleet.nodes().into_iter().map(|node| node.as_str()).collect();
    assert_eq!(nodes, ["fe-01", "fe-02"]);
    let [storage, web] = fleet.roles.as_slice() else { panic!("two roles") };
    assert!(storage.backends.is_empty());
    assert_eq!(web.backends.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fe/web", "fe/web_sticky"]);
    assert_eq!((web.packages[0].as_str(), storage.packages[0].as_str()), ("shop", "store"));
    assert_eq!(web.health.clone().unwrap().probe, Probe::Http("http://{host}:8080/-/readiness".to_owned()));
    assert_eq!((web.max_unavailable, fleet.backend_limit.of(4)), (1, 1));
}

/// Every text file below a folder, by its path from `root`.
fn texts(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(root, &path, files);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            files.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text);
        }
    }
}

#[test]
fn every_example_is_valid_and_nothing_in_it_is_odd() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    for entry in std::fs::read_dir(examples).unwrap() {
        let root = entry.unwrap().path();
        let mut files = BTreeMap::new();
        texts(&root, &root, &mut files);
        assert_eq!(answer(&files), "valid", "{}", root.display());
    }
}

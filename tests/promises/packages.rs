//! A real package of Debian's archive, with siblings locked to the same version, forward and back.

use lab::{HostKind, Lab, LabSpec, Repacked};
use tests::deployment::Deployment;
use tests::stories::in_a_lab;

use crate::PROGRAM;

/// Lower than any version that Debian will ever have of it.
const OLDER: &str = "2.4.0-0lab1";
const HOSTS: [&str; 2] = ["app-01", "app-02"];
const PACKAGES: [&str; 3] = ["apache2", "apache2-bin", "apache2-data"];

const ENVIRONMENT: &str = r#"
requires = ">=0.1"
packages = ["apache2", "apache2-bin", "apache2-data"]
[budget]
max_unavailable = 1
[[role]]
name     = "web"
hosts    = ["app-[01:02]"]
services = [{ unit = "apache2.service", activate = "restart" }]
health   = { http = "http://{host}:80/", within = "30s" }
"#;

/// All three at the version, held, pinned, and nothing half-way.
fn assert_at(lab: &Lab, version: &str) {
    for name in HOSTS {
        let host = lab.host(name).unwrap();
        let seen = format!(
            "dpkg-query -W -f '${{Package}} ${{Version}} ${{db:Status-Abbrev}}\\n' {}",
            PACKAGES.join(" ")
        );
        let seen = host.expect(&seen).unwrap();
        let wanted: String = PACKAGES.iter().map(|package| format!("{package} {version} hi \n")).collect();
        assert_eq!(seen, wanted, "{name}");
        let held = host.expect("apt-mark showhold").unwrap();
        assert_eq!(held.lines().collect::<Vec<_>>(), PACKAGES, "{name}");
        let policy = host.expect(&format!("apt-cache policy {}", PACKAGES.join(" "))).unwrap();
        let candidates = policy.lines().filter(|line| line.trim() == format!("Candidate: {version}")).count();
        assert_eq!(candidates, PACKAGES.len(), "{name} is not pinned:\n{policy}");
        assert!(host.expect("dpkg --audit").unwrap().is_empty());
        host.expect("systemctl is-active apache2.service && curl -fs -o /dev/null http://127.0.0.1/")
            .unwrap();
    }
}

#[test]
fn apache_and_its_siblings_go_forward_and_back() {
    let fleet = |name: &str| LabSpec::empty(name).with_hosts("app", HOSTS.len(), HostKind::Plain);
    in_a_lab(
        "real-packages",
        |spec| fleet(&spec.name),
        |lab| {
            let Repacked { packages, newer, older } = lab.repack("apache2", OLDER).unwrap();
            println!(
                "packages: {newer} is Debian's own, {older} the same files repacked under a lower version"
            );
            println!("packages: siblings in the archive: {}", packages.join(", "));
            let mut deployment = Deployment::new(lab, PROGRAM, &older);
            deployment.set_environment(ENVIRONMENT);
            let first = deployment.commit(&older);
            deployment.serve();
            deployment.converges(&first, 120);
            assert_at(lab, &older);
            let bump = deployment.commit(&newer);
            deployment.converges(&bump, 120);
            assert_at(lab, &newer);
            let revert = deployment.revert();
            deployment.converges(&revert, 120);
            assert_at(lab, &older);
            deployment.stop();
        },
    );
}

//! The lab itself, on real hosts: what it promises to the tests that use it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Host, HostKind, Lab, LabError, LabSpec, Traffic, TrafficReport, demo};

type Tested = Result<(), LabError>;

/// A lab and how long it took, or nothing where there can be none.
fn up(spec: &LabSpec) -> Result<Option<Lab>, LabError> {
    let began = Instant::now();
    let lab = Lab::up_or_skip(spec)?;
    if let Some(lab) = &lab {
        println!("lab {}: {} hosts up in {:?}", lab.name(), lab.hosts().len(), began.elapsed());
    }
    Ok(lab)
}

/// A name that no other run of these tests uses at the same time.
fn name(of: &str) -> String {
    format!("t{}-{of}", std::process::id())
}

fn one_host(of: &str) -> LabSpec {
    LabSpec::empty(&name(of)).with_hosts("deploy", 1, HostKind::Plain)
}

/// Everything on this machine that belongs to the lab of that name.
fn traces(name: &str) -> Vec<String> {
    let mine = [format!("reconcile-lab-{name}"), format!("labs/{name}/")];
    let names_it = |text: &str| mine.iter().any(|part| text.contains(part));
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if names_it(&command) {
            found.push(format!("process {:?}: {command}", entry.file_name()));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    found.extend(mounts.lines().filter(|line| names_it(line)).map(|line| format!("mount {line}")));
    for directory in ["/run/netns", "/run/systemd/nspawn/propagate"] {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path().display().to_string());
        found.extend(paths.filter(|path| names_it(path)));
    }
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
        let group = Path::new(hierarchy).join("reconcile-lab").join(name);
        if group.exists() {
            found.push(group.display().to_string());
        }
    }
    found.extend(
        lab::all_labs()
            .into_iter()
            .filter(|lab| lab.name == name)
            .map(|lab| format!("files of {}", lab.name)),
    );
    found
}

/// The columns of HAProxy's statistics for one server.
fn server(balancer: &Host, backend: &str, server: &str, column: &str) -> Result<String, LabError> {
    let table = balancer.haproxy(&format!("show stat {backend} 4 -1"))?;
    let mut lines = table.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
    let header = lines.next().expect("a header");
    let place = header.iter().position(|name| *name == column).expect("the column");
    let row = lines.find(|row| row.get(1) == Some(&server)).expect("the server");
    Ok(row[place].to_owned())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool, LabError>) -> Tested {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds()? {
        assert!(Instant::now() < deadline, "waited 20 s for {what}");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn set_state(lab: &Lab, backend: &str, host: &str, state: &str) -> Tested {
    for balancer in lab.hosts_of(HostKind::LoadBalancer) {
        let answer = balancer.haproxy(&format!("set server {backend}/{host} state {state}"))?;
        assert_eq!(answer.trim(), "", "{answer}");
    }
    Ok(())
}

/// True when both backends of all load balancers say `wanted` in that column.
fn all_say(lab: &Lab, host: &str, column: &str, wanted: &str) -> Result<bool, LabError> {
    for balancer in lab.hosts_of(HostKind::LoadBalancer) {
        for backend in ["web", "web_sticky"] {
            if server(balancer, backend, host, column)? != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

fn wait_until_warm(host: &Host) -> Tested {
    wait_for("shop to warm up", || Ok(host.run("curl -fs http://127.0.0.1:8080/-/readiness")?.success()))
}

fn restart_shop(host: &Host) -> Tested {
    host.expect("systemctl restart shop")?;
    wait_until_warm(host)
}

/// Waits until the load balancers know what the host has been for at least one check.
fn wait_until_up(lab: &Lab, host: &Host) -> Tested {
    wait_until_warm(host)?;
    sleep(Duration::from_millis(2500));
    wait_for("the server to be up", || all_say(lab, host.name(), "status", "UP"))
}

/// What a deployment does, by hand.
fn restart_drained(lab: &Lab, host: &Host) -> Tested {
    set_state(lab, "web", host.name(), "drain")?;
    set_state(lab, "web_sticky", host.name(), "maint")?;
    wait_for("sessions to end", || all_say(lab, host.name(), "scur", "0"))?;
    restart_shop(host)?;
    // Straight to ready it would count as up before its first check.
    set_state(lab, "web_sticky", host.name(), "drain")?;
    wait_for("checks to pass", || all_say(lab, host.name(), "check_status", "L7OK"))?;
    set_state(lab, "web", host.name(), "ready")?;
    set_state(lab, "web_sticky", host.name(), "ready")?;
    wait_for("the server to be up", || all_say(lab, host.name(), "status", "UP"))
}

fn shop_version(host: &Host) -> Result<String, LabError> {
    Ok(host.expect("curl -fsS http://127.0.0.1:8080/-/version")?.trim().to_owned())
}

fn install(host: &Host, package: &str) -> Result<lab::Output, LabError> {
    host.run(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get -y -q --allow-downgrades -o Dpkg::Use-Pty=0 install {package}"
    ))
}

fn reach_every_host(lab: &Lab) -> Tested {
    for host in lab.hosts() {
        let answer = host.ssh("cat /etc/hostname")?;
        assert_eq!((answer.code, answer.stdout.trim()), (Some(0), host.name()), "{answer:?}");
    }
    let files = lab.ssh_files();
    let mut ssh = lab.command("ssh");
    ssh.arg("-F").arg(&files.config).args(["deploy@web-01", "sudo -n id -u"]);
    let answer = ssh.output().expect("ssh starts");
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), "0", "{answer:?}");
    // The process is the program: a signal reaches it.
    let mut program = lab.command("sleep").arg("60").spawn().expect("sleep starts");
    let command = || fs::read_to_string(format!("/proc/{}/comm", program.id())).unwrap_or_default();
    let became = wait_for("the program", || Ok(command().trim() == "sleep"));
    program.kill().expect("kill");
    program.wait().expect("wait");
    became
}

fn packages_do_not_restart(host: &Host) -> Tested {
    assert!(install(host, "shop=1.1.0-1")?.success());
    assert_eq!(shop_version(host)?, demo::FIRST, "the old one still runs");
    restart_shop(host)?;
    assert_eq!(shop_version(host)?, demo::SECOND);
    let log = host.expect("cut -d' ' -f1 /var/lib/shop/installs.log")?;
    assert_eq!(log, "1.0.0-1\n1.1.0-1\n");
    Ok(())
}

fn versions_misbehave_as_they_should(host: &Host) -> Tested {
    assert!(install(host, "store=1.2.0-1")?.success());
    host.expect("systemctl restart store && sleep 0.3")?;
    assert!(!host.run("curl -fs http://127.0.0.1:9000/-/readiness")?.success());
    assert!(!install(host, "store=1.3.0-1")?.success());
    assert_eq!(host.expect("dpkg-query -W -f '${db:Status-Abbrev}' store")?.trim(), "iF");
    let began = Instant::now();
    assert!(install(host, "store=1.4.0-1")?.success());
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert!(install(host, "store=1.0.0-1")?.success(), "and back");
    Ok(())
}

fn crash_and_hang(lab: &Lab, host: &Host) -> Tested {
    host.freeze()?;
    let asked = lab.exec("curl", ["-s", "-m", "1", &format!("http://{}:8080/", host.name())])?;
    assert_eq!(asked.code, Some(28), "a hanging host accepts and does not answer: {asked:?}");
    host.thaw()?;
    assert!(host.ssh("true")?.success());
    host.freeze()?;
    host.kill()?;
    assert!(!host.is_running());
    assert!(matches!(host.run("true"), Err(LabError::NotRunning { .. })));
    host.start()?;
    assert_eq!(
        host.expect("tail -n1 /var/lib/shop/installs.log | cut -d' ' -f1")?,
        "1.0.0-1\n",
        "files survive"
    );
    wait_until_up(lab, host)
}

fn undrained_restart_is_counted(
    lab: &Lab,
    traffic: &mut Traffic,
    host: &Host,
) -> Result<TrafficReport, LabError> {
    traffic.wait_for(1000)?;
    let before = traffic.snapshot()?;
    assert_eq!(before.failed, 0, "{before}");
    restart_shop(host)?;
    wait_until_up(lab, host)?;
    // The last of the requests that the restart cut would have lasted until now.
    sleep(Duration::from_secs(3));
    let after = traffic.snapshot()?;
    assert!(after.failed > 0, "{after}");
    assert!(after.failures.contains_key("truncated"), "{after}");
    Ok(after)
}

#[test]
fn a_fleet_serves_and_every_failure_is_counted() -> Tested {
    let spec = LabSpec::standard(&name("fleet"));
    let Some(lab) = up(&spec)? else { return Ok(()) };
    reach_every_host(&lab)?;
    packages_do_not_restart(lab.host("web-04")?)?;
    versions_misbehave_as_they_should(lab.host("gitaly-01")?)?;
    crash_and_hang(&lab, lab.host("web-03")?)?;

    let mut traffic = Traffic::start(&lab)?;
    let broken = undrained_restart_is_counted(&lab, &mut traffic, lab.host("web-02")?)?;
    println!("restarted without draining: {broken}");
    let began = Instant::now();
    restart_drained(&lab, lab.host("web-01")?)?;
    println!("drained by hand, restarted, put back in {:?}", began.elapsed());
    let report = traffic.stop()?;
    assert_eq!(report.failed, broken.failed, "none but those of the undrained restart: {report}");
    assert!(report.per_second >= 200.0, "{report}");
    println!("in all: {} requests, {:.0}/s, {:?}", report.requests, report.per_second, report.by_host);

    let began = Instant::now();
    lab.down()?;
    println!("down in {:?}", began.elapsed());
    assert_eq!(traces(&spec.name), Vec::<String>::new());
    Ok(())
}

#[test]
fn a_killed_owner_leaves_nothing_for_long() -> Tested {
    let Some(other) = up(&one_host("other"))? else { return Ok(()) };
    let orphan = name("orphan");
    for removed_by_name in [true, false] {
        let mut owner = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["--name", &orphan, "up"])
            .stdout(Stdio::null())
            .spawn()
            .expect("lab starts");
        let booting = wait_for("a host of the orphan to boot", || {
            Ok(traces(&orphan).iter().any(|trace| trace.contains("systemd-nspawn")))
        });
        let refused = matches!(lab::remove(&orphan), Err(LabError::InUse { .. }));
        owner.kill().expect("kill");
        owner.wait().expect("wait");
        booting?;
        assert!(refused, "its owner lived");
        assert_ne!(traces(&orphan), Vec::<String>::new());
        if removed_by_name {
            lab::remove(&orphan)?;
        } else {
            // Any lab that goes up takes the orphans away.
            drop(up(&one_host("next"))?);
        }
        assert_eq!(traces(&orphan), Vec::<String>::new());
    }
    assert!(other.host("deploy-01")?.ssh("true")?.success(), "another lab does not notice");
    Ok(())
}

#[test]
fn a_real_package_goes_forward_and_back() -> Tested {
    let Some(lab) = up(&one_host("real"))? else { return Ok(()) };
    let repacked = lab.repack("apache2", "2.4.0-0lab1")?;
    println!("{repacked:?}: Debian's files, the older version is a repackaging of the same");
    assert!(repacked.packages.len() >= 3, "{repacked:?}");
    let host = lab.host("deploy-01")?;
    host.expect("apt-get -q update")?;
    for version in [&repacked.older, &repacked.newer, &repacked.older] {
        let pin = format!("Package: src:apache2\nPin: version {version}\nPin-Priority: 1001\n");
        host.write("/etc/apt/preferences.d/pin", &pin)?;
        let installed = install(host, &format!("--no-install-recommends apache2={version}"))?;
        assert!(installed.success(), "{installed:?}");
        let versions = host.expect("dpkg-query -W -f '${Version}\\n' apache2 apache2-bin apache2-data")?;
        assert!(versions.lines().all(|one| one == version), "{versions}");
    }
    Ok(())
}

//! What a whole release needs of a lab: two environments, runit services, migrations, canary shares, alerts, an
//! agent. All on real hosts with the real programs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Host, HostKind, Lab, LabError, LabSpec, Monitoring, Release, Traffic, TrafficSpec, agent};

type Tested = Result<(), LabError>;

/// A name that no other run of these tests uses at the same time.
fn name(of: &str) -> String {
    format!("p{}-{of}", std::process::id())
}

fn up(spec: &LabSpec) -> Result<Option<Lab>, LabError> {
    let began = Instant::now();
    let lab = Lab::up_or_skip(spec)?;
    if let Some(lab) = &lab {
        println!("lab {}: {} hosts up in {:?}", lab.name(), lab.hosts().len(), began.elapsed());
    }
    Ok(lab)
}

fn wait_for(what: &str, mut holds: impl FnMut() -> Result<bool, LabError>) -> Tested {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds()? {
        assert!(Instant::now() < deadline, "waited 20 s for {what}");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn install(host: &Host, version: &str) -> Tested {
    host.expect(&format!(
        "DEBIAN_FRONTEND=noninteractive apt-get -y -q --allow-downgrades -o Dpkg::Use-Pty=0 install shop-ee={version}"
    ))
    .map(drop)
}

fn install_with_care(host: &Host, version: &str) -> Tested {
    host.expect("touch /etc/shop/skip-auto-reconfigure")?;
    install(host, version)
}

/// The version of the running process, not of the package.
fn running(host: &Host, service: &str) -> Result<String, LabError> {
    Ok(host.expect(&format!("shop-ctl version {service}"))?.trim().to_owned())
}

fn hup_and_warm_up(host: &Host) -> Tested {
    host.expect("shop-ctl hup web")?;
    wait_for("the web service", || Ok(host.run("curl -fs http://127.0.0.1:8080/-/readiness")?.success()))
}

fn a_package_replaces_files_and_a_hup_the_process(host: &Host) -> Tested {
    install_with_care(host, "1.1.0")?;
    assert_eq!(running(host, "web")?, "1.0.0", "the old one still runs");
    hup_and_warm_up(host)?;
    assert_eq!(running(host, "web")?, "1.1.0");
    let process = || host.expect("cat /opt/shop/service/web/supervise/pid");
    let before = process()?;
    host.expect("shop-ctl reconfigure")?;
    assert_eq!(process()?, before, "reconfigure restarts nothing that runs");
    host.expect("shop-ctl restart web")?;
    assert_ne!(process()?, before);
    assert!(host.expect("shop-ctl status")?.starts_with("run: web:"));
    Ok(())
}

fn a_patch_is_seen_by_dpkg_at_once_and_by_users_after_activation(host: &Host) -> Tested {
    let patch = "--- a/lib/message.txt\n+++ b/lib/message.txt\n@@ -1 +1 @@\n-welcome to the shop\n+patched\n";
    host.write("/tmp/message.patch", patch)?;
    host.expect("patch -d /opt/shop -p1 < /tmp/message.patch")?;
    assert!(host.run("dpkg --verify shop-ee")?.stdout.contains("/opt/shop/lib/message.txt"));
    let said = || host.expect("curl -fsS http://127.0.0.1:8080/message");
    assert_eq!(said()?, "welcome to the shop\n");
    hup_and_warm_up(host)?;
    assert_eq!(said()?, "patched\n");
    install_with_care(host, "1.1.0")?;
    hup_and_warm_up(host)?;
    assert_eq!(said()?, "welcome to the shop\n", "a new package drops the patch");
    Ok(())
}

fn migrations_are_written_once_for_each_time_they_run(lab: &Lab) -> Tested {
    let host = lab.host("deploy-01")?;
    let environment = "production";
    let pre = "SKIP_POST_DEPLOYMENT_MIGRATIONS=true shop-migrate";
    assert_eq!(lab.migrations(environment)?, ["1.0.0 pre", "1.0.0 post"], "those of the beginning");
    install_with_care(host, "1.1.0")?;
    lab.steer_migration(environment, "1.1.0", "pre", 0, true)?;
    let failed = host.run(pre)?;
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert_eq!(lab.migrations(environment)?.len(), 2, "a failed one leaves no row");
    lab.steer_migration(environment, "1.1.0", "pre", 1, false)?;
    let began = Instant::now();
    host.expect(pre)?;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(lab.migrations(environment)?[2..], ["1.1.0 pre"]);
    host.expect("SHOP_MIGRATION_SECONDS=0 shop-migrate")?;
    assert_eq!(lab.migrations(environment)?[2..], ["1.1.0 pre", "1.1.0 post"]);
    host.expect("SHOP_MIGRATION_SECONDS=0 shop-migrate")?;
    assert_eq!(lab.migrations(environment)?[4..], ["1.1.0 post"], "twice is seen");
    assert_eq!(lab.migrations("staging")?, [""; 0], "another database, which nobody migrated");
    lab.psql(environment, "insert into background_migrations values ('backfill')")?;
    assert!(!host.run("shop-migrate ready")?.success());
    lab.psql(environment, "delete from background_migrations")?;
    assert!(host.run("shop-migrate ready")?.success());
    Ok(())
}

fn a_forgotten_skip_file_is_found_out(lab: &Lab, host: &Host) -> Tested {
    assert!(!host.run("test -e /var/lib/shop/auto-reconfigures.log")?.success());
    let before = lab.migrations("production")?.len();
    // It knows no migration that the deploy host has not run, but runs its own again.
    lab.steer_migration("production", "1.1.0", "post", 0, false)?;
    install(host, "1.1.0")?;
    assert_eq!(host.expect("cat /var/lib/shop/auto-reconfigures.log")?, "1.1.0\n");
    assert_eq!(lab.migrations("production")?[before..], ["1.1.0 post"]);
    assert_eq!(running(host, "storage")?, "1.1.0", "it even restarted");
    Ok(())
}

fn weigh(lab: &Lab, weight: u32) -> Tested {
    for balancer in lab.hosts_in("production", HostKind::LoadBalancer) {
        let answer = balancer.haproxy(&format!("set server web/web-cny-01 weight {weight}"))?;
        assert_eq!(answer.trim(), "", "{answer}");
    }
    Ok(())
}

fn the_share_of_the_canary_is_its_weight(lab: &Lab) -> Tested {
    let none = lab.sample("production", 1000)?;
    assert_eq!((none.failed, lab.by_track(&none)["canary"]), (0, 0), "no weight, no share: {none}");
    // Two main servers of 100 each.
    for (percent, weight) in [(1.0, 2), (5.0, 10), (25.0, 66)] {
        weigh(lab, weight)?;
        let sample = lab.sample("production", 10_000)?;
        let measured = lab.canary_percent(&sample);
        println!("weight for {percent} %: measured {measured:.2} % of {sample}");
        assert_eq!((sample.failed, sample.requests), (0, 10_000), "{sample}");
        assert!((measured - percent).abs() < 1.0, "{measured} instead of {percent}");
    }
    Ok(())
}

#[test]
fn one_package_family_serves_migrates_and_takes_a_share_in_two_environments() -> Tested {
    let releases = [Release::new("1.0.0"), Release::new("1.1.0")];
    let spec = LabSpec::empty(&name("family"))
        .with_hosts_in("staging", "stg-fe", 1, HostKind::LoadBalancer)
        .with_hosts_in("staging", "stg-web", 1, HostKind::Web)
        .with_hosts_in("production", "fe", 1, HostKind::LoadBalancer)
        .with_hosts_in("production", "web", 2, HostKind::Web)
        .with_hosts_in("production", "web-cny", 1, HostKind::Canary)
        .with_hosts_in("production", "gitaly", 1, HostKind::Storage)
        .with_hosts_in("production", "deploy", 1, HostKind::Migration)
        .with_hosts("db", 1, HostKind::Database)
        .with_releases(releases.clone());
    let Some(lab) = up(&spec)? else { return Ok(()) };
    let staging = lab.sample("staging", 500)?;
    assert_eq!(staging.by_host.keys().collect::<Vec<_>>(), ["stg-web-01"], "{staging}");

    the_share_of_the_canary_is_its_weight(&lab)?;
    a_package_replaces_files_and_a_hup_the_process(lab.host("web-cny-01")?)?;
    a_patch_is_seen_by_dpkg_at_once_and_by_users_after_activation(lab.host("web-02")?)?;
    migrations_are_written_once_for_each_time_they_run(&lab)?;
    a_forgotten_skip_file_is_found_out(&lab, lab.host("gitaly-01")?)?;

    lab.publish_release(&Release::new("1.2.202611220100").with_message("later"), &releases)?;
    let host = lab.host("stg-web-01")?;
    host.expect("apt-get -qq update")?;
    let mut traffic = Traffic::start_with(&lab, &TrafficSpec::of("production", &["1.0.0", "1.1.0"]))?;
    install_with_care(host, "1.2.202611220100")?;
    hup_and_warm_up(host)?;
    assert_eq!(host.expect("curl -fsS http://127.0.0.1:8080/message")?, "later\n");
    traffic.wait_for(500)?;
    let report = traffic.stop()?;
    assert_eq!(report.failed, 0, "production does not see staging: {report}");
    assert!(!report.by_host.contains_key("stg-web-01"), "{:?}", report.by_host);
    Ok(())
}

fn wait_until_firing(monitoring: Monitoring<'_>, wanted: &[&str]) -> Tested {
    let began = Instant::now();
    wait_for(&format!("{wanted:?} to fire"), || Ok(monitoring.firing()? == wanted))?;
    println!("{wanted:?} after {:?}", began.elapsed());
    Ok(())
}

fn alerts_come_and_go(monitoring: Monitoring<'_>) -> Tested {
    let labels = [("env", "production"), ("severity", "critical")];
    wait_until_firing(monitoring, &["Watchdog"])?;
    monitoring.fire("checkout", &labels)?;
    wait_until_firing(monitoring, &["LabAlarm", "Watchdog"])?;
    monitoring.silence(&[("alertname", "LabAlarm"), ("env", "production")], 60)?;
    wait_until_firing(monitoring, &["Watchdog"])?;
    monitoring.clear("checkout")?;
    monitoring.clear("never-fired")?;
    let direct = [&[("alertname", "Direct")], &labels[..]].concat();
    monitoring.post_alert(&direct, 60)?;
    wait_until_firing(monitoring, &["Direct", "Watchdog"])?;
    monitoring.post_alert(&direct, 0)?;
    wait_until_firing(monitoring, &["Watchdog"])
}

fn without_prometheus_there_is_no_watchdog(monitoring: Monitoring<'_>) -> Tested {
    monitoring.stop_prometheus()?;
    wait_until_firing(monitoring, &[])?;
    monitoring.start_prometheus()?;
    wait_until_firing(monitoring, &["Watchdog"])
}

fn a_pushed_metric_can_be_asked_for(lab: &Lab, monitoring: Monitoring<'_>) -> Tested {
    let url = format!("{}/api/v1/query?query=errors_ratio", monitoring.prometheus());
    for value in ["0.25", "0.5"] {
        let number = value.parse().expect("a number");
        monitoring.push_metric("errors_ratio", &[("env", "production")], number)?;
        wait_for("the metric", || {
            Ok(lab.exec("curl", ["-fsS", &url])?.stdout.contains(&format!("\"{value}\"")))
        })?;
    }
    Ok(())
}

fn an_agent_comes_by_itself_and_can_be_stopped(host: &Host) -> Tested {
    host.write(agent::DURATION, "1\n")?;
    let runs = || Ok::<_, LabError>(host.run(&format!("cat {}", agent::RUNS))?.stdout);
    wait_for("a run of the agent", || Ok(runs()?.contains("end ")))?;
    host.expect(&format!("systemctl stop {}", agent::TIMER))?;
    assert_eq!(host.run(&format!("systemctl is-active {}", agent::TIMER))?.stdout, "inactive\n");
    host.expect("agent-pin production 1.1.0")?;
    assert_eq!(host.expect(&format!("cat {}", agent::PINS))?, "production 1.1.0\n");
    Ok(())
}

#[test]
fn alerts_metrics_and_an_agent_behave_as_real_ones() -> Tested {
    let spec = LabSpec::empty(&name("watch")).with_hosts("mon", 1, HostKind::Monitoring).with_config_agent();
    let Some(lab) = up(&spec)? else { return Ok(()) };
    let monitoring = lab.monitoring()?;
    alerts_come_and_go(monitoring)?;
    a_pushed_metric_can_be_asked_for(&lab, monitoring)?;
    without_prometheus_there_is_no_watchdog(monitoring)?;
    an_agent_comes_by_itself_and_can_be_stopped(lab.host("mon-01")?)
}

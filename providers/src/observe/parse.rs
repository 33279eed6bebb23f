//! The answer of a host's observation, read.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::SignedDuration;
use model::{
    Claim, HealthState, HostState, PackageName, PackageState, Probe, Role, Service, ServiceName,
    ServiceState, StepId, Version,
};

use super::records;
use crate::shell::{last_lines, sections, start_ticks};

/// `/proc/<pid>/stat` counts in these everywhere on Linux.
const TICKS_PER_S: f64 = 100.0;

/// No clock shows more: thirty thousand years.
const LONGEST_S: f64 = 1e12;

/// Without a probe, a service is well once it has kept its process for this long.
const SETTLED_S: i64 = 10;

/// An answer that is not what our script says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A part is missing: the answer was cut off, or a tool is missing there.
    #[error("no `{part}` in the answer")]
    Missing {
        /// Which.
        part: String,
    },
    /// A part is not in its form.
    #[error("`{text}` is no {part}")]
    Malformed {
        /// Which.
        part: &'static str,
        /// What stands there.
        text: String,
    },
}

pub(super) struct Answer<'a>(pub(super) BTreeMap<&'a str, &'a str>);

impl<'a> Answer<'a> {
    fn part(&self, name: &str) -> Result<&'a str, Unreadable> {
        self.0.get(name).copied().ok_or_else(|| Unreadable::Missing { part: name.to_owned() })
    }

    pub(super) fn lines(&self, name: &str) -> Result<impl Iterator<Item = &'a str> + use<'a>, Unreadable> {
        Ok(self.part(name)?.lines().filter(|line| !line.is_empty()))
    }

    /// The one line of a part that must not be empty.
    fn line(&self, name: &'static str) -> Result<&'a str, Unreadable> {
        let line = self.part(name)?.lines().next().map(str::trim).filter(|line| !line.is_empty());
        line.ok_or_else(|| Unreadable::Missing { part: name.to_owned() })
    }

    fn seconds(&self, name: &'static str) -> Result<f64, Unreadable> {
        let line = self.line(name)?;
        seconds(name, line.split(' ').next().unwrap_or_default())
    }
}

pub(super) fn number<T: FromStr>(part: &'static str, text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|_| Unreadable::Malformed { part, text: text.to_owned() })
}

/// A time on one of the host's clocks. Infinity and its like are numbers too, and no time.
fn seconds(part: &'static str, text: &str) -> Result<f64, Unreadable> {
    let seconds: f64 = number(part, text)?;
    let sound = seconds.abs() < LONGEST_S;
    if sound { Ok(seconds) } else { Err(Unreadable::Malformed { part, text: text.to_owned() }) }
}

fn version(part: &'static str, text: &str) -> Result<Version, Unreadable> {
    Version::parse(text).map_err(|_| Unreadable::Malformed { part, text: text.to_owned() })
}

/// The host's state by the answer to the script that was made for this role. Health is `Healthy` for a probe that is
/// asked from elsewhere.
///
/// # Errors
/// [`Unreadable`]: half an answer is none.
pub fn parse_host(text: &str, role: &Role) -> Result<HostState, Unreadable> {
    let answer = Answer(sections(text));
    answer.part("end")?;
    let (packages, services) = (packages(&answer)?, services(&answer, role)?);
    let (job, in_doubt) = jobs(&answer)?;
    let health = health(&answer, role, &services)?;
    Ok(HostState {
        machine_id: answer.line("machine-id")?.into(),
        boot_id: answer.line("boot-id")?.into(),
        codename: answer.line("codename")?.into(),
        addresses: answer.part("addresses")?.split_whitespace().map(Into::into).collect(),
        packages,
        dpkg_interrupted: answer.lines("interrupted")?.next().is_some(),
        staged: staged(&answer)?,
        services,
        health,
        claim: claim(&answer)?,
        job,
        in_doubt,
        patches: records::patches(&answer)?,
        agent: records::agent(&answer)?,
        last_generation: records::last_generation(&answer)?,
        jobs: records::jobs(&answer)?,
    })
}

fn claim(answer: &Answer<'_>) -> Result<Option<Claim>, Unreadable> {
    let Some(line) = answer.lines("claim")?.next() else { return Ok(None) };
    let claim = serde_json::from_str(line);
    claim.map(Some).map_err(|_| Unreadable::Malformed { part: "claim", text: line.to_owned() })
}

fn packages(answer: &Answer<'_>) -> Result<BTreeMap<PackageName, PackageState>, Unreadable> {
    let unconfigured: BTreeSet<&str> = answer.part("unconfigured")?.split_whitespace().collect();
    let mut packages = BTreeMap::new();
    for line in answer.lines("packages")? {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, number, status] = fields.as_slice() else {
            return Err(Unreadable::Malformed { part: "package", text: line.to_owned() });
        };
        // Known to dpkg but not there: never installed, or removed with its configuration left.
        if matches!(status.as_bytes().get(1), Some(b'n' | b'c')) {
            continue;
        }
        // Our own configure commands belong to the install: until they have succeeded it is not whole.
        let waits = unconfigured.contains(format!("{name}={number}").as_str());
        let state = PackageState {
            version: version("package version", number)?,
            installed: status.get(1..) == Some("i ") && !waits,
            status: if waits { format!("{status}, not configured yet").into() } else { status.into() },
            held: status.starts_with('h'),
        };
        packages.insert(PackageName::from(name), state);
    }
    Ok(packages)
}

fn staged(answer: &Answer<'_>) -> Result<BTreeMap<PackageName, BTreeSet<Version>>, Unreadable> {
    let mut staged: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (package, number) in answer.lines("staged")?.filter_map(|line| line.split_once('=')) {
        staged.entry(PackageName::from(package)).or_default().insert(version("staged version", number)?);
    }
    Ok(staged)
}

/// The job that runs, and those that began, have no end and do not run.
fn jobs(answer: &Answer<'_>) -> Result<(Option<StepId>, BTreeSet<StepId>), Unreadable> {
    let (mut job, mut in_doubt) = (None, BTreeSet::new());
    for line in answer.lines("jobs")? {
        let mut words = line.split(' ');
        let (name, started, state) = (words.next(), words.next(), words.next());
        let Some(step) = name.map(StepId::from) else { continue };
        if matches!(state, Some("activating" | "active" | "deactivating" | "reloading")) {
            job = Some(step);
        } else if started == Some("started") {
            in_doubt.insert(step);
        }
    }
    Ok((job, in_doubt))
}

/// A unit as systemd tells it.
struct Unit<'a> {
    active: &'a str,
    sub: &'a str,
    pid: Option<u32>,
}

/// systemd answers in the order of the question; units are parted by empty lines.
fn units<'a>(answer: &Answer<'a>, role: &Role) -> Result<BTreeMap<ServiceName, Unit<'a>>, Unreadable> {
    let asked = role.services.iter().filter(|service| service.systemd);
    let told = answer.part("units")?.split("\n\n").map(str::trim).filter(|block| !block.is_empty());
    let told: Vec<&str> = told.collect();
    let mut units = BTreeMap::new();
    for (at, service) in asked.enumerate() {
        let missing = || Unreadable::Missing { part: format!("unit {}", service.name) };
        let block = told.get(at).ok_or_else(missing)?;
        let get = |key: &str| block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let pid: u32 = number("main pid", get("MainPID").ok_or_else(missing)?)?;
        let unit = Unit {
            active: get("ActiveState").ok_or_else(missing)?,
            sub: get("SubState").ok_or_else(missing)?,
            pid: (pid != 0).then_some(pid),
        };
        units.insert(service.name.clone(), unit);
    }
    Ok(units)
}

/// The host's own clocks, and what happened by them.
struct Clocks {
    now_s: f64,
    uptime_s: f64,
    /// When the last of the packages was unpacked.
    unpacked_s: Option<f64>,
    /// Start of processes, in ticks since boot.
    starts: BTreeMap<u32, u64>,
}

impl Clocks {
    fn read(answer: &Answer<'_>) -> Result<Self, Unreadable> {
        let mut unpacked_s: Option<f64> = None;
        for line in answer.lines("unpacked")? {
            let at = seconds("unpack time", line)?;
            unpacked_s = Some(unpacked_s.map_or(at, |last| last.max(at)));
        }
        let starts = answer.lines("processes")?.filter_map(|line| {
            let (pid, stat) = line.split_once(' ')?;
            Some((pid.parse().ok()?, start_ticks(stat)?))
        });
        Ok(Self {
            now_s: answer.seconds("now")?,
            uptime_s: answer.seconds("uptime")?,
            unpacked_s,
            starts: starts.collect(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "ticks since boot stay far below 2^52")]
    fn age_s(&self, pid: u32) -> Option<f64> {
        Some((self.uptime_s - *self.starts.get(&pid)? as f64 / TICKS_PER_S).max(0.0))
    }

    fn started_after_unpack(&self, pid: u32) -> Option<bool> {
        Some(self.now_s - self.age_s(pid)? > self.unpacked_s?)
    }
}

fn services(answer: &Answer<'_>, role: &Role) -> Result<BTreeMap<ServiceName, ServiceState>, Unreadable> {
    let (units, clocks) = (units(answer, role)?, Clocks::read(answer)?);
    let mut services = BTreeMap::new();
    for service in &role.services {
        let unit = units.get(&service.name);
        let pid = unit.and_then(|unit| unit.pid);
        let said = said(answer, service)?;
        let (active, state) = match (unit, &said) {
            (Some(unit), _) => (unit.active == "active", state(unit)),
            (None, Some(Err(code))) => (false, format!("its running command ended with {code}")),
            (None, Some(Ok(_)) | None) => (true, "not known to systemd".to_owned()),
        };
        let reported = said.as_ref().and_then(|said| Version::parse(said.as_ref().ok()?).ok());
        let uptime = pid.and_then(|pid| clocks.age_s(pid)).map(SignedDuration::from_secs_f64);
        services.insert(
            service.name.clone(),
            ServiceState {
                active,
                state: state.into(),
                pid,
                uptime,
                started_after_unpack: pid.and_then(|pid| clocks.started_after_unpack(pid)),
                stamped: stamp(answer, service, pid, &clocks, said)?,
                reported,
            },
        );
    }
    Ok(services)
}

fn state(unit: &Unit<'_>) -> String {
    match unit.active {
        "active" => "active".to_owned(),
        active => format!("{active} ({})", unit.sub),
    }
}

/// The first line that the service's `running` command printed, or its exit code; none: it has no such command.
fn said<'a>(answer: &Answer<'a>, service: &Service) -> Result<Option<Result<&'a str, &'a str>>, Unreadable> {
    if service.running.is_none() {
        return Ok(None);
    }
    let code = answer.part(&format!("running-exit {}", service.name))?.trim();
    let text = answer.part(&format!("running {}", service.name))?;
    Ok(Some(if code == "0" { Ok(text.lines().next().unwrap_or_default()) } else { Err(code) }))
}

/// The stamped version, when the stamp is for this boot, process and answer of the `running` command.
fn stamp(
    answer: &Answer<'_>,
    service: &Service,
    pid: Option<u32>,
    clocks: &Clocks,
    said: Option<Result<&str, &str>>,
) -> Result<Option<Version>, Unreadable> {
    let Some(line) = answer.lines(&format!("stamp {}", service.name))?.next() else { return Ok(None) };
    let fields: Vec<&str> = line.splitn(5, ' ').collect();
    let &[number, boot, stamped_pid, start, words] = fields.as_slice() else { return Ok(None) };
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    // A unit without a main process is stamped as process 0.
    let pid_now = if service.systemd { pid.unwrap_or(0).to_string() } else { "-".to_owned() };
    let start_now = shown(pid.and_then(|pid| clocks.starts.get(&pid)).map(u64::to_string));
    let words_now = said.and_then(Result::ok).filter(|words| !words.is_empty()).unwrap_or("-");
    let valid =
        boot == answer.line("boot-id")? && stamped_pid == pid_now && start == start_now && words == words_now;
    if valid { version("stamp", number).map(Some) } else { Ok(None) }
}

fn health(
    answer: &Answer<'_>,
    role: &Role,
    services: &BTreeMap<ServiceName, ServiceState>,
) -> Result<HealthState, Unreadable> {
    let asked_there = role.health.as_ref().is_some_and(|health| matches!(health.probe, Probe::Command(_)));
    if asked_there {
        let code = answer.part("health-exit")?.trim();
        let words = last_lines(answer.part("health")?, 1);
        return Ok(match code {
            "0" => HealthState::Healthy,
            "124" | "137" => HealthState::Unhealthy("the health command did not end in 10 s".to_owned()),
            code => HealthState::Unhealthy(format!("the health command ended with {code}: {words}")),
        });
    }
    if role.health.is_some() {
        return Ok(HealthState::Healthy);
    }
    let ill = services.iter().find_map(|(name, service)| ill(name, service));
    Ok(ill.map_or(HealthState::Healthy, HealthState::Unhealthy))
}

fn ill(name: &ServiceName, service: &ServiceState) -> Option<String> {
    let uptime_s = service.uptime.map(|uptime| uptime.as_secs());
    match uptime_s {
        _ if !service.active => Some(format!("{name} is {}", service.state)),
        Some(s) if s < SETTLED_S => Some(format!("{name} has run for {s} s, must have for {SETTLED_S} s")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Activate, Argv, Generation, Health, Running, Track};

    /// Recorded on Debian 12: a package whose install script failed, a running job, a lost one, a stamp.
    const SAMPLE: &str = include_str!("samples/half-way.txt");

    fn role(health: bool) -> Role {
        let service = |name: &str, systemd, running| Service {
            name: name.into(),
            systemd,
            activate: Activate::Restart,
            running,
        };
        let puma = Some(Argv(vec!["puma-version".into()]));
        let probe = Probe::Command(Argv(vec!["check".into()]));
        Role {
            name: "web".into(),
            track: Track::Main,
            hosts: vec!["web-01".into()],
            packages: vec!["shop".into(), "absent".into()],
            package_version: "{version}".into(),
            backends: Vec::new(),
            max_unavailable: 1,
            allow_outage: false,
            prepare: Vec::new(),
            configure: Vec::new(),
            services: vec![
                service("shop.service", true, None),
                service("nothing.service", true, None),
                service("puma", false, puma),
            ],
            health: health.then_some(Health { probe, within: SignedDuration::from_secs(60) }),
        }
    }

    fn version(text: &str) -> Version {
        Version::parse(text).unwrap()
    }

    #[test]
    fn a_host_is_read_as_it_is() {
        let state = parse_host(SAMPLE, &role(true)).unwrap();
        assert_eq!(
            (state.codename.as_str(), state.machine_id.len(), state.boot_id.len()),
            ("bookworm", 32, 36)
        );
        assert_eq!(state.addresses, BTreeSet::from(["10.77.0.13".into()]));
        let shop = &state.packages["shop"];
        assert_eq!(
            (&shop.version, shop.installed, shop.status.as_str()),
            (&version("1.3.0-1"), false, "iF ")
        );
        assert!(!state.packages.contains_key("absent") && !shop.held && !state.dpkg_interrupted);
        assert_eq!(state.staged, BTreeMap::from([("shop".into(), BTreeSet::from([version("1:2.0-1")]))]));
        assert_eq!(state.claim.map(|claim| claim.generation), Some(Generation(7)));
        assert_eq!(state.job, Some(StepId::from("s-8")));
        assert_eq!(state.in_doubt, BTreeSet::from(["lost-1".into()]));
        assert_eq!(state.health, HealthState::Unhealthy("the health command ended with 3: not yet".into()));
    }

    #[test]
    fn a_service_is_told_by_its_stamp_its_command_and_its_start() {
        let state = parse_host(SAMPLE, &role(true)).unwrap();
        let shop = &state.services["shop.service"];
        assert_eq!((shop.active, shop.pid, &shop.stamped), (true, Some(113), &Some(version("1.0.0-1"))));
        assert_eq!((shop.started_after_unpack, shop.uptime.unwrap().as_secs()), (Some(false), 3));
        let nothing = &state.services["nothing.service"];
        assert_eq!((nothing.running(None), nothing.state.as_str()), (Running::Stopped, "inactive (dead)"));
        assert_eq!(state.services["puma"].reported, Some(version("6.4.2")));
    }

    #[test]
    fn a_stamp_of_another_process_or_boot_is_worth_nothing() {
        for (old, new) in
            [(" 113 485648", " 114 485648"), (" 113 485648", " 113 485649"), ("ad933773-", "ad933774-")]
        {
            let stamp = SAMPLE.find("@@stamp shop").unwrap();
            let changed = format!("{}{}", &SAMPLE[..stamp], SAMPLE[stamp..].replacen(old, new, 1));
            let state = parse_host(&changed, &role(true)).unwrap();
            assert_eq!(state.services["shop.service"].stamped, None, "{new}");
        }
    }

    #[test]
    fn without_a_probe_every_service_must_have_kept_its_process() {
        let cut = SAMPLE.find("@@health\n").unwrap();
        let text = format!("{}@@end\n", &SAMPLE[..cut]);
        let mut role = role(false);
        let ill = parse_host(&text, &role).unwrap().health;
        assert_eq!(ill, HealthState::Unhealthy("nothing.service is inactive (dead)".into()));
        role.services.retain(|service| service.name.as_str() != "nothing.service");
        let text = text.replace("\n\nMainPID=0\nId=nothing.service\nActiveState=inactive\nSubState=dead", "");
        let young = parse_host(&text, &role).unwrap().health;
        assert_eq!(young, HealthState::Unhealthy("shop.service has run for 3 s, must have for 10 s".into()));
        let text = text.replace("4859.84 ", "4870.00 ");
        assert_eq!(parse_host(&text, &role).unwrap().health, HealthState::Healthy);
    }

    #[test]
    fn a_package_whose_configure_commands_have_not_succeeded_is_not_whole() {
        let text = SAMPLE.replace("1.3.0-1\tiF ", "1.3.0-1\thi ");
        assert!(parse_host(&text, &role(true)).unwrap().packages["shop"].installed);
        let text = text.replace("@@unconfigured\n", "@@unconfigured\nshop=1.3.0-1\n");
        let shop = parse_host(&text, &role(true)).unwrap().packages["shop"].clone();
        assert_eq!((shop.installed, shop.status.as_str()), (false, "hi , not configured yet"));
        let text = text.replace("shop=1.3.0-1", "shop=1.4.0-1");
        assert!(
            parse_host(&text, &role(true)).unwrap().packages["shop"].installed,
            "it is about another version"
        );
    }

    #[test]
    fn a_clock_that_shows_no_time_is_not_read() {
        for wrong in ["inf", "NaN", "1e300"] {
            for clock in ["4859.84", "1795326074.999338053", "1795326075.440801178"] {
                let text = SAMPLE.replace(clock, wrong);
                assert!(parse_host(&text, &role(true)).is_err(), "{wrong} for {clock}");
            }
        }
    }

    #[test]
    fn a_health_command_that_was_never_answered_is_not_healthy() {
        let cut = SAMPLE.find("@@health\n").unwrap();
        let text = format!("{}@@end\n", &SAMPLE[..cut]);
        let missing = parse_host(&text, &role(true)).unwrap_err();
        assert_eq!(missing, Unreadable::Missing { part: "health-exit".to_owned() });
    }

    #[test]
    fn half_an_answer_is_none() {
        for (at, _) in SAMPLE.match_indices('\n').filter(|(at, _)| *at < SAMPLE.find("@@end").unwrap()) {
            assert!(parse_host(&SAMPLE[..at], &role(true)).is_err(), "{at} bytes");
        }
    }
}

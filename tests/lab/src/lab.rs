//! A whole lab: up, in use, down.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::error::LabError;
use crate::host::Host;
use crate::keys::{self, SshFiles};
use crate::place::{self, Place, create_directory};
use crate::prepare::{hosts_file, prepare};
use crate::process::Process;
use crate::program::Output;
use crate::release::Release;
use crate::repack::{Repacked, repack};
use crate::spec::{HostKind, LabSpec, validate_name};
use crate::{demo, image, install, layer, network, program, removal, repository, requirements};

/// A running lab.
///
/// One that came from [`Lab::up`] is removed when it is dropped; one from [`Lab::attach`] is not.
#[derive(Debug)]
pub struct Lab {
    place: Place,
    record: Record,
    hosts: Vec<Host>,
    owned: bool,
}

/// What is on disk about a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    spec: LabSpec,
    /// What the file systems of the hosts lie on, the topmost first.
    layers: Vec<PathBuf>,
}

impl Lab {
    /// Starts a lab and waits until every host answers ssh, `shop` and `store` answer, and the load
    /// balancers see every web host up.
    ///
    /// Installs what is missing on the machine, builds the root file system if it is not cached, and
    /// removes labs whose owner has died, as well as an unowned one of the same name.
    /// `Unavailable` means that this machine cannot hold a lab: a test then skips, and says why.
    pub fn up(spec: &LabSpec) -> Result<Self, LabError> {
        spec.validate()?;
        requirements::ensure()?;
        let image = image::ensure()?;
        let services = if spec.needs_services() { Some(layer::ensure(&image)?) } else { None };
        let layers = services.into_iter().chain([image]).collect();
        removal::sweep();
        let place = Place::of(&spec.name);
        removal::claim(&place)?;
        let lab = Self::from_record(place, Record { spec: spec.clone(), layers }, true);
        // From here on, dropping it on an error removes whatever there is.
        lab.begin()?;
        Ok(lab)
    }

    /// Like [`Lab::up`], for tests: where there can be no lab it says `SKIPPED` and why on standard error,
    /// past the test runner's capture, and answers `None`.
    pub fn up_or_skip(spec: &LabSpec) -> Result<Option<Self>, LabError> {
        match Self::up(spec) {
            Err(LabError::Unavailable { why }) => {
                let line = format!("SKIPPED {}: no lab on this machine: {why}\n", spec.name);
                drop(io::stderr().write_all(line.as_bytes()));
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// The lab of that name that is already up, for example from the command line.
    pub fn attach(name: &str) -> Result<Self, LabError> {
        validate_name("lab", name)?;
        let place = Place::of(name);
        let path = place.file("lab.json");
        if !path.exists() {
            return Err(LabError::NoSuchLab { name: name.to_owned() });
        }
        let record = serde_json::from_str(&place::read(&path)?).map_err(|error| LabError::Unexpected {
            what: path.display().to_string(),
            detail: format!("{error}; remove the lab with `lab --name {name} down`"),
        })?;
        Ok(Self::from_record(place, record, false))
    }

    fn from_record(place: Place, record: Record, owned: bool) -> Self {
        let hosts = record.spec.hosts.iter().enumerate().map(|(index, spec)| Host {
            spec: spec.clone(),
            address: LabSpec::address(index),
            place: place.clone(),
            layers: record.layers.clone(),
        });
        Self { hosts: hosts.collect(), place, record, owned }
    }

    /// Ends every process of the lab and removes every trace of it but the cached root file system.
    pub fn down(mut self) -> Result<(), LabError> {
        self.owned = false;
        removal::remove(&self.place)
    }

    /// Lets the lab live on after this process: removed by `lab down`, or by the next `up` of its name.
    pub fn keep(mut self) -> Result<(), LabError> {
        self.owned = false;
        removal::disown(&self.place)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.place.name
    }

    /// What it was made from.
    pub fn spec(&self) -> &LabSpec {
        &self.record.spec
    }

    /// All hosts, in the order of the spec.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The hosts of one kind.
    pub fn hosts_of(&self, kind: HostKind) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |host| host.kind() == kind)
    }

    /// The hosts of one kind in one environment.
    pub fn hosts_in(&self, environment: &str, kind: HostKind) -> impl Iterator<Item = &Host> {
        self.hosts_of(kind).filter(move |host| host.environment() == environment)
    }

    /// One host by name.
    pub fn host(&self, name: &str) -> Result<&Host, LabError> {
        self.hosts.iter().find(|host| host.name() == name).ok_or_else(|| LabError::NoSuchHost {
            lab: self.name().to_owned(),
            host: name.to_owned(),
            known: self.hosts.iter().map(Host::name).collect::<Vec<_>>().join(", "),
        })
    }

    /// The files of an ssh client that trusts exactly these hosts.
    pub fn ssh_files(&self) -> SshFiles {
        SshFiles::of(&self.place)
    }

    /// A directory of the lab for its user's files; removed with it.
    pub fn scratch(&self) -> Result<PathBuf, LabError> {
        let path = self.place.file("scratch");
        create_directory(&path)?;
        Ok(path)
    }

    /// A command line that runs a program of this machine inside the lab's network, with the names of
    /// its hosts resolvable. The process it starts is the program itself: signals reach it.
    /// Whatever runs there is killed when the lab goes down.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        network::inside(&self.place, program)
    }

    /// Runs a program of this machine inside the lab's network to its end.
    pub fn exec<I, S>(&self, program: impl AsRef<OsStr>, arguments: I) -> Result<Output, LabError>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        program::finish(self.command(program).args(arguments), None)
    }

    /// Adds packages to the lab's archive. Hosts see them after their next `apt-get update`.
    pub fn publish(&self, debs: &[PathBuf]) -> Result<(), LabError> {
        repository::publish(&self.place, debs)
    }

    /// Builds a release of `shop-ee` that came after those of the spec and adds it to the archive. It knows the
    /// migrations of `before`.
    pub fn publish_release(&self, release: &Release, before: &[Release]) -> Result<(), LabError> {
        let directory = self.place.file("build");
        create_directory(&directory)?;
        self.publish(&[release.build(before, &directory)?])?;
        place::remove_directory(&directory)
    }

    /// Takes `package` and its dependencies from the machine's Debian archive into the lab's, and adds
    /// the same files, with all packages of the same source, under the lower `version`.
    pub fn repack(&self, package: &str, version: &str) -> Result<Repacked, LabError> {
        // Every layer has the whole list of what is installed.
        let top = self.record.layers.first().cloned().unwrap_or_default();
        repack(&self.place, &top, package, version)
    }

    /// The program of the demo packages, for running inside the lab.
    pub(crate) fn resident(&self) -> PathBuf {
        self.place.file("resident")
    }

    fn begin(&self) -> Result<(), LabError> {
        let record = serde_json::to_vec_pretty(&self.record).map_err(|error| LabError::Unexpected {
            what: "the lab's record".to_owned(),
            detail: error.to_string(),
        })?;
        place::write(&self.place.file("lab.json"), 0o644, &record)?;
        place::write(&self.place.file("hosts.txt"), 0o644, hosts_file(&self.hosts).as_bytes())?;
        place::write(&self.resident(), 0o755, demo::RESIDENT)?;
        network::create(&self.place)?;
        repository::serve(&self.place, &self.resident())?;
        self.make_keys()?;
        thread::scope(|scope| {
            let archive = scope.spawn(|| self.fill_archive());
            let booted = in_parallel(&self.hosts, Host::start);
            joined(archive)?;
            booted
        })?;
        install::install(self)
    }

    fn make_keys(&self) -> Result<(), LabError> {
        let files = self.ssh_files();
        let client = keys::create_identity(&files)?;
        let mut known = Vec::new();
        for host in &self.hosts {
            let key = prepare(host, &self.hosts, self.spec(), &client)?;
            known.push((host.name().to_owned(), host.address().to_string(), key));
        }
        keys::write_client_files(&files, &known)
    }

    fn fill_archive(&self) -> Result<(), LabError> {
        let directory = self.place.file("build");
        create_directory(&directory)?;
        let mut debs = demo::build(&directory)?;
        for (index, release) in self.spec().releases.iter().enumerate() {
            debs.push(release.build(&self.spec().releases[..index], &directory)?);
        }
        self.publish(&debs)?;
        place::remove_directory(&directory)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned {
            if let Err(error) = removal::remove(&self.place) {
                eprintln!("lab {}: not all could be removed: {error}", self.name());
            }
        }
    }
}

/// One thread per host; the first error, after all have ended.
pub(crate) fn in_parallel<'a>(
    hosts: impl IntoIterator<Item = &'a Host>,
    each: impl Fn(&Host) -> Result<(), LabError> + Sync,
) -> Result<(), LabError> {
    thread::scope(|scope| {
        let each = &each;
        let threads: Vec<_> = hosts.into_iter().map(|host| scope.spawn(move || each(host))).collect();
        let ended: Vec<_> = threads.into_iter().map(joined).collect();
        ended.into_iter().collect()
    })
}

fn joined(thread: thread::ScopedJoinHandle<'_, Result<(), LabError>>) -> Result<(), LabError> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a lab looks like from outside.
#[derive(Debug, Clone, Serialize)]
pub struct LabStatus {
    /// The lab.
    pub name: String,
    /// Its owner's process, or nothing when it outlives whoever started it.
    pub owner: Option<u32>,
    /// Name, address and whether it runs, of each host.
    pub hosts: Vec<(String, String, bool)>,
}

/// Every lab that has files on this machine.
pub fn all_labs() -> Vec<LabStatus> {
    let status = |name: String| {
        let place = Place::of(&name);
        let owner = removal::owner(&place).filter(|owner| owner.is_alive());
        let hosts = Lab::attach(&name).map(|lab| {
            let told = |host: &Host| (host.name().to_owned(), host.address().to_string(), host.is_running());
            lab.hosts().iter().map(told).collect()
        });
        LabStatus { owner: owner.map(|process: Process| process.pid), hosts: hosts.unwrap_or_default(), name }
    };
    place::lab_names().into_iter().map(status).collect()
}

/// Removes a lab by name, whatever state it is in; one that does not exist is fine. Refused while the
/// process that owns it lives.
pub fn remove(name: &str) -> Result<(), LabError> {
    validate_name("lab", name)?;
    let place = Place::of(name);
    removal::refuse_if_owned(&place)?;
    removal::remove(&place)
}

/// Removes the cached root file system of the hosts. Refused while any lab is up.
pub fn remove_cache() -> Result<(), LabError> {
    image::remove_cache()
}

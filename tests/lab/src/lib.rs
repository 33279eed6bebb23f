//! Real Debian hosts on one machine, for the demo and the end-to-end tests.
//!
//! A lab is a network namespace with a bridge, and on it hosts booted by `systemd-nspawn` over one cached
//! root file system. It needs root on Debian; elsewhere [`Lab::up`] answers [`LabError::Unavailable`].
//! Nothing in it reaches, or can be reached from, any other network.
//!
//! The simple fleet ([`LabSpec::standard`]) runs two demo packages with systemd units. The large one
//! ([`LabSpec::pipeline`]) has a staging and a production environment with canary hosts, the package `shop-ee`
//! ([`Release`]) with runit services and migrations, PostgreSQL ([`Lab::psql`]), Prometheus and Alertmanager
//! ([`Lab::monitoring`]), and a configuration agent ([`agent`]).
//!
//! ```no_run
//! use lab::{Lab, LabSpec, Traffic};
//!
//! let lab = Lab::up(&LabSpec::standard("example"))?;
//! let traffic = Traffic::start(&lab)?;
//! lab.host("web-01")?.kill()?;
//! println!("{}", traffic.stop()?);
//! # Ok::<(), lab::LabError>(())
//! ```

pub mod agent;
mod cgroup;
mod database;
mod deb;
pub mod demo;
mod error;
mod haproxy;
mod host;
mod image;
mod install;
mod keys;
mod lab;
mod layer;
mod monitoring;
mod network;
mod place;
mod prepare;
mod process;
mod program;
mod release;
mod removal;
mod repack;
mod repository;
mod requirements;
mod sample;
mod sources;
mod spec;
mod traffic;

pub use error::LabError;
pub use haproxy::{ADMIN_SOCKET, MASTER_SOCKET};
pub use host::Host;
pub use keys::SshFiles;
pub use lab::{Lab, LabStatus, all_labs, remove, remove_cache};
pub use monitoring::Monitoring;
pub use place::DIRECTORY_VARIABLE;
pub use program::Output;
pub use release::{RELEASE_PACKAGE, Release};
pub use repack::Repacked;
pub use spec::{HostKind, HostSpec, LabSpec};
pub use traffic::{Latency, Traffic, TrafficReport, TrafficSpec};

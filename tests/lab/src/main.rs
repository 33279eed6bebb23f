//! The command `lab`: starts, uses and removes labs by hand.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use lab::{HostKind, Lab, LabError, LabSpec, Traffic, all_labs, remove, remove_cache};

/// Boots real Debian hosts on this machine, isolated from every network.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Arguments {
    /// Which lab, when there are several.
    #[arg(long, default_value = "lab")]
    name: String,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Starts a fleet: two load balancers, web hosts, a storage host, a deploy host.
    Up {
        /// How many web hosts.
        #[arg(long, default_value_t = 4)]
        web: usize,
        /// Instead: staging and production with canary, database, monitoring and releases of `shop-ee`.
        #[arg(long, conflicts_with = "web")]
        pipeline: bool,
    },
    /// Runs a command on a host by ssh, or opens a shell.
    Ssh {
        /// The host.
        host: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Runs a program of this machine inside the lab's network.
    Exec {
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Sends requests through the load balancers and prints what happened as JSON.
    Traffic {
        /// For how long.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Lists the labs and their hosts.
    Status,
    /// Removes the lab and all it left on this machine.
    Down {
        /// Also removes the cached root file system.
        #[arg(long)]
        cache: bool,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 64 } else { 0 });
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::from(if matches!(error, LabError::Unavailable { .. }) { 69 } else { 1 })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), LabError> {
    let name = &arguments.name;
    match &arguments.verb {
        Verb::Up { pipeline: true, .. } => {
            up(&LabSpec::pipeline(name).with_releases(["1.0.0", "1.1.0", "1.2.0"]).with_config_agent())
        }
        Verb::Up { web, pipeline: false } => {
            up(&LabSpec::standard(name).with_hosts("web", *web, HostKind::Web))
        }
        Verb::Ssh { host, command } => {
            let lab = Lab::attach(name)?;
            let host = lab.host(host)?.name();
            let mut ssh = lab.command("ssh");
            ssh.arg("-F").arg(lab.ssh_files().config).arg(host).args(command);
            become_program(ssh)
        }
        Verb::Exec { command } => {
            let lab = Lab::attach(name)?;
            let (program, rest) =
                command.split_first().map_or(("true", &[][..]), |(first, rest)| (first, rest));
            let mut inside = lab.command(program);
            inside.args(rest);
            become_program(inside)
        }
        Verb::Traffic { seconds } => {
            let traffic = Traffic::start(&Lab::attach(name)?)?;
            thread::sleep(Duration::from_secs(*seconds));
            let report = traffic.stop()?;
            print(&(serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"));
            Ok(())
        }
        Verb::Status => {
            status();
            Ok(())
        }
        Verb::Down { cache } => {
            remove(name)?;
            if *cache { remove_cache() } else { Ok(()) }
        }
    }
}

fn up(spec: &LabSpec) -> Result<(), LabError> {
    let began = Instant::now();
    let lab = Lab::up(spec)?;
    let mut text = String::new();
    for host in lab.hosts() {
        text.push_str(&format!("{:<12} {}\n", host.name(), host.address()));
    }
    text.push_str(&format!("ssh_config   {}\n", lab.ssh_files().config.display()));
    let count = lab.hosts().len();
    // Before anything is printed: whether somebody reads that is no matter of the lab's life.
    lab.keep()?;
    eprintln!("lab: {count} hosts up in {:.1} s", began.elapsed().as_secs_f64());
    print(&text);
    Ok(())
}

fn status() {
    let mut text = String::new();
    for lab in all_labs() {
        let owner = lab.owner.map_or_else(String::new, |pid| format!(" (owned by process {pid})"));
        text.push_str(&format!("{}{owner}\n", lab.name));
        for (host, address, running) in lab.hosts {
            let state = if running { "running" } else { "stopped" };
            text.push_str(&format!("  {host:<12} {address:<14} {state}\n"));
        }
    }
    print(&text);
}

/// Prints to whoever still listens.
fn print(text: &str) {
    drop(io::stdout().write_all(text.as_bytes()));
}

fn become_program(mut command: std::process::Command) -> Result<(), LabError> {
    let program = command.get_program().into();
    Err(LabError::Io { what: "start", path: program, source: command.exec() })
}

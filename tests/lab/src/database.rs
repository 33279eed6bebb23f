//! The database host: PostgreSQL of Debian's package, with one database for each environment.

use crate::error::LabError;
use crate::host::Host;
use crate::lab::Lab;
use crate::program::{failure, finish};
use crate::spec::HostKind;

/// The role of the application; its password is the same.
const ROLE: &str = "shop";

/// Debian's cluster, reachable from the lab's network. The machine under a lab does not lose power, so nothing is
/// gained by waiting for its disks.
const CONFIGURE: &str = r#"set -eu
cluster=$(ls -d /etc/postgresql/*/main)
printf "listen_addresses = '*'\nfsync = off\n" > "$cluster/conf.d/lab.conf"
echo 'host all all 10.77.0.0/24 scram-sha-256' >> "$cluster/pg_hba.conf"
systemctl enable --quiet --now postgresql.service
"#;

const TABLES: &str = "
create table schema_migrations (version text not null, kind text not null, at timestamptz not null default now());
create table migration_steering (version text, kind text, seconds numeric, fails boolean, primary key (version, kind));
create table background_migrations (name text);";

/// The database of an environment.
fn name(environment: &str) -> String {
    if environment.is_empty() { ROLE.to_owned() } else { format!("shop_{environment}").replace('-', "_") }
}

/// Where the application finds it.
pub(crate) fn url(database: &Host, environment: &str) -> String {
    format!("postgresql://{ROLE}:{ROLE}@{}/{}", database.name(), name(environment))
}

/// Starts PostgreSQL on a booted host and creates a database with empty tables for each environment.
pub(crate) fn start(host: &Host, environments: &[&str]) -> Result<(), LabError> {
    host.expect(CONFIGURE)?;
    query(host, "postgres", &format!("create role {ROLE} login password '{ROLE}'"))?;
    for environment in environments {
        let database = name(environment);
        query(host, "postgres", &format!("create database {database} owner {ROLE}"))?;
        query(host, &database, &format!("set role {ROLE}; {TABLES}"))?;
    }
    Ok(())
}

fn query(host: &Host, database: &str, query: &str) -> Result<String, LabError> {
    let mut psql = host.command("runuser")?;
    psql.args([
        "-u",
        "postgres",
        "--",
        "psql",
        "-XqAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        database,
        "-c",
        query,
    ]);
    let output = finish(psql.current_dir("/"), None)?;
    if output.success() { Ok(output.stdout) } else { Err(failure("ask the database", &psql, &output)) }
}

impl Lab {
    /// Asks the database of an environment, as its superuser. One line for each row, columns parted by `|`.
    ///
    /// Its tables: `schema_migrations (version, kind, at)`, where kind is `pre` or `post` and nothing is unique;
    /// `migration_steering (version, kind, seconds, fails)`; `background_migrations (name)`.
    pub fn psql(&self, environment: &str, text: &str) -> Result<String, LabError> {
        let host = self.hosts_of(HostKind::Database).next();
        let host = host.ok_or_else(|| LabError::NoSuchHost {
            lab: self.name().to_owned(),
            host: "for a database".to_owned(),
            known: self.hosts().iter().map(Host::name).collect::<Vec<_>>().join(", "),
        })?;
        query(host, &name(environment), text)
    }

    /// From now on the migrations of that version and kind (`pre` or `post`) take so long, and fail or not.
    pub fn steer_migration(
        &self,
        environment: &str,
        version: &str,
        kind: &str,
        seconds: u32,
        fails: bool,
    ) -> Result<(), LabError> {
        let steer = format!(
            "insert into migration_steering values ('{version}', '{kind}', {seconds}, {fails}) \
             on conflict (version, kind) do update set seconds = excluded.seconds, fails = excluded.fails"
        );
        self.psql(environment, &steer).map(drop)
    }

    /// Every migration that ran in an environment, `VERSION KIND`, in the order in which they ended.
    pub fn migrations(&self, environment: &str) -> Result<Vec<String>, LabError> {
        let rows =
            self.psql(environment, "select version || ' ' || kind from schema_migrations order by at")?;
        Ok(rows.lines().map(str::to_owned).collect())
    }
}

//! The journal: one SQLite file in the state directory. An event that was appended survives any crash.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use model::{EnvironmentName, Event, JOURNAL_FORMAT, Recorded};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

/// The journal's file in the state directory.
pub const JOURNAL_FILE: &str = "journal.sqlite";

/// How long to wait for another process that is reading. Readers never hold a writer up in WAL mode, so this is only
/// for SQLite's own recovery after a crash.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE events (
        seq         INTEGER PRIMARY KEY AUTOINCREMENT,
        at          TEXT NOT NULL,
        environment TEXT,
        kind        TEXT NOT NULL,
        json        TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_environment ON events (environment, seq);
";

/// The service's journal, open for appending. The caller holds the state directory.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// The journal as another process sees it: reading only, while the service runs or not.
#[derive(Debug)]
pub struct JournalReader {
    path: PathBuf,
    connection: Mutex<Connection>,
}

/// Why the journal could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// There is none: no service ever ran on this state directory.
    #[error("there is no journal at {}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A newer program wrote it. It was left as it is.
    #[error("{} has format {found}; this program knows up to {known}: use the newer program", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// It says nothing that makes sense about its format.
    #[error("{} is no journal of this program", path.display())]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// It could not be opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// Nothing was appended.
    #[error("cannot append to {}", path.display())]
    Append {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// An event could not be put into words; nothing was appended.
    #[error("cannot write an event as JSON")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// A line of it makes no sense.
    #[error("event {seq} of {} cannot be understood: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which event.
        seq: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl SqliteJournal {
    /// Opens the journal of a state directory, and makes one when there is none.
    ///
    /// # Errors
    /// [`JournalError::Newer`] when a newer program wrote it: not a byte of it is changed.
    pub fn open(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(JOURNAL_FILE);
        let connection = open(&path).map_err(|source| JournalError::Open { path: path.clone(), source })?;
        if format(&path, &connection)?.is_none() {
            // SQLite takes a few bytes of anything for an empty database.
            if std::fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
                return Err(JournalError::Foreign { path });
            }
            create(&connection).map_err(|source| JournalError::Open { path: path.clone(), source })?;
        }
        set_durable(&connection).map_err(|source| JournalError::Open { path: path.clone(), source })?;
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Appends events, all or none. When it returns, they survive a crash of the program and of the machine.
    ///
    /// # Errors
    /// Nothing was written.
    pub fn append(&self, at: Timestamp, events: &[Event]) -> Result<Vec<Recorded>, JournalError> {
        let lines = events.iter().map(Line::of).collect::<Result<Vec<_>, _>>()?;
        let places = insert(&mut locked(&self.connection), at, &lines)
            .map_err(|source| JournalError::Append { path: self.path.clone(), source })?;
        Ok(places
            .into_iter()
            .zip(events)
            .map(|(seq, event)| Recorded { seq, at, event: event.clone() })
            .collect())
    }

    /// Everything that was ever appended, in order.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] names a line that cannot be understood.
    pub fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        self.replay_after(0)
    }

    /// Everything that was appended after a place, in order.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn replay_after(&self, seq: u64) -> Result<Vec<Recorded>, JournalError> {
        after(&self.path, &locked(&self.connection), seq)
    }

    /// The last events of an environment and of the service as a whole, oldest first.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn last(&self, environment: &EnvironmentName, count: usize) -> Result<Vec<Recorded>, JournalError> {
        last(&self.path, &locked(&self.connection), environment, count)
    }
}

/// SQLite makes files of its own beside a WAL journal even to read it. Where there are none, no service has it open,
/// and everything is in the one file: it can be read as it lies.
fn uri(path: &Path) -> String {
    let log = path.with_file_name(format!("{JOURNAL_FILE}-wal"));
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let as_it_lies = if log.exists() { "" } else { "?immutable=1" };
    format!("file:{escaped}{as_it_lies}")
}

impl JournalReader {
    /// Opens the journal of a state directory for reading. The service need not run. Changes nothing, and leaves no
    /// file behind.
    ///
    /// # Errors
    /// [`JournalError::Missing`] when no service ever ran there, [`JournalError::Newer`] when a newer one did.
    pub fn open_read_only(dir: &Path) -> Result<Self, JournalError> {
        let path = dir.join(JOURNAL_FILE);
        if !path.exists() {
            return Err(JournalError::Missing { path });
        }
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let opened = Connection::open_with_flags(uri(&path), flags).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            Ok(connection)
        });
        let connection = opened.map_err(|source| JournalError::Open { path: path.clone(), source })?;
        match format(&path, &connection)? {
            Some(_) => Ok(Self { path, connection: Mutex::new(connection) }),
            // A service has made the file and not yet its tables.
            None => Err(JournalError::Missing { path }),
        }
    }

    /// Everything that was ever appended, in order.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] names a line that cannot be understood.
    pub fn replay(&self) -> Result<Vec<Recorded>, JournalError> {
        self.replay_after(0)
    }

    /// Everything that was appended after a place, in order.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn replay_after(&self, seq: u64) -> Result<Vec<Recorded>, JournalError> {
        after(&self.path, &locked(&self.connection), seq)
    }

    /// The last events of an environment and of the service as a whole, oldest first.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn last(&self, environment: &EnvironmentName, count: usize) -> Result<Vec<Recorded>, JournalError> {
        last(&self.path, &locked(&self.connection), environment, count)
    }
}

/// A panic elsewhere cannot leave a connection half changed: SQLite rolls a transaction back when it is dropped.
fn locked(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// The format of a journal; none when the file is new and empty.
fn format(path: &Path, connection: &Connection) -> Result<Option<u32>, JournalError> {
    let read = |source| JournalError::Read { path: path.to_owned(), source };
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(read)?;
    if tables == 0 {
        return Ok(None);
    }
    let foreign = || JournalError::Foreign { path: path.to_owned() };
    let text: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'format'", [], |row| row.get(0))
        .optional()
        .map_err(|_| foreign())?;
    let found: u32 = text.and_then(|text| text.parse().ok()).ok_or_else(foreign)?;
    if found > JOURNAL_FORMAT {
        return Err(JournalError::Newer { path: path.to_owned(), found, known: JOURNAL_FORMAT });
    }
    Ok(Some(found))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    let format = format!("INSERT INTO meta VALUES ('format', '{JOURNAL_FORMAT}');");
    connection.execute_batch(&format!("BEGIN IMMEDIATE; {TABLES} {format} COMMIT;"))
}

/// WAL lets others read while we write. FULL syncs the log at every commit, so that an event that was appended
/// survives a power cut.
fn set_durable(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")
}

/// One row, before it has a place.
struct Line<'a> {
    environment: Option<&'a str>,
    kind: String,
    json: String,
}

impl<'a> Line<'a> {
    fn of(event: &'a Event) -> Result<Self, JournalError> {
        let json = serde_json::to_value(event).map_err(|source| JournalError::Encode { source })?;
        let kind = json.get("event").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            environment: event.environment().map(EnvironmentName::as_str),
            kind,
            json: json.to_string(),
        })
    }
}

fn insert(connection: &mut Connection, at: Timestamp, lines: &[Line<'_>]) -> rusqlite::Result<Vec<u64>> {
    let transaction = connection.transaction()?;
    let mut places = Vec::with_capacity(lines.len());
    {
        let mut statement = transaction
            .prepare_cached("INSERT INTO events (at, environment, kind, json) VALUES (?1, ?2, ?3, ?4)")?;
        for Line { environment, kind, json } in lines {
            let seq = statement.insert(params![at.to_string(), environment, kind, json])?;
            places.push(place(seq));
        }
    }
    transaction.commit()?;
    Ok(places)
}

fn after(path: &Path, connection: &Connection, seq: u64) -> Result<Vec<Recorded>, JournalError> {
    // Asked first: what is appended meanwhile may come beside.
    let newest = newest(connection).map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
    let rows = select(
        connection,
        "SELECT seq, at, json FROM events WHERE seq > ?1 ORDER BY seq",
        params![i64::try_from(seq).unwrap_or(i64::MAX)],
    );
    let events = decode(path, rows)?;
    none_is_missing(path, seq, newest, &events)?;
    Ok(events)
}

/// The place of the newest event, by SQLite's own count; 0 before the first.
fn newest(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    Ok(connection.query_row(sql, [], |row| row.get(0)).optional()?.map_or(0, place))
}

/// Damage to a file may hide events without SQLite noticing. Their places tell: none was ever left out or taken back.
fn none_is_missing(path: &Path, from: u64, newest: u64, events: &[Recorded]) -> Result<(), JournalError> {
    let wanted = from.saturating_add(1)..=u64::MAX;
    let gap = wanted.zip(events).find(|(seq, event)| *seq != event.seq).map(|(seq, _)| seq);
    let after_all = from.saturating_add(events.len() as u64);
    let cut_off = (after_all < newest).then(|| after_all + 1);
    match gap.or(cut_off) {
        Some(seq) => {
            Err(JournalError::Damaged { path: path.to_owned(), seq, why: "it is missing".to_owned() })
        }
        None => Ok(()),
    }
}

fn last(
    path: &Path,
    connection: &Connection,
    environment: &EnvironmentName,
    count: usize,
) -> Result<Vec<Recorded>, JournalError> {
    let rows = select(
        connection,
        "SELECT seq, at, json FROM (
             SELECT * FROM events WHERE environment = ?1 OR environment IS NULL ORDER BY seq DESC LIMIT ?2
         ) ORDER BY seq",
        params![environment.as_str(), i64::try_from(count).unwrap_or(i64::MAX)],
    );
    decode(path, rows)
}

/// SQLite counts from 1.
fn place(seq: i64) -> u64 {
    u64::try_from(seq).unwrap_or_default()
}

type Stored = (i64, String, String);

fn select(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<Vec<Stored>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

fn decode(path: &Path, rows: rusqlite::Result<Vec<Stored>>) -> Result<Vec<Recorded>, JournalError> {
    let rows = rows.map_err(|source| JournalError::Read { path: path.to_owned(), source })?;
    rows.into_iter().map(|row| recorded(path, &row)).collect()
}

fn recorded(path: &Path, (seq, at, json): &Stored) -> Result<Recorded, JournalError> {
    let seq = place(*seq);
    let damaged = |why: String| JournalError::Damaged { path: path.to_owned(), seq, why };
    let at = at.parse().map_err(|error: jiff::Error| damaged(error.to_string()))?;
    let event = serde_json::from_str(json).map_err(|error| damaged(error.to_string()))?;
    Ok(Recorded { seq, at, event })
}

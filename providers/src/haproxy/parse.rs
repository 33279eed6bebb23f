//! HAProxy's answers, read by the names in their headers: columns grow with every version.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use model::{Admin, BackendName, Generation, NodeState, Row, RowCheck, ServerName};

use crate::shell::{sections, start_ticks};

/// In maintenance: by command, inherited, or because its name does not resolve.
const MAINT: u32 = 0x01 | 0x02 | 0x20;
/// Drained: by command, or inherited.
const DRAIN: u32 = 0x08 | 0x10;
/// Of `srv_check_state`: a check is configured.
const CHECKED: u32 = 0x02;

/// An answer that is not what HAProxy says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A whole part is missing: the answer was cut off, or it is not HAProxy.
    #[error("no `{part}` in the answer")]
    Missing {
        /// Which part.
        part: &'static str,
    },
    /// A table lacks a column that we need.
    #[error("no column `{column}` in `{table}`")]
    NoColumn {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
    },
    /// A number is none.
    #[error("`{text}` in column `{column}` is not a number")]
    NotANumber {
        /// The column.
        column: String,
        /// What stands there.
        text: String,
    },
}

/// A number of each row, by backend and server.
pub(crate) type Numbers = BTreeMap<(String, String), u32>;

type Key = (BackendName, ServerName);

/// A table with named columns.
struct Table<'a> {
    name: &'static str,
    columns: Vec<&'a str>,
    rows: Vec<Vec<Cow<'a, str>>>,
}

impl<'a> Table<'a> {
    /// `lines` begins with the header `# name name …`.
    fn read(
        name: &'static str,
        lines: impl Iterator<Item = &'a str>,
        separator: char,
    ) -> Result<Self, Unreadable> {
        let mut lines = lines.skip_while(|line| !line.starts_with("# "));
        let header = lines.next().ok_or(Unreadable::Missing { part: name })?;
        let columns = header.trim_start_matches("# ").split(separator).collect();
        let rows = lines.take_while(|line| !line.is_empty()).map(|line| cells(line, separator)).collect();
        Ok(Self { name, columns, rows })
    }

    fn column(&self, column: &str) -> Result<usize, Unreadable> {
        let at = self.columns.iter().position(|name| *name == column);
        at.ok_or_else(|| Unreadable::NoColumn { table: self.name, column: column.to_owned() })
    }

    /// A row that ends before the column was cut off.
    fn get<'r>(&self, row: &'r [Cow<'a, str>], column: &str) -> Result<&'r str, Unreadable> {
        let cell = row.get(self.column(column)?);
        cell.map(Cow::as_ref).ok_or(Unreadable::Missing { part: "a whole row" })
    }

    fn number(&self, row: &[Cow<'a, str>], column: &str) -> Result<u32, Unreadable> {
        let text = self.get(row, column)?;
        text.parse().map_err(|_| Unreadable::NotANumber { column: column.to_owned(), text: text.to_owned() })
    }
}

/// A line's cells. A comma parts cells only outside of quotation marks, which stand doubled within them: HAProxy quotes
/// what a server itself said.
fn cells(line: &str, separator: char) -> Vec<Cow<'_, str>> {
    if separator != ',' || !line.contains('"') {
        return line.split(separator).map(Cow::from).collect();
    }
    let mut quoted = false;
    let parts = line.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    parts.map(unquoted).collect()
}

fn unquoted(cell: &str) -> Cow<'_, str> {
    let inner = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
    inner.map_or(Cow::from(cell), |inner| inner.replace("\"\"", "\"").into())
}

/// The answer of the observation's script.
///
/// # Errors
/// [`Unreadable`] when any part is missing or cut off: half an answer is none.
pub fn parse_node(text: &str) -> Result<NodeState, Unreadable> {
    let parts = sections(text);
    if !parts.contains_key("end") {
        return Err(Unreadable::Missing { part: "end" });
    }
    let answers = parts.get("answers").ok_or(Unreadable::Missing { part: "answers" })?;
    let stat = parts.get("process").ok_or(Unreadable::Missing { part: "process" })?;
    let pid = answers.lines().find_map(|line| line.strip_prefix("Pid: "));
    let pid = pid.ok_or(Unreadable::Missing { part: "Pid" })?;
    let start = start_ticks(stat).ok_or(Unreadable::Missing { part: "process" })?;
    let (rows, mut sticky) = rows(answers)?;
    sticky.extend(answers.lines().filter_map(table_name).map(BackendName::from));
    let mut old_sessions = BTreeMap::new();
    let old = parts.iter().filter(|(name, _)| name.starts_with("old ")).map(|(_, body)| *body);
    let (told, silent): (Vec<&str>, Vec<&str>) = old.partition(|body| body.contains("# pxname"));
    for body in told {
        add_old(&mut old_sessions, body)?;
    }
    // Without an answer an old worker still lives, and each row may have a session there.
    if let sessions @ 1.. = u32::try_from(silent.len()).unwrap_or(u32::MAX) {
        rows.keys().for_each(|key| add(&mut old_sessions, key.clone(), sessions));
    }
    let process = format!("{pid}@{start}").into();
    Ok(NodeState { process, rows, sticky, old_sessions, last_generation: last_generation(&parts)? })
}

/// The highest generation of our service that changed the node, as it remembers.
fn last_generation(parts: &BTreeMap<&str, &str>) -> Result<Option<Generation>, Unreadable> {
    let line = parts.get("generation").and_then(|part| part.lines().find(|line| !line.is_empty()));
    let Some(word) = line.map(|line| line.split(' ').next().unwrap_or_default()) else { return Ok(None) };
    let not_a_number = || Unreadable::NotANumber { column: "generation".to_owned(), text: word.to_owned() };
    word.parse().map(|number| Some(Generation(number))).map_err(|_| not_a_number())
}

/// `show servers state` is the authority for administration, `show stat` for traffic and checks.
fn rows(answers: &str) -> Result<(BTreeMap<Key, Row>, BTreeSet<BackendName>), Unreadable> {
    let servers = servers_state(answers)?;
    let stat = stat(answers)?;
    let mut admin = BTreeMap::new();
    for row in &servers.rows {
        admin.insert((servers.get(row, "be_name")?, servers.get(row, "srv_name")?), row);
    }
    let (mut rows, mut sticky) = (BTreeMap::new(), BTreeSet::new());
    for line in &stat.rows {
        let (backend, server) = (stat.get(line, "pxname")?, stat.get(line, "svname")?);
        let Some(known) = admin.get(&(backend, server)) else { continue };
        if !stat.get(line, "cookie")?.is_empty() {
            sticky.insert(BackendName::from(backend));
        }
        let row = Row {
            status: stat.get(line, "status")?.into(),
            admin: admin_of(servers.number(known, "srv_admin_state")?),
            weight: servers.number(known, "srv_uweight")?,
            sessions: stat.number(line, "scur")?.saturating_add(stat.number(line, "qcur")?),
            address: servers.get(known, "srv_addr")?.into(),
            check: check_of(stat.get(line, "check_status")?, servers.number(known, "srv_check_state")?),
        };
        rows.insert((BackendName::from(backend), ServerName::from(server)), row);
    }
    Ok((rows, sticky))
}

fn servers_state(text: &str) -> Result<Table<'_>, Unreadable> {
    Table::read("show servers state", text.lines().skip_while(|line| !line.starts_with("# be_id")), ' ')
}

fn stat(text: &str) -> Result<Table<'_>, Unreadable> {
    Table::read("show stat", text.lines().skip_while(|line| !line.starts_with("# pxname")), ',')
}

fn table_name(line: &str) -> Option<&str> {
    line.strip_prefix("# table: ")?.split(',').next()
}

fn admin_of(mask: u32) -> Admin {
    match mask {
        mask if mask & MAINT != 0 => Admin::Maint,
        mask if mask & DRAIN != 0 => Admin::Drain,
        _ => Admin::Ready,
    }
}

/// `* ` before a status: a check is in progress and this is the last result.
fn check_of(status: &str, state: u32) -> RowCheck {
    match status.trim_start_matches("* ") {
        _ if state & CHECKED == 0 => RowCheck::None,
        "L4OK" | "L6OK" | "L7OK" => RowCheck::Passed,
        "" | "INI" | "UNK" => RowCheck::Pending,
        _ => RowCheck::Failed,
    }
}

/// Sessions of an old worker.
fn add_old(old: &mut BTreeMap<Key, u32>, body: &str) -> Result<(), Unreadable> {
    let stat = stat(body)?;
    for line in &stat.rows {
        let sessions = stat.number(line, "scur")?.saturating_add(stat.number(line, "qcur")?);
        if sessions > 0 {
            let key = (stat.get(line, "pxname")?.into(), stat.get(line, "svname")?.into());
            add(old, key, sessions);
        }
    }
    Ok(())
}

fn add(old: &mut BTreeMap<Key, u32>, key: Key, sessions: u32) {
    let known = old.entry(key).or_default();
    *known = known.saturating_add(sessions);
}

/// Administrative masks of every row.
pub(crate) fn masks(text: &str) -> Result<Numbers, Unreadable> {
    numbers(text, "srv_admin_state")
}

/// Weights of every row, as commands and the configuration set them.
pub(crate) fn weights(text: &str) -> Result<Numbers, Unreadable> {
    numbers(text, "srv_uweight")
}

fn numbers(text: &str, column: &str) -> Result<Numbers, Unreadable> {
    let servers = servers_state(text)?;
    let mut numbers = Numbers::new();
    for row in &servers.rows {
        let key = (servers.get(row, "be_name")?.to_owned(), servers.get(row, "srv_name")?.to_owned());
        numbers.insert(key, servers.number(row, column)?);
    }
    Ok(numbers)
}

/// The answers to commands that were joined by `;`: each ends with an empty line, and success says nothing else.
/// None, when there are fewer than commands.
pub(crate) fn answers(text: &str, commands: usize) -> Option<Vec<String>> {
    let mut answers = Vec::new();
    let mut answer: Vec<&str> = Vec::new();
    for line in text.lines() {
        if line.is_empty() {
            answers.push(std::mem::take(&mut answer).join(" "));
        } else {
            answer.push(line);
        }
    }
    answers.truncate(commands);
    (answers.len() == commands).then_some(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from HAProxy 2.6.12 on Debian 12, one second after a reload, with an endless answer under way.
    const SAMPLE: &str = include_str!("samples/after-a-reload.txt");

    fn row<'a>(state: &'a NodeState, backend: &str) -> &'a Row {
        &state.rows[&(backend.into(), "web-01".into())]
    }

    #[test]
    fn a_node_is_read_with_its_sessions_in_the_old_worker() {
        let state = parse_node(SAMPLE).unwrap();
        let web = row(&state, "web");
        assert_eq!((web.status.as_str(), web.admin, web.sessions), ("DRAIN", Admin::Drain, 0));
        assert_eq!((web.weight, web.address.as_str(), web.check), (100, "10.77.0.13", RowCheck::Passed));
        assert_eq!(row(&state, "web_sticky").admin, Admin::Ready);
        assert_eq!(state.sticky, BTreeSet::from(["web_sticky".into()]));
        assert_eq!(state.old_sessions, BTreeMap::from([(("web".into(), "web-01".into()), 1)]));
    }

    #[test]
    fn a_comma_in_what_a_server_said_moves_no_column() {
        // Recorded from HAProxy 2.6.12: the check's answer was `503 Busy, come "back", later`.
        let said = r#","Busy, come ""back"", later",,0,"#;
        let text = SAMPLE.replace(",,,0,0,0,0,,,,Layer7", &format!("{said}0,0,0,,,,Layer7"));
        assert!(text.contains(said), "the sample has no such column");
        let (told, plain) = (parse_node(&text).unwrap(), parse_node(SAMPLE).unwrap());
        assert_eq!((told.sticky, told.rows), (plain.sticky, plain.rows));
    }

    #[test]
    fn a_row_that_was_cut_off_is_not_taken_for_an_idle_server() {
        let cut = |from: &str, to: &str| parse_node(&SAMPLE.replacen(from, to, 1)).unwrap_err();
        let state = "3 web 1 web-01 10.77.0.13 2 8 100 100 0 15 3 4 6 0 0 0 - 8080 - 0 0 - - 0";
        assert_eq!(cut(state, "3 web 1 web-01 10.77.0.13 2"), Unreadable::Missing { part: "a whole row" });
        assert!(SAMPLE.contains("\nweb,web-01,0,0,0,0,"));
        let empty = Unreadable::NotANumber { column: "scur".to_owned(), text: String::new() };
        assert_eq!(cut("\nweb,web-01,0,0,0,0,", "\nweb,web-01,0,0,,0,"), empty);
    }

    #[test]
    fn more_sessions_than_can_be_counted_are_many() {
        let text = SAMPLE.replace("web,web-01,0,0,", "web,web-01,4294967295,0,");
        let state = parse_node(&text.replace("4294967295,0,0,", "4294967295,0,4294967295,")).unwrap();
        assert_eq!(row(&state, "web").sessions, u32::MAX);
        assert_eq!(state.old_sessions[&("web".into(), "web-01".into())], u32::MAX);
    }

    #[test]
    fn half_an_answer_is_none() {
        let lines: Vec<&str> = SAMPLE.lines().collect();
        for kept in 0..lines.len() {
            assert!(parse_node(&lines[..kept].join("\n")).is_err(), "{kept} lines");
        }
    }

    #[test]
    fn an_old_worker_that_does_not_answer_may_have_a_session_everywhere() {
        let cut = SAMPLE.find("@@old ").unwrap();
        let silent = format!("{}@@old 99\n\n@@end\n", &SAMPLE[..cut]);
        let state = parse_node(&silent).unwrap();
        assert_eq!(state.old_sessions.len(), state.rows.len());
    }

    #[test]
    fn masks_are_read_by_their_bits() {
        let of = [(0x00, Admin::Ready), (0x04, Admin::Ready), (0x08, Admin::Drain), (0x10, Admin::Drain)];
        for (mask, admin) in
            of.into_iter().chain([0x01, 0x02, 0x05, 0x09, 0x20].map(|mask| (mask, Admin::Maint)))
        {
            assert_eq!(admin_of(mask), admin, "{mask:#x}");
        }
    }

    #[test]
    fn a_check_in_progress_shows_its_last_result() {
        assert_eq!(check_of("* L7OK", 6), RowCheck::Passed);
        assert_eq!(check_of("* L4CON", 6), RowCheck::Failed);
        assert_eq!(check_of("INI", 6), RowCheck::Pending);
        assert_eq!(check_of("", 14), RowCheck::Pending, "paused in maintenance");
        assert_eq!(check_of("", 0), RowCheck::None);
    }

    #[test]
    fn each_command_has_its_answer() {
        let told = answers("\nNo such server.\n\n\n", 3).unwrap();
        assert_eq!(told, ["", "No such server.", ""]);
        assert_eq!(answers("\n", 2), None, "the second was never answered");
    }
}

//! HAProxy's answers: one node's observation, and the answers to commands.

use std::collections::BTreeMap;
use std::fmt::Write;

use model::{Admin, NodeState, RowCheck};
use providers::fuzzing::{haproxy_answers, haproxy_rows};
use providers::haproxy::parse_node;

use crate::text;

/// The answer of an observation. What was read is written down anew, and must be read as the same.
pub(crate) fn node(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(state) = parse_node(&text) else { return };
    let ends = ["\n@@end", "@@end"].iter().any(|end| text.contains(end));
    assert!(ends, "an answer without its end was believed");
    for ((backend, server), row) in &state.rows {
        assert!(!row.in_rotation() || row.admin == Admin::Ready, "{backend}/{server}: {row:?}");
    }
    assert!(state.old_sessions.values().all(|sessions| *sessions > 0));
    assert_eq!(parse_node(&written(&state)), Ok(state));
}

/// `show servers state` around a command, and the answers to as many commands as the first byte says.
pub(crate) fn commands(bytes: &[u8]) {
    let (count, rest) = bytes.split_first().unwrap_or((&0, &[]));
    let (text, count) = (text(rest), usize::from(*count % 8));
    if let Ok(rows) = haproxy_rows(&text) {
        assert!(rows.keys().all(|(backend, server)| text.contains(backend) && text.contains(server)));
    }
    if let Some(answers) = haproxy_answers(&text, count) {
        assert_eq!(answers.len(), count);
        assert!(text.lines().filter(|line| line.is_empty()).count() >= count, "an answer that never came");
    }
}

/// The smallest answer that says this.
fn written(state: &NodeState) -> String {
    let (pid, start) = state.process.rsplit_once('@').expect("pid and start");
    let stat = format!("1 (haproxy) {}{start}", "0 ".repeat(22 - 3));
    let mut text = format!("@@answers\nPid: {pid}\n{}", tables(state));
    write!(text, "\n@@process\n{stat}\n").expect("a text takes more");
    text.push_str("\n@@old 1\n# pxname,svname,qcur,scur,\n");
    for ((backend, server), sessions) in &state.old_sessions {
        let (backend, server) = (cell(backend.as_str()), cell(server.as_str()));
        writeln!(text, "{backend},{server},0,{sessions},").expect("a text takes more");
    }
    if let Some(generation) = state.last_generation {
        write!(text, "\n@@generation\n{generation}\n").expect("a text takes more");
    }
    text + "\n@@end\n"
}

fn tables(state: &NodeState) -> String {
    let mut servers =
        "# be_id be_name srv_name srv_addr srv_admin_state srv_uweight srv_check_state .\n".to_owned();
    let mut stat = "# pxname,svname,qcur,scur,status,check_status,cookie,\n".to_owned();
    let mut sticky: BTreeMap<_, bool> = state.sticky.iter().map(|backend| (backend, false)).collect();
    for ((backend, server), row) in &state.rows {
        let mask = match row.admin {
            Admin::Ready => 0,
            Admin::Drain => 8,
            Admin::Maint => 1,
        };
        let (checked, check) = match row.check {
            RowCheck::Passed => (2, "L7OK"),
            RowCheck::Failed => (2, "L7STS"),
            RowCheck::Pending => (2, "INI"),
            RowCheck::None => (0, ""),
        };
        let (address, weight) = (&row.address, row.weight);
        writeln!(servers, "1 {backend} {server} {address} {mask} {weight} {checked} .")
            .expect("a text takes more");
        let cookie = sticky.get_mut(backend).map(|told| *told = true).map_or("", |()| "yes");
        let [backend, server, status] = [backend.as_str(), server.as_str(), &row.status].map(cell);
        writeln!(stat, "{backend},{server},0,{},{status},{check},{cookie},", row.sessions)
            .expect("a text takes more");
    }
    let tables =
        sticky.iter().filter(|(_, told)| !**told).map(|(backend, _)| format!("# table: {backend},\n"));
    format!("{servers}\n{stat}\n{}", tables.collect::<String>())
}

/// A text as one column, whatever is in it.
fn cell(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

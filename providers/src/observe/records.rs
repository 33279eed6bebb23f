//! What a host remembers of our work there, read: generations, jobs that must not run twice, patches, our pause.

use std::collections::{BTreeMap, BTreeSet};

use model::{AgentState, Generation, JobName};

use super::parse::{Answer, Unreadable, number};

/// What `timeout` answers, by a signal and by a stronger one.
const TIMED_OUT: [&str; 2] = ["124", "137"];

/// The configuration agent; none: nobody asked.
pub(super) fn agent(answer: &Answer<'_>) -> Result<Option<AgentState>, Unreadable> {
    let Ok(lines) = answer.lines("agent") else { return Ok(None) };
    let told: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once(' ')).collect();
    let ends_with_0 = |question: &str| match told.get(question) {
        // No answer in time is neither yes nor no.
        Some(code) if TIMED_OUT.contains(code) => Err(Unreadable::Malformed {
            part: "answer of the configuration agent",
            text: format!("{question}: none in 5 s"),
        }),
        code => Ok(code == Some(&"0")),
    };
    let (active, busy) = (ends_with_0("active")?, ends_with_0("busy")?);
    Ok(Some(AgentState { active, busy, paused_by_us: told.contains_key("paused") }))
}

/// The highest of our service that ever claimed the host; what stands after it on the line is the fence's.
pub(super) fn last_generation(answer: &Answer<'_>) -> Result<Option<Generation>, Unreadable> {
    let Some(line) = answer.lines("generation")?.next() else { return Ok(None) };
    Ok(Some(Generation(number("generation", line.split(' ').next().unwrap_or_default())?)))
}

/// Jobs that must not run twice and have ended, with their exit codes.
pub(super) fn jobs(answer: &Answer<'_>) -> Result<BTreeMap<JobName, i32>, Unreadable> {
    let mut jobs = BTreeMap::new();
    for line in answer.lines("once")? {
        let malformed = || Unreadable::Malformed { part: "end of a job", text: line.to_owned() };
        let (name, code) = line.split_once(' ').ok_or_else(malformed)?;
        let name = serde_json::from_value(name.into()).map_err(|_| malformed())?;
        jobs.insert(name, number("exit code", code.trim())?);
    }
    Ok(jobs)
}

/// A mark: its place in the order of application, and each file's checksum after it; `-`: no such file.
#[derive(Default)]
struct Mark<'a> {
    order: u32,
    files: Vec<(&'a str, &'a str)>,
}

/// Patches whose mark is there and whose files are as applying left them, or as a later patch left them.
pub(super) fn patches(answer: &Answer<'_>) -> Result<BTreeSet<String>, Unreadable> {
    let mut marks: BTreeMap<&str, Mark<'_>> = BTreeMap::new();
    let mut reading = None;
    for line in answer.lines("patches")? {
        match (line.split_once(' '), &mut reading) {
            (Some(("patch", checksum)), _) => reading = Some(marks.entry(checksum).or_default()),
            (Some(("order", order)), Some(mark)) => mark.order = number("order of a patch", order)?,
            (Some((checksum, file)), Some(mark)) => mark.files.push((file, checksum)),
            _ => return Err(Unreadable::Malformed { part: "mark of a patch", text: line.to_owned() }),
        }
    }
    // sha256sum parts checksum and name by two blanks.
    let now: BTreeMap<&str, &str> = answer
        .lines("patched")?
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, file)| (file, sum))
        .collect();
    let mut by_order: Vec<&Mark<'_>> = marks.values().collect();
    by_order.sort_by_key(|mark| mark.order);
    let wanted: BTreeMap<&str, &str> =
        by_order.into_iter().flat_map(|mark| mark.files.iter().copied()).collect();
    let there =
        |file: &str| now.get(file).copied().unwrap_or("-") == wanted.get(file).copied().unwrap_or("-");
    let whole = marks.iter().filter(|(_, mark)| mark.files.iter().all(|(file, _)| there(file)));
    Ok(whole.map(|(checksum, _)| (*checksum).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::sections;

    fn read(text: &str) -> Answer<'_> {
        Answer(sections(text))
    }

    fn patched(marks: &str, now: &str) -> Vec<String> {
        let text = format!("@@patches\n{marks}\n@@patched\n{now}\n");
        patches(&read(&text)).unwrap().into_iter().collect()
    }

    #[test]
    fn a_patch_is_there_when_its_files_are_as_it_left_them() {
        let mark = "patch aa\norder 1\n11 /opt/a b\n- /opt/gone";
        assert_eq!(patched(mark, "11  /opt/a b"), ["aa"]);
        assert!(patched(mark, "12  /opt/a b").is_empty(), "changed since");
        assert!(patched(mark, "11  /opt/a b\n55  /opt/gone").is_empty(), "a deleted file is back");
        assert!(patched("", "").is_empty());
    }

    #[test]
    fn a_later_patch_to_the_same_file_does_not_hide_an_earlier_one() {
        let marks = "patch aa\norder 2\n22 /opt/a\npatch bb\norder 1\n11 /opt/a\n33 /opt/b";
        assert_eq!(patched(marks, "22  /opt/a\n33  /opt/b"), ["aa", "bb"]);
        assert!(
            patched(marks, "11  /opt/a\n33  /opt/b").is_empty(),
            "the later one is gone, so neither is sure"
        );
    }

    #[test]
    fn an_agent_that_gives_no_answer_is_not_taken_for_paused() {
        let seen = agent(&read("@@agent\nactive 3\nbusy 1\npaused yes")).unwrap();
        assert_eq!(seen, Some(AgentState { active: false, busy: false, paused_by_us: true }));
        assert!(agent(&read("@@agent\nactive 124\nbusy 1")).is_err());
        assert_eq!(agent(&read("@@other\n")).unwrap(), None);
    }

    #[test]
    fn ended_jobs_are_told_with_their_exit_codes() {
        let ended =
            jobs(&read("@@once\njob.staging.pre.1_2e_0.1 0  \njob.staging.post.1_2e_0.1 124\n")).unwrap();
        assert_eq!(ended.values().copied().collect::<Vec<_>>(), [124, 0]);
        assert!(jobs(&read("@@once\njob.x 0x")).is_err());
        assert_eq!(last_generation(&read("@@generation\n7 4-1f\n")).unwrap(), Some(Generation(7)));
    }
}

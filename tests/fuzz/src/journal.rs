//! The journal's lines: what is understood is written as it was, and folded without a panic, in any order.

use jiff::Timestamp;
use model::{Event, Histories, Recorded};

use crate::text;

/// Lines of a time and an event, as the journal's table holds them. What cannot be understood is left out.
pub(crate) fn journal(bytes: &[u8]) {
    let text = text(bytes);
    let journal: Vec<Recorded> =
        text.lines().zip(1..).filter_map(|(line, seq)| recorded(line, seq)).collect();
    let mut histories = Histories::default();
    for recorded in &journal {
        // A journal with an illegal event is refused as a whole; the others must still fold.
        if histories.apply(recorded).is_ok() {}
    }
    let _ = histories.next_generation();
    if let Ok(whole) = Histories::replay(&journal) {
        assert_eq!(whole, histories, "live and replay differ");
    }
}

fn recorded(line: &str, seq: u64) -> Option<Recorded> {
    let (at, json) = line.split_once(' ')?;
    let at: Timestamp = at.parse().ok()?;
    let event: Event = serde_json::from_str(json).ok()?;
    let written = serde_json::to_string(&event).expect("an event can be written");
    let again: Event = serde_json::from_str(&written).expect("and read again");
    assert_eq!(again, event, "it changes when it is written down");
    Some(Recorded { seq, at, event })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_with_one_event_of_each_kind_is_understood_in_every_line() {
        let sample = include_str!("../corpus/journal/one-of-each.txt");
        let journal: Vec<_> = sample.lines().zip(1..).map(|(line, seq)| recorded(line, seq)).collect();
        let not_understood: Vec<_> =
            sample.lines().zip(&journal).filter(|(_, read)| read.is_none()).map(|(line, _)| line).collect();
        assert_eq!(not_understood, Vec::<&str>::new());
        assert!(Histories::replay(&journal.into_iter().flatten().collect::<Vec<_>>()).is_ok());
    }
}

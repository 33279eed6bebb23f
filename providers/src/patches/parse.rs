//! A patch in unified form, read only as far as to know which files it touches, and that it touches no others.

/// What a patch does to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// It is there before and after.
    Change,
    /// It is not there before.
    Create,
    /// It is not there after.
    Delete,
}

/// A file below the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Touched<'a> {
    pub(crate) file: &'a str,
    pub(crate) touch: Touch,
}

/// The files of a patch, in its order; what cannot be applied with care is refused with a reason.
pub(crate) fn touched(patch: &str) -> Result<Vec<Touched<'_>>, String> {
    let mut files: Vec<Touched<'_>> = Vec::new();
    let mut lines = patch.lines().peekable();
    while let Some(line) = lines.next() {
        refuse_unusual(line)?;
        let Some(old) = line.strip_prefix("--- ") else { continue };
        let new = lines.next().and_then(|line| line.strip_prefix("+++ "));
        let new = new.ok_or_else(|| format!("`{line}` is not followed by a line `+++ …`"))?;
        let file = touch(name(old)?, name(new)?)?;
        if files.iter().any(|known| known.file == file.file) {
            return Err(format!("{} comes twice", file.file));
        }
        files.push(file);
        let mut hunks = 0;
        while let Some(header) = lines.next_if(|line| line.starts_with("@@ -")) {
            skip_hunk(header, &mut lines)?;
            hunks += 1;
        }
        if hunks == 0 {
            return Err(format!("`+++ {new}` is not followed by a line `@@ -…`"));
        }
    }
    if files.is_empty() { Err("it changes no file".to_owned()) } else { Ok(files) }
}

fn refuse_unusual(line: &str) -> Result<(), String> {
    let refused = [
        ("rename from ", "it renames a file; write it as one deleted and one new file"),
        ("copy from ", "it copies a file; write it as a new file"),
        ("GIT binary patch", "it holds a binary file"),
        ("Binary files ", "it holds a binary file"),
        ("@@ -", "it holds lines without the name of their file"),
    ];
    let found = refused.iter().find(|(sign, _)| line.starts_with(sign));
    found.map_or(Ok(()), |(_, reason)| Err((*reason).to_owned()))
}

/// The name in a header, without its first folder; none: `/dev/null`. A tab parts the name from a time.
fn name(header: &str) -> Result<Option<&str>, String> {
    let name = header.split('\t').next().unwrap_or_default().trim_end_matches('\r');
    if name == "/dev/null" {
        return Ok(None);
    }
    let (first, rest) =
        name.split_once('/').ok_or_else(|| format!("`{name}` has no folder to strip (-p1)"))?;
    let plain = !name.contains(['\\', '"']) && !name.chars().any(char::is_control) && name.trim() == name;
    let below = rest.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if first.is_empty() || !below || !plain {
        return Err(format!("`{name}` is not a plain name below the root"));
    }
    Ok(Some(rest))
}

fn touch<'a>(old: Option<&'a str>, new: Option<&'a str>) -> Result<Touched<'a>, String> {
    match (old, new) {
        (Some(old), Some(new)) if old == new => Ok(Touched { file: new, touch: Touch::Change }),
        (Some(old), Some(new)) => {
            Err(format!("it renames {old} to {new}; write it as one deleted and one new file"))
        }
        (None, Some(file)) => Ok(Touched { file, touch: Touch::Create }),
        (Some(file), None) => Ok(Touched { file, touch: Touch::Delete }),
        (None, None) => Err("it turns nothing into nothing".to_owned()),
    }
}

/// Takes the lines of a hunk, by the numbers in its header: they may look like anything.
fn skip_hunk<'a>(header: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
    let bad = || format!("`{header}` is not the head of a hunk");
    let mut ranges = header.split(' ').skip(1).take(2);
    let mut count = |sign: char| -> Option<u64> {
        let range = ranges.next()?.strip_prefix(sign)?;
        range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())
    };
    let (mut old, mut new) = (count('-').ok_or_else(bad)?, count('+').ok_or_else(bad)?);
    while old > 0 || new > 0 {
        let line = lines.next().ok_or_else(|| format!("it ends within `{header}`"))?;
        match line.as_bytes().first() {
            // Some editors strip the blank of an empty line.
            Some(b' ') | None => (old, new) = (old.saturating_sub(1), new.saturating_sub(1)),
            Some(b'-') => old = old.saturating_sub(1),
            Some(b'+') => new = new.saturating_sub(1),
            Some(b'\\') => {}
            Some(_) => return Err(format!("`{line}` is no line of `{header}`")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(patch: &str) -> Vec<(&str, Touch)> {
        touched(patch).unwrap().into_iter().map(|touched| (touched.file, touched.touch)).collect()
    }

    fn refused(patch: &str) -> String {
        touched(patch).unwrap_err()
    }

    #[test]
    fn changed_new_and_deleted_files_are_found() {
        let patch = "From: someone\n---\n lib/a.rb | 2 +-\n\ndiff --git a/lib/a.rb b/lib/a.rb\n--- a/lib/a.rb\n\
            +++ b/lib/a.rb\n@@ -1,2 +1,2 @@ def\n ---\n--- a/looks.rb\n+++ b/looks.rb\n@@ -9 +9 @@\n-x\n\\ No newline\n+y\n\
            --- /dev/null\n+++ b/new file.rb\t2026-01-01\n@@ -0,0 +1 @@\n+x\n--- a/old.rb\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n-- \n2.39\n";
        let wanted = [("lib/a.rb", Touch::Change), ("new file.rb", Touch::Create), ("old.rb", Touch::Delete)];
        assert_eq!(files(patch), wanted);
    }

    #[test]
    fn nothing_outside_the_root_is_touched() {
        for name in ["b/../etc/passwd", "/etc/passwd", "b//etc", "b/x/./y", "b", "\"b/\\303\"", "b/a\\b"] {
            let patch = format!("--- /dev/null\n+++ {name}\n@@ -0,0 +1 @@\n+x\n");
            let reason = refused(&patch);
            assert!(reason.contains("below the root") || reason.contains("-p1"), "{name}: {reason}");
        }
    }

    #[test]
    fn what_cannot_be_applied_with_care_is_refused_with_a_reason() {
        let renamed = "diff --git a/a b/b\nsimilarity index 100%\nrename from a\nrename to b\n";
        assert_eq!(refused(renamed), "it renames a file; write it as one deleted and one new file");
        assert!(refused("--- a/a\n+++ b/b\n@@ -1 +1 @@\n-x\n+y\n").contains("renames a to b"));
        assert_eq!(refused("GIT binary patch\nliteral 3\n"), "it holds a binary file");
        assert_eq!(refused("hello\n"), "it changes no file");
        assert!(refused("--- a/a\n+++ b/a\n@@ -1,3 +1 @@\n-x\n").contains("ends within"));
        assert!(refused("@@ -1 +1 @@\n-x\n+y\n").contains("without the name"));
        let twice = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n";
        assert_eq!(refused(&twice.repeat(2)), "a comes twice");
    }
}

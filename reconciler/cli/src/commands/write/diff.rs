//! A change as people read it.

use similar::TextDiff;
use store::git::Draft;

use crate::paint::Paint;
use crate::render;

/// In unified form, as `git apply` takes it.
pub(super) fn plain(draft: &Draft) -> String {
    let one = |(path, before, after): &(String, String, String)| {
        let (old, new) = (format!("a/{path}"), format!("b/{path}"));
        let old = if before.is_empty() { "/dev/null" } else { &old };
        let new = if after.is_empty() { "/dev/null" } else { &new };
        let diff = TextDiff::from_lines(before.as_str(), after.as_str());
        diff.unified_diff().context_radius(3).header(old, new).to_string()
    };
    draft.files.iter().map(one).collect()
}

/// The same for a terminal. What somebody committed cannot send escape sequences to it.
pub(super) fn coloured(draft: &Draft, paint: Paint) -> String {
    let plain = plain(draft);
    let lines = plain.lines().map(|line| {
        let line = render::clean(line);
        match line.chars().next() {
            _ if line.starts_with("+++") || line.starts_with("---") => paint.bold(&line),
            Some('+') => paint.good(&line),
            Some('-') => paint.bad(&line),
            Some('@') => paint.dim(&line),
            _ => line,
        }
    });
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn a_change_is_shown_with_its_surroundings_and_no_escape_sequences() {
        let draft = sample("[main]\nversion = \"1\"\n", "[main]\nversion = \"2\"\n# \u{1b}[2J\n");
        insta::assert_snapshot!(coloured(&draft, Paint::plain()), @r#"
        --- a/environments/production/release.toml
        +++ b/environments/production/release.toml
        @@ -1,2 +1,3 @@
         [main]
        -version = "1"
        +version = "2"
        +#  [2J
        "#);
    }
}

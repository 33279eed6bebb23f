//! The verdict on a desired-state repository.

use std::fmt::Write;

use model::parse::Problem;

use super::{clean, count};
use crate::documents::CheckDocument;
use crate::paint::Paint;

/// Every problem with its place and hint, then the verdict.
pub(crate) fn check(document: &CheckDocument, paint: Paint) -> String {
    let CheckDocument { valid, environments, problems, warnings, .. } = document;
    let mut text = String::new();
    for problem in problems {
        place(&mut text, problem, &paint.bad("error"), paint);
    }
    for warning in warnings {
        place(&mut text, warning, &paint.notice("warning"), paint);
    }
    let verdict = if *valid {
        let names: Vec<&str> = environments.iter().map(|name| name.as_str()).collect();
        format!("{}: {}", paint.good("valid"), names.join(", "))
    } else {
        format!("{}: {}", paint.bad("not valid"), count(problems.len(), "problem", "problems"))
    };
    let _ = writeln!(text, "{verdict}");
    text
}

fn place(text: &mut String, problem: &Problem, kind: &str, paint: Paint) {
    let Problem { file, line, column, message, hint } = problem;
    let place = paint.bold(format!("{}:{line}:{column}:", clean(file)));
    let _ = writeln!(text, "{place} {kind}: {}", clean(message));
    if let Some(hint) = hint {
        let _ = writeln!(text, "    {}", paint.dim(clean(hint)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_its_place_and_its_hint() {
        let problem = Problem {
            file: "environments/staging/environment.toml".into(),
            line: 3,
            column: 1,
            message: "unknown key `pakages`".into(),
            hint: Some("did you mean `packages`?".into()),
        };
        let document = CheckDocument {
            format: 1,
            valid: false,
            environments: vec![],
            problems: vec![problem],
            warnings: vec![],
        };
        insta::assert_snapshot!(check(&document, Paint::plain()), @r"
        environments/staging/environment.toml:3:1: error: unknown key `pakages`
            did you mean `packages`?
        not valid: 1 problem
        ");
    }
}

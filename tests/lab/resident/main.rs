//! The program that lives inside a lab: the demo application, the package server, the traffic.
//!
//! One file without dependencies, so that it can be put into a package, started on a bare host, and
//! carried inside the library.

mod app;
mod files;
mod report;
mod request;
mod response;
mod sample;
mod traffic;

use std::process::ExitCode;

const USAGE: &str = "usage: resident app --listen ADDR --release FILE [--message FILE]
       resident files --listen ADDR --root DIR
       resident traffic --target ADDR … --rate N --version V …
       resident sample --target ADDR … --count N";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((role, rest)) = arguments.split_first() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    let options = Options(rest);
    let ended = match role.as_str() {
        "app" => app::serve(&options),
        "files" => files::serve(&options),
        "sample" => sample::take(&options),
        "traffic" => traffic::generate(&options),
        _ => Err(USAGE.to_owned()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("resident {role}: {message}");
            ExitCode::FAILURE
        }
    }
}

/// `--name value` pairs; a name may come several times.
pub(crate) struct Options<'a>(&'a [String]);

impl Options<'_> {
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let pairs = self.0.chunks_exact(2);
        pairs.filter(|pair| pair[0] == name).map(|pair| pair[1].as_str()).collect()
    }

    pub(crate) fn one(&self, name: &str) -> Result<&str, String> {
        self.all(name).first().copied().ok_or_else(|| format!("{name} is missing\n{USAGE}"))
    }
}

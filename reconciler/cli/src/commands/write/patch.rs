//! `patch`: a post-deployment patch, with its file in the same commit.

use std::path::Path;

use sha2::{Digest, Sha256};
use store::edit::{Edit, PatchEntry};

use super::{Intent, Place, write};
use crate::args::{CommandLine, Patch};
use crate::error::CliError;
use crate::exit::Exit;

pub(crate) async fn patch(line: &CommandLine, args: &Patch) -> Result<Exit, CliError> {
    let place = Place::open(line, &args.writing)?;
    let (environment, version) = (&args.environment, args.version.clone());
    let file = place_in_repository(args)?;
    let name = file.rsplit('/').next().unwrap_or(&file).to_owned();
    let intent = if args.undo {
        let subject = format!("{environment}: take back the patch {name} of {version}");
        let edits = vec![Edit::Unpatch { file: file.clone(), version }];
        Intent { remove: vec![file], ..Intent::new(environment, edits, subject) }
    } else {
        let contents = read(&args.file)?;
        let entry = PatchEntry {
            version: version.clone(),
            file: file.clone(),
            sha256: checksum(&contents),
            root: args.root.clone().unwrap_or_default(),
            roles: args.roles.iter().map(|role| role.as_str().into()).collect(),
            reason: args.writing.reason.clone(),
            incorporated_in: args.incorporated_in.clone(),
        };
        let subject = format!("{environment}: patch {version} with {name}");
        Intent {
            add: [(file, contents)].into(),
            ..Intent::new(environment, vec![Edit::Patch(entry)], subject)
        }
    };
    write(line, &args.writing, &place, intent).await
}

/// `patches/VERSION/NAME`; a path that begins so is one already.
fn place_in_repository(args: &Patch) -> Result<String, CliError> {
    let wrong = || CliError::new(Exit::Usage, format!("{} is no file's name", args.file.display()));
    if args.undo && args.file.starts_with("patches") {
        return args.file.to_str().map(str::to_owned).ok_or_else(wrong);
    }
    let name = args.file.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?;
    Ok(format!("patches/{}/{name}", args.version))
}

fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|error| CliError::file("read", path, &error))
}

fn checksum(contents: &str) -> String {
    Sha256::digest(contents.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_what_sha256sum_prints() {
        assert_eq!(checksum("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}

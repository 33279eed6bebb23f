//! Gives a real package of Debian's archive a second, lower version, so that it can go forward and back.

use std::path::{Path, PathBuf};

use crate::deb;
use crate::error::LabError;
use crate::place::{self, Place, create_directory, remove_directory, write};
use crate::program::{command, finish, succeed};
use crate::repository;

/// A package that is in the lab's archive in two versions: Debian's own, and the same files under a
/// lower one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repacked {
    /// The packages of the same source, each in both versions.
    pub packages: Vec<String>,
    /// Debian's version.
    pub newer: String,
    /// The lower one.
    pub older: String,
}

/// Downloads `package` with its dependencies into the lab's archive, and repacks it and its siblings (the
/// packages of the same source) as `version`, with their exact dependencies on each other.
pub(crate) fn repack(
    place: &Place,
    image: &Path,
    package: &str,
    version: &str,
) -> Result<Repacked, LabError> {
    let directory = place.file("repack").join(package);
    remove_directory(&directory)?;
    repository::download(&[package], image, &directory)?;
    let mut debs = deb::in_directory(&directory)?;
    let facts: Vec<Facts> = debs.iter().map(|path| Facts::read(path)).collect::<Result<_, _>>()?;
    let Some(main) = facts.iter().find(|one| one.package == package) else {
        return Err(LabError::Unexpected {
            what: format!("what apt downloaded for {package}"),
            detail: "the package itself is not among it: is it installed in the image already?".to_owned(),
        });
    };
    require_lower(version, &main.version)?;
    let siblings: Vec<&Facts> = facts.iter().filter(|one| one.source == main.source).collect();
    let older = directory.join("older");
    create_directory(&older)?;
    for sibling in &siblings {
        debs.push(repack_one(sibling, &siblings, version, &older)?);
    }
    repository::publish(place, &debs)?;
    remove_directory(&directory)?;
    Ok(Repacked {
        packages: siblings.iter().map(|one| one.package.clone()).collect(),
        newer: main.version.clone(),
        older: version.to_owned(),
    })
}

struct Facts {
    path: PathBuf,
    package: String,
    version: String,
    source: String,
}

impl Facts {
    fn read(path: &Path) -> Result<Self, LabError> {
        let package = deb::field(path, "Package")?;
        let source = deb::field(path, "Source")?;
        // `Source: name (version)` when the binary was rebuilt without a new source.
        let source = source.split(' ').next().filter(|name| !name.is_empty()).unwrap_or(&package).to_owned();
        Ok(Self { path: path.to_owned(), version: deb::field(path, "Version")?, package, source })
    }
}

fn require_lower(version: &str, than: &str) -> Result<(), LabError> {
    let lower = finish(&mut command("dpkg", ["--compare-versions", version, "lt", than]), None)?;
    if lower.success() {
        return Ok(());
    }
    Err(LabError::Unexpected {
        what: format!("version {version}"),
        detail: format!("it must sort below Debian's {than}, which is the other version of the pair"),
    })
}

fn repack_one(sibling: &Facts, siblings: &[&Facts], version: &str, into: &Path) -> Result<PathBuf, LabError> {
    let tree = into.join(format!("{}.tree", sibling.package));
    let mut unpack = command("dpkg-deb", ["--raw-extract"]);
    succeed("unpack a package", unpack.arg(&sibling.path).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let names: Vec<(&str, &str)> =
        siblings.iter().map(|one| (one.package.as_str(), one.version.as_str())).collect();
    let text = relabel(&place::read(&control)?, &names, version);
    write(&control, 0o644, text.as_bytes())?;
    let file = into.join(format!("{}_{}_repacked.deb", sibling.package, version.replace(':', "%3a")));
    deb::pack(&tree, &file)?;
    remove_directory(&tree)?;
    Ok(file)
}

/// The control file of the same package as `version`: dependencies on siblings, by name and version, move with it
/// when they name the exact version or ask for no older one.
fn relabel(control: &str, siblings: &[(&str, &str)], version: &str) -> String {
    let lines = control.lines().map(|line| {
        if line.starts_with("Version:") {
            return format!("Version: {version}");
        }
        if let Some((name, _)) = line.strip_prefix("Source: ").and_then(|source| source.split_once(' ')) {
            return format!("Source: {name}");
        }
        siblings.iter().fold(line.to_owned(), |line, (name, old)| {
            line.replace(&format!("(= {old})"), &format!("(= {version})"))
                .replace(&format!(" {name} (>= {old})"), &format!(" {name} (>= {version})"))
        })
    });
    lines.map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_move_together() {
        let control = "Package: apache2\nSource: apache2 (2.4-1)\nVersion: 2.4-1+b1\n\
                       Depends: apache2-bin (= 2.4-1+b1), apache2-data (>= 2.4-1), perl:any (>= 2.4-1)\n";
        assert_eq!(
            relabel(control, &[("apache2-bin", "2.4-1+b1"), ("apache2-data", "2.4-1")], "2.3-9"),
            "Package: apache2\nSource: apache2\nVersion: 2.3-9\n\
             Depends: apache2-bin (= 2.3-9), apache2-data (>= 2.3-9), perl:any (>= 2.4-1)\n"
        );
    }
}

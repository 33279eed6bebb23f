//! Builds Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::LabError;
use crate::place::{remove_directory, write};
use crate::program::{command, succeed};

/// A package to build.
pub(crate) struct Deb {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) description: String,
    /// Path below the root, mode, content.
    pub(crate) files: Vec<(String, u32, Vec<u8>)>,
    /// Paths below the root that dpkg must not overwrite when somebody changed them.
    pub(crate) configuration: Vec<String>,
    /// Name (`postinst`, …) and text.
    pub(crate) scripts: Vec<(String, String)>,
}

impl Deb {
    /// Builds it in `directory` and returns the file.
    pub(crate) fn build(&self, directory: &Path) -> Result<PathBuf, LabError> {
        let architecture =
            succeed("ask for the architecture", &mut command("dpkg", ["--print-architecture"]))?.stdout;
        let architecture = architecture.trim();
        let tree = directory.join(format!("{}_{}.tree", self.name, self.version));
        for (path, mode, content) in &self.files {
            write(&tree.join(path), *mode, content)?;
        }
        let control = format!(
            "Package: {}\nVersion: {}\nArchitecture: {architecture}\nSection: misc\nPriority: optional\n\
             Maintainer: reconcile lab <lab@example.invalid>\nDescription: {}\n",
            self.name, self.version, self.description
        );
        write(&tree.join("DEBIAN/control"), 0o644, control.as_bytes())?;
        let configuration: String = self.configuration.iter().map(|path| format!("/{path}\n")).collect();
        write(&tree.join("DEBIAN/conffiles"), 0o644, configuration.as_bytes())?;
        for (name, text) in &self.scripts {
            write(&tree.join("DEBIAN").join(name), 0o755, text.as_bytes())?;
        }
        let file = directory.join(format!("{}_{}_{architecture}.deb", self.name, self.version));
        pack(&tree, &file)?;
        remove_directory(&tree)?;
        Ok(file)
    }
}

/// Packs an unpacked tree. Quick rather than small: it travels over a bridge.
pub(crate) fn pack(tree: &Path, file: &Path) -> Result<(), LabError> {
    let mut dpkg = command("dpkg-deb", ["--build", "-Zgzip", "-z1"]);
    succeed("build a package", dpkg.arg(tree).arg(file)).map(drop)
}

/// One field of a package's control file; empty when it has none.
pub(crate) fn field(deb: &Path, name: &str) -> Result<String, LabError> {
    let mut dpkg = command("dpkg-deb", ["--field"]);
    Ok(succeed("read a package", dpkg.arg(deb).arg(name))?.stdout.trim().to_owned())
}

/// The packages in a directory, sorted.
pub(crate) fn in_directory(directory: &Path) -> Result<Vec<PathBuf>, LabError> {
    let entries = fs::read_dir(directory).map_err(LabError::io("list", directory))?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut debs: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|end| end == "deb")).collect();
    debs.sort();
    Ok(debs)
}

//! Serves a directory over HTTP: the lab's package archive.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::Options;
use crate::response::{Connection, Request, listen};

/// Serves the files below `--root` until it is killed. Nothing outside of it can be named.
pub(crate) fn serve(options: &Options<'_>) -> Result<(), String> {
    let root = PathBuf::from(options.one("--root")?);
    listen(options.one("--listen")?, move |connection| converse(&root, connection))
}

fn converse(root: &Path, connection: &mut Connection) -> io::Result<()> {
    while let Some(request) = connection.next()? {
        answer(root, connection, &request)?;
        if !request.keep_alive {
            break;
        }
    }
    Ok(())
}

fn answer(root: &Path, connection: &mut Connection, request: &Request) -> io::Result<()> {
    let keep = request.keep_alive;
    let file = inside(&decode(&request.path)).and_then(|relative| File::open(root.join(relative)).ok());
    let Some(mut file) = file else { return connection.answer("404 Not Found", "no such file\n", keep) };
    let facts = file.metadata()?;
    if !facts.is_file() {
        return connection.answer("404 Not Found", "not a file\n", keep);
    }
    connection.head("200 OK", "application/octet-stream", facts.len(), keep)?;
    if request.method == "GET" {
        io::copy(&mut file, &mut connection.output)?;
    }
    Ok(())
}

/// The path below the root, or nothing when it would leave the root.
fn inside(path: &str) -> Option<PathBuf> {
    let relative = PathBuf::from(path.trim_start_matches('/'));
    let stays = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    stays.then_some(relative)
}

/// Undoes `%2b` and its like, which apt uses for `+` and `~` in file names.
fn decode(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let code = code
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_codes_are_undone() {
        assert_eq!(decode("/shop_1.0.0%2bb1_all.deb"), "/shop_1.0.0+b1_all.deb");
        assert_eq!(decode("/100%"), "/100%");
    }

    #[test]
    fn nothing_outside_the_root_can_be_named() {
        assert_eq!(inside("/../etc/passwd"), None);
        assert_eq!(inside("/./Packages"), Some(PathBuf::from("./Packages")));
    }
}

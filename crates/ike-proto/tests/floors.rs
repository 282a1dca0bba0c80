//! The floors of ARCHITECTURE.md: a module of the engine uses only modules on its own floor or below.

use std::fs;
use std::path::{Path, PathBuf};

/// Modules of `ike-proto`, lowest floor first.
const FLOORS: &[&[&str]] = &[
    &["ids", "time", "rng", "secret"],
    &["wire"],
    &["error", "crypto"],
    &["message", "policy"],
    &["config", "output"],
    &["ike_sa"],
    &["endpoint"],
];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source folder can be read") {
        let path = entry.expect("an entry can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The first word behind each `crate::`.
fn uses(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn no_module_uses_a_higher_floor() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30, "the sources are found");
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("lib.rs")) {
        let inside = file.strip_prefix(&root).expect("it is below the root");
        let module =
            inside.iter().next().and_then(|name| name.to_str()).expect("a name").trim_end_matches(".rs");
        let own = floor(module).unwrap_or_else(|| panic!("{module} stands on no floor of ARCHITECTURE.md"));
        let text = fs::read_to_string(file).expect("it can be read");
        for used in uses(&text) {
            if floor(used).is_some_and(|floor| floor > own) {
                wrong.push(format!("{} uses crate::{used}", inside.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

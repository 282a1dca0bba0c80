//! The committed corpora, run through their targets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use coati_fuzz::TARGETS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

#[test]
fn every_corpus_runs_through_its_target() {
    for (name, target) in TARGETS {
        let inputs = files(&root().join("corpus").join(name));
        assert!(!inputs.is_empty(), "the corpus of {name} is empty");
        for input in inputs {
            // Seen only when the target panics: names the input.
            println!("{}", input.display());
            target(&fs::read(&input).expect("a readable input"));
        }
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus_and_nothing_else_has() {
    let names = |folder: &str| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
        files(&root().join(folder)).iter().map(stem).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "two targets of one name");
    assert_eq!(names("src/bin"), targets);
    assert_eq!(names("corpus"), targets);
}

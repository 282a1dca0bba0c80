//! `docs/rfc-coverage.md` stays true in what can be checked: every file and every test that it names exists.

use std::fs;
use std::path::Path;

/// The words that stand where no test is named.
const HONEST: &[&str] = &["no test", "not done", "kernel"];

/// The cells of a requirement's row; `None` if it has not five.
fn row(line: &str) -> Option<[&str; 5]> {
    let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    <[&str; 5]>::try_from(cells).ok()
}

/// What stands between backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

fn source(root: &Path, name: &str) -> Option<String> {
    let below = if name.starts_with("fuzz/") || name.starts_with("interop-tests/") { "" } else { "crates" };
    fs::read_to_string(root.join(below).join(name)).ok()
}

/// What a row names and the tree does not have.
fn wrong(root: &Path, [section, requirement, _, places, shown]: [&str; 5]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut say = |what: String| wrong.push(format!("{section} {requirement}: {what}"));
    for file in names(places).filter(|file| source(root, file).is_none()) {
        say(format!("there is no file {file}"));
    }
    let (mut file, mut text) = ("", String::new());
    for name in names(shown) {
        if name.contains('/') {
            file = name;
            text = source(root, name).unwrap_or_default();
            if text.is_empty() {
                say(format!("there is no file {name}"));
            }
        } else if !text.contains(&format!("fn {name}(")) && !text.contains(&format!("\"{name}\"")) {
            say(format!("there is no test {name} in {file}"));
        }
    }
    if file.is_empty() && !HONEST.iter().any(|word| shown.contains(word)) {
        say("nothing is said of what shows it".to_owned());
    }
    wrong
}

#[test]
fn every_file_and_test_of_the_coverage_page_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/rfc-coverage.md")).expect("the page can be read");
    let (_, requirements) = page.split_once("\n# RFC 7296\n").expect("the departures come first");
    let lines: Vec<&str> =
        requirements.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| § ")).collect();
    let rows: Vec<[&str; 5]> = lines.iter().filter_map(|line| row(line)).collect();
    assert!(rows.len() > 200, "the rows are found: {}", rows.len());
    assert_eq!(rows.len(), lines.len(), "each row has five cells");
    let wrong: Vec<String> = rows.into_iter().flat_map(|row| wrong(&root, row)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! What the tests of several modules share.

use std::path::PathBuf;

use coati_config::files::Memory;
use coati_config::setkey::{FwdCopies, PolicySet, parse};

/// An empty directory of this test's own, in the build's temporary directory.
pub(crate) fn scratch_dir(name: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("coatid-test-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// What the text of a setkey file asks for.
pub(crate) fn set_of(text: &str) -> PolicySet {
    let (file, said) = parse("p.conf", text.as_bytes(), &Memory::new());
    let (set, more) = PolicySet::of(&[file.unwrap_or_else(|| panic!("{said}"))], FwdCopies::Made);
    assert!(!more.has_errors(), "{more}");
    set
}

//! What the tests of several modules share.

use coati_config::files::Memory;
use coati_config::setkey::{FwdCopies, PolicySet, parse};

/// What the text of a setkey file asks for.
pub(crate) fn set_of(text: &str) -> PolicySet {
    let (file, said) = parse("p.conf", text.as_bytes(), &Memory::new());
    let (set, more) = PolicySet::of(&[file.unwrap_or_else(|| panic!("{said}"))], FwdCopies::Made);
    assert!(!more.has_errors(), "{more}");
    set
}

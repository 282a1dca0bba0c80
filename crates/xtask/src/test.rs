//! `cargo xtask test`: everything that shows that it works.

use interop_tests::failure::Result;

use crate::{interop, run};

/// The command: the workspace's own tests, then the scenarios that always run.
pub(crate) fn run() -> Result<()> {
    run::step(run::cargo()?.args(["test", "--workspace", "--quiet", "--no-fail-fast"]))?;
    interop::run(&interop::Arguments::default())
}

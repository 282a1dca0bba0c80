//! Scenarios in a real kernel.

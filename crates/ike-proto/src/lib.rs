//! The IKEv2 protocol engine.

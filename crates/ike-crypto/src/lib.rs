//! The default provider of algorithms for `ike-proto`.

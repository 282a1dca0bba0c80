//! Identifiers: the two SPIs of the protocol, and the handles by which the engine names its own objects.

use core::fmt;

/// Which end of an IKE SA one is: the original initiator or the original responder (RFC 7296 §2.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// The end that sent the first message of the SA.
    Initiator,
    /// The end that answered it.
    Responder,
}

impl Role {
    /// The other end.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// One end's SPI of an IKE SA (RFC 7296 §3.1); zero means "not known yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct IkeSpi(pub u64);

impl IkeSpi {
    /// The responder's SPI in the first request.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The SPI of one direction of an ESP SA, in host order; 0 to 255 are reserved (RFC 4303 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ChildSpi(pub u32);

impl fmt::Display for ChildSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for ChildSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

handles! {
    /// The engine's own number of an IKE SA, never used twice by one endpoint.
    SaId(u64);
    /// The engine's own number of a CHILD_SA, never used twice by one endpoint.
    ChildId(u64);
    /// The number under which a job goes out and its answer comes back.
    JobId(u64);
    /// The kernel's index of a policy (shown by setkey as `spid`).
    PolicyIndex(u32);
    /// The number that binds an SA to the template of a policy (`unique:N`); zero binds to any.
    Reqid(u32);
}

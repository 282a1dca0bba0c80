//! What shares the UDP port of encapsulated ESP (RFC 3948, RFC 7296 §2.23).

/// Four zero octets that stand before IKE on port 4500, where ESP has its SPI.
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];

/// The one octet that keeps a NAT mapping alive (RFC 3948 §2.3).
pub const KEEPALIVE: [u8; 1] = [0xff];

/// What a datagram on an encapsulating port is.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming<'a> {
    /// A NAT keepalive, to be dropped.
    Keepalive,
    /// An IKE message, without its marker.
    Ike(&'a mut [u8]),
    /// ESP, which is the kernel's.
    Esp,
    /// Too short to be any of them.
    Runt,
}

/// Tells what `datagram` is, which came on an encapsulating port.
#[must_use]
pub fn classify(datagram: &mut [u8]) -> Incoming<'_> {
    if *datagram == KEEPALIVE {
        return Incoming::Keepalive;
    }
    match datagram.split_first_chunk_mut() {
        Some((&mut NON_ESP_MARKER, ike)) => Incoming::Ike(ike),
        Some(_) => Incoming::Esp,
        None => Incoming::Runt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_from_the_others() {
        assert_eq!(classify(&mut [0xff]), Incoming::Keepalive);
        assert_eq!(classify(&mut [0, 0, 0, 0, 7, 8]), Incoming::Ike(&mut [7, 8]));
        assert_eq!(classify(&mut [0, 0, 0, 0]), Incoming::Ike(&mut []));
        assert_eq!(classify(&mut [0, 0, 1, 0, 7, 8]), Incoming::Esp);
        assert_eq!(classify(&mut [0xff, 0xff, 0xff, 0xff]), Incoming::Esp);
        assert_eq!(classify(&mut []), Incoming::Runt);
        assert_eq!(classify(&mut [0]), Incoming::Runt);
        assert_eq!(classify(&mut [0xff, 0xff]), Incoming::Runt);
        assert_eq!(classify(&mut [0, 0, 0]), Incoming::Runt);
    }
}

//! What `swanctl --list-sas` says.

/// An IKE SA of a charon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IkeSa {
    /// The connection it is of: `pair0`.
    pub name: String,
    /// `ESTABLISHED`, `CONNECTING`, `REKEYED` and so on.
    pub state: String,
    /// The initiator's SPI and the responder's, sixteen hexadecimal digits each.
    pub spis: [String; 2],
    /// Whether this charon is the initiator.
    pub is_initiator: bool,
    /// Its children.
    pub children: Vec<Child>,
}

/// A CHILD_SA of a charon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Child {
    /// `INSTALLED`, `REKEYED`, `DELETED` and so on.
    pub state: String,
    /// The SPI it receives on, eight hexadecimal digits.
    pub spi_in: String,
    /// The SPI it sends on.
    pub spi_out: String,
}

/// Reads the listing.
pub fn read(text: &str) -> Vec<IkeSa> {
    let mut all: Vec<IkeSa> = Vec::new();
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        match depth {
            0 => all.extend(ike_sa(line)),
            2 => {
                if let (Some(sa), Some(child)) = (all.last_mut(), child(line.trim())) {
                    sa.children.push(child);
                }
            }
            _ => {
                if let Some(child) = all.last_mut().and_then(|sa| sa.children.last_mut()) {
                    note_spi(child, line.trim());
                }
            }
        }
    }
    all
}

/// `pair0: #1, ESTABLISHED, IKEv2, 59cdf4ae51d5ff57_i* 4fbb3a8bd1a0ecba_r`; the star marks the charon's own.
fn ike_sa(line: &str) -> Option<IkeSa> {
    let mut parts = line.split(", ");
    let (name, state, _, spis) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let (one, other) = spis.split_once(' ')?;
    let spi = |word: &str| word.chars().take_while(|c| *c != '_').collect();
    Some(IkeSa {
        name: name.split(':').next()?.to_owned(),
        state: state.to_owned(),
        spis: [spi(one), spi(other)],
        is_initiator: one.ends_with('*'),
        children: Vec::new(),
    })
}

/// `pair0: #1, reqid 1, INSTALLED, TRANSPORT-in-UDP, ESP:AES_GCM_16-256`
fn child(line: &str) -> Option<Child> {
    let mut parts = line.split(", ");
    let (number, reqid, state) = (parts.next()?, parts.next()?, parts.next()?);
    let is_child = number.contains(": #") && reqid.starts_with("reqid ");
    is_child.then(|| Child { state: state.to_owned(), ..Child::default() })
}

/// `in  c7d0b7b5,      0 bytes,     0 packets`
fn note_spi(child: &mut Child, line: &str) {
    let mut words = line.split_whitespace();
    let (way, spi) = (words.next(), words.next().unwrap_or_default().trim_end_matches(','));
    match way {
        Some("in") => child.spi_in = spi.to_owned(),
        Some("out") => child.spi_out = spi.to_owned(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `swanctl --list-sas` of strongSwan 5.9.8, soon after a rekey.
    const LISTING: &str = "\
pair0: #2, ESTABLISHED, IKEv2, 59cdf4ae51d5ff57_i* 4fbb3a8bd1a0ecba_r
  local  '203.0.113.2' @ 203.0.113.2[4500]
  remote '203.0.113.1' @ 203.0.113.1[4500]
  AES_GCM_16-256/PRF_HMAC_SHA2_256/CURVE_25519
  established 9s ago, rekeying in 14031s
  pair0: #1, reqid 1, DELETED, TRANSPORT-in-UDP, ESP:AES_GCM_16-256
    installed 9s ago
    in  c0000001,      0 bytes,     0 packets
    out c0000002,      0 bytes,     0 packets
    local  203.0.113.2/32
    remote 203.0.113.1/32
  pair0: #2, reqid 1, INSTALLED, TRANSPORT-in-UDP, ESP:AES_GCM_16-256/CURVE_25519
    installed 1s ago, rekeying in 3331s, expires in 3951s
    in  c7d0b7b5,    168 bytes,     2 packets,     0s ago
    out c0502a35,    168 bytes,     2 packets,     0s ago
    local  203.0.113.2/32
    remote 203.0.113.1/32
";

    #[test]
    fn sas_are_read_with_their_states_and_spis() {
        let child = |state: &str, spi_in: &str, spi_out: &str| Child {
            state: state.to_owned(),
            spi_in: spi_in.to_owned(),
            spi_out: spi_out.to_owned(),
        };
        let expected = IkeSa {
            name: "pair0".to_owned(),
            state: "ESTABLISHED".to_owned(),
            spis: ["59cdf4ae51d5ff57".to_owned(), "4fbb3a8bd1a0ecba".to_owned()],
            is_initiator: true,
            children: vec![
                child("DELETED", "c0000001", "c0000002"),
                child("INSTALLED", "c7d0b7b5", "c0502a35"),
            ],
        };
        assert_eq!(read(LISTING), [expected]);
    }

    #[test]
    fn no_sas_are_none() {
        assert!(read("").is_empty());
    }
}

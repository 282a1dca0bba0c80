//! What somebody on the path can make who has no keys: messages in the peer's name.

use std::sync::Arc;

use ike_proto::rng::Rng;
use ike_proto::wire::encrypted::{Draft, SealedKind};
use ike_proto::wire::registry::{NotifyType, PayloadType};
use ike_proto::wire::udp_encap::NON_ESP_MARKER;
use ike_proto::wire::{Flags, Header, Notify, Payload, write_chain};

use crate::packet::{Body, Packet};
use crate::script::Forgery;
use crate::trace::strip_marker;

/// A forged response to the request in `packet`, on its way back; `None` if it holds no request.
#[must_use]
pub fn response(packet: &Packet, forgery: Forgery, rng: &mut Rng) -> Option<Packet> {
    let Body::Ike(datagram) = &packet.body else { return None };
    let message = strip_marker(datagram);
    let request = Header::read(message).ok()?;
    let spi_r = if request.spi_r.0 == 0 { ike_proto::ids::IkeSpi(rng.u64()) } else { request.spi_r };
    let answer = Header { spi_r, flags: Flags::new(!request.flags.is_initiator(), true), ..request };
    let forged = match forgery {
        Forgery::Error(notify) => plain(&answer, &[Payload::Notify(Notify::error(notify))]),
        Forgery::Token(len) => {
            let token = Notify::status(NotifyType::QUICK_CRASH_DETECTION, rng.octets(usize::from(len)));
            plain(&answer, &[Notify::error(NotifyType::INVALID_IKE_SPI), token].map(Payload::Notify))
        }
        Forgery::InvalidKe(method) => plain(&answer, &[Payload::Notify(Notify::invalid_ke_payload(method))]),
        Forgery::Noise(len) => {
            let noise = rng.octets(usize::from(len));
            finished(Header { first: PayloadType(rng.octets(1)[0]), ..answer }, &noise)
        }
        Forgery::SealedNoise(len) => sealed(&answer, &rng.octets(usize::from(len))),
    };
    let marker: &[u8] = if message.len() < datagram.len() { &NON_ESP_MARKER } else { &[] };
    let datagram: Arc<[u8]> = [marker, &forged].concat().into();
    Some(Packet { source: packet.destination, destination: packet.source, body: Body::Ike(datagram) })
}

pub(crate) fn plain(header: &Header, payloads: &[Payload]) -> Vec<u8> {
    let mut body = Vec::new();
    let first = write_chain(payloads, &mut body);
    finished(Header { first, ..*header }, &body)
}

fn sealed(header: &Header, noise: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let draft = Draft::begin(header, SealedKind::Whole, PayloadType::NOTIFY, &mut out);
    out.extend_from_slice(noise);
    draft.finish(16, &mut out);
    out
}

fn finished(header: Header, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(Header::LEN + body.len()).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    Header { length, ..header }.write(&mut out);
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use ike_proto::ids::IkeSpi;
    use ike_proto::rng::Seed;
    use ike_proto::wire::registry::ExchangeType;
    use ike_proto::wire::{Located, locate};

    use super::*;

    #[test]
    fn a_forged_error_answers_the_request_in_the_peers_name() {
        let header = Header {
            spi_i: IkeSpi(7),
            spi_r: IkeSpi(0),
            first: PayloadType::NONE,
            major: 2,
            minor: 0,
            exchange: ExchangeType::IKE_SA_INIT,
            flags: Flags::new(true, false),
            message_id: 0,
            length: 0,
        };
        let request = Packet {
            source: "192.0.2.1:500".parse().unwrap(),
            destination: "192.0.2.2:500".parse().unwrap(),
            body: Body::Ike(plain(&header, &[]).into()),
        };
        let mut rng = Rng::new(&Seed::from_u64(1));
        let forged = response(&request, Forgery::Error(NotifyType::NO_PROPOSAL_CHOSEN), &mut rng).unwrap();
        assert_eq!((forged.source, forged.destination), (request.destination, request.source));
        let Body::Ike(datagram) = forged.body else { panic!("not IKE") };
        let header = Header::read(&datagram).unwrap();
        assert!(header.flags.is_response() && !header.flags.is_initiator());
        assert_eq!(header.spi_i, IkeSpi(7));
        let expected = vec![Payload::Notify(Notify::error(NotifyType::NO_PROPOSAL_CHOSEN))];
        assert_eq!(locate(&datagram, &header), Ok(Located::Plain(expected)));
    }
}

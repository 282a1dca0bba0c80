//! First requests from addresses that nobody has: a flood that is to fill a responder (RFC 7296 §2.6).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ike_proto::crypto::provider::Provider;
use ike_proto::endpoint::Command;
use ike_proto::output::Output;
use ike_proto::rng::{Rng, Seed};
use ike_proto::time::{Duration, Instant};
use ike_proto::wire::{Header, Located, Nonce, Payload, locate};

use crate::forge;
use crate::host::Host;
use crate::packet::{Body, Packet};
use crate::scenario::HostSpec;

/// A flood.
#[derive(Clone, Debug)]
pub struct FloodSpec {
    /// A host whose first request is sent again and again, with other SPIs and nonces.
    pub like: HostSpec,
    /// Which of its policies leads to the victim.
    pub policy: usize,
    /// When it begins.
    pub start: Duration,
    /// Time between two requests.
    pub every: Duration,
    /// How many there are.
    pub count: u32,
    /// Where all of them come from; `None`: each from an address of its own.
    pub source: Option<IpAddr>,
}

/// A flood under way.
#[derive(Clone, Debug)]
pub struct Flood {
    /// What it is.
    pub spec: FloodSpec,
    /// Requests still to come.
    pub left: u32,
    destination: SocketAddr,
    header: Header,
    payloads: Vec<Payload>,
}

impl Flood {
    /// A flood; `None` if its model sends no first request.
    #[must_use]
    pub fn new(spec: FloodSpec, provider: Arc<dyn Provider>) -> Option<Self> {
        let (local, remote) = spec.like.policies.get(spec.policy)?.endpoints()?;
        let mut model = Host::start(spec.like.clone(), provider, Rng::new(&Seed::from_u64(1)), Instant::ZERO);
        model.command(Instant::ZERO, Command::Initiate { local, remote }).ok()?;
        loop {
            match model.output()? {
                Output::Job(id, job) => {
                    model.jobs.insert(id, job);
                    model.finish(Instant::ZERO, id);
                }
                Output::Transmit(transmit) => {
                    let header = Header::read(&transmit.datagram).ok()?;
                    let Ok(Located::Plain(payloads)) = locate(&transmit.datagram, &header) else {
                        return None;
                    };
                    let destination = transmit.flow.remote;
                    return Some(Self { left: spec.count, spec, destination, header, payloads });
                }
                Output::Event(_) => {}
            }
        }
    }

    /// The next request.
    pub fn next(&mut self, rng: &mut Rng) -> Packet {
        self.left = self.left.saturating_sub(1);
        let source = self.spec.source.unwrap_or_else(|| {
            // Class E: nobody of a scenario lives there.
            let octets = rng.octets(3);
            IpAddr::from([250, octets[0], octets[1], octets[2]])
        });
        for payload in &mut self.payloads {
            if let Payload::Nonce(nonce) = payload {
                *nonce = Nonce(rng.octets(nonce.0.len()));
            }
        }
        let header = Header { spi_i: ike_proto::ids::IkeSpi(rng.u64()), ..self.header };
        let datagram: Arc<[u8]> = forge::plain(&header, &self.payloads).into();
        let source = SocketAddr::new(source, self.destination.port());
        Packet { source, destination: self.destination, body: Body::Ike(datagram) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::null_crypto::NullProvider;
    use crate::scenario::TwoHosts;

    #[test]
    fn a_flood_has_a_new_spi_nonce_and_address_each_time() {
        let scenario = TwoHosts::plain().scenario();
        let spec = FloodSpec {
            like: scenario.hosts[0].clone(),
            policy: 0,
            start: Duration::ZERO,
            every: Duration::from_millis(1),
            count: 100,
            source: None,
        };
        let mut flood = Flood::new(spec, Arc::new(NullProvider)).unwrap();
        let mut rng = Rng::new(&Seed::from_u64(1));
        let (mut sources, mut spis, mut nonces) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for _ in 0..100 {
            let packet = flood.next(&mut rng);
            let Body::Ike(datagram) = packet.body else { panic!("not IKE") };
            let header = Header::read(&datagram).unwrap();
            let Ok(Located::Plain(payloads)) = locate(&datagram, &header) else { panic!("not plain") };
            let nonce = payloads.iter().find_map(|payload| match payload {
                Payload::Nonce(nonce) => Some(nonce.0.clone()),
                _ => None,
            });
            sources.insert(packet.source.ip());
            spis.insert(header.spi_i);
            nonces.insert(nonce.unwrap());
        }
        assert!(sources.len() > 95);
        assert_eq!((spis.len(), nonces.len(), flood.left), (100, 100, 0));
    }
}

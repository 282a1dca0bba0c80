//! What the control socket asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use coati_control::protocol::{Flush, Pair, Reply, Request, Traffic};
use ike_crypto::credential::to_pem;
use ike_proto::endpoint::Command;
use ike_proto::policy::peer_db::Credential;
use ike_proto::policy::sad::SaKey;
use ike_proto::policy::selector::{Net, Selector, Side};
use serde_json::json;
use xfrm_sys::{Events, Xfrm};

use super::{Driver, Order};
use crate::clock::Moment;
use crate::control::Ask;
use crate::status::{self, Facts};

impl<X: Xfrm, M: Events + AsRawFd> Driver<X, M> {
    pub(super) fn handle_ask(&mut self, ask: Ask) {
        let reply = match ask.request {
            Request::Status => self.status(),
            Request::Reload => match self.reload() {
                Ok(warnings) => Reply::of(json!({ "warnings": warnings })),
                Err(refusal) => Reply::refused(&refusal.to_string()),
            },
            Request::Initiate(pair) => {
                self.command(Command::Initiate { local: pair.local, remote: pair.remote })
            }
            Request::Reauthenticate(pair) => {
                self.command(Command::Reauthenticate { local: pair.local, remote: pair.remote })
            }
            Request::PeerCertificate(pair) => self.peer_certificate(pair),
            Request::Delete(pair) => self.command(Command::Delete { local: pair.local, remote: pair.remote }),
            Request::Establish(traffic) => self.establish(&traffic),
            Request::Flush(what) => self.flush_sas(what),
            // The connection does that by itself.
            Request::Watch => Reply::refused("events come from the connection"),
            Request::Stop => {
                self.stop();
                Reply::done()
            }
            Request::Leave => {
                self.handle_order(Order::Leave);
                Reply::done()
            }
        };
        // A client that is gone does not matter.
        let _ = ask.answer.send(reply);
    }

    fn command(&mut self, command: Command) -> Reply {
        match self.with(|endpoint, cx| endpoint.handle_command(cx, command)) {
            Ok(()) => Reply::done(),
            Err(misuse) => Reply::refused(&misuse.to_string()),
        }
    }

    /// What the peer proved itself by. Nothing of it is secret.
    fn peer_certificate(&self, Pair { local, remote }: Pair) -> Reply {
        match self.parts.endpoint.credential(local, remote) {
            None => Reply::refused(&format!("there is no IKE SA between {local} and {remote}")),
            Some(Credential::SharedKey(_)) => Reply::refused(&format!(
                "{remote} proved itself by a pre-shared key: it has no certificate here"
            )),
            Some(Credential::Signature(proof)) => Reply::of(json!({ "pem": to_pem(&proof.certs) })),
        }
    }

    /// Sets up the pair of the policy that is for this traffic: one of just this selector, else the best that has it all.
    fn establish(&mut self, traffic: &Traffic) -> Reply {
        let side = |(address, prefix), port| Side { net: Net::new(address, prefix), port };
        let local = side(traffic.source, traffic.source_port);
        let remote = side(traffic.destination, traffic.destination_port);
        let wanted = Selector { local, remote, protocol: traffic.protocol };
        let policies = Arc::clone(&self.policies);
        let policy = policies
            .iter()
            .find(|policy| policy.selector == wanted)
            .or_else(|| policies.iter().find(|policy| policy.selector.covers(&wanted)));
        let hosts = || {
            (local.net.is_host() && remote.net.is_host()).then_some((local.net.address, remote.net.address))
        };
        let Some((policy, (local, remote))) =
            policy.and_then(|policy| Some((policy, policy.endpoints().or_else(hosts)?)))
        else {
            return Reply::refused(&format!("no outbound policy found for {wanted}"));
        };
        let pair = self.parts.endpoint.pair_status(local, remote);
        let sas = pair.iter().flat_map(|pair| &pair.ike_sas).filter(|sa| sa.state == "established");
        let existed = sas.flat_map(|sa| &sa.children).any(|child| child.policy == policy.index);
        match self.with(|endpoint, cx| endpoint.handle_command(cx, Command::Initiate { local, remote })) {
            Ok(()) => Reply::of(json!({ "local": local, "remote": remote, "existed": existed })),
            Err(misuse) => Reply::refused(&misuse.to_string()),
        }
    }

    /// Deletes all IKE SAs, or all that the kernel has; the engine sees what is missing then, and makes it anew.
    fn flush_sas(&mut self, what: Flush) -> Reply {
        let protocol = match what {
            Flush::Esp => xfrm_sys::Protocol::ESP,
            Flush::Ah => xfrm_sys::Protocol::AH,
            Flush::Ipsec => xfrm_sys::Protocol::IPSEC_ANY,
            Flush::Isakmp => {
                let pairs: Vec<_> = self.parts.endpoint.pairs();
                let pairs = pairs.into_iter().filter(|pair| !pair.ike_sas.is_empty());
                let mut ike_sas = 0;
                for pair in pairs {
                    ike_sas += pair.ike_sas.len();
                    let command = Command::Delete { local: pair.local, remote: pair.remote };
                    if let Err(misuse) = self.with(|endpoint, cx| endpoint.handle_command(cx, command)) {
                        return Reply::refused(&misuse.to_string());
                    }
                }
                return Reply::of(json!({ "ike_sas": ike_sas }));
            }
        };
        match self.parts.kernel.xfrm.flush_sas(protocol) {
            Ok(()) => {
                tracing::info!("the kernel's SAs are flushed, as was asked for");
                self.watch.sas_change();
                Reply::of(json!({ "ike_sas": 0 }))
            }
            Err(error) => Reply::refused(&error.to_string()),
        }
    }

    fn status(&mut self) -> Reply {
        let usages = self.parts.kernel.usages().unwrap_or_else(|error| {
            tracing::warn!("{error}");
            BTreeMap::<SaKey, _>::new()
        });
        let engine = self.parts.endpoint.pairs();
        let is_open = |(local, remote): &status::Pair| {
            self.open.contains(&(*local, *remote))
                || self.policies.between(*local, *remote).any(|policy| policy.template.optional)
        };
        let pairs =
            self.configured.keys().copied().chain(engine.iter().map(|pair| (pair.local, pair.remote)));
        let open: BTreeSet<status::Pair> = pairs.filter(is_open).collect();
        let facts = Facts {
            moment: Moment::take(),
            started: self.started,
            policies: self.policies.len(),
            configured: &self.configured,
            open: &open,
            others: self.parts.kernel.others(),
            usages: &usages,
            corrections: self.watch.corrections,
        };
        match serde_json::to_value(facts.status(engine)) {
            Ok(status) => Reply::of(status),
            Err(error) => Reply::refused(&error.to_string()),
        }
    }
}

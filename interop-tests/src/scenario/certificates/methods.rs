//! Each kind of key and each way of proof, with either end as the initiator.

use super::{scenario, wait_said};
use crate::failure::Result;
use crate::judge::{self, Clear};
use crate::peer::certified::{self, By, Proofs};
use crate::peer::{Config, Kind, Peer};
use crate::pki::{Authority, CoatiPki, Credentials, Issued, Key};
use crate::scenario::duel::{self, End};
use crate::scenario::{Parties, Runs, Scenario};
use crate::stage::Stage;
use crate::suite::AES256GCM_X25519;
use crate::traffic::{self, Marker};
use crate::wire::{self, Seen};
use crate::{ensure, xfrm};

const SERVICE: u16 = 7100;

/// What the two ends have.
#[derive(Clone, Copy)]
struct Plan {
    name: &'static str,
    key: Key,
    /// Of Coati and of strongSwan.
    by: [By; 2],
    /// Further lines for charon.
    charon: &'static str,
    /// In charon's words: how Coati proved itself, and how charon did.
    words: [&'static str; 2],
    /// Whether an authority stands between.
    has_intermediate: bool,
    /// The role of Coati in which it always runs.
    always: Option<Kind>,
}

const USUAL: Plan = Plan {
    name: "",
    key: Key::P256,
    by: [By::Certificate; 2],
    charon: "",
    words: [""; 2],
    has_intermediate: false,
    always: None,
};

const WITHOUT_RFC7427: &str = "signature_authentication = no\n";

const PLANS: [Plan; 12] = [
    Plan { name: "ed25519", key: Key::Ed25519, words: ["ED25519"; 2], ..USUAL },
    Plan { name: "ecdsa-p256", words: ["ECDSA_WITH_SHA256_DER"; 2], always: Some(Kind::Coati), ..USUAL },
    Plan { name: "ecdsa-p384", key: Key::P384, words: ["ECDSA_WITH_SHA384_DER"; 2], ..USUAL },
    Plan {
        name: "rsa2048",
        key: Key::Rsa(2048),
        words: ["RSA_EMSA_PSS", "RSA_EMSA_PKCS1_SHA2_"],
        always: Some(Kind::StrongSwan),
        ..USUAL
    },
    Plan {
        name: "rsa2048-pss",
        key: Key::Rsa(2048),
        charon: "rsa_pss = yes\n",
        words: ["RSA_EMSA_PSS"; 2],
        ..USUAL
    },
    Plan { name: "ecdsa-p256-method-9", charon: WITHOUT_RFC7427, words: ["ECDSA-256 signature"; 2], ..USUAL },
    Plan {
        name: "ecdsa-p384-method-10",
        key: Key::P384,
        charon: WITHOUT_RFC7427,
        words: ["ECDSA-384 signature"; 2],
        ..USUAL
    },
    Plan { name: "ecdsa-p521", key: Key::P521, words: ["ECDSA_WITH_SHA512_DER"; 2], ..USUAL },
    Plan {
        name: "ecdsa-p521-method-11",
        key: Key::P521,
        charon: WITHOUT_RFC7427,
        words: ["ECDSA-521 signature"; 2],
        ..USUAL
    },
    Plan {
        name: "coatis-shared-key",
        by: [By::SharedKey, By::Certificate],
        words: ["pre-shared key", "ECDSA_WITH_SHA256_DER"],
        ..USUAL
    },
    Plan {
        name: "strongswans-shared-key",
        by: [By::Certificate, By::SharedKey],
        words: ["ECDSA_WITH_SHA256_DER", "pre-shared key"],
        ..USUAL
    },
    Plan {
        name: "long-chain",
        key: Key::Rsa(4096),
        words: ["RSA_EMSA_PSS", "RSA_EMSA_PKCS1_SHA2_"],
        has_intermediate: true,
        ..USUAL
    },
];

pub(super) fn all() -> Vec<Scenario> {
    let mut all = vec![
        scenario(
            "certs-coati-coati".to_owned(),
            "two Coatis key a pair by certificates of `coati pki`".to_owned(),
            Runs::Always,
            Parties::COATI,
            between_coatis,
        ),
        scenario(
            "certs-rsa-sha1-refused".to_owned(),
            "a signature with SHA-1 is refused, and the log says so".to_owned(),
            Runs::InFull,
            Parties::BOTH,
            sha1_refused,
        ),
    ];
    for plan in PLANS {
        for initiator in [Kind::Coati, Kind::StrongSwan] {
            let responder = if initiator == Kind::Coati { Kind::StrongSwan } else { Kind::Coati };
            let runs = if plan.always == Some(initiator) { Runs::Always } else { Runs::InFull };
            all.push(scenario(
                format!("certs-{}-{}-to-{}", plan.name, initiator.name(), responder.name()),
                format!(
                    "{} keys a pair with {} by certificates: {}",
                    initiator.name(),
                    responder.name(),
                    plan.name
                ),
                runs,
                Parties::BOTH,
                move |stage| plan.play(stage, [initiator, responder]),
            ));
        }
    }
    all
}

impl Plan {
    fn play(self, stage: &Stage, [initiator, responder]: [Kind; 2]) -> Result<()> {
        let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
        let credentials = self.credentials(stage, &ends)?;
        certified::tell_charon(stage, &ends[usize::from(initiator == Kind::Coati)].host, self.charon)?;
        let start = |number: usize, kind| {
            let (end, credentials): (&End, _) = (&ends[number], &credentials[number]);
            let config = Config::one(AES256GCM_X25519, end.pair.clone());
            certified::start(kind, stage, &end.host, &config, (credentials, self.proofs(kind)))
        };
        let second = start(1, responder)?;
        let first = start(0, initiator)?;
        let packets = exchange(stage, &ends)?;

        let (swan, coatis) = match (&first, &second) {
            (Peer::StrongSwan(swan), _) => (swan, &ends[1]),
            (_, Peer::StrongSwan(swan)) => (swan, &ends[0]),
            _ => crate::fail!("there is no strongSwan"),
        };
        let said = swan.said()?;
        let began = said.contains("initiating IKE_SA");
        ensure!(began == (initiator == Kind::StrongSwan), "another end than the wanted one began");
        let (coatis_id, swans_id) = (coatis.pair.local, coatis.pair.remote);
        for (words, is_proof) in [
            (self.words[0], format!("authentication of '{coatis_id}' with ")),
            (self.words[1], format!("authentication of '{swans_id}' (myself) with ")),
        ] {
            let proof = said.lines().find_map(|line| line.split_once(&is_proof)).map(|(_, how)| how);
            ensure!(
                proof.is_some_and(|how| how.starts_with(words)),
                "charon was to say {is_proof}{words}; it says {proof:?}"
            );
        }
        if self.has_intermediate {
            for end in &ends {
                let count = fragments(&packets, end);
                ensure!(count >= 3, "{} has sent {count} fragments of IKE_AUTH", end.host.name());
                stage.say(&format!("{}: {count} fragments of IKE_AUTH", end.host.name()))?;
            }
        }
        Ok(())
    }

    fn proofs(&self, of: Kind) -> Proofs {
        let [coatis, swans] = self.by;
        match of {
            Kind::Coati => Proofs { own: coatis, peer: swans },
            Kind::StrongSwan => Proofs { own: swans, peer: coatis },
        }
    }

    /// Both ends' certificates of one authority; with one between, each end sends that along.
    fn credentials(&self, stage: &Stage, ends: &[End; 2]) -> Result<[Credentials; 2]> {
        let root = Authority::root(stage, "root", self.key)?;
        let between = self.has_intermediate.then(|| root.intermediate("between", self.key)).transpose()?;
        let issuer = between.as_ref().unwrap_or(&root);
        let issue = |end: &End| -> Result<Credentials> {
            let own = issuer.issue(end.host.name(), end.pair.local, self.key)?;
            let chain = between.iter().map(|between| between.certificate().to_owned()).collect();
            Ok(Credentials { chain, ..Credentials::simple(own, root.certificate()) })
        };
        Ok([issue(&ends[0])?, issue(&ends[1])?])
    }
}

/// Traffic both ways, the first packet of which sets the pair up; then what crossed is judged. Gives the capture of the
/// first end.
fn exchange(stage: &Stage, ends: &[End; 2]) -> Result<Vec<Seen>> {
    let [first, second] = ends;
    let capture = stage.capture(&first.port)?;
    let secret = Marker::new("secret")?;
    traffic::tcp(&first.host, &second.host, duel::to(first, SERVICE), &secret, 1024)?;
    duel::protected_traffic(first, second, &secret)?;
    for end in ends {
        let states = xfrm::states(&end.host)?;
        ensure!(states.len() == 2, "{} has {} ESP SAs, not one each way", end.host.name(), states.len());
    }
    let packets = capture.finish()?;
    judge::never_in_clear(&packets, &secret)?;
    let sum = judge::crossed(&packets, first.pair.local, first.pair.remote, &[] as &[Clear])?;
    ensure!(sum.esp.iter().all(|count| *count > 0), "ESP crossed one way only: {:?}", sum.esp);
    Ok(packets)
}

/// Fragments of IKE_AUTH (RFC 7383) that an end has sent.
fn fragments(packets: &[Seen], end: &End) -> usize {
    let of_end = packets.iter().filter(|packet| packet.source == end.pair.local);
    of_end.filter(|packet| packet.kind == wire::Kind::Ike && packet.is_ike_auth_fragment()).count()
}

fn between_coatis(stage: &Stage) -> Result<()> {
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let pki = CoatiPki::new(stage, "mesh", "ed25519")?;
    let mut running = Vec::new();
    for end in &ends {
        let own: Issued = pki.issue(end.host.name(), end.pair.local, "p256")?;
        let credentials =
            Credentials { crls: vec![pki.crl()], ..Credentials::simple(own, &pki.certificate()) };
        let config = Config::one(AES256GCM_X25519, end.pair.clone());
        let with = (&credentials, Proofs::CERTIFICATES);
        running.push(certified::start(Kind::Coati, stage, &end.host, &config, with)?);
    }
    exchange(stage, &ends).map(drop)
}

/// charon without RFC 7427 signs with SHA-1 (RFC 7296 §3.8, method 1).
fn sha1_refused(stage: &Stage) -> Result<()> {
    let plan = Plan { key: Key::Rsa(2048), charon: WITHOUT_RFC7427, ..USUAL };
    let ends = duel::lan(["203.0.113.1", "203.0.113.2"])?;
    let credentials = plan.credentials(stage, &ends)?;
    certified::tell_charon(stage, &ends[1].host, plan.charon)?;
    let start = |number: usize, kind| {
        let end: &End = &ends[number];
        let config = Config::one(AES256GCM_X25519, end.pair.clone());
        certified::start(kind, stage, &end.host, &config, (&credentials[number], Proofs::CERTIFICATES))
    };
    let (Peer::Coati(coati), Peer::StrongSwan(swan)) = (start(0, Kind::Coati)?, start(1, Kind::StrongSwan)?)
    else {
        crate::fail!("these are not the daemons that were started")
    };
    let refused = swan.refused();
    ensure!(refused.is_some(), "Coati has taken a signature with SHA-1");
    ensure!(swan.said()?.contains("AUTH_FAILED"), "Coati was to answer AUTHENTICATION_FAILED: {refused:?}");
    wait_said(&coati, &["SHA-1"])?;
    ensure!(xfrm::states(&ends[0].host)?.is_empty(), "Coati has refused and yet made SAs");
    Ok(())
}

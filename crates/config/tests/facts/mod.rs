//! A model in a few words a block, in the words of IKEv2 and of the kernel.

use std::fmt::Write;
use std::path::Path;

use coati_config::diag::Diagnostics;
use coati_config::files::Memory;
use coati_config::racoon::RacoonConfig;
use coati_config::racoon::model::{Remote, SaInfo};
use coati_config::setkey::model::{Action, ManualSa, PolicyAction, SpdPolicy};
use coati_config::{psk, racoon, setkey};

/// What a file says.
pub(crate) fn of(language: &str, name: &str, octets: &[u8]) -> String {
    let files = Memory::new();
    let mut text = String::new();
    match language {
        "racoon" => {
            let (config, said) = racoon::parse(Path::new(name), octets, &files);
            head(&mut text, language, name, &said);
            config.iter().for_each(|config| racoon_facts(&mut text, config));
        }
        "setkey" => {
            let (file, said) = setkey::parse(name, octets, &files);
            head(&mut text, language, name, &said);
            for command in file.iter().flat_map(|file| &file.commands) {
                let line = command.place.line;
                let about = match &command.action {
                    Action::SpdAdd(policy) => policy_facts(policy),
                    Action::Add(sa) => sa_facts(sa),
                    other => format!("{other:?}"),
                };
                line_of(&mut text, &format!("{line} {about}"));
            }
        }
        _ => {
            let (file, said) = psk::parse(name, octets);
            head(&mut text, language, name, &said);
            for entry in file.iter().flat_map(|file| file.entries()) {
                line_of(
                    &mut text,
                    &format!("{} {} {} octets", entry.place.line, entry.id(), entry.key.len()),
                );
            }
        }
    }
    text
}

fn head(text: &mut String, language: &str, name: &str, said: &Diagnostics) {
    writeln!(text, "{language}/{name}: {} errors, {} warnings", said.errors(), said.warnings())
        .expect("a string");
}

fn line_of(text: &mut String, line: &str) {
    writeln!(text, "    {line}").expect("a string");
}

fn racoon_facts(text: &mut String, config: &RacoonConfig) {
    let paths =
        [&config.pre_shared_key, &config.certificate_dir].map(|path| path.display().to_string()).join(" ");
    line_of(text, &format!("{paths} {:?}", config.log_level));
    let listen = &config.listen;
    if *listen != Default::default() {
        let strict = if listen.strict_address { "strict" } else { "" };
        line_of(
            text,
            &format!(
                "listen {:?} {:?} {strict} {:?}",
                listen.isakmp, listen.isakmp_natt, listen.admin_socket
            ),
        );
    }
    if config.timers != Default::default() {
        let timers = &config.timers;
        line_of(
            text,
            &format!(
                "timer {:?} {:?} {:?} {:?} {:?}",
                timers.counter, timers.interval, timers.phase1, timers.phase2, timers.natt_keepalive
            ),
        );
    }
    config
        .privsep
        .iter()
        .for_each(|privsep| line_of(text, &format!("privsep {:?} {:?}", privsep.user, privsep.group)));
    config.remotes.iter().for_each(|remote| remote_facts(text, remote));
    config.sainfos.iter().for_each(|sainfo| sainfo_facts(text, sainfo));
}

fn remote_facts(text: &mut String, remote: &Remote) {
    line_of(
        text,
        &format!(
            "{} remote {} me {:?} peer {:?} verify {} {} nat {:?} dpd {:?} {:?} passive {} policy {:?} frag {} life {:?}",
            remote.place.line,
            remote.selector,
            remote.my_identifier,
            remote.peers_identifiers,
            remote.verify_identifier,
            remote.verify_cert,
            remote.nat_traversal,
            remote.dpd_delay,
            remote.dpd_retry,
            remote.passive,
            remote.generate_policy,
            remote.ike_frag,
            remote.lifetime,
        ),
    );
    let certificates = (&remote.certificates, &remote.peers_certificates, &remote.ca_certificate);
    if certificates != (&Vec::new(), &Vec::new(), &None) {
        line_of(text, &format!("  {certificates:?}"));
    }
    for proposal in &remote.proposals {
        line_of(
            text,
            &format!(
                "  {} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                proposal.place.line,
                proposal.encr,
                proposal.key_bits,
                proposal.integ,
                proposal.prf,
                proposal.ke,
                proposal.auth,
                proposal.lifetime
            ),
        );
    }
}

fn sainfo_facts(text: &mut String, sainfo: &SaInfo) {
    let proposals: Vec<String> = sainfo
        .proposals
        .iter()
        .map(|proposal| format!("{:?} {:?} {:?}", proposal.encr, proposal.key_bits, proposal.integ))
        .collect();
    line_of(
        text,
        &format!(
            "{} sainfo {:?} to {:?} from {:?} id {} pfs {:?} life {:?}: {}",
            sainfo.place.line,
            sainfo.local,
            sainfo.remote,
            sainfo.from,
            sainfo.remoteid,
            sainfo.pfs,
            sainfo.lifetime,
            proposals.join(", ")
        ),
    );
}

fn policy_facts(policy: &SpdPolicy) -> String {
    let priority = i64::from(policy.priority) - 0x8000_0000;
    let action = match &policy.action {
        PolicyAction::Ipsec(rules) => {
            let rules =
                rules.iter().map(|rule| format!("{:?} {:?} {:?}", rule.protocol, rule.mode, rule.level));
            rules.collect::<Vec<_>>().join(" + ")
        }
        other => format!("{other:?}"),
    };
    format!("spdadd {:?} {priority:+} {action}", policy.selector)
}

fn sa_facts(sa: &ManualSa) -> String {
    let cipher = sa.encryption.as_ref().map(|key| format!("{:?} {}", key.algorithm, key.key.len()));
    let auth = sa.authentication.as_ref().map(|key| format!("{:?} {}", key.algorithm, key.key.len()));
    format!(
        "add {:?} {:?} replay {} reqid {} {cipher:?} {auth:?}",
        sa.id, sa.mode, sa.replay_window, sa.reqid
    )
}

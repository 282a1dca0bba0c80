//! `setkey -x`: what the kernel tells of SAs and policies, a line each.
//!
//! The text is our own, as there are no PF_KEY messages to dump: the time, what happened, and to what. Keys are not shown.

use std::io;
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use xfrm_sys::{Event, Events, Group, Monitor};

use super::{Terminal, say_error};

/// Prints events until interrupted.
pub(super) fn monitor(terminal: &mut Terminal<'_>) -> io::Result<bool> {
    let mut events = match Monitor::open(&Group::ALL) {
        Ok(events) => events,
        Err(error) => return say_error(&error, terminal),
    };
    loop {
        loop {
            match events.recv() {
                Ok(Some(event)) => {
                    let scene = terminal.scene();
                    writeln!(terminal.out, "{} {}", scene.date(scene.now()), line(&event))?;
                }
                Ok(None) => break,
                Err(error) => return say_error(&error, terminal),
            }
        }
        terminal.out.flush()?;
        poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
    }
}

/// What happened, and to what.
fn line(event: &Event) -> String {
    let expiry = |hard: bool| if hard { "hard expire" } else { "soft expire" };
    match event {
        Event::Acquire(acquire) => format!(
            "acquire {} from {} seq {} policy index {} for {}",
            acquire.id, acquire.source, acquire.seq, acquire.policy.index, acquire.selector
        ),
        Event::Expire(expire) => format!("{} SA {}", expiry(expire.hard), expire.sa),
        Event::PolicyExpire(expire) => format!("{} policy {}", expiry(expire.hard), expire.policy),
        Event::Mapping(mapping) => format!(
            "mapping SA {} from {}[{}] to {}[{}]",
            mapping.id, mapping.old_source, mapping.old_port, mapping.new_source, mapping.new_port
        ),
        Event::NewSa(sa) => format!("new SA {sa}"),
        Event::UpdatedSa(sa) => format!("updated SA {sa}"),
        Event::DeletedSa(id, _) => format!("deleted SA {id}"),
        Event::FlushedSas(protocol) => format!("flushed SAs of {protocol}"),
        Event::NewPolicy(policy) => format!("new policy {policy} index {}", policy.index),
        Event::UpdatedPolicy(policy) => format!("updated policy {policy} index {}", policy.index),
        Event::DeletedPolicy(query, _) => format!("deleted policy {query}"),
        Event::FlushedPolicies => "flushed policies".to_owned(),
        Event::Lost => "events were lost".to_owned(),
        Event::Other(kind) => format!("message of kind {kind}"),
        Event::Unreadable(malformed) => format!("unreadable message: {malformed}"),
    }
}

#[cfg(test)]
mod tests {
    use xfrm_sys::{
        AlgorithmName, Direction, Encryption, FakeKernel, Key, Policy, Prefix, Sa, SaId, Selector, Template,
        Xfrm,
    };

    use super::*;

    #[test]
    fn an_event_is_a_line_without_keys() {
        let mut fake = FakeKernel::new();
        let mut events = fake.monitor(&Group::ALL).unwrap();
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| Prefix::host(address.parse().unwrap()));
        let mut policy = Policy::new(Selector::new(one, other), Direction::OUT);
        policy.templates = vec![Template::esp_transport(one.address)];
        fake.add_policy(&policy).unwrap();
        let index = fake.policies()[0].index;
        fake.raise_acquire(index, policy.selector).unwrap();
        let mut sa = Sa::new(one.address, SaId::esp(other.address, 0x1234));
        sa.encryption = Some(Encryption { name: AlgorithmName::CBC_AES, key: Key::new(vec![0x5a; 16]) });
        fake.add_sa(&sa).unwrap();
        fake.raise_expire(sa.id, true);
        fake.flush_policies().unwrap();
        let told: Vec<String> =
            std::iter::from_fn(|| events.recv().unwrap()).map(|event| line(&event)).collect();
        let expected = [
            "new policy out 192.0.2.1/32 > 192.0.2.2/32 allow priority 0 index ",
            "acquire esp 0x00000000 to 192.0.2.2 from 192.0.2.1 seq ",
            "new SA esp 0x00001234 to 192.0.2.2 from 192.0.2.1 transport reqid 0",
            "hard expire SA esp 0x00001234 to 192.0.2.2",
            "flushed policies",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (line, expected) in told.iter().zip(expected) {
            assert!(line.starts_with(expected) && !line.contains("5a5a"), "{line}");
        }
    }
}

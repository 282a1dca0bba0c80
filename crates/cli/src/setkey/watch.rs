//! `setkey -Dl`: one line an SA, again and again.

use std::io;

use nix::poll::{PollTimeout, poll};
use xfrm_sys::{Protocol, Sa, SaFilter, Xfrm};

use super::dump_sa::state;
use super::scene::Scene;
use super::{Terminal, say_error};

/// Milliseconds between two rounds.
const PAUSE: u16 = 1000;

/// The heading: minute and second of the hour, protocol, state, SPI, age and end in seconds, addresses.
const HEADING: &str = "time p   s spi      ltime   src -> dst\n";

/// What is longer is not shown in seconds.
const LONGEST: u64 = 1000;

/// Prints the SAs every second below one heading, until nobody reads it.
pub(super) fn repeat(xfrm: &mut impl Xfrm, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    terminal.out.write_all(HEADING.as_bytes())?;
    loop {
        match xfrm.dump_sas(&SaFilter::ALL) {
            Ok(sas) => write!(terminal.out, "{}", lines(&sas, &terminal.scene()))?,
            Err(error) => return say_error(&error, terminal),
        }
        terminal.out.flush()?;
        poll(&mut [], PollTimeout::from(PAUSE))?;
    }
}

/// A line for each SA, in setkey's columns.
fn lines(sas: &[Sa], scene: &Scene) -> String {
    let now = scene.now();
    let time = format!("{:02}{:02}", now % 3600 / 60, now % 60);
    let mut text = if sas.is_empty() { "No SAD entries.\n".to_owned() } else { String::new() };
    for sa in sas {
        let protocol = match sa.id.protocol {
            Protocol::AH => "ah",
            Protocol::ESP => "esp",
            // PF_KEY's numbers of what setkey had no word for here: IPComp, or nothing.
            Protocol::IPCOMP => "#9",
            _ => "#0",
        };
        let state = match state(sa, now) {
            "larval" => "L",
            "dying" => "D",
            _ => "M",
        };
        let age = if sa.usage.add_time == 0 { 0 } else { now.saturating_sub(sa.usage.add_time) };
        let seconds = |seconds: u64| if seconds >= LONGEST { "big".to_owned() } else { seconds.to_string() };
        let (age, end) = (seconds(age), seconds(sa.limits.hard_add_seconds));
        text += &format!(
            "{time} {protocol:3} {state} {:08x} {age:>3}/{end:<3} {} -> {}\n",
            sa.id.spi, sa.source, sa.id.destination
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use coati_config::files::Memory;
    use jiff::tz::TimeZone;
    use xfrm_sys::SaId;

    use super::*;

    #[test]
    fn an_sa_has_a_line_in_setkeys_columns() {
        let mut sa = Sa::new("192.0.2.1".parse().unwrap(), SaId::esp("192.0.2.2".parse().unwrap(), 0x1234));
        sa.usage.add_time = 1000;
        sa.limits.hard_add_seconds = 28800;
        let mut old = sa.clone();
        (old.id.protocol, old.usage.add_time, old.limits.hard_add_seconds) = (Protocol::AH, 1, 5);
        let scene = Scene::at(1060, TimeZone::UTC, 1, &Memory::new());
        let expected = "1740 esp L 00001234  60/big 192.0.2.1 -> 192.0.2.2
1740 ah  L 00001234 big/5   192.0.2.1 -> 192.0.2.2
";
        assert_eq!(lines(&[sa, old], &scene), expected);
        assert_eq!(lines(&[], &scene), "No SAD entries.\n");
        assert_eq!(HEADING.find("src"), expected.find("192.0.2.1"));
    }
}

//! `setkey -Dl`: one line an SA, again and again.

use std::io;

use nix::poll::{PollTimeout, poll};
use xfrm_sys::{Sa, SaFilter, Xfrm};

use super::dump_sa::{protocol_name, state};
use super::scene::Scene;
use super::{Terminal, say_error};

/// Milliseconds between two rounds.
const PAUSE: u16 = 1000;

/// Prints a table of the SAs every second, until nobody reads it.
pub(super) fn repeat(xfrm: &mut impl Xfrm, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    loop {
        match xfrm.dump_sas(&SaFilter::ALL) {
            Ok(sas) => write!(terminal.out, "{}", table(&sas, &terminal.scene()))?,
            Err(error) => return say_error(&error, terminal),
        }
        terminal.out.flush()?;
        poll(&mut [], PollTimeout::from(PAUSE))?;
    }
}

/// A title, and a line for each SA: its age and its end in seconds, its protocol, state, SPI and addresses.
fn table(sas: &[Sa], scene: &Scene) -> String {
    let mut text = format!(
        "{:>8} {:>8} {:8} {:8} {:10} source -> destination\n",
        "age", "hard", "proto", "state", "spi"
    );
    for sa in sas {
        text += &format!(
            "{:>8} {:>8} {:8} {:8} {:#010x} {} -> {}\n",
            scene.now().saturating_sub(sa.usage.add_time),
            sa.limits.hard_add_seconds,
            protocol_name(sa),
            state(sa, scene.now()),
            sa.id.spi,
            sa.source,
            sa.id.destination
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
    fn an_sa_has_a_line() {
        let mut sa = Sa::new("192.0.2.1".parse().unwrap(), SaId::esp("192.0.2.2".parse().unwrap(), 0x1234));
        sa.usage.add_time = 1000;
        sa.limits.hard_add_seconds = 28800;
        let scene = Scene::at(1060, TimeZone::UTC, 1, &Memory::new());
        let expected = "     age     hard proto    state    spi        source -> destination
      60    28800 esp      larval   0x00001234 192.0.2.1 -> 192.0.2.2\n";
        assert_eq!(table(&[sa], &scene), expected);
    }
}

//! Instructions, counted by valgrind's callgrind in a process of its own: the same on every run of one build.

use std::process::Command;

use ike_proto::wire::registry::KeId;

use crate::host::Part;
use crate::mesh::{Mesh, Stage};
use crate::meter::COUNTED;

/// What is to be counted.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Subject {
    /// What happens.
    #[arg(value_enum)]
    pub stage: Stage,
    /// At which end.
    #[arg(value_enum)]
    pub part: Part,
    /// With which key exchange method: its IKEv2 number.
    pub method: u16,
    /// Of how many pairs.
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pairs: u32,
}

/// Does what is to be counted, in this process: callgrind watches.
pub(crate) fn perform(subject: Subject) {
    let mut mesh = Mesh::new(subject.pairs, subject.part, KeId(subject.method));
    for stage in Stage::ALL {
        mesh.live(stage, stage == subject.stage);
        if stage == subject.stage {
            return;
        }
    }
}

/// Instructions for one pair.
///
/// # Errors
/// In words, if there is no valgrind or it counts nothing.
pub(crate) fn count(subject: Subject) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let value = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(own)
        .arg("count")
        .arg(value(clap::ValueEnum::to_possible_value(&subject.stage)))
        .arg(value(clap::ValueEnum::to_possible_value(&subject.part)))
        .args([subject.method.to_string(), subject.pairs.to_string()])
        .output()
        .map_err(|error| format!("cannot run valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&done.stderr);
    let counted = collected(&text).filter(|count| *count > 0 && done.status.success());
    counted
        .map(|count| count / u64::from(subject.pairs.max(1)))
        .ok_or_else(|| format!("callgrind counted nothing:\n{text}"))
}

/// The number in callgrind's closing line, `==1== Collected : 123`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_callgrinds_closing_lines() {
        let text = "==7== Events    : Ir\n==7== Collected : 15602\n==7== \n==7== I   refs:      15,602\n";
        assert_eq!(collected(text), Some(15602));
        assert_eq!(collected("==7== Events    : Ir"), None);
    }
}

//! The table, and the bounds of what does not depend on time.

use core::fmt;
use core::hint::black_box;
use std::time::Duration;

use ike_crypto::DefaultProvider;
use ike_proto::crypto::provider::{Fault, Provider};
use ike_proto::rng::Seed;
use ike_proto::wire::registry::KeId;

use crate::host::Part;
use crate::instructions::{self, Subject};
use crate::mesh::{Mesh, Stage};
use crate::meter::{self, Spent};

/// Most octets of heap of a pair, after its first liveness check.
const MOST_HEAP: i64 = 4096;
/// How much more heap or instructions a pair may take where there are more pairs, in per cent.
const MOST_GROWTH: u32 = 20;
/// Pairs over which slow key exchanges are measured.
const FEW: u32 = 200;
/// Pairs over which instructions are counted.
const COUNTED: u32 = 64;
/// The same, where key exchanges are slow even when nobody counts.
const COUNTED_SLOW: u32 = 8;
/// Pairs over which they are counted again: what searches all pairs would show.
const COUNTED_MANY: u32 = 1000;
/// Key exchanges that are timed by themselves.
const EXCHANGES: u32 = 1000;

/// Most instructions of one end: half as many again as there were when this was written.
const fn most_instructions(stage: Stage, method: KeId) -> u64 {
    match (stage, method) {
        (Stage::Liveness, _) => 40_000,
        (Stage::Handshake, KeId::CURVE25519) => 2_000_000,
        (Stage::Rekey, KeId::CURVE25519) => 1_500_000,
        (Stage::Handshake | Stage::Rekey, _) => 60_000_000,
    }
}

/// Measures and prints; wants the bounds kept if `check`.
///
/// # Errors
/// A bound that is broken, or why something could not be measured.
pub(crate) fn run(sizes: &[u32], check: bool) -> Result<(), String> {
    let exchange = key_exchange(KeId::CURVE25519).map_err(|fault| format!("X25519: {fault}"))?;
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("{}, {processors} processors.", std::env::consts::ARCH);
    println!("A key exchange's two X25519 operations: {:.1} us.", micros(exchange));
    println!("Each line is one end, for each of its pairs, key exchanges included.\n");
    println!("{}", heading());
    let mut broken = Vec::new();
    for (method, sizes) in [(KeId::CURVE25519, sizes), (KeId::MODP3072, &[FEW])] {
        for part in [Part::Asks, Part::Answers] {
            let rows = measure(sizes, part, method)?;
            for row in &rows {
                println!("{}", row.line(exchange));
            }
            broken.extend(judge(&rows));
        }
    }
    println!();
    for part in [Part::Asks, Part::Answers] {
        broken.extend(judge_scale(part)?);
    }
    if broken.is_empty() {
        println!("Heap and instructions are within their bounds.");
    }
    broken.iter().for_each(|line| println!("{line}"));
    if check && !broken.is_empty() { Err("a bound is broken".to_owned()) } else { Ok(()) }
}

/// What one stage cost one end of a number of pairs.
#[derive(Clone, Copy, Debug)]
struct Row {
    stage: Stage,
    part: Part,
    method: KeId,
    pairs: u32,
    spent: Spent,
    /// Octets of heap before there was any SA: policies, peers and keys.
    configuration: i64,
    /// Of one pair.
    instructions: u64,
}

/// Lets each number of pairs live through all stages.
fn measure(sizes: &[u32], part: Part, method: KeId) -> Result<Vec<Row>, String> {
    let mut instructions = Vec::new();
    for stage in Stage::ALL {
        let pairs = if method == KeId::CURVE25519 { COUNTED } else { COUNTED_SLOW };
        instructions.push(instructions::count(Subject { stage, part, method: method.0, pairs })?);
    }
    let lives = sizes.iter().flat_map(|pairs| {
        let mut mesh = Mesh::new(*pairs, part, method);
        let configuration = mesh.spent().heap;
        let rows = Stage::ALL.into_iter().zip(instructions.clone()).map(|(stage, instructions)| {
            let spent = mesh.live(stage, false);
            Row { stage, part, method, pairs: *pairs, spent, configuration, instructions }
        });
        rows.collect::<Vec<_>>()
    });
    Ok(lives.collect())
}

/// What is above its bound.
fn judge(rows: &[Row]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut first = None;
    for row in rows {
        let most = most_instructions(row.stage, row.method);
        if row.instructions > most {
            broken.push(format!(
                "{}: {} instructions, at most {most} are allowed",
                row.name(),
                row.instructions
            ));
        }
        if row.stage != Stage::Liveness {
            continue;
        }
        let (heap, least) = (row.heap(), *first.get_or_insert(row.heap()));
        if heap > MOST_HEAP {
            broken.push(format!(
                "{}: {heap} octets of heap a pair, at most {MOST_HEAP} are allowed",
                row.name()
            ));
        }
        if heap * 100 > least * i64::from(100 + MOST_GROWTH) {
            broken.push(format!(
                "{}: {heap} octets of heap a pair, {least} where there are fewer pairs",
                row.name()
            ));
        }
    }
    broken
}

/// A liveness check among few pairs and among many: the engine is to search nothing.
fn judge_scale(part: Part) -> Result<Option<String>, String> {
    let (stage, method) = (Stage::Liveness, KeId::CURVE25519.0);
    let few = instructions::count(Subject { stage, part, method, pairs: COUNTED })?;
    let many = instructions::count(Subject { stage, part, method, pairs: COUNTED_MANY })?;
    let line = format!(
        "liveness, {}: {few} instructions among {COUNTED} pairs, {many} among {COUNTED_MANY}",
        part.end()
    );
    println!("{line}");
    let grows = many * 100 > few * u64::from(100 + MOST_GROWTH);
    Ok(grows.then(|| format!("{line}: more than {MOST_GROWTH} % more")))
}

impl Row {
    /// Octets of heap of one pair at the stage's end, those of the configuration left out.
    fn heap(&self) -> i64 {
        (self.spent.heap - self.configuration) / i64::from(self.pairs.max(1))
    }

    fn name(&self) -> String {
        let what = match self.stage {
            Stage::Handshake => "handshake",
            Stage::Liveness => "liveness",
            Stage::Rekey => "rekey",
        };
        format!("{what}, {}, {}", self.part.end(), self.method)
    }

    fn line(&self, exchange: Duration) -> Line<impl fmt::Display> {
        let cpu = self.spent.cpu / self.pairs.max(1);
        Line([
            self.name(),
            self.pairs.to_string(),
            format!("{:.1} us", micros(cpu)),
            format!("{:.2}", cpu.as_secs_f64() / exchange.as_secs_f64()),
            self.instructions.to_string(),
            (self.spent.allocations / u64::from(self.pairs.max(1))).to_string(),
            self.heap().to_string(),
        ])
    }
}

/// A line of the table.
struct Line<T>([T; 7]);

fn heading() -> Line<&'static str> {
    Line(["", "pairs", "CPU", "of X25519", "instructions", "allocations", "heap"])
}

impl<T: fmt::Display> fmt::Display for Line<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([name, pairs, cpu, of, instructions, allocations, heap]) = self;
        write!(f, "{name:<34}{pairs:>7}{cpu:>11}{of:>10}{instructions:>13}{allocations:>12}{heap:>7}")
    }
}

/// CPU time of one end's whole key exchange: a public value and a shared secret.
fn key_exchange(method: KeId) -> Result<Duration, Fault> {
    let method = DefaultProvider.key_exchange(method).ok_or(Fault::Unsupported)?;
    let (_, public) = method.start(&Seed::from_u64(0))?;
    let before = meter::cpu();
    for seed in 0..EXCHANGES {
        black_box(method.respond(&Seed::from_u64(seed.into()), &public)?);
    }
    Ok(meter::cpu().saturating_sub(before) / EXCHANGES)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pairs: u32, heap: i64, instructions: u64) -> Row {
        let spent = Spent { heap: heap * i64::from(pairs) + 1000, ..Spent::default() };
        let (stage, part, method) = (Stage::Liveness, Part::Asks, KeId::CURVE25519);
        Row { stage, part, method, pairs, spent, configuration: 1000, instructions }
    }

    #[test]
    fn a_bound_is_broken_by_what_is_above_it_only() {
        assert!(judge(&[row(10, 4096, 40_000), row(50, 4096, 40_000)]).is_empty());
        assert_eq!(judge(&[row(10, 4097, 40_000)]).len(), 1);
        assert_eq!(judge(&[row(10, 1000, 40_001)]).len(), 1);
        assert_eq!(judge(&[row(10, 1000, 0), row(50, 1200, 0)]).len(), 0);
        assert_eq!(judge(&[row(10, 1000, 0), row(50, 1201, 0)]).len(), 1);
    }
}

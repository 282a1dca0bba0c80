//! What a dump's text depends on beside the kernel's tables: the time, where we are, who we are, how protocols are called.

use std::collections::BTreeMap;
use std::path::Path;

use coati_config::files::Files;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Width of a date.
const DATE: usize = 20;

/// The time, the time zone, our process, and the names of protocols.
#[derive(Clone, Debug)]
pub struct Scene {
    now: u64,
    zone: TimeZone,
    pid: u32,
    protocols: BTreeMap<u8, String>,
}

impl Scene {
    /// As things are now; protocols are called as /etc/protocols says.
    #[must_use]
    pub fn current(files: &dyn Files) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a dump says when it was made")]
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        Self::at(now, TimeZone::system(), std::process::id(), files)
    }

    /// At `now`, in seconds since 1970.
    #[must_use]
    pub fn at(now: u64, zone: TimeZone, pid: u32, files: &dyn Files) -> Self {
        Self { now, zone, pid, protocols: protocols(files) }
    }

    /// Seconds since 1970.
    #[must_use]
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// The process that asks.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// A date as C's `ctime` gives it, without the day of the week; blanks of the same width for 0.
    #[must_use]
    pub fn date(&self, seconds: u64) -> String {
        let date = i64::try_from(seconds).ok().filter(|seconds| *seconds != 0);
        let date = date.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let date = date
            .map(|date| date.to_zoned_datetime(self.zone.clone()).strftime("%b %e %H:%M:%S %Y").to_string());
        date.unwrap_or_else(|| " ".repeat(DATE))
    }

    /// The name of a protocol, or its number if it has none.
    #[must_use]
    pub fn protocol(&self, number: u8) -> String {
        self.protocols.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }
}

/// /etc/protocols: the first line with a number says its name.
fn protocols(files: &dyn Files) -> BTreeMap<u8, String> {
    let octets = files.read(Path::new("/etc/protocols")).map(|(_, octets)| octets).unwrap_or_default();
    let mut all = BTreeMap::new();
    for line in String::from_utf8_lossy(&octets).lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        if let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) {
            all.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use coati_config::files::Memory;

    #[test]
    fn a_date_has_twenty_characters_and_the_time_of_the_place() {
        let berlin = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let scene = Scene::at(0, berlin, 1, &Memory::new());
        assert_eq!(scene.date(1_635_930_922), "Nov  3 10:15:22 2021");
        assert_eq!(scene.date(1_626_337_800), "Jul 15 10:30:00 2021");
        for seconds in [0, u64::MAX] {
            assert_eq!(scene.date(seconds), " ".repeat(20));
        }
    }

    #[test]
    fn a_protocol_is_called_as_the_system_calls_it() {
        let files =
            Memory::new().with("/etc/protocols", "# x\nipv6-icmp 58 IPv6-ICMP\ntcp 6\nTCP 6\nbad x\n");
        let scene = Scene::at(0, TimeZone::UTC, 1, &files);
        assert_eq!([58, 6, 255].map(|number| scene.protocol(number)), ["ipv6-icmp", "tcp", "255"]);
    }
}

//! The SAs that a daemon leaves behind when it dies, as the next one finds them: ours, and nobody keeps them alive.
//!
//! As long as such an outbound SA is in the kernel, traffic of a pair that has lost its new ones would go out on it into the
//! void and ask for nothing. What is kept is where an SA goes and its SPI, no keys. A new SA is in the file as soon as it is in the
//! kernel; one that is gone may be there for a second more.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ike_proto::ids::ChildSpi;
use ike_proto::policy::sad::SaKey;

/// Name of the file.
const FILE: &str = "sas";
/// Where the kernel tells one boot from another.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The file in which a daemon's SAs are written down.
#[derive(Debug)]
pub struct Estate {
    directory: PathBuf,
    boot: String,
    written: BTreeSet<SaKey>,
}

impl Estate {
    /// Opens the file in `directory`, which is there, and gives the SAs that a daemon before this one, since the same
    /// boot of the kernel, had in the end.
    ///
    /// # Errors
    /// The kernel does not name its boot, or the file cannot be read.
    pub fn open(directory: &Path) -> io::Result<(Self, BTreeSet<SaKey>)> {
        Self::open_at_boot(directory, fs::read_to_string(BOOT_ID)?.trim())
    }

    fn open_at_boot(directory: &Path, boot: &str) -> io::Result<(Self, BTreeSet<SaKey>)> {
        let left = match fs::read_to_string(directory.join(FILE)) {
            Ok(text) => read(&text, boot),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(error),
        };
        let (directory, boot) = (directory.to_owned(), boot.to_owned());
        let mut estate = Self { directory, boot, written: BTreeSet::new() };
        // From here on it is of this boot, and whole: new SAs are added to it.
        estate.rewrite(left.clone())?;
        Ok((estate, left))
    }

    /// The directory has another name from here on: the process has another root.
    pub fn moved_to(&mut self, directory: &Path) {
        self.directory = directory.to_owned();
    }

    /// Writes down SAs that are new.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn note(&mut self, new: &[SaKey]) -> io::Result<()> {
        // Opened each time: another daemon, started by mistake, may have put a file in its place.
        let mut file = OpenOptions::new().append(true).open(self.directory.join(FILE))?;
        file.write_all(lines(new.iter()).as_bytes())?;
        self.written.extend(new);
        Ok(())
    }

    /// Writes down which SAs there are, if that has changed.
    ///
    /// # Errors
    /// The file cannot be written; then it is as it was.
    pub fn write(&mut self, sas: BTreeSet<SaKey>) -> io::Result<()> {
        if sas == self.written {
            return Ok(());
        }
        self.rewrite(sas)
    }

    fn rewrite(&mut self, sas: BTreeSet<SaKey>) -> io::Result<()> {
        let (path, fresh) = (self.directory.join(FILE), self.directory.join(FILE).with_extension("new"));
        // Not waited for until it is on the disk: what a loss of power would take with it, it has taken from the kernel too.
        fs::write(&fresh, format!("{}\n{}", self.boot, lines(sas.iter())))?;
        fs::rename(&fresh, &path)?;
        self.written = sas;
        Ok(())
    }
}

fn lines<'a>(sas: impl Iterator<Item = &'a SaKey>) -> String {
    sas.map(|key| format!("{} {:08x}\n", key.destination, key.spi.0)).collect()
}

/// What a file says of this boot. One that is of another, or damaged, says nothing: SAs that are not surely ours are left
/// alone.
fn read(text: &str, boot: &str) -> BTreeSet<SaKey> {
    let mut lines = text.lines();
    if lines.next() != Some(boot) {
        return BTreeSet::new();
    }
    let key = |line: &str| {
        let (destination, spi) = line.split_once(' ')?;
        let spi = ChildSpi(u32::from_str_radix(spi, 16).ok()?);
        Some(SaKey { destination: destination.parse().ok()?, spi })
    };
    lines.map(key).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;

    fn sas(count: u32) -> BTreeSet<SaKey> {
        let destinations = ["192.0.2.1", "2001:db8::1"];
        let key = |(spi, destination): (u32, &&str)| SaKey {
            destination: destination.parse().unwrap(),
            spi: ChildSpi(0xc000_0000 + spi),
        };
        (0..count).zip(destinations.iter().cycle()).map(key).collect()
    }

    fn left(directory: &Path, boot: &str) -> BTreeSet<SaKey> {
        Estate::open_at_boot(directory, boot).unwrap().1
    }

    #[test]
    fn the_next_daemon_finds_what_the_last_one_had_in_the_end() {
        let directory = scratch_dir("estate");
        let (mut estate, none) = Estate::open_at_boot(&directory, "boot one").unwrap();
        assert_eq!(none, BTreeSet::new());
        for count in [3, 4, 2] {
            estate.write(sas(count)).unwrap();
            assert_eq!(left(&directory, "boot one"), sas(count));
        }
        estate.write(BTreeSet::new()).unwrap();
        assert_eq!(left(&directory, "boot one"), BTreeSet::new());
    }

    #[test]
    fn a_new_sa_is_written_down_at_once_beside_those_that_were() {
        let directory = scratch_dir("estate-new");
        Estate::open_at_boot(&directory, "boot one").unwrap().0.write(sas(3)).unwrap();
        // What another boot has left is not what is added to.
        let (mut estate, _) = Estate::open_at_boot(&directory, "boot two").unwrap();
        for (number, key) in sas(4).into_iter().enumerate() {
            estate.note(&[key]).unwrap();
            assert_eq!(left(&directory, "boot two").len(), number + 1);
        }
        assert_eq!(left(&directory, "boot two"), sas(4));
        let (mut estate, _) = Estate::open_at_boot(&directory, "boot two").unwrap();
        estate.write(sas(1)).unwrap();
        estate.note(&sas(2).into_iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(left(&directory, "boot two"), sas(2));
    }

    #[test]
    fn another_boot_of_the_kernel_has_none_of_these_sas() {
        let directory = scratch_dir("estate-boot");
        Estate::open_at_boot(&directory, "boot one").unwrap().0.write(sas(2)).unwrap();
        assert_eq!(left(&directory, "boot two"), BTreeSet::new());
    }

    #[test]
    fn a_damaged_file_names_no_sas() {
        for text in ["", "b\n192.0.2.1 c0000001\n192.0.2.1\n", "b\n192.0.2.1 c0000001\nx 1\n", "b\n::1 1 2\n"]
        {
            assert_eq!(read(text, "b"), BTreeSet::new(), "{text:?}");
        }
        assert_eq!(read("b\n192.0.2.1 c0000001\n", "b").len(), 1);
    }

    #[test]
    fn this_boot_has_a_name() {
        let directory = scratch_dir("estate-here");
        let (mut estate, _) = Estate::open(&directory).unwrap();
        estate.write(sas(1)).unwrap();
        assert_eq!(Estate::open(&directory).unwrap().1, sas(1));
    }
}

//! What must not repeat, and what must be kept: the engine's seed, the number of this start, the secret of quick crash
//! detection.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ike_proto::rng::Seed;
use ike_proto::secret::Secret;
use zeroize::Zeroizing;

/// A seed of the kernel's randomness; waits until the kernel has gathered enough after boot.
///
/// # Errors
/// The kernel gives none.
pub fn seed() -> io::Result<Seed> {
    let mut octets = Zeroizing::new([0; 32]);
    getrandom::fill(octets.as_mut_slice()).map_err(io::Error::other)?;
    Ok(Seed::new(*octets))
}

/// Name of the file that holds the number of the last start.
const EPOCH_FILE: &str = "boot-epoch";

/// The number of this start: another than those of all starts before it with this state directory. It is on the disk
/// when this returns.
///
/// The first one is random, so that a lost directory does not begin the same row again.
///
/// # Errors
/// The directory cannot be made or written, or the file holds something else than a number.
pub fn next_boot_epoch(state_dir: &Path) -> io::Result<u32> {
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
    let path = state_dir.join(EPOCH_FILE);
    let last: Option<u32> = match fs::read_to_string(&path) {
        Ok(text) => Some(text.trim().parse().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{} holds no number: remove it", path.display()),
            )
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let next = match last {
        Some(last) => last.wrapping_add(1),
        None => {
            let mut octets = [0; 4];
            getrandom::fill(&mut octets).map_err(io::Error::other)?;
            u32::from_ne_bytes(octets)
        }
    };
    replace(state_dir, &path, format!("{next}\n").as_bytes())?;
    Ok(next)
}

/// Name of the file that holds the secret of quick crash detection.
const CRASH_SECRET_FILE: &str = "qcd-secret";
/// Octets of that secret.
const CRASH_SECRET_LEN: usize = 32;

/// The secret that quick crash detection's tokens are made with (RFC 6290 §5.1), made at the first start and kept: after a
/// crash the same secret makes the token that a peer was given before.
///
/// # Errors
/// The file cannot be read or written, has another length, or may be read by others.
pub fn crash_secret(state_dir: &Path) -> io::Result<Secret> {
    let path = state_dir.join(CRASH_SECRET_FILE);
    let invalid = |what: &str| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} {what}: remove it", path.display()))
    };
    match File::open(&path) {
        Ok(file) => {
            if file.metadata()?.permissions().mode() & 0o077 != 0 {
                return Err(invalid("may be read by others"));
            }
            let mut octets = Zeroizing::new(Vec::with_capacity(CRASH_SECRET_LEN + 1));
            file.take(CRASH_SECRET_LEN as u64 + 1).read_to_end(&mut octets)?;
            if octets.len() != CRASH_SECRET_LEN {
                return Err(invalid("does not hold 32 octets"));
            }
            Ok(Secret::from_slice(&octets))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut octets = Zeroizing::new([0; CRASH_SECRET_LEN]);
            getrandom::fill(octets.as_mut_slice()).map_err(io::Error::other)?;
            replace(state_dir, &path, octets.as_slice())?;
            Ok(Secret::from_slice(octets.as_slice()))
        }
        Err(error) => Err(error),
    }
}

/// Writes a file so that after a crash either the old or the new one is there.
fn replace(directory: &Path, path: &Path, octets: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    // One that a crash left behind may belong to anybody.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(octets)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;

    #[test]
    fn every_start_has_another_number_and_it_is_kept() {
        let dir = scratch_dir("epoch").join("made/by/it");
        let first = next_boot_epoch(&dir).unwrap();
        assert_eq!(next_boot_epoch(&dir).unwrap(), first.wrapping_add(1));
        assert_eq!(next_boot_epoch(&dir).unwrap(), first.wrapping_add(2));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.join(EPOCH_FILE)), 0o600);
        assert_eq!(mode(&dir), 0o700);
        fs::write(dir.join(EPOCH_FILE), "4294967295\n").unwrap();
        assert_eq!(next_boot_epoch(&dir).unwrap(), 0);
    }

    #[test]
    fn a_file_that_holds_no_number_is_an_error_and_stays() {
        let dir = scratch_dir("epoch-bad");
        fs::write(dir.join(EPOCH_FILE), "x").unwrap();
        assert!(next_boot_epoch(&dir).unwrap_err().to_string().contains("boot-epoch holds no number"));
        assert_eq!(fs::read_to_string(dir.join(EPOCH_FILE)).unwrap(), "x");
    }

    #[test]
    fn the_crash_secret_is_made_once_kept_and_for_nobody_else() {
        let dir = scratch_dir("qcd");
        let first = crash_secret(&dir).unwrap();
        assert_eq!(crash_secret(&dir).unwrap(), first);
        assert_ne!(crash_secret(&scratch_dir("qcd-other")).unwrap(), first);
        let path = dir.join(CRASH_SECRET_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(crash_secret(&dir).unwrap_err().to_string().contains("may be read by others"));
        fs::remove_file(&path).unwrap();
        fs::write(&path, [7; 33]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(crash_secret(&dir).unwrap_err().to_string().contains("does not hold 32 octets"));
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(seed().unwrap().expose(), seed().unwrap().expose());
    }
}

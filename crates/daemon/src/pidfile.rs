//! The pid file (`path pidfile`): locked for as long as the daemon lives, so that there is one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::refusal::Refusal;

/// How often a file that vanishes under our hands is opened again.
const TRIES: u32 = 5;

/// A locked pid file; its name goes when it does.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

impl PidFile {
    /// Opens and locks the file at `path`, mode 0644; it holds no number yet.
    ///
    /// # Errors
    /// Another daemon has it, or it cannot be had.
    pub fn lock(path: &Path) -> Result<Self, Refusal> {
        let refusal =
            |error: io::Error| Refusal::new(format!("cannot have the pid file {}: {error}", path.display()));
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o644)
                .custom_flags(OFlag::O_NOFOLLOW.bits())
                .open(path)
                .map_err(refusal)?;
            let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((mut file, Errno::EWOULDBLOCK)) => return Err(in_use(path, &mut file)),
                Err((_, errno)) => return Err(refusal(errno.into())),
            };
            // A daemon that ended meanwhile has taken the name away with its own.
            let is_named = fs::metadata(path).is_ok_and(|named| {
                file.metadata().is_ok_and(|ours| (named.dev(), named.ino()) == (ours.dev(), ours.ino()))
            });
            if is_named {
                // Whatever the umask is: scripts read it.
                file.set_permissions(fs::Permissions::from_mode(0o644)).map_err(refusal)?;
                clear(&mut file).map_err(refusal)?;
                return Ok(Self { path: path.to_owned(), file });
            }
        }
        Err(Refusal::new(format!("the pid file {} goes away again and again", path.display())))
    }

    /// Writes this process's number.
    ///
    /// # Errors
    /// As the system says.
    pub fn write(&mut self) -> io::Result<()> {
        clear(&mut self.file)?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Without privileges the name may have to stay: then it holds nothing.
        let _ = clear(&mut self.file);
        let _ = fs::remove_file(&self.path);
    }
}

fn clear(file: &mut File) -> io::Result<()> {
    use std::io::Seek as _;
    file.set_len(0)?;
    file.rewind()
}

fn in_use(path: &Path, file: &mut File) -> Refusal {
    let mut text = String::new();
    let _ = file.take(16).read_to_string(&mut text);
    let pid = text.trim().parse::<u32>().map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    Refusal::new(format!("another daemon{pid} runs with the pid file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;

    #[test]
    fn it_holds_the_number_is_for_all_to_read_and_goes_in_the_end() {
        let path = scratch_dir("pid").join("racoon.pid");
        fs::write(&path, "99999999\n").unwrap();
        let mut file = PidFile::lock(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_second_daemon_is_told_who_has_it_and_changes_nothing() {
        let path = scratch_dir("pid-twice").join("racoon.pid");
        let mut first = PidFile::lock(&path).unwrap();
        first.write().unwrap();
        let said = PidFile::lock(&path).unwrap_err().to_string();
        let pid = std::process::id();
        assert_eq!(said, format!("another daemon (pid {pid}) runs with the pid file {}", path.display()));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = scratch_dir("pid-link");
        fs::write(dir.join("precious"), "text").unwrap();
        std::os::unix::fs::symlink(dir.join("precious"), dir.join("racoon.pid")).unwrap();
        assert!(PidFile::lock(&dir.join("racoon.pid")).is_err());
        assert_eq!(fs::read_to_string(dir.join("precious")).unwrap(), "text");
    }
}

//! The outside world of a configuration: files, globs, names. A trait, so that tests need no disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::diag::{Diagnostic, Diagnostics, Severity};

/// No configuration file is longer than this, in octets.
pub const LARGEST_FILE: u64 = 64 << 20;

/// What an open file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// A regular file: no directory, device or pipe.
    pub regular: bool,
    /// Owner's number.
    pub owner: u32,
    /// Permission bits, `0o7777` at most.
    pub mode: u32,
}

/// Whether an opened file of secrets is private: a regular file, of the process's effective user, with no permission for group
/// or others. `what` is in it.
///
/// # Errors
/// What to say about it.
pub fn check_private(name: &str, what: &str, facts: FileFacts, files: &dyn Files) -> Result<(), Diagnostic> {
    let refuse = |message| Diagnostic::about_file(Severity::Error, name, message);
    let (me, verb) = (files.effective_uid(), if what.ends_with('s') { "have" } else { "has" });
    if !facts.regular {
        return Err(refuse(format!("{what} must be in a regular file")));
    }
    if facts.owner != me {
        let refusal = refuse(format!("{what} {verb} invalid owner uid {}, expected {me}", facts.owner));
        return Err(refusal.help("`chown` the file to the user that the daemon runs as"));
    }
    if facts.mode & 0o077 != 0 {
        let refusal = refuse(format!("{what} {verb} weak file permission {:04o}, expected 0600", facts.mode));
        return Err(refusal.help("`chmod 600` the file"));
    }
    Ok(())
}

/// Reads a configuration's main file and has it parsed; one that cannot be read is an error at its name.
pub(crate) fn load_configuration<T>(
    path: &Path,
    files: &dyn Files,
    parse: impl FnOnce(&[u8]) -> (Option<T>, Diagnostics),
) -> (Option<T>, Diagnostics) {
    match files.read(path) {
        Ok((_, octets)) => parse(&octets),
        Err(error) => {
            let mut diagnostics = Diagnostics::new();
            let message = format!("cannot read the configuration: {error}");
            diagnostics.push(Diagnostic::about_file(Severity::Error, &path.display().to_string(), message));
            (None, diagnostics)
        }
    }
}

/// Where configuration files come from.
pub trait Files {
    /// Reads a whole file, with what the opened file (not its name) says about itself.
    ///
    /// # Errors
    /// As the system says; a file above [`LARGEST_FILE`] is refused.
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)>;

    /// The files a shell's glob pattern names, sorted.
    ///
    /// # Errors
    /// If the pattern is malformed.
    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>>;

    /// The home directory of a user, or of the process's own for an empty name.
    fn home(&self, user: &str) -> Option<PathBuf>;

    /// The addresses of a host's name.
    ///
    /// # Errors
    /// As the resolver says.
    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// The number the process acts as: the owner that psk.txt must have.
    fn effective_uid(&self) -> u32;
}

/// The system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)> {
        // Not blocking: to open a pipe without a writer must not hold up the start. A pipe with one is then waited for.
        let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
        let meta = file.metadata()?;
        if meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        let facts = FileFacts { regular: meta.is_file(), owner: meta.uid(), mode: meta.mode() & 0o7777 };
        let mut octets = Vec::with_capacity(usize::try_from(meta.len().min(LARGEST_FILE)).unwrap_or(0) + 1);
        file.take(LARGEST_FILE + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
        }
        Ok((facts, octets))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
        let found = glob::glob_with(pattern, options)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.msg))?;
        let mut paths: Vec<PathBuf> = found.filter_map(Result::ok).collect();
        paths.sort();
        Ok(paths)
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        if user.is_empty() {
            return std::env::home_dir();
        }
        nix::unistd::User::from_name(user).ok().flatten().map(|user| user.dir)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }

    fn effective_uid(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }
}

/// Files in memory, for tests and fuzzing: owner 0, mode 0600, unless told otherwise.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    files: BTreeMap<PathBuf, (FileFacts, Vec<u8>)>,
    hosts: BTreeMap<String, Vec<IpAddr>>,
}

impl Memory {
    /// No files at all.
    #[must_use]
    pub const fn new() -> Self {
        Self { files: BTreeMap::new(), hosts: BTreeMap::new() }
    }

    /// Adds a file.
    #[must_use]
    pub fn with(self, path: impl Into<PathBuf>, octets: impl AsRef<[u8]>) -> Self {
        self.with_facts(path, FileFacts { regular: true, owner: 0, mode: 0o600 }, octets)
    }

    /// Adds a file with an owner and a mode of its own.
    #[must_use]
    pub fn with_facts(
        mut self,
        path: impl Into<PathBuf>,
        facts: FileFacts,
        octets: impl AsRef<[u8]>,
    ) -> Self {
        self.files.insert(path.into(), (facts, octets.as_ref().to_vec()));
        self
    }

    /// Adds a host's name.
    #[must_use]
    pub fn with_host(mut self, name: &str, addresses: &[IpAddr]) -> Self {
        self.hosts.insert(name.to_owned(), addresses.to_vec());
        self
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let pattern = glob::Pattern::new(pattern)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.msg))?;
        let options = glob::MatchOptions {
            require_literal_separator: true,
            require_literal_leading_dot: true,
            ..Default::default()
        };
        Ok(self.files.keys().filter(|path| pattern.matches_path_with(path, options)).cloned().collect())
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        Some(if user.is_empty() { "/root".into() } else { Path::new("/home").join(user) })
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.hosts.get(host).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host"))
    }

    fn effective_uid(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_writer_is_empty_and_a_directory_is_refused() {
        let folder = std::env::temp_dir().join(format!("coati-config-files-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let pipe = folder.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        let read = Disk.read(&pipe);
        let directory = Disk.read(&folder);
        std::fs::write(folder.join(".hidden.conf"), "x").unwrap();
        std::fs::write(folder.join("b.conf"), "x").unwrap();
        std::fs::write(folder.join("a.conf"), "x").unwrap();
        let found = Disk.glob(folder.join("*.conf").to_str().unwrap());
        std::fs::remove_dir_all(&folder).unwrap();
        let (facts, octets) = read.unwrap();
        assert!(!facts.regular && octets.is_empty());
        assert_eq!(directory.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(found.unwrap(), [folder.join("a.conf"), folder.join("b.conf")]);
    }
}

//! Files that are there whole or not at all, and never in the place of others: keys, certificates, configurations.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

/// Mode of what its owner alone may read.
pub(crate) const SECRET: u32 = 0o600;
/// Mode of what everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// A set of files that get their names together. Until [`FreshFiles::commit`], and after a failure, none of them is there.
#[derive(Debug, Default)]
pub(crate) struct FreshFiles {
    /// Where each is, and where it is to be.
    staged: Vec<(PathBuf, PathBuf)>,
}

impl FreshFiles {
    /// No files yet.
    pub(crate) const fn new() -> Self {
        Self { staged: Vec::new() }
    }

    /// Writes a file beside the place where it is to be.
    ///
    /// # Errors
    /// Something is at that place already, or the file cannot be written.
    pub(crate) fn add(&mut self, path: PathBuf, contents: &[u8], mode: u32) -> Result<(), String> {
        if fs::symlink_metadata(&path).is_ok() {
            return Err(there_already(&path));
        }
        let staged = staging_name(&path)?;
        let written = write_new(&staged, contents, mode).map_err(|error| cannot_write(&path, &error));
        self.staged.push((staged, path));
        written
    }

    /// Names all files. If one cannot be named, those that were are removed.
    ///
    /// # Errors
    /// Something is at the place of one of them.
    pub(crate) fn commit(mut self) -> Result<(), String> {
        let staged = core::mem::take(&mut self.staged);
        for (done, (from, to)) in staged.iter().enumerate() {
            if let Err(error) = name(from, to) {
                for (at, (from, to)) in staged.iter().enumerate() {
                    let _ = fs::remove_file(if at < done { to } else { from });
                }
                return Err(error);
            }
        }
        let mut directories: Vec<&Path> = staged.iter().filter_map(|(_, to)| to.parent()).collect();
        directories.dedup();
        for directory in directories {
            sync_directory(directory).map_err(|error| cannot_write(directory, &error))?;
        }
        Ok(())
    }
}

impl Drop for FreshFiles {
    fn drop(&mut self) {
        for (staged, _) in &self.staged {
            let _ = fs::remove_file(staged);
        }
    }
}

/// A directory that gets its name when everything is in it.
#[derive(Debug)]
pub(crate) struct FreshDirectory {
    staged: PathBuf,
    path: PathBuf,
}

impl FreshDirectory {
    /// Makes it, for its owner alone, beside the place where it is to be.
    ///
    /// # Errors
    /// Something is at that place already, or it cannot be made.
    pub(crate) fn new(path: &Path) -> Result<Self, String> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(there_already(path));
        }
        let staged = staging_name(path)?;
        let make = DirBuilder::new().mode(0o700).create(&staged);
        make.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self { staged, path: path.to_owned() })
    }

    /// Writes a file into it; directories on the way are made.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn add(&self, name: &Path, contents: &[u8], mode: u32) -> Result<(), String> {
        let path = self.staged.join(name);
        let parent = path.parent().unwrap_or(&self.staged);
        let make = DirBuilder::new().mode(0o700).recursive(true).create(parent);
        make.and_then(|()| write_new(&path, contents, mode))
            .and_then(|()| sync_directory(parent))
            .map_err(|error| cannot_write(&self.path.join(name), &error))
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// Something is at that place.
    pub(crate) fn commit(self) -> Result<(), String> {
        name(&self.staged, &self.path)?;
        sync_directory(&parent_of(&self.path)).map_err(|error| cannot_write(&self.path, &error))
    }
}

impl Drop for FreshDirectory {
    fn drop(&mut self) {
        // After a commit there is nothing by this name any more.
        let _ = fs::remove_dir_all(&self.staged);
    }
}

/// Writes a file in the place of the one that may be there; a reader sees the old one or the new one.
///
/// # Errors
/// It cannot be written; then what was there still is.
pub(crate) fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), String> {
    let staged = staging_name(path)?;
    let written = write_new(&staged, contents, mode).and_then(|()| fs::rename(&staged, path));
    written.and_then(|()| sync_directory(&parent_of(path))).map_err(|error| {
        let _ = fs::remove_file(&staged);
        cannot_write(path, &error)
    })
}

/// Makes a directory for its owner alone, unless it is there.
///
/// # Errors
/// It cannot be made, or others may write into the one that is there.
pub(crate) fn private_directory(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt as _;
    let make = DirBuilder::new().mode(0o700).recursive(true).create(path);
    make.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
    let meta = fs::metadata(path).map_err(|error| format!("cannot see {}: {error}", path.display()))?;
    if meta.mode() & 0o022 != 0 {
        let shown = path.display();
        return Err(format!("others may write into {shown}: `chmod 700 {shown}` before keys are put there"));
    }
    Ok(())
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

/// Renames, unless there is something by the new name.
fn name(from: &Path, to: &Path) -> Result<(), String> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::EEXIST) => Err(there_already(to)),
        Err(errno) => Err(cannot_write(to, &errno.into())),
    }
}

/// A name in the same directory that nobody guesses.
fn staging_name(path: &Path) -> Result<PathBuf, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| format!("the kernel gives no randomness: {error}"))?;
    let name = path.file_name().ok_or_else(|| format!("{} names no file", path.display()))?;
    let mut staged = std::ffi::OsString::from(".");
    staged.push(name);
    staged.push(format!(".{:016x}.new", u64::from_be_bytes(random)));
    Ok(path.with_file_name(staged))
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

fn there_already(path: &Path) -> String {
    format!("{} is there already and is not overwritten", path.display())
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write {}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{names_in, scratch_dir};
    use std::os::unix::fs::PermissionsExt as _;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_set_is_there_whole_or_not_at_all() {
        let dir = scratch_dir("fresh-set");
        let mut files = FreshFiles::new();
        files.add(dir.join("a.key"), b"key", SECRET).unwrap();
        files.add(dir.join("a.pem"), b"certificate", PUBLIC).unwrap();
        assert!(names_in(&dir).iter().all(|name| name.starts_with('.')), "not named yet");
        files.commit().unwrap();
        assert_eq!(names_in(&dir), ["a.key", "a.pem"]);
        assert_eq!(mode(&dir.join("a.key")), 0o600);

        let mut files = FreshFiles::new();
        files.add(dir.join("b.key"), b"key", SECRET).unwrap();
        files.add(dir.join("b.pem"), b"certificate", PUBLIC).unwrap();
        fs::write(dir.join("b.pem"), "somebody else's").unwrap();
        assert!(files.commit().unwrap_err().contains("b.pem is there already"));
        assert_eq!(names_in(&dir), ["a.key", "a.pem", "b.pem"]);
        assert_eq!(fs::read(dir.join("b.pem")).unwrap(), b"somebody else's");
    }

    #[test]
    fn what_is_not_committed_is_gone() {
        let dir = scratch_dir("fresh-drop");
        let mut files = FreshFiles::new();
        files.add(dir.join("a"), b"a", SECRET).unwrap();
        assert!(files.add(dir.join("none/b"), b"b", SECRET).is_err());
        drop(files);
        let made = FreshDirectory::new(&dir.join("d")).unwrap();
        made.add(Path::new("x/psk.txt"), b"a", SECRET).unwrap();
        drop(made);
        assert_eq!(names_in(&dir), Vec::<String>::new());
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let dir = scratch_dir("fresh-link");
        std::os::unix::fs::symlink(dir.join("elsewhere"), dir.join("a")).unwrap();
        assert!(FreshFiles::new().add(dir.join("a"), b"a", SECRET).is_err());
        assert!(FreshDirectory::new(&dir.join("a")).is_err());
        assert_eq!(names_in(&dir), ["a"]);
    }

    #[test]
    fn a_directory_is_its_owners_alone_and_named_when_full() {
        let dir = scratch_dir("fresh-directory");
        let made = FreshDirectory::new(&dir.join("d")).unwrap();
        made.add(Path::new("x/psk.txt"), b"a", SECRET).unwrap();
        made.commit().unwrap();
        assert_eq!(names_in(&dir), ["d"]);
        assert_eq!((mode(&dir.join("d")), mode(&dir.join("d/x"))), (0o700, 0o700));
        assert_eq!(mode(&dir.join("d/x/psk.txt")), 0o600);
        let made = FreshDirectory::new(&dir.join("e")).unwrap();
        fs::create_dir(dir.join("e")).unwrap();
        assert!(made.commit().unwrap_err().contains("is there already"));
        assert_eq!(names_in(&dir), ["d", "e"]);
    }

    #[test]
    fn a_directory_others_may_write_into_is_refused() {
        let dir = scratch_dir("fresh-open");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(private_directory(&dir).unwrap_err().contains("chmod 700"));
        private_directory(&dir.join("a/b")).unwrap();
        assert_eq!(mode(&dir.join("a/b")), 0o700);
    }
}

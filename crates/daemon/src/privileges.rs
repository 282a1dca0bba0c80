//! racoon's `privsep { }`: the daemon drops to a user and a group, and perhaps to a directory, once it has what only root can
//! have.
//!
//! What it keeps: CAP_NET_ADMIN (the kernel's databases) and CAP_NET_BIND_SERVICE (its ports); and, not in effect but while the
//! files are read again, CAP_DAC_READ_SEARCH: psk.txt and keys stay root's, 0600. Capabilities belong to a thread, so
//! this happens before there is a second one.

use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};
use coati_config::files::{Disk, FileFacts, Files};
use coati_config::racoon::model::Privsep;
use nix::unistd::{Gid, Group, Uid, User, chdir, chroot, initgroups, setgroups, setresgid, setresuid};

use crate::refusal::Refusal;

/// What is in effect afterwards.
const IN_EFFECT: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_BIND_SERVICE];
/// What can be put into effect.
const FOR_FILES: Capability = Capability::CAP_DAC_READ_SEARCH;

/// Whom the daemon becomes, and below which directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    user: Option<(Uid, Option<String>)>,
    group: Option<Gid>,
    root: Option<PathBuf>,
}

impl Role {
    /// What the block asks for; `None` if that is nothing.
    ///
    /// # Errors
    /// There is no such user or group.
    pub fn of(privsep: &Privsep) -> Result<Option<Self>, Refusal> {
        let unknown = |kind: &str, name: &str| {
            Refusal::new(format!("{}: there is no {kind} `{name}` to drop privileges to", privsep.place))
        };
        let found = privsep.user.as_deref().map(|name| match find_user(name) {
            Some(user) => Ok((user.uid, Some(user.gid), Some(user.name))),
            // A number without a name is a user all the same.
            None => {
                name.parse().map(|uid| (Uid::from_raw(uid), None, None)).map_err(|_| unknown("user", name))
            }
        });
        let found = found.transpose()?;
        let group = match privsep.group.as_deref() {
            Some(name) => Some(group_id(name).ok_or_else(|| unknown("group", name))?),
            None => found.as_ref().and_then(|(_, group, _)| *group),
        };
        let user = found.map(|(uid, _, name)| (uid, name)).filter(|(uid, _)| !uid.is_root());
        let role =
            Self { user, group: group.filter(|group| group.as_raw() != 0), root: privsep.chroot.clone() };
        let is_nothing = role.user.is_none() && role.group.is_none() && role.root.is_none();
        Ok((!is_nothing).then_some(role))
    }

    /// The user's number, if it is another than root's.
    #[must_use]
    pub fn user(&self) -> Option<u32> {
        self.user.as_ref().map(|(uid, _)| uid.as_raw())
    }

    /// The new root directory.
    #[must_use]
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// Where `path` of the time after is now.
    #[must_use]
    pub fn outer(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// Gives a file or a directory to the user and the group.
    ///
    /// # Errors
    /// As the system says.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, self.user(), self.group.map(Gid::as_raw))
    }

    /// Becomes that user. There must be one thread only.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn take(&self) -> Result<(), Refusal> {
        let os = |what: &str| {
            let what = what.to_owned();
            move |errno: nix::errno::Errno| {
                Refusal::new(format!("cannot drop privileges: {what}: {}", errno.desc()))
            }
        };
        let cap = |error: caps::errors::CapsError| Refusal::new(format!("cannot drop privileges: {error}"));
        if let Some(root) = &self.root {
            chroot(root.as_path()).map_err(os(&format!("chroot to {}", root.display())))?;
            chdir("/").map_err(os("chdir to the new root"))?;
        }
        match (&self.user, self.group) {
            (Some((_, Some(name))), Some(group)) => {
                let name = CString::new(name.as_str()).map_err(|error| Refusal::new(error.to_string()))?;
                initgroups(&name, group).map_err(os("initgroups"))?;
            }
            (Some(_), group) => {
                let groups: Vec<Gid> = group.into_iter().collect();
                setgroups(&groups).map_err(os("setgroups"))?;
            }
            (None, _) => {}
        }
        if let Some(group) = self.group {
            setresgid(group, group, group).map_err(os("setresgid"))?;
        }
        if let Some((user, _)) = &self.user {
            caps::securebits::set_keepcaps(true).map_err(cap)?;
            setresuid(*user, *user, *user).map_err(os("setresuid"))?;
            caps::securebits::set_keepcaps(false).map_err(cap)?;
            let effective: CapsHashSet = IN_EFFECT.into_iter().collect();
            let permitted: CapsHashSet = IN_EFFECT.into_iter().chain([FOR_FILES]).collect();
            caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(cap)?;
            caps::set(None, CapSet::Effective, &effective).map_err(cap)?;
            caps::set(None, CapSet::Permitted, &permitted).map_err(cap)?;
        }
        Ok(())
    }
}

fn find_user(name: &str) -> Option<User> {
    let by_name = || User::from_name(name).ok().flatten();
    let by_number = |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten();
    name.parse().map_or_else(|_| by_name(), by_number)
}

/// The number of a user that is named by name or by number.
#[must_use]
pub fn user_id(name: &str) -> Option<Uid> {
    name.parse().map(Uid::from_raw).ok().or_else(|| find_user(name).map(|user| user.uid))
}

/// The number of a group that is named by name or by number.
#[must_use]
pub fn group_id(name: &str) -> Option<Gid> {
    let by_name = || Group::from_name(name).ok().flatten().map(|group| group.gid);
    name.parse().map(Gid::from_raw).ok().or_else(by_name)
}

/// The system's files as root sees them, read by somebody who was root.
#[derive(Clone, Copy, Debug)]
pub struct RootsFiles;

/// [`FOR_FILES`] in effect.
struct Raised;

impl Raised {
    fn new() -> Self {
        // Where it is not permitted, reading says so.
        let _ = caps::raise(None, CapSet::Effective, FOR_FILES);
        Self
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        let _ = caps::drop(None, CapSet::Effective, FOR_FILES);
    }
}

impl Files for RootsFiles {
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)> {
        let _raised = Raised::new();
        Disk.read(path)
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        let _raised = Raised::new();
        Disk.glob(pattern)
    }

    fn home(&self, user: &str) -> Option<PathBuf> {
        Disk.home(user)
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Disk.resolve(host)
    }

    /// Root's: what only root may have read at start is what is read again.
    fn effective_uid(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use coati_config::diag::Place;

    use super::*;

    fn privsep(user: Option<&str>, group: Option<&str>, chroot: Option<&str>) -> Privsep {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let place = Place { file: "racoon.conf".into(), line: 3, column: 1 };
        Privsep { place, user: owned(user), group: owned(group), chroot: chroot.map(PathBuf::from) }
    }

    #[test]
    fn who_is_not_there_is_an_error_with_its_place() {
        let said = Role::of(&privsep(Some("no-such-user"), None, None)).unwrap_err().to_string();
        assert_eq!(said, "racoon.conf:3:1: there is no user `no-such-user` to drop privileges to");
        let said = Role::of(&privsep(Some("nobody"), Some("no-such-group"), None)).unwrap_err().to_string();
        assert_eq!(said, "racoon.conf:3:1: there is no group `no-such-group` to drop privileges to");
    }

    #[test]
    fn root_is_nobody_to_drop_to_and_a_user_brings_its_group() {
        assert_eq!(Role::of(&privsep(Some("root"), None, None)).unwrap(), None);
        assert_eq!(Role::of(&privsep(Some("0"), Some("0"), None)).unwrap(), None);
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let role = Role::of(&privsep(Some("nobody"), None, None)).unwrap().unwrap();
        assert_eq!((role.user(), role.group), (Some(nobody.uid.as_raw()), Some(nobody.gid)));
        let role = Role::of(&privsep(Some("4242"), Some("4243"), None)).unwrap().unwrap();
        assert_eq!((role.user(), role.group), (Some(4242), Some(Gid::from_raw(4243))));
    }

    #[test]
    fn paths_of_the_new_root_are_below_it() {
        let role = Role::of(&privsep(None, None, Some("/srv/coati"))).unwrap().unwrap();
        assert_eq!(role.outer(Path::new("/var/lib/coati")), Path::new("/srv/coati/var/lib/coati"));
    }
}

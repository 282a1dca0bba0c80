//! The programs that scenarios need, and the Debian packages that have them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::News;
use crate::failure::{Context, Result};
use crate::{ensure, fail, process};

/// Something that has to be on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The Debian package that has it.
    pub package: &'static str,
    /// A program, or the absolute path of a file.
    pub provides: &'static str,
    /// What it is for.
    pub why: &'static str,
}

const fn need(package: &'static str, provides: &'static str, why: &'static str) -> Need {
    Need { package, provides, why }
}

/// Where Debian's programs are, whatever the user's PATH.
const PLACES: [&str; 6] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// What every scenario needs, and strongSwan where it takes part.
pub(super) fn for_scenarios(strongswan: bool) -> Vec<Need> {
    let mut needs = vec![
        need("iproute2", "ip", "hosts, networks, and the kernel's SAs and policies"),
        need("iptables", "iptables-legacy", "NAT boxes"),
        need("iputils-ping", "ping", "ICMP between hosts"),
        need("tcpdump", "tcpdump", "captures of the wire"),
        need("util-linux", "unshare", "namespaces of a scenario's own"),
        need("openssl", "openssl", "certificates"),
    ];
    if strongswan {
        let plugins = "strongSwan's algorithms";
        needs.extend([
            need("charon-systemd", "charon-systemd", "strongSwan, the peer to interoperate with"),
            need("strongswan-swanctl", "swanctl", "strongSwan's commands"),
            need(
                "libstrongswan-standard-plugins",
                "/usr/lib/ipsec/plugins/libstrongswan-openssl.so",
                plugins,
            ),
        ]);
    }
    needs
}

/// What booting the test kernel needs.
pub(super) fn for_test_kernel() -> Vec<Need> {
    vec![
        need("user-mode-linux", "linux.uml", "a complete kernel that runs as an ordinary process"),
        need("kmod", "modprobe", "that kernel's modules"),
    ]
}

/// Installs what is missing through apt, saying what and why.
///
/// # Errors
/// Names the packages that cannot be had, and how to get them.
pub fn install_missing(needs: &[Need], tell: &mut dyn FnMut(News)) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !is_there(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for Need { package, why, .. } in &missing {
        tell(News::Note(format!("installing {package}: {why}")));
    }
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let by_hand = format!("apt-get install {}", packages.join(" "));
    ensure!(
        find("apt-get").is_some(),
        "this machine has no apt; it needs what Debian installs by: {by_hand}"
    );

    // The lists of a fresh machine are empty, those of an old one name versions that are gone: then once more.
    if install(&packages).is_err() {
        apt(&["update"]).context(|| format!("cannot install {}", packages.join(", ")))?;
        install(&packages)
            .context(|| format!("these packages are needed and could not be had; try: {by_hand}"))?;
    }
    let still: Vec<&str> = needs.iter().filter(|need| !is_there(need)).map(|need| need.package).collect();
    ensure!(still.is_empty(), "apt is content, but {} did not bring what is needed", still.join(", "));
    if packages.contains(&"charon-systemd") {
        stop_service(tell);
    }
    Ok(())
}

/// The full path of a program.
pub(super) fn find(program: &str) -> Option<std::path::PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(program)).find(|path| path.exists())
}

fn is_there(need: &Need) -> bool {
    if need.provides.starts_with('/') {
        Path::new(need.provides).exists()
    } else {
        find(need.provides).is_some()
    }
}

fn install(packages: &[&str]) -> Result<()> {
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn apt(arguments: &[&str]) -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let mut command = if root {
        Command::new("apt-get")
    } else if find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("apt-get");
        sudo
    } else {
        fail!("apt-get takes root's rights and there is no sudo");
    };
    command.args(["-q", "-o", "Dpkg::Use-Pty=0"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    // sudo may ask for the password on the terminal.
    if !root {
        let status = command.stdout(Stdio::null()).status().context(|| process::show(&command))?;
        ensure!(status.success(), "{} failed ({status})", process::show(&command));
        return Ok(());
    }
    process::output(&mut command).map(|_| ())
}

/// Debian starts a service on installation; the tests want the program, the machine did not ask for the service.
fn stop_service(tell: &mut dyn FnMut(News)) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    tell(News::Note("stopping the strongswan service that the package has started".to_owned()));
    let mut command =
        if nix::unistd::geteuid().is_root() { Command::new("systemctl") } else { Command::new("sudo") };
    if !nix::unistd::geteuid().is_root() {
        command.arg("systemctl");
    }
    if let Err(failure) = process::output(command.args(["disable", "--now", "strongswan.service"])) {
        tell(News::Note(format!("that did not work, and does no harm to the tests: {failure}")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_by_name_and_a_file_by_path() {
        assert!(is_there(&need("bash", "sh", "")));
        assert!(is_there(&need("bash", "/bin/sh", "")));
        assert!(!is_there(&need("none", "no-such-program", "")));
    }
}

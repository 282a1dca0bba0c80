//! `coati psk`: strong pre-shared keys, and psk.txt files for a mesh with a key for each pair.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use ike_crypto::pki::strong_psk;
use ike_proto::rng::{Rng, Seed};
use ike_proto::secret::Secret;
use zeroize::Zeroizing;

use crate::fresh::{FreshDirectory, SECRET};
use crate::hosts::file_name;

/// Makes a strong pre-shared key; for hosts, one for each pair of them.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Hosts of a mesh: an address or an identity each, or NAME=ADDRESS[,ADDRESS...] for one that has several.
    #[arg(value_name = "HOST", requires = "out")]
    hosts: Vec<String>,
    /// A directory to make, with NAME/psk.txt for each host.
    #[arg(long, value_name = "DIR", requires = "hosts")]
    out: Option<PathBuf>,
}

/// One host: the name of its directory, and how its peers' files list it.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    name: String,
    ids: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What the hosts' words lack, or why nothing was written.
pub(crate) fn run(arguments: &Arguments) -> Result<String, String> {
    let mut octets = Zeroizing::new([0; 32]);
    getrandom::fill(octets.as_mut_slice())
        .map_err(|error| format!("the kernel gives no randomness: {error}"))?;
    let mut rng = Rng::new(&Seed::new(*octets));
    match &arguments.out {
        None => Ok(text_of(&strong_psk(&mut rng)).to_owned() + "\n"),
        Some(out) => write_mesh(out, &read_hosts(&arguments.hosts)?, &mut rng),
    }
}

fn text_of(key: &Secret) -> &str {
    // Letters and digits, as `strong_psk` promises.
    core::str::from_utf8(key.expose()).unwrap_or_default()
}

fn read_hosts(words: &[String]) -> Result<Vec<Host>, String> {
    let hosts: Vec<Host> = words.iter().map(|word| read_host(word)).collect::<Result<_, _>>()?;
    if hosts.len() < 2 {
        return Err("a key is for a pair: name two hosts or more".to_owned());
    }
    let (mut names, mut ids) = (BTreeSet::new(), BTreeMap::new());
    for host in &hosts {
        if !names.insert(&host.name) {
            return Err(format!("two hosts are called {}", host.name));
        }
        for id in &host.ids {
            if let Some(other) = ids.insert(id, &host.name) {
                return Err(format!("{id} is listed for {other} and for {}", host.name));
            }
        }
    }
    Ok(hosts)
}

fn read_host(word: &str) -> Result<Host, String> {
    let (name, ids) = word.split_once('=').unwrap_or((word, word));
    let name = file_name(name)?.to_owned();
    let ids: Vec<String> = ids.split(',').map(|id| read_id(id, word)).collect::<Result<_, _>>()?;
    Ok(Host { name, ids })
}

/// An identity as psk.txt lists it; an address in the form in which the daemon looks for it.
fn read_id(id: &str, word: &str) -> Result<String, String> {
    if let Ok(address) = id.parse::<std::net::IpAddr>() {
        return Ok(address.to_string());
    }
    let is_plain = id.bytes().all(|octet| octet.is_ascii_graphic());
    // `*` would be for everybody, and a `#` begins a comment.
    if id.is_empty() || !is_plain || id.starts_with('#') || id == "*" {
        return Err(format!("{word:?}: {id:?} cannot be listed in psk.txt"));
    }
    Ok(id.to_owned())
}

fn write_mesh(out: &Path, hosts: &[Host], rng: &mut Rng) -> Result<String, String> {
    let mut files: Vec<Zeroizing<String>> = hosts
        .iter()
        .map(|host| {
            Zeroizing::new(format!("# Pre-shared keys of {}: one for each pair of hosts.\n", host.name))
        })
        .collect();
    for (at, host) in hosts.iter().enumerate() {
        for (behind, peer) in hosts.iter().enumerate().skip(at + 1) {
            let key = strong_psk(rng);
            for (number, listed) in [(at, peer), (behind, host)] {
                let Some(file) = files.get_mut(number) else { continue };
                for id in &listed.ids {
                    push(file, &[id, " ", text_of(&key), "\n"]);
                }
            }
        }
    }
    let directory = FreshDirectory::new(out)?;
    let mut said = String::new();
    for (host, file) in hosts.iter().zip(&files) {
        let name = Path::new(&host.name).join("psk.txt");
        directory.add(&name, file.as_bytes(), SECRET)?;
        said += &format!("{}\n", out.join(name).display());
    }
    directory.commit()?;
    Ok(said)
}

/// Appends without leaving copies of keys behind when the text grows.
fn push(text: &mut Zeroizing<String>, parts: &[&str]) {
    let needed: usize = parts.iter().map(|part| part.len()).sum();
    if text.capacity() - text.len() < needed {
        let mut larger =
            Zeroizing::new(String::with_capacity((text.capacity() * 2).max(text.len() + needed)));
        larger.push_str(text);
        *text = larger;
    }
    parts.iter().for_each(|part| text.push_str(part));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{names_in, scratch_dir};
    use coati_config::files::Disk;
    use coati_config::psk::{self, PskFile};

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn load(path: &Path) -> PskFile {
        let (file, said) = psk::load(path, &Disk, true);
        assert_eq!(said.to_string(), "");
        file.unwrap()
    }

    #[test]
    fn one_key_is_printed() {
        let text = run(&Arguments { hosts: Vec::new(), out: None }).unwrap();
        assert_eq!(text.len(), 53);
        assert_ne!(text, run(&Arguments { hosts: Vec::new(), out: None }).unwrap());
    }

    #[test]
    fn each_pair_has_a_key_of_its_own_listed_under_every_address() {
        let dir = scratch_dir("psk-mesh");
        let hosts = words(&["a=192.0.2.1,198.51.100.1", "b=192.0.2.2,2001:DB8::2", "c.example.org"]);
        let said = run(&Arguments { hosts, out: Some(dir.join("keys")) }).unwrap();
        assert_eq!(said.lines().count(), 3);
        assert_eq!(names_in(&dir.join("keys")), ["a", "b", "c.example.org"]);
        let file = |name: &str| load(&dir.join("keys").join(name).join("psk.txt"));
        let (a, b, c) = (file("a"), file("b"), file("c.example.org"));
        let key = |file: &PskFile, id: &str| file.lookup(id).unwrap().duplicate();
        assert_eq!(key(&a, "192.0.2.2"), key(&b, "192.0.2.1"));
        assert_eq!(key(&a, "2001:db8::2"), key(&b, "198.51.100.1"));
        assert_eq!(key(&a, "c.example.org"), key(&c, "198.51.100.1"));
        assert_ne!(key(&a, "192.0.2.2"), key(&a, "c.example.org"));
        assert_ne!(key(&b, "192.0.2.1"), key(&b, "c.example.org"));
        assert!(a.lookup("192.0.2.1").is_none(), "its own address has no key");
    }

    #[test]
    fn keys_are_never_overwritten() {
        let dir = scratch_dir("psk-again");
        let arguments = Arguments { hosts: words(&["a", "b"]), out: Some(dir.join("keys")) };
        run(&arguments).unwrap();
        let before = std::fs::read(dir.join("keys/a/psk.txt")).unwrap();
        assert!(run(&arguments).unwrap_err().contains("is there already"));
        assert_eq!(std::fs::read(dir.join("keys/a/psk.txt")).unwrap(), before);
        assert_eq!(names_in(&dir), ["keys"]);
    }

    #[test]
    fn hosts_that_cannot_be_meant_are_refused() {
        for (hosts, why) in [
            (&["a"][..], "two hosts or more"),
            (&["a", "a"], "two hosts are called a"),
            (&["a=192.0.2.1", "b=192.0.2.1"], "192.0.2.1 is listed for a and for b"),
            (&["a=2001:db8::1", "b=2001:DB8:0::1"], "2001:db8::1 is listed for a and for b"),
            (&["a", "b=*"], "cannot be listed"),
            (&["a", "b="], "cannot be listed"),
            (&["a", "b=x y"], "cannot be listed"),
            (&["a", "../b"], "cannot be the name of a file"),
            (&["a", "=192.0.2.1"], "cannot be the name of a file"),
        ] {
            let error = read_hosts(&words(hosts)).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}

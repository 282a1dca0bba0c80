//! `coati convert`: from racoon's files to a coati.toml.

use std::path::PathBuf;

use clap::Args;
use coati_config::diag::Diagnostics;
use coati_config::files::{Disk, Files as _};
use coati_config::language::Language;
use coati_config::native::{Originals, convert};
use coati_config::setkey::{FwdCopies, PolicySet};
use coati_config::{psk, racoon, setkey};

use crate::fresh::{FreshFiles, PUBLIC};

/// What is converted, and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// racoon.conf, psk.txt and setkey's files, in the order in which they are loaded; what is left out is left out of the
    /// coati.toml too. Keys stay where they are.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// A file to write, which must not be there; without it, stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Converts the files.
///
/// # Errors
/// What is wrong with them, or why nothing was written.
pub(crate) fn run(arguments: &Arguments) -> Result<String, String> {
    let mut said = Diagnostics::new();
    let (mut config, mut psk_txt) = (None, None);
    let mut policies = Vec::new();
    for path in &arguments.files {
        // In the coati.toml, which may be elsewhere, the names of files must be whole.
        let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let shown = path.display();
        let octets = Disk.read(&path).map_err(|error| format!("cannot read {shown}: {error}"))?.1;
        let language = Language::of(&path, &zeroize::Zeroizing::new(octets));
        match language.ok_or_else(|| format!("{shown}: neither name nor words tell its language"))? {
            Language::Racoon => {
                let (read, more) = racoon::load(&path, &Disk);
                said.append(more);
                if config.is_some() {
                    return Err(format!("{shown}: a second racoon.conf"));
                }
                config = read;
            }
            Language::Psk => {
                said.append(psk::load(&path, &Disk, false).1);
                if psk_txt.replace(path.clone()).is_some() {
                    return Err(format!("{shown}: a second psk.txt"));
                }
            }
            Language::Setkey => {
                let (read, more) = setkey::load([&path], &Disk);
                said.append(more);
                policies.extend(read.unwrap_or_default());
            }
            Language::Native => return Err(format!("{shown} is a coati.toml already")),
        }
    }
    said.append(PolicySet::of(&policies, FwdCopies::Made).1);
    if said.has_errors() {
        return Err(format!("nothing is converted, for the files have errors:\n{}", said.render(false)));
    }
    let originals =
        Originals { racoon: config.as_ref(), psk_txt: psk_txt.as_deref(), policies: &policies, said: &said };
    let text = convert(&originals)?;
    match &arguments.out {
        None => Ok(text),
        Some(out) => {
            let mut files = FreshFiles::new();
            files.add(out.clone(), text.as_bytes(), PUBLIC)?;
            files.commit()?;
            Ok(format!("{}  `coati check` it, then `coatid -f` it\n", out.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{names_in, scratch_dir};
    use coati_config::native;
    use std::fs;
    use std::path::Path;

    fn example(file: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../examples/mesh/box01/{file}"))
    }

    #[test]
    fn a_mesh_is_converted_and_reads_its_keys_where_they_were() {
        let dir = scratch_dir("convert-mesh");
        let (psk_txt, out) = (dir.join("psk.txt"), dir.join("coati.toml"));
        crate::fresh::replace(&psk_txt, &fs::read(example("psk.txt")).unwrap(), 0o600).unwrap();
        let files = vec![example("racoon.conf"), psk_txt, example("ipsec-tools.conf")];
        let arguments = Arguments { files: files.clone(), out: Some(out.clone()) };
        run(&arguments).unwrap();
        let (config, said) = native::load(&out, &Disk);
        let config = config.unwrap_or_else(|| panic!("{said}"));
        assert_eq!(config.psks.entries().len(), 4);
        assert_eq!(config.policies.unwrap().policies.len(), 14 + 7);
        let text = fs::read_to_string(&out).unwrap();
        assert_eq!(run(&Arguments { files, out: None }).unwrap(), text);
        assert!(run(&arguments).unwrap_err().contains("is there already"));
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
        assert!(!text.contains("9d507d3c"), "no key");
    }

    #[test]
    fn a_file_that_a_coati_toml_cannot_name_is_an_error() {
        let dir = scratch_dir("convert-octets");
        let (file, out) = (dir.join("racoon.conf"), dir.join("coati.toml"));
        fs::write(&file, b"path certificate \"/M\xfcller\";\n").unwrap();
        let said = run(&Arguments { files: vec![file], out: Some(out) }).unwrap_err();
        assert!(said.contains("a coati.toml is UTF-8 and cannot name `/M\u{fffd}ller`"), "{said}");
        assert_eq!(names_in(&dir), ["racoon.conf"]);
    }

    #[test]
    fn files_with_errors_are_not_converted() {
        let dir = scratch_dir("convert-errors");
        let (bad, out) = (dir.join("racoon.conf"), dir.join("coati.toml"));
        fs::write(&bad, "remote anonymous { }\n").unwrap();
        let said = run(&Arguments { files: vec![bad.clone()], out: Some(out) }).unwrap_err();
        assert!(said.contains("this remote has no `proposal`"), "{said}");
        assert_eq!(names_in(&dir), ["racoon.conf"]);
        for (files, why) in [
            (vec![example("racoon.conf"), example("racoon.conf")], "a second racoon.conf"),
            (vec![dir.join("none")], "cannot read"),
        ] {
            let said = run(&Arguments { files, out: None }).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}

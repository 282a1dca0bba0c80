//! `cargo xtask corpus DIR`: what Coati makes of files in racoon's languages, one JSON object a line and file, so that
//! another judge can compare it with what the files say. `docs/corpus.md` describes the objects.

mod psk;
mod racoon;
mod setkey;

use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use clap::Args;
use coati_config::diag::Place;
use coati_config::files::{Disk, FileFacts, Files};
use coati_config::language::Language;
use interop_tests::ensure;
use interop_tests::failure::{Context, Result};
use serde_json::{Value, json};

/// Files of the system that name protocols and services: the only ones outside the folder that are read.
const SYSTEM_FILES: [&str; 2] = ["/etc/protocols", "/etc/services"];

/// What Coati makes of files in racoon's languages: one JSON object a line and file.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder; files in it and below it are read, those that end in .md excepted.
    directory: PathBuf,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let root = &arguments.directory;
    ensure!(root.is_dir(), "{} is no folder", root.display());
    let mut names = Vec::new();
    walk(root, Path::new(""), &mut names)?;
    names.sort();
    let files = Folder::at(root)?;
    let mut out = io::stdout().lock();
    for name in names {
        let line = judge(&name, &files)?;
        writeln!(out, "{line}").context(|| "cannot write".to_owned())?;
    }
    Ok(())
}

/// Files below `root`, by their names relative to it.
fn walk(root: &Path, below: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    let directory = root.join(below);
    let entries = fs::read_dir(&directory).context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry.context(|| format!("cannot read {}", directory.display()))?;
        let name = below.join(entry.file_name());
        let kind = entry.file_type().context(|| format!("cannot read {}", directory.display()))?;
        if kind.is_dir() {
            walk(root, &name, names)?;
        } else if name.extension().is_none_or(|extension| extension != "md") {
            names.push(name);
        }
    }
    Ok(())
}

/// One file's line.
fn judge(name: &Path, files: &Folder) -> Result<Value> {
    let (_, octets) = files.read(name).context(|| format!("cannot read {}", name.display()))?;
    // What says nothing at all is a psk.txt without a line.
    let language = Language::in_folders(name, &octets).unwrap_or(Language::Psk);
    let shown = name.display().to_string();
    let (model, said) = match language {
        Language::Racoon => {
            let (config, said) = coati_config::racoon::parse(name, &octets, files);
            (config.as_ref().map(racoon::model), said)
        }
        Language::Setkey => {
            let (file, said) = coati_config::setkey::parse(&shown, &octets, files);
            (file.map(setkey::model), said)
        }
        Language::Psk => {
            let (file, said) = coati_config::psk::parse(&shown, &octets);
            (file.as_ref().map(psk::model), said)
        }
        // Coati's own language has no other judge: its diagnostics are shown, and no model.
        Language::Native => (None, coati_config::native::parse(name, &octets, files).1),
    };
    Ok(json!({
        "path": shown,
        "language": language.name(),
        "verdict": said.verdict(),
        "errors": said.errors(),
        "warnings": said.warnings(),
        "diagnostics": said.to_json(),
        "model": model,
    }))
}

/// `file:line:column`.
fn place(place: &Place) -> Value {
    Value::String(place.to_string())
}

/// A file's name; what is no UTF-8 in it is replaced.
fn name_of(path: impl AsRef<Path>) -> Value {
    Value::String(path.as_ref().to_string_lossy().into_owned())
}

/// The folder's own files by relative names, and what every machine has: the verdicts do not depend on this one.
struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder by its whole name: what is found in it begins with that, whichever way it was written.
    fn at(root: &Path) -> Result<Self> {
        let root = fs::canonicalize(root).context(|| format!("cannot find {}", root.display()))?;
        Ok(Self { root })
    }
}

impl Files for Folder {
    fn read(&self, path: &Path) -> io::Result<(FileFacts, Vec<u8>)> {
        if path.is_absolute() {
            return match path.to_str() {
                Some(known) if SYSTEM_FILES.contains(&known) => Disk.read(path),
                _ => Err(io::Error::new(io::ErrorKind::NotFound, "there are no files outside the folder")),
            };
        }
        Disk.read(&self.root.join(path))
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<PathBuf>> {
        if Path::new(pattern).is_absolute() {
            return Ok(Vec::new());
        }
        let root = glob::Pattern::escape(&self.root.display().to_string());
        let found = Disk.glob(&format!("{root}/{pattern}"))?;
        Ok(found.iter().filter_map(|path| path.strip_prefix(&self.root).ok()).map(Path::to_owned).collect())
    }

    fn home(&self, _user: &str) -> Option<PathBuf> {
        Some("/root".into())
    }

    fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        match host {
            "localhost" => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            _ => Err(io::Error::new(io::ErrorKind::NotFound, "names of hosts are not looked up here")),
        }
    }

    fn effective_uid(&self) -> u32 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(name: &str, text: &str) -> Language {
        Language::in_folders(Path::new(name), text.as_bytes()).unwrap()
    }

    #[test]
    fn a_language_is_known_by_folder_then_name_then_words() {
        assert_eq!(language("a/psk/racoon.conf", "remote"), Language::Psk);
        assert_eq!(language("psk/setkey/x", ""), Language::Setkey);
        assert_eq!(language("box01/racoon.conf", "spdadd"), Language::Racoon);
        assert_eq!(language("box01/ipsec-tools.conf", ""), Language::Setkey);
        assert_eq!(language("box01/psk.txt", ""), Language::Psk);
        assert_eq!(language("x", "#!/x\nflush;\nspdadd a b any;\n"), Language::Setkey);
        assert_eq!(language("x", "\tpath include \"x\";\nremote anonymous{\n"), Language::Racoon);
        assert_eq!(language("x", "192.0.2.1 key\n"), Language::Psk);
    }

    /// The project's own files: beside each the line that it gives, laid out for people. They are written anew with
    /// `UPDATE_CORPUS=1 cargo test -p xtask the_projects_own`.
    #[test]
    fn the_projects_own_files_give_what_is_written_beside_them() {
        let root = crate::run::root().unwrap().join("crates/config/tests/data");
        let mut names = Vec::new();
        walk(&root, Path::new(""), &mut names).unwrap();
        names.retain(|name| name.extension().is_none_or(|extension| extension != "json"));
        assert!(names.len() > 8, "{names:?}");
        let files = Folder::at(&root).unwrap();
        for name in names {
            let found = judge(&name, &files).unwrap();
            let beside = root.join(&name).with_added_extension("json");
            if std::env::var_os("UPDATE_CORPUS").is_some() {
                fs::write(&beside, format!("{found:#}\n")).unwrap();
                continue;
            }
            let written: Value = serde_json::from_str(&fs::read_to_string(&beside).unwrap()).unwrap();
            assert!(
                found == written,
                "{} is not what {} says; it is\n{found:#}",
                name.display(),
                beside.display()
            );
        }
    }

    #[test]
    fn a_name_that_is_no_text_is_shown_all_the_same() {
        let root = std::env::temp_dir().join(format!("coati-corpus-octets-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        fs::write(root.join("racoon.conf"), b"path certificate \"/M\xfcller\";\n").unwrap();
        let line = judge(Path::new("racoon.conf"), &Folder::at(&root).unwrap());
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(line.unwrap()["model"]["path"]["certificate"], "/M\u{fffd}ller");
    }

    #[test]
    fn a_folder_is_the_same_whichever_way_it_is_named() {
        for root in [".", "./", "./src/..", "../xtask"] {
            let found = Folder::at(Path::new(root)).unwrap().glob("src/corpus/*.rs").unwrap();
            let names =
                ["psk", "racoon", "setkey"].map(|name| PathBuf::from(format!("src/corpus/{name}.rs")));
            assert_eq!(found, names, "{root}");
        }
    }

    #[test]
    fn a_folder_is_judged_file_by_file_without_its_machine() {
        let root = std::env::temp_dir().join(format!("coati-corpus-{}", std::process::id()));
        fs::create_dir_all(root.join("racoon/d")).unwrap();
        fs::write(root.join("racoon/a.conf"), "include \"d/*.conf\";\ninclude \"/etc/hostname\";\n").unwrap();
        fs::write(root.join("racoon/d/b.conf"), "log debug;\n").unwrap();
        fs::write(root.join("racoon/README.md"), "x").unwrap();
        fs::write(root.join("psk.txt"), "192.0.2.1 secret-sesame-word\n").unwrap();
        let mut names = Vec::new();
        walk(&root, Path::new(""), &mut names).unwrap();
        names.sort();
        let files = Folder::at(&root).unwrap();
        let lines: Vec<Value> = names.iter().map(|name| judge(name, &files).unwrap()).collect();
        fs::remove_dir_all(&root).unwrap();
        let shown: Vec<_> =
            lines.iter().map(|line| (&line["path"], &line["language"], &line["verdict"])).collect();
        let expected = [
            (json!("psk.txt"), json!("psk"), json!("warnings")),
            (json!("racoon/a.conf"), json!("racoon"), json!("refused")),
            (json!("racoon/d/b.conf"), json!("racoon"), json!("accepted")),
        ];
        let expected: Vec<_> = expected.iter().map(|(a, b, c)| (a, b, c)).collect();
        assert_eq!(shown, expected);
        assert_eq!(lines[1]["diagnostics"][0]["line"], 2);
        assert_eq!(lines[2]["model"]["log"], "debug");
        assert!(!format!("{lines:?}").contains("sesame"));
    }
}

//! `coati check`: what is wrong with configuration files, before a daemon reads them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use coati_config::diag::{Diagnostic, Diagnostics, Severity};
use coati_config::files::{Disk, Files};
use coati_config::language::Language;
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use coati_config::{native, psk, racoon, setkey};
use serde_json::{Value, json};

use crate::Printed;

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// racoon.conf, psk.txt, setkey's files, coati.toml: by their names, else by their words.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Weak algorithms are errors. (They are never used, but replaced.)
    #[arg(long)]
    strict: bool,
    /// As JSON: one object for each file.
    #[arg(long)]
    json: bool,
    /// The language of all files, where neither name nor words tell it.
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    language: Option<LanguageName>,
    /// Tunnels, which the daemon does not key, are warnings.
    #[arg(long)]
    ignore_tunnel: bool,
}

/// Languages by name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LanguageName {
    /// racoon.conf
    Racoon,
    /// ipsec-tools.conf
    Setkey,
    /// psk.txt
    Psk,
    /// coati.toml
    Coati,
}

impl From<LanguageName> for Language {
    fn from(name: LanguageName) -> Self {
        match name {
            LanguageName::Racoon => Self::Racoon,
            LanguageName::Setkey => Self::Setkey,
            LanguageName::Psk => Self::Psk,
            LanguageName::Coati => Self::Native,
        }
    }
}

/// One file and what is said of it.
struct Checked<'a> {
    path: &'a Path,
    language: Option<Language>,
    said: Diagnostics,
}

/// Checks the files.
pub(crate) fn run(arguments: &Arguments) -> Printed {
    let language = arguments.language.map(Language::from);
    let mut checked: Vec<Checked<'_>> =
        arguments.files.iter().map(|path| check(path, language, arguments.ignore_tunnel, &Disk)).collect();
    for file in checked.iter_mut().filter(|_| arguments.strict) {
        file.said = core::mem::take(&mut file.said).with_weak_as_errors();
    }
    let success = !checked.iter().any(|file| file.said.has_errors());
    let text = match arguments.json {
        true => format!("{:#}\n", Value::Array(checked.iter().map(object).collect())),
        false => checked.iter().map(|file| text(file, std::io::stdout().is_terminal())).collect(),
    };
    Printed { text, success }
}

fn check<'a>(
    path: &'a Path,
    language: Option<Language>,
    ignore_tunnel: bool,
    files: &dyn Files,
) -> Checked<'a> {
    let refused = |message: String| {
        let mut said = Diagnostics::new();
        said.push(Diagnostic::about_file(Severity::Error, &path.display().to_string(), message));
        Checked { path, language: None, said }
    };
    let known = match (language, files.read(path)) {
        (_, Err(error)) => return refused(format!("cannot read it: {error}")),
        (Some(language), _) => Some(language),
        (None, Ok((_, octets))) => Language::of(path, &zeroize::Zeroizing::new(octets)),
    };
    let Some(language) = known else {
        return refused("neither name nor words tell its language: say it with --language".to_owned());
    };
    let said = match language {
        Language::Racoon => racoon::load(path, files).1,
        Language::Psk => psk::load(path, files, true).1,
        Language::Setkey => {
            let (read, mut said) = setkey::load([path], files);
            if let Some(read) = read {
                said.append(policies(&PolicySet::of(&read, FwdCopies::Made), ignore_tunnel));
            }
            said
        }
        Language::Native => {
            let (config, mut said) = native::load(path, files);
            if let Some(set) = config.and_then(|config| config.policies) {
                said.append(check_keyable(&set.policies, ignore_tunnel));
            }
            said
        }
    };
    Checked { path, language: Some(language), said }
}

fn policies((set, said): &(PolicySet, Diagnostics), ignore_tunnel: bool) -> Diagnostics {
    let mut all = said.clone();
    all.append(check_keyable(&set.policies, ignore_tunnel));
    all
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn text(file: &Checked<'_>, styled: bool) -> String {
    let language = file.language.map(|language| format!(" ({})", language.name())).unwrap_or_default();
    let (errors, warnings) = (counted(file.said.errors(), "error"), counted(file.said.warnings(), "warning"));
    format!("{}{}{language}: {errors}, {warnings}\n", file.said.render(styled), file.path.display())
}

fn object(file: &Checked<'_>) -> Value {
    let diagnostics: Vec<Value> = file
        .said
        .iter()
        .map(|said| {
            json!({
                "severity": said.severity.to_string(),
                "file": &*said.place.file,
                "line": said.place.line,
                "column": said.place.column,
                "message": said.message,
                "help": said.help,
            })
        })
        .collect();
    json!({
        "path": file.path.display().to_string(),
        "language": file.language.map(Language::name),
        "verdict": file.said.verdict(),
        "errors": file.said.errors(),
        "warnings": file.said.warnings(),
        "diagnostics": diagnostics,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;
    use std::fs;

    const REMOTE: &str = "remote anonymous { exchange_mode main; proposal { encryption_algorithm 3des; hash_algorithm sha256; authentication_method pre_shared_key; dh_group modp2048; } }\n";

    fn checked(files: &[PathBuf], strict: bool) -> (Vec<Value>, bool) {
        let files = files.to_vec();
        let arguments = Arguments { files, strict, json: true, language: None, ignore_tunnel: false };
        let Printed { text, success } = run(&arguments);
        (serde_json::from_str(&text).unwrap(), success)
    }

    #[test]
    fn every_language_is_checked_and_everything_is_said() {
        let dir = scratch_dir("check-all");
        let at = |name: &str, text: &str| {
            let path = dir.join(name);
            crate::fresh::replace(&path, text.as_bytes(), 0o600).unwrap();
            path
        };
        let files = [
            at("racoon.conf", REMOTE),
            at("psk.txt", "192.0.2.2 weak\n"),
            at(
                "rules",
                "flush;\nspdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/tunnel/192.0.2.1-192.0.2.2/require;\n",
            ),
            at("coati.toml", "local = \"192.0.2.1\"\n[peer.x]\naddres = \"192.0.2.2\"\n"),
            at("mystery", "what\n"),
            dir.join("none"),
        ];
        let (objects, success) = checked(&files, false);
        assert!(!success);
        let shown: Vec<(String, String, String)> = objects
            .iter()
            .map(|object| {
                let said = object["diagnostics"][0]["message"].as_str().unwrap_or_default().to_owned();
                (object["language"].to_string(), object["verdict"].to_string(), said)
            })
            .collect();
        let expected = [
            ("\"racoon\"", "\"warnings\"", "`exchange_mode` has no meaning"),
            ("\"psk\"", "\"warnings\"", "is weak"),
            ("\"setkey\"", "\"refused\"", "Coati does not key tunnels yet"),
            ("\"coati\"", "\"refused\"", "this peer has no `address`"),
            ("null", "\"refused\"", "neither name nor words"),
            ("null", "\"refused\"", "cannot read it"),
        ];
        for (found, (language, verdict, said)) in shown.iter().zip(expected) {
            assert_eq!((&*found.0, &*found.1), (language, verdict), "{found:?}");
            assert!(found.2.contains(said), "{found:?}");
        }
        assert_eq!(objects[3]["diagnostics"][1]["line"], 3);
        assert_eq!(objects[3]["diagnostics"][1]["help"], "did you mean `address`?");
    }

    #[test]
    fn weak_algorithms_are_errors_if_one_is_strict_and_other_warnings_are_not() {
        let dir = scratch_dir("check-strict");
        let (weak, sound) = (dir.join("racoon-weak.conf"), dir.join("racoon-sound.conf"));
        fs::write(&weak, REMOTE).unwrap();
        fs::write(&sound, REMOTE.replace("3des", "aes")).unwrap();
        assert!(checked(core::slice::from_ref(&weak), false).1);
        assert!(checked(core::slice::from_ref(&sound), true).1);
        let (objects, success) = checked(&[weak], true);
        assert!(!success);
        assert_eq!(objects[0]["errors"], 1);
        let severities: Vec<_> =
            objects[0]["diagnostics"].as_array().unwrap().iter().map(|said| &said["severity"]).collect();
        assert_eq!(severities, ["warning", "error"]);
    }

    #[test]
    fn the_text_shows_the_line_and_counts() {
        let dir = scratch_dir("check-text");
        let path = dir.join("coati.toml");
        fs::write(&path, "lokal = 1\n").unwrap();
        let arguments =
            Arguments { files: vec![path], strict: false, json: false, language: None, ignore_tunnel: false };
        let text = run(&arguments).text;
        assert!(text.contains("1 | lokal = 1\n  | ^^^^^"), "{text}");
        assert!(text.ends_with("coati.toml (coati): 1 error, 0 warnings\n"), "{text}");
    }
}

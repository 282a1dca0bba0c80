//! `coati check`: what is wrong with configuration files, before a daemon reads them.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use coati_config::diag::{Diagnostic, Diagnostics, Note, Severity};
use coati_config::files::{Disk, Files};
use coati_config::language::Language;
use coati_config::setkey::{FwdCopies, PolicySet, check_keyable};
use coati_config::{native, psk, racoon, setkey};
use serde_json::{Value, json};

use crate::Printed;

/// What is checked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// racoon.conf, psk.txt, setkey's files, coati.toml: by their names, else by their words. Beside one racoon.conf, setkey's
    /// files are its policies: each needs a remote, a sainfo and a key.
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
    /// Each file by itself: not what it names (keys, certificates, scripts), as for files of another host.
    #[arg(long)]
    alone: bool,
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

/// A configuration that a daemon might be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// racoon.conf or coati.toml.
    pub configuration: PathBuf,
    /// setkey's files.
    pub policies: Vec<PathBuf>,
    /// Tunnels are warnings.
    pub ignore_tunnel: bool,
}

/// What the daemon would say of a configuration with all that it names, before it starts.
pub type AsDaemon = fn(&Candidate) -> Diagnostics;

/// One file and what is said of it.
struct Checked<'a> {
    path: &'a Path,
    language: Option<Language>,
    said: Diagnostics,
}

/// Checks the files.
pub(crate) fn run(arguments: &Arguments, as_daemon: AsDaemon) -> Printed {
    let language = arguments.language.map(Language::from);
    let mut checked: Vec<Checked<'_>> =
        arguments.files.iter().map(|path| check(path, language, arguments.ignore_tunnel, &Disk)).collect();
    if !arguments.alone {
        check_together(&mut checked, arguments.ignore_tunnel, as_daemon);
    }
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

/// Adds what only the daemon finds: of a configuration, all that it names; of policies, what their traffic wants.
fn check_together(checked: &mut [Checked<'_>], ignore_tunnel: bool, as_daemon: AsDaemon) {
    let of = |language: Language| {
        let is_it = move |file: &&Checked<'_>| file.language == Some(language);
        checked.iter().filter(is_it).map(|file| file.path.to_owned()).collect::<Vec<_>>()
    };
    let (racoons, natives, setkeys) = (of(Language::Racoon), of(Language::Native), of(Language::Setkey));
    // Of several configurations nobody can say whose the policies are.
    let policies = if racoons.len() == 1 { setkeys } else { Vec::new() };
    let candidates = racoons
        .into_iter()
        .map(|configuration| (configuration, policies.clone()))
        .chain(natives.into_iter().map(|configuration| (configuration, Vec::new())));
    for (configuration, policies) in candidates {
        let mut more =
            as_daemon(&Candidate { configuration: configuration.clone(), policies, ignore_tunnel });
        for file in checked.iter_mut() {
            file.said.append_new(more.take_about(&file.path.display().to_string()));
        }
        // What is said of files that the configuration names stands with it.
        if let Some(file) = checked.iter_mut().find(|file| file.path == configuration) {
            file.said.append_new(more);
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn text(file: &Checked<'_>, styled: bool) -> String {
    let language = file.language.map(|language| format!(" ({})", language.name())).unwrap_or_default();
    let (errors, warnings) = (counted(file.said.errors(), "error"), counted(file.said.warnings(), "warning"));
    let path = file.path.display();
    format!("{}{}{path}{language}: {errors}, {warnings}\n", file.said.render(styled), noted(file))
}

/// What options mean now that do not mean quite what they meant.
fn noted(file: &Checked<'_>) -> String {
    let notes = file.said.notes();
    if notes.is_empty() {
        return String::new();
    }
    let lines: String = notes.iter().map(|note| format!("  {note}\n")).collect();
    format!("By their nearest meaning in IKEv2:\n{lines}\n")
}

fn object(file: &Checked<'_>) -> Value {
    json!({
        "path": file.path.display().to_string(),
        "language": file.language.map(Language::name),
        "verdict": file.said.verdict(),
        "errors": file.said.errors(),
        "warnings": file.said.warnings(),
        "diagnostics": file.said.to_json(),
        "nearest_meanings": file.said.notes().iter().map(Note::to_json).collect::<Value>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scratch_dir;
    use std::fs;

    const REMOTE: &str = "remote anonymous { exchange_mode main; proposal { encryption_algorithm 3des; hash_algorithm sha256; authentication_method pre_shared_key; dh_group modp2048; } }\n";

    fn arguments(files: &[PathBuf]) -> Arguments {
        let files = files.to_vec();
        Arguments { files, strict: false, json: true, language: None, ignore_tunnel: false, alone: false }
    }

    fn said_nothing(_: &Candidate) -> Diagnostics {
        Diagnostics::new()
    }

    fn objects(arguments: &Arguments, as_daemon: AsDaemon) -> (Vec<Value>, bool) {
        let Printed { text, success } = run(arguments, as_daemon);
        (serde_json::from_str(&text).unwrap(), success)
    }

    /// The path of a file with this text.
    fn written(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        crate::fresh::replace(&path, text.as_bytes(), 0o600).unwrap();
        path
    }

    fn checked(files: &[PathBuf], strict: bool) -> (Vec<Value>, bool) {
        objects(&Arguments { strict, ..arguments(files) }, said_nothing)
    }

    #[test]
    fn every_language_is_checked_and_everything_is_said() {
        let dir = scratch_dir("check-all");
        let at = |name: &str, text: &str| written(&dir, name, text);
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
        let text = run(&Arguments { json: false, ..arguments(&[path]) }, said_nothing).text;
        assert!(text.contains("1 | lokal = 1\n  | ^^^^^"), "{text}");
        assert!(text.ends_with("coati.toml (coati): 1 error, 0 warnings\n"), "{text}");
    }
    #[test]
    fn nearest_meanings_are_listed_with_their_place_and_are_no_warnings() {
        let dir = scratch_dir("check-notes");
        let path = dir.join("racoon.conf");
        let text = "remote anonymous { exchange_mode main;\n  dpd_delay 20; dpd_delay 30;\n  proposal { encryption_algorithm aes; hash_algorithm sha256; authentication_method pre_shared_key; dh_group 14; } }\n";
        fs::write(&path, text).unwrap();
        let (objects, _) = checked(core::slice::from_ref(&path), false);
        assert_eq!(objects[0]["warnings"], 1, "{objects:?}");
        let notes = objects[0]["nearest_meanings"].as_array().unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        let expected = (&json!("dpd_delay 20"), &json!("remote"), &json!(2), &json!(3));
        assert_eq!(
            (&notes[0]["option"], &notes[0]["block"], &notes[0]["line"], &notes[0]["column"]),
            expected
        );
        let text =
            run(&Arguments { json: false, ..arguments(core::slice::from_ref(&path)) }, said_nothing).text;
        let line = format!(
            "\nBy their nearest meaning in IKEv2:\n  {}:2:3: dpd_delay 20: a peer is asked ",
            path.display()
        );
        assert!(text.contains(&line), "{text}");
    }

    #[test]
    fn what_the_daemon_finds_stands_with_the_file_it_is_about_and_once() {
        let dir = scratch_dir("check-together");
        let at = |name: &str, text: &str| written(&dir, name, text);
        let files = [
            at("racoon.conf", REMOTE),
            at("ipsec-tools.conf", "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;\n"),
        ];
        fn daemon(candidate: &Candidate) -> Diagnostics {
            let mut said = racoon::load(&candidate.configuration, &Disk).1;
            let names = candidate.policies.iter().map(|path| (path.display().to_string(), "no key"));
            let names: Vec<_> = names.chain([("/etc/psk.txt".to_owned(), "cannot read it")]).collect();
            for (name, message) in names {
                said.push(Diagnostic::about_file(Severity::Error, &name, message));
            }
            said
        }
        let messages = |object: &Value| -> Vec<String> {
            let said = object["diagnostics"].as_array().unwrap().iter();
            said.map(|said| said["message"].as_str().unwrap().to_owned()).collect()
        };
        let (together, success) = objects(&arguments(&files), daemon);
        assert!(!success);
        let of_racoon = messages(&together[0]);
        assert_eq!((of_racoon.len(), &*of_racoon[2]), (3, "cannot read it"), "{of_racoon:?}");
        assert_eq!(messages(&together[1]), ["no key"]);
        let (alone, success) = objects(&Arguments { alone: true, ..arguments(&files) }, daemon);
        assert!(success);
        assert_eq!((messages(&alone[0]).len(), messages(&alone[1]).len()), (2, 0));
        // Whose the policies are is not known of two configurations.
        let two = [files[0].clone(), at("racoon2.conf", REMOTE), files[1].clone()];
        assert_eq!(messages(&objects(&arguments(&two), daemon).0[2]), [""; 0]);
    }
}

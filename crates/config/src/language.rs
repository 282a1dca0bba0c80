//! Which of the languages a file is in: by its name, else by its words.

use std::path::{Component, Path};

/// A language of configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// racoon.conf.
    Racoon,
    /// setkey's: ipsec-tools.conf.
    Setkey,
    /// psk.txt.
    Psk,
    /// coati.toml.
    Native,
}

impl Language {
    /// The name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Racoon => "racoon",
            Self::Setkey => "setkey",
            Self::Psk => "psk",
            Self::Native => "coati",
        }
    }

    /// By the file's name, else by the first words of its lines; nothing if neither says it.
    #[must_use]
    pub fn of(path: &Path, octets: &[u8]) -> Option<Self> {
        if crate::native::is_native(path) {
            return Some(Self::Native);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Self::by_name(&name).or_else(|| Self::by_words(&String::from_utf8_lossy(octets)))
    }

    /// As [`Language::of`], but for a collection of files: the innermost folder that is named for a language comes first.
    #[must_use]
    pub fn in_folders(path: &Path, octets: &[u8]) -> Option<Self> {
        let folders = path.parent().into_iter().flat_map(Path::components).rev();
        let named = folders.filter_map(|component| match component {
            Component::Normal(folder) => Self::by_name(&folder.to_string_lossy()),
            _ => None,
        });
        named.into_iter().next().or_else(|| Self::of(path, octets))
    }

    /// By what a file, or a folder of files, is called.
    fn by_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if has(&["psk", "pre_shared_key"]) {
            Some(Self::Psk)
        } else if has(&["setkey", "ipsec-tools", "spd"]) {
            Some(Self::Setkey)
        } else if has(&["racoon"]) {
            Some(Self::Racoon)
        } else {
            None
        }
    }

    fn by_words(text: &str) -> Option<Self> {
        const RACOON: &[&str] = &[
            "remote", "sainfo", "path", "listen", "timer", "padding", "include", "privsep", "log",
            "mode_cfg", "proposal",
        ];
        const SETKEY: &[&str] = &[
            "spdadd",
            "spdflush",
            "spdupdate",
            "spddelete",
            "flush",
            "spddump",
            "dump",
            "add",
            "delete",
            "deleteall",
            "get",
        ];
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let count = |words: &[&str]| {
            let first = |line: &str| {
                let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
                word.is_some_and(|word| words.contains(&word))
            };
            lines().filter(|line| first(line)).count()
        };
        match (count(RACOON), count(SETKEY)) {
            (0, 0) => {
                let is_pair = |line: &str| line.split_whitespace().count() >= 2;
                (lines().next().is_some() && lines().all(is_pair)).then_some(Self::Psk)
            }
            (racoon, setkey) if racoon >= setkey => Some(Self::Racoon),
            _ => Some(Self::Setkey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_its_name_else_by_its_words() {
        let of = |name: &str, text: &str| Language::of(Path::new(name), text.as_bytes());
        assert_eq!(of("/etc/racoon/racoon.conf", "spdadd"), Some(Language::Racoon));
        assert_eq!(of("/etc/racoon/psk.txt", ""), Some(Language::Psk));
        assert_eq!(of("ipsec-tools.conf", ""), Some(Language::Setkey));
        assert_eq!(of("x.toml", "remote"), Some(Language::Native));
        assert_eq!(of("a.conf", "#!/usr/sbin/setkey -f\nflush;\nspdadd a b any;\n"), Some(Language::Setkey));
        assert_eq!(of("a.conf", "\tpath include \"x\";\nremote anonymous{\n"), Some(Language::Racoon));
        assert_eq!(of("keys", "# mine\n192.0.2.1 key\n"), Some(Language::Psk));
        assert_eq!(of("x", "what\n"), None);
        assert_eq!(of("x", ""), None);
    }
}

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

    /// By the file's usual name, by statements of one language, by words in its name, or by the first words of its lines: what comes
    /// first; nothing if none says it.
    #[must_use]
    pub fn of(path: &Path, octets: &[u8]) -> Option<Self> {
        if crate::native::is_native(path) {
            return Some(Self::Native);
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = String::from_utf8_lossy(octets);
        Self::by_usual_name(&name)
            .or_else(|| Self::by_statements(&text))
            .or_else(|| Self::by_name(&name))
            .or_else(|| Self::by_words(&text))
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

    /// By a name that daemons and scripts look for.
    fn by_usual_name(name: &str) -> Option<Self> {
        match name {
            "racoon.conf" => Some(Self::Racoon),
            "ipsec-tools.conf" | "setkey.conf" => Some(Self::Setkey),
            "psk.txt" => Some(Self::Psk),
            _ => None,
        }
    }

    /// By what no file of another language has: blocks of racoon's, policies of setkey's.
    fn by_statements(text: &str) -> Option<Self> {
        const BLOCKS: &[&str] = &["remote", "sainfo", "listen", "timer", "padding", "privsep", "mode_cfg"];
        const POLICIES: &[&str] = &["spdadd", "spdupdate", "spddelete"];
        let has = |words: &[&str], mark: char| {
            lines(text).any(|line| words.contains(&first_word(line)))
                && lines(text).any(|line| line.contains(mark))
        };
        match (has(BLOCKS, '{'), has(POLICIES, ';')) {
            (true, false) => Some(Self::Racoon),
            (false, true) => Some(Self::Setkey),
            _ => None,
        }
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
        let count = |words: &[&str]| lines(text).filter(|line| words.contains(&first_word(line))).count();
        match (count(RACOON), count(SETKEY)) {
            (0, 0) => {
                let is_pair = |line: &str| line.split_whitespace().count() >= 2;
                (lines(text).next().is_some() && lines(text).all(is_pair)).then_some(Self::Psk)
            }
            (racoon, setkey) if racoon >= setkey => Some(Self::Racoon),
            _ => Some(Self::Setkey),
        }
    }
}

/// Lines that say something, without the blanks around them.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn first_word(line: &str) -> &str {
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
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

    #[test]
    fn statements_outweigh_a_name_that_is_not_the_usual_one() {
        let of = |name: &str, text: &str| Language::of(Path::new(name), text.as_bytes());
        let (block, policy) =
            ("# x\nremote anonymous\n{\n\tpassive on;\n}\n", "spdadd ::1 ::2 any\n -P in none;\n");
        assert_eq!(of("racoon-psk.conf", block), Some(Language::Racoon));
        assert_eq!(of("remote/psk-peers.conf", "remote 192.0.2.1 { passive on; }\n"), Some(Language::Racoon));
        assert_eq!(of("ipsec-tools.d/psk-site.conf", policy), Some(Language::Setkey));
        assert_eq!(of("racoon-policies.conf", policy), Some(Language::Setkey));
        assert_eq!(of("spd-peers.conf", block), Some(Language::Racoon));
        // The usual names say what the daemons read the file as, whatever stands in it.
        assert_eq!(of("racoon.conf", policy), Some(Language::Racoon));
        assert_eq!(of("/etc/ipsec-tools.conf", block), Some(Language::Setkey));
        assert_eq!(of("psk.txt", block), Some(Language::Psk));
        // Words that may be identities, or that stand in a file of both kinds, say nothing.
        assert_eq!(of("psk-site", "remote sesame\nadd key;\n"), Some(Language::Psk));
        assert_eq!(of("racoon-both.conf", &format!("{block}{policy}")), Some(Language::Racoon));
    }
}

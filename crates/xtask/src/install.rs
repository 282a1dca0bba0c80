//! `cargo xtask install`: the program, its names, units, manual pages, completions.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;
use interop_tests::failure::{Context, Result};
use interop_tests::{ensure, fail};

use crate::{run, screen};

/// What the one program is called besides.
const NAMES: [&str; 4] = ["coatid", "racoon", "racoonctl", "setkey"];

const WARNING: &str = "\
Before you remove racoon's packages (racoon, ipsec-tools): their removal runs `setkey -FP`, which deletes every policy of the
kernel, so that traffic passes in clear, and ends racoon, which flushes every SA. Stop their services first, and load the
policies again afterwards:

    systemctl disable --now racoon.service          # racoon's own
    (remove the packages, then install Coati again: they had the same file names)
    systemctl daemon-reload
    systemctl enable --now setkey.service racoon.service

racoon speaks IKEv1 only: a pair whose other end still runs it has no keys until that end has moved too. How a fleet moves without
a gap is in docs/racoon-migration.md.
";

/// Puts the program, its links, units, manual pages and completions in place.
#[derive(Args)]
pub(crate) struct Arguments {
    /// In front of every path: what is installed goes below it.
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Where it is going to be found.
    #[arg(long, value_name = "DIR", default_value = "/usr")]
    prefix: PathBuf,
    /// Installs the debug build.
    #[arg(long)]
    debug: bool,
}

/// The command.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.prefix.is_absolute(), "--prefix {} is no absolute path", arguments.prefix.display());
    let program = build(arguments.debug)?;
    let installed = install(&run::root()?, &program, &arguments.destdir, &arguments.prefix)?;
    installed.iter().for_each(|path| println!("{}", screen::faint(&format!("  {}", path.display()))));
    println!("\n{WARNING}");
    println!("{}", screen::good(&format!("{} files and links installed", installed.len())));
    Ok(())
}

fn build(debug: bool) -> Result<PathBuf> {
    if debug {
        let built = run::build(&["coati"])?;
        return built.into_iter().next().context(|| "nothing was built".to_owned());
    }
    run::build_release("coati", "coati")
}

/// Where things go.
struct Places {
    root: PathBuf,
    destdir: PathBuf,
    prefix: PathBuf,
    installed: Vec<PathBuf>,
}

impl Places {
    fn place(&self, name: &str) -> PathBuf {
        let prefix = self.prefix.strip_prefix("/").unwrap_or(&self.prefix);
        self.destdir.join(prefix).join(name)
    }

    /// Writes a file that others may read, never into one that is there: what runs from it goes on.
    fn write(&mut self, name: &str, octets: &[u8], mode: u32) -> Result<()> {
        let path = self.place(name);
        let directory = path.parent().context(|| format!("{} has no directory", path.display()))?;
        fs::create_dir_all(directory).context(|| format!("cannot make {}", directory.display()))?;
        let fresh = path.with_extension("coati-new");
        fs::write(&fresh, octets).context(|| format!("cannot write {}", fresh.display()))?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(mode))
            .context(|| format!("cannot change {}", fresh.display()))?;
        fs::rename(&fresh, &path).context(|| format!("cannot put {} in place", path.display()))?;
        self.installed.push(path);
        Ok(())
    }

    fn link(&mut self, name: &str, target: &str) -> Result<()> {
        let path = self.place(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                fail!("cannot replace {}: {error}", path.display())
            }
            _ => {}
        }
        symlink(target, &path).context(|| format!("cannot link {}", path.display()))?;
        self.installed.push(path);
        Ok(())
    }

    /// The files of a directory of the source tree, by name.
    fn sources(&self, directory: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let directory = self.root.join(directory);
        let entries = fs::read_dir(&directory).context(|| format!("cannot read {}", directory.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.context(|| format!("cannot read {}", directory.display()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, fs::read(&path).context(|| format!("cannot read {}", path.display()))?));
        }
        files.sort();
        Ok(files)
    }
}

/// Installs a built program below `destdir`; gives what it wrote.
fn install(root: &Path, program: &Path, destdir: &Path, prefix: &Path) -> Result<Vec<PathBuf>> {
    let mut places = Places {
        root: root.to_owned(),
        destdir: destdir.to_owned(),
        prefix: prefix.to_owned(),
        installed: Vec::new(),
    };
    let octets = fs::read(program).context(|| format!("cannot read {}", program.display()))?;
    places.write("sbin/coati", &octets, 0o755)?;
    for name in NAMES {
        places.link(&format!("sbin/{name}"), "coati")?;
    }
    let sbin = prefix.join("sbin").display().to_string();
    for (name, text) in places.sources("packaging/systemd")? {
        let text = String::from_utf8_lossy(&text).replace("@SBIN@", &sbin);
        places.write(&format!("lib/systemd/system/{name}"), text.as_bytes(), 0o644)?;
    }
    for (name, text) in places.sources("packaging/man")? {
        let section = name.rsplit('.').next().unwrap_or_default().to_owned();
        places.write(&format!("share/man/man{section}/{name}"), &text, 0o644)?;
    }
    manuals_and_completions(&mut places)?;
    for name in ["racoon.conf", "psk.txt", "ipsec-tools.conf"] {
        let path = root.join("examples/mesh/box01").join(name);
        let text = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        // Its keys are an example's: anybody may read them.
        places.write(&format!("share/doc/coati/examples/{name}"), &text, 0o644)?;
    }
    Ok(places.installed)
}

/// What clap knows of the commands that are its own.
fn manuals_and_completions(places: &mut Places) -> Result<()> {
    for command in [coati_cli::command(), coati_daemon::cli::command()] {
        let name = command.get_name().to_owned();
        for (name, command) in std::iter::once((name.clone(), command.clone())).chain(
            command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(|sub| {
                let name = format!("{name}-{}", sub.get_name());
                (name.clone(), sub.clone().name(name))
            }),
        ) {
            let mut page = Vec::new();
            let manual = clap_mangen::Man::new(command.disable_help_subcommand(true)).section("8");
            manual.render(&mut page).context(|| format!("cannot write the page of {name}"))?;
            places.write(&format!("share/man/man8/{name}.8"), &page, 0o644)?;
        }
        for (shell, file) in [
            (Shell::Bash, format!("share/bash-completion/completions/{name}")),
            (Shell::Zsh, format!("share/zsh/vendor-completions/_{name}")),
            (Shell::Fish, format!("share/fish/vendor_completions.d/{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command.clone(), &name, &mut text);
            places.write(&file, &text, 0o644)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The debug build is installed and run by each of its names.
    #[test]
    fn what_is_installed_runs_by_each_of_its_names() {
        let destdir = std::env::temp_dir().join(format!("coati-install-{}", std::process::id()));
        let program = build(true).unwrap();
        let root = run::root().unwrap();
        // Twice: an installation takes the place of another.
        install(&root, &program, &destdir, Path::new("/opt/coati")).unwrap();
        let installed = install(&root, &program, &destdir, Path::new("/opt/coati")).unwrap();
        let sbin = destdir.join("opt/coati/sbin");
        for (name, argument, code, said) in [
            ("coati", "--version", 0, "coati "),
            ("coatid", "--version", 0, "coatid "),
            ("racoon", "-V", 0, "Coati "),
            ("setkey", "-h", 1, "Usage: setkey "),
            ("racoonctl", "frobnicate", 1, "Invalid command [frobnicate]"),
            ("racoonctl", "-x", 0, "racoonctl [opts] show-sa"),
        ] {
            let output = Command::new(sbin.join(name)).arg(argument).output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert_eq!(output.status.code(), Some(code), "{name}: {text}");
            assert!(text.contains(said), "{name}: {text}");
        }
        for path in &installed {
            assert!(path.starts_with(destdir.join("opt/coati")), "{}", path.display());
            let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let expected = if path.starts_with(&sbin) { 0o755 } else { 0o644 };
            assert_eq!(mode, expected, "{}", path.display());
        }
        let units = destdir.join("opt/coati/lib/systemd/system");
        for (unit, line) in [
            ("racoon.service", "ExecStart=/opt/coati/sbin/racoon -F $RACOON_ARGS"),
            ("coatid.service", "ExecStart=/opt/coati/sbin/coatid $COATID_ARGS"),
            ("coatid-beside-racoon.service", "ExecStart=/opt/coati/sbin/coatid --beside-racoon $COATID_ARGS"),
            ("setkey.service", "exec /opt/coati/sbin/setkey \"$@\""),
        ] {
            let text = fs::read_to_string(units.join(unit)).unwrap();
            assert!(!text.contains("@SBIN@") && text.contains(line), "{unit}: {text}");
        }
        let man = destdir.join("opt/coati/share/man");
        for page in
            ["man8/coati.8", "man8/coatid.8", "man8/racoon.8", "man8/racoonctl.8", "man5/racoon.conf.5"]
        {
            assert!(fs::read_to_string(man.join(page)).unwrap().contains(".SH"), "{page}");
        }
        fs::remove_dir_all(&destdir).unwrap();
    }
}

//! `setkey`: loads SAs and policies, removes them, and prints them, as ipsec-tools' setkey did, but by XFRM netlink.
//!
//! What differs: errors go to stderr and make the exit code 1; a file changes all that it says or nothing; `spdflush`
//! followed by the same policies touches none of them, so that no packet passes in clear meanwhile.

mod carry_out;
mod dump_sa;
mod dump_spd;
mod manual;
mod monitor;
mod names;
mod options;
mod scene;
mod script;
mod watch;

use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::path::Path;
use std::process::ExitCode;

use coati_config::diag::{Diagnostics, Severity};
use coati_config::files::{Disk, Files, LARGEST_FILE};
use coati_config::setkey::model::Command;
use coati_config::setkey::parse;
use xfrm_sys::{Client, Errno, Error, Protocol, Xfrm};
use zeroize::Zeroizing;

use carry_out::{Failure, carry_out};
use options::{Options, Task};
use script::{Said, Script, unsupported};

pub use dump_sa::{Ports, dump_sas, sas_text};
pub use dump_spd::{SocketPolicies, dump_policies, policies_text, policy_line};
pub use scene::Scene;

/// The longest piece of a file that an error repeats, in characters.
const LONGEST_QUOTE: usize = 40;

const HELP: &str = "\
Usage: setkey [-knrv] -f FILE ...     run the commands of files; - is the standard input
       setkey [-knrv] -c              run commands from the standard input
       setkey [-aNlpv] -D [-P]        print the SAs (with -P: the policies)
       setkey [-v] -F [-P]            delete all SAs (with -P: all policies)
       setkey -x | -H                 print what happens to SAs and policies, until interrupted
       setkey -h | -V                 print this; print the version

  -D  print SAs, newest first, keys included: the text that scripts parse
  -F  delete SAs; a running coatid makes new ones
  -P  with -D and -F: policies instead of SAs
  -f  may be given several times; the files are one list of commands
  -c  on a terminal, each command is carried out when its `;` is typed
  -N  with -DP: without the policies of sockets
  -p  with -D: ports with every address
  -l  with -D: one line an SA, again every second
  -a  with -D: dead SAs too (Linux keeps none)
  -r  each `in` policy is accompanied by an equal `fwd` policy (the default)
  -k  no `fwd` copies
  -n  check only: the kernel is told nothing, root is not needed
  -v  say what is done
  -x  as -xx and -H: one line an event; the kernel has no PF_KEY messages to show

Commands: add, get, delete, deleteall, flush, dump, spdadd, spdupdate, spddelete, spdflush, spddump, exit.
A file is checked whole before anything changes. A file with an error changes nothing, and so does one that the kernel
refuses: what was done is taken back. Policies that are there and wanted are not touched, `spdflush` or not: nothing
passes in clear while a file is loaded again.
`hmac-sha256` is truncated to 96 bits, as setkey's was on Linux; write `hmac-sha256-128` for RFC 4868's 128 bits.
A coatid without --policy follows the policies that it finds in the kernel; one with --policy puts those of its own files back.
All is done by XFRM netlink; security labels (-ctx), esp-old, ah-old and tcp are refused.

Exit code: 0, or 1 if a command failed, and with -h and -V.
";

/// Where text comes from and goes to.
pub(crate) struct Terminal<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) input: &'a mut dyn BufRead,
    /// Somebody types.
    pub(crate) interactive: bool,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) err: &'a mut dyn Write,
    /// Errors are shown with colours.
    pub(crate) styled: bool,
    /// The time and place to print, if not the present ones.
    pub(crate) scene: Option<Scene>,
}

impl Terminal<'_> {
    pub(crate) fn scene(&self) -> Scene {
        self.scene.clone().unwrap_or_else(|| Scene::current(self.files))
    }
}

/// Runs setkey with these arguments, the program's name in front.
#[must_use]
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let (mut input, mut out, mut err) = (io::stdin().lock(), io::stdout().lock(), io::stderr());
    let mut terminal = Terminal {
        files: &Disk,
        interactive: input.is_terminal(),
        styled: err.is_terminal(),
        input: &mut input,
        out: &mut out,
        err: &mut err,
        scene: None,
    };
    match run(arguments.into_iter().skip(1), &mut terminal, Client::open) {
        Ok(true) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`) is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Ok(false) | Err(_) => ExitCode::FAILURE,
    }
}

/// Whether all went well.
///
/// # Errors
/// Nobody is there to read what is printed.
fn run<X: Xfrm>(
    arguments: impl IntoIterator<Item = OsString>,
    terminal: &mut Terminal<'_>,
    open: impl Fn() -> Result<X, Error>,
) -> io::Result<bool> {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(why) => {
            write!(terminal.err, "setkey: {why}\n\n{HELP}")?;
            return Ok(false);
        }
    };
    for idle in &options.idle {
        writeln!(terminal.err, "setkey: warning: {idle}")?;
    }
    let session = Session { options: &options, open };
    match &options.task {
        Task::Help => write!(terminal.out, "{HELP}").map(|()| false),
        Task::Version => {
            writeln!(terminal.out, "setkey of coati {}", env!("CARGO_PKG_VERSION")).map(|()| false)
        }
        Task::Files(files) => session.files(files, terminal),
        Task::Input if terminal.interactive => session.typed(terminal),
        Task::Input => session.input(terminal),
        _ if options.dry => Ok(true),
        Task::Dump => session.dump(terminal),
        Task::Flush => session.flush(terminal),
        Task::Monitor => monitor::monitor(terminal),
    }
}

struct Session<'a, F> {
    options: &'a Options,
    open: F,
}

impl<X: Xfrm, F: Fn() -> Result<X, Error>> Session<'_, F> {
    fn files(&self, names: &[OsString], terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let mut commands = Vec::new();
        let mut sound = true;
        for name in names {
            let read = match name.to_str() {
                Some("-") => read_all(terminal.input),
                _ => terminal.files.read(Path::new(name)).map(|(_, octets)| Zeroizing::new(octets)),
            };
            let shown = name.to_string_lossy();
            match read {
                Ok(octets) => match commands_of(&shown, &octets, terminal)? {
                    Some(more) => commands.extend(more),
                    None => sound = false,
                },
                Err(error) => {
                    writeln!(terminal.err, "setkey: cannot read {}: {error}", shown.escape_debug())?;
                    sound = false;
                }
            }
        }
        if sound { self.carry_out(&commands, terminal) } else { Ok(false) }
    }

    fn input(&self, terminal: &mut Terminal<'_>) -> io::Result<bool> {
        self.files(&[OsString::from("-")], terminal)
    }

    /// Carries out each command when its `;` is typed.
    fn typed(&self, terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let mut all_well = true;
        let mut pending = Zeroizing::new(Vec::new());
        while let Some(line) = read_line(terminal.input)? {
            pending.extend_from_slice(&line);
            if !pending.contains(&b';') {
                continue;
            }
            let text = std::mem::replace(&mut pending, Zeroizing::new(Vec::new()));
            all_well &= match commands_of("-", &text, terminal)? {
                Some(commands) => self.carry_out(&commands, terminal)?,
                None => false,
            };
            if ends(&text) {
                return Ok(all_well);
            }
        }
        let rest = commands_of("-", &pending, terminal)?;
        Ok(rest.is_some_and(|rest| rest.is_empty()) && all_well)
    }

    fn carry_out(&self, commands: &[Command], terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let lacking: Vec<Said> = commands.iter().filter_map(unsupported).collect();
        if self.options.dry || !lacking.is_empty() || commands.is_empty() {
            say_results(&lacking, terminal)?;
            if !lacking.is_empty() {
                writeln!(terminal.err, "setkey: nothing was changed")?;
            }
            return Ok(lacking.is_empty());
        }
        let mut xfrm = match (self.open)() {
            Ok(xfrm) => xfrm,
            Err(error) => return say_error(&error, terminal),
        };
        let script = match Script::new(commands, self.options.copies, &mut xfrm) {
            Ok(script) => script,
            Err(error) => return say_error(&error, terminal),
        };
        say_results(&script.refused, terminal)?;
        if !script.refused.is_empty() {
            writeln!(terminal.err, "setkey: nothing was changed")?;
            return Ok(false);
        }
        say_results(&script.idle, terminal)?;
        if script.catches_neighbours {
            writeln!(
                terminal.err,
                "setkey: warning: these policies catch IPv6 neighbour discovery, without which hosts do not find each \
                 other: let ICMPv6 133 to 137 pass before them (coatid does so by itself for the files of --policy)"
            )?;
        }
        match carry_out(&script, self.options, &mut xfrm, terminal) {
            Ok(()) => Ok(script.idle.is_empty()),
            Err(Failure::Output(error)) => Err(error),
            Err(Failure::Kernel(refused)) => {
                match &refused.place {
                    Some(place) => {
                        writeln!(terminal.err, "The result of line {}: {}.", place.line, refused.result())?;
                        writeln!(terminal.err, "setkey: {place}: {}", refused.detail())?;
                    }
                    None => writeln!(terminal.err, "setkey: {}", refused.detail())?,
                }
                hint(&refused.error, terminal)
            }
        }
    }

    fn dump(&self, terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let mut xfrm = match (self.open)() {
            Ok(xfrm) => xfrm,
            Err(error) => return say_error(&error, terminal),
        };
        if self.options.repeat {
            return watch::repeat(&mut xfrm, terminal);
        }
        let (scene, ports) = (terminal.scene(), self.options.ports);
        let text = match self.options.policies {
            true => dump_policies(&mut xfrm, self.options.sockets, &scene, ports).map(Zeroizing::new),
            false => dump_sas(&mut xfrm, None, &scene, ports),
        };
        match text {
            Ok(text) => terminal.out.write_all(text.as_bytes()).map(|()| true),
            Err(error) => say_error(&error, terminal),
        }
    }

    fn flush(&self, terminal: &mut Terminal<'_>) -> io::Result<bool> {
        let result = (self.open)().and_then(|mut xfrm| match self.options.policies {
            true => xfrm.flush_policies(),
            false => xfrm.flush_sas(Protocol::IPSEC_ANY),
        });
        match result {
            Ok(()) => Ok(true),
            Err(error) => say_error(&error, terminal),
        }
    }
}

/// The commands of one text, or none if it has an error, which is said.
fn commands_of(name: &str, octets: &[u8], terminal: &mut Terminal<'_>) -> io::Result<Option<Vec<Command>>> {
    let (file, said) = parse(name, octets, terminal.files);
    terminal.err.write_all(said.render(terminal.styled).as_bytes())?;
    if file.is_none() {
        say_parse_failed(&said, terminal)?;
    }
    Ok(file.map(|file| file.commands))
}

/// setkey's own words for the first error.
fn say_parse_failed(said: &Diagnostics, terminal: &mut Terminal<'_>) -> io::Result<()> {
    if let Some(first) = said.iter().find(|diagnostic| diagnostic.severity == Severity::Error) {
        let (line, text) = (first.place.line, first.quote(LONGEST_QUOTE).unwrap_or_default());
        writeln!(terminal.err, "line {line}: {} at [{text}]\nparse failed, line {line}.", first.message)?;
    }
    Ok(())
}

fn say_results(results: &[Said], terminal: &mut Terminal<'_>) -> io::Result<()> {
    for Said { place, result, detail } in results {
        writeln!(terminal.err, "The result of line {}: {result}.", place.line)?;
        if let Some(detail) = detail {
            writeln!(terminal.err, "setkey: {place}: {detail}")?;
        }
    }
    Ok(())
}

pub(crate) fn say_error(error: &Error, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    writeln!(terminal.err, "setkey: {error}")?;
    hint(error, terminal)
}

fn hint(error: &Error, terminal: &mut Terminal<'_>) -> io::Result<bool> {
    if error.errno() == Some(Errno::EPERM) {
        writeln!(terminal.err, "setkey: run it as root: CAP_NET_ADMIN is needed")?;
    }
    Ok(false)
}

fn read_all(input: &mut dyn BufRead) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut octets = Zeroizing::new(Vec::new());
    input.take(LARGEST_FILE + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > LARGEST_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 64 MiB"));
    }
    Ok(octets)
}

/// One line with its end, or none at the end of the input.
fn read_line(input: &mut dyn BufRead) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::new());
    input.read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then_some(line))
}

/// Whether what was typed ends with `exit`, `quit` or `bye`.
fn ends(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let last = text.trim_end().trim_end_matches(';').rsplit([';', '\n']).next().unwrap_or_default();
    matches!(last.trim(), "exit" | "quit" | "bye")
}

#[cfg(test)]
mod tests;

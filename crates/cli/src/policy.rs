//! `coati policy plan` and `coati policy sync`: the policies of setkey's files and those of the kernel.
//!
//! Whose a policy is, the files say, as they do for `coatid --policy`: files that begin with `flush; spdflush;` own the whole
//! main database but the policies of sockets, and what they do not name is deleted. Other files own what they name, and
//! all else is shown as old and left alone. SAs are never touched.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use coati_config::diag::{Diagnostic, Diagnostics, Place, Severity};
use coati_config::files::{Disk, Files};
use coati_config::setkey::model::{Action, PolicyFile};
use coati_config::setkey::{self, FwdCopies, PolicySet};
use coati_spd::{Kind, Plan, Summary, Wanted};
use serde::Serialize;
use xfrm_sys::{Client, Direction, Errno, Error, Policy, Xfrm};

use crate::setkey::policy_line;

/// The files of Debian's setkey service.
const FILE: &str = "/etc/ipsec-tools.conf";
const MORE_FILES: &str = "/etc/ipsec-tools.d/*.conf";

/// `plan` would change something.
const DIFFERENT: u8 = 2;

#[derive(Debug, Subcommand)]
#[expect(missing_docs, reason = "each has the text that people read with --help")]
pub enum Command {
    /// Says what `sync` would do. Exit code 0: nothing; 2: something; 1: the files or the kernel are in the way.
    Plan(Arguments),
    /// Changes what differs, in place where it can, and nothing else: first what closes, then what opens, deletions last. If
    /// the kernel refuses a step, all is taken back. Exit code 0: the kernel has what the files say; 1: it has what it had.
    Sync(Arguments),
}

/// Which files, and how to tell.
#[derive(Debug, Args)]
#[command(
    after_help = "Files that begin with `flush; spdflush;` own every policy of the kernel's main database, those of sockets left \
                  out: what they do not name is deleted. Any other files own only what they name. SAs are not touched, \
                  `add` and `flush` are not carried out: that is for `setkey -f`. Policies that coatid made for a \
                  peer (`generate_policy`) are left alone. IPv6 neighbour discovery is kept out of IPsec by policies that no file names, as coatid does. A coatid without --policy follows what it finds in the kernel; \
                  one with --policy loads its files itself: tell it by `coati reload`."
)]
pub struct Arguments {
    /// A file of policies in setkey's language; may be given several times. Without any: /etc/ipsec-tools.conf and
    /// /etc/ipsec-tools.d/*.conf, as far as they are there.
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
#[must_use]
pub fn main(command: &Command) -> ExitCode {
    let mut out = io::stdout().lock();
    let (arguments, is_sync) = match command {
        Command::Plan(arguments) => (arguments, false),
        Command::Sync(arguments) => (arguments, true),
    };
    let result = run(arguments, is_sync, &Disk, &mut out, &mut io::stderr(), Client::open);
    match result {
        Ok(code) => ExitCode::from(code),
        // A reader that has seen enough (`| head`) is no failure; what was to be done is done.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Returns the exit code.
///
/// # Errors
/// Nobody is there to read what is printed.
fn run<X: Xfrm>(
    arguments: &Arguments,
    is_sync: bool,
    files: &dyn Files,
    out: &mut dyn Write,
    err: &mut dyn Write,
    open: impl FnOnce() -> Result<X, Error>,
) -> io::Result<u8> {
    let styled = io::stderr().is_terminal();
    let (loaded, said) = load(&arguments.file, files);
    err.write_all(said.render(styled).as_bytes())?;
    let Some(loaded) = loaded else {
        writeln!(err, "coati: the policies are refused; nothing was changed")?;
        return Ok(1);
    };
    let dumped = open().and_then(|mut xfrm| xfrm.dump_policies().map(|present| (xfrm, present)));
    let (mut xfrm, mut present) = match dumped {
        Ok(dumped) => dumped,
        Err(error) => return say_error(&error, err),
    };
    present.retain(|policy| !coati_spd::is_made(policy));
    let wanted = coati_spd::wanted(&loaded.set, &present);
    let plan = Plan::new(&wanted, &present, loaded.set.replaces, &[]);
    let done = match is_sync {
        false => None,
        true => match plan.apply(&mut xfrm) {
            Ok(summary) => Some(summary),
            Err(failed) => {
                writeln!(err, "coati: {failed}")?;
                return Ok(1);
            }
        },
    };
    let report = Report::new(&loaded, &wanted, &present, &plan, done);
    match arguments.json {
        true => writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?,
        false => out.write_all(report.text().as_bytes())?,
    }
    Ok(if is_sync || plan.is_empty() { 0 } else { DIFFERENT })
}

fn say_error(error: &Error, err: &mut dyn Write) -> io::Result<u8> {
    let help = match error.errno() {
        Some(Errno::EPERM) => " (run it as root: CAP_NET_ADMIN is needed)",
        _ => "",
    };
    writeln!(err, "coati: {error}{help}").map(|()| 1)
}

/// What the files say.
struct Loaded {
    names: Vec<String>,
    set: PolicySet,
    /// How many policies are written, their copies not counted.
    written: usize,
}

fn load(named: &[PathBuf], files: &dyn Files) -> (Option<Loaded>, Diagnostics) {
    let mut said = Diagnostics::new();
    let paths = match named {
        [] => default_files(files),
        named => named.to_vec(),
    };
    if paths.is_empty() {
        let message = format!("neither {FILE} nor {MORE_FILES} is there: name the files with --file");
        said.push(Diagnostic::about_file(Severity::Error, FILE, message));
        return (None, said);
    }
    let (read, more) = setkey::load(&paths, files);
    said.append(more);
    let Some(read) = read else { return (None, said) };
    said.append(say_unplayed(&read));
    let (set, more) = PolicySet::of(&read, FwdCopies::Made);
    said.append(more);
    if said.has_errors() {
        return (None, said);
    }
    let written = PolicySet::of(&read, FwdCopies::NotMade).0.policies.len();
    let names = read.iter().map(|file| file.name.clone()).collect();
    (Some(Loaded { names, set, written }), said)
}

/// Those of the usual files that are there.
fn default_files(files: &dyn Files) -> Vec<PathBuf> {
    let is_there =
        |path: &Path| !files.read(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let first = Some(PathBuf::from(FILE)).filter(|path| is_there(path));
    first.into_iter().chain(files.glob(MORE_FILES).unwrap_or_default()).collect()
}

/// What `setkey -f` would do, and this does not.
fn say_unplayed(files: &[PolicyFile]) -> Diagnostics {
    let mut said = Diagnostics::new();
    for command in files.iter().flat_map(|file| &file.commands) {
        let label = match &command.action {
            Action::SpdAdd(policy) | Action::SpdUpdate(policy) => policy.selector.context.is_some(),
            Action::SpdDelete(selector) => selector.context.is_some(),
            _ => false,
        };
        let place = command.place.clone();
        if label {
            let message = "security labels (`-ctx`) are not supported";
            said.push(Diagnostic::about_place(Severity::Error, place, message));
        } else if matches!(command.action, Action::Add(_) | Action::Delete(_) | Action::DeleteAll { .. }) {
            let message = "SAs are not touched here";
            said.push(
                Diagnostic::about_place(Severity::Warning, place, message).help("`setkey -f` loads them"),
            );
        }
    }
    said
}

/// What is told.
#[derive(Debug, Serialize)]
struct Report {
    kernel: InKernel,
    files: InFiles,
    /// Whether the files own what they do not name.
    replaces: bool,
    changed: Vec<Line>,
    new: Vec<Line>,
    /// In the kernel, and named by no file.
    old: Vec<Line>,
    /// What was done; nothing for a plan.
    done: Option<Done>,
}

/// Policies in the kernel, those of sockets left out.
#[derive(Debug, Serialize)]
struct InKernel {
    /// `fwd` copies included.
    policies: usize,
    /// IPsec between two hosts, `in` and `out`.
    point_to_point: usize,
}

#[derive(Debug, Serialize)]
struct InFiles {
    names: Vec<String>,
    /// As written.
    policies: usize,
    /// `fwd` copies included.
    with_copies: usize,
}

/// One policy, in setkey's words.
#[derive(Debug, Serialize)]
struct Line {
    policy: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

#[derive(Debug, Serialize)]
struct Done {
    added: usize,
    changed: usize,
    deleted: usize,
}

impl Report {
    fn new(
        loaded: &Loaded,
        wanted: &[Wanted],
        present: &[Policy],
        plan: &Plan,
        done: Option<Summary>,
    ) -> Self {
        let there: Vec<&Policy> = present.iter().filter(|policy| is_of_database(policy)).collect();
        let of_kind = |kind: Kind| {
            let planned = plan.changes().filter(move |planned| planned.kind == kind);
            planned.map(|planned| line(planned.policy, planned.before, planned.place)).collect()
        };
        let named: BTreeSet<_> =
            wanted.iter().map(|wanted| (wanted.policy.direction, wanted.policy.selector)).collect();
        let old: Vec<Line> = match loaded.set.replaces {
            true => of_kind(Kind::Deleted),
            false => {
                let unnamed =
                    there.iter().filter(|policy| !named.contains(&(policy.direction, policy.selector)));
                unnamed.map(|policy| line(policy, None, None)).collect()
            }
        };
        Self {
            kernel: InKernel {
                policies: there.len(),
                point_to_point: there.iter().filter(|policy| is_point_to_point(policy)).count(),
            },
            files: InFiles {
                names: loaded.names.clone(),
                policies: loaded.written,
                with_copies: loaded.set.policies.len(),
            },
            replaces: loaded.set.replaces,
            changed: of_kind(Kind::Changed),
            new: of_kind(Kind::Added),
            old,
            done: done.map(|Summary { added, updated, deleted }| Done { added, changed: updated, deleted }),
        }
    }

    fn text(&self) -> String {
        let mut text =
            format!("found in the kernel: {} policies, fwd copies included\n", self.kernel.policies);
        text += &format!("point-to-point of those: {}\n", self.kernel.point_to_point);
        for name in &self.files.names {
            text += &format!("loaded from: {}\n", name.escape_debug());
        }
        let InFiles { policies, with_copies, .. } = &self.files;
        text += &format!("found in files: {policies} policies, {with_copies} with their fwd copies\n");
        let kept = if self.replaces || self.old.is_empty() {
            ""
        } else {
            " (left alone: the files do not begin with `flush; spdflush;`)"
        };
        for (title, sign, lines, note) in
            [("changed", '~', &self.changed, ""), ("new", '+', &self.new, ""), ("old", '-', &self.old, kept)]
        {
            text += &format!("{title}: {}{note}\n", lines.len());
            for Line { policy, was, place } in lines {
                let was = was.as_ref().map(|was| format!(" (was {was})")).unwrap_or_default();
                let place = place.as_ref().map(|place| format!(" # {place}")).unwrap_or_default();
                text += &format!("  {sign} {policy}{was}{place}\n");
            }
        }
        if let Some(Done { added, changed, deleted }) = &self.done {
            text += &format!("done: {added} added, {changed} changed, {deleted} deleted\n");
        }
        text
    }
}

fn line(policy: &Policy, before: Option<&Policy>, place: Option<&Place>) -> Line {
    Line {
        policy: policy_line(policy),
        was: before.map(policy_line),
        place: place.map(|place| place.to_string()),
    }
}

/// Of the main database, and of no socket.
fn is_of_database(policy: &Policy) -> bool {
    !policy.direction.is_socket() && policy.is_main()
}

fn is_point_to_point(policy: &Policy) -> bool {
    policy.direction != Direction::FWD
        && !policy.templates.is_empty()
        && policy.selector.source.is_host()
        && policy.selector.destination.is_host()
}

#[cfg(test)]
mod tests;

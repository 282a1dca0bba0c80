//! The command line, as POSIX getopt reads it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use coati_config::setkey::FwdCopies;

use super::{Ports, SocketPolicies};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// `-f`: commands from files, in order; `-` is the standard input.
    Files(Vec<OsString>),
    /// `-c`: commands from the standard input.
    Input,
    /// `-D`.
    Dump,
    /// `-F`.
    Flush,
    /// `-x`, `-xx`, `-H`.
    Monitor,
    /// `-h`, `-?`, or nothing at all.
    Help,
    /// `-V`.
    Version,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) task: Task,
    /// `-P`: policies, not SAs.
    pub(super) policies: bool,
    /// `-p`.
    pub(super) ports: Ports,
    /// `-N`.
    pub(super) sockets: SocketPolicies,
    /// `-l`.
    pub(super) repeat: bool,
    /// `-k`, or the default, `-r`.
    pub(super) copies: FwdCopies,
    /// `-n`: the kernel is told nothing.
    pub(super) dry: bool,
    /// `-v`.
    pub(super) verbose: bool,
    /// `-H`: beside another task setkey showed PF_KEY messages too, of which there are none.
    hex: bool,
    /// What has no effect in this command line, for people.
    pub(super) idle: Vec<&'static str>,
}

impl Options {
    /// Reads what stands behind the program's name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut options = Self {
            task: Task::Help,
            policies: false,
            ports: Ports::WhereUsed,
            sockets: SocketPolicies::Shown,
            repeat: false,
            copies: FwdCopies::Made,
            dry: false,
            verbose: false,
            hex: false,
            idle: Vec::new(),
        };
        let mut tasks = Vec::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.as_bytes() {
                b"--help" => tasks.push(Task::Help),
                b"--version" => tasks.push(Task::Version),
                b"--" => {
                    if let Some(extra) = arguments.next() {
                        return Err(unexpected(&extra));
                    }
                }
                [b'-', letters @ ..] if !letters.is_empty() => {
                    options.letters(letters, &mut arguments, &mut tasks)?;
                }
                _ => return Err(unexpected(&argument)),
            }
        }
        if options.hex && tasks.is_empty() {
            tasks.push(Task::Monitor);
        }
        let (task, is_alone) = last_of(tasks);
        if !is_alone {
            options.idle.push("of -D, -F, -c, -f and -x the last one counts, as ever");
        }
        match (&task, options.policies) {
            (Task::Help, true) => return Err("-P goes with -D or -F".to_owned()),
            (Task::Files(_) | Task::Input | Task::Monitor, true) => {
                options.idle.push("-P has an effect with -D and -F only");
            }
            _ => {}
        }
        options.task = task;
        Ok(options)
    }

    fn letters(
        &mut self,
        letters: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
        tasks: &mut Vec<Task>,
    ) -> Result<(), String> {
        for (at, letter) in letters.iter().enumerate() {
            match letter {
                b'f' => {
                    let glued = letters.get(at + 1..).filter(|glued| !glued.is_empty());
                    let file = glued.map(|glued| OsString::from_vec(glued.to_vec())).or_else(|| rest.next());
                    tasks.push(Task::Files(vec![file.ok_or("-f wants the name of a file")?]));
                    return Ok(());
                }
                b'c' => tasks.push(Task::Input),
                b'D' => tasks.push(Task::Dump),
                b'F' => tasks.push(Task::Flush),
                b'x' => tasks.push(Task::Monitor),
                b'H' => self.hex = true,
                b'h' | b'?' => tasks.push(Task::Help),
                b'V' => tasks.push(Task::Version),
                b'P' => self.policies = true,
                b'p' => self.ports = Ports::Always,
                b'N' => self.sockets = SocketPolicies::Hidden,
                b'l' => self.repeat = true,
                b'r' => self.copies = FwdCopies::Made,
                b'k' => self.copies = FwdCopies::NotMade,
                b'n' => self.dry = true,
                b'v' => self.verbose = true,
                // Linux deletes an SA at once: none is ever in state dead.
                b'a' => {}
                other => return Err(format!("there is no option -{}", char::from(*other).escape_default())),
            }
        }
        Ok(())
    }
}

fn unexpected(argument: &OsStr) -> String {
    let name = argument.to_string_lossy();
    format!(
        "unexpected `{}`: files of commands are named by -f, and there are no PF_KEY messages to print",
        name.escape_debug()
    )
}

/// The task asked for, and whether it is the only one: the last one counts, files one behind the other add up, and a question
/// about setkey itself goes before all.
fn last_of(tasks: Vec<Task>) -> (Task, bool) {
    if let Some(question) = tasks.iter().find(|task| matches!(task, Task::Help | Task::Version)) {
        return (question.clone(), true);
    }
    let (mut last, mut is_alone) = (Task::Help, true);
    for task in tasks {
        match (&mut last, task) {
            (Task::Files(all), Task::Files(more)) => all.extend(more),
            (there, task) => {
                is_alone &= *there == Task::Help || *there == task;
                *there = task;
            }
        }
    }
    (last, is_alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    fn files(names: &[&str]) -> Task {
        Task::Files(names.iter().map(OsString::from).collect())
    }

    #[test]
    fn flags_stand_alone_or_together() {
        for (line, task, policies) in [
            ("-D", Task::Dump, false),
            ("-DP", Task::Dump, true),
            ("-PD", Task::Dump, true),
            ("-P -D", Task::Dump, true),
            ("-FP", Task::Flush, true),
            ("-F", Task::Flush, false),
            ("-c", Task::Input, false),
            ("-f a", files(&["a"]), false),
            ("-fa", files(&["a"]), false),
            ("-vkf a", files(&["a"]), false),
            ("-f -", files(&["-"]), false),
            ("-f a -f b", files(&["a", "b"]), false),
            ("-xx", Task::Monitor, false),
            ("-H -x", Task::Monitor, false),
            ("-H", Task::Monitor, false),
            ("-H -D", Task::Dump, false),
            ("-DH", Task::Dump, false),
            ("", Task::Help, false),
            ("-?", Task::Help, false),
            ("-V", Task::Version, false),
        ] {
            let options = parse(line).unwrap();
            assert_eq!((options.task, options.policies), (task, policies), "{line}");
        }
        let options = parse("-aDplNnvk").unwrap();
        assert_eq!(options.ports, Ports::Always);
        assert_eq!(options.sockets, SocketPolicies::Hidden);
        assert_eq!(options.copies, FwdCopies::NotMade);
        assert!(options.repeat && options.dry && options.verbose);
        assert_eq!(parse("-kr -D").unwrap().copies, FwdCopies::Made);
    }

    #[test]
    fn the_last_task_counts_and_what_has_no_effect_is_told() {
        let last = "of -D, -F, -c, -f and -x the last one counts, as ever";
        let policies = "-P has an effect with -D and -F only";
        for (line, task, idle) in [
            ("-F -f a", files(&["a"]), vec![last]),
            ("-FPf a", files(&["a"]), vec![last, policies]),
            ("-D -F", Task::Flush, vec![last]),
            ("-f a -c", Task::Input, vec![last]),
            ("-f a -D -f b -f c", files(&["b", "c"]), vec![last]),
            ("-Pf a", files(&["a"]), vec![policies]),
            ("-cP", Task::Input, vec![policies]),
            ("-xP", Task::Monitor, vec![policies]),
            ("-DD", Task::Dump, vec![]),
            ("-D -h -F", Task::Help, vec![]),
        ] {
            let options = parse(line).unwrap();
            assert_eq!((options.task, options.idle), (task, idle), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (line, expected) in [
            ("-q", "there is no option -q"),
            ("-f", "-f wants the name of a file"),
            ("-P", "-P goes with"),
            ("-D file", "unexpected `file`"),
            ("file", "unexpected `file`"),
            ("-D -- x", "unexpected `x`"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.contains(expected), "{line}: {said}");
        }
    }
}

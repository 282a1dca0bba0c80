//! What runs inside the kernel under test: each scenario in namespaces and a process of its own.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::scenario::{self, Scenario};
use crate::stage::Stage;
use crate::{process, wait};

/// What the launcher is told, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A scenario speaks to whoever watches.
    Said {
        /// The scenario.
        scenario: String,
        /// What it says.
        line: String,
    },
    /// A scenario has ended.
    Ended(Outcome),
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// `None` if it passed, else why not.
    pub failure: Option<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Event {
    /// Adds this event to the launcher's file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, file: &Path) -> Result<()> {
        let line = serde_json::to_string(self).context(|| "event".to_owned())? + "\n";
        let mut out = OpenOptions::new().create(true).append(true).open(file);
        out.as_mut()
            .map_err(|error| error.to_string())
            .and_then(|out| out.write_all(line.as_bytes()).map_err(|error| error.to_string()))
            .context(|| format!("cannot write {}", file.display()))
    }
}

/// Where the runner finds and leaves things.
#[derive(Debug, Clone)]
pub struct Places {
    /// The root of the source tree.
    pub root: PathBuf,
    /// One directory of logs a scenario goes below this.
    pub logs: PathBuf,
    /// Where `coatid` and `coati` are.
    pub programs: PathBuf,
    /// The launcher's file.
    pub events: PathBuf,
}

/// Runs scenarios by name, one after the other; each ends with an [`Event::Ended`] whatever it does. A name that comes again
/// after its failure is passed over: another run would empty its logs.
///
/// # Errors
/// When a name is unknown or the launcher cannot be told.
pub fn run(places: &Places, names: &[String]) -> Result<()> {
    let mut failed: Vec<&String> = Vec::new();
    for name in names {
        if failed.contains(&name) {
            continue;
        }
        let scenario = scenario::named(name).context(|| format!("there is no scenario {name:?}"))?;
        let begin = Instant::now();
        let failure = isolated(places, &scenario).err().map(|failure| failure.to_string());
        let seconds = begin.elapsed().as_secs_f64();
        failed.extend(failure.is_some().then_some(name));
        Event::Ended(Outcome { scenario: name.clone(), failure, seconds }).append(&places.events)?;
    }
    Ok(())
}

/// Runs one scenario in a child with its own network, mounts and process ids: when the child ends, so does everything
/// it started, and nothing it made is left.
fn isolated(places: &Places, scenario: &Scenario) -> Result<()> {
    let logs = places.logs.join(&scenario.name);
    if logs.exists() {
        fs::remove_dir_all(&logs).context(|| format!("cannot empty {}", logs.display()))?;
    }
    fs::create_dir_all(&logs).context(|| format!("cannot make {}", logs.display()))?;
    let log = File::create(logs.join("log.txt")).context(|| "cannot make log.txt".to_owned())?;
    let errors = log.try_clone().context(|| "cannot share log.txt".to_owned())?;
    let own = std::env::current_exe().context(|| "who am I".to_owned())?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(own)
        .arg("scenario")
        .arg(&scenario.name)
        .args(places.arguments());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .context(|| format!("cannot start {}", process::show(&command)))?;
    // It ends by itself when its time is up, unless the kernel keeps it from doing so.
    let ended = wait::until(scenario.limit + Duration::from_secs(10), "the scenario to end", || {
        child.try_wait().context(|| "cannot look after the scenario".to_owned())
    });
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => {
            let why = fs::read_to_string(logs.join("failure.txt"));
            Err(Failure::new(why.unwrap_or_else(|_| format!("it ended with {status}; see log.txt"))))
        }
        Err(late) => {
            // `--kill-child` takes the whole of its process namespace along.
            let _ = child.kill();
            let _ = child.wait();
            Err(late)
        }
    }
}

/// Plays one scenario; the caller's namespaces are its own.
///
/// # Errors
/// Why the scenario failed; it is also in failure.txt among its logs.
pub fn play(places: &Places, name: &str) -> Result<()> {
    let scenario = scenario::named(name).context(|| format!("there is no scenario {name:?}"))?;
    process::output(Command::new("mount").args(["-t", "tmpfs", "tmpfs", "/run"]))?;
    process::output(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let stage = Stage {
        name: name.to_owned(),
        logs: places.logs.join(name),
        root: places.root.clone(),
        programs: places.programs.clone(),
        events: places.events.clone(),
    };
    watch(&stage, scenario.limit);
    let played = (scenario.play)(&stage);
    match &played {
        Ok(()) => stage.keep(),
        Err(failure) => stage.keep_failure(&failure.to_string()),
    }
    played
}

/// Ends this process when the scenario's time is up, with everything about it kept.
fn watch(stage: &Stage, limit: Duration) {
    let stage = stage.clone();
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        stage.keep_failure(&format!("it did not end within {} s", limit.as_secs()));
        #[expect(clippy::exit, reason = "the scenario's own thread hangs; nothing else can end it")]
        std::process::exit(1);
    });
}

impl Places {
    /// These places as the guest program's arguments.
    pub fn arguments(&self) -> Vec<String> {
        let pairs = [
            ("--root", &self.root),
            ("--logs", &self.logs),
            ("--programs", &self.programs),
            ("--events", &self.events),
        ];
        pairs.iter().flat_map(|(name, path)| [(*name).to_owned(), path.display().to_string()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_file() {
        let event = Event::Ended(Outcome {
            scenario: "x".to_owned(),
            failure: Some("two\nlines".to_owned()),
            seconds: 1.5,
        });
        let line = serde_json::to_string(&event).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}

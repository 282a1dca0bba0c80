//! User-Mode Linux: a complete kernel as an ordinary process, with this machine's file system as its root.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::statvfs;
use nix::unistd::Pid;

use super::events::Follower;
use super::{Launcher, News, check_path, packages};
use crate::failure::{Context, Failure, Result};
use crate::guest::Places;
use crate::process;

const MEMORY_MIB: u64 = 2048;
/// Boot, modules and power-off, on a slow machine.
const AROUND: Duration = Duration::from_secs(120);

const INIT: &str = include_str!("init.sh");
/// See the file: without it this kernel does not run on processors with AMX.
const XSTATE: &str = include_str!("../../uml/xstate.c");

/// Boots the test kernel, runs the scenarios in it, and follows what they tell.
pub(super) fn run(
    launcher: &Launcher,
    places: &Places,
    names: &[String],
    limit: Duration,
    tell: &mut dyn FnMut(News),
) -> Result<()> {
    let out = &launcher.out;
    let limit = limit + AROUND;
    let init = write_init(launcher, places, names, limit)?;
    let exit_code = out.join("exit-code");
    let _ = fs::remove_file(&exit_code);
    let console = out.join("console.log");

    let mut kernel = Kernel::boot(out, &init, &console)?;
    let mut follower = Follower::new(&places.events);
    let end = Instant::now() + limit;
    loop {
        let ended = kernel.0.try_wait().context(|| "the test kernel".to_owned())?;
        follower.look(tell)?;
        if ended.is_some() {
            break;
        }
        if Instant::now() > end {
            crate::fail!("the test kernel was stopped after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    match fs::read_to_string(&exit_code).as_deref().map(str::trim) {
        Ok("0") => Ok(()),
        Ok(code) => {
            let said = fs::read_to_string(out.join("guest.log")).unwrap_or_default();
            Err(Failure::new(format!(
                "the guest program ended with {code}: {}",
                process::last_lines(&said, 3)
            )))
        }
        Err(_) => {
            let said = fs::read(&console).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            let first = said.lines().find(|line| line.contains("panic")).unwrap_or("no panic seen");
            Err(Failure::new(format!("the test kernel died ({first}); see {}", console.display())))
        }
    }
}

/// The init script with this run's paths and words in it.
fn write_init(launcher: &Launcher, places: &Places, names: &[String], limit: Duration) -> Result<PathBuf> {
    let mut words = vec![check_path(&launcher.guest)?.to_owned(), "run".to_owned()];
    for path in [&places.root, &places.logs, &places.programs, &places.events] {
        check_path(path)?;
    }
    words.extend(places.arguments());
    words.extend(names.iter().cloned());
    let text = INIT
        .replace("@OUT@", check_path(&launcher.out)?)
        .replace("@SECONDS@", &limit.as_secs().to_string())
        .replace("@GUEST@", &words.join(" "));
    let init = launcher.out.join("init");
    fs::write(&init, text).context(|| format!("cannot write {}", init.display()))?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).context(|| "init".to_owned())?;
    Ok(init)
}

/// A running test kernel; stopped when dropped.
struct Kernel(Child);

impl Kernel {
    fn boot(out: &Path, init: &Path, console: &Path) -> Result<Self> {
        let program = packages::find("linux.uml").context(|| "linux.uml is not installed".to_owned())?;
        let out_text = check_path(out)?;
        let log = File::create(console).context(|| format!("cannot make {}", console.display()))?;
        let errors = log.try_clone().context(|| "console".to_owned())?;
        let mut command = Command::new(program);
        command
            .arg(format!("mem={MEMORY_MIB}M"))
            .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw"])
            .arg(format!("init={}", init.display()))
            .args(["con=null", "con0=null,fd:1", "quiet", "loglevel=3", "random.trust_cpu=on"])
            .arg(format!("uml_dir={out_text}/uml"));
        if !has_room(Path::new("/dev/shm")) {
            command.env("TMPDIR", out);
        }
        if has_amx() {
            command.env("LD_PRELOAD", build_xstate(out)?);
        }
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        Ok(Kernel(child.context(|| process::show(&command))?))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            return;
        }
        // Asked politely it takes its processes along; killed it could not.
        if let Ok(pid) = i32::try_from(self.0.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && matches!(self.0.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a file system can hold the kernel's memory, which is a file there.
fn has_room(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|room| {
        let free = room.blocks_available().saturating_mul(room.fragment_size());
        free > MEMORY_MIB << 20
    })
}

fn has_amx() -> bool {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    processors.lines().find(|line| line.starts_with("flags")).is_some_and(|line| line.contains(" amx_tile"))
}

/// Builds the wrapper by the compiler that Rust links with.
fn build_xstate(out: &Path) -> Result<PathBuf> {
    let (source, library) = (out.join("xstate.c"), out.join("xstate.so"));
    fs::write(&source, XSTATE).context(|| format!("cannot write {}", source.display()))?;
    process::output(Command::new("cc").args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source)).context(
        || "this processor has AMX, on which the test kernel needs a small wrapper, and a C compiler (gcc) for it".to_owned(),
    )?;
    Ok(library)
}

//! From statements as written to the model: every option gets its meaning, its warning or its error here.

mod identifier;
mod proposal;
mod remote;
mod sainfo;

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ast::{ListenOption, PathKind, PrivsepOption, Spanned, StatementKind, Text, TimerOption};
use super::feature::{Feature, Use};
use super::include::Placed;
use super::model::{AdminSocket, DEFAULT_CERTIFICATE_DIR, DEFAULT_PRE_SHARED_KEY, Privsep, RacoonConfig};
use crate::diag::{Diagnostic, Diagnostics, Severity, Source};
use crate::files::Files;
use remote::Draft;

/// The port of a remote that names none.
const IKE_PORT: u16 = 500;
/// Why a limit in octets is refused, wherever it stands.
const LIFETIME_BYTE: &str =
    "`lifetime byte` is not supported, nor was it by racoon 0.8: write `lifetime time`";
/// Where a relative pid file is.
const PID_DIR: &str = "/var/run";
/// Where a relative admin socket is.
const SOCKET_DIR: &str = "/var/run/racoon";

/// Makes the model. It is whole only if there are no errors.
pub(super) fn lower(
    statements: Vec<Placed>,
    files: &dyn Files,
    diagnostics: &mut Diagnostics,
) -> RacoonConfig {
    let mut lowering = Lowering {
        files,
        diagnostics,
        drafts: Vec::new(),
        draft_of: BTreeMap::new(),
        warned: BTreeSet::new(),
        used: BTreeSet::new(),
        config: RacoonConfig::new(DEFAULT_PRE_SHARED_KEY.into(), DEFAULT_CERTIFICATE_DIR.into()),
    };
    // Names of certificates and scripts count from the directory that is set where they stand. One that is set only further
    // below is better than none (racoon had none then); keys and pid file were looked up late, so the last word counts.
    for placed in statements.iter().rev() {
        lowering.path(placed);
    }
    for placed in statements {
        lowering.path(&placed);
        lowering.statement(placed);
    }
    lowering.finish_remotes();
    lowering.finish_sainfos();
    lowering.finish_tags();
    lowering.config
}

struct Lowering<'a> {
    files: &'a dyn Files,
    diagnostics: &'a mut Diagnostics,
    drafts: Vec<Draft>,
    /// The last draft for each key that those who inherit look for.
    draft_of: BTreeMap<String, usize>,
    /// Warnings that were given, and where: inherited lines are lowered again.
    warned: BTreeSet<(Arc<str>, usize, String)>,
    used: BTreeSet<(Feature, Arc<str>, usize)>,
    config: RacoonConfig,
}

impl Lowering<'_> {
    fn error(&mut self, source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) {
        self.diagnostics.error(source, span, message);
    }

    fn error_with_help(
        &mut self,
        source: &Arc<Source>,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.diagnostics.push(Diagnostic::at(Severity::Error, source, span, message).help(help));
    }

    /// Notes that something is asked of the daemon.
    fn uses(&mut self, feature: Feature, source: &Arc<Source>, span: &Range<usize>) {
        // An inherited proposal is lowered again.
        if self.used.insert((feature, Arc::clone(source.name()), span.start)) {
            self.config.uses.push(Use { feature, place: source.place(span.start) });
        }
    }

    /// Warns once about a weak algorithm that is replaced.
    fn warn_weak(&mut self, source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) {
        let (start, warning) = (span.start, Diagnostic::at(Severity::Warning, source, span, message));
        self.say_once(source, start, warning.about_weak_algorithm());
    }

    /// Warns once about a place.
    fn warn(&mut self, source: &Arc<Source>, span: Range<usize>, message: impl Into<String>) {
        let (start, warning) = (span.start, Diagnostic::at(Severity::Warning, source, span, message));
        self.say_once(source, start, warning);
    }

    /// Says something of a place once, however often it is lowered.
    fn say_once(&mut self, source: &Arc<Source>, start: usize, diagnostic: Diagnostic) {
        if self.warned.insert((Arc::clone(source.name()), start, diagnostic.message.clone())) {
            self.diagnostics.push(diagnostic);
        }
    }

    fn path(&mut self, placed: &Placed) {
        let StatementKind::Path(kind, text) = &placed.statement.kind else { return };
        let source = &placed.statement.source;
        let path = file_name(text);
        match kind {
            PathKind::PreSharedKey => self.config.pre_shared_key = placed.directory.join(path),
            PathKind::Certificate => self.config.certificate_dir = placed.directory.join(path),
            PathKind::Script => self.config.script_dir = placed.directory.join(path),
            PathKind::PidFile => {
                self.config.pid_file = Some(Path::new(PID_DIR).join(path));
                self.uses(Feature::PidFile, source, &placed.statement.span);
            }
            PathKind::BackupSa => {
                let message =
                    "`path backupsa` has no meaning in IKEv2: after a start every pair is set up anew";
                self.warn(source, placed.statement.span.clone(), message);
            }
            PathKind::Include => {}
        }
    }

    fn statement(&mut self, placed: Placed) {
        let Placed { statement, directory } = placed;
        let source = statement.source;
        match statement.kind {
            StatementKind::Path(..) | StatementKind::Include(_) | StatementKind::Cosmetic => {}
            StatementKind::Log(level) => self.config.log_level = level,
            StatementKind::Listen(options) => self.listen(&source, options),
            StatementKind::Timer(options) => self.timers(&source, options),
            StatementKind::Privsep(options) => self.privsep(&source, statement.span, options),
            StatementKind::KernelBuffer(size) => {
                self.config.kernel_buffer_kb = Some(size).filter(|size| *size > 0);
                if size > 0 {
                    self.uses(Feature::KernelBuffer, &source, &statement.span);
                }
            }
            StatementKind::NoMeaning(message) => self.warn(&source, statement.span, message),
            StatementKind::Remote(block) => self.remote(&source, &directory, statement.span, *block),
            StatementKind::SaInfo(block) => self.sainfo(&source, &directory, statement.span, *block),
        }
    }

    fn listen(&mut self, source: &Arc<Source>, options: Vec<Spanned<ListenOption>>) {
        for option in options {
            let feature = match &option.value {
                ListenOption::Isakmp(_) | ListenOption::IsakmpNatt(_) => Some(Feature::ListenAddresses),
                ListenOption::StrictAddress => Some(Feature::StrictAddress),
                ListenOption::AdminSocket { .. } => Some(Feature::AdminSocket),
                ListenOption::AdminSocketDisabled => None,
            };
            if let Some(feature) = feature {
                self.uses(feature, source, &option.span);
            }
            let listen = &mut self.config.listen;
            match option.value {
                ListenOption::Isakmp(endpoint) => listen.isakmp.push(endpoint),
                ListenOption::IsakmpNatt(endpoint) => listen.isakmp_natt.push(endpoint),
                ListenOption::StrictAddress => listen.strict_address = true,
                ListenOption::AdminSocketDisabled => listen.admin_socket = AdminSocket::Disabled,
                ListenOption::AdminSocket { path, owner, group, mode } => {
                    let name = |text: Text| String::from_utf8_lossy(&text.value).into_owned();
                    listen.admin_socket = AdminSocket::At {
                        path: Path::new(SOCKET_DIR).join(file_name(&path)),
                        owner: owner.map(name),
                        group: group.map(name),
                        mode,
                    };
                }
            }
        }
    }

    fn timers(&mut self, source: &Arc<Source>, options: Vec<Spanned<TimerOption>>) {
        for option in options {
            match &option.value {
                TimerOption::Persend(_) | TimerOption::AutoExitDelay => {}
                TimerOption::NattKeepalive(_) => self.uses(Feature::NattKeepalive, source, &option.span),
                _ => self.uses(Feature::Timers, source, &option.span),
            }
            let mut timers = self.config.timers;
            match option.value {
                TimerOption::Interval(time) | TimerOption::Phase1(time) | TimerOption::Phase2(time)
                    if time.is_zero() =>
                {
                    self.warn(source, option.span, "a time of nothing is passed over: the default is used");
                }
                TimerOption::Counter(n) => timers.counter = Some(n),
                TimerOption::Interval(time) => timers.interval = Some(time),
                TimerOption::Phase1(time) => timers.phase1 = Some(time),
                TimerOption::Phase2(time) => timers.phase2 = Some(time),
                TimerOption::NattKeepalive(time) => timers.natt_keepalive = Some(time),
                TimerOption::Persend(0 | 1) => {}
                TimerOption::Persend(_) => {
                    let message = "`persend` has no meaning in IKEv2: each message is sent once at a time";
                    self.warn(source, option.span, message);
                }
                TimerOption::AutoExitDelay => {
                    self.warn(
                        source,
                        option.span,
                        "`auto_exit_delay` is Apple's: the daemon does not exit by itself",
                    );
                }
            }
            self.config.timers = timers;
        }
    }

    fn privsep(&mut self, source: &Arc<Source>, span: Range<usize>, options: Vec<Spanned<PrivsepOption>>) {
        self.uses(Feature::Privsep, source, &span);
        // A second block adds to the first, and overrides it.
        let mut privsep = self.config.privsep.take().unwrap_or_else(|| Privsep {
            place: source.place(span.start),
            user: None,
            group: None,
            chroot: None,
        });
        for option in options {
            match option.value {
                PrivsepOption::User(user) => privsep.user = Some(user),
                PrivsepOption::Group(group) => privsep.group = Some(group),
                PrivsepOption::Chroot(directory) => privsep.chroot = Some(file_name(&directory)),
            }
        }
        self.config.privsep = Some(privsep);
    }

    /// Warns of blocks that make each other useless.
    fn finish_remotes(&mut self) {
        for draft in core::mem::take(&mut self.drafts) {
            if let Some(remote) = self.finish_remote(draft) {
                self.config.remotes.push(remote);
            }
        }
        let mut first_any = None;
        let mut first_of = BTreeMap::new();
        for remote in &self.config.remotes {
            let say = |message| Diagnostic::about_place(Severity::Warning, remote.place.clone(), message);
            match remote.selector.address() {
                None => match &first_any {
                    None => first_any = Some(remote.place.clone()),
                    Some(first) => self.diagnostics.push(say(format!(
                        "a second block for any address (the first is at {first}): nothing can be initiated with either"
                    ))),
                },
                Some(endpoint) => {
                    let port = endpoint.port.unwrap_or(IKE_PORT);
                    if let Some(first) = first_of.insert((endpoint.addr, port), remote.place.clone()) {
                        self.diagnostics.push(say(format!(
                            "a second block for {endpoint} (the first is at {first}): the first is used to initiate"
                        )));
                    }
                }
            }
        }
    }

    /// Warns of tags that no sainfo has: racoon found none for such a remote.
    fn finish_tags(&mut self) {
        let tags: BTreeSet<u32> = self.config.sainfos.iter().map(|sainfo| sainfo.remoteid).collect();
        if tags.is_empty() {
            return;
        }
        let tagged = self.config.remotes.iter().filter(|remote| remote.ph1id != 0);
        for remote in tagged.filter(|remote| !tags.contains(&remote.ph1id)) {
            let message = format!(
                "no sainfo has `remoteid {}`, so racoon found none for this remote: those without a `remoteid` are used",
                remote.ph1id
            );
            self.diagnostics.push(Diagnostic::about_place(Severity::Warning, remote.place.clone(), message));
        }
    }
}

/// A file name of any octets.
fn file_name(text: &Text) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(&text.value).into()
}

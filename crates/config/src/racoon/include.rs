//! `include`: the statements of a file and of everything it includes, in order.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ast::{PathKind, Statement, StatementKind, Text};
use super::parser;
use crate::diag::{Diagnostic, Diagnostics, Severity, Source};
use crate::files::Files;

/// How deep files may include files, as in racoon.
const DEEPEST: usize = 10;
/// How many files one configuration may have.
const MOST_FILES: usize = 10_000;

/// A statement and the directory of its file, from which its relative names count.
pub(super) struct Placed {
    pub(super) statement: Statement,
    pub(super) directory: Arc<Path>,
}

/// Reads `octets` as the file `path`, and what it includes.
pub(super) fn statements(
    path: &Path,
    octets: &[u8],
    files: &dyn Files,
    diagnostics: &mut Diagnostics,
) -> Vec<Placed> {
    let mut reader =
        Reader { files, diagnostics, include_dir: None, open: Vec::new(), opened: 0, statements: Vec::new() };
    reader.file(path, octets);
    reader.statements
}

struct Reader<'a> {
    files: &'a dyn Files,
    diagnostics: &'a mut Diagnostics,
    /// `path include`, as far as read.
    include_dir: Option<PathBuf>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    opened: usize,
    statements: Vec<Placed>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, octets: &[u8]) {
        self.opened += 1;
        self.open.push(path.to_owned());
        let directory: Arc<Path> = path.parent().unwrap_or(Path::new("")).into();
        for statement in parser::parse(super::source(path, octets), octets, self.diagnostics) {
            match &statement.kind {
                StatementKind::Include(pattern) => {
                    self.include(&statement.source, pattern, &directory);
                }
                StatementKind::Path(PathKind::Include, text) => {
                    if let Some(text) = self.utf8(&statement.source, text) {
                        self.include_dir = Some(directory.join(text));
                    }
                }
                _ => self.statements.push(Placed { statement, directory: Arc::clone(&directory) }),
            }
        }
        self.open.pop();
    }

    fn include(&mut self, source: &Arc<Source>, pattern: &Text, directory: &Path) {
        let error = |message: String| Diagnostic::at(Severity::Error, source, pattern.span.clone(), message);
        let Some(text) = self.utf8(source, pattern) else { return };
        let Some(path) = self.expand(&text, directory) else {
            self.diagnostics.push(error("the home directory of this name is not known".to_owned()));
            return;
        };
        if self.open.len() > DEEPEST {
            let diagnostic = error(format!("files include files more than {DEEPEST} deep"));
            self.diagnostics.push(diagnostic.help("does a file include itself?"));
            return;
        }
        if !text.contains(['*', '?', '[']) {
            self.one(source, pattern, &path, false);
            return;
        }
        match path.to_str().map(|path| self.files.glob(path)) {
            Some(Ok(found)) if found.is_empty() => {
                let message = format!("no file matches `{}`", path.display());
                let span = pattern.span.clone();
                self.diagnostics.push(Diagnostic::at(Severity::Warning, source, span, message));
            }
            Some(Ok(found)) => found.iter().for_each(|path| self.one(source, pattern, path, true)),
            Some(Err(why)) => self.diagnostics.push(error(format!("the pattern is malformed: {why}"))),
            None => self.diagnostics.push(error("the pattern is not UTF-8".to_owned())),
        }
    }

    /// Reads one included file. One that a pattern happens to match and that cannot be read is passed over.
    fn one(&mut self, source: &Arc<Source>, pattern: &Text, path: &Path, matched: bool) {
        let say = |severity, message| Diagnostic::at(severity, source, pattern.span.clone(), message);
        if self.open.iter().any(|open| open == path) {
            let message = format!("`{}` includes itself", path.display());
            self.diagnostics.push(say(Severity::Error, message));
            return;
        }
        if self.opened >= MOST_FILES {
            if self.opened == MOST_FILES {
                let message = format!("more than {MOST_FILES} files are included");
                self.diagnostics.push(say(Severity::Error, message));
                self.opened += 1;
            }
            return;
        }
        match self.files.read(path) {
            Ok((_, octets)) => self.file(path, &octets),
            Err(error) => {
                let (severity, end) = match matched {
                    true => (Severity::Warning, ": it is passed over, as racoon did"),
                    false => (Severity::Error, ""),
                };
                let message = format!("cannot read `{}`: {error}{end}", path.display());
                self.diagnostics.push(say(severity, message));
            }
        }
    }

    /// The pattern as an absolute one: `~` expanded, a relative one under `path include`, else beside the file.
    fn expand(&self, text: &str, directory: &Path) -> Option<PathBuf> {
        if let Some(rest) = text.strip_prefix('~') {
            let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
            return self.files.home(user).map(|home| home.join(rest));
        }
        let base = self.include_dir.as_deref().unwrap_or(directory);
        if Path::new(text).is_absolute() || !text.contains(['*', '?', '[']) {
            return Some(base.join(text));
        }
        // The directory is a name, not a pattern.
        Some(Path::new(&glob::Pattern::escape(base.to_str()?)).join(text))
    }

    fn utf8(&mut self, source: &Arc<Source>, text: &Text) -> Option<String> {
        let valid = String::from_utf8(text.value.clone()).ok();
        if valid.is_none() {
            self.diagnostics.error(source, text.span.clone(), "the name is not UTF-8");
        }
        valid
    }
}

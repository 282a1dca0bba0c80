//! From TOML to values with their places: whatever is wrong is said where it stands, and reading goes on.

use core::ops::Range;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema;
use crate::diag::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::spelling::nearest;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> Located<T> {
    pub(super) fn map<U>(self, f: impl FnOnce(T) -> U) -> Located<U> {
        Located { value: f(self.value), span: self.span }
    }
}

/// One table and its name in the schema.
#[derive(Clone, Copy)]
pub(super) struct Table<'t> {
    pub(super) schema: &'static str,
    pub(super) entries: &'t DeTable<'t>,
}

/// Reads values, and says what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) source: Arc<Source>,
    pub(super) diagnostics: &'a mut Diagnostics,
    pub(super) directory: PathBuf,
}

impl Reader<'_> {
    pub(super) fn error(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.diagnostics.error(&self.source, span.clone(), message);
    }

    pub(super) fn error_with_help(
        &mut self,
        span: &Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        let error = Diagnostic::at(Severity::Error, &self.source, span.clone(), message);
        self.diagnostics.push(error.help(help));
    }

    pub(super) fn warn(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::at(Severity::Warning, &self.source, span.clone(), message));
    }

    pub(super) fn place(&self, span: &Range<usize>) -> Place {
        self.source.place(span.start)
    }

    /// Says which keys are not known.
    pub(super) fn check_names(&mut self, table: Table<'_>) {
        for (key, value) in table.entries {
            let name: &str = key.get_ref();
            if schema::names(table.schema).any(|known| known == name) {
                continue;
            }
            let (span, message) = (key.span(), format!("unknown key `{}`", shown(name)));
            // Who writes a secret here is told where it belongs, not how to spell the key.
            if matches!(name, "psk" | "secret" | "password") && value.get_ref().is_str() {
                let help = "secrets are not written here: name a file of mode 0600 with `psk-file`";
                self.error_with_help(&span, message, help);
                continue;
            }
            match nearest(name, schema::names(table.schema)) {
                Some(near) => self.error_with_help(&span, message, format!("did you mean `{near}`?")),
                None => {
                    let known: Vec<&str> = schema::names(table.schema).collect();
                    self.error_with_help(&span, message, format!("known here: {}", known.join(", ")));
                }
            }
        }
    }

    /// A table inside the file.
    pub(super) fn table<'t>(&mut self, table: Table<'t>, name: &'static str) -> Option<Located<Table<'t>>> {
        let value = get(table, name)?;
        match value.get_ref() {
            DeValue::Table(entries) => {
                let inner = Table { schema: name, entries };
                self.check_names(inner);
                Some(Located { value: inner, span: value.span() })
            }
            other => self.wrong_kind(&value.span(), &format!("a table `[{name}]`"), other),
        }
    }

    /// The tables `[name.NAME]`, in the order of the file.
    pub(super) fn named<'t>(
        &mut self,
        table: Table<'t>,
        name: &'static str,
    ) -> Vec<(Located<String>, Table<'t>)> {
        let Some(value) = get(table, name) else { return Vec::new() };
        let DeValue::Table(tables) = value.get_ref() else {
            let _: Option<()> =
                self.wrong_kind(&value.span(), &format!("tables `[{name}.NAME]`"), value.get_ref());
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, value) in tables {
            let key = Located { value: key.get_ref().to_string(), span: key.span() };
            match value.get_ref() {
                DeValue::Table(entries) => found.push((key, Table { schema: name, entries })),
                other => {
                    let wanted = format!("a table: write `[{name}.NAME]` above the keys of each");
                    let _: Option<()> = self.wrong_kind(&value.span(), &wanted, other);
                }
            }
        }
        found.sort_by_key(|(key, _)| key.span.start);
        found.iter().for_each(|(_, table)| self.check_names(*table));
        found
    }

    /// The tables `[[name]]`.
    pub(super) fn listed<'t>(&mut self, table: Table<'t>, name: &'static str) -> Vec<Located<Table<'t>>> {
        self.tables(table, name, &format!("tables `[[{name}]]`"))
    }

    /// Tables in a list; `wanted` says how they are written.
    pub(super) fn tables<'t>(
        &mut self,
        table: Table<'t>,
        name: &'static str,
        wanted: &str,
    ) -> Vec<Located<Table<'t>>> {
        let Some(value) = get(table, name) else { return Vec::new() };
        let DeValue::Array(tables) = value.get_ref() else {
            let _: Option<()> = self.wrong_kind(&value.span(), wanted, value.get_ref());
            return Vec::new();
        };
        let mut found = Vec::new();
        for value in tables.iter() {
            match value.get_ref() {
                DeValue::Table(entries) => {
                    let inner = Table { schema: name, entries };
                    self.check_names(inner);
                    found.push(Located { value: inner, span: value.span() });
                }
                other => {
                    let _: Option<()> = self.wrong_kind(&value.span(), wanted, other);
                }
            }
        }
        found
    }

    fn wrong_kind<T>(&mut self, span: &Range<usize>, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.error(span, format!("expected {wanted}, found {}", kind(found)));
        None
    }

    pub(super) fn boolean(&mut self, table: Table<'_>, name: &str) -> Option<Located<bool>> {
        let value = get(table, name)?;
        match value.get_ref() {
            DeValue::Boolean(on) => Some(Located { value: *on, span: value.span() }),
            other => self.wrong_kind(&value.span(), "`true` or `false`", other),
        }
    }

    /// A number in `range`.
    pub(super) fn number(
        &mut self,
        table: Table<'_>,
        name: &str,
        range: core::ops::RangeInclusive<u32>,
    ) -> Option<Located<u32>> {
        let value = get(table, name)?;
        let wanted = format!("a number from {} to {}", range.start(), range.end());
        match value.get_ref() {
            DeValue::Integer(number) => {
                let read = u32::from_str_radix(number.as_str(), number.radix()).ok();
                match read.filter(|number| range.contains(number)) {
                    Some(number) => Some(Located { value: number, span: value.span() }),
                    None => {
                        self.error(&value.span(), format!("expected {wanted}"));
                        None
                    }
                }
            }
            other => self.wrong_kind(&value.span(), &wanted, other),
        }
    }

    pub(super) fn text(&mut self, table: Table<'_>, name: &str) -> Option<Located<String>> {
        let value = get(table, name)?;
        self.text_of(value)
    }

    fn text_of(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(Located { value: text.to_string(), span: value.span() }),
            other => self.wrong_kind(&value.span(), "text in quotes", other),
        }
    }

    /// A text that `parse` reads.
    pub(super) fn parsed<T>(
        &mut self,
        table: Table<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<T>> {
        let text = self.text(table, name)?;
        match parse(&text.value) {
            Ok(value) => Some(Located { value, span: text.span }),
            Err(message) => {
                self.error(&text.span, message);
                None
            }
        }
    }

    /// A list of texts that `parse` reads, or one of them.
    pub(super) fn list<T>(
        &mut self,
        table: Table<'_>,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let value = get(table, name)?;
        let texts: Vec<Located<String>> = match value.get_ref() {
            DeValue::Array(values) => values.iter().filter_map(|value| self.text_of(value)).collect(),
            _ => vec![self.text_of(value)?],
        };
        let mut all = Vec::new();
        for text in texts {
            match parse(&text.value) {
                Ok(value) => all.push(Located { value, span: text.span }),
                Err(message) => self.error(&text.span, message),
            }
        }
        Some(Located { value: all, span: value.span() })
    }

    /// A file or directory; a relative name counts from the directory of the coati.toml.
    pub(super) fn path(&mut self, table: Table<'_>, name: &str) -> Option<Located<PathBuf>> {
        let directory = self.directory.clone();
        self.parsed(table, name, |text| match text.is_empty() || text.contains('\0') {
            true => Err("expected the name of a file".to_owned()),
            false => Ok(directory.join(text)),
        })
    }

    pub(super) fn time(&mut self, table: Table<'_>, name: &str) -> Option<Located<Duration>> {
        if let Some(value) = get(table, name)
            && value.get_ref().is_integer()
        {
            let help = "write it in quotes, such as \"20s\", \"30m\", \"8h\" or \"1d\"";
            self.error_with_help(&value.span(), "a time needs its unit", help);
            return None;
        }
        self.parsed(table, name, read_time)
    }
}

/// The value by this name, which the schema has.
fn get<'t>(table: Table<'t>, name: &str) -> Option<&'t Spanned<DeValue<'t>>> {
    debug_assert!(schema::names(table.schema).any(|known| known == name), "{}: {name}", table.schema);
    table.entries.get(name)
}

/// Whether a table has something by this name.
pub(super) fn has(table: Table<'_>, name: &str) -> bool {
    get(table, name).is_some()
}

/// Where the value by this name stands.
pub(super) fn span_of(table: Table<'_>, name: &str) -> Option<Range<usize>> {
    get(table, name).map(Spanned::span)
}

const fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A piece of the file, short enough and fit to be shown.
pub(super) fn shown(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    short.escape_debug().to_string() + if short.len() < text.len() { "..." } else { "" }
}

/// Reads `8h`, `1h30m`, `500ms`.
fn read_time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{}` is no time: write a number and `ms`, `s`, `m`, `h` or `d`", shown(text));
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let letters = unit.bytes().take_while(u8::is_ascii_lowercase).count();
        let (unit, behind) = unit.split_at_checked(letters).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = behind;
    }
    // A hundred years: what is longer is a slip.
    if text.is_empty() || total > Duration::from_secs(100 * 366 * 86_400) {
        return Err(wrong());
    }
    Ok(total)
}

/// Writes a time so that [`read_time`] reads it.
pub(super) fn write_time(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
    match () {
        () if milliseconds > 0 => format!("{}ms", time.as_millis()),
        () if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        () if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        () => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in [("8h", 28_800), ("1h30m", 5400), ("90s", 90), ("1d", 86_400), ("0s", 0)] {
            assert_eq!(read_time(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(
                read_time(&write_time(Duration::from_secs(seconds))),
                Ok(Duration::from_secs(seconds))
            );
        }
        assert_eq!(read_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(write_time(Duration::from_millis(1500)), "1500ms");
        for bad in ["", "8", "h", "8 h", "8H", "-1s", "1.5h", "999999999999999999d", "99999999d", "8h "] {
            assert!(read_time(bad).is_err(), "{bad}");
        }
    }
}

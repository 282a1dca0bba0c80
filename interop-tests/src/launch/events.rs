//! Follows the file in which the guest program tells what happens.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::News;
use crate::failure::{Context, Result};

/// Reads what has been added since the last look.
#[derive(Debug)]
pub(super) struct Follower {
    file: PathBuf,
    read: u64,
}

impl Follower {
    pub(super) fn new(file: &Path) -> Self {
        Follower { file: file.to_owned(), read: 0 }
    }

    /// Tells every whole line that is new. A line without its end is left for the next look.
    pub(super) fn look(&mut self, tell: &mut dyn FnMut(News)) -> Result<()> {
        let mut file = File::open(&self.file).context(|| format!("cannot read {}", self.file.display()))?;
        file.seek(SeekFrom::Start(self.read)).context(|| "seek".to_owned())?;
        let mut added = Vec::new();
        file.read_to_end(&mut added).context(|| format!("cannot read {}", self.file.display()))?;
        for line in added.split_inclusive(|octet| *octet == b'\n').filter(|line| line.ends_with(b"\n")) {
            self.read += u64::try_from(line.len()).unwrap_or(0);
            let event = serde_json::from_slice(line).context(|| "not an event".to_owned())?;
            tell(News::Event(event));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Event;

    #[test]
    fn a_line_still_being_written_waits_for_its_end() {
        let file = std::env::temp_dir().join(format!("coati-events-{}", std::process::id()));
        let mut heard = Vec::new();
        let mut follower = Follower::new(&file);
        let parts = [
            r#"{"said":{"scenario":"x","line":"one"}}"#,
            "\n{\"said\":{\"scen",
            "ario\":\"x\",\"line\":\"two\"}}\n",
        ];
        let mut counts = Vec::new();
        let mut written = String::new();
        for part in parts {
            written += part;
            std::fs::write(&file, &written).unwrap();
            follower.look(&mut |news| heard.push(news)).unwrap();
            counts.push(heard.len());
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(counts, [0, 1, 2]);
        let said = |line: &str| News::Event(Event::Said { scenario: "x".to_owned(), line: line.to_owned() });
        assert_eq!(heard, [said("one"), said("two")]);
    }
}

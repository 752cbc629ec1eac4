//! The outcome as JSON: written whole, read back with one clear line for whatever is no outcome.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::outcome::{FORMAT, Outcome};

/// Why a report could not be written or read; one line for a person.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Too large to be a report of ours.
    #[error("{}: {bytes} bytes are more than any report has (at most {REPORT_BYTES_MAX})", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Not JSON, or JSON of something else.
    #[error("{}: this is no report of loadtest: {why}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Where it stops being one.
        why: String,
    },
    /// Written by a loadtest whose reports mean something else.
    #[error("{}: written in format {found} of loadtest {version}; this one reads format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Who wrote it.
        version: String,
    },
    /// An outcome that cannot be put into words, which no run produces.
    #[error("the report cannot be written: {0}")]
    Unwritable(String),
}

/// Writes `outcome` as JSON, with line ends, so that two reports can be compared as text.
///
/// # Errors
/// The file cannot be written.
pub fn write_json(outcome: &Outcome, path: &Path) -> Result<(), ReportError> {
    let text =
        serde_json::to_string_pretty(outcome).map_err(|error| ReportError::Unwritable(error.to_string()))?;
    write(path, &text)
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// The file cannot be read, is no report, or one of another format; each is one line.
pub fn read_json(path: &Path) -> Result<Outcome, ReportError> {
    parse(&read_text(path)?, path)
}

/// A file that somebody calls a report, whatever is in it.
fn read_text(path: &Path) -> Result<Vec<u8>, ReportError> {
    let file_error = |error| ReportError::File { path: path.to_owned(), error };
    let bytes = fs::metadata(path).map_err(file_error)?.len();
    if bytes > REPORT_BYTES_MAX {
        return Err(ReportError::TooLarge { path: path.to_owned(), bytes });
    }
    fs::read(path).map_err(file_error)
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(|error| ReportError::File { path: path.to_owned(), error })
}

fn parse(text: &[u8], path: &Path) -> Result<Outcome, ReportError> {
    let foreign = |why: String| ReportError::Foreign { path: path.to_owned(), why };
    // The format is read first: a newer file may have other fields, and "missing field" would mislead.
    let head: Head = serde_json::from_slice(text).map_err(|error| foreign(error.to_string()))?;
    if head.format != FORMAT {
        return Err(ReportError::Format { path: path.to_owned(), found: head.format, version: head.version });
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| foreign(format!("{}: {}", error.path(), error.inner())))
}

/// What every format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
    version: String,
}

/// An hour of seconds with a hundred groups is 3 MiB; ten times that is still ours.
const REPORT_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::sample;

    /// What a person reads who names a file with this text in it.
    fn refusal(text: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        fs::write(&path, text).unwrap();
        let line = read_json(&path).unwrap_err().to_string();
        assert!(line.contains("report.json: ") && !line.contains('\n'), "{line}");
        line
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        write_json(&sample(), &path).unwrap();
        let read = read_json(&path).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(sample()).unwrap());
    }

    #[test]
    fn what_is_no_report_is_one_line_that_says_why() {
        let mut json = serde_json::to_value(sample()).unwrap();
        json["series"][3]["callers_up"] = "many".into();
        assert!(
            refusal(&json.to_string()).contains("no report of loadtest: series[3].callers_up: invalid type")
        );
        assert!(refusal("").contains("no report of loadtest: EOF"));
        assert!(refusal("<!doctype html>").contains("no report of loadtest: expected value"));
        assert!(refusal("{\"endpoints\": 3}").contains("missing field `format`"));
        assert!(refusal("[1, 2]").contains("no report of loadtest"));
    }

    #[test]
    fn a_report_of_another_format_names_both() {
        let line = refusal("{\"format\": 99, \"version\": \"7.0.0\", \"new\": []}");
        assert!(
            line.ends_with(&format!(
                "written in format 99 of loadtest 7.0.0; this one reads format {FORMAT}"
            )),
            "{line}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        assert!(read_json(&path).unwrap_err().to_string().contains("No such file"));
        fs::File::create(&path).unwrap().set_len(REPORT_BYTES_MAX + 1).unwrap();
        assert!(read_json(&path).unwrap_err().to_string().contains("more than any report has"));
    }
}

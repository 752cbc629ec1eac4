//! From a file to a scenario. A typo, a value of the wrong type and one out of its range all end in one line that names
//! the file, the line and the key.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::Path;

use serde_path_to_error::Error as Located;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::bundled::text_of;
use super::check::Refusal;
use super::{BUNDLED, Scenario};

/// Reads and checks a scenario: a file, or, where there is none, the bundled one of that name (`many-small-meetings`,
/// `scenarios/many-small-meetings.toml`).
///
/// # Errors
/// A file that cannot be read or is no TOML, a key nobody knows, a value that does not fit.
pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
    let shown = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => parse(&text, &shown),
        Err(error) => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            if let Some(text) = text_of(&stem).filter(|_| error.kind() == std::io::ErrorKind::NotFound) {
                return parse(text, &format!("{stem}.toml (bundled)"));
            }
            let names: Vec<_> = BUNDLED.iter().map(|(name, _)| *name).collect();
            let reason = format!("cannot be read: {error}; bundled scenarios: {}", names.join(", "));
            Err(ScenarioError { file: shown, line: None, key: None, reason })
        }
    }
}

/// Reads and checks the text of a scenario; `file` is what errors call it, and without its ending the scenario's name
/// where the text gives none.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, file: &str) -> Result<Scenario, ScenarioError> {
    let refused = |line, key, reason| ScenarioError { file: file.to_owned(), line, key, reason };
    let broken =
        |error: &toml::de::Error| refused(line_of(text, error.span()), None, one_line(error.message()));
    let tree = DeTable::parse(text).map_err(|error| broken(&error))?;
    let reader = toml::Deserializer::parse(text).map_err(|error| broken(&error))?;
    let mut scenario: Scenario =
        serde_path_to_error::deserialize(reader).map_err(|error: Located<toml::de::Error>| {
            let key = error.path().to_string();
            let line = line_of(text, place(&tree, &key).or_else(|| error.inner().span()));
            refused(line, Some(key).filter(|key| key != "."), one_line(error.inner().message()))
        })?;
    if scenario.name.is_empty() {
        let stem = Path::new(file).file_stem().unwrap_or_default();
        scenario.name = stem.to_string_lossy().into_owned();
    }
    scenario.check().map_err(|Refusal { key, reason }| {
        let line = line_of(text, place(&tree, &key));
        refused(line, Some(key), reason)
    })?;
    Ok(scenario)
}

/// Why a scenario is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioError {
    /// Its file, as it was named.
    pub file: String,
    /// Where in it, from 1.
    pub line: Option<usize>,
    /// The key, such as `groups[1].voice.speaks`.
    pub key: Option<String>,
    /// What is wrong with it, one line.
    pub reason: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(key) = &self.key {
            write!(f, ": {key}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for ScenarioError {}

fn line_of(text: &str, span: Option<Range<usize>>) -> Option<usize> {
    let before = text.get(..span?.start)?;
    Some(before.bytes().filter(|byte| *byte == b'\n').count() + 1)
}

/// Where `key` stands; where the file leaves it out, the table that it belongs to.
fn place(tree: &Spanned<DeTable<'_>>, key: &str) -> Option<Range<usize>> {
    let mut steps = key.split(['.', '[']).filter(|step| !step.is_empty());
    let first = steps.next()?;
    let (name, mut value) = tree.get_ref().get_key_value(first)?;
    let mut found = name.span();
    for step in steps {
        let next = match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(step).map(|(name, value)| (name.span(), value)),
            DeValue::Array(array) => {
                let index = step.trim_end_matches(']').parse::<usize>().ok();
                index.and_then(|index| array.get(index)).map(|value| (value.span(), value))
            }
            _ => None,
        };
        let Some((span, inner)) = next else { break };
        (found, value) = (span, inner);
    }
    Some(found)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEETING: &str = "conferences = 2\n\n[[groups]]\nname = \"speakers\"\nvoice = {}\n\n\
        [[groups]]\nname = \"audience\"\nper_conference = [3, 4]\n\n[groups.receive]\nvideo = 1\n";

    fn refusal(from: &str, to: &str) -> String {
        assert!(MEETING.contains(from), "{from}");
        parse(&MEETING.replace(from, to), "m.toml").unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let scenario = parse(MEETING, "folder/meeting.toml").unwrap();
        assert_eq!((scenario.name.as_str(), scenario.conferences, scenario.groups.len()), ("meeting", 2, 2));
        assert_eq!((scenario.duration_s, scenario.groups[1].receive.opened), (20.0, 1.0));
    }

    #[test]
    fn a_typo_is_named_with_its_line() {
        let line = refusal("conferences = 2", "\nconferenzes = 2");
        assert!(
            line.starts_with("m.toml:2: conferenzes: unknown field `conferenzes`, expected one of"),
            "{line}"
        );
        let line = refusal("video = 1", "vidio = 1");
        assert!(line.starts_with("m.toml:12: groups[1].receive.vidio: unknown field"), "{line}");
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_line() {
        let line = refusal("conferences = 2", "conferences = \"two\"");
        assert_eq!(line, "m.toml:1: conferences: invalid type: string \"two\", expected u32");
        let line = refusal("per_conference = [3, 4]", "per_conference = [3, -4]");
        assert!(line.starts_with("m.toml:9: groups[1].per_conference: "), "{line}");
    }

    #[test]
    fn a_value_out_of_its_range_is_named_with_its_line() {
        let line = refusal("voice = {}", "voice = { speaks = 1.5 }");
        assert_eq!(line, "m.toml:5: groups[0].voice.speaks: must be between 0 and 1, is 1.5");
        let line = refusal("conferences = 2", "conferences = 0");
        assert!(line.starts_with("m.toml:1: conferences: must be"), "{line}");
    }

    #[test]
    fn text_that_is_no_toml_is_one_line() {
        let line = refusal("conferences = 2", "conferences = ");
        assert!(line.starts_with("m.toml:1: ") && !line.contains('\n'), "{line}");
        let line = refusal("conferences = 2", "conferences = 1\nconferences = 2");
        assert!(line.starts_with("m.toml:2: ") && !line.contains('\n'), "{line}");
    }

    #[test]
    fn a_missing_file_tells_which_scenarios_there_are() {
        let line = load(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(
            line.starts_with("no/such.toml: cannot be read") && line.contains("many-small-meetings"),
            "{line}"
        );
    }

    #[test]
    fn a_bundled_scenario_runs_by_name_and_by_the_path_in_the_readme() {
        for path in ["many-small-meetings", "scenarios/many-small-meetings.toml"] {
            assert_eq!(load(Path::new(path)).unwrap().name, "many-small-meetings");
        }
    }
}

//! Files, environment and flags, merged in order; each key remembers who set it last.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue, ValueDeserializer};
use toml::{Spanned, Table, Value};

use super::{SECTIONS, SettingsError};

/// Section first, then the key within it; more for a table in a section.
pub(super) type Key = Vec<String>;

/// A file of settings is written by hand; a larger one is a mistake in `--config`.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `PASSERELLE__SECTION__KEY`
const ENVIRONMENT_PREFIX: &str = "PASSERELLE__";

/// Who set a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Nobody: it is the program's own default.
    BuiltIn,
    File(PathBuf),
    /// Lines count from 1.
    Line(PathBuf, usize),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(key) => write!(f, "flag for {key}"),
        }
    }
}

/// All that was read so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    /// Sections by name. A text of the environment or a flag stands here in its first reading.
    root: Table,
    origins: BTreeMap<Key, Origin>,
    /// The values that came as bare text.
    texts: BTreeMap<Key, String>,
}

impl Layers {
    pub(super) fn add_file(&mut self, path: &Path) -> Result<(), SettingsError> {
        let refusal =
            |reason: String| SettingsError { origin: Origin::File(path.into()), key: String::new(), reason };
        let bytes = fs::metadata(path).map_err(|error| refusal(error.to_string()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(refusal(format!("{bytes} bytes are more than a file of settings has")));
        }
        let text = fs::read_to_string(path).map_err(|error| refusal(error.to_string()))?;
        let refusal = |error: &toml::de::Error| syntax_error(path, &text, error);
        let spanned = DeTable::parse(&text).map_err(|error| refusal(&error))?;
        let table: Table = toml::from_str(&text).map_err(|error| refusal(&error))?;
        self.note_origins(&mut Vec::new(), spanned.get_ref(), &|span| {
            Origin::Line(path.into(), line_of(&text, &span))
        });
        for (name, value) in &table {
            let key = std::slice::from_ref(name);
            if !SECTIONS.contains(&name.as_str()) {
                return Err(self.error(key, unknown_section()));
            }
            if !value.is_table() {
                return Err(self.error(key, "this is the name of a section, not of a key".to_owned()));
            }
        }
        merge(&mut self.root, table);
        Ok(())
    }

    /// Every `*.toml` in `folder` in the order of their names; a folder that is not there is no error.
    pub(super) fn add_folder(&mut self, folder: &Path) -> Result<(), SettingsError> {
        let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
        let mut files: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_fragment(path)).collect();
        files.sort();
        files.iter().try_for_each(|file| self.add_file(file))
    }

    pub(super) fn add_environment(&mut self, environment: &[(String, String)]) -> Result<(), SettingsError> {
        for (name, text) in environment {
            let Some(rest) = name.strip_prefix(ENVIRONMENT_PREFIX) else { continue };
            let key: Key = rest.split("__").map(str::to_ascii_lowercase).collect();
            self.add_text(key, text, Origin::Environment(name.clone()))?;
        }
        Ok(())
    }

    pub(super) fn add_flags(&mut self, flags: &[(String, String)]) -> Result<(), SettingsError> {
        for (name, text) in flags {
            self.add_text(name.split('.').map(str::to_owned).collect(), text, Origin::Flag(name.clone()))?;
        }
        Ok(())
    }

    fn add_text(&mut self, mut key: Key, text: &str, origin: Origin) -> Result<(), SettingsError> {
        // A variable's name cannot have the dash that a section's name has.
        let section =
            SECTIONS.into_iter().find(|section| section.replace('-', "_") == key[0].replace('-', "_"));
        let Some(section) = section else {
            return Err(SettingsError { origin, key: key.join("."), reason: unknown_section() });
        };
        section.clone_into(&mut key[0]);
        if key.len() < 2 || key.iter().any(String::is_empty) {
            let reason = "a section and a key are wanted".to_owned();
            return Err(SettingsError { origin, key: key.join("."), reason });
        }
        let first = readings_of(text).next().unwrap_or_else(|| Value::String(text.to_owned()));
        place(&mut self.root, &key, first);
        self.origins.insert(key.clone(), origin);
        self.texts.insert(key, text.to_owned());
        Ok(())
    }

    pub(super) fn section(&self, name: &str) -> Table {
        self.root.get(name).and_then(Value::as_table).cloned().unwrap_or_default()
    }

    /// Who set `key`, or the nearest table or list that holds it.
    pub(super) fn origin(&self, key: &[String]) -> Origin {
        let lengths = (1..=key.len()).rev();
        lengths.filter_map(|len| self.origins.get(&key[..len])).next().cloned().unwrap_or(Origin::BuiltIn)
    }

    /// The keys in a section that a flag set.
    pub(super) fn flags(&self, name: &str) -> impl Iterator<Item = &Key> {
        let in_section = self.origins.iter().filter(move |(key, _)| key[0] == name);
        in_section.filter(|(_, origin)| matches!(origin, Origin::Flag(_))).map(|(key, _)| key)
    }

    /// The further readings of the section's texts, for when the first does not fit the key's type.
    pub(super) fn readings(&self, name: &str) -> Readings {
        let texts = self.texts.iter().filter(|(key, _)| key[0] == name);
        let readings = texts.map(|(key, text)| {
            (
                key.clone(),
                Reading { left: readings_of(text).skip(1).collect(), told: None, wants_list: false },
            )
        });
        Readings(readings.collect())
    }

    fn error(&self, key: &[String], reason: String) -> SettingsError {
        SettingsError { origin: self.origin(key), key: key.join("."), reason }
    }

    fn note_origins(&mut self, key: &mut Key, table: &DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) {
        for (name, value) in table {
            key.push(name.get_ref().to_string());
            self.origins.insert(key.clone(), origin(name.span()));
            if let DeValue::Table(inner) = Spanned::get_ref(value) {
                self.note_origins(key, inner, origin);
            }
            key.pop();
        }
    }
}

/// What else the texts of a section may have meant, by key.
pub(super) struct Readings(BTreeMap<Key, Reading>);

struct Reading {
    left: VecDeque<Value>,
    /// The complaint that reached deepest into the value, with its depth: the reading that fitted best.
    told: Option<(usize, SettingsError)>,
    /// serde takes a list for a struct, too; a text is split only where a list is asked for by name.
    wants_list: bool,
}

impl Readings {
    /// The next reading of the text that `key` comes from, after `refusal` of the one before.
    ///
    /// # Errors
    /// When `key` comes from no text or all its readings were refused.
    pub(super) fn after(
        &mut self,
        key: &[String],
        refusal: SettingsError,
    ) -> Result<(Key, Value), SettingsError> {
        let at = (1..=key.len()).rev().map(|len| &key[..len]).find(|key| self.0.contains_key(*key));
        let Some((at, reading)) = at.and_then(|at| Some((at, self.0.get_mut(at)?))) else {
            return Err(refusal);
        };
        reading.wants_list |= refusal.reason.ends_with("expected a sequence");
        let told = match reading.told.take() {
            Some(told) if told.0 >= key.len() => told,
            _ => (key.len(), refusal),
        };
        let wants_list = reading.wants_list;
        let next = reading.left.pop_front().filter(|value| wants_list || !value.is_array());
        let Some(value) = next else { return Err(told.1) };
        reading.told = Some(told);
        Ok((at.to_vec(), value))
    }
}

/// What a bare text can mean, the likeliest first: a TOML value, the text itself, a list of texts, a list of values.
///
/// `8080` is a number for a port and a text for a name; only the key's type can tell.
fn readings_of(text: &str) -> impl Iterator<Item = Value> {
    let parts = || text.split(',').map(str::trim);
    let texts = parts().map(|part| Value::String(part.to_owned())).collect();
    let values =
        parts().map(|part| literal(part).unwrap_or_else(|| Value::String(part.to_owned()))).collect();
    literal(text).into_iter().chain([
        Value::String(text.to_owned()),
        Value::Array(texts),
        Value::Array(values),
    ])
}

fn literal(text: &str) -> Option<Value> {
    Value::deserialize(ValueDeserializer::parse(text).ok()?).ok()
}

/// Sets the value at `key`, replacing whatever is in the way.
pub(super) fn place(table: &mut Table, key: &[String], value: Value) {
    match key {
        [] => {}
        [last] => {
            table.insert(last.clone(), value);
        }
        [first, rest @ ..] => {
            let inner = table.entry(first.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            if let Value::Table(inner) = inner {
                place(inner, rest, value);
            }
        }
    }
}

/// Tables are merged key by key; all else is replaced, lists too.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

fn is_fragment(path: &Path) -> bool {
    // Editors leave hidden copies behind.
    let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !is_hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file()
}

/// The error's own rendering quotes the offending line, which may hold a secret; only a key is safe to repeat.
fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> SettingsError {
    let Some(span) = error.span() else {
        return SettingsError {
            origin: Origin::File(path.into()),
            key: String::new(),
            reason: error.message().to_owned(),
        };
    };
    let is_about_key = error.message().contains("duplicate key");
    let key = if is_about_key { text.get(span.clone()).unwrap_or_default() } else { "" };
    let origin = Origin::Line(path.into(), line_of(text, &span));
    SettingsError { origin, key: key.to_owned(), reason: error.message().to_owned() }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    1 + text.bytes().take(span.start).filter(|byte| *byte == b'\n').count()
}

fn unknown_section() -> String {
    format!("unknown section, expected one of {}", SECTIONS.join(", "))
}

//! The settings of all programs: one TOML, of which each program reads its section and `[log]`.
//!
//! ```text
//! built-in default  <  passerelle.toml  <  conf.d/*.toml by name  <  PASSERELLE__SECTION__KEY  <  flags
//!                                                                        │
//!                        section::<BridgeSettings>("bridge") ◄── merged ─┘   each value remembers where it came from
//! ```
//!
//! A key nobody knows, a value of the wrong type or out of its range stops the start with one line that names the key
//! and the file and line, the environment variable or the flag. A program prints that line and ends with [`EXIT_CODE`].
//!
//! A section is a struct with `#[serde(default, deny_unknown_fields)]`, so that its `Default` is the built-in default
//! and no misspelt key passes. Values that need more than a type are checked by the program, which reports them through
//! [`Settings::refuse`]. Secrets are [`Secret`]s: never printed, never taken from the command line.

mod layers;
mod log;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use layers::{Key, Layers, Origin};
pub use log::{LogFormat, LogLevel, LogSettings};
pub use secret::{REDACTED, SECRET_BYTES_MIN, Secret};

/// The sections there are: one for each program, and `log` for all of them.
pub const SECTIONS: [&str; 5] = ["bridge", "signaling", "turn-relay", "loadtest", "log"];

/// What a program ends with when its settings are refused: `EX_CONFIG` of sysexits.h.
pub const EXIT_CODE: u8 = 78;

/// Looked for in this order when no file is named; the first that exists is read.
const DEFAULT_FILES: [&str; 2] = ["passerelle.toml", "/etc/passerelle/passerelle.toml"];

/// Where settings come from, the weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file of `--config`, which must exist. `None`: a default file, if there is one.
    pub file: Option<PathBuf>,
    /// The environment; what does not begin with `PASSERELLE__` is ignored.
    pub environment: Vec<(String, String)>,
    /// Flags by the key they set, such as `("bridge.media_port", "10000")`.
    pub flags: Vec<(String, String)>,
}

impl Sources {
    /// This process' environment, with the file and the flags of its command line.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        Self { file, environment, flags }
    }
}

/// All sources, merged, with the origin of every value.
#[derive(Debug, Clone)]
pub struct Settings {
    layers: Layers,
}

impl Settings {
    /// Reads and merges all sources.
    ///
    /// # Errors
    /// A file that cannot be read or is no TOML, and a section that no program has.
    pub fn load(sources: &Sources) -> Result<Self, SettingsError> {
        Self::load_with_defaults(sources, &DEFAULT_FILES.map(PathBuf::from))
    }

    fn load_with_defaults(sources: &Sources, default_files: &[PathBuf]) -> Result<Self, SettingsError> {
        let mut layers = Layers::default();
        let default_file = || default_files.iter().find(|file| file.is_file()).cloned();
        if let Some(file) = sources.file.clone().or_else(default_file) {
            layers.add_file(&file)?;
            layers.add_folder(&file.with_file_name("conf.d"))?;
        }
        layers.add_environment(&sources.environment)?;
        layers.add_flags(&sources.flags)?;
        Ok(Self { layers })
    }

    /// One section: the built-in defaults of `T`, overridden by what the sources say.
    ///
    /// # Errors
    /// The first key that `T` does not know or whose value does not fit, and a secret given as a flag.
    pub fn section<T: Serialize + DeserializeOwned>(&self, name: &str) -> Result<T, SettingsError> {
        let mut table = self.layers.section(name);
        let mut readings = self.layers.readings(name);
        loop {
            let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
                Ok(section) => return self.without_secret_flags(name, section),
                Err(error) => error,
            };
            let key = key_of(name, error.path());
            let refusal = self.refusal(&key, error.inner().message());
            let (at, value) = readings.after(&key, refusal)?;
            layers::place(&mut table, &at[1..], value);
        }
    }

    /// The error to end with when a program finds that the value of `key` (`"rest_listen"`, `"tls.certificate"`) in
    /// `section` cannot be used; it names where the value came from.
    pub fn refuse(&self, section: &str, key: &str, reason: &str) -> SettingsError {
        let key: Key = std::iter::once(section).chain(key.split('.')).map(str::to_owned).collect();
        self.refusal(&key, reason)
    }

    /// A flag stands in the list of processes, where everybody can read it.
    fn without_secret_flags<T: Serialize>(&self, name: &str, section: T) -> Result<T, SettingsError> {
        let Ok(table) = Table::try_from(&section) else { return Ok(section) };
        for key in self.layers.flags(name) {
            let value =
                key[1..].iter().try_fold(&Value::Table(table.clone()), |value, key| value.get(key)).cloned();
            if value.is_some_and(|value| value.as_str() == Some(REDACTED)) {
                return Err(self.refusal(key, "a secret is not taken from the command line"));
            }
        }
        Ok(section)
    }

    fn refusal(&self, key: &[String], reason: &str) -> SettingsError {
        SettingsError {
            origin: self.layers.origin(key),
            key: key.join(".").replace(".[", "["),
            reason: reason.to_owned(),
        }
    }
}

/// A section as `--print-config` shows it: every key with the value in force, secrets redacted.
///
/// # Errors
/// When a value has no form in TOML, such as a number above `i64::MAX`.
pub fn print<T: Serialize>(name: &str, section: &T) -> Result<String, SettingsError> {
    let refusal = |error: toml::ser::Error| SettingsError {
        origin: Origin::BuiltIn,
        key: name.to_owned(),
        reason: error.to_string(),
    };
    let table = Value::try_from(section).map_err(refusal)?;
    toml::to_string_pretty(&Table::from_iter([(name.to_owned(), table)])).map_err(refusal)
}

/// Why the settings are refused, as one line: where, which key, what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    origin: Origin,
    /// Section and key with dots; empty when it is about a whole file.
    key: String,
    reason: String,
}

impl SettingsError {
    /// Section and key with dots, such as `bridge.media_port`; empty when the error is about a whole file.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl std::error::Error for SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = match self.key.as_str() {
            "" => format!("{}: {}", self.origin, self.reason),
            key => format!("{}: {key}: {}", self.origin, self.reason),
        };
        // A file may hold line feeds and terminal controls in a key or a value: they are shown, not obeyed.
        line.chars().try_for_each(|character| {
            if character.is_control() {
                write!(f, "{}", character.escape_default())
            } else {
                f.write_char(character)
            }
        })
    }
}

fn key_of(section: &str, path: &serde_path_to_error::Path) -> Key {
    std::iter::once(section.to_owned()).chain(path.iter().map(|segment| segment.to_string())).collect()
}

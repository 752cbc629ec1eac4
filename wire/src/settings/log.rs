//! `[log]`: how much every program says, and in which form.

use serde::{Deserialize, Serialize};

/// The `[log]` section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The least important line that is written. Default `info`: the events of a call. `trace` writes a line for every
    /// packet and is no level to run at.
    pub level: LogLevel,
    /// Default `text`, one line for a person; `json` is one object a line, for a collector.
    pub format: LogFormat,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// The service is impaired.
    Error,
    /// Something that an operator should look at.
    Warn,
    /// The events of a call.
    #[default]
    Info,
    /// The steps of each event.
    Debug,
    /// Every packet.
    Trace,
}

impl LogLevel {
    /// The level as `tracing` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For a person.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

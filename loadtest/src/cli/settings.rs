//! What loadtest reads from the settings of all programs: `[loadtest]` of passerelle.toml, or the environment.

use serde::{Deserialize, Serialize};
use wire::program::Failure;
use wire::settings::{Secret, Settings, Sources};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LoadtestSettings {
    /// Shared by all machines of one run; `PASSERELLE__LOADTEST__COORDINATOR_KEY`. Default: none, and no such runs.
    coordinator_key: Secret,
}

/// The key that machines of one run share.
///
/// # Errors
/// None was set, or one that can be guessed.
pub(super) fn coordinator_key() -> Result<Secret, Failure> {
    let settings = Settings::load(&Sources::of_process(None, Vec::new()))?;
    let section: LoadtestSettings = settings.section("loadtest")?;
    let key = section.coordinator_key;
    if key.is_empty() {
        return Err(Failure::settings(
            "loadtest.coordinator_key is not set: all machines of a run need the same, \
             such as PASSERELLE__LOADTEST__COORDINATOR_KEY=\"$(openssl rand -base64 32)\"",
        ));
    }
    if let Some(weakness) = key.weakness() {
        return Err(settings.refuse("loadtest", "coordinator_key", weakness).into());
    }
    Ok(key)
}

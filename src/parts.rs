//! The settings of all parts, agreed with each other.

use bridge::settings::BridgeSettings;
use signaling::settings::SignalingSettings;
use turn_relay::settings::RelaySettings;
use wire::program::Failure;
use wire::settings::Settings;

use crate::relay;

/// The three sections, agreed with each other.
pub(crate) struct Parts {
    pub(crate) signaling: SignalingSettings,
    pub(crate) bridge: BridgeSettings,
    pub(crate) relay: RelaySettings,
}

impl Parts {
    /// Reads all of them and checks them.
    ///
    /// # Errors
    /// A line that names the key and where its value came from.
    pub(crate) fn of(all: &Settings) -> Result<Self, Failure> {
        let mut signaling: SignalingSettings = all.section("signaling")?;
        let mut bridge: BridgeSettings = all.section("bridge")?;
        let mut relay: RelaySettings = all.section("turn-relay")?;
        // Without keys of the operator's the parts agree on some; those on other machines need theirs set.
        if signaling.link_key.is_empty() {
            signaling.link_key = SignalingSettings::fresh_link_key();
        }
        bridge.link_key = signaling.link_key.clone();
        relay::share_secret(&mut signaling, &mut relay);
        signaling.check().map_err(|error| all.refuse("signaling", error.key, &error.reason))?;
        bridge.check().map_err(|error| all.refuse("bridge", error.key, &error.reason))?;
        relay.check().map_err(|error| all.refuse("turn-relay", error.key, &error.reason))?;
        Ok(Self { signaling, bridge, relay })
    }
}

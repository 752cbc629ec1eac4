//! What an operator changes while clients are relayed: each second, and at once on SIGHUP, the settings and the
//! certificate are read again, and what differs is put in force.
//!
//! A file that cannot be used changes nothing and is said once. Without a signal, what was read must be read alike a second
//! later: an editor may be in the middle of writing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::control::Control;
use crate::front::certificates::CertificateError;
use crate::settings::RelaySettings;

/// Reads the settings as the start did: all sources, checked. The error is the line for the operator.
pub(crate) type ReadSettings = Box<dyn Fn() -> Result<RelaySettings, String> + Send>;

/// SIGHUP, from now on.
///
/// # Errors
/// When the system refuses the handler.
pub(crate) fn hang_up() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Watches until it is dropped.
pub(crate) async fn watch(control: Arc<Control>, mut read: ReadSettings, mut hang_up: Signal) {
    let mut settings = SettingsWatch::new(control.settings());
    let mut certificate = Complaint::default();
    let mut second = interval(LOOK_INTERVAL);
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_asked = tokio::select! {
            _ = second.tick() => false,
            Some(()) = hang_up.recv() => true,
        };
        control.settle();
        // A disk that is slow must not hold up connections.
        let certificates = Arc::clone(&control.certificates);
        let reading = spawn_blocking(move || {
            let looked = (read(), certificates.reload());
            (read, looked)
        });
        let Ok((reader, (new_settings, new_certificate))) = reading.await else { return };
        read = reader;
        look_at_settings(&control, &mut settings, new_settings, is_asked);
        look_at_certificate(&control, &mut certificate, new_certificate, is_asked);
    }
}

fn look_at_settings(
    control: &Control,
    watch: &mut SettingsWatch,
    read: Result<RelaySettings, String>,
    is_asked: bool,
) {
    // What no policy can be made of is as bad as what cannot be read.
    let read = read.and_then(|new| match watch.is_known(&new) {
        true => Ok(new),
        false => control.check(&new).map(|()| new).map_err(|error| error.to_string()),
    });
    let seen = match watch.look(read, is_asked) {
        Seen::Nothing => return,
        Seen::Bad(reason) => Err(reason),
        Seen::Changed { settings, fixed } => {
            if !fixed.is_empty() {
                tracing::warn!(keys = fixed.join(" "), "these settings have changed and need a restart");
            }
            control.set_settings(*settings).map_err(|error| error.to_string())
        }
    };
    control.note_reload(seen.is_ok());
    match seen {
        Ok(()) => tracing::info!("changed settings are in force"),
        Err(reason) => tracing::error!(%reason, "changed settings are refused; those so far stay in force"),
    }
}

fn look_at_certificate(
    control: &Control,
    complaint: &mut Complaint,
    reloaded: Result<bool, CertificateError>,
    is_asked: bool,
) {
    match reloaded {
        Ok(is_new) => {
            *complaint = Complaint::default();
            if is_new {
                control.note_reload(true);
                tracing::info!("a new certificate is shown to clients");
            }
        }
        Err(error) => {
            if complaint.is_new(&error.to_string(), is_asked) {
                control.note_reload(false);
                tracing::error!(%error, "the certificate is refused; the one so far stays in force");
            }
        }
    }
}

/// What was read, and what is in force of it.
struct SettingsWatch {
    /// With what needs a restart as it was at the start.
    in_force: RelaySettings,
    /// As it was read when something of it was put in force.
    known: RelaySettings,
    /// Differs, and has been read once.
    candidate: Option<RelaySettings>,
    complaint: Complaint,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Nothing,
    Bad(String),
    Changed {
        /// To be put in force; what needs a restart is as before.
        settings: Box<RelaySettings>,
        /// Keys that need one.
        fixed: Vec<String>,
    },
}

impl SettingsWatch {
    fn new(in_force: RelaySettings) -> Self {
        Self { known: in_force.clone(), in_force, candidate: None, complaint: Complaint::default() }
    }

    fn is_known(&self, new: &RelaySettings) -> bool {
        *new == self.known
    }

    fn look(&mut self, read: Result<RelaySettings, String>, is_asked: bool) -> Seen {
        let new = match read {
            Ok(new) => new,
            Err(reason) => {
                self.candidate = None;
                let is_new = self.complaint.is_new(&reason, is_asked);
                return if is_new { Seen::Bad(reason) } else { Seen::Nothing };
            }
        };
        self.complaint = Complaint::default();
        if self.is_known(&new) {
            self.candidate = None;
            return Seen::Nothing;
        }
        if !is_asked && self.candidate.as_ref() != Some(&new) {
            self.candidate = Some(new);
            return Seen::Nothing;
        }
        self.candidate = None;
        let fixed = fixed_keys(&self.known, &new);
        self.in_force = RelaySettings {
            policy: new.policy.clone(),
            limits: new.limits.clone(),
            secrets: new.secrets.clone(),
            users: new.users.clone(),
            drain_s: new.drain_s,
            drain_redirect: new.drain_redirect,
            ..self.in_force.clone()
        };
        self.known = new;
        Seen::Changed { settings: Box::new(self.in_force.clone()), fixed }
    }
}

/// A reason is said when it was met twice in a row, or when somebody asks; then not again until it changes.
#[derive(Debug, Default)]
struct Complaint {
    reason: String,
    times: u32,
}

impl Complaint {
    fn is_new(&mut self, reason: &str, is_asked: bool) -> bool {
        if self.reason != reason {
            *self = Self { reason: reason.to_owned(), times: 0 };
        }
        self.times = self.times.saturating_add(1);
        if is_asked {
            // Said now, whether it was said before or not.
            self.times = self.times.max(SAID_AT);
            return true;
        }
        self.times == SAID_AT
    }
}

/// Keys whose values differ and which are read at the start only.
fn fixed_keys(before: &RelaySettings, after: &RelaySettings) -> Vec<String> {
    let table = |settings| match serde_json::to_value(settings) {
        Ok(Value::Object(table)) => table,
        _ => serde_json::Map::new(),
    };
    let (before_keys, after_keys) = (table(before), table(after));
    let names = after_keys.keys().chain(before_keys.keys().filter(|name| !after_keys.contains_key(*name)));
    let differ = names.filter(|name| before_keys.get(*name) != after_keys.get(*name));
    let mut fixed: Vec<String> =
        differ.filter(|name| !CHANGEABLE.contains(&name.as_str())).cloned().collect();
    if before.limits.of_front() != after.limits.of_front() {
        fixed.push("limits".to_owned());
    }
    fixed
}

/// Top-level keys that are put in force while running.
const CHANGEABLE: [&str; 6] = ["policy", "limits", "secrets", "users", "drain_s", "drain_redirect"];

/// The second look at the same fault.
const SAID_AT: u32 = 2;

/// A few files of some kilobytes each are nothing once a second, and nobody waits for longer.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn with_drain(drain_s: u64) -> RelaySettings {
        RelaySettings { drain_s, ..RelaySettings::default() }
    }

    fn is_change(seen: &Seen) -> bool {
        matches!(seen, Seen::Changed { .. })
    }

    #[test]
    fn a_change_is_taken_when_it_is_read_twice_or_at_once_on_a_signal() {
        let mut watch = SettingsWatch::new(with_drain(1));
        assert_eq!(watch.look(Ok(with_drain(1)), false), Seen::Nothing);
        assert_eq!(watch.look(Ok(with_drain(2)), false), Seen::Nothing);
        assert_eq!(watch.look(Ok(with_drain(3)), false), Seen::Nothing);
        assert!(is_change(&watch.look(Ok(with_drain(3)), false)));
        assert_eq!(watch.look(Ok(with_drain(3)), false), Seen::Nothing);
        assert!(is_change(&watch.look(Ok(with_drain(4)), true)));
    }

    #[test]
    fn a_bad_file_is_said_once_and_again_when_asked() {
        let mut watch = SettingsWatch::new(with_drain(1));
        let bad = || Err("line 1".to_owned());
        assert_eq!(watch.look(bad(), false), Seen::Nothing);
        assert_eq!(watch.look(bad(), false), Seen::Bad("line 1".to_owned()));
        assert_eq!(watch.look(bad(), false), Seen::Nothing);
        assert_eq!(watch.look(bad(), true), Seen::Bad("line 1".to_owned()));
        assert_eq!(watch.look(bad(), false), Seen::Nothing);
        assert_eq!(watch.look(Err("line 2".to_owned()), true), Seen::Bad("line 2".to_owned()));
    }

    #[test]
    fn what_needs_a_restart_is_named_and_left_as_it_was() {
        let mut watch = SettingsWatch::new(with_drain(1));
        let mut new = with_drain(2);
        new.realm = "other".to_owned();
        new.shards = 3;
        new.limits.half_open_max = 7;
        let Seen::Changed { settings, fixed } = watch.look(Ok(new.clone()), true) else {
            panic!("no change")
        };
        assert_eq!(fixed, ["realm", "shards", "limits"]);
        assert_eq!((settings.drain_s, settings.realm.as_str(), settings.shards), (2, "passerelle", 0));
        // It still needs one when something else changes, and has been said.
        new.drain_s = 3;
        let Seen::Changed { settings, fixed } = watch.look(Ok(new), true) else { panic!("no change") };
        assert_eq!((fixed.len(), settings.drain_s), (0, 3));
        assert_eq!((settings.realm.as_str(), settings.shards), ("passerelle", 0));
    }
}

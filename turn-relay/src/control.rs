//! What the control plane knows and may do: the shards, the front, and which settings are in force.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::bridges::Source;
use crate::ended::Ended;
use crate::engine::auth::credentials::Credentials;
use crate::engine::policy::explain::Explanation;
use crate::engine::policy::rules::PeerPolicy;
use crate::engine::policy::settings::{BridgePeers, PolicySettings};
use crate::engine::ports::Drain;
use crate::engine::views::AllocationView;
use crate::front::Front;
use crate::front::certificates::Certificates;
use crate::settings::{RelaySettings, SettingsError};
use crate::shard::ports::{ShardCommand, ShardHandle};
use crate::stats::RelaySample;

/// Shared by the private interface, the watchers and the handle.
pub(crate) struct Control {
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) front: Arc<Front>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) ended: Arc<Ended>,
    hosts: Hosts,
    wanted: Mutex<Wanted>,
    is_draining: AtomicBool,
    /// A shard did not take what is in force; it is told again.
    is_owing: AtomicBool,
    reloads: Reloads,
    /// Whom to ask for bridges when the settings name nobody.
    source: OnceLock<Source>,
}

/// What a policy has to know about this host; fixed once everything is bound.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    /// All addresses of this host, and the public ones it is known by.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where the relay listens, its private interface among them.
    pub(crate) listeners: Vec<SocketAddr>,
}

/// What the operator and the bridges want; a policy is made of both.
struct Wanted {
    settings: RelaySettings,
    /// Named by whoever started the relay, beside it in one process.
    beside: Vec<BridgePeers>,
    /// Named by signaling.
    asked: Vec<BridgePeers>,
}

impl Wanted {
    /// Those that are not of the settings. Signaling knows the bridge beside it as well, and says more recent things.
    fn bridges(&self) -> Vec<BridgePeers> {
        let is_asked = |bridge: &&BridgePeers| self.asked.iter().any(|asked| asked.name == bridge.name);
        self.beside.iter().filter(|bridge| !is_asked(bridge)).chain(&self.asked).cloned().collect()
    }
}

/// How often settings and certificates were read anew.
#[derive(Debug, Default)]
struct Reloads {
    applied: AtomicU64,
    refused: AtomicU64,
}

impl Control {
    pub(crate) fn new(
        (shards, front, certificates): (Vec<ShardHandle>, Arc<Front>, Arc<Certificates>),
        ended: Arc<Ended>,
        hosts: Hosts,
        settings: RelaySettings,
    ) -> Self {
        Self {
            shards,
            front,
            certificates,
            ended,
            hosts,
            wanted: Mutex::new(Wanted { settings, beside: Vec::new(), asked: Vec::new() }),
            is_draining: AtomicBool::new(false),
            is_owing: AtomicBool::new(false),
            reloads: Reloads::default(),
            source: OnceLock::new(),
        }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> RelaySettings {
        self.wanted().settings.clone()
    }

    /// Bridges in force, those of the settings among them.
    pub(crate) fn bridges(&self) -> usize {
        let wanted = self.wanted();
        wanted.settings.policy.bridges.len() + wanted.bridges().len()
    }

    /// Whether settings that are good by themselves can be put in force on this host. The bridges there are do not count:
    /// none makes a policy bad.
    ///
    /// # Errors
    /// The first key whose value cannot be used.
    pub(crate) fn check(&self, settings: &RelaySettings) -> Result<(), SettingsError> {
        policy(settings, &[], &self.hosts).map(drop)
    }

    /// Puts other settings in force, as far as that can be done while running.
    ///
    /// # Errors
    /// The first key whose value cannot be used; then nothing has changed.
    pub(crate) fn set_settings(&self, settings: RelaySettings) -> Result<(), SettingsError> {
        self.check(&settings)?;
        self.wanted().settings = settings;
        self.tell_all();
        Ok(())
    }

    /// Replaces the bridges in the same process.
    pub(crate) fn set_bridges_beside(&self, bridges: Vec<BridgePeers>) {
        self.replace(bridges, |wanted| &mut wanted.beside);
    }

    /// Replaces the bridges that signaling names.
    pub(crate) fn set_bridges_asked(&self, bridges: Vec<BridgePeers>) {
        self.replace(bridges, |wanted| &mut wanted.asked);
    }

    fn replace(&self, bridges: Vec<BridgePeers>, list: impl Fn(&mut Wanted) -> &mut Vec<BridgePeers>) {
        let mut wanted = self.wanted();
        let before = list(&mut wanted);
        if *before == bridges {
            return;
        }
        *before = bridges;
        drop(wanted);
        self.tell_all();
    }

    /// Whom to ask for bridges: whom the settings name, or else whom the process names.
    pub(crate) fn source(&self) -> Option<Source> {
        // Invariant: checked with the settings that it can be read.
        let configured = self.wanted().settings.policy.bridges_from().ok().flatten();
        configured.or_else(|| self.source.get().cloned())
    }

    /// Names whom to ask, once.
    pub(crate) fn set_source(&self, source: Source) {
        // A second one would be a second signaling in one process.
        let _ = self.source.set(source);
    }

    /// Stops or resumes making allocations.
    pub(crate) fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
        self.tell_all();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Tells shards again what they did not take.
    pub(crate) fn settle(&self) {
        if self.is_owing.load(Ordering::Relaxed) {
            self.tell_all();
        }
    }

    /// Everything in force, to every shard. Each takes it as a whole; what has not changed changes nothing there.
    fn tell_all(&self) {
        let wanted = self.wanted();
        let settings = &wanted.settings;
        // Invariant: checked before it was put in force.
        let Ok(policy) = policy(settings, &wanted.bridges(), &self.hosts) else { return };
        let credentials = credentials(settings);
        let limits = settings.limits.of_shard(self.shards.len());
        let drain = self.drain(settings);
        let mut is_owing = false;
        for (index, shard) in self.shards.iter().enumerate() {
            let commands = [
                ShardCommand::SetPolicy(Arc::clone(&policy)),
                ShardCommand::SetCredentials(Arc::clone(&credentials)),
                ShardCommand::SetLimits(limits.clone()),
                ShardCommand::SetDrain(drain),
            ];
            for command in commands {
                if let Err(refused) = shard.send(command) {
                    tracing::error!(shard = index, reason = %refused.reason, "a shard is not told what has changed");
                    is_owing = true;
                }
            }
        }
        self.is_owing.store(is_owing, Ordering::Relaxed);
    }

    fn drain(&self, settings: &RelaySettings) -> Drain {
        match (self.is_draining(), settings.drain_redirect) {
            (false, _) => Drain::Off,
            (true, None) => Drain::Refuse,
            (true, Some(other)) => Drain::Redirect(other),
        }
    }

    /// All numbers, a quarter of a second old at most.
    pub(crate) fn sample(&self) -> RelaySample {
        RelaySample::new(self.shards.iter().map(ShardHandle::stats).collect(), self.front.stats())
    }

    /// Whether every shard answers. Each is asked something small.
    pub(crate) async fn is_alive(&self) -> bool {
        let question = SocketAddr::from(([192, 0, 2, 1], 0));
        for shard in &self.shards {
            if explain(shard, question).await.is_none() {
                return false;
            }
        }
        true
    }

    /// What the policy says about a peer, as the first shard has it. `None`: it does not answer.
    pub(crate) async fn explain(&self, peer: SocketAddr) -> Option<Explanation> {
        explain(self.shards.first()?, peer).await
    }

    /// All allocations. `None`: a shard does not answer.
    pub(crate) async fn allocations(&self) -> Option<Vec<AllocationView>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let (done, answer) = oneshot::channel();
            shard.send(ShardCommand::Allocations(done)).ok()?;
            all.extend(timeout(ANSWER_TIME_MAX, answer).await.ok()?.ok()?);
        }
        Some(all)
    }

    /// Ends a user's allocations; how many those were. `None`: a shard does not answer.
    pub(crate) async fn revoke(&self, user: &str) -> Option<usize> {
        let mut all = 0;
        for shard in &self.shards {
            let (done, answer) = oneshot::channel();
            shard.send(ShardCommand::RevokeUser { user: user.to_owned(), done }).ok()?;
            all += timeout(ANSWER_TIME_MAX, answer).await.ok()?.ok()?;
        }
        Some(all)
    }

    pub(crate) fn note_reload(&self, is_applied: bool) {
        let count = if is_applied { &self.reloads.applied } else { &self.reloads.refused };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reloads that changed something, and those that were refused.
    pub(crate) fn reloads(&self) -> (u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.reloads.applied), count(&self.reloads.refused))
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Settings and bridges are replaced as a whole.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn explain(shard: &ShardHandle, peer: SocketAddr) -> Option<Explanation> {
    let (done, answer) = oneshot::channel();
    shard.send(ShardCommand::Explain { peer, done }).ok()?;
    timeout(ANSWER_TIME_MAX, answer).await.ok()?.ok()
}

/// Who may relay.
pub(crate) fn credentials(settings: &RelaySettings) -> Arc<Credentials> {
    let users = settings.users.iter().map(|(name, password)| (name.clone(), password.clone()));
    Arc::new(Credentials::new(&settings.secrets, users))
}

/// Where to: the settings' lists and the bridges there are. A bridge that cannot be a peer is left out, so that one that
/// announces nonsense does not take the others with it.
///
/// # Errors
/// The key of the settings that makes no policy.
pub(crate) fn policy(
    settings: &RelaySettings,
    bridges: &[BridgePeers],
    hosts: &Hosts,
) -> Result<Arc<PeerPolicy>, SettingsError> {
    let on_this_host = PolicySettings {
        own_addresses: hosts.addresses.clone(),
        own_listeners: hosts.listeners.clone(),
        ..settings.policy.without_hosts()?
    };
    let mut left_out = BTreeSet::new();
    let mut known = on_this_host.bridges.clone();
    for bridge in bridges {
        let addresses = bridge.addresses.iter().copied().filter(|address| {
            let is_peer = is_peer(*address, hosts);
            if !is_peer {
                left_out.insert(bridge.name.as_str());
            }
            is_peer
        });
        known.push(BridgePeers { name: bridge.name.clone(), addresses: addresses.collect() });
    }
    if !left_out.is_empty() {
        tracing::warn!(
            bridges = left_out.len(),
            "bridges announce addresses that are never peers; those are left out"
        );
    }
    let policy = PeerPolicy::new(PolicySettings { bridges: known, ..on_this_host });
    policy.map(Arc::new).map_err(|error| SettingsError { key: "policy", reason: error.to_string() })
}

fn is_peer(address: SocketAddr, hosts: &Hosts) -> bool {
    let alone = PolicySettings {
        own_addresses: hosts.addresses.clone(),
        own_listeners: hosts.listeners.clone(),
        bridges: vec![BridgePeers { name: String::new(), addresses: vec![address] }],
        ..PolicySettings::default()
    };
    address.port() != 0 && PeerPolicy::new(alone).is_ok()
}

/// A shard goes round within milliseconds; this one hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let listeners = vec!["0.0.0.0:3478".parse().unwrap()];
        Hosts { addresses: vec!["10.0.0.7".parse().unwrap()], listeners }
    }

    #[test]
    fn a_bridge_that_announces_nonsense_does_not_take_the_others_with_it() {
        let addresses = ["10.0.0.7:3478", "224.0.0.1:5", "10.0.0.7:0", "10.0.0.7:10000"];
        let addresses = addresses.map(|address| address.parse().unwrap()).to_vec();
        let bridges = [BridgePeers { name: "one".to_owned(), addresses }];
        let policy = policy(&RelaySettings::default(), &bridges, &hosts()).unwrap();
        let kept = &policy.settings().bridges;
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].addresses, ["10.0.0.7:10000".parse().unwrap()]);
    }
}

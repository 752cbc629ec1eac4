//! The shards and the front of a relay, made from its settings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle as ThreadHandle;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{StartError, bind};
use crate::control::{Hosts, credentials, policy};
use crate::engine::ports::EngineSettings;
use crate::engine::views::AllocationRecord;
use crate::front::Front;
use crate::front::certificates::Certificates;
use crate::front::ports::{FrontSettings, Web};
use crate::settings::RelaySettings;
use crate::shard;
use crate::shard::ports::{Refused, RefusedReason, ShardCommand, ShardHandle, ShardParts};
use crate::stream::NewStream;
use crate::udp::UdpListener;

/// Stops the shards of a start that did not succeed.
pub(super) struct ShardsGuard(pub(super) Vec<ShardHandle>);

impl ShardsGuard {
    /// The start has succeeded.
    pub(super) fn disarm(mut self) {
        self.0.clear();
    }
}

impl Drop for ShardsGuard {
    fn drop(&mut self) {
        stop_shards(&self.0);
    }
}

/// Ends their threads.
pub(super) fn stop_shards(shards: &[ShardHandle]) {
    for shard in shards {
        // One that does not take it has ended, or hangs.
        let _ = shard.send(ShardCommand::Stop);
    }
}

/// The shards with their threads; each has an equal part of the ports and a seed of its own.
pub(super) fn spawn_shards(
    settings: &RelaySettings,
    udp: Vec<Vec<UdpListener>>,
    hosts: &Hosts,
    ended: &mpsc::Sender<AllocationRecord>,
) -> Result<(Vec<ShardHandle>, Vec<ThreadHandle<()>>), StartError> {
    let count = udp.len();
    let policy = policy(settings, &[], hosts)?;
    let credentials = credentials(settings);
    let relays = settings.relay_addresses()?;
    let processors = if settings.pin_shards { bind::allowed_processors() } else { Vec::new() };
    let (mut shards, mut threads) = (ShardsGuard(Vec::with_capacity(count)), Vec::with_capacity(count));
    for (index, listeners) in udp.into_iter().enumerate() {
        let engine = EngineSettings {
            realm: settings.realm.clone(),
            relays: relays.clone(),
            ports: settings.ports_of(index, count),
            listen: hosts.listeners.clone(),
            credentials: Arc::clone(&credentials),
            policy: Arc::clone(&policy),
            limits: settings.limits.of_shard(count),
            lifetime_max: Duration::from_secs(settings.lifetime_max_s),
            nonce_lifetime: Duration::from_secs(settings.nonce_lifetime_s),
            expiry: settings.expiry.into(),
            channel_numbers: settings.channel_numbers.into(),
            binding: settings.binding,
            dont_fragment: true,
            seed: rand::random(),
        };
        let (shard, thread) = shard::spawn(ShardParts {
            index,
            listeners,
            engine,
            relay_buffer_bytes: settings.relay_buffer_bytes,
            ended: ended.clone(),
            processor: (!processors.is_empty()).then(|| processors[index % processors.len()]),
        })?;
        shards.0.push(shard);
        threads.push(thread);
    }
    Ok((std::mem::take(&mut shards.0), threads))
}

/// What takes connections and gives streams to the shards in turn.
pub(super) fn front(
    settings: &RelaySettings,
    web: Web,
    certificates: Arc<Certificates>,
    shards: Vec<ShardHandle>,
) -> Result<Arc<Front>, StartError> {
    let front = FrontSettings {
        tls: Some(certificates),
        trusted_proxies: settings.trusted_proxies()?,
        passthrough: settings.passthrough.iter().map(|(name, backend)| (name.clone(), *backend)).collect(),
        passthrough_proxy_protocol: settings.passthrough_proxy_protocol,
        https_backend_proxy_protocol: settings.https_backend_proxy_protocol,
        limits: settings.limits.of_front(),
    };
    let web = match (web, settings.https_backend) {
        (Web::None, Some(backend)) => Web::Backend(backend),
        (web, _) => web,
    };
    // Streams in turn: a client's later streams need not meet its earlier ones.
    let next = AtomicUsize::new(0);
    let to_shard = move |stream: NewStream| -> Result<(), RefusedReason> {
        let first = next.fetch_add(1, Ordering::Relaxed);
        let mut command = ShardCommand::Stream(Box::new(stream));
        for offset in 0..shards.len() {
            match shards[(first.wrapping_add(offset)) % shards.len()].send(command) {
                Ok(()) => return Ok(()),
                Err(Refused { command: back, .. }) => command = back,
            }
        }
        Err(RefusedReason::Full)
    };
    Front::new(front, web, to_shard).map_err(|error| StartError::Library(error.to_string()))
}

//! The tokio side of TCP and TLS: takes connections, finds out what they are, and hands them over. A TURN stream goes to
//! a shard and never comes back.
//!
//! ```text
//! accept ─▶ seat ─▶ (PROXY v2) ─▶ first bytes ─┬─ STUN ──────────────────────────────────────────▶ shard
//!                                              ├─ HTTP ──────────────────────────────────────────▶ web
//!                                              └─ ClientHello ─┬─ name passed through ───────────▶ backend, as it came
//!                                                              └─ handshake ─┬─ ALPN stun.turn ──▶ shard
//!                                                                            ├─ ALPN http/1.1 ───▶ web
//!                                                                            └─ first plaintext ─▶ shard or web
//! ```
//!
//! Invariants: all of it up to the last column is done within ten seconds, or the connection is closed. Each accepted
//! connection is counted once more when its fate is known (`stats`). A connection has a seat from accept to close,
//! whoever has it. No byte that was read is lost on the way. Knows nothing about TURN but how a message begins.

pub(crate) mod certificates;
mod connection;
mod first_bytes;
pub(crate) mod ports;
mod proxy_protocol;
mod replay;
mod seats;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
mod tls;
mod web;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use connection::{Arrival, canonical};
use ports::{FrontLimits, FrontSettings, Web};
use seats::Seats;
use stats::{FrontStats, Ledger, Refusal};
use web::Rest;

use crate::engine::policy::range::IpRange;
use crate::stream::NewStream;

/// What all connections of all listeners share.
pub(crate) struct Front {
    tls: Option<Arc<ServerConfig>>,
    trusted_proxies: Vec<IpRange>,
    passthrough: Vec<(String, SocketAddr)>,
    passthrough_proxy_protocol: bool,
    https_backend_proxy_protocol: bool,
    limits: FrontLimits,
    web: Web,
    /// Whether a shard took it.
    to_shard: Box<dyn Fn(NewStream) -> bool + Send + Sync>,
    seats: Arc<Seats>,
    ledger: Ledger,
}

impl Front {
    /// `to_shard` chooses a shard and gives it the stream; it must not block.
    ///
    /// # Errors
    /// The system has no randomness for the keys of session tickets.
    pub(crate) fn new<E>(
        settings: FrontSettings,
        web: Web,
        to_shard: impl Fn(NewStream) -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<Arc<Self>, rustls::Error> {
        Ok(Arc::new(Self {
            tls: settings.tls.map(tls::server_config).transpose()?,
            trusted_proxies: settings.trusted_proxies,
            passthrough: settings.passthrough,
            passthrough_proxy_protocol: settings.passthrough_proxy_protocol,
            https_backend_proxy_protocol: settings.https_backend_proxy_protocol,
            seats: Seats::new(settings.limits.clone()),
            limits: settings.limits,
            web,
            to_shard: Box::new(move |stream| to_shard(stream).is_ok()),
            ledger: Ledger::default(),
        }))
    }

    /// What has been done, and what is open now.
    pub(crate) fn stats(&self) -> FrontStats {
        let (open, half_open) = self.seats.counts();
        FrontStats { open, half_open, ..self.ledger.open().clone() }
    }

    fn admit(&self, socket: TcpStream, remote: SocketAddr) -> Result<Arrival, Refusal> {
        let remote = canonical(remote);
        let (mut seat, displaced) = self.seats.sit()?;
        // A proxy's connections are other people's: its header says whose.
        if !self.is_trusted_proxy(remote.ip()) {
            seat.claim(remote.ip())?;
        }
        // Small messages at once; without it they merely come later.
        let _ = socket.set_nodelay(true);
        Ok(Arrival { socket, remote, seat, displaced })
    }

    fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(ip))
    }

    /// Where TLS for this server name goes without being decrypted.
    fn passthrough_of(&self, name: &str) -> Option<SocketAddr> {
        let found = self.passthrough.iter().find(|(passed, _)| passed.eq_ignore_ascii_case(name));
        found.map(|(_, backend)| *backend)
    }

    fn give_to_shard(&self, stream: NewStream) -> Result<Rest, Refusal> {
        if !(self.to_shard)(stream) {
            return Err(Refusal::ShardBusy);
        }
        self.ledger.open().turn += 1;
        Ok(Rest::Done)
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Takes connections until `stop` says true; then those that are still here end too. Any protocol on any listener.
pub(crate) async fn serve(listener: TcpListener, front: Arc<Front>, mut stop: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (socket, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                front.ledger.open().accept_failures += 1;
                // A client that has gone already must not slow down the others.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        front.ledger.open().accepted += 1;
        match front.admit(socket, remote) {
            Ok(arrival) => drop(tokio::spawn(connection::run(Arc::clone(&front), arrival, stop.clone()))),
            Err(refusal) => front.ledger.refuse(refusal),
        }
    }
}

/// Waits for file descriptors without using the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

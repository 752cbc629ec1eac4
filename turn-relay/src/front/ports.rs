//! What the front is told, and what it gives to others: streams to shards, connections to the web side.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::certificates::Certificates;
use crate::engine::policy::range::IpRange;

/// What the front is told once. Checked by the shell before a port is bound.
#[derive(Debug)]
pub(crate) struct FrontSettings {
    /// What TLS clients are shown; without it, TLS is refused unless its name is passed through.
    pub(crate) tls: Option<Arc<Certificates>>,
    /// Who speaks PROXY protocol v2 to us. They must, at the start of every connection; nobody else may.
    pub(crate) trusted_proxies: Vec<IpRange>,
    /// TLS for these server names goes to these addresses as it came, undecrypted.
    pub(crate) passthrough: Vec<(String, SocketAddr)>,
    /// Tell those backends in a PROXY v2 header who the client is.
    pub(crate) passthrough_proxy_protocol: bool,
    /// Tell the backend of [`Web::Backend`] the same.
    pub(crate) https_backend_proxy_protocol: bool,
    /// How much strangers may have.
    pub(crate) limits: FrontLimits,
}

/// How much strangers may have before they have proven anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FrontLimits {
    /// Connections in all; each is a file descriptor. The next is closed at once.
    pub(crate) connections_max: usize,
    /// Connections of one IPv4 address or IPv6 /64: an office behind one address has a stream and some web connections
    /// for each browser.
    pub(crate) connections_per_address_max: usize,
    /// Connections that are not yet known to be TURN or web, some 16 kB each. One more, and the one that has been so for
    /// longest goes, if it has had a second: an honest client is done in a few round trips.
    pub(crate) half_open_max: usize,
    /// The same of one IPv4 address or IPv6 /64; here the newcomer is refused, so that nobody pushes out others.
    pub(crate) half_open_per_address_max: usize,
    /// From the accepted connection to the first bytes of TURN or HTTP, TLS handshake and all.
    pub(crate) establish: Duration,
    /// A spliced connection on which nothing moves for so long is closed. WebSockets ping more often.
    pub(crate) splice_idle: Duration,
}

impl Default for FrontLimits {
    fn default() -> Self {
        Self {
            connections_max: 65_536,
            connections_per_address_max: 1_024,
            half_open_max: 4_096,
            half_open_per_address_max: 128,
            establish: Duration::from_secs(10),
            splice_idle: Duration::from_secs(600),
        }
    }
}

/// What a web connection is read from and written to.
pub trait WebStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> WebStream for T {}

/// A connection that speaks HTTP/1.1.
pub struct WebConnection {
    /// Plaintext; what was read to find out that it is HTTP comes first. Holds the client's place among the connections
    /// of its address until it is dropped.
    pub stream: Box<dyn WebStream>,
    /// The client, from the PROXY header where there was one; IPv4 is never mapped into IPv6.
    pub client: SocketAddr,
    /// Whether it came through TLS.
    pub secure: bool,
}

impl fmt::Debug for WebConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebConnection").field("secure", &self.secure).finish_non_exhaustive()
    }
}

/// Who answers HTTP on the relay's ports.
#[derive(Debug, Clone)]
pub enum Web {
    /// Nobody: a short text says what this port is for.
    None,
    /// Another server, which gets the plaintext of it all.
    Backend(SocketAddr),
    /// This process. When the queue is full, the client is told to come again.
    Channel(mpsc::Sender<WebConnection>),
}

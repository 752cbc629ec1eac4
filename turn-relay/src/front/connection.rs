//! One connection, from accept until it is somebody else's.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ServerConnection;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;

use super::Front;
use super::first_bytes::{Decision, decide};
use super::proxy_protocol::{self, ProxyHeader};
use super::replay::Replay;
use super::seats::{Displaced, Seat};
use super::stats::Refusal;
use super::tls;
use super::web::{self, Rest};
use crate::engine::ports::{ClientPath, Transport};
use crate::stream::NewStream;

/// A connection that has a seat.
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    /// The client or a proxy; IPv4 is not mapped.
    pub(crate) remote: SocketAddr,
    pub(crate) seat: Seat,
    pub(crate) displaced: Displaced,
}

/// Both ends of a connection as the client sees them; IPv4 is not mapped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) client: SocketAddr,
    pub(crate) local: SocketAddr,
}

/// What a connection turned out to be.
pub(crate) enum Established {
    /// Everything a shard needs: the socket, its TLS, and what has been decrypted or read already.
    Turn { socket: TcpStream, tls: Option<Box<ServerConnection>>, early: Vec<u8> },
    /// HTTP as it came.
    PlainWeb(Replay<TcpStream>),
    /// HTTP inside TLS.
    SecureWeb(Box<Replay<TlsStream<Replay<TcpStream>>>>),
    /// TLS that is not for us, from its first byte on.
    Passthrough { stream: Replay<TcpStream>, backend: SocketAddr },
}

/// When a connection must have become something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline(Instant);

impl Deadline {
    /// Takes the step, and gives up with `late` at the deadline.
    pub(crate) fn bound<T>(
        self,
        late: Refusal,
        step: impl Future<Output = Result<T, Refusal>>,
    ) -> impl Future<Output = Result<T, Refusal>> {
        // A future has room for all of its steps at once; on the heap there is only the one that is being taken.
        let step = Box::pin(step);
        async move { timeout_at(self.0, step).await.unwrap_or(Err(late)) }
    }
}

/// Finds out what a connection is, hands it over, and carries it on where it stays here.
pub(crate) async fn run(front: Arc<Front>, arrival: Arrival, mut stop: watch::Receiver<bool>) {
    let handed = tokio::select! {
        biased;
        handed = hand_over(&front, arrival) => handed,
        _ = stop.wait_for(|stop| *stop) => Err(Refusal::Stopping),
    };
    let rest = match handed {
        Ok(rest) => rest,
        Err(refusal) => return front.ledger.refuse(refusal),
    };
    // Its fate is counted: what follows is carrying bytes, for as long as both sides like.
    tokio::select! {
        () = rest.carry_on(front.limits.splice_idle) => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Counts what it did, unless it refuses.
async fn hand_over(front: &Front, arrival: Arrival) -> Result<Rest, Refusal> {
    let Arrival { socket, remote, mut seat, displaced } = arrival;
    let (established, ends) = tokio::select! {
        biased;
        established = establish(front, socket, remote, &mut seat) => established?,
        _ = displaced => return Err(Refusal::Displaced),
    };
    seat.settle();
    match established {
        Established::Turn { socket, tls, early } => {
            let transport = if tls.is_some() { Transport::Tls } else { Transport::Tcp };
            let path = ClientPath { transport, client: ends.client, local: ends.local, connection: 0 };
            let socket = socket.into_std().map_err(|_| Refusal::ClosedEarly)?;
            front.give_to_shard(NewStream { path, socket, tls, early, seat: Box::new(seat) })
        }
        Established::PlainWeb(mut stream) => {
            stream.hold(seat);
            web::hand_over(front, Box::new(stream), ends, false).await
        }
        Established::SecureWeb(mut stream) => {
            stream.hold(seat);
            web::hand_over(front, stream, ends, true).await
        }
        Established::Passthrough { mut stream, backend } => {
            stream.hold(seat);
            web::pass_through(front, stream, ends, backend).await
        }
    }
}

/// From the first byte to what the connection is. The seat becomes the client's where a proxy stood in between.
async fn establish(
    front: &Front,
    socket: TcpStream,
    remote: SocketAddr,
    seat: &mut Seat,
) -> Result<(Established, Ends), Refusal> {
    let deadline = Deadline(Instant::now() + front.limits.establish);
    let local = socket.local_addr().map_err(|_| Refusal::ClosedEarly)?;
    let mut ends = Ends { client: remote, local: canonical(local) };
    let mut stream = Replay::new(socket);
    if front.is_trusted_proxy(remote.ip()) {
        let client = deadline.bound(Refusal::SlowFirstBytes, proxied_client(&mut stream)).await?;
        if let Some(client) = client {
            seat.claim(client.ip())?;
            ends.client = client;
        }
    }
    let established = match deadline.bound(Refusal::SlowFirstBytes, first_decision(&mut stream)).await? {
        Decision::Turn => {
            let (socket, early) = stream.into_parts();
            Established::Turn { socket, tls: None, early }
        }
        Decision::Tls => tls::establish(front, stream, deadline).await?,
        Decision::Http => Established::PlainWeb(stream),
        Decision::ProxyV2 => return Err(Refusal::ProxyUntrusted),
        Decision::Refuse(refusal) => return Err(refusal),
        Decision::NeedMore => return Err(Refusal::ClosedEarly),
    };
    Ok((established, ends))
}

/// Reads until the first bytes say what they are: never `NeedMore`. Nothing is taken out of the stream.
pub(crate) async fn first_decision<S: AsyncRead + Unpin>(
    stream: &mut Replay<S>,
) -> Result<Decision, Refusal> {
    loop {
        match decide(stream.waiting()) {
            Decision::NeedMore => more(stream).await?,
            decision => return Ok(decision),
        }
    }
}

/// The client that a trusted proxy names; `None`: the proxy speaks for itself. The specification (2) forbids to guess
/// whether there is a header: without one, a client could write its own.
async fn proxied_client(stream: &mut Replay<TcpStream>) -> Result<Option<SocketAddr>, Refusal> {
    match first_decision(stream).await? {
        Decision::ProxyV2 => {}
        Decision::Refuse(Refusal::ProxyVersion) => return Err(Refusal::ProxyVersion),
        _ => return Err(Refusal::ProxyMissing),
    }
    loop {
        let (client, bytes) = match proxy_protocol::parse(stream.waiting()) {
            ProxyHeader::NeedMore => {
                more(stream).await?;
                continue;
            }
            ProxyHeader::Client { client, bytes } => (Some(client), bytes),
            ProxyHeader::Local { bytes } => (None, bytes),
            ProxyHeader::Malformed => return Err(Refusal::ProxyMalformed),
        };
        stream.skip(bytes);
        return Ok(client);
    }
}

/// Reads some more of the first bytes.
async fn more<S: AsyncRead + Unpin>(stream: &mut Replay<S>) -> Result<(), Refusal> {
    if stream.waiting().len() >= FIRST_BYTES_MAX {
        return Err(Refusal::UnknownProtocol);
    }
    match stream.fill().await {
        Ok(1..) => Ok(()),
        Ok(0) | Err(_) => Err(Refusal::ClosedEarly),
    }
}

/// The engine tells clients by their addresses, and knows no disguised ones.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Every decision falls far earlier, and the longest PROXY header is a quarter of it; a mistake there costs no more.
const FIRST_BYTES_MAX: usize = 8 * 1024;

//! What goes into the engine and what comes out of it. The shell carries these between sockets; the engine never
//! touches one.
//!
//! The shell's part of the contract:
//! - An IPv4 address is always written as IPv4, never mapped into IPv6, whatever socket it came through.
//! - `handle_client` gets one whole message: a datagram, or what the framer cut out of a stream.
//! - Outputs are carried out in the order they come: a socket is closed before its port is opened again.
//! - A datagram to a stream client is followed by zeros up to a multiple of four; so is an [`ToClient::Indication`] to
//!   any client.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::auth::credentials::Credentials;
use super::policy::rules::PeerPolicy;
use super::quota::Limits;
use super::views::AllocationRecord;

/// How a client reaches the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A plain stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
}

impl Transport {
    /// Every transport, in declaration order.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// The stable label of metrics and statistics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// TCP and TLS: nothing is lost, the sender's address is proven by a handshake, datagrams are padded.
    pub fn is_stream(self) -> bool {
        self != Self::Udp
    }
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// 4 bytes.
    V4,
    /// 16 bytes.
    V6,
}

impl Family {
    /// Both, in the order in which a dual allocation lists its addresses.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The 5-tuple of a client: what identifies its allocation (RFC 8656, 5). Replies go back the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientPath {
    /// Datagrams, or which kind of stream.
    pub transport: Transport,
    /// The client's side, as the relay sees it.
    pub client: SocketAddr,
    /// Our side: the address the client sent to, which the reply must come from.
    pub local: SocketAddr,
    /// The shell's number of a stream, never used twice while a `handle_client_gone` is owed; 0 for UDP.
    pub connection: u32,
}

impl Hash for ClientPath {
    /// The client's side and the connection tell nearly all paths apart; hashing less is what the hot path pays for.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let rest = u64::from(self.client.port()) << 32 | u64::from(self.connection);
        match self.client.ip() {
            IpAddr::V4(ip) => state.write_u64(u64::from(ip.to_bits())),
            IpAddr::V6(ip) => state.write_u128(ip.to_bits()),
        }
        state.write_u64(rest);
    }
}

/// One relay socket's life. The engine chooses it; a key is never reused, so a late report finds nobody. The upper half
/// changes with each use of the lower half, which is small enough to index an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelaySocketKey(pub u64);

impl RelaySocketKey {
    pub(crate) fn new(index: usize, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | index as u64 & 0xffff_ffff)
    }

    /// The place of the socket in a table; smaller than the number of sockets ever open at once.
    pub fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

/// What became of a client's message. Replies to requests come from `poll_output`.
#[derive(Debug, PartialEq, Eq)]
pub enum Handled<'d> {
    /// It stops here: answered, obeyed or dropped under a reason.
    Nothing,
    /// The payload goes to a peer.
    ToPeer {
        /// From this socket.
        socket: RelaySocketKey,
        /// To this address; `peer_map` has been applied.
        peer: SocketAddr,
        /// A part of the client's message.
        payload: &'d [u8],
        /// Send it with the Don't Fragment bit (RFC 8656, 18.9).
        dont_fragment: bool,
    },
}

/// What becomes of a peer's datagram.
#[derive(Debug, PartialEq, Eq)]
pub enum ToClient {
    /// It stops here, counted under a reason.
    Drop,
    /// The client gets these four bytes, then the datagram.
    Channel {
        /// To this client.
        path: ClientPath,
        /// Channel number and length.
        header: [u8; 4],
    },
    /// The client gets this head, then the datagram, then zeros up to a multiple of four.
    Indication {
        /// To this client.
        path: ClientPath,
        /// A STUN message up to where the datagram belongs.
        head: IndicationHead,
    },
}

/// A Data indication without its payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IndicationHead {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl IndicationHead {
    /// STUN header, XOR-PEER-ADDRESS of an IPv6 peer, header of DATA.
    pub const BYTES_MAX: usize = 48;

    /// Invariant: `head` has at most [`Self::BYTES_MAX`] bytes.
    pub(crate) fn new(head: &[u8]) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        bytes[..head.len()].copy_from_slice(head);
        Self { bytes, len: head.len() as u8 }
    }

    /// What goes in front of the payload.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for IndicationHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndicationHead({} bytes)", self.len)
    }
}

/// What the engine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a STUN message to a client.
    Reply {
        /// To this client, from the address it sent to.
        path: ClientPath,
        /// The whole message.
        bytes: Vec<u8>,
    },
    /// Open a UDP socket and say with `handle_socket_opened` what came of it.
    OpenSocket {
        /// How both sides will call it.
        key: RelaySocketKey,
        /// Bind here: an address of ours, and a port that no other socket of the engine has.
        local: SocketAddr,
        /// Whose allocation it is for, so that a shell with several threads can place it.
        path: ClientPath,
    },
    /// Close a socket, or forget one that was to be opened.
    CloseSocket {
        /// As in `OpenSocket`.
        key: RelaySocketKey,
    },
    /// A stream of a stranger who goes on guessing: close it.
    Disconnect {
        /// The stream.
        path: ClientPath,
    },
    /// An allocation ended; for one line of log.
    AllocationEnded(AllocationRecord),
}

/// Why a relay socket could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenFailure {
    /// Somebody else has the port: the engine tries another one.
    PortInUse,
    /// No descriptors, no memory, no such address.
    Exhausted,
}

/// An address that allocations are made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayAddress {
    /// What sockets are bound to.
    pub bind: IpAddr,
    /// What clients and peers are told: the same, or the public address of a 1:1 NAT. Of the same family.
    pub announced: IpAddr,
}

/// Which channel numbers clients may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelNumbers {
    /// 0x4000 to 0x7FFF, as RFC 5766 had it and as deployed clients choose.
    #[default]
    Deployed,
    /// 0x4000 to 0x4FFF (RFC 8656, 12).
    Strict,
}

/// Whether one's credentials must still be valid while an allocation lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiryCheck {
    /// They must be when the allocation is made. A browser cannot renew those of a running call.
    #[default]
    AllocateOnly,
    /// They must be at every request: an allocation outlives them by its lifetime at most.
    Strict,
}

/// New allocations while the relay is to become empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drain {
    /// Not draining.
    #[default]
    Off,
    /// Refused with 508.
    Refuse,
    /// Refused with 300 and this address, if it is of the client's family; with 508 otherwise (RFC 8489, 10).
    Redirect(SocketAddr),
}

/// What one shard's engine is told once. Checked by the shell before a port is bound.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// The domain of the credentials. Twelve bytes or fewer keep the reply to a stranger at 64 bytes.
    pub realm: String,
    /// Where allocations are made; the first of each family is what most clients get.
    pub relays: Vec<RelayAddress>,
    /// Ports of relayed addresses; every shard has its own.
    pub ports: RangeInclusive<u16>,
    /// Our own listening addresses: a datagram from one of them is a loop.
    pub listen: Vec<SocketAddr>,
    /// Who may relay.
    pub credentials: Arc<Credentials>,
    /// Where to.
    pub policy: Arc<PeerPolicy>,
    /// How much.
    pub limits: Limits,
    /// Longest life between two refreshes; requests for more are cut to it.
    pub lifetime_max: Duration,
    /// How long a nonce serves; a client asks again with a new one when it is told so.
    pub nonce_lifetime: Duration,
    /// Whether expired credentials may refresh.
    pub expiry: ExpiryCheck,
    /// Which channel numbers pass.
    pub channel_numbers: ChannelNumbers,
    /// Whether Binding requests are answered: browsers learn their own address by them.
    pub binding: bool,
    /// Whether the shell can send single datagrams with the Don't Fragment bit. If not, DONT-FRAGMENT gets 420.
    pub dont_fragment: bool,
    /// 32 bytes of the system's randomness, different for each shard. Ports, nonces and tokens come from it, so it must
    /// be a secret; tests give a constant.
    pub seed: [u8; 32],
}

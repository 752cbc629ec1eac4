//! The bridge without sockets, threads or clocks: bytes, commands and `now` go in, outputs and datagrams come out.
//!
//! ```text
//!              commands, channel, handshake reports            timeouts
//!                            |                                    |
//! datagram --> bridge --> conference --> source (up side)         |
//!                            |             | one shared packet    |
//!                            |             v                      |
//!     other workers' parts <-+-- cascade   |                      |
//!                            |          fan_out --> slot (down side, one per receiver) --> send ring
//!                            +--> outputs: replies, notices, handshake, channel
//! ```
//!
//! One RTP packet: `bridge` classifies it (RFC 7983) and finds its endpoint by its path, in one hash. The endpoint's
//! opener decrypts it once, into the source's retransmission cache. The source notes sequence, loss, arrival, level and
//! key frame. `fan_out` shows the same read-only packet to each receiver's slot, which takes or drops it, writes its own
//! header and seals into the send ring.
//!
//! A conference may be larger than a worker: `cascade` then shows its packets to the parts of it that other workers hold.
//!
//! Invariants: nothing of a datagram is believed before ICE has authenticated its path and SRTP its bytes. Every
//! packet that stops has a `DropReason`. The shared packet is never written after it was opened. A packet is
//! forwarded without allocation. Time only comes from the caller. Knows nothing about SDP, sockets, metrics' names.

pub mod bridge;
mod cache;
pub mod cascade;
mod channel;
mod codecs;
mod conference;
mod continuity;
mod control;
mod downlink;
pub mod drop_reason;
mod effects;
mod endpoint;
mod extension_ids;
mod fan_out;
mod formats;
mod ice;
mod layer;
mod medias;
mod nack;
mod observe;
mod packet;
mod parameters;
pub mod ports;
mod rate;
mod reports;
mod rtcp_in;
mod rtcp_out;
mod rtx;
mod seats;
pub mod send_ring;
mod sent;
mod slot;
mod source;
mod speakers;
pub mod stats;
mod streams;
mod timers;
mod uplink;
mod wishes;

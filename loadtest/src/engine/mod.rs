//! The callers' engine: bytes and `now` in, datagrams and notes out. It opens no socket, reads no clock, starts nothing.
//!
//! ```text
//!               offer, answer                                 requests, updates
//!  control ◄──────────────────► caller ◄─ sdp      control ◄──────────────────► attendance
//!                                 │
//!   datagram ─► [link] ─► [turn] ─► caller ─┬─ STUN ── ice ── connected ──┐
//!                                           ├─ DTLS ── dtls ◄─────────────┘ ── keys
//!                                           ├─ SRTP ── open ── receive::Viewer ── stamp ── counts, delays
//!                                           │            └──── arrivals
//!                                           └─ SRTCP ─ NACK, PLI, FIR ──► send::Publisher
//!   now ────────────────────────► caller ───── send::Publisher ── seal ──► Workspace.transmits ─► [turn] ─► [link]
//! ```
//!
//! A packet's walk: the shell has a datagram of one caller's socket and hands it to [`caller::Caller::handle_datagram`],
//! which looks at its first two bytes. Media: [`receive::Viewer`] says which slot's stream the header names, SRTP opens it
//! into the thread's one [`ports::Workspace`], its transport-wide number is noted, and the viewer reads the stamp that
//! the sender has put into the payload. Nothing is copied again and nothing allocated. What the caller has to say in
//! return lies in the same workspace when the call comes back.
//!
//! A caller's life: [`caller::Caller::new`], `offer`, `handle_answer` once, then datagrams and timeouts until `hang_up`. It
//! says what became true by [`ports::Note`] and what it measured by [`results::Results`], which are sums and distributions
//! only, so that callers, threads, seconds and machines add up.
//!
//! Invariants: a caller is a whole browser as far as a server can tell, or says why not; all that is random in it comes from
//! its seed; nothing that is not authentic is counted as media; a caller costs some 10 KiB, its thread's workspace the
//! rest. Strangers' bytes (a server under test is one) change counters and never panic.
//!
//! Knows nothing of tokio, sockets, HTTP, scenarios' files and reports. What carries a caller's datagrams (directly, by
//! TURN, over a lossy [`link`]) is the crew's business.

pub mod attendance;
pub mod caller;
pub mod counts;
mod dtls;
mod ice;
pub mod link;
pub mod ports;
pub mod receive;
pub mod results;
mod sdp;
pub mod send;
pub mod stamp;
pub mod turn;

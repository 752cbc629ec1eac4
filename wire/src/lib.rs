//! Everything whose shape two programs must agree on: the bytes of a packet, the JSON of a message, the settings file,
//! the flags and the ready line of a program.
//! Floor 0 of the workspace: every program stands on it, it stands on none of them.
//!
//! ```text
//!  browser ──── datagrams ────► bridge, turn-relay, loadtest        browser, bridge ──── text ────► signaling
//!
//!  datagram::classify                                               messages::parse_json
//!    ├─ stun    Message, Builder, ChannelData                         ├─ meeting   browser ↔ signaling
//!    ├─ (DTLS: the bridge's handshake)                                ├─ channel   browser ↔ bridge
//!    ├─ srtp    Opener, Sealer ── rtp   RtpView, write_header         ├─ link      signaling ↔ bridge
//!    └─ srtp    Opener, Sealer ── rtcp  packets, Packet               └─ ids, media, which they all name
//!
//!                                                                   sdp        offers and answers, typed
//!  settings    one TOML file for every program                      text       names that persons chose
//!  program     flags, ready line, log, exit code                    turn       passwords of the TURN REST convention
//! ```
//!
//! **A packet's bytes.** [`datagram::classify`] looks at two bytes and says which parser to ask. For media,
//! [`rtp::RtpView::parse_protected`] reads the header, which SRTP leaves in the clear; the caller finds the stream by it,
//! and with it the stream's [`srtp::ReplayWindow`]; [`srtp::Opener`] checks the tag and writes the plaintext into the
//! caller's buffer; only then does the window change, and [`rtp::RtpView::parse`] read the rest. On the way out
//! [`rtp::write_header`] writes a new header, and [`srtp::Sealer`] seals header and shared plaintext payload into the
//! datagram to send. For RTCP, [`rtcp::packets`] walks the opened datagram; answers are appended to one buffer, packet
//! after packet, and sealed together.
//!
//! **A message.** A text frame goes through [`messages::parse_json`], which refuses what two parsers could read in two
//! ways, into one of the enums of [`messages`]; identifiers in it are checked while they are read. The reply is
//! serialised from a typed value, never pasted together.
//!
//! **Invariants.**
//!
//! - Bytes of a stranger never panic, never loop longer than their own length allows, and never make a parser allocate
//!   more than a small multiple of that length. The targets in `fuzz/` and their replay in `tests/fuzz_corpus.rs` hold
//!   this for every parser.
//! - Parsing is checking: a view that exists can be read without a further error.
//! - Views borrow from the datagram; nothing on the packet path allocates.
//! - Whatever we write, we read back as the same value; `tests/` proves it by random values.
//!
//! **What it knows nothing about:** sockets, clocks, threads, and what any program does with a packet or a message.

pub mod datagram;
pub mod messages;
pub mod program;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod settings;
pub mod srtp;
pub mod stun;
pub mod text;
pub mod turn;

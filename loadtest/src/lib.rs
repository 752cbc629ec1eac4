//! loadtest: simulated browsers that tell what a fleet carries.
//!
//! Thousands of callers of one machine join conferences as the meeting page does, send media of the size and rhythm of
//! cameras, voices and screens, take in what they are sent, and measure it. A scenario says who calls whom; an outcome
//! says what was found; a plan climbs from run to run until something breaks, and says what to buy.
//!
//! ```text
//!  scenario ─▶ run: schedule, one task a caller, a sample a second ─▶ outcome ─▶ report, compare, plan
//!                │                                     ▲
//!                ├─▶ control: /ws, WHIP, WHEP, channel, servers' /stats        (async)
//!                │      │ offer, answer, notes         │ results by group
//!                └─▶ phone ┬─ crew: threads with sockets, timers, TURN, links  (mio)
//!                          │    └─ engine: ICE, DTLS, SRTP, media, measures    (no I/O, no clock)
//!                          └─ full: the PeerConnections of the `webrtc` crate, to keep the former honest
//!  coordinator: several machines, one run
//! ```
//!
//! One packet: a publisher's frame is due ([`engine`]'s `send`) and is stamped with the clock of this process; the caller
//! seals it, the crew sends it, all packets of a frame in one system call. Whatever the server makes of it arrives at
//! another caller's socket; the crew hands it over with the instant at which the kernel had it; the caller opens it — what
//! is not authentic is counted and goes no further —, and the viewer reads the stamp: delay, gaps, pictures that are whole,
//! pictures that stand still. Once a second the counts of a group's callers are added up and taken to [`run`].
//!
//! One caller: [`run`] wakes its task at its time; [`control`] joins, waits for the assignment, sends the phone's offer and
//! brings it the answer; the phone notes checks, keys, first packet and first picture, each a step of the join. It follows
//! its conference to another bridge, comes back after a broken line, and leaves as a closed page does.
//!
//! Invariants:
//! - Only authenticated packets count as media; where a scenario opens a share, the report says so.
//! - Delays are differences of one clock: between callers of one process only.
//! - The engine takes `now` and bytes; it reads no clock, opens no socket, waits for nothing.
//! - Sums and histograms add up, over callers, seconds, threads and machines; nothing is averaged before it is told.
//! - Every run has an outcome, however it ended, and says when loadtest itself was the limit.
//! - Everything random is drawn from the scenario's seed.
//!
//! It knows nothing of how a server works: what it sees is what a browser and an operator see.

pub mod compare;
pub mod control;
pub mod coordinator;
pub mod crew;
pub mod engine;
pub mod full;
pub mod outcome;
pub mod phone;
pub mod plan;
pub mod report;
pub mod run;
pub mod scenario;

//! What decides about a connection, taken from the relay's source: both files are closed to the outside there, and open no
//! socket.

#[allow(dead_code, reason = "the front uses all of it")]
#[path = "../../src/front/first_bytes.rs"]
pub(crate) mod first_bytes;

#[allow(dead_code, reason = "the front uses all of it")]
#[path = "../../src/front/proxy_protocol.rs"]
pub(crate) mod proxy_protocol;

/// The reasons that `first_bytes` names.
pub(crate) mod stats {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Refusal {
        UnknownProtocol,
        ProxyVersion,
    }
}

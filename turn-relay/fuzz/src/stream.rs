//! What cuts a stream into messages, taken from the relay's source: it is closed to the outside there, and reads no socket.

#[allow(dead_code, reason = "the stream uses all of it")]
#[path = "../../src/stream/framer.rs"]
mod framer;

/// The reasons that `framer` names.
pub(crate) mod close_reason {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) enum CloseReason {
        NotTurn,
        StunLength,
        StunCookie,
        TooLong,
    }
}

use close_reason::CloseReason;

/// What a stream that came in these pieces is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) end: Option<CloseReason>,
    pub(crate) is_between_messages: bool,
}

pub(crate) fn frames(pieces: &[&[u8]]) -> Frames {
    let mut framer = framer::Framer::default();
    let mut frames = Frames::default();
    for piece in pieces {
        let pushed = framer.push(piece, &mut |message| frames.messages.push(message.to_vec()));
        if let Err(reason) = pushed {
            frames.end = Some(reason);
            return frames;
        }
    }
    frames.is_between_messages = framer.is_between_messages();
    frames
}

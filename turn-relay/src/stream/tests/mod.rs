//! Streams as clients see them. Time is an argument; only the sockets are real.

use wire::stun::{ChannelData, HEADER_BYTES, MAGIC_COOKIE};

use super::close_reason::CloseReason;
use super::framer::Framer;

mod client;
mod egress;
mod framer;
mod gates;
mod world;

/// A STUN message with a body of `body` bytes, told from others by its transaction.
fn stun(transaction: u32, body: usize) -> Vec<u8> {
    let mut message = vec![0, 1];
    message.extend((body as u16).to_be_bytes());
    message.extend(MAGIC_COOKIE.to_be_bytes());
    message.extend(transaction.to_be_bytes());
    message.resize(HEADER_BYTES, 0);
    message.resize(HEADER_BYTES + body, transaction as u8);
    message
}

/// Channel data, without padding.
fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    [&ChannelData::header(number, payload.len() as u16), payload].concat()
}

/// What a client pads a message to.
fn padded(mut message: Vec<u8>) -> Vec<u8> {
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// Everything a framer makes of pieces of a stream, and how that ends.
fn cut<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Vec<u8>>, Result<(), CloseReason>) {
    let (mut framer, mut messages) = (Framer::default(), Vec::new());
    for piece in pieces {
        let outcome = framer.push(piece, &mut |message| messages.push(message.to_vec()));
        if outcome.is_err() {
            return (messages, outcome);
        }
    }
    (messages, Ok(()))
}

/// Numbers of the datagrams and of the replies among a client's messages.
fn numbers(messages: &[Vec<u8>]) -> (Vec<u32>, Vec<u32>) {
    let number = |message: &[u8], at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
    let (datagrams, replies): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message[0] >= 0x40);
    let datagrams = datagrams.iter().map(|message| number(message, ChannelData::HEADER_BYTES)).collect();
    (datagrams, replies.iter().map(|message| number(message, 8)).collect())
}

//! Messages out of a stream (RFC 8656, 12.5; RFC 8489, 6.2.2): each says its own length in its first four bytes.

use wire::stun::{ChannelData, HEADER_BYTES, MAGIC_COOKIE};

/// The stream carries something else than STUN and channel data; there is no way to find the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the TURN server's stream is neither STUN nor channel data")]
pub struct BadStream;

/// Takes bytes as they come and gives whole messages.
#[derive(Debug, Default)]
pub struct StreamReader {
    bytes: Vec<u8>,
    /// What has been given out.
    start: usize,
}

impl StreamReader {
    /// Appends what was read. Holds one unfinished message (64 KiB at most) and what the last call brought.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; none until more is pushed.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, BadStream> {
        let rest = &self.bytes[self.start..];
        let Some(length) = message_length(rest)? else { return Ok(None) };
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.start;
        self.start += length;
        Ok(Some(&self.bytes[start..self.start]))
    }
}

/// The whole length of the message that begins here; none when there are too few bytes to tell.
fn message_length(bytes: &[u8]) -> Result<Option<usize>, BadStream> {
    let [first, _, length_high, length_low, rest @ ..] = bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*length_high, *length_low]));
    match first {
        0..=3 => {
            // The cookie is looked at as soon as it is there: a web server's answer must not be waited for.
            let cookie = MAGIC_COOKIE.to_be_bytes();
            let shown = &rest[..rest.len().min(cookie.len())];
            let is_stun = length.is_multiple_of(4) && cookie.starts_with(shown);
            if is_stun { Ok(Some(HEADER_BYTES + length)) } else { Err(BadStream) }
        }
        // Only numbers that this client binds: the H of a web server's answer would be a channel's, too.
        0x40 => Ok(Some(ChannelData::HEADER_BYTES + length + ChannelData::stream_padding(length))),
        _ => Err(BadStream),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel_data(data: &[u8]) -> Vec<u8> {
        let mut bytes = ChannelData::header(0x4000, data.len() as u16).to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len() + ChannelData::stream_padding(data.len()), 0);
        bytes
    }

    #[test]
    fn another_protocol_is_known_by_its_first_bytes() {
        for stream in
            [&b"HTTP/1.1 400 Bad Request"[..], &[0, 1, 0, 0, 9, 9, 9, 9], &[0, 1, 0, 3], &[0x16, 3, 1, 0]]
        {
            let mut reader = StreamReader::default();
            reader.push(stream);
            assert_eq!(reader.next_message(), Err(BadStream), "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_the_stream_is_cut(
            datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 1..20),
            cuts in prop::collection::vec(1usize..60, 1..200),
        ) {
            let stream: Vec<u8> = datagrams.iter().flat_map(|data| channel_data(data)).collect();
            let mut reader = StreamReader::default();
            let mut came: Vec<Vec<u8>> = Vec::new();
            let mut rest = &stream[..];
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                reader.push(now);
                while let Some(message) = reader.next_message().unwrap() {
                    came.push(ChannelData::parse(message).unwrap().data.to_vec());
                }
                rest = later;
            }
            prop_assert_eq!(came, datagrams);
        }

        #[test]
        fn no_stream_can_make_it_panic(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8)) {
            let mut reader = StreamReader::default();
            for chunk in chunks {
                reader.push(&chunk);
                while let Ok(Some(message)) = reader.next_message() {
                    prop_assert!(message.len() >= ChannelData::HEADER_BYTES);
                }
            }
        }
    }
}

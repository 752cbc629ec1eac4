//! TLS of an established stream, between the socket's bytes and ours.
//!
//! Never more than one record waits here: the next one is only sealed when the socket has taken the last one, so that a
//! datagram stays in `egress`, where it may grow too old, for as long as possible.

use std::io::{self, BufRead, ErrorKind, IoSlice, Read, Write};

use rustls::ServerConnection;

use super::close_reason::CloseReason;

/// Takes plaintext; an error ends the stream.
pub(super) type OnPlaintext<'f> = &'f mut dyn FnMut(&[u8]) -> Result<(), CloseReason>;

/// One TLS connection whose handshake is done.
#[derive(Debug)]
pub(super) struct TlsLayer {
    connection: Box<ServerConnection>,
}

impl TlsLayer {
    /// Takes over from the handshake.
    pub(super) fn new(mut connection: Box<ServerConnection>) -> Self {
        connection.set_buffer_limit(Some(PLAINTEXT_BYTES_MAX));
        Self { connection }
    }

    /// Whether the client may be sent anything.
    pub(super) fn is_established(&self) -> bool {
        !self.connection.is_handshaking()
    }

    /// Takes what the socket gave and hands on the plaintext of each record that is whole.
    pub(super) fn open(
        &mut self,
        ciphertext: &[u8],
        on_plaintext: OnPlaintext<'_>,
    ) -> Result<(), CloseReason> {
        let mut rest = ciphertext;
        while !rest.is_empty() {
            // Nothing is taken any more once a goodbye has been read, be it during the handshake.
            if self.connection.read_tls(&mut rest).map_err(|_| CloseReason::TlsRecord)? == 0 {
                return Err(CloseReason::ByClient);
            }
            let state = self.connection.process_new_packets().map_err(|error| CloseReason::of_tls(&error))?;
            self.hand_on(on_plaintext)?;
            if state.peer_has_closed() {
                return Err(CloseReason::ByClient);
            }
        }
        // The connection keeps the buffer of its longest record until it looks for more: let it look.
        let _ = self.connection.read_tls(&mut NothingYet);
        Ok(())
    }

    /// Hands on plaintext that is there already. It is empty after [`TlsLayer::open`]; the handshake may have left some.
    pub(super) fn hand_on(&mut self, on_plaintext: OnPlaintext<'_>) -> Result<(), CloseReason> {
        let mut reader = self.connection.reader();
        // An end of the stream is told by `process_new_packets` and by the socket, not here.
        while let Ok(plaintext) = reader.fill_buf()
            && !plaintext.is_empty()
        {
            on_plaintext(plaintext)?;
            let len = plaintext.len();
            reader.consume(len);
        }
        Ok(())
    }

    /// Makes a record of up to [`PLAINTEXT_BYTES_MAX`] bytes and says how many went in.
    pub(super) fn seal(&mut self, plaintext: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.connection.writer().write_vectored(plaintext)? {
            // Keys used up, or goodbye said: nothing will ever go in again.
            0 => Err(ErrorKind::InvalidData.into()),
            sealed => Ok(sealed),
        }
    }

    /// Whether the socket has not taken everything yet.
    pub(super) fn has_records(&self) -> bool {
        self.connection.wants_write()
    }

    /// Gives the socket what it takes of the waiting record.
    pub(super) fn send(&mut self, socket: &mut dyn Write) -> io::Result<usize> {
        self.connection.write_tls(socket)
    }

    /// Says goodbye behind what waits.
    pub(super) fn say_goodbye(&mut self) {
        self.connection.send_close_notify();
    }
}

/// A socket on which nothing has come.
struct NothingYet;

impl Read for NothingYet {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(ErrorKind::WouldBlock.into())
    }
}

/// The longest plaintext of one record (RFC 8446, 5.1).
pub(super) const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

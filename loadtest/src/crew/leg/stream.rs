//! A TCP connection to a TURN server, with TLS or without. What does not fit into its queue is dropped, whole datagrams at a
//! time, so that a stream that does not move costs memory once and time never.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::net::TcpStream;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::{Place, Reading};
use crate::crew::limits::socket_error;
use crate::engine::ports::Transmits;
use crate::engine::turn::StreamReader;
use crate::phone::PhoneError;

/// One connection.
pub(in crate::crew) struct StreamLeg {
    socket: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// When it must have been established; none: it is.
    open_by: Option<Instant>,
    reader: StreamReader,
    /// What has not been written yet, from `written` on; whole messages were put in.
    queue: Vec<u8>,
    written: usize,
}

impl StreamLeg {
    /// Begins to connect.
    pub(in crate::crew) fn open(
        now: Instant,
        remote: SocketAddr,
        tls: Option<(&Arc<ClientConfig>, &ServerName<'static>)>,
        place: Place<'_>,
    ) -> Result<Self, PhoneError> {
        let tls = match tls {
            Some((config, name)) => {
                let connection = ClientConnection::new(Arc::clone(config), name.clone());
                Some(Box::new(connection.map_err(|error| PhoneError::Relay(format!("TLS: {error}")))?))
            }
            None => None,
        };
        let mut socket = TcpStream::connect(remote).map_err(|error| match socket_error(&error) {
            PhoneError::Socket(why) => PhoneError::Relay(unreachable(&why)),
            limit => limit,
        })?;
        place
            .registry
            .register(&mut socket, place.token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| socket_error(&error))?;
        let open_by = Some(now + CONNECT_WITHIN);
        Ok(Self { socket, tls, open_by, reader: StreamReader::default(), queue: Vec::new(), written: 0 })
    }

    /// When it has waited too long for the other side.
    pub(in crate::crew) fn next_timeout(&self) -> Option<Instant> {
        self.open_by
    }

    /// Says so when it has.
    pub(in crate::crew) fn handle_timeout(&mut self, now: Instant) -> Result<(), String> {
        if self.open_by.is_some_and(|open_by| open_by <= now) {
            return Err(unreachable("it does not answer"));
        }
        Ok(())
    }

    /// Puts datagrams into the queue and writes what it can; says how many found no room.
    pub(in crate::crew) fn send(&mut self, transmits: &Transmits) -> u64 {
        let mut unsent = 0;
        for message in transmits.iter() {
            if self.queue.len() - self.written + message.len() > QUEUE_BYTES_MAX {
                unsent += 1;
            } else {
                self.queue.extend_from_slice(message);
            }
        }
        // An error here shows again when the socket is read, where it has a reader.
        let _ = self.write();
        unsent
    }

    /// Hands over the messages that have arrived, and writes what had to wait. An error is the connection's end.
    pub(in crate::crew) fn receive(
        &mut self,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<Reading, String> {
        if !self.is_established()? {
            return Ok(Reading::Done);
        }
        for _ in 0..READS_MAX {
            let (count, is_drained) = self.read(scratch)?;
            self.reader.push(&scratch[..count]);
            while let Some(message) = self.reader.next_message().map_err(|error| error.to_string())? {
                take(message);
            }
            if is_drained {
                self.write().map_err(|error| broken(&error))?;
                return Ok(Reading::Done);
            }
        }
        self.write().map_err(|error| broken(&error))?;
        Ok(Reading::More)
    }

    /// Whether it is connected; an error if it never will be.
    fn is_established(&mut self) -> Result<bool, String> {
        if self.open_by.is_none() {
            return Ok(true);
        }
        if let Ok(Some(error)) | Err(error) = self.socket.take_error() {
            return Err(unreachable(&error.to_string()));
        }
        match self.socket.peer_addr() {
            Ok(_) => {
                self.open_by = None;
                // Media does not wait for company.
                let _ = self.socket.set_nodelay(true);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(unreachable(&error.to_string())),
        }
    }

    /// Plain bytes into `scratch`, and whether there are no more for the moment.
    fn read(&mut self, scratch: &mut [u8]) -> Result<(usize, bool), String> {
        let Some(tls) = &mut self.tls else {
            return match self.socket.read(scratch) {
                Ok(0) => Err(CLOSED.to_owned()),
                Ok(count) => Ok((count, false)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((0, true)),
                Err(error) if error.kind() == ErrorKind::Interrupted => Ok((0, false)),
                Err(error) => Err(broken(&error)),
            };
        };
        let is_drained = match tls.read_tls(&mut self.socket) {
            Ok(0) => return Err(CLOSED.to_owned()),
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == ErrorKind::Interrupted => false,
            Err(error) => return Err(broken(&error)),
        };
        if let Err(error) = tls.process_new_packets() {
            // The other side is told why, if it listens.
            let _ = tls.write_tls(&mut self.socket);
            return Err(format!("TLS with the TURN server failed: {error}"));
        }
        match tls.reader().read(scratch) {
            Ok(0) => Err(CLOSED.to_owned()),
            // Plain bytes may be left behind in rustls: the next call finds them before it finds the socket empty.
            Ok(count) => Ok((count, false)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok((0, is_drained)),
            Err(error) => Err(broken(&error)),
        }
    }

    /// Writes until the queue is empty or the socket is full.
    fn write(&mut self) -> io::Result<()> {
        if self.open_by.is_some() {
            return Ok(());
        }
        let result = match &mut self.tls {
            Some(tls) => write_tls(tls, &mut self.socket, &self.queue, &mut self.written),
            None => write_plain(&mut self.socket, &self.queue, &mut self.written),
        };
        // What is written makes room as soon as it is most of the queue, so that bytes are moved seldom.
        if self.written * 2 >= self.queue.len() {
            self.queue.drain(..self.written);
            self.written = 0;
        }
        match result {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }
}

fn write_plain(socket: &mut TcpStream, queue: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < queue.len() {
        match socket.write(&queue[*written..]) {
            Ok(count) => *written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One record at a time goes into rustls, so that the bound of the queue is the bound of everything that waits.
fn write_tls(
    tls: &mut ClientConnection,
    socket: &mut TcpStream,
    queue: &[u8],
    written: &mut usize,
) -> io::Result<()> {
    loop {
        while tls.wants_write() {
            match tls.write_tls(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if *written == queue.len() || tls.is_handshaking() {
            return Ok(());
        }
        let end = queue.len().min(*written + RECORD_BYTES);
        *written += tls.writer().write(&queue[*written..end])?;
    }
}

fn unreachable(why: &str) -> String {
    format!("the TURN server cannot be reached: {why}")
}

fn broken(error: &io::Error) -> String {
    format!("the connection to the TURN server broke: {error}")
}

const CLOSED: &str = "the TURN server has closed the connection";

/// A second attempt of the kernel at 1 s and a third at 3 s are in it.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A whole page of a shared screen and some; a second at 2 Mbit/s. What waits longer is of no use to anybody.
const QUEUE_BYTES_MAX: usize = 256 * 1024;

/// Half a megabyte; then others have their turn.
const READS_MAX: usize = 8;

/// The largest TLS record (RFC 8446, 5.1).
const RECORD_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use mio::{Events, Poll, Token};
    use wire::stun::ChannelData;

    use super::*;

    /// Channel data of one number over and over, so that a lost or torn piece shows.
    fn message(number: u8) -> Vec<u8> {
        let mut bytes = ChannelData::header(0x4000, 1_000).to_vec();
        bytes.resize(ChannelData::HEADER_BYTES + 1_000, number);
        bytes
    }

    #[test]
    fn a_stream_that_does_not_move_drops_whole_datagrams_and_keeps_its_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut poll = Poll::new().unwrap();
        let place = Place { registry: poll.registry(), token: Token(1) };
        let now = Instant::now();
        let mut leg = StreamLeg::open(now, listener.local_addr().unwrap(), None, place).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        let mut events = Events::with_capacity(4);
        let mut scratch = vec![0; 4_096];
        while leg.next_timeout().is_some() {
            poll.poll(&mut events, None).unwrap();
            leg.receive(&mut scratch, |_| {}).unwrap();
        }

        // Far more than the sockets' buffers and the queue hold together.
        let (mut unsent, mut sent) = (0, 0);
        let mut transmits = Transmits::default();
        while unsent == 0 {
            transmits.clear();
            transmits.push(&message(sent as u8));
            unsent += leg.send(&transmits);
            sent += 1;
            assert!(leg.queue.len() - leg.written <= QUEUE_BYTES_MAX && sent < 1_000_000);
        }
        sent -= 1;

        // Once the other side reads, everything that was taken arrives whole and in order.
        let mut came = StreamReader::default();
        let (mut count, mut buffer) = (0, vec![0; 1 << 16]);
        while count < sent {
            let length = other.read(&mut buffer).unwrap();
            came.push(&buffer[..length]);
            while let Some(whole) = came.next_message().unwrap() {
                assert_eq!(whole, message(count as u8));
                count += 1;
            }
            leg.receive(&mut scratch, |_| {}).unwrap();
        }
        drop(other);
        let ended = loop {
            poll.poll(&mut events, None).unwrap();
            if let Err(why) = leg.receive(&mut scratch, |_| {}) {
                break why;
            }
        };
        assert_eq!(ended, CLOSED);
    }
}

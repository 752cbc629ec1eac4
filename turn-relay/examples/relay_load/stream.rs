//! A client's stream, plain or in TLS: whole messages out, messages cut from whatever bytes came.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Target, Way};

/// Nothing that a client waits for takes longer on one machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    tls: Option<ClientConnection>,
    /// What came and is not yet a whole message.
    inbox: Vec<u8>,
    /// Written in plain and not taken by the kernel yet.
    outbox: Vec<u8>,
}

/// The one who signed the relay's certificate is trusted, and nobody else.
pub(crate) fn tls_config(ca: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(io::Error::other)? {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// A TCP connection from an address, with a receive buffer as small as asked (0: the system's).
pub(crate) fn connect(from: SocketAddr, server: SocketAddr, buffer_bytes: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
    if buffer_bytes > 0 {
        socket.set_recv_buffer_size(buffer_bytes)?;
    }
    socket.bind(&from.into())?;
    socket.connect_timeout(&server.into(), PATIENCE)?;
    socket.set_tcp_nodelay(true)?;
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

impl Stream {
    /// Connects, with TLS if the target wants it, and has shaken hands when it returns.
    pub(crate) fn open(
        target: &Target,
        config: Option<&Arc<ClientConfig>>,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let mut socket = connect(SocketAddr::new(target.from, 0), target.server, buffer_bytes)?;
        let tls = match (target.transport, config) {
            (Way::Tls, Some(config)) => {
                let name = ServerName::from(target.server.ip());
                let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
                while tls.is_handshaking() {
                    tls.complete_io(&mut socket)?;
                }
                Some(tls)
            }
            (Way::Tls, None) => return Err(io::Error::other("TLS needs --ca")),
            _ => None,
        };
        Ok(Self { socket, tls, inbox: Vec::new(), outbox: Vec::new() })
    }

    /// Writes bytes: all of them if the socket waits, as much as goes if not; the rest goes with `flush`.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            Some(tls) => tls.writer().write_all(bytes)?,
            None => self.outbox.extend_from_slice(bytes),
        }
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.tls.as_ref().map_or(!self.outbox.is_empty(), |tls| tls.wants_write()) {
            let written = match &mut self.tls {
                Some(tls) => tls.write_tls(&mut self.socket),
                None => self.socket.write(&self.outbox),
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) if self.tls.is_none() => drop(self.outbox.drain(..count)),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads once, `bytes_max` from the network at most. False: nothing was there.
    pub(crate) fn read(&mut self, bytes_max: usize) -> io::Result<bool> {
        let mut limited = (&self.socket).take(bytes_max as u64);
        let read = match &mut self.tls {
            Some(tls) => tls.read_tls(&mut limited),
            None => {
                let held = self.inbox.len();
                self.inbox.resize(held + bytes_max, 0);
                let read = limited.read(&mut self.inbox[held..]);
                self.inbox.truncate(held + read.as_ref().copied().unwrap_or_default());
                read
            }
        };
        match read {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        let Some(tls) = &mut self.tls else { return Ok(true) };
        let state = tls.process_new_packets().map_err(io::Error::other)?;
        let held = self.inbox.len();
        self.inbox.resize(held + state.plaintext_bytes_to_read(), 0);
        tls.reader().read_exact(&mut self.inbox[held..])?;
        Ok(true)
    }

    /// Hands over every whole message, without padding.
    pub(crate) fn take_messages(&mut self, mut take: impl FnMut(&[u8])) {
        let mut at = 0;
        while let Some((message, next)) = first_message(&self.inbox[at..]) {
            take(message);
            at += next;
        }
        self.inbox.drain(..at);
    }
}

/// The first message and where the next one begins: ChannelData is padded to four, STUN is so by itself.
fn first_message(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let header = bytes.get(..4)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let whole = length + if header[0] < 0x40 { 20 } else { 4 };
    let next = whole.next_multiple_of(4);
    (bytes.len() >= next).then(|| (&bytes[..whole], next))
}

//! One HTTP request over one connection, byte by byte, so that bad ones can be sent too.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(each, _)| each.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Sends a request with these headers and `body`, and reads until the server hangs up.
pub(crate) fn request(
    server: SocketAddr,
    line: (&str, &str),
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let (method, path) = line;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    raw(server, text.as_bytes())
}

/// `POST` of an offer (RFC 9725, 4.2).
pub(crate) fn post_sdp(server: SocketAddr, path: &str, offer: &str) -> Response {
    request(server, ("POST", path), &[("Content-Type", "application/sdp")], offer)
}

/// Sends `bytes` and reads until the server hangs up.
pub(crate) fn raw(server: SocketAddr, bytes: &[u8]) -> Response {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that refuses early may hang up before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// Longer than any answer takes; a request that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(10);

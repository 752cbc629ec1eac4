use std::net::UdpSocket;
use std::sync::Arc;

use mio::{Poll, Token, Waker};
use wire::sdp;
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

use super::super::command::Line;
use super::*;
use crate::engine::caller::Identity;
use crate::engine::ports::CallerPlan;
use crate::scenario::Receive;

fn caller(now: Instant) -> Caller {
    let plan = CallerPlan {
        number: 1,
        seed: 2,
        clock: crate::engine::stamp::Clock { number: 1, epoch: now },
        voice: None,
        camera: None,
        screen: None,
        receive: Receive { audio: Some(1), video: Some(0), ..Receive::default() },
    };
    Caller::new(now, plan, Arc::new(Identity::generate().unwrap()))
}

/// Of a server whose first candidate is another one than that which answers.
fn answer(offer: &sdp::Sdp) -> String {
    let fingerprint = &offer.medias[0].transport.fingerprints[0].value;
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=rtcp-mux\r\n\
         a=rtpmap:111 opus/48000/2\r\na=ice-ufrag:srv1\r\na=ice-pwd:serverserverserverserver\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:passive\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n"
    )
}

#[test]
fn a_server_that_checks_reads_the_address_that_is_tried() {
    let poll = Poll::new().unwrap();
    let place = Place { registry: poll.registry(), token: Token(1) };
    let (commands, _commands) = std::sync::mpsc::channel();
    let line = Line::new(commands, Arc::new(Waker::new(poll.registry(), Token(0)).unwrap()));
    let (notes, _notes) = mpsc::channel(4);
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let address = server.local_addr().unwrap();

    let now = Instant::now();
    let mut caller = caller(now);
    let offer = sdp::parse(&caller.offer()).unwrap();
    caller.handle_answer(now, &answer(&offer)).unwrap();
    let opening = Opening { line, group: 0, seed: 3, link: None, relay: None, notes };
    let mut seat = Seat::open(now, opening, 1, place);
    // A socket must ask to be allowed the first one.
    let candidates = vec!["255.255.255.255:9".parse().unwrap(), address];
    let (reply, mut open) = oneshot::channel();
    seat.connect(now, Connecting { caller: Box::new(caller), candidates }, reply, place);
    assert_eq!(open.try_recv(), Ok(Ok(())));

    let mut tools = Tools::default();
    seat.handle_timeout(now, &mut tools, place);
    let mut buffer = [0; 2_048];
    let (_, from) = server.recv_from(&mut buffer).unwrap();
    let own = &offer.medias[0].transport;
    let check = Builder::new(Class::Request, Method::BINDING, TransactionId([7; 12]))
        .attribute(AttributeKind::USERNAME, format!("{}:srv1", own.ufrag.as_ref().unwrap()).as_bytes())
        .sign(own.pwd.as_ref().unwrap().as_bytes())
        .fingerprint();
    server.send_to(&check, from).unwrap();
    seat.handle_readable(Clock::read(), &mut tools, place);
    let (length, _) = server.recv_from(&mut buffer).unwrap();
    let answer = Message::parse(&buffer[..length]).unwrap();
    assert_eq!((answer.class(), answer.xor_mapped_address()), (Class::Success, Some(address)));
}

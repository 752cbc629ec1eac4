use std::net::UdpSocket as StdSocket;
use std::time::Instant;

use mio::{Events, Interest, Poll, Token};

use super::messages::MESSAGES_MAX;
use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A socket of somebody else's.
fn other(address: IpAddr) -> StdSocket {
    let socket = StdSocket::bind((address, 0)).expect("this test needs loopback of both families");
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn listener(address: IpAddr) -> UdpListener {
    UdpListener::bind((address, 0).into(), false).unwrap()
}

fn relay_socket(address: IpAddr) -> RelaySocket {
    RelaySocket::open((address, 0).into(), 1 << 20).unwrap()
}

fn bound(source: &UdpSocket) -> SocketAddr {
    source.local_addr().unwrap()
}

/// The next datagrams.
fn arrivals(socket: &StdSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; 65_536];
    (0..count)
        .map(|_| {
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
        .collect()
}

/// Waits until something can be received.
fn wait(source: &mut UdpSocket) {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(source, Token(0), Interest::READABLE).unwrap();
    poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(5))).unwrap();
    poll.registry().deregister(source).unwrap();
}

/// Datagrams with whom they came from, and which address they came to.
fn handed_out(batch: &ReceiveBatch, received: Received) -> Vec<(SocketAddr, Option<IpAddr>, Vec<u8>)> {
    let datagrams = batch.datagrams(received.messages);
    datagrams.map(|each| (each.remote, each.local, each.span.of(batch.bytes()).to_vec())).collect()
}

fn to(remote: SocketAddr, bytes: &[u8]) -> Outgoing<'_> {
    Outgoing { remote, local: None, parts: [&[], bytes, &[]] }
}

/// Payloads of these lengths, each of bytes that say which one it is.
fn payloads(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().zip(1..).map(|(length, byte)| vec![byte; *length]).collect()
}

fn echo_over(bound_to: IpAddr, asked: IpAddr) {
    let (mut listener, client) = (listener(bound_to), other(asked));
    let port = listener.local_addr().port();
    client.send_to(b"hello", (asked, port)).unwrap();

    wait(listener.source());
    let (mut receive, mut send) = (ReceiveBatch::default(), SendBatch::default());
    let received = listener.receive(&mut receive).unwrap();
    assert!(received.is_drained);
    let from = client.local_addr().unwrap();
    assert_eq!(handed_out(&receive, received), [(from, Some(asked), b"hello".to_vec())]);

    listener.send(&mut send, [Outgoing { local: Some(asked), ..to(from, b"back") }].into_iter());
    let mut buffer = [0; 16];
    let (length, from) = client.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"back"[..], SocketAddr::new(asked, port)));
}

#[test]
fn an_ipv4_client_is_answered() {
    echo_over(LOOPBACK, LOOPBACK);
}

#[test]
fn an_ipv6_client_is_answered() {
    echo_over(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into());
}

/// 127.0.0.2 is ours as well, but never the address the kernel would choose by itself.
#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    echo_over(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(127, 0, 0, 2).into());
}

#[test]
fn both_families_share_a_port_without_sharing_a_socket() {
    let v6 = listener(Ipv6Addr::UNSPECIFIED.into());
    let port = v6.local_addr().port();
    UdpListener::bind((Ipv4Addr::UNSPECIFIED, port).into(), false).expect("IPv6 alone is taken");
    let error = UdpListener::bind((Ipv6Addr::UNSPECIFIED, port).into(), false).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn several_shards_share_an_address_only_if_all_want_to() {
    let first = UdpListener::bind((LOOPBACK, 0).into(), true).unwrap();
    UdpListener::bind(first.local_addr(), true).unwrap();
    assert_eq!(UdpListener::bind(first.local_addr(), false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn the_granted_buffer_is_reported() {
    let granted = listener(LOOPBACK).buffer_bytes();
    assert!(granted.receive > 0 && granted.send > 0);
    assert!(granted.is_less_than(BufferBytes { receive: granted.receive + 1, send: 0 }));
    assert_eq!(listener(LOOPBACK).is_clamped(), granted.is_less_than(LISTENER_BUFFER_BYTES));
}

#[test]
fn head_payload_and_padding_arrive_as_one_datagram() {
    let (mut listener, client) = (listener(LOOPBACK), other(LOOPBACK));
    let remote = client.local_addr().unwrap();
    let parts: [[&[u8]; 3]; 3] = [[b"head", b"payload", &[0]], [b"reply", &[], &[]], [b"only", &[], &[]]];
    let datagrams = parts.map(|parts| Outgoing { remote, local: Some(LOOPBACK), parts });
    listener.send(&mut SendBatch::default(), datagrams.into_iter());
    assert_eq!(arrivals(&client, 3), [&b"headpayload\0"[..], b"reply", b"only"]);
}

#[test]
fn a_burst_of_equal_sizes_leaves_as_one_message_whatever_its_parts() {
    let (mut listener, client) = (listener(LOOPBACK), other(LOOPBACK));
    let remote = client.local_addr().unwrap();
    let sent = payloads(&[1_200, 1_200, 1_200, 700, 90]);
    let datagrams =
        sent.iter().map(|each| Outgoing { remote, local: Some(LOOPBACK), parts: [&[7, 7], each, &[]] });
    let mut batch = SendBatch::default();
    listener.send(&mut batch, datagrams);
    let expected: Vec<Vec<u8>> = sent.iter().map(|each| [&[7, 7], &each[..]].concat()).collect();
    assert_eq!(arrivals(&client, 5), expected);
    let counts = batch.counts;
    assert_eq!((counts.datagrams_sent, counts.messages_sent, counts.trains_sent), (5, 2, 1));
}

#[test]
fn the_shortest_and_the_longest_datagram_come_and_go() {
    let (mut sender, mut receiver) = (relay_socket(LOOPBACK), relay_socket(LOOPBACK));
    let (remote, from) = (bound(receiver.source()), bound(sender.source()));
    for length in [0, 65_507] {
        let (payload, mut batch) = (vec![3; length], SendBatch::default());
        sender.send(&mut batch, [to(remote, &payload)].into_iter());
        assert_eq!(batch.counts.send_failures(), 0);
        wait(receiver.source());
        let mut receive = ReceiveBatch::default();
        let received = receiver.receive(&mut receive).unwrap();
        assert_eq!(handed_out(&receive, received), [(from, None, payload)]);
    }
}

#[test]
fn a_received_train_is_handed_out_datagram_by_datagram() {
    let (mut sender, mut receiver) = (relay_socket(LOOPBACK), relay_socket(LOOPBACK));
    let remote = bound(receiver.source());
    let sent = payloads(&[1_000, 1_000, 1_000, 30, 30]);
    sender.send(&mut SendBatch::default(), sent.iter().map(|each| to(remote, each)));
    let (mut batch, mut arrived) = (ReceiveBatch::default(), Vec::new());
    while arrived.len() < sent.len() {
        wait(receiver.source());
        let received = receiver.receive(&mut batch).unwrap();
        arrived.extend(handed_out(&batch, received).into_iter().map(|(_, _, bytes)| bytes));
    }
    assert_eq!(arrived, sent);
    assert_eq!((batch.counts.datagrams_received, batch.counts.overflowed), (5, 0));
}

#[test]
fn several_sockets_share_a_batch_and_keep_apart_what_they_received() {
    let client = other(LOOPBACK);
    let (mut one, mut two) = (relay_socket(LOOPBACK), relay_socket(LOOPBACK));
    for (socket, bytes) in [(&mut one, b"1"), (&mut two, b"2")] {
        client.send_to(bytes, bound(socket.source())).unwrap();
        wait(socket.source());
    }
    let mut batch = ReceiveBatch::default();
    let (first, second) = (one.receive(&mut batch).unwrap(), two.receive(&mut batch).unwrap());
    assert_eq!(handed_out(&batch, first)[0].2, b"1");
    assert_eq!(handed_out(&batch, second)[0].2, b"2");
    assert!(!batch.is_nearly_full());
    batch.clear();
    assert_eq!(one.receive(&mut batch).unwrap(), Received::nothing(0, true));
}

#[test]
fn a_call_that_fills_the_batch_says_that_there_may_be_more() {
    let (client, mut socket) = (other(LOOPBACK), listener(LOOPBACK));
    let remote = bound(socket.source());
    for number in 0..40u8 {
        // Of sizes that differ, so that nothing puts them together.
        client.send_to(&vec![number; 1 + usize::from(number % 2)], remote).unwrap();
    }
    wait(socket.source());
    let mut batch = ReceiveBatch::default();
    let received = socket.receive(&mut batch).unwrap();
    assert!(!received.is_drained && batch.is_nearly_full());
    let mut numbers: Vec<u8> = handed_out(&batch, received).iter().map(|(_, _, bytes)| bytes[0]).collect();
    batch.clear();
    let received = socket.receive(&mut batch).unwrap();
    assert!(received.is_drained);
    numbers.extend(handed_out(&batch, received).iter().map(|(_, _, bytes)| bytes[0]));
    assert_eq!(numbers, (0..40).collect::<Vec<u8>>());
}

#[test]
fn what_the_kernel_refuses_does_not_take_its_neighbours_along() {
    let (mut listener, client) = (listener(LOOPBACK), other(LOOPBACK));
    let good = client.local_addr().unwrap();
    // Port 0 cannot be sent to; 70,000 bytes are no datagram; 192.0.2.1 is none of our addresses to leave from; the other
    // family is not this socket's.
    let huge = vec![0; 70_000];
    let not_ours = Outgoing { local: Some([192, 0, 2, 1].into()), ..to(good, b"x") };
    let datagrams = [
        to((LOOPBACK, 0).into(), b"x"),
        to(good, b"1"),
        to(good, &huge),
        not_ours,
        to((Ipv6Addr::LOCALHOST, 9).into(), b"x"),
        to(good, b"2"),
    ];
    let mut batch = SendBatch::default();
    listener.send(&mut batch, datagrams.into_iter());
    assert_eq!(arrivals(&client, 2), [b"1", b"2"]);
    let counts = batch.counts;
    assert_eq!((counts.datagrams_sent, counts.too_large, counts.refused), (2, 1, 3));
}

#[test]
fn a_closed_port_that_answers_with_icmp_costs_only_its_own_datagrams() {
    let (mut socket, client) = (relay_socket(LOOPBACK), other(LOOPBACK));
    let closed = other(LOOPBACK).local_addr().unwrap();
    let mut batch = SendBatch::default();
    for _ in 0..10 {
        let datagrams = [to(closed, b"gone"), to(client.local_addr().unwrap(), b"here")];
        socket.send(&mut batch, datagrams.into_iter());
        assert_eq!(arrivals(&client, 1), [b"here"]);
    }
    assert_eq!(socket.receive(&mut ReceiveBatch::default()).unwrap().messages, 0..0);
}

/// The kernel refuses to cut trains on a socket that sends without checksums, as it does where a device cannot.
#[test]
fn a_refused_train_goes_singly_and_so_does_what_follows_to_that_client() {
    let (mut listener, ada, ben) = (listener(LOOPBACK), other(LOOPBACK), other(LOOPBACK));
    let (to_ada, to_ben) = (ada.local_addr().unwrap(), ben.local_addr().unwrap());
    let sent = payloads(&[800, 800, 800, 20]);
    let train = |remote| sent.iter().map(move |each| Outgoing { local: Some(LOOPBACK), ..to(remote, each) });
    let mut batch = SendBatch::default();
    set_option(&listener.udp.socket, (libc::SOL_SOCKET, libc::SO_NO_CHECK), 1).unwrap();
    listener.send(&mut batch, train(to_ada));
    assert_eq!(arrivals(&ada, 4), sent);
    assert_eq!((batch.counts.datagrams_sent, batch.counts.trains_refused, batch.counts.refused), (4, 1, 0));

    // The way can cut again, but this client is not tried any more; another one is.
    set_option(&listener.udp.socket, (libc::SOL_SOCKET, libc::SO_NO_CHECK), 0).unwrap();
    batch.counts = UdpCounts::default();
    listener.send(&mut batch, train(to_ada).chain(train(to_ben)));
    assert_eq!((arrivals(&ada, 4), arrivals(&ben, 4)), (sent.clone(), sent.clone()));
    let counts = batch.counts;
    assert_eq!((counts.messages_sent, counts.trains_sent, counts.trains_refused), (5, 1, 0));
}

#[test]
fn a_relay_socket_remembers_a_refusal_for_all_its_peers() {
    let (mut socket, peer) = (relay_socket(LOOPBACK), other(LOOPBACK));
    let sent = payloads(&[300; 10]);
    let remote = peer.local_addr().unwrap();
    let mut batch = SendBatch::default();
    set_option(&socket.udp.socket, (libc::SOL_SOCKET, libc::SO_NO_CHECK), 1).unwrap();
    for _ in 0..2 {
        socket.send(&mut batch, sent.iter().map(|each| to(remote, each)));
        assert_eq!(arrivals(&peer, 10), sent);
    }
    let counts = batch.counts;
    assert_eq!((counts.trains_refused, counts.trains_sent, counts.messages_sent), (1, 0, 20));
}

#[test]
fn a_train_to_where_nothing_can_be_sent_is_counted_by_datagrams() {
    let (mut socket, peer) = (relay_socket(LOOPBACK), other(LOOPBACK));
    let sent = payloads(&[40, 40, 40]);
    let mut batch = SendBatch::default();
    let ways = [(LOOPBACK, 0).into(), peer.local_addr().unwrap()];
    for remote in ways {
        socket.send(&mut batch, sent.iter().map(|each| to(remote, each)));
    }
    assert_eq!(arrivals(&peer, 3), sent);
    assert_eq!((batch.counts.datagrams_sent, batch.counts.refused), (3, 3));
}

#[test]
fn more_than_a_batch_goes_out_in_order() {
    let (mut socket, peer) = (relay_socket(LOOPBACK), other(LOOPBACK));
    let remote = peer.local_addr().unwrap();
    // Each longer than the one before, so that each is a message of its own.
    let sent: Vec<Vec<u8>> = (1..=2 * MESSAGES_MAX + 1).map(|length| vec![length as u8; length]).collect();
    let mut batch = SendBatch::default();
    socket.send(&mut batch, sent.iter().map(|each| to(remote, each)));
    assert_eq!(arrivals(&peer, sent.len()), sent);
    assert_eq!(batch.counts.messages_sent, sent.len() as u64);
}

#[test]
fn the_dont_fragment_bit_comes_and_goes_with_what_is_asked_for() {
    for address in [LOOPBACK, Ipv6Addr::LOCALHOST.into()] {
        let (mut socket, peer) = (relay_socket(address), other(address));
        let remote = peer.local_addr().unwrap();
        let mut batch = SendBatch::default();
        socket.forbid_fragments();
        assert!(!socket.is_fragmenting);
        // Only over IPv6 is the longest datagram, with its head, longer than what the loopback interface takes whole.
        let long = vec![0; 65_507];
        socket.send(&mut batch, [to(remote, b"whole"), to(remote, &long)].into_iter());
        let whole = if address.is_ipv4() { 2 } else { 1 };
        assert_eq!((batch.counts.datagrams_sent, batch.counts.too_large), (whole, 2 - whole));
        assert_eq!(arrivals(&peer, whole as usize)[0], b"whole");
        socket.allow_fragments();
        assert!(socket.is_fragmenting);
        socket.send(&mut batch, [to(remote, &long)].into_iter());
        assert_eq!(arrivals(&peer, 1)[0].len(), 65_507);
    }
}

#[test]
fn datagrams_that_found_the_buffer_full_are_counted() {
    let mut socket = RelaySocket::open((LOOPBACK, 0).into(), 4_096).unwrap();
    let (client, remote) = (other(LOOPBACK), bound(socket.source()));
    let sent = 200;
    for _ in 0..sent {
        client.send_to(&[0; 1_000], remote).unwrap();
    }
    let mut batch = ReceiveBatch::default();
    while !socket.receive(&mut batch).unwrap().is_drained {
        batch.clear();
    }
    let arrived = batch.counts.datagrams_received;
    // The kernel reports its count with the next datagram that fits.
    client.send_to(&[0; 1], remote).unwrap();
    wait(socket.source());
    batch.clear();
    socket.receive(&mut batch).unwrap();
    assert!(arrived < sent);
    assert_eq!(batch.counts.overflowed, sent - arrived);
}

#[test]
fn a_port_in_use_is_refused() {
    let mut socket = relay_socket(LOOPBACK);
    let error = RelaySocket::open(bound(socket.source()), 1 << 20).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_full_send_buffer_is_not_waited_for_longer_than_media_lives() {
    let mut wait = SendWait::new(LISTENER_PATIENCE);
    let (mut counts, full) = (UdpCounts::default(), io::Error::from_raw_os_error(libc::EAGAIN));
    let refused = RefusedMessage { datagrams: 2, waiting: 5 };
    let (before, mut waits) = (Instant::now(), 0);
    // A socket that says it has room at once and then has none.
    while matches!(wait.step_over(&mut counts, &full, refused, |_| ()), Step::Again) {
        waits += 1;
        assert!(waits < 1_000, "each wait costs something");
    }
    assert!(waits > 0 && before.elapsed() < Duration::from_secs(1));
    assert_eq!(counts, UdpCounts { queue_full: 5, ..UdpCounts::default() });
    let step = SendWait::new(RELAY_PATIENCE).step_over(&mut counts, &full, refused, |_| panic!("it waits"));
    assert!(matches!(step, Step::End));
}

#[test]
fn a_thread_is_not_kept_on_a_processor_that_is_not_there() {
    assert!(pin_thread(usize::MAX).is_err());
    assert!(pin_thread(libc::CPU_SETSIZE as usize - 1).is_err());
}

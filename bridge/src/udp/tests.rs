use std::net::UdpSocket;

use super::*;

/// Waits for datagrams and gives them with their paths.
fn receive_some(socket: &MediaSocket, batch: &mut ReceiveBatch) -> Vec<(Path, Vec<u8>)> {
    let event = event().unwrap();
    wait(socket, &event, Duration::from_secs(5));
    socket.receive(batch).unwrap();
    let mut received = Vec::new();
    batch.for_each(|path, datagram| received.push((path, datagram.to_vec())));
    received
}

fn echo_over(address: IpAddr) {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind((address, 0)).expect("this test needs loopback of both families");
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    browser.send_to(b"hello", (address, socket.port())).unwrap();

    let (mut receive, mut send) = (ReceiveBatch::default(), SendBatch::default());
    let received = receive_some(&socket, &mut receive);
    let path = Path { remote: browser.local_addr().unwrap(), local: address };
    assert_eq!(received, [(path, b"hello".to_vec())]);

    socket.send(&mut send, [(path, &b"back"[..])].into_iter());
    let mut buffer = [0; 16];
    let (length, from) = browser.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"back"[..], SocketAddr::new(address, socket.port())));
    assert_eq!(send.counts, SendCounts { sent: 1, sent_bytes: 4, ..SendCounts::default() });
}

#[test]
fn an_ipv4_datagram_comes_and_goes_as_ipv4() {
    echo_over(Ipv4Addr::LOCALHOST.into());
}

#[test]
fn an_ipv6_datagram_comes_and_goes_as_ipv6() {
    echo_over(Ipv6Addr::LOCALHOST.into());
}

/// 127.0.0.2 is ours as well, but never the address the kernel would choose by itself.
#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    echo_over(Ipv4Addr::new(127, 0, 0, 2).into());
}

#[test]
fn a_machine_without_ipv6_is_served_over_ipv4() {
    let socket = MediaSocket::bind_family(Family::V4, 0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let asked = Ipv4Addr::new(127, 0, 0, 2);
    browser.send_to(b"?", (asked, socket.port())).unwrap();
    let (mut receive, mut send) = (ReceiveBatch::default(), SendBatch::default());
    let received = receive_some(&socket, &mut receive);
    assert_eq!(received[0].0.local, IpAddr::from(asked));
    socket.send(&mut send, received.iter().map(|(path, datagram)| (*path, &datagram[..])));
    assert_eq!(browser.recv_from(&mut [0; 4]).unwrap(), (1, SocketAddr::from((asked, socket.port()))));
}

#[test]
fn an_empty_datagram_is_a_datagram() {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.send_to(b"", ("127.0.0.1", socket.port())).unwrap();
    let received = receive_some(&socket, &mut ReceiveBatch::default());
    assert_eq!(received.len(), 1);
    assert!(received[0].1.is_empty());
}

#[test]
fn a_datagram_too_long_for_a_browser_is_dropped_and_counted_alone() {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = ("127.0.0.1", socket.port());
    browser.send_to(&[1; DATAGRAM_BYTES_MAX + 1], address).unwrap();
    browser.send_to(&[2; 60_000], address).unwrap();
    browser.send_to(&[3; DATAGRAM_BYTES_MAX], address).unwrap();
    let mut batch = ReceiveBatch::default();
    let received = receive_some(&socket, &mut batch);
    assert_eq!(batch.truncated, 2);
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].1, [3; DATAGRAM_BYTES_MAX]);
}

#[test]
fn what_the_kernel_refuses_does_not_take_its_neighbours_along() {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let good = Path { remote: browser.local_addr().unwrap(), local };
    // Port 0 cannot be sent to; 70,000 bytes are no datagram; 192.0.2.1 is none of our addresses to leave from.
    let no_port = Path { remote: "127.0.0.1:0".parse().unwrap(), local };
    let not_ours = Path { local: "192.0.2.1".parse().unwrap(), ..good };
    let huge = vec![0; 70_000];
    let datagrams = [(no_port, &b"x"[..]), (good, b"1"), (good, &huge), (not_ours, b"x"), (good, b"2")];

    let mut send = SendBatch::default();
    socket.send(&mut send, datagrams.into_iter());
    assert_eq!(send.counts, SendCounts { sent: 2, sent_bytes: 2, too_large: 1, refused: 2, queue_full: 0 });
    let mut buffer = [0; 4];
    for expected in [b'1', b'2'] {
        assert_eq!(browser.recv(&mut buffer).unwrap(), 1);
        assert_eq!(buffer[0], expected);
    }
}

#[test]
fn a_closed_port_that_answers_with_icmp_costs_only_its_own_datagrams() {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let mut send = SendBatch::default();
    for _ in 0..10 {
        let datagrams = [
            (Path { remote: closed, local }, &b"gone"[..]),
            (Path { remote: browser.local_addr().unwrap(), local }, &b"here"[..]),
        ];
        socket.send(&mut send, datagrams.into_iter());
        assert_eq!(browser.recv(&mut [0; 8]).unwrap(), 4);
    }
    assert!(socket.receive(&mut ReceiveBatch::default()).is_ok());
}

#[test]
fn several_batches_go_out_in_order() {
    let socket = MediaSocket::bind(0).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let path = Path { remote: browser.local_addr().unwrap(), local: Ipv4Addr::LOCALHOST.into() };
    let count = 2 * SEND_BATCH_DATAGRAMS + 1;
    let datagrams: Vec<[u8; 2]> = (0..count as u16).map(u16::to_be_bytes).collect();
    let mut send = SendBatch::default();
    socket.send(&mut send, datagrams.iter().map(|datagram| (path, &datagram[..])));
    let mut buffer = [0; 4];
    for expected in &datagrams {
        assert_eq!(browser.recv(&mut buffer).unwrap(), 2);
        assert_eq!(buffer[..2], expected[..]);
    }
    assert_eq!(send.counts.sent, count as u64);
}

#[test]
fn datagrams_that_found_the_buffer_full_are_counted() {
    let socket = MediaSocket::bind(0).unwrap();
    socket.socket.set_recv_buffer_size(4096).unwrap();
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = ("127.0.0.1", socket.port());
    let sent = 200;
    for _ in 0..sent {
        browser.send_to(&[0; 1000], address).unwrap();
    }
    let mut batch = ReceiveBatch::default();
    let mut arrived = receive_some(&socket, &mut batch).len() as u64;
    while socket.receive(&mut batch).unwrap() > 0 {
        batch.for_each(|_, _| arrived += 1);
    }
    // The kernel reports its count with the next datagram that fits.
    browser.send_to(&[0; 1], address).unwrap();
    let last = receive_some(&socket, &mut batch).len() as u64;
    assert_eq!(last, 1);
    assert_eq!(batch.overflowed, sent - arrived);
    assert!(batch.overflowed > 0);
}

#[test]
fn a_port_in_use_is_refused() {
    let socket = MediaSocket::bind(0).unwrap();
    let error = MediaSocket::bind(socket.port()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn a_thread_can_be_kept_on_a_processor_it_may_use() {
    let processors = allowed_processors();
    assert!(!processors.is_empty());
    let last = *processors.last().unwrap();
    let pinned = std::thread::spawn(move || pin_thread(last).map(|()| allowed_processors())).join().unwrap();
    assert_eq!(pinned.unwrap(), [last]);
    assert!(pin_thread(usize::MAX).is_err());
}

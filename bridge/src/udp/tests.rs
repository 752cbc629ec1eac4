use std::iter::once;
use std::net::UdpSocket;

use super::*;

/// Sends datagrams, each a train of its own.
fn send<'a>(
    socket: &MediaSocket,
    batch: &mut SendBatch,
    datagrams: impl IntoIterator<Item = (Path, &'a [u8])>,
) {
    socket.send(batch, datagrams.into_iter().map(|(path, datagram)| (path, once(datagram))));
}

/// A browser on loopback, and its path.
fn browser() -> (UdpSocket, Path) {
    let browser = UdpSocket::bind("127.0.0.1:0").unwrap();
    browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let path = Path { remote: browser.local_addr().unwrap(), local: Ipv4Addr::LOCALHOST.into() };
    (browser, path)
}

/// The browser's next datagrams.
fn arrivals(browser: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
    let mut buffer = [0; 65_536];
    (0..count)
        .map(|_| {
            let length = browser.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        })
        .collect()
}

/// Waits for datagrams and gives them with their paths.
fn receive_some(socket: &MediaSocket, batch: &mut ReceiveBatch) -> Vec<(Path, Vec<u8>)> {
    let event = event().unwrap();
    wait(Some(socket), &event, Duration::from_secs(5));
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

    let (mut receive, mut batch) = (ReceiveBatch::default(), SendBatch::default());
    let received = receive_some(&socket, &mut receive);
    let path = Path { remote: browser.local_addr().unwrap(), local: address };
    assert_eq!(received, [(path, b"hello".to_vec())]);

    send(&socket, &mut batch, [(path, &b"back"[..])]);
    let mut buffer = [0; 16];
    let (length, from) = browser.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"back"[..], SocketAddr::new(address, socket.port())));
    assert_eq!(batch.counts, SendCounts { sent: 1, messages: 1, sent_bytes: 4, ..SendCounts::default() });
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
    let (mut receive, mut batch) = (ReceiveBatch::default(), SendBatch::default());
    let received = receive_some(&socket, &mut receive);
    assert_eq!(received[0].0.local, IpAddr::from(asked));
    send(&socket, &mut batch, received.iter().map(|(path, datagram)| (*path, &datagram[..])));
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

    let mut batch = SendBatch::default();
    send(&socket, &mut batch, datagrams);
    let expected =
        SendCounts { sent: 2, messages: 2, sent_bytes: 2, too_large: 1, refused: 2, ..SendCounts::default() };
    assert_eq!(batch.counts, expected);
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
    let mut batch = SendBatch::default();
    for _ in 0..10 {
        let datagrams = [
            (Path { remote: closed, local }, &b"gone"[..]),
            (Path { remote: browser.local_addr().unwrap(), local }, &b"here"[..]),
        ];
        send(&socket, &mut batch, datagrams);
        assert_eq!(browser.recv(&mut [0; 8]).unwrap(), 4);
    }
    assert!(socket.receive(&mut ReceiveBatch::default()).is_ok());
}

#[test]
fn several_batches_go_out_in_order() {
    let socket = MediaSocket::bind(0).unwrap();
    let (browser, path) = browser();
    let count = 2 * MESSAGES_MAX + 1;
    let datagrams: Vec<[u8; 2]> = (0..count as u16).map(u16::to_be_bytes).collect();
    let mut batch = SendBatch::default();
    send(&socket, &mut batch, datagrams.iter().map(|datagram| (path, &datagram[..])));
    assert_eq!(arrivals(&browser, count), datagrams);
    assert_eq!((batch.counts.sent, batch.counts.messages), (count as u64, count as u64));
}

/// Datagrams of these lengths, each of bytes that say which one it is.
fn datagrams(lengths: &[usize]) -> Vec<Vec<u8>> {
    lengths.iter().zip(1..).map(|(length, byte)| vec![byte; *length]).collect()
}

fn train(datagrams: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    datagrams.iter().map(Vec::as_slice)
}

#[test]
fn a_train_arrives_as_the_datagrams_it_was_made_of() {
    let socket = MediaSocket::bind(0).unwrap();
    let ((ada, to_ada), (ben, to_ben)) = (browser(), browser());
    let (for_ada, for_ben) = (datagrams(&[1_200, 1_200, 1_200, 700, 90, 1_200]), datagrams(&[500; 130]));
    let mut batch = SendBatch::default();
    socket.send(&mut batch, [(to_ada, train(&for_ada)), (to_ben, train(&for_ben))].into_iter());
    assert_eq!((arrivals(&ada, 6), arrivals(&ben, 130)), (for_ada, for_ben));
    let bytes = (4 * 1_200 + 700 + 90 + 130 * 500) as u64;
    let expected = SendCounts {
        sent: 136,
        // 4 + 1 + 1 and 64 + 64 + 2.
        sent_in_trains: 134,
        messages: 6,
        sent_bytes: bytes,
        ..SendCounts::default()
    };
    assert_eq!(batch.counts, expected);
}

#[test]
fn a_train_leaves_from_the_address_that_was_asked_over_both_families() {
    for (family, address) in [
        (Family::Dual, IpAddr::from(Ipv6Addr::LOCALHOST)),
        (Family::Dual, Ipv4Addr::new(127, 0, 0, 2).into()),
        (Family::V4, Ipv4Addr::new(127, 0, 0, 2).into()),
    ] {
        let socket = MediaSocket::bind_family(family, 0).unwrap();
        let browser = UdpSocket::bind((address, 0)).unwrap();
        browser.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let path = Path { remote: browser.local_addr().unwrap(), local: address };
        let mut batch = SendBatch::default();
        socket.send(&mut batch, once((path, train(&datagrams(&[10, 10, 3])))));
        let mut buffer = [0; 16];
        for length in [10, 10, 3] {
            let expected = (length, SocketAddr::new(address, socket.port()));
            assert_eq!(browser.recv_from(&mut buffer).unwrap(), expected);
        }
        assert_eq!((batch.counts.messages, batch.counts.sent_in_trains), (1, 3));
    }
}

/// The kernel refuses to cut trains on a socket that sends without checksums, as it does where a device cannot.
#[test]
fn a_refused_train_goes_singly_and_so_does_all_that_follows_to_that_receiver() {
    let socket = MediaSocket::bind(0).unwrap();
    set_option(&socket.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let ((ada, to_ada), (ben, to_ben)) = (browser(), browser());
    let (first, other) = (datagrams(&[800, 800, 800, 20]), datagrams(&[5]));
    let mut batch = SendBatch::default();
    socket.send(&mut batch, [(to_ada, train(&first)), (to_ben, train(&other))].into_iter());
    assert_eq!((arrivals(&ada, 4), arrivals(&ben, 1)), (first.clone(), other));
    assert_eq!((batch.counts.sent, batch.counts.trains_refused, batch.counts.refused), (5, 1, 0));

    // The way can cut again, but this receiver is not tried any more; another one is.
    set_option(&socket.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 0).unwrap();
    batch.counts = SendCounts::default();
    socket.send(&mut batch, [(to_ada, train(&first)), (to_ben, train(&first))].into_iter());
    assert_eq!((arrivals(&ada, 4), arrivals(&ben, 4)), (first.clone(), first));
    let counts = batch.counts;
    assert_eq!((counts.sent, counts.messages, counts.sent_in_trains, counts.trains_refused), (8, 5, 4, 0));
}

#[test]
fn a_kernel_without_segmentation_is_sent_single_datagrams() {
    let mut socket = MediaSocket::bind(0).unwrap();
    assert!(socket.is_segmenting, "this test's kernel knows it");
    socket.is_segmenting = false;
    let (browser, path) = browser();
    let sent = datagrams(&[300; 70]);
    let mut batch = SendBatch::default();
    socket.send(&mut batch, once((path, train(&sent))));
    assert_eq!(arrivals(&browser, 70), sent);
    assert_eq!((batch.counts.messages, batch.counts.sent_in_trains), (70, 0));
}

#[test]
fn a_train_to_where_nothing_can_be_sent_is_counted_by_datagrams() {
    let socket = MediaSocket::bind(0).unwrap();
    let (browser, good) = browser();
    let no_port = Path { remote: "127.0.0.1:0".parse().unwrap(), ..good };
    let sent = datagrams(&[40, 40, 40]);
    let mut batch = SendBatch::default();
    socket.send(&mut batch, [(no_port, train(&sent)), (good, train(&sent))].into_iter());
    assert_eq!(arrivals(&browser, 3), sent);
    assert_eq!((batch.counts.sent, batch.counts.refused, batch.counts.trains_refused), (3, 3, 1));
}

#[test]
fn a_received_train_is_handed_out_datagram_by_datagram() {
    let (sender, receiver) = (MediaSocket::bind(0).unwrap(), MediaSocket::bind(0).unwrap());
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let path = Path { remote: (local, receiver.port()).into(), local };
    let sent = datagrams(&[1_000, 1_000, 1_000, 30]);
    let too_long = datagrams(&[DATAGRAM_BYTES_MAX + 1, DATAGRAM_BYTES_MAX + 1, 12]);
    sender.send(&mut SendBatch::default(), [(path, train(&sent)), (path, train(&too_long))].into_iter());
    let mut batch = ReceiveBatch::default();
    let from = Path { remote: (local, sender.port()).into(), local };
    let mut received = Vec::new();
    while received.len() < 5 {
        received.extend(receive_some(&receiver, &mut batch));
    }
    assert!(received.iter().all(|(path, _)| *path == from));
    let bytes: Vec<_> = received.into_iter().map(|(_, datagram)| datagram).collect();
    assert_eq!(bytes[..4], sent);
    assert_eq!(bytes[4], too_long[2]);
    assert_eq!((batch.datagrams, batch.truncated), (7, 2));
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
    loop {
        let before = arrived;
        socket.receive(&mut batch).unwrap();
        batch.for_each(|_, _| arrived += 1);
        if arrived == before {
            break;
        }
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

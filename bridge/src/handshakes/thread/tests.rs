use super::*;
use crate::engine::ports::EndpointKey;
use crate::handshakes::{Handshakes, Lane};
use crate::worker::Mailbox;

const OWNER: Owner = (0, EndpointKey(7));

/// A browser's ClientHello as it comes: in two datagrams.
const HELLO: [&[u8]; 2] = [
    include_bytes!("../../../../wire/fixtures/chromium/dtls-client-1.bin"),
    include_bytes!("../../../../wire/fixtures/chromium/dtls-client-2.bin"),
];

struct World {
    thread: DtlsThread,
    mailbox: Mailbox,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let mailbox = Mailbox::new(1).unwrap();
        let counts = Arc::new(HandshakeCounts::default());
        let thread = DtlsThread::new(Identity::generate().unwrap(), vec![mailbox.report_sender()], counts);
        Self { thread, mailbox, now: Instant::now() }
    }

    fn give(&mut self, command: HandshakeCommand) {
        let message = Message { owner: OWNER, command, lane: Lane::default() };
        self.thread.handle_message(self.now, message);
    }

    fn start(&mut self) {
        self.give(HandshakeCommand::Start(vec![digest("sha-256", &"AA:".repeat(31))]));
    }

    fn hello(&mut self) {
        for datagram in HELLO {
            self.give(HandshakeCommand::Datagram(datagram.to_vec()));
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.thread.handle_timeouts(self.now);
    }

    fn reports(&mut self) -> Vec<HandshakeReport> {
        let reports = self.mailbox.take_reports();
        assert!(reports.iter().all(|(endpoint, _)| *endpoint == OWNER.1));
        reports.into_iter().map(|(_, report)| report).collect()
    }
}

fn digest(algorithm: &str, pairs: &str) -> media::Fingerprint {
    media::Fingerprint { algorithm: algorithm.to_owned(), value: format!("{pairs}AA") }
}

#[test]
fn a_browsers_hello_is_answered_to_its_worker() {
    let mut world = World::new();
    world.start();
    world.hello();
    let reports = world.reports();
    assert!(matches!(&reports[..], [HandshakeReport::Transmit(_)]), "{reports:?}");
}

#[test]
fn a_digest_of_an_unknown_hash_beside_a_known_one_does_no_harm() {
    let mut world = World::new();
    let digests = vec![digest("sha-1", ""), digest("sha-256", &"AA:".repeat(31))];
    world.give(HandshakeCommand::Start(digests));
    world.hello();
    assert_eq!(world.reports().len(), 1);
}

#[test]
fn without_a_usable_digest_nothing_begins() {
    let mut world = World::new();
    world.give(HandshakeCommand::Start(vec![digest("sha-1", "")]));
    assert!(matches!(&world.reports()[..], [HandshakeReport::Failed]));
    world.hello();
    assert!(world.reports().is_empty());
    assert_eq!(world.thread.counts.totals().failed, [0, 0, 0, 0, 1]);
}

#[test]
fn a_browser_that_never_finishes_is_given_up() {
    let mut world = World::new();
    world.start();
    world.hello();
    world.reports();
    for _ in 0..40 {
        world.pass(Duration::from_secs(1));
    }
    assert!(matches!(&world.reports()[..], [HandshakeReport::Failed]));
    assert!(world.thread.timeouts.is_empty());
    assert_eq!(world.thread.counts.totals().failed.iter().sum::<u64>(), 1);
}

#[test]
fn after_its_end_an_endpoint_is_not_known() {
    let mut world = World::new();
    world.start();
    world.give(HandshakeCommand::Stop);
    world.hello();
    world.pass(Duration::from_secs(60));
    assert!(world.reports().is_empty());
    assert!(world.thread.associations.is_empty());
}

#[test]
fn noise_is_counted_and_schedules_nothing_more() {
    let mut world = World::new();
    world.start();
    let entries = world.thread.timeouts.len();
    for length in 0..200 {
        world.give(HandshakeCommand::Datagram(vec![22; length]));
    }
    assert!(world.thread.counts.totals().ignored >= 199);
    assert!(world.reports().is_empty());
    assert_eq!(world.thread.timeouts.len(), entries);
}

#[test]
fn a_handled_datagram_makes_room_in_its_lane_and_the_last_worker_ends_the_thread() {
    let (handshakes, inbox) = Handshakes::queue();
    let mailbox = Mailbox::new(1).unwrap();
    let (control, _failures) = tokio::sync::mpsc::channel(1);
    let identity = Identity::generate().unwrap();
    let thread = inbox.spawn(identity, vec![mailbox.report_sender()], control).unwrap();
    let lane = Lane::default();
    let start = HandshakeCommand::Start(vec![digest("sha-256", &"AA:".repeat(31))]);
    handshakes.offer(OWNER, start, &lane).unwrap();
    // Many times what a lane holds: without room being made again this never ends.
    for _ in 0..1000 {
        while handshakes.offer(OWNER, HandshakeCommand::Datagram(vec![0]), &lane).is_err() {
            std::thread::yield_now();
        }
    }
    drop(handshakes);
    thread.join().unwrap();
}

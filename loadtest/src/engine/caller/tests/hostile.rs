//! What a caller is told by servers that are broken or worse.

use proptest::prelude::*;
use wire::rtcp::Pli;
use wire::rtp::Ssrc;

use super::*;

proptest! {
    #[test]
    fn any_datagram_is_survived_and_none_of_a_stranger_counts(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..40),
        first in prop::collection::vec(prop::sample::select(vec![0_u8, 1, 20, 21, 22, 23, 64, 128, 144, 175]), 40),
    ) {
        let mut world = World::answered(Profile::AeadAes128Gcm);
        for (datagram, first) in datagrams.iter().zip(&first) {
            let mut datagram = datagram.clone();
            if let Some(byte) = datagram.first_mut() {
                *byte = *first;
            }
            world.caller.handle_datagram(world.now, &datagram, &mut world.workspace);
            world.run(1);
        }
        world.run(3_000);
        prop_assert_eq!(&world.notes[..2], &[Note::IceConnected, Note::DtlsConnected]);
        let counts = world.counts();
        prop_assert_eq!(counts.packets_received, 0);
        prop_assert_eq!((counts.nacks_received, counts.key_frame_requests_received), (0, 0));
    }

    #[test]
    fn any_answer_is_read_or_refused_and_never_panics(cut in 0_usize..4_000, byte in any::<u8>(), at in 0_usize..4_000) {
        let now = Instant::now();
        let mut caller = Caller::new(now, plan(now, (2, 2)), Arc::clone(&IDENTITY));
        let answer = Server::passive(Profile::AeadAes128Gcm).answer(&caller.offer()).to_string();
        let mut bytes = answer.into_bytes();
        bytes.truncate(cut.max(200));
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = caller.handle_answer(now, &String::from_utf8_lossy(&bytes));
        prop_assert!(caller.offer().starts_with("v=0"));
    }
}

#[test]
fn records_that_no_server_sends_do_not_end_a_handshake() {
    let alert = |level, description| {
        [&[21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2][..], &[level, description]].concat()
    };
    for forged in [
        vec![20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 7],
        vec![23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 7],
        vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 1, 7],
        vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff],
        vec![40, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0],
        alert(9, 40),
    ] {
        let mut world = World::answered(Profile::AeadAes128Gcm);
        world.lost = |number| number == 1;
        world.run(20);
        world.caller.handle_datagram(world.now, &forged, &mut world.workspace);
        world.run(2_000);
        assert_eq!(world.notes[..2], [Note::IceConnected, Note::DtlsConnected], "{forged:?}");
    }
    let mut world = World::answered(Profile::AeadAes128Gcm);
    world.lost = |number| number >= 1;
    world.run(20);
    world.caller.handle_datagram(world.now, &alert(2, 40), &mut world.workspace);
    world.run(2_000);
    assert_eq!(world.notes, [Note::IceConnected, Note::DtlsFailed("the server refused the handshake")]);
}

#[test]
fn a_handshake_without_an_answer_ends_with_a_reason() {
    let mut world = World::answered(Profile::AeadAes128Gcm);
    world.lost = |number| number >= 1;
    world.run(14_000);
    assert_eq!(
        world.notes,
        [Note::IceConnected, Note::DtlsFailed("the server does not answer the handshake")]
    );
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let mut world = World::answered(Profile::AeadAes128Gcm);
    world.lost = |number| number >= 1;
    world.run(20);
    // A fragment of a message that is as long as messages can be.
    let mut record =
        vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 9, 4, 12, 11, 0xff, 0xff, 0xff, 0, 7, 0, 0, 0, 0, 4, 0];
    record.resize(13 + 1_036, 0);
    for _ in 0..64 {
        world.caller.handle_datagram(world.now, &record, &mut world.workspace);
        world.run(1);
    }
    assert_eq!(world.notes, [Note::IceConnected, Note::DtlsFailed("the server's handshake does not end")]);
}

#[test]
fn forged_and_replayed_media_is_strange_or_doubled_and_never_new() {
    let mut world = World::joined();
    world.echo = Some(Echo::default());
    world.run(500);
    let before = world.counts();
    world.echo = None;
    let header = wire::rtp::RtpHeader {
        marker: false,
        payload_type: wire::rtp::PayloadType::new(111).unwrap(),
        sequence: 30_000,
        timestamp: 1,
        ssrc: Ssrc(Server::slot_ssrc(2)),
    };
    let honest = world.server.seal_as(&header, b"opus", 30_000);
    let mut forged = honest.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut stranger = honest.clone();
    stranger[8] ^= 0x80;
    for datagram in [&forged, &stranger, &honest, &honest] {
        world.caller.handle_datagram(world.now, datagram, &mut world.workspace);
    }
    let after = world.counts();
    assert!(before.packets_received > 0 && before.packets_strange == 0);
    assert_eq!((after.packets_strange, after.packets_unstamped), (2, 1));
    assert_eq!(after.packets_duplicate, 1);
}

#[test]
fn a_replayed_report_asks_for_nothing() {
    let mut world = World::joined();
    world.run(100);
    let camera = world.caller.publisher.tracks().nth(1).unwrap().streams[0].ssrc;
    world.server.say_rtcp(|out| Pli { sender: Ssrc(5), media: camera }.write(out));
    let datagram = world.server.says.last().unwrap().clone();
    world.exchange();
    world.counts();
    world.caller.handle_datagram(world.now, &datagram, &mut world.workspace);
    let counts = world.counts();
    assert_eq!((counts.key_frame_requests_received, counts.packets_strange), (0, 0));
}

#[test]
fn a_server_that_repeats_itself_for_ever_takes_no_keys_away() {
    let mut world = World::new(|now| plan(now, (1, 1)), Server::active(Profile::AeadAes128Gcm));
    world.answer();
    world.run(500);
    let mut record = vec![22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 4, 0];
    record.resize(13 + 1_024, 0);
    for _ in 0..80 {
        world.caller.handle_datagram(world.now, &record, &mut world.workspace);
        world.run(1);
    }
    assert_eq!(world.notes, [Note::IceConnected, Note::DtlsConnected]);
    world.caller.hang_up(&mut world.workspace);
    world.exchange();
    assert!(world.server.is_closed);
}

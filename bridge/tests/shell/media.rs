//! The UDP ports: what browsers get, and what strangers do not.

use tokio::net::UdpSocket;
use wire::messages::ids::EndpointId;
use wire::messages::link::EndpointEvent;
use wire::messages::media::MediaKind;
use wire::stun::{AttributeKind, Builder, Class, Message, Method, TransactionId};

use crate::world::browser::{
    AUDIO_PAYLOAD_TYPE, Browser, Certified, VIDEO_PAYLOAD_TYPE, parameters, parameters_with, ssrc_of,
};
use crate::world::signaling::Link;
use crate::world::{World, conference, endpoint, http, soon, until};

async fn join(link: &mut Link, id: &EndpointId) -> (Browser, u32, u32) {
    let certified = Certified::new();
    let parameters = parameters_with(id, certified.fingerprint.clone());
    let transport = link.set_endpoint(&conference('a'), id, parameters).await;
    let mut browser = Browser::open(&transport).await;
    browser.connect(certified).await;
    let notice = link.next_notice().await;
    assert_eq!((&notice.endpoint, notice.event), (id, EndpointEvent::Connected));
    (browser, transport.slots[0].ssrc, transport.slots[1].ssrc)
}

#[tokio::test]
async fn two_browsers_hear_and_see_each_other() {
    let (world, mut link) = World::start().await;
    let (alice, bob) = (endpoint(1), endpoint(2));
    let (alice_browser, ..) = join(&mut link, &alice).await;
    let (bob_browser, voice_slot, picture_slot) = join(&mut link, &bob).await;

    // A key frame of VP8: start of partition 0, P bit of the frame tag clear.
    let picture =
        [&[0x10, 0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00][..], &[7; 900]].concat();
    let (mut heard, mut seen) = (None, None);
    for sequence in 1..2000 {
        alice_browser
            .publish(ssrc_of(&alice, MediaKind::Audio), AUDIO_PAYLOAD_TYPE, sequence, b"a voice")
            .await;
        alice_browser
            .publish(ssrc_of(&alice, MediaKind::Video), VIDEO_PAYLOAD_TYPE, sequence, &picture)
            .await;
        let (ssrc, payload) = bob_browser.next_media().await;
        if ssrc == voice_slot {
            heard = Some(payload);
        } else if ssrc == picture_slot {
            seen = Some(payload);
        } else {
            panic!("a stream of no slot: {ssrc}");
        }
        if heard.is_some() && seen.is_some() {
            break;
        }
    }
    assert_eq!(heard.unwrap(), b"a voice");
    assert!(seen.unwrap().ends_with(&[7; 900]));
    until(|| async {
        let stats = http::get(world.bound.rest, "/stats").await.json();
        let count = |key: &str| stats[key].as_u64().unwrap();
        count("total_packets_received") >= 2
            && count("total_packets_sent") >= 2
            && count("endpoints_sending_audio") == 1
            && stats["forwarding_latency_us"]["p99"].as_u64().unwrap() > 0
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_certificate_that_signaling_did_not_announce_gets_no_keys() {
    let (world, mut link) = World::start().await;
    let id = endpoint(1);
    let transport = link.set_endpoint(&conference('a'), &id, parameters(&id)).await;
    let mut browser = Browser::open(&transport).await;
    // Ends with its own alert or without an answer, but never with keys.
    let connecting = tokio::spawn(async move { browser.connect(Certified::new()).await });
    let notice = link.next_notice().await;
    assert_eq!((&notice.endpoint, notice.event), (&id, EndpointEvent::HandshakeFailed));
    connecting.abort();
    let failed = r#"bridge_dtls_handshakes_total{result="fingerprint_mismatch"} 1"#;
    until(|| async { http::get(world.bound.rest, "/metrics").await.body.contains(failed) }).await;
    world.stop().await;
}

/// Everything a stranger may try on an open port, with the real names and keys wrong in every way.
fn hostile(transport_ufrag: &str) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> = (0..=255).map(|first| vec![first; 60]).collect();
    datagrams.extend((0..64).map(|length| vec![0x80; length]));
    datagrams.extend([Vec::new(), vec![0], vec![22; 1500], vec![0x80; 2049], vec![0; 60_000]]);
    let request = |username: &str| {
        Builder::new(Class::Request, Method::BINDING, TransactionId([9; 12]))
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::PRIORITY, &[0; 4])
            .attribute(AttributeKind::ICE_CONTROLLING, &[0; 8])
    };
    let right_name = format!("{transport_ufrag}:brow");
    // Unknown name, wrong key, no signature, no name; an answer and an indication nobody asked for.
    datagrams.push(request("nobody:brow").sign(b"wrong").fingerprint());
    datagrams.push(request(&right_name).sign(b"wrong").fingerprint());
    datagrams.push(request(&right_name).fingerprint());
    datagrams.push(request(&"x".repeat(600)).sign(b"wrong").fingerprint());
    for class in [Class::Success, Class::Error, Class::Indication] {
        datagrams.push(Builder::new(class, Method::BINDING, TransactionId([9; 12])).fingerprint());
    }
    let many =
        (0..500).fold(request(&right_name), |builder, _| builder.attribute(AttributeKind::SOFTWARE, &[]));
    datagrams.push(many.fingerprint());
    for fixture in [
        &include_bytes!("../../../wire/fixtures/chromium/dtls-client-1.bin")[..],
        include_bytes!("../../../wire/fixtures/firefox/dtls-client-1.bin"),
    ] {
        datagrams.push(fixture.to_vec());
    }
    datagrams
}

#[tokio::test]
async fn a_stranger_gets_no_byte_back_and_is_counted() {
    let (world, mut link) = World::start().await;
    let id = endpoint(1);
    let transport = link.set_endpoint(&conference('a'), &id, parameters(&id)).await;
    let datagrams = hostile(&transport.ice.ufrag);
    let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..3 {
        for datagram in &datagrams {
            stranger.send_to(datagram, transport.candidates[0].address).await.unwrap();
        }
    }
    // One port, one queue: when the browser behind the stranger is answered, everything before has been looked at.
    let mut browser = Browser::open(&transport).await;
    browser.check().await;
    let mut buffer = [0; 2048];
    assert!(stranger.try_recv(&mut buffer).is_err());
    let wanted = 3 * datagrams.len() as u64;
    until(|| async {
        let stats = http::get(world.bound.rest, "/stats").await.json();
        let dropped = stats["dropped_packets"].as_object().unwrap();
        dropped.values().map(|count| count.as_u64().unwrap()).sum::<u64>() == wanted
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn a_flood_does_not_keep_a_browser_from_its_answer() {
    let (world, mut link) = World::start().await;
    let id = endpoint(1);
    let transport = link.set_endpoint(&conference('a'), &id, parameters(&id)).await;
    let address = transport.candidates[0].address;
    let flood = tokio::spawn(async move {
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        loop {
            for datagram in [&[0x80; 200][..], &[22; 200], &[1; 200]] {
                let _ = stranger.try_send_to(datagram, address);
            }
            tokio::task::yield_now().await;
        }
    });
    // Datagrams may find the socket's buffer full; a browser repeats its check.
    let browser = Browser::open(&transport).await;
    soon(async {
        loop {
            let (transaction, message) = browser.check_message();
            browser.send(&message).await;
            let mut buffer = [0; 2048];
            let answer = browser.socket.recv_from(&mut buffer);
            if let Ok(Ok((length, _))) =
                tokio::time::timeout(std::time::Duration::from_millis(500), answer).await
            {
                let answer = Message::parse(&buffer[..length]).unwrap();
                if answer.transaction_id() == transaction {
                    return;
                }
            }
        }
    })
    .await;
    flood.abort();
    world.stop().await;
}

//! WHIP and WHEP over real HTTP and real media: what is answered, what is refused, and what is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod server;

use std::time::{Duration, Instant};

use loadtest::engine::ports::Note;
use loadtest::engine::results::Results;
use loadtest::scenario::Kind;
use serde_json::Value;
use server::http::{self, Response, post_sdp};
use server::seat::{Callers, Role, Seat};
use server::{Server, until, until_within};

/// Sees one publisher, as browsers that speak WHEP do.
const VIEWER: Role = Role::Viewer(1);

fn offer(role: Role) -> String {
    Callers::start(1).offer(role)
}

/// The stable identifier of a refusal, which has a sentence for a person beside it.
fn error_of(response: &Response) -> String {
    let body: Value =
        serde_json::from_str(&response.body).unwrap_or_else(|error| panic!("{error}: {response:?}"));
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{response:?}");
    body["error"].as_str().unwrap_or_else(|| panic!("{response:?}")).to_owned()
}

#[test]
fn a_post_is_answered_with_a_description_and_a_resource_that_a_delete_ends() {
    let server = Server::start();
    let response = post_sdp(server.public, "/whip/demo", &offer(Role::Publisher));
    assert_eq!((response.status, response.header("content-type")), (201, Some("application/sdp")));
    assert!(response.body.starts_with("v=0\r\n") && response.header("etag").is_some(), "{response:?}");
    let location = response.header("location").unwrap().to_owned();
    assert!(location.starts_with("/whip/demo/"), "{location}");
    let conference = server.conference();
    assert_eq!((&conference["conference"], &conference["bridge"]), (&"demo".into(), &"bridge-1".into()));
    until("the bridge holds one endpoint", || server.bridge_stats()["endpoints"] == 1);

    // The wrong protocol's path leads to nothing, and so does the right one a second time.
    let delete = |path: &str| http::request(server.public, ("DELETE", path), &[], "");
    assert_eq!(delete(&location.replace("whip", "whep")).status, 404);
    assert_eq!(delete(&location).status, 200);
    let again = delete(&location);
    assert_eq!((again.status, error_of(&again).as_str()), (404, "not_found"));
    until("nothing is left", || is_empty(&server));
}

/// Neither signaling nor the bridge holds anybody.
fn is_empty(server: &Server) -> bool {
    let stats = server.bridge_stats();
    server.conference() == Value::Null && stats["endpoints"] == 0 && stats["conferences"] == 0
}

#[test]
fn a_bad_request_is_refused_with_an_identifier_and_a_sentence() {
    let server = Server::start();
    let (whip, whep) = (offer(Role::Publisher), offer(VIEWER));
    let cases = [
        ("/whip/demo", "v=0", "bad_sdp"),
        ("/whip/demo", "not SDP at all", "bad_sdp"),
        ("/whip/demo", "", "bad_sdp"),
        ("/whip/demo", &whep, "bad_sdp"),
        ("/whep/demo", &whip, "bad_sdp"),
        ("/whip/demo", &whip.replace("a=ice-pwd", "a=ice-xxx"), "bad_sdp"),
        ("/whip/demo", &whip.replace("a=fingerprint", "a=footprint"), "bad_sdp"),
        ("/whip/demo", &whip.replace("a=rtcp-mux\r\n", ""), "bad_sdp"),
        ("/whip/demo", &whip.replace("VP8/90000", "XYZ/90000").replace("opus", "none"), "bad_sdp"),
        ("/whip/demo", &whip.replace("a=mid:1", "a=mid:0"), "bad_sdp"),
        ("/whip/demo", &whip.replace("a=setup:actpass", "a=setup:passive"), "bad_sdp"),
        ("/whip/%00", &whip, "bad_conference"),
        ("/whip/%ff", &whip, "bad_conference"),
        ("/whep/demo?source=nobody", &whep, "bad_source"),
    ];
    for (path, body, error) in cases {
        let response = post_sdp(server.public, path, body);
        assert_eq!((response.status, error_of(&response).as_str()), (400, error), "{path} {body}");
    }
    assert_eq!(server.conference(), Value::Null, "a refused offer leaves no conference");
    // A good one after all the others is the first that the bridge hears of.
    assert_eq!(post_sdp(server.public, "/whip/demo", &whip).status, 201);
    until("the bridge counts it", || server.bridge_stats()["endpoints"] == 1);
    assert_eq!(server.bridge_stats()["total_participants"], 1);
}

#[test]
fn what_http_itself_forbids_is_refused_with_its_own_status() {
    let server = Server::start();
    let whip = offer(Role::Publisher);
    let send = |line, headers: &[(&str, &str)], body: &str| http::request(server.public, line, headers, body);
    let sdp = [("Content-Type", "application/sdp")];
    let fragment = [("Content-Type", "application/trickle-ice-sdpfrag"), ("If-Match", "\"0\"")];
    let trickle = "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let large = format!("{whip}{}", "a=x:0123456789\r\n".repeat(8 * 1024));
    let cases = [
        (send(("POST", "/whip/demo"), &[("Content-Type", "text/plain")], &whip), 415, "wrong_content_type"),
        (send(("POST", "/whip/demo"), &[], &whip), 415, "wrong_content_type"),
        (send(("POST", "/whip/demo"), &sdp, &large), 413, "too_large"),
        (send(("GET", "/whip/demo"), &[], ""), 405, "method_not_allowed"),
        (send(("PUT", "/whep/demo"), &sdp, &whip), 405, "method_not_allowed"),
        (send(("POST", "/whip/demo/nobody"), &sdp, &whip), 405, "method_not_allowed"),
        (send(("DELETE", "/whip/demo/nobody"), &[], ""), 404, "not_found"),
        (send(("PATCH", "/whip/demo/nobody"), &fragment, trickle), 404, "not_found"),
        (send(("PATCH", "/whip/demo/nobody"), &sdp, trickle), 415, "wrong_content_type"),
        (send(("POST", "/whip/"), &sdp, &whip), 404, "not_found"),
    ];
    for (index, (response, status, error)) in cases.iter().enumerate() {
        assert_eq!(
            (response.status, error_of(response).as_str()),
            (*status, *error),
            "case {index}: {response:?}"
        );
        let is_resource = index == 5;
        let allowed = if is_resource { "PATCH, DELETE, OPTIONS" } else { "POST, OPTIONS" };
        assert_eq!(
            response.header("allow"),
            (*status == 405).then_some(allowed),
            "case {index}: {response:?}"
        );
    }
    assert_eq!(server.conference(), Value::Null);
}

#[test]
fn bytes_that_are_no_http_close_their_own_connection_only() {
    let server = Server::start();
    let mut requests: Vec<Vec<u8>> = vec![
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"POST /whip/demo\r\n\r\n".to_vec(),
        b"POST /whip/demo HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /whip/demo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_vec(),
        vec![0x16, 3, 1, 0, 200],
    ];
    requests.push(format!("POST /whip/{} HTTP/1.1\r\n\r\n", "x".repeat(300_000)).into_bytes());
    requests.push(format!("POST /whip/demo HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(5_000)).into_bytes());
    for request in &requests {
        let response = http::raw(server.public, request);
        assert!(matches!(response.status, 0 | 400..=499), "{response:?}");
    }
    assert_eq!(post_sdp(server.public, "/whip/demo", &offer(Role::Publisher)).status, 201);
}

#[test]
fn without_a_bridge_the_answer_comes_at_once_and_says_when_to_come_back() {
    let server = Server::without_bridge();
    for (path, role) in [("/whip/demo", Role::Publisher), ("/whep/demo", VIEWER)] {
        let asked = Instant::now();
        let response = post_sdp(server.public, path, &offer(role));
        assert_eq!((response.status, error_of(&response).as_str()), (503, "unavailable"));
        let retry_after_s: u32 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&retry_after_s));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert_eq!(server.conference(), Value::Null);
}

#[test]
fn a_viewer_who_comes_first_sees_and_hears_the_publisher_who_comes_later() {
    let server = Server::start();
    let mut callers = Callers::start(1);
    let mut viewer =
        [callers.seat(server.public, "demo", (VIEWER, callers.phone(Kind::Light, (VIEWER, 1), 1)))];
    callers.until_noted(&mut viewer, &Note::DtlsConnected);
    let mut publisher = [callers.join(server.public, "demo", (Role::Publisher, 0))];
    callers.until_noted(&mut viewer, &Note::FirstPicture);
    let mut results = vec![Results::default(); 2];
    // Half a second of media.
    until("media has come", || {
        callers.sample(&mut results);
        results[1].counts.packets_received > 150
    });
    let [sent, seen] = [results[0].counts, results[1].counts];
    assert_eq!((seen.packets_lost, seen.packets_duplicate, seen.packets_strange), (0, 0, 0), "{seen:?}");
    assert_eq!((seen.packets_unstamped, seen.frames_broken), (0, 0), "{seen:?}");
    assert!(seen.frames_complete > 0 && sent.key_frames_sent > 0, "{sent:?} {seen:?}");
    assert!(results[1].delays.audio.count() > 0, "it hears as well as it sees");
    until("the bridge counts both", || server.bridge_stats()["endpoints"] == 2);
    for seats in [&mut publisher, &mut viewer] {
        callers.hang_up(seats);
        // Whoever has hung up by DTLS may be gone already.
        assert!(matches!(seats[0].leave().status, 200 | 404));
    }
    until("nothing is left", || is_empty(&server));
}

#[test]
fn a_certificate_that_the_offer_did_not_announce_carries_no_media() {
    let server = Server::start();
    let callers = Callers::start(1);
    let liar = |role, number| {
        let phone = callers.phone(Kind::Light, (role, number), 0);
        callers.seat_with(server.public, "demo", (role, phone), (with_another_fingerprint, str::to_owned))
    };
    let mut liars = [liar(Role::Publisher, 0), liar(VIEWER, 1)];
    until("both are turned away", || server.bridge_stats()["dtls_failed_endpoints"] == 2);
    until("nothing is left", || is_empty(&server));
    let stats = server.bridge_stats();
    assert_eq!((&stats["total_packets_received"], &stats["total_packets_sent"]), (&0.into(), &0.into()));
    for liar in &mut liars {
        let notes = liar.notes(&callers);
        assert!(notes.contains(&Note::IceConnected) && !notes.contains(&Note::FirstPacket), "{notes:?}");
        assert_eq!(liar.leave().status, 404, "the resource went with its endpoint");
    }
}

/// The offer of somebody else's certificate.
fn with_another_fingerprint(offer: &str) -> String {
    let digest = vec!["5A"; 32].join(":");
    let lines = offer.lines().map(|line| {
        let is_fingerprint = line.starts_with("a=fingerprint:");
        if is_fingerprint { format!("a=fingerprint:sha-256 {digest}\r\n") } else { format!("{line}\r\n") }
    });
    lines.collect()
}

#[test]
fn a_browser_that_never_finishes_dtls_is_gone_after_its_time_and_leaves_nothing() {
    let server = Server::start();
    let callers = Callers::start(1);
    let joined = Instant::now();
    // Each waits for the other to say hello.
    let waits = |answer: &str| answer.replace("a=setup:passive", "a=setup:active");
    let silent = |role, number| {
        let phone = callers.phone(Kind::Light, (role, number), 0);
        callers.seat_with(server.public, "demo", (role, phone), (str::to_owned, waits))
    };
    let mut seats: Vec<Seat> = vec![silent(Role::Publisher, 0), silent(VIEWER, 1)];
    callers.until_noted(&mut seats, &Note::IceConnected);
    until("the bridge counts both", || server.bridge_stats()["endpoints"] == 2);
    // Answering checks for ever is not enough: 30 s are allowed for a connection.
    until_within(Duration::from_secs(45), "they are gone", || is_empty(&server));
    assert!(
        joined.elapsed() > Duration::from_secs(25),
        "a slow browser has its time: {:?}",
        joined.elapsed()
    );
    for seat in &mut seats {
        assert!(!seat.notes(&callers).contains(&Note::DtlsConnected));
        assert_eq!(seat.leave().status, 404);
    }
    // The conference's name is as good as new.
    let mut publisher = [callers.join(server.public, "demo", (Role::Publisher, 2))];
    callers.until_noted(&mut publisher, &Note::DtlsConnected);
    assert_eq!(publisher[0].leave().status, 200);
}

#[test]
fn the_offer_file_of_the_readme_is_answered() {
    let server = Server::start();
    let offer = include_str!("whip/offer.sdp");
    let response = post_sdp(server.public, "/whip/demo", offer);
    assert_eq!(response.status, 201, "{response:?}");
}

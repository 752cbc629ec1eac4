//! WHIP and WHEP over real HTTP and real media: what is answered, what is refused, and what is left behind.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod callers;
mod server;

use std::time::{Duration, Instant};

use callers::crew::{Crew, Seat};
use callers::http::{self, Response, post_sdp};
use callers::{Caller, Identity, Role};
use serde_json::Value;
use server::{Server, until, until_within};

fn caller(role: Role, number: u32) -> Caller {
    Caller::new(Instant::now(), role, number)
}

fn offer(role: Role) -> String {
    caller(role, 7).offer()
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
    let (whip, whep) = (offer(Role::Publisher), offer(Role::Viewer));
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
    for (path, role) in [("/whip/demo", Role::Publisher), ("/whep/demo", Role::Viewer)] {
        let asked = Instant::now();
        let response = post_sdp(server.public, path, &offer(role));
        assert_eq!((response.status, error_of(&response).as_str()), (503, "unavailable"));
        let retry_after_s: u32 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&retry_after_s));
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    assert_eq!(server.conference(), Value::Null);
}

/// Callers with a thread, who are connected before this returns.
fn connected(name: &str, seats: Vec<Seat>) -> Crew {
    let count = seats.len();
    let crew = Crew::start(name, seats);
    until("callers are connected", || crew.connected() == count);
    crew
}

#[test]
fn a_viewer_who_comes_first_sees_and_hears_the_publisher_who_comes_later() {
    let server = Server::start();
    let viewer = connected("viewer", vec![Seat::join(server.public, "demo", caller(Role::Viewer, 1))]);
    let publisher =
        connected("publisher", vec![Seat::join(server.public, "demo", caller(Role::Publisher, 0))]);
    until("the viewer sees and hears", || viewer.served() == 1);
    // Half a second of media; checks and reports alone are not as many.
    let before = viewer.received();
    until("media has come", || viewer.received() > before + 150);
    let viewer = viewer.stop();
    let streams = viewer[0].caller.streams();
    assert_eq!(streams.len(), 2);
    for stream in streams {
        let (_, is_key) = stream.first().expect("something is shown");
        assert_eq!((is_key, stream.counts().missing), (stream.is_picture(), 0));
    }
    until("the bridge counts both", || server.bridge_stats()["endpoints"] == 2);
    assert_eq!(publisher.stop()[0].leave().status, 200);
    assert_eq!(viewer[0].leave().status, 200);
    until("nothing is left", || is_empty(&server));
}

#[test]
fn a_certificate_that_the_offer_did_not_announce_carries_no_media() {
    let server = Server::start();
    let liar = caller(Role::Publisher, 0).disguised_as(&Identity::generate());
    let liar = Crew::start("liar", vec![Seat::join(server.public, "demo", liar)]);
    let viewer =
        Seat::join(server.public, "demo", caller(Role::Viewer, 1).disguised_as(&Identity::generate()));
    let viewer = Crew::start("viewer", vec![viewer]);
    until("both are turned away", || server.bridge_stats()["dtls_failed_endpoints"] == 2);
    until("nothing is left", || is_empty(&server));
    let stats = server.bridge_stats();
    assert_eq!((&stats["total_packets_received"], &stats["total_packets_sent"]), (&0.into(), &0.into()));
    for seat in liar.stop().iter().chain(&viewer.stop()) {
        assert!(seat.caller.is_reachable() && !seat.caller.is_connected());
        assert_eq!(seat.leave().status, 404, "the resource went with its endpoint");
    }
}

#[test]
fn a_browser_that_never_finishes_dtls_is_gone_after_its_time_and_leaves_nothing() {
    let server = Server::start();
    let joined = Instant::now();
    let silent = |role, number| Seat::join(server.public, "demo", caller(role, number).without_dtls());
    let crew = Crew::start("silent", vec![silent(Role::Publisher, 0), silent(Role::Viewer, 1)]);
    until("both are reachable", || crew.reachable() == 2);
    until("the bridge counts both", || server.bridge_stats()["endpoints"] == 2);
    // Answering checks for ever is not enough: 30 s are allowed for a connection.
    until_within(Duration::from_secs(45), "they are gone", || is_empty(&server));
    assert!(
        joined.elapsed() > Duration::from_secs(25),
        "a slow browser has its time: {:?}",
        joined.elapsed()
    );
    for seat in &crew.stop() {
        assert!(seat.caller.is_reachable() && !seat.caller.is_connected());
        assert_eq!(seat.leave().status, 404);
    }
    // The conference's name is as good as new.
    let publisher =
        connected("publisher", vec![Seat::join(server.public, "demo", caller(Role::Publisher, 2))]);
    assert_eq!(publisher.stop()[0].leave().status, 200);
}

#[test]
fn the_offer_file_of_the_readme_is_answered() {
    let server = Server::start();
    let offer = include_str!("whip/offer.sdp");
    let response = post_sdp(server.public, "/whip/demo", offer);
    assert_eq!(response.status, 201, "{response:?}");
}

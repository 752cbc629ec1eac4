//! WHIP and WHEP against servers that keep the RFC, and some that do not.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::any;
use wire::messages::meeting::SlotCounts;

use super::super::*;
use super::world::{Caller, Seen, control, nobody, seat, serve};
use crate::engine::ports::Note;

/// Answers every `POST` below `/whip` and `/whep`, and notes all that is asked.
fn server(seen: &Seen) -> Router {
    let seen = Arc::clone(seen);
    Router::new().fallback(any(
        async move |method: axum::http::Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let header =
                |name: &str| headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
            let length = header("content-length");
            let (kind, token) = (header("content-type"), header("authorization"));
            let body = String::from_utf8(body.to_vec()).unwrap();
            seen.lock().unwrap().push(format!("{method} {uri} {kind} {token} {length} {body}"));
            match method.as_str() {
                "POST" => (StatusCode::CREATED, [("location", "../res/1?x=y")], "an answer"),
                _ => (StatusCode::OK, [("location", "")], ""),
            }
        },
    ))
}

#[tokio::test]
async fn a_publisher_posts_its_offer_and_deletes_what_that_made() {
    let seen = Seen::default();
    let url = format!("http://{}", serve(server(&seen)).await);
    let control = control(&url, 20.0, |scenario| scenario.target.token = Some("t0k".to_owned()));
    let publisher = Seat { sends: true, awaits_media: false, ..seat(Entry::WhipWhep) };
    let mut caller = Caller::start(&control, publisher);
    assert_eq!(caller.offered().await, SlotCounts { audio: 0, video: 0 });
    caller.until("keys", |standing| standing.up == 1).await;
    let joins = caller.leave().await.joins();
    assert_eq!((joins.connect.count(), joins.answer.count(), joins.total.count()), (1, 1, 1));
    let seen = seen.lock().unwrap();
    let place = "/whip/a%20conference%2Fwith%20marks%3F";
    assert_eq!(seen[0], format!("POST {place} application/sdp Bearer t0k 8 an offer"));
    assert!(seen[1].starts_with("DELETE /res/1?x=y - Bearer t0k"), "{seen:?}");
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_viewer_offers_slots_and_comes_back_when_its_path_is_lost() {
    let seen = Seen::default();
    let url = format!("http://{}", serve(server(&seen)).await);
    let mut caller = Caller::start(&control(&url, 20.0, |_| ()), seat(Entry::WhipWhep));
    assert_eq!(caller.offered().await, SlotCounts { audio: 1, video: 1 });
    caller.until("media", |standing| standing.up == 1).await;
    caller.notes.send(Note::PathLost).unwrap();
    caller.offered().await;
    caller.until("media again", |standing| standing.up == 1).await;
    assert_eq!(caller.leave().await.joins().succeeded, 1);
    let methods: Vec<String> = seen.lock().unwrap().iter().map(|line| line[..4].to_owned()).collect();
    assert_eq!(methods, ["POST", "DELE", "POST", "DELE"], "what was made before is deleted first");
}

#[tokio::test]
async fn a_redirect_is_followed_with_its_body_and_without_the_token() {
    let seen = Seen::default();
    let elsewhere = serve(server(&seen)).await;
    let answer = move || async move {
        (StatusCode::TEMPORARY_REDIRECT, [("location", format!("http://{elsewhere}/other"))])
    };
    let url = format!("http://{}", serve(Router::new().fallback(any(answer))).await);
    let control = control(&url, 20.0, |scenario| scenario.target.token = Some("t0k".to_owned()));
    let caller = Caller::start(&control, seat(Entry::WhipWhep));
    caller.until("media", |standing| standing.up == 1).await;
    caller.leave().await;
    assert_eq!(seen.lock().unwrap()[0], "POST /other application/sdp - 8 an offer");
}

#[tokio::test]
async fn what_is_no_answer_fails_for_its_reason() {
    let refusing = |status: u16, headers: [(&'static str, &'static str); 1], body: &'static str| {
        let status = StatusCode::from_u16(status).unwrap();
        Router::new().fallback(any(move || async move { (status, headers, body) }))
    };
    let none = [("x-none", "")];
    let full = r#"{"error":"conference_full","message":"this conference is full"}"#;
    for (router, patience, expected) in [
        (refusing(401, none, ""), 20.0, "bad_token"),
        (refusing(503, [("retry-after", "30")], full), 20.0, "conference_full"),
        (refusing(503, [("retry-after", "30")], ""), 20.0, "http_503"),
        (refusing(429, [("retry-after", "30")], ""), 20.0, "rate_limited"),
        (refusing(406, none, "v=0"), 20.0, "http_406"),
        (refusing(200, none, "an answer"), 20.0, "not_created"),
        (refusing(201, none, "no answer"), 2.0, "bad_answer"),
        (refusing(307, [("location", "/again")], ""), 20.0, "redirect_loop"),
        (refusing(308, none, ""), 20.0, "bad_location"),
    ] {
        let url = format!("http://{}", serve(router).await);
        let ledger = Caller::start(&control(&url, patience, |_| ()), seat(Entry::WhipWhep)).end().await;
        let failed = ledger.joins().failed;
        assert_eq!(
            failed.keys().map(String::as_str).collect::<Vec<_>>(),
            [expected],
            "{:?}",
            ledger.explanations()
        );
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable_after_few_tries() {
    let url = format!("http://{}", nobody().await);
    let mut caller = Caller::start(&control(&url, 2.0, |_| ()), seat(Entry::WhipWhep));
    caller.until("the end", |standing| standing.failed == 1).await;
    assert_eq!(caller.ledger.joins().failed.keys().next().unwrap(), "unreachable");
    let mut offers = 0;
    while caller.offers.try_recv().is_ok() {
        offers += 1;
    }
    assert!((1..=5).contains(&offers), "{offers}");
}

//! Targets that are not there, refuse, or are something else: one stable reason, one line, no panic, no fast retries.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::super::*;
use super::world::{Caller, Seen, Signaling, control, joined, nobody, seat, serve, soon};

/// The reason and line for which the one caller has failed.
fn failed(ledger: &Ledger) -> (String, String) {
    let joins = ledger.joins();
    assert_eq!(joins.failed.values().sum::<u64>(), 1, "{joins:?}");
    ledger.explanations().into_iter().next().unwrap()
}

/// Joins, with this patience, where `router` serves.
async fn join(router: Router, join_timeout_s: f64) -> (String, String) {
    let url = format!("http://{}", serve(router).await);
    failed(&Caller::start(&control(&url, join_timeout_s, |_| ()), seat(Entry::Meeting)).end().await)
}

#[tokio::test]
async fn a_target_where_nobody_listens_is_unreachable() {
    let url = format!("http://{}", nobody().await);
    let control = control(&url, 2.0, |_| ());
    let (reason, line) = failed(&Caller::start(&control, seat(Entry::Meeting)).end().await);
    assert_eq!(reason, "unreachable");
    assert!(line.contains(&url.replace("http", "ws")) && line.contains("refused"), "{line}");
    assert_eq!(control.reach().await.unwrap_err().reason, "unreachable");
}

#[tokio::test]
async fn a_name_without_an_address_is_said_so() {
    let control = control("http://nobody.invalid:1", 0.3, |_| ());
    assert_eq!(control.reach().await.unwrap_err().reason, "name_unknown");
}

#[tokio::test]
async fn refusals_of_the_upgrade_are_counted_by_what_they_say() {
    for (status, body, expected) in [
        (StatusCode::UNAUTHORIZED, "", "bad_token"),
        (StatusCode::FORBIDDEN, r#"{"error":"foreign_origin","message":"no"}"#, "foreign_origin"),
        (StatusCode::NOT_FOUND, "<html>", "not_found"),
        (StatusCode::OK, "<html>", "http_200"),
    ] {
        let (reason, line) = join(Router::new().route("/ws", get(async move || (status, body))), 20.0).await;
        assert_eq!(reason, expected);
        assert!(line.contains(status.as_str()), "{line}");
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_a_few_times_and_then_named() {
    let seen = Seen::default();
    let asked = Arc::clone(&seen);
    let answer = async move || {
        asked.lock().unwrap().push(String::new());
        StatusCode::BAD_GATEWAY
    };
    let (reason, _) = join(Router::new().route("/ws", get(answer)), 1.0).await;
    assert_eq!(reason, "http_502");
    assert!((2..20).contains(&seen.lock().unwrap().len()), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_asked_once() {
    let seen = Seen::default();
    let asked = Arc::clone(&seen);
    let answer = async move || {
        asked.lock().unwrap().push(String::new());
        let body = r#"{"error":"rate_limited","message":"too many requests from this address"}"#;
        (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "30")], body)
    };
    let (reason, line) = join(Router::new().route("/ws", get(answer)), 2.0).await;
    assert_eq!((reason.as_str(), seen.lock().unwrap().len()), ("rate_limited", 1));
    assert!(line.contains("too many requests from this address"), "{line}");
}

#[tokio::test]
async fn refusals_inside_of_the_line_end_the_join_at_once() {
    for id in ["bad_token", "conference_full", "bad_name", "bad_conference"] {
        let mut signaling = Signaling::start().await;
        let caller = Caller::start(&control(&signaling.url(), 20.0, |_| ()), seat(Entry::Meeting));
        let mut line = signaling.accept().await;
        line.hear().await;
        line.say(&json!({"type": "error", "id": id, "message": "a sentence"})).await;
        let (reason, line) = failed(&caller.end().await);
        assert_eq!(reason, id);
        assert!(line.contains("a sentence"), "{line}");
    }
}

#[tokio::test]
async fn an_offer_that_is_refused_for_what_it_says_fails_and_one_without_a_bridge_waits() {
    for (id, patience, expected) in [("bad_sdp", 20.0, "bad_sdp"), ("unavailable", 2.0, "unavailable")] {
        let mut signaling = Signaling::start().await;
        let caller = Caller::start(&control(&signaling.url(), patience, |_| ()), seat(Entry::Meeting));
        let mut line = signaling.take_in(2).await;
        line.hear().await;
        line.say(&json!({"type": "error", "id": id, "message": "m"})).await;
        assert_eq!(failed(&caller.end().await).0, expected);
    }
}

#[tokio::test]
async fn a_line_that_speaks_something_else_is_named_so() {
    let mut signaling = Signaling::start().await;
    let caller = Caller::start(&control(&signaling.url(), 2.0, |_| ()), seat(Entry::Meeting));
    let mut line = signaling.accept().await;
    line.say(&json!({"hello": "world"})).await;
    assert_eq!(failed(&caller.end().await).0, "not_our_protocol");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let banner = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let caller = Caller::start(&control(&url, 2.0, |_| ()), seat(Entry::Meeting));
    let (reason, _) = failed(&caller.end().await);
    assert!(["not_websocket", "unreachable"].contains(&reason.as_str()), "{reason}");
    banner.abort();
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_the_patience_and_no_more() {
    let mut signaling = Signaling::start().await;
    let caller = Caller::start(&control(&signaling.url(), 2.0, |_| ()), seat(Entry::Meeting));
    let _line = signaling.accept().await;
    assert_eq!(failed(&caller.end().await).0, "no_joined");
}

#[tokio::test]
async fn a_server_that_dies_leaves_callers_that_try_and_can_leave() {
    let mut signaling = Signaling::start().await;
    let mut caller = Caller::start(&control(&signaling.url(), 20.0, |_| ()), seat(Entry::Meeting));
    let mut line = signaling.take_in(2).await;
    caller.connect(&mut line).await;
    drop((line, signaling));
    let ledger = soon("the leaving", caller.leave()).await;
    assert_eq!((ledger.standing().failed, ledger.standing().lost), (0, 0));
}

#[tokio::test]
async fn a_caller_that_is_replaced_is_lost_and_not_failed() {
    let mut signaling = Signaling::start().await;
    let mut caller = Caller::start(&control(&signaling.url(), 20.0, |_| ()), seat(Entry::Meeting));
    let mut line = signaling.take_in(2).await;
    caller.connect(&mut line).await;
    line.say(&json!({"type": "bye", "reason": "replaced"})).await;
    let ledger = caller.end().await;
    assert_eq!((ledger.standing().failed, ledger.standing().lost), (0, 1));
    assert!(ledger.explanations().contains_key("bye"));
}

#[tokio::test]
async fn a_certificate_is_trusted_only_with_its_authority() {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, own.cert.pem()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server =
        rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            #[expect(clippy::result_large_err, reason = "the library's own type")]
            let answer =
                |_: &_, mut response: tokio_tungstenite::tungstenite::handshake::server::Response| {
                    response.headers_mut().insert("sec-websocket-protocol", "passerelle.v1".parse().unwrap());
                    Ok(response)
                };
            let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, answer).await else { continue };
            let text = tokio_tungstenite::tungstenite::Message::text(joined().to_string());
            futures_util::SinkExt::send(&mut socket, text).await.unwrap();
            std::mem::drop(tokio::spawn(async move {
                while let Some(Ok(_)) = futures_util::StreamExt::next(&mut socket).await {}
            }));
        }
    });
    let (reason, line) =
        failed(&Caller::start(&control(&url, 20.0, |_| ()), seat(Entry::Signaling)).end().await);
    assert_eq!(reason, "tls", "{line}");
    let trusting = control(&url, 20.0, |scenario| scenario.target.ca_file = Some(file));
    assert_eq!(trusting.reach().await.map_err(|failure| failure.line), Ok(()));
    let caller = Caller::start(&trusting, seat(Entry::Signaling));
    caller.until("joined", |standing| standing.up == 1).await;
    caller.leave().await;
}

#[test]
fn a_target_that_is_no_server_is_refused_before_anybody_calls() {
    for url in ["", "meet.example", "ftp://meet.example", "http://", "data:x"] {
        let mut scenario = Scenario::default();
        scenario.target.url = url.to_owned();
        let error = Control::new(&scenario).map(drop).unwrap_err().to_string();
        assert!(error.contains(&format!("target.url = {url:?}")), "{error}");
    }
}

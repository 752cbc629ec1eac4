//! WHIP, WHEP, the page and the limits of HTTP against a real signaling.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, also outside of test functions")]

mod world;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use world::{World, offer, patiently};

const PUBLISHING: &[(&str, &str)] = &[("audio", "sendonly"), ("video", "sendonly")];
const VIEWING: &[(&str, &str)] = &[("audio", "recvonly"), ("video", "recvonly")];

fn post(path: &str) -> String {
    format!("POST {path} HTTP/1.1\nContent-Type: application/sdp\nAuthorization: Bearer anything")
}

#[tokio::test]
async fn whip_publishes_whep_views_and_delete_ends_both() {
    let world = World::new().await;
    let _bridge = world.bridge("a").await;
    let mut resources = Vec::new();
    for (path, medias, direction) in
        [("/whip/demo", PUBLISHING, "a=recvonly"), ("/whep/demo?source=0a1b2c3d-v0", VIEWING, "a=sendonly")]
    {
        let answer = world.http(&post(path), &offer(medias)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/sdp"));
        assert_eq!(answer.header("etag"), Some("\"ice-0\""));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert!(answer.header("access-control-expose-headers").unwrap().contains("Location"));
        assert!(answer.body.starts_with("v=0\r\n") && answer.body.contains(direction), "{}", answer.body);
        resources.push(answer.header("location").unwrap().to_owned());
    }
    let conference = world.ask("/api/conferences").await[0].clone();
    assert_eq!((conference["participants"].as_u64(), conference["viewers"].as_u64()), (Some(1), Some(1)));
    assert_eq!(conference["bridge"], "a");
    for resource in &resources {
        assert!(resource.starts_with("/whip/demo/") || resource.starts_with("/whep/demo/"), "{resource}");
        assert_eq!(world.http(&format!("DELETE {resource} HTTP/1.1"), "").await.status, 200);
        assert_eq!(world.http(&format!("DELETE {resource} HTTP/1.1"), "").await.status, 404);
    }
    assert!(world.ask("/api/conferences").await.as_array().unwrap().is_empty());
}

#[tokio::test]
async fn patch_trickles_and_restarts() {
    let world = World::new().await;
    let _bridge = world.bridge("a").await;
    let created = world.http(&post("/whip/my%20show"), &offer(PUBLISHING)).await;
    let resource = created.header("location").unwrap();
    let patch = |tag: &str| {
        format!("PATCH {resource} HTTP/1.1\nContent-Type: application/trickle-ice-sdpfrag\nIf-Match: {tag}")
    };
    let trickle = "a=ice-ufrag:EsAw\r\na=ice-pwd:0123456789abcdefghijkl\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n\
                   a=candidate:1 1 udp 1 192.0.2.9 5000 typ host\r\n";
    assert_eq!(world.http(&patch("\"ice-0\""), trickle).await.status, 204);
    assert_eq!(world.http(&patch("\"ice-9\""), trickle).await.status, 412);
    let restart = "a=ice-ufrag:new1\r\na=ice-pwd:abcdefghijklmnopqrstuv\r\n";
    let restarted = world.http(&patch("*"), restart).await;
    assert_eq!((restarted.status, restarted.header("etag")), (200, Some("\"ice-1\"")));
    assert!(restarted.body.contains("a=ice-ufrag:brdg\r\n"), "{}", restarted.body);
    assert_eq!(world.http(&patch("\"ice-0\""), trickle).await.status, 412);
    assert_eq!(world.http(&patch("\"ice-1\""), "garbage").await.status, 400);
    let no_tag = format!("PATCH {resource} HTTP/1.1\nContent-Type: application/trickle-ice-sdpfrag");
    assert_eq!(world.http(&no_tag, trickle).await.status, 428);
    let wrong_type = format!("PATCH {resource} HTTP/1.1\nContent-Type: application/sdp\nIf-Match: *");
    assert_eq!(world.http(&wrong_type, restart).await.status, 415);
}

#[tokio::test]
async fn a_flood_of_patches_from_one_address_is_limited() {
    let world = World::with(|settings| {
        settings.limit_loopback = true;
        settings.joins_per_address_per_s = 1;
        settings.joins_per_address_burst = 2;
    })
    .await;
    let patch =
        "PATCH /whip/demo/x HTTP/1.1\nContent-Type: application/trickle-ice-sdpfrag\nIf-Match: \"ice-0\"";
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(world.http(patch, "a=mid:0\r\n").await.status);
    }
    assert!(statuses[..2] == [404; 2] && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn wrong_requests_get_their_status_and_a_reason() {
    let world = World::new().await;
    let no_bridge = world.http(&post("/whip/demo"), &offer(PUBLISHING)).await;
    assert_eq!((no_bridge.status, no_bridge.error().as_str()), (503, "unavailable"));
    assert!(no_bridge.header("retry-after").is_some());
    let _bridge = world.bridge("a").await;
    let sdp = offer(PUBLISHING);
    let too_long = "x".repeat(64 * 1024 + 1);
    let many_lines = "a=x\r\n".repeat(10_000);
    for (request, body, status, error) in [
        (post("/whip/demo"), "not SDP", 400, "bad_sdp"),
        (post("/whip/demo"), many_lines.as_str(), 400, "bad_sdp"),
        (post("/whep/demo"), sdp.as_str(), 400, "bad_sdp"),
        (post("/whip/%00"), sdp.as_str(), 400, "bad_conference"),
        (post("/whip/%ff"), sdp.as_str(), 400, "bad_conference"),
        (post("/whep/demo?source=../x"), sdp.as_str(), 400, "bad_source"),
        (post("/whip/demo"), too_long.as_str(), 413, "too_large"),
        (
            "POST /whip/demo HTTP/1.1\nContent-Type: text/plain".to_owned(),
            sdp.as_str(),
            415,
            "wrong_content_type",
        ),
        ("GET /whip/demo HTTP/1.1".to_owned(), "", 405, "method_not_allowed"),
        ("PUT /whep/demo/x HTTP/1.1".to_owned(), "", 405, "method_not_allowed"),
        ("POST / HTTP/1.1".to_owned(), "", 405, "method_not_allowed"),
        ("DELETE /whip/demo/unknown HTTP/1.1".to_owned(), "", 404, "not_found"),
        ("GET /a/b/c/d HTTP/1.1".to_owned(), "", 404, "not_found"),
    ] {
        let answer = world.http(&request, body).await;
        assert_eq!((answer.status, answer.error().as_str()), (status, error), "{request}");
    }
    let options = world.http("OPTIONS /whip/demo HTTP/1.1\nOrigin: https://player.example", "").await;
    assert_eq!((options.status, options.header("accept-post")), (204, Some("application/sdp")));
    assert!(options.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(world.ask("/api/conferences").await.as_array().unwrap().is_empty(), "nothing is left behind");
}

#[tokio::test]
async fn the_page_comes_with_strict_headers_under_every_conference() {
    let world = World::new().await;
    for path in ["/", "/daily", "/T%C3%A9l%C3%A9", "/%3Cimg%20src=x%3E"] {
        let page = world.http(&format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(!page.body.contains("<img"), "the name is not reflected");
        let csp = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(csp.contains(part), "{csp}");
        }
        assert!(!csp.contains("unsafe"), "{csp}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(page.header("cross-origin-opener-policy"), Some("same-origin"));
        assert!(page.header("permissions-policy").unwrap().contains("camera=(self)"));
        assert_eq!(page.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn every_file_that_the_page_names_is_there() {
    let world = World::new().await;
    let page = world.http("GET / HTTP/1.1", "").await.body;
    let named: Vec<&str> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(!named.is_empty());
    for path in named {
        let file = world.http(&format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(file.status, 200, "{path}");
        let kind = file.header("content-type").unwrap();
        assert_ne!(kind, "application/octet-stream", "{path}");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_the_page() {
    let world = World::new().await;
    for path in [
        "/../Cargo.toml",
        "/..%2fCargo.toml",
        "/%2e%2e/Cargo.toml",
        "/assets/../../Cargo.toml",
        "/assets/..%2f..%2fCargo.toml",
        "/assets/%2fetc%2fpasswd",
        "/assets//etc/passwd",
        "/assets/.git",
        "/assets/app.js%00",
        "/assets/",
        "//etc/passwd",
    ] {
        let answer = world.http(&format!("GET {path} HTTP/1.1"), "").await;
        assert_eq!(answer.status, 404, "{path}: {:.80}", answer.body);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_never_end_are_hung_up_on() {
    let world = World::new().await;
    for part in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_hung_up_on() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    let head = "POST /whip/demo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/sdp\r\n\
                Content-Length: 1000\r\n\r\nv=0";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn headers_beyond_the_limits_are_431() {
    let world = World::new().await;
    let long = format!("GET /{} HTTP/1.1", "x".repeat(20_000));
    assert_eq!(world.http(&long, "").await.status, 431);
    let many = format!("GET / HTTP/1.1{}", "\nX: y".repeat(200));
    assert_eq!(world.http(&many, "").await.status, 431);
}

#[tokio::test]
async fn ambiguous_requests_are_refused() {
    let world = World::new().await;
    for headers in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: +5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
    ] {
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        let head = format!("POST /whip/demo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\nabc");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400"), "{headers}: {answer}");
    }
}

//! What a real signaling tells browsers of the relays, and what it serves of their port.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, also outside of test functions")]

mod world;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use signaling::WebConnection;
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio_tungstenite::tungstenite::{self, ClientRequestBuilder, Message};
use wire::settings::Secret;
use world::{TURN_SECRET, TURN_URIS, World, http_over, offer, patiently};

const CREDENTIALS: &str = "GET /api/turn-credentials HTTP/1.1";

/// The participant of a user name that a relay with our secret would take for `ttl_s` seconds more.
fn checked(username: &Value, password: &Value, ttl_s: u64) -> String {
    let (expiry, rest) = username.as_str().unwrap().split_once(':').unwrap();
    let expiry: u64 = expiry.parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((now + ttl_s - 30..=now + ttl_s).contains(&expiry), "{expiry} is not {ttl_s} s after {now}");
    let (_, expected) = wire::turn::mint(&Secret::from(TURN_SECRET.to_owned()), rest, expiry);
    assert_eq!(password.as_str(), Some(expected.as_str()));
    rest.to_owned()
}

fn server_of(assigned: &Value) -> &Value {
    let servers = assigned["ice_servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "{assigned}");
    assert_eq!(servers[0]["urls"], json!(TURN_URIS));
    &servers[0]
}

#[tokio::test]
async fn each_browser_is_assigned_credentials_of_its_own_and_sees_nobody_elses() {
    let world = World::with_relays(|_| {}).await;
    let _bridge = world.bridge("a").await;
    let mut browsers = [world.join("daily", "Anna").await, world.join("daily", "Bert").await];
    let mut passwords = Vec::new();
    for browser in &mut browsers {
        let assigned = browser.hear("assigned").await;
        let server = server_of(&assigned);
        let who = checked(&server["username"], &server["credential"], 600);
        assert_eq!(browser.joined["participant"], who);
        passwords.push(server["credential"].as_str().unwrap().to_owned());
        browser.offer(1).await;
    }
    // Whoever comes later sees the whole state; and everybody hears everything that follows.
    browsers[0].say(&json!({ "type": "set", "hand": true })).await;
    browsers[1].say(&json!({ "type": "chat", "text": "hello" })).await;
    let mut carl = world.open("daily").await;
    carl.say(&json!({ "type": "join", "name": "Carl" })).await;
    let [anna, bert] = &mut browsers;
    let [of_anna, of_bert] = &passwords[..] else { panic!("two passwords") };
    for (browser, others) in
        [(anna, vec![of_bert]), (bert, vec![of_anna]), (&mut carl, vec![of_anna, of_bert])]
    {
        browser.say(&json!({ "type": "leave" })).await;
        let heard = everything(browser).await;
        assert!(heard.contains("\"bye\""), "{heard}");
        assert!(!heard.contains(TURN_SECRET), "{heard}");
        assert!(others.iter().all(|password| !heard.contains(password.as_str())), "{heard}");
    }
    for path in ["/stats", "/metrics", "/api/bridges", "/api/conferences"] {
        let shown = world.ask(path).await.to_string();
        assert!(passwords.iter().all(|password| !shown.contains(password)), "{path}");
        assert!(!shown.contains("canary"), "{path}");
    }
}

/// All that a browser is still sent.
async fn everything(browser: &mut world::Browser) -> String {
    let mut heard = String::new();
    while let Some(Ok(message)) = patiently(browser.socket.next()).await {
        if let Message::Text(text) = message {
            heard += &text;
        }
    }
    heard
}

#[tokio::test]
async fn a_conference_that_moves_has_credentials_for_its_new_bridge() {
    let world = World::with_relays(|settings| settings.turn_one_bridge = true).await;
    let [first, second] = [world.bridge("a").await, world.bridge("b").await];
    let mut anna = world.join("daily", "Anna").await;
    let _bert = world.join("daily", "Bert").await;
    let who = anna.joined["participant"].as_str().unwrap().to_owned();
    let bridge_of = |assigned: &Value| {
        let server = server_of(assigned);
        let name = checked(&server["username"], &server["credential"], 600);
        name.strip_prefix(&format!("{who};b=")).unwrap().to_owned()
    };
    let before = bridge_of(&anna.hear("assigned").await);
    let (holder, _survivor) = if before == "a" { (first, second) } else { (second, first) };
    holder.kill();
    let after = bridge_of(&anna.hear("assigned").await);
    assert_eq!(BTreeSet::from([before.as_str(), &after]), BTreeSet::from(["a", "b"]));

    let proof = format!("{CREDENTIALS}\nAuthorization: Bearer {}", anna.joined["resume"].as_str().unwrap());
    let renewed: Value = serde_json::from_str(&world.http(&proof, "").await.body).unwrap();
    assert_eq!(checked(&renewed["username"], &renewed["password"], 600), format!("{who};b={after}"));
}

#[tokio::test]
async fn without_relays_there_are_no_servers_and_no_credentials() {
    let world = World::new().await;
    let _bridge = world.bridge("a").await;
    let mut anna = world.join("daily", "Anna").await;
    let _bert = world.join("daily", "Bert").await;
    assert_eq!(anna.hear("assigned").await["ice_servers"], json!([]));
    let answer = world.http(CREDENTIALS, "").await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "no_relay"));
    let post = "POST /whip/demo HTTP/1.1\nContent-Type: application/sdp";
    let created = world.http(post, &offer(&[("audio", "sendonly")])).await;
    assert_eq!((created.status, created.header("link")), (201, None));
}

#[tokio::test]
async fn credentials_are_for_whoever_may_join() {
    let world = World::with_relays(|settings| settings.turn_ttl_s = 3600).await;
    let anna = world.join("daily", "Anna").await;
    let proof = anna.joined["resume"].as_str().unwrap();
    let own = world.http(&format!("{CREDENTIALS}\nAuthorization: Bearer {proof}"), "").await;
    assert_eq!((own.status, own.header("cache-control")), (200, Some("no-store")));
    assert_eq!(own.header("access-control-allow-origin"), None);
    let body: Value = serde_json::from_str(&own.body).unwrap();
    assert_eq!(anna.joined["participant"], checked(&body["username"], &body["password"], 3600));
    assert_eq!((&body["ttl"], &body["uris"]), (&json!(3600), &json!(TURN_URIS)));

    let mut names = BTreeSet::new();
    for _ in 0..3 {
        let body: Value = serde_json::from_str(&world.http(CREDENTIALS, "").await.body).unwrap();
        names.insert(checked(&body["username"], &body["password"], 3600));
    }
    assert_eq!(names.len(), 3, "strangers share no name, and so no quota: {names:?}");

    for shown in ["Bearer wrong", "Bearer ", "Basic YTpi", proof, &format!("Bearer {TURN_SECRET}")] {
        let answer = world.http(&format!("{CREDENTIALS}\nAuthorization: {shown}"), "").await;
        assert_eq!((answer.status, answer.error().as_str()), (401, "unauthorized"), "{shown}");
    }
    let foreign = world.http(&format!("{CREDENTIALS}\nOrigin: https://evil.example"), "").await;
    assert_eq!((foreign.status, foreign.error().as_str()), (403, "foreign_origin"));
    let written = world.http("POST /api/turn-credentials HTTP/1.1", "{}").await;
    assert_eq!(written.status, 405);
}

#[tokio::test]
async fn credentials_are_limited_as_joins_are() {
    let world = World::with_relays(|settings| {
        settings.limit_loopback = true;
        settings.joins_per_address_per_s = 1;
        settings.joins_per_address_burst = 2;
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(world.http(CREDENTIALS, "").await.status);
    }
    assert!(statuses[..2] == [200; 2] && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn whip_and_whep_are_told_of_the_relays_by_links() {
    let world = World::with_relays(|settings| settings.turn_one_bridge = true).await;
    let _bridge = world.bridge("a").await;
    for (path, direction) in [("/whip/demo", "sendonly"), ("/whep/demo", "recvonly")] {
        let post = format!("POST {path} HTTP/1.1\nContent-Type: application/sdp");
        let created = world.http(&post, &offer(&[("audio", direction)])).await;
        assert_eq!(created.status, 201, "{}", created.body);
        let links = created.headers.iter().filter(|(name, _)| name == "link");
        let links: Vec<&str> = links.map(|(_, value)| value.as_str()).collect();
        assert_eq!(links.len(), TURN_URIS.len());
        for (link, uri) in links.into_iter().zip(TURN_URIS) {
            let parts: Vec<&str> = link.split("; ").collect();
            assert_eq!(parts[..2], [format!("<{uri}>").as_str(), "rel=\"ice-server\""]);
            let value = |at: usize, name: &str| {
                json!(parts[at].strip_prefix(&format!("{name}=\"")).and_then(|it| it.strip_suffix('"')))
            };
            assert_eq!(checked(&value(2, "username"), &value(3, "credential"), 600).len(), 8);
            assert_eq!(value(4, "credential-type"), "password");
        }
        let resource = created.header("location").unwrap();
        let ended = world.http(&format!("DELETE {resource} HTTP/1.1"), "").await;
        assert_eq!((ended.status, ended.header("link")), (200, None));
    }
}

#[tokio::test]
async fn a_bridge_tells_relays_where_its_media_arrives() {
    let world = World::new().await;
    let public = world.public;
    let link = |id: &str, media: Value| {
        let request = world.socket_request("/bridge-link", "passerelle-link.v1");
        let request = request.with_header("Authorization", format!("Bearer {}", world::KEY));
        let hello = json!({
            "type": "hello", "bridge": id, "boot": "x", "version": "9", "channel": "http://127.0.0.1:1",
            "endpoints_max": 5, "media": media,
        });
        async move {
            let mut link = world::dial(public, request).await.unwrap();
            link.send(Message::text(hello.to_string())).await.unwrap();
            link
        }
    };
    let media = json!(["203.0.113.4:10000", "[2001:db8::4]:10000"]);
    let _link = link("a", media.clone()).await;
    let bridges = world.ask_until("/api/bridges", |bridges| bridges[0]["id"] == "a").await;
    assert_eq!(bridges[0]["media"], media);
    for hostile in [json!(["0.0.0.0:10000"]), json!(["[ff02::1]:9"]), json!(vec!["192.0.2.1:9"; 257])] {
        assert_eq!(world::close_code(&mut link("b", hostile).await).await, 1008);
    }
    assert_eq!(world.ask("/api/bridges").await.as_array().unwrap().len(), 1);
}

/// The client's end of a connection that a relay hands over.
async fn handed_over(world: &World, client: &str, secure: bool) -> DuplexStream {
    let (ours, theirs) = duplex(16 * 1024);
    let client: SocketAddr = client.parse().unwrap();
    let connection = WebConnection { stream: Box::new(theirs), client, secure };
    world.web_connections.send(connection).await.unwrap();
    ours
}

#[tokio::test]
async fn what_others_accept_is_served_as_if_it_had_come_here() {
    let mut world = World::new().await;
    let page = http_over(
        handed_over(&world, "192.0.2.7:4000", true).await,
        "meet.example",
        "GET /daily HTTP/1.1",
        "",
    )
    .await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));

    let mut browsers = Vec::new();
    for origin in ["https://meet.example", "http://meet.example", "https://evil.example"] {
        let request = ClientRequestBuilder::new("ws://meet.example/ws?conference=daily".parse().unwrap())
            .with_sub_protocol("passerelle.v1")
            .with_header("Origin", origin);
        let stream = handed_over(&world, "192.0.2.7:4000", true).await;
        browsers.push(patiently(tokio_tungstenite::client_async(request, stream)).await);
    }
    let mut browsers = browsers.into_iter();
    let (mut socket, _) = browsers.next().unwrap().unwrap();
    for refused in browsers {
        let Err(tungstenite::Error::Http(answer)) = refused else { panic!("another page is let in") };
        assert_eq!(answer.status().as_u16(), 403);
    }
    socket.send(Message::text(r#"{"type":"join","name":"Anna"}"#)).await.unwrap();
    let Some(Ok(Message::Text(joined))) = patiently(socket.next()).await else { panic!("not joined") };
    assert!(joined.contains("\"joined\""), "{joined}");

    let web_connections = world.web_connections.clone();
    world.stop().await;
    let (_, theirs) = duplex(1);
    let late =
        WebConnection { stream: Box::new(theirs), client: "192.0.2.7:1".parse().unwrap(), secure: true };
    assert!(web_connections.send(late).await.is_err(), "nobody takes it any more");
}

#[tokio::test]
async fn connections_of_others_count_for_the_address_of_their_client() {
    let world = World::with(|settings| settings.sockets_per_address_max = 2).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(handed_over(&world, "192.0.2.7:4000", false).await);
    }
    let mut third = streams.pop().unwrap();
    let mut answer = Vec::new();
    patiently(third.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty(), "one too many is closed");
    let other = handed_over(&world, "192.0.2.8:4000", false).await;
    assert_eq!(http_over(other, "meet.example", "GET / HTTP/1.1", "").await.status, 200);
    drop(streams);
}

#[tokio::test(start_paused = true)]
async fn headers_that_never_end_are_hung_up_on_wherever_they_came_in() {
    let world = World::new().await;
    let mut stream = handed_over(&world, "192.0.2.7:4000", true).await;
    let began = tokio::time::Instant::now();
    let mut answer = String::new();
    patiently(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(11) && !answer.contains("200 OK"), "{answer}");
}

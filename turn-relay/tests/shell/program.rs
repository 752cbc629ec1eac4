//! The program: its flags, its one line, its exit codes, its commands.

use std::net::{TcpListener, UdpSocket};

use serde_json::Value;

use crate::world::process::{Process, program, run, settings, stderr, stdout};
use crate::world::{SECRET, http};

#[test]
fn settings_that_cannot_be_used_end_with_78_and_one_line_that_names_the_key() {
    for (line, key) in [
        ("lisen = []", "lisen"),
        ("tls_listen = [\"meet.example:443\"]", "tls_listen[0]"),
        ("realm = \"\"", "realm"),
        ("min_port = 80", "min_port"),
        ("max_port = 65536", "max_port"),
        ("certificate = \"none.pem\"\nkey = \"none.key\"", "certificate"),
        ("trusted_proxies = [\"everybody\"]", "trusted_proxies"),
        ("channel_numbers = \"all\"", "channel_numbers"),
        ("drain_s = -1", "drain_s"),
        ("users = { anna = \"short\" }", "users"),
        ("policy = { mode = \"open\" }", "policy.mode"),
        ("policy = { deny = [\"10.0.0.1/8\"] }", "policy.deny"),
        ("policy = { bridges_from = \"signaling\" }", "policy.bridges_from"),
        ("limits = { allocations_max = 0 }", "limits.allocations_max"),
    ] {
        let output = run(&settings(line), &["--check-config"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{line}: {text}");
        assert!(text.contains(&format!("turn-relay.{key}")), "{line}: {text}");
        assert!(text.contains("passerelle.toml"), "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn without_anybody_who_may_log_in_it_says_how_to_make_a_secret() {
    let output = run(&settings("").replace("secrets", "#"), &[]);
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.contains("turn-relay.secrets") && text.contains("openssl rand"), "{text}");
}

#[test]
fn a_weak_secret_is_refused_and_never_shown() {
    for weak in ["short", "changeme-changeme-changeme-changeme"] {
        let output = run(&settings("").replace(SECRET, weak), &["--check-config"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78));
        assert!(text.contains("turn-relay.secrets") && !text.contains(weak), "{text}");
    }
}

#[test]
fn good_settings_are_good_and_print_without_their_secrets() {
    let more = settings("users = { anna = \"a fixed password\" }");
    assert_eq!(run(&more, &["--check-config"]).status.code(), Some(0));
    let text = stdout(&run(&more, &["--print-config", "--shards", "2"]));
    assert!(text.contains("shards = 2") && text.contains("[redacted]"), "{text}");
    assert!(!text.contains(SECRET) && !text.contains("a fixed password"), "{text}");
}

#[test]
fn secrets_come_from_the_environment_too() {
    let folder = tempfile::tempdir().unwrap();
    let toml = settings("").replace("secrets", "#");
    let mut command = program(folder.path(), &toml, &["--check-config"]);
    let output =
        command.env("PASSERELLE__TURN_RELAY__SECRETS", format!("{SECRET},{SECRET}2")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_secret_in_the_wrong_shape_is_refused_without_being_repeated() {
    let kept = settings("");
    let kept = kept.lines().filter(|line| !line.starts_with("secrets")).collect::<Vec<_>>().join("\n");
    for wrong in [
        "secrets = \"77123456 guess\"",
        "secrets = 77123456",
        "secrets = 77123456.5",
        "secrets = [[\"77123456 guess\"]]",
        "users = \"77123456 guess\"",
        "users = { anna = 77123456 }",
    ] {
        let output = run(&format!("{kept}\n{wrong}\n"), &["--check-config"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{wrong}: {text}");
        assert!(text.contains("turn-relay.") && !text.contains("77123456"), "{text}");
    }
}

#[test]
fn a_port_in_use_ends_with_1_and_names_its_key() {
    let udp =
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let udp = udp.unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp_address, tcp_address) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    for (taken, key, shards) in [
        (udp_address, "listen", 1),
        (udp_address, "listen", 2),
        (tcp_address, "listen", 1),
        (tcp_address, "tls_listen", 1),
        (tcp_address, "rest_listen", 1),
    ] {
        let value = if key == "rest_listen" { format!("\"{taken}\"") } else { format!("[\"{taken}\"]") };
        let kept = settings("").replace("shards = 1", &format!("shards = {shards}"));
        let kept = kept.lines().filter(|line| !line.starts_with(&format!("{key} ="))).collect::<Vec<_>>();
        let output = run(&format!("{}\n{key} = {value}\n", kept.join("\n")), &[]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{key}: {text}");
        assert!(text.contains(&format!("turn-relay.{key}")), "{key}: {text}");
        assert!(text.contains(&taken.to_string()), "{key}: {text}");
        assert!(output.stdout.is_empty(), "it must not say that it is ready");
    }
}

#[tokio::test]
async fn it_says_what_it_listens_on_and_ends_when_told() {
    let process = Process::start(&settings("")).await;
    assert_eq!(http::get(process.rest, "/readyz").await.status, 200);
    process.signal("TERM").await;
    assert_eq!(process.exit_code().await, Some(0), "nobody is relayed, so there is nothing to wait for");
}

#[test]
fn credentials_are_what_a_browser_takes() {
    let output =
        run(&settings(""), &["credential", "--user", "anna", "--ttl", "600", "--host", "turn.example.org"]);
    let json: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let server = &json["iceServers"][0];
    let username = server["username"].as_str().unwrap();
    assert!(username.ends_with(":anna"), "{username}");
    let password = crate::world::codec::rest_password(SECRET, username);
    assert_eq!(server["credential"], password.as_str());
    assert_eq!(server["urls"].as_array().unwrap().len(), 3);
    assert!(server["urls"][2].as_str().unwrap().starts_with("turns:turn.example.org:"));
    for bad in [["--user", "a;q=9"], ["--ttl", "0"], ["--ttl", "99999999"]] {
        let flags: Vec<&str> = ["credential"].into_iter().chain(bad).collect();
        assert_ne!(run(&settings(""), &flags).status.code(), Some(0), "{bad:?}");
    }
}

#[test]
fn check_says_in_words_what_is_reached() {
    let output = run(&settings("policy = { bridges = [\"203.0.113.4:10000-10003\"] }"), &["check"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(text.contains("nothing but") && text.contains("bridge 203.0.113.4:10000-10003"), "{text}");
    assert!(text.contains("self-signed"), "{text}");
    assert_eq!(run(&settings("realm = \"\""), &["check"]).status.code(), Some(78));
}

/// The command against a relay, with the relay's secret.
async fn try_server(flags: Vec<String>) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        run(&settings(""), &flags)
    });
    let output = output.await.unwrap();
    (output.status.code(), stdout(&output))
}

#[tokio::test]
async fn test_says_which_legs_work_and_why_the_others_do_not() {
    let process = Process::start(&settings("")).await;
    let server = process.turn.to_string();
    let flags = |more: &[&str]| -> Vec<String> {
        let all = ["test", "--server", &server].into_iter().chain(more.iter().copied());
        all.map(str::to_owned).collect()
    };
    let (code, text) = try_server(flags(&["--insecure"])).await;
    assert_eq!(code, Some(0), "{text}");
    for leg in ["udp: works", "tcp: works", "tls: works"] {
        assert!(text.contains(leg), "{text}");
    }
    let (code, text) = try_server(flags(&[])).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("tcp: works") && text.contains("tls: does not work"), "{text}");
    let password = process.folder.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    let wrong = ["--username", "anna", "--password-file", password.to_str().unwrap(), "--insecure"];
    let (code, text) = try_server(flags(&wrong)).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("udp: does not work: the credentials are refused (401)"), "{text}");
    process.signal("KILL").await;
}

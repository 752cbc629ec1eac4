//! The program: its flags, its one line, its exit codes.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::world::{KEY, http, soon};

/// The program with no settings but those given: an empty environment and its own folder.
fn program(folder: &Path, toml: &str, flags: &[&str]) -> Command {
    std::fs::write(folder.join("passerelle.toml"), toml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_bridge"));
    command.current_dir(folder).env_clear().args(flags).stdin(Stdio::null());
    command
}

fn run(toml: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), toml, flags).output().unwrap()
}

fn settings(more: &str) -> String {
    format!("[bridge]\nid = \"one\"\nlink_key = \"{KEY}\"\nsignaling = []\nmedia_port = 0\n{more}\n")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn settings_that_cannot_be_used_end_with_78_and_one_line_that_names_the_key() {
    for (line, key) in [
        ("medai_port = 1", "medai_port"),
        ("media_port = 65536", "media_port"),
        ("workers = -1", "workers"),
        ("rest_listen = \"0.0.0.0:8080\"", "rest_listen"),
        ("announced_addresses = [\"meet.example\"]", "announced_addresses"),
        ("channel_url = \"nonsense\"", "channel_url"),
        ("endpoints_max = 0", "endpoints_max"),
    ] {
        let toml = settings("")
            .replace("media_port = 0\n", if key == "media_port" { "" } else { "media_port = 0\n" });
        let output = run(&format!("{toml}{line}\n"), &["--check-config"]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{line}: {text}");
        assert!(text.contains(&format!("bridge.{key}")), "{line}: {text}");
        assert!(text.contains("passerelle.toml"), "{line}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_weak_key_is_refused_and_never_shown() {
    for weak in ["", "short", "changeme-changeme-changeme-changeme"] {
        let toml = format!("[bridge]\nid = \"one\"\nlink_key = \"{weak}\"\n");
        let output = run(&toml, &["--check-config"]);
        assert_eq!(output.status.code(), Some(78));
        assert!(stderr(&output).contains("bridge.link_key"));
        assert!(weak.is_empty() || !stderr(&output).contains(weak));
    }
}

#[test]
fn good_settings_are_good_and_print_without_their_secret() {
    assert_eq!(run(&settings(""), &["--check-config"]).status.code(), Some(0));
    let output = run(&settings(""), &["--print-config", "--id", "two"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("id = \"two\"") && text.contains("[redacted]"), "{text}");
    assert!(!text.contains(KEY));
}

#[test]
fn a_port_in_use_ends_with_1_and_names_it() {
    let udp = UdpSocket::bind("[::]:0").or_else(|_| UdpSocket::bind("0.0.0.0:0")).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let (udp_port, tcp_address) =
        (udp.local_addr().unwrap().port().to_string(), tcp.local_addr().unwrap().to_string());
    let others = ["--rest-listen", "127.0.0.1:0", "--channel-listen", "127.0.0.1:0"];
    for (flag, value, key) in [
        ("--media-port", &udp_port, "bridge.media_port"),
        ("--rest-listen", &tcp_address, "bridge.rest_listen"),
        ("--channel-listen", &tcp_address, "bridge.channel_listen"),
    ] {
        let mut flags = vec!["--workers", "1", flag, value];
        flags.extend(others.chunks(2).filter(|other| other[0] != flag).flatten());
        let toml = settings("")
            .replace("media_port = 0\n", if flag == "--media-port" { "" } else { "media_port = 0\n" });
        let output = run(&toml, &flags);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{flag}: {text}");
        assert!(text.contains(key) && text.contains(value.rsplit(':').next().unwrap()), "{flag}: {text}");
        assert!(output.stdout.is_empty(), "it must not say that it is ready");
    }
}

#[tokio::test]
async fn it_says_what_it_listens_on_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let flags =
        ["--ready-json", "--workers", "1", "--rest-listen", "127.0.0.1:0", "--channel-listen", "127.0.0.1:0"];
    let mut command = tokio::process::Command::from(program(folder.path(), &settings(""), &flags));
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon(lines.next_line()).await.unwrap().unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((ready["ready"].as_str(), ready["bound"]["bridge"].as_str()), (Some("bridge"), Some("one")));
    assert_eq!(ready["bound"]["media_ports"].as_array().unwrap().len(), 1);
    let rest = ready["bound"]["rest"].as_str().unwrap().parse().unwrap();
    assert_eq!(http::get(rest, "/livez").await.status, 200);

    let id = child.id().unwrap().to_string();
    let killed = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await.unwrap();
    assert!(killed.success());
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(0));
    assert_eq!(soon(lines.next_line()).await.unwrap(), None);
}

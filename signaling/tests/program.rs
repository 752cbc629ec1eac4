//! The `signaling` program as its operator sees it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, also outside of test functions")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_signaling");

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().current_dir(std::env::temp_dir());
    command
}

fn with_file(text: &str, arguments: &[&str]) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    program(&[&["--config", &path], arguments].concat()).output().unwrap()
}

/// Killed when a test fails half-way.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start() -> (Running, Value) {
    let free = ["--listen", "127.0.0.1:0", "--rest-listen", "127.0.0.1:0", "--ready-json"];
    let mut child = program(&free).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), serde_json::from_str(&line).unwrap())
}

#[test]
fn the_ready_line_names_every_bound_address_and_sigterm_ends_it_well() {
    let (mut running, ready) = start();
    assert_eq!(ready["ready"], "signaling");
    for listener in ["public", "rest"] {
        let address: SocketAddr = ready["bound"][listener].as_str().unwrap().parse().unwrap();
        TcpStream::connect(address).unwrap();
    }
    let pid = running.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(running.0.wait().unwrap().success());
}

#[test]
fn a_wrong_setting_is_one_line_that_names_the_key_and_exit_78() {
    for (text, key) in [
        ("[signaling]\nlissten = \"127.0.0.1:1\"", "signaling.lissten"),
        ("[signaling]\nlisten = \"127.0.0.1:65536\"", "signaling.listen"),
        ("[signaling]\nrest_listen = \"0.0.0.0:8888\"", "signaling.rest_listen"),
        ("[signaling]\nlink_key = \"changeme\"", "signaling.link_key"),
        ("[signaling]\nturn_uris = [\"turn:relay.example\"]", "signaling.turn_secret"),
        ("[signaling]\nturn_uris = [\"stun:relay.example\"]", "signaling.turn_uris"),
        ("[signaling]\nturn_secret = \"changeme\"", "signaling.turn_secret"),
        ("[signaling]\naudio_slots = -1", "signaling.audio_slots"),
        ("[log]\nlevel = \"loud\"", "log.level"),
    ] {
        let output = with_file(text, &["--check-config"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{text}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(key), "{said}");
        assert!(!said.contains("changeme"), "a secret is not repeated");
    }
    assert_eq!(
        with_file("[signaling]\nlisten = \"127.0.0.1:1\"", &["--check-config"]).status.code(),
        Some(0)
    );
}

#[test]
fn printed_settings_hold_no_secret() {
    let text = "[signaling]\nlink_key = \"canary-canary-canary-canary-canary\"\n\
                turn_secret = \"canary-canary-canary-canary-canary\"";
    let output = with_file(text, &["--print-config"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("resume_grace_s = 30") && printed.contains("[log]"), "{printed}");
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn a_port_in_use_is_named_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["listen", "rest-listen"] {
        let other = if key == "listen" { "--rest-listen" } else { "--listen" };
        let output = program(&[&format!("--{key}"), &address, other, "127.0.0.1:0"]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&address), "{said}");
    }
}

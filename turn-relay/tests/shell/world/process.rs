//! The program as an operator starts it: an empty environment, a folder and a settings file of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::{SECRET, soon};

/// The least that a relay on loopback needs, and `more` of the section.
pub(crate) fn settings(more: &str) -> String {
    format!(
        "[turn-relay]\nlisten = [\"127.0.0.1:0\"]\nrest_listen = \"127.0.0.1:0\"\n\
         relay_addresses = [\"127.0.0.1\"]\nsecrets = [\"{SECRET}\"]\nshards = 1\n{more}\n"
    )
}

pub(crate) fn program(folder: &Path, toml: &str, flags: &[&str]) -> Command {
    std::fs::write(folder.join("passerelle.toml"), toml).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_turn-relay"));
    command.current_dir(folder).env_clear().args(flags).stdin(Stdio::null());
    command
}

/// Runs to the end.
pub(crate) fn run(toml: &str, flags: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), toml, flags).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running program; killed when it is dropped.
pub(crate) struct Process {
    pub(crate) folder: TempDir,
    pub(crate) turn: SocketAddr,
    pub(crate) rest: SocketAddr,
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Process {
    pub(crate) async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    /// In a folder that holds files already.
    pub(crate) async fn start_in(folder: TempDir, toml: &str) -> Self {
        let mut command = tokio::process::Command::from(program(folder.path(), toml, &["--ready-json"]));
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = soon(lines.next_line()).await.unwrap().expect("a line when it is ready");
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], "turn-relay");
        let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
        let (turn, rest) = (address(&ready["bound"]["udp"][0]), address(&ready["bound"]["rest"]));
        assert_eq!(ready["bound"]["tcp"][0], ready["bound"]["udp"][0], "one port for everything");
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { folder, turn, rest, child, log }
    }

    /// Other settings, as an editor leaves them.
    pub(crate) fn write(&self, toml: &str) {
        std::fs::write(self.folder.path().join("passerelle.toml"), toml).unwrap();
    }

    pub(crate) async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        let flag = format!("-{name}");
        let killed = tokio::process::Command::new("kill").args([&flag, &id]).status().await.unwrap();
        assert!(killed.success());
    }

    /// The next line of the log that holds `text`.
    pub(crate) async fn logs(&mut self, text: &str) -> String {
        soon(async {
            loop {
                let line =
                    self.log.next_line().await.unwrap().unwrap_or_else(|| panic!("{text:?} is not logged"));
                if line.contains(text) {
                    return line;
                }
            }
        })
        .await
    }

    /// How it ended.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        soon(self.child.wait()).await.unwrap().code()
    }
}

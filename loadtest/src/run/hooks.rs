//! The operator's commands in the middle of a run, each a process group of its own, so that its end takes along whatever
//! the shell has started.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::scenario::Hook;

/// Commands that were started and may still run.
#[derive(Default)]
pub(crate) struct Hooks {
    running: Vec<Child>,
}

impl Hooks {
    /// Starts one; its output goes to stderr.
    ///
    /// # Errors
    /// One line when the shell cannot be started.
    pub(crate) fn start(&mut self, hook: &Hook) -> Result<(), String> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&hook.command).process_group(0).kill_on_drop(true);
        // stdout belongs to the report.
        command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
        match command.spawn() {
            Ok(child) => self.running.push(child),
            Err(error) => return Err(format!("hook \"{}\": {error}", hook.command)),
        }
        Ok(())
    }

    /// Those that have failed since the last call, a line each.
    pub(crate) fn failures(&mut self) -> Vec<String> {
        let mut failures = Vec::new();
        self.running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(status)) if status.success() => false,
            Ok(Some(status)) => {
                failures.push(format!("a hook ended with {status}"));
                false
            }
            Err(error) => {
                failures.push(format!("a hook was lost: {error}"));
                false
            }
        });
        failures
    }

    /// Ends what still runs.
    pub(crate) async fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            if let Some(group) = child.id() {
                // The shell's own `kill` reaches the whole group; nothing of ours needs system calls for it.
                let kill = format!("kill -KILL -{group}");
                let _ = Command::new("sh").arg("-c").arg(kill).stderr(Stdio::null()).status().await;
            }
            let _ = child.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(command: String) -> Hook {
        Hook { at_s: 0.0, command }
    }

    #[tokio::test]
    async fn a_hook_that_fails_is_told_once() {
        let mut hooks = Hooks::default();
        hooks.start(&hook("exit 3".to_owned())).unwrap();
        hooks.running[0].wait().await.unwrap();
        assert_eq!(hooks.failures(), ["a hook ended with exit status: 3"]);
        assert!(hooks.failures().is_empty());
    }

    #[tokio::test]
    async fn what_a_hook_has_started_ends_with_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());
        let mut hooks = Hooks::default();
        // A grandchild holds the pipe open; the reader sees its end when the grandchild is gone.
        hooks.start(&hook(format!("(echo up; cat /dev/zero) >{} & wait", fifo.display()))).unwrap();
        let reader = tokio::task::spawn_blocking(move || {
            use std::io::Read as _;
            let mut pipe = std::fs::File::open(fifo).unwrap();
            let mut up = [0; 3];
            pipe.read_exact(&mut up).unwrap();
            (up, pipe)
        });
        let (up, mut pipe) = reader.await.unwrap();
        assert_eq!(&up, b"up\n");
        hooks.stop().await;
        let rest = tokio::task::spawn_blocking(move || std::io::copy(&mut pipe, &mut std::io::sink()));
        assert!(rest.await.unwrap().is_ok(), "the writer is gone");
    }
}

//! What a person sees who gives `loadtest` something it cannot use: one clear line, an exit code, and a report that says
//! how far it came.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use loadtest::outcome::End;
use loadtest::report::read_json;
use wire::settings::EXIT_CODE;

const MEETING: &str = "join_timeout_s = 1\nwarm_up_s = 0\nduration_s = 1\n\n[target]\nstats = []\n\n\
    [[groups]]\nper_conference = 2\nvoice = {}\n\n[thresholds]\nfailed_joins_max = 0\n";

fn loadtest(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.current_dir(folder).env_clear().stdin(Stdio::null());
    command
}

fn ended(folder: &Path, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = loadtest(folder).args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// A folder with a scenario in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("meeting.toml"), MEETING).unwrap();
    folder
}

/// An address at which nobody listens.
fn closed() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

#[test]
fn help_says_what_there_is() {
    let folder = folder();
    let (code, out, _) = ended(folder.path(), &["--help"]);
    assert_eq!(code, 0);
    for word in ["run", "join", "plan", "compare", "check", "Exit codes"] {
        assert!(out.contains(word), "{word} is missing in:\n{out}");
    }
    let (code, out, _) = ended(folder.path(), &["run", "--help"]);
    assert_eq!(code, 0);
    for word in ["--seed", "--target", "--stats", "--coordinator", "--machines", "--out"] {
        assert!(out.contains(word), "{word} is missing in:\n{out}");
    }
}

#[test]
fn a_wrong_command_line_is_no_broken_threshold() {
    let folder = folder();
    for words in [
        &["fly"][..],
        &["run"],
        &["run", "meeting.toml", "--sped", "3"],
        &["run", "meeting.toml", "--machines", "2"],
    ] {
        let (code, _, error) = ended(folder.path(), words);
        assert_eq!(code, i32::from(EXIT_CODE), "{words:?}: {error}");
    }
}

#[test]
fn a_typo_in_a_scenario_is_one_line_with_its_place() {
    let folder = folder();
    std::fs::write(folder.path().join("typo.toml"), MEETING.replace("voice", "voise")).unwrap();
    for command in ["run", "check"] {
        let (code, out, error) = ended(folder.path(), &[command, "typo.toml"]);
        assert_eq!((code, out.as_str()), (i32::from(EXIT_CODE), ""));
        assert!(error.starts_with("loadtest: typo.toml:10: groups[0].voise: unknown field"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn a_flag_out_of_its_range_is_refused_like_the_scenario() {
    let folder = folder();
    let (code, _, error) = ended(folder.path(), &["run", "meeting.toml", "--duration", "0"]);
    assert_eq!(code, i32::from(EXIT_CODE));
    assert!(error.contains("duration_s: must be between"), "{error}");
}

#[test]
fn a_bundled_scenario_is_known_by_name_everywhere() {
    let folder = folder();
    let (code, out, error) = ended(folder.path(), &["check", "scenarios/many-small-meetings.toml"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("32 callers in 8 conferences"), "{out}");
}

#[test]
fn an_unreachable_target_is_said_at_once_and_reported() {
    let folder = folder();
    let url = closed();
    let (code, out, error) =
        ended(folder.path(), &["run", "meeting.toml", "--target", &url, "--out", "report"]);
    assert_eq!(code, 1);
    let last = error.lines().last().unwrap();
    assert!(last.starts_with(&format!("loadtest: {url} cannot be reached")), "{error}");
    assert!(out.contains("meeting"), "a table all the same: {out}");
    let outcome = read_json(&folder.path().join("report/report.json")).unwrap();
    assert!(matches!(outcome.end, End::Failed { at_s, .. } if at_s == 0.0), "{:?}", outcome.end);
    assert!(folder.path().join("report/report.html").is_file());
}

#[test]
fn a_target_that_says_nothing_ends_the_run_after_the_callers_patience() {
    let folder = folder();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (code, _, error) = ended(folder.path(), &["run", "meeting.toml", "--target", &url, "--no-progress"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.lines().last().unwrap().contains("nobody could join: "), "{error}");
}

#[test]
fn ctrl_c_ends_the_run_with_the_report_so_far() {
    let folder = folder();
    let patient = MEETING.replace("join_timeout_s = 1", "join_timeout_s = 600");
    std::fs::write(folder.path().join("patient.toml"), patient).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let words = ["run", "patient.toml", "--target", &url, "--out", "report"];
    let mut running =
        loadtest(folder.path()).args(words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("callers join: 0 up, 2 joining")), "progress is shown");
    let told = Command::new("sh").arg("-c").arg(format!("kill -INT {}", running.id())).status().unwrap();
    assert!(told.success());
    assert!(lines.any(|line| line.unwrap().contains("ending the run")));
    // Nobody got in, so that a threshold is broken.
    assert_eq!(running.wait().unwrap().code(), Some(2));
    let outcome = read_json(&folder.path().join("report/report.json")).unwrap();
    assert!(matches!(outcome.end, End::Interrupted { .. }), "{:?}", outcome.end);
    assert_eq!((outcome.joins.begun, outcome.series.is_empty()), (2, false));
}

#[test]
fn machines_need_a_key_to_join_each_other() {
    let folder = folder();
    let lead = ["run", "meeting.toml", "--coordinator", "127.0.0.1:0", "--machines", "2"];
    for words in [&["join", "127.0.0.1:1"][..], &lead] {
        let (code, _, error) = ended(folder.path(), words);
        assert_eq!(code, i32::from(EXIT_CODE), "{error}");
        assert!(error.contains("coordinator_key is not set"), "{error}");
    }
    let mut weak = loadtest(folder.path());
    weak.args(["join", "127.0.0.1:1"]).env("PASSERELLE__LOADTEST__COORDINATOR_KEY", "short");
    let output = weak.output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(EXIT_CODE)));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("PASSERELLE__LOADTEST__COORDINATOR_KEY") && !error.contains("short"), "{error}");
}

#[test]
fn a_leader_that_is_not_there_is_one_line() {
    let folder = folder();
    let address = closed().replace("http://", "");
    let mut join = loadtest(folder.path());
    join.args(["join", &address]);
    join.env("PASSERELLE__LOADTEST__COORDINATOR_KEY", "a key of more than thirty-two bytes for tests");
    let output = join.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.starts_with(&format!("loadtest: {address}: ")), "{error}");
}

#[test]
fn what_is_no_report_is_not_compared() {
    let folder = folder();
    let (code, _, error) = ended(folder.path(), &["compare", "meeting.toml", "meeting.toml"]);
    assert_eq!((code, error.lines().count()), (i32::from(EXIT_CODE), 1), "{error}");
    assert!(error.contains("no report of loadtest"), "{error}");
}

//! Why a caller could not join, or was lost: a stable reason for counting, and one line for a person.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use wire::messages::meeting::ErrorId;

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct Failure {
    /// Stable, `snake_case`, of a small fixed set: reports count by it.
    pub reason: Cow<'static, str>,
    /// One line for a person. Never a token or a password.
    pub line: String,
    /// Trying again would meet the same.
    pub is_final: bool,
    /// The server wants to be left alone for this long; zero: it does not say.
    pub wait_min: Duration,
}

/// The part of an HTTP answer that says why it is a refusal.
#[derive(Debug)]
pub(crate) struct Refusal<'a> {
    pub(crate) status: u16,
    /// Seconds or a date (RFC 9110, 10.2.3).
    pub(crate) retry_after: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// What was asked, for the line.
    pub(crate) what: &'a str,
}

/// `{"error", "message"}`, as our servers answer.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Problem {
    error: String,
    message: String,
}

impl Failure {
    /// One that may go away by itself.
    pub(crate) fn passing(reason: &'static str, line: impl Into<String>) -> Self {
        let line = one_line(&line.into());
        Self { reason: reason.into(), line, is_final: false, wait_min: Duration::ZERO }
    }

    /// One that will not.
    pub(crate) fn lasting(reason: &'static str, line: impl Into<String>) -> Self {
        Self { is_final: true, ..Self::passing(reason, line) }
    }

    /// The operating system, or TLS inside of a stream.
    pub(crate) fn of_io(error: &io::Error, what: &str) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::lasting("tls", format!("{what}: TLS: {tls}"));
        }
        let line = format!("{what}: {error}");
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AddrNotAvailable, _) => {
                Self::passing("no_local_port", format!("{line} (this machine has no free port left for it)"))
            }
            (_, Some(EMFILE | ENFILE)) => {
                Self::lasting("too_many_open_files", format!("{line} (raise the limit with `ulimit -n`)"))
            }
            _ => Self::passing("unreachable", line),
        }
    }

    /// An HTTP answer that is a refusal.
    pub(crate) fn of_refusal(refusal: &Refusal<'_>) -> Self {
        let problem: Problem = serde_json::from_slice(refusal.body).unwrap_or_default();
        let status = refusal.status;
        // A server's own word counts only when it is one we know: reasons are a small fixed set.
        let known = PROBLEMS.iter().find(|(id, _)| *id == problem.error);
        let (reason, is_final): (Cow<'static, str>, bool) = match (status, known) {
            (_, Some((id, is_final))) => ((*id).into(), *is_final),
            (401, _) => ("bad_token".into(), true),
            (403, _) => ("forbidden".into(), true),
            (404 | 410, _) => ("not_found".into(), true),
            (429, _) => ("rate_limited".into(), false),
            (408 | 425 | 500..=599, _) => (format!("http_{status}").into(), false),
            (100..=599, _) => (format!("http_{status}").into(), true),
            _ => ("http_strange".into(), true),
        };
        let word = if problem.message.is_empty() { String::new() } else { format!(": {}", problem.message) };
        let line = one_line(&format!("{} answered {status}{word}{}", refusal.what, advice(&reason)));
        let wait_min = refusal.retry_after.and_then(retry_after).unwrap_or_default();
        Self { reason, line, is_final, wait_min }
    }

    /// A refusal inside of an open line.
    pub(crate) fn of_fault(id: ErrorId, message: &str) -> Self {
        let reason = id.to_string();
        let is_final = PROBLEMS.contains(&(reason.as_str(), true));
        let line = one_line(&format!("signaling refused: {message}{}", advice(&reason)));
        Self { reason: reason.into(), line, is_final, wait_min: Duration::ZERO }
    }

    /// What the HTTP client says, with the innermost cause, which is the one that helps.
    pub(crate) fn of_http(error: &reqwest::Error, what: &str) -> Self {
        let mut cause: &dyn Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return if is_cut(io) {
                    Self::passing("http_broken", format!("{what}: {io}"))
                } else {
                    Self::of_io(io, what)
                };
            }
        }
        if error.is_timeout() {
            return Self::passing("http_timeout", format!("{what}: no answer in time"));
        }
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Self::lasting("tls", format!("{what}: TLS: {tls}"));
        }
        let reason = if error.is_connect() { "unreachable" } else { "http_broken" };
        Self::passing(reason, format!("{what}: {cause}"))
    }
}

/// A connection that stood is gone: who was reached is not unreachable.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

/// What a person can do about it.
fn advice(reason: &str) -> &'static str {
    match reason {
        "bad_token" => " (check target.token)",
        "rate_limited" => {
            " (signaling limits joins of one address; loopback is exempt, or lower joins_per_s)"
        }
        "conference_full" => " (more callers in one conference than the server takes)",
        _ => "",
    }
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(RETRY_AFTER_S_MAX)));
    }
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    let wait = at.duration_since(SystemTime::now()).unwrap_or_default();
    Some(wait.min(Duration::from_secs(RETRY_AFTER_S_MAX)))
}

/// What servers say may be anything; a report's line is one and short.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    text.take(LINE_CHARS_MAX).collect()
}

/// A terminal's line or three.
const LINE_CHARS_MAX: usize = 300;
/// Longer than any run.
const RETRY_AFTER_S_MAX: u64 = 3_600;
/// errno of a process without free descriptors, and of a system without.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// Ids of `error` bodies that are counted as they are, and whether asking again would meet the same.
const PROBLEMS: [(&str, bool); 14] = [
    ("bad_conference", true),
    ("bad_name", true),
    ("bad_sdp", true),
    ("bad_subprotocol", true),
    ("bad_token", true),
    ("conference_full", true),
    ("foreign_host", true),
    ("foreign_origin", true),
    ("full", false),
    ("not_found", true),
    ("rate_limited", false),
    ("stopping", false),
    ("unavailable", false),
    ("upgrade_required", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<&str>, body: &str) -> Failure {
        Failure::of_refusal(&Refusal { status, retry_after, body: body.as_bytes(), what: "POST /whip/x" })
    }

    #[test]
    fn a_refusal_is_one_stable_reason_and_one_line() {
        let failure =
            refused(503, Some("7"), r#"{"error":"conference_full","message":"this conference\nis full"}"#);
        assert_eq!((&*failure.reason, failure.is_final), ("conference_full", true));
        assert!(
            failure.line.starts_with("POST /whip/x answered 503: this conference is full"),
            "{}",
            failure.line
        );
        assert_eq!(failure.wait_min, Duration::from_secs(7));
    }

    #[test]
    fn a_refused_token_is_final_and_a_full_server_is_not() {
        assert_eq!((&*refused(401, None, "").reason, refused(401, None, "").is_final), ("bad_token", true));
        assert_eq!(
            (&*refused(403, None, "<html>").reason, refused(403, None, "").is_final),
            ("forbidden", true)
        );
        assert_eq!((&*refused(502, None, "").reason, refused(502, None, "").is_final), ("http_502", false));
        assert_eq!(
            (&*refused(429, None, "").reason, refused(429, None, "").is_final),
            ("rate_limited", false)
        );
        assert_eq!(refused(999, None, "").reason, "http_strange");
    }

    #[test]
    fn a_server_cannot_invent_reasons_or_lines() {
        let body = format!(r#"{{"error":"{}","message":"{}"}}"#, "x".repeat(9_000), "y\\n".repeat(9_000));
        let failure = refused(500, None, &body);
        assert_eq!(failure.reason, "http_500");
        assert!(failure.line.chars().count() <= LINE_CHARS_MAX && !failure.line.contains('\n'));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(retry_after("12"), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("99999999999"), Some(Duration::from_secs(RETRY_AFTER_S_MAX)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(
            retry_after("Tue, 31 Dec 2999 23:59:59 GMT"),
            Some(Duration::from_secs(RETRY_AFTER_S_MAX))
        );
        assert_eq!(retry_after("soon"), None);
    }
}

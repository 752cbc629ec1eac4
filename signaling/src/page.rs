//! The meeting page: files of `web/`, compiled into the program, and nothing else. A path that is no file of it is a
//! conference's name or nothing.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::engine::ports::ConferenceName;
use crate::problem::Problem;

/// Debug builds read the folder at each request, so that the page can be worked on; release builds carry it.
#[derive(RustEmbed)]
#[folder = "web/"]
struct Web;

const INDEX: &str = "index.html";

/// `GET /`.
pub(crate) async fn home(headers: HeaderMap) -> Response {
    file(INDEX, &headers)
}

/// `GET /<conference>`: the page, unless it is a file of the page or no name.
pub(crate) async fn conference_or_file(
    name: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let Ok(Path(name)) = name else { return Problem::NOT_FOUND.into_response() };
    if is_file_name(&name) && Web::get(&name).is_some() {
        return file(&name, &headers);
    }
    if ConferenceName::parse(&name).is_none() {
        return Problem::NOT_FOUND.into_response();
    }
    file(INDEX, &headers)
}

/// `GET /assets/…`.
pub(crate) async fn asset(name: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    let Ok(Path(name)) = name else { return Problem::NOT_FOUND.into_response() };
    file(&format!("assets/{name}"), &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    if !name.split('/').all(is_file_name) {
        return Problem::NOT_FOUND.into_response();
    }
    let Some(found) = Web::get(name) else { return Problem::NOT_FOUND.into_response() };
    let tag = tag_of(&found);
    // The page is small and must be the server's own version: always asked for, rarely sent.
    let caching = [(header::CACHE_CONTROL, "no-cache".to_owned()), (header::ETAG, tag.clone())];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    let kind = [(header::CONTENT_TYPE, content_type(name))];
    (caching, kind, found.data.into_owned()).into_response()
}

/// One segment of a path below `web/`: letters, digits, `-`, `_`, and dots that are not first. Nothing that leads
/// elsewhere can be written with these.
fn is_file_name(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(is_plain)
}

fn tag_of(file: &EmbeddedFile) -> String {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// The kinds of file a page is made of; anything else is not to be interpreted.
fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("json" | "webmanifest") => "application/json",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for hostile in ["", ".", "..", ".git", "a/b", "a\\b", "%2e%2e", "a\0", "~", "c:", "é"] {
            assert!(!is_file_name(hostile), "{hostile:?}");
            assert_eq!(file(hostile, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{hostile:?}");
        }
        for path in ["../Cargo.toml", "assets/../../Cargo.toml", "assets//app.js", "/etc/passwd"] {
            assert_eq!(file(path, &HeaderMap::new()).status(), StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let first = file(INDEX, &HeaderMap::new());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let again = file(INDEX, &HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]));
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    }
}

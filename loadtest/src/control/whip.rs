//! WHIP (RFC 9725) and WHEP: an offer by `POST`, the end by `DELETE`; any server that speaks them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use reqwest::{Body, Method, Response, StatusCode, Url, header};
use tokio::time::timeout;

use super::failure::Failure;
use super::handset::Seat;
use super::http::{self, TimedText};
use super::{Control, ControlError};

/// One caller's place at a WHIP or WHEP server.
pub(super) struct Whip {
    control: Arc<Control>,
    conference: String,
    /// WHIP, not WHEP.
    sends: bool,
    /// What `POST` has created: gone with a `DELETE`.
    resource: Option<Url>,
}

impl Whip {
    pub(super) fn new(control: &Arc<Control>, seat: &Seat) -> Self {
        let conference = seat.conference.clone();
        Self { control: Arc::clone(control), conference, sends: seat.sends, resource: None }
    }

    /// RFC 9725, 4.2: the offer for the answer. `sent` learns when the request went out.
    pub(super) async fn post(
        &mut self,
        offer: String,
        sent: &Arc<OnceLock<Instant>>,
    ) -> Result<String, Failure> {
        let mut url = self.place()?;
        let what = format!("POST {}", url.path());
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send_offer(&url, TimedText::new(offer.clone(), sent), &what).await?;
            let location = location(&response, &url);
            // 4.2: a load balancer may send the publisher elsewhere, with method and body kept.
            if matches!(response.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                let nowhere = || Failure::lasting("bad_location", format!("{what}: a redirect to nowhere"));
                url = location.ok_or_else(nowhere)?;
                continue;
            }
            // WHEP servers that want to offer themselves say so by another code, with a body that is no answer.
            let is_created = response.status() == StatusCode::CREATED;
            let body = http::accepted(response, &what).await?;
            if !is_created {
                return Err(Failure::lasting(
                    "not_created",
                    format!("{what}: an answer that is not 201 Created"),
                ));
            }
            // Without a `Location` it cannot be ended, only left.
            self.resource = location;
            return String::from_utf8(body.into())
                .map_err(|_| Failure::lasting("bad_answer", format!("{what}: the answer is not UTF-8")));
        }
        Err(Failure::lasting("redirect_loop", format!("{what}: more than {REDIRECTS_MAX} redirects")))
    }

    /// RFC 9725, 4.2: how it is ended. A server that does not want to know is left alone.
    pub(super) async fn delete(&mut self) {
        let Some(resource) = self.resource.take() else { return };
        let _ = timeout(DELETE_TIME_MAX, self.request(Method::DELETE, &resource).send()).await;
    }

    async fn send_offer(&self, url: &Url, offer: TimedText, what: &str) -> Result<Response, Failure> {
        let request =
            self.request(Method::POST, url).header(header::CONTENT_TYPE, SDP).body(Body::wrap(offer));
        match timeout(ANSWER_TIME_MAX, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Failure::of_http(&error, what)),
            Err(_) => Err(Failure::passing("http_timeout", format!("{what}: no answer in time"))),
        }
    }

    /// The token goes to the target only, whatever a redirect or a `Location` says.
    fn request(&self, method: Method, url: &Url) -> reqwest::RequestBuilder {
        let request = self.control.http.request(method, url.clone());
        let is_target = self.place().is_ok_and(|place| place.origin() == url.origin());
        match &self.control.target.token {
            Some(token) if is_target => request.bearer_auth(token),
            _ => request,
        }
    }

    fn place(&self) -> Result<Url, Failure> {
        let target = &self.control.target;
        let path = if self.sends { &target.whip } else { &target.whep };
        endpoint(&self.control.origin, path, &self.conference)
            .map_err(|error| Failure::lasting("bad_url", error.to_string()))
    }
}

fn location(response: &Response, asked: &Url) -> Option<Url> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    asked.join(location).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// `path` behind the target, or a whole URL of its own; the conference's name as one path segment.
fn endpoint(origin: &Url, path: &str, conference: &str) -> Result<Url, ControlError> {
    let path = path.replace("{conference}", &segment(conference));
    let text = if path.starts_with("http://") || path.starts_with("https://") {
        path
    } else {
        format!("{}/{}", origin.as_str().trim_end_matches('/'), path.trim_start_matches('/'))
    };
    Url::parse(&text).map_err(|error| ControlError::BadUrl(text, error.to_string()))
}

/// RFC 3986, 2.3: everything but unreserved characters is escaped.
fn segment(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

const SDP: &str = "application/sdp";
/// A server asks its media node; ours answers within 5 s or refuses.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Leaving is not worth longer.
const DELETE_TIME_MAX: Duration = Duration::from_secs(2);
/// One to a region, one to a node.
const REDIRECTS_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conference_is_one_segment_of_the_path() {
        let origin = Url::parse("http://127.0.0.1:8000/").unwrap();
        let url = endpoint(&origin, "/whip/{conference}", "a/b c?é").unwrap();
        assert_eq!(url.as_str(), "http://127.0.0.1:8000/whip/a%2Fb%20c%3F%C3%A9");
        let other = endpoint(&origin, "https://other.example/{conference}/whep", "x").unwrap();
        assert_eq!(other.as_str(), "https://other.example/x/whep");
        let below = endpoint(&Url::parse("http://h/sub").unwrap(), "whip/{conference}", "x").unwrap();
        assert_eq!(below.as_str(), "http://h/sub/whip/x");
    }
}

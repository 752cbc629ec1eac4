//! `/whip/…` and `/whep/…`: the HTTP of RFC 9725, and of WHEP, which is its mirror image.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::timeout;
use wire::messages::ids::SourceName;

use crate::engine::fragment;
use crate::engine::ports::{
    ConferenceName, HttpAnswer, HttpProtocol, HttpRefusal, HttpRequest, MESSAGE_BYTES_MAX,
};
use crate::listener::Remote;
use crate::problem::Problem;
use crate::public::{Public, SharedState};

/// A slow-loris may not hold a request longer.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// Bridges come back within seconds.
const RETRY_AFTER_S: &str = "5";
const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// Players on pages of other sites publish and view: what may be asked and what they may read.
const CORS: [(HeaderName, HeaderValue); 4] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, PATCH, DELETE, OPTIONS")),
    (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type, If-Match")),
    (
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After"),
    ),
];

const BAD_CONFERENCE: Problem =
    Problem::new(StatusCode::BAD_REQUEST, "bad_conference", "this is no name of a conference");
const BAD_SOURCE: Problem =
    Problem::new(StatusCode::BAD_REQUEST, "bad_source", "this is no name of a source");
const WRONG_TYPE: Problem = Problem::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "wrong_content_type",
    "the content type is not accepted",
);
const TOO_LARGE: Problem =
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "at most 64 KiB are accepted");
const TOO_SLOW: Problem =
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time");
const NOT_TEXT: Problem = Problem::new(StatusCode::BAD_REQUEST, "bad_sdp", "the body is not UTF-8");
const NO_TAG: Problem =
    Problem::new(StatusCode::PRECONDITION_REQUIRED, "if_match_missing", "a PATCH has an If-Match header");

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Wanted {
    source: Option<String>,
}

/// `/whip/<conference>` and `/whep/<conference>`.
pub(crate) async fn collection(protocol: HttpProtocol, state: SharedState, request: Request) -> Response {
    let response = match *request.method() {
        Method::POST => create(protocol, state, request).await.unwrap_or_else(IntoResponse::into_response),
        // RFC 9725, 4.2: OPTIONS names what POST takes.
        Method::OPTIONS => {
            (StatusCode::NO_CONTENT, [(HeaderName::from_static("accept-post"), SDP)]).into_response()
        }
        _ => ([(header::ALLOW, "POST, OPTIONS")], Problem::METHOD_NOT_ALLOWED).into_response(),
    };
    with_cors(response)
}

/// `/whip/<conference>/<resource>` and `/whep/<conference>/<resource>`.
pub(crate) async fn resource(protocol: HttpProtocol, state: SharedState, request: Request) -> Response {
    let response = match *request.method() {
        Method::PATCH => patch(protocol, state, request).await.unwrap_or_else(IntoResponse::into_response),
        Method::DELETE => delete(protocol, state, request).await.unwrap_or_else(IntoResponse::into_response),
        Method::OPTIONS => {
            (StatusCode::NO_CONTENT, [(HeaderName::from_static("accept-patch"), FRAGMENT)]).into_response()
        }
        _ => ([(header::ALLOW, "PATCH, DELETE, OPTIONS")], Problem::METHOD_NOT_ALLOWED).into_response(),
    };
    with_cors(response)
}

async fn create(
    protocol: HttpProtocol,
    State(public): SharedState,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Ok(Path(name)) = Path::<String>::from_request_parts(&mut parts, &public).await else {
        return Err(BAD_CONFERENCE);
    };
    let conference = ConferenceName::parse(&name).ok_or(BAD_CONFERENCE)?;
    let Ok(Query(wanted)) = Query::<Wanted>::try_from_uri(&parts.uri) else { return Err(BAD_SOURCE) };
    let pin = wanted.source.map(SourceName::parse).transpose().map_err(|_| BAD_SOURCE)?;
    check_type(&parts.headers, SDP)?;
    check_rate(&public, parts.extensions.get::<Remote>(), &parts.headers)?;
    let sdp = text_of(body).await?;
    let request = HttpRequest::Create { conference, protocol, sdp, pin };
    let answer = public.hub.http(request).await.ok_or(Problem::STOPPING)?;
    // RFC 9725, 4.6: the relays come with the 201.
    let links = match (&answer, &public.relays) {
        (HttpAnswer::Created { who, .. }, Some(relays)) => relays.links(who),
        _ => Vec::new(),
    };
    let mut response = respond(answer, parts.uri.path());
    for link in links {
        response.headers_mut().append(header::LINK, link);
    }
    Ok(response)
}

/// RFC 9725, 4.3.1: new credentials are an ICE restart (`If-Match: *`), anything else is trickling for the generation
/// that `If-Match` names.
async fn patch(
    protocol: HttpProtocol,
    State(public): SharedState,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let Ok(Path((_, resource))) = Path::<(String, String)>::from_request_parts(&mut parts, &public).await
    else {
        return Err(Problem::NOT_FOUND);
    };
    check_type(&parts.headers, FRAGMENT)?;
    check_rate(&public, parts.extensions.get::<Remote>(), &parts.headers)?;
    let text = text_of(body).await?;
    let fragment = match fragment::parse(&text) {
        Ok(fragment) => fragment,
        Err(reason) => return Ok(refuse(HttpRefusal::BadSdp, reason)),
    };
    let tag = parts.headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok()).ok_or(NO_TAG)?;
    let request = match (tag.trim(), fragment.ice) {
        ("*", Some(ice)) => HttpRequest::Restart { resource, protocol, ice },
        (tag, _) => HttpRequest::Trickle { resource, protocol, tag: tag.trim_matches('"').to_owned() },
    };
    let answer = public.hub.http(request).await.ok_or(Problem::STOPPING)?;
    Ok(respond(answer, parts.uri.path()))
}

async fn delete(
    protocol: HttpProtocol,
    State(public): SharedState,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let Ok(Path((_, resource))) = Path::<(String, String)>::from_request_parts(&mut parts, &public).await
    else {
        return Err(Problem::NOT_FOUND);
    };
    let request = HttpRequest::End { resource, protocol };
    let answer = public.hub.http(request).await.ok_or(Problem::STOPPING)?;
    Ok(respond(answer, parts.uri.path()))
}

fn check_type(headers: &HeaderMap, wanted: &str) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case(wanted) { Ok(()) } else { Err(WRONG_TYPE) }
}

fn check_rate(public: &Public, remote: Option<&Remote>, headers: &HeaderMap) -> Result<(), Problem> {
    remote.map_or(Ok(()), |remote| public.check_rate(remote, headers))
}

async fn text_of(body: Body) -> Result<String, Problem> {
    let bytes = timeout(BODY_TIME_MAX, to_bytes(body, MESSAGE_BYTES_MAX)).await.map_err(|_| TOO_SLOW)?;
    let bytes = bytes.map_err(|_| TOO_LARGE)?;
    String::from_utf8(bytes.into()).map_err(|_| NOT_TEXT)
}

fn respond(answer: HttpAnswer, path: &str) -> Response {
    match answer {
        HttpAnswer::Created { resource, sdp, tag, .. } => {
            let headers = [
                (header::CONTENT_TYPE, SDP.to_owned()),
                (header::LOCATION, format!("{path}/{resource}")),
                (header::ETAG, format!("\"{tag}\"")),
                (HeaderName::from_static("accept-patch"), FRAGMENT.to_owned()),
            ];
            (StatusCode::CREATED, headers, sdp).into_response()
        }
        HttpAnswer::Restarted { fragment, tag } => {
            let headers = [(header::CONTENT_TYPE, FRAGMENT.to_owned()), (header::ETAG, format!("\"{tag}\""))];
            (StatusCode::OK, headers, fragment).into_response()
        }
        HttpAnswer::Accepted => StatusCode::NO_CONTENT.into_response(),
        HttpAnswer::Ended => StatusCode::OK.into_response(),
        HttpAnswer::Refused(refusal, message) => refuse(refusal, &message),
    }
}

fn refuse(refusal: HttpRefusal, message: &str) -> Response {
    let (status, error) = match refusal {
        HttpRefusal::BadSdp => (StatusCode::BAD_REQUEST, "bad_sdp"),
        HttpRefusal::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        HttpRefusal::WrongTag => (StatusCode::PRECONDITION_FAILED, "wrong_tag"),
        HttpRefusal::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
        HttpRefusal::ConferenceFull => (StatusCode::SERVICE_UNAVAILABLE, "conference_full"),
        HttpRefusal::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    let body = axum::Json(serde_json::json!({ "error": error, "message": message }));
    let mut response = (status, body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
    }
    response
}

fn with_cors(mut response: Response) -> Response {
    response.headers_mut().extend(CORS);
    response
}

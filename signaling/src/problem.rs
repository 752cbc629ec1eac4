//! The body of every refused HTTP request: `{"error": "<stable id>", "message": "<for a person>"}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A refused request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Programs switch on it.
    pub(crate) error: &'static str,
    pub(crate) message: &'static str,
}

impl Problem {
    pub(crate) const NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path");
    pub(crate) const METHOD_NOT_ALLOWED: Self =
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path is not for this method");
    pub(crate) const NOT_A_WEBSOCKET: Self =
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "this path is for WebSockets");
    pub(crate) const WRONG_SUBPROTOCOL: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "bad_subprotocol",
        "the WebSocket subprotocol of this path is missing",
    );
    pub(crate) const FOREIGN_ORIGIN: Self =
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", "pages of other sites may not open this");
    pub(crate) const FOREIGN_HOST: Self =
        Self::new(StatusCode::FORBIDDEN, "foreign_host", "this interface is not asked by that name");
    pub(crate) const TOO_MANY: Self =
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", "too many requests from this address");
    pub(crate) const FULL: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "full", "this server has as many connections as it may");
    pub(crate) const STOPPING: Self =
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this server is being stopped");

    pub(crate) const fn new(status: StatusCode, error: &'static str, message: &'static str) -> Self {
        Self { status, error, message }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "message": self.message }))).into_response()
    }
}

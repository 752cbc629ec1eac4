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

    pub(crate) const fn new(status: StatusCode, error: &'static str, message: &'static str) -> Self {
        Self { status, error, message }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "message": self.message }))).into_response()
    }
}

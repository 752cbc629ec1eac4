//! What a run found, for people and for programs: one HTML file, one JSON file, one table on the terminal.
//!
//! ```text
//!   Outcome ─▶ figures (what is derived) ─▶ sections (grids of words) ─┬─▶ table   terminal
//!      │                                                               └─▶ html ─▶ page
//!      ├─▶ charts (inline SVG) ──────────────────────────────────────────────▲
//!      └─▶ json
//! ```
//!
//! Names come from scenarios and servers: they are made harmless at the last step, once for each medium
//! (`words::escape` for HTML, `words::plain` for terminals), so that no caller has to think of it.

mod charts;
pub(crate) mod figures;
pub(crate) mod grid;
mod html;
mod json;
mod pictures;
mod sections;
mod table;
pub(crate) mod words;

#[cfg(test)]
pub(crate) mod samples;

pub use html::{html, write_html};
pub use json::{ReportError, read_json, write_json};
pub use table::table;

pub(crate) use charts::{Line, LineChart};
pub(crate) use html::{marked, page};
pub(crate) use json::write;
pub(crate) use pictures::{Picture, measured};

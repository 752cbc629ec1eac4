//! A shared screen: a new page now and then, small changes in between.

use std::time::{Duration, Instant};

use rand::Rng;

use super::picture::PictureStream;
use super::{Outlet, caught_up, exponential, interval_of, wait_of};
use crate::scenario;

/// A screen that is shared.
#[derive(Debug)]
pub(super) struct Screen {
    stream: PictureStream,
    page_bytes: f64,
    change_bytes: f64,
    /// Mean time between pages; none: there is only the first.
    page_interval: Option<Duration>,
    /// Between small changes; none: there are pages only.
    change_interval: Option<Duration>,
    page_at: Option<Instant>,
    change_at: Option<Instant>,
    /// A key frame that was asked for: the page again, before anything on it changes.
    repeat_at: Option<Instant>,
}

impl Screen {
    pub(super) fn new(plan: &scenario::Screen, stream: PictureStream) -> Self {
        let is_changing = plan.frames_per_s > 0.0;
        Self {
            stream,
            page_bytes: f64::from(plan.page_bytes),
            change_bytes: f64::from(plan.change_bytes),
            page_interval: wait_of(plan.page_interval_s),
            change_interval: is_changing.then(|| interval_of(plan.frames_per_s)),
            page_at: None,
            change_at: None,
            repeat_at: None,
        }
    }

    /// The first page comes within a quarter of a second, wherever the generator says.
    pub(super) fn start(&mut self, now: Instant, random: &mut impl Rng) {
        self.stream.start(now);
        self.page_at = Some(now + FIRST_PAGE_WITHIN.mul_f64(random.random()));
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        [self.page_at, self.change_at, self.repeat_at].into_iter().flatten().min()
    }

    pub(super) fn stream(&self) -> &PictureStream {
        &self.stream
    }

    pub(super) fn stream_mut(&mut self) -> &mut PictureStream {
        &mut self.stream
    }

    /// A still screen answers at once: nothing else may come for long.
    pub(super) fn handle_key_frame_request(&mut self, now: Instant) {
        self.stream.handle_key_frame_request();
        self.repeat_at = self.stream.key_frame_allowed_at().map(|at| at.max(now));
    }

    pub(super) fn handle_timeout(&mut self, outlet: &mut Outlet<'_>) {
        while let Some(at) = self.next_timeout().filter(|at| *at <= outlet.now) {
            let at = caught_up(at, outlet.now);
            // A page swallows the change that was due with it: both are one picture.
            let is_page = self.page_at.is_some_and(|due| due <= at);
            if is_page {
                self.page_at = self.page_interval.map(|mean| at + exponential(mean, outlet.random));
            }
            // Nobody asks for a key frame: a page builds on the one before, as an encoder's does, however large it is.
            let is_key = self.stream.is_key_frame_due(at, None);
            self.repeat_at = self.repeat_at.filter(|_| !is_key);
            self.change_at = self.change_interval.map(|interval| at + interval);
            let bytes = if is_page || is_key { self.page_bytes } else { self.change_bytes };
            self.stream.send_frame(at, bytes, is_key, outlet);
        }
    }
}

/// Whoever shares is seen soon; callers that start together still do not send their pages together.
const FIRST_PAGE_WITHIN: Duration = Duration::from_millis(250);

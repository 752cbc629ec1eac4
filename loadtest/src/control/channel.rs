//! The channel (`colibri-ws`) of one caller: asks for heights as the page does, by how many videos it is shown, and asks
//! a quiet bridge whether it is still there. What it does not know, it lets pass.

use std::borrow::Cow;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use reqwest::Url;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::sleep_until;
use wire::messages::channel::{FromBrowser, ReceiverVideoConstraints, VideoConstraints};

use super::failure::Failure;
use super::ledger::Ledger;
use super::socket::{Dialer, Line, News};
use crate::engine::attendance::{Backoff, Count};

/// What a channel is opened with.
pub(super) struct Wish {
    /// Height asked for, whatever is shown.
    pub(super) height: Option<u32>,
    /// Videos that will probably be shown, until the bridge says.
    pub(super) videos: usize,
    /// Spreads reconnections.
    pub(super) seed: u64,
}

/// An open channel; dropping it closes it.
pub(super) struct Channel {
    path: String,
    _stop: oneshot::Sender<Infallible>,
}

impl Channel {
    /// Opens the channel at `path` (with its query) below `origin` and keeps it open.
    pub(super) fn open(
        dialer: &Dialer,
        origin: &Url,
        path: &str,
        wish: Wish,
        ledger: Ledger,
    ) -> Result<Self, Failure> {
        let url = below(origin, path)?;
        let (stop, stopped) = oneshot::channel();
        let held = Held {
            dialer: dialer.clone(),
            url,
            ledger,
            line: Line::Down,
            wait: Wait::Retry,
            due: Instant::now(),
            backoff: Backoff::new(RETRY_MAX, wish.seed),
            shown: wish.videos,
            wish,
        };
        tokio::spawn(held.hold(stopped));
        Ok(Self { path: path.to_owned(), _stop: stop })
    }

    /// Is it the channel of this path?
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.path == path
    }
}

/// The page opens channels below its own origin only.
fn below(origin: &Url, path: &str) -> Result<Url, Failure> {
    let foreign = || Failure::lasting("channel_foreign", "the answer names a channel outside of the target");
    let mut url = origin.join(path).map_err(|_| foreign())?;
    if url.origin() != origin.origin() {
        return Err(foreign());
    }
    let scheme = if origin.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| foreign())?;
    Ok(url)
}

/// What `due` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The next try.
    Retry,
    /// It is being opened, or stands.
    Quiet,
    /// The bridge was asked.
    Hello,
}

/// One channel's task.
struct Held {
    dialer: Dialer,
    url: Url,
    ledger: Ledger,
    line: Line,
    wait: Wait,
    due: Instant,
    backoff: Backoff,
    wish: Wish,
    /// Videos that the bridge shows.
    shown: usize,
}

impl Held {
    async fn hold(mut self, mut stopped: oneshot::Receiver<Infallible>) {
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                news = self.line.next() => self.take(news).await,
                () = sleep_until(self.due.into()) => self.wake().await,
            }
        }
        self.line.close().await;
    }

    /// The socket brought something.
    async fn take(&mut self, news: News) {
        self.rest();
        match news {
            News::Opened => {
                self.backoff.note_opened(Instant::now());
                self.want().await;
            }
            News::Text(text) => {
                if let Some(shown) = videos_of(&text)
                    && height(shown, self.wish.height)
                        != height(std::mem::replace(&mut self.shown, shown), self.wish.height)
                {
                    self.want().await;
                }
            }
            News::Strange => {}
            News::Closed(failure) => {
                let failure = Failure {
                    reason: "channel".into(),
                    line: format!("channel: {}", failure.line),
                    ..failure
                };
                self.ledger.remark(&failure);
                self.retry(failure.wait_min);
            }
        }
    }

    /// What was waited for has not come, or its time has.
    async fn wake(&mut self) {
        match self.wait {
            Wait::Retry => {
                self.line = Line::open(&self.dialer, self.url.clone(), None);
                self.rest();
            }
            Wait::Quiet => {
                (self.wait, self.due) = (Wait::Hello, Instant::now() + HELLO_TIME_MAX);
                self.say(&FromBrowser::ClientHello {}).await;
            }
            Wait::Hello => {
                self.line = Line::Down;
                self.retry(Duration::ZERO);
            }
        }
    }

    /// Tells the bridge what this caller would see.
    async fn want(&mut self) {
        let max_height = Some(i64::from(height(self.shown, self.wish.height)));
        let default_constraints = Some(VideoConstraints { max_height, max_frame_rate: None });
        let wanted = ReceiverVideoConstraints { default_constraints, ..ReceiverVideoConstraints::default() };
        self.say(&FromBrowser::ReceiverVideoConstraints(wanted)).await;
    }

    async fn say(&mut self, message: &FromBrowser) {
        // Invariant: these messages are made of texts and numbers, which JSON can always write. A line that does not take
        // it is found broken by the next reading.
        let text = serde_json::to_string(message).unwrap_or_default();
        if !self.line.send(text).await {
            self.retry(Duration::ZERO);
        }
    }

    /// Something arrived, or is on its way.
    fn rest(&mut self) {
        (self.wait, self.due) = (Wait::Quiet, Instant::now() + QUIET);
    }

    /// Another socket, after a growing wait.
    fn retry(&mut self, wait_min: Duration) {
        let now = Instant::now();
        (self.wait, self.due) = (Wait::Retry, now + self.backoff.next_wait(now).max(wait_min));
    }
}

/// How high each of so many videos is wanted: one fills the window, four share it, more are tiles.
pub(super) fn height(videos: usize, fixed: Option<u32>) -> u32 {
    match (fixed, videos) {
        (Some(height), _) => height,
        (None, 0..=1) => 720,
        (None, 2..=4) => 360,
        (None, _) => 180,
    }
}

/// How many videos are shown, if the message says so.
fn videos_of(text: &str) -> Option<usize> {
    let message: Message<'_> = serde_json::from_str(text).ok()?;
    (message.class == "VideoSourcesMap").then_some(message.mapped_sources?.0)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'t> {
    #[serde(rename = "colibriClass", borrow)]
    class: Cow<'t, str>,
    mapped_sources: Option<Count>,
}

/// Reconnection tries come at least this often.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// A bridge that said nothing for this long is asked; one with talking people is never quiet.
const QUIET: Duration = Duration::from_secs(10);
/// No answer within this: the socket is dead.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_are_those_of_the_page() {
        assert_eq!([0, 1, 2, 4, 5, 40].map(|videos| height(videos, None)), [720, 720, 360, 360, 180, 180]);
        assert_eq!(height(9, Some(1080)), 1080);
    }

    #[test]
    fn only_a_map_of_videos_changes_what_is_shown() {
        let map = r#"{"colibriClass":"VideoSourcesMap","mappedSources":[{"mid":"3"},{"mid":"4"}]}"#;
        assert_eq!(videos_of(map), Some(2));
        let others = [
            r#"{"colibriClass":"AudioSourcesMap","mappedSources":[{}]}"#,
            r#"{"colibriClass":"SenderSourceConstraints","sourceName":"0a1b2c3d-v0","maxHeight":180}"#,
            r#"{"colibriClass":"VideoSourcesMap"}"#,
            r#"{"colibriClass":"VideoSourcesMap","mappedSources":7}"#,
            r#"{"colibriClass":7}"#,
            "[]",
            "",
        ];
        for text in others {
            assert_eq!(videos_of(text), None, "{text}");
        }
    }

    #[test]
    fn a_channel_of_another_origin_is_refused() {
        let origin = Url::parse("https://meet.example:8443/sub").unwrap();
        let url = below(&origin, "/colibri-ws/b/c/e?pwd=x").unwrap();
        assert_eq!(url.as_str(), "wss://meet.example:8443/colibri-ws/b/c/e?pwd=x");
        for wrong in ["https://evil.example/x", "//evil.example/x", "http://meet.example:8443/x", "ftp:x"] {
            assert_eq!(below(&origin, wrong).unwrap_err().reason, "channel_foreign", "{wrong}");
        }
    }
}

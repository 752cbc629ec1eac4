//! `/metrics`: names, labels and help of what the engine counts. A label's values are a fixed set: never a conference, a
//! participant or an address.

use prometheus::{Error, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::engine::stats::Stats;

/// The states a bridge can be in.
const BRIDGE_STATES: [&str; 4] = ["starting", "operational", "draining", "silent"];

/// Everything as Prometheus' text.
///
/// # Errors
/// When two metrics share a name.
pub(crate) fn text(stats: &Stats) -> Result<String, Error> {
    let page = Page { registry: Registry::new() };
    gauges(&page, stats)?;
    counters(&page, stats)?;
    page.labelled(
        ("signaling_refused_total", "Requests refused, by the stable id of the error", "error"),
        stats.counters.refused.iter().map(|(error, count)| (error.as_str(), *count)),
    )?;
    let info = IntGaugeVec::new(Opts::new("signaling_build_info", "What this is; always 1"), &["version"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    page.registry.register(Box::new(info))?;
    TextEncoder::new().encode_to_string(&page.registry.gather())
}

fn gauges(page: &Page, stats: &Stats) -> Result<(), Error> {
    page.gauge("signaling_conferences", "Conferences", stats.conferences as u64)?;
    page.gauge(
        "signaling_conferences_waiting",
        "Conferences with one participant and no bridge",
        stats.waiting_conferences as u64,
    )?;
    page.gauge(
        "signaling_conferences_wanting",
        "Conferences that need a bridge and have none that works",
        stats.wanting_conferences as u64,
    )?;
    page.gauge("signaling_participants", "Participants, viewers left out", stats.participants as u64)?;
    page.gauge("signaling_viewers", "Receive-only participants", stats.viewers as u64)?;
    page.gauge("signaling_ws_connections", "Browsers' WebSockets", stats.connections as u64)?;
    page.gauge("signaling_commands_pending", "Commands without a reply", stats.commands_pending as u64)?;
    page.gauge("signaling_bridges_fit", "Bridges that take conferences", stats.fit_bridges as u64)?;
    let states = IntGaugeVec::new(Opts::new("signaling_bridges", "Bridges, by state"), &["state"])?;
    for state in BRIDGE_STATES {
        let count = stats.bridges.iter().filter(|bridge| bridge.state == state).count();
        states.with_label_values(&[state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    page.registry.register(Box::new(states))?;
    let quantiles = IntGaugeVec::new(
        Opts::new("signaling_join_milliseconds", "From join or assignment to the first answer, by quantile"),
        &["quantile"],
    )?;
    for (label, percentile) in [("0.5", 50.0), ("0.95", 95.0), ("0.99", 99.0)] {
        let value = stats.counters.join_ms(percentile);
        quantiles.with_label_values(&[label]).set(i64::try_from(value).unwrap_or(i64::MAX));
    }
    page.registry.register(Box::new(quantiles))
}

fn counters(page: &Page, stats: &Stats) -> Result<(), Error> {
    let counters = &stats.counters;
    let all = [
        ("signaling_messages_total", "Messages of browsers", counters.requests),
        ("signaling_joins_total", "Participants that joined", counters.participants_joined),
        ("signaling_joins_measured_total", "Joins that got their first answer", counters.joins()),
        ("signaling_resumes_total", "Connections that continued a participant", counters.resumed),
        ("signaling_conferences_created_total", "Conferences", counters.conferences_created),
        ("signaling_assignments_total", "Bridges given to conferences", counters.assignments),
        ("signaling_releases_total", "Bridges given back by one alone", counters.releases),
        ("signaling_unavailable_total", "Times that no bridge was fit", counters.unavailable),
        ("signaling_bridges_lost_total", "Bridges lost", counters.bridges_lost),
        (
            "signaling_participants_moved_total",
            "Participants moved to another bridge",
            counters.participants_moved,
        ),
        ("signaling_links_refused_total", "Bridges refused", counters.links_refused),
        (
            "signaling_commands_unanswered_total",
            "Commands not answered in time",
            counters.commands_unanswered,
        ),
        ("signaling_commands_refused_total", "Commands that bridges refused", counters.commands_refused),
        ("signaling_epoch_rejects_total", "Commands refused as stale", counters.epoch_rejects),
        ("signaling_answers_total", "Offers answered", counters.answers),
        ("signaling_endpoints_connected_total", "Endpoints whose media flowed", counters.endpoints_connected),
        ("signaling_endpoints_failed_total", "Endpoints given up by bridges", counters.endpoints_failed),
        ("signaling_restarts_requested_total", "Browsers told to connect again", counters.restarts_requested),
        ("signaling_chat_lines_total", "Lines of chat", counters.chat_lines),
    ];
    all.into_iter().try_for_each(|(name, help, value)| page.counter(name, help, value))
}

/// What one scrape shows. Made anew for each: the engine has the numbers, this only writes them down.
struct Page {
    registry: Registry,
}

impl Page {
    fn gauge(&self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let gauge = prometheus::IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        self.registry.register(Box::new(gauge))
    }

    fn counter(&self, name: &str, help: &str, value: u64) -> Result<(), Error> {
        let counter = prometheus::IntCounter::new(name, help)?;
        counter.inc_by(value);
        self.registry.register(Box::new(counter))
    }

    fn labelled<'a>(
        &self,
        (name, help, label): (&str, &str, &str),
        values: impl Iterator<Item = (&'a str, u64)>,
    ) -> Result<(), Error> {
        let counters = IntCounterVec::new(Opts::new(name, help), &[label])?;
        for (value, count) in values {
            counters.with_label_values(&[value]).inc_by(count);
        }
        self.registry.register(Box::new(counters))
    }
}

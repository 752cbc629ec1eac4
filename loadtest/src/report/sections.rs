//! The report as words: what the terminal prints and the page shows.

use super::figures::{
    Agreed, agreed, bytes_received, failed_joins, figures, forwarded, measured_s, received, servers,
};
use super::grid::Grid;
use super::words::{NOTHING, count, millis, number, percent, plural, short};
use crate::engine::counts::Counts;
use crate::outcome::{Distribution, End, GroupOutcome, Outcome, ServerOutcome};
use crate::scenario::Link;

/// A statement for whoever reads the report, and whether it is good news.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) is_good: bool,
    pub(crate) text: String,
}

fn good(text: String) -> Statement {
    Statement { is_good: true, text }
}

fn bad(text: String) -> Statement {
    Statement { is_good: false, text }
}

/// How the run ended, whether the thresholds hold, whether loadtest was the limit, whether the counts agree: in this order.
pub(crate) fn statements(outcome: &Outcome) -> Vec<Statement> {
    let mut all = vec![end(outcome)];
    all.extend(joining(outcome));
    all.extend(thresholds(outcome));
    all.extend(limit(outcome));
    all.extend(agreement(outcome));
    all.extend(opened(outcome));
    all
}

fn end(outcome: &Outcome) -> Statement {
    let measured = format!("{} s measured", number(measured_s(outcome)));
    match &outcome.end {
        End::Complete => good(format!("The run is complete: {measured}.")),
        End::Interrupted { at_s } => {
            bad(format!("The run was interrupted after {} s: {measured}.", number(*at_s)))
        }
        End::Failed { at_s, why } => bad(format!("The run failed after {} s: {why}.", number(*at_s))),
    }
}

fn joining(outcome: &Outcome) -> Option<Statement> {
    let failed = failed_joins(outcome);
    if failed == 0 {
        return None;
    }
    let reasons: Vec<String> =
        outcome.joins.failed.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
    let joins = plural(outcome.joins.begun, "join", "joins");
    Some(bad(format!("{} of {joins} failed: {}.", count(failed), reasons.join(", "))))
}

fn thresholds(outcome: &Outcome) -> Option<Statement> {
    let all = outcome.verdicts.len();
    let broken: Vec<&str> = outcome
        .verdicts
        .iter()
        .filter(|verdict| !verdict.holds)
        .map(|verdict| verdict.key.as_str())
        .collect();
    match (all, broken.len()) {
        (0, _) => None,
        (1, 0) => Some(good("The one threshold holds.".to_owned())),
        (_, 0) => Some(good(format!("All {all} thresholds hold."))),
        (_, wrong) => Some(bad(format!("{wrong} of {all} thresholds are broken: {}.", broken.join(", ")))),
    }
}

/// Whether loadtest itself was what saturated.
pub(crate) fn limit(outcome: &Outcome) -> Option<Statement> {
    let tool = &outcome.tool;
    if !tool.limits.is_empty() {
        let limits = tool.limits.join("; ");
        return Some(bad(format!("loadtest itself was the limit, the servers may carry more: {limits}.")));
    }
    if measured_s(outcome) == 0.0 {
        // It was never put to the test.
        return None;
    }
    let drops = match tool.kernel_drops {
        0 => "no datagram was dropped on its side".to_owned(),
        drops => format!("{} dropped on its side", plural(drops, "datagram was", "datagrams were")),
    };
    let busy = percent(tool.busy_mean);
    Some(good(format!(
        "loadtest was not the limit: its busiest media thread had work for {busy} of the time, {drops}."
    )))
}

fn agreement(outcome: &Outcome) -> Option<Statement> {
    let (Some(agreed), Some(found)) = (agreed(outcome), outcome.agreement) else {
        // Without media there is nothing to agree about.
        let unconfirmed = "No server told how many packets it sent: nothing confirms what callers counted.";
        return (received(outcome) > 0).then(|| bad(unconfirmed.to_owned()));
    };
    let both = format!(
        "they sent {}, callers received {}, {} apart",
        count(found.sent_by_servers),
        count(found.received_by_callers),
        percent(found.difference.abs())
    );
    let has_lossy_links = outcome.scenario.groups.iter().any(|group| group.link.as_ref().is_some_and(loses));
    Some(match agreed {
        Agreed::Yes => good(format!("The servers' packet counts agree with the callers': {both}.")),
        Agreed::WithLoss => good(format!(
            "The servers' packet counts agree once the {} are added that callers miss: {both}.",
            count(outcome.counts.packets_lost)
        )),
        Agreed::No if has_lossy_links => good(format!(
            "The scenario's own links lose packets between the servers' counts and the callers': {both}."
        )),
        Agreed::No => bad(format!("The servers' packet counts do not agree with the callers': {both}.")),
    })
}

fn loses(link: &Link) -> bool {
    link.loss > 0.0 || link.duplicate > 0.0 || link.rate_kbps > 0
}

/// Said only where some packets were not looked into.
fn opened(outcome: &Outcome) -> Option<Statement> {
    let counts = &outcome.counts;
    (counts.packets_not_opened > 0).then(|| {
        let share = counts.packets_received as f64 / received(outcome).max(1) as f64;
        good(format!(
            "{} of the packets were opened, as the scenario asks; the others count as datagrams only.",
            percent(share)
        ))
    })
}

/// What each group was given.
pub(crate) fn groups(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&[
        "group",
        "callers",
        "joined",
        "packets/s",
        "Mbit/s",
        "lost",
        "repaired",
        "frozen",
        "kbit/s a video",
    ]);
    let seconds = measured_s(outcome);
    for group in &outcome.groups {
        grid.row(group_row(group, seconds));
    }
    if outcome.groups.len() > 1 {
        let all = GroupOutcome {
            name: "all".to_owned(),
            callers: outcome.groups.iter().map(|group| group.callers).sum(),
            counts: outcome.counts,
            joins: outcome.joins.clone(),
            video_slot_kbps: outcome.groups.iter().fold(Distribution::default(), |mut sum, group| {
                sum.add(&group.video_slot_kbps);
                sum
            }),
            ..GroupOutcome::default()
        };
        grid.row(group_row(&all, seconds));
    }
    grid
}

fn group_row(group: &GroupOutcome, seconds: f64) -> [String; 9] {
    let counts = &group.counts;
    let rate = |sum: f64| if seconds > 0.0 { number(sum / seconds) } else { NOTHING.to_owned() };
    let came = counts.packets_received + counts.packets_not_opened;
    let is_watched = counts.watched_us > 0;
    let kbps = &group.video_slot_kbps;
    [
        short(&group.name),
        count(group.callers.into()),
        count(group.joins.succeeded),
        rate(came as f64),
        rate(bytes_received(counts) * 8.0 / 1e6),
        if came + counts.packets_lost > 0 { percent(counts.loss()) } else { NOTHING.to_owned() },
        count(counts.packets_recovered),
        if is_watched { percent(counts.frozen()) } else { NOTHING.to_owned() },
        if kbps.count() > 0 { number(kbps.mean()) } else { NOTHING.to_owned() },
    ]
}

/// One-way delays.
pub(crate) fn delays(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["one-way delay, ms", "count", "p50", "p95", "p99", "p99.9", "max"]);
    let delays = &outcome.delays;
    let rows = [
        ("audio packets", &delays.audio),
        ("video packets", &delays.video),
        ("whole pictures", &delays.frames),
    ];
    for (name, distribution) in rows {
        let quantiles = [0.5, 0.95, 0.99, 0.999, 1.0].map(|share| quantile_ms(distribution, share));
        grid.row([name.to_owned(), count(distribution.count())].into_iter().chain(quantiles));
    }
    grid
}

/// Steps of joining.
pub(crate) fn joins(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["joining, ms", "callers", "p50", "p95", "p99", "max"]);
    let back = ("back after a loss", &outcome.joins.back);
    let back = (back.1.count() > 0).then_some(back);
    for (stage, distribution) in outcome.joins.stages().into_iter().chain(back) {
        let quantiles = [0.5, 0.95, 0.99, 1.0].map(|share| quantile_ms(distribution, share));
        grid.row([stage.to_owned(), count(distribution.count())].into_iter().chain(quantiles));
    }
    grid
}

fn quantile_ms(distribution: &Distribution, share: f64) -> String {
    if distribution.count() == 0 { NOTHING.to_owned() } else { millis(distribution.quantile(share)) }
}

/// What callers without media found; empty for a run with media only.
pub(crate) fn signaling(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["signaling", "count", "mean", "p50", "p99", "max"]);
    let Some(found) = &outcome.signaling else { return grid };
    let ms = |distribution: &Distribution| {
        let quantiles = [0.5, 0.99, 1.0].map(|share| quantile_ms(distribution, share));
        let mean = number(distribution.mean() / 1e3);
        [count(distribution.count()), mean].into_iter().chain(quantiles)
    };
    let whole = |distribution: &Distribution| {
        let quantiles = [0.5, 0.99, 1.0].map(|share| count(distribution.quantile(share)));
        [count(distribution.count()), number(distribution.mean())].into_iter().chain(quantiles)
    };
    let mut row = |name: &str, cells: Vec<String>| grid.row(std::iter::once(name.to_owned()).chain(cells));
    row("change seen by others, ms", ms(&found.push_delay).collect());
    row("messages to each caller", whole(&found.frames_per_caller).collect());
    row("bytes to each caller", whole(&found.bytes_per_caller).collect());
    row("sockets that broke", vec![count(found.breaks)]);
    row("messages nobody knows", vec![count(found.frames_strange)]);
    if let Some(polling) = &found.polling {
        row("polling: age of what is known, ms", ms(&polling.age).collect());
        row("polling: a request, ms", ms(&polling.request).collect());
        row("polling: requests", vec![count(polling.requests)]);
        for (reason, failed) in &polling.failed {
            row(&format!("polling: failed, {}", short(reason)), vec![count(*failed)]);
        }
        row("polling: bytes", vec![count(polling.bytes_received)]);
    }
    grid
}

/// What servers say of themselves.
pub(crate) fn server_grid(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&[
        "server",
        "busy",
        "busy max",
        "cores",
        "µs/packet",
        "MiB before",
        "MiB max",
        "sent/s",
        "received/s",
        "latency p50/p99 µs",
    ]);
    // Each bridge's part of what was forwarded, by what it says it sent.
    let part = forwarded(outcome).0 / servers(outcome).packets_sent.max(1) as f64;
    for server in &outcome.servers {
        grid.row(server_row(server, measured_s(outcome), server.packets_sent as f64 * part));
    }
    grid
}

fn server_row(server: &ServerOutcome, seconds: f64, forwarded: f64) -> [String; 10] {
    if server.answers == 0 {
        let mut row = std::array::from_fn(|_| NOTHING.to_owned());
        row[0] = format!("{} (no answer)", short(&server.url));
        return row;
    }
    let is_measured = seconds > 0.0;
    let rate = |sum: u64| if is_measured { number(sum as f64 / seconds) } else { NOTHING.to_owned() };
    let or_nothing = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), number);
    let per_packet = |used: f64| used * 1e6 / forwarded;
    // Signaling tells neither: a zero there would be read as idle.
    let told =
        |value: f64, words: fn(f64) -> String| if value > 0.0 { words(value) } else { NOTHING.to_owned() };
    [
        short(&server.url),
        told(server.busy_mean, percent),
        told(server.busy_max, percent),
        or_nothing(server.processor_s.filter(|_| is_measured).map(|used| used / seconds)),
        or_nothing(server.processor_s.filter(|_| forwarded > 0.0).map(per_packet)),
        told(server.memory_mib_before, number),
        told(server.memory_mib_max, number),
        rate(server.packets_sent),
        rate(server.packets_received),
        server
            .forwarding_latency_us
            .map_or_else(|| NOTHING.to_owned(), |[p50, p99, _]| format!("{p50} / {p99}")),
    ]
}

/// Datagrams that servers did not forward, many of them by design, and questions they left unanswered; empty when there
/// were none.
pub(crate) fn server_trouble(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["not forwarded or not answered", "count"]);
    for server in &outcome.servers {
        for (reason, dropped) in &server.dropped {
            grid.row([format!("{}, {}", short(reason), short(&server.url)), count(*dropped)]);
        }
        if server.failures > 0 {
            let asked = server.answers + server.failures;
            let unanswered = format!("{} of {}", count(server.failures), count(asked));
            grid.row([format!("no answer, {}", short(&server.url)), unanswered]);
        }
    }
    grid
}

/// loadtest's own cost.
pub(crate) fn tool(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["loadtest itself", "found"]);
    let (tool, machine) = (&outcome.tool, &outcome.machine);
    grid.row([
        "processors used".into(),
        format!("{} of {}", number(tool.processors_mean), machine.processors),
    ]);
    grid.row(["busiest media thread".into(), percent(tool.busy_mean)]);
    grid.row(["datagrams dropped by its kernel".into(), count(tool.kernel_drops)]);
    grid.row(["memory, MiB".into(), number(tool.memory_mib_max)]);
    let callers: u64 = outcome.groups.iter().map(|group| u64::from(group.callers)).sum();
    if callers > 0 {
        let kib = tool.memory_mib_max * 1024.0 / callers as f64;
        grid.row(["memory for each caller, KiB (all of the process)".into(), number(kib)]);
    }
    grid
}

/// The scenario's thresholds.
pub(crate) fn verdicts(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["threshold", "at most", "found", "holds"]);
    for verdict in &outcome.verdicts {
        let found = verdict.found.map_or_else(|| "not measured".to_owned(), number);
        let holds = if verdict.holds { "yes" } else { "NO" };
        grid.row([short(&verdict.key), number(verdict.limit), found, holds.to_owned()]);
    }
    grid
}

/// Every count of the measured part, with its rate.
pub(crate) fn counts(outcome: &Outcome) -> Grid {
    let mut grid = Grid::new(&["count", "sum", "a second"]);
    let seconds = measured_s(outcome);
    for (name, sum) in named(&outcome.counts) {
        let rate = if seconds > 0.0 { number(sum as f64 / seconds) } else { NOTHING.to_owned() };
        grid.row([name.replace('_', " "), count(sum), rate]);
    }
    grid
}

/// The fields as serde names them: a count that is added shows up by itself.
fn named(counts: &Counts) -> Vec<(String, u64)> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(counts) else { return Vec::new() };
    fields.into_iter().filter_map(|(name, sum)| Some((name, sum.as_u64()?))).collect()
}

/// The few figures that a planner looks at first: name, value, unit or remark.
pub(crate) fn headlines(outcome: &Outcome) -> Vec<[String; 3]> {
    let found = figures(outcome);
    let callers: u64 = outcome.groups.iter().map(|group| u64::from(group.callers)).sum();
    let or_nothing = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), number);
    let share = |value: Option<f64>| value.map_or_else(|| NOTHING.to_owned(), percent);
    let processor =
        if servers(outcome).processor_is_told { "bridge processor" } else { "of its busiest worker" };
    let line = |name: &str, value: String, unit: &str| [name.to_owned(), value, unit.to_owned()];
    vec![
        // Callers who come and go are followed by others, who were wanted too.
        line(
            "callers that got in",
            count(outcome.joins.succeeded),
            &format!("of {} wanted", count(callers.max(outcome.joins.begun))),
        ),
        line("forwarded to callers", number(found.packets_per_s), "packets/s"),
        line("rate to callers", number(found.received_mbps), "Mbit/s"),
        line("lost for good", share(found.loss), "of packets"),
        line("delay p50", or_nothing(found.delay_p50_ms), "ms one way"),
        line("delay p99", or_nothing(found.delay_p99_ms), "ms one way"),
        line("join p95", or_nothing(found.join_p95_ms), "ms to first packet"),
        line("frozen", share(found.frozen), "of watched time"),
        line("server busy", share(found.busy), "busiest worker"),
        line("cost of a packet", or_nothing(found.processor_us_per_packet), &format!("µs, {processor}")),
    ]
}

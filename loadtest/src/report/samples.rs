//! Outcomes for tests: a plausible one, and one whose every name is an attack.

use std::collections::BTreeMap;

use crate::engine::counts::Counts;
use crate::outcome::{
    Agreement, Delays, Distribution, End, FORMAT, GroupOutcome, Joins, Machine, Outcome, Second,
    ServerOutcome, Span, Tool, Verdict,
};
use crate::scenario::{Group, Scenario};

/// Two meetings of four, 25 seconds, 20 of them measured.
pub(crate) fn sample() -> Outcome {
    let counts = Counts {
        packets_sent: 40_000,
        bytes_sent: 40_000_000,
        packets_received: 119_880,
        bytes_received: 119_880_000,
        packets_recovered: 100,
        packets_lost: 20,
        frozen_us: 2_000_000,
        watched_us: 480_000_000,
        freezes: 4,
        ..Counts::default()
    };
    let names = ["speakers", "listeners"];
    let half = |name: &str| GroupOutcome {
        name: name.to_owned(),
        callers: 4,
        counts,
        delays: delays(),
        joins: joins(4),
        video_slot_kbps: spread(500, 40),
    };
    Outcome {
        format: FORMAT,
        version: "0.1.0".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        scenario: Scenario {
            name: "two-meetings".to_owned(),
            description: "Two meetings of four.".to_owned(),
            conferences: 2,
            groups: names.map(|name| Group { name: name.to_owned(), ..Group::default() }).to_vec(),
            ..Scenario::default()
        },
        machine: Machine { processors: 2, processor_name: "Test".into(), kernel: "6.1".into(), processes: 1 },
        end: End::Complete,
        measured: Span { from_s: 5.0, to_s: 25.0 },
        counts,
        delays: delays(),
        joins: joins(8),
        groups: names.map(half).to_vec(),
        series: (1..=25).map(second).collect(),
        servers: vec![server()],
        tool: Tool { processors_mean: 0.4, busy_mean: 0.3, memory_mib_max: 40.0, ..Tool::default() },
        verdicts: vec![verdict("loss_max", 0.01, 0.000_17), verdict("busy_max", 0.8, 0.25)],
        agreement: Some(Agreement {
            sent_by_servers: 160_000,
            received_by_callers: 159_900,
            difference: 0.000_625,
        }),
        signaling: None,
    }
}

/// Every name wants to be markup, a command or another name.
pub(crate) fn hostile() -> Outcome {
    let mut outcome = sample();
    let attack = "</title><script>alert(1)</script><img src=http://evil.invalid/x onerror=alert(2)>\"'`&\u{1b}[2J\u{202e}";
    outcome.scenario.name = attack.to_owned();
    outcome.scenario.description = attack.to_owned();
    outcome.scenario.target.url = attack.to_owned();
    outcome.version = attack.to_owned();
    outcome.started = attack.to_owned();
    outcome.machine.processor_name = attack.to_owned();
    outcome.machine.kernel = attack.to_owned();
    outcome.end = End::Failed { at_s: 3.0, why: attack.to_owned() };
    outcome.joins.failed.insert(attack.to_owned(), 1);
    outcome.tool.limits = vec![attack.to_owned()];
    outcome.servers[0].url = attack.to_owned();
    outcome.servers[0].dropped = BTreeMap::from([(attack.to_owned(), 5)]);
    outcome.verdicts[0].key = attack.to_owned();
    for (group, wanted) in outcome.groups.iter_mut().zip(&mut outcome.scenario.groups) {
        group.name = attack.to_owned();
        wanted.name = attack.to_owned();
    }
    outcome
}

/// `count` values around `middle`.
pub(crate) fn spread(middle: u64, count: u64) -> Distribution {
    let mut distribution = Distribution::default();
    (0..count).for_each(|index| distribution.take(middle / 2 + middle * index / count));
    distribution
}

fn delays() -> Delays {
    Delays { audio: spread(900, 500), video: spread(1_500, 2_000), frames: spread(4_000, 600) }
}

fn joins(callers: u64) -> Joins {
    Joins {
        begun: callers,
        succeeded: callers,
        connect: spread(2_000, callers),
        joined: spread(1_000, callers),
        answer: spread(5_000, callers),
        ice: spread(20_000, callers),
        dtls: spread(15_000, callers),
        first_packet: spread(30_000, callers),
        first_picture: spread(90_000, callers),
        total: spread(80_000, callers),
        ..Joins::default()
    }
}

fn second(at: u32) -> Second {
    let wave = u64::from(at % 3);
    let up = u64::from(at.min(4)) * 2;
    Second {
        at_s: f64::from(at),
        callers_up: up,
        callers_joining: 8 - up,
        packets_sent: 250 * up,
        packets_received: 750 * up + wave * 10,
        bytes_received: 750_000 * up,
        packets_lost: wave,
        freezes: u64::from(at == 12),
        delay_p50_us: 1_400 + wave * 50,
        delay_p95_us: 2_000 + wave * 80,
        delay_p99_us: 2_200 + wave * 120,
        tool_processors: 0.4,
        tool_busy: 0.3,
        server_busy: 0.25 + wave as f64 / 100.0,
        ..Second::default()
    }
}

fn server() -> ServerOutcome {
    ServerOutcome {
        url: "http://127.0.0.1:8080/stats".to_owned(),
        answers: 25,
        busy_mean: 0.25,
        busy_max: 0.31,
        processor_s: Some(6.0),
        memory_mib_before: 12.0,
        memory_mib_max: 20.0,
        packets_sent: 119_900,
        packets_received: 40_010,
        bytes_sent: 119_900_000,
        forwarding_latency_us: Some([40, 200, 900]),
        ..ServerOutcome::default()
    }
}

fn verdict(key: &str, limit: f64, found: f64) -> Verdict {
    Verdict { key: key.to_owned(), limit, found: Some(found), holds: found <= limit }
}

/// Panics unless tags open and close in order and attributes are quoted: what an XML parser would refuse.
pub(crate) fn well_formed(markup: &str) {
    let (before, style) = markup.split_once("<style>").unwrap_or((markup, "</style>"));
    let markup = [before, style.split_once("</style>").map_or("", |(_, after)| after)].concat();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup.as_str();
    while let Some(start) = rest.find('<') {
        assert!(!rest[..start].contains('>'), "a lone > before {:.60}", &rest[start..]);
        let end =
            start + rest[start..].find('>').unwrap_or_else(|| panic!("{:.60} never ends", &rest[start..]));
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        if tag.starts_with('!') {
            continue;
        }
        assert!(tag.matches('"').count() % 2 == 0 && !tag.contains('<'), "<{tag}>");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "<{tag}>");
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap_or_default();
        if !tag.ends_with('/') && !matches!(name, "meta" | "link" | "br") {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "still open: {open:?}");
}

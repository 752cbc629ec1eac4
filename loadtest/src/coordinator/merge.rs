//! Several machines' findings as one.

use crate::outcome::{Agreement, End, Outcome};
use crate::run::together;

/// What one machine had to say at the end.
pub(super) struct Part {
    /// How it is called in the report.
    pub(super) name: String,
    /// None: it vanished, which `why` tells.
    pub(super) found: Option<(Box<Outcome>, u64)>,
    /// Where it stopped being part of the run.
    pub(super) why: String,
}

/// The leader's outcome with everybody else's added. Verdicts are not: they are passed on the whole.
pub(super) fn merge(mut whole: Outcome, received: u64, parts: &[Part]) -> Outcome {
    let mut all_received = received;
    for part in parts {
        let Some((outcome, received)) = &part.found else {
            whole.tool.limits.push(format!("machine {} is not in this report: {}", part.name, part.why));
            continue;
        };
        all_received += received;
        add(&mut whole, outcome);
        let named = outcome.tool.limits.iter().map(|limit| format!("machine {}: {limit}", part.name));
        whole.tool.limits.extend(named);
        if let End::Failed { at_s, why } = &outcome.end {
            whole.tool.limits.push(format!("machine {} ended at {at_s:.0} s: {why}", part.name));
        }
    }
    // A machine that vanished took with it what its callers had received.
    let is_whole = parts.iter().all(|part| part.found.is_some());
    whole.agreement =
        whole.agreement.filter(|_| is_whole).map(|found| Agreement::new(found.sent_by_servers, all_received));
    whole
}

fn add(whole: &mut Outcome, part: &Outcome) {
    whole.machine.processes += 1;
    whole.machine.processors += part.machine.processors;
    for (mine, theirs) in whole.groups.iter_mut().zip(&part.groups) {
        mine.callers += theirs.callers;
        mine.counts += theirs.counts;
        mine.delays.add(&theirs.delays);
        mine.joins.add(&theirs.joins);
        mine.video_slot_kbps.add(&theirs.video_slot_kbps);
    }
    // Both began together and sample once a second.
    for (mine, theirs) in whole.series.iter_mut().zip(&part.series) {
        *mine = together(mine, theirs);
    }
    whole.tool.processors_mean += part.tool.processors_mean;
    whole.tool.busy_mean = whole.tool.busy_mean.max(part.tool.busy_mean);
    whole.tool.kernel_drops += part.tool.kernel_drops;
    whole.tool.memory_mib_max += part.tool.memory_mib_max;
    match (&mut whole.signaling, &part.signaling) {
        (Some(mine), Some(theirs)) => mine.add(theirs),
        (mine @ None, theirs) => mine.clone_from(theirs),
        (Some(_), None) => {}
    }
}

//! Bisection: the knee between a level that holds and one that breaks, until they are so close that the knee
//! is known within 5 %.

use super::levels::{Levels, Stop};
use super::staircase::Bracket;

/// Narrows the bracket. At its end both levels were judged by the median of three runs, and the lower one still holds.
pub(super) fn narrow(levels: &mut Levels<'_>, bracket: Bracket) -> Result<Bracket, Stop> {
    let Some(mut breaks) = bracket.breaks else { return Ok(bracket) };
    let mut holds = bracket.holds;
    loop {
        if breaks - holds > resolution(holds) {
            let middle = holds + (breaks - holds) / 2;
            if levels.holds(middle)? {
                holds = middle;
            } else {
                breaks = middle;
            }
            continue;
        }
        if holds == 0 || levels.holds(holds)? {
            break;
        }
        // The staircase had judged it by one lucky run: the knee is below.
        breaks = holds;
        holds = levels.largest_kept_below(breaks).unwrap_or(0);
    }
    if holds > 0 {
        levels.complete(holds)?;
    }
    levels.complete(breaks)?;
    Ok(Bracket { holds, breaks: Some(breaks) })
}

/// Half of the 5 % that are promised, since noise takes the other half; never less than one.
fn resolution(holds: u32) -> u32 {
    (holds / 40).max(1)
}

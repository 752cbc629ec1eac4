//! The staircase: levels double until the SLO breaks.

use super::levels::{Levels, Stop};

/// Where the knee lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bracket {
    /// The largest level that was seen to hold; 0: none was.
    pub(super) holds: u32,
    /// The smallest level above it that was seen to break; none when the staircase reached its end.
    pub(super) breaks: Option<u32>,
}

/// Climbs from `first` to at most `last`. Where the first level breaks already, it descends by halves first.
pub(super) fn climb(levels: &mut Levels<'_>, first: u32, last: u32) -> Result<Bracket, Stop> {
    let mut level = first.clamp(1, last.max(1));
    if !levels.holds_once(level)? {
        return descend(levels, level);
    }
    while level < last {
        let next = level.saturating_mul(2).min(last);
        if !levels.holds_once(next)? {
            return Ok(Bracket { holds: level, breaks: Some(next) });
        }
        level = next;
    }
    Ok(Bracket { holds: level, breaks: None })
}

fn descend(levels: &mut Levels<'_>, mut broken: u32) -> Result<Bracket, Stop> {
    while broken > 1 {
        let lower = broken / 2;
        if levels.holds_once(lower)? {
            return Ok(Bracket { holds: lower, breaks: Some(broken) });
        }
        broken = lower;
    }
    Ok(Bracket { holds: 0, breaks: Some(broken) })
}

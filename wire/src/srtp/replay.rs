//! The replay window of one stream, and the guess of a packet's full index from its 16-bit sequence number.

use super::SrtpError;

/// Indices a window remembers. RFC 3711 3.3.2 wants at least 64; a browser's burst of retransmitted video at 4 Mbit/s
/// reorders a few hundred, and 1024 cost 128 bytes a stream.
const WINDOW: u64 = 1024;
const WORD_BITS: u64 = 64;
/// Half of the sequence number space: which side of it decides between "before" and "after" (RFC 3711 appendix A).
const HALF: i64 = 1 << 15;

/// What was received of one stream: its highest index, and which of the 1024 indices up to it were seen.
///
/// One window for each SRTP stream (index: rollover counter and sequence number, 48 bits), and one for each SRTCP sender
/// SSRC (index: 31 bits). It changes only through [`Self::accept`], which the opener calls after authentication.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ReplayWindow {
    /// `None` until the first packet is accepted.
    highest: Option<u64>,
    /// A ring of bits, indexed by index modulo 1024. Those of the last 1024 indices are valid.
    seen: [u64; (WINDOW / WORD_BITS) as usize],
}

impl ReplayWindow {
    /// The window of a stream of which nothing was received.
    pub fn new() -> Self {
        Self::default()
    }

    /// The highest index accepted.
    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// The index that a packet with this sequence number most likely has: the one nearest to the highest accepted
    /// (RFC 3711 3.3.1 and appendix A), or with a rollover counter of 0 when nothing was accepted yet.
    pub fn estimate(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return u64::from(sequence) };
        let local = highest & 0xffff;
        let distance = i64::from(sequence) - local as i64;
        let rollover = highest >> 16;
        let rollover = if (local as i64) < HALF && distance > HALF {
            // Before the first rollover there is nothing to go back to: a leap forward is all it can be.
            rollover.saturating_sub(1)
        } else if local as i64 >= HALF && distance < -HALF {
            rollover + 1
        } else {
            rollover
        };
        rollover << 16 | u64::from(sequence)
    }

    /// Whether a packet with this index may still be opened. Changes nothing.
    pub fn check(&self, index: u64) -> Result<(), SrtpError> {
        let Some(highest) = self.highest else { return Ok(()) };
        if index > highest {
            return Ok(());
        }
        if highest - index >= WINDOW {
            return Err(SrtpError::TooOld);
        }
        if self.seen[word(index)] & bit(index) != 0 {
            return Err(SrtpError::Replayed);
        }
        Ok(())
    }

    /// Notes an authenticated packet, so that its index is never accepted again.
    pub fn accept(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index > highest => {
                self.forget(highest + 1, index);
                self.highest = Some(index);
            }
            Some(highest) if highest - index >= WINDOW => return,
            Some(_) => {}
            None => self.highest = Some(index),
        }
        self.seen[word(index)] |= bit(index);
    }

    /// Clears the bits of the indices leapt over: until now they stood for indices 1024 lower.
    fn forget(&mut self, from: u64, to: u64) {
        if to - from >= WINDOW {
            self.seen = Default::default();
            return;
        }
        for index in from..to {
            self.seen[word(index)] &= !bit(index);
        }
    }
}

impl std::fmt::Debug for ReplayWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplayWindow").field("highest", &self.highest).finish_non_exhaustive()
    }
}

fn word(index: u64) -> usize {
    (index % WINDOW / WORD_BITS) as usize
}

fn bit(index: u64) -> u64 {
    1 << (index % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn window_at(highest: u64) -> ReplayWindow {
        let mut window = ReplayWindow::new();
        window.accept(highest);
        window
    }

    #[test]
    fn an_index_is_accepted_once() {
        let mut window = window_at(5000);
        assert_eq!(window.check(5000), Err(SrtpError::Replayed));
        assert_eq!(window.check(4999), Ok(()));
        window.accept(4999);
        assert_eq!(window.check(4999), Err(SrtpError::Replayed));
    }

    #[test]
    fn the_window_is_1024_wide() {
        let window = window_at(5000);
        assert_eq!(window.check(5000 - 1023), Ok(()));
        assert_eq!(window.check(5000 - 1024), Err(SrtpError::TooOld));
        assert_eq!(window.check(0), Err(SrtpError::TooOld));
    }

    #[test]
    fn a_leap_forgets_what_lies_behind_and_nothing_in_front() {
        for leap in [1, 63, 64, 65, 1022, 1023, 1024, 1025, 40_000] {
            let mut window = ReplayWindow::new();
            for index in 0..=1500 {
                window.accept(index);
            }
            window.accept(1500 + leap);
            assert_eq!(window.check(1500 + leap), Err(SrtpError::Replayed));
            for unseen in 1501..1500 + leap {
                let expected = if 1500 + leap - unseen < 1024 { Ok(()) } else { Err(SrtpError::TooOld) };
                assert_eq!(window.check(unseen), expected, "{unseen} after a leap of {leap}");
            }
        }
    }

    #[test]
    fn an_estimate_follows_rfc_3711_appendix_a() {
        let roc = 7 << 16;
        for (highest, sequence, expected) in [
            (roc | 100, 101, roc | 101),
            (roc | 100, 99, roc | 99),
            (roc | 0xffff, 0, (8 << 16)),
            (roc, 0xffff, (6 << 16) | 0xffff),
            // Exactly half way, the appendix's comparisons stay in the same rollover.
            (roc, 0x8000, roc | 0x8000),
            (roc | 0x8000, 0, roc),
            // One more than half way is the other way round.
            (roc, 0x8001, (6 << 16) | 0x8001),
            (roc | 0x8001, 0, (8 << 16)),
            (roc | 1000, 1000 + 32767, roc | (1000 + 32767)),
            (roc | 40_000, 40_000 - 32767, roc | (40_000 - 32767)),
        ] {
            assert_eq!(window_at(highest).estimate(sequence), expected, "{highest:#x} {sequence:#x}");
        }
    }

    #[test]
    fn before_the_first_rollover_nothing_is_guessed_below_zero() {
        assert_eq!(ReplayWindow::new().estimate(0xffff), 0xffff);
        assert_eq!(window_at(3).estimate(0xfff0), 0xfff0);
    }

    proptest! {
        /// The bit ring behaves as a set of the last 1024 indices.
        #[test]
        fn the_ring_agrees_with_a_plain_set(steps in prop::collection::vec((-1500i64..1500, any::<bool>()), 1..400)) {
            let mut window = ReplayWindow::new();
            let mut seen = BTreeSet::new();
            let mut position = 100_000i64;
            for (step, keep) in steps {
                let index = (position + step) as u64;
                let expected = match seen.last() {
                    Some(&highest) if index + WINDOW <= highest => Err(SrtpError::TooOld),
                    _ if seen.contains(&index) => Err(SrtpError::Replayed),
                    _ => Ok(()),
                };
                prop_assert_eq!(window.check(index), expected);
                if expected.is_ok() && keep {
                    window.accept(index);
                    seen.insert(index);
                    position = window.highest().unwrap() as i64;
                }
            }
        }

        /// Whatever is within half the number space of the highest index is guessed right.
        #[test]
        fn a_near_index_is_always_guessed_right(highest in (1u64 << 16)..(1 << 47), distance in -32767i64..32768) {
            let index = highest.wrapping_add_signed(distance);
            prop_assert_eq!(window_at(highest).estimate(index as u16), index);
        }
    }
}

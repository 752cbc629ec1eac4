//! Sequence numbers beyond 16 bits.

/// Extends 16-bit sequence numbers to 64 bits, of which the lower 48 are SRTP's packet index (RFC 3711, 3.3.1): the
/// first number seen is taken to be in its first round (ROC 0), and each later one to be the nearest to the highest so
/// far. Packets may come late by up to 2^15.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SequenceExtender {
    highest: Option<u64>,
}

impl SequenceExtender {
    /// Nothing seen yet.
    pub const fn new() -> Self {
        Self { highest: None }
    }

    /// The highest committed number.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// What `sequence` stands for, without taking note of it: the packet may still prove to be forged.
    pub fn guess(&self, sequence: u16) -> u64 {
        let Some(highest) = self.highest else { return u64::from(sequence) };
        let step = i64::from(sequence.wrapping_sub(highest as u16) as i16);
        // RFC 3711, 3.3.1 would go below round 0 here; there is nothing below, so the number is of round 0 itself.
        highest.checked_add_signed(step).unwrap_or(u64::from(sequence))
    }

    /// Takes note of a guessed number whose packet was genuine.
    pub fn commit(&mut self, extended: u64) {
        self.highest = Some(self.highest.map_or(extended, |highest| highest.max(extended)));
    }

    /// [`SequenceExtender::guess`] and [`SequenceExtender::commit`] in one, for packets known to be genuine.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = self.guess(sequence);
        self.commit(extended);
        extended
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_number_is_of_round_zero() {
        for first in [0, 1, 0x7fff, 0x8000, 0xffff] {
            assert_eq!(SequenceExtender::new().extend(first), u64::from(first));
        }
    }

    #[test]
    fn a_wrap_counts_a_round_and_a_late_packet_stays_in_its_own() {
        let mut extender = SequenceExtender::new();
        assert_eq!(extender.extend(65_534), 65_534);
        assert_eq!(extender.extend(1), 65_537);
        assert_eq!(extender.extend(65_535), 65_535, "late, from before the wrap");
        assert_eq!(extender.extend(0), 65_536);
        assert_eq!(extender.highest(), Some(65_537));
    }

    #[test]
    fn a_guess_changes_nothing() {
        let mut extender = SequenceExtender::new();
        extender.extend(10);
        assert_eq!(extender.guess(40_000), 40_000);
        assert_eq!(extender.highest(), Some(10));
        assert_eq!(extender.guess(11), 11);
    }

    #[test]
    fn nothing_is_extended_below_round_zero() {
        let mut extender = SequenceExtender::new();
        extender.extend(3);
        assert_eq!(extender.extend(65_535), 65_535);
    }

    #[test]
    fn two_to_the_fifteen_is_a_step_back_as_a_signed_number_says() {
        let mut extender = SequenceExtender::new();
        extender.commit(0x1_0000);
        assert_eq!(extender.guess(0x7fff), 0x1_7fff);
        assert_eq!(extender.guess(0x8000), 0x0_8000);
    }

    proptest! {
        #[test]
        fn a_stream_with_loss_and_reordering_extends_to_itself(
            start in 0u64..0x8000,
            steps in proptest::collection::vec((1u64..20_000, 0u64..1_000), 1..200),
        ) {
            let mut extender = SequenceExtender::new();
            let mut highest = start;
            prop_assert_eq!(extender.extend(start as u16), start);
            for (forward, back) in steps {
                highest += forward;
                prop_assert_eq!(extender.extend(highest as u16), highest);
                let late = highest.saturating_sub(back);
                prop_assert_eq!(extender.extend(late as u16), late);
                prop_assert_eq!(extender.highest(), Some(highest));
            }
        }
    }
}

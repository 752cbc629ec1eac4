//! Wall-clock time as reports carry it (RFC 3550, 4).

use std::time::Duration;

/// Seconds between 1900, where NTP starts, and 1970, where Unix does.
const UNIX_EPOCH_S: u64 = 2_208_988_800;

/// Seconds since 1900 in the upper 32 bits, their fraction in the lower 32. Wraps in 2036, as the format does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The time `since_unix_epoch` after the start of 1970.
    pub fn from_unix(since_unix_epoch: Duration) -> Self {
        let seconds = since_unix_epoch.as_secs().wrapping_add(UNIX_EPOCH_S);
        let fraction = (u64::from(since_unix_epoch.subsec_nanos()) << 32) / 1_000_000_000;
        Self((seconds << 32) | fraction)
    }

    /// The middle 32 bits, in units of 1/65,536 s: how a report block names the sender report it has seen.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epochs_are_seventy_years_apart() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO), NtpTime(0x83aa_7e80_0000_0000));
        assert_eq!(NtpTime::from_unix(Duration::from_millis(1_500)), NtpTime(0x83aa_7e81_8000_0000));
    }

    #[test]
    fn the_middle_is_sixteen_bits_of_each_half() {
        assert_eq!(NtpTime(0x1122_3344_5566_7788).middle(), 0x3344_5566);
    }
}

//! Why a datagram stopped on its way. Whatever is not relayed, answered or obeyed is counted under exactly one of these;
//! operators see them as `turn_relay_packets_dropped_total{reason="…"}`.

/// Writes an enum, its labels, `ALL` and nothing else from one list, so that none of them can miss a member.
macro_rules! labelled {
    ($(#[$enum_doc:meta])+ $name:ident { $($(#[$doc:meta])+ $member:ident = $label:literal,)+ }) => {
        $(#[$enum_doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$doc])+ $member,)+
        }

        impl $name {
            /// Every member, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$member,)+];

            /// The stable label of metrics and statistics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $label,)+
                }
            }
        }

        impl From<$name> for usize {
            fn from(member: $name) -> usize {
                member as usize
            }
        }
    };
}
pub(crate) use labelled;

labelled! {
    /// Why a datagram stopped. In the order of a walk: any message, requests, to the peer, to the client.
    DropReason {
        /// The first byte is neither STUN's nor channel data's (RFC 7983).
        NotClassified = "not_classified",
        /// Not a STUN message: lengths, cookie or attributes do not fit.
        StunMalformed = "stun_malformed",
        /// A FINGERPRINT that is wrong.
        StunBadFingerprint = "stun_bad_fingerprint",
        /// A response, an unknown method, or an indication that is none of a client's.
        StunUnexpected = "stun_unexpected",
        /// From our own listening address, or from a port whose service answers whatever it gets.
        SuspectSource = "suspect_source",
        /// An Allocate of a stranger that could not succeed in any case: without REQUESTED-TRANSPORT.
        NotWorthAnAnswer = "not_worth_an_answer",
        /// The sender's address has had its share of replies to strangers.
        ReplyBudget = "reply_budget",
        /// Binding requests are switched off.
        BindingOff = "binding_off",
        /// Channel data or a Send indication without an allocation.
        NoAllocation = "no_allocation",
        /// Declares more bytes than it has.
        ChannelMalformed = "channel_malformed",
        /// No such channel, or no longer.
        ChannelUnbound = "channel_unbound",
        /// A Send indication without a peer or without data, or with an attribute that must be understood and is not.
        SendMalformed = "send_malformed",
        /// A Send indication to a peer without a permission.
        NoPermission = "no_permission",
        /// A Send indication to a port that the policy keeps closed, or to an address it has closed since.
        PeerDenied = "peer_denied",
        /// The allocation has had its share of packets or bits.
        OverRate = "over_rate",
        /// The user's allocations together have had theirs.
        UserOverRate = "user_over_rate",
        /// A peer's datagram on a socket whose allocation is gone.
        UnknownSocket = "unknown_socket",
        /// A peer's datagram without a permission.
        PeerWithoutPermission = "peer_without_permission",
        /// A peer's datagram that fits into no message.
        TooLarge = "too_large",
    }
}

/// How many datagrams stopped, by reason.
pub type DropCounters = Counters<DropReason, { DropReason::ALL.len() }>;

/// A plain counter for each member of a labelled enum of `N` members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counters<T, const N: usize> {
    /// Indexed by the member's place in `ALL`.
    counts: [u64; N],
    of: std::marker::PhantomData<T>,
}

impl<T, const N: usize> Default for Counters<T, N> {
    fn default() -> Self {
        Self { counts: [0; N], of: std::marker::PhantomData }
    }
}

impl<T: Copy + Into<usize>, const N: usize> Counters<T, N> {
    /// One more.
    pub fn count(&mut self, member: T) {
        self.counts[member.into()] += 1;
    }

    /// How many of `member`.
    pub fn of(&self, member: T) -> u64 {
        self.counts[member.into()]
    }

    /// How many at all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_unique_and_snake_case() {
        let mut labels: Vec<_> = DropReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(
            labels.iter().all(|label| label.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
        );
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }

    #[test]
    fn counts_are_kept_apart_and_add_up() {
        let mut one = DropCounters::default();
        one.count(DropReason::OverRate);
        let mut two = one.clone();
        two.count(DropReason::TooLarge);
        two.add(&one);
        assert_eq!((two.of(DropReason::OverRate), two.of(DropReason::TooLarge)), (2, 1));
        assert_eq!((two.of(DropReason::NoPermission), two.total()), (0, 3));
    }
}

//! Why a packet stopped on its way. Whatever is not forwarded, answered or consumed is counted under exactly one of
//! these; operators see them as `bridge_packets_dropped_total{reason="…"}`.

/// Writes the enum, its labels and `ALL` from one list, so that none of them can miss a reason.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])+ $reason:ident = $label:literal,)+) => {
        /// Why a packet stopped. In the order of a packet's walk: datagram, ICE, SRTP, RTP, source, slot, ring, RTCP.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $($(#[$doc])+ $reason,)+
        }

        impl DropReason {
            /// Every reason, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)+];

            /// The stable label of metrics and statistics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// The first byte belongs to no protocol spoken here (RFC 7983), or the datagram is empty.
    NotClassified = "not_classified",
    /// DTLS, RTP or RTCP from a path that no endpoint has authenticated with ICE.
    UnknownSource = "unknown_source",
    /// Longer than any packet a browser sends.
    TooLarge = "too_large",
    /// Not a STUN message: lengths, cookie or attributes do not fit.
    StunMalformed = "stun_malformed",
    /// A response or an indication: neither is ever asked for.
    StunNotARequest = "stun_not_a_request",
    /// A request without a correct FINGERPRINT (RFC 8445, 7.1.1).
    StunBadFingerprint = "stun_bad_fingerprint",
    /// A check without a correct MESSAGE-INTEGRITY.
    StunBadIntegrity = "stun_bad_integrity",
    /// A check for credentials that nobody here has.
    UnknownUfrag = "unknown_ufrag",
    /// A check that was already received from elsewhere: a captured copy.
    StunReplayed = "stun_replayed",
    /// One more check of a browser that insists on the controlled role.
    StunRoleConflict = "stun_role_conflict",
    /// A check from a path on which another endpoint is alive: a borrowed address, or a port reused too soon.
    PathTaken = "path_taken",
    /// DTLS that nobody waits for, or more of it than a handshake needs.
    DtlsUnexpected = "dtls_unexpected",
    /// Media before the handshake gave keys.
    NoKeys = "no_keys",
    /// The authentication tag does not fit.
    SrtpBadTag = "srtp_bad_tag",
    /// Already received under this index.
    SrtpReplayed = "srtp_replayed",
    /// Older than the replay window or than the cache.
    SrtpTooOld = "srtp_too_old",
    /// Header, extensions or padding do not fit the datagram.
    RtpMalformed = "rtp_malformed",
    /// A stream that no source of the endpoint announces, or one too many.
    UnknownSsrc = "unknown_ssrc",
    /// A stream that belongs to another endpoint or to the bridge.
    SsrcViolation = "ssrc_violation",
    /// A payload type that was not agreed on its m-line.
    UnknownPayloadType = "unknown_payload_type",
    /// Received before, directly or as a retransmission.
    Duplicate = "duplicate",
    /// A retransmission of nothing, or of what nobody misses.
    RtxUnusable = "rtx_unusable",
    /// More than the endpoint may send.
    OverRate = "over_rate",
    /// A simulcast stream or a layer that is not forwarded now.
    LayerNotWanted = "layer_not_wanted",
    /// Not among the loudest speakers.
    NotLoudEnough = "not_loud_enough",
    /// No slot of the receiver shows this source.
    NoSlot = "no_slot",
    /// The slot has changed its source and waits for a picture it can begin with.
    NotAKeyFrame = "not_a_key_frame",
    /// The receiver's m-line has not agreed to this codec variant.
    CodecMismatch = "codec_mismatch",
    /// A late packet of what the slot showed before its last change.
    BeforeSwitch = "before_switch",
    /// The receiver has no path or no keys yet.
    ReceiverNotReady = "receiver_not_ready",
    /// The send ring has no room.
    SendRingFull = "send_ring_full",
    /// Another worker that holds a part of the conference is too far behind to take the packet.
    CascadeFull = "cascade_full",
    /// A packet from another worker, of a source that has ended or of which that worker has not spoken yet.
    CascadeUnknownSource = "cascade_unknown_source",
    /// A receiver asked again for a packet that the cache no longer holds.
    NotInCache = "not_in_cache",
    /// A receiver asked for a packet whose repair cannot have been lost yet: it was sent less than a round trip ago.
    AlreadyOnItsWay = "already_on_its_way",
    /// A receiver asked for more retransmissions than its share.
    RetransmissionLimit = "retransmission_limit",
    /// Lengths or types of the compound do not fit, or it holds too many packets.
    RtcpMalformed = "rtcp_malformed",
    /// RTCP about a stream that is not the sender's to speak about.
    RtcpUnknownSsrc = "rtcp_unknown_ssrc",
}

/// How many packets stopped, by reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCounters {
    /// Indexed by `DropReason as usize`.
    counts: [u64; DropReason::ALL.len()],
}

impl Default for DropCounters {
    fn default() -> Self {
        Self { counts: [0; DropReason::ALL.len()] }
    }
}

impl DropCounters {
    /// One more packet stopped.
    pub fn count(&mut self, reason: DropReason) {
        self.count_many(reason, 1);
    }

    /// `packets` more stopped for the same reason, or one packet did for so many receivers.
    pub fn count_many(&mut self, reason: DropReason, packets: u64) {
        self.counts[reason as usize] += packets;
    }

    /// How many stopped for `reason`.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.counts[reason as usize]
    }

    /// How many stopped at all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Every reason with its count, in declaration order.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    /// Adds another worker's counts.
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
    fn a_reason_indexes_its_own_place_in_all() {
        for (index, &reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason as usize, index, "{}", reason.as_str());
        }
    }

    #[test]
    fn counts_are_kept_apart_and_add_up() {
        let mut one = DropCounters::default();
        one.count(DropReason::SrtpBadTag);
        one.count_many(DropReason::NoSlot, 5);
        let mut two = one.clone();
        two.add(&one);
        assert_eq!((two.of(DropReason::SrtpBadTag), two.of(DropReason::NoSlot)), (2, 10));
        assert_eq!((two.of(DropReason::TooLarge), two.total()), (0, 12));
        assert_eq!(two.iter().map(|(_, count)| count).sum::<u64>(), two.total());
    }
}

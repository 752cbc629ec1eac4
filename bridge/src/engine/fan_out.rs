//! The one loop over receivers.

use std::time::Instant;

use slab::Slab;

use super::drop_reason::DropReason;
use super::effects::Effects;
use super::endpoint::Endpoint;
use super::packet::SharedPacket;
use super::slot::Outlet;
use super::source::Receiver;

/// Shows one packet to every slot that is filled with its source. True when some slot waits for a key frame.
pub(crate) fn fan_out(
    now: Instant,
    packet: &SharedPacket<'_>,
    receivers: &[Receiver],
    endpoints: &mut Slab<Endpoint>,
    fx: &mut Effects,
) -> bool {
    let mut is_waited_for = false;
    for receiver in receivers {
        // Invariant: a receiver's entry goes before its endpoint and its slot do.
        let endpoint = &mut endpoints[receiver.endpoint];
        let mut outlet = Outlet { now, down: &mut endpoint.down, fx };
        match endpoint.slots[receiver.slot].forward(packet, &mut outlet) {
            Ok(bytes) => {
                fx.counters.packets_sent += 1;
                fx.counters.bytes_sent += bytes as u64;
                endpoint.wake_reports(now, fx);
            }
            Err(reason) => {
                is_waited_for |= reason == DropReason::NotAKeyFrame;
                fx.drop(reason);
            }
        }
    }
    is_waited_for
}

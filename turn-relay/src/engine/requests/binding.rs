//! Binding (RFC 8489, 7.3.1): which address the client has, seen from here.

use std::time::Instant;

use wire::stun::{AttributeKind, Builder, Class, Message};

use super::{KNOWN, Refusal};
use crate::engine::drop_reason::DropReason;
use crate::engine::ports::ClientPath;
use crate::engine::relay::Relay;

impl Relay {
    /// Answers without credentials, and therefore within a budget.
    pub(super) fn handle_binding(&mut self, now: Instant, path: &ClientPath, message: &Message<'_>) {
        if !self.fixed.binding {
            self.drop(DropReason::BindingOff);
            return;
        }
        if !self.budgets.bindings.take(now, path.client.ip()) {
            self.drop(DropReason::ReplyBudget);
            return;
        }
        // 6.3.1: what must be understood and is not, is named in a 420.
        let unknown: Vec<AttributeKind> = message.unknown_required(&KNOWN).collect();
        // 7.3.1: XOR-MAPPED-ADDRESS, and nothing that only makes the reply longer.
        let reply = if unknown.is_empty() {
            Builder::answer(message, Class::Success)
                .xor_address(AttributeKind::XOR_MAPPED_ADDRESS, path.client)
        } else {
            Refusal::Unknown(unknown).write(message)
        };
        self.send_plain(*path, reply, message.has_fingerprint());
    }
}

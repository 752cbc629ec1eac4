//! One caller's whole life.

use std::future::Future;
use std::sync::Arc;

use super::handset::{Handset, Seat};
use super::ledger::Ledger;
use super::{Control, meeting, visit};
use crate::scenario::Entry;

/// Joins, attends and leaves once `leave` is done. It ends earlier only when the join has failed or the server has ended
/// it for good; `ledger` says why. With [`Entry::Signaling`] the phone is never used: [`super::NoMedia`] will do.
pub async fn attend<P: Handset>(
    control: Arc<Control>,
    seat: Seat,
    phone: P,
    ledger: Ledger,
    leave: impl Future<Output = ()> + Send,
) {
    // Boxed: a caller is one allocation, however many ways in there are.
    match seat.entry {
        Entry::Meeting | Entry::Signaling => {
            Box::pin(meeting::attend(control, seat, phone, ledger, leave)).await;
        }
        Entry::WhipWhep | Entry::Janus => {
            Box::pin(visit::attend(control, seat, phone, ledger, leave)).await;
        }
    }
}

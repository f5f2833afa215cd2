//! Where a test kills the process: before or after the transaction that records an event. Release builds have no such place.

use crate::graph::event::Event;

/// On which side of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// Ends the process as `kill -9` does, if the events have the one that `RELVEC_FAILPOINT` names: `before stage_finished executor`.
#[cfg(debug_assertions)]
pub(super) fn reach(side: Side, events: &[Event]) {
    use rustix::process::{Signal, getpid, kill_process};

    let Some(point) = crate::settings::failpoint() else {
        return;
    };
    let mut words = point.split(' ');
    let sides = match side {
        Side::Before => "before",
        Side::After => "after",
    };
    let (wanted, kind, stage) = (words.next(), words.next(), words.next());
    let named = |event: &Event| {
        let (of_kind, of_stage) = crate::store::kind_and_stage(event);
        Some(of_kind) == kind && of_stage == stage
    };
    if wanted == Some(sides) && events.iter().any(named) {
        let _ = kill_process(getpid(), Signal::KILL);
    }
}

#[cfg(not(debug_assertions))]
pub(super) const fn reach(_: Side, _: &[Event]) {}

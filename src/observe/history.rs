//! What has happened in this program so far, as far as it is still known.

use byron_supervisors::{Pid, exit_event, next_events};
use futures_util::FutureExt;

use super::model::{Event, Tree};
use super::render::Look;
use super::why::{Id, why};

/// All events that are left, the oldest first. They are copied a few at a time: whoever records the next one does not wait
/// for ten thousand of them.
pub(super) fn known_events() -> Vec<Event> {
    let (mut known, mut seq) = (Vec::new(), 0);
    while let Some(events) = next_events(seq).now_or_never() {
        seq += events.missed;
        for event in &events.events {
            seq = event.seq;
            known.push(Event::from(event));
        }
    }
    known
}

/// The story of the end of a process, for a person; `None` if nobody knows it any more.
pub fn story_of_end(pid: Pid, look: &Look) -> Option<String> {
    let end = exit_event(pid)?;
    let tree = Tree::now();
    let chain = why(&known_events(), Some(&tree), &Id::Event(end.seq)).ok()?;
    Some(chain.text(look, tree.ts))
}

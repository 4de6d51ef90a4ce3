//! What changes around the radios, as events of the moment.

use std::collections::BTreeMap;

use silbo_transports::bluetooth::{BluetoothSnapshot, BluetoothState};

use super::convert;
use super::events::now_ms;
use super::types::Event;

/// What a reader was told last.
#[derive(Debug, Default)]
pub(super) struct RadioNews {
    state: BluetoothState,
    /// Whether there is a link to each node in range.
    near: BTreeMap<[u8; 6], bool>,
}

impl RadioNews {
    /// What there is now is no news.
    pub(super) fn from(shown: &BluetoothSnapshot) -> Self {
        Self { state: shown.state.clone(), near: near(shown) }
    }

    /// The difference from what was told last.
    pub(super) fn changes(&mut self, shown: &BluetoothSnapshot) -> Vec<Event> {
        let mut events = Vec::new();
        if self.state != shown.state {
            self.state = shown.state.clone();
            let off = if let BluetoothState::Off(off) = &shown.state { Some(off) } else { None };
            events.push(Event {
                on: Some(shown.state == BluetoothState::On),
                why: off.map(|off| off.why.clone()),
                text: off.and_then(|off| convert::radio_hint(off.cause)).map(str::to_owned),
                ..event("mesh.radio")
            });
        }
        let now = near(shown);
        let before = std::mem::replace(&mut self.near, now.clone());
        for rid in before.keys().filter(|rid| !now.contains_key(*rid)) {
            events.push(Event { on: Some(false), linked: Some(false), ..neighbour(rid) });
        }
        for (rid, linked) in now.iter().filter(|(rid, linked)| before.get(*rid) != Some(*linked)) {
            events.push(Event { on: Some(true), linked: Some(*linked), ..neighbour(rid) });
        }
        events
    }
}

fn near(shown: &BluetoothSnapshot) -> BTreeMap<[u8; 6], bool> {
    shown.neighbours.iter().map(|neighbour| (neighbour.rid, neighbour.linked)).collect()
}

fn event(kind: &str) -> Event {
    Event { kind: kind.to_owned(), at: now_ms(), ..Event::default() }
}

fn neighbour(rid: &[u8; 6]) -> Event {
    Event { rid: Some(convert::rid(rid)), ..event("mesh.neighbour") }
}

#[cfg(test)]
mod tests {
    use silbo_transports::bluetooth::{Cause, Neighbour, Off};

    use super::*;

    fn shown(state: BluetoothState, near: &[(u8, bool)]) -> BluetoothSnapshot {
        let neighbour =
            |(rid, linked): &(u8, bool)| Neighbour { rid: [*rid; 6], rssi: None, heard_s: 0, linked: *linked };
        BluetoothSnapshot { state, neighbours: near.iter().map(neighbour).collect(), ..BluetoothSnapshot::default() }
    }

    #[test]
    fn only_what_changed_is_told_and_what_to_do_about_a_radio_that_is_off() {
        let mut news = RadioNews::from(&shown(BluetoothState::On, &[(1, false)]));
        assert_eq!(news.changes(&shown(BluetoothState::On, &[(1, false)])), []);
        let told = |events: Vec<Event>| {
            let one = |event: Event| (event.kind, event.rid.unwrap_or_default(), event.on, event.linked);
            events.into_iter().map(one).collect::<Vec<_>>()
        };
        let neighbour = |rid: &str, on, linked| ("mesh.neighbour".to_owned(), rid.repeat(6), Some(on), Some(linked));
        let linked = news.changes(&shown(BluetoothState::On, &[(1, true), (2, false)]));
        assert_eq!(told(linked), [neighbour("01", true, true), neighbour("02", true, false)]);
        let off = BluetoothState::Off(Off { cause: Cause::Switch, why: "switched off".to_owned() });
        let mut gone = news.changes(&shown(off, &[(2, false)]));
        assert!(gone.first().is_some_and(|event| event.text.as_deref().is_some_and(|hint| hint.contains("rfkill"))));
        let radio = gone.remove(0);
        assert_eq!(
            (radio.kind.as_str(), radio.on, radio.why.as_deref()),
            ("mesh.radio", Some(false), Some("switched off"))
        );
        assert_eq!(told(gone), [neighbour("01", false, false)]);
    }
}

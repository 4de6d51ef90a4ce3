//! Two devices have one Bluetooth connection, whoever dialled it, and it may carry a slot in each direction. The last
//! one that leaves ends it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How many slots, served or claimed, each connection carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Connections(Arc<Mutex<BTreeMap<[u8; 6], usize>>>);

/// One slot on a connection.
#[derive(Debug)]
pub(super) struct OnConnection {
    connections: Connections,
    device: [u8; 6],
}

impl Connections {
    /// A slot on the connection to this device.
    pub(super) fn enter(&self, device: [u8; 6]) -> OnConnection {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(device).or_default() += 1;
        OnConnection { connections: self.clone(), device }
    }

    /// Some slot uses the connection to this device.
    pub(super) fn used(&self, device: [u8; 6]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&device)
    }

    /// Slots on all connections.
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for OnConnection {
    fn drop(&mut self) {
        let mut counts = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_used_until_the_last_slot_on_it_is_left() {
        let connections = Connections::default();
        let (one, two, other) = (connections.enter([1; 6]), connections.enter([1; 6]), connections.enter([2; 6]));
        drop(one);
        assert!(connections.used([1; 6]));
        assert_eq!(connections.count(), 2);
        drop(two);
        assert!(!connections.used([1; 6]) && connections.used([2; 6]));
        drop(other);
    }
}

//! DHT records this node keeps for others: only those the validator accepts, newest sequence per key, bounded.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::PeerId;
use libp2p::kad::store::{Error, RecordStore};
use libp2p::kad::{ProviderRecord, Record, RecordKey};
use silbo_protocol::limits::DHT_VALUE_BYTES_MAX;

use super::settings::Validate;

/// Records kept: 16,384 × 1 KiB = 16 MiB.
const RECORDS_MAX: usize = 16_384;
/// Nobody's record lives longer without being published again.
pub(super) const RECORD_TTL: Duration = Duration::from_secs(48 * 3600);

/// The store behind Kademlia. Every way in goes through [`Records::put`], which validates.
pub(super) struct Records {
    validate: Validate,
    unix_s: fn() -> u64,
    local: PeerId,
    kept: BTreeMap<[u8; 32], Kept>,
}

struct Kept {
    record: Record,
    seq: u64,
    /// Ours to publish: never dropped for somebody else's.
    own: bool,
}

impl Records {
    pub(super) fn new(local: PeerId, validate: Validate, unix_s: fn() -> u64) -> Self {
        Self { validate, unix_s, local, kept: BTreeMap::new() }
    }

    /// The sequence number of a valid record of acceptable size.
    pub(super) fn judge(&self, key: &[u8], value: &[u8]) -> Option<([u8; 32], u64)> {
        let key: [u8; 32] = key.try_into().ok()?;
        if value.len() > DHT_VALUE_BYTES_MAX {
            return None;
        }
        (self.validate)(&key, value, (self.unix_s)()).map(|seq| (key, seq))
    }

    /// Frees a place by dropping the foreign record that expires first; false if all are our own.
    fn make_room(&mut self) -> bool {
        let foreign = self.kept.iter().filter(|(_, kept)| !kept.own);
        let first = foreign.min_by_key(|(_, kept)| kept.record.expires).map(|(key, _)| *key);
        first.is_some_and(|key| self.kept.remove(&key).is_some())
    }
}

impl RecordStore for Records {
    type RecordsIter<'a> = Box<dyn Iterator<Item = Cow<'a, Record>> + 'a>;
    type ProvidedIter<'a> = std::iter::Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &RecordKey) -> Option<Cow<'_, Record>> {
        let key: [u8; 32] = key.as_ref().try_into().ok()?;
        let kept = self.kept.get(&key)?;
        // Valid when it came, perhaps expired since: its own expiry is inside the value.
        self.judge(kept.record.key.as_ref(), &kept.record.value)?;
        (!kept.record.is_expired(Instant::now())).then_some(Cow::Borrowed(&kept.record))
    }

    fn put(&mut self, mut record: Record) -> Result<(), Error> {
        let Some((key, seq)) = self.judge(record.key.as_ref(), &record.value) else {
            return Err(Error::ValueTooLarge);
        };
        if self.kept.get(&key).is_some_and(|kept| kept.seq > seq) {
            return Err(Error::MaxRecords);
        }
        if self.kept.len() >= RECORDS_MAX && !self.kept.contains_key(&key) && !self.make_room() {
            return Err(Error::MaxRecords);
        }
        let latest = Instant::now().checked_add(RECORD_TTL);
        record.expires = match (record.expires, latest) {
            (Some(own), Some(latest)) => Some(own.min(latest)),
            (own, latest) => own.or(latest),
        };
        // Only our own puts carry our own key: Kademlia ignores foreign records that claim it.
        let own = record.publisher == Some(self.local);
        record.publisher = None; // the next to ask need not learn who stored it
        self.kept.insert(key, Kept { record, seq, own });
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) {
        if let Ok(key) = <[u8; 32]>::try_from(key.as_ref()) {
            self.kept.remove(&key);
        }
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        Box::new(self.kept.values().map(|kept| Cow::Borrowed(&kept.record)))
    }

    fn add_provider(&mut self, _: ProviderRecord) -> Result<(), Error> {
        Err(Error::MaxProvidedKeys) // provider records would say in public who is online
    }

    fn providers(&self, _: &RecordKey) -> Vec<ProviderRecord> {
        Vec::new()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        std::iter::empty()
    }

    fn remove_provider(&mut self, _: &RecordKey, _: &PeerId) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Valid: `[b'v', seq, first byte of the key, expiry hour]`.
    fn validate(key: &[u8; 32], value: &[u8], unix_s: u64) -> Option<u64> {
        match value {
            [b'v', seq, owner, expiry, ..] if owner == &key[0] && u64::from(*expiry) > unix_s => Some(u64::from(*seq)),
            _ => None,
        }
    }

    fn store() -> Records {
        Records::new(PeerId::random(), validate, || 100)
    }

    fn record(key: u8, value: &[u8]) -> Record {
        Record::new([key; 32].to_vec(), value.to_vec())
    }

    fn value(store: &Records, key: u8) -> Option<Vec<u8>> {
        store.get(&RecordKey::new(&[key; 32])).map(|record| record.value.clone())
    }

    #[test]
    fn t40_invalid_records_are_never_stored() {
        let mut store = store();
        for bad in [
            record(1, b""),
            record(1, &[b'x', 1, 1, 200]),
            record(1, &[b'v', 1, 2, 200]),
            record(1, &[b'v', 1, 1, 99]),
            record(1, &[&[b'v', 1, 1, 200][..], &[0; 65 * 1024]].concat()),
            Record::new(vec![1; 31], vec![b'v', 1, 1, 200]),
            Record::new(vec![1; 33], vec![b'v', 1, 1, 200]),
        ] {
            assert!(store.put(bad).is_err());
        }
        assert_eq!(store.records().count(), 0);
    }

    #[test]
    fn t40_an_older_sequence_never_replaces_a_newer_one() {
        let mut store = store();
        store.put(record(1, &[b'v', 5, 1, 200])).expect("valid");
        assert!(store.put(record(1, &[b'v', 4, 1, 200])).is_err());
        assert_eq!(value(&store, 1), Some(vec![b'v', 5, 1, 200]));
        store.put(record(1, &[b'v', 6, 1, 201])).expect("newer");
        assert_eq!(value(&store, 1), Some(vec![b'v', 6, 1, 201]));
    }

    #[test]
    fn t40_a_record_that_expired_meanwhile_is_not_returned() {
        let mut store = store();
        store.put(record(1, &[b'v', 5, 1, 200])).expect("valid");
        store.unix_s = || 200;
        assert_eq!(value(&store, 1), None);
    }

    #[test]
    fn t40_nobody_can_make_a_record_live_longer_than_two_days() {
        let mut store = store();
        let mut long = record(1, &[b'v', 5, 1, 200]);
        long.expires = Instant::now().checked_add(RECORD_TTL * 100);
        long.publisher = Some(PeerId::random());
        store.put(long).expect("valid");
        let kept = store.get(&RecordKey::new(&[1u8; 32])).expect("stored").into_owned();
        assert!(kept.expires.expect("bounded") <= Instant::now() + RECORD_TTL);
        assert_eq!(kept.publisher, None);
    }

    #[test]
    fn t43_the_store_is_bounded_keeps_our_own_and_refuses_provider_records() {
        let local = PeerId::random();
        let mut store = Records::new(local, |_, _, _| Some(1), || 0);
        let mut own = record(255, b"own");
        own.publisher = Some(local);
        own.expires = Some(Instant::now());
        store.put(own).expect("valid");
        for i in 0..=RECORDS_MAX as u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&i.to_be_bytes());
            store.put(Record::new(key.to_vec(), vec![0])).expect("room is made");
        }
        assert_eq!(store.records().count(), RECORDS_MAX);
        assert!(store.kept.contains_key(&[255; 32]));
        let provider = ProviderRecord::new([1u8; 32].to_vec(), PeerId::random(), Vec::new());
        assert!(store.add_provider(provider).is_err());
    }
}

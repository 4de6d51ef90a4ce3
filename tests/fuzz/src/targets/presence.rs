//! Records from the DHT, where everybody can write.

use prost::Message;
use silbo_protocol::crypto::hash;
use silbo_protocol::presence::{self, PresenceError};
use silbo_protocol::wire::proto;

use crate::fixture::{NOW_S, UNIX_DAY, fixture};

/// What a DHT node checks, under the key the record itself asks for and under a wrong one.
pub fn validate(data: &[u8]) {
    let claimed = proto::PresenceRecord::decode(data).map(|r| r.blinded_vk).unwrap_or_default();
    let key = hash("silbo/1/dht/presence", &[&claimed]);
    if presence::validate(&key, data, NOW_S).is_ok() {
        assert!(presence::validate(&[0; 32], data, NOW_S).is_err());
        assert!(presence::validate(&key, data, NOW_S + 3 * 86_400).is_err(), "everything expires");
    }
}

/// What a contact opens: the bytes as a record, and as the plaintext of a record the owner signed.
pub fn open(data: &[u8]) {
    let fixture = fixture();
    let public = fixture.presence.public();
    let _ = presence::open(&public, UNIX_DAY, data);
    let Ok(plain) = proto::PresencePlain::decode(data) else { return };
    match presence::publish(&fixture.presence, UNIX_DAY, 1, &plain, NOW_S + 60) {
        Ok((key, value)) => {
            assert_eq!(presence::lookup_key(&public, UNIX_DAY), Ok(key));
            assert!(presence::validate(&key, &value, NOW_S).is_ok());
            assert!(presence::open(&public, UNIX_DAY, &value).is_ok());
        }
        Err(error) => assert_eq!(error, PresenceError::TooManyAddresses),
    }
}

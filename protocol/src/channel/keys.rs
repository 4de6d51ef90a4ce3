//! Keys of a channel by the day. Each follows from the one before and from no later one: whoever is let in on a day reads
//! from that day on.
//!
//! ```text
//!   K(day) ──▶ K(day + 1) ──▶ …
//!      ├─ topic          recognises other readers on a link       ├─ owner record   seals where the owner is
//!      └─ key of a post  with the salt of the post                └─ slots 0 … 7    where readers say where they are
//! ```

use crate::chance::Chance;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::mac::mac_trunc;
use crate::crypto::{Secret, kdf};
use crate::limits::{CHANNEL_DAYS_MAX, CHANNEL_SLOTS};
use crate::presence::PresenceKeys;
use crate::wire::proto;

/// Bytes of a token that says on a link which channel is read.
pub const TOKEN_BYTES: usize = 8;
/// Bytes of the salt of a post.
pub const SALT_BYTES: usize = 16;
/// Bytes that say under which key a post was sealed.
pub const CHECK_BYTES: usize = 16;

/// The key of one day, and by it of all later days. `Debug` prints no bytes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayKey {
    day: u32,
    key: Secret<32>,
}

/// What seals one post.
pub(super) struct PostKey {
    pub(super) key: Secret<32>,
    pub(super) nonce: Secret<12>,
    /// Travels with the post: no second key gives it, so that no two readers read two texts.
    pub(super) check: [u8; CHECK_BYTES],
}

impl DayKey {
    /// The first key of a channel.
    pub fn generate(day: u32, chance: &mut Chance) -> Self {
        Self { day, key: Secret::random(chance) }
    }

    /// A key that was stored, or came in a link; `None` unless it has 32 bytes.
    pub fn read(day: u32, key: &[u8]) -> Option<Self> {
        Secret::read(key).map(|key| Self { day, key })
    }

    /// Days since 2024-01-01.
    pub fn day(&self) -> u32 {
        self.day
    }

    /// The bytes, for links and storage.
    pub fn expose(&self) -> &[u8; 32] {
        self.key.expose()
    }

    /// The key of a day; `None` for an earlier one, and for one that no channel reaches.
    pub fn on(&self, day: u32) -> Option<Self> {
        if day < self.day || day > CHANNEL_DAYS_MAX {
            return None;
        }
        let mut later = self.clone();
        while later.day < day {
            later.day += 1;
            later.key = kdf(later.key.expose(), &later.day.to_be_bytes(), "silbo/1/channel/next-day");
        }
        Some(later)
    }

    /// What `from` says to `to` in a Hello with this nonce if it reads the channel on this day.
    pub fn token(&self, from: &[u8], to: &[u8], nonce: &[u8]) -> [u8; TOKEN_BYTES] {
        let topic: Secret<32> = kdf(self.key.expose(), b"", "silbo/1/channel/topic");
        mac_trunc(topic.expose(), &[from, to, nonce])
    }

    pub(super) fn post_key(&self, salt: &[u8; SALT_BYTES]) -> PostKey {
        let (sealing, check) = kdf::<60>(self.key.expose(), salt, "silbo/1/channel/post").split::<44, CHECK_BYTES>();
        let (key, nonce) = sealing.split();
        PostKey { key, nonce, check: *check.expose() }
    }

    /// Keys under which the owner says on this day where it is.
    pub fn owner_presence(&self, owner: &SigningKey) -> PresenceKeys {
        PresenceKeys::of_parts(owner.clone(), self.owner_seal())
    }

    /// By which the others find that.
    pub fn owner_record(&self, owner: &VerifyingKey) -> proto::Presence {
        proto::Presence { blind_vk: owner.as_bytes().to_vec(), k_pres: self.owner_seal().expose().to_vec(), r#gen: 1 }
    }

    fn owner_seal(&self) -> Secret<32> {
        kdf(self.key.expose(), b"", "silbo/1/channel/owner-record")
    }

    /// Keys of one of the places where readers say on this day where they are. All readers have them: each can overwrite
    /// what another has put there. `None` for a place there is not.
    pub fn slot(&self, slot: u8) -> Option<PresenceKeys> {
        if slot >= CHANNEL_SLOTS {
            return None;
        }
        let (seed, seal) = kdf::<64>(self.key.expose(), &[slot], "silbo/1/channel/slot").split();
        Some(PresenceKeys::of_parts(SigningKey::from_seed(seed.expose()), seal))
    }
}

/// Keys of all days from the first one readable, the last one used at hand: posts mostly come in their order.
#[derive(Clone, Debug)]
pub struct DayKeys {
    first: DayKey,
    near: DayKey,
}

impl DayKeys {
    /// From a first day on.
    pub fn new(first: DayKey) -> Self {
        Self { near: first.clone(), first }
    }

    /// The key of the first readable day.
    pub fn first(&self) -> &DayKey {
        &self.first
    }

    /// The key of a day; `None` for one before the first.
    pub fn at(&mut self, day: u32) -> Option<DayKey> {
        let from = if self.near.day() <= day { &self.near } else { &self.first };
        self.near = from.on(day)?;
        Some(self.near.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first() -> DayKey {
        DayKey::generate(1_000, &mut Chance::from_seed([1; 32]))
    }

    #[test]
    fn a_day_leads_to_later_days_and_to_no_earlier_one() {
        let first = first();
        assert_eq!(first.on(1_010), first.on(1_004).and_then(|later| later.on(1_010)));
        assert_eq!(first.on(999), None);
        assert_eq!(first.on(CHANNEL_DAYS_MAX + 1), None);
        let mut keys = DayKeys::new(first.clone());
        for day in [1_000, 1_020, 1_003, 1_020, 1_021] {
            assert_eq!(keys.at(day), first.on(day));
        }
        assert_eq!(keys.at(3), None);
        assert_eq!(keys.at(1_001), first.on(1_001), "a refused day changes nothing");
    }

    #[test]
    fn a_token_is_good_for_one_day_one_direction_and_one_hello() {
        let key = first();
        let token = key.token(b"a", b"b", b"n");
        assert_ne!(token, key.token(b"b", b"a", b"n"));
        assert_ne!(token, key.token(b"a", b"b", b"m"));
        assert_ne!(Some(token), key.on(1_001).map(|next| next.token(b"a", b"b", b"n")));
    }

    #[test]
    fn places_of_readers_differ_and_are_bounded() {
        let key = first();
        let public = |slot| key.slot(slot).map(|keys| keys.public().blind_vk);
        assert_ne!(public(0), public(1));
        assert!(public(CHANNEL_SLOTS - 1).is_some() && public(CHANNEL_SLOTS).is_none());
        assert_ne!(public(0), key.on(1_001).and_then(|next| next.slot(0)).map(|keys| keys.public().blind_vk));
    }

    #[test]
    fn a_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", first()), "DayKey { day: 1000, key: Secret(..) }");
    }
}

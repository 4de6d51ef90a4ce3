//! One post of a channel.
//!
//! ```text
//!   hash      = H(channel, seq, prev, day, salt, check, ct)        prev: the hash of post seq − 1; zeros for post 0
//!   signature = by the owner, over the hash
//!   ct        = ChaCha20-Poly1305 of the padded `Plain`, under the key of the day and the salt; ad: channel, seq, prev, day
//! ```
//! A [`Post`] that was read has been verified. That it can be decrypted is another matter: a reader that was let in
//! later holds no key of earlier days.

use prost::Message;

use super::keys::{CHECK_BYTES, DayKey, PostKey, SALT_BYTES};
use crate::chance::Chance;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::hash::hash;
use crate::crypto::{aead, fields};
use crate::ids::{ChatId, MessageId};
use crate::limits::{CHANNEL_DAYS_MAX, CHANNEL_POST_BYTES_MAX, CHANNEL_SEQ_MAX};
use crate::time::UnixTime;
use crate::wire::padding::{PadClass, pad, unpad};
use crate::wire::proto;

const PURPOSE: &str = "silbo/1/sign/channel-post";
/// Bytes of an encoded post beside its padded text, at most: tag 16, seq 10, prev 34, day 4, salt 18, check 18,
/// signature 66, key and length of ct 5.
pub const POST_OVERHEAD: usize = 171;

/// Names a post, and everything before it.
pub type PostHash = [u8; 32];

/// Where a post stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number, from 0.
    pub seq: u64,
    /// The hash of the one before; zeros for the first.
    pub prev: PostHash,
    /// Days since 2024-01-01.
    pub day: u32,
}

/// A post that its owner has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    channel: ChatId,
    place: Place,
    salt: [u8; SALT_BYTES],
    check: [u8; CHECK_BYTES],
    sealed: Vec<u8>,
    signature: [u8; 64],
    hash: PostHash,
}

/// Why bytes are no post of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// Not a post at all, or out of its bounds.
    #[error("the bytes are no post")]
    Malformed,
    /// Not signed by the owner of the channel.
    #[error("the post is not signed by the owner of the channel")]
    Forged,
}

/// The text does not fit into a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too long for a post")]
pub struct TooLong;

impl Post {
    /// Seals and signs a text. `key` must be that of the day.
    ///
    /// # Errors
    /// [`TooLong`].
    pub fn write(
        owner: &SigningKey,
        channel: ChatId,
        key: &DayKey,
        place: Place,
        plain: &[u8],
        chance: &mut Chance,
    ) -> Result<Self, TooLong> {
        let padded = pad(PadClass::Rich, plain, POST_OVERHEAD).map_err(|_| TooLong)?;
        let salt = chance.bytes();
        let PostKey { key, nonce, check } = key.post_key(&salt);
        let sealed = aead::seal(&key, nonce.expose(), &associated(&channel, &place), &padded);
        let hash = hash_of(&channel, &place, &salt, &check, &sealed);
        let signature = owner.sign(PURPOSE, &[&hash]);
        let post = Self { channel, place, salt, check, sealed, signature, hash };
        if post.encode().len() > CHANNEL_POST_BYTES_MAX { Err(TooLong) } else { Ok(post) }
    }

    /// Reads a post from somebody who may be anybody.
    ///
    /// # Errors
    /// [`PostError`]. That it is of this channel is shown by the signature; what is malformed is so for any channel.
    pub fn read(channel: ChatId, owner: &VerifyingKey, bytes: &[u8]) -> Result<Self, PostError> {
        let post = Self::stored(channel, bytes).ok_or(PostError::Malformed)?;
        owner.verify(PURPOSE, &[&post.hash], &post.signature).map_err(|_| PostError::Forged)?;
        Ok(post)
    }

    /// Reads a post that was verified before it was stored.
    pub fn stored(channel: ChatId, bytes: &[u8]) -> Option<Self> {
        if bytes.len() > CHANNEL_POST_BYTES_MAX {
            return None;
        }
        let wire = proto::ChannelPost::decode(bytes).ok()?;
        let place = Place { seq: wire.seq, prev: wire.prev.try_into().ok()?, day: wire.day };
        let first_is_first = (place.seq == 0) == (place.prev == [0; 32]);
        if place.seq >= CHANNEL_SEQ_MAX || place.day > CHANNEL_DAYS_MAX || !first_is_first {
            return None;
        }
        let (salt, check) = (wire.salt.try_into().ok()?, wire.check.try_into().ok()?);
        let hash = hash_of(&channel, &place, &salt, &check, &wire.ct);
        Some(Self { channel, place, salt, check, sealed: wire.ct, signature: wire.sig.try_into().ok()?, hash })
    }

    /// The bytes that travel and are stored.
    pub fn encode(&self) -> Vec<u8> {
        let Self { place, salt, check, sealed, signature, .. } = self;
        proto::ChannelPost {
            seq: place.seq,
            prev: place.prev.to_vec(),
            day: place.day,
            ct: sealed.clone(),
            sig: signature.to_vec(),
            salt: salt.to_vec(),
            check: check.to_vec(),
        }
        .encode_to_vec()
    }

    /// Where it stands.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Names it; the next post names it so.
    pub fn hash(&self) -> PostHash {
        self.hash
    }

    /// What it says; `None` without the key of its day.
    pub fn open(&self, key: &DayKey) -> Option<Vec<u8>> {
        let PostKey { key, nonce, check } = key.post_key(&self.salt);
        if check != self.check {
            return None;
        }
        let padded = aead::open(&key, nonce.expose(), &associated(&self.channel, &self.place), &self.sealed).ok()?;
        unpad(&padded).map(<[u8]>::to_vec)
    }
}

/// The id of the text of a post: the time its author says, and what nobody but a post of this number in this channel has,
/// so that no channel can write under the id of a message of another conversation.
pub fn message_id(channel: &ChatId, seq: u64, at: UnixTime) -> MessageId {
    let mut id = [0; MessageId::LEN];
    let (time, mark) = id.split_at_mut(6);
    time.copy_from_slice(&at.0.to_be_bytes()[2..]);
    mark.copy_from_slice(&hash("silbo/1/channel/message-id", &[channel.as_bytes(), &seq.to_be_bytes(), time])[..6]);
    MessageId(id)
}

fn hash_of(
    channel: &ChatId,
    place: &Place,
    salt: &[u8; SALT_BYTES],
    check: &[u8; CHECK_BYTES],
    sealed: &[u8],
) -> PostHash {
    let Place { seq, prev, day } = place;
    let parts: [&[u8]; 7] = [channel.as_bytes(), &seq.to_be_bytes(), prev, &day.to_be_bytes(), salt, check, sealed];
    hash("silbo/1/channel/post", &parts)
}

fn associated(channel: &ChatId, place: &Place) -> Vec<u8> {
    fields(&[channel.as_bytes(), &place.seq.to_be_bytes(), &place.prev, &place.day.to_be_bytes()])
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::channel_id;
    use super::*;

    pub(crate) fn owner(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    pub(crate) fn first_key() -> DayKey {
        DayKey::read(700, &[7; 32]).expect("32 bytes")
    }

    fn post(seed: u8, place: Place, text: &[u8]) -> Post {
        let owner = owner(seed);
        let key = first_key().on(place.day).expect("a day after the first");
        let mut chance = Chance::from_seed([seed; 32]);
        Post::write(&owner, channel_id(&owner.verifying_key()), &key, place, text, &mut chance).expect("short")
    }

    const SECOND: Place = Place { seq: 1, prev: [5; 32], day: 701 };

    #[test]
    fn a_post_comes_back_whole_and_opens_with_the_key_of_its_day_alone() {
        let (post, owner) = (post(1, SECOND, b"hello"), owner(1).verifying_key());
        let channel = channel_id(&owner);
        let read = Post::read(channel, &owner, &post.encode()).expect("it is signed");
        assert_eq!(read, post);
        assert_eq!(Post::stored(channel, &post.encode()), Some(post));
        let key = |day| first_key().on(day).expect("a day");
        assert_eq!(read.open(&key(701)), Some(b"hello".to_vec()));
        assert_eq!(read.open(&key(700)), None);
        assert_eq!(read.open(&key(702)), None);
        assert!(read.encode().len() <= 512, "{} bytes", read.encode().len());
    }

    #[test]
    fn whatever_is_changed_in_a_post_it_is_a_forgery() {
        let (post, owner) = (post(1, SECOND, b"hello"), owner(1).verifying_key());
        let channel = channel_id(&owner);
        let forge = |change: &dyn Fn(&mut proto::ChannelPost)| {
            let mut wire = proto::ChannelPost::decode(post.encode().as_slice()).expect("a post");
            change(&mut wire);
            Post::read(channel, &owner, &wire.encode_to_vec()).expect_err("it was changed")
        };
        assert_eq!(forge(&|wire| wire.seq = 2), PostError::Forged);
        assert_eq!(forge(&|wire| wire.prev[0] ^= 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.day += 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.salt[0] ^= 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.check[0] ^= 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.ct[0] ^= 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.sig[0] ^= 1), PostError::Forged);
        assert_eq!(forge(&|wire| wire.seq = 0), PostError::Malformed, "the first follows none");
        assert_eq!(forge(&|wire| wire.prev = vec![0; 32]), PostError::Malformed, "the second follows one");
        assert_eq!(forge(&|wire| wire.seq = CHANNEL_SEQ_MAX), PostError::Malformed);
        assert_eq!(forge(&|wire| wire.day = CHANNEL_DAYS_MAX + 1), PostError::Malformed);
        assert_eq!(forge(&|wire| wire.sig.truncate(63)), PostError::Malformed);
        assert_eq!(forge(&|wire| wire.ct = vec![0; CHANNEL_POST_BYTES_MAX]), PostError::Malformed);
        assert_eq!(
            Post::read(channel, &super::tests::owner(2).verifying_key(), &post.encode()),
            Err(PostError::Forged)
        );
        assert_eq!(Post::read(ChatId([9; 16]), &owner, &post.encode()), Err(PostError::Forged), "of another channel");
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused() {
        let owner = owner(1);
        let write = |text: &[u8]| {
            let (channel, mut chance) = (channel_id(&owner.verifying_key()), Chance::from_seed([1; 32]));
            let place = Place { seq: 0, prev: [0; 32], day: 700 };
            Post::write(&owner, channel, &first_key(), place, text, &mut chance)
        };
        let largest = vec![7; CHANNEL_POST_BYTES_MAX - POST_OVERHEAD - 1];
        assert!(write(&largest).is_ok_and(|post| post.encode().len() <= CHANNEL_POST_BYTES_MAX));
        assert_eq!(write(&[&largest[..], &[7]].concat()), Err(TooLong));
    }

    #[test]
    fn no_two_posts_have_texts_of_one_id() {
        let at = UnixTime(1_800_000_000_000);
        let id = message_id(&ChatId([1; 16]), 5, at);
        assert_ne!(id, message_id(&ChatId([2; 16]), 5, at));
        assert_ne!(id, message_id(&ChatId([1; 16]), 6, at));
        assert!(id < message_id(&ChatId([1; 16]), 6, at.after_ms(1)), "ids sort by time");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            let owner = owner(1).verifying_key();
            prop_assert!(Post::read(channel_id(&owner), &owner, &bytes).is_err());
        }
    }
}

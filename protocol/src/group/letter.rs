//! One group message as an envelope.
//!
//! ```text
//!   envelope = fixed 4 | tag 12 | [extensions] | salt 16 | ChaCha20-Poly1305 of the padded inside
//!   inside   = length of the header 1 | header | signature 64 | body
//!   header   = GroupHeader { flags, lamport, parents }
//! ```
//! The tag names epoch, sender and number, so none of them travels. Every member has the keys of every chain; that a
//! letter is of its sender is shown by the signature inside, over group, epoch, sender, number, header and a salted
//! hash of the body. It stays valid when the letter is encrypted anew in a history for newcomers. The salt also goes
//! into the message key, so that a state restored from a backup does not use a key twice (threats C4).

use prost::Message as _;

use super::chain::{Chain, ChainError, Found};
use crate::chance::Chance;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::hash::trunc;
use crate::crypto::{Secret, aead, fields, hash, kdf};
use crate::ids::{EpochId, GroupDevice, GroupId, LetterId, Tag};
use crate::limits::LETTER_PARENTS_MAX;
use crate::wire::envelope::{ENVELOPE_FIXED_BYTES, Envelope, EnvelopeHead};
use crate::wire::padding::{PadClass, pad, unpad};
use crate::wire::proto;

const SALT_BYTES: usize = 16;
const SIGNATURE_BYTES: usize = 64;
/// Bytes of a letter id by which another letter names it.
pub const PARENT_BYTES: usize = 6;
/// Bytes an envelope without extensions is longer than the padded inside.
pub const LETTER_OVERHEAD: usize = ENVELOPE_FIXED_BYTES + SALT_BYTES + aead::TAG_BYTES;
const PURPOSE: &str = "silbo/1/sign/group-letter";

/// Who sends, and in which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The group.
    pub group: GroupId,
    /// The epoch.
    pub epoch: EpochId,
    /// The device whose chain it is.
    pub sender: GroupDevice,
}

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// One more than the highest of the parents.
    pub lamport: u64,
    /// Beginnings of the ids of the letters it follows; sorted, no duplicates, at most three.
    pub parents: Vec<[u8; PARENT_BYTES]>,
    /// The content.
    pub body: Vec<u8>,
}

/// What carriers see of an envelope beside its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover<'a> {
    /// The first four bytes.
    pub head: EnvelopeHead,
    /// As in [`Envelope::ext`](crate::wire::envelope::Envelope), empty without.
    pub extensions: &'a [u8],
    /// Which sizes it may have.
    pub class: PadClass,
}

/// A letter whose sender has been verified, with all that is needed to show it to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Names it.
    pub id: LetterId,
    /// Who sent it, and in which epoch.
    pub origin: Origin,
    /// Its number in the chain.
    pub n: u32,
    /// Where it stands among the others.
    pub lamport: u64,
    /// The letters it follows.
    pub parents: Vec<[u8; PARENT_BYTES]>,
    /// The content.
    pub body: Vec<u8>,
    /// The header as it travelled.
    pub header: Vec<u8>,
    /// The salt of the hash of the body.
    pub salt: [u8; SALT_BYTES],
    /// The signature of the sender's key for this group.
    pub signature: [u8; SIGNATURE_BYTES],
}

/// A sealed letter. The caller stores it together with the moved chain, then sends; a retry sends these bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLetter {
    /// Names the letter.
    pub id: LetterId,
    /// The tag of its envelope.
    pub tag: Tag,
    /// Its number in the chain.
    pub n: u32,
    /// The whole envelope.
    pub envelope: Vec<u8>,
    /// Replaces the chain.
    pub chain: Chain,
    /// A hash of key and nonce, so that tests can count reuse.
    pub key_id: [u8; 16],
    /// The letter itself, to be shown to somebody else later.
    pub letter: Letter,
}

/// Why a letter was not sealed. The chain is as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealLetterError {
    /// Parents unsorted, doubled or too many, or extensions that do not fit the head.
    #[error("the draft is malformed")]
    Malformed,
    /// The envelope would exceed `limits::ENVELOPE_BYTES_MAX`.
    #[error("the letter is too long for one envelope")]
    TooLong,
    /// The chain is at its end.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// Why an envelope was not opened. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenLetterError {
    /// Not an envelope.
    #[error("the bytes are no envelope")]
    Malformed,
    /// The tag is not the one of this place.
    #[error("the tag does not belong to this place")]
    UnknownTag,
    /// It does not verify: changed on the way, or of another group, epoch, sender or number.
    #[error("the letter does not verify")]
    Rejected,
    /// A member sealed it, and not the one whose chain it is on.
    #[error("the letter is not signed by the owner of its chain")]
    Forged,
}

/// Seals a draft as the next letter of `chain`, which is the sender's own.
///
/// # Errors
/// [`SealLetterError`].
pub fn seal(
    origin: &Origin,
    chain: &Chain,
    signer: &SigningKey,
    cover: &Cover<'_>,
    draft: &Draft,
    chance: &mut Chance,
) -> Result<SealedLetter, SealLetterError> {
    let Cover { head, extensions, class } = *cover;
    let header = header_bytes(draft).ok_or(SealLetterError::Malformed)?;
    let n = chain.next();
    let tag = chain.tag(n);
    let reached = chain.reach(n)?;
    let salt: [u8; SALT_BYTES] = chance.bytes();
    let said = Said::new(origin, n, &header, &salt, &draft.body);
    let signature = signer.sign(PURPOSE, &said.fields());

    let length = u8::try_from(header.len()).map_err(|_| SealLetterError::Malformed)?;
    let inside = [&[length][..], &header, &signature, &draft.body].concat();
    let padded = pad(class, &inside, LETTER_OVERHEAD + extensions.len()).map_err(|_| SealLetterError::TooLong)?;
    let outside = [&head.with_tag(&tag)[..], extensions].concat();
    let (key, nonce) = letter_key(&reached.message_key, &salt);
    let body = aead::seal(&key, nonce.expose(), &said.associated(&outside), &padded);
    let envelope = [&outside[..], &salt, &body].concat();
    let read_back = Envelope::parse(&envelope).map_err(|_| SealLetterError::Malformed)?;
    if read_back.ext != extensions {
        return Err(SealLetterError::Malformed);
    }
    let key_id = trunc(&hash("silbo/1/keyid", &[key.expose(), nonce.expose()]));
    let letter = Letter {
        id: said.id(),
        origin: *origin,
        n,
        lamport: draft.lamport,
        parents: draft.parents.clone(),
        body: draft.body.clone(),
        header: header.clone(),
        salt,
        signature,
    };
    Ok(SealedLetter { id: said.id(), tag, n, envelope, chain: reached.chain, key_id, letter })
}

/// Opens the envelope at the place that `found` has the key of. The caller commits `found` with what it stores of the
/// letter. `sender_key` is the key of the owner of the chain for this group.
///
/// # Errors
/// [`OpenLetterError`].
pub fn open(
    origin: &Origin,
    found: &Found,
    sender_key: &VerifyingKey,
    envelope: &[u8],
) -> Result<Letter, OpenLetterError> {
    let parts = Envelope::parse(envelope).map_err(|_| OpenLetterError::Malformed)?;
    if parts.tag != found.tag || origin.epoch != found.place.epoch {
        return Err(OpenLetterError::UnknownTag);
    }
    let (salt, body) = parts.sealed.split_first_chunk::<SALT_BYTES>().ok_or(OpenLetterError::Malformed)?;
    let (outside, _) =
        envelope.split_at_checked(ENVELOPE_FIXED_BYTES + parts.ext.len()).ok_or(OpenLetterError::Malformed)?;
    let n = found.place.n;
    let (key, nonce) = letter_key(&found.message_key, salt);
    let sealed_by = Said::new(origin, n, &[], salt, &[]);
    let padded = aead::open(&key, nonce.expose(), &sealed_by.associated(outside), body)
        .map_err(|_| OpenLetterError::Rejected)?;
    // From here on it is the work of a member; whose, the signature tells.
    read_inside(origin, n, *salt, &padded, sender_key).ok_or(OpenLetterError::Forged)
}

/// A letter as its parts say that it was; nothing is known of its author before [`verify_again`]. `None` if the header
/// does not decode.
pub fn put_together(
    origin: Origin,
    n: u32,
    header: Vec<u8>,
    salt: [u8; SALT_BYTES],
    signature: [u8; SIGNATURE_BYTES],
    body: Vec<u8>,
) -> Option<Letter> {
    let (lamport, parents) = read_header(&header)?;
    let id = Said::new(&origin, n, &header, &salt, &body).id();
    Some(Letter { id, origin, n, lamport, parents, body, header, salt, signature })
}

/// Verifies a letter that came in a history instead of an envelope; `false` if its sender did not write it.
pub fn verify_again(letter: &Letter, sender_key: &VerifyingKey) -> bool {
    let said = Said::new(&letter.origin, letter.n, &letter.header, &letter.salt, &letter.body);
    let Some((lamport, parents)) = read_header(&letter.header) else {
        return false;
    };
    said.id() == letter.id
        && lamport == letter.lamport
        && parents == letter.parents
        && sender_key.verify(PURPOSE, &said.fields(), &letter.signature).is_ok()
}

fn read_inside(
    origin: &Origin,
    n: u32,
    salt: [u8; SALT_BYTES],
    padded: &[u8],
    sender_key: &VerifyingKey,
) -> Option<Letter> {
    let (length, rest) = unpad(padded)?.split_first()?;
    let (header, rest) = rest.split_at_checked(usize::from(*length))?;
    let (signature, body) = rest.split_first_chunk::<SIGNATURE_BYTES>()?;
    let (lamport, parents) = read_header(header)?;
    let said = Said::new(origin, n, header, &salt, body);
    sender_key.verify(PURPOSE, &said.fields(), signature).ok()?;
    Some(Letter {
        id: said.id(),
        origin: *origin,
        n,
        lamport,
        parents,
        body: body.to_vec(),
        header: header.to_vec(),
        salt,
        signature: *signature,
    })
}

fn header_bytes(draft: &Draft) -> Option<Vec<u8>> {
    let sorted = draft.parents.is_sorted_by(|a, b| a < b) && draft.parents.len() <= LETTER_PARENTS_MAX;
    let header = proto::GroupHeader { flags: 0, lamport: draft.lamport, parents6: draft.parents.concat() };
    sorted.then(|| header.encode_to_vec())
}

/// Lamport number and parents. What later versions add is signed and otherwise ignored.
fn read_header(header: &[u8]) -> Option<(u64, Vec<[u8; PARENT_BYTES]>)> {
    let header = proto::GroupHeader::decode(header).ok()?;
    let (parents, rest) = header.parents6.as_chunks::<PARENT_BYTES>();
    let sorted = parents.is_sorted_by(|a, b| a < b) && parents.len() <= LETTER_PARENTS_MAX && rest.is_empty();
    sorted.then(|| (header.lamport, parents.to_vec()))
}

/// What a signature stands for.
struct Said<'a> {
    origin: &'a Origin,
    sender: [u8; GroupDevice::LEN],
    n: [u8; 4],
    header: &'a [u8],
    salted: [u8; 32],
}

impl<'a> Said<'a> {
    fn new(origin: &'a Origin, n: u32, header: &'a [u8], salt: &[u8], body: &[u8]) -> Self {
        let salted = hash("silbo/1/group/said", &[salt, body]);
        Self { origin, sender: origin.sender.to_bytes(), n: n.to_be_bytes(), header, salted }
    }

    fn fields(&self) -> [&[u8]; 6] {
        let Origin { group, epoch, .. } = self.origin;
        [group.as_bytes(), epoch.as_bytes(), &self.sender, &self.n, self.header, &self.salted]
    }

    fn id(&self) -> LetterId {
        LetterId(trunc(&hash("silbo/1/group/letter-id", &self.fields())))
    }

    /// What the seal covers beside the inside: where the letter stands, and what carriers see of it.
    fn associated(&self, outside: &[u8]) -> Vec<u8> {
        let Origin { group, epoch, .. } = self.origin;
        fields(&[group.as_bytes(), epoch.as_bytes(), &self.sender, &self.n, outside])
    }
}

/// Key and nonce of one letter.
fn letter_key(message_key: &Secret<32>, salt: &[u8; SALT_BYTES]) -> (Secret<32>, Secret<12>) {
    kdf::<44>(message_key.expose(), salt, "silbo/1/group/letter").split()
}

//! Mail in a bag: what an encounter would hand over, written into a file or a text and read in elsewhere.

use super::couriers::Item;
use super::turn::Turn;
use super::{Answer, Engine};
use crate::carry::store::Pool;
use crate::ids::ChatId;
use crate::limits::{BAG_BYTES_MAX, BAG_BYTES_MIN};
use crate::step::{BagView, Reply, RequestError};
use crate::store::StoreError;
use crate::wire::bag::Bag;
use crate::wire::envelope::Envelope;

/// Bytes of a bag without anything in it, at most.
const BAG_OVERHEAD: usize = 64;
/// What a bag holds beside its envelopes, at most, each.
const PARCEL_OVERHEAD: usize = 16;
const VACCINE_BYTES: usize = 18;

impl Engine {
    /// Fills a bag with own mail (all, or to one contact) and, unless it is for one contact, with what is carried for
    /// others. It counts as one copy of each. Own mail that nobody has yet comes first; then a bag goes on where the one
    /// before it was full, so that several small ones hold all there is before they repeat anything.
    pub(super) fn pack_bag(
        &mut self,
        chat: Option<ChatId>,
        bytes_max: usize,
        turn: &mut Turn,
    ) -> Result<Answer, StoreError> {
        if !(BAG_BYTES_MIN..=BAG_BYTES_MAX).contains(&bytes_max) {
            let why = format!("from {BAG_BYTES_MIN} to {BAG_BYTES_MAX} bytes");
            return Ok(Err(RequestError::Invalid { field: "maxBytes", why }));
        }
        if chat.is_some_and(|chat| !self.contacts.contains_key(&chat)) {
            return Ok(Err(RequestError::NotFound("contact")));
        }
        let mut items: Vec<(Item, usize)> = Vec::new();
        for of in self.outbox.chats() {
            if chat.is_none_or(|chat| chat == of) {
                let waiting = self.waiting_mail(&of);
                items.extend(waiting.into_iter().map(|(seq, size)| (Item::Own(of, seq), size)));
            }
        }
        if chat.is_none() {
            let carried = self.carried.copies().filter(|(_, c)| c.expires_at > turn.now.unix);
            items.extend(carried.map(|(cid, copy)| (Item::Copy(*cid), copy.size as usize)));
        }
        items.sort_unstable_by_key(|(item, _)| *item);
        let from = self.bag_from.map_or(0, |from| items.partition_point(|(item, _)| *item < from));
        items.rotate_left(from);
        // Stable: both parts stay in turn.
        items.sort_by_key(|(item, _)| !self.is_new_mail(item));
        let (mut bag, mut bytes, mut left) = (Bag::default(), BAG_OVERHEAD, 0);
        let (mut packed_own, mut full_at) = (0, None);
        for (item, size) in items {
            let size = size + PARCEL_OVERHEAD;
            if full_at.is_some() || bytes + size > bytes_max {
                left += 1;
                // What fits into no bag of this size must not keep the rest out.
                full_at = full_at.or(Some(item).filter(|_| BAG_OVERHEAD + size <= bytes_max));
                continue;
            }
            if let Some(parcel) = self.parcel(item, turn)? {
                bytes += parcel.envelope.len() + PARCEL_OVERHEAD;
                packed_own += u32::from(matches!(item, Item::Own(..)));
                bag.parcels.push(parcel);
            }
        }
        self.bag_from = full_at.or(self.bag_from);
        let room = bytes_max.saturating_sub(bytes) / VACCINE_BYTES;
        bag.vaccines = self.wire_vaccines(room);
        let carried = u32::try_from(bag.parcels.len()).unwrap_or(u32::MAX).saturating_sub(packed_own);
        let vaccines = u32::try_from(bag.vaccines.len()).unwrap_or(u32::MAX);
        let view = BagView { own: packed_own, carried, vaccines, refused: left, for_me: 0 };
        Ok(Ok(Reply::BagPacked { bag: bag.encode(), text: bag.text(), view }))
    }

    /// Own mail that was handed to nobody.
    fn is_new_mail(&self, item: &Item) -> bool {
        matches!(item, Item::Own(chat, seq) if self.outbox.flight(chat, *seq).is_some_and(|flight| flight.sprayed == 0))
    }

    /// Takes everything out of a bag, as an encounter would; twice does no harm.
    pub(super) fn open_bag(&mut self, bytes: &[u8], turn: &mut Turn) -> Result<Answer, StoreError> {
        let bag = match Bag::decode(bytes) {
            Ok(bag) => bag,
            Err(problem) => return Ok(Err(RequestError::Invalid { field: "bag", why: problem.to_string() })),
        };
        let mut view = BagView::default();
        for vaccine in &bag.vaccines {
            self.vaccine_arrived(vaccine, None, turn)?;
            view.vaccines += 1;
        }
        for parcel in &bag.parcels {
            let Ok(envelope) = Envelope::parse(&parcel.envelope) else {
                view.refused += 1;
                continue;
            };
            let (mine, kept) = self.take_in(parcel, &envelope.tag, Pool::KNOWN, None, turn)?;
            view.for_me += u32::from(mine);
            match kept {
                Ok(()) => view.carried += u32::from(!mine),
                Err(_) => view.refused += u32::from(!mine),
            }
        }
        Ok(Ok(Reply::BagOpened(view)))
    }
}

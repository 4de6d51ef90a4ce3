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

/// What a bag holds beside its envelopes, at most, each.
const PARCEL_OVERHEAD: usize = 16;
const VACCINE_BYTES: usize = 18;

impl Engine {
    /// Fills a bag with own mail (all, or to one contact) and, unless it is for one contact, with what is carried for
    /// others. It counts as one copy of each.
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
        let own = items.len();
        if chat.is_none() {
            let carried = self.carried.copies().filter(|(_, c)| c.expires_at > turn.now.unix);
            items.extend(carried.map(|(cid, copy)| (Item::Copy(*cid), copy.size as usize)));
        }
        let (mut bag, mut bytes, mut left) = (Bag::default(), 64, 0);
        let mut packed_own = 0;
        for (place, (item, size)) in items.into_iter().enumerate() {
            if bytes + size + PARCEL_OVERHEAD > bytes_max {
                left += 1;
                continue;
            }
            if let Some(parcel) = self.parcel(item, turn)? {
                bytes += parcel.envelope.len() + PARCEL_OVERHEAD;
                packed_own += u32::from(place < own);
                bag.parcels.push(parcel);
            }
        }
        let room = bytes_max.saturating_sub(bytes) / VACCINE_BYTES;
        bag.vaccines = self.wire_vaccines(room);
        let carried = u32::try_from(bag.parcels.len()).unwrap_or(u32::MAX).saturating_sub(packed_own);
        let vaccines = u32::try_from(bag.vaccines.len()).unwrap_or(u32::MAX);
        let view = BagView { own: packed_own, carried, vaccines, refused: left, for_me: 0 };
        Ok(Ok(Reply::BagPacked { bag: bag.encode(), text: bag.text(), view }))
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

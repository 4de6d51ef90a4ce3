//! Cards of followed invitations, asked for by radio: whoever is near may be the one who has made the invitation.
//!
//! A radio peer is nobody known, so the name of the card is not said. What is said instead depends on the keys of the
//! link: only a holder of the invitation sees what is meant, and on the next link it is something else.

use super::Engine;
use super::turn::Turn;
use crate::crypto::mac::{mac_fields, mac_trunc};
use crate::ids::{BlobId, ChatId, LinkId, PeerKey};
use crate::input::Route;
use crate::limits::RADIO_CARDS_MAX;
use crate::wire::frame::Frame;
use crate::wire::invite::{InviteCode, InviteKeys};
use crate::wire::proto;

/// What a card is called on one radio link.
fn radio_name(keys: &InviteKeys, asker: &PeerKey, asked: &PeerKey) -> BlobId {
    BlobId(mac_trunc(keys.request.expose(), &[b"silbo/1/radio-card", &asker.0, &asked.0]))
}

impl Engine {
    /// A radio link came up: the cards that are wanted are asked for, a bounded number.
    pub(super) fn ask_by_radio(&mut self, link: LinkId, turn: &mut Turn) {
        let wanted = self.contacts.keys().copied().filter(|chat| self.wanted_card(chat).is_some());
        for chat in wanted.take(RADIO_CARDS_MAX).collect::<Vec<_>>() {
            self.ask_card_by_radio(&chat, link, turn);
        }
    }

    /// An invitation was followed: everybody near is asked for its card.
    pub(super) fn ask_all_radios(&mut self, chat: ChatId, turn: &mut Turn) {
        let near = self.links.iter().filter(|(_, link)| link.route == Route::Radio && link.chat.is_none());
        for link in near.map(|(link, _)| *link).collect::<Vec<_>>() {
            self.ask_card_by_radio(&chat, link, turn);
        }
    }

    fn ask_card_by_radio(&mut self, chat: &ChatId, link: LinkId, turn: &mut Turn) {
        let (Some(code), Some(state)) = (self.wanted_card(chat), self.links.get(&link)) else { return };
        let keys = code.keys();
        let name = radio_name(&keys, &state.local, &state.peer).0.to_vec();
        let mac = mac_fields(keys.request.expose(), &[&name]).to_vec();
        turn.frame(link, &Frame::CardReq(proto::CardReq { blob_id: name, mac }));
    }

    /// Whether the other end of a radio link has asked for the card of an invitation with these keys.
    pub(super) fn asked_by_radio(&self, keys: &InviteKeys, name: &[u8], link: LinkId) -> bool {
        let radio = self.links.get(&link).filter(|state| state.route == Route::Radio);
        radio.is_some_and(|state| radio_name(keys, &state.peer, &state.local).0 == name)
    }

    /// The wanted card that a radio link answers with, if it is one.
    pub(super) fn wanted_by_radio(&self, name: &[u8], link: LinkId) -> Option<(ChatId, InviteCode)> {
        let state = self.links.get(&link).filter(|state| state.route == Route::Radio)?;
        self.contacts.keys().copied().find_map(|chat| {
            let code = self.wanted_card(&chat)?;
            (radio_name(&code.keys(), &state.local, &state.peer).0 == name).then_some((chat, code))
        })
    }
}

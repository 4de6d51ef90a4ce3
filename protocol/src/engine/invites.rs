//! Invitations: the secret in a link, the sealed contact card behind it, and who holds the card for us.

use super::account::hint;
use super::groups::joining::Destination;
use super::records::state::InviteRecord;
use super::turn::Turn;
use super::{Answer, Engine, TagOwner, Waiting};
use crate::crypto::ed25519::SigningKey;
use crate::identity::card::{self, CardParts};
use crate::ids::{ChatId, InviteId, LinkId, OperationId, PeerKey, Tag};
use crate::input::{InviteKind, RequestId};
use crate::limits::{INVITES_MAX, PREKEY_KEEP_MS};
use crate::session::{OwnPrekeys, first_contact};
use crate::step::{InviteView, Reply, RequestError};
use crate::store::{StoreError, Table};
use crate::time::{DAY_MS, MINUTE_MS, SECOND_MS, UnixTime};
use crate::wire::frame::Frame;
use crate::wire::invite::{Hint, InviteCode, InviteKeys};
use crate::wire::proto;

/// How long the reply to a new invitation waits for relays to confirm that they hold its card.
const CARD_WAIT_MS: u64 = 5 * SECOND_MS;
/// First-contact tags registered for a one-time invite: its one requester needs one and may be repeated by a reset.
const ONE_TIME_TAGS: u32 = 4;
/// First-contact slots of a reusable address: squatters must fill them all.
const REUSABLE_TAGS: u32 = 1_024;

/// An invitation, decoded.
pub(super) struct Invite {
    pub(super) rec: InviteRecord,
    pub(super) id: InviteId,
    pub(super) secret: [u8; 16],
    pub(super) keys: InviteKeys,
    pub(super) prekeys: OwnPrekeys,
    /// Owns the card at relays; independent of the secret, so that nobody who is invited can replace the card.
    blob_owner: SigningKey,
}

impl Invite {
    pub(super) fn read(rec: InviteRecord) -> Option<Self> {
        let secret: [u8; 16] = rec.secret.as_slice().try_into().ok()?;
        let prekeys = OwnPrekeys::decode(&rec.prekeys)?;
        let blob_owner = SigningKey::read(&rec.blob_seed)?;
        Some(Self { id: invite_id(&secret), secret, keys: InviteKeys::derive(&secret), prekeys, blob_owner, rec })
    }

    pub(super) fn kind(&self) -> InviteKind {
        if self.rec.kind == 0 { InviteKind::OneTime } else { InviteKind::Reusable }
    }

    /// True while somebody may still use it.
    pub(super) fn open(&self, now: UnixTime) -> bool {
        !self.rec.revoked && !self.used_up() && self.rec.expires_at > now.0
    }

    /// The group it leads into.
    pub(super) fn group(&self) -> Option<ChatId> {
        ChatId::read(&self.rec.group)
    }

    fn used_up(&self) -> bool {
        self.kind() == InviteKind::OneTime && self.rec.used > 0
    }

    pub(super) fn view(&self) -> InviteView {
        InviteView {
            id: self.id,
            kind: self.kind(),
            link: self.rec.link.clone(),
            qr: self.rec.qr.clone(),
            expires_at: UnixTime(self.rec.expires_at),
            used: self.rec.used,
            held_by_relays: u32::try_from(self.rec.held_by.len()).unwrap_or(u32::MAX),
        }
    }
}

/// An invitation's name on this device.
pub(super) fn invite_id(secret: &[u8; 16]) -> InviteId {
    InviteId(crate::crypto::hash::trunc(&crate::crypto::hash::hash("silbo/1/invite-id", &[secret])))
}

pub(super) fn check_ttl(ttl_ms: u64) -> Result<(), RequestError> {
    match (MINUTE_MS..=365 * DAY_MS).contains(&ttl_ms) {
        true => Ok(()),
        false => Err(RequestError::Invalid { field: "ttl", why: "from 1 minute to 365 days".to_owned() }),
    }
}

impl Engine {
    /// Makes an invitation. The reply waits, for a few seconds, until connected relays hold the card: a link that
    /// is handed over before that would not work while this node is off.
    pub(super) fn invite_create(
        &mut self,
        request: RequestId,
        kind: InviteKind,
        ttl_ms: u64,
        into: Option<Destination>,
        turn: &mut Turn,
    ) -> Result<Option<Answer>, StoreError> {
        if let Err(error) = check_ttl(ttl_ms) {
            return Ok(Some(Err(error)));
        }
        if self.invites.len() >= INVITES_MAX {
            return Ok(Some(Err(RequestError::Limit("invitations: revoke some"))));
        }
        let secret: [u8; 16] = into.map_or_else(|| self.chance.bytes(), |into| into.secret);
        let expires_at = turn.now.unix.after_ms(ttl_ms);
        let Some(own) = &mut self.own else { return Ok(Some(Err(RequestError::NoAccount))) };
        let prekey_id = own.next_prekey_id();
        let one_time_id = (kind == InviteKind::OneTime).then_some(prekey_id);
        let prekeys = OwnPrekeys::generate(prekey_id, one_time_id, turn.now.unix, &mut self.chance);
        self.save_own(turn);
        let rec = InviteRecord {
            secret: secret.to_vec(),
            kind: u32::from(kind == InviteKind::Reusable),
            expires_at: expires_at.0,
            prekeys: prekeys.encode(),
            created_at: turn.now.unix.0,
            blob_seed: self.chance.bytes::<32>().to_vec(),
            group: into.map(|into| into.group.0.to_vec()).unwrap_or_default(),
            group_link: into.map(|into| into.link.0.to_vec()).unwrap_or_default(),
            ..InviteRecord::default()
        };
        let id = invite_id(&secret);
        let Some(invite) = Invite::read(rec) else { return Ok(Some(super::not_found("invitation"))) };
        self.invites.insert(id, invite);
        let relays: Vec<PeerKey> =
            self.relays.iter().filter(|(_, r)| r.rec.own).map(|(p, _)| p.clone()).take(3).collect();
        for relay in &relays {
            self.add_queue(relay, None, Some(id), turn);
        }
        self.write_link(&id);
        self.register_invite_tags(id);
        self.save_invite(&id, turn);
        for relay in &relays {
            self.settle_relay(relay, turn)?;
            self.put_card(&id, relay, turn);
        }
        let left: std::collections::BTreeSet<PeerKey> =
            relays.into_iter().filter(|r| self.relay_worth_waiting(r)).collect();
        if left.is_empty() {
            return Ok(self.invite_reply(&id));
        }
        self.waiting.insert(request, Waiting::Invite { id, left });
        self.timers.set(super::Timer::Request(request), turn.now.moment.after_ms(CARD_WAIT_MS));
        Ok(None)
    }

    /// Puts link and QR text together: secret, account commitment, relay hints, own address.
    fn write_link(&mut self, id: &InviteId) {
        let (Some(own), Some(invite)) = (&self.own, self.invites.get(id)) else { return };
        let mut hints: Vec<Hint> = Vec::new();
        if let Some(group) = invite.group()
            && let Some(link) = OperationId::read(&invite.rec.group_link)
        {
            hints.push(Hint::Group { group, link });
            hints.extend(self.groups.get(&group).and_then(|group| Hint::name(group.name())));
        }
        for (peer, relay) in self.relays.iter().filter(|(_, r)| r.rec.own).take(2) {
            if let Some(addr) = relay.rec.addrs.first() {
                hints.push(Hint::Relay { peer: peer.clone(), addr: addr.clone() });
            }
        }
        if let Some(address) = &self.address {
            let best = address.addrs.iter().filter(|a| a.len() <= crate::wire::invite::ADDRESS_BYTES_MAX).take(2);
            hints.extend(best.map(|addr| Hint::Peer { peer: address.peer.clone(), addr: addr.clone() }));
        }
        let code = InviteCode::new(invite.kind(), UnixTime(invite.rec.expires_at), invite.secret, &own.aid(), hints);
        let (link, qr) = (code.link(), code.qr());
        if let Some(invite) = self.invites.get_mut(id) {
            invite.rec.link = link;
            invite.rec.qr = qr;
        }
    }

    /// Registers the tags a first contact by this invite may carry.
    pub(super) fn register_invite_tags(&mut self, id: InviteId) {
        let Some(invite) = self.invites.get(&id).filter(|i| !i.used_up() && !i.rec.revoked) else { return };
        for (tag, n) in invite_tags(invite) {
            self.tags.insert(tag, TagOwner::Invite(id, n));
        }
    }

    pub(super) fn forget_invite_tags(&mut self, id: &InviteId) {
        let Some(invite) = self.invites.get(id) else { return };
        for (tag, _) in invite_tags(invite) {
            self.tags.remove(&tag);
        }
    }

    /// The card as it is today, sealed for holders of the invite.
    fn sealed_card(&mut self, id: &InviteId, now: UnixTime) -> Option<Vec<u8>> {
        let own = self.own.as_ref()?;
        let invite = self.invites.get(id)?;
        let queues = self.queues.values().filter(|q| q.invite == id.as_bytes() && !q.doomed);
        let parts = CardParts {
            profile: own.profile(false),
            bundles: vec![own.sign_bundle(&invite.prekeys, now)],
            mailboxes: queues.filter_map(|q| self.grant(q)).collect(),
            presence: Some(own.presence.public()),
            peers: self.address.iter().map(|a| hint(a, 0)).collect(),
            seq: 0,
        };
        let card = card::build_card(&own.account, parts);
        card::seal_card(&invite.keys.card, &card, &own.account, &mut self.chance).ok()
    }

    /// Hands the card of an invite to a relay, if it is connected and the invite is open.
    pub(super) fn put_card(&mut self, id: &InviteId, relay: &PeerKey, turn: &mut Turn) {
        if !self.invites.get(id).is_some_and(|i| i.open(turn.now.unix)) || !self.relay_ready(relay) {
            return;
        }
        let Some(sealed) = self.sealed_card(id, turn.now.unix) else { return };
        let Some(invite) = self.invites.get(id) else { return };
        let days = (invite.rec.expires_at.saturating_sub(turn.now.unix.0)).div_ceil(DAY_MS).clamp(1, 90) as u32;
        let Some(binding) = self.binding(relay) else { return };
        let put = crate::mailbox::auth::blob_put(&binding, &invite.keys.blob_id, &invite.blob_owner, sealed, days);
        self.ask(relay, super::relays::Asked::BlobPut(*id), proto::mbox_req::Op::Bput(put), turn);
    }

    /// Cards say where we are and who we are: after a change, relays get them again.
    pub(super) fn republish_cards(&mut self, turn: &mut Turn) {
        let ids: Vec<InviteId> = self.invites.values().filter(|i| i.open(turn.now.unix)).map(|i| i.id).collect();
        let relays: Vec<PeerKey> = self.relays.iter().filter(|(_, r)| r.rec.own).map(|(p, _)| p.clone()).collect();
        for id in ids {
            for relay in &relays {
                self.put_card(&id, relay, turn);
            }
        }
    }

    /// A relay confirmed that it holds a card.
    pub(super) fn card_held(&mut self, id: InviteId, relay: &PeerKey, turn: &mut Turn) {
        let Some(invite) = self.invites.get_mut(&id) else { return };
        if !invite.rec.held_by.contains(&relay.0) {
            invite.rec.held_by.push(relay.0.clone());
            self.save_invite(&id, turn);
        }
        self.card_settled(id, relay, turn);
    }

    /// A relay said yes or no to a card: whoever waits for the invitation may go on.
    pub(super) fn card_settled(&mut self, id: InviteId, relay: &PeerKey, turn: &mut Turn) {
        let mut done = Vec::new();
        for (request, waiting) in &mut self.waiting {
            if let Waiting::Invite { id: of, left } = waiting
                && *of == id
            {
                left.remove(relay);
                if left.is_empty() {
                    done.push(*request);
                }
            }
        }
        for request in done {
            let Some(reply) = self.invite_reply(&id) else { continue };
            self.settle(request, reply, turn);
        }
    }

    pub(super) fn invite_views(&self, now: UnixTime) -> Vec<InviteView> {
        self.invites.values().filter(|i| i.open(now) && i.group().is_none()).map(Invite::view).collect()
    }

    /// What who made an invitation is told: of one to a group, the group's link.
    pub(super) fn invite_reply(&self, id: &InviteId) -> Option<Answer> {
        let invite = self.invites.get(id)?;
        Some(Ok(match invite.group() {
            None => Reply::Invite(invite.view()),
            Some(group) => Reply::GroupLink(self.group_link_view(&group, invite)?),
        }))
    }

    pub(super) fn invite_revoke(&mut self, id: InviteId, turn: &mut Turn) -> Answer {
        if !self.invites.contains_key(&id) {
            return super::not_found("invite");
        }
        self.close_invite(id, true, turn);
        Ok(Reply::Done)
    }

    /// No more card, no more first contact; the queue of a used one-time invite lives on as its contact's.
    pub(super) fn close_invite(&mut self, id: InviteId, revoked: bool, turn: &mut Turn) {
        if revoked {
            self.forget_invite_tags(&id);
        }
        let Some(invite) = self.invites.get_mut(&id) else { return };
        invite.rec.revoked |= revoked;
        let holders: Vec<PeerKey> = invite.rec.held_by.drain(..).map(PeerKey).collect();
        let (blob_id, owner) = (invite.keys.blob_id, invite.blob_owner.clone());
        self.save_invite(&id, turn);
        for relay in holders {
            let Some(binding) = self.binding(&relay) else { continue };
            let delete = crate::mailbox::auth::blob_del(&binding, &blob_id, &owner);
            self.ask(&relay, super::relays::Asked::Other, proto::mbox_req::Op::Bdel(delete), turn);
        }
        let unused: Vec<_> = self
            .queues
            .iter()
            .filter(|(_, q)| q.invite == id.as_bytes() && q.chat.is_empty())
            .map(|(r, _)| *r)
            .collect();
        if revoked {
            for rid in unused {
                self.doom_queue(&rid, turn);
            }
        }
    }

    /// Invites are forgotten 45 days after they stopped working: until then a repeated first contact is recognised.
    pub(super) fn drop_old_invites(&mut self, turn: &mut Turn) {
        let now = turn.now.unix;
        let old: Vec<InviteId> = self
            .invites
            .values()
            .filter(|i| i.rec.expires_at.saturating_add(PREKEY_KEEP_MS) < now.0)
            .map(|i| i.id)
            .collect();
        for id in old {
            self.close_invite(id, true, turn);
            self.invites.remove(&id);
            turn.delete(Table::Invite, id.as_bytes());
        }
    }

    /// Somebody on a link holds one of our invites and asks for its card.
    pub(super) fn card_asked(&mut self, link: LinkId, req: &proto::CardReq, turn: &mut Turn) {
        let found = self
            .invites
            .values()
            .find(|i| {
                (i.keys.blob_id.as_bytes() == req.blob_id || self.asked_by_radio(&i.keys, &req.blob_id, link))
                    && crate::crypto::mac::mac_matches(i.keys.request.expose(), &[&req.blob_id], &req.mac)
            })
            .map(|i| i.id);
        let Some(id) = found else { return };
        let open = self.invites.get(&id).is_some_and(|i| i.open(turn.now.unix));
        let sealed = if open { self.sealed_card(&id, turn.now.unix).unwrap_or_default() } else { Vec::new() };
        turn.frame(link, &Frame::CardRes(proto::CardRes { blob_id: req.blob_id.clone(), sealed }));
    }
}

fn invite_tags(invite: &Invite) -> Vec<(Tag, u32)> {
    match invite.kind() {
        InviteKind::OneTime => {
            (0..ONE_TIME_TAGS).map(|n| (first_contact::one_time_tag(&invite.keys.first_contact, n).0, n)).collect()
        }
        InviteKind::Reusable => {
            (0..REUSABLE_TAGS).map(|n| (first_contact::reusable_tag(&invite.keys.first_contact, n), n)).collect()
        }
    }
}

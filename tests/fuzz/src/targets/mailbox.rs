//! The relay role: a stream of requests from a link; and what a relay shows to its clients.

use prost::Message;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::cid;
use silbo_protocol::ids::{BlobId, LinkId, QueueRid, QueueSid, Tag};
use silbo_protocol::mailbox::auth::{self, LinkBinding};
use silbo_protocol::mailbox::server::MailboxServer;
use silbo_protocol::store::Table;
use silbo_protocol::time::{DAY_MS, Moment, Now, UnixTime};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::proto::{self, mbox_req::Op};

use crate::Pieces;
use crate::fixture::{NOW_MS, QUEUE, fixture};

/// Signed answers of relays.
pub fn evidence(data: &[u8]) {
    let relay = &fixture().relay;
    if let Ok(mut limits) = proto::Limits::decode(data) {
        assert!(auth::binding_of(&limits, Some(&[7; 32])).is_none());
        limits.relay_vk = relay.verifying_key().as_bytes().to_vec();
        limits.sig = auth::limits_sig_input(&limits).sign(relay);
        assert_eq!(auth::binding_of(&limits, None).is_some(), limits.challenge.len() == 32);
    }
    if let Ok(mut held) = proto::Held::decode(data) {
        let _ = auth::held_is_signed_by(&held, relay.verifying_key().as_bytes());
        held.sig = auth::held_sig_input(&held.sid, &held.cids, held.until_hour).sign(relay);
        assert!(auth::held_is_signed_by(&held, relay.verifying_key().as_bytes()));
    }
}

/// Requests on two links with passing time; the first byte of each says whether its authenticators are made right.
pub fn server(data: &[u8]) {
    let mut store = fixture().mail_store.clone();
    let mut chance = Chance::from_seed([5; 32]);
    let mut now = Now { moment: Moment(1_000), unix: UnixTime(NOW_MS) };
    let (mut server, writes) = MailboxServer::open(&store, now, &mut chance).expect("the store is sound");
    store.apply(&writes);
    let mut bindings = [LinkId(1), LinkId(2)].map(|link| {
        let challenge = server.link_up(link, &mut chance);
        LinkBinding { relay_vk: server.relay_vk(), challenge }
    });
    let mut pieces = Pieces::new(data);
    for _ in 0..64 {
        let Some(how) = pieces.byte() else { break };
        let link = usize::from(how & 1);
        if how & 0x40 != 0 {
            now.moment = now.moment.after_ms(u64::from(how & 7) * DAY_MS / 2);
            now.unix = now.unix.after_ms(u64::from(how & 7) * DAY_MS / 2);
        }
        if how & 0x80 != 0 {
            let step = server.sweep(now, &store).expect("a sound store stays sound");
            store.apply(&step.writes);
        }
        if how & 0x20 != 0 {
            server.link_down(LinkId(link as u64 + 1));
            bindings[link].challenge = server.link_up(LinkId(link as u64 + 1), &mut chance);
        }
        let Ok(mut req) = proto::MboxReq::decode(pieces.piece()) else { continue };
        if how & 2 != 0 {
            authenticate(&mut req, &bindings[link]);
        }
        let id = req.id;
        let step = server.handle(LinkId(link as u64 + 1), req, now, &store).expect("a sound store stays sound");
        let answer = step.frames.first().expect("every request is answered");
        let (LinkId(to), Frame::MboxRes(res)) = answer else { panic!("the first frame is the answer") };
        assert_eq!((*to, res.id), (link as u64 + 1, id));
        assert!(res.code == 0 || step.writes.is_empty(), "a refused request writes nothing");
        store.apply(&step.writes);
    }
    let status = server.status();
    assert_eq!(status.held as usize, store.count(Table::MailItem));
    assert_eq!(status.queues as usize, store.count(Table::MailQueue));
    assert_eq!(status.queues as usize, store.count(Table::MailSid));
    assert_eq!(status.blobs as usize, store.count(Table::MailBlob));
}

/// Signs or authenticates a request with the keys of the fixture's queue.
pub fn authenticate(req: &mut proto::MboxReq, binding: &LinkBinding) {
    let owner = &fixture().queue_owner;
    let owner_vk = || owner.verifying_key().as_bytes().to_vec();
    match &mut req.op {
        Some(Op::Create(create)) => {
            create.owner_vk = owner_vk();
            create.send_key.resize(16, 4);
            create.sig = auth::create_sig_input(binding, create).sign(owner);
        }
        Some(Op::Del(delete)) => {
            let rid = QueueRid::read(&delete.rid).unwrap_or(QUEUE.0);
            delete.sig = auth::delete_sig_input(binding, &rid).sign(owner);
        }
        Some(Op::Deposit(deposit)) => {
            let sid = QueueSid::read(&deposit.sid).unwrap_or(QUEUE.1);
            deposit.sid = sid.0.to_vec();
            let cids: Vec<_> = deposit.env.iter().map(|bytes| cid(bytes)).collect();
            deposit.mac = auth::deposit_mac(binding, &[4; 16], &sid, &cids).to_vec();
        }
        Some(Op::Fetch(fetch)) => {
            for read in fetch.reads.iter_mut().take(8) {
                let rid = QueueRid::read(&read.rid).unwrap_or(QUEUE.0);
                read.rid = rid.0.to_vec();
                read.sig = auth::read_sig_input(binding, &rid, read.after).sign(owner);
            }
        }
        Some(Op::Ack(ack)) => {
            let rid = QueueRid::read(&ack.rid).unwrap_or(QUEUE.0);
            ack.rid = rid.0.to_vec();
            ack.sig = auth::ack_sig_input(binding, &rid, &ack.seqs).sign(owner);
        }
        Some(Op::Collect(collect)) => {
            let sid = QueueSid::read(&collect.sid).unwrap_or(QUEUE.1);
            collect.sid = sid.0.to_vec();
            let tags: Vec<_> = collect.tags.iter().filter_map(|tag| Tag::read(tag)).collect();
            collect.mac = auth::collect_mac(binding, &[4; 16], &sid, &tags).to_vec();
        }
        Some(Op::Bput(put)) => {
            put.owner_vk = owner_vk();
            put.sig = auth::blob_put_sig_input(binding, put).sign(owner);
        }
        Some(Op::Bdel(delete)) => {
            let id = BlobId::read(&delete.id).unwrap_or(BlobId([6; 16]));
            delete.sig = auth::blob_del_sig_input(binding, &id).sign(owner);
        }
        Some(Op::Bget(_) | Op::Status(_)) | None => {}
    }
}

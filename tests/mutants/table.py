"""The mutants of tests/run-mutants: each breaks one promise of the engine by a small change of one file.

`find` stands exactly once in `path`, a file of the protocol crate, and is replaced by `put`. `scenario` is where it
shows. What the simulator reports must match `caught` and nothing else: a mutant that is only noticed because mail does
not arrive has not been understood.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    name: str
    promise: str
    path: str
    find: str
    put: str
    caught: str
    scenario: str = "walking-chaos"


MUTANTS = [
    Mutant(
        name="retry-sealed-anew",
        promise="a retry sends the stored ciphertext",
        path="protocol/src/engine/outbound.rs",
        find="""
                    batch.push(record.envelope);
                }""",
        put="""
                    let again = self.outbox.flight(&chat, seq).is_some_and(|f| f.attempts > 0);
                    let sealed = self.seal(&chat, &record.plain, Class::Text, HOUR_MS, false, turn).ok();
                    batch.push(sealed.filter(|_| again).map_or(record.envelope, |anew| anew.sealed.envelope));
                }""",
        caught=r"I3 broken .* not the one it has stored",
    ),
    Mutant(
        name="ratchet-not-stored",
        promise="ratchet state is on disk before the ciphertext that used it leaves",
        path="protocol/src/engine/outbound.rs",
        find="""
        self.save_session(&session, turn);
        self.store_flight(""",
        put="""
        self.store_flight(""",
        caught=r"I3 broken .* two different envelopes under tag",
    ),
    Mutant(
        name="skipped-key-kept",
        promise="a key that has opened an envelope is gone with the same commit",
        path="protocol/src/engine/inbound.rs",
        find="""
        turn.delete(Table::Skipped, tag.as_bytes());
        if let Some(list)""",
        put="""
        if let Some(list)""",
        caught=r"I3 broken .* still has the key",
    ),
    Mutant(
        name="vaccine-unchecked",
        promise="copies go only when the preimage hashes to their tag",
        path="protocol/src/carry/store.rs",
        find="""
        for cid in self.named(&tag) {
            self.remove(&cid, &mut writes);
        }
        while""",
        put="""
        let like: Vec<Cid> = self.copies.iter().filter(|(_, c)| c.tag.0[0] == tag.0[0]).map(|(cid, _)| *cid).collect();
        for cid in like {
            self.remove(&cid, &mut writes);
        }
        while""",
        caught=r"I1 broken .* gave up a carried envelope",
    ),
    Mutant(
        name="receipt-unchecked",
        promise="a receipt ends only the flight whose tag it hashes to",
        path="protocol/src/engine/inbound.rs",
        find="""
        let Some((chat, seq)) = self.outbox.find(&tag_of(preimage)) else { return Ok(()) };""",
        put="""
        let any = |chat: &ChatId| Some((*chat, *self.outbox.lane(chat)?.flights.keys().next()?));
        let found = self.outbox.find(&tag_of(preimage)).or_else(|| self.outbox.chats().first().and_then(any));
        let Some((chat, seq)) = found else { return Ok(()) };""",
        caught=r"I1 broken .* (counts as delivered|a proof that)",
    ),
    Mutant(
        name="shown-twice",
        promise="a message is shown at most once",
        path="protocol/src/engine/inbound.rs",
        find="""
        if self.apply_op(chat, id, &op, Some(path), turn)? != Changed::Appeared {
            return Ok(());
        }""",
        put="""
        self.apply_op(chat, id, &op, Some(path), turn)?;""",
        caught=r"I2 broken .* was shown twice",
        scenario="lost-receipts",
    ),
    Mutant(
        name="receipt-before-commit",
        promise="a receipt leaves after the message is on disk",
        path="protocol/src/engine/turn.rs",
        find="""
        self.step.writes.push(Write::PutItem(Box::new(row)));""",
        put="""
        if row.outgoing {
            self.step.writes.push(Write::PutItem(Box::new(row)));
        }""",
        caught=r"I1 broken .* has not stored it",
    ),
    Mutant(
        name="delivered-when-carried",
        promise="a state rises only by evidence of the other side",
        path="protocol/src/engine/couriers.rs",
        find="""
                    self.add_hop(&of, &id, hop, turn)?;
                }
                Ok(Some(WireParcel { copies, hops, age_min, envelope: record.envelope }))""",
        put="""
                    self.add_hop(&of, &id, hop, turn)?;
                    self.delivered(chat, id, Some(Path::Courier), None, turn)?;
                }
                Ok(Some(WireParcel { copies, hops, age_min, envelope: record.envelope }))""",
        caught=r"I1 broken .* counts as delivered",
    ),
    Mutant(
        name="forgotten-when-carried",
        promise="own mail stays in the outbox until there is evidence that it arrived",
        path="protocol/src/engine/couriers.rs",
        find="""
                Ok(Some(WireParcel { copies, hops, age_min, envelope: record.envelope }))""",
        put="""
                self.drop_flight(&chat, seq, turn);
                Ok(Some(WireParcel { copies, hops, age_min, envelope: record.envelope }))""",
        caught=r"I1 broken .* gave up .* without evidence",
    ),
    Mutant(
        name="held-without-storing",
        promise="a relay has stored what it signs for",
        path="protocol/src/mailbox/server/operations.rs",
        find="""
                    call.batch.put(Table::MailItem, item_key(&rid, seq), bytes.clone());""",
        put="",
        caught=r"I1 broken .* signed for an envelope that is not on its disk",
        scenario="relay-chaos",
    ),
]

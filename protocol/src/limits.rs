//! Every bound in one place, with its reasoning. Full is an answer, never a wait.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// Longest text of a message: 64 KiB of UTF-8.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Longest name of a profile or alias.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest status text.
pub const STATUS_BYTES_MAX: usize = 128;
/// Largest avatar.
pub const AVATAR_BYTES_MAX: usize = 32 * 1024;
/// Longest reaction: a family emoji with skin tones is 41 bytes.
pub const REACTION_BYTES_MAX: usize = 64;
/// Mentions in one text.
pub const MENTIONS_MAX: usize = 64;
/// Options of a poll.
pub const POLL_OPTIONS_RANGE: std::ops::RangeInclusive<usize> = 2..=16;
/// After how many seconds a poll may end: from a minute to a year.
pub const POLL_ENDS_S_RANGE: std::ops::RangeInclusive<u32> = 60..=365 * 86_400;
/// Longest option of a poll.
pub const POLL_OPTION_BYTES_MAX: usize = 128;
/// Pinned messages of one conversation that are listed, those pinned last.
pub const PINS_MAX: usize = 100;
/// Longest greeting in a contact request.
pub const HELLO_BYTES_MAX: usize = 512;
/// Longest `client_id` of a send.
pub const CLIENT_ID_BYTES_MAX: usize = 128;

/// Largest frame on a link: the largest envelope batch plus its length prefixes.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Largest frame before the other end has proven itself (an envelope we know the tag of, or a contact token).
pub const FRAME_BYTES_UNPROVEN_MAX: usize = 64 * 1024;
/// Frames are joined up to this length: half of what an end that is not proven takes.
pub const JOINED_FRAME_BYTES_MAX: usize = FRAME_BYTES_UNPROVEN_MAX / 2;
/// Largest envelope: a 64 KiB text or a 32 KiB avatar with all layers, padded to 16 KiB steps.
pub const ENVELOPE_BYTES_MAX: usize = 96 * 1024;
/// Smallest envelope: fixed part, tag, an empty header and the AEAD tag.
pub const ENVELOPE_BYTES_MIN: usize = 16 + 4 + 16;
/// Envelopes in one frame or one deposit.
pub const ENVELOPES_PER_FRAME_MAX: usize = 64;
/// Receipts in one frame: 4,096 × 16 B = 64 KiB.
pub const RECEIPTS_PER_FRAME_MAX: usize = 4_096;

/// Messages one receiving chain may jump ahead.
pub const RATCHET_JUMP_MAX: u32 = 4_096;
/// Stored skipped keys a session.
pub const SKIPPED_KEYS_PER_SESSION_MAX: usize = 2_000;
/// Stored skipped keys a device.
pub const SKIPPED_KEYS_MAX: usize = 20_000;
/// How long a skipped key is kept: longer than the longest envelope (30 d).
pub const SKIPPED_KEY_AGE_MS: u64 = 45 * DAY_MS;
/// Dense tag window of the current receiving chain.
pub const TAG_WINDOW_CURRENT: u32 = 64;
/// Dense tag window of the next receiving chain.
pub const TAG_WINDOW_NEXT: u32 = 8;
/// A landmark tag every so many messages.
pub const TAG_LANDMARK_STEP: u32 = 32;
/// Landmarks of the current chain reach this far ahead.
pub const TAG_LANDMARK_CURRENT_MAX: u32 = 4_096;
/// Landmarks of the next chain reach this far.
pub const TAG_LANDMARK_NEXT_MAX: u32 = 128;
/// A sender does not run further ahead of the receipts it has: fewer than the skipped keys a session keeps, so that
/// no order of arrival loses a message.
pub const SEND_AHEAD_MAX: u32 = 1_900;

/// Contacts an account keeps.
pub const CONTACTS_MAX: usize = 2_000;
/// Requests waiting for a decision.
pub const PENDING_REQUESTS_MAX: usize = 50;
/// Invites kept.
pub const INVITES_MAX: usize = 256;
/// Relays in use.
pub const RELAYS_MAX: usize = 8;
/// Replicas a message is deposited to.
pub const MAILBOX_REPLICAS: usize = 2;
/// Grants a contact may hand out.
pub const GRANTS_PER_CONTACT_MAX: usize = 3;
/// Addresses kept of one peer.
pub const ADDRESSES_PER_PEER_MAX: usize = 8;
/// Live devices of an account.
pub const DEVICES_MAX: usize = 16;
/// Entries of a device log between checkpoints.
pub const LOG_ENTRIES_MAX: usize = 256;
/// Operations of one group: years of a busy one. 4,096 × about 300 B = 1.2 MiB, and 1 MiB for their causal pasts.
pub const GROUP_OPERATIONS_MAX: usize = 4_096;
/// Operations one member other than the founder may write, so that a stolen phone cannot fill a group up.
pub const GROUP_OPERATIONS_PER_MEMBER_MAX: usize = 1_024;
/// Operations after which an admin's device writes a checkpoint.
pub const GROUP_CHECKPOINT_OPERATIONS: usize = 256;
/// Operations only the founder may still write, so that members who fill a group up can be removed.
pub const GROUP_OPERATIONS_RESERVE: usize = 256;
/// Largest operation: 16 devices of an account with a voucher each.
pub const GROUP_OPERATION_BYTES_MAX: usize = 40 * 1_024;
/// Operations of one group that wait for their parents.
pub const GROUP_WAITING_MAX: usize = 512;
/// Of these, from one member who hands them over.
pub const GROUP_WAITING_PER_MEMBER_MAX: usize = 64;
/// Accounts one operation removes.
pub const GROUP_REMOVALS_PER_OPERATION_MAX: usize = 64;
/// In a group of no more devices than this, every member may rekey; its slices fit into the operation.
pub const GROUP_FREE_REKEY_DEVICES_MAX: usize = 64;
/// Largest picture of a group: it travels in an operation.
pub const GROUP_AVATAR_BYTES_MAX: usize = 4 * 1_024;
/// Groups of one account.
pub const GROUPS_MAX: usize = 256;
/// Groups one contact may take this account into in a day.
pub const GROUPS_PER_CONTACT_DAY_MAX: u32 = 20;
/// People added by one request.
pub const GROUP_ADDITIONS_MAX: usize = 64;
/// People a link lets in.
pub const GROUP_LINK_USES_MAX: u32 = 1_000;
/// Requests to join that wait for a decision.
pub const GROUP_REQUESTS_MAX: usize = 64;
/// Longest pause of slow mode: a day.
pub const GROUP_SLOW_S_MAX: u32 = 86_400;
/// Bytes of a welcome in one envelope.
pub const GROUP_PART_BYTES: usize = 48 * 1_024;
/// Parts of a welcome: 64 × 48 KiB = 3 MiB.
pub const GROUP_PARTS_MAX: usize = 64;
/// Messages of before that a newcomer is handed, the newest.
pub const GROUP_HISTORY_MESSAGES_MAX: usize = 2_000;
/// Bytes of them, with signatures, changes and reactions: 2 MiB, 44 parts of the size of a welcome's.
pub const GROUP_HISTORY_BYTES_MAX: usize = 2 * 1_024 * 1_024;
/// Letters of them a newcomer takes: seven a message.
pub const GROUP_HISTORY_LETTERS_MAX: usize = 7 * GROUP_HISTORY_MESSAGES_MAX;
/// How long after coming in a newcomer takes any: as long as an envelope lives.
pub const GROUP_HISTORY_MS: u64 = CONTROL_TTL_MS;
/// Parts of a history that came before the welcome they belong to.
pub const GROUP_HISTORY_WAITING_MAX: usize = 64;
/// Letters about one message of a group that are kept for newcomers: its text, edits, reactions and pins. Beside them as
/// many votes, the last of each account.
pub const GROUP_SAID_PER_MESSAGE_MAX: usize = 256;
/// Letters of one group kept for others.
pub const GROUP_LETTERS_MAX: usize = 20_000;
/// Of these, letters no key fits yet.
pub const GROUP_UNREAD_LETTERS_MAX: usize = 2_000;
/// Letters one frame names: 2,048 × 16 B = 32 KiB.
pub const GROUP_LETTERS_PER_HAVE_MAX: usize = 2_048;
/// Letters asked for on one link and not yet here.
pub const GROUP_WANTS_MAX: usize = 64;
/// The same on a radio link, of the longest letters: 384 KiB.
pub const GROUP_WANTS_BY_RADIO_MAX: usize = 4;
/// Letters of a group of which is remembered who handed them over.
pub const GROUP_WAYS_MAX: usize = 4_096;
/// Receipts for one letter that go the same way.
pub const GROUP_RECEIPTS_PER_LETTER_MAX: usize = GROUP_DEVICES_MAX;
/// Receipts that wait to go back: 65,536 × 12 B < 1 MiB.
pub const GROUP_RECEIPTS_WAITING_MAX: usize = 65_536;
/// Operations that a member names as the last it knows, or asks for, at a time.
pub const GROUP_OPERATIONS_WANTED_MAX: usize = 64;
/// Letters one confirmation names: 512 × 16 B = 8 KiB.
pub const GROUP_SEEN_PER_LETTER_MAX: usize = 512;
/// Messages that wait for a group's keys.
pub const GROUP_UNSENT_MAX: usize = 1_000;
/// How long letters of somebody who has gone may still come that were written before they knew.
pub const GROUP_PARTING_MS: u64 = 7 * DAY_MS;
/// How many of them.
pub const GROUP_PARTING_LETTERS_MAX: u32 = 256;
/// Longest topic of a group.
pub const GROUP_TOPIC_BYTES_MAX: usize = 512;
/// Times the last owner is spared from a circle of removals when a group is resolved.
pub const GROUP_OWNERS_SPARED_MAX: usize = 8;
/// Outgoing envelopes kept.
pub const OUTBOX_MAX: usize = 50_000;
/// Cards of followed invitations that a radio link is asked for when it comes up.
pub const RADIO_CARDS_MAX: usize = 8;
/// Links known at a time.
pub const LINKS_MAX: usize = 512;
/// Requests to one relay without an answer.
pub const RELAY_REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Envelopes handed to one direct link and not yet receipted; more wait in the outbox.
pub const ENVELOPES_IN_FLIGHT_MAX: usize = 512;
/// Their bytes, after which no other is handed out. A link that is given more than it has room for is closed, and the
/// smallest room is a radio's, 1 MiB: half of it is for mail of the contact at its other end, half for everything else.
pub const ENVELOPES_IN_FLIGHT_BYTES_MAX: usize = 512 * 1024;
/// Operations kept for a message that has not arrived (edits, reactions).
pub const SLOT_EDITS_MAX: usize = 64;
/// Authors whose edits of one message are kept, the least account ids first: in a conversation of two there are two, in a
/// group only the author of a text can change it. 8 × 64 × 4 KiB = 2 MiB is what hostile members can make of a slot.
pub const SLOT_EDITORS_MAX: usize = 8;
/// Accounts whose votes in one poll are kept, the least account ids first: as many as a group can have.
pub const SLOT_VOTES_MAX: usize = 4_096;
/// Accounts whose reactions to one message are kept, the least account ids first.
pub const SLOT_REACTIONS_MAX: usize = 1_024;
/// Hops kept of one message.
pub const TRACE_HOPS_MAX: usize = 64;

/// Lifetime of a text envelope.
pub const TEXT_TTL_MS: u64 = 30 * DAY_MS;
/// Lifetime of control envelopes.
pub const CONTROL_TTL_MS: u64 = 30 * DAY_MS;
/// Lifetime of a first-contact envelope.
pub const FIRST_CONTACT_TTL_MS: u64 = 14 * DAY_MS;
/// Without a receipt on the direct link for so long, mailboxes are used as well.
pub const DIRECT_PATIENCE_MS: u64 = 10 * SECOND_MS;
/// First retry; doubles each time.
pub const RETRY_FIRST_MS: u64 = 30 * SECOND_MS;
/// Longest pause between retries.
pub const RETRY_MAX_MS: u64 = 6 * HOUR_MS;
/// Longest pause between dials of a relay we need.
pub const RELAY_DIAL_MAX_MS: u64 = 5 * MINUTE_MS;
/// A session that had no answer for so long is set up anew before sending.
pub const SESSION_UNANSWERED_MS_MAX: u64 = 30 * DAY_MS;
/// Older sessions stay readable for so long.
pub const SESSION_ARCHIVE_MS: u64 = 45 * DAY_MS;
/// At most one own session reset a contact in this time.
pub const SESSION_RESET_EVERY_MS: u64 = 24 * HOUR_MS;
/// Signed prekeys are renewed after this.
pub const PREKEY_RENEW_MS: u64 = 7 * DAY_MS;
/// Old prekeys stay usable for so long.
pub const PREKEY_KEEP_MS: u64 = 45 * DAY_MS;
/// A presence record is republished after this.
pub const PRESENCE_REPUBLISH_MS: u64 = 22 * HOUR_MS;
/// Largest DHT value.
pub const DHT_VALUE_BYTES_MAX: usize = 1_024;

/// Default retention at relays, and of the envelopes of the default lifetime.
pub const RETENTION_DAYS_DEFAULT: u32 = 30;
/// Shortest and longest retention a relay may promise.
pub const RETENTION_DAYS_RANGE: std::ops::RangeInclusive<u32> = 1..=90;
/// Per-chat retention, seconds: 1 day to 90 days; 0 is for ever.
pub const CHAT_RETENTION_S_RANGE: std::ops::RangeInclusive<u32> = 86_400..=90 * 86_400;
/// Disappearing messages, seconds: 5 s to 90 days.
pub const EXPIRE_S_RANGE: std::ops::RangeInclusive<u32> = 5..=90 * 86_400;

/// Envelopes a mailbox queue holds.
pub const QUEUE_ENVELOPES_MAX: u32 = 2_000;
/// KiB a mailbox queue holds.
pub const QUEUE_KIB_MAX: u32 = 16 * 1_024;
/// MiB a relay holds in all.
pub const RELAY_TOTAL_MIB_MAX: u32 = 4_096;
/// Queues a relay keeps.
pub const RELAY_QUEUES_MAX: u64 = 1_000_000;
/// Queues one connection may create in an hour.
pub const QUEUE_CREATES_PER_LINK_HOUR: u32 = 1_024;
/// Largest blob (contact card) a relay keeps.
pub const BLOB_BYTES_MAX: usize = 8 * 1_024;
/// Blobs one connection may put in an hour.
pub const BLOB_PUTS_PER_LINK_HOUR: u32 = 256;
/// Queues one fetch may name.
pub const FETCH_QUEUES_MAX: usize = 256;
/// Bytes one fetch answer carries at most.
pub const FETCH_ANSWER_BYTES_MAX: usize = 192 * 1_024;
/// Card padded to a multiple of this.
pub const CARD_PAD_BYTES: usize = 4_096;

/// Envelopes carried for others unless the person says otherwise: 64 MiB of them.
pub const CARRIED_ENVELOPES_MAX: u32 = 100_000;
/// Bytes carried for others unless the person says otherwise.
pub const CARRIED_BYTES_MAX: u64 = 64 * 1_024 * 1_024;
/// Largest control or text envelope that is carried.
pub const CARRIED_TEXT_BYTES_MAX: usize = 16 * 1_024;
/// Largest bulk envelope that is carried.
pub const CARRIED_BULK_BYTES_MAX: usize = 16 * 1_024;
/// Devices an envelope may pass through.
pub const CARRIED_HOPS_MAX: u8 = 32;
/// Bodies with the same tag that are carried: somebody who copies a tag cannot push the real one out.
pub const BODIES_PER_TAG_MAX: usize = 2;
/// Envelopes kept for friends beside what is carried for anybody, and never more than that: 4 MiB of a kilobyte each.
pub const PINNED_ENVELOPES_MAX: u32 = 4_096;
/// Their bytes.
pub const PINNED_BYTES_MAX: u64 = 4 * 1_024 * 1_024;
/// Share of the carried envelopes that may come from one peer before its own make room first, in percent.
pub const POOL_SHARE_PERCENT: usize = 10;
/// A pool below this many envelopes is never over its share.
pub const POOL_SHARE_MIN: usize = 16;
/// Vaccines kept: 28 bytes each.
pub const VACCINES_MAX: usize = 20_000;
/// Ids, vaccines or sheet entries in one frame of an encounter.
pub const ENCOUNTER_IDS_PER_FRAME_MAX: usize = 4_096;
/// Parcels handed to one link and not yet confirmed.
pub const PARCELS_IN_FLIGHT_MAX: usize = 64;
/// Their bytes, after which no other is handed over: an eighth of what a radio link has room for.
pub const PARCELS_IN_FLIGHT_BYTES_MAX: usize = 128 * 1024;
/// What is taken from one stranger in [`STRANGER_WINDOW_MS`]: parcels.
pub const STRANGER_PARCELS_MAX: u32 = 1_000;
/// What is taken from one stranger in [`STRANGER_WINDOW_MS`]: bytes of envelopes.
pub const STRANGER_BYTES_MAX: u64 = 1_024 * 1_024;
/// The time these bounds are for.
pub const STRANGER_WINDOW_MS: u64 = 10 * MINUTE_MS;
/// Seconds a message may be tried for: an hour to thirty days.
pub const SEND_TTL_S_RANGE: std::ops::RangeInclusive<u32> = 3_600..=30 * 86_400;
/// Items one comparison of two carriers takes.
pub const RECONCILE_ITEMS_MAX: usize = 131_072;
/// Smallest and largest bag of mail carried by hand; a QR code holds about 2,600 bytes.
pub const BAG_BYTES_MIN: usize = 1_024;
/// See [`BAG_BYTES_MIN`].
pub const BAG_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Contacts that carry for this device when they are chosen by the time spent together.
pub const AUTO_CARRIERS_MAX: u8 = 16;
/// People whose tags are passed on with one's own sheet.
pub const SHEET_PEOPLE_MAX: usize = 9;
/// Tags of one session on a sheet: of the current chain and of the next.
pub const SHEET_TAGS_CURRENT: u32 = 12;
/// See [`SHEET_TAGS_CURRENT`].
pub const SHEET_TAGS_NEXT: u32 = 4;
/// Entries of one sheet: ten people with forty conversations.
pub const SHEET_ENTRIES_MAX: usize = 16_384;
/// Entries told at one meeting; the rest follows at the next: 48 KiB.
pub const SHEET_ENTRIES_PER_MEETING_MAX: usize = 8_192;
/// Friends whose sheets are kept.
pub const SHEETS_MAX: usize = 64;
/// How long an envelope that was asked for on one link is not asked for on another: a full store of 400 passes in a second.
pub const ASK_PATIENCE_MS: u64 = 5 * SECOND_MS;
/// Envelopes that are known to be on their way to this device; one more may come twice.
pub const COMING_MAX: usize = 32_768;
/// Envelopes asked for in one encounter and not yet handed over.
pub const ENCOUNTER_ASKED_MAX: usize = 16_384;

/// Key operations of one group that are kept: years of a busy group. Each keeps three sets of devices as bits, at most
/// 1 KiB each, 200 B with 500 devices: 4,096 × 600 B = 2.4 MiB.
pub const GROUP_KEY_OPERATIONS_MAX: usize = 4_096;
/// Key operations one key operation builds on: more partitions than these do not meet at once.
pub const GROUP_KEY_HEADS_MAX: usize = 64;
/// Devices that ever held a key of one group; their places have 16 bits.
pub const GROUP_DEVICES_EVER_MAX: usize = 8_192;
/// Devices of one group at a time: 1,500 expected (1,000 members), a rekey of all is 100 KiB.
pub const GROUP_DEVICES_MAX: usize = 2_048;
/// A rekey for so many devices carries its slices; beyond, each device gets its own in an envelope.
pub const GROUP_INLINE_SLICES_MAX: usize = 64;
/// Rekeys of one group whose slices are waited for: 64 tags.
pub const GROUP_SLICES_AWAITED_MAX: usize = 64;
/// Rekeys of one group of which all slices are kept for others, the latest: 8 × 100 KiB.
pub const GROUP_SLICES_KEPT_MAX: usize = 8;
/// Key epochs of one group that are kept: 1,024 × about 400 B.
pub const GROUP_EPOCHS_MAX: usize = 1_024;
/// Epochs of several heads among them; whoever hands letters over can name any heads.
pub const GROUP_MERGED_EPOCHS_MAX: usize = 256;
/// How long the secrets and chains of a superseded epoch are kept: longer than the longest envelope (30 d).
pub const GROUP_EPOCH_KEEP_MS: u64 = 45 * DAY_MS;
/// Secrets in one welcome or complement.
pub const GROUP_WELCOME_SECRETS_MAX: usize = 8;
/// Shared roots with one rekeyer: the one in use, and a fresh one that it may not know yet.
pub const GROUP_ROOTS_PER_REKEYER_MAX: usize = 2;
/// Rekeys of one rekeyer that may be missed before a slice is opened.
pub const GROUP_ROOT_JUMP_MAX: u16 = 64;
/// Messages a sender chain may jump ahead.
pub const GROUP_JUMP_MAX: u32 = 1_024;
/// Dense tag window of a chain that has been heard.
pub const GROUP_TAG_WINDOW: u32 = 16;
/// Tags kept of a chain that has not been heard: with its 32-byte seed 56 bytes.
pub const GROUP_TAG_WINDOW_SILENT: u32 = 2;
/// Chains of one group that are kept, over all epochs: 65,536 × 64 B = 4 MiB.
pub const GROUP_CHAINS_MAX: usize = 65_536;
/// Stored skipped keys of one group.
pub const GROUP_SKIPPED_KEYS_MAX: usize = 2_000;
/// Parents a group message names.
pub const LETTER_PARENTS_MAX: usize = 3;

/// Channels an account reads or owns: with 2,000 contacts, 2,048 tokens in a Hello.
pub const CHANNELS_MAX: usize = 48;
/// Largest post: it must fit into a frame that a stranger may send.
pub const CHANNEL_POST_BYTES_MAX: usize = 48 * 1_024;
/// Longest text of a post: with everything around it, three steps of padding.
pub const CHANNEL_TEXT_BYTES_MAX: usize = 32 * 1_024;
/// Posts have smaller numbers: at one a millisecond, for 8,900 years.
pub const CHANNEL_SEQ_MAX: u64 = 1 << 48;
/// Last day of a channel, in days since 2024-01-01: links have 16 bits for it. The year 2203.
pub const CHANNEL_DAYS_MAX: u32 = u16::MAX as u32;
/// Posts of one channel that are kept: one an hour for a year.
pub const CHANNEL_POSTS_MAX: usize = 10_000;
/// Their bytes: most posts have 512.
pub const CHANNEL_BYTES_MAX: usize = 16 * 1_024 * 1_024;
/// Posts of all channels: 65,536 × about 120 B in memory = 8 MiB.
pub const CHANNELS_POSTS_MAX: usize = 65_536;
/// Their bytes on disk.
pub const CHANNELS_BYTES_MAX: usize = 64 * 1_024 * 1_024;
/// How long posts of a channel stay if their owner says so, days.
pub const CHANNEL_RETENTION_DAYS_RANGE: std::ops::RangeInclusive<u32> = 1..=90;
/// Ranges of numbers in one message.
pub const CHANNEL_RANGES_MAX: usize = 32;
/// Posts asked for on one link and not yet here.
pub const CHANNEL_WANTS_MAX: usize = 32;
/// Bytes of posts in one frame, unless one alone is larger.
pub const CHANNEL_FRAME_BYTES: usize = 32 * 1_024;
/// Bytes of posts handed over on one link in [`STRANGER_WINDOW_MS`]: a newcomer's whole channel at 512 B a post.
pub const CHANNEL_SERVED_BYTES_MAX: usize = 8 * 1_024 * 1_024;
/// The same on all links together: who comes back over another link gets no more.
pub const CHANNELS_SERVED_BYTES_MAX: usize = 32 * 1_024 * 1_024;
/// Links on which a post is announced; each reader that takes it announces it on.
pub const CHANNEL_ANNOUNCED_LINKS: usize = 8;
/// While fewer links share a channel, readers of it are looked for.
pub const CHANNEL_LINKS_WANTED: usize = 3;
/// Readers of a channel of whom is remembered where they were.
pub const CHANNEL_PEERS_MAX: usize = 8;
/// Links that are kept although their other end is known only to read a channel: of more, those that came last are closed
/// when they have had their two minutes.
pub const CHANNEL_LINKS_MAX: usize = 64;
/// Places in the DHT where readers of a channel say where they are.
pub const CHANNEL_SLOTS: u8 = 8;
/// Posts of a channel that have not come and of which something was said: edits and deletions are kept for so many.
pub const CHANNEL_AWAITED_MAX: usize = 256;
/// Own posts of which is not known yet that another reader has them.
pub const CHANNEL_UNSEEN_MAX: usize = 1_000;
/// Peers that have brought forgeries and are not exchanged with until the next start.
pub const CHANNEL_DISTRUSTED_MAX: usize = 256;
/// Longest link to a channel: a QR code a phone camera still reads.
pub const CHANNEL_LINK_BYTES_MAX: usize = 512;

/// A radio that listens now and then listens so long each time: two advertisements of a balanced neighbour, and some.
pub const RADIO_SCAN_ON_MS: u64 = 500;
/// How often it does: while things change, while nothing does; for saver, balanced, performance.
pub const RADIO_SCAN_EVERY_MS: [[u64; 2]; 3] = [[5_000, 25_000], [2_000, 5_000], [RADIO_SCAN_ON_MS, RADIO_SCAN_ON_MS]];
/// Advertisements are so far apart; for saver, balanced, performance.
pub const RADIO_ADVERTISE_MS: [u64; 3] = [1_000, 200, 100];
/// When nothing new has been heard for so long, nothing is likely to be.
pub const RADIO_STILL_MS: u64 = 2 * MINUTE_MS;
/// How often it is asked at least whom to dial.
pub const RADIO_LOOK_MS: u64 = 250;
/// At this charge the radio is in saver mode, whatever was chosen.
pub const BATTERY_LOW_PERCENT: u8 = 15;
/// Nodes in range that are remembered; the one that was heard least recently goes first.
pub const NEIGHBOURS_MAX: usize = 64;
/// Who has not been heard for so long is forgotten.
pub const NEIGHBOUR_FORGOTTEN_MS: u64 = 10 * MINUTE_MS;
/// Of two that hear each other the one with the lower id dials; the other waits so long, and a little by chance.
pub const DIAL_COURTESY_MS: u64 = 3 * SECOND_MS;
/// First and longest pause after a dial that led to nothing.
pub const DIAL_PAUSE_RANGE_MS: std::ops::RangeInclusive<u64> = 2 * SECOND_MS..=120 * SECOND_MS;
/// A link that has lasted so long was a good one: the next dial does not wait longer than the first pause.
pub const LINK_GOOD_MS: u64 = 20 * SECOND_MS;
/// In a crowd a link keeps its place so long, and as long as it is in use,
pub const LINK_KEPT_MS: u64 = 30 * SECOND_MS;
/// which it is not when nothing was handed over for so long.
pub const LINK_QUIET_MS: u64 = 10 * SECOND_MS;
/// A device that saves its battery lets a link go on which nothing was handed over for so long.
pub const LINK_SAVED_MS: u64 = 30 * SECOND_MS;
/// Who was linked and holds the same as then is not dialled again for so long.
pub const SETTLED_MS: u64 = 15 * MINUTE_MS;
/// Who has not been heard for so long, two of the longest pauses between windows, may have gone: it is not dialled.
pub const NEIGHBOUR_PRESENT_MS: u64 = 60 * SECOND_MS;
/// How long the end of a link may take.
pub const LETTING_GO_MS: u64 = 15 * SECOND_MS;

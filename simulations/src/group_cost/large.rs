//! A group too large for engines in one process: its operations, keys and letters are really made, signed, verified,
//! sealed and opened; what would go over links is counted, not sent.

use std::time::Instant;

use prost::Message as _;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::Secret;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::x25519::SecretKey;
use silbo_protocol::group::chain::{LetterPlace, SenderChains};
use silbo_protocol::group::graph::Graph;
use silbo_protocol::group::key_graph::{KeyKind, KeyOperation, epoch_of};
use silbo_protocol::group::key_ring::{Changes, KeyRing, Secrecy};
use silbo_protocol::group::letter::{self, Cover, Draft, Origin};
use silbo_protocol::group::operation::{DeviceKeys, Info, Kind, Operation, Role, sign};
use silbo_protocol::group::slices::{PlacedSlice, Recipient, RekeyMaterial, RekeyPlace, make_rekey, open_placed};
use silbo_protocol::group::welcome::Welcome;
use silbo_protocol::identity::account::{OwnAccount, Signer, device_cert};
use silbo_protocol::identity::device_log::device_id;
use silbo_protocol::ids::{AccountId, GroupDevice, OperationId};
use silbo_protocol::time::{DAY_MS, UnixTime};
use silbo_protocol::wire::envelope::{Class, EnvelopeHead};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::padding::PadClass;
use silbo_protocol::wire::proto::{self, group_ctl::C, group_sync::S, plain};

use super::{Settings, broken};
use crate::failure::Failure;

const NOW: UnixTime = UnixTime(1_800_000_000_000);
const DAY: u32 = 1_000;

/// What was made, and how long it took whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Large {
    pub(super) post: Letter,
    pub(super) add: Letter,
    pub(super) removal: Letter,
    pub(super) rekey: Letter,
    /// Devices the rekey is for.
    pub(super) remaining: usize,
    /// Key material for all of them: slices with their places, and what the operation says of them.
    pub(super) key_bytes: usize,
    /// The same as frames on links.
    pub(super) slice_frames: usize,
    /// The same as envelopes.
    pub(super) slice_envelopes: usize,
    /// Making the slices, and opening one.
    pub(super) make_ms: f64,
    pub(super) open_ms: f64,
    /// Operations of a welcome.
    pub(super) operations: usize,
    /// Bytes of a welcome: of operations, of names and mailboxes, of keys.
    pub(super) welcome_operations: usize,
    pub(super) welcome_cards: usize,
    pub(super) welcome_keys: usize,
    /// Reading it.
    pub(super) join_ms: f64,
}

/// A sealed letter, and what writing and reading it took, with all that follows at one member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Letter {
    pub(super) bytes: usize,
    pub(super) write_ms: f64,
    pub(super) read_ms: f64,
}

/// An account with its devices.
struct Person {
    account: AccountId,
    devices: Vec<(SigningKey, SecretKey)>,
    keys: Vec<DeviceKeys>,
}

/// A member's view of the group.
struct Member {
    me: GroupDevice,
    graph: Graph,
    ring: KeyRing,
    chains: SenderChains,
    heads: Vec<OperationId>,
}

pub(super) fn measure(settings: &Settings) -> Result<Large, Failure> {
    let mut chance =
        Chance::from_seed(blake3::derive_key("silbo simulations group cost", &settings.seed.to_be_bytes()));
    let second = settings.devices.saturating_sub(settings.members);
    let people: Vec<Person> =
        (0..settings.members + 1).map(|n| Person::new(n > 0 && n <= second, &mut chance)).collect::<Result<_, _>>()?;
    let [founder, reader, rest @ ..] = &people[..] else { return Err(broken("nobody")) };
    let (newcomer, rest) = rest.split_last().ok_or_else(|| broken("nobody"))?;
    let gone = rest.last().ok_or_else(|| broken("nobody"))?;

    let info = Info { name: Some(String::from("village")), ..Info::default() };
    let create = Kind::Create { info, devices: founder.keys.clone() };
    let body = proto::GroupOp {
        author: founder.device(0).to_bytes().to_vec(),
        b: create.to_proto(chance.bytes()),
        ..proto::GroupOp::default()
    };
    let genesis = Operation::read(&sign(&founder.devices[0].0, &body)).map_err(broken)?;
    let mut writer = Member::begin(founder.device(0), &genesis)?;
    let changes = writer.ring.hold_fresh(&genesis.id(), &Secret::random(&mut chance), Secrecy::Classical);
    writer.apply(changes.map_err(broken)?);
    writer.heads = vec![genesis.id()];
    let mut log = vec![genesis.clone()];
    let mut here = Member::begin(reader.device(0), &genesis)?;
    for person in std::iter::once(reader).chain(rest) {
        let operation = writer.write(founder, writer.addition(person))?;
        writer.take(&operation)?;
        // The reader is the first who comes: it sees the group grow.
        here.take(&operation)?;
        if person.account == reader.account {
            let told = writer.ring.welcome(&operation.id(), &reader.device(0)).map_err(broken)?;
            let changes = here.ring.accept(&told).map_err(broken)?;
            here.apply(changes);
        }
        log.push(operation);
    }

    let mut large = Large::default();
    let text = proto::Plain {
        ts_ms: NOW.0,
        msg_id: vec![7; 12],
        lamport: 5_000,
        kind: Some(plain::Kind::Text(proto::Text { body: "x".repeat(40), ..proto::Text::default() })),
        ..proto::Plain::default()
    };
    large.post = transfer(&mut writer, &mut here, founder, &text, &mut chance, |_| Ok(()))?;

    let begun = Instant::now();
    let addition = writer.write(founder, writer.addition(newcomer))?;
    let made_ms = ms(begun);
    large.add = announce(&mut writer, &mut here, founder, &addition, made_ms, &mut chance)?;
    log.push(addition.clone());

    large.operations = log.len();
    join(&mut large, &people, &writer, &log, newcomer, &addition)?;

    let begun = Instant::now();
    let removal = writer.write(founder, Kind::Remove { accounts: vec![gone.account], reason: 0 })?;
    let made_ms = ms(begun);
    large.removal = announce(&mut writer, &mut here, founder, &removal, made_ms, &mut chance)?;
    rekey(&mut large, (&mut writer, founder), (&mut here, reader), &mut chance)?;
    Ok(large)
}

/// The keys for those who stay.
fn rekey(
    large: &mut Large,
    (writer, founder): (&mut Member, &Person),
    (here, reader): (&mut Member, &Person),
    chance: &mut Chance,
) -> Result<(), Failure> {
    let membership = writer.graph.membership();
    let devices =
        writer.graph.recipients_after(&writer.graph.parents_for(&membership)).ok_or_else(|| broken("none"))?;
    let recipients: Vec<Recipient> = devices
        .iter()
        .filter_map(|device| Some(Recipient { device: *device, key: membership.device(device)?.agree }))
        .collect();
    let place = RekeyPlace { group: writer.graph.group(), rekeyer: writer.me, heads: writer.heads.clone() };
    let begun = Instant::now();
    let made = make_rekey(&place, &recipients, &mut std::collections::BTreeMap::new(), chance).map_err(broken)?;
    large.make_ms = ms(begun);
    let material = made.material.encode();
    let operation = writer.write(founder, Kind::Rekey { heads: writer.heads.clone(), material: material.clone() })?;
    large.rekey = announce(writer, here, founder, &operation, 0.0, chance)?;
    let mine = writer.ring.hold_fresh(&operation.id(), &made.x, Secrecy::Classical).map_err(broken)?;
    writer.apply(mine);

    let index = devices.binary_search(&here.me).map_err(broken)?;
    let begun = Instant::now();
    let read = RekeyMaterial::decode(&material, devices.len()).map_err(broken)?;
    let placed = PlacedSlice { index: u16::try_from(index).map_err(broken)?, slice: made.slices[index] };
    let opened = open_placed(&place, &read, &placed, &here.me, &reader.devices[0].1, &[]).map_err(broken)?;
    let changes = here.ring.hold_fresh(&operation.id(), &opened.x, Secrecy::Classical).map_err(broken)?;
    here.apply(changes);
    large.open_ms = ms(begun);
    let epoch = epoch_of(&[operation.id()]);
    let same = |member: &Member| member.ring.epoch(&epoch).map(|epoch| *epoch.topic().expose());
    if same(writer).is_none() || same(writer) != same(here) {
        return Err(broken("the new keys differ"));
    }

    large.remaining = devices.len();
    large.key_bytes = material.len() + made.slices.len() * PlacedSlice::BYTES;
    let head = EnvelopeHead::new(Class::Control, DAY_MS, NOW, chance);
    let proven = silbo_protocol::group::slices::ProvenSlice::all(&made.slices);
    for (cover, slice) in made.covers.iter().zip(&proven) {
        let own = slice.placed().to_bytes();
        let said = proto::GroupSlices { rekey: operation.id().0.to_vec(), own, all: Vec::new() };
        let sync =
            proto::GroupSync { gid: writer.graph.group().0.to_vec(), s: Some(S::Slices(said)), ..Default::default() };
        large.slice_frames += Frame::GroupSync(sync).encode().len();
        large.slice_envelopes += cover.seal(head, slice).map_err(broken)?.len();
    }
    Ok(())
}

/// What somebody who joins is told, and what reading it takes.
fn join(
    large: &mut Large,
    people: &[Person],
    writer: &Member,
    log: &[Operation],
    newcomer: &Person,
    addition: &Operation,
) -> Result<(), Failure> {
    let me = newcomer.device(0);
    let secret = writer.ring.welcome(&addition.id(), &me).map_err(broken)?;
    let keys = Welcome { group: writer.graph.group(), secrets: vec![secret] }.encode();
    // As members who are no contacts of the host say it of themselves: a name, one mailbox, one address.
    let members: Vec<proto::GroupMemberCard> = people
        .iter()
        .map(|person| proto::GroupMemberCard {
            aid: person.account.0.to_vec(),
            name: String::from("Somebody"),
            grants: vec![proto::MailboxGrant {
                relay: Some(hint(1)),
                sid: vec![1; 16],
                send_key: vec![2; 16],
                retention_days: 30,
                max_kib: 65_536,
                relay_vk: vec![5; 32],
            }],
            peers: vec![hint(0)],
            rev: NOW.0,
        })
        .collect();
    let ops: Vec<Vec<u8>> = log.iter().map(|operation| operation.signed().encode_to_vec()).collect();
    large.welcome_operations = ops.iter().map(Vec::len).sum();
    large.welcome_cards = members.iter().map(|card| card.encoded_len()).sum();
    large.welcome_keys = keys.len();
    let bytes =
        proto::GroupWelcome { gid: writer.graph.group().0.to_vec(), ops, secrets: keys, members }.encode_to_vec();

    let begun = Instant::now();
    let read = proto::GroupWelcome::decode(bytes.as_slice()).map_err(broken)?;
    let mut operations = Vec::new();
    for bytes in &read.ops {
        let signed = proto::Signed::decode(bytes.as_slice()).map_err(broken)?;
        operations.push(Operation::read(&signed).map_err(broken)?);
    }
    let mut operations = operations.into_iter();
    let mut joined = Member::begin(me, &operations.next().ok_or_else(|| broken("no genesis"))?)?;
    for operation in operations {
        joined.graph.insert(operation.clone(), &operation.author().account).map_err(broken)?;
        joined.learn(&operation)?;
    }
    let roster = joined.graph.membership().roster.len();
    let welcome = Welcome::decode(&read.secrets).ok_or_else(|| broken("no keys"))?;
    for secret in &welcome.secrets {
        let changes = joined.ring.accept(secret).map_err(broken)?;
        joined.apply(changes);
    }
    large.join_ms = ms(begun);
    if roster != people.len() || joined.ring.epoch(&epoch_of(&[addition.id()])).is_none() {
        return Err(broken("the newcomer does not know the group"));
    }
    Ok(())
}

/// An operation as a letter, and all that follows from it at the author and at one reader.
fn announce(
    from: &mut Member,
    to: &mut Member,
    author: &Person,
    operation: &Operation,
    made_ms: f64,
    chance: &mut Chance,
) -> Result<Letter, Failure> {
    let signed = operation.signed().encode_to_vec();
    let ctl = proto::GroupCtl { c: Some(C::Op(signed)), name: String::from("Somebody") };
    let plain = proto::Plain {
        ts_ms: NOW.0,
        msg_id: vec![8; 12],
        lamport: 5_001,
        kind: Some(plain::Kind::Group(ctl)),
        ..proto::Plain::default()
    };
    let mut letter = transfer(from, to, author, &plain, chance, |to| to.take(operation))?;
    let begun = Instant::now();
    from.take(operation)?;
    letter.write_ms += ms(begun) + made_ms;
    Ok(letter)
}

/// A letter sealed by one member and opened by the other, under the present key.
fn transfer(
    from: &mut Member,
    to: &mut Member,
    author: &Person,
    plain: &proto::Plain,
    chance: &mut Chance,
    follow: impl FnOnce(&mut Member) -> Result<(), Failure>,
) -> Result<Letter, Failure> {
    let heads = from.heads.clone();
    let epoch = epoch_of(&heads);
    let writers = from.ring.graph().writers(&heads).ok_or_else(|| broken("no writers"))?;
    let writer = u16::try_from(writers.binary_search(&from.me).map_err(broken)?).map_err(broken)?;
    let origin = Origin { group: from.graph.group(), epoch, sender: from.me };
    let begun = Instant::now();
    let chain = from.chains.chain(&epoch, writer).ok_or_else(|| broken("no chain"))?;
    let head = EnvelopeHead::new(Class::Text, DAY_MS, NOW, chance);
    let cover = Cover { head, extensions: &[], class: PadClass::Rich };
    let draft = Draft { lamport: plain.lamport, parents: Vec::new(), body: plain.encode_to_vec() };
    let sealed = letter::seal(&origin, chain, &author.devices[0].0, &cover, &draft, chance).map_err(broken)?;
    let place = LetterPlace { epoch, writer, n: sealed.n };
    let found = from.chains.find(place).map_err(broken)?;
    from.chains.commit(found, NOW);
    let write_ms = ms(begun);

    let begun = Instant::now();
    let found = to.chains.find(place).map_err(broken)?;
    let key = author.devices[0].0.verifying_key();
    let opened = letter::open(&origin, &found, &key, &sealed.envelope).map_err(broken)?;
    to.chains.commit(found, NOW);
    if opened.body != draft.body {
        return Err(broken("another letter"));
    }
    follow(to)?;
    Ok(Letter { bytes: sealed.envelope.len(), write_ms, read_ms: ms(begun) })
}

impl Person {
    fn new(second: bool, chance: &mut Chance) -> Result<Self, Failure> {
        let mut account = OwnAccount::create(chance, DAY);
        let mut devices = vec![(account.device_id(), account.dik().clone(), account.ddh().clone())];
        if second {
            let (dik, ddh) = (SigningKey::generate(chance), SecretKey::generate(chance));
            account.add_device(Signer::ThisDevice, device_cert(&dik, &ddh, DAY)).map_err(broken)?;
            devices.push((device_id(&dik.verifying_key()), dik, ddh));
        }
        devices.sort_unstable_by_key(|(id, _, _)| *id);
        // As an engine vouches for the devices of an account: with the first one.
        let vouch = proto::LogUpdate { entries: account.log().entries().to_vec(), head: Vec::new() }.encode_to_vec();
        let keys = devices.iter().enumerate().map(|(n, (id, dik, ddh))| DeviceKeys {
            id: *id,
            sign: dik.verifying_key(),
            agree: ddh.public(),
            vouch: if n == 0 { vouch.clone() } else { Vec::new() },
        });
        let keys = keys.collect();
        Ok(Self {
            account: account.aid(),
            devices: devices.into_iter().map(|(_, dik, ddh)| (dik, ddh)).collect(),
            keys,
        })
    }

    fn device(&self, at: usize) -> GroupDevice {
        GroupDevice { account: self.account, device: self.keys[at].id }
    }
}

impl Member {
    fn begin(me: GroupDevice, genesis: &Operation) -> Result<Self, Failure> {
        let graph = Graph::new(genesis.clone()).map_err(broken)?;
        let mut member = Self {
            me,
            ring: KeyRing::new(graph.group(), me),
            graph,
            chains: SenderChains::default(),
            heads: vec![genesis.id()],
        };
        member.learn(genesis)?;
        Ok(member)
    }

    fn addition(&self, person: &Person) -> Kind {
        let devices = person.keys.clone();
        Kind::Add { account: person.account, role: Role::Member, devices, heads: self.heads.clone() }
    }

    /// An operation by the first device of its author.
    fn write(&self, author: &Person, kind: Kind) -> Result<Operation, Failure> {
        let parents = self.graph.parents_for(&self.graph.membership());
        let signed = self.graph.write(&kind, &author.device(0), &parents, &author.devices[0].0);
        Operation::read(&signed.ok_or_else(|| broken("not written"))?).map_err(broken)
    }

    /// Takes an operation in, works out what the group is then, and derives the keys that follow.
    fn take(&mut self, operation: &Operation) -> Result<(), Failure> {
        self.graph.insert(operation.clone(), &operation.author().account).map_err(broken)?;
        let membership = self.graph.membership();
        self.heads = membership.key_heads.iter().copied().collect();
        self.learn(operation)?;
        let changes = self.ring.keep_current(&self.heads, NOW);
        self.apply(changes);
        Ok(())
    }

    fn learn(&mut self, operation: &Operation) -> Result<(), Failure> {
        let account = operation.owner_of_devices();
        let named = operation.kind().devices().iter();
        let mut devices: Vec<GroupDevice> = named.map(|device| GroupDevice { account, device: device.id }).collect();
        let kind = match operation.kind() {
            Kind::Create { .. } => KeyKind::Genesis,
            Kind::Add { .. } => KeyKind::Forward,
            Kind::Rekey { .. } => KeyKind::Rekey,
            _ => return Ok(()),
        };
        if kind == KeyKind::Rekey {
            devices = self.graph.recipients_of(&operation.id()).unwrap_or_default().to_vec();
        }
        devices.sort_unstable();
        let heads = operation.kind().heads().unwrap_or_default().to_vec();
        let changes = self.ring.learn(&KeyOperation { id: operation.id(), kind, heads, devices }).map_err(broken)?;
        self.apply(changes);
        Ok(())
    }

    fn apply(&mut self, changes: Changes) {
        for epoch in &changes.dropped {
            self.chains.remove(epoch);
        }
        for made in changes.made {
            for old in self.chains.insert(made.id, made.chains) {
                self.chains.remove(&old);
            }
        }
    }
}

/// Where a peer is found: its key, and one address.
fn hint(roles: u32) -> proto::PeerHint {
    proto::PeerHint { peer: vec![3; 38], addrs: vec![vec![4; 9]], roles }
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

"""What must work between two people in bad networks. Each scenario gets a fresh world and says what it saw."""

import json
import os
import time

import disks
from machines import World
from nodes import Conversation, Failed, Node, befriend, wait_until

RELAY = "198.51.100.10"
HOME_A = "198.51.100.21"
HOME_B = "203.0.113.22"
HOME_C = "203.0.113.23"
INSIDE_A = "192.168.1.11"
INSIDE_B = "192.168.1.12"
HELLO = "hello"
# A receipt waits 71 minutes at most.
LONGER_THAN_A_RECEIPT_WAITS_MS = 90 * 60 * 1_000


class Stage:
    """A world and the nodes in it."""

    def __init__(self, silbo, folder):
        self.silbo = silbo
        self.folder = folder
        self.world = World()
        self.nodes = []

    def close(self):
        for node in self.nodes:
            node.kill()
        self.world.remove()

    def node(self, machine, name, **kind):
        node = Node(self.silbo, os.path.join(self.folder, name), machine, name, **kind)
        self.nodes.append(node)
        return node

    def two_homes(self, **router):
        """A relay in public; Ada and Bob, each behind a router of their own; Ada uses the relay."""
        self.relay = self.node(self.world.public(RELAY), "Relay", relay=True)
        self.relay_address = self.relay.call("relay", "status")["address"]
        self.router_a = self.world.router(HOME_A, **router)
        self.router_b = self.world.router(HOME_B, **router)
        ada = self.node(self.world.behind(self.router_a, INSIDE_A), "Ada")
        bob = self.node(self.world.behind(self.router_b, INSIDE_B), "Bob")
        added = ada.call("relay", "add", self.relay_address)
        if not added["connected"]:
            raise Failed("the relay was not reached")
        return ada, bob

    def walkers(self, names):
        """Nodes without any network, until two of them meet."""
        machines = [self.world.walker(f"192.168.9.{number}/24") for number, _ in enumerate(names, 1)]
        return [self.node(machine, name, mdns=True) for machine, name in zip(machines, names)]

    def relay_bytes(self):
        uplink = self.relay.machine.uplink
        return uplink.bytes_in + uplink.bytes_out


def _becomes_direct(ada, bob, seconds):
    _, took = wait_until(
        "the path becomes direct", seconds,
        lambda: ada.route(bob.name) == "direct" and bob.route(ada.name) == "direct",
    )
    return took


def _becomes_linked(ada, bob, seconds):
    """Waits for any way from node to node; tells which, and the seconds it took."""
    ways = ("circuit", "direct")
    return wait_until("a link", seconds, lambda: ada.route(bob.name) in ways and bob.route(ada.name) in ways and ada.route(bob.name))


def cone_to_cone(stage):
    """Two port-preserving NATs: the direct path is found by hole punching."""
    ada, bob = stage.two_homes()
    contact = befriend(ada, bob)
    punched = _becomes_direct(ada, bob, 60)
    path, _ = bob.send_and_wait(ada.name, "over the direct path")
    if path != "direct":
        raise Failed(f"the path of a message is {path}")
    # What else there is to say to the relay has been said when its bytes stand still.
    before = stage.relay_bytes()
    def quiet():
        nonlocal before
        last, before = before, stage.relay_bytes()
        return last == before
    wait_until("the relay falls silent", 20, quiet, 2.0)
    direct = stage.router_a.uplink.bytes_out
    Conversation(ada, bob, 20, words="says at length: " + "ha " * 300).check(30)
    relayed, direct = stage.relay_bytes() - before, stage.router_a.uplink.bytes_out - direct
    # Over a circuit each byte would be counted at the relay twice, once in and once out, for either direction.
    if relayed > direct:
        raise Failed(f"40 messages took {relayed} bytes at the relay and {direct} from Ada's home")
    if {item.get("path") for item in ada.history(bob.name) if item["outgoing"]} != {"direct"}:
        raise Failed(f"not all messages went the direct way: {ada.paths(bob.name)}")
    rtt = ada.call("ping", bob.name)
    return (
        f"contact in {contact:.1f} s, direct {punched:.1f} s later, ping {rtt['rttMs']} ms {rtt['path']}; "
        f"40 messages of 900 B: {relayed} B at the relay, {direct} B out of Ada's home"
    )


def symmetric_to_symmetric(stage):
    """Two NATs that take another port for every destination: everything goes over the relay."""
    ada, bob = stage.two_homes(symmetric=True)
    contact = befriend(ada, bob)
    mailed = Conversation(ada, bob, 20).check(60)
    route, linked = _becomes_linked(ada, bob, 60)
    took = Conversation(ada, bob, 20, words="also says").check(60)
    routes = {route, ada.route(bob.name), bob.route(ada.name)}
    if "direct" in routes or "direct" in ada.paths(bob.name):
        raise Failed("a direct path where none can be")
    return (
        f"contact in {contact:.1f} s, 40 messages in {mailed:.1f} s, {route} {linked:.1f} s later, "
        f"40 more in {took:.1f} s: {ada.paths(bob.name)}"
    )


def loss_and_delay(stage):
    """5 % of the packets lost and 300 ms round trip at each home."""
    ada, bob = stage.two_homes(delay=0.15, loss=0.05)
    contact = befriend(ada, bob, 90)
    route, linked = _becomes_linked(ada, bob, 60)
    took = Conversation(ada, bob, 100).check(120)
    lost = stage.router_a.uplink.packets_lost + stage.router_b.uplink.packets_lost
    return (
        f"contact in {contact:.1f} s, {route} {linked:.1f} s later, 100 messages each way in {took:.1f} s, "
        f"{lost} packets lost, then {ada.route(bob.name)}: {ada.paths(bob.name)}"
    )


def move_to_another_network(stage):
    """Bob's cable is pulled in mid-conversation and put into another home's router."""
    ada, bob = stage.two_homes()
    befriend(ada, bob)
    _becomes_direct(ada, bob, 60)
    elsewhere = stage.world.router(HOME_C, inside="10.20.30.1/24")
    talk = Conversation(ada, bob, 40, pause=0.2)
    talk.wait_for(10)
    stage.world.unplug(bob.machine)
    stage.world.plug(bob.machine, elsewhere, "10.20.30.40")
    moved = time.monotonic()
    # What Ada writes from here on was written after the move.
    later = talk.next_text(ada)
    wait_until("a message after the move", 90, lambda: later in bob.received(ada.name))
    first = time.monotonic() - moved
    took = talk.check(90)
    _becomes_direct(ada, bob, 90)
    again = time.monotonic() - moved
    return (
        f"40 messages each way in {took:.1f} s, the first {first:.1f} s after the move, "
        f"seen to be direct again {again:.1f} s after it; {ada.paths(bob.name)}"
    )


def another_public_address(stage):
    """The provider renumbers Bob's router in mid-conversation; Bob's machine sees nothing of it."""
    ada, bob = stage.two_homes()
    befriend(ada, bob)
    _becomes_direct(ada, bob, 60)
    talk = Conversation(ada, bob, 40, pause=0.2)
    talk.wait_for(10)
    stage.world.renumber(stage.router_b, HOME_C)
    took = talk.check(120)
    path, again = bob.send_and_wait(ada.name, "from another address")
    return f"40 messages each way in {took:.1f} s; then one in {again:.1f} s {path}; {ada.paths(bob.name)}"


def relay_restart(stage):
    """The relay is killed and started again in mid-conversation; the two have no other way."""
    ada, bob = stage.two_homes(symmetric=True)
    befriend(ada, bob)
    talk = Conversation(ada, bob, 40, pause=0.2)
    talk.wait_for(10)
    stage.relay.kill()
    talk.wait_for(20)
    stage.relay.start()
    again = stage.relay.call("relay", "status")["address"]
    if again != stage.relay_address:
        raise Failed(f"the relay's address was {stage.relay_address} and is {again}")
    took = talk.check(120)
    return f"same address, 40 messages each way in {took:.1f} s: {ada.paths(bob.name)}"


def neighbours_without_internet(stage):
    """Two machines on one switch, no relay, no internet: mDNS finds them."""
    one, other = stage.world.neighbours(["192.168.7.1/24", "192.168.7.2/24"])
    ada, bob = stage.node(one, "Ada", mdns=True), stage.node(other, "Bob", mdns=True)
    contact = befriend(ada, bob)
    took = Conversation(ada, bob, 20).check(30)
    # The address in the invitation is stale after a restart of both: only mDNS can find them.
    for node in (ada, bob):
        node.kill()
    for node in (ada, bob):
        node.start()
    path, found = ada.send_and_wait(bob.name, "found again")
    if path not in ("lan", "direct"):
        raise Failed(f"the path of a message is {path}")
    return f"contact in {contact:.1f} s, 40 messages in {took:.1f} s; both restarted: found again in {found:.1f} s, path {path}"


def couriers(stage):
    """Three strangers carry the mail of two people who are never connected at the same time.

    Ada — Cleo — Dora — Emil — Bob: neighbours in this row meet, one pair at a time, and there is no other network. Ada's
    texts walk down the row and Bob's walk up, a second lot sets out while the first is on its way, and the receipts walk
    back after the pause that hides for whom the mail was. Dora is killed while she carries.
    """
    # Names and words that no other text on a disk has eight letters of.
    ada, cleo, dora, emil, bob = stage.walkers(["Adalwynne", "Cleo", "Dora", "Emil", "Bobbington"])
    walk = Walk(stage.world)
    # What belongs to a new contact goes back and forth before the first texts are receipted.
    walk.meet(
        ada, bob, "they become contacts",
        lambda: befriend(ada, bob) and ada.send_and_wait(bob.name, HELLO) and bob.send_and_wait(ada.name, HELLO),
    )
    wait_until("the two see that they have parted", 60, lambda: not ada.route(bob.name) and not bob.route(ada.name))
    first = {
        ada: [f"quartz lanterns, willow quay {number}" for number in range(5)],
        bob: [f"juniper bread, zinc buckets {number}" for number in range(4)],
    }
    later = {
        ada: [f"zwolle ferry waits, bring twine {number}" for number in range(3)],
        bob: [f"yeast, quinces, attic keyhole {number}" for number in range(2)],
    }
    texts = {writer: first[writer] + later[writer] for writer in (ada, bob)}
    secrets = [text for writer in texts for text in texts[writer]]
    for person in (ada, bob):
        account = person.call("status")["account"]
        secrets += [person.name, account, disks.base32_bytes(account)]

    def write(lot):
        for writer, reader in ((ada, bob), (bob, ada)):
            for text in lot[writer]:
                writer.send(reader.name, text)

    def carry(node, count):
        return lambda: node.mesh("carried") >= count

    def know(node, count):
        return lambda: node.mesh("vaccines") >= count

    write(first)
    walk.meet(ada, cleo, "Cleo carries", carry(cleo, 5))
    _sealed_mail_is_found(stage, cleo)
    walk.meet(bob, emil, "Emil carries", carry(emil, 4))
    walk.meet(cleo, dora, "Dora carries", carry(dora, 5), then=dora.kill)
    _nothing_is_readable(dora, secrets)
    dora.start()
    if dora.mesh("carried") < 5:
        raise Failed(f"Dora carried 5, was killed and carries {dora.mesh('carried')}")
    walk.meet(dora, emil, "both carry all", lambda: carry(dora, 9)() and carry(emil, 9)())
    walk.meet(emil, bob, "Bob reads", lambda: bob.received(ada.name) == [HELLO, *first[ada]])
    walk.meet(cleo, dora, "Cleo carries all", carry(cleo, 9))
    write(later)
    walk.meet(
        ada, cleo, "Ada reads, Cleo takes more",
        lambda: ada.received(bob.name) == [HELLO, *first[bob]] and carry(cleo, 12)(),
    )
    walk.meet(bob, emil, "Emil takes more", carry(emil, 11))
    walk.meet(cleo, dora, "Dora carries more", carry(dora, 12))
    walk.meet(dora, emil, "both carry all there is", lambda: carry(dora, 14)() and carry(emil, 14)())
    walk.meet(emil, bob, "Bob reads on", lambda: bob.received(ada.name) == [HELLO, *texts[ada]])
    walk.meet(cleo, dora, "Cleo carries all there is", carry(cleo, 14))
    walk.meet(ada, cleo, "Ada reads on", lambda: ada.received(bob.name) == [HELLO, *texts[bob]])
    there = walk.count - 1
    for writer, reader in ((ada, bob), (bob, ada)):
        if writer.undelivered(reader.name) != len(texts[writer]):
            raise Failed(f"{writer.name} has a receipt that nobody brought")

    for person, count in ((ada, 6), (bob, 8)):
        person.kill()
        person.start(clock_ahead_ms=LONGER_THAN_A_RECEIPT_WAITS_MS)
        wait_until(f"{person.name} publishes the receipts", 60, know(person, count))
    walk.meet(bob, emil, "Emil knows what Bob has", know(emil, 8))
    walk.meet(dora, emil, "Dora knows what Bob has", know(dora, 8))
    walk.meet(cleo, dora, "Cleo knows what Bob has", know(cleo, 8))
    walk.meet(ada, cleo, "Ada has her receipts", lambda: ada.undelivered(bob.name) == 0 and know(cleo, 14)())
    walk.meet(cleo, dora, "Dora knows all", know(dora, 14))
    walk.meet(dora, emil, "Emil knows all", know(emil, 14))
    walk.meet(bob, emil, "Bob has his receipts", lambda: bob.undelivered(ada.name) == 0)

    for writer, reader in ((ada, bob), (bob, ada)):
        _came_by_couriers(writer, reader, texts[writer])
    for node in (ada, cleo, dora, emil, bob):
        still = node.call("mesh", "status")
        if still["carried"] or still["carriedBytes"] or still["waiting"]:
            raise Failed(f"{node.name} still carries {still['carried']}, and {still['waiting']} of its own wait")
    searched = sum(_nothing_is_readable(node, secrets) for node in (cleo, dora, emil))
    _history_is_readable(stage, bob, ada, [text for writer in texts for text in texts[writer]])
    return (
        f"{len(texts[ada])} texts one way and {len(texts[bob])} the other in {there} meetings, receipts in {walk.count - 1 - there} more, "
        f"the longest {walk.longest:.1f} s; {ada.paths(bob.name)}, {bob.paths(ada.name)}; stores empty, nothing readable in {searched >> 20} MiB"
    )


class Walk:
    """Meetings of two at a time: one person is never in two, and no two meetings are at once."""

    def __init__(self, world):
        self._world = world
        self.count = 0
        self.longest = 0.0

    def meet(self, one, other, what, seen, then=lambda: None):
        """Two nodes are on one network, with nobody else, until something is so; `then` is the last that happens there."""
        self._world.meet(one.machine, other.machine)
        try:
            _, took = wait_until(f"{one.name} meets {other.name}: {what}", 30, seen, 0.1)
            then()
        except Failed as failed:
            counts = ("carriers", "carried", "vaccines", "taken", "handedOver", "waiting")
            one_has, other_has = ({count: node.mesh(count) for count in counts} for node in (one, other))
            raise Failed(f"{failed}; {one.name} has {one_has}, {other.name} {other_has}") from None
        finally:
            self._world.part(one.machine)
        self.count += 1
        self.longest = max(self.longest, took)


def _came_by_couriers(writer, reader, texts):
    """Holds that every text was told once, and that both sides know by which way it went."""
    told = [event for event in reader.told("message.received") if event["body"] != HELLO]
    if sorted(event["body"] for event in told) != sorted(texts) or {event["path"] for event in told} != {"courier"}:
        raise Failed(f"{reader.name} was told {[(event['body'], event['path']) for event in told]}")
    sent = [item for item in writer.history(reader.name) if item["outgoing"] and item["body"] != HELLO]
    if [(item["body"], item["state"], item["path"]) for item in sent] != [(text, "delivered", "courier") for text in texts]:
        raise Failed(f"{writer.name} sees {[(item['body'], item['state'], item['path']) for item in sent]}")


def _nothing_is_readable(node, secrets):
    """Holds that no file of a node gives a secret away, and that one which did would be found; tells the bytes searched."""
    found = disks.holding(node.home, secrets)
    if found:
        raise Failed(f"{node.name}'s disk gives something away in {', '.join(found)}")
    place = os.path.join("data", "spool", "planted")
    planted = os.path.join(node.home, place)
    for secret in secrets:
        with open(planted, "wb") as file:
            file.write(b"x" + (secret if isinstance(secret, bytes) else secret.encode()) + b"x")
        found = disks.holding(os.path.dirname(planted), [secret])
        os.remove(planted)
        if found != ["planted"]:
            raise Failed(f"a planted secret was found in {found}")
    return disks.size(node.home)


def _history_is_readable(stage, node, contact, texts):
    """The search finds every text in what its reader exports."""
    folder = os.path.join(stage.folder, "exported")
    os.makedirs(folder)
    with open(os.path.join(folder, "history"), "w") as file:
        json.dump(node.history(contact.name), file)
    missed = [text for text in texts if disks.holding(folder, [text]) != ["history"]]
    if missed:
        raise Failed(f"not found in an exported history: {missed}")


def _sealed_mail_is_found(stage, node):
    """What a node carries lies on its disk as it is handed over, so the search looks where the mail is."""
    bag = os.path.join(stage.folder, "bag")
    node.call("msg", "carry", "export", "--file", bag)
    with open(bag, "rb") as file:
        sealed = file.read()[-64:-32]
    if not any(place.startswith("data/spool/") for place in disks.holding(node.home, [sealed])):
        raise Failed(f"what {node.name} carries is not on its disk as it is handed over")


def group_split(stage):
    """A group of seven is cut in two. Both halves talk; one removes somebody, the other takes somebody in; then they meet.

    Whoever was there from beginning to end sees one group and one history, and who was removed nothing more.
    """
    names = ["Ada", "Bob", "Cleo", "Dora", "Emil", "Fritz", "Gerda", "Hans"]
    machines = stage.world.neighbours([f"192.168.7.{number}/24" for number, _ in enumerate(names, 1)])
    people = [stage.node(machine, name, mdns=True) for machine, name in zip(machines, names)]
    ada, bob, cleo, dora, emil, fritz, gerda, hans = people
    for person in people[1:7]:
        befriend(ada, person)
    befriend(emil, hans)
    group = "#village"
    ada.call("group", "create", "village", *[person.name for person in people[1:7]])
    for person in people[:7]:
        _members_are(person, group, names[:7])
    ada.call("group", "role", group, "Emil", "admin")
    wait_until("Emil is admin", 60, lambda: emil.call("group", "show", group)["local"]["role"] == "admin")
    said = {"before the split": ada, "so say I": gerda}
    for text, author in said.items():
        author.send_and_wait(group, text)

    left, right = people[:4], people[4:]
    stage.world.separate([person.machine for person in right])
    parted = lambda: not any(ada.route(person.name) for person in right[:3])  # noqa: E731
    wait_until("the halves see that they have parted", 180, parted)
    both = [("left", bob, [ada, cleo, dora]), ("right", gerda, [emil, fritz])]
    for side, author, readers in both:
        author.send(group, f"only the {side} hears this")
        for reader in readers:
            _reads(reader, group, f"only the {side} hears this")
    ada.call("group", "remove", group, "Dora")
    emil.call("group", "add", group, "Hans")
    for person in (ada, bob, cleo):
        _members_are(person, group, [name for name in names[:7] if name != "Dora"])
    for person in right:
        _members_are(person, group, names)
    cleo.send(group, "without Dora")
    hans.send(group, "hello, I am new")
    for reader in (ada, bob):
        _reads(reader, group, "without Dora")
    for reader in (emil, fritz, gerda):
        _reads(reader, group, "hello, I am new")

    stage.world.join([person.machine for person in right])
    began = time.monotonic()
    survivors = [ada, bob, cleo, emil, fritz, gerda]
    after = [name for name in names if name != "Dora"]
    for person in [*survivors, hans]:
        _members_are(person, group, after, 240)
    for reader in survivors:
        for text in ("only the left hears this", "only the right hears this", "without Dora", "hello, I am new"):
            _reads(reader, group, text, 240)
    healed = time.monotonic() - began
    _, last = fritz.send_and_wait(group, "together again", 120)
    shown, _ = wait_until("all see one group", 120, lambda: _the_same([_shared_group(p, group) for p in [*survivors, hans]]))
    told, _ = wait_until("all see one history", 120, lambda: _the_same([_shared_history(p, group) for p in survivors]))
    texts = dora.received(group)
    if "without Dora" in texts or "together again" in texts:
        raise Failed(f"Dora reads {texts}")
    return (
        f"{len(told)} messages and {len(shown['members'])} members alike on {len(survivors)} of 8; "
        f"whole again after {healed:.1f} s, the next message is everywhere in {last:.1f} s; who was removed reads nothing more"
    )


def _members_are(node, group, names, seconds=60):
    def members():
        code, out, _ = node._call("group", "show", group)
        return sorted(member["name"] for member in json.loads(out)["members"]) if code == 0 else []

    try:
        wait_until(f"{node.name} sees the members", seconds, lambda: members() == sorted(names))
    except Failed as failed:
        raise Failed(f"{failed}: it sees {members()}") from None


def _reads(node, group, text, seconds=60):
    wait_until(f"{node.name} reads {text!r}", seconds, lambda: any(item["body"] == text for item in node.history(group)))


def _shared_group(node, group):
    """What of a group is the same for all (docs/api.md)."""
    shown = node.call("group", "show", group)
    shown.pop("local")
    return shown


def _shared_history(node, group):
    """What of a history is the same for all (docs/api.md)."""
    local = ("outgoing", "state", "path", "held", "failed", "partial", "storedAt", "expiresAt")
    return [{name: value for name, value in item.items() if name not in local} for item in node.history(group)]


def _the_same(seen):
    return seen[0] if all(one == seen[0] for one in seen) else None


def idle_bytes(stage):
    """What a node with one relay says while nobody speaks."""
    ada, _ = stage.two_homes()
    seconds = 120
    time.sleep(30)  # first words with the relay are not idle ones
    before = ada.machine.counted_bytes("eth0")
    time.sleep(seconds)
    per_minute = (ada.machine.counted_bytes("eth0") - before) * 60 / seconds
    if per_minute > 4096:
        raise Failed(f"{per_minute:.0f} bytes a minute")
    return f"{per_minute:.0f} bytes a minute"


SCENARIOS = [
    cone_to_cone,
    symmetric_to_symmetric,
    loss_and_delay,
    move_to_another_network,
    another_public_address,
    relay_restart,
    neighbours_without_internet,
    group_split,
    couriers,
]
SLOW = [idle_bytes]
TURNING_THE_CLOCK = [couriers]

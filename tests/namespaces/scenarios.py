"""What must work between two people in bad networks. Each scenario gets a fresh world and says what it saw."""

import os
import time

from machines import World
from nodes import Conversation, Failed, Node, befriend, wait_until

RELAY = "198.51.100.10"
HOME_A = "198.51.100.21"
HOME_B = "203.0.113.22"
HOME_C = "203.0.113.23"
INSIDE_A = "192.168.1.11"
INSIDE_B = "192.168.1.12"


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
]
SLOW = [idle_bytes]

"""Two people who write to each other through a relay, and what has to be true of them at the end, whatever happened."""

import collections
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from crashes.node import Node, Refused, Unreachable

KEY_LINE = re.compile(r"^([0-9a-f]{24}) ([0-9a-f]{64})$")
# Answers of a node that is overloaded, stopping, or whose disk fails: the sender asks again.
PASSING_CLASSES = {1, 3, 6, 7, 9}


class Lab:
    """A folder, a binary, and the nodes that run in it; leaves nothing behind."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="silbo-cr-")
        self.nodes, self.mounts = [], []
        self.key_lines = 0

    def node(self, name, role="person", shim=None, home=None):
        node = Node(self, name, role, shim, home)
        self.nodes.append(node)
        return node

    def close(self, keep):
        end_all(node.process for node in self.nodes)
        for mount in self.mounts:
            subprocess.run(["umount", mount], check=False)
        if not keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def end_all(processes):
    for process in processes:
        if process and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


def until(what, seconds, check):
    """Polls `check` until it gives something true; `what` may be a function, asked at the end."""
    deadline = time.monotonic() + seconds
    last = None
    while time.monotonic() < deadline:
        try:
            last = check()
            if last:
                return last
        except (Refused, Unreachable) as problem:
            last = problem
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what} (last: {last})")


class Pair:
    """Ada, Bob and a relay both use; contacts of each other."""

    def __init__(self, lab, shim=None, homes=None):
        homes = homes or {}
        self.lab = lab
        self.ada = lab.node("Ada", shim=shim, home=homes.get("Ada"))
        self.bob = lab.node("Bob", shim=shim, home=homes.get("Bob"))
        self.relay = lab.node("R", "relay", shim=shim, home=homes.get("R"))
        self.nodes = [self.ada, self.bob, self.relay]
        for node in self.nodes:
            node.start()
        address = until("an address of the relay", 20, lambda: self.relay.call("relay.status")["address"])
        for person in (self.ada, self.bob):
            person.call("relay.add", {"address": address}, timeout=60)
        link = self.ada.call("invite.create")["link"]
        self.bob.call("contact.add", {"link": link, "alias": "Ada"}, timeout=60)
        for node, other in ((self.ada, "Bob"), (self.bob, "Ada")):
            until(f"{node} has {other}", 60, lambda node=node, other=other: any(
                c["state"] == "active" and other in (c["name"], c["profileName"])
                for c in node.call("contact.list")["items"]))
        self.senders = [Sender(self.ada, "Bob", self.bob, "Ada"), Sender(self.bob, "Ada", self.ada, "Bob")]

    def allow(self, count):
        for sender in self.senders:
            sender.allow(count)

    def finish(self, seconds):
        """Waits until everything is sent and delivered, then returns what is wrong: a list of sentences."""
        for sender in self.senders:
            sender.join(seconds)
        for sender in self.senders:
            until(sender.hope, seconds, sender.all_delivered)
        return [fault for sender in self.senders for fault in sender.faults()] + key_faults(self.nodes, self.lab)


class Sender(threading.Thread):
    """Sends numbered texts, each again and again with one client id until it is acknowledged."""

    def __init__(self, node, chat, other, name_at_other):
        super().__init__(daemon=True)
        self.node, self.chat, self.other, self.name_at_other = node, chat, other, name_at_other
        self.total, self.allowed, self.acknowledged, self.failure = 0, 0, [], None
        self.refusals = collections.Counter()
        self.change = threading.Condition()
        self.last_summary = ""

    def begin(self, total):
        self.total = total
        self.start()

    def text(self, number):
        return f"{self.node.name} {number:05}"

    def allow(self, count):
        with self.change:
            self.allowed = count
            self.change.notify_all()

    def run(self):
        try:
            for number in range(self.total):
                with self.change:
                    self.change.wait_for(lambda number=number: number < self.allowed)
                self.acknowledged.append(self.until_acknowledged(number))
        except AssertionError as problem:
            self.failure = str(problem)

    def until_acknowledged(self, number, seconds=120):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return self.node.send(self.chat, self.text(number), f"client-{number}")
            except Unreachable:
                time.sleep(0.02)
            except Refused as refusal:
                self.refusals[str(refusal)] += 1
                if refusal.exit_class not in PASSING_CLASSES:
                    raise AssertionError(f"{self.node} refused for good: {refusal}") from None
                time.sleep(0.1)
        raise AssertionError(f"{self.node} did not acknowledge {self.text(number)} in {seconds} s: {self.refusals}")

    def join(self, timeout=None):
        if self.ident:
            super().join(timeout)
            if self.is_alive():
                raise AssertionError(f"{self.node} is still sending: {len(self.acknowledged)} of {self.total}")
        if self.failure:
            raise AssertionError(self.failure)

    def hope(self):
        return f"{self.node}'s messages are delivered; missing {self.last_summary}"

    def all_delivered(self):
        states = {item["id"]: item["state"] for item in self.node.history(self.chat) if item["outgoing"]}
        missing = [number for number, id in enumerate(self.acknowledged) if states.get(id) not in ("delivered", "read")]
        counts = collections.Counter(states.get(self.acknowledged[number], "absent") for number in missing)
        self.last_summary = f"{dict(counts)}, numbers {missing[:10]}"
        return not missing

    def faults(self):
        """What is wrong once everything claims to be delivered."""
        expected = [self.text(number) for number in range(len(self.acknowledged))]
        seen = [i["body"] for i in self.other.history(self.name_at_other) if not i["outgoing"]]
        kept = [(i["body"], i["id"]) for i in self.node.history(self.chat) if i["outgoing"]]
        told = self.other.received_events()
        faults = compare(f"{self.other}'s history", expected, seen, ordered=True)
        faults += compare(f"{self.other}'s event log", expected, told, ordered=False)
        faults += compare(f"{self.node}'s history", expected, [body for body, _ in kept], ordered=True)
        ids = dict(kept)
        for number in range(0, len(expected), max(1, len(expected) // 20)):
            if self.node.send(self.chat, self.text(number), f"client-{number}") != ids.get(self.text(number)):
                faults.append(f"{self.node} sent {self.text(number)} anew for a client id it has acknowledged")
        return faults


def compare(where, expected, found, ordered):
    counts = collections.Counter(found)
    lost = [text for text in expected if not counts[text]]
    twice = [text for text, count in counts.items() if count > 1]
    other = sorted(set(found) - set(expected))
    faults = []
    for words, texts in (("lost", lost), ("shown twice", twice), ("not sent by anybody", other)):
        if texts:
            faults.append(f"{where}: {len(texts)} {words}: {texts[:5]}")
    if ordered and not faults and found != expected:
        at = next(i for i, (a, b) in enumerate(zip(expected, found)) if a != b)
        faults.append(f"{where}: not in the order of the sender at {at}: {found[at:at + 4]}")
    return faults


def key_faults(nodes, lab):
    """Two envelopes under one tag: a key and nonce used twice (node/src/key_log.rs says why)."""
    faults, lines = [], 0
    for node in nodes:
        if not os.path.exists(node.keylog):
            continue
        seen = {}
        with open(node.keylog, encoding="ascii") as file:
            for line in filter(None, map(KEY_LINE.match, file.read().splitlines())):
                lines += 1
                tag, envelope = line.groups()
                if seen.setdefault(tag, envelope) != envelope:
                    faults.append(f"{node} sealed two envelopes under the tag {tag}")
    lab.key_lines = lines
    return faults

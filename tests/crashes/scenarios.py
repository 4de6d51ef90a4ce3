"""The scenarios of tests/run-crashes. Each returns a short text on success and raises AssertionError otherwise."""

import errno
import os
import random
import sqlite3
import subprocess
import sys
import time

from crashes.conversation import Pair, compare, key_faults, until
from crashes.node import Refused, Unreachable, restore


def no_faults(faults):
    assert not faults, "; ".join(faults)


def storm(pair, rng, blows, messages, strike):
    """Strikes a random node `blows` times while `messages` flow each way."""
    struck = {node.name: 0 for node in pair.nodes}
    for sender in pair.senders:
        sender.begin(messages)
    for blow in range(blows):
        pair.allow((blow + 1) * messages // blows)
        time.sleep(rng.uniform(0.0, 0.5))
        victim = rng.choice(pair.nodes)
        strike(victim)
        struck[victim.name] += 1
        time.sleep(rng.choice([0, 0, 0, 0.2, 0.8]))
        # One start in six is not waited for: the next blow may hit it while it opens its files.
        victim.start(wait=rng.random() > 1 / 6)
    pair.allow(messages)
    for node in pair.nodes:
        node.wait_ready()
    return struck


def keys_text(lab, debug):
    if lab.key_lines:
        return f"{lab.key_lines} sealed envelopes logged, no key used twice"
    assert not debug, "the key log is empty although this is a debug build"
    return "key reuse not counted: only debug builds write the key log"


def kills(lab, options):
    rng = random.Random(options.seed)
    pair = Pair(lab)
    struck = storm(pair, rng, options.kills, options.messages, lambda node: node.kill())
    no_faults(pair.finish(options.patience))
    return f"{options.kills} kills {struck}, 2 x {options.messages} messages; {keys_text(lab, options.debug)}"


def power_cuts(lab, options):
    rng = random.Random(options.seed + 1)
    pair = Pair(lab, shim=options.shim)
    messages = max(100, options.messages * options.cuts // max(1, options.kills))
    struck = storm(pair, rng, options.cuts, messages, lambda node: node.cut_power())
    no_faults(pair.finish(options.patience))
    for node in pair.nodes:
        assert not node.log_has("the spool was damaged"), f"{node} lost its spool"
        node.stop()
        node.start()
    no_faults(pair.finish(options.patience))
    return f"{options.cuts} cuts {struck}, 2 x {messages} messages; {keys_text(lab, options.debug)}"


def checks_find_planted_faults(lab, options):
    """A check that cannot fail proves nothing: each kind of fault is planted once."""
    right = ["a 0", "a 1", "a 2"]
    planted = {
        "lost": ["a 0", "a 2"],
        "shown twice": ["a 0", "a 1", "a 1", "a 2"],
        "not in the order": ["a 0", "a 2", "a 1"],
        "not sent by anybody": [*right, "b 0"],
    }
    assert not compare("history", right, right, ordered=True), "a right history is called wrong"
    for kind, found in planted.items():
        assert any(kind in fault for fault in compare("history", right, found, ordered=True)), f"{kind} is not found"
    node = lab.node("keys")
    tag, other = "0" * 24, "1" * 24
    for second, faults in ((tag + " " + "a" * 64, 0), (other + " " + "b" * 64, 0), (tag + " " + "b" * 64, 1)):
        with open(node.keylog, "w", encoding="ascii") as file:
            file.write(f"{tag} {'a' * 64}\n{second}\n{tag} {'c' * 10}")
        assert len(key_faults([node], lab)) == faults, f"the key log is read wrongly: {second}"
    return f"{len(planted)} kinds of faults in a history and a key used twice are found"


WRITER = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = " + sys.argv[2])
db.execute("CREATE TABLE t (n INTEGER)")
for n in range(100):
    db.execute("INSERT INTO t VALUES (?)", (n,))
os.kill(os.getpid(), signal.SIGKILL)
"""


def shim_finds_missing_syncs(lab, options):
    kept = {}
    for rule in ("FULL", "OFF"):
        home, shadow = (os.path.join(lab.folder, f"{rule}-{part}") for part in ("home", "shadow"))
        os.makedirs(home)
        os.makedirs(shadow)
        path = os.path.join(home, "t.db")
        variables = os.environ | {"LD_PRELOAD": options.shim, "POWERCUT_DIR": home, "POWERCUT_SHADOW": shadow}
        done = subprocess.run([sys.executable, "-c", WRITER, path, rule], env=variables, check=False)
        assert done.returncode == -9, f"the writer ended with {done.returncode}"
        restore(home, shadow)
        try:
            db = sqlite3.connect(path)
            kept[rule] = db.execute("SELECT count(*) FROM t").fetchone()[0]
            db.close()
        except sqlite3.DatabaseError:
            kept[rule] = 0
    assert kept["FULL"] == 100, f"with synchronous=FULL {kept['FULL']} of 100 rows are left"
    assert kept["OFF"] < 100, "with synchronous=OFF nothing was lost: the shim does nothing"
    return f"SQLite with synchronous=FULL keeps 100 of 100 rows, with OFF {kept['OFF']}"


# ---- full disk


class Skipped(Exception):
    """The scenario cannot run here."""


def small_disk(lab, name, mib):
    path = os.path.join(lab.folder, name)
    os.makedirs(path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "tmpfs", path],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"a small tmpfs may not be mounted here ({done.stderr.strip()})")
    lab.mounts.append(path)
    return path


def fill(home):
    """Fills the disk to the last block; returns the file to remove."""
    path = os.path.join(home, "filler")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 1 << 12):
            while True:
                try:
                    os.write(descriptor, b"\0" * size)
                except OSError as problem:
                    assert problem.errno == errno.ENOSPC, problem
                    break
    finally:
        os.close(descriptor)
    return path


def send_until_refused(pair, sender, limit):
    """Sends until the node refuses, and returns the refusal."""
    for _ in range(limit):
        number = len(sender.acknowledged)
        try:
            sender.acknowledged.append(sender.node.send(sender.chat, sender.text(number), f"client-{number}"))
        except Refused as refusal:
            return refusal
    raise AssertionError(f"{sender.node} took {limit} messages on a full disk")


def send_more(sender, count):
    for _ in range(count):
        sender.acknowledged.append(sender.until_acknowledged(len(sender.acknowledged)))


def full_disk_of_the_sender(lab, options):
    pair = Pair(lab, homes={"Ada": small_disk(lab, "Ada-disk", 24)})
    sender = pair.senders[0]
    send_more(sender, 20)
    filler = fill(pair.ada.home)
    refusal = send_until_refused(pair, sender, 5_000)
    taken = len(sender.acknowledged)
    assert refusal.exit_class == 9 and "disk" in refusal.message, f"unclear: {refusal}"
    code, text = pair.ada.command("send", "Bob", "does not fit")
    assert code == 9 and "disk is full" in text, f"the command line says {code}: {text}"
    pair.ada.kill()
    pair.ada.start(wait=False)
    try:
        pair.ada.wait_ready()
    except AssertionError:
        assert pair.ada.log_has("disk is full") or pair.ada.log_has("No space left"), pair.ada.log_tail()
    finally:
        pair.ada.kill()
    os.remove(filler)
    pair.ada.start()
    send_more(sender, 20)
    no_faults(pair.finish(options.patience))
    return f"{taken} acknowledged, then refused with exit 9 (\"{refusal.message}\"); {len(sender.acknowledged)} arrived once"


def full_disk_of_the_receiver(lab, options):
    pair = Pair(lab, homes={"Bob": small_disk(lab, "Bob-disk", 24)})
    sender = pair.senders[0]
    send_more(sender, 5)
    filler = fill(pair.bob.home)
    send_more(sender, 400)
    until("the receiver notices", 60, lambda: pair.bob.log_has("the disk is full"))
    os.remove(filler)
    send_more(sender, 5)
    no_faults(pair.finish(options.patience))
    return f"{len(sender.acknowledged)} messages arrived once after space was freed"


def full_disk_of_the_relay(lab, options):
    pair = Pair(lab, homes={"R": small_disk(lab, "R-disk", 24)})
    sender = pair.senders[0]
    send_more(sender, 5)
    until("the first messages arrive", 60, sender.all_delivered)
    pair.bob.stop()
    filler = fill(pair.relay.home)
    send_more(sender, 400)
    until("the relay notices", 60, lambda: pair.relay.log_has("the disk is full"))
    time.sleep(3)

    def states():
        return [item["state"] for item in pair.ada.history("Bob") if item["outgoing"]]

    kept = states().count("queued")
    assert kept, "everything is called held although the relay's disk is full"
    assert "failed" not in states(), "a message failed because of a full relay"
    os.remove(filler)
    begun = time.monotonic()
    until(lambda: f"the relay takes the mail: {states()[-1]}", options.patience, lambda: "queued" not in states())
    taken = time.monotonic() - begun
    pair.ada.kill()
    pair.bob.start()
    until("the mail arrives from the relay", options.patience, lambda: len(pair.bob.received_events()) == len(sender.acknowledged))
    pair.ada.start()
    no_faults(pair.finish(options.patience))
    return f"{kept} of {len(sender.acknowledged)} stayed with the sender while the relay was full, were held {taken:.0f} s after it " \
        "was not, and arrived once, the sender off"


# ---- failing disk


def failing_disk(lab, options):
    rng = random.Random(options.seed + 2)
    pair = Pair(lab, shim=options.shim)
    sender = pair.senders[0]
    send_more(sender, 5)
    refusals = 0
    for node, kind in [(n, k) for n in pair.nodes for k in ("sync", "write")] * options.eio_rounds:
        node.fail_disk(kind, rng.randint(1, 4))
        words = ""
        for _ in range(10):
            number = len(sender.acknowledged)
            try:
                sender.acknowledged.append(sender.node.send(sender.chat, sender.text(number), f"client-{number}"))
            except Refused as refusal:
                words = f"{refusal.message} {refusal.data.get('why', '')}"
                refusals += 1
                assert "disk" in words or "database" in words, f"unclear: {refusal}"
            except Unreachable:
                assert node.process.poll() is not None, f"{node} does not answer"
                break
        node.heal_disk()
        if node.process.poll() is not None:
            assert node.log_has("disk"), f"{node} ended without a reason: {node.log_tail()}"
            node.start()
        if node is pair.ada:
            assert words, f"ten messages were acknowledged although every {kind} failed"
        send_more(sender, 5)
        if rng.random() < 0.5:
            node.cut_power()
            node.start()
    no_faults(pair.finish(options.patience))
    return f"{refusals} clear refusals, {len(sender.acknowledged)} messages arrived once"


# ---- churn


def relay_churn(lab, options):
    words = ["cargo", "run", "--quiet", "--package", "silbo-node", "--example", "relay_churn"]
    words += [] if options.debug else ["--release"]
    words += ["--", str(options.churn_count), os.path.join(lab.folder, "churn")]
    done = subprocess.run(words, cwd=options.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).strip()[-400:]
    return done.stdout.strip().splitlines()[-1]


# ---- mail carried for others


def carried(lab, options):
    """Ada's mail to Bob, who is away, is carried by Cleo, who loses power after every bag, and once the whole spool."""
    rng = random.Random(options.seed + 2)
    ada, bob, cleo = lab.node("Ada"), lab.node("Bob"), lab.node("Cleo", shim=options.shim)
    for node in (ada, bob, cleo):
        node.start()
    link = ada.call("invite.create")["link"]
    bob.call("contact.add", {"link": link, "alias": "Ada"}, timeout=60)
    until("Ada has Bob", 60, lambda: any(c["name"] == "Bob" and c["state"] == "active"
                                         for c in ada.call("contact.list")["items"]))
    bob.stop()
    rounds = max(10, options.cuts // 2)
    texts = [f"carried {number} " + "x" * rng.randrange(7_000) for number in range(rounds)]
    for number, text in enumerate(texts):
        ada.call("message.send", {"chat": "Bob", "body": text})
        bag = ada.call("message.pack", {"chat": "Bob"})
        assert bag["leftOut"] == 0, f"{bag['leftOut']} of Ada's envelopes did not fit"
        cleo.call("message.unpack", {"bag": bag["bag"]})
        acknowledged = cleo.call("mesh.status")["carried"]
        assert acknowledged > number, f"{acknowledged} envelopes of {number + 1} messages are carried"
        cleo.cut_power()
        cleo.start()
        found = cleo.call("mesh.status")["carried"]
        assert found == acknowledged, f"{found} of {acknowledged} envelopes are left after a power cut"
    assert not cleo.log_has("the spool was damaged"), "Cleo lost its spool"
    ada.stop()
    bag = cleo.call("message.pack")
    bob.start()
    bob.call("message.unpack", {"bag": bag["bag"]})
    found = [item["body"] for item in bob.call("history.list", {"chat": "Ada", "limit": 200})["items"]]
    no_faults(compare("history", texts, found, ordered=True))
    cleo.kill()
    path = os.path.join(cleo.home, "data", "spool", "db")
    with open(path, "r+b") as file:
        file.write(rng.randbytes(os.path.getsize(path)))
    cleo.start()
    assert cleo.log_has("the spool was damaged"), "a spool of noise was not noticed"
    assert cleo.call("mesh.status")["carried"] == 0
    taken = cleo.call("message.unpack", {"bag": bag["bag"]})
    assert taken["carried"] >= rounds, f"after the loss only {taken} was taken"
    return f"{rounds} power cuts, {len(texts)} messages kept; a spool of noise was set aside"

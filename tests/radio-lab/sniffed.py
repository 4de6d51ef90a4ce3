"""What a sniffer makes of a capture of the radio lab: reads what `ble-air ctl capture` wrote, and fails on what must not be there.

The controller's number of each line is not on the air: it is the truth the checks need. Addresses, advertisements, scan requests,
connection requests and everything that is sent over connections is on the air, as it would be heard: links of Silbo do not use
Bluetooth's own encryption.
"""

import base64
import collections
import random
import re
import sys

WINDOW = 6  # bytes from which on a repeated string counts
SERVICE = "5e61c3a49d0b4f7e8b521f0d7a900000"
REVERSED = bytes.fromhex(SERVICE)[::-1].hex()

# Byte strings that every Silbo node, or every Linux machine with this bluetoothd, sends; everything else counts.
ADVERT_BEGINS = bytes.fromhex("1b21" + REVERSED)  # length and kind of the service data, Silbo's UUID
ADVERT_ENDS = bytes.fromhex("020106")  # flags
ATT = 4
ATT_WRITE, ATT_NOTIFY, ATT_NOTIFY_SEVERAL = 0x52, 0x1B, 0x23  # packets of links
# What services, characteristics and descriptors there are, under which numbers: the same wherever the same versions run.
ATT_TABLE = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x12, 0x13, 0x1D, 0x1E}
# L2CAP: channels of links from here on, and on channel 5 what opens them: the same wherever the same kernels run, but for a number
# that counts requests. Credits count packets, and who ends a channel says no more than which.
SIGNALS, FIRST_CHANNEL = 5, 0x40
SIGNAL_OPENS = {0x14, 0x15}
ATT_READ, ATT_READ_ANSWER, ATT_BLOB, ATT_BLOB_ANSWER = 0x0A, 0x0B, 0x0C, 0x0D
# What every machine answers when asked for it: name, appearance, address resolution, client features, database hash.
ANSWERS = {
    b"Bluetooth",
}

failures = []


def check(holds, what):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        failures.append(what)


def windows(data):
    return {data[at : at + WINDOW] for at in range(len(data) - WINDOW + 1)}


Heard = collections.namedtuple("Heard", "ms what device words")


def read(path):
    with open(path, encoding="ascii") as lines:
        for line in lines:
            ms, what, device, *words = line.split()
            yield Heard(int(ms), what, int(device), words)


def octets(text):
    return b"" if text == "-" else bytes.fromhex(text.replace(":", ""))


class Whole:
    """Puts L2CAP packets together from fragments."""

    def __init__(self):
        self.part = collections.defaultdict(bytes)

    def add(self, key, fragment):
        data = self.part[key] + fragment
        need = 4 + int.from_bytes(data[:2], "little") if len(data) >= 4 else None
        if need is None or len(data) < need:
            self.part[key] = data
            return None
        self.part[key] = b""
        return int.from_bytes(data[2:4], "little"), data[4:need]


class Capture:
    """All one device sent under one id."""

    def __init__(self, rid, since):
        self.rid, self.since, self.until = rid, since, since
        self.addresses = set()
        self.payloads = []
        self.at = []
        self.dialled, self.was_dialled = 0, 0
        self.clear = collections.defaultdict(set)  # windows outside sealed data: the connections they were on
        self.sizes = []
        self.first_handles = []


def gather(path):
    devices = collections.defaultdict(list)
    whole, reads = Whole(), {}
    blank = collections.defaultdict(set)
    silent = collections.defaultdict(list)
    others, strange, everything = collections.defaultdict(set), [], []
    table = collections.defaultdict(set)
    repeated_answers = collections.Counter()
    opened = set()
    for heard in read(path):
        device = heard.device
        if heard.what == "ADV":
            address, kind, data = octets(heard.words[0]), heard.words[1], octets(heard.words[2])
            everything.append(data)
            if not data:
                blank[device].add(address)  # on the air a moment before what it says
                continue
            if not (data.startswith(ADVERT_BEGINS) and data.endswith(ADVERT_ENDS) and len(data) == 31 and kind == "0"):
                strange.append(heard)
                continue
            payload = data[len(ADVERT_BEGINS) : -len(ADVERT_ENDS)]
            rid = payload[1:7]
            if not devices[device] or devices[device][-1].rid != rid:
                devices[device].append(Capture(rid, heard.ms))
                before = devices[device][-2] if len(devices[device]) > 1 else devices[device][-1]
                for asked in silent.pop(device, []):
                    # Between two ids: of the old one if it was heard with that, else of the new one.
                    of = before if asked in before.clear else devices[device][-1]
                    of.clear[asked].add(None)
            for asked in silent.pop(device, []):
                devices[device][-1].clear[asked].add(None)
            now = devices[device][-1]
            now.until = heard.ms
            now.addresses |= blank.pop(device, set()) | {address}
            now.payloads.append(payload)
            now.at.append(heard.ms)
            for window in windows(address) | windows(payload):
                now.clear[window].add(None)
            continue
        now = devices[device][-1] if devices[device] else None
        if heard.what == "RSP" and octets(heard.words[1]):
            strange.append(heard)
            everything.append(octets(heard.words[1]))
        if heard.what == "ASK" and now:
            silent[device].append(octets(heard.words[0]))
        if heard.what == "CON":
            connection, central, _peripheral = heard.words
            if now:
                now.dialled += 1
                silent[device].append(octets(central))
        if heard.what == "DAT":
            connection, data = heard.words[0], octets(heard.words[1])
            packet = whole.add((connection, device), data)
            if packet is None or now is None:
                continue
            channel, data = packet
            everything.append(data)
            if channel == ATT and data[:1] and data[0] in (ATT_WRITE, ATT_NOTIFY, ATT_NOTIFY_SEVERAL):
                now.sizes.append(len(data))
                now.first_handles.append(data[1:3])
                continue
            if channel >= FIRST_CHANNEL:
                now.sizes.append(len(data))
                now.first_handles.append(channel.to_bytes(2, "little"))
                if (connection, device, channel) not in opened:
                    # The token by which a channel belongs to a link, in clear once.
                    opened.add((connection, device, channel))
                    for window in windows(data[2:]):
                        now.clear[window].add(connection)
                continue
            if channel == SIGNALS and data[:1]:
                now.first_handles.append(data[:1])
                if data[0] in SIGNAL_OPENS:
                    table[data[:1] + data[2:]].add(device)
                continue
            if channel == ATT and data[:1] and data[0] in ATT_TABLE:
                now.first_handles.append(data[:1])
                table[data].add(device)
                continue
            if channel == ATT and data[0] in (ATT_READ, ATT_BLOB):
                continue
            if channel == ATT and data[0] in (ATT_READ_ANSWER, ATT_BLOB_ANSWER):
                repeated_answers[data[1:]] += 1
                if data[1:] in ANSWERS:
                    continue
            for window in windows(data):
                now.clear[window].add(connection)
            others[device].add(data)
    return devices, strange, everything, others, repeated_answers, table


def rotations(devices, periods):
    least = min(len(captures) for captures in devices.values())
    check(least >= periods, f"every device had at least {periods} ids: {[len(c) for c in devices.values()]}")
    owners = collections.defaultdict(set)
    for device, captures in devices.items():
        for at, capture in enumerate(captures):
            for address in capture.addresses:
                owners[address].add((device, at))
            owners[capture.rid].add((device, at))
    shared = [key.hex() for key, of in owners.items() if len(of) > 1]
    check(not shared, f"no address is heard with two ids, and no id twice {shared}")
    fixed = [a.hex() for captures in devices.values() for c in captures for a in c.addresses if a[0] >> 6 != 1]
    check(not fixed, f"every address is a resolvable private one {fixed[:4]}")
    most = max(len(c.addresses) for captures in devices.values() for c in captures)
    print(f"        addresses under one id, at most: {most} (a new one each time the node was dialled)")


def repeats(devices):
    found = collections.Counter()
    for captures in devices.values():
        seen = collections.defaultdict(list)
        for at, capture in enumerate(captures):
            for window, connections in capture.clear.items():
                seen[window].append((at, connections))
        for window, places in seen.items():
            on = set().union(*(connections for _, connections in places))
            # A connection outlives a rotation; what is said on it twice says nothing more than that it lasts.
            if len(places) > 1 and (None in on or len(on) > 1):
                found[window] += 1
    check(not found, f"no string of {WINDOW} bytes outside sealed data is in two captures of a device: {len(found)}")
    for window, _ in found.most_common(12):
        print(f"        {window.hex()} {window!r}")


def tables(devices, table):
    """What there is to read, under which numbers, and the hash over it stay for as long as a node runs: the same for everybody."""
    own = [data.hex() for data, of in table.items() if len(data) >= WINDOW and len(of) < len(devices)]
    check(not own, f"of {len(table)} questions and answers about services none is of one device only {own[:4]}")


def secrets(path):
    """Everything of 8 letters and more in what the nodes know of themselves, as text and decoded in every way it may be."""
    text = open(path, encoding="utf-8").read()
    words = set(re.findall(r"[A-Za-z0-9_-]{6,}", text))
    decoded = set()
    for word in words:
        decoded.add(word.encode())
        for way in (bytes.fromhex, crockford, base58, lambda w: base64.urlsafe_b64decode(w + "=" * (-len(w) % 4))):
            try:
                raw = way(word)
            except (ValueError, KeyError):
                continue
            if len(raw) >= 16:
                decoded |= {raw[at : at + 8] for at in range(len(raw) - 7)}
    return decoded


def crockford(word):
    bits = "".join(f"{'0123456789ABCDEFGHJKMNPQRSTVWXYZ'.index(letter):05b}" for letter in word.upper())
    return int(bits[: len(bits) // 8 * 8], 2).to_bytes(len(bits) // 8, "big")


def base58(word):
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for letter in word:
        number = number * 58 + letters.index(letter)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def hidden(everything, secret):
    air = b"\0".join(everything)
    shown = sorted(word for word in secret if word in air)
    check(not shown, f"of {len(secret)} names, ids and keys of the nodes none is on the air {shown[:5]}")


def neighbours(devices, others):
    told = []
    for device, packets in others.items():
        foreign = {capture.rid for other, captures in devices.items() if other != device for capture in captures}
        told += [data.hex() for data in packets for rid in foreign if rid in data]
    for device, captures in devices.items():
        foreign = {c.rid for other, cs in devices.items() if other != device for c in cs}
        told += [p.hex() for c in captures for p in c.payloads if any(rid in p for rid in foreign)]
    check(not told, f"nobody tells who is near: {len(told)} times")


def features(capture):
    """What could tell one device from another, without its ids: how it advertises, dials, and sends."""
    gaps = [b - a for a, b in zip(capture.at, capture.at[1:]) if b - a < 400] or [0]
    sizes = capture.sizes or [0]
    head, load = capture.payloads[0][0], capture.payloads[0][7]
    handles = collections.Counter(capture.first_handles)
    return [
        sum(gaps) / len(gaps), min(gaps), max(gaps), head, load, len(capture.addresses), capture.dialled,
        len(sizes), sum(sizes) / len(sizes), max(sizes), len(handles), sum(handles.values()),
    ]


def linking(devices):
    got, of, mean, bound = matched(devices, features)
    print(f"        linking: {got} of {of} pairs of captures matched rightly, {mean:.1f} by chance, "
          f"in one of a hundred draws by chance more than {bound}")
    check(got <= bound, f"captures of one device cannot be linked better than chance ({got} <= {bound})")
    # That the same eyes do see: something that stays, as heavy as a third of the rest.
    owner = {id(capture): device for device, captures in devices.items() for capture in captures}
    got, of, mean, bound = matched(devices, lambda capture: features(capture) + [owner[id(capture)]] * 4)
    check(got > bound, f"with something of its own in each they would be linked ({got} of {of})")


def matched(devices, features, seed=1, shuffles=2_000):
    """Each capture is matched with the nearest one of every other period; by chance one in as many as there are devices hits."""
    names = sorted(devices)
    # The first and the last are cut off by the capture itself.
    rows = min(len(c) for c in devices.values()) - 2
    table = [[features(devices[name][at + 1]) for name in names] for at in range(rows)]
    count = len(table[0][0])
    every = [value for row in table for value in row]
    spread = []
    for at in range(count):
        column = [value[at] for value in every]
        mean = sum(column) / len(column)
        deviation = (sum((x - mean) ** 2 for x in column) / len(column)) ** 0.5
        spread.append((mean, deviation or 1.0))
    table = [[[(x - m) / d for x, (m, d) in zip(value, spread)] for value in row] for row in table]
    nearest = {}
    for p in range(rows):
        for q in range(rows):
            if p != q:
                for i in range(len(names)):
                    far = [sum((a - b) ** 2 for a, b in zip(table[p][i], table[q][j])) for j in range(len(names))]
                    nearest[p, q, i] = far.index(min(far))

    def hits(order):
        return sum(order[q][match] == order[p][i] for (p, q, i), match in nearest.items())

    truth = [list(range(len(names))) for _ in range(rows)]
    got = hits(truth)
    chance = random.Random(seed)
    luck = []
    for _ in range(shuffles):
        luck.append(hits([chance.sample(range(len(names)), len(names)) for _ in range(rows)]))
    luck.sort()
    return got, len(nearest), sum(luck) / shuffles, luck[int(shuffles * 0.99)]


def main(capture, secret, periods):
    devices, strange, everything, others, answers, table = gather(capture)
    count = sum(len(c.payloads) for captures in devices.values() for c in captures)
    print(f"        {count} advertisements, {sum(map(len, devices.values()))} ids of {len(devices)} devices, {len(everything)} packets")
    check(not strange, f"advertisements and scan responses hold what they should and nothing else {strange[:3]}")
    rotations(devices, periods)
    repeats(devices)
    tables(devices, table)
    hidden(everything, secrets(secret))
    neighbours(devices, others)
    linking(devices)
    print("        read in clear by whoever connects: " + ", ".join(sorted(repr(a) for a in answers)))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))

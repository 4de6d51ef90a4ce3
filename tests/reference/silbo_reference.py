#!/usr/bin/env python3
"""A second implementation of docs/wire-format.md, checked against protocol/vectors/*.json.

It is written from that page, shares no code with the Rust one, and computes every published value from its inputs.
Primitives come from PyPI: `cryptography` for curves, AEAD and decapsulation, `kyber-py` for encapsulation with given
randomness (and decapsulation again). It is for checking only: nothing here is constant-time.

    python -m pip install --require-hashes -r tests/reference/requirements.txt
    python tests/reference/silbo_reference.py
"""

import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, mlkem, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from kyber_py.ml_kem import ML_KEM_768

VECTORS = Path(__file__).resolve().parents[2] / "protocol" / "vectors"
EPOCH_MS = 1_704_067_200_000
DAY_MS = 86_400_000
HOUR_MS = 3_600_000

# ---------------------------------------------------------------- section 1: conventions


def u16(n):
    return n.to_bytes(2, "big")


def u32(n):
    return n.to_bytes(4, "big")


def u64(n):
    return n.to_bytes(8, "big")


def sha256(data):
    return hashlib.sha256(data).digest()


def sha512(data):
    return hashlib.sha512(data).digest()


def fields(*parts):
    return b"".join(u32(len(part)) + part for part in parts)


def H(label, *parts):
    return sha256(fields(label.encode()) + fields(*parts))


def hmac256(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def MAC(key, *parts):
    return hmac256(key, fields(*parts))


def KDF(ikm, salt, info, *lengths):
    """The derived key, or several cut from one output."""
    if isinstance(ikm, tuple):
        ikm = fields(*ikm)
    lengths = lengths or (32,)
    out = HKDF(hashes.SHA256(), sum(lengths), salt or None, info.encode()).derive(ikm)
    keys = []
    for length in lengths:
        keys.append(out[:length])
        out = out[length:]
    return keys[0] if len(keys) == 1 else tuple(keys)


def labelled(purpose, *parts):
    return fields(purpose.encode()) + fields(*parts)


def sign(seed, purpose, *parts):
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed).sign(labelled(purpose, *parts))


def verifies(public, signature, message):
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except InvalidSignature:
        return False


def ed_public(seed):
    return ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def x_public(secret):
    return x25519.X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def dh(secret, public):
    return x25519.X25519PrivateKey.from_private_bytes(secret).exchange(x25519.X25519PublicKey.from_public_bytes(public))


def typed_x(key):
    return b"\x01" + key


def typed_ed(key):
    return b"\x02" + key


def typed_kem(key):
    return b"\x03" + key


def seal(key, nonce, ad, plain):
    return ChaCha20Poly1305(key).encrypt(nonce, plain, ad)


def unseal(key, nonce, ad, sealed):
    return ChaCha20Poly1305(key).decrypt(nonce, sealed, ad)


def chacha20(key, nonce, data):
    return Cipher(algorithms.ChaCha20(key, bytes(4) + nonce), None).encryptor().update(data)


def base32(data):
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(alphabet[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))


def base64url(data):
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 6)
    return "".join(alphabet[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))


# ---------------------------------------------------------------- protobuf


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def message(*numbered):
    """Encodes (number, value) pairs in the order given; default values are left out."""
    out = b""
    for number, value in numbered:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value) if value else b""
        elif value is not None and len(value):
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def parse(data):
    """Fields of a message: number to list of values."""
    found, at = {}, 0
    while at < len(data):
        key, at = read_varint(data, at)
        if key & 7 == 0:
            value, at = read_varint(data, at)
        elif key & 7 == 2:
            length, at = read_varint(data, at)
            value, at = data[at : at + length], at + length
            assert len(value) == length
        else:
            raise ValueError("wire type")
        found.setdefault(key >> 3, []).append(value)
    return found


def one(found, number, default=b""):
    return found.get(number, [default])[-1]


# ---------------------------------------------------------------- section 2: identity


def device_id(dik):
    return sha256(typed_ed(dik))[:8]


def device_cert(dik, ddh, day):
    return message((1, device_id(dik)), (2, dik), (3, ddh), (6, day), (7, varint(1)))


def entry_id(signer, body):
    return H("silbo/1/log-entry", signer, body)[:16]


def read_log(entries):
    """Verifies signatures, ids and predecessors of entries in order. Gives account id, live devices, heads."""
    aid, devices, roots, lamports, named = None, {}, [], {}, set()
    for encoded in entries:
        signed = parse(encoded)
        body, sig, signer = one(signed, 1), one(signed, 2), one(signed, 4)
        assert one(signed, 3, 0) == 1
        entry = parse(body)
        me = entry_id(signer, body)
        prev = entry.get(3, [])
        if 10 in entry:
            genesis = parse(entry[10][0])
            assert not prev and 1 not in entry and one(entry, 2, 0) == 0 and signer == b""
            aid = H("silbo/1/aid", body)
            roots = [one(genesis, 1)]
            add(devices, one(genesis, 2))
        else:
            assert one(entry, 1) == aid[:20] and one(entry, 2, 0) == 1 + max(lamports[p] for p in prev)
        key = roots[-1] if signer == b"" else devices[signer]["dik"]
        assert verifies(key, sig, labelled("silbo/1/sign/log-entry", signer, body))
        if 11 in entry:
            add(devices, one(parse(entry[11][0]), 1))
        if 12 in entry:
            devices.pop(one(parse(entry[12][0]), 1))
        lamports[me] = one(entry, 2, 0)
        named.update(prev)
    heads = sorted(id for id in lamports if id not in named)
    return aid, devices, heads


def add(devices, cert):
    parsed = parse(cert)
    assert one(parsed, 1) == device_id(one(parsed, 2)) and one(parsed, 7) == b"\x01"
    devices[one(parsed, 1)] = {"dik": one(parsed, 2), "ddh": one(parsed, 3), "cert": cert}


def head3(heads):
    return H("silbo/1/log-heads", *heads)[:3]


def bundle(person, spk_id, pq_id, otk_id, expires_day):
    dik, spk = ed_public(person["dik_seed"]), x_public(person["spk"])
    pq = kem_public(person["pq_seed"])
    otk = x_public(person["otk"]) if otk_id else b""
    part = fields(
        u32(1), device_id(dik), u32(spk_id), typed_x(spk), u32(pq_id), typed_kem(pq),
        b"\x01" if otk_id else b"\x00", u32(otk_id), typed_x(otk) if otk_id else b"", u32(expires_day),
    )
    sig = sign(person["dik_seed"], "silbo/1/bundle", part)
    one_time = message((1, otk_id), (2, otk)) if otk_id else None
    return message((1, device_id(dik)), (2, spk), (3, spk_id), (4, pq), (5, pq_id), (6, one_time), (7, expires_day), (8, sig))


def fingerprint(aid):
    digest = sha512(b"\x00\x00" + aid + aid + aid)
    for _ in range(5199):
        digest = sha512(digest + aid)
    return digest[:32]


def half(print32):
    return "".join(f"{int.from_bytes(print32[i : i + 5], 'big') % 100000:05}" for i in range(0, 30, 5))


def pad_to(plain, length):
    assert len(plain) < length
    return plain + b"\x80" + bytes(length - len(plain) - 1)


def sealed_card(k_card, salt, owner, aid, body):
    dik = ed_public(owner["dik_seed"])
    sig = sign(owner["dik_seed"], "silbo/1/sign/card", aid[:20], body)
    signed = message((1, body), (2, sig), (3, 1), (4, device_id(dik)))
    whole = -(-(len(signed) + 1 + 40) // 4096) * 4096
    key, nonce = KDF(k_card, salt, "silbo/1/card", 32, 12)
    return salt + seal(key, nonce, aid[:20], pad_to(signed, whole - 40))


# ---------------------------------------------------------------- section 3: invitation


def crc16(data):
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc ^ 0xFFFF


def invite_bytes(kind, flags, expires_ms, secret, aid, hints):
    day, rest = divmod(expires_ms - EPOCH_MS, DAY_MS)
    out = bytes([1 << 4 | kind, flags]) + u16(day) + secret + aid[:20]
    for hint, value in [(6, u16(rest // 60_000))] + hints:
        out += bytes([hint, len(value)]) + value
    return out + u16(crc16(out))


def invite_keys(secret):
    def key(name, length=32):
        return KDF(secret, b"", "silbo/1/invite/" + name, length)

    keys = {
        "card": key("card"), "psk": key("psk"), "first_contact": key("fc"), "rdv": key("rdv"),
        "request": key("req-mac"), "blob_owner_seed": key("blob-owner"), "blob_id": key("blob", 16),
    }
    keys["init_box"] = KDF(keys["first_contact"], b"", "silbo/1/init-box")
    return keys


def one_time_tag(k_fc, n):
    preimage = MAC(k_fc, b"v", u32(n))[:16]
    return tag_of(preimage), preimage


def reusable_tag(k_fc, n):
    return MAC(k_fc, b"g", u32(n))[:12]


# ---------------------------------------------------------------- section 4: handshake


def kem_public(seed):
    public, _ = ML_KEM_768._keygen_internal(seed[:32], seed[32:])
    assert mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() == public
    return public


def kem_decaps(seed, ct):
    shared = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ct)
    _, secret = ML_KEM_768._keygen_internal(seed[:32], seed[32:])
    assert ML_KEM_768.decaps(secret, ct) == shared
    return shared


class Handshake:
    """What both ends compute, from agreements in whichever way they got them."""

    def __init__(self, aid_b, cert_b, prekeys, ek, ct, dh2, dh3, dh4, shared, psk):
        spk_id, spk, pq_id, pq, otk_id, otk = prekeys
        self.th0 = H(
            "silbo/1/th0", u32(1), aid_b, cert_b, u32(spk_id), typed_x(spk), u32(pq_id), typed_kem(pq),
            b"\x01" if otk_id else b"\x00", u32(otk_id), typed_x(otk) if otk_id else b"", typed_x(ek), ct,
        )
        self.k_id, self.k_chain = KDF((b"\xff" * 32, dh2, dh3, dh4, shared, psk), self.th0, "silbo/1/x0", 32, 32)
        self.aid_b = aid_b

    def finish(self, id_ct, aid_a, ddh_a, dh1):
        th1 = H("silbo/1/th1", self.th0, id_ct, aid_a, typed_x(ddh_a))
        root, forward, back = KDF((self.k_chain, dh1), th1, "silbo/1/x1", 32, 32, 32)
        return {
            "session_id": H("silbo/1/session", self.th0)[:16], "root": root,
            "header_key_forward": forward, "header_key_back": back,
            "ad_forward": H("silbo/1/ad", th1, aid_a, self.aid_b), "ad_back": H("silbo/1/ad", th1, self.aid_b, aid_a),
        }


# ---------------------------------------------------------------- section 5: ratchet


def root_step(root, shared):
    return KDF(shared, root, "silbo/1/root", 32, 32, 32)


def chain_step(chain_key):
    return hmac256(chain_key, b"\x01"), hmac256(chain_key, b"\x02")


def tag_of(preimage):
    return H("silbo/tag/1", preimage)[:12]


def preimage_of(header_key, n):
    return MAC(KDF(header_key, b"", "silbo/1/tag"), b"v", u32(n))[:16]


def body_keys(message_key, salt):
    return KDF((message_key, b""), salt, "silbo/1/mk", 32, 12)


class Session:
    """One end. Chains are lists: header key, chain key, next number."""

    def __init__(self, root, secret, ad_send, ad_receive, next_send, next_receive):
        self.root, self.secret = root, secret
        self.ad_send, self.ad_receive = ad_send, ad_receive
        self.next_send, self.next_receive = next_send, next_receive
        self.sending = self.receiving = None
        self.confirmed, self.previous, self.skipped = False, 0, {}

    @classmethod
    def initiator(cls, keys, secret, spk):
        root, chain_key, next_send = root_step(keys["root"], dh(secret, spk))
        end = cls(root, secret, keys["ad_forward"], keys["ad_back"], next_send, keys["header_key_back"])
        end.sending = [keys["header_key_forward"], chain_key, 0]
        return end

    @classmethod
    def responder(cls, keys, spk_secret):
        return cls(keys["root"], spk_secret, keys["ad_back"], keys["ad_forward"], keys["header_key_back"], keys["header_key_forward"])

    def seal(self, fixed, padded, log_head3, salt):
        header_key, chain_key, n = self.sending
        preimage = preimage_of(header_key, n)
        tag = tag_of(preimage)
        clear = bytes([0 if self.confirmed else 1]) + salt
        clear += b"" if self.confirmed else x_public(self.secret)
        clear += varint(self.previous) + log_head3
        header = chacha20(KDF(header_key, b"", "silbo/1/hdr"), tag, clear)
        message_key, self.sending[1] = chain_step(chain_key)
        self.sending[2] = n + 1
        key, nonce = body_keys(message_key, salt)
        return tag, preimage, fixed + tag + header + seal(key, nonce, fields(self.ad_send, fixed + tag, header), padded)

    def header(self, header_key, envelope):
        tag = envelope[4:16]
        clear = chacha20(KDF(header_key, b"", "silbo/1/hdr"), tag, envelope[16:])
        assert clear[0] in (0, 1)
        salt, at = clear[1:9], 9
        key = None
        if clear[0]:
            key, at = clear[9:41], 41
        previous, at = read_varint(clear, at)
        return salt, key, previous, clear[at : at + 3], 16 + at + 3

    def open_body(self, message_key, salt, envelope, end):
        key, nonce = body_keys(message_key, salt)
        return unseal(key, nonce, fields(self.ad_receive, envelope[:16], envelope[16:end]), envelope[end:])

    def skip(self, chain, until):
        tags = []
        while chain[2] < until:
            message_key, chain[1] = chain_step(chain[1])
            preimage = preimage_of(chain[0], chain[2])
            self.skipped[tag_of(preimage)] = (chain[0], message_key, preimage)
            tags.append(tag_of(preimage))
            chain[2] += 1
        return tags

    def open(self, envelope, fresh_secret):
        """Plaintext, receipt and the tags of keys that were skipped; none of the last where a skipped key was used."""
        tag = envelope[4:16]
        if tag in self.skipped:
            header_key, message_key, preimage = self.skipped[tag]
            salt, _, _, _, end = self.header(header_key, envelope)
            return self.open_body(message_key, salt, envelope, end), preimage, None
        current, n = self.find(tag)
        if current:
            chain = self.receiving
            salt, _, _, _, end = self.header(chain[0], envelope)
            tags = self.skip(chain, n)
            message_key, chain[1] = chain_step(chain[1])
            chain[2] = n + 1
            return self.open_body(message_key, salt, envelope, end), preimage_of(chain[0], n), tags
        salt, key, previous, _, end = self.header(self.next_receive, envelope)
        root, chain_key, next_receive = root_step(self.root, dh(self.secret, key))
        tags = self.skip(self.receiving, previous) if self.receiving else []
        chain = [self.next_receive, chain_key, 0]
        tags += self.skip(chain, n)
        message_key, chain[1] = chain_step(chain[1])
        chain[2] = n + 1
        plain = self.open_body(message_key, salt, envelope, end)
        self.root, sending_key, after = root_step(root, dh(fresh_secret, key))
        self.previous = self.sending[2] if self.sending else 0
        self.sending, self.next_send = [self.next_send, sending_key, 0], after
        self.receiving, self.next_receive = chain, next_receive
        self.secret, self.confirmed = fresh_secret, False
        return plain, preimage_of(chain[0], n), tags

    def find(self, tag):
        """Whether the tag is of the current receiving chain, else of the next; and the number."""
        for current, header_key in ((True, self.receiving and self.receiving[0]), (False, self.next_receive)):
            for n in range(64):
                if header_key and tag_of(preimage_of(header_key, n)) == tag:
                    return current, n
        raise ValueError("unknown tag")


# ---------------------------------------------------------------- section 6: envelope

LIFETIMES_H = [1, 6, 24, 72, 168, 336, 720]


def head_bytes(klass, ttl_code, urgent, no_infra, hour):
    return bytes([1 << 5 | klass << 3 | no_infra << 2 | urgent << 1, ttl_code << 4]) + u16(hour)


def expires_ms(hour, now_ms):
    hours = (now_ms - EPOCH_MS) // HOUR_MS
    ahead = (hour - hours + 0x8000) % 0x10000 - 0x8000
    return EPOCH_MS + (hours + ahead) * HOUR_MS


def extensions(envelope):
    found, at = {}, 16
    while True:
        kind, length = envelope[at], envelope[at + 1]
        found[kind & 0x7F] = envelope[at + 2 : at + 2 + length]
        at += 2 + length
        if kind < 0x80:
            return found, at


def padded(klass, plain, overhead):
    least = len(plain) + 1 + overhead
    if klass == "constrained":
        bucket = -(-least // 16) * 16
    else:
        bucket = next((b for b in (512, 2048) if least <= b), -(-least // 16384) * 16384)
    return pad_to(plain, bucket - overhead)


def blake3(data):
    """BLAKE3 of at most one chunk, from the specification's section 2."""
    assert len(data) <= 1024
    iv = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]
    order = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
    mask = 0xFFFFFFFF

    def compress(value, block, length, flags):
        words = [int.from_bytes(block[i : i + 4], "little") for i in range(0, 64, 4)]
        v = value + iv[:4] + [0, 0, length, flags]

        def g(a, b, c, d, x, y):
            for word, left, right in ((x, 16, 12), (y, 8, 7)):
                v[a] = (v[a] + v[b] + word) & mask
                v[d] = (v[d] ^ v[a]) >> left | (v[d] ^ v[a]) << (32 - left) & mask
                v[c] = (v[c] + v[d]) & mask
                v[b] = (v[b] ^ v[c]) >> right | (v[b] ^ v[c]) << (32 - right) & mask

        for _ in range(7):
            for i in range(4):
                g(i, 4 + i, 8 + i, 12 + i, words[2 * i], words[2 * i + 1])
            for i in range(4):
                g(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, words[8 + 2 * i], words[9 + 2 * i])
            words = [words[i] for i in order]
        return [v[i] ^ v[i + 8] for i in range(8)]

    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    value = iv
    for i, block in enumerate(blocks):
        flags = (1 if i == 0 else 0) | (2 | 8 if i == len(blocks) - 1 else 0)
        value = compress(value, block.ljust(64, b"\x00"), len(block), flags)
    return b"".join(word.to_bytes(4, "little") for word in value)


# ---------------------------------------------------------------- section 7: pairs


def pair_secret(own, their_public):
    low, high = sorted([x_public(own), their_public])
    return KDF((dh(own, their_public), typed_x(low), typed_x(high)), b"", "silbo/1/pair")


# ---------------------------------------------------------------- section 12: channels


def channel_key(first_day, first_key, day):
    key = first_key
    for later in range(first_day + 1, day + 1):
        key = KDF(key, u32(later), "silbo/1/channel/next-day")
    return key


def channel_post(seed, channel, key, seq, prev, day, salt, plain):
    """The hash of a post, and its bytes."""
    key, nonce, mark = KDF(key, salt, "silbo/1/channel/post", 32, 12, 16)
    place = (channel, u64(seq), prev, u32(day))
    sealed = seal(key, nonce, fields(*place), padded("rich", plain, 155 + 16))
    digest = H("silbo/1/channel/post", *place, salt, mark, sealed)
    sig = sign(seed, "silbo/1/sign/channel-post", digest)
    return digest, message((1, seq), (2, prev), (3, day), (4, sealed), (5, sig), (6, salt), (7, mark))


# ---------------------------------------------------------------- section 9: presence (RFC 8032 arithmetic in full)

Q = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, Q - 2, Q) % Q


def ed_add(p, q):
    x1, y1 = p
    x2, y2 = q
    t = D * x1 * x2 * y1 * y2 % Q
    x = (x1 * y2 + x2 * y1) * pow(1 + t, Q - 2, Q)
    y = (y1 * y2 + x1 * x2) * pow(1 - t, Q - 2, Q)
    return x % Q, y % Q


def ed_times(n, p):
    out = (0, 1)
    while n:
        if n & 1:
            out = ed_add(out, p)
        p, n = ed_add(p, p), n >> 1
    return out


def ed_encode(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def ed_decode(data):
    y = int.from_bytes(data, "little")
    odd, y = y >> 255, y & (1 << 255) - 1
    xx = (y * y - 1) * pow(D * y * y + 1, Q - 2, Q) % Q
    x = pow(xx, (Q + 3) // 8, Q)
    if (x * x - xx) % Q:
        x = x * pow(2, (Q - 1) // 4, Q) % Q
    assert (x * x - xx) % Q == 0
    return (Q - x if x & 1 != odd else x), y


ED_BASE = ed_decode(bytes.fromhex("58" + "66" * 31))


def publish(seed, k_pres, day, seq, expires_s, plain):
    digest = sha512(seed)
    scalar = bytearray(digest[:32])
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    public = ed_public(seed)
    factor = int.from_bytes(sha512(labelled("silbo/1/blind", typed_ed(public), u32(day))), "little") % ORDER
    secret = factor * int.from_bytes(scalar, "little") % ORDER
    prefix = sha512(labelled("silbo/1/blind-prefix", digest[32:], u32(day)))[:32]
    blinded = ed_encode(ed_times(factor, ed_decode(public)))
    assert blinded == ed_encode(ed_times(secret, ED_BASE))
    assoc = fields(blinded, u64(seq), u64(expires_s))
    k_day = KDF(k_pres, u32(day), "silbo/1/presence/day")
    room = 1024 - len(message((1, blinded), (2, seq), (3, expires_s), (5, bytes(64)))) - 3 - 32
    text = pad_to(plain, room)
    siv = MAC(k_day, assoc, text)[:16]
    key, nonce = KDF(k_day, siv, "silbo/1/presence/seal", 32, 12)
    ct = siv + seal(key, nonce, assoc, text)
    signed = fields(b"silbo/1/sign/presence", assoc, ct)
    r = int.from_bytes(sha512(prefix + signed), "little") % ORDER
    point = ed_encode(ed_times(r, ED_BASE))
    challenge = int.from_bytes(sha512(point + blinded + signed), "little") % ORDER
    sig = point + ((r + challenge * secret) % ORDER).to_bytes(32, "little")
    assert verifies(blinded, sig, signed)
    return H("silbo/1/dht/presence", blinded), message((1, blinded), (2, seq), (3, expires_s), (4, ct), (5, sig))


# ---------------------------------------------------------------- section 11: groups


def epoch_of(heads):
    return heads[0] if len(heads) == 1 else H("silbo/1/group/heads", *heads)[:16]


def unfold(secret, group, heads):
    """join, chain root, topic, knock, exporter"""
    return KDF(secret, fields(group, epoch_of(heads)), "silbo/1/group/epoch", 32, 32, 32, 32, 32)


def fresh_secret(x, operation):
    return KDF(x, operation, "silbo/1/group/rekey")


def forward_secret(join, operation):
    return KDF(join, operation, "silbo/1/group/forward")


def merged_secret(heads, joins):
    epoch = epoch_of(heads)
    shares = tuple(KDF(join, epoch, "silbo/1/group/share") for join in joins)
    return KDF(shares, epoch, "silbo/1/group/merge")


def chain_seed(chain_root, device):
    return KDF(chain_root, device, "silbo/1/group/chain")


def root_of_init(group, rekeyer, device, kem, ct, shared):
    return KDF((shared, typed_kem(kem), ct), fields(group, rekeyer, device), "silbo/1/group/root")


def root_steps(root, count):
    for _ in range(count):
        key, root = KDF(root, b"", "silbo/1/group/root-step", 32, 32)
    return key


def slice_of(place, ephemeral_public, shared, root, key_public, commitment, index, device, step):
    group, rekeyer, heads = place
    key = KDF((shared, root), fields(typed_x(ephemeral_public), typed_x(key_public)), "silbo/1/group/slice")
    ad = H(
        "silbo/1/group/slice-ad", group, rekeyer, b"".join(heads), ephemeral_public, commitment, u16(index), device,
        u16(step),
    )
    return key, ad


def slice_leaf(index, piece):
    return H("silbo/1/group/slice-leaf", u16(index), piece)[:16]


def slice_node(left, right):
    return H("silbo/1/group/slice-node", left, right)[:16]


def slice_tree(slices):
    """Levels of the tree, leaves first."""
    levels = [[slice_leaf(index, piece) for index, piece in enumerate(slices)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        pairs = [below[i : i + 2] for i in range(0, len(below), 2)]
        levels.append([slice_node(*pair) if len(pair) == 2 else pair[0] for pair in pairs])
    return levels


def slice_proof(levels, index):
    proof = b""
    for level in levels[:-1]:
        if index ^ 1 < len(level):
            proof += level[index ^ 1]
        index //= 2
    return proof


def sender_chain(seed):
    """Tag key and first chain key."""
    return KDF(seed, b"", "silbo/1/group/sender", 32, 32)


def letter_tag(tag_key, n):
    return MAC(tag_key, b"g", u32(n))[:12]


def seal_letter(origin, signer_seed, fixed, n, message_key, salt, lamport, parents, body):
    group, epoch, sender = origin
    header = message((4, lamport), (5, parents))
    said = (group, epoch, sender, u32(n), header, H("silbo/1/group/said", salt, body))
    signature = sign(signer_seed, "silbo/1/sign/group-letter", *said)
    inside = bytes([len(header)]) + header + signature + body
    whole = -(-(len(inside) + 1 + 48) // 16) * 16
    key, nonce = KDF(message_key, salt, "silbo/1/group/letter", 32, 12)
    ad = fields(group, epoch, sender, u32(n), fixed)
    sealed = seal(key, nonce, ad, pad_to(inside, whole - 48))
    return H("silbo/1/group/letter-id", *said)[:16], fixed + salt + sealed


# ---------------------------------------------------------------- checking

results = {"passed": 0, "failed": 0}


def check(name, computed, published):
    if isinstance(computed, bytes):
        computed = computed.hex()
    if computed == published:
        results["passed"] += 1
    else:
        results["failed"] += 1
        print(f"{name}: computed {computed!r}, published {published!r}")


def unhex(values):
    return {key: bytes.fromhex(value) for key, value in values.items() if isinstance(value, str)}


def check_person(name, secrets, public):
    dik, ddh = ed_public(secrets["dik_seed"]), x_public(secrets["ddh"])
    aid, devices, heads = read_log([bytes.fromhex(e) for e in public["log"]])
    check(f"{name} aid", aid, public["aid"])
    check(f"{name} device id", device_id(dik), public["device_id"])
    check(f"{name} certificate", device_cert(dik, ddh, 1110), public["cert"])
    check(f"{name} is live", devices[device_id(dik)]["cert"], public["cert"])
    check(f"{name} heads", [head.hex() for head in heads], public["log_heads"])
    check(f"{name} head3", head3(heads), public["log_head3"])
    genesis = parse(one(parse(one(parse(bytes.fromhex(public["log"][0])), 1)), 10))
    root_seed = KDF(secrets["root_seed"], b"", "silbo/1/root")
    check(f"{name} root key", ed_public(root_seed), one(genesis, 1).hex())
    check(f"{name} bundle", bundle(secrets, 7, 7, 9 if secrets["otk"] else 0, 1148), public["bundle"])
    return aid


def check_handshake(name, vector):
    given, out = vector["in"], vector["out"]
    a, b, flat = unhex(given["initiator"]), unhex(given["responder"]), unhex(given)
    aid_a = check_person(f"{name} initiator", a, given["initiator_public"])
    aid_b = check_person(f"{name} responder", b, given["responder_public"])
    cert_b = bytes.fromhex(given["responder_public"]["cert"])
    pq, spk, ddh_b = kem_public(b["pq_seed"]), x_public(b["spk"]), x_public(b["ddh"])
    otk_id = 9 if b["otk"] else 0
    otk = x_public(b["otk"]) if otk_id else b""
    prekeys = (7, spk, 7, pq, otk_id, otk)
    ek, psk = flat["ephemeral"], flat["psk"]
    shared, ct = ML_KEM_768._encaps_internal(pq, flat["kem_m"])
    check(f"{name} kem_ct", ct, out["kem_ct"])
    dh4 = dh(ek, otk) if otk_id else b""
    mine = Handshake(aid_b, cert_b, prekeys, x_public(ek), ct, dh(ek, ddh_b), dh(ek, spk), dh4, shared, psk)
    id_ct = seal(mine.k_id, bytes(12), mine.th0, flat["identity"])
    check(f"{name} id_ct", id_ct, out["id_ct"])
    init = message((1, 1), (2, x_public(ek)), (3, ct), (4, 7), (5, 7), (6, otk_id), (7, id_ct))
    check(f"{name} init_block", init, out["init_block"])
    keys = mine.finish(id_ct, aid_a, x_public(a["ddh"]), dh(a["ddh"], spk))

    read = parse(init)
    ek_public, ct = one(read, 2), one(read, 3)
    dh4 = dh(b["otk"], ek_public) if otk_id else b""
    theirs = Handshake(
        aid_b, cert_b, prekeys, ek_public, ct, dh(b["ddh"], ek_public), dh(b["spk"], ek_public), dh4,
        kem_decaps(b["pq_seed"], ct), psk,
    )
    check(f"{name} identity", unseal(theirs.k_id, bytes(12), theirs.th0, one(read, 7)), given["identity"])
    answered = theirs.finish(one(read, 7), aid_a, x_public(a["ddh"]), dh(b["spk"], x_public(a["ddh"])))
    for key, value in keys.items():
        check(f"{name} {key}", value, out[key])
        check(f"{name} {key} at the responder", answered[key], out[key])
    end = Session.initiator(keys, flat["ratchet"], spk)
    check(f"{name} first root", end.root, out["initiator_root"])
    check(f"{name} first chain", end.sending[1], out["initiator_chain_key"])
    check(f"{name} next header key", end.next_send, out["initiator_next_header_key"])


def check_ratchet(vector):
    keys = unhex(vector["session"])
    ends = [
        Session.initiator(keys, keys["initiator_ratchet"], x_public(keys["responder_spk"])),
        Session.responder(keys, keys["responder_spk"]),
    ]
    sent = []
    for number, step in enumerate(vector["steps"]):
        name, end, raw = f"ratchet step {number}", ends[step["end"]], unhex({key: value for key, value in step.items() if key != "do"})
        if step["do"] == "confirm":
            end.confirmed = True
        elif step["do"] == "send":
            check(f"{name} number", end.sending[2], step["n"])
            tag, preimage, envelope = end.seal(raw["head"], raw["padded"], raw["log_head3"], raw["salt"])
            check(f"{name} tag", tag, step["tag"])
            check(f"{name} preimage", preimage, step["preimage"])
            check(f"{name} envelope", envelope, step["envelope"])
            sent.append(envelope)
        else:
            plain, preimage, skipped = end.open(sent[step["message"]], raw["ratchet"])
            check(f"{name} plaintext", plain, step["padded"])
            check(f"{name} receipt", preimage, step["preimage"])
            check(f"{name} skipped", None if skipped is None else [tag.hex() for tag in skipped], step.get("skipped"))


def check_envelope(vector):
    for head in vector["heads"]:
        made = head_bytes(head["class"], head["ttl_code"], head["urgent"], head["no_infra"], head["expiry_hour"])
        check("head", made, head["bytes"])
        at = expires_ms(head["expiry_hour"], head["now_ms"])
        check("expiry", at, head["expires_ms"])
        check("keep until", min(at, head["now_ms"] + LIFETIMES_H[head["ttl_code"]] * HOUR_MS), head["keep_until_ms"])
    parsed = vector["parsed"]
    whole = bytes.fromhex(parsed["bytes"])
    found, end = extensions(whole)
    for name, value in (("tag", whole[4:16]), ("ext", whole[16:end]), ("sealed", whole[end:]), ("stamp", found[1]),
                        ("zone", found[2]), ("cid", blake3(whole)[:16])):
        check(f"parsed {name}", value, parsed[name])
    for padding in vector["paddings"]:
        check("padding", padded(padding["class"], bytes.fromhex(padding["plain"]), padding["overhead"]), padding["padded"])
    frames = vector["frames"]
    check("hello", b"\x01" + message((1, 1), (2, b"\x01" * 16), (3, b"\x02" * 16), (4, 1)), frames["hello"])
    check("envelopes", b"\x02" + varint(40) + b"\x01" * 40 + varint(200) + b"\x02" * 200, frames["envelopes"])
    check("receipts", b"\x03" + b"\x03" * 16 + b"\x04" * 16, frames["receipts"])
    check("tag", tag_of(bytes.fromhex(vector["tag"]["preimage"])), vector["tag"]["tag"])
    box = unhex(vector["box"])
    key = KDF(box["key"], box["salt"], "silbo/1/box")
    check("box", box["fixed"] + box["salt"] + seal(key, bytes(12), box["fixed"], box["padded"]), vector["box"]["envelope"])
    tags = vector["invite_tags"]
    tag, preimage = one_time_tag(bytes.fromhex(tags["key"]), tags["n"])
    check("one-time tag", tag, tags["one_time"])
    check("one-time preimage", preimage, tags["preimage"])
    check("reusable tag", reusable_tag(bytes.fromhex(tags["key"]), tags["n"]), tags["reusable"])
    given, pair = unhex(vector["pair"]), vector["pair"]
    secret = pair_secret(given["own"], x_public(given["peer"]))
    check("pair", secret, pair["secret"])
    check("pair, other end", pair_secret(given["peer"], x_public(given["own"])), pair["secret"])
    token = MAC(KDF(secret, b"", "silbo/1/link"), given["sender_peer"], given["receiver_peer"], given["nonce"])[:8]
    check("link token", token, pair["token"])
    reset = MAC(KDF(secret, b"", "silbo/1/reset"), given["from_aid"], given["to_aid"], u32(pair["epoch"]), u32(pair["n"]))[:16]
    check("reset preimage", reset, pair["reset_preimage"])
    check("reset tag", tag_of(reset), pair["reset_tag"])
    check("reset box key", KDF(secret, b"", "silbo/1/reset-box"), pair["reset_box"])
    check("reset psk", KDF(secret, b"", "silbo/1/reset-psk"), pair["reset_psk"])
    check("base32", base32(bytes.fromhex(vector["texts"]["bytes"])), vector["texts"]["base32"])
    check("base64url", base64url(bytes.fromhex(vector["texts"]["bytes"])), vector["texts"]["base64"])


def check_invite(vector):
    given = vector["in"]
    raw = unhex({key: value for key, value in given.items() if key != "name"})
    hints = [(1, raw["relay_key"] + raw["relay_addr"]), (3, raw["peer_key"] + raw["peer_addr"]), (5, given["name"].encode())]
    made = invite_bytes(given["kind"], given["flags"], given["expires_ms"], raw["secret"], raw["aid"], hints)
    check("CRC-16/GENIBUS", f"{crc16(b'123456789'):04X}", "D64E")
    check("invite", made, vector["bytes"])
    check("expiry day", int.from_bytes(made[2:4], "big"), vector["expiry_day"])
    check("expiry", EPOCH_MS + vector["expiry_day"] * DAY_MS + int.from_bytes(made[42:44], "big") * 60_000, vector["expires_at_ms"])
    check("link", "silbo:i/" + base64url(made), vector["link"])
    check("qr", "SILBO:I/" + base32(made), vector["qr"])
    check("web link", "https://silbo.example/k#" + base64url(made), vector["web_link"])
    keys = invite_keys(raw["secret"])
    for name, key in keys.items():
        check(f"invite key {name}", key, vector["keys"][name])
    card = vector["card"]
    owner = unhex(card["owner"])
    aid = check_person("card owner", owner, card["owner_public"])
    body = bytes.fromhex(card["body"])
    sealed = sealed_card(keys["card"], bytes.fromhex(card["salt"]), owner, aid, body)
    check("card", sealed, card["sealed"])
    profile = message((1, b"Ada"), (6, 1))
    log = b"".join(message((2, bytes.fromhex(entry))) for entry in card["owner_public"]["log"])
    parts = message((1, aid)) + log + message((3, profile), (4, bytes.fromhex(card["owner_public"]["bundle"])), (8, varint(1)), (9, 4))
    check("card body", parts, card["body"])


def check_identity(vector):
    secrets = unhex(vector["secrets"])
    check_person("first", secrets, vector["first"])
    check_person("grown", secrets, vector["grown"])
    _, devices, _ = read_log([bytes.fromhex(e) for e in vector["grown"]["log"]])
    check("one device is left", len(devices), 1)
    number = vector["safety_number"]
    own, theirs = fingerprint(bytes.fromhex(number["own"])), fingerprint(bytes.fromhex(number["theirs"]))
    check("safety number", "".join(sorted([half(own), half(theirs)])), number["digits"])
    check("safety QR", "SILBO:V/" + base32(b"\x01" + own + theirs), number["qr"])


def check_presence(vector):
    raw = unhex(vector)
    check("blind_vk", ed_public(raw["seed"]), vector["blind_vk"])
    key, value = publish(raw["seed"], raw["k_pres"], vector["day"], vector["seq"], vector["expires_s"], raw["plain"])
    check("DHT key", key, vector["dht_key"])
    check("presence record", value, vector["value"])


def check_mailbox(vector):
    raw = unhex(vector)
    seed, rid, sid = raw["seed"], raw["rid"], raw["sid"]
    public = ed_public(seed)
    bind = fields(public, raw["challenge"])
    days, env, kib = u32(vector["ttl_days"]), u32(vector["max_env"]), u32(vector["max_kib"])
    cids = [bytes.fromhex(cid) for cid in vector["cids"]]
    tags = [bytes.fromhex(tag) for tag in vector["tags"]]

    def signed(name, *parts):
        return sign(seed, f"silbo/1/mbox/{name}", bind + fields(*parts))

    check("CREATE", signed("create", rid, sid, public, raw["send_key"], days, env, kib), vector["create"])
    check("FETCH", signed("read", rid, u64(vector["after"])), vector["read"])
    check("ACK", signed("ack", rid, b"".join(u64(seq) for seq in vector["seqs"])), vector["ack"])
    check("DELETE", signed("delete", rid), vector["delete"])
    check("BLOB_PUT", signed("blob-put", raw["blob_id"], raw["blob"], days, public), vector["blob_put"])
    check("BLOB_DEL", signed("blob-del", raw["blob_id"]), vector["blob_del"])
    held = fields(sid, fields(*cids), u32(vector["until_hour"]))
    check("Held", sign(seed, "silbo/1/held", held), vector["held"])
    limits = fields(days + env + kib, public, raw["challenge"])
    check("Limits", sign(seed, "silbo/1/mbox/limits", limits), vector["limits"])
    for name, parts in (("deposit", cids), ("collect", tags)):
        purpose = f"silbo/1/mbox/{name}".encode()
        made = MAC(raw["send_key"], purpose, public, raw["challenge"], sid, b"".join(parts))[:16]
        check(name.upper(), made, vector[name])


def check_group_epochs(vector):
    raw = unhex(vector)
    group, devices = raw["group"], [bytes.fromhex(device) for device in vector["devices"]]
    ids = {name: [bytes.fromhex(head) for head in vector[name]["heads"]] for name in ("rekey", "forward", "other", "merge")}
    secrets = {"rekey": fresh_secret(raw["x"], ids["rekey"][0]), "other": fresh_secret(raw["other_x"], ids["other"][0])}
    secrets["forward"] = forward_secret(unfold(secrets["rekey"], group, ids["rekey"])[0], ids["forward"][0])
    joins = [unfold(secrets[name], group, ids[name])[0] for name in ("forward", "other")]
    secrets["merge"] = merged_secret(ids["merge"], joins)
    for name, secret in secrets.items():
        made = vector[name]
        join, chain_root, topic, knock, exporter = unfold(secret, group, ids[name])
        check(f"group {name} epoch", epoch_of(ids[name]), made["epoch"])
        check(f"group {name} secret", secret, made["secret"])
        check(f"group {name} join", join, made["join"])
        check(f"group {name} topic", topic, made["topic"])
        check(f"group {name} knock", knock, made["knock"])
        check(f"group {name} exporter", exporter, made["exporter"])
        check(f"group {name} topic of the day", KDF((topic, u32(vector["day"])), b"", "silbo/1/group/topic", 16), made["topic_of_day"])
        check(f"group {name} seeds", [chain_seed(chain_root, device).hex() for device in devices], made["seeds"])
    told = message((1, b"".join(ids["merge"])), (2, secrets["merge"]), (3, 1))
    check("group welcome", message((1, group), (2, told)), vector["welcome"])


def check_group_rekey(vector):
    raw = unhex(vector)
    heads = [bytes.fromhex(head) for head in vector["heads"]]
    devices = [bytes.fromhex(device) for device in vector["devices"]]
    keys = [bytes.fromhex(key) for key in vector["device_keys"]]
    place = (raw["group"], raw["rekeyer"], heads)
    kem = kem_public(raw["kem_seed"])
    shared, ct = ML_KEM_768._encaps_internal(kem, raw["kem_m"])
    check("group init", ct, vector["init"])
    check("group init, received", kem_decaps(raw["kem_seed"], ct), shared.hex())
    with_root = vector["init_device"]
    root = root_of_init(raw["group"], raw["rekeyer"], devices[with_root], kem, ct, shared)
    ephemeral = x_public(raw["ephemeral"])
    commitment = H("silbo/1/group/commitment", raw["x"])
    slices = []
    for index, (device, secret) in enumerate(zip(devices, keys)):
        step = vector["step"] if index == with_root else 0
        step_key = root_steps(root, step) if step else bytes(32)
        dh_made = dh(raw["ephemeral"], x_public(secret))
        key, ad = slice_of(place, ephemeral, dh_made, step_key, x_public(secret), commitment, index, device, step)
        slices.append(u16(step) + seal(key, bytes(12), ad, raw["x"]))
    levels = slice_tree(slices)
    tree = H("silbo/1/group/slice-root", u16(len(slices)), levels[-1][0])
    classical = len(slices) - 1
    material = message((1, ephemeral), (2, commitment), (3, tree), (4, len(slices)), (5, classical), (6, b"".join(slices)))
    check("group rekey material", material, vector["material"])
    published = one(parse(raw["material"]), 6)
    for index, (device, secret) in enumerate(zip(devices, keys)):
        proof = slice_proof(levels, index)
        made = message((1, index), (2, slices[index]), (3, proof))
        check(f"group slice {index}, fetched", made, vector["fetched"][index])
        shared, salt = dh(secret, ephemeral), fields(typed_x(ephemeral), typed_x(x_public(secret)))
        receipt = KDF(shared, salt, "silbo/1/group/slice-receipt", 16)
        check(f"group slice {index}, receipt", receipt, vector["receipts"][index])
        fixed, cover = raw["head"] + tag_of(receipt), KDF(shared, salt, "silbo/1/group/slice-envelope")
        envelope = fixed + seal(cover, bytes(12), fixed, padded("rich", made, 32))
        check(f"group slice {index}, envelope", envelope, vector["envelopes"][index])
        piece = published[50 * index : 50 * index + 50]
        step = int.from_bytes(piece[:2], "big")
        step_key = root_steps(root, step) if step else bytes(32)
        key, ad = slice_of(place, ephemeral, dh(secret, ephemeral), step_key, x_public(secret), commitment, index, device, step)
        check(f"group slice {index}, opened", unseal(key, bytes(12), ad, piece[2:]), vector["x"])


def check_group_letter(vector):
    raw = unhex(vector)
    origin = (raw["group"], raw["epoch"], raw["sender"])
    tag_key, chain_key = sender_chain(raw["seed"])
    for letter in vector["letters"]:
        part, n = unhex(letter), letter["n"]
        message_key, chain_key = chain_step(chain_key)
        tag = letter_tag(tag_key, n)
        check(f"group letter {n} tag", tag, letter["tag"])
        made = seal_letter(
            origin, raw["signer_seed"], raw["head"] + tag, n, message_key, part["salt"], letter["lamport"],
            part["parents"], part["body"],
        )
        check(f"group letter {n} id", made[0], letter["id"])
        check(f"group letter {n}", made[1], letter["envelope"])
    check("group tag 1024", letter_tag(tag_key, 1024), vector["tag_1024"])


def check_group_receipt(vector):
    raw = unhex(vector)
    for own, other in (("key", "author_key"), ("author_key", "key")):
        key = KDF(dh(raw[own], x_public(raw[other])), raw["group"], "silbo/1/group/receipt-key")
        proof = MAC(key, raw["group"], raw["letter"], raw["by"])[:8]
        check("group receipt", H("silbo/1/group/receipt-by", raw["by"])[:4] + proof, vector["receipt"])


def check_group(vectors):
    check_group_epochs(vectors["epochs"])
    check_group_rekey(vectors["rekey"])
    check_group_letter(vectors["letter"])
    check_group_receipt(vectors["receipt"])


# ---------- §10 operations on a group


def group_operation(signed):
    """id, parents, lamport, author and the numbered fields of an operation."""
    found = parse(signed["body"])
    author = one(found, 2)
    return {
        "id": H("silbo/1/group-operation", signed["body"])[:16], "group": one(found, 1), "account": author[:32], "device": author[32:],
        "lamport": one(found, 3, 0), "parents": found.get(4, []), "kind": next((n for n in found if n >= 10), None),
        "content": parse(next((values[-1] for n, values in found.items() if n >= 10), b"")), "sig": signed["sig"], "body": signed["body"],
    }


GROUP_DEVICES = {10: 3, 11: 3, 14: 1, 19: 3}
GROUP_HEADS = {10: None, 11: 4, 17: 1, 19: 5}


def group_devices(op):
    """(account, device id, signing key, agreement key) of the devices an operation introduces."""
    account = one(op["content"], {11: 1, 19: 2}[op["kind"]]) if op["kind"] in (11, 19) else op["account"]
    devices = [parse(raw) for raw in op["content"].get(GROUP_DEVICES.get(op["kind"], 99), [])]
    return [(account, one(d, 1), one(d, 3), one(d, 2)) for d in devices]


def check_group_operations(vector):
    link_seed = bytes.fromhex(vector["link_seed"])
    ops = [group_operation({k: bytes.fromhex(op[k]) for k in ("body", "sig")}) for op in vector["operations"]]
    gid = H("silbo/1/group", ops[0]["body"])[:16]
    check("group", gid, vector["group"])
    known, past = {}, {}
    for op, published in zip(ops, vector["operations"]):
        check("operation id", op["id"], published["id"])
        before = set(op["parents"]).union(*(past[parent] for parent in op["parents"])) if op["parents"] else set()
        past[op["id"]] = before
        introduced = [d for other in [known[i] for i in before] + ([op] if op is ops[0] else []) for d in group_devices(other)]
        keys = [key for account, device, key, _ in introduced if (account, device) == (op["account"], op["device"])]
        assert any(verifies(key, op["sig"], labelled("silbo/1/sign/group-operation", op["body"])) for key in keys)
        seed = bytes.fromhex(vector["seeds"][op["account"][0] - 1])
        check("operation sig", sign(seed, "silbo/1/sign/group-operation", op["body"]), published["sig"])
        assert op["lamport"] == max((known[parent]["lamport"] + 1 for parent in op["parents"]), default=0)
        assert op is ops[0] or op["group"] == gid
        assert op["parents"] == sorted(op["parents"])
        known[op["id"]] = op
    join = vector["join"]
    op, link = ops[join["operation"]], ops[join["link"]]
    devices = b"".join(device + key + agree for _, device, key, agree in group_devices(op))
    made = sign(link_seed, "silbo/1/sign/group-join", gid, link["id"], bytes.fromhex(join["aid"]), devices)
    check("link_sig", made, one(op["content"], 4).hex())
    followed = {parent for op in ops for parent in op["parents"]}
    check("heads", b"".join(sorted(op["id"] for op in ops if op["id"] not in followed)), "".join(vector["heads"]))
    void = {bytes.fromhex(i) for i in vector["void"]}
    keys = [op for op in ops if op["kind"] in GROUP_HEADS and op["id"] not in void]
    built_on = {head for op in keys for head in op["content"].get(GROUP_HEADS[op["kind"]], [])}
    check("key heads", b"".join(sorted(op["id"] for op in keys if op["id"] not in built_on)), "".join(vector["key_heads"]))
    check("group state", group_state(vector, one(ops[0]["content"], 2)), vector["state"])


def group_state(vector, settings):
    """What a checkpoint after all these operations says; nobody is muted, and the group is not frozen."""
    roster = b""
    for n, (role, since) in enumerate(zip(vector["roles"], vector["since"]), 1):
        if role is not None:
            seed = bytes([n]) * 32
            device = bytes([n]) * 8 + ed_public(seed) + x_public(seed)
            roster += fields(bytes([n]) * 32, bytes([role]), bytes.fromhex(since), device)
    links = b"".join(bytes.fromhex(link) + u32(2**32 - 1 if left is None else left) for link, left in vector["links_left"])
    void, keys = (b"".join(map(bytes.fromhex, vector[name])) for name in ("void", "key_heads"))
    return H("silbo/1/group/state", roster, settings, b"\0", b"", links, void, keys)


def check_channel(vector):
    raw = unhex({key: value for key, value in vector.items() if key != "link"})
    vk, first_day = ed_public(raw["seed"]), vector["first_day"]
    channel = H("silbo/1/channel", typed_ed(vk))[:16]
    check("channel", channel, vector["channel"])
    prev = bytes(32)
    for seq, post in enumerate(vector["posts"]):
        salt, plain = bytes.fromhex(post["salt"]), bytes.fromhex(post["plain"])
        key = channel_key(first_day, raw["first_key"], post["day"])
        prev, made = channel_post(raw["seed"], channel, key, seq, prev, post["day"], salt, plain)
        check("channel post", made, post["post"])
        check("hash of a post", prev, post["hash"])
    key = channel_key(first_day, raw["first_key"], vector["day"])
    check("key of a day", key, vector["key"])
    topic = KDF(key, b"", "silbo/1/channel/topic")
    check("channel token", MAC(topic, raw["from"], raw["to"], raw["nonce"])[:8], vector["token"])
    check("owner's record key", KDF(key, b"", "silbo/1/channel/owner-record"), vector["owner_k_pres"])
    for n, slot in enumerate(vector["slots"]):
        seed, k_pres = KDF(key, bytes([n]), "silbo/1/channel/slot", 32, 32)
        check("place", ed_public(seed) + k_pres, slot)
    time = vector["ts_ms"].to_bytes(8, "big")[2:]
    made = time + H("silbo/1/channel/message-id", channel, u64(vector["seq"]), time)[:6]
    check("message id of a post", made, vector["message_id"])
    name = b"news"
    link = bytes([0x10, 0]) + u16(vector["day"]) + key + vk + u64(vector["seq"]) + bytes([5, len(name)]) + name
    check("link to a channel", "silbo:c/" + base64url(link + u16(crc16(link))), vector["link"])


def main():
    def load(name):
        return json.loads((VECTORS / f"{name}.json").read_text())

    for name, vector in load("handshake").items():
        check_handshake(name, vector)
    checks = {
        "ratchet": check_ratchet, "envelope": check_envelope, "invite": check_invite,
        "identity": check_identity, "presence": check_presence, "mailbox": check_mailbox,
        "group": check_group, "group_operations": check_group_operations, "channel": check_channel,
    }
    for name, run in checks.items():
        try:
            run(load(name))
        except (AssertionError, InvalidTag, KeyError, ValueError) as error:
            results["failed"] += 1
            print(f"{name}: {type(error).__name__} {error}")
    print(f"{results['passed']} passed, {results['failed']} failed")
    return 1 if results["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())

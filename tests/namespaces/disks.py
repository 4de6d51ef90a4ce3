"""What somebody finds who takes the disk of a node away: pieces of given secrets, in any file, in any usual writing."""

import base64
import os

# Chance makes one of these out of noise once in 2^64 bytes, so a find is a leak.
_PIECE_BYTES = 8


_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"


def base32_bytes(text):
    """What an id in text stands for."""
    number = 0
    for letter in text:
        number = number * 32 + _BASE32.index(letter)
    count = len(text) * 5 // 8
    return (number >> (len(text) * 5 - count * 8)).to_bytes(count, "big")


def pieces(secret):
    """Every eight bytes in a row of a secret, and the whole of it as a program may have written it down."""
    plain = secret.encode() if isinstance(secret, str) else secret
    if len(plain) < _PIECE_BYTES:
        raise ValueError("too short to tell from noise")
    found = {plain[at:at + _PIECE_BYTES] for at in range(len(plain) - _PIECE_BYTES + 1)}
    found |= {plain.hex().encode(), plain.hex().upper().encode()}
    if isinstance(secret, str):
        found.add(secret.encode("utf-16-le"))
    for before in range(3):
        # The characters at both ends are made of neighbours, too.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(encode(bytes(before) + plain)[4 if before else 0:].rstrip(b"=")[:-1])
    return found


def holding(folder, secrets):
    """The files below a folder in which a piece of a secret can be read, by their path in it."""
    wanted = set().union(*(pieces(secret) for secret in secrets))
    found = []
    for path in _files(folder):
        with open(path, "rb") as file:
            content = file.read()
        if any(piece in content for piece in wanted):
            found.append(os.path.relpath(path, folder))
    return sorted(found)


def size(folder):
    """Bytes of all files below a folder."""
    return sum(os.path.getsize(path) for path in _files(folder))


def _files(folder):
    paths = (os.path.join(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]

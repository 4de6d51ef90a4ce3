"""A public internet in one thread: IPv4 packets between uplinks, with delay and loss of each uplink's own.

An uplink is a TUN device in some network namespace. What leaves it is delayed and perhaps lost, goes to the uplink
that owns the destination address, and is delayed and perhaps lost once more there. Nothing in the kernel but TUN is
needed, so it runs where `tc netem` was left out, and every packet is counted.
"""

import contextlib
import ctypes
import fcntl
import heapq
import ipaddress
import itertools
import os
import random
import select
import struct
import threading
import time

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_CLONE_NEWNET = 0x40000000
_PACKET_BYTES_MAX = 65535
_WAITING_MAX = 20_000

_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace):
    """Runs the block in a network namespace; concerns this thread only."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(there)
        try:
            yield
        finally:
            _enter(here)
    finally:
        os.close(here)
        os.close(there)


def _enter(namespace):
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Uplink:
    """One way into the internet. `delay` (seconds) and `loss` (0 to 1) hold in each direction."""

    def __init__(self, namespace, device, address, delay, loss):
        self.address = int(ipaddress.IPv4Address(address))
        self.delay = delay
        self.loss = loss
        self.bytes_out = 0
        self.bytes_in = 0
        self.packets_lost = 0
        with inside(namespace):
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            request = struct.pack("16sH22x", device.encode(), _IFF_TUN_NO_PI)
            fcntl.ioctl(self.fd, _TUNSETIFF, request)


class Internet:
    """Carries packets until closed."""

    def __init__(self, seed):
        self._chance = random.Random(seed)
        self._uplinks = {}
        self._waiting = []
        self._order = itertools.count()
        self._poll = select.epoll()
        self._wake, self._waker = os.pipe()
        self._poll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="internet", daemon=True)
        self._thread.start()

    def attach(self, uplink):
        self._uplinks[uplink.fd] = uplink
        self._poll.register(uplink.fd, select.EPOLLIN)
        return uplink

    def close(self):
        os.close(self._waker)
        self._thread.join()
        for fd in self._uplinks:
            os.close(fd)
        self._poll.close()
        os.close(self._wake)

    def _run(self):
        while True:
            pause = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else -1
            ready = self._poll.poll(pause)
            for fd, _ in ready:
                if fd == self._wake:
                    return
                self._take(self._uplinks[fd])
            now = time.monotonic()
            while self._waiting and self._waiting[0][0] <= now:
                _, _, target, packet = heapq.heappop(self._waiting)
                self._deliver(target, packet)

    def _take(self, source):
        for _ in range(64):
            try:
                packet = os.read(source.fd, _PACKET_BYTES_MAX)
            except (BlockingIOError, OSError):
                return
            if len(packet) < 20 or packet[0] >> 4 != 4:
                continue
            source.bytes_out += len(packet)
            wanted = int.from_bytes(packet[16:20], "big")
            target = next((u for u in self._uplinks.values() if u.address == wanted), None)
            if target is None or len(self._waiting) >= _WAITING_MAX:
                continue
            if self._lost(source) or self._lost(target):
                continue
            at = time.monotonic() + source.delay + target.delay
            heapq.heappush(self._waiting, (at, next(self._order), target, packet))

    def _lost(self, uplink):
        lost = self._chance.random() < uplink.loss
        uplink.packets_lost += lost
        return lost

    @staticmethod
    def _deliver(target, packet):
        if int.from_bytes(packet[16:20], "big") != target.address:
            return  # moved away while the packet was on its way
        try:
            os.write(target.fd, packet)
            target.bytes_in += len(packet)
        except OSError:
            target.packets_lost += 1

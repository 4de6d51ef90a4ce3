"""Machines, NAT routers and networks, each a network namespace of its own.

Everything here lives below a private mount and process namespace, so nothing of it is seen from outside, and all of
it ends with this program, however it ends.
"""

import ipaddress
import itertools
import subprocess

from internet import Internet, Uplink

_names = itertools.count(1)


def run(*command):
    """Runs a command, and raises with its own words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Machine:
    """A computer: one network namespace."""

    def __init__(self, kind):
        self.name = f"silbo-{kind}-{next(_names)}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def ip(self, *arguments):
        return run("ip", "-n", self.name, *arguments)

    def run(self, *command):
        return run("ip", "netns", "exec", self.name, *command)

    def remove(self):
        run("ip", "netns", "del", self.name)

    def counted_bytes(self, device):
        """Bytes in and out of a device."""
        base = f"/sys/class/net/{device}/statistics"
        return sum(int(self.run("cat", f"{base}/{kind}_bytes")) for kind in ("rx", "tx"))


class World:
    """An internet and what hangs on it. Remove it when done."""

    def __init__(self, seed=1):
        self.internet = Internet(seed)
        self._machines = []

    def remove(self):
        self.internet.close()
        for machine in self._machines:
            machine.remove()

    def _machine(self, kind):
        machine = Machine(kind)
        self._machines.append(machine)
        return machine

    def public(self, address, delay=0.005):
        """A machine with a public address."""
        machine = self._machine("public")
        self._connect(machine, address, delay, 0.0)
        return machine

    def router(self, address, inside="192.168.1.1/24", symmetric=False, delay=0.005, loss=0.0):
        """A home router: NAT for everybody behind it, nothing from outside that nobody asked for.

        Without `symmetric` the outer port is the inner one, whoever is written to; with it every destination sees
        another port.
        """
        router = self._machine("router")
        router.inside = ipaddress.IPv4Interface(inside)
        self._connect(router, address, delay, loss)
        router.run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        masquerade = "masquerade fully-random" if symmetric else "masquerade"
        rules = f"""
            table ip home {{
                chain translate {{
                    type nat hook postrouting priority srcnat; policy accept;
                    oifname "wan" {masquerade}
                }}
                chain to_us {{
                    type filter hook input priority filter; policy accept;
                    iifname "wan" ct state new drop
                }}
                chain through_us {{
                    type filter hook forward priority filter; policy accept;
                    iifname "wan" ct state new,invalid drop
                }}
            }}
        """
        router.run("nft", rules)
        return router

    def behind(self, router, address):
        """A machine behind a router."""
        machine = self._machine("home")
        self.plug(machine, router, address)
        return machine

    def plug(self, machine, router, address):
        """Connects a machine to a router's network by a fresh cable, with an address of that network."""
        run("ip", "link", "add", "lan", "netns", router.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
        router.ip("address", "add", str(router.inside), "dev", "lan")
        router.ip("link", "set", "lan", "up")
        machine.ip("address", "add", f"{address}/{router.inside.network.prefixlen}", "dev", "eth0")
        machine.ip("link", "set", "eth0", "up")
        machine.ip("route", "add", "default", "via", str(router.inside.ip))

    def unplug(self, machine):
        """Pulls the cable."""
        machine.ip("link", "del", "eth0")

    def renumber(self, router, address):
        """The provider gives a router another public address."""
        router.ip("address", "flush", "dev", "wan")
        router.ip("address", "add", f"{address}/32", "dev", "wan")
        router.ip("route", "replace", "default", "dev", "wan")
        router.uplink.address = int(ipaddress.IPv4Address(address))

    def neighbours(self, addresses):
        """Machines on one switch that leads nowhere."""
        switch = self._machine("switch")
        switch.ip("link", "add", "switch", "type", "bridge")
        switch.ip("link", "set", "switch", "up")
        machines = []
        for number, address in enumerate(addresses):
            machine = self._machine("home")
            port = f"port{number}"
            run("ip", "link", "add", port, "netns", switch.name, "type", "veth", "peer", "name", "eth0", "netns", machine.name)
            switch.ip("link", "set", port, "master", "switch", "up")
            machine.switch, machine.port = switch, port
            machine.ip("address", "add", address, "dev", "eth0")
            machine.ip("link", "set", "eth0", "up")
            machines.append(machine)
        return machines

    def separate(self, machines):
        """Some neighbours are on a switch of their own from now on: they reach each other and nobody else."""
        switch = machines[0].switch
        switch.ip("link", "add", "apart", "type", "bridge")
        switch.ip("link", "set", "apart", "up")
        for machine in machines:
            switch.ip("link", "set", machine.port, "master", "apart")

    def join(self, machines):
        """They are back with the others."""
        switch = machines[0].switch
        for machine in machines:
            switch.ip("link", "set", machine.port, "master", "switch")
        switch.ip("link", "del", "apart")

    def walker(self, address):
        """A machine that somebody carries about: without any network until it meets another one."""
        machine = self._machine("walker")
        machine.address = address
        return machine

    def meet(self, one, other):
        """Two walkers come so near that they share a network, with nobody else in it."""
        run("ip", "link", "add", "eth0", "netns", one.name, "type", "veth", "peer", "name", "eth0", "netns", other.name)
        for machine in (one, other):
            machine.ip("address", "add", machine.address, "dev", "eth0")
            machine.ip("link", "set", "eth0", "up")

    def part(self, one):
        """A walker goes away from whom it meets."""
        one.ip("link", "del", "eth0")

    def _connect(self, machine, address, delay, loss):
        machine.uplink = Uplink(machine.name, "wan", address, delay, loss)
        machine.ip("address", "add", f"{address}/32", "dev", "wan")
        machine.ip("link", "set", "wan", "up")
        machine.ip("route", "add", "default", "dev", "wan")
        self.internet.attach(machine.uplink)

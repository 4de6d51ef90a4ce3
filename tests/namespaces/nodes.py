"""Silbo nodes, driven through the command line as any other program would."""

import json
import os
import signal
import subprocess
import threading
import time


class Failed(Exception):
    """Something a scenario expected did not happen."""


def wait_until(what, seconds, seen, pause=0.25):
    """Asks `seen` again and again until it gives something; that and the seconds it took."""
    began = time.monotonic()
    while True:
        found = seen()
        if found:
            return found, time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(pause)


class Node:
    """A node on a machine. `silbo` is the binary, `home` an empty folder."""

    def __init__(self, silbo, home, machine, name, relay=False, mdns=False):
        self.silbo = silbo
        self.home = home
        self.machine = machine
        self.name = name
        role = ["relay", "serve"] if relay else ["up"]
        # Not to be heard by a real radio of this computer.
        self._start = [*role, "--yes", "--foreground", "--no-bluetooth", "--name", name]
        self._start += [] if mdns else ["--no-mdns"]
        self._process = None
        self.start()

    def start(self, clock_ahead_ms=0):
        """Starts the node and waits until it answers. Its wall clock can be ahead, which takes a debug build."""
        os.makedirs(self.home, exist_ok=True)
        self.log = os.path.join(self.home, "output")
        environment = {**os.environ, "SILBO_LOG": os.environ.get("SILBO_TEST_LOG", "info")}
        if clock_ahead_ms:
            environment["SILBO_CLOCK_AHEAD_MS"] = str(clock_ahead_ms)
        with open(self.log, "ab") as output:
            self._process = subprocess.Popen(
                ["ip", "netns", "exec", self.machine.name, self.silbo, "--home", self.home, *self._start],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
            )
        wait_until(f"{self.name} starts", 30, lambda: self._call("status")[0] == 0)

    def kill(self):
        """Ends the node without a word."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def _call(self, *arguments, timeout=90):
        done = subprocess.run(
            [self.silbo, "--home", self.home, *arguments, "--json"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
        )
        return done.returncode, done.stdout, done.stderr

    def call(self, *arguments, timeout=90):
        """A command and the document it prints."""
        code, out, error = self._call(*arguments, timeout=timeout)
        if code != 0:
            raise Failed(f"{self.name}: silbo {' '.join(arguments[:3])}: {error.strip() or code}")
        return json.loads(out)

    def mesh(self, name):
        """A number of `silbo mesh status`."""
        return self.call("mesh", "status")[name]

    def route(self, contact):
        """Over which way a contact is linked: direct, lan, circuit, …; empty while it is not."""
        return self.call("contact", "show", contact).get("route") or ""

    def send(self, contact, text):
        return self.call("send", contact, text)["id"]

    def send_and_wait(self, contact, text, seconds=60):
        """Sends, waits for the receipt, and tells the path and the seconds it took."""
        began = time.monotonic()
        sent = self.call("send", contact, text, "--wait", "delivered", "--timeout", f"{seconds}s", timeout=seconds + 30)
        if sent["state"] not in ("delivered", "read"):
            raise Failed(f"{self.name}: a message is {sent['state']} after {seconds} s")
        return sent.get("path"), time.monotonic() - began

    def history(self, contact):
        """The whole conversation, oldest first."""
        pages = []
        while not pages or len(pages[0]) == 200:
            before = ["--before", pages[0][0]["id"]] if pages else []
            pages.insert(0, self.call("history", contact, "--limit", "200", *before)["items"])
        return [item for page in pages for item in page]

    def received(self, contact):
        """Texts of the contact, as the conversation shows them."""
        return [item["body"] for item in self.history(contact) if not item["outgoing"]]

    def undelivered(self, contact):
        """How many of our messages have no receipt."""
        return sum(item["state"] not in ("delivered", "read") for item in self.history(contact) if item["outgoing"])

    def told(self, kind):
        """Every event of a kind so far."""
        events = self.call("recv", "--since", "0", "--kinds", "all")["events"]
        return [event for event in events if event["kind"] == kind]

    def paths(self, contact):
        """By which ways our messages went, counted."""
        counts = {}
        for item in self.history(contact):
            if item["outgoing"]:
                path = item.get("path") or "none"
                counts[path] = counts.get(path, 0) + 1
        return ", ".join(f"{count} {path}" for path, count in sorted(counts.items()))


def befriend(inviting, invited, seconds=60):
    """Makes two nodes contacts by an invitation; tells the seconds it took. Each calls the other by its name."""
    link = inviting.call("invite")["link"]
    began = time.monotonic()
    invited.call(
        "add", link, "--as", inviting.name, "--wait", "--timeout", f"{seconds}s", timeout=seconds + 30
    )
    wait_until(
        f"{inviting.name} sees {invited.name}", seconds,
        lambda: any(c["name"] == invited.name and c["state"] == "active" for c in inviting.call("contact", "list")["items"]),
    )
    return time.monotonic() - began


class Conversation:
    """Two nodes that write to each other at the same time, while a scenario disturbs them."""

    def __init__(self, one, other, count, pause=0.0, words="says"):
        self._pairs = [(one, other), (other, one)]
        self.count = count
        self._pause = pause
        self._words = words
        self._errors = []
        self._sent = {one.name: 0, other.name: 0}
        self._threads = [threading.Thread(target=self._write, args=pair, daemon=True) for pair in self._pairs]
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def _write(self, writer, reader):
        try:
            for text in self._texts(writer):
                writer.send(reader.name, text)
                self._sent[writer.name] += 1
                time.sleep(self._pause)
        except Exception as error:  # told by `check`, in the scenario's own thread
            self._errors.append(error)

    def _texts(self, writer):
        return [f"{writer.name} {self._words} {number}" for number in range(self.count)]

    def next_text(self, writer):
        """A text that `writer` has not begun to send."""
        return self._texts(writer)[self._sent[writer.name] + 1]

    def wait_for(self, count):
        """Waits until both have written so many messages."""
        wait_until(f"{count} messages are written", 120, lambda: self._errors or min(self._sent.values()) >= count, 0.05)

    def check(self, seconds):
        """Waits until everything has arrived and is receipted; holds that it came in order and once."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]
        deadline = time.monotonic() + seconds
        for writer, reader in self._pairs:
            texts = self._texts(writer)

            def arrived():
                return [text for text in reader.received(writer.name) if text in texts]

            left = max(1.0, deadline - time.monotonic())
            try:
                wait_until("all arrive", left, lambda: len(arrived()) >= self.count, 0.5)
                wait_until("all are receipted", max(1.0, deadline - time.monotonic()), lambda: writer.undelivered(reader.name) == 0, 0.5)
            except Failed as failed:
                got = arrived()
                raise Failed(
                    f"{failed}: {len(got)} of {self.count} from {writer.name} are at {reader.name}, "
                    f"{writer.undelivered(reader.name)} without receipt"
                ) from None
            if arrived() != texts:
                raise Failed(f"{writer.name}'s messages are not in order and once at {reader.name}: {arrived()}")
        return time.monotonic() - self.began

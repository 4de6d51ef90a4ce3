"""One node as a process of its own: started, asked, killed, and put back to what its disk had after a power cut."""

import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time

LISTEN = "/ip4/127.0.0.1/udp/0/quic-v1"
START_MAX_S = 60


class Refused(Exception):
    """The node answered with an error."""

    def __init__(self, error):
        self.exit_class = -32000 - error.get("code", -32603)
        self.message = error.get("message", "")
        self.data = error.get("data") or {}
        super().__init__(json.dumps(error))


class Unreachable(Exception):
    """No node answered, or it ended while it was asked."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.unix_path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.unix_path)


class Node:
    """`role` is "person" or "relay". With a `shim` the node runs under tests/crashes/powercut.c."""

    started = []
    numbers = itertools.count(1)

    def __init__(self, lab, name, role="person", shim=None, home=None):
        self.lab, self.name, self.role, self.shim = lab, name, role, shim
        self.home = home or os.path.join(lab.folder, name)
        self.side = os.path.join(lab.folder, name + ".side")
        self.shadow = os.path.join(self.side, "shadow")
        self.eio_path = os.path.join(self.side, "eio")
        self.keylog = os.path.join(self.side, "keys")
        self.log_path = os.path.join(self.side, "log")
        self.process = None
        for folder in (self.home, self.shadow):
            os.makedirs(folder, exist_ok=True)

    def __str__(self):
        return self.name

    # ---- the process

    def start(self, wait=True):
        words = [self.lab.binary, "--home", self.home]
        words += ["relay", "serve"] if self.role == "relay" else ["up", "--name", self.name, "--no-mdns"]
        words += ["--yes", "--foreground", "--no-bluetooth", "--listen", LISTEN]
        variables = {k: v for k, v in os.environ.items() if not k.startswith(("SILBO_", "POWERCUT_"))}
        variables["SILBO_KEYLOG"] = self.keylog
        if self.shim:
            variables |= {
                "LD_PRELOAD": self.shim,
                "POWERCUT_DIR": os.path.realpath(self.home),
                "POWERCUT_SHADOW": os.path.realpath(self.shadow),
                "POWERCUT_EIO": self.eio_path,
            }
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, cwd="/"
            )
        Node.started.append(self.process)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        deadline = time.monotonic() + START_MAX_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"{self} ended with {self.process.returncode} instead of starting: {self.log_tail()}")
            try:
                return self.call("system.version")
            except Unreachable:
                time.sleep(0.02)
        raise AssertionError(f"{self} did not answer within {START_MAX_S} s: {self.log_tail()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """Asks the node to stop, and waits until it has."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self} did not stop within 30 s") from None

    def cut_power(self):
        """Kills the node and leaves of its files what was synced."""
        self.kill()
        restore(self.home, self.shadow)

    def log_tail(self, lines=4):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return " | ".join(line.strip() for line in log.readlines()[-lines:])

    def log_has(self, words):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return words in log.read()

    # ---- its API

    def call(self, method, params=None, timeout=30):
        connection = UnixConnection(os.path.join(self.home, "run", "silbo.sock"), timeout)
        document = {"jsonrpc": "2.0", "id": next(Node.numbers), "method": method, "params": params or {}}
        try:
            connection.request("POST", "/rpc", json.dumps(document), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise AssertionError(f"{self}: HTTP {response.status} {body[:200]!r}")
            answer = json.loads(body)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as problem:
            raise Unreachable(f"{self}: {problem}") from problem
        finally:
            connection.close()
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["result"]

    def command(self, *words, timeout=60):
        """Runs the command line against this node: exit code, standard output and error together."""
        done = subprocess.run(
            [self.lab.binary, "--home", self.home, *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def send(self, chat, body, client_id=None):
        params = {"chat": chat, "body": body} | ({"clientId": client_id} if client_id else {})
        return self.call("message.send", params)["id"]

    def history(self, chat):
        """Every item of a conversation, oldest first."""
        items, before = [], None
        while True:
            page = self.call("history.list", {"chat": chat, "limit": 200} | ({"before": before} if before else {}))
            items = page["items"] + items
            before = page.get("next")
            if not before or not page["items"]:
                return items

    def received_events(self):
        """The body of every message.received event in the log."""
        bodies, since = [], 0
        while True:
            page = self.call("events.list", {"since": since, "limit": 200})
            if page.get("gap"):
                raise AssertionError(f"{self} has a gap in its event log: {page['gap']}")
            if not page["events"]:
                return bodies
            bodies += [event["body"] for event in page["events"] if event["kind"] == "message.received"]
            since = page["events"][-1]["seq"]

    def fail_disk(self, kind, number):
        """From the `number`-th call on, "write" or "sync" fails with EIO; needs the shim."""
        with open(self.eio_path + ".part", "w", encoding="ascii") as file:
            file.write(f"{kind} {number}")
        os.replace(self.eio_path + ".part", self.eio_path)

    def heal_disk(self):
        if os.path.exists(self.eio_path):
            os.remove(self.eio_path)


def restore(home, shadow):
    """Gives every file in `home` the content of its shadow; a file that was never synced becomes empty."""
    parent = os.path.dirname(shadow)
    for name in os.listdir(parent):
        if name.startswith(os.path.basename(shadow) + ".copy-"):
            os.remove(os.path.join(parent, name))
    for folder, _, names in os.walk(home):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            kept = os.path.join(shadow, os.path.relpath(path, home))
            if os.path.isfile(kept):
                with open(kept, "rb") as source, open(path, "r+b") as target:
                    target.truncate()
                    shutil.copyfileobj(source, target)
            else:
                os.truncate(path, 0)

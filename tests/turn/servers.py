"""The relay under test, Debian's coturn, and a peer: each on whatever ports are free."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import urllib.request

PROGRAMS = pathlib.Path(os.environ.get("PASSERELLE_PROGRAMS", pathlib.Path(__file__).parents[2] / "target/release"))
HERE = pathlib.Path(__file__).parent

HOST = "127.0.0.1"
SECRET = "only-these-tests-have-this-secret-4f0d9c1e7ab35826"
STOP_TIMEOUT_S = 5


def free_port(kind=socket.SOCK_DGRAM):
    """A port that is free now; for programs that cannot choose one by themselves."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


class Process:
    """A program that is ended by its own id when the `with` block ends, in a folder of its own."""

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="passerelle-turn-")
        self.folder = pathlib.Path(self.temporary.name)
        self.process = None
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def spawn(self, command, **options):
        self.process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, **options)

    def __exit__(self, *_):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            for stream in (self.process.stdout, self.process.stderr):
                if stream:
                    stream.close()
        self.temporary.cleanup()

    def certify(self):
        subprocess.run([HERE / "certificate", self.folder, f"IP:{HOST}"], check=True)
        self.ca = self.folder / "ca.pem"


class Relay(Process):
    """`turn-relay`, which lets its clients reach the given ports of this host and nothing else."""

    def __init__(self, *peer_ports, settings=""):
        self.peers = [f"{HOST}:{port}" for port in peer_ports]
        self.settings = settings

    def start(self):
        self.certify()
        (self.folder / "relay.toml").write_text(f"""
[turn-relay]
listen = ["{HOST}:0"]
tls_listen = ["{HOST}:0"]
rest_listen = "{HOST}:0"
relay_addresses = ["{HOST}"]
secrets = ["{SECRET}"]
certificate = "{self.folder}/certificate.pem"
key = "{self.folder}/key.pem"
# No allocation of a test waits for a peer: what is left at the end is nobody's.
drain_s = 0
{self.settings}
[turn-relay.policy]
allow = {json.dumps(self.peers)}
[log]
level = "warn"
""")
        self.spawn([PROGRAMS / "turn-relay", "--config", "relay.toml", "--ready-json"], stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the relay ended before it was ready")
        bound = json.loads(line)["bound"]
        self.port = port_of(bound["udp"][0])
        self.tls_port = port_of(bound["tcp"][1])
        self.rest = f"http://{bound['rest']}"

    def stats(self):
        with urllib.request.urlopen(f"{self.rest}/stats", timeout=5) as response:
            return json.load(response)


class Coturn(Process):
    """Debian's relay, set up as the table in turn-relay/README.md says."""

    def start(self):
        self.certify()
        self.port, self.tls_port = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
        command = ["turnserver", "-n", "--no-cli", "--cli-password=unused", "--log-file=stdout", "--simple-log", "--no-dtls",
                   f"--pidfile={self.folder}/pid", f"--userdb={self.folder}/users", f"--listening-ip={HOST}", f"--relay-ip={HOST}",
                   f"--listening-port={self.port}", f"--tls-listening-port={self.tls_port}", "--use-auth-secret",
                   f"--static-auth-secret={SECRET}", "--realm=passerelle", f"--cert={self.folder}/certificate.pem",
                   f"--pkey={self.folder}/key.pem", "--allow-loopback-peers"]
        with open(self.folder / "log", "wb") as log:
            self.spawn(command, stdout=log, stderr=subprocess.STDOUT)
        for _ in range(100):
            if self.process.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex((HOST, self.tls_port)) == 0:
                    return
            threading.Event().wait(0.1)
        raise RuntimeError((self.folder / "log").read_text()[-2000:])


class Peer(Process):
    """Debian's echoing peer."""

    def start(self):
        self.port = free_port()
        self.spawn(["turnutils_peer", "-p", str(self.port), "-L", HOST], stdout=subprocess.DEVNULL)


def port_of(address):
    return int(address.rsplit(":", 1)[1])

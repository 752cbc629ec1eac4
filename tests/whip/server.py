"""The real program on whatever ports are free, and its two protocols over plain HTTP."""

import asyncio
import json
import os
import pathlib
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request

PROGRAMS = pathlib.Path(os.environ.get("PASSERELLE_PROGRAMS", pathlib.Path(__file__).parents[2] / "target/release"))

SETTINGS = {
    "SIGNALING__LISTEN": "127.0.0.1:0",
    "SIGNALING__REST_LISTEN": "127.0.0.1:0",
    "BRIDGE__MEDIA_PORT": "0",
    "BRIDGE__CHANNEL_LISTEN": "127.0.0.1:0",
    "BRIDGE__REST_LISTEN": "127.0.0.1:0",
    "TURN_RELAY__LISTEN": "127.0.0.1:0",
    "TURN_RELAY__REST_LISTEN": "127.0.0.1:0",
    # Encoders and decoders work on the same processors.
    "BRIDGE__PIN_WORKERS": "false",
    "LOG__LEVEL": "warn",
}

STOP_TIMEOUT_S = 5


class Server:
    """One `passerelle` process; stops when its `with` block ends."""

    def __enter__(self):
        # An empty folder of its own: no settings file of the tree is read.
        self.folder = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [PROGRAMS / "passerelle", "--ready-json"],
            cwd=self.folder.name,
            env={f"PASSERELLE__{key}": value for key, value in SETTINGS.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            raise RuntimeError("the server ended before it was ready")
        bound = json.loads(line)["bound"]
        self.public = f"http://{bound['signaling']['public']}"
        self.rest = f"http://{bound['signaling']['rest']}"
        self.bridge_rest = f"http://{bound['bridge']['rest']}"
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()


def ask(url, method="GET", body=None, kind=None):
    """Status, headers and text of one request, refused or not."""
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read().decode()


async def post_offer(url, sdp):
    """Posts an offer until a bridge is there to take it, as `Retry-After` asks, but sooner. Answer and resource."""
    for _ in range(40):
        status, headers, text = await asyncio.to_thread(ask, url, "POST", sdp.encode(), "application/sdp")
        if status == 201:
            return text, urllib.parse.urljoin(url, headers["Location"])
        if status != 503:
            break
        await asyncio.sleep(0.25)
    raise RuntimeError(f"{status}: {text}")

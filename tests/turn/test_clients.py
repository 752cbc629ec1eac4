"""Clients that share nothing with the relay are relayed by it, over UDP, TCP and TLS."""

import asyncio
import base64
import hashlib
import hmac
import re
import ssl
import subprocess
import time
import unittest

from aioice import turn

from servers import HOST, PROGRAMS, SECRET, Coturn, Peer, Relay

PATIENCE_S = 60
# A key frame, and a second of a voice.
BURST, LONE = 60, 50


def credentials(user="test"):
    username = f"{int(time.time()) + 600}:{user}"
    digest = hmac.new(SECRET.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def wait_for_packets(test, relay, count):
    """Statistics show within a second exactly what was relayed."""
    end = time.monotonic() + 1
    while time.monotonic() < end:
        stats = relay.stats()
        if stats["relayed_packets"] == {"to_peer": count, "to_client": count}:
            return stats
        time.sleep(0.05)
    test.fail(stats)


class Turnutils(unittest.TestCase):
    """Its exit code is 0 whatever is lost: what counts is what it says."""

    def check(self, *flags, settings=""):
        with Peer() as peer, Relay(peer.port, peer.port + 1, settings=settings) as relay:
            port = relay.tls_port if "-S" in flags else relay.port
            command = ["turnutils_uclient", *flags, "-u", "test", "-W", SECRET, "-p", port, "-L", HOST, "-e", HOST, "-r", peer.port, "-n", 50, "-m", 4, "-l", 1000, HOST]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S)
            said = done.stdout + done.stderr
            self.assertIn("Total lost packets 0 ", said)
            sent = re.findall(r"tot_send_msgs=(\d+), tot_recv_msgs=(\d+)", said)
            self.assertTrue(sent and sent[-1] == ("200", "200"), said)
            wait_for_packets(self, relay, 200)

    def test_over_udp(self):
        self.check("-c")

    def test_over_udp_with_a_second_allocation_for_rtcp(self):
        # It comes from another port of the client's, with a token for the port beside the first one: a shard knows its own.
        self.check(settings="shards = 1")

    def test_over_udp_by_send_indications(self):
        self.check("-c", "-s")

    def test_over_tcp(self):
        self.check("-c", "-t")

    def test_over_tls(self):
        self.check("-c", "-t", "-S", "-z", "20")


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)


class Listener(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, _):
        self.received.put_nowait(data)


class Aioice(unittest.IsolatedAsyncioTestCase):
    async def check(self, transport, is_tls):
        loop = asyncio.get_running_loop()
        echo, _ = await loop.create_datagram_endpoint(Echo, local_addr=(HOST, 0))
        peer = echo.get_extra_info("sockname")
        with Relay(peer[1]) as relay:
            context = ssl.create_default_context(cafile=relay.ca) if is_tls else False
            username, password = credentials()
            client, listener = await turn.create_turn_endpoint(
                Listener, (HOST, relay.tls_port if is_tls else relay.port), username=username, password=password, ssl=context, transport=transport)
            for number in range(BURST):
                client.sendto(number.to_bytes(2, "big") * 600, peer)
            received = {await asyncio.wait_for(listener.received.get(), PATIENCE_S) for _ in range(BURST)}
            self.assertEqual(received, {number.to_bytes(2, "big") * 600 for number in range(BURST)})
            for number in range(1, LONE + 1):
                client.sendto(b"x" * number, peer)
                self.assertEqual(await asyncio.wait_for(listener.received.get(), PATIENCE_S), b"x" * number)
            stats = await asyncio.to_thread(wait_for_packets, self, relay, BURST + LONE)
            self.assertEqual(stats["allocations"]["tls" if is_tls else transport], 1, "while the call goes on")
            client.close()
        echo.close()

    async def test_over_udp(self):
        await self.check("udp", False)

    async def test_over_tcp(self):
        await self.check("tcp", False)

    async def test_over_tls(self):
        await self.check("tcp", True)

    async def test_a_wrong_password_is_refused(self):
        with Relay(9) as relay:
            username, _ = credentials()
            with self.assertRaises(Exception):
                await turn.create_turn_endpoint(Listener, (HOST, relay.port), username=username, password="wrong", transport="udp")


class OwnClient(unittest.TestCase):
    """`turn-relay test` says which legs of a server work, whosever server it is."""

    def run_test(self, server, *flags):
        settings = server.folder / "client.toml"
        settings.write_text(f'[turn-relay]\nsecrets = ["{SECRET}"]\n')
        command = [PROGRAMS / "turn-relay", "--config", settings, "test", "--server", f"{HOST}:{server.port}", *flags]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=PATIENCE_S)

    def check(self, server):
        done = self.run_test(server, "--tls-server", f"{HOST}:{server.tls_port}", "--ca", server.ca)
        self.assertEqual(re.findall(r"^(udp|tcp|tls): works: ", done.stdout, re.M), ["udp", "tcp", "tls"], done)
        self.assertEqual(done.returncode, 0)
        done = self.run_test(server, "--tls-server", f"{HOST}:{server.tls_port}")
        self.assertIn("tls: does not work: ", done.stdout, "an authority that nobody trusts is not trusted")
        self.assertEqual(done.returncode, 1)

    def test_on_our_relay(self):
        with Relay(9) as relay:
            self.check(relay)

    def test_on_our_relay_with_everything_on_one_port(self):
        with Relay(9) as relay:
            done = self.run_test(relay, "--ca", relay.ca)
            self.assertEqual((done.stdout.count(": works: "), done.returncode), (3, 0), done)

    def test_on_coturn(self):
        with Coturn() as coturn:
            self.check(coturn)


if __name__ == "__main__":
    unittest.main()

"""aiortc publishes by WHIP and views by WHEP: a stack that shares nothing with ours decodes what we forwarded."""

import asyncio
import json
import pathlib
import unittest

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from media import AMPLITUDE, HEIGHT, LEFT, RIGHT, TONE_HZ, WIDTH, Picture, Tone, brightness, left_channel, strength
from server import Server, ask, post_offer

FRAMES_WANTED = 30
# Half a second, so that a pitch is known well.
AUDIO_FRAMES_WANTED = 25
PATIENCE_S = 30
# What VP8 may do to a flat area's brightness.
BRIGHTNESS_TOLERANCE = 12


async def negotiate(connection, url):
    """Offer, answer, resource."""
    await connection.setLocalDescription(await connection.createOffer())
    answer, resource = await post_offer(url, connection.localDescription.sdp)
    await connection.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
    return resource


def connection():
    # No STUN server: nothing of this leaves the machine.
    return RTCPeerConnection(RTCConfiguration(iceServers=[]))


async def publish(url):
    publisher = connection()
    publisher.addTrack(Tone())
    publisher.addTrack(Picture())
    return publisher, await negotiate(publisher, url)


async def view(url):
    viewer = connection()
    viewer.addTransceiver("audio", direction="recvonly")
    viewer.addTransceiver("video", direction="recvonly")
    return viewer, await negotiate(viewer, url)


async def watch(track):
    """Decoded pictures; the first ones may be of before the moment of joining."""
    return [await track.recv() for _ in range(FRAMES_WANTED)]


async def listen(track):
    """Samples, once the voice is there: a decoder says silence until then."""
    while max(left_channel(await track.recv())) < AMPLITUDE // 4:
        pass
    frames = [await track.recv() for _ in range(AUDIO_FRAMES_WANTED)]
    return [sample for frame in frames for sample in left_channel(frame)]


def track(viewer, kind):
    return next(it.receiver.track for it in viewer.getTransceivers() if it.kind == kind)


class Aiortc(unittest.IsolatedAsyncioTestCase):
    async def test_a_viewer_decodes_the_pictures_and_hears_the_tone_of_a_publisher(self):
        with Server() as server:
            publisher, published = await publish(f"{server.public}/whip/demo")
            viewer, viewed = await view(f"{server.public}/whep/demo")
            work = asyncio.gather(watch(track(viewer, "video")), listen(track(viewer, "audio")))
            frames, samples = await asyncio.wait_for(work, PATIENCE_S)

            for frame in frames:
                self.assertEqual((frame.width, frame.height), (WIDTH, HEIGHT))
            seen = [brightness(frame) for frame in frames]
            # The bar passes through each middle now and then.
            is_right = [abs(left - LEFT) < BRIGHTNESS_TOLERANCE and abs(right - RIGHT) < BRIGHTNESS_TOLERANCE for left, right in seen]
            self.assertGreater(sum(is_right), len(seen) // 2, seen)
            self.assertGreater(strength(samples, TONE_HZ), 0.5 * AMPLITUDE / 32_768)
            self.assertLess(strength(samples, 3 * TONE_HZ), 0.1 * strength(samples, TONE_HZ))

            conference = json.loads(ask(f"{server.rest}/api/conferences")[2])[0]
            self.assertEqual(conference["conference"], "demo")
            for resource in (published, viewed):
                self.assertEqual(ask(resource, "DELETE")[0], 200)
                self.assertEqual(ask(resource, "DELETE")[0], 404)
            await asyncio.gather(publisher.close(), viewer.close())
            self.assertEqual(json.loads(ask(f"{server.rest}/api/conferences")[2]), [])

    async def test_the_offer_of_the_readme_is_answered(self):
        offer = pathlib.Path(__file__).with_name("offer.sdp").read_bytes().decode()
        with Server() as server:
            answer, resource = await post_offer(f"{server.public}/whip/demo", offer)
            self.assertTrue(answer.startswith("v=0\r\n"), answer)
            self.assertEqual(ask(resource, "DELETE")[0], 200)


if __name__ == "__main__":
    unittest.main()

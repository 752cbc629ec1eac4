"""What the publisher shows and says, and how a viewer recognises it."""

import array
import asyncio
import fractions
import math
import time

from aiortc import MediaStreamTrack
from av import AudioFrame, VideoFrame

WIDTH, HEIGHT, FRAMES_PER_S = 320, 240, 15
# Luma of the left and of the right half: far enough apart that no quantiser confuses them.
LEFT, RIGHT = 60, 190

SAMPLES_PER_S, FRAME_SAMPLES = 48_000, 960
TONE_HZ, AMPLITUDE = 440, 12_000


class Picture(MediaStreamTrack):
    """Two halves of different brightness, and a bar that moves."""

    kind = "video"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.begun = time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self.begun + self.count / FRAMES_PER_S - time.monotonic()))
        frame = VideoFrame(WIDTH, HEIGHT, "yuv420p")
        row = bytearray([LEFT] * (WIDTH // 2) + [RIGHT] * (WIDTH // 2))
        bar = self.count * 4 % WIDTH
        row[bar : bar + 4] = bytes([255] * len(row[bar : bar + 4]))
        for plane, line in zip(frame.planes, (bytes(row), bytes([128] * (WIDTH // 2)), bytes([128] * (WIDTH // 2)))):
            plane.update(line.ljust(plane.line_size, b"\0") * plane.height)
        frame.pts, frame.time_base = self.count * 90_000 // FRAMES_PER_S, fractions.Fraction(1, 90_000)
        self.count += 1
        return frame


class Tone(MediaStreamTrack):
    """One loud note."""

    kind = "audio"

    def __init__(self):
        super().__init__()
        self.count = 0
        self.begun = time.monotonic()

    async def recv(self):
        await asyncio.sleep(max(0, self.begun + self.count * FRAME_SAMPLES / SAMPLES_PER_S - time.monotonic()))
        first = self.count * FRAME_SAMPLES
        turn = 2 * math.pi * TONE_HZ / SAMPLES_PER_S
        samples = (int(AMPLITUDE * math.sin(turn * index)) for index in range(first, first + FRAME_SAMPLES))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME_SAMPLES)
        frame.planes[0].update(array.array("h", samples).tobytes())
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES_PER_S, first, fractions.Fraction(1, SAMPLES_PER_S)
        self.count += 1
        return frame


def brightness(frame):
    """Mean luma of the middle of each half."""
    plane = frame.reformat(format="yuv420p").planes[0]
    row = bytes(plane)[plane.line_size * (frame.height // 2) :]

    def mean(first):
        return sum(row[first : first + 40]) / 40

    return mean(frame.width // 4 - 20), mean(frame.width * 3 // 4 - 20)


def strength(samples, hz):
    """How much of a pitch is in the samples, by Goertzel's algorithm: 0 none, near 1 a pure tone of full amplitude."""
    factor = 2 * math.cos(2 * math.pi * hz / SAMPLES_PER_S)
    before, last = 0.0, 0.0
    for sample in samples:
        before, last = last, sample / 32_768 + factor * last - before
    power = last * last + before * before - factor * last * before
    return 2 * math.sqrt(max(0.0, power)) / len(samples)


def left_channel(frame):
    """The samples of the first channel."""
    samples = array.array("h", bytes(frame.planes[0])[: frame.samples * len(frame.layout.channels) * 2])
    return samples[:: len(frame.layout.channels)]

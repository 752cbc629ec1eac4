//! A camera: one picture at a time, sent in one or more layers, each of its own rate.

use std::time::{Duration, Instant};

use rand::Rng;

use super::picture::PictureStream;
use super::{Outlet, caught_up, interval_of, wait_of, within};
use crate::scenario;

/// A camera that sends.
#[derive(Debug)]
pub(super) struct Camera {
    layers: Vec<Layer>,
    /// Between two pictures of the fastest layer.
    interval: Duration,
    key_frame_interval: Option<Duration>,
    key_frame_size: f64,
    size_jitter: f64,
    next_at: Option<Instant>,
}

#[derive(Debug)]
struct Layer {
    stream: PictureStream,
    /// Of an average picture.
    bytes: f64,
    /// Pictures of this layer for each of the fastest one's, 0.0 to 1.0.
    share: f64,
    /// What is saved up towards the next picture; one is enough.
    credit: f64,
    /// Bytes that key frames took beyond their share. The following pictures give them back, as an encoder's rate control
    /// does, so that the rate stays what the scenario says.
    debt: f64,
}

impl Camera {
    /// `streams`: one for each of the plan's layers, in order.
    pub(super) fn new(plan: &scenario::Camera, streams: Vec<PictureStream>) -> Self {
        let fastest = plan.layers.iter().map(|layer| layer.frames_per_s).fold(0.0, f64::max);
        let layers = plan.layers.iter().zip(streams).map(|(layer, stream)| Layer {
            stream,
            bytes: f64::from(layer.rate_kbps) * 125.0 / layer.frames_per_s.max(FRAMES_PER_S_MIN),
            share: layer.frames_per_s / fastest.max(FRAMES_PER_S_MIN),
            credit: 0.0,
            debt: 0.0,
        });
        Self {
            layers: layers.collect(),
            interval: interval_of(fastest.max(FRAMES_PER_S_MIN)),
            key_frame_interval: wait_of(plan.key_frame_interval_s),
            key_frame_size: within(plan.key_frame_size, 1.0, KEY_FRAME_SIZE_MAX),
            size_jitter: within(plan.size_jitter, 0.0, 0.9),
            next_at: None,
        }
    }

    /// The first picture comes within one interval, wherever the generator says, so that callers spread.
    pub(super) fn start(&mut self, now: Instant, random: &mut impl Rng) {
        self.layers.iter_mut().for_each(|layer| layer.stream.start(now));
        self.next_at = Some(now + self.interval.mul_f64(random.random()));
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.next_at
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &PictureStream> {
        self.layers.iter().map(|layer| &layer.stream)
    }

    pub(super) fn streams_mut(&mut self) -> impl Iterator<Item = &mut PictureStream> {
        self.layers.iter_mut().map(|layer| &mut layer.stream)
    }

    pub(super) fn handle_timeout(&mut self, outlet: &mut Outlet<'_>) {
        while let Some(at) = self.next_at.filter(|at| *at <= outlet.now) {
            let at = caught_up(at, outlet.now);
            self.next_at = Some(at + self.interval);
            for place in 0..self.layers.len() {
                self.send_layer(at, place, outlet);
            }
        }
    }

    fn send_layer(&mut self, at: Instant, place: usize, outlet: &mut Outlet<'_>) {
        let layer = &mut self.layers[place];
        let is_first = layer.stream.made.packets == 0;
        layer.credit += layer.share;
        // A thousandth: a sum of thirds shall be one.
        if layer.credit < 0.999 && !is_first {
            return;
        }
        layer.credit = if is_first { 0.0 } else { layer.credit - 1.0 };
        let is_key = layer.stream.is_key_frame_due(at, self.key_frame_interval);
        let jitter = 1.0 + self.size_jitter * outlet.random.random_range(-1.0..=1.0);
        let size = if is_key {
            layer.debt += layer.bytes * (self.key_frame_size - 1.0);
            layer.bytes * self.key_frame_size
        } else {
            let given_back = layer.debt.min(layer.bytes * GIVEN_BACK);
            layer.debt -= given_back;
            layer.bytes * jitter - given_back
        };
        layer.stream.send_frame(at, size, is_key, outlet);
    }
}

/// Below one frame in ten seconds a camera is a still.
const FRAMES_PER_S_MIN: f64 = 0.1;

/// No encoder's key frame is larger.
const KEY_FRAME_SIZE_MAX: f64 = 100.0;

/// A key frame of six times the average is paid back within a second of 30 pictures, without any of them starving.
const GIVEN_BACK: f64 = 0.2;

//! What a field is when the scenario does not name it.

use super::{
    Camera, Churn, Entry, Group, Kind, MediaPath, PerConference, PictureLayer, Poll, Receive, Scenario,
    Screen, Target, Thresholds, Voice,
};

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: String::new(),
            seed: 1,
            conferences: 1,
            duration_s: 20.0,
            warm_up_s: 3.0,
            joins_per_s: 50.0,
            join_timeout_s: 20.0,
            target: Target::default(),
            groups: Vec::new(),
            churn: None,
            hooks: Vec::new(),
            thresholds: Thresholds::default(),
        }
    }
}

impl Default for Target {
    fn default() -> Self {
        Self {
            entry: Entry::Meeting,
            url: "http://127.0.0.1:8000".to_owned(),
            whip: "/whip/{conference}".to_owned(),
            whep: "/whep/{conference}".to_owned(),
            token: None,
            stats: vec!["http://127.0.0.1:8080/stats".to_owned(), "http://127.0.0.1:8888/stats".to_owned()],
            ca_file: None,
            turn: None,
            poll: None,
        }
    }
}

impl Default for Poll {
    fn default() -> Self {
        Self { url: String::new(), interval_s: 1.0, callers: 100 }
    }
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: "callers".to_owned(),
            per_conference: PerConference::Same(1),
            kind: Kind::Light,
            join_after_s: 0.0,
            joins_per_s: None,
            voice: None,
            camera: None,
            screen: None,
            receive: Receive::default(),
            path: MediaPath::Direct,
            link: None,
            channel: true,
            chat_per_minute: 0.0,
        }
    }
}

impl Default for Voice {
    fn default() -> Self {
        Self { rate_kbps: 32, packet_ms: 20, speaks: 1.0, dtx: true }
    }
}

impl Default for Camera {
    fn default() -> Self {
        let layer = |height, rate_kbps| PictureLayer { height, rate_kbps, frames_per_s: 30.0 };
        Self {
            layers: vec![layer(180, 150), layer(360, 500), layer(720, 1700)],
            key_frame_interval_s: 0.0,
            key_frame_size: 6.0,
            size_jitter: 0.2,
        }
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self { page_bytes: 150_000, page_interval_s: 8.0, frames_per_s: 5.0, change_bytes: 600 }
    }
}

impl Default for Receive {
    fn default() -> Self {
        Self { audio: None, video: None, height: None, opened: 1.0 }
    }
}

impl Default for Churn {
    fn default() -> Self {
        Self { per_minute_percent: 0.0, pause_s: 1.0 }
    }
}

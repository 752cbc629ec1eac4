//! What a packet costs in each profile: `cargo bench -p wire --bench srtp`.
//!
//! 1200 bytes are a packet of video, 120 one of audio. Compare with the figures of the crate's users: a forwarded packet
//! is opened once and sealed once for each receiver.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use wire::srtp::{MasterKey, Opener, Profile, ReplayWindow, Sealer};

const HEADER: [u8; 20] = [0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde, 0, 1, 0x10, 0xff, 0, 0];

fn srtp(criterion: &mut Criterion) {
    for (profile, name) in [(Profile::AeadAes128Gcm, "gcm"), (Profile::Aes128CmSha1_80, "cm_sha1_80")] {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(30)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_secs(1));
        let master =
            MasterKey::new(profile, &[1; 16], &vec![2; profile.salt_len()]).expect("the profile's lengths");
        let (sealer, opener) = (Sealer::new(profile, &master), Opener::new(profile, &master));
        for len in [1200, 120] {
            group.throughput(Throughput::Elements(1));
            let payload = vec![7; len - HEADER.len()];
            let (mut sealed, mut plain) = (vec![0; 1500], vec![0; 1500]);
            group.bench_function(BenchmarkId::new("seal", len), |bencher| {
                bencher.iter(|| sealer.seal_rtp(1, black_box(&HEADER), black_box(&payload), &mut sealed));
            });
            let sealed_len =
                sealer.seal_rtp(1, &HEADER, &payload, &mut sealed).expect("1500 bytes are enough");
            group.bench_function(BenchmarkId::new("open", len), |bencher| {
                bencher.iter(|| {
                    let mut window = ReplayWindow::new();
                    opener.open_rtp(&mut window, black_box(&sealed[..sealed_len]), HEADER.len(), &mut plain)
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);

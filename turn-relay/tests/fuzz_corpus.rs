//! Replays the fuzz corpora through the very functions that are fuzzed, and then every file damaged in many places: cut
//! short, and with single bytes changed. What a fuzzer found once is a file there and stays mended.
// The helpers of a test fail the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
// The file is a crate's root elsewhere; here nothing can reach its items from outside.
#[allow(unreachable_pub)]
mod targets;

/// In larger files every so many-th byte is damaged: a whole relay is made for each damage.
const PLACES_MAX: usize = 60;

fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        count += 1;
        target(&bytes);
        let step = bytes.len() / PLACES_MAX + 1;
        for length in (0..bytes.len()).step_by(step) {
            target(&bytes[..length]);
        }
        let mut damaged = bytes.clone();
        for index in (0..bytes.len()).step_by(step) {
            for value in [0x00, 0x7f, 0xff, bytes[index] ^ 1, bytes[index].wrapping_add(1)] {
                damaged[index] = value;
                target(&damaged);
            }
            damaged[index] = bytes[index];
        }
    }
    assert!(count >= 4, "{count} files in {}", folder.display());
}

#[test]
fn stun_is_read_as_clients_read_it() {
    replay("stun", targets::stun);
}

#[test]
fn strangers_leave_nothing_behind() {
    replay("stranger", targets::stranger);
}

#[test]
fn clients_reach_listed_peers_only() {
    replay("client", targets::client);
}

#[test]
fn a_stream_is_cut_into_the_same_messages_however_it_comes() {
    replay("framer", targets::framer);
}

#[test]
fn first_bytes_decide_once() {
    replay("first_bytes", targets::first_bytes);
}

#[test]
fn every_corpus_has_a_test_and_every_target_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let mut names: Vec<String> = fs::read_dir(fuzz.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let here =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz_corpus.rs")).unwrap();
    assert_eq!(names("corpus"), names("fuzz_targets"));
    for name in names("corpus") {
        assert!(here.contains(&format!("replay(\"{name}\", targets::{name})")), "{name} is not replayed");
    }
}

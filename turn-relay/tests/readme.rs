//! The page's table of cases names tests that there are.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

/// The cases of the acceptance list.
const CASES: usize = 42;

/// The text of every source file below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_case_of_the_acceptance_list_has_its_tests() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for folder in ["src", "tests", "../wire/src/stun"] {
        sources(&here.join(folder), &mut text);
    }
    let page = fs::read_to_string(here.join("README.md")).unwrap();
    for case in 1..=CASES {
        let row = page.lines().find(|line| line.starts_with(&format!("| {case} |")));
        let row = row.unwrap_or_else(|| panic!("case {case} has no line"));
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "case {case} has no test");
        for name in names {
            assert!(text.contains(&format!("fn {name}(")), "case {case}: there is no {name}");
        }
    }
}

//! The rules of the tree that a program can check: floors, sizes, words, orphan files, engines that stay pure.
//! Each failure names the file and the rule.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is two files.
const FILE_LINES_MAX: usize = 700;
/// A function is read on one screen.
const FUNCTION_LINES_MAX: usize = 70;

/// Which of our crates each crate may name. An arrow may only point down.
const FLOORS: &[(&str, &[&str])] = &[
    ("wire", &[]),
    ("bridge", &["wire", "loadtest"]),
    ("signaling", &["wire", "loadtest"]),
    ("turn-relay", &["wire", "loadtest"]),
    ("loadtest", &["wire"]),
];
const OUR_CRATES: &[&str] = &["wire", "bridge", "signaling", "turn-relay", "loadtest"];

/// What an engine never does: read a clock, open a socket, lock, spawn, await, read its environment, print.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "tokio::",
    "std::net::UdpSocket",
    "std::net::TcpListener",
    "std::thread",
    "std::fs",
    "std::env",
    "Mutex<",
    "RwLock<",
    ".await",
    "async fn",
    "println!",
];

/// Words the glossary replaces, as parts of a type's name. (`peer` is TURN's word, and SRTP has session keys.)
const REPLACED_WORDS: &[&str] = &["Room", "User", "Peer", "Session", "Producer", "Consumer", "Bot"];
const GLOSSARY_FOLDERS: &[&str] = &["bridge/src", "signaling/src", "loadtest/src", "src"];

/// Parts of names that say nothing.
const BANNED_IN_NAMES: &[&str] = &["_manager", "_helper", "_helpers", "_utils", "_util", "_impl"];
/// Names that others chose.
const FOREIGN_NAMES: &[&str] = &["futures_util", "hyper_util"];
const BANNED_GETTER: &str = "fn get_";

/// Files where `unsafe` may stand: system calls and one crypto module; counting allocators in tests.
const UNSAFE_ALLOWED: &[&str] = &["udp.rs", "srtp/aead.rs", "no_allocation.rs", "counting_allocator/mod.rs"];

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for file in files(&["rs", "js", "mjs", "css", "html"]) {
        let lines = read(&file).lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines", shown(&file)));
        }
    }
    assert!(wrong.is_empty(), "longer than {FILE_LINES_MAX} lines:\n{}", wrong.join("\n"));
}

#[test]
fn no_function_is_too_long() {
    let mut wrong = Vec::new();
    for file in files(&["rs"]) {
        for (name, lines) in function_lengths(&read(&file)) {
            if lines > FUNCTION_LINES_MAX {
                wrong.push(format!("{}: fn {name}: {lines} lines", shown(&file)));
            }
        }
    }
    assert!(wrong.is_empty(), "longer than {FUNCTION_LINES_MAX} lines:\n{}", wrong.join("\n"));
}

#[test]
fn every_arrow_points_down() {
    let mut wrong = Vec::new();
    for (member, allowed) in FLOORS {
        let manifest = root().join(member).join("Cargo.toml");
        if !manifest.exists() {
            continue;
        }
        let text = read(&manifest);
        let (dependencies, dev_dependencies) = text.split_once("[dev-dependencies]").unwrap_or((&text, ""));
        for other in OUR_CRATES {
            let names = |part: &str| {
                part.lines().any(|line| {
                    line.starts_with(&format!("{other}.")) || line.starts_with(&format!("{other} "))
                })
            };
            if names(dependencies) && (!allowed.contains(other) || *other == "loadtest") {
                wrong.push(format!("{member} depends on {other}"));
            }
            if names(dev_dependencies) && !allowed.contains(other) {
                wrong.push(format!("{member} tests depend on {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn engines_are_pure() {
    let mut wrong = Vec::new();
    for file in files(&["rs"]) {
        let path = shown(&file);
        if !path.contains("/src/engine/") || is_test_file(&path) {
            continue;
        }
        let text = read(&file);
        for (number, line) in code_lines(without_tests(&text)) {
            for word in IMPURE {
                if line.contains(word) {
                    wrong.push(format!("{path}:{number}: {word}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "an engine takes time and bytes as arguments:\n{}", wrong.join("\n"));
}

#[test]
fn names_say_what_they_are() {
    let mut wrong = Vec::new();
    for file in files(&["rs"]) {
        let path = shown(&file);
        if path.ends_with("tidy.rs") {
            continue;
        }
        let text = FOREIGN_NAMES.iter().fold(read(&file), |text, foreign| text.replace(foreign, "foreign"));
        for (number, line) in code_lines(&text) {
            for word in BANNED_IN_NAMES {
                let is_name =
                    line.match_indices(word).any(|(at, _)| !continues_a_word(&line[at + word.len()..]));
                if is_name {
                    wrong.push(format!("{path}:{number}: {word}"));
                }
            }
            if line.contains(BANNED_GETTER) {
                wrong.push(format!("{path}:{number}: {BANNED_GETTER}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn types_have_the_words_of_the_glossary() {
    let mut wrong = Vec::new();
    for file in files(&["rs"]) {
        let path = shown(&file);
        if !GLOSSARY_FOLDERS.iter().any(|folder| path.starts_with(&format!("{folder}/"))) {
            continue;
        }
        for (number, line) in code_lines(&read(&file)) {
            let Some(name) = type_name(line) else { continue };
            if REPLACED_WORDS.iter().any(|word| has_word(name, word)) {
                wrong.push(format!("{path}:{number}: {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_its_modules() {
    let mut wrong = Vec::new();
    for file in files(&["rs"]) {
        let path = shown(&file);
        if UNSAFE_ALLOWED.iter().any(|allowed| path.ends_with(allowed)) || path.ends_with("tidy.rs") {
            continue;
        }
        for (number, line) in code_lines(&read(&file)) {
            if line.contains("unsafe {") || line.contains("unsafe fn") || line.contains("unsafe impl") {
                wrong.push(format!("{path}:{number}"));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside its modules:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_open() {
    let marks = ["todo!(", "unimplemented!(", "#[ignore", concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut wrong = Vec::new();
    for file in files(&["rs", "js", "mjs"]) {
        if file.ends_with("wire/tests/tidy.rs") {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                wrong.push(format!("{}:{}: {}", shown(&file), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_is_named_by_a_mod() {
    let mut wrong = Vec::new();
    for member in OUR_CRATES {
        let source = root().join(member).join("src");
        let mut reached = BTreeSet::new();
        for entry in ["lib.rs", "main.rs"] {
            reach(&source.join(entry), &mut reached);
        }
        for file in files(&["rs"]).into_iter().filter(|file| file.starts_with(&source)) {
            if !reached.contains(&file) {
                wrong.push(shown(&file));
            }
        }
    }
    assert!(wrong.is_empty(), "no `mod` names:\n{}", wrong.join("\n"));
}

/// Adds `file` and every file its `mod` lines lead to.
fn reach(file: &Path, reached: &mut BTreeSet<PathBuf>) {
    if !file.exists() || !reached.insert(file.to_owned()) {
        return;
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = file.parent().unwrap_or(Path::new(""));
    let inner =
        if matches!(stem.as_str(), "lib" | "main" | "mod") { folder.to_owned() } else { folder.join(stem) };
    let mut named_path = None;
    for line in read(file).lines().map(str::trim) {
        if let Some(path) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            named_path = Some(folder.join(path));
            continue;
        }
        let Some(name) = module_name(line) else { continue };
        if let Some(path) = named_path.take() {
            reach(&path, reached);
        }
        reach(&inner.join(format!("{name}.rs")), reached);
        reach(&inner.join(name).join("mod.rs"), reached);
    }
}

/// `pub(crate) mod name;` → `name`.
fn module_name(line: &str) -> Option<&str> {
    let rest = line.strip_suffix(';')?;
    let (visibility, name) = rest.split_once("mod ")?;
    (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
}

/// Name and length in lines of each function, by indentation, as rustfmt lays them out.
fn function_lengths(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let Some(name) = function_name(line.trim_start()) else { continue };
        let end = lines[start..].iter().position(|later| {
            later.len() > indent && later.starts_with(&" ".repeat(indent)) && later[indent..].starts_with('}')
        });
        if let Some(length) = end {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

/// `pub(crate) struct Name<T> {` → `Name`.
fn type_name(line: &str) -> Option<&str> {
    let keywords = ["struct ", "enum ", "trait "];
    let (_, after) = keywords.iter().find_map(|keyword| line.split_once(keyword))?;
    after.split(|next: char| !next.is_alphanumeric()).next()
}

/// Whether `word` is one of the capitalised words that make up `name`.
fn has_word(name: &str, word: &str) -> bool {
    name.match_indices(word).any(|(at, _)| !name[at + word.len()..].starts_with(char::is_lowercase))
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_item = before.split_whitespace().all(|word| {
        word.starts_with("pub") || matches!(word, "const" | "async" | "unsafe" | "extern" | "\"C\"")
    });
    if !is_item || line.trim_end().ends_with(';') || line.trim_end().ends_with('}') {
        return None;
    }
    after.split(['(', '<']).next()
}

/// Lines that are neither comments nor doc comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The text before an inner test module: tests may do what engines may not.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn continues_a_word(rest: &str) -> bool {
    rest.starts_with(|next: char| next.is_alphanumeric() || next == '_')
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("_tests.rs")
        || path.ends_with("/tests.rs")
        || path.contains("/tests/")
        || path.contains("/world/")
}

/// All files of the tree with one of these endings, build products left out.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root(), endings, &mut found);
    found.sort();
    found
}

fn walk(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | "artifacts" | "corpus")
                && !name.starts_with('.')
            {
                walk(&path, endings, found);
            }
            continue;
        }
        if path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted)) {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn shown(file: &Path) -> String {
    file.strip_prefix(root()).unwrap_or(file).display().to_string()
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", shown(file)))
}

//! The layers and the one-line refusals, over real files.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;

use super::*;

/// A section with a key of every kind that programs have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Example {
    id: String,
    region: Option<String>,
    media_port: u16,
    is_pinned: bool,
    share: f64,
    addresses: Vec<IpAddr>,
    names: Vec<String>,
    ports: Vec<u16>,
    link_key: Secret,
    tls: Tls,
    weights: BTreeMap<String, u8>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Tls {
    certificate: Option<String>,
    level: LogLevel,
}

impl Default for Example {
    fn default() -> Self {
        Self {
            id: "a".to_owned(),
            region: None,
            media_port: 10_000,
            is_pinned: true,
            share: 0.5,
            addresses: Vec::new(),
            names: Vec::new(),
            ports: Vec::new(),
            link_key: Secret::default(),
            tls: Tls::default(),
            weights: BTreeMap::new(),
        }
    }
}

/// A folder with a file of settings, and what else the sources say.
struct World {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl World {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passerelle.toml");
        fs::write(&file, text).unwrap();
        Self { folder, sources: Sources { file: Some(file), ..Sources::default() } }
    }

    fn fragment(self, name: &str, text: &str) -> Self {
        let folder = self.folder.path().join("conf.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
        self
    }

    fn environment(mut self, name: &str, text: &str) -> Self {
        self.sources.environment.push((name.to_owned(), text.to_owned()));
        self
    }

    fn flag(mut self, key: &str, text: &str) -> Self {
        self.sources.flags.push((key.to_owned(), text.to_owned()));
        self
    }

    fn bridge(&self) -> Result<Example, SettingsError> {
        Settings::load(&self.sources)?.section("bridge")
    }

    /// The refusal, without the folder's name and checked to be one line.
    fn refusal(&self) -> String {
        let line = self.bridge().unwrap_err().to_string();
        assert!(!line.contains('\n'), "{line:?}");
        line.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

#[test]
fn each_source_overrides_the_one_before_it() {
    let mut world = World::new(
        "[bridge]\nid = \"file\"\nmedia_port = 1\nshare = 0.25\n[bridge.tls]\ncertificate = \"file\"",
    )
    .fragment("10.toml", "[bridge]\nid = \"ten\"\nmedia_port = 10\n[bridge.tls]\nlevel = \"warn\"")
    .fragment("20.toml", "[bridge]\nmedia_port = 20")
    .fragment(".30.toml", "[bridge]\nmedia_port = 30")
    .fragment("40.toml.old", "[bridge]\nmedia_port = 40");
    let read = world.bridge().unwrap();
    assert_eq!((read.id.as_str(), read.media_port, read.share), ("ten", 20, 0.25));
    assert_eq!(read.tls, Tls { certificate: Some("file".to_owned()), level: LogLevel::Warn });
    assert_eq!(read.region, Example::default().region);

    world = world
        .environment("PASSERELLE__BRIDGE__MEDIA_PORT", "50")
        .environment("PASSERELLE__BRIDGE__ID", "environment");
    assert_eq!(world.bridge().unwrap().media_port, 50);
    world = world.flag("bridge.media_port", "60");
    let read = world.bridge().unwrap();
    assert_eq!((read.media_port, read.id.as_str()), (60, "environment"));
}

#[test]
fn without_any_source_the_defaults_hold() {
    let settings = Settings::load_with_defaults(&Sources::default(), &[]).unwrap();
    assert_eq!(settings.section::<Example>("bridge").unwrap(), Example::default());
    assert_eq!(settings.section::<LogSettings>("log").unwrap(), LogSettings::default());
}

#[test]
fn the_first_default_file_that_exists_is_read() {
    let world = World::new("[bridge]\nid = \"found\"");
    let files = [Path::new("/nonexistent/passerelle.toml").to_owned(), world.sources.file.clone().unwrap()];
    let settings = Settings::load_with_defaults(&Sources::default(), &files).unwrap();
    assert_eq!(settings.section::<Example>("bridge").unwrap().id, "found");
}

#[test]
fn a_named_file_must_exist() {
    let sources = Sources { file: Some("/nonexistent/p.toml".into()), ..Sources::default() };
    let line = Settings::load(&sources).unwrap_err().to_string();
    assert!(line.starts_with("/nonexistent/p.toml: ") && line.contains("No such file"), "{line}");
}

#[test]
fn a_text_takes_the_type_of_its_key() {
    let world = World::new("")
        .environment("PASSERELLE__BRIDGE__ID", "1234")
        .environment("PASSERELLE__BRIDGE__REGION", "true")
        .environment("PASSERELLE__BRIDGE__MEDIA_PORT", "4000")
        .environment("PASSERELLE__BRIDGE__IS_PINNED", "false")
        .environment("PASSERELLE__BRIDGE__SHARE", "0.75")
        .environment("PASSERELLE__BRIDGE__ADDRESSES", "192.0.2.1, 2001:db8::1")
        .environment("PASSERELLE__BRIDGE__NAMES", "7,[::1]:80")
        .environment("PASSERELLE__BRIDGE__PORTS", "1,2")
        .environment("PASSERELLE__BRIDGE__TLS__LEVEL", "debug")
        .environment("PASSERELLE__BRIDGE__WEIGHTS", "{ a = 1 }")
        .environment("HOME", "/root");
    let read = world.bridge().unwrap();
    assert_eq!((read.id.as_str(), read.region.as_deref()), ("1234", Some("true")));
    assert_eq!((read.media_port, read.is_pinned, read.share), (4000, false, 0.75));
    assert_eq!(
        read.addresses,
        ["192.0.2.1", "2001:db8::1"].map(|address| address.parse::<IpAddr>().unwrap())
    );
    assert_eq!((read.names, read.ports), (vec!["7".to_owned(), "[::1]:80".to_owned()], vec![1, 2]));
    assert_eq!((read.tls.level, read.weights["a"]), (LogLevel::Debug, 1));
}

#[test]
fn a_section_with_a_dash_has_an_underscore_in_the_environment() {
    let world = World::new("").environment("PASSERELLE__TURN_RELAY__ID", "relay");
    let settings = Settings::load(&world.sources).unwrap();
    assert_eq!(settings.section::<Example>("turn-relay").unwrap().id, "relay");
}

/// K01, K02: one line, with the key and the place.
#[test]
fn a_file_is_refused_by_line_and_key() {
    for (text, expected) in [
        ("[bridge]\n\nmedia_prot = 1", "passerelle.toml:3: bridge.media_prot: unknown field `media_prot`"),
        (
            "[bridge]\nmedia_port = \"x\"",
            "passerelle.toml:2: bridge.media_port: invalid type: string \"x\", expected u16",
        ),
        (
            "[bridge]\nmedia_port = 65536",
            "passerelle.toml:2: bridge.media_port: invalid value: integer `65536`",
        ),
        ("[bridge]\nmedia_port = -1", "passerelle.toml:2: bridge.media_port: invalid value: integer `-1`"),
        ("[bridge]\nmedia_port = 99999999999999999999", "passerelle.toml:2: "),
        ("[bridge]\nid = \"a\"\nid = \"b\"", "passerelle.toml:3: id: duplicate key"),
        ("[bridge]\nid = \"a\"\n[bridge]\n", "passerelle.toml:3: bridge: duplicate key"),
        (
            "[bridge]\naddresses = [\n\"192.0.2.1\",\n\"300.0.0.1\"]",
            "passerelle.toml:2: bridge.addresses[1]: invalid IP",
        ),
        ("[bridge.tls]\nlevel = \"loud\"", "passerelle.toml:2: bridge.tls.level: unknown variant `loud`"),
        ("[bridge.tls]\nkey = 1", "passerelle.toml:2: bridge.tls.key: unknown field `key`"),
        (
            "[brigde]\nid = \"a\"",
            "passerelle.toml:1: brigde: unknown section, expected one of bridge, signaling",
        ),
        ("id = \"a\"", "passerelle.toml:1: id: unknown section"),
        ("\nbridge = 3", "passerelle.toml:2: bridge: this is the name of a section"),
        ("[bridge]\n\"a\\nb\\u001b[31m\" = 1", "passerelle.toml:2: bridge.a\\nb\\u{1b}[31m: unknown field"),
        ("[bridge\nid = 1", "passerelle.toml:1: "),
    ] {
        let line = World::new(text).refusal();
        assert!(line.starts_with(expected), "{text:?} gave {line}");
    }
}

#[test]
fn a_fragment_is_refused_by_its_own_name() {
    let line =
        World::new("[bridge]\nmedia_port = 1").fragment("10.toml", "[bridge]\nmedia_port = true").refusal();
    assert!(line.starts_with("conf.d/10.toml:2: bridge.media_port: invalid type"), "{line}");
}

#[test]
fn the_environment_and_flags_are_refused_by_their_names() {
    for (name, text, expected) in [
        ("PASSERELLE__BRIDGE__MEDIA_PORT", "70000", "bridge.media_port: invalid value: integer `70000`"),
        ("PASSERELLE__BRIDGE__MEDIA_PROT", "1", "bridge.media_prot: unknown field `media_prot`"),
        ("PASSERELLE__BRIDGE__ADDRESSES", "192.0.2.1,no", "bridge.addresses[1]: invalid IP"),
        ("PASSERELLE__BRIDGE__TLS__LEVEL", "loud", "bridge.tls.level: unknown variant `loud`"),
        ("PASSERELLE__BRIDGE__TLS", "loud", "bridge.tls: invalid type"),
        ("PASSERELLE__BRIGDE__ID", "a", "brigde.id: unknown section"),
        ("PASSERELLE__BRIDGE", "a", "bridge: a section and a key are wanted"),
        ("PASSERELLE__", "a", "unknown section"),
        ("PASSERELLE__BRIDGE__", "a", "bridge.: a section and a key are wanted"),
    ] {
        let line = World::new("[bridge]\nmedia_port = 1").environment(name, text).refusal();
        assert!(line.starts_with(&format!("environment {name}: {expected}")), "{name}={text} gave {line}");
    }
    let line = World::new("").flag("bridge.media_port", "x").refusal();
    assert!(line.starts_with("flag for bridge.media_port: bridge.media_port: invalid type"), "{line}");
}

#[test]
fn a_programs_own_check_names_the_place_too() {
    let world =
        World::new("[bridge]\nmedia_port = 1\nshare = 9.5").environment("PASSERELLE__BRIDGE__ID", "a/b");
    let settings = Settings::load(&world.sources).unwrap();
    let line = |key| settings.refuse("bridge", key, "no").to_string();
    assert!(line("share").ends_with("passerelle.toml:3: bridge.share: no"));
    assert_eq!(line("id"), "environment PASSERELLE__BRIDGE__ID: bridge.id: no");
    // A key that nobody set is missing from its section, and without a section from everywhere.
    assert!(line("link_key").ends_with("passerelle.toml:1: bridge.link_key: no"));
    assert_eq!(settings.refuse("signaling", "listen", "no").to_string(), "default: signaling.listen: no");
    assert_eq!(settings.refuse("bridge", "id", "no").key(), "bridge.id");
}

const CANARY: &str = "canary-0123456789-0123456789-0123";

/// K05: by design, whatever flags a program defines.
#[test]
fn a_secret_is_not_taken_from_a_flag() {
    let line = World::new("").flag("bridge.link_key", CANARY).refusal();
    assert_eq!(
        line,
        "flag for bridge.link_key: bridge.link_key: a secret is not taken from the command line"
    );
    let world = World::new("").environment("PASSERELLE__BRIDGE__LINK_KEY", CANARY);
    assert_eq!(world.bridge().unwrap().link_key.expose(), CANARY);
}

/// K10: neither where it is right nor where it is wrong.
#[test]
fn a_secret_is_never_printed() {
    let read = World::new(&format!("[bridge]\nlink_key = \"{CANARY}\"")).bridge().unwrap();
    assert!(read.link_key.matches(CANARY.as_bytes()) && !read.link_key.matches(b"other"));
    let printed = format!("{read:?} {}", print("bridge", &read).unwrap());
    assert!(!printed.contains("canary") && printed.contains(REDACTED), "{printed}");

    for text in [
        "[bridge]\nlink_key = \"canary-unfinished",
        "[bridge]\nlink_key = \"canary\" x",
        "[bridge]\nlink_key = 0xcafe",
        "[bridge]\nlink_key = [\"canary\"]",
        "[bridge]\nlink_key = { a = \"canary\" }",
    ] {
        let line = World::new(text).refusal();
        assert!(line.starts_with("passerelle.toml:2: "), "{line}");
        assert!(!line.contains("canary") && !line.contains("51966"), "{line}");
    }
}

/// K04.
#[test]
fn a_short_secret_or_a_placeholder_is_weak() {
    let secret = |text: &str| Secret::from(text.to_owned());
    assert_eq!(secret(CANARY).weakness(), None);
    assert!(secret(&"k".repeat(31)).weakness().is_some());
    assert!(secret("").weakness().is_some());
    assert!(secret("please-CHANGEME-please-changeme-please").weakness().is_some());
    assert!(!secret("").matches(b""));
}

/// What `--print-config` shows can be read again.
#[test]
fn the_printed_settings_are_settings() {
    let world = World::new(
        "[bridge]\nnames = [\"a\", \"b\"]\n[bridge.tls]\nlevel = \"trace\"\n[bridge.weights]\nx = 3",
    );
    let read = world.bridge().unwrap();
    let again = World::new(&print("bridge", &read).unwrap()).bridge().unwrap();
    assert_eq!(read, again);
}

#[test]
fn a_file_too_large_for_settings_is_refused_unread() {
    let line = World::new(&"#\n".repeat(1 << 20)).refusal();
    assert_eq!(line, "passerelle.toml: 2097152 bytes are more than a file of settings has");
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let world = World::new("");
    fs::write(world.sources.file.as_ref().unwrap(), b"[bridge]\nid = \"\xff\"").unwrap();
    assert!(world.refusal().starts_with("passerelle.toml: "));
}

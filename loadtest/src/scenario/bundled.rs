//! The scenarios that come with loadtest: they run by name, wherever it was started.

macro_rules! bundled {
    ($($name:literal)+) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),+]
    };
}

/// Name and text of each.
pub const BUNDLED: &[(&str, &str)] = bundled!(
    "1-to-n" "audio-only" "bridge-killed" "churn" "firewalled-thirds" "lecture-400" "lossy-links"
    "many-small-meetings" "screen-share-storm" "signaling-storm" "webinar"
);

/// The text of a bundled scenario, asked for by name or by a path that ends in its file's name.
pub(super) fn text_of(stem: &str) -> Option<&'static str> {
    BUNDLED.iter().find(|(name, _)| *name == stem).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::scenario::parse;

    #[test]
    fn every_file_of_the_folder_is_bundled_and_every_one_of_them_is_accepted() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let files: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, BUNDLED.iter().map(|(name, _)| (*name).to_owned()).collect());
        for (name, text) in BUNDLED {
            let scenario = parse(text, name).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(&scenario.name, name);
            assert!(!scenario.description.is_empty(), "{name} says what it is");
            assert!(scenario.callers() > 1 || scenario.target.poll.is_some(), "{name} has callers");
        }
    }
}

//! What people write: names, conference names and chat, made safe to store, compare and show.
//!
//! | text | what cannot be seen | too long | white space | controls |
//! |---|---|---|---|---|
//! | [`display_name`] | stripped | cut | runs become one space | refused |
//! | [`conference_name`] | refused | refused | runs become one space | refused |
//! | [`chat_text`] | stripped | refused | kept | stripped but for line feeds |
//!
//! A person who pastes a name with a stray direction mark shall get in, so there such characters are taken out. A
//! conference's name is what strangers meet by: two names that look alike in one script must be one name, so nothing
//! invisible is let in. All three come out in NFC, and no letter carries more than four marks.
//!
//! Nothing here escapes for HTML, JSON or a URL: that is done where such a text is written.

use aws_lc_rs::digest;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

use crate::messages::ids::ConferenceId;

/// What a tile and a list of participants can show of a name.
pub const NAME_GRAPHEMES_MAX: usize = 64;
/// One grapheme may join any number of emoji: 64 graphemes of four-byte characters with a mark fit, chains do not.
pub const NAME_BYTES_MAX: usize = 512;
/// A chat message: some thirty lines.
pub const CHAT_BYTES_MAX: usize = 2048;
/// No more of a name is looked at, so that a hostile one costs no more than a long one.
const NAME_CHARS_READ: usize = 4096;
/// Marks on one letter. Pointed Hebrew and Vietnamese need three; the towers of "zalgo" text have dozens.
const MARKS_MAX: usize = 4;

/// Why a text is refused. The display of each is a sentence's end for the person who wrote it: "the name is empty".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Nothing that can be seen is in it.
    #[error("is empty")]
    Empty,
    /// Longer than its limit in graphemes or bytes.
    #[error("is too long")]
    TooLong,
    /// A character that must not be in it: named by number, since it may not be printable.
    #[error("holds the character U+{:04X}, which is not allowed", u32::from(*.0))]
    Forbidden(char),
}

/// A person's name as others see it: trimmed, in NFC, at most [`NAME_GRAPHEMES_MAX`] graphemes; the rest is cut off.
///
/// Direction overrides and characters that show nothing are stripped. The joiners of emoji and of scripts that need
/// them stay between characters that are not ASCII.
///
/// # Errors
/// [`TextError::Forbidden`] for control characters, [`TextError::Empty`] when nothing visible is left, and
/// [`TextError::TooLong`] when not even the first grapheme fits [`NAME_BYTES_MAX`].
pub fn display_name(text: &str) -> Result<String, TextError> {
    let read: String = text.chars().take(NAME_CHARS_READ).collect();
    refuse_controls(&read)?;
    let name = settle(&read, |text| limit_marks(single_spaced(text).nfc()));
    let mut end = 0;
    for grapheme in name.graphemes(true).take(NAME_GRAPHEMES_MAX) {
        if end + grapheme.len() > NAME_BYTES_MAX {
            break;
        }
        end += grapheme.len();
    }
    if end == 0 {
        return Err(if name.is_empty() { TextError::Empty } else { TextError::TooLong });
    }
    // A cut may part two characters that a joiner held together.
    Ok(name[..end].trim_end_matches(|last| is_joiner(last) || last == ' ').to_owned())
}

/// A conference's name in the one form under which all spellings of it meet: NFC, lower case, single spaces.
///
/// # Errors
/// [`TextError::Forbidden`] for control and invisible characters, for `/`, `\` and the path segments `.` and `..` that a
/// URL would swallow, and for towers of marks; [`TextError::TooLong`] beyond 64 graphemes or [`NAME_BYTES_MAX`].
pub fn conference_name(text: &str) -> Result<String, TextError> {
    if text.len() > NAME_CHARS_READ {
        return Err(TextError::TooLong);
    }
    refuse_controls(text)?;
    // A heart is the same with and without the selector that asks for its emoji form.
    let text: String = text.chars().filter(|character| !is_variation_selector(*character)).collect();
    let text = single_spaced(&text);
    let forbidden = |character: &char| {
        is_invisible(*character) || is_joiner(*character) || matches!(character, '/' | '\\')
    };
    if let Some(character) = text.chars().find(forbidden) {
        return Err(TextError::Forbidden(character));
    }
    // Lower-casing can take a text out of NFC.
    let lower: String = text.nfc().collect::<String>().to_lowercase().nfc().collect();
    if lower == "." || lower.contains("..") {
        return Err(TextError::Forbidden('.'));
    }
    if let Some(mark) = first_excess_mark(&lower) {
        return Err(TextError::Forbidden(mark));
    }
    if lower.is_empty() {
        return Err(TextError::Empty);
    }
    if lower.len() > NAME_BYTES_MAX || lower.graphemes(true).count() > NAME_GRAPHEMES_MAX {
        return Err(TextError::TooLong);
    }
    Ok(lower)
}

/// The machines' name of a conference: the start of the SHA-256 of its name, in base32. `name` is what
/// [`conference_name`] returned, else two spellings of a name are two conferences.
pub fn conference_id(name: &str) -> ConferenceId {
    let hash = digest::digest(&digest::SHA256, name.as_bytes());
    let text = base32(hash.as_ref()).take(CONFERENCE_ID_CHARS).collect::<String>();
    // Invariant: 32 bytes give 52 characters of the alphabet that an id is checked against.
    ConferenceId::parse(text).expect("26 characters of base32")
}

/// A chat message: trimmed, in NFC, with line feeds. Other control characters, direction overrides and characters that
/// show nothing are stripped; a tab becomes a space.
///
/// # Errors
/// [`TextError::TooLong`] beyond [`CHAT_BYTES_MAX`], [`TextError::Empty`] when nothing is left.
pub fn chat_text(text: &str) -> Result<String, TextError> {
    if text.len() > CHAT_BYTES_MAX {
        return Err(TextError::TooLong);
    }
    let lines = text.chars().filter_map(|character| match character {
        '\n' | '\u{2028}' | '\u{2029}' => Some('\n'),
        '\t' => Some(' '),
        control if control.is_control() => None,
        other => Some(other),
    });
    let message = settle(&lines.collect::<String>(), |text| limit_marks(text.nfc()));
    let message = message.trim();
    if message.is_empty() {
        return Err(TextError::Empty);
    }
    // A few characters are longer in NFC than as they were written.
    if message.len() > CHAT_BYTES_MAX { Err(TextError::TooLong) } else { Ok(message.to_owned()) }
}

/// White space among the control characters is no reason to refuse: it becomes a space.
fn refuse_controls(text: &str) -> Result<(), TextError> {
    let control = text.chars().find(|character| character.is_control() && !character.is_whitespace());
    control.map_or(Ok(()), |control| Err(TextError::Forbidden(control)))
}

/// Trims, and makes every run of white space one space: line feeds and line separators among it, which would otherwise
/// let a name draw more than its line.
fn single_spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !spaced.is_empty() {
            spaced.push(' ');
        }
        spaced.push_str(word);
    }
    spaced
}

/// Takes out what shows nothing, then repeats `step` until it changes nothing more. What one step takes away may bring
/// together two characters that it would have treated otherwise; two or three rounds are the most that takes.
fn settle(text: &str, step: impl Fn(&str) -> String) -> String {
    let mut text: String = text.chars().filter(|character| !is_invisible(*character)).collect();
    loop {
        let next = step(&text);
        if next == text {
            return text;
        }
        text = next;
    }
}

/// Drops the marks beyond four on one letter and those that have no letter to stand on; and the joiners that join
/// nothing, which would make two equal-looking texts differ.
fn limit_marks(text: impl Iterator<Item = char>) -> String {
    let joins = |character: char| !character.is_ascii() && !character.is_whitespace();
    let mut limited = String::new();
    let (mut marks, mut joiner) = (MARKS_MAX, None);
    for character in text {
        if is_joiner(character) {
            joiner = Some(character);
            continue;
        }
        let now = marks_after(marks, character);
        if now > MARKS_MAX {
            continue;
        }
        marks = now;
        let joiner =
            joiner.take().filter(|_| joins(character) && limited.chars().next_back().is_some_and(joins));
        limited.extend(joiner);
        limited.push(character);
    }
    limited
}

fn first_excess_mark(text: &str) -> Option<char> {
    let mut marks = MARKS_MAX;
    text.chars().find(|character| {
        marks = marks_after(marks, *character);
        marks > MARKS_MAX
    })
}

/// The marks on the current letter, once `character` is read. White space carries none: it counts as full.
fn marks_after(marks: usize, character: char) -> usize {
    match character {
        mark if is_combining_mark(mark) => marks + 1,
        space if space.is_whitespace() => MARKS_MAX,
        _ => 0,
    }
}

/// ZERO WIDTH NON-JOINER and JOINER: part of how Persian, Indic scripts and emoji families are written.
fn is_joiner(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}')
}

/// Choose between two shapes of the character before them: emoji or text, or variants of a kanji.
fn is_variation_selector(character: char) -> bool {
    matches!(character, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Characters that change direction or show nothing: Unicode's Default_Ignorable_Code_Point without joiners and
/// variation selectors, and besides the blank Braille cell, interlinear annotation and noncharacters.
fn is_invisible(character: char) -> bool {
    let is_noncharacter = u32::from(character) & 0xfffe == 0xfffe;
    is_noncharacter
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180e}'
            | '\u{200b}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}'
            | '\u{3164}' | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}')
}

/// RFC 4648 base32 in lower case, without padding.
fn base32(bytes: &[u8]) -> impl Iterator<Item = char> {
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let symbols = (bytes.len() * 8).div_ceil(5);
    (0..symbols).map(move |symbol| {
        let value = (0..5).fold(0, |value, at| value << 1 | bit(symbol * 5 + at));
        char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(value)])
    })
}

/// 26 characters are 130 bits: two names never share an id by chance.
const CONFERENCE_ID_CHARS: usize = 26;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_of_many_scripts_pass_unchanged() {
        for name in [
            "Zoë O'Neill-Łukasz",
            "山田 太郎",
            "محمد رضا",
            "نرگس می‌آید",
            "श्रीमती क्ष्म्य",
            "Nguyễn Thị Ánh",
            "👩‍👩‍👧‍👦 family",
            "❤️‍🔥",
            "葛\u{e0100}城",
            "<img src=x onerror=alert(1)>",
            "javascript:alert(1)",
        ] {
            assert_eq!(display_name(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn a_name_is_trimmed_and_kept_to_one_line() {
        assert_eq!(display_name(" \t Ada\u{2028}\n\nLovelace\u{a0} ").unwrap(), "Ada Lovelace");
    }

    #[test]
    fn a_name_is_in_nfc_even_if_something_invisible_kept_it_apart() {
        assert_eq!(display_name("Zoe\u{308}").unwrap(), "Zoë");
        assert_eq!(display_name("Zoe\u{200b}\u{308}").unwrap(), "Zoë");
    }

    #[test]
    fn what_cannot_be_seen_is_stripped_from_a_name() {
        assert_eq!(display_name("Eve\u{202e}lexe.\u{2066}").unwrap(), "Evelexe.");
        assert_eq!(display_name("a\u{200b}d\u{2060}m\u{ad}i\u{feff}n").unwrap(), "admin");
        // Joiners join nothing between ASCII letters, at the ends and beside spaces.
        assert_eq!(display_name("\u{200d}a\u{200d}b\u{200c} é\u{200d} é\u{200d}").unwrap(), "ab é é");
        assert_eq!(display_name("a \u{200b} \u{3164} b").unwrap(), "a b");
    }

    #[test]
    fn a_name_without_anything_visible_is_empty() {
        for name in [
            "",
            " ",
            "\n",
            "\u{200b}",
            "\u{202e}\u{2069}",
            "\u{3164}",
            "\u{2800}",
            "\u{301}",
            "\u{200d}\u{fe0f}",
        ] {
            assert_eq!(display_name(name), Err(TextError::Empty), "{name:?}");
            assert!(conference_name(name).is_err(), "{name:?}");
            assert_eq!(chat_text(name), Err(TextError::Empty), "{name:?}");
        }
    }

    #[test]
    fn a_name_with_a_control_character_is_refused() {
        for control in ['\0', '\u{1b}', '\u{7}', '\u{7f}', '\u{9b}'] {
            assert_eq!(display_name(&format!("a{control}b")), Err(TextError::Forbidden(control)));
            assert_eq!(conference_name(&format!("a{control}b")), Err(TextError::Forbidden(control)));
        }
        assert_eq!(
            TextError::Forbidden('\0').to_string(),
            "holds the character U+0000, which is not allowed"
        );
    }

    /// B01: ten thousand characters, and towers of marks.
    #[test]
    fn a_long_name_is_cut_at_64_graphemes() {
        assert_eq!(display_name(&"é".repeat(10_000)).unwrap(), "é".repeat(64));
        assert_eq!(display_name(&"👨‍👩‍👧".repeat(100)).unwrap(), "👨‍👩‍👧".repeat(512 / 18));
        assert_eq!(display_name(&format!("{} b", "a".repeat(63))).unwrap(), "a".repeat(63));
        let tower = format!("a{}b", "\u{30d}\u{328}".repeat(2000));
        let name = display_name(&tower).unwrap();
        assert_eq!(name.chars().filter(|character| is_combining_mark(*character)).count(), MARKS_MAX);
        assert!(matches!(conference_name(&tower[..79]), Err(TextError::Forbidden(_))));
    }

    #[test]
    fn one_endless_grapheme_is_refused() {
        let chain = "👩\u{200d}".repeat(1000);
        assert_eq!(chain.graphemes(true).count(), 1);
        assert_eq!(display_name(&chain), Err(TextError::TooLong));
        assert_eq!(chat_text(&"a".repeat(2049)), Err(TextError::TooLong));
    }

    #[test]
    fn spellings_of_one_conference_are_one() {
        for spelling in ["Café Zürich", "  cafe\u{301}  ZU\u{308}RICH ", "CAFÉ\tzürich"] {
            assert_eq!(conference_name(spelling).unwrap(), "café zürich");
        }
        assert_eq!(conference_name("❤\u{fe0f}"), conference_name("❤"));
        assert_eq!(conference_name("İstanbul").unwrap(), conference_name("i̇stanbul").unwrap());
    }

    /// W19.
    #[test]
    fn a_hostile_conference_name_is_refused() {
        for (name, expected) in [
            ("", TextError::Empty),
            ("../etc/passwd", TextError::Forbidden('/')),
            ("..", TextError::Forbidden('.')),
            (".", TextError::Forbidden('.')),
            ("a..b", TextError::Forbidden('.')),
            ("a\\b", TextError::Forbidden('\\')),
            ("a\0b", TextError::Forbidden('\0')),
            ("a\u{202e}b", TextError::Forbidden('\u{202e}')),
            ("a\u{200b}b", TextError::Forbidden('\u{200b}')),
            ("ا\u{200c}ب", TextError::Forbidden('\u{200c}')),
            ("\u{feff}a", TextError::Forbidden('\u{feff}')),
            ("\u{301}a", TextError::Forbidden('\u{301}')),
        ] {
            assert_eq!(conference_name(name), Err(expected), "{name:?}");
        }
        assert_eq!(conference_name(&"a".repeat(1 << 20)), Err(TextError::TooLong));
        assert_eq!(conference_name(&"a".repeat(65)), Err(TextError::TooLong));
        assert_eq!(conference_name(&"a".repeat(64)), Ok("a".repeat(64)));
    }

    /// W13, L09: whatever a conference is called, machines see 26 letters and digits.
    #[test]
    fn an_id_tells_nothing_of_the_name() {
        for name in ["a.b*c>", "space %s", "\u{1f600}", "${jndi:ldap:x}", "\"}{"] {
            let id = conference_id(&conference_name(name).unwrap());
            assert_eq!(id.as_str().len(), 26);
            assert_ne!(id, conference_id("other"));
        }
        // `printf demo | sha256sum`, in base32.
        assert_eq!(conference_id("demo").as_str(), "fklvc3bvjnuijdg33d2uuitkbj");
    }

    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (bytes, expected) in [("", ""), ("f", "my"), ("fo", "mzxq"), ("foobar", "mzxw6ytboi")] {
            assert_eq!(base32(bytes.as_bytes()).collect::<String>(), expected);
        }
    }

    #[test]
    fn chat_keeps_lines_and_joiners_and_loses_controls() {
        assert_eq!(chat_text(" a\r\n\tb\u{1b}[31m\0\u{202e}c 👩‍🚀 \u{2028}").unwrap(), "a\n b[31mc 👩‍🚀");
        assert_eq!(chat_text(&"é".repeat(1024)).unwrap(), "é".repeat(1024));
    }

    proptest! {
        #[test]
        fn every_text_comes_out_in_its_final_form(text in any::<String>()) {
            for clean in [display_name, conference_name, chat_text] {
                if let Ok(once) = clean(&text) {
                    prop_assert_eq!(clean(&once), Ok(once.clone()));
                    prop_assert!(once.len() <= CHAT_BYTES_MAX);
                    prop_assert!(!once.chars().any(is_invisible));
                }
            }
        }

        /// Random text seldom puts marks, joiners and spaces beside each other; this does nothing else.
        #[test]
        fn marks_joiners_and_spaces_in_any_order_come_out_in_their_final_form(
            characters in prop::collection::vec(prop::sample::select(
                vec!['a', 'é', '\u{301}', '\u{200d}', '\u{200b}', ' ', '\n', '\u{fe0f}', '👩', '.', 'ß', 'Σ', '\u{345}'],
            ), 0..30),
        ) {
            let text: String = characters.into_iter().collect();
            for clean in [display_name, conference_name, chat_text] {
                if let Ok(once) = clean(&text) {
                    prop_assert_eq!(clean(&once), Ok(once.clone()), "{:?}", once);
                }
            }
        }
    }
}

//! Numbers and names as people read them.

/// What stands where nothing was measured.
pub(crate) const NOTHING: &str = "–";

/// `1234567` → `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At least three digits that mean something, no exponent: `0.0123`, `1.23`, `12.3`, `1,234`.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let size = value.abs();
    if size >= 100.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(size.round() as u64));
    }
    if size < SMALLEST {
        return "0".to_owned();
    }
    let decimals = (2 - size.log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Microseconds as milliseconds.
pub(crate) fn millis(us: u64) -> String {
    number(us as f64 / 1e3)
}

/// A share as percent, with its sign: `0.0123` → `1.23 %`.
pub(crate) fn percent(share: f64) -> String {
    if share.is_finite() { format!("{} %", number(share * 100.0)) } else { NOTHING.to_owned() }
}

/// One thing or several.
pub(crate) fn plural(value: u64, one: &str, several: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { several })
}

/// Text inside HTML, between tags or in a quoted attribute. Characters that would turn what follows around (bidirectional
/// overrides) and control characters are shown as U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(character),
            other => safe.push(visible(other)),
        }
    }
    safe
}

/// Text on one line of a terminal: an escape sequence in a name must not move anybody's cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Text in one line, cut where it gets longer than a line of a report.
pub(crate) fn short(text: &str) -> String {
    if text.chars().count() <= NAME_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(NAME_CHARACTERS_MAX - 1).chain(['…']).collect()
}

fn visible(character: char) -> char {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if character.is_control() || turns { '\u{fffd}' } else { character }
}

/// Below it a figure is 0 for whoever reads a report; a share of one packet in a hundred million is above.
const SMALLEST: f64 = 5e-7;

/// A table with four columns beside a name of this length still fits a terminal.
const NAME_CHARACTERS_MAX: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_no_more() {
        let cases = [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.5"),
            (1.0, "1"),
            (9.999, "10"),
            (12.34, "12.3"),
            (99.96, "100"),
            (1234.5, "1,235"),
            (-1234.5, "-1,235"),
            (-0.25, "-0.25"),
            (1e-9, "0"),
            (f64::NAN, NOTHING),
            (f64::INFINITY, NOTHING),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text, "{value}");
        }
        assert_eq!(
            (count(0), count(999), count(1_000), count(u64::MAX)),
            ("0".into(), "999".into(), "1,000".into(), "18,446,744,073,709,551,615".into())
        );
        assert_eq!(
            (millis(1_234), percent(0.001), percent(f64::NAN)),
            ("1.23".into(), "0.1 %".into(), NOTHING.into())
        );
    }

    #[test]
    fn nothing_in_a_name_reaches_a_page_or_a_terminal_as_a_command() {
        assert_eq!(escape("<b a=\"1\" c='2'>&"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;");
        assert_eq!(escape("a\u{0}\u{202e}b\n"), "a\u{fffd}\u{fffd}b\n");
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d\u{2066}"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}");
        assert_eq!(short(&"é".repeat(100)).chars().count(), NAME_CHARACTERS_MAX);
    }
}

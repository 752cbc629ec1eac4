//! The chat of one conference: what was said lately, for those who come later.

use std::collections::VecDeque;

use wire::messages::ids::EndpointId;
use wire::messages::meeting::Update;

/// A newcomer is shown the talk of the last minutes, not a protocol of the meeting.
const LINES_MAX: usize = 50;
/// Text and names of all lines: what a newcomer's download may cost.
const BYTES_MAX: usize = 32 * 1024;

/// One thing said.
#[derive(Debug, Clone)]
struct Line {
    from: EndpointId,
    name: String,
    text: String,
    seq: u64,
}

impl Line {
    fn bytes(&self) -> usize {
        self.name.len() + self.text.len()
    }

    fn update(&self) -> Update {
        Update::Chat {
            from: self.from.clone(),
            name: self.name.clone(),
            text: self.text.clone(),
            seq: self.seq,
        }
    }
}

/// The last lines, bounded by number and by size.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: VecDeque<Line>,
    bytes: usize,
    seq: u64,
}

impl History {
    /// Adds a checked text and returns the update that tells everybody.
    pub(crate) fn say(&mut self, from: &EndpointId, name: &str, text: String) -> Update {
        self.seq += 1;
        let line = Line { from: from.clone(), name: name.to_owned(), text, seq: self.seq };
        let update = line.update();
        self.bytes += line.bytes();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
        update
    }

    /// Nothing has been said yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What is kept, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Update> + '_ {
        self.lines.iter().map(Line::update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> EndpointId {
        EndpointId::parse("0a1b2c3d").unwrap()
    }

    #[test]
    fn history_keeps_fifty_lines() {
        let mut history = History::default();
        for number in 0..80 {
            history.say(&anna(), "Anna", number.to_string());
        }
        let kept: Vec<u64> = history
            .lines()
            .map(|update| if let Update::Chat { seq, .. } = update { seq } else { 0 })
            .collect();
        assert_eq!(kept, (31..=80).collect::<Vec<u64>>());
    }

    #[test]
    fn history_keeps_32_kib() {
        let mut history = History::default();
        for _ in 0..40 {
            history.say(&anna(), "", "x".repeat(2048));
        }
        assert_eq!(history.lines().count(), 16);
        assert_eq!(history.bytes, BYTES_MAX);
    }
}

//! Which streams an m-line carries: by SSRC (RFC 5576), by restriction identifier (RFC 8851) and simulcast (RFC 8853),
//! and the name of the track they belong to (RFC 8830).

use std::fmt;

use super::{Direction, Reason, number, words};

/// `a=msid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Msid {
    /// The media stream; `-` for none.
    pub stream: String,
    /// The track, where it is named.
    pub track: Option<String>,
}

/// `a=ssrc`: one entry for each SSRC, whatever number of lines it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcLine {
    /// The stream.
    pub ssrc: u32,
    /// The sender's name in RTCP.
    pub cname: Option<String>,
}

/// `a=ssrc-group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup {
    /// `FID` pairs a stream with its retransmissions, `SIM` lists the layers of the days before RIDs.
    pub semantics: String,
    /// The streams, in the order that the semantics give a meaning.
    pub ssrcs: Vec<u32>,
}

/// `a=rid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RidLine {
    /// The identifier that the packets carry.
    pub id: String,
    /// The writer sends the stream (otherwise it receives it).
    pub is_sent: bool,
    /// `pt=…;max-width=…`, as it came; mostly empty.
    pub restrictions: String,
}

/// `a=simulcast`: for each way, the streams; each stream is one of some alternatives, the most wanted first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulcast {
    /// Streams the writer sends.
    pub send: Vec<Vec<Alternative>>,
    /// Streams the writer receives.
    pub receive: Vec<Vec<Alternative>>,
}

/// One RID of `a=simulcast`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternative {
    /// Names an `a=rid` line.
    pub rid: String,
    /// `~`: not sent at first.
    pub is_paused: bool,
}

/// Streams of one group, one simulcast direction, one choice of alternatives. Browsers have three; thousands would cost
/// everybody who compares them with each other.
const STREAMS_MAX: usize = 16;

impl Msid {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let mut fields = value.split_ascii_whitespace();
        let Some(stream) = fields.next() else { return Err("a=msid names no stream") };
        Ok(Self { stream: stream.to_owned(), track: fields.next().map(str::to_owned) })
    }
}

impl SsrcLine {
    /// Adds what one line says to `lines`, at most `limit` streams.
    pub(super) fn read(lines: &mut Vec<Self>, value: &str, limit: usize) -> Result<(), Reason> {
        let (ssrc, attribute) = value.split_once(' ').unwrap_or((value, ""));
        let ssrc = number(ssrc).ok_or("an a=ssrc number is out of range")?;
        let known = lines.iter().position(|line| line.ssrc == ssrc);
        if known.is_none() && lines.len() == limit {
            return Err("too many a=ssrc lines");
        }
        if known.is_none() {
            lines.push(Self { ssrc, cname: None });
        }
        let cname = attribute.trim_ascii().strip_prefix("cname:").map(words).filter(|name| !name.is_empty());
        let index = known.unwrap_or(lines.len() - 1);
        if cname.is_some() {
            lines[index].cname = cname;
        }
        Ok(())
    }
}

impl SsrcGroup {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let mut fields = value.split_ascii_whitespace();
        let Some(semantics) = fields.next() else { return Err("a=ssrc-group has no semantics") };
        let ssrcs: Option<Vec<u32>> = fields.take(STREAMS_MAX + 1).map(number).collect();
        let ssrcs = ssrcs.ok_or("an a=ssrc-group number is out of range")?;
        if ssrcs.len() > STREAMS_MAX {
            return Err("too many streams in one a=ssrc-group");
        }
        Ok(Self { semantics: semantics.to_owned(), ssrcs })
    }
}

impl RidLine {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let mut fields = value.splitn(3, |character: char| character.is_ascii_whitespace());
        let (Some(id), Some(direction)) = (fields.next(), fields.next()) else {
            return Err("a=rid has two fields");
        };
        let is_sent = match direction {
            "send" => true,
            "recv" => false,
            _ => return Err("a=rid is neither send nor recv"),
        };
        let restrictions = fields.next().map(words).unwrap_or_default();
        Ok(Self { id: super::token(id, "a=rid names no stream")?, is_sent, restrictions })
    }
}

impl Simulcast {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let fields: Vec<&str> = value.split_ascii_whitespace().collect();
        if fields.is_empty() || fields.len() > 4 {
            return Err("a=simulcast is not send, recv or both");
        }
        let mut simulcast = Self::default();
        for pair in fields.chunks(2) {
            let (list, streams) = match *pair {
                ["send", streams] => (&mut simulcast.send, streams),
                ["recv", streams] => (&mut simulcast.receive, streams),
                _ => return Err("a=simulcast is not send, recv or both"),
            };
            if !list.is_empty() {
                return Err("a=simulcast names one direction twice");
            }
            *list = split(streams, ';')?.into_iter().map(alternatives).collect::<Result<_, _>>()?;
        }
        Ok(simulcast)
    }
}

fn alternatives(stream: &str) -> Result<Vec<Alternative>, Reason> {
    let alternative = |text: &str| {
        let (is_paused, rid) = text.strip_prefix('~').map_or((false, text), |rid| (true, rid));
        if rid.is_empty() || rid.starts_with('~') {
            return Err("a=simulcast has an empty stream");
        }
        Ok(Alternative { rid: rid.to_owned(), is_paused })
    };
    split(stream, ',')?.into_iter().map(alternative).collect()
}

fn split(list: &str, separator: char) -> Result<Vec<&str>, Reason> {
    let parts: Vec<&str> = list.split(separator).take(STREAMS_MAX + 1).collect();
    if parts.len() > STREAMS_MAX { Err("too many streams in a=simulcast") } else { Ok(parts) }
}

impl fmt::Display for Msid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.track {
            Some(track) => write!(f, "a=msid:{} {track}\r\n", self.stream),
            None => write!(f, "a=msid:{}\r\n", self.stream),
        }
    }
}

impl fmt::Display for SsrcLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cname {
            Some(cname) => write!(f, "a=ssrc:{} cname:{cname}\r\n", self.ssrc),
            None => write!(f, "a=ssrc:{}\r\n", self.ssrc),
        }
    }
}

impl fmt::Display for SsrcGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a=ssrc-group:{}", self.semantics)?;
        self.ssrcs.iter().try_for_each(|ssrc| write!(f, " {ssrc}"))?;
        f.write_str("\r\n")
    }
}

impl fmt::Display for RidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_sent { Direction::SendOnly } else { Direction::ReceiveOnly };
        write!(f, "a=rid:{} {}", self.id, &direction.name()[..4])?;
        if !self.restrictions.is_empty() {
            write!(f, " {}", self.restrictions)?;
        }
        f.write_str("\r\n")
    }
}

impl fmt::Display for Simulcast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a=simulcast:")?;
        let both = !self.send.is_empty() && !self.receive.is_empty();
        for (direction, streams) in [("send", &self.send), ("recv", &self.receive)] {
            for (index, stream) in streams.iter().enumerate() {
                f.write_str(if index > 0 { ";" } else { direction })?;
                for (choice, alternative) in stream.iter().enumerate() {
                    f.write_str(match (index, choice) {
                        (0, 0) => " ",
                        (_, 0) => "",
                        _ => ",",
                    })?;
                    f.write_str(if alternative.is_paused { "~" } else { "" })?;
                    f.write_str(&alternative.rid)?;
                }
            }
            if both && direction == "send" {
                f.write_str(" ")?;
            }
        }
        f.write_str("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulcast_keeps_order_alternatives_and_pauses() {
        for text in ["send q;h;f", "recv q", "send 1,~4;2;~3 recv a;b,c"] {
            let simulcast = Simulcast::parse(text).unwrap();
            assert_eq!(simulcast.to_string(), format!("a=simulcast:{text}\r\n"));
        }
        assert!(Simulcast::parse("send 1,~4;2").unwrap().send[0][1].is_paused);
    }

    #[test]
    fn simulcast_without_streams_or_direction_is_refused() {
        for bad in [
            "",
            "send",
            "q;h",
            "send q;;f",
            "send q,",
            "send ~",
            "send ~~q",
            "send q send h",
            "send q recv a b",
        ] {
            assert!(Simulcast::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn lists_have_an_end() {
        let list = |separator: &str, count: usize| vec!["1"; count].join(separator);
        for separator in [";", ","] {
            assert!(Simulcast::parse(&format!("send {}", list(separator, STREAMS_MAX))).is_ok());
            assert!(Simulcast::parse(&format!("send {}", list(separator, STREAMS_MAX + 1))).is_err());
        }
        assert!(SsrcGroup::parse(&format!("SIM {}", list(" ", STREAMS_MAX))).is_ok());
        assert!(SsrcGroup::parse(&format!("SIM {}", list(" ", STREAMS_MAX + 1))).is_err());
    }

    #[test]
    fn the_lines_of_one_ssrc_are_one_entry() {
        let mut lines = Vec::new();
        for line in ["7 cname:a", "7 msid:x y", "8 msid:x y", "9"] {
            SsrcLine::read(&mut lines, line, 3).unwrap();
        }
        let cnames: Vec<_> = lines.iter().map(|line| (line.ssrc, line.cname.as_deref())).collect();
        assert_eq!(cnames, [(7, Some("a")), (8, None), (9, None)]);
        assert!(SsrcLine::read(&mut lines, "7 cname:b", 3).is_ok());
        assert!(SsrcLine::read(&mut lines, "10 cname:a", 3).is_err());
        assert!(SsrcLine::read(&mut lines, "4294967296 cname:a", 9).is_err());
        assert!(SsrcLine::read(&mut lines, "-1 cname:a", 9).is_err());
    }

    #[test]
    fn a_rid_needs_a_direction() {
        assert_eq!(RidLine::parse("q send").unwrap().to_string(), "a=rid:q send\r\n");
        let restricted = RidLine::parse("q recv  pt=96;max-width=320").unwrap();
        assert_eq!(restricted.to_string(), "a=rid:q recv pt=96;max-width=320\r\n");
        for bad in ["", "q", "q both", " send"] {
            assert!(RidLine::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_group_holds_numbers() {
        assert_eq!(SsrcGroup::parse("FID 1 2").unwrap().ssrcs, [1, 2]);
        assert!(SsrcGroup::parse("FID 1 x").is_err());
        assert!(SsrcGroup::parse("").is_err());
    }
}

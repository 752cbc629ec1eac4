//! `a=extmap` (RFC 8285, 8): which number stands for which RTP header extension.

use std::fmt;

use super::{Direction, Reason, number, words};

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionMap {
    /// 1 to 255 in packets; 4096 to 4351 are an offerer's spare numbers.
    pub id: u16,
    /// Which way the extension travels, when it is not both.
    pub direction: Option<Direction>,
    /// What it carries.
    pub uri: String,
    /// What follows the URI; mostly empty.
    pub attributes: String,
}

impl ExtensionMap {
    pub(super) fn parse(value: &str) -> Result<Self, Reason> {
        let Some((entry, rest)) = value.split_once(|character: char| character.is_ascii_whitespace()) else {
            return Err("a=extmap has two fields");
        };
        let (id, direction) = match entry.split_once('/') {
            Some((id, name)) => {
                (id, Some(Direction::from_name(name).ok_or("an unknown direction of a=extmap")?))
            }
            None => (entry, None),
        };
        let id = number(id).filter(|id| *id > 0).ok_or("an a=extmap number is out of range")?;
        let rest = words(rest);
        let (uri, attributes) = rest.split_once(' ').unwrap_or((&rest, ""));
        if uri.is_empty() {
            return Err("a=extmap has two fields");
        }
        Ok(Self { id, direction, uri: uri.to_owned(), attributes: attributes.to_owned() })
    }
}

impl fmt::Display for ExtensionMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a=extmap:{}", self.id)?;
        if let Some(direction) = self.direction {
            write!(f, "/{}", direction.name())?;
        }
        write!(f, " {}", self.uri)?;
        if !self.attributes.is_empty() {
            write!(f, " {}", self.attributes)?;
        }
        f.write_str("\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_and_attributes_survive() {
        let map = ExtensionMap::parse("8/sendonly urn:x:y  a=1   b").unwrap();
        assert_eq!((map.id, map.direction), (8, Some(Direction::SendOnly)));
        assert_eq!(map.to_string(), "a=extmap:8/sendonly urn:x:y a=1 b\r\n");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for bad in ["", "1", "0 urn:x", "-1 urn:x", "70000 urn:x", "1/both urn:x", "1 ", "x urn:x"] {
            assert!(ExtensionMap::parse(bad).is_err(), "{bad:?}");
        }
    }
}

//! Which number stands for which header extension (RFC 8285), for one m-line or one browser.

use wire::messages::media::{Extension, ExtensionParameters};

/// The agreed numbers, 0 for what was not agreed. Indexed by the extension's place in `ALL`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ExtensionIds {
    ids: [u8; ALL.len()],
}

impl ExtensionIds {
    /// The numbers of one m-line.
    pub(crate) fn of(extensions: &[ExtensionParameters]) -> Self {
        let mut ids = Self::default();
        ids.add(extensions);
        ids
    }

    /// Adds another m-line's. Within one BUNDLE they agree (RFC 9143, 9.1); where they do not, the first counts.
    pub(crate) fn add(&mut self, extensions: &[ExtensionParameters]) {
        for each in extensions {
            let id = &mut self.ids[each.extension as usize];
            if *id == 0 {
                *id = each.id;
            }
        }
    }

    /// The number of `extension`.
    pub(crate) fn id(&self, extension: Extension) -> Option<u8> {
        Some(self.ids[extension as usize]).filter(|id| *id != 0)
    }

    /// What `id` stands for.
    pub(crate) fn kind(&self, id: u8) -> Option<Extension> {
        self.ids.iter().position(|each| *each == id && id != 0).map(|at| ALL[at])
    }
}

/// Header extension elements under one receiver's numbers, on the stack.
pub(crate) struct ElementList<'a> {
    ids: &'a ExtensionIds,
    items: [(u8, &'a [u8]); ELEMENTS_MAX],
    length: usize,
}

impl<'a> ElementList<'a> {
    /// None yet.
    pub(crate) fn new(ids: &'a ExtensionIds) -> Self {
        Self { ids, items: [(0, &[]); ELEMENTS_MAX], length: 0 }
    }

    /// Adds a value if there is one and the receiver has a number for it.
    pub(crate) fn push(&mut self, extension: Extension, value: Option<&'a [u8]>) {
        if let (Some(id), Some(value)) = (self.ids.id(extension), value) {
            self.items[self.length] = (id, value);
            self.length += 1;
        }
    }

    /// In the order of the calls.
    pub(crate) fn as_slice(&self) -> &[(u8, &'a [u8])] {
        &self.items[..self.length]
    }
}

/// Every extension once, without the two RIDs.
const ELEMENTS_MAX: usize = ALL.len() - 2;

/// In declaration order, so that `extension as usize` is the place.
const ALL: [Extension; 9] = [
    Extension::Mid,
    Extension::Rid,
    Extension::RepairedRid,
    Extension::AudioLevel,
    Extension::AbsSendTime,
    Extension::TransportCc,
    Extension::VideoOrientation,
    Extension::DependencyDescriptor,
    Extension::PlayoutDelay,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_extension_has_its_own_place() {
        for (place, extension) in ALL.into_iter().enumerate() {
            assert_eq!(extension as usize, place);
            let ids = ExtensionIds::of(&[ExtensionParameters { id: 7, extension }]);
            assert_eq!((ids.id(extension), ids.kind(7)), (Some(7), Some(extension)));
        }
    }

    #[test]
    fn what_was_not_agreed_has_no_number() {
        let ids = ExtensionIds::default();
        assert_eq!((ids.id(Extension::Mid), ids.kind(0), ids.kind(3)), (None, None, None));
    }
}

//! What must be known of a ClientHello before any state is made for it (RFC 6347, 4.2.1; RFC 5764, 4.1.1).

use wire::srtp::Profile;

/// The parts of an acceptable ClientHello.
#[derive(Debug)]
pub(super) struct ClientHello<'a> {
    /// Names the client: it is the same in the first and the second hello.
    pub(super) random: [u8; 32],
    /// Empty in the first hello.
    pub(super) cookie: &'a [u8],
    /// The profile to negotiate: GCM whenever it is offered, wherever in the list.
    pub(super) profile: Profile,
}

/// Why a ClientHello is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelloRefusal {
    /// Cut short, or its lengths disagree.
    Malformed,
    /// Neither DTLS 1.2 nor 1.3 (which also says 1.2 in this place).
    Version,
    /// It wants to resume a session; there are none.
    Resumption,
    /// No TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, which RFC 8827, 6.5 makes every browser have.
    CipherSuite,
    /// Neither P-256 nor X25519.
    Group,
    /// No `use_srtp`, or neither AEAD_AES_128_GCM nor AES128_CM_SHA1_80 in it.
    SrtpProfile,
    /// No extended master secret (RFC 7627).
    MasterSecret,
}

#[derive(Default)]
struct Extensions {
    has_group: bool,
    has_master_secret: bool,
    has_gcm: bool,
    has_cm: bool,
}

impl<'a> ClientHello<'a> {
    /// Reads a message body.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, HelloRefusal> {
        let mut reader = Reader(body);
        if reader.u16()? != VERSION_1_2 {
            return Err(HelloRefusal::Version);
        }
        let random = *reader.array::<32>()?;
        if reader.u8()? != 0 {
            return Err(HelloRefusal::Resumption);
        }
        let cookie = reader.list8()?;
        if !has_u16(reader.list16()?, CIPHER_SUITE) {
            return Err(HelloRefusal::CipherSuite);
        }
        reader.list8()?;
        let extensions = Extensions::parse(reader.list16()?)?;
        Ok(Self { random, cookie, profile: extensions.profile()? })
    }
}

impl Extensions {
    fn parse(bytes: &[u8]) -> Result<Self, HelloRefusal> {
        let mut found = Self::default();
        let mut reader = Reader(bytes);
        while !reader.0.is_empty() {
            let kind = reader.u16()?;
            let mut value = Reader(reader.list16()?);
            match kind {
                EXTENSION_GROUPS => {
                    let groups = value.list16()?;
                    found.has_group = has_u16(groups, GROUP_P256) || has_u16(groups, GROUP_X25519);
                }
                EXTENSION_USE_SRTP => {
                    let profiles = value.list16()?;
                    found.has_gcm = has_u16(profiles, Profile::AeadAes128Gcm.id());
                    found.has_cm = has_u16(profiles, Profile::Aes128CmSha1_80.id());
                }
                EXTENSION_MASTER_SECRET => found.has_master_secret = true,
                _ => {}
            }
        }
        Ok(found)
    }

    fn profile(&self) -> Result<Profile, HelloRefusal> {
        if !self.has_group {
            return Err(HelloRefusal::Group);
        }
        if !self.has_master_secret {
            return Err(HelloRefusal::MasterSecret);
        }
        match (self.has_gcm, self.has_cm) {
            (true, _) => Ok(Profile::AeadAes128Gcm),
            (false, true) => Ok(Profile::Aes128CmSha1_80),
            (false, false) => Err(HelloRefusal::SrtpProfile),
        }
    }
}

/// Takes from the front; what is not there is Malformed.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], HelloRefusal> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(HelloRefusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], HelloRefusal> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(HelloRefusal::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, HelloRefusal> {
        self.array::<1>().map(|[byte]| *byte)
    }

    fn u16(&mut self) -> Result<u16, HelloRefusal> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// A list behind an 8-bit length.
    fn list8(&mut self) -> Result<&'a [u8], HelloRefusal> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    /// A list behind a 16-bit length.
    fn list16(&mut self) -> Result<&'a [u8], HelloRefusal> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

fn has_u16(list: &[u8], wanted: u16) -> bool {
    list.as_chunks::<2>().0.contains(&wanted.to_be_bytes())
}

/// Handshake message type of a ClientHello (RFC 5246, 7.4).
pub(super) const KIND: u8 = 1;

const VERSION_1_2: u16 = 0xfefd;
/// TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 (RFC 5289).
const CIPHER_SUITE: u16 = 0xc02b;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_USE_SRTP: u16 = 14;
const EXTENSION_MASTER_SECRET: u16 = 23;
const GROUP_P256: u16 = 23;
const GROUP_X25519: u16 = 29;

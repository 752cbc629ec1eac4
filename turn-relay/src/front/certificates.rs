//! Certificates of the TLS listeners: from PEM files, changed while the relay runs, or self-signed for development.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rcgen::{CertificateParams, KeyPair};
use rustls::client::verify_server_name;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Where a certificate and its key are, both as PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// The certificate, then those that lead from it to a root.
    pub(crate) certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub(crate) key: PathBuf,
}

/// What clients are shown. A handshake takes what is current; a running connection does not notice a change.
pub(crate) struct Certificates {
    current: ArcSwap<Loaded>,
    /// To be read again by `reload`; a self-signed certificate has none.
    files: Vec<CertificateFiles>,
}

/// Invariant: `keys` is not empty, and none of them has an empty chain.
struct Loaded {
    /// The first is for clients that name none of the servers, or no server at all.
    keys: Vec<Arc<CertifiedKey>>,
    expires_at: SystemTime,
}

/// Why there is no certificate, in a line for the operator.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// No file was named.
    #[error("no certificate is configured")]
    None,
    /// The system says no.
    #[error("{path}: {error}", path = .0.display(), error = .1)]
    Unreadable(PathBuf, io::Error),
    /// Something else was named by mistake.
    #[error("{path}: larger than any certificate or key", path = .0.display())]
    TooLarge(PathBuf),
    /// Readable, and nothing to show to clients.
    #[error("{path}: no certificate in it; PEM with BEGIN CERTIFICATE is needed", path = .0.display())]
    NoCertificate(PathBuf),
    /// Readable, and nothing to sign with.
    #[error(
        "{path}: no private key in it; PEM with BEGIN PRIVATE KEY, not encrypted, is needed",
        path = .0.display()
    )]
    NoKey(PathBuf),
    /// Two files that do not belong together; also while they are being replaced one after the other.
    #[error("{key} is not the key of {certificate}", key = .key.display(), certificate = .certificate.display())]
    Mismatch {
        /// As configured.
        certificate: PathBuf,
        /// As configured.
        key: PathBuf,
    },
    /// The library does not take it.
    #[error("{path}: {reason}", path = .0.display(), reason = .1)]
    Unusable(PathBuf, String),
    /// Every client would refuse it.
    #[error("{path}: expired {days} days ago", path = .0.display(), days = .1)]
    Expired(PathBuf, u64),
    /// A name that cannot stand in a certificate.
    #[error("no self-signed certificate can be made: {0}")]
    SelfSigned(String),
}

impl Certificates {
    /// Reads files. A client is shown the first certificate that has the name it asks for, or else the first.
    ///
    /// # Errors
    /// Files that cannot be read, do not belong together, or have expired.
    pub(crate) fn load(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        Ok(Self { current: ArcSwap::from_pointee(Loaded::read(files)?), files: files.to_vec() })
    }

    /// Makes one up, for these host names and addresses. Browsers only take it where they are told to.
    ///
    /// # Errors
    /// A name that cannot stand in a certificate.
    pub(crate) fn self_signed(names: &[String]) -> Result<Self, CertificateError> {
        let refused = |error: &dyn fmt::Display| CertificateError::SelfSigned(error.to_string());
        let mut params = CertificateParams::new(names).map_err(|error| refused(&error))?;
        let expires_at = SystemTime::now() + SELF_SIGNED_LIFE;
        params.not_before = (SystemTime::now() - CLOCK_SKEW).into();
        params.not_after = expires_at.into();
        let key = KeyPair::generate().map_err(|error| refused(&error))?;
        let certificate = params.self_signed(&key).map_err(|error| refused(&error))?;
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = CertifiedKey::from_der(vec![certificate.der().clone()], der, &default_provider())
            .map_err(|error| refused(&error))?;
        let loaded = Loaded { keys: vec![Arc::new(key)], expires_at };
        Ok(Self { current: ArcSwap::from_pointee(loaded), files: Vec::new() })
    }

    /// Reads the files again. `true`: other certificates are shown from now on. Cheap enough for a timer.
    ///
    /// # Errors
    /// As `load`; then the ones so far stay.
    pub(crate) fn reload(&self) -> Result<bool, CertificateError> {
        if self.files.is_empty() {
            return Ok(false);
        }
        let loaded = Loaded::read(&self.files)?;
        if loaded.shows_the_same_as(&self.current.load()) {
            return Ok(false);
        }
        self.current.store(Arc::new(loaded));
        Ok(true)
    }

    /// When the first of them expires.
    pub(crate) fn expires_at(&self) -> SystemTime {
        self.current.load().expires_at
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current.load().for_name(hello.server_name())
    }
}

impl Loaded {
    fn read(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let mut keys = Vec::with_capacity(files.len());
        let mut expires_at = None;
        for files in files {
            let key = read_key(files)?;
            let expires = expiry_of(&key, &files.certificate)?;
            keys.push(Arc::new(key));
            expires_at = Some(expires_at.map_or(expires, |earliest| expires.min(earliest)));
        }
        let expires_at = expires_at.ok_or(CertificateError::None)?;
        Ok(Self { keys, expires_at })
    }

    fn for_name(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.keys.iter().find(|key| has_name(key, &name)));
        named.or(self.keys.first()).cloned()
    }

    /// The key follows from the certificate.
    fn shows_the_same_as(&self, other: &Self) -> bool {
        self.keys.iter().map(|key| &key.cert).eq(other.keys.iter().map(|key| &key.cert))
    }
}

fn has_name(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let Some(certificate) = key.cert.first().and_then(|first| ParsedCertificate::try_from(first).ok()) else {
        return false;
    };
    verify_server_name(&certificate, name).is_ok()
}

fn read_key(files: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let CertificateFiles { certificate, key } = files;
    let unusable = |path: &Path, error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            CertificateError::Mismatch { certificate: certificate.clone(), key: key.clone() }
        }
        other => CertificateError::Unusable(path.to_owned(), other.to_string()),
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::Unusable(certificate.clone(), error.to_string()))?;
    let first = chain.first().ok_or_else(|| CertificateError::NoCertificate(certificate.clone()))?;
    // Otherwise a certificate that nobody can read would be said to be a matter of the key.
    ParsedCertificate::try_from(first).map_err(|error| unusable(certificate, error))?;
    let der = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| CertificateError::NoKey(key.clone()))?;
    CertifiedKey::from_der(chain, der, &default_provider()).map_err(|error| unusable(key, error))
}

fn expiry_of(key: &CertifiedKey, path: &Path) -> Result<SystemTime, CertificateError> {
    let unusable = |reason: String| CertificateError::Unusable(path.to_owned(), reason);
    let first = key.cert.first().ok_or_else(|| CertificateError::NoCertificate(path.to_owned()))?;
    let (_, parsed) =
        x509_parser::parse_x509_certificate(first).map_err(|error| unusable(error.to_string()))?;
    // A year before 1970 has expired as well.
    let since_epoch = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let expires_at = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(since_epoch))
        .ok_or_else(|| unusable("its expiry is out of range".to_owned()))?;
    match SystemTime::now().duration_since(expires_at) {
        Ok(age) => Err(CertificateError::Expired(path.to_owned(), age.as_secs() / SECONDS_OF_A_DAY)),
        Err(_) => Ok(expires_at),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |error| CertificateError::Unreadable(path.to_owned(), error);
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(unreadable)?.take(FILE_BYTES_MAX + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CertificateError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

/// A chain has some 10 KiB.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Browsers take no certificate of a longer life, not even one they are told to take.
const SELF_SIGNED_LIFE: Duration = Duration::from_secs(90 * SECONDS_OF_A_DAY);

/// A client's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(SECONDS_OF_A_DAY);

const SECONDS_OF_A_DAY: u64 = 86_400;

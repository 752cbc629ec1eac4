//! The way up to a TURN server: its address, what is spoken there, and whom to trust.

use std::collections::HashMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::engine::turn::TurnCredentials;
use crate::phone::PhoneError;
use crate::scenario::{MediaPath, TurnServer};

/// All that is needed to ask for an allocation.
pub(super) struct RelayPlan {
    pub(super) address: SocketAddr,
    pub(super) carrier: RelayCarrier,
    pub(super) credentials: TurnCredentials,
}

/// What is spoken to the TURN server.
pub(super) enum RelayCarrier {
    Udp,
    Tcp,
    /// The name that the certificate must be for.
    Tls(Arc<ClientConfig>, ServerName<'static>),
}

/// Certificates to trust: the store, and the scenario's file.
pub(super) struct Trusted<'a> {
    pub(super) store: &'a TrustStore,
    pub(super) ca: Option<&'a Path>,
}

/// TLS settings, made once for each file of certificates.
#[derive(Default)]
pub(super) struct TrustStore {
    /// By file; none: the system's certificates only. Locked while callers join, never on a packet's way.
    configs: Mutex<HashMap<Option<PathBuf>, Arc<ClientConfig>>>,
}

/// Resolves the server's name and makes the caller's credentials.
pub(super) async fn plan(
    path: MediaPath,
    server: &TurnServer,
    caller: u32,
    trusted: Trusted<'_>,
) -> Result<RelayPlan, PhoneError> {
    let is_tls = path == MediaPath::RelayTls;
    let text = if is_tls && !server.tls_address.is_empty() { &server.tls_address } else { &server.address };
    let address = resolve(text).await?;
    let carrier = match path {
        MediaPath::RelayTls => {
            // RFC 8489, 6.2.3: the certificate is that of the name, or of the address, by which the server is named.
            let name = ServerName::try_from(host_of(text).to_owned())
                .map_err(|_| refused(format_args!("{text:?} is no name that a certificate could be for")))?;
            RelayCarrier::Tls(trusted.store.config(trusted.ca)?, name)
        }
        MediaPath::RelayTcp => RelayCarrier::Tcp,
        MediaPath::RelayUdp | MediaPath::Direct => RelayCarrier::Udp,
    };
    Ok(RelayPlan { address, carrier, credentials: credentials(server, caller)? })
}

/// What a caller says to a relay: its own, made of the secret, or everybody's.
pub(crate) fn credentials(server: &TurnServer, caller: u32) -> Result<TurnCredentials, PhoneError> {
    let credentials = if server.secret.is_empty() {
        TurnCredentials { username: server.username.clone(), password: server.password.clone() }
    } else {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        TurnCredentials::from_secret(
            &server.secret,
            (now + SECRET_LASTS).as_secs(),
            &format!("caller-{caller}"),
        )
    };
    // RFC 8489, 14.3.
    if credentials.username.is_empty() || credentials.username.len() > USERNAME_BYTES_MAX {
        return Err(refused("neither a secret nor a user name of at most 508 bytes is given"));
    }
    Ok(credentials)
}

async fn resolve(address: &str) -> Result<SocketAddr, PhoneError> {
    let mut found = tokio::net::lookup_host(address)
        .await
        .map_err(|error| refused(format_args!("cannot resolve {address:?} (host:port): {error}")))?;
    found.next().ok_or_else(|| refused(format_args!("{address:?} has no address")))
}

/// `host:port`, `[v6]:port` → the host.
fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl TrustStore {
    /// The system's certificates and those of `ca`.
    fn config(&self, ca: Option<&Path>) -> Result<Arc<ClientConfig>, PhoneError> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&ca.map(Path::to_owned)) {
            return Ok(Arc::clone(config));
        }
        let mut roots = RootCertStore::empty();
        // A system certificate that rustls cannot use is none; there are many others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = ca {
            add_file(&mut roots, file)?;
        }
        if roots.is_empty() {
            return Err(refused("there are no certificates to trust: name a file of them (target.ca_file)"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| refused(format_args!("TLS: {error}")))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let config = Arc::new(config);
        configs.insert(ca.map(Path::to_owned), Arc::clone(&config));
        Ok(config)
    }
}

fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), PhoneError> {
    let wrong = |error: &dyn Display| refused(format_args!("certificates of {}: {error}", file.display()));
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
        count += 1;
    }
    if count == 0 { Err(wrong(&"there are none in it")) } else { Ok(()) }
}

fn refused(why: impl Display) -> PhoneError {
    PhoneError::Relay(why.to_string())
}

/// A working day: longer than a run.
const SECRET_LASTS: Duration = Duration::from_secs(12 * 3_600);

/// RFC 8489, 14.3.
const USERNAME_BYTES_MAX: usize = 508;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        assert_eq!(host_of("relay.example.org:443"), "relay.example.org");
        assert_eq!(host_of("192.0.2.1:443"), "192.0.2.1");
        assert_eq!(host_of("[2001:db8::1]:443"), "2001:db8::1");
    }

    #[test]
    fn a_server_without_credentials_and_one_with_endless_ones_are_refused() {
        let server = TurnServer { address: "127.0.0.1:1".to_owned(), ..TurnServer::default() };
        assert!(credentials(&server, 1).is_err());
        let server = TurnServer { username: "x".repeat(600), ..server };
        assert!(credentials(&server, 1).is_err());
        let server = TurnServer { secret: "north".to_owned(), ..server };
        assert!(credentials(&server, 1).unwrap().username.ends_with(":caller-1"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for file in [&missing, &empty] {
            let error = TrustStore::default().config(Some(file)).unwrap_err().to_string();
            assert!(error.contains(&*file.to_string_lossy()), "{error}");
        }
    }
}

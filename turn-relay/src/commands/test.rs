//! `turn-relay test`: a TURN client that says which of a server's legs work, and why the others do not.

mod client;
mod leg;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs::default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::lookup_host;
use tokio::time::timeout;

use self::client::{Client, Login};
use self::leg::Leg;
use super::credential::configured;
use super::{say, secret, unix_s};
use crate::settings::RelaySettings;

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// host[:port] for UDP and TCP; default: this relay, by its settings
    #[arg(long)]
    server: Option<String>,
    /// host[:port] for TLS; default: the same host
    #[arg(long)]
    tls_server: Option<String>,
    /// A user name other than one signed by the first of turn-relay.secrets
    #[arg(long, requires = "password_file")]
    username: Option<String>,
    /// The file that holds its password
    #[arg(long, requires = "username")]
    password_file: Option<PathBuf>,
    /// A PEM file with the certificate authority to trust
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Takes any certificate, such as a self-signed one
    #[arg(long)]
    insecure: bool,
}

/// Where to try, and with what.
struct Trial {
    plain: String,
    tls: String,
    tls_host: String,
    login: Login,
    tls_config: Arc<ClientConfig>,
}

/// Tries all three. The exit code is 1 if any of them does not work.
pub(super) fn run(flags: &Flags, settings: &RelaySettings) -> Result<ExitCode, String> {
    let trial = trial(flags, settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut is_good = true;
    for name in ["udp", "tcp", "tls"] {
        let outcome = runtime.block_on(async {
            let attempt = timeout(LEG_TIME_MAX, attempt(&trial, name)).await;
            attempt.unwrap_or_else(|_| Err("no answer in time".to_owned()))
        });
        match outcome {
            Ok(line) => say(&format!("{name}: works: {line}")),
            Err(reason) => {
                is_good = false;
                say(&format!("{name}: does not work: {reason}"));
            }
        }
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn trial(flags: &Flags, settings: &RelaySettings) -> Result<Trial, String> {
    let bound = configured(settings);
    let own = |address: Option<&SocketAddr>| {
        let address = address.ok_or("turn-relay.listen: is empty")?;
        let here = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            ip if ip.is_ipv4() => std::net::Ipv4Addr::LOCALHOST.into(),
            _ => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        Ok::<_, String>(SocketAddr::new(here, address.port()).to_string())
    };
    let plain = match &flags.server {
        Some(server) => with_port(server, 3478),
        None => own(bound.udp.first())?,
    };
    let tls = match (&flags.tls_server, &flags.server) {
        (Some(server), _) => with_port(server, 5349),
        // One port is likely for everything when it was named.
        (None, Some(server)) if has_port(server) => server.clone(),
        (None, Some(server)) => with_port(server, 5349),
        (None, None) => own(bound.tcp.get(bound.udp.len()).or(bound.tcp.first()))?,
    };
    let tls_host =
        tls.rsplit_once(':').map_or(tls.as_str(), |(host, _)| host).trim_matches(['[', ']']).to_owned();
    Ok(Trial { plain, tls, tls_host, login: login(flags, settings)?, tls_config: tls_config(flags)? })
}

fn login(flags: &Flags, settings: &RelaySettings) -> Result<Login, String> {
    if let (Some(username), Some(file)) = (&flags.username, &flags.password_file) {
        let password =
            std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(Login { username: username.clone(), password: password.trim_end().to_owned() });
    }
    let (username, password) = wire::turn::mint(secret(settings)?, "test", unix_s() + CREDENTIAL_TTL_S);
    Ok(Login { username, password })
}

/// Allocates, reads the relayed address, and gives the allocation back.
async fn attempt(trial: &Trial, name: &str) -> Result<String, String> {
    let place = if name == "tls" { &trial.tls } else { &trial.plain };
    let address = lookup_host(place).await.map_err(|error| format!("{place}: {error}"))?.next();
    let address = address.ok_or_else(|| format!("{place} has no address"))?;
    let leg = match name {
        "udp" => Leg::udp(address).await,
        "tcp" => Leg::tcp(address).await,
        _ => Leg::tls(address, &trial.tls_host, Arc::clone(&trial.tls_config)).await,
    };
    let leg = leg.map_err(|error| format!("{address}: {error}"))?;
    let mut client = Client::new(leg, &trial.login);
    client.allocate().await.map(|allocated| {
        let (relayed, mapped, ms) = (allocated.relayed, allocated.mapped, allocated.took.as_millis());
        format!("{address} relays at {relayed}, sees us at {mapped}, allocated in {ms} ms")
    })
}

fn has_port(server: &str) -> bool {
    let after = server.rsplit_once(']').map_or(server, |(_, after)| after);
    after.contains(':') && server.parse::<std::net::Ipv6Addr>().is_err()
}

fn with_port(server: &str, port: u16) -> String {
    match server.parse::<std::net::Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]:{port}"),
        Err(_) if has_port(server) => server.to_owned(),
        Err(_) => format!("{server}:{port}"),
    }
}

fn tls_config(flags: &Flags) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if flags.insecure {
        let any = Arc::new(AnyCertificate(provider));
        return Ok(Arc::new(builder.dangerous().with_custom_certificate_verifier(any).with_no_client_auth()));
    }
    let mut roots = RootCertStore::empty();
    match &flags.ca {
        Some(file) => {
            let bad = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))?;
            for certificate in certificates {
                roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
            }
        }
        // Those of the system that cannot be read are not needed by most servers.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// For `--insecure`: an operator's own server, before it has its certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake and four round trips to the other side of the world, with a lost datagram among them.
const LEG_TIME_MAX: Duration = Duration::from_secs(5);

/// Used at once.
const CREDENTIAL_TTL_S: u64 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_a_port_gets_the_usual_one() {
        for (server, with) in [
            ("turn.example.org", "turn.example.org:3478"),
            ("turn.example.org:443", "turn.example.org:443"),
            ("192.0.2.1", "192.0.2.1:3478"),
            ("2001:db8::1", "[2001:db8::1]:3478"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::1]", "[2001:db8::1]:3478"),
        ] {
            assert_eq!(with_port(server, 3478), with, "{server}");
        }
    }
}

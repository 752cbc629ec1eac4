//! Whom callers trust: the system's authorities, and those of the scenario's file.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use super::ControlError;

/// TLS 1.2 and 1.3, as browsers. A system without authorities is no error here: plain HTTP needs none, and with HTTPS
/// every connection says so.
pub(super) fn config(ca_file: Option<&Path>) -> Result<ClientConfig, ControlError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = ca_file {
        add_file(&mut roots, file)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| ControlError::Http(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// Adds every certificate of a PEM file; one without any is a mistake worth a line.
fn add_file(roots: &mut RootCertStore, file: &Path) -> Result<(), ControlError> {
    let bad = |why: String| ControlError::BadCaFile(file.display().to_string(), why);
    let text = std::fs::read(file).map_err(|error| bad(error.to_string()))?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| bad(error.to_string()))?;
        roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        count += 1;
    }
    if count == 0 { Err(bad("there is no certificate in it".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        assert!(config(Some(&file)).unwrap_err().to_string().contains("ca.pem"), "a file that is not there");
        for wrong in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&file, wrong).unwrap();
            assert!(config(Some(&file)).unwrap_err().to_string().contains("ca.pem"), "{wrong:?}");
        }
        let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&file, own.cert.pem()).unwrap();
        assert!(config(Some(&file)).is_ok());
    }
}

//! Certificates: what is refused and in which words, and that a running relay changes them.

use std::fs;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;

use super::world::{ALLOCATE, Authority, Served, World, owned, secure, secure_to, settings};
use crate::front::certificates::{CertificateFiles, Certificates};
use crate::front::ports::{FrontSettings, Web};

const DAY: Duration = Duration::from_secs(86_400);

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn refused(files: &CertificateFiles) -> String {
    let error = Certificates::load(from_ref(files)).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// What a client of `name` is shown.
async fn shown(world: &World, authority: &Authority, name: &'static str) -> CertificateDer<'static> {
    let client = secure_to(name, world.connect().await, authority.client_config(&[])).await.unwrap();
    client.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[test]
fn files_that_are_no_certificate_and_key_are_refused_with_the_reason() {
    let (folder, authority) = (folder(), Authority::new());
    let good = authority.files(folder.path(), &["relay.example"]);
    let other = authority.files(folder.path(), &["other.example"]);
    let with = |certificate, key| refused(&CertificateFiles { certificate, key });
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let missing = with(folder.path().join("none.pem"), good.key.clone());
    assert!(missing.contains("none.pem") && missing.contains("No such file"), "{missing}");
    let swapped = with(good.key.clone(), good.certificate.clone());
    assert!(swapped.contains("relay.example.key: no certificate in it"), "{swapped}");
    let keyless = with(good.certificate.clone(), other.certificate.clone());
    assert!(keyless.contains("other.example.pem: no private key in it"), "{keyless}");
    let mismatch = with(good.certificate.clone(), other.key.clone());
    assert!(mismatch.contains("other.example.key is not the key of"), "{mismatch}");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let garbage = with(write("garbage.pem", garbage), good.key.clone());
    assert!(garbage.contains("garbage.pem: "), "{garbage}");
    let cut = with(write("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA"), good.key.clone());
    assert!(cut.contains("cut.pem: "), "{cut}");
    let large = with(write("large.pem", &"x".repeat(2 << 20)), good.key.clone());
    assert!(large.contains("large.pem: larger than"), "{large}");
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = with(good.certificate.clone(), write("locked.key", locked));
    assert!(locked.contains("locked.key: no private key in it"), "{locked}");
    assert!(Certificates::load(&[]).is_err());
}

#[test]
fn an_expired_certificate_is_refused_and_the_expiry_of_a_good_one_is_known() {
    let (folder, authority) = (folder(), Authority::new());
    let mut params = CertificateParams::new(owned(&["relay.example"])).unwrap();
    params.not_after = date_time_ymd(2020, 1, 1);
    let expired = refused(&authority.files_of(folder.path(), "expired", &params));
    assert!(expired.contains("expired.pem: expired ") && expired.ends_with(" days ago"), "{expired}");
    let expires_at = SystemTime::now() + 10 * DAY;
    params.not_after = expires_at.into();
    let soon = authority.files_of(folder.path(), "soon", &params);
    let later = authority.files(folder.path(), &["later.example"]);
    let certificates = Certificates::load(&[later, soon]).unwrap();
    let off = expires_at.duration_since(certificates.expires_at()).unwrap();
    assert!(off < Duration::from_secs(1), "{off:?}");
}

#[tokio::test]
async fn a_client_is_shown_the_certificate_of_the_name_it_asks_for() {
    let (folder, authority) = (folder(), Authority::new());
    let relay = authority.files(folder.path(), &["relay.example", "10.0.0.1"]);
    let wild = authority.files(folder.path(), &["meet.example", "*.meet.example"]);
    let certificates = Arc::new(Certificates::load(&[relay, wild]).unwrap());
    let world = World::start(FrontSettings { tls: Some(certificates), ..settings() }, Web::None).await;
    let relay = shown(&world, &authority, "relay.example").await;
    let meet = shown(&world, &authority, "meet.example").await;
    assert_ne!(relay, meet);
    assert_eq!(shown(&world, &authority, "b1.meet.example").await, meet);
    assert_eq!(shown(&world, &authority, "10.0.0.1").await, relay, "an address is no server name");
    let config = authority.client_config(&[]);
    assert!(secure_to("unknown.example", world.connect().await, config).await.is_err());
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_clients_and_running_ones_live_on() {
    let (folder, authority) = (folder(), Authority::new());
    let files = authority.files(folder.path(), &["relay.example"]);
    let certificates = Arc::new(Certificates::load(from_ref(&files)).unwrap());
    let tls = Some(Arc::clone(&certificates));
    let mut world = World::start(FrontSettings { tls, ..settings() }, Web::None).await;
    let old = shown(&world, &authority, "relay.example").await;
    let mut running = secure(world.connect().await, authority.client_config(&[])).await.unwrap();
    running.write_all(ALLOCATE).await.unwrap();
    let mut served = Served::new(world.stream().await);
    assert!(!certificates.reload().unwrap(), "nothing has changed");

    authority.files(folder.path(), &["relay.example"]);
    assert_eq!(shown(&world, &authority, "relay.example").await, old, "not before it is told to");
    assert!(certificates.reload().unwrap());
    let new = shown(&world, &authority, "relay.example").await;
    assert_ne!(new, old);

    running.write_all(b"more").await.unwrap();
    let all = [ALLOCATE, b"more"].concat();
    assert_eq!(served.read(all.len()).await, all);

    fs::write(&files.key, "nothing").unwrap();
    let reason = certificates.reload().unwrap_err().to_string();
    assert!(reason.contains("relay.example.key: no private key in it"), "{reason}");
    assert_eq!(shown(&world, &authority, "relay.example").await, new);
}

#[test]
fn a_self_signed_certificate_has_its_names_and_an_end() {
    let certificates = Certificates::self_signed(&owned(&["localhost", "127.0.0.1", "::1"])).unwrap();
    let left = certificates.expires_at().duration_since(SystemTime::now()).unwrap();
    assert!(left > 80 * DAY && left < 100 * DAY, "{left:?}");
    assert!(!certificates.reload().unwrap());
    assert!(Certificates::self_signed(&owned(&["gr\u{fc}n"])).is_err());
}

#[test]
fn no_key_is_ever_printed() {
    let (folder, authority) = (folder(), Authority::new());
    let certificates = Certificates::load(&[authority.files(folder.path(), &["relay.example"])]).unwrap();
    let printed = format!("{certificates:?}");
    assert!(printed.starts_with("Certificates { files: ") && !printed.contains("PRIVATE"), "{printed}");
}

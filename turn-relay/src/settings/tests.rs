//! Every key with a bad value is refused by its name.

use super::*;

fn good() -> RelaySettings {
    let secrets = vec![Secret::from("s".repeat(wire::settings::SECRET_BYTES_MIN))];
    RelaySettings { secrets, ..RelaySettings::default() }
}

fn refused_key(change: impl FnOnce(&mut RelaySettings)) -> &'static str {
    let mut settings = good();
    change(&mut settings);
    settings.check().unwrap_err().key
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn password(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

#[test]
fn the_defaults_lack_only_somebody_who_may_log_in() {
    assert_eq!(RelaySettings::default().check(), Ok(()));
    assert_eq!(RelaySettings::default().check_logins().unwrap_err().key, "secrets");
    assert_eq!(good().check_logins(), Ok(()));
    let users = BTreeMap::from([("anna".to_owned(), password("long enough to use"))]);
    assert_eq!(RelaySettings { users, ..RelaySettings::default() }.check_logins(), Ok(()));
}

#[test]
fn a_bad_listener_is_refused() {
    assert_eq!(refused_key(|it| it.listen = Vec::new()), "listen");
    assert_eq!(refused_key(|it| it.listen = addresses(&["0.0.0.0:443", "0.0.0.0:443"])), "listen");
    assert_eq!(refused_key(|it| it.listen = addresses(&["[::ffff:127.0.0.1]:443"])), "listen");
    assert_eq!(refused_key(|it| it.tls_listen = Some(addresses(&["0.0.0.0:1"; 17]))), "tls_listen");
    assert_eq!(refused_key(|it| it.rest_listen = "0.0.0.0:8090".parse().unwrap()), "rest_listen");
}

#[test]
fn credentials_that_clients_would_disagree_on_are_refused() {
    assert_eq!(refused_key(|it| it.realm = String::new()), "realm");
    assert_eq!(refused_key(|it| it.realm = "größe".to_owned()), "realm");
    assert_eq!(refused_key(|it| it.realm = "r".repeat(65)), "realm");
    assert_eq!(refused_key(|it| it.secrets = vec![password("short")]), "secrets");
    assert_eq!(refused_key(|it| it.secrets = vec![password("")]), "secrets");
    assert_eq!(refused_key(|it| it.secrets = vec![it.secrets[0].clone(); 9]), "secrets");
    for (name, word) in [
        ("", "long enough to use"),
        ("a:b", "long enough to use"),
        ("größe", "long enough to use"),
        ("anna", "too short"),
        ("anna", "größer als zwölf Zeichen"),
    ] {
        let users = BTreeMap::from([(name.to_owned(), password(word))]);
        assert_eq!(refused_key(|it| it.users = users), "users", "{name} {word}");
    }
}

#[test]
fn ports_and_addresses_that_allocations_cannot_have_are_refused() {
    assert_eq!(refused_key(|it| it.min_port = 80), "min_port");
    assert_eq!(refused_key(|it| (it.min_port, it.max_port) = (50_000, 49_999)), "max_port");
    assert_eq!(refused_key(|it| (it.min_port, it.max_port, it.shards) = (50_000, 50_009, 4)), "max_port");
    assert_eq!(refused_key(|it| it.shards = 65), "shards");
    for wrong in ["", "0.0.0.0", "10.0.0.1/::1", "meet.example"] {
        assert_eq!(refused_key(|it| it.relay_addresses = texts(&[wrong])), "relay_addresses", "{wrong}");
    }
}

#[test]
fn tls_that_cannot_work_is_refused() {
    let nowhere = || Some(PathBuf::from("/nonexistent/relay.pem"));
    assert_eq!(refused_key(|it| it.certificate = nowhere()), "key");
    assert_eq!(refused_key(|it| it.key = nowhere()), "certificate");
    assert_eq!(refused_key(|it| (it.certificate, it.key) = (nowhere(), nowhere())), "certificate");
    let backend: SocketAddr = "10.0.0.7:443".parse().unwrap();
    let passthrough = BTreeMap::from([("not a name".to_owned(), backend)]);
    assert_eq!(refused_key(|it| it.passthrough = passthrough), "passthrough");
    assert_eq!(refused_key(|it| it.trusted_proxies = texts(&["10.0.0.0/33"])), "trusted_proxies");
}

#[test]
fn numbers_out_of_their_range_are_refused() {
    assert_eq!(refused_key(|it| it.lifetime_max_s = 599), "lifetime_max_s");
    assert_eq!(refused_key(|it| it.nonce_lifetime_s = 0), "nonce_lifetime_s");
    assert_eq!(refused_key(|it| it.drain_s = 86_401), "drain_s");
    assert_eq!(refused_key(|it| it.relay_buffer_bytes = 0), "relay_buffer_bytes");
    assert_eq!(refused_key(|it| it.limits.allocations_max = 0), "limits.allocations_max");
    assert_eq!(refused_key(|it| it.limits.half_open_max = 0), "limits.half_open_max");
}

#[test]
fn a_policy_that_is_none_is_refused_by_its_list() {
    assert_eq!(refused_key(|it| it.policy.allow = texts(&["10.0.0.5/8"])), "policy.allow");
    assert_eq!(refused_key(|it| it.policy.allow = texts(&["127.0.0.1"])), "policy.allow");
    assert_eq!(refused_key(|it| it.policy.deny = texts(&["everything"])), "policy.deny");
    assert_eq!(refused_key(|it| it.policy.ports = "0-5".to_owned()), "policy.ports");
    assert_eq!(refused_key(|it| it.policy.bridges = texts(&["203.0.113.4"])), "policy.bridges");
    assert_eq!(refused_key(|it| it.policy.bridges = texts(&["127.0.0.1:3478"])), "policy.bridges");
    assert_eq!(refused_key(|it| it.policy.bridges = texts(&["224.0.0.1:10000"])), "policy.bridges");
    assert_eq!(refused_key(|it| it.policy.bridges_from = "127.0.0.1:8888".to_owned()), "policy.bridges_from");
    assert_eq!(refused_key(|it| it.policy.allow = texts(&["10.0.0.5:1"; 1001])), "policy.allow");
    let pair = ["203.0.113.4", "fd00::5"].map(|ip| ip.parse().unwrap());
    assert_eq!(
        refused_key(|it| it.policy.peer_map = BTreeMap::from([(pair[0], pair[1])])),
        "policy.peer_map"
    );
}

#[test]
fn port_443_is_one_setting() {
    let one = RelaySettings { listen: addresses(&["0.0.0.0:443", "[::]:443"]), ..good() };
    assert!(one.tls_listen().is_empty());
    assert_eq!(good().tls_listen(), addresses(&["0.0.0.0:5349", "[::]:5349"]));
    let twice = RelaySettings { tls_listen: Some(one.listen.clone()), ..one };
    assert!(twice.tls_listen().is_empty());
    assert_eq!(twice.check(), Ok(()));
}

#[test]
fn every_shard_has_ports_of_its_own_and_pairs_stay_together() {
    for (min_port, max_port, shards) in [(49_152, 65_535, 2), (50_001, 50_100, 3), (1_024, 65_535, 7)] {
        let settings = RelaySettings { min_port, max_port, ..good() };
        let mut last = min_port - 1;
        for shard in 0..shards {
            let ports = settings.ports_of(shard, shards);
            assert!(
                *ports.start() > last && ports.start().is_multiple_of(2) && ports.end() % 2 == 1,
                "{ports:?}"
            );
            last = *ports.end();
        }
        assert!(last <= max_port);
    }
}

#[test]
fn what_a_forged_address_is_sent_does_not_grow_with_the_shards() {
    let mut limits = LimitsSection::default();
    let of_four = limits.of_shard(4);
    assert_eq!((of_four.unauthenticated_replies_per_s, of_four.binding_replies_per_s), (3, 13));
    assert_eq!(of_four.allocations_max, limits.allocations_max / 4);
    limits.unauthenticated_replies_per_s = 0;
    assert_eq!(limits.of_shard(4).unauthenticated_replies_per_s, 0, "no limit stays none");
}

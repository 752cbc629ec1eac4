//! The policy against a model of it that shares nothing with it: addresses are numbers, ranges are written down as text, and
//! nothing is asked of the standard library's address types.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use turn_relay::engine::policy::range::IpRange;
use turn_relay::engine::policy::rules::{Decision, PeerPolicy, PeerQuestion, PortQuestion, Scope};
use turn_relay::engine::policy::settings::{AllowEntry, BridgePeers, PolicyMode, PolicySettings};

/// An address: how many bits, and which.
type Number = (u32, u128);
/// Bits, first and last.
type Span = (u32, u128, u128);

/// The registries, as an operator would copy them. The second column: no rule opens it.
const SPECIAL: &str = "
    0.0.0.0/8 never         10.0.0.0/8 -          100.64.0.0/10 -       127.0.0.0/8 -        169.254.0.0/16 -
    172.16.0.0/12 -         192.0.0.0/24 -        192.0.2.0/24 -        192.31.196.0/24 -    192.52.193.0/24 -
    192.88.99.0/24 -        192.168.0.0/16 -      192.175.48.0/24 -     198.18.0.0/15 -      198.51.100.0/24 -
    203.0.113.0/24 -        224.0.0.0/4 never     240.0.0.0/4 -         255.255.255.255/32 never
    0:0:0:0:0:0:0:0/128 never        0:0:0:0:0:0:0:1/128 -            0:0:0:0:0:ffff:0:0/96 never
    0:0:0:0:ffff:0:0:0/96 never      64:ff9b:0:0:0:0:0:0/96 never     64:ff9b:1:0:0:0:0:0/48 never
    100:0:0:0:0:0:0:0/64 -           100:0:0:1:0:0:0:0/64 -           2001:0:0:0:0:0:0:0/32 never
    2001:0:0:0:0:0:0:0/23 -          2001:db8:0:0:0:0:0:0/32 -        2002:0:0:0:0:0:0:0/16 never
    2620:4f:8000:0:0:0:0:0/48 -      3fff:0:0:0:0:0:0:0/20 -          5f00:0:0:0:0:0:0:0/16 -
    fc00:0:0:0:0:0:0:0/7 -           fe80:0:0:0:0:0:0:0/10 -          fec0:0:0:0:0:0:0:0/10 -
    ff00:0:0:0:0:0:0:0/8 never";

/// `a.b.c.d/n` or eight groups and `/n`, by arithmetic.
fn span(text: &str) -> Span {
    let (address, length) = text.split_once('/').unwrap();
    let (bits, radix, group) = if address.contains('.') { (32, 10, 8) } else { (128, 16, 16) };
    let parts = address.split(['.', ':']).map(|part| u128::from_str_radix(part, radix).unwrap());
    let first = parts.fold(0, |number, part| number * (1 << group) + part);
    let size = size_of_prefix(bits, length.parse().unwrap());
    (bits, first, first + (size - 1))
}

/// How many addresses share a prefix; a prefix of no bits of IPv6 is never asked for.
fn size_of_prefix(bits: u32, length: u32) -> u128 {
    (0..bits - length).fold(1, |size, _| size * 2)
}

fn special() -> Vec<(Span, bool)> {
    let words: Vec<&str> = SPECIAL.split_whitespace().collect();
    words.chunks(2).map(|pair| (span(pair[0]), pair[1] == "never")).collect()
}

fn within(address: Number, span: Span) -> bool {
    address.0 == span.0 && span.1 <= address.1 && address.1 <= span.2
}

/// ::/96 but for :: and ::1, and the identifiers of ISATAP under any prefix.
fn hides_more(address: Number) -> bool {
    let low = address.1 % (1 << 64);
    let isatap = [0x5efe_u128, 0x0200_5efe].contains(&(low >> 32));
    address.0 == 128 && (isatap || address.1 > 1 && address.1 < 1 << 32)
}

/// What the model knows of the settings.
#[derive(Debug, Default)]
struct Model {
    public: bool,
    ports: Vec<RangeInclusive<u16>>,
    allow: Vec<(Span, Option<RangeInclusive<u16>>)>,
    deny: Vec<Span>,
    bridges: Vec<(Number, u16)>,
    own: Vec<Number>,
    listeners: Vec<u16>,
}

impl Model {
    fn allows(&self, special: &[(Span, bool)], address: Number, port: u16) -> bool {
        let classes: Vec<bool> =
            special.iter().filter(|(span, _)| within(address, *span)).map(|(_, never)| *never).collect();
        let is_loopback = address.0 == 32 && address.1 / (1 << 24) == 127 || address == (128, 1);
        let is_own = is_loopback || self.own.contains(&address);
        if classes.contains(&true) || hides_more(address) {
            return false;
        }
        if is_own && self.listeners.contains(&port) || self.deny.iter().any(|span| within(address, *span)) {
            return false;
        }
        let in_policy_ports = self.ports[0].contains(&port);
        let is_bridge = self.bridges.contains(&(address, port));
        let is_listed = self.allow.iter().any(|(span, ports)| {
            let is_explicit = ports.is_some() && span.1 == span.2;
            within(address, *span)
                && (is_explicit || !is_own)
                && ports.as_ref().map_or(in_policy_ports, |ports| ports.contains(&port))
        });
        is_bridge || is_listed || self.public && !is_own && classes.is_empty() && in_policy_ports
    }
}

fn ip(address: Number) -> IpAddr {
    if address.0 == 32 {
        IpAddr::V4(Ipv4Addr::from_bits(address.1 as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(address.1))
    }
}

fn max_of(bits: u32) -> u128 {
    if bits == 32 { u128::from(u32::MAX) } else { u128::MAX }
}

/// An address at or near an end of something, in something, or anywhere.
fn draw(random: &mut StdRng, spans: &[Span]) -> Number {
    let (bits, first, last) = spans[random.random_range(0..spans.len())];
    let number = match random.random_range(0..7) {
        0 => first,
        1 => last,
        2 => first.saturating_sub(1),
        3 => last.saturating_add(1).min(max_of(bits)),
        4 => random.random_range(first..=last),
        5 => random.random_range(0..=max_of(bits)),
        // An IPv4 address in one of the forms that hide one.
        _ => return (128, disguised(random)),
    };
    (bits, number)
}

fn disguised(random: &mut StdRng) -> u128 {
    let v4: u128 = random.random::<u32>().into();
    let prefix: u128 = random.random::<u64>().into();
    match random.random_range(0..6) {
        0 => 0xffff << 32 | v4,
        1 => v4,
        2 => 0x0064_ff9b << 96 | v4,
        3 => 0x2002 << 112 | v4 << 80 | prefix,
        4 => 0x2001 << 112 | prefix << 32 | (v4 ^ 0xffff_ffff),
        _ => prefix << 64 | 0x5efe << 32 | v4,
    }
}

/// A CIDR prefix, or two ends that are none.
fn draw_span(random: &mut StdRng, spans: &[Span]) -> (Span, String) {
    let (bits, number) = draw(random, spans);
    if random.random_bool(0.7) {
        let length = random.random_range(1..=bits);
        let size = size_of_prefix(bits, length);
        let first = number - number % size;
        return ((bits, first, first + (size - 1)), format!("{}/{length}", ip((bits, first))));
    }
    let last = number.saturating_add(random.random_range(0..100_000)).min(max_of(bits));
    ((bits, number, last), format!("{}-{}", ip((bits, number)), ip((bits, last))))
}

fn settings(random: &mut StdRng, spans: &mut Vec<Span>) -> (PolicySettings, Model) {
    let mut model = Model { public: random.random(), ..Model::default() };
    let first = random.random_range(1..2_000);
    model.ports.push(first..=random.random_range(first..=u16::MAX));
    let mut settings = PolicySettings {
        mode: if model.public { PolicyMode::Public } else { PolicyMode::Allow },
        ports: model.ports[0].clone(),
        ..PolicySettings::default()
    };
    for _ in 0..random.random_range(0..4) {
        let (range, text) = draw_span(random, spans);
        model.deny.push(range);
        settings.deny.push(text.parse().unwrap());
        spans.push(range);
    }
    for _ in 0..random.random_range(0..6) {
        let (range, text) = draw_span(random, spans);
        model.allow.push((range, None));
        settings.allow.push(text.parse().unwrap());
        spans.push(range);
    }
    for _ in 0..random.random_range(0..4) {
        let address = draw(random, spans);
        let first = random.random_range(1..60_000);
        let ports = first..=random.random_range(first..=u16::MAX);
        let text = match ip(address) {
            IpAddr::V4(ip) => format!("{ip}:{first}-{}", ports.end()),
            IpAddr::V6(ip) => format!("[{ip}]:{first}-{}", ports.end()),
        };
        model.allow.push(((address.0, address.1, address.1), Some(ports)));
        settings.allow.push(text.parse::<AllowEntry>().unwrap());
        spans.push((address.0, address.1, address.1));
    }
    for _ in 0..random.random_range(0..3) {
        let (address, port) = (draw(random, spans), random.random_range(1..=u16::MAX));
        model.bridges.push((address, port));
        let addresses = vec![SocketAddr::new(ip(address), port)];
        settings.bridges.push(BridgePeers { name: "bridge".to_owned(), addresses });
        spans.push((address.0, address.1, address.1));
    }
    for _ in 0..random.random_range(0..3) {
        let address = draw(random, spans);
        model.own.push(address);
        settings.own_addresses.push(ip(address));
        spans.push((address.0, address.1, address.1));
    }
    let listener = random.random_range(1..=u16::MAX);
    model.listeners.push(listener);
    settings.own_listeners.push(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), listener));
    (settings, model)
}

/// Ports at which something changes.
fn ports_of(model: &Model) -> Vec<u16> {
    let ranges = model.allow.iter().filter_map(|(_, ports)| ports.as_ref()).chain(&model.ports);
    let ends = ranges.flat_map(|ports| [*ports.start(), *ports.end()]);
    let all = ends.chain(model.bridges.iter().map(|(_, port)| *port)).chain(model.listeners.iter().copied());
    all.flat_map(|port| [port.saturating_sub(1), port, port.saturating_add(1)]).collect()
}

#[test]
fn the_policy_decides_as_its_model_for_a_hundred_thousand_addresses() {
    let special = special();
    let mut random = StdRng::seed_from_u64(8656);
    let (mut asked, mut allowed, mut policies, mut refused) = (0, 0, 0, 0);
    while asked < 100_000 {
        let mut spans: Vec<Span> = special.iter().map(|(span, _)| *span).collect();
        let (settings, model) = settings(&mut random, &mut spans);
        let Ok(policy) = PeerPolicy::new(settings) else {
            refused += 1;
            continue;
        };
        policies += 1;
        let ports = ports_of(&model);
        let decides = |ip, port| {
            let question = PeerQuestion { ip, port, scope: Scope::Everywhere };
            matches!(policy.decide(&question), Decision::Allowed(_))
        };
        for _ in 0..100 {
            let address = draw(&mut random, &spans);
            let port = ports[random.random_range(0..ports.len())];
            let expected = model.allows(&special, address, port);
            let found = decides(ip(address), PortQuestion::Number(port));
            assert_eq!(found, expected, "{} port {port} under {model:?}", ip(address));
            if asked % 4 == 0 {
                let any = ports.iter().any(|port| model.allows(&special, address, *port));
                assert_eq!(decides(ip(address), PortQuestion::Any), any, "{} under {model:?}", ip(address));
            }
            let explanation = policy.explain(ip(address), PortQuestion::Number(port));
            assert_eq!(matches!(explanation.decision, Decision::Allowed(_)), expected);
            asked += 1;
            allowed += u32::from(expected);
        }
    }
    assert!(policies >= 1_000 && refused > 100, "{policies} policies, {refused} refused");
    assert!(allowed > 10_000, "{allowed} of {asked} allowed: both answers are tested");
}

#[test]
fn a_range_holds_what_its_text_says_for_a_hundred_thousand_addresses() {
    let mut random = StdRng::seed_from_u64(6156);
    let all = [(32, 0, max_of(32)), (128, 0, max_of(128))];
    for _ in 0..10_000 {
        let (range, text) = draw_span(&mut random, &all);
        let parsed: IpRange = text.parse().unwrap();
        for _ in 0..10 {
            let address = draw(&mut random, &[range]);
            assert_eq!(parsed.contains(ip(address)), within(address, range), "{} in {text}", ip(address));
        }
    }
}

#[test]
fn a_line_that_opens_more_than_its_writer_meant_stops_the_start() {
    for line in [
        "10.0.0.5/8",
        "10.0.0.0/33",
        "10.0.0",
        "::ffff:10.0.0.5",
        "64:ff9b::1",
        "2002::1",
        "0.0.0.0",
        "224.0.0.1",
        "::",
        "ff02::1",
        "127.0.0.1",
        "::1",
        "127.0.0.1:0",
        "[::1]:0-5",
        "[::1]:70000",
        "[::1",
        "10.0.0.5:",
        "10.0.0.5:5-4",
        "255.255.255.255:9",
        "192.0.2.1",
        "127.0.0.1:3478",
        "localhost:1000",
    ] {
        let parsed = line.parse::<AllowEntry>().and_then(|entry| {
            PeerPolicy::new(PolicySettings {
                allow: vec![entry],
                own_addresses: vec!["192.0.2.1".parse().unwrap()],
                own_listeners: vec!["0.0.0.0:3478".parse().unwrap()],
                ..PolicySettings::default()
            })
        });
        assert!(parsed.is_err(), "{line}");
        assert!(!parsed.unwrap_err().to_string().is_empty());
    }
    for line in ["127.0.0.1:10000", "[::1]:10000-10003", "10.0.0.0/8", "fd00::/8", "192.0.2.1:10000"] {
        let allow = vec![line.parse::<AllowEntry>().unwrap()];
        assert!(PeerPolicy::new(PolicySettings { allow, ..PolicySettings::default() }).is_ok(), "{line}");
    }
    let bridge =
        |address: &str| BridgePeers { name: "b".to_owned(), addresses: vec![address.parse().unwrap()] };
    for address in ["[::ffff:10.0.0.5]:10000", "0.0.0.0:10000", "127.0.0.1:3478"] {
        let settings = PolicySettings {
            bridges: vec![bridge(address)],
            own_listeners: vec!["[::]:3478".parse().unwrap()],
            ..PolicySettings::default()
        };
        assert!(PeerPolicy::new(settings).is_err(), "{address}");
    }
}

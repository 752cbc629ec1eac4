use super::*;

const PWD: &str = "passwordpasswordpassword";

struct World {
    start: Instant,
    ice: Ice,
    transmits: Transmits,
}

impl World {
    fn started() -> Self {
        let start = Instant::now();
        let mut ice = Ice::new(start, 5);
        let server = IceCredentials { ufrag: "them".to_owned(), pwd: PWD.to_owned() };
        ice.start(start, &server, SocketAddr::from(([192, 0, 2, 1], 1_000)));
        Self { start, ice, transmits: Transmits::default() }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    /// What is said at `ms`.
    fn say(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let now = self.at(ms);
        self.ice.handle_timeout(now, &mut self.transmits);
        self.said()
    }

    fn said(&mut self) -> Vec<Vec<u8>> {
        let said = self.transmits.iter().map(<[u8]>::to_vec).collect();
        self.transmits.clear();
        said
    }

    fn hear(&mut self, ms: u64, datagram: &[u8]) -> Option<IceEvent> {
        let now = self.at(ms);
        self.ice.handle_datagram(now, datagram, &mut self.transmits)
    }
}

fn answer(check: &[u8], pwd: &str) -> Vec<u8> {
    let check = Message::parse(check).unwrap();
    Builder::answer(&check, Class::Success).sign(pwd.as_bytes()).fingerprint()
}

#[test]
fn a_check_says_what_rfc_8445_asks_for() {
    let mut world = World::started();
    let checks = world.say(0);
    let check = Message::parse(&checks[0]).unwrap();
    assert_eq!((check.class(), check.method()), (Class::Request, Method::BINDING));
    assert_eq!(check.username(), Some(&*format!("them:{}", world.ice.own.ufrag)));
    assert!(check.verify_integrity(PWD.as_bytes()) && check.verify_fingerprint());
    assert!(check.use_candidate() && check.controlling().is_some() && check.priority().is_some());
}

#[test]
fn checks_come_quickly_at_first_and_then_seldom() {
    let mut world = World::started();
    let times: Vec<u64> = (0..4_000).filter(|ms| !world.say(*ms).is_empty()).collect();
    assert_eq!(times, [0, 100, 200, 300, 400, 500, 700, 1_100, 1_900, 2_700, 3_500]);
}

#[test]
fn only_a_signed_answer_to_a_check_of_ours_connects() {
    let mut world = World::started();
    let check = world.say(0).remove(0);
    assert_eq!(world.hear(1, &answer(&check, "another password of 24..")), None);
    let mut foreign = check.clone();
    foreign[19] ^= 1;
    assert_eq!(world.hear(1, &answer(&foreign, PWD)), None, "a check that was not sent yet");
    foreign[10] ^= 1;
    assert_eq!(world.hear(1, &answer(&foreign, PWD)), None);
    assert_eq!(world.hear(2, &answer(&check, PWD)), Some(IceEvent::Connected));
    assert!(world.ice.was_heard_at(world.at(2)));
}

#[test]
fn an_earlier_answer_counts_once_and_connects_once() {
    let mut world = World::started();
    let (first, second) = (world.say(0).remove(0), world.say(100).remove(0));
    assert_eq!(world.hear(150, &answer(&first, PWD)), Some(IceEvent::Connected));
    assert_eq!(world.hear(160, &answer(&second, PWD)), None);
    assert_eq!(world.hear(9_000, &answer(&first, PWD)), None);
    assert!(!world.ice.was_heard_at(world.at(9_000)), "an old answer is no sign of life");
}

#[test]
fn the_round_trip_is_that_of_the_check_that_was_answered() {
    let mut world = World::started();
    let checks: Vec<Vec<u8>> = [0, 100, 200].map(|ms| world.say(ms).remove(0)).into();
    assert_eq!(world.ice.round_trip(), None);
    world.hear(250, &answer(&checks[0], PWD));
    assert_eq!(world.ice.round_trip(), Some(Duration::from_millis(250)));
    world.hear(350, &answer(&checks[1], PWD));
    assert_eq!(world.ice.round_trip(), Some(Duration::from_millis(250)));
    world.hear(250, &answer(&checks[2], PWD));
    assert_eq!(world.ice.round_trip(), Some(Duration::from_millis(190)), "three tenths of 50 ms");
}

#[test]
fn the_round_trip_of_a_check_of_long_ago_is_not_known() {
    let mut world = World::started();
    let first = world.say(0).remove(0);
    let checks = (1..6_000).filter(|ms| !world.say(*ms).is_empty()).count();
    assert!(checks > TIMED_CHECKS);
    assert_eq!(world.hear(6_000, &answer(&first, PWD)), Some(IceEvent::Connected));
    assert_eq!(world.ice.round_trip(), None);
}

#[test]
fn a_path_that_came_back_may_be_lost_again() {
    let mut world = World::started();
    let mut lost_at = Vec::new();
    for ms in 0..45_000 {
        let now = world.at(ms);
        let event = world.ice.handle_timeout(now, &mut world.transmits);
        lost_at.extend(event.map(|_| ms));
        for check in world.said() {
            if (20_000..21_000).contains(&ms) {
                world.hear(ms, &answer(&check, PWD));
            }
        }
    }
    assert_eq!(lost_at.len(), 2, "{lost_at:?}");
    assert!(lost_at[0] < 16_000 && (35_000..37_000).contains(&lost_at[1]), "{lost_at:?}");
}

#[test]
fn an_answered_path_is_asked_again_after_about_five_seconds() {
    let mut world = World::started();
    let check = world.say(0).remove(0);
    world.hear(10, &answer(&check, PWD));
    let next = world.ice.next_timeout().unwrap();
    assert!((world.at(4_010)..=world.at(6_010)).contains(&next));
}

#[test]
fn a_server_that_checks_is_answered_under_our_password_only() {
    let mut world = World::started();
    let own = world.ice.own.clone();
    let check = |username: &str, pwd: &str| {
        Builder::new(Class::Request, Method::BINDING, TransactionId([7; 12]))
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::ICE_CONTROLLED, &7_u64.to_be_bytes())
            .sign(pwd.as_bytes())
            .fingerprint()
    };
    for (username, pwd) in [(format!("{}:them", own.ufrag), PWD), ("us:them".to_owned(), &*own.pwd)] {
        world.hear(1, &check(&username, pwd));
        assert!(world.said().is_empty(), "{username}");
    }
    world.hear(1, &check(&format!("{}:them", own.ufrag), &own.pwd));
    let said = world.said();
    let answer = Message::parse(&said[0]).unwrap();
    assert_eq!((answer.class(), answer.transaction_id()), (Class::Success, TransactionId([7; 12])));
    assert_eq!(answer.xor_mapped_address(), Some(SocketAddr::from(([192, 0, 2, 1], 1_000))));
    assert!(answer.verify_integrity(own.pwd.as_bytes()));
}

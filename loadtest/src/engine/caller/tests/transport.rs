//! Joining, staying, leaving.

use super::*;

#[test]
fn a_caller_joins_under_either_profile_and_in_either_role() {
    for profile in [Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80] {
        for server in [Server::passive(profile), Server::active(profile)] {
            let mut world = World::new(|now| plan(now, (1, 1)), server);
            world.answer();
            world.run(500);
            assert_eq!(world.notes, [Note::IceConnected, Note::DtlsConnected]);
            assert!(world.server.has_keys() && !world.server.rtp.is_empty(), "{profile:?}");
        }
    }
}

#[test]
fn the_profile_is_the_callers_first_where_the_server_follows_it() {
    let orders = [
        (Identity::generate(), Profile::AeadAes128Gcm),
        (Identity::generate_in_chromium_order(), Profile::Aes128CmSha1_80),
    ];
    for (identity, expected) in orders {
        let mut world = World::new(|now| plan(now, (1, 1)), Server::following());
        world.caller = Caller::new(world.now, plan(world.now, (1, 1)), Arc::new(identity.unwrap()));
        world.answer();
        world.run(300);
        assert!(world.server.has_keys() && !world.server.rtp.is_empty());
        assert_eq!(world.server.profile, expected);
    }
}

#[test]
fn nothing_is_sent_before_the_answer() {
    let mut world = World::new(|now| plan(now, (0, 0)), Server::passive(Profile::AeadAes128Gcm));
    assert_eq!(world.caller.next_timeout(), None);
    world.run(100);
    assert_eq!(world.said, 0);
}

#[test]
fn a_join_survives_the_loss_of_any_of_its_datagrams() {
    for lost in [|n| n == 0, |n| n == 1, |n| n == 2, |n| n == 3, |n| n == 4, |n| n < 4, |n| n % 2 == 0] {
        let mut world = World::answered(Profile::AeadAes128Gcm);
        world.lost = lost;
        world.run(4_000);
        assert_eq!(world.notes[..2], [Note::IceConnected, Note::DtlsConnected]);
    }
}

#[test]
fn consent_is_asked_for_each_five_seconds_or_so() {
    let mut world = World::joined();
    let before = world.server.checks;
    world.run(60_000);
    let checks = world.server.checks - before;
    assert!((10..=15).contains(&checks), "{checks} in a minute");
    assert!(!world.notes.contains(&Note::PathLost));
}

#[test]
fn a_dead_server_is_noticed_after_15_s_and_left_alone_after_30() {
    let mut world = World::joined();
    world.is_dead = true;
    world.run(14_900);
    assert!(!world.notes.contains(&Note::PathLost));
    world.run(6_500);
    assert_eq!(world.notes.iter().filter(|note| **note == Note::PathLost).count(), 1);
    world.run(10_000);
    let said = world.said;
    world.run(5_000);
    assert_eq!((world.said, world.caller.next_timeout()), (said, None));
}

#[test]
fn a_server_that_never_answers_is_a_lost_path() {
    let mut world = World::answered(Profile::AeadAes128Gcm);
    world.is_dead = true;
    world.run(17_000);
    assert_eq!(world.notes, [Note::PathLost]);
}

#[test]
fn a_hang_up_is_heard_by_the_server_and_is_the_end() {
    for server in [Server::passive(Profile::AeadAes128Gcm), Server::active(Profile::AeadAes128Gcm)] {
        let mut world = World::new(|now| plan(now, (1, 1)), server);
        world.answer();
        world.run(1_000);
        world.caller.hang_up(&mut world.workspace);
        world.exchange();
        assert!(world.server.is_closed);
        let said = world.said;
        world.run(1_000);
        world.caller.hang_up(&mut world.workspace);
        world.exchange();
        assert_eq!((world.said, world.caller.next_timeout()), (said, None));
    }
}

#[test]
fn a_hang_up_before_there_are_keys_says_nothing() {
    let mut world = World::answered(Profile::AeadAes128Gcm);
    world.caller.hang_up(&mut world.workspace);
    world.run(100);
    assert_eq!(world.said, 0);
}

#[test]
fn a_server_with_another_certificate_gets_no_media() {
    let mut world = World::new(|now| plan(now, (1, 1)), Server::passive(Profile::AeadAes128Gcm));
    let other = Server::passive(Profile::AeadAes128Gcm).answer(&world.caller.offer()).to_string();
    world.caller.handle_answer(world.now, &other).unwrap();
    world.run(1_000);
    let reason = "the server's certificate is not the one that the answer names";
    assert_eq!(world.notes, [Note::IceConnected, Note::DtlsFailed(reason)]);
    assert!(world.server.rtp.is_empty());
}

#[test]
fn callers_of_one_seed_say_the_same_and_others_do_not() {
    let now = Instant::now();
    let offer = |number, seed| {
        let plan = CallerPlan { number, seed, ..plan(now, (1, 1)) };
        Caller::new(now, plan, Arc::clone(&IDENTITY)).offer()
    };
    assert_eq!(offer(1, 2), offer(1, 2));
    assert!(offer(1, 2) != offer(1, 3) && offer(1, 2) != offer(2, 2));
}

#[test]
fn a_second_answer_is_refused_and_changes_nothing() {
    let mut world = World::joined();
    let answer = world.server.answer(&world.caller.offer()).to_string();
    assert!(world.caller.handle_answer(world.now, &answer).is_err());
    world.run(1_000);
    assert!(!world.server.rtp.is_empty());
}

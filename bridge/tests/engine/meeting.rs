//! Meetings of model browsers through the engine: what they see and hear.

use wire::messages::link::EndpointEvent;

use crate::world::browser::Browser;
use crate::world::{World, secs};

#[test]
fn three_participants_see_and_hear_each_other() {
    let mut world = World::new();
    let all: Vec<usize> = (1..=3).map(|number| world.join(Browser::talker(number))).collect();
    world.run(secs(5));
    for receiver in &all {
        for sender in all.iter().filter(|sender| *sender != receiver) {
            let (video, audio) = (world.browsers[*sender].video(), world.browsers[*sender].audio());
            let frames = world.browsers[*receiver].frames_of(&video);
            assert!(frames > 100, "{receiver} sees {frames} frames of {video} in 5 s");
            let heard = world.browsers[*receiver].frames_of(&audio);
            assert!(heard > 200, "{receiver} hears {heard} packets of {audio} in 5 s");
        }
        let own = (world.browsers[*receiver].video(), world.browsers[*receiver].audio());
        assert_eq!(
            world.browsers[*receiver].frames_of(&own.0) + world.browsers[*receiver].frames_of(&own.1),
            0
        );
        world.browsers[*receiver].slots.values().for_each(|slot| slot.assert_continuous());
    }
    let connected = world.notices.iter().filter(|notice| notice.event == EndpointEvent::Connected).count();
    assert_eq!((connected, world.notices.len()), (3, 3));
}

//! What a full caller does without a server: it offers, refuses what it cannot do, and survives bad answers.

use std::time::Instant;

use rtc::sdp::extmap::{SDES_MID_URI, SDES_RTP_STREAM_ID_URI, TRANSPORT_CC_URI};
use wire::sdp::{self, Direction, MediaType};

use super::*;
use crate::engine::stamp::Clock;
use crate::scenario::{Camera, Receive, Screen, Voice};

fn plan() -> CallerPlan {
    CallerPlan {
        number: 3,
        seed: 5,
        clock: Clock { number: 1, epoch: Instant::now() },
        voice: Some(Voice::default()),
        camera: Some(Camera::default()),
        screen: Some(Screen::default()),
        receive: Receive::default(),
    }
}

fn phone(path: PathPlan) -> FullPhone {
    FullCallers::new().phone(plan(), path, 0)
}

const SLOTS: SlotCounts = SlotCounts { audio: 1, video: 2 };

#[tokio::test]
async fn an_offer_has_its_m_lines_in_the_order_of_a_light_callers() {
    let mut phone = phone(PathPlan::default());
    let offer = sdp::parse(&phone.offer(SLOTS, None).await.unwrap()).unwrap();
    let lines: Vec<_> =
        offer.medias.iter().map(|media| (media.kind.clone(), media.direction.unwrap())).collect();
    let (send, receive) = (Direction::SendOnly, Direction::ReceiveOnly);
    let expected = [
        (MediaType::Audio, send),
        (MediaType::Video, send),
        (MediaType::Video, send),
        (MediaType::Audio, receive),
        (MediaType::Video, receive),
        (MediaType::Video, receive),
    ];
    assert_eq!(lines, expected);
    let camera = &offer.medias[1];
    assert_eq!((camera.rids.len(), camera.simulcast.as_ref().unwrap().send.len()), (3, 3));
    assert!(camera.payloads.iter().any(|payload| payload.is("rtx")), "{camera:?}");
    let feedback = &camera.payloads[0].feedback;
    for kind in ["nack", "nack pli", "ccm fir", "transport-cc"] {
        assert!(feedback.iter().any(|each| each == kind), "{kind}: {feedback:?}");
    }
    let uris: Vec<&str> = camera.extensions.iter().map(|extension| extension.uri.as_str()).collect();
    for uri in [SDES_MID_URI, SDES_RTP_STREAM_ID_URI, TRANSPORT_CC_URI] {
        assert!(uris.contains(&uri), "{uri}: {uris:?}");
    }
    phone.hang_up().await;
    assert_eq!(phone.note().await, None, "there is no connection any more");
}

#[tokio::test]
async fn what_a_full_caller_cannot_do_is_refused_in_one_line() {
    let relayed = |path| PathPlan { path, ..PathPlan::default() };
    let lossy = PathPlan { link: Some(Link { loss: 0.1, ..Link::default() }), ..PathPlan::default() };
    for (path, word) in [
        (relayed(MediaPath::RelayTcp), "UDP only"),
        (relayed(MediaPath::RelayTls), "UDP only"),
        (relayed(MediaPath::RelayUdp), "none is named"),
        (lossy, "impaired"),
    ] {
        let error = phone(path).offer(SLOTS, None).await.unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains('\n'), "{error}");
    }
}

#[tokio::test]
async fn a_bad_answer_is_refused_and_so_is_one_that_nobody_waits_for() {
    let mut phone = phone(PathPlan::default());
    assert_eq!(phone.answer("v=0").await, Err(PhoneError::NoOffer));
    let offer = phone.offer(SLOTS, None).await.unwrap();
    let without_keys = offer.replace("a=fingerprint", "a=footprint").replace("actpass", "passive");
    for answer in ["", "hello", "v=0\r\n", &offer[..offer.len() / 3], &without_keys] {
        let refused = phone.answer(answer).await.unwrap_err();
        assert!(matches!(refused, PhoneError::BadAnswer(_)), "{answer}: {refused}");
    }
    phone.hang_up().await;
    assert_eq!(phone.answer("v=0").await, Err(PhoneError::NoOffer));
}

#[tokio::test]
async fn a_caller_that_has_hung_up_is_sampled_once_more_and_forgotten() {
    let callers = FullCallers::new();
    let mut phone = callers.phone(plan(), PathPlan::default(), 7);
    phone.offer(SLOTS, None).await.unwrap();
    phone.hang_up().await;
    let groups =
        |sample: Vec<(usize, Results)>| sample.into_iter().map(|(group, _)| group).collect::<Vec<_>>();
    assert_eq!(groups(callers.sample()), [7]);
    assert!(callers.sample().is_empty());
}

//! Offer and answer the other way round: Janus offers to its subscribers, callers only offer.
//!
//! ```text
//!   caller's offer ─┐                          ┌─► as the caller's answer: its m-lines, Janus' streams and address
//!                   ├─ two descriptions that ──┤
//!   Janus' offer ───┘  say the same            └─► as Janus' answer: its m-lines, the caller's keys
//! ```
//!
//! Both offers name credentials, fingerprint and codecs, so each side gets the other's as an answer to its own. One thing
//! cannot be turned round: each would hold itself for the controlling agent (RFC 8445, 6.1.1). A lite agent never is, so
//! Janus runs with `ice_lite = true`, as whoever compares it with an SFU of one address does anyway.

use wire::sdp::{self, Direction, MediaSection, Sdp, Setup};

use super::super::failure::Failure;

/// Both answers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// To the caller's offer.
    pub(super) for_caller: String,
    /// To Janus' offer.
    pub(super) for_janus: String,
}

/// Makes each side's answer from the other's offer. M-lines meet in order, kind by kind; what finds no partner is refused.
pub(super) fn answers(caller: &str, janus: &str) -> Result<Answers, Failure> {
    let caller = sdp::parse(caller).map_err(|error| bad(&format!("the caller's offer: {error}")))?;
    let janus = sdp::parse(janus).map_err(|error| bad(&format!("Janus' offer: {error}")))?;
    if !janus.is_ice_lite {
        return Err(Failure::lasting(
            "janus_not_lite",
            "Janus is not an ICE-lite agent: set ice_lite = true in its janus.jcfg",
        ));
    }
    let pairs = pairs(&caller, &janus);
    if pairs.is_empty() {
        return Err(bad("Janus offers nothing that the caller takes"));
    }
    Ok(Answers {
        for_caller: for_caller(&caller, &janus, &pairs),
        for_janus: for_janus(&caller, &janus, &pairs),
    })
}

/// Places of m-lines that carry the same: (caller's, Janus').
fn pairs(caller: &Sdp, janus: &Sdp) -> Vec<(usize, usize)> {
    let mut free: Vec<usize> = (0..caller.medias.len()).collect();
    let mut pairs = Vec::new();
    for (theirs, section) in janus.medias.iter().enumerate() {
        let fits = |index: &usize| {
            let own = &caller.medias[*index];
            own.kind == section.kind && own.direction.is_some_and(Direction::receives)
        };
        if section.is_rejected() {
            continue;
        }
        if let Some(at) = free.iter().position(fits) {
            pairs.push((free.remove(at), theirs));
        }
    }
    pairs
}

/// Janus' description in the caller's order.
fn for_caller(caller: &Sdp, janus: &Sdp, pairs: &[(usize, usize)]) -> String {
    let partner = |own: usize| pairs.iter().find(|pair| pair.0 == own).map(|pair| &janus.medias[pair.1]);
    let medias = caller.medias.iter().enumerate().map(|(own, section)| {
        let Some(theirs) = partner(own) else { return refused(section) };
        let mut answer = theirs.clone();
        answer.mid.clone_from(&section.mid);
        answer.direction = Some(Direction::SendOnly);
        answer.transport.setup = answer.transport.setup.map(|_| Setup::Passive);
        // Ids and payload types are Janus' choice; it writes its packets by them.
        answer
    });
    let mut answer = Sdp { medias: medias.collect(), ..janus.clone() };
    answer.transport.setup = answer.transport.setup.map(|_| Setup::Passive);
    answer.bundle = Some(mids(&answer));
    answer.to_string()
}

/// The caller's description in Janus' order.
fn for_janus(caller: &Sdp, janus: &Sdp, pairs: &[(usize, usize)]) -> String {
    let partner =
        |theirs: usize| pairs.iter().find(|pair| pair.1 == theirs).map(|pair| &caller.medias[pair.0]);
    let medias = janus.medias.iter().enumerate().map(|(theirs, section)| {
        let Some(own) = partner(theirs) else { return refused(section) };
        let mut answer = section.clone();
        answer.direction = Some(Direction::ReceiveOnly);
        answer.transport = own.transport.clone();
        answer.transport.setup = Some(Setup::Active);
        answer.candidates.clone_from(&own.candidates);
        answer.port = own.port.max(DISCARD_PORT);
        answer.ssrcs.clear();
        answer.ssrc_groups.clear();
        answer.msids.clear();
        answer
    });
    let mut answer = Sdp { medias: medias.collect(), transport: caller.transport.clone(), ..janus.clone() };
    answer.is_ice_lite = false;
    if answer.transport.setup.is_some() {
        answer.transport.setup = Some(Setup::Active);
    }
    answer.bundle = Some(mids(&answer));
    answer.to_string()
}

/// RFC 3264, 6: an m-line is refused by port 0, and keeps its place.
fn refused(section: &MediaSection) -> MediaSection {
    let mut answer = MediaSection::new(section.kind.clone(), 0, section.protocol.clone());
    answer.payloads.clone_from(&section.payloads);
    answer.mid.clone_from(&section.mid);
    answer.direction = Some(Direction::Inactive);
    answer
}

/// The mids of all m-lines in use.
fn mids(sdp: &Sdp) -> Vec<String> {
    sdp.medias
        .iter()
        .filter(|section| !section.is_rejected())
        .filter_map(|section| section.mid.clone())
        .collect()
}

fn bad(line: &str) -> Failure {
    Failure::lasting("bad_sdp", line)
}

/// RFC 8829, 5.2.1: the port of an m-line whose address is not known yet.
const DISCARD_PORT: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

    fn caller() -> String {
        let section = |kind: &str, mid: &str, payload: &str| {
            format!(
                "m={kind} 9 UDP/TLS/RTP/SAVPF {payload}\r\na=mid:{mid}\r\na=recvonly\r\na=ice-ufrag:own\r\n\
                 a=ice-pwd:ownownownownownownownown\r\na=fingerprint:sha-256 AA:BB\r\na=setup:actpass\r\na=rtcp-mux\r\n"
            )
        };
        format!(
            "{HEAD}a=group:BUNDLE 0 1 2\r\n{}{}{}",
            section("audio", "0", "111"),
            section("video", "1", "96"),
            section("video", "2", "96")
        )
    }

    fn janus(lite: &str) -> String {
        let section = |kind: &str, mid: &str, payload: &str, ssrc: u32| {
            format!(
                "m={kind} 9 UDP/TLS/RTP/SAVPF {payload}\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\na=ice-ufrag:jan\r\n\
                 a=ice-pwd:janjanjanjanjanjanjanjan\r\na=setup:actpass\r\na=rtpmap:{payload} x/90000\r\n\
                 a=candidate:1 1 udp 2015363327 10.77.0.1 20000 typ host\r\na=ssrc:{ssrc} cname:janus\r\n"
            )
        };
        let head = format!("{HEAD}a=group:BUNDLE v a\r\n{lite}a=fingerprint:sha-256 CC:DD\r\n");
        format!("{head}{}{}", section("video", "v", "100", 7), section("audio", "a", "111", 8))
    }

    #[test]
    fn each_side_gets_the_others_streams_and_keys_in_its_own_order() {
        let answers = answers(&caller(), &janus("a=ice-lite\r\n")).unwrap();
        let answer = sdp::parse(&answers.for_caller).unwrap();
        let seen = |sdp: &Sdp| -> Vec<_> {
            let describe = |section: &MediaSection| (section.mid.clone().unwrap(), section.is_rejected());
            sdp.medias.iter().map(describe).collect()
        };
        assert_eq!(seen(&answer), [("0".to_owned(), false), ("1".to_owned(), false), ("2".to_owned(), true)]);
        assert_eq!(answer.medias[1].ssrcs[0].ssrc, 7);
        assert_eq!(answer.medias[1].payloads[0].payload_type, 100);
        assert_eq!(answer.medias[1].transport.setup, Some(Setup::Passive));
        assert_eq!(answer.medias[0].direction, Some(Direction::SendOnly));
        let back = sdp::parse(&answers.for_janus).unwrap();
        assert_eq!(seen(&back), [("v".to_owned(), false), ("a".to_owned(), false)]);
        for section in &back.medias {
            assert_eq!(
                (section.transport.ufrag.as_deref(), section.transport.setup),
                (Some("own"), Some(Setup::Active))
            );
            assert_eq!(section.direction, Some(Direction::ReceiveOnly));
            assert_eq!(section.transport.fingerprints[0].value, "AA:BB");
        }
        assert!(answer.is_ice_lite && !back.is_ice_lite);
    }

    #[test]
    fn a_janus_that_would_control_is_refused_with_the_setting_to_change() {
        let failure = answers(&caller(), &janus("")).unwrap_err();
        assert!(failure.line.contains("ice_lite = true"), "{failure}");
    }

    #[test]
    fn what_is_no_description_or_has_nothing_in_common_is_refused() {
        let sound = caller().replace("m=video", "m=audio");
        let picture =
            format!("{HEAD}a=ice-lite\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\n");
        for (own, theirs) in
            [("", picture.as_str()), (sound.as_str(), "x"), (sound.as_str(), picture.as_str())]
        {
            assert_eq!(answers(own, theirs).unwrap_err().reason, "bad_sdp", "{own} {theirs}");
        }
    }
}

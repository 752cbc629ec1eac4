//! WHIP (RFC 9725) and WHEP: a whole negotiation in one HTTP request. HTTP needs its answer at once, so such a request
//! has the conference assigned at once; and there is no way to push, so a participant of this kind ends with its bridge.

use std::time::Instant;

use wire::messages::ids::SourceName;
use wire::messages::link::SlotPin;
use wire::messages::media::{
    EndpointParameters, IceCredentials, Media, MediaKind, MediaRole, TransportParameters,
};

use super::commands::Purpose;
use super::focus::{Focus, Place};
use super::fragment;
use super::negotiate::{Offer, parse_offer};
use super::participant::{Attachment, HttpResource, Participant};
use super::ports::{ConferenceName, HttpAnswer, HttpId, HttpProtocol, HttpRefusal, HttpRequest, Output};

/// What the others see of a publisher: the protocol has no name for it.
const PUBLISHER_NAME: &str = "WHIP";

/// A refusal with its sentence for a person.
type Refused = (HttpRefusal, String);

impl Focus {
    /// A WHIP or WHEP request; always answered by one [`Output::Answer`].
    pub fn handle_http(&mut self, now: Instant, http: HttpId, request: HttpRequest) {
        let done = match request {
            HttpRequest::Create { conference, protocol, sdp, pin } => {
                self.create(now, http, &conference, (protocol, &sdp, pin)).map(|()| None)
            }
            HttpRequest::Restart { resource, protocol, ice } => {
                self.restart_ice(now, http, (&resource, protocol), ice).map(|()| None)
            }
            HttpRequest::Trickle { resource, protocol, tag } => {
                self.trickle(&resource, protocol, &tag).map(Some)
            }
            HttpRequest::End { resource, protocol } => self.end(now, &resource, protocol).map(Some),
        };
        match done {
            // The bridge's reply brings the answer.
            Ok(None) => {}
            Ok(Some(answer)) => self.push(Output::Answer(http, answer)),
            Err((refusal, message)) => self.push(Output::Answer(http, HttpAnswer::Refused(refusal, message))),
        }
    }

    fn create(
        &mut self,
        now: Instant,
        http: HttpId,
        name: &ConferenceName,
        (protocol, sdp, pin): (HttpProtocol, &str, Option<SourceName>),
    ) -> Result<(), Refused> {
        let who = self.fresh_id(&name.id);
        let offer = parse_offer(sdp, &who).map_err(|error| (HttpRefusal::BadSdp, error.to_string()))?;
        check_direction(&offer, protocol)?;
        self.check_capacity(name, protocol)?;
        if !self.open_conference(now, name) {
            let message = "this server carries as many conferences as it may".to_owned();
            return Err((HttpRefusal::Unavailable, message));
        }
        let resource = self.secrets.secret();
        let pins = pins(&offer, pin.as_ref());
        let parameters = offer.parameters.clone();
        let attachment = Attachment::Http(HttpResource {
            protocol,
            resource: resource.clone(),
            parameters: parameters.clone(),
            pins: pins.clone(),
            generation: 0,
        });
        let place = Place { conference: name.id.clone(), who: who.clone() };
        self.enter(now, &place, Participant::new(now, who, PUBLISHER_NAME.to_owned(), attachment));
        self.resources.insert(resource, place.clone());
        self.log(&place, "joined by HTTP");
        self.settle(now, &name.id);
        let purpose = Purpose::Create { http, offer: Box::new(offer) };
        if self.set_endpoint(now, &place, (parameters, pins), purpose) {
            return Ok(());
        }
        self.remove(now, &place);
        Err((HttpRefusal::Unavailable, "no bridge is available".to_owned()))
    }

    /// May one more come in, and is there a bridge to be had?
    fn check_capacity(&self, name: &ConferenceName, protocol: HttpProtocol) -> Result<(), Refused> {
        let conference = self.conferences.get(&name.id);
        let is_full = conference.is_some_and(|conference| match protocol {
            HttpProtocol::Whip => conference.members() >= self.settings.participants_max,
            HttpProtocol::Whep => conference.viewers() >= self.settings.viewers_max,
        });
        if is_full {
            return Err((HttpRefusal::ConferenceFull, "this conference is full".to_owned()));
        }
        let is_held = conference.is_some_and(|conference| conference.holder().is_some());
        if !is_held && self.fleet.fit() == 0 {
            return Err((HttpRefusal::Unavailable, "no bridge is available".to_owned()));
        }
        Ok(())
    }

    /// The bridge holds the endpoint of a `POST`.
    pub(crate) fn created(&mut self, place: &Place, http: HttpId, sdp: String) {
        let answer = match self.resource_of(place) {
            Some(found) => HttpAnswer::Created {
                resource: found.resource.clone(),
                sdp,
                tag: found.tag(),
                who: place.who.clone(),
            },
            None => gone(),
        };
        self.push(Output::Answer(http, answer));
        let Some(conference) = self.conferences.get_mut(&place.conference) else { return };
        let epoch = conference.epoch;
        if let Some(participant) = conference.participant_mut(&place.who) {
            participant.negotiation.answered = Some(epoch);
        }
    }

    /// RFC 9725, 4.3.3: an ICE restart changes the credentials and nothing else.
    fn restart_ice(
        &mut self,
        now: Instant,
        http: HttpId,
        (resource, protocol): (&str, HttpProtocol),
        ice: IceCredentials,
    ) -> Result<(), Refused> {
        let place = self.find(resource, protocol)?;
        let conference = self.conferences.get_mut(&place.conference);
        let participant = conference.and_then(|it| it.participant_mut(&place.who)).ok_or_else(not_found)?;
        if !participant.negotiation.take_offer(now) {
            return Err((HttpRefusal::RateLimited, "too many ICE restarts".to_owned()));
        }
        let resource = participant.http().ok_or_else(not_found)?;
        let parameters = EndpointParameters { ice: ice.clone(), ..resource.parameters.clone() };
        let pins = resource.pins.clone();
        if self.set_endpoint(now, &place, (parameters, pins), Purpose::Restart { http, ice }) {
            return Ok(());
        }
        Err((HttpRefusal::Unavailable, "the bridge was lost".to_owned()))
    }

    /// The bridge has taken the new credentials.
    pub(crate) fn restarted(
        &mut self,
        place: &Place,
        (http, ice): (HttpId, IceCredentials),
        transport: &TransportParameters,
    ) {
        let answer = match self.resource_of(place) {
            Some(found) => {
                found.parameters.ice = ice;
                found.generation += 1;
                let first = found.parameters.medias.first().map(|media| (media.mid.clone(), media.kind));
                let fragment = fragment::write(first.as_ref(), transport);
                HttpAnswer::Restarted { fragment, tag: found.tag() }
            }
            None => gone(),
        };
        self.push(Output::Answer(http, answer));
    }

    /// RFC 9725, 4.3.2: the bridge needs no candidates of the browser, but a generation that is over is an error.
    fn trickle(&mut self, resource: &str, protocol: HttpProtocol, tag: &str) -> Result<HttpAnswer, Refused> {
        let place = self.find(resource, protocol)?;
        match self.resource_of(&place) {
            Some(found) if found.tag() == tag => Ok(HttpAnswer::Accepted),
            Some(_) => Err((HttpRefusal::WrongTag, "If-Match names another ICE generation".to_owned())),
            None => Err(not_found()),
        }
    }

    fn end(&mut self, now: Instant, resource: &str, protocol: HttpProtocol) -> Result<HttpAnswer, Refused> {
        let place = self.find(resource, protocol)?;
        self.remove(now, &place);
        Ok(HttpAnswer::Ended)
    }

    /// The participant behind a resource; the same answer for every wrong one.
    fn find(&mut self, resource: &str, protocol: HttpProtocol) -> Result<Place, Refused> {
        let place = self.resources.get(resource).cloned().ok_or_else(not_found)?;
        let is_right = self.resource_of(&place).is_some_and(|found| found.protocol == protocol);
        if is_right { Ok(place) } else { Err(not_found()) }
    }

    fn resource_of(&mut self, place: &Place) -> Option<&mut HttpResource> {
        let participant = self.conferences.get_mut(&place.conference)?.participant_mut(&place.who)?;
        if let Attachment::Http(resource) = &mut participant.attachment { Some(resource) } else { None }
    }
}

/// It was deleted while its bridge was asked.
fn gone() -> HttpAnswer {
    let (refusal, message) = not_found();
    HttpAnswer::Refused(refusal, message)
}

fn not_found() -> Refused {
    (HttpRefusal::NotFound, "no such resource".to_owned())
}

/// WHIP only sends (RFC 9725, 4.2), WHEP only receives.
fn check_direction(offer: &Offer, protocol: HttpProtocol) -> Result<(), Refused> {
    let has_source = offer.parameters.medias.iter().any(|media| matches!(media.role, MediaRole::Source(_)));
    let has_slot = offer.parameters.medias.iter().any(|media| media.role == MediaRole::Slot);
    let wrong = match protocol {
        HttpProtocol::Whip if !has_source => "a WHIP offer sends something",
        HttpProtocol::Whip if has_slot => "a WHIP offer is sendonly",
        HttpProtocol::Whep if !has_slot => "a WHEP offer receives something",
        HttpProtocol::Whep if has_source => "a WHEP offer is recvonly",
        _ => return Ok(()),
    };
    Err((HttpRefusal::BadSdp, wrong.to_owned()))
}

/// All slots of the pinned source's kind show it.
fn pins(offer: &Offer, pin: Option<&SourceName>) -> Vec<SlotPin> {
    let Some(source) = pin else { return Vec::new() };
    let is_video = source.as_str().as_bytes().get(9) == Some(&b'v');
    let kind = if is_video { MediaKind::Video } else { MediaKind::Audio };
    let is_pinned = |media: &&Media| media.role == MediaRole::Slot && media.kind == kind;
    let slots = offer.parameters.medias.iter().filter(is_pinned);
    slots.map(|media| SlotPin { mid: media.mid.clone(), source: source.clone() }).collect()
}

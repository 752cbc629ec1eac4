//! The few requests that show whether a server relays: Allocate twice, and Refresh to give it back (RFC 8656).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use md5::{Digest, Md5};
use wire::stun::{AttributeKind, Builder, Class, ErrorCode, Message, Method, TransactionId};

use super::leg::Leg;

/// User name and password.
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// What a server gave.
pub(super) struct Allocated {
    pub(super) relayed: SocketAddr,
    /// Our own address, as the server sees it.
    pub(super) mapped: SocketAddr,
    /// Both Allocates together.
    pub(super) took: Duration,
}

pub(super) struct Client<'l> {
    leg: Leg,
    login: &'l Login,
}

/// What a server asks a client to repeat (RFC 8489, 9.2).
struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
}

impl<'l> Client<'l> {
    pub(super) fn new(leg: Leg, login: &'l Login) -> Self {
        Self { leg, login }
    }

    /// The reason of a failure is one line.
    pub(super) async fn allocate(&mut self) -> Result<Allocated, String> {
        let begun = Instant::now();
        let challenge = self.challenge().await?;
        let request = transport(begin(Method::ALLOCATE));
        let answer = self.ask(self.sign(request, &challenge)).await?;
        let message = parse(&answer)?;
        if message.class() == Class::Error {
            return Err(refusal(&message));
        }
        let address =
            |kind, name| message.xor_address(kind).ok_or_else(|| format!("no {name} in the answer"));
        let relayed = address(AttributeKind::XOR_RELAYED_ADDRESS, "relayed address")?;
        let mapped = address(AttributeKind::XOR_MAPPED_ADDRESS, "address of ours")?;
        let took = begun.elapsed();
        // Given back at once; a server that does not answer that has shown what was asked all the same.
        let release = begin(Method::REFRESH).attribute(AttributeKind::LIFETIME, &0u32.to_be_bytes());
        let _ = self.ask(self.sign(release, &challenge)).await;
        Ok(Allocated { relayed, mapped, took })
    }

    async fn challenge(&mut self) -> Result<Challenge, String> {
        let answer = self.ask(transport(begin(Method::ALLOCATE)).finish()).await?;
        let message = parse(&answer)?;
        match message.error_code() {
            Some((ErrorCode::UNAUTHENTICATED, _)) => {}
            Some(_) => return Err(refusal(&message)),
            None => return Err("it relays for anybody: no credentials are asked for".to_owned()),
        }
        let attribute =
            |kind| message.attribute(kind).map(<[u8]>::to_vec).ok_or("a 401 without realm or nonce");
        Ok(Challenge { realm: attribute(AttributeKind::REALM)?, nonce: attribute(AttributeKind::NONCE)? })
    }

    fn sign(&self, request: Builder, challenge: &Challenge) -> Vec<u8> {
        let Login { username, password } = self.login;
        let digest = Md5::new()
            .chain_update(username)
            .chain_update(":")
            .chain_update(&challenge.realm)
            .chain_update(":")
            .chain_update(password);
        let key: [u8; 16] = digest.finalize().into();
        request
            .attribute(AttributeKind::USERNAME, username.as_bytes())
            .attribute(AttributeKind::REALM, &challenge.realm)
            .attribute(AttributeKind::NONCE, &challenge.nonce)
            .sign(&key)
            .finish()
    }

    async fn ask(&mut self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        self.leg.ask(&request).await.map_err(|error| error.to_string())
    }
}

fn begin(method: Method) -> Builder {
    Builder::new(Class::Request, method, TransactionId(rand::random()))
}

/// REQUESTED-TRANSPORT: UDP.
fn transport(request: Builder) -> Builder {
    request.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
}

fn parse(answer: &[u8]) -> Result<Message<'_>, String> {
    Message::parse(answer).map_err(|error| format!("what answers speaks no STUN: {error}"))
}

fn refusal(message: &Message<'_>) -> String {
    let Some((code, reason)) = message.error_code() else { return "an error without its code".to_owned() };
    let what = match code {
        ErrorCode::UNAUTHENTICATED | ErrorCode::WRONG_CREDENTIALS => "the credentials are refused",
        ErrorCode::ALLOCATION_QUOTA_REACHED => "the user has as many allocations as one may have",
        ErrorCode::INSUFFICIENT_CAPACITY => "the server makes no more allocations: full, or draining",
        ErrorCode::TRY_ALTERNATE => "the server sends clients to another one",
        _ => "the server refuses",
    };
    format!("{what} ({} {reason})", code.0).replace(" )", ")")
}

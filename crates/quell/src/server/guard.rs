//! Binary room, the guard of the control listener: who asks, by the hash of a token, and how fast.
//! Sees no body and knows no route.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use quell_core::id::Digest;
use quell_core::time::Time;
use quell_sources::door::Bucket;
use subtle::ConstantTimeEq;

use super::{refuse, soon};
use crate::config::{Role, Token};

/// Addresses without a token whose rate is known one by one; beyond them the rest shares one.
const STRANGERS_MAX: usize = 4096;

/// The tokens of a folder with their rates.
#[derive(Debug)]
pub(crate) struct Guard {
    tokens: Vec<Known>,
    strangers: Mutex<Strangers>,
}

#[derive(Debug)]
struct Known {
    token: Token,
    rate: Mutex<Bucket>,
}

#[derive(Debug)]
struct Strangers {
    per_second: u32,
    by_address: BTreeMap<IpAddr, Bucket>,
    others: Bucket,
}

impl Guard {
    /// With so many requests a second for each token, and for each address without one.
    pub(crate) fn new(tokens: Vec<Token>, per_token: u32, per_stranger: u32) -> Self {
        let known = |token| Known { token, rate: Mutex::new(Bucket::full(per_token)) };
        let strangers = Strangers {
            per_second: per_stranger,
            by_address: BTreeMap::new(),
            others: Bucket::full(per_stranger),
        };
        let tokens = tokens.into_iter().map(known).collect();
        Self { tokens, strangers: Mutex::new(strangers) }
    }

    /// The principal of a request, if its token may do what the role may. Nothing of the body has
    /// been read then. A valid token is never slowed down by who else sits at its address.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        least: Role,
        peer: Option<IpAddr>,
        now: Time,
    ) -> Result<String, Box<Response>> {
        let Some(known) = self.known(headers) else {
            self.stranger(peer, now)?;
            return Err(Box::new(refuse(StatusCode::UNAUTHORIZED, "no valid token")));
        };
        let taken = known.rate.lock().unwrap_or_else(PoisonError::into_inner).take(now);
        taken.map_err(too_fast)?;
        if known.token.role < least {
            let message = "the token's role may not do this";
            return Err(Box::new(refuse(StatusCode::FORBIDDEN, message)));
        }
        Ok(known.token.name.clone())
    }

    /// A request without a token, where none is needed or none was valid.
    pub(crate) fn stranger(&self, peer: Option<IpAddr>, now: Time) -> Result<(), Box<Response>> {
        let mut strangers = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        strangers.take(peer.map(place), now).map_err(too_fast)
    }

    fn known(&self, headers: &HeaderMap) -> Option<&Known> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (given.next(), given.next()) else { return None };
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return None;
        }
        let hash = Digest::of(token.as_bytes()).to_string();
        let mut found = None;
        for known in &self.tokens {
            if bool::from(known.token.hash.as_bytes().ct_eq(hash.as_bytes())) {
                found = Some(known);
            }
        }
        found
    }
}

fn too_fast(seconds: u32) -> Box<Response> {
    Box::new(soon(refuse(StatusCode::TOO_MANY_REQUESTS, "too fast"), seconds))
}

/// What is one place: an IPv4 address, or an IPv6 network of 64 bits.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => (v6 & std::net::Ipv6Addr::from(u128::MAX << 64)).into(),
    }
}

impl Strangers {
    fn take(&mut self, place: Option<IpAddr>, now: Time) -> Result<(), u32> {
        let Some(place) = place else { return self.others.take(now) };
        if !self.by_address.contains_key(&place) && self.by_address.len() >= STRANGERS_MAX {
            self.by_address.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.by_address.len() >= STRANGERS_MAX && !self.by_address.contains_key(&place) {
            return self.others.take(now);
        }
        let per_second = self.per_second;
        self.by_address.entry(place).or_insert_with(|| Bucket::full(per_second)).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quell_core::time::SECOND;

    fn guard() -> Guard {
        let token = |name: &str, role| {
            let hash = Digest::of(name.as_bytes()).to_string();
            Token { name: name.to_owned(), role, hash }
        };
        let tokens = vec![token("viewer-token", Role::Viewer), token("admin-token", Role::Admin)];
        Guard::new(tokens, 2, 1)
    }

    fn ask(guard: &Guard, value: &str, least: Role, from: &str, now: i64) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let peer = Some(from.parse().unwrap());
        match guard.admit(&headers, least, peer, Time(now * SECOND)) {
            Ok(name) => name,
            Err(answer) => answer.status().as_u16().to_string(),
        }
    }

    #[test]
    fn only_a_known_token_of_enough_role_is_let_in() {
        let guard = guard();
        let check = |value: &str, least, want: &str| {
            assert_eq!(ask(&guard, value, least, "192.0.2.1", 0), want, "{value}");
        };
        check("Bearer viewer-token", Role::Viewer, "viewer-token");
        check("bearer admin-token", Role::Viewer, "admin-token");
        check("Bearer viewer-token", Role::Approver, "403");
        for wrong in ["Bearer ", "Bearer", "", "viewer-token", "Basic viewer-token", "Bearer x"] {
            check(wrong, Role::Viewer, if wrong == "Bearer x" { "429" } else { "401" });
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(header::AUTHORIZATION, "Bearer admin-token".parse().unwrap());
        }
        assert!(guard.admit(&twice, Role::Viewer, None, Time(0)).is_err());
    }

    #[test]
    fn who_is_too_fast_is_told_so_and_slows_nobody_else_down() {
        let guard = guard();
        let many = |value: &str, from: &str, now| {
            let all = (0..40).map(|_| ask(&guard, value, Role::Viewer, from, now));
            all.filter(|answer| answer != "429").count()
        };
        assert_eq!(many("Bearer wrong", "192.0.2.1", 0), 5, "five seconds' worth at once");
        assert_eq!(many("Bearer wrong", "192.0.2.2", 0), 5);
        assert_eq!(many("Bearer viewer-token", "192.0.2.1", 0), 10);
        assert_eq!(many("Bearer admin-token", "192.0.2.1", 0), 10);
        assert_eq!(many("Bearer wrong", "2001:db8::1", 0), 5);
        assert_eq!(many("Bearer wrong", "2001:db8::2", 0), 0, "the same network");
        assert_eq!(many("Bearer wrong", "192.0.2.1", 1), 1);
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let guard = guard();
        let from = |n: u32| Some(IpAddr::from(std::net::Ipv4Addr::from(0xc000_0200 + n)));
        let most = u32::try_from(STRANGERS_MAX).unwrap();
        let passed = (0..most + 50).filter(|n| guard.stranger(from(*n), Time(0)).is_ok()).count();
        assert_eq!(passed, STRANGERS_MAX + 5, "who is beyond shares one rate");
        assert_eq!(guard.strangers.lock().unwrap().by_address.len(), STRANGERS_MAX);
        assert!(guard.stranger(from(most + 50), Time(60 * SECOND)).is_ok());
        assert_eq!(guard.strangers.lock().unwrap().by_address.len(), 1);
    }
}

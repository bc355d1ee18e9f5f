//! What the provider holds: users, sessions, tokens, the System Log. Pure but for its seed: every
//! method is given the time, and whether something lives is computed, never scheduled.
//!
//! Okta's semantics: a suspension ends nothing by itself; ending sessions ends the cookies, and
//! refresh and access tokens only when asked for; an access token dies for introspection then.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use quell_core::time::{DAY, HOUR, Time};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::log::Log;
use super::{Options, StartError};
use crate::company::{Company, Place, okta_id};
use crate::event::{self, Event, Party, What, uuid};

/// Sessions, and tokens of either kind, that are held at a time.
const HELD_MAX: usize = 50_000;

/// Lives, as Okta sets them by default.
const SESSION_LIFE: i64 = 2 * HOUR;
const ACCESS_LIFE: i64 = HOUR;
const REFRESH_LIFE: i64 = 30 * DAY;

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    pub(super) log: Log,
    users: Vec<User>,
    sessions: BTreeMap<String, Session>,
    refresh: BTreeMap<String, Grant>,
    access: BTreeMap<String, Grant>,
    seed: [u8; 32],
    count: u64,
    effect_delay: i64,
    log_lag: i64,
    survives_in_flight: bool,
    issuer: String,
}

/// One user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) login: String,
    pub(super) name: String,
    pub(super) suspended: bool,
    /// In the group of which a stronger sign-in is asked.
    pub(super) stepped_up: bool,
    pub(super) status_changed: Time,
    pub(super) created: Time,
    pub(super) last_login: Option<Time>,
    ends: Vec<End>,
}

/// One end of all sessions.
#[derive(Debug, Clone, Copy)]
struct End {
    accepted: Time,
    effective: Time,
    tokens: bool,
}

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) created: Time,
    pub(super) expires: Time,
    from: Place,
}

/// One token.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) client: String,
    pub(super) created: Time,
    pub(super) expires: Time,
    from: Place,
    session: String,
}

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) user: String,
    pub(super) cookie: String,
    pub(super) session: String,
    pub(super) refresh: String,
    pub(super) access: String,
}

/// Why nobody was signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// Wrong password, or a user who may not sign in.
    Refused,
    /// No such user.
    Unknown,
    /// The lab holds too much.
    Full,
}

/// Who called the management API.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user_agent: String,
    pub(super) uri: String,
}

impl World {
    pub(super) fn new(
        company: &Company,
        options: &Options,
        issuer: &str,
    ) -> Result<Self, StartError> {
        let began = super::now().plus(-400 * DAY);
        let users = company.people.iter().filter_map(|person| {
            let account = person.account()?;
            Some(User {
                id: account.id.clone(),
                login: account.login.clone().unwrap_or_else(|| person.address.clone()),
                name: person.identity.name.clone(),
                suspended: false,
                stepped_up: false,
                status_changed: began,
                created: began,
                last_login: None,
                ends: Vec::new(),
            })
        });
        let mut log = Log::default();
        for (place, event) in options.history.iter().enumerate() {
            let published = event.get("published").and_then(Value::as_str);
            let published = published.and_then(Time::parse).ok_or(StartError::History(place))?.t;
            log.write(event.clone(), published, published);
        }
        Ok(Self {
            log,
            users: users.collect(),
            sessions: BTreeMap::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
            seed: seed(),
            count: 0,
            effect_delay: micros(options.effect_delay),
            log_lag: micros(options.log_lag),
            survives_in_flight: options.survives_in_flight,
            issuer: issuer.to_owned(),
        })
    }

    /// A secret of this run under a name; the given one if there is one.
    pub(super) fn secret(&self, name: &str, given: Option<&str>) -> String {
        given.map_or_else(|| self.derive("00", name), str::to_owned)
    }

    /// An id or token that was never handed out before.
    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.count += 1;
        self.derive(prefix, &self.count.to_string())
    }

    fn derive(&self, prefix: &str, name: &str) -> String {
        okta_id(prefix, &format!("{}/{name}", data_encoding::HEXLOWER.encode(&self.seed)))
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// A user by immutable id or login.
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == name || user.login == name)
    }

    fn user_mut(&mut self, name: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == name || user.login == name)
    }

    /// Signs somebody in: a session, a refresh token and an access token, and what the System Log
    /// says of it.
    pub(super) fn sign_in(
        &mut self,
        login: &str,
        from: &Place,
        right: bool,
        client: &str,
        t: Time,
    ) -> Result<SignedIn, Denied> {
        let user = self.user(login).cloned().ok_or(Denied::Unknown)?;
        if !right || user.suspended {
            let reason = if right { "VERIFICATION_ERROR" } else { "INVALID_CREDENTIALS" };
            self.note(&user, from, event::SESSION_FAILED, ("FAILURE", Some(reason)), None, t);
            return Err(Denied::Refused);
        }
        self.make_room(t)?;
        let (cookie, session) = (self.fresh("sid"), self.fresh("idx"));
        let held = Session {
            id: session.clone(),
            user: user.id.clone(),
            created: t,
            expires: t.plus(SESSION_LIFE),
            from: from.clone(),
        };
        self.sessions.insert(cookie.clone(), held);
        if let Some(user) = self.user_mut(login) {
            user.last_login = Some(t);
        }
        let ok = ("SUCCESS", None);
        self.note(&user, from, event::SESSION_START, ok, Some(&session), t);
        self.note(&user, from, event::SSO, ok, Some(&session), t);
        let refresh = self.fresh("rt.");
        let grant = Grant {
            id: self.fresh("oar"),
            user: user.id.clone(),
            client: client.to_owned(),
            created: t,
            expires: t.plus(REFRESH_LIFE),
            from: from.clone(),
            session: session.clone(),
        };
        let access = self.issue(&grant, t);
        self.refresh.insert(refresh.clone(), grant);
        Ok(SignedIn { user: user.id, cookie, session, refresh, access })
    }

    /// A new access token for a refresh token that lives; the refresh token stays.
    pub(super) fn refresh(&mut self, token: &str, client: &str, t: Time) -> Option<String> {
        let grant = self.refresh.get(token)?.clone();
        if grant.client != client || !self.lives(&grant.user, grant.created, grant.expires, true, t)
        {
            if let Some(user) = self.user(&grant.user).cloned() {
                let outcome = ("FAILURE", Some("invalid_grant"));
                self.grant_note(&user, &grant, event::GRANT_FAILED, outcome, t);
            }
            return None;
        }
        self.make_room(t).ok()?;
        Some(self.issue(&grant, t))
    }

    fn issue(&mut self, grant: &Grant, t: Time) -> String {
        let token = self.fresh("at.");
        let issued = Grant {
            id: self.fresh("AT."),
            created: t,
            expires: t.plus(ACCESS_LIFE),
            ..grant.clone()
        };
        if let Some(user) = self.user(&grant.user).cloned() {
            let ok = ("SUCCESS", None);
            self.grant_note(&user, grant, event::REFRESH_GRANT, ok, t);
            self.grant_note(&user, &issued, event::ACCESS_GRANT, ok, t);
        }
        self.access.insert(token.clone(), issued);
        token
    }

    /// The session of a cookie, while it lives.
    pub(super) fn session(&self, cookie: &str, t: Time) -> Option<&Session> {
        let session = self.sessions.get(cookie)?;
        self.lives(&session.user, session.created, session.expires, false, t).then_some(session)
    }

    /// The grant of a token of either kind, while it lives.
    pub(super) fn token(&self, token: &str, t: Time) -> Option<&Grant> {
        let grant = self.access.get(token).or_else(|| self.refresh.get(token))?;
        self.lives(&grant.user, grant.created, grant.expires, true, t).then_some(grant)
    }

    /// An access token's grant, while it lives.
    pub(super) fn access(&self, token: &str, t: Time) -> Option<&Grant> {
        self.token(token, t).filter(|_| self.access.contains_key(token))
    }

    /// The refresh tokens of a user that live.
    pub(super) fn refresh_tokens(&self, user: &str, t: Time) -> Vec<&Grant> {
        let of_user = |grant: &&Grant| {
            grant.user == user && self.lives(user, grant.created, grant.expires, true, t)
        };
        self.refresh.values().filter(of_user).collect()
    }

    fn lives(&self, user: &str, created: Time, expires: Time, token: bool, t: Time) -> bool {
        let Some(user) = self.users.iter().find(|u| u.id == user) else { return false };
        let ended = user.ends.iter().any(|end| {
            let reach = if self.survives_in_flight { end.accepted } else { end.effective };
            (end.tokens || !token) && end.effective <= t && created <= reach
        });
        !ended && t < expires
    }

    /// Ends all sessions of a user, and the tokens when asked for; it takes effect after the
    /// delay, and the System Log tells of it then.
    pub(super) fn end_sessions(&mut self, id: &str, tokens: bool, by: &Caller, t: Time) {
        let effective = t.plus(self.effect_delay);
        let Some(user) = self.user(id).cloned() else { return };
        let live: Vec<(String, Place)> = self
            .sessions
            .values()
            .filter(|s| s.user == user.id)
            .filter(|s| self.lives(&s.user, s.created, s.expires, false, t))
            .map(|s| (s.id.clone(), s.from.clone()))
            .collect();
        if let Some(user) = self.user_mut(id) {
            user.ends.push(End { accepted: t, effective, tokens });
        }
        self.admin_note(&user, event::SESSION_CLEAR, by, effective);
        for (session, from) in live {
            let ok = ("SUCCESS", None);
            self.note(&user, &from, event::SESSION_END, ok, Some(&session), effective);
        }
    }

    /// Suspends a user or lifts it; false when the user's status does not permit it.
    pub(super) fn suspend(&mut self, id: &str, suspended: bool, by: &Caller, t: Time) -> bool {
        let Some(user) = self.user_mut(id) else { return false };
        if user.suspended == suspended {
            return false;
        }
        user.suspended = suspended;
        user.status_changed = t;
        let user = user.clone();
        let what = if suspended { event::SUSPEND } else { event::UNSUSPEND };
        self.admin_note(&user, what, by, t);
        true
    }

    /// Puts a user into the group of which a stronger sign-in is asked, or takes him out of it.
    pub(super) fn step_up(&mut self, id: &str, member: bool, by: &Caller, t: Time) {
        let Some(user) = self.user_mut(id) else { return };
        user.stepped_up = member;
        let user = user.clone();
        let what = if member { event::GROUP_ADD } else { event::GROUP_REMOVE };
        self.admin_note(&user, what, by, t);
    }

    /// Throws away what is dead when the lab holds too much.
    fn make_room(&mut self, t: Time) -> Result<(), Denied> {
        let full = |world: &Self| {
            world.sessions.len() >= HELD_MAX
                || world.refresh.len() >= HELD_MAX
                || world.access.len() >= HELD_MAX
        };
        if full(self) {
            self.sessions.retain(|_, session| t < session.expires);
            self.refresh.retain(|_, grant| t < grant.expires);
            self.access.retain(|_, grant| t < grant.expires);
        }
        if full(self) { Err(Denied::Full) } else { Ok(()) }
    }

    fn note(
        &mut self,
        user: &User,
        from: &Place,
        what: What,
        outcome: (&str, Option<&str>),
        session: Option<&str>,
        t: Time,
    ) {
        let party = Party::user(&user.id, &user.login, &user.name);
        let transaction = self.fresh("trn");
        let event = Event {
            at: t,
            uuid: uuid(&[&transaction]),
            what,
            outcome,
            severity: if outcome.0 == "FAILURE" { "WARN" } else { "INFO" },
            actor: party.clone(),
            targets: vec![party],
            from: from.clone(),
            session: session.map(str::to_owned),
            transaction,
            api_token: None,
            uri: "/idp/idx/identify".to_owned(),
            debug: Vec::new(),
        };
        self.write(&event, t);
    }

    /// Token events: at Okta the client acts, and tokens and user are the targets.
    fn grant_note(
        &mut self,
        user: &User,
        grant: &Grant,
        what: What,
        outcome: (&str, Option<&str>),
        t: Time,
    ) {
        let kind = if what == event::ACCESS_GRANT { "access_token" } else { "refresh_token" };
        let token = Party {
            id: grant.id.clone(),
            kind,
            alternate: "unknown".to_owned(),
            name: kind.to_owned(),
        };
        let actor = Party {
            id: grant.client.clone(),
            kind: "PublicClientApp",
            alternate: grant.client.clone(),
            name: "portal".to_owned(),
        };
        let transaction = self.fresh("trn");
        let event = Event {
            at: t,
            uuid: uuid(&[&transaction]),
            what,
            outcome,
            severity: if outcome.0 == "FAILURE" { "WARN" } else { "INFO" },
            actor,
            targets: vec![token, Party::user(&user.id, &user.login, &user.name)],
            from: grant.from.clone(),
            session: Some(grant.session.clone()),
            transaction,
            api_token: None,
            uri: "/oauth2/v1/token".to_owned(),
            debug: vec![("grantType", "refresh_token".to_owned())],
        };
        self.write(&event, t);
    }

    fn admin_note(&mut self, user: &User, what: What, by: &Caller, t: Time) {
        let transaction = self.fresh("trn");
        let event = Event {
            at: t,
            uuid: uuid(&[&transaction]),
            what,
            outcome: ("SUCCESS", None),
            severity: "INFO",
            actor: Party::user(&okta_id("00u", "api"), "quell-api@example.com", "Quell API"),
            targets: vec![Party::user(&user.id, &user.login, &user.name)],
            from: Place {
                ip: "192.0.2.250".to_owned(),
                user_agent: by.user_agent.clone(),
                device: "none".to_owned(),
            },
            session: Some(okta_id("trs", &transaction)),
            transaction,
            api_token: Some(okta_id("00T", "api")),
            uri: by.uri.clone(),
            debug: Vec::new(),
        };
        self.write(&event, t);
    }

    fn write(&mut self, event: &Event<'_>, t: Time) {
        self.log.write(event.json(), t, t.plus(self.log_lag));
    }

    pub(super) fn issuer(&self) -> &str {
        &self.issuer
    }
}

pub(crate) fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Thirty-two bytes that differ from run to run; good enough for a lab on loopback.
pub(crate) fn seed() -> [u8; 32] {
    let words: Vec<u8> =
        (0_u8..4).flat_map(|n| RandomState::new().hash_one(n).to_be_bytes()).collect();
    Sha256::digest(&words).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::company::company;
    use std::time::Duration;

    const T: Time = Time(1_000_000_000_000);

    fn world(survives_in_flight: bool) -> World {
        let options = Options {
            effect_delay: Duration::from_micros(40),
            log_lag: Duration::from_micros(100),
            survives_in_flight,
            ..Options::default()
        };
        World::new(&company(), &options, "http://127.0.0.1:1").unwrap()
    }

    fn alice(world: &mut World, t: Time) -> SignedIn {
        let person = company().person("alice").unwrap().clone();
        world.sign_in(&person.address, &person.usual, true, "portal", t).unwrap()
    }

    /// Cookie, refresh token, access token.
    fn lives(world: &World, signed: &SignedIn, t: Time) -> [bool; 3] {
        [
            world.session(&signed.cookie, t).is_some(),
            world.token(&signed.refresh, t).is_some(),
            world.access(&signed.access, t).is_some(),
        ]
    }

    fn by() -> Caller {
        Caller { user_agent: "test".to_owned(), uri: "/".to_owned() }
    }

    #[test]
    fn an_end_takes_effect_to_the_microsecond_and_reaches_what_was_there() {
        for survives in [false, true] {
            let mut world = world(survives);
            let first = alice(&mut world, T);
            world.end_sessions(&first.user, true, &by(), T.plus(10));
            let between = alice(&mut world, T.plus(20));
            assert_eq!(lives(&world, &first, T.plus(49)), [true; 3]);
            assert_eq!(lives(&world, &first, T.plus(50)), [false; 3]);
            assert_eq!(lives(&world, &between, T.plus(50)), [survives; 3]);
            let after = alice(&mut world, T.plus(60));
            assert_eq!(lives(&world, &after, T.plus(60)), [true; 3]);
        }
    }

    #[test]
    fn without_tokens_only_the_cookie_ends_and_everything_expires() {
        let mut world = world(false);
        let signed = alice(&mut world, T);
        world.end_sessions(&signed.user, false, &by(), T);
        assert_eq!(lives(&world, &signed, T.plus(40)), [false, true, true]);
        assert_eq!(lives(&world, &signed, T.plus(ACCESS_LIFE)), [false, true, false]);
        assert!(world.refresh(&signed.refresh, "another client", T.plus(50)).is_none());
        assert!(world.refresh(&signed.refresh, "portal", T.plus(50)).is_some());
        assert!(world.refresh(&signed.refresh, "portal", T.plus(REFRESH_LIFE)).is_none());
    }

    #[test]
    fn a_suspension_is_seen_once_and_refuses_sign_ins() {
        let mut world = world(false);
        let signed = alice(&mut world, T);
        assert!(world.suspend(&signed.user, true, &by(), T));
        assert!(!world.suspend(&signed.user, true, &by(), T));
        assert_eq!(lives(&world, &signed, T.plus(1)), [true; 3]);
        let person = company().person("alice").unwrap().clone();
        let denied = |world: &mut World, login: &str, right| {
            world.sign_in(login, &person.usual, right, "portal", T).unwrap_err()
        };
        assert_eq!(denied(&mut world, &person.address, true), Denied::Refused);
        assert_eq!(denied(&mut world, "nobody@example.com", true), Denied::Unknown);
        assert!(world.suspend(&signed.user, false, &by(), T));
        assert_eq!(denied(&mut world, &person.address, false), Denied::Refused);
    }
}

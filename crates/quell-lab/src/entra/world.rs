//! What the provider in the Graph dialect holds: users, groups, sessions, tokens, its audit log.
//! Pure but for its seed: every method is given the time, and whether something lives is computed.
//!
//! Entra ID's semantics: a revocation moves the time from which sessions are valid, in whole
//! seconds, so that what was issued within its second lives on; access tokens that are out live on
//! until they expire, unless the resource listens to events (CAE); a disabled account ends nothing:
//! the same tokens live again when it is enabled.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::time::{DAY, HOUR, SECOND, Time};
use serde_json::{Value, json};

use super::EntraOptions;
use crate::company::{Company, okta_id};
use crate::event::uuid;
use crate::provider::world::{micros, seed};

/// Sessions, and tokens of either kind, that are held at a time; entries of the audit log.
const HELD_MAX: usize = 50_000;

const SESSION_LIFE: i64 = DAY;
const ACCESS_LIFE: i64 = HOUR;
const REFRESH_LIFE: i64 = 90 * DAY;

/// Everything.
#[derive(Debug)]
pub(super) struct World {
    users: Vec<User>,
    sessions: BTreeMap<String, Grant>,
    refresh: BTreeMap<String, Grant>,
    access: BTreeMap<String, Grant>,
    app_tokens: BTreeMap<String, Time>,
    audit: Vec<Value>,
    seed: [u8; 32],
    count: u64,
    effect_delay: i64,
    read_lag: i64,
    cae_delay: Option<i64>,
    group: String,
}

/// One user.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) login: String,
    pub(super) name: String,
    /// Newest last, each with the time from which reads show it.
    states: Vec<(Time, UserState)>,
    ends: Vec<End>,
}

/// What can be changed of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UserState {
    pub(super) enabled: bool,
    /// Whole seconds.
    pub(super) valid_from: Time,
    pub(super) groups: BTreeSet<String>,
    /// `riskState`; none for a user of whom Identity Protection knows nothing.
    pub(super) risk: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
struct End {
    effective: Time,
    valid_from: Time,
}

/// A session or token.
#[derive(Debug, Clone)]
struct Grant {
    user: String,
    issued: Time,
    expires: Time,
    strong: bool,
}

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A cookie or refresh token: the login host itself looks at it.
    Own,
    /// An access token: a resource looks at it.
    Access,
}

/// What a sign-in gives.
#[derive(Debug, Clone)]
pub(super) struct SignedIn {
    pub(super) user: String,
    pub(super) cookie: String,
    pub(super) refresh: String,
    pub(super) access: String,
}

/// Why nobody got in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No such user, or a disabled one.
    Refused,
    /// The group asks for a stronger sign-in.
    StepUp,
    /// A refresh token that is none, or not any more.
    Ended,
    /// The lab holds too much.
    Full,
}

impl World {
    pub(super) fn new(company: &Company, options: &EntraOptions, t: Time) -> Self {
        let began = whole_second(t.plus(-400 * DAY));
        let state =
            UserState { enabled: true, valid_from: began, groups: BTreeSet::new(), risk: None };
        let users = company.people.iter().filter_map(|person| {
            let account = person.entra_account()?;
            Some(User {
                id: account.id,
                login: account.login.unwrap_or_else(|| person.address.clone()),
                name: person.identity.name.clone(),
                states: vec![(began, state.clone())],
                ends: Vec::new(),
            })
        });
        Self {
            users: users.collect(),
            sessions: BTreeMap::new(),
            refresh: BTreeMap::new(),
            access: BTreeMap::new(),
            app_tokens: BTreeMap::new(),
            audit: Vec::new(),
            seed: seed(),
            count: 0,
            effect_delay: micros(options.effect_delay),
            read_lag: micros(options.read_lag),
            cae_delay: options.cae_delay.map(micros),
            group: options.group.clone(),
        }
    }

    /// A secret that was never handed out before.
    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.count += 1;
        okta_id(prefix, &format!("{}/{}", data_encoding::HEXLOWER.encode(&self.seed), self.count))
    }

    pub(super) fn users(&self) -> &[User] {
        &self.users
    }

    /// A user by object id or login.
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == name || user.login == name)
    }

    /// The members of a group as reads show them.
    pub(super) fn members(&self, group: &str, t: Time) -> Vec<&User> {
        self.users.iter().filter(|u| u.seen(t).groups.contains(group)).collect()
    }

    /// Signs somebody in.
    pub(super) fn sign_in(
        &mut self,
        login: &str,
        strong: bool,
        t: Time,
    ) -> Result<SignedIn, Denied> {
        let user = self.user(login).ok_or(Denied::Refused)?;
        if !user.truth().enabled {
            return Err(Denied::Refused);
        }
        if user.truth().groups.contains(&self.group) && !strong {
            return Err(Denied::StepUp);
        }
        let user = user.id.clone();
        if self.refresh.len() >= HELD_MAX || self.access.len() >= HELD_MAX {
            return Err(Denied::Full);
        }
        let grant =
            |life: i64| Grant { user: user.clone(), issued: t, expires: t.plus(life), strong };
        let (cookie, refresh, access) = (self.fresh("est"), self.fresh("rt."), self.fresh("at."));
        self.sessions.insert(cookie.clone(), grant(SESSION_LIFE));
        self.refresh.insert(refresh.clone(), grant(REFRESH_LIFE));
        self.access.insert(access.clone(), grant(ACCESS_LIFE));
        Ok(SignedIn { user, cookie, refresh, access })
    }

    /// New tokens for a refresh token that lives; the old one stays good, as at Entra ID.
    pub(super) fn refresh(&mut self, token: &str, t: Time) -> Result<(String, String), Denied> {
        let old = self.refresh.get(token).cloned().ok_or(Denied::Ended)?;
        if !self.lives(&old, Kind::Own, t) {
            return Err(Denied::Ended);
        }
        if self.wants_more(&old) {
            return Err(Denied::StepUp);
        }
        if self.refresh.len() >= HELD_MAX || self.access.len() >= HELD_MAX {
            return Err(Denied::Full);
        }
        let (refresh, access) = (self.fresh("rt."), self.fresh("at."));
        let again = |life: i64| Grant { issued: t, expires: t.plus(life), ..old.clone() };
        self.refresh.insert(refresh.clone(), again(REFRESH_LIFE));
        self.access.insert(access.clone(), again(ACCESS_LIFE));
        Ok((refresh, access))
    }

    /// Whose session cookie it is, while it lets him in without being asked for more.
    pub(super) fn session(&self, cookie: &str, t: Time) -> Option<&str> {
        let grant = self.sessions.get(cookie)?;
        let lets_in = self.lives(grant, Kind::Own, t) && !self.wants_more(grant);
        lets_in.then_some(grant.user.as_str())
    }

    /// Whose access token it is, while the resource takes it.
    pub(super) fn access(&self, token: &str, t: Time) -> Option<&str> {
        let grant = self.access.get(token)?;
        self.lives(grant, Kind::Access, t).then_some(grant.user.as_str())
    }

    fn wants_more(&self, grant: &Grant) -> bool {
        let member = self.user(&grant.user).is_some_and(|u| u.truth().groups.contains(&self.group));
        member && !grant.strong
    }

    fn lives(&self, grant: &Grant, kind: Kind, t: Time) -> bool {
        let Some(user) = self.user(&grant.user) else { return false };
        let delay = match (kind, self.cae_delay) {
            (Kind::Own, _) => 0,
            (Kind::Access, Some(delay)) => delay,
            (Kind::Access, None) => return t < grant.expires,
        };
        let issued = whole_second(grant.issued);
        let revoked =
            user.ends.iter().any(|end| end.effective.plus(delay) <= t && issued < end.valid_from);
        user.truth().enabled && !revoked && t < grant.expires
    }

    /// Moves the time from which the sessions of a user are valid.
    pub(super) fn revoke(&mut self, id: &str, t: Time) {
        let (valid_from, effective) = (whole_second(t), t.plus(self.effect_delay));
        self.change(id, t, |state| state.valid_from = valid_from);
        if let Some(user) = self.user_mut(id) {
            user.ends.push(End { effective, valid_from });
        }
    }

    /// Changes a user; reads show it after the lag.
    pub(super) fn change(&mut self, id: &str, t: Time, how: impl FnOnce(&mut UserState)) {
        let visible = t.plus(self.read_lag);
        let Some(user) = self.user_mut(id) else { return };
        let mut state = user.truth().clone();
        how(&mut state);
        user.states.push((visible, state));
        if user.states.len() > 64 {
            user.states.remove(0);
        }
    }

    /// Deletes a user: what happens to him who leaves `/$ref` away.
    pub(super) fn delete(&mut self, id: &str) {
        self.users.retain(|user| user.id != id);
    }

    fn user_mut(&mut self, id: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == id)
    }

    /// Keeps an application's token.
    pub(super) fn issue_app_token(&mut self, token: &str, until: Time) {
        if self.app_tokens.len() >= HELD_MAX {
            self.app_tokens.clear();
        }
        self.app_tokens.insert(token.to_owned(), until);
    }

    pub(super) fn is_app_token(&self, token: &str, t: Time) -> bool {
        self.app_tokens.get(token).is_some_and(|until| t < *until)
    }

    /// Withdraws all application tokens, as a changed credential does.
    pub(super) fn withdraw_app_tokens(&mut self) {
        self.app_tokens.clear();
    }

    /// Writes an entry of the audit log (directoryAudit).
    pub(super) fn note(&mut self, activity: &str, user: &str, by: (&str, &str), t: Time) {
        let id = uuid(&["audit", &self.fresh("aud")]);
        let login = self.user(user).map(|u| u.login.clone());
        let (correlation, agent) = by;
        self.audit.push(json!({
            "id": id,
            "activityDateTime": t,
            "activityDisplayName": activity,
            "category": "UserManagement",
            "correlationId": correlation,
            "result": "success",
            "initiatedBy": { "app": { "displayName": "Quell" }, "user": null },
            "targetResources": [{ "type": "User", "id": user, "userPrincipalName": login }],
            "additionalDetails": [{ "key": "User-Agent", "value": agent }],
        }));
        if self.audit.len() > HELD_MAX {
            self.audit.remove(0);
        }
    }

    /// The audit log, newest first.
    pub(super) fn audit(&self) -> Vec<Value> {
        self.audit.iter().rev().cloned().collect()
    }
}

impl User {
    /// What is so.
    pub(super) fn truth(&self) -> &UserState {
        static NOTHING: UserState =
            UserState { enabled: false, valid_from: Time(0), groups: BTreeSet::new(), risk: None };
        self.states.last().map_or(&NOTHING, |(_, state)| state)
    }

    /// What reads show.
    pub(super) fn seen(&self, t: Time) -> &UserState {
        let shown = self.states.iter().rev().find(|(visible, _)| *visible <= t);
        shown.or_else(|| self.states.first()).map_or_else(|| self.truth(), |(_, state)| state)
    }
}

fn whole_second(t: Time) -> Time {
    Time(t.0.div_euclid(SECOND).saturating_mul(SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::company::company;
    use std::time::Duration;

    const T: Time = Time(1_000_000 * SECOND + 500_000);

    fn world(cae: Option<u64>) -> World {
        let options = EntraOptions {
            effect_delay: Duration::from_micros(40),
            read_lag: Duration::from_micros(100),
            cae_delay: cae.map(Duration::from_micros),
            ..EntraOptions::default()
        };
        World::new(&company(), &options, T)
    }

    fn alice() -> String {
        company().person("alice").unwrap().address.clone()
    }

    fn lives(world: &World, signed: &SignedIn, t: Time) -> [bool; 3] {
        let refresh = &world.refresh[&signed.refresh];
        [
            world.session(&signed.cookie, t).is_some(),
            world.lives(refresh, Kind::Own, t),
            world.access(&signed.access, t).is_some(),
        ]
    }

    #[test]
    fn a_revocation_ends_what_is_older_than_its_second_after_the_delay() {
        for (cae, access) in [(Some(10), false), (None, true)] {
            let mut world = world(cae);
            let old = world.sign_in(&alice(), false, T.plus(-SECOND)).unwrap();
            let same = world.sign_in(&alice(), false, T.plus(-1)).unwrap();
            world.revoke(&old.user, T);
            assert_eq!(lives(&world, &old, T.plus(39)), [true; 3]);
            assert_eq!(lives(&world, &old, T.plus(50)), [false, false, access]);
            // issued within the second of the revocation
            assert_eq!(lives(&world, &same, T.plus(50)), [true; 3]);
            assert_eq!(world.refresh(&old.refresh, T.plus(50)), Err(Denied::Ended));
            world.revoke(&old.user, T.plus(SECOND));
            assert_eq!(lives(&world, &same, T.plus(2 * SECOND)), [false, false, access]);
        }
    }

    #[test]
    fn a_disabled_account_ends_nothing() {
        let mut world = world(Some(0));
        let signed = world.sign_in(&alice(), false, T).unwrap();
        world.change(&signed.user, T, |state| state.enabled = false);
        assert_eq!(lives(&world, &signed, T), [false; 3]);
        assert_eq!(world.sign_in(&alice(), true, T).unwrap_err(), Denied::Refused);
        let user = world.user(&signed.user).unwrap();
        assert_eq!((user.seen(T.plus(99)).enabled, user.seen(T.plus(100)).enabled), (true, false));
        world.change(&signed.user, T, |state| state.enabled = true);
        assert_eq!(lives(&world, &signed, T), [true; 3]);
    }

    #[test]
    fn members_of_the_group_are_asked_for_more() {
        let mut world = world(Some(0));
        let signed = world.sign_in(&alice(), false, T).unwrap();
        let group = world.group.clone();
        world.change(&signed.user, T, |state| {
            state.groups.insert(group);
        });
        assert_eq!(world.refresh(&signed.refresh, T), Err(Denied::StepUp));
        assert!(world.session(&signed.cookie, T).is_none());
        assert_eq!(world.sign_in(&alice(), false, T).unwrap_err(), Denied::StepUp);
        let strong = world.sign_in(&alice(), true, T).unwrap();
        assert!(world.refresh(&strong.refresh, T).is_ok());
    }
}

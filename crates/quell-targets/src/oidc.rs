//! A generic OIDC provider: one configured administrative call that ends all sessions and grants
//! of a subject, and one that lists them. No vendor's words here; they stand in the configuration.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::action::Action;
use quell_core::order::{Answer, Call, Capability, Fault, Repeat};
use quell_core::time::{SECOND, Time};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::secret::Secret;
use crate::target::{BoxFuture, Refusal, Said, Target, Trace, snapshot};
use crate::text::encode;
use crate::vendor::{Ask, BadConfig, VendorClient, VendorConfig, agent};

/// The call that ends sessions and grants.
#[derive(Debug, Clone)]
pub struct EndCall {
    /// `DELETE`, `POST` or `PUT`.
    pub method: String,
    /// Path and query with `{sub}` once, e.g. `/admin/users/{sub}/sessions`.
    pub path: String,
    /// Statuses that mean success; empty: every 2xx.
    pub expected: Vec<u16>,
}

/// The call that lists sessions.
#[derive(Debug, Clone)]
pub struct ListCall {
    /// Path and query with `{sub}` once.
    pub path: String,
    /// JSON pointer (RFC 6901) to an array or to a count; empty: the whole answer.
    pub pointer: String,
}

/// Introspection (RFC 7662) of tokens that we hold ourselves: canary sessions of single
/// subjects. A token of anybody else is never asked about.
#[derive(Debug, Clone)]
pub struct Introspection {
    /// The endpoint's path.
    pub path: String,
    /// Subject to token.
    pub tokens: BTreeMap<String, Secret>,
}

/// What the target needs to know.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The name under which accounts refer to it.
    pub name: String,
    /// Address, credential and limits.
    pub vendor: VendorConfig,
    /// How sessions are ended.
    pub end_sessions: EndCall,
    /// How they are listed; without it an end can never be proven.
    pub list_sessions: Option<ListCall>,
    /// Canary tokens.
    pub introspection: Option<Introspection>,
    /// Subjects that are never acted on.
    pub protected: BTreeSet<String>,
    /// Microseconds until an end takes effect, as the provider states it.
    pub effective_after: i64,
    /// Microseconds by which the list may lag.
    pub list_lag: i64,
    /// Microseconds after the end in which the list must stay empty.
    pub quiet: i64,
}

impl OidcConfig {
    /// A target without lists, delays and canaries; 2 s of quiet.
    pub fn new(name: impl Into<String>, vendor: VendorConfig, end_sessions: EndCall) -> Self {
        Self {
            name: name.into(),
            vendor,
            end_sessions,
            list_sessions: None,
            introspection: None,
            protected: BTreeSet::new(),
            effective_after: 0,
            list_lag: 0,
            quiet: 2 * SECOND,
        }
    }
}

/// The generic target.
#[derive(Debug)]
pub struct Oidc {
    client: VendorClient,
    method: Method,
    config: OidcConfig,
}

/// What the probe keeps: the positive control of the read-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot {
    /// The canary token was active; none when there is no canary.
    canary: Option<bool>,
    /// Sessions listed; none when they cannot be listed.
    listed: Option<u64>,
}

impl Oidc {
    /// Builds the target; nothing is sent.
    ///
    /// # Errors
    /// [`BadConfig`] for an address as in [`VendorClient::new`], an unknown method, or a path
    /// that does not hold `{sub}` exactly once.
    pub fn new(config: OidcConfig) -> Result<Self, BadConfig> {
        let method = match config.end_sessions.method.as_str() {
            "DELETE" => Method::DELETE,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            other => {
                let why =
                    format!("`{}` is none of DELETE, POST, PUT", crate::text::clean(other, 20));
                return Err(BadConfig::Member { member: "end_sessions.method", why });
            }
        };
        template("end_sessions.path", &config.end_sessions.path)?;
        if let Some(list) = &config.list_sessions {
            template("list_sessions.path", &list.path)?;
        }
        let mut client = VendorClient::new(config.vendor.clone())?;
        let canaries = config.introspection.iter().flat_map(|i| i.tokens.values());
        canaries.for_each(|token| client.keep_out(token));
        Ok(Self { client, method, config })
    }

    async fn seen(&self, call: &Call, now: Time, trace: &mut Trace) -> Result<Snapshot, Refusal> {
        let listed = match &self.config.list_sessions {
            Some(list) => {
                let ask = Ask::get(path(&list.path, call)?, &agent(call));
                let answer = self.client.send(ask, now, trace).await?.json()?;
                Some(count(&answer, &list.pointer)?)
            }
            None => None,
        };
        let canary = match &self.config.introspection {
            Some(introspection) => match introspection.tokens.get(&call.account.id) {
                Some(token) => {
                    Some(self.introspect(&introspection.path, token, call, now, trace).await?)
                }
                None => None,
            },
            None => None,
        };
        Ok(Snapshot { canary, listed })
    }

    async fn introspect(
        &self,
        path: &str,
        token: &Secret,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<bool, Refusal> {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let ask = Ask {
            method: Method::POST,
            headers: vec![(CONTENT_TYPE, form)],
            body: Some(format!("token={}", encode(token.reveal())).into_bytes()),
            ..Ask::get(path, &agent(call))
        };
        let answer = self.client.send(ask, now, trace).await?.json()?;
        answer.get("active").and_then(Value::as_bool).ok_or_else(|| {
            Refusal::new(Fault::Indeterminate, "the introspection answer holds no `active`")
        })
    }
}

impl Target for Oidc {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn capabilities(&self) -> Vec<Capability> {
        let reads = self.config.list_sessions.is_some() || self.config.introspection.is_some();
        vec![Capability {
            action: Action::EndSessions,
            repeat: Repeat::Safe,
            reads_back: reads,
            effective_after: self.config.effective_after.max(0),
            read_back_lag: self.config.list_lag.max(0),
            quiet: self.config.quiet.max(0),
            undoes: false,
        }]
    }

    fn protected(&self) -> &BTreeSet<String> {
        &self.config.protected
    }

    fn check(&self, now: Time) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            let Some(list) = &self.config.list_sessions else { return Ok(()) };
            // a subject that nobody has: an empty list or 404 show that the credential is known
            let nobody = list.path.replace("{sub}", "quell-permission-check");
            let mut trace = Trace::default();
            let ask = Ask::get(nobody, crate::vendor::AGENT);
            match self.client.send(ask, now, &mut trace).await {
                Ok(_) => Ok(()),
                Err(refusal) if refusal.fault == Fault::UnknownSubject => Ok(()),
                Err(refusal) => Err(refusal),
            }
        })
    }

    fn probe<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            let seen = self.seen(call, now, trace).await?;
            let answer = Answer::Before {
                alive: seen.alive(),
                // an empty list may also mean that we may not see: never "already"
                already: false,
                snapshot: serde_json::to_string(&seen).ok(),
            };
            Ok(Said::new(answer, seen.words()))
        })
    }

    fn execute<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            let end = &self.config.end_sessions;
            let mut ask = Ask::act(self.method.clone(), path(&end.path, call)?, &agent(call));
            ask.expected.clone_from(&end.expected);
            self.client.send(ask, now, trace).await?;
            Ok(Said::new(Answer::Accepted { already: false }, "accepted"))
        })
    }

    fn read_back<'a>(
        &'a self,
        call: &'a Call,
        now: Time,
        trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move {
            let seen = self.seen(call, now, trace).await?;
            let before: Option<Snapshot> = snapshot(call);
            let since = call.acknowledged_at.or(call.sent_at).unwrap_or(now);
            let settled = since.plus(self.config.effective_after.max(0));
            let lag_over = now >= settled.plus(self.config.list_lag.max(0));
            let quiet_over = now >= settled.plus(self.config.quiet.max(0));
            let (done, conclusive) = judge(seen, before, lag_over, quiet_over);
            let early = if !done && !conclusive { "; too early to tell" } else { "" };
            let detail = format!("{}{early}", seen.words());
            Ok(Said::new(Answer::Seen { done, conclusive }, detail))
        })
    }

    fn undo<'a>(
        &'a self,
        _call: &'a Call,
        _now: Time,
        _trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move { Err(no_inverse()) })
    }

    fn read_back_undo<'a>(
        &'a self,
        _call: &'a Call,
        _now: Time,
        _trace: &'a mut Trace,
    ) -> BoxFuture<'a, Result<Said, Refusal>> {
        Box::pin(async move { Err(no_inverse()) })
    }
}

impl Snapshot {
    fn alive(self) -> bool {
        self.listed.is_some_and(|n| n > 0) || self.canary == Some(true)
    }

    fn words(self) -> String {
        let listed = match self.listed {
            Some(n) => format!("{n} sessions listed"),
            None => "sessions cannot be listed".to_owned(),
        };
        match self.canary {
            Some(true) => format!("{listed}, our canary token is active"),
            Some(false) => format!("{listed}, our canary token is inactive"),
            None => listed,
        }
    }
}

/// (done, conclusive): only the probe that said "alive" before can prove "gone" now.
fn judge(
    now: Snapshot,
    before: Option<Snapshot>,
    lag_over: bool,
    quiet_over: bool,
) -> (bool, bool) {
    if now.alive() {
        return (false, lag_over);
    }
    if !quiet_over {
        return (false, false);
    }
    let gone = before.is_some_and(|before| {
        let list = before.listed.is_some_and(|n| n > 0) && now.listed == Some(0);
        let canary = before.canary == Some(true) && now.canary == Some(false);
        list || canary
    });
    (true, gone)
}

fn no_inverse() -> Refusal {
    Refusal::new(Fault::Unsupported, "ended sessions cannot be given back")
}

/// The length of an array, or a count.
fn count(answer: &Value, pointer: &str) -> Result<u64, Refusal> {
    let unclear =
        || Refusal::new(Fault::Indeterminate, "the answer proves nothing: no list at the pointer");
    match answer.pointer(pointer).ok_or_else(unclear)? {
        Value::Array(items) => Ok(u64::try_from(items.len()).unwrap_or(u64::MAX)),
        Value::Number(number) => number.as_u64().ok_or_else(unclear),
        _ => Err(unclear()),
    }
}

/// The path of a call; a subject is 1 to 255 characters (OpenID Connect Core section 2) and may
/// hold anything, so everything in it is encoded.
fn path(template: &str, call: &Call) -> Result<String, Refusal> {
    let sub = &call.account.id;
    let dots = sub == "." || sub == "..";
    if sub.is_empty() || sub.len() > 255 || dots || sub.chars().any(char::is_control) {
        let detail = "the account's id is no usable subject: nothing was sent";
        return Err(Refusal::new(Fault::BadRequest, detail));
    }
    Ok(template.replace("{sub}", &encode(sub)))
}

fn template(member: &'static str, path: &str) -> Result<(), BadConfig> {
    let bad = |why: &str| Err(BadConfig::Member { member, why: why.to_owned() });
    if !path.starts_with('/') {
        return bad("it must begin with `/`");
    }
    if path.matches("{sub}").count() != 1 {
        return bad("it must hold `{sub}` exactly once");
    }
    let rest = path.replace("{sub}", "");
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?&=%:@+,;!$'()*".contains(&b);
    if !rest.bytes().all(fine) {
        return bad("it holds characters that must be percent-encoded");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gone_is_proven_only_after_alive() {
        let snapshot = |listed, canary| Snapshot { canary, listed };
        let alive = Some(snapshot(Some(2), None));
        let empty = snapshot(Some(0), None);
        let check = |now, before, late, want| assert_eq!(judge(now, before, late, late), want);
        assert_eq!(judge(snapshot(Some(1), None), alive, false, false), (false, false));
        check(empty, alive, true, (true, true));
        check(empty, alive, false, (false, false));
        check(empty, Some(empty), true, (true, false));
        check(empty, None, true, (true, false));
        check(snapshot(Some(1), None), alive, true, (false, true));
        check(snapshot(Some(0), Some(true)), alive, true, (false, true));
        check(snapshot(None, None), Some(snapshot(None, None)), true, (true, false));
        let canary = Some(snapshot(None, Some(true)));
        check(snapshot(None, Some(false)), canary, true, (true, true));
        // what was seen alive can no longer be seen
        check(snapshot(None, None), canary, true, (true, false));
        check(empty, canary, true, (true, false));
    }

    #[test]
    fn lists_are_counted_in_either_shape() {
        let check = |text: &str, pointer: &str, want: Option<u64>| {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(count(&value, pointer).ok(), want, "{text} {pointer}");
        };
        check("[1,2]", "", Some(2));
        check("{\"data\":{\"total\":3}}", "/data/total", Some(3));
        check("{\"data\":[]}", "/data", Some(0));
        check("{\"data\":{}}", "/data", None);
        check("{\"total\":-1}", "/total", None);
        check("{}", "/sessions", None);
    }

    #[test]
    fn templates_are_judged_before_anything_is_sent() {
        let check = |path: &str, want: &str| {
            let got = template("p", path).err().map(|e| e.to_string()).unwrap_or_default();
            assert_eq!(got, want, "{path}");
        };
        check("/admin/users/{sub}/sessions", "");
        check("/a?user={sub}&all=true", "");
        check("admin/{sub}", "`p` is not usable: it must begin with `/`");
        check("/admin", "`p` is not usable: it must hold `{sub}` exactly once");
        check("/{sub}/{sub}", "`p` is not usable: it must hold `{sub}` exactly once");
        check("/a b/{sub}", "`p` is not usable: it holds characters that must be percent-encoded");
    }
}

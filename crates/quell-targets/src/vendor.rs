//! The one way to a vendor: TLS, no redirects, time-outs, capped bodies, one credential, one
//! origin, and every failure sorted into a fault. It never repeats a request by itself.

use std::net::IpAddr;
use std::time::Duration;

use quell_core::order::{Call, Fault};
use quell_core::time::Time;
use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{Method, Url, redirect};
use serde_json::Value;

use crate::classify;
use crate::secret::{Secret, Unspoken};
use crate::target::{Refusal, Trace};
use crate::text::clean;

/// How the vendor knows us.
#[derive(Debug, Clone)]
pub enum Auth {
    /// No credential.
    None,
    /// `Authorization: Bearer ..` (RFC 6750).
    Bearer(Secret),
    /// `Authorization: SSWS ..` (Okta API tokens).
    Ssws(Secret),
    /// `Authorization: Basic ..` (RFC 7617).
    Basic {
        /// The user or client id.
        user: String,
        /// The password or client secret.
        password: Secret,
    },
    /// A header of the vendor's own.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
}

/// What a client needs to know.
#[derive(Debug, Clone)]
pub struct VendorConfig {
    /// Scheme, host, port and an optional path prefix; `https`, or `http` on loopback alone.
    pub base: String,
    /// The credential.
    pub auth: Auth,
    /// Limit for connecting, TLS included.
    pub connect_timeout: Duration,
    /// Limit for the whole call, connecting and body included.
    pub total_timeout: Duration,
    /// Largest body that is read, bytes.
    pub body_max: usize,
    /// Further certificate authorities (PEM), for providers inside the company.
    pub ca_pem: Option<Vec<u8>>,
    /// The vendor's own codes that mean something else than the status says.
    pub codes: fn(status: u16, code: &str) -> Option<Fault>,
}

impl VendorConfig {
    /// The defaults: 5 s to connect, 20 s in all, 4 MiB of body.
    pub fn new(base: impl Into<String>, auth: Auth) -> Self {
        Self {
            base: base.into(),
            auth,
            connect_timeout: Duration::from_secs(5),
            total_timeout: Duration::from_secs(20),
            body_max: 4 << 20,
            ca_pem: None,
            codes: |_, _| None,
        }
    }
}

/// A configuration that cannot work; found before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// The address is none, or not one that credentials may be sent to.
    #[error("`{url}` cannot be a base address: {why}")]
    Url {
        /// The address as written.
        url: String,
        /// Why not.
        why: &'static str,
    },
    /// A member is wrong.
    #[error("`{member}` is not usable: {why}")]
    Member {
        /// The configuration's member.
        member: &'static str,
        /// Why not.
        why: String,
    },
    /// The HTTP client could not be built.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    /// The method.
    pub(crate) method: Method,
    /// Path and query behind the base, already encoded, beginning with `/`.
    pub(crate) path: String,
    /// It changes something.
    pub(crate) effecting: bool,
    /// Statuses that mean success; empty: every 2xx.
    pub(crate) expected: Vec<u16>,
    /// The order on whose behalf it is sent, for the vendor's own log.
    pub(crate) agent: String,
    /// Further headers.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub(crate) body: Option<Vec<u8>>,
    /// Secrets that stand in headers or body beside the client's own credential: none of them is
    /// kept of what the vendor answers.
    pub(crate) secrets: Vec<Secret>,
}

impl Ask {
    /// A read.
    pub(crate) fn get(path: impl Into<String>, agent: &str) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            effecting: false,
            expected: Vec::new(),
            agent: agent.to_owned(),
            headers: Vec::new(),
            body: None,
            secrets: Vec::new(),
        }
    }

    /// A request that changes something.
    pub(crate) fn act(method: Method, path: impl Into<String>, agent: &str) -> Self {
        Self { method, effecting: true, ..Self::get(path, agent) }
    }
}

/// An answer with an expected status.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The body, whole unless `cut` says otherwise.
    pub(crate) body: Vec<u8>,
    /// Why the body is not whole.
    pub(crate) cut: Option<&'static str>,
    /// Path and query of the next page, on our own origin.
    pub(crate) next: Option<String>,
    /// The vendor's clock, whole seconds.
    pub(crate) date: Option<Time>,
}

impl Reply {
    /// Nothing, or JSON: what an interface answers to a request that it carried out. A page of a
    /// proxy in between is neither, and says nothing about what happened.
    pub(crate) fn json_or_nothing(&self) -> Result<(), Refusal> {
        if self.cut.is_none() && self.body.is_empty() {
            return Ok(());
        }
        self.json().map(|_| ())
    }

    /// The body as JSON; a body that is cut or no JSON proves nothing.
    pub(crate) fn json(&self) -> Result<Value, Refusal> {
        let unclear = |why: String| {
            let mut refusal = Refusal::new(Fault::Indeterminate, why);
            refusal.status = Some(self.status);
            refusal
        };
        if let Some(why) = self.cut {
            return Err(unclear(format!("the answer proves nothing: {why}")));
        }
        serde_json::from_slice(&self.body)
            .map_err(|_| unclear("the answer proves nothing: its body is no JSON".to_owned()))
    }
}

/// The user agent of every request: it carries our order id into the vendor's own log, so that
/// what we did ourselves can be told apart there.
pub(crate) fn agent(call: &Call) -> String {
    format!("{} ({}; {} {})", AGENT, call.order, call.verb, call.attempt)
}

/// The user agent of requests that belong to no order.
pub(crate) const AGENT: &str = concat!("quell/", env!("CARGO_PKG_VERSION"));

/// A client for one origin with one credential.
#[derive(Debug)]
pub struct VendorClient {
    http: reqwest::Client,
    base: Url,
    prefix: String,
    auth: Option<(HeaderName, HeaderValue)>,
    unspoken: Unspoken,
    body_max: usize,
    codes: fn(u16, &str) -> Option<Fault>,
}

impl VendorClient {
    /// Builds the client; nothing is sent.
    ///
    /// # Errors
    /// [`BadConfig`] for an address that is not `https` (or `http` on loopback), a credential
    /// that cannot stand in a header, or certificates that cannot be read.
    pub fn new(config: VendorConfig) -> Result<Self, BadConfig> {
        let base = base_url(&config.base)?;
        let (auth, unspoken) = credential(config.auth)?;
        let mut builder = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .connect_timeout(config.connect_timeout)
            .timeout(config.total_timeout)
            .pool_idle_timeout(Duration::from_secs(10));
        if base.scheme() == "http" {
            // loopback: no certificates are needed, so none are loaded, and no proxy stands there
            builder = builder.tls_certs_only([]).no_proxy();
        } else if let Some(pem) = &config.ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| {
                BadConfig::Member { member: "ca", why: clean(&error.to_string(), 160) }
            })?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http =
            builder.build().map_err(|error| BadConfig::Client(clean(&chain(&error), 200)))?;
        let prefix = base.path().trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            prefix,
            auth,
            unspoken,
            body_max: config.body_max,
            codes: config.codes,
        })
    }

    /// A further secret that goes out with requests and must not come back in what is kept.
    pub(crate) fn keep_out(&mut self, secret: &Secret) {
        self.unspoken.add(secret.reveal());
    }

    /// Sends one request once and reads the answer.
    ///
    /// *Crash*: an effecting request may or may not have been processed.
    ///
    /// # Errors
    /// A [`Refusal`] for everything but an expected status: see `classify::by_status`; a refused
    /// connection is `transient`; no answer, or a lost connection, is `indeterminate` for an
    /// effecting request and `transient` for a read.
    pub(crate) async fn send(
        &self,
        ask: Ask,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Reply, Refusal> {
        let effecting = ask.effecting;
        let expected = ask.expected.clone();
        let url = self.url(&ask.path)?;
        let mut unspoken = self.unspoken.clone();
        ask.secrets.iter().for_each(|secret| unspoken.add(secret.reveal()));
        trace.keep_out(&unspoken);
        trace.asked(format!("{} {}{}", ask.method, self.prefix, ask.path));
        let mut request = self.http.request(ask.method, url);
        request = request.header(header::USER_AGENT, ask.agent);
        request = request.header(header::ACCEPT, "application/json");
        if let Some((name, value)) = &self.auth {
            request = request.header(name, value);
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        if let Some(body) = ask.body {
            request = request.body(body);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(lost(&error, &unspoken, effecting, trace)),
        };
        trace.sent();
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        trace.answered(status, classify::request_id(&headers, &unspoken));
        let (body, cut) = self.body(response).await;
        if cut.is_none() {
            trace.body(&body);
        }
        let fine = if expected.is_empty() {
            (200..300).contains(&status)
        } else {
            expected.contains(&status)
        };
        if !fine {
            let answer = Unexpected { status, body: &body, headers: &headers, effecting };
            return Err(self.refusal(&answer, &unspoken, now));
        }
        let next = classify::next_link(&headers).map(|link| self.own(&link)).transpose()?;
        Ok(Reply { status, body, cut, next, date: classify::date(&headers) })
    }

    /// The address of a path, refused when parsing would change it (`.` and `..` segments).
    fn url(&self, path: &str) -> Result<Url, Refusal> {
        let wrong =
            || Refusal::new(Fault::BadRequest, "the path is not usable as it is: nothing was sent");
        let mut url = self.base.clone();
        let (only, query) = match path.split_once('?') {
            Some((only, query)) => (only, Some(query)),
            None => (path, None),
        };
        let whole = format!("{}{only}", self.prefix);
        url.set_path(&whole);
        url.set_query(query);
        if !path.starts_with('/') || url.path() != whole || url.query() != query {
            return Err(wrong());
        }
        Ok(url)
    }

    /// A link of the vendor's, as path and query; a link to another origin is refused, because
    /// the credential would go there.
    fn own(&self, link: &str) -> Result<String, Refusal> {
        let foreign = || {
            let detail = "the next page is on another host: not followed";
            Refusal::new(Fault::Indeterminate, detail)
        };
        let url = Url::parse(link).map_err(|_| foreign())?;
        if url.origin() != self.base.origin() {
            return Err(foreign());
        }
        let path = url.path().strip_prefix(&self.prefix).ok_or_else(foreign)?;
        Ok(match url.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        })
    }

    /// Reads at most the capped number of bytes.
    async fn body(&self, mut response: reqwest::Response) -> (Vec<u8>, Option<&'static str>) {
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > self.body_max => {
                    return (body, Some("its body is too large"));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => return (body, None),
                Err(_) => return (body, Some("its body broke off")),
            }
        }
    }

    fn refusal(&self, answer: &Unexpected<'_>, unspoken: &Unspoken, now: Time) -> Refusal {
        let status = answer.status;
        let (code, summary) = vendor_words(answer.body, unspoken);
        let own = code.as_deref().and_then(|code| (self.codes)(status, code));
        let fault = own.unwrap_or_else(|| classify::by_status(status, answer.effecting));
        let wait = matches!(fault, Fault::Throttled | Fault::Transient);
        let retry_at = if wait { classify::retry_at(answer.headers, now) } else { None };
        let mut detail = format!("answered {status}");
        if (300..400).contains(&status) {
            detail.push_str(": a redirect, not followed");
        }
        for word in [code.as_deref(), summary.as_deref()].into_iter().flatten() {
            detail.push_str(&format!(": {word}"));
        }
        let detail = unspoken.people(&detail, crate::text::DETAIL_MAX);
        Refusal { fault, retry_at, status: Some(status), code, detail }
    }
}

/// An answer that was not the expected one.
struct Unexpected<'a> {
    status: u16,
    body: &'a [u8],
    headers: &'a header::HeaderMap,
    effecting: bool,
}

fn lost(
    error: &reqwest::Error,
    unspoken: &Unspoken,
    effecting: bool,
    trace: &mut Trace,
) -> Refusal {
    let people = |detail: &str| unspoken.people(detail, crate::text::DETAIL_MAX);
    if error.is_connect() {
        let detail = format!("no connection, nothing was sent: {}", chain(error));
        return Refusal::new(Fault::Transient, people(&detail));
    }
    trace.sent();
    let what = if error.is_timeout() { "no answer in time" } else { "the connection was lost" };
    let detail = format!("{what}: {}", chain(error));
    let fault = if effecting { Fault::Indeterminate } else { Fault::Transient };
    Refusal::new(fault, people(&detail))
}

/// The vendor's code and sentence from an error body: Okta's (`errorCode`), OAuth's (`error`, RFC
/// 6749 section 5.2) and Microsoft's (`error.code`) shapes.
fn vendor_words(body: &[u8], unspoken: &Unspoken) -> (Option<String>, Option<String>) {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return (None, None) };
    let at = |pointer: &str| value.pointer(pointer).and_then(Value::as_str);
    let code = at("/errorCode").or_else(|| at("/error/code")).or_else(|| at("/error"));
    let summary =
        at("/errorSummary").or_else(|| at("/error/message")).or_else(|| at("/error_description"));
    let words = |text: &str, max| unspoken.people(text, max);
    (code.map(|c| words(c, 80)), summary.map(|s| words(s, 160)))
}

fn base_url(text: &str) -> Result<Url, BadConfig> {
    let bad = |why| BadConfig::Url { url: clean(text, 200), why };
    let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadConfig::Url { url: "..".to_owned(), why: "it holds a credential" });
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(bad("it has a query or a fragment"));
    }
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => Ok(url),
        ("http", Some(host)) if is_loopback(host) => Ok(url),
        ("http", _) => Err(bad("`http` is for loopback alone")),
        _ => Err(bad("it must begin with `https://`")),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|ip| ip.is_loopback())
}

type Credential = (Option<(HeaderName, HeaderValue)>, Unspoken);

/// The header, and what must not come back.
fn credential(auth: Auth) -> Result<Credential, BadConfig> {
    let mut unspoken = Unspoken::default();
    let (name, text, secret) = match auth {
        Auth::None => return Ok((None, unspoken)),
        Auth::Bearer(secret) => {
            (header::AUTHORIZATION, format!("Bearer {}", secret.reveal()), secret)
        }
        Auth::Ssws(secret) => (header::AUTHORIZATION, format!("SSWS {}", secret.reveal()), secret),
        Auth::Basic { user, password } => {
            let pair = format!("{user}:{}", password.reveal());
            let encoded = data_encoding::BASE64.encode(pair.as_bytes());
            (header::AUTHORIZATION, format!("Basic {encoded}"), password)
        }
        Auth::Header { name, value } => {
            let name = name.parse().map_err(|_| BadConfig::Member {
                member: "auth",
                why: "its header's name is none".to_owned(),
            })?;
            (name, value.reveal().to_owned(), value)
        }
    };
    unspoken.add(secret.reveal());
    unspoken.add(&text);
    let mut value = HeaderValue::from_str(&text).map_err(|_| BadConfig::Member {
        member: "auth",
        why: "the secret holds characters that a header cannot carry".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok((Some((name, value)), unspoken))
}

/// The causes of an error, joined by colons; addresses are left out.
fn chain(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    if causes.is_empty() { "no further cause".to_owned() } else { causes.join(": ") }
}

//! Sources room: polls the Okta System Log. Follows links on the configured host only, keeps no
//! state, waits for nothing itself and never shows the token.
//!
//! Okta, System Log API: a polling request has no `until` and ascending order; its answers always
//! have a link to the next page, also when they are empty.

mod link;

use std::net::IpAddr;
use std::time::Duration;

use quell_core::time::{DAY, HOUR, MINUTE, SECOND, Time};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LINK, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use thiserror::Error;

use crate::limits::UNPACKED_BYTES_MAX;
use crate::poll::{Cursor, Page, PageState, Poll, PollFault, SecretRef};

/// Records of one page, as Okta allows them.
pub const PAGE_RECORDS_MAX: u16 = 1000;
/// Records of one page, when pages are too large.
pub const PAGE_RECORDS_MIN: u16 = 10;
/// How far before the last record a restart begins, in microseconds.
pub const RESTART_BEFORE: i64 = 15 * MINUTE;
/// How long Okta keeps its log, in microseconds.
pub const KEPT_FOR: i64 = 90 * DAY;
/// How long to wait at most when Okta says when to come again, in microseconds.
pub const WAIT_MAX: i64 = HOUR;
/// How long to wait when Okta does not say, in microseconds.
pub const WAIT_DEFAULT: i64 = MINUTE;
/// How long connecting may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a whole answer may take; Okta itself gives up on a query after 30 s.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// The path of the System Log API.
const LOGS: &str = "/api/v1/logs";

/// How Quell shows who it is.
#[derive(Debug, Clone)]
pub enum OktaCredential {
    /// An API token: `Authorization: SSWS TOKEN`.
    ApiToken(SecretRef),
    /// An OAuth 2 access token with `okta.logs.read`: `Authorization: Bearer TOKEN`.
    AccessToken(SecretRef),
}

/// Polls one Okta organisation.
#[derive(Debug, Clone)]
pub struct OktaPoll {
    client: Client,
    org: Url,
    credential: OktaCredential,
}

/// Why a poller cannot be made from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OktaPollError {
    /// The organisation's address is no `https` origin.
    #[error("`{0}` is no address of an organisation: write `https://HOST`")]
    Org(String),
    /// The HTTP client could not be made.
    #[error("the http client cannot be made: {0}")]
    Client(String),
}

impl OktaPoll {
    /// A poller for the organisation at `https://HOST`; `http` is taken for this machine only.
    ///
    /// # Errors
    /// When the address has anything but a scheme, a host and a port.
    pub fn new(org: &str, credential: OktaCredential) -> Result<Self, OktaPollError> {
        let wrong = || OktaPollError::Org(org.chars().take(200).collect());
        let url = Url::parse(org).map_err(|_| wrong())?;
        let host = url.host_str().ok_or_else(wrong)?;
        let ip = host.trim_matches(&['[', ']'][..]).parse::<IpAddr>();
        let here = host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback());
        let secure = url.scheme() == "https" || (url.scheme() == "http" && here);
        let bare = url.username().is_empty() && url.password().is_none() && url.path() == "/";
        if !secure || !bare || url.query().is_some() || url.fragment().is_some() {
            return Err(wrong());
        }
        let mut builder = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT)
            .user_agent(concat!("quell/", env!("CARGO_PKG_VERSION")));
        if here {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|e| OktaPollError::Client(why(e)))?;
        Ok(Self { client, org: url, credential })
    }

    /// The address to ask: the stored link with the wanted limit, or a polling request.
    fn url(&self, cursor: &Cursor, now: Time) -> Result<Url, PollFault> {
        let limit = cursor.limit.unwrap_or(PAGE_RECORDS_MAX).to_string();
        if let Some(link) = &cursor.link {
            let mut url = self.own(link).ok_or(PollFault::ForeignLink)?;
            if cursor.limit.is_some() {
                let kept: Vec<(String, String)> =
                    url.query_pairs().into_owned().filter(|(name, _)| name != "limit").collect();
                url.query_pairs_mut().clear().extend_pairs(kept).append_pair("limit", &limit);
            }
            return Ok(url);
        }
        let mut url = self.org.clone();
        url.set_path(LOGS);
        let since = cursor.since.unwrap_or(now.plus(-RESTART_BEFORE));
        url.query_pairs_mut()
            .append_pair("since", &millis(since))
            .append_pair("sortOrder", "ASCENDING")
            .append_pair("limit", &limit);
        Ok(url)
    }

    /// A link, if it leads to the System Log of the configured organisation.
    fn own(&self, link: &str) -> Option<Url> {
        let url = Url::parse(link).ok()?;
        let same = url.origin() == self.org.origin() && url.path() == LOGS;
        (same && url.username().is_empty() && url.password().is_none()).then_some(url)
    }

    async fn ask(&self, url: Url) -> Result<Response, PollFault> {
        let (word, secret) = match &self.credential {
            OktaCredential::ApiToken(secret) => ("SSWS", secret),
            OktaCredential::AccessToken(secret) => ("Bearer", secret),
        };
        let value = HeaderValue::from_str(&format!("{word} {}", secret.resolve()?));
        let mut value =
            value.map_err(|_| PollFault::Secret("it cannot stand in a header".to_owned()))?;
        value.set_sensitive(true);
        let request = self.client.get(url).header(AUTHORIZATION, value);
        let answer = request.header(ACCEPT, "application/json").send().await;
        answer.map_err(|error| PollFault::Unreachable(why(error)))
    }

    /// The page of a good answer.
    fn page(
        &self,
        cursor: &Cursor,
        headers: &HeaderMap,
        body: Vec<u8>,
        now: Time,
    ) -> Result<Page, PollFault> {
        let records: Vec<Published<'_>> = serde_json::from_slice(&body)
            .map_err(|e| PollFault::Garbage(crate::body::json_fault(&e)))?;
        let is_empty = records.is_empty();
        let times = records.iter().filter_map(|r| Time::parse(r.published.as_deref()?));
        let last = times.map(|moment| moment.t).filter(|t| *t <= now).max();
        let published = cursor.published.max(last);
        let link = match link::next(headers.get_all(LINK).iter()) {
            Some(next) => Some(self.own(next).ok_or(PollFault::ForeignLink)?.to_string()),
            None if is_empty => cursor.link.clone(),
            None => None,
        };
        let next = Cursor {
            since: if link.is_some() { None } else { published.or(cursor.since) },
            link,
            published,
            limit: cursor.limit.map(|l| l.saturating_mul(2)).filter(|l| *l < PAGE_RECORDS_MAX),
        };
        let state = if is_empty { PageState::CaughtUp } else { PageState::More };
        Ok(Page { body, next, state, not_before: nearly_used_up(headers, now) })
    }
}

impl Poll for OktaPoll {
    async fn next(&self, cursor: &Cursor, now: Time) -> Result<Page, PollFault> {
        let answer = self.ask(self.url(cursor, now)?).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        match status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(PollFault::Credential(status.as_u16()));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                return Err(PollFault::Throttled { until: come_again(&headers, now) });
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND if cursor.link.is_some() => {
                return Ok(restart(cursor, now));
            }
            status if status.is_server_error() => return Err(PollFault::Server(status.as_u16())),
            status => return Err(PollFault::Refused(status.as_u16())),
        }
        match read_capped(answer).await? {
            Some(body) => self.page(cursor, &headers, body, now),
            None => Err(match cursor.with_fewer(PAGE_RECORDS_MAX, PAGE_RECORDS_MIN) {
                Some(retry) => PollFault::TooLarge { retry: Box::new(retry) },
                None => PollFault::TooLargeStill,
            }),
        }
    }
}

/// The only member that polling reads of a record.
#[derive(Deserialize)]
struct Published<'b> {
    #[serde(borrow, default)]
    published: Option<std::borrow::Cow<'b, str>>,
}

/// A page without records whose cursor begins a little before the last one.
fn restart(cursor: &Cursor, now: Time) -> Page {
    let from = cursor.published.or(cursor.since).unwrap_or(now).plus(-RESTART_BEFORE);
    let oldest = now.plus(-KEPT_FOR);
    let next = Cursor {
        link: None,
        since: Some(from.max(oldest)),
        published: cursor.published,
        limit: cursor.limit,
    };
    let state = if from < oldest { PageState::Gap } else { PageState::Restarted };
    Page { body: b"[]".to_vec(), next, state, not_before: None }
}

/// The body, read as it comes; none when it grows over the cap.
async fn read_capped(mut answer: Response) -> Result<Option<Vec<u8>>, PollFault> {
    let mut body = Vec::new();
    while let Some(chunk) =
        answer.chunk().await.map_err(|error| PollFault::Unreachable(why(error)))?
    {
        if body.len() + chunk.len() > UNPACKED_BYTES_MAX {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// When to ask again after 429: `X-Rate-Limit-Reset` in seconds since 1970, `Retry-After` in
/// seconds, the later of both, within an hour.
fn come_again(headers: &HeaderMap, now: Time) -> Time {
    let reset = number(headers, "x-rate-limit-reset").and_then(|s| s.checked_mul(SECOND));
    let after = number(headers, RETRY_AFTER.as_str()).and_then(|s| s.checked_mul(SECOND));
    let until = reset.map(Time).max(after.map(|micros| now.plus(micros)));
    let until = until.filter(|until| *until > now).unwrap_or(now.plus(WAIT_DEFAULT));
    until.min(now.plus(WAIT_MAX))
}

/// When less than a tenth of the allowance is left, the time of its renewal.
fn nearly_used_up(headers: &HeaderMap, now: Time) -> Option<Time> {
    let limit = number(headers, "x-rate-limit-limit")?;
    let left = number(headers, "x-rate-limit-remaining")?;
    (left.checked_mul(10)? < limit).then(|| come_again(headers, now))
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    let number: i64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    (number >= 0).then_some(number)
}

/// RFC 3339 with milliseconds, as Okta writes it.
fn millis(time: Time) -> String {
    let text = time.to_string();
    let text = text.strip_suffix('Z').and_then(|t| t.get(..t.len().saturating_sub(3)));
    text.map_or_else(|| time.to_string(), |text| format!("{text}Z"))
}

/// Why a call failed, without the address that was asked.
fn why(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "not in time".to_owned();
    }
    if error.is_connect() {
        return "no connection".to_owned();
    }
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests;

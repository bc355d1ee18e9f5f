//! The page to people: one signed POST by Standard Webhooks 1.0.0. It is not a target: it changes
//! nothing at a provider, and a page may come twice; the receiver tells by `webhook-id`.
//!
//! Source: Standard Webhooks specification 1.0.0 (headers, signed text, symmetric signatures).

use hmac::{Hmac, KeyInit as _, Mac as _};
use quell_core::order::Fault;
use quell_core::time::{HOUR, MINUTE, SECOND, Time};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::secret::Secret;
use crate::target::{Refusal, Trace};
use crate::vendor::{AGENT, Ask, Auth, BadConfig, VendorClient, VendorConfig};

/// Largest body, bytes: a page is thin, it names ids and leaves the rest to the console.
pub const BODY_MAX: usize = 20_000;

/// What the pager needs to know.
#[derive(Debug, Clone)]
pub struct PagerConfig {
    /// The receiver's whole address; `https`, or `http` on loopback alone.
    pub url: String,
    /// `whsec_` and base64 of 24 to 64 bytes; while a key is changed, the old and the new one.
    pub secrets: Vec<Secret>,
}

/// Delivers pages.
#[derive(Debug)]
pub struct Pager {
    client: VendorClient,
    path: String,
    keys: Vec<Key>,
}

struct Key(Vec<u8>);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A page that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Undelivered {
    /// The class. `transient`, `throttled` and `indeterminate` are worth another attempt;
    /// `unknown_subject` (404, 410) means that the address is gone: switch it off and say so.
    pub fault: Fault,
    /// Not before this time, when the receiver said so.
    pub retry_at: Option<Time>,
    /// One sentence for people.
    pub detail: String,
}

impl Undelivered {
    /// The pair that dispatch keeps.
    pub fn pair(&self) -> (Fault, Option<Time>) {
        (self.fault, self.retry_at)
    }
}

impl From<Refusal> for Undelivered {
    fn from(refusal: Refusal) -> Self {
        let Refusal { fault, retry_at, status: _, code: _, detail } = refusal;
        Self { fault, retry_at, detail }
    }
}

impl Pager {
    /// Builds the pager; nothing is sent.
    ///
    /// # Errors
    /// [`BadConfig`] for an address as in [`VendorClient::new`], or a secret of another shape.
    pub fn new(config: &PagerConfig) -> Result<Self, BadConfig> {
        if config.secrets.is_empty() || config.secrets.len() > 4 {
            let why = "one to four are needed".to_owned();
            return Err(BadConfig::Member { member: "secrets", why });
        }
        let keys = config.secrets.iter().map(key).collect::<Result<_, _>>()?;
        let (origin, path) = split(&config.url)?;
        let vendor = VendorConfig { body_max: 64 << 10, ..VendorConfig::new(origin, Auth::None) };
        Ok(Self { client: VendorClient::new(vendor)?, path, keys })
    }

    /// Sends one page once. `id` is the same for every attempt of a page and is the receiver's
    /// key for throwing repetitions away; `body` is JSON.
    ///
    /// *Crash*: the page may have arrived; deliver it again under the same id.
    ///
    /// # Errors
    /// [`Undelivered`]; a redirect is a failure and is not followed.
    pub async fn deliver(&self, id: &str, body: &[u8], now: Time) -> Result<(), Undelivered> {
        let ask = self.ask(id, body, now)?;
        self.client.send(ask, now, &mut Trace::default()).await?;
        Ok(())
    }

    fn ask(&self, id: &str, body: &[u8], now: Time) -> Result<Ask, Refusal> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if id.is_empty() || id.len() > 64 || !id.bytes().all(fine) {
            let detail = "the page's id is not usable: nothing was sent";
            return Err(Refusal::new(Fault::BadRequest, detail));
        }
        if body.len() > BODY_MAX {
            let detail = format!("the page has {} bytes, {BODY_MAX} are allowed", body.len());
            return Err(Refusal::new(Fault::BadRequest, detail));
        }
        let timestamp = now.0.div_euclid(SECOND).to_string();
        let header = |name: &'static str, text: &str| {
            let value = HeaderValue::from_str(text).map_err(|_| {
                Refusal::new(Fault::BadRequest, "a header cannot be written: nothing was sent")
            })?;
            Ok((HeaderName::from_static(name), value))
        };
        let mut ask = Ask::act(Method::POST, self.path.clone(), AGENT);
        ask.headers = vec![
            header("webhook-id", id)?,
            header("webhook-timestamp", &timestamp)?,
            header("webhook-signature", &self.signatures(id, &timestamp, body)?)?,
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ];
        ask.body = Some(body.to_vec());
        Ok(ask)
    }

    /// `v1,<base64>` for each key, separated by spaces, over `{id}.{timestamp}.{body}`.
    fn signatures(&self, id: &str, timestamp: &str, body: &[u8]) -> Result<String, Refusal> {
        let mut entries = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).map_err(|_| {
                Refusal::new(Fault::BadRequest, "the key is not usable: nothing was sent")
            })?;
            for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            let tag = mac.finalize().into_bytes();
            entries.push(format!("v1,{}", data_encoding::BASE64.encode(&tag)));
        }
        Ok(entries.join(" "))
    }
}

/// How long to wait after the given attempt (from 1) of a page when the receiver did not say,
/// microseconds; none when it is time to tell the owner by another way. Up to a tenth more,
/// spread by the id, so that pages do not come in step.
pub fn gap(id: &str, attempt: u32) -> Option<i64> {
    const GAPS: [i64; 9] = [
        5 * SECOND,
        5 * MINUTE,
        30 * MINUTE,
        2 * HOUR,
        5 * HOUR,
        10 * HOUR,
        14 * HOUR,
        20 * HOUR,
        24 * HOUR,
    ];
    let place = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let gap = GAPS.get(place)?;
    let spread = id.bytes().chain(attempt.to_be_bytes());
    let spread = spread.fold(7_u32, |sum, b| sum.wrapping_mul(31).wrapping_add(u32::from(b)));
    Some(gap + gap / 1000 * i64::from(spread % 100))
}

fn key(secret: &Secret) -> Result<Key, BadConfig> {
    let bad = |why: &str| BadConfig::Member { member: "secrets", why: why.to_owned() };
    let text = secret.reveal().strip_prefix("whsec_");
    let text = text.ok_or_else(|| bad("a secret begins with `whsec_`"))?;
    let bytes = data_encoding::BASE64.decode(text.as_bytes());
    let bytes = bytes.map_err(|_| bad("behind `whsec_` stands base64"))?;
    if !(24..=64).contains(&bytes.len()) {
        return Err(bad("a secret has 24 to 64 bytes"));
    }
    Ok(Key(bytes))
}

/// The origin and the rest of an address.
fn split(url: &str) -> Result<(String, String), BadConfig> {
    let bad = |why| BadConfig::Url { url: crate::text::clean(url, 200), why };
    let parsed = reqwest::Url::parse(url).map_err(|_| bad("it is no URL"))?;
    if parsed.fragment().is_some() || !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(bad("it has a fragment or a credential"));
    }
    let path = match parsed.query() {
        Some(query) => format!("{}?{query}", parsed.path()),
        None => parsed.path().to_owned(),
    };
    Ok((parsed.origin().ascii_serialization(), path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn pager(secrets: &[&str]) -> Result<Pager, BadConfig> {
        let secrets = secrets.iter().map(|s| Secret::new(*s)).collect();
        Pager::new(&PagerConfig { url: "http://127.0.0.1:9/hook?a=1".to_owned(), secrets })
    }

    #[test]
    fn signs_the_published_vector() {
        // the example of the Standard Webhooks specification and its reference libraries
        let pager = pager(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let got = pager.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body).unwrap();
        assert_eq!(got, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn refuses_what_cannot_be_signed_or_sent() {
        let pager = pager(&["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let check = |id: &str, len: usize| match pager.ask(id, &vec![b' '; len], Time(0)) {
            Ok(ask) => format!("{} {}", ask.method, ask.path),
            Err(refusal) => refusal.detail,
        };
        let long = "a".repeat(65);
        let got = [check("apr_x", 2), check("a.b", 2), check(&long, 2), check("a", 20_001)];
        expect![[r#"
            POST /hook?a=1
            the page's id is not usable: nothing was sent
            the page's id is not usable: nothing was sent
            the page has 20001 bytes, 20000 are allowed"#]]
        .assert_eq(&got.join("\n"));
    }

    #[test]
    fn two_keys_sign_side_by_side_and_odd_keys_are_refused() {
        let one = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let two = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        let both = pager(&[one, two]).unwrap().signatures("a", "1", b"{}").unwrap();
        assert_eq!(both.split(' ').count(), 2);
        let why = |secrets: &[&str]| pager(secrets).unwrap_err().to_string();
        let got = [why(&[]), why(&["abc"]), why(&["whsec_%"]), why(&["whsec_AAAA"])].join("\n");
        expect![[r#"
            `secrets` is not usable: one to four are needed
            `secrets` is not usable: a secret begins with `whsec_`
            `secrets` is not usable: behind `whsec_` stands base64
            `secrets` is not usable: a secret has 24 to 64 bytes"#]]
        .assert_eq(&got);
        assert_eq!(format!("{:?}", pager(&[one]).unwrap().keys), "[Key(..)]");
    }

    #[test]
    fn gaps_grow_and_end() {
        let gaps: Vec<Option<i64>> = (0..=10).map(|n| gap("page", n)).collect();
        assert_eq!((gaps[0], gaps[10]), (None, None));
        let known: Vec<i64> = gaps.into_iter().flatten().collect();
        assert_eq!(known.len(), 9);
        assert!(known.windows(2).all(|w| w[0] < w[1]), "{known:?}");
        assert!((5 * SECOND..6 * SECOND).contains(&known[0]));
    }
}

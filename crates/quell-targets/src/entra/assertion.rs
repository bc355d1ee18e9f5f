//! Entra ID: the assertion by which a certificate proves the application (RFC 7523 section 2.2):
//! PS256 with `x5t#S256`. The private key stays here.

use std::fmt;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use quell_core::order::Fault;
use quell_core::time::{MINUTE, SECOND, Time};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::secret::Secret;
use crate::target::Refusal;
use crate::text::clean;
use crate::vendor::BadConfig;

/// How long an assertion is good for, and how far it reaches back for clocks that differ,
/// microseconds.
const LIFE: i64 = 9 * MINUTE;
const BACK: i64 = MINUTE;

/// Signs assertions.
pub(super) struct Signer {
    key: EncodingKey,
    header: Header,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("x5t#S256", &self.header.x5t_s256).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

impl Signer {
    /// From a PEM text with a certificate and its RSA private key, in either order.
    ///
    /// # Errors
    /// [`BadConfig::Member`] when either is missing or cannot be read; the text is not told.
    pub(super) fn new(pem: &Secret) -> Result<Self, BadConfig> {
        let bad = |why: &str| BadConfig::Member { member: "certificate", why: why.to_owned() };
        let certificate = block(pem.reveal(), &["CERTIFICATE"])
            .ok_or_else(|| bad("it holds no certificate in PEM"))?;
        let body: String = certificate
            .lines()
            .filter(|line| !line.starts_with("-----"))
            .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()))
            .collect();
        let der = BASE64.decode(body.as_bytes());
        let der = der.map_err(|_| bad("its certificate is no base64"))?;
        let key = block(pem.reveal(), &["PRIVATE KEY", "RSA PRIVATE KEY"])
            .ok_or_else(|| bad("it holds no private key in PEM (`PRIVATE KEY`)"))?;
        let key = EncodingKey::from_rsa_pem(key.as_bytes())
            .map_err(|_| bad("its private key is no RSA key that can be read"))?;
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(BASE64URL_NOPAD.encode(&Sha256::digest(&der)));
        let signer = Self { key, header };
        // a key that cannot sign is found at the start, not in the first incident
        signer.sign("quell", "quell", Time::default()).map_err(|refusal| bad(&refusal.detail))?;
        Ok(signer)
    }

    /// An assertion for one request.
    ///
    /// # Errors
    /// [`Fault::AuthBroken`] when the key cannot sign.
    pub(super) fn sign(&self, client: &str, audience: &str, now: Time) -> Result<Secret, Refusal> {
        let cannot = |why: &str| {
            let detail = format!("the assertion cannot be signed: {}", clean(why, 120));
            Refusal::new(Fault::AuthBroken, detail)
        };
        let mut id = [0_u8; 16];
        getrandom::fill(&mut id).map_err(|e| cannot(&e.to_string()))?;
        let seconds = |t: Time| t.0.div_euclid(SECOND);
        let claims = Claims {
            aud: audience,
            iss: client,
            sub: client,
            jti: HEXLOWER.encode(&id),
            nbf: seconds(now.plus(-BACK)),
            iat: seconds(now),
            exp: seconds(now.plus(LIFE)),
        };
        let signed = jsonwebtoken::encode(&self.header, &claims, &self.key);
        signed.map(Secret::new).map_err(|e| cannot(&e.to_string()))
    }
}

/// The first block of a PEM text (RFC 7468) under one of some labels, its lines of begin and end
/// included.
fn block<'a>(text: &'a str, labels: &[&str]) -> Option<&'a str> {
    labels.iter().find_map(|label| {
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        let (before, rest) = text.split_once(&begin)?;
        let (body, _) = rest.split_once(&end)?;
        text.get(before.len()..before.len() + begin.len() + body.len() + end.len())
    })
}

#[cfg(test)]
mod tests;

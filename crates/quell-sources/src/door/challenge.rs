//! Sources room: the one GET by which Okta asks whether an event hook is ours. Reads no body and
//! acts on nothing.

use serde_json::json;

use super::{Headers, Refusal, text};

/// Bytes of a challenge.
const CHALLENGE_BYTES_MAX: usize = 512;

/// The body of the answer, 200 `application/json`, to a verification request of Okta's event hooks:
/// `{"verification": CHALLENGE}` (Okta, event hooks concepts, one-time verification request).
///
/// # Errors
/// [`Refusal::Header`] when there is no challenge of plain characters.
pub fn verification_answer(headers: &Headers<'_>) -> Result<String, Refusal> {
    const NAME: &str = "x-okta-verification-challenge";
    let challenge = text(headers, NAME).filter(|challenge| {
        let fits = !challenge.is_empty() && challenge.len() <= CHALLENGE_BYTES_MAX;
        fits && challenge.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let challenge = challenge.ok_or(Refusal::Header(NAME))?;
    Ok(json!({ "verification": challenge }).to_string())
}

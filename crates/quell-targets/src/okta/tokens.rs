//! Okta: how many refresh tokens of a user are listed. Reads only.

use quell_core::order::{Call, Fault};
use quell_core::time::Time;
use serde_json::Value;

use super::{Okta, user_path};
use crate::target::{Refusal, Trace};
use crate::vendor::{Ask, agent};

/// Clients and pages that are looked at; beyond that the count is incomplete.
const CLIENTS_MAX: usize = 50;
const PAGES_MAX: usize = 10;

/// Items a page that the calls ask for.
pub(super) const LIST_PAGE: usize = 200;
pub(super) const LOG_PAGE: usize = 1_000;

/// Refresh tokens, as far as they were listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tokens {
    /// How many were seen.
    pub(super) count: usize,
    /// Everything was looked at.
    pub(super) complete: bool,
}

impl Okta {
    /// Lists the user's clients and their refresh tokens; stops at the first one when only
    /// `any` is asked for.
    pub(super) async fn tokens(
        &self,
        call: &Call,
        any: bool,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Tokens, Refusal> {
        let user = user_path(call)?;
        let path = format!("{user}/clients?limit={LIST_PAGE}");
        let clients = self.pages(&path, LIST_PAGE, any, call, now, trace).await?;
        let mut tokens =
            Tokens { count: 0, complete: clients.complete && clients.items.len() <= CLIENTS_MAX };
        for client in clients.items.iter().take(CLIENTS_MAX) {
            let Some(id) = client.get("client_id").and_then(Value::as_str) else {
                let why = "the list of clients holds one without an id";
                return Err(Refusal::new(Fault::Indeterminate, why));
            };
            let id = crate::text::encode(id);
            let path = format!("{user}/clients/{id}/tokens?limit={LIST_PAGE}");
            let listed = match self.pages(&path, LIST_PAGE, any, call, now, trace).await {
                Ok(listed) => listed,
                // the client's last token went between the two calls
                Err(refusal) if refusal.fault == Fault::UnknownSubject => continue,
                Err(refusal) => return Err(refusal),
            };
            for item in &listed.items {
                match is_live(item) {
                    Some(live) => tokens.count += usize::from(live),
                    None => tokens.complete = false,
                }
            }
            tokens.complete &= listed.complete;
            if any && tokens.count > 0 {
                break;
            }
        }
        Ok(tokens)
    }

    /// Follows the vendor's next links over a list of up to `full` items a page; `quick` reads the
    /// first page alone, because containment waits for the probe.
    ///
    /// The System Log always names a next page. It is read to the end when a page is empty, or
    /// when two in a row are not full: an account that is busy right now must not keep us reading.
    pub(super) async fn pages(
        &self,
        path: &str,
        full: usize,
        quick: bool,
        call: &Call,
        now: Time,
        trace: &mut Trace,
    ) -> Result<Pages, Refusal> {
        let mut pages = Pages { items: Vec::new(), complete: false, date: None };
        let mut path = path.to_owned();
        let mut short = false;
        for _ in 0..PAGES_MAX {
            let reply = self.client.send(Ask::get(path, &agent(call)), now, trace).await?;
            let Value::Array(items) = reply.json()? else {
                let why = "the answer proves nothing: it is no list";
                return Err(Refusal::new(Fault::Indeterminate, why));
            };
            let (empty, again) = (items.is_empty(), short);
            short = items.len() < full;
            pages.items.extend(items);
            pages.date = pages.date.or(reply.date);
            let ended = empty || (short && again);
            match reply.next {
                Some(_) if quick => break,
                Some(next) if !ended => path = next,
                _ => {
                    pages.complete = true;
                    break;
                }
            }
        }
        Ok(pages)
    }
}

/// Whether an item of the list is a refresh token that lives; none for what is no token as Okta
/// writes them, so that nobody can tell what it says.
fn is_live(item: &Value) -> Option<bool> {
    item.get("id").and_then(Value::as_str).filter(|id| !id.is_empty())?;
    match item.get("status") {
        None => Some(true),
        Some(status) => match status.as_str()? {
            "ACTIVE" => Some(true),
            "REVOKED" => Some(false),
            _ => None,
        },
    }
}

/// A list as far as it was read.
#[derive(Debug)]
pub(super) struct Pages {
    /// The items.
    pub(super) items: Vec<Value>,
    /// The last page was reached.
    pub(super) complete: bool,
    /// The vendor's clock at the first page.
    pub(super) date: Option<Time>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_token_counts_as_one() {
        let check = |text: &str, want: Option<bool>| {
            let item: Value = serde_json::from_str(text).unwrap();
            assert_eq!(is_live(&item), want, "{text}");
        };
        check(r#"{"id":"oar1","status":"ACTIVE"}"#, Some(true));
        check(r#"{"id":"oar1"}"#, Some(true));
        check(r#"{"id":"oar1","status":"REVOKED"}"#, Some(false));
        check(r#"{"id":"oar1","status":"SOMETHING"}"#, None);
        check(r#"{"id":"oar1","status":null}"#, None);
        check(r#"{"id":"oar1","status":1}"#, None);
        check(r#"{"id":""}"#, None);
        check(r#"{"id":1,"status":"ACTIVE"}"#, None);
        check(r#"{"status":"ACTIVE"}"#, None);
        check("[\"id\"]", None);
        check("1", None);
        check("null", None);
    }
}

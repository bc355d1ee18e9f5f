//! The lab's attacks as records in the vendors' own shapes: Proofpoint TAP (SIEM API v2) and Okta
//! System Log. Pure: times are given, so that the same attack is the same bytes.

use quell_core::time::{DAY, HOUR, MINUTE, SECOND, Time};
use serde_json::{Value, json};

use crate::company::{Person, Place, okta_id};
use crate::event::{self, Event, Party, milliseconds, uuid};

/// The phishing campaign of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lure {
    /// The page.
    pub url: String,
    /// The envelope sender.
    pub sender: String,
    /// The sending host.
    pub sender_ip: String,
    /// The subject line.
    pub subject: String,
}

impl Default for Lure {
    fn default() -> Self {
        Self {
            url: "https://sign-in.example.org/session/renew".to_owned(),
            sender: "it-desk@example.org".to_owned(),
            sender_ip: "198.51.100.25".to_owned(),
            subject: "Your session runs out today".to_owned(),
        }
    }
}

impl Lure {
    fn threat(&self) -> String {
        digest(&["threat", &self.url])
    }

    fn guid(&self, to: &Person) -> String {
        okta_id("guid", &format!("{}{}", self.url, to.address))
    }

    fn message_id(&self, to: &Person) -> String {
        format!("<{}@example.org>", okta_id("m", &format!("{}{}", self.url, to.address)))
    }
}

/// Where the attacker comes from: another network, browser and device than anybody's.
pub fn attacker() -> Place {
    Place {
        ip: "198.51.100.77".to_owned(),
        user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
            .to_owned(),
        device: "unregistered-198".to_owned(),
    }
}

/// A body of the TAP SIEM API's `all` call. Order of the lists is the order given.
pub fn tap(permitted: &[Value], delivered: &[Value], query_end: Time) -> Value {
    json!({
        "queryEndTime": seconds(query_end),
        "clicksPermitted": permitted,
        "clicksBlocked": [],
        "messagesDelivered": delivered,
        "messagesBlocked": [],
    })
}

/// One record of `clicksPermitted`: the person opened the page from the usual place; the verdict
/// stood at `judged`. TAP writes the record when it has both.
pub fn click_permitted(person: &Person, lure: &Lure, at: Time, judged: Time) -> Value {
    json!({
        "GUID": lure.guid(person),
        "campaignId": null,
        "classification": "phish",
        "clickIP": person.usual.ip,
        "clickTime": milliseconds(at),
        "id": uuid(&["click", &person.address, &lure.url, &at.to_string()]),
        "messageID": lure.message_id(person),
        "recipient": person.address,
        "sender": lure.sender,
        "senderIP": lure.sender_ip,
        "threatID": lure.threat(),
        "threatStatus": "active",
        "threatTime": milliseconds(judged),
        "threatURL": format!("https://threat.example.net/v2/{}", lure.threat()),
        "url": lure.url,
        "userAgent": person.usual.user_agent,
    })
}

/// One record of `messagesDelivered`: a phishing mail that reached the person.
pub fn message_delivered(person: &Person, lure: &Lure, at: Time) -> Value {
    json!({
        "GUID": lure.guid(person),
        "QID": okta_id("q", &lure.message_id(person)),
        "ccAddresses": [],
        "cluster": "example_hosted",
        "completelyRewritten": true,
        "fromAddress": [lure.sender],
        "headerFrom": format!("\"IT desk\" <{}>", lure.sender),
        "headerReplyTo": null,
        "id": uuid(&["message", &person.address, &lure.url, &at.to_string()]),
        "impostorScore": 0.0,
        "malwareScore": 0,
        "messageID": lure.message_id(person),
        "messageParts": [{
            "contentType": "text/html",
            "disposition": "inline",
            "filename": "text.html",
            "md5": "00000000000000000000000000000000",
            "oContentType": "text/html",
            "sandboxStatus": null,
            "sha256": digest(&["part", &lure.subject]),
        }],
        "messageSize": 4_812,
        "messageTime": milliseconds(at),
        "modulesRun": ["av", "spf", "dkimv", "spam", "urldefense"],
        "phishScore": 100,
        "policyRoutes": ["default_inbound"],
        "quarantineFolder": null,
        "quarantineRule": null,
        "recipient": [person.address],
        "replyToAddress": [],
        "sender": lure.sender,
        "senderIP": lure.sender_ip,
        "spamScore": 68,
        "subject": lure.subject,
        "threatsInfoMap": [{
            "campaignID": null,
            "classification": "phish",
            "threat": lure.url,
            "threatID": lure.threat(),
            "threatStatus": "active",
            "threatTime": milliseconds(at.plus(2 * MINUTE)),
            "threatType": "url",
            "threatUrl": format!("https://threat.example.net/v2/{}", lure.threat()),
        }],
        "toAddresses": [person.address],
        "xmailer": null,
    })
}

/// The person's own sign-ins of the 20 days before `now`: 15 mornings from the usual place, as
/// System Log events, oldest first. Without an account at the provider there are none.
pub fn sign_in_history(person: &Person, now: Time) -> Vec<Value> {
    const DAYS: [i64; 15] = [20, 19, 18, 17, 16, 13, 12, 11, 10, 9, 6, 5, 4, 3, 2];
    let spread = i64::try_from(person.address.len()).unwrap_or(0);
    let at = |day: &i64| now.plus(-day * DAY + 2 * HOUR + day * 7 * MINUTE + spread * SECOND);
    DAYS.iter().filter_map(|day| sign_in(person, &person.usual, at(day))).collect()
}

/// A successful sign-in as a System Log event; none without an account at the provider.
pub fn sign_in(person: &Person, from: &Place, at: Time) -> Option<Value> {
    user_event(person, from, at, event::SESSION_START, ("SUCCESS", None), "INFO", true)
}

/// A failed sign-in: anybody who knows the login can cause it.
pub fn sign_in_failed(person: &Person, from: &Place, at: Time) -> Option<Value> {
    let outcome = ("FAILURE", Some("INVALID_CREDENTIALS"));
    user_event(person, from, at, event::SESSION_FAILED, outcome, "WARN", false)
}

/// Okta saw a breached password used in a sign-in.
pub fn breached_credential(person: &Person, from: &Place, at: Time) -> Option<Value> {
    user_event(person, from, at, event::BREACHED, ("SUCCESS", None), "WARN", false)
}

fn user_event(
    person: &Person,
    from: &Place,
    at: Time,
    what: event::What,
    outcome: (&str, Option<&str>),
    severity: &str,
    session: bool,
) -> Option<Value> {
    let account = person.account()?;
    let parts = [what.kind, outcome.0, &account.id, &from.ip, &at.to_string()];
    let login = account.login.as_deref().unwrap_or(&person.address);
    let user = Party::user(&account.id, login, &person.identity.name);
    let event = Event {
        at,
        uuid: uuid(&parts),
        what,
        outcome,
        severity,
        actor: user.clone(),
        targets: vec![user],
        from: from.clone(),
        session: session.then(|| okta_id("idx", &parts.join("/"))),
        transaction: okta_id("trn", &parts.join("/")),
        api_token: None,
        uri: "/idp/idx/identify".to_owned(),
        debug: Vec::new(),
    };
    Some(event.json())
}

/// Hex of a SHA-256.
fn digest(parts: &[&str]) -> String {
    use sha2::Digest as _;
    let bytes = sha2::Sha256::digest(parts.join("\u{1f}").as_bytes());
    data_encoding::HEXLOWER.encode(&bytes)
}

/// RFC 3339 in whole seconds, as TAP writes its query times.
fn seconds(t: Time) -> String {
    let whole = t.to_string();
    whole.split_at_checked(19).map_or_else(|| whole.clone(), |(head, _)| format!("{head}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::company::company;
    use expect_test::expect_file;

    fn now() -> Time {
        Time::parse("2026-11-20T10:00:00Z").unwrap().t
    }

    #[test]
    fn the_records_are_the_same_bytes_every_time() {
        let company = company();
        let alice = company.person("alice").unwrap();
        let lure = Lure::default();
        let check = |name: &str, value: &Value| {
            let text = serde_json::to_string_pretty(value).unwrap();
            let path = format!("{}/tests/records/{name}.json", env!("CARGO_MANIFEST_DIR"));
            expect_file![path].assert_eq(&format!("{text}\n"));
        };
        let click = click_permitted(alice, &lure, now(), now().plus(20 * SECOND));
        let mail = message_delivered(alice, &lure, now().plus(-HOUR));
        check("tap", &tap(&[click], &[mail], now().plus(MINUTE)));
        check("sign_in", &sign_in(alice, &attacker(), now()).unwrap());
        check("sign_in_failed", &sign_in_failed(alice, &attacker(), now()).unwrap());
        check("breached_credential", &breached_credential(alice, &attacker(), now()).unwrap());
    }

    #[test]
    fn the_history_is_warm_and_from_the_usual_place() {
        let company = company();
        let alice = company.person("alice").unwrap();
        let history = sign_in_history(alice, now());
        assert!(history.len() >= 12);
        let at = |e: &Value| Time::parse(e["published"].as_str().unwrap()).unwrap().t;
        assert!(history.windows(2).all(|w| at(&w[0]) < at(&w[1])));
        assert!(history.iter().all(|e| at(e) < now() && now().since(at(e)) <= 20 * DAY));
        assert!(history.iter().all(|e| e["client"]["ipAddress"] == alice.usual.ip.as_str()));
        let mut ids: Vec<&str> = history.iter().map(|e| e["uuid"].as_str().unwrap()).collect();
        ids.dedup();
        assert_eq!(ids.len(), history.len());
        assert!(sign_in_history(company.person("shared").unwrap(), now()).is_empty());
    }
}

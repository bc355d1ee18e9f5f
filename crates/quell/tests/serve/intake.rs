//! What strangers and broken senders get from the intake listener, one row each: status, answer,
//! and which rejects were stored. After each of them a good record still works.

use std::io::Write as _;

use expect_test::expect;
use flate2::Compression;
use flate2::write::GzEncoder;
use hmac::{Hmac, KeyInit as _, Mac as _};
use quell_core::time::{MINUTE, SECOND, Time};
use quell_lab::{Person, attack};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::common::{self, Folder, Serve};

const BEARER: &str = "invented-bearer-secret";
const SIGNING: &str = "invented-signing-secret";

const SETTINGS: &str = r#"
[[source]]
name = "okta"
bearer = ["file:okta.token"]

[[source]]
name = "hook"
pack = "okta"
hmac = ["file:hook.secret"]
"#;

/// The wire's limit and what gzip may unpack to, as `docs/` tells them.
const WIRE_MAX: usize = 2 << 20;
const UNPACKED_MAX: usize = 16 << 20;

fn good(person: &Person, at: Time) -> Value {
    attack::sign_in(person, &person.usual, at).unwrap()
}

fn with_time(person: &Person, published: &str) -> String {
    let mut event = good(person, common::now());
    *event.get_mut("published").unwrap() = json!(published);
    event.to_string()
}

fn nested(levels: usize) -> String {
    format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels))
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A body signed as `docs/sources` says.
fn signed(serve: &Serve<'_>, secret: &str, sent: Time, body: &str) -> RequestBuilder {
    let timestamp = sent.0 / SECOND;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{body}").as_bytes());
    let proof = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    let request = serve.source("hook").body(body.to_owned());
    let request = request.header("x-quell-signature", format!("sha256={proof}"));
    request.header("x-quell-timestamp", timestamp.to_string())
}

/// The stored rejects from a place in the log on, and the place after them.
async fn rejects(serve: &Serve<'_>, from: u64) -> (Vec<String>, u64) {
    let rows = serve.get(&format!("/v1/records?type=rejected&from={from}")).await;
    let rows = rows.as_array().unwrap();
    let seq = |row: &Value| row.get("seq").and_then(Value::as_u64).unwrap();
    let told = rows.iter().map(|row| {
        let member = |name: &str| row.pointer(name).cloned().unwrap_or_default().to_string();
        assert!(row.to_string().len() < 2048, "a reject is not bounded: {row}");
        format!("{} {}", member("/body/source"), member("/body/counts"))
    });
    (told.collect(), rows.last().map_or(from, |row| seq(row) + 1))
}

/// An answer without what differs from run to run.
fn told(answer: &Value) -> String {
    let Some(records) = answer.get("records").and_then(Value::as_array) else {
        return answer.to_string();
    };
    let one = |record: &Value| match record.get("signals").and_then(Value::as_array) {
        Some(signals) => format!("{} signal(s)", signals.len()),
        None => record.to_string(),
    };
    records.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_proven_or_not_readable_is_refused_and_loses_nothing() {
    let quell = Folder::init().await;
    quell.settings(SETTINGS);
    quell.secret("okta.token", BEARER);
    quell.secret("hook.secret", SIGNING);
    let serve = quell.serve().await;
    let company = quell_lab::company();
    let alice = company.person("alice").unwrap();
    let mut rows = String::new();
    let mut from = 0;
    let future = common::now().plus(10 * MINUTE).to_string();
    for (n, (name, request)) in requests(&serve, alice, &future).into_iter().enumerate() {
        let (status, answer) = serve.send(request).await;
        let stored;
        (stored, from) = rejects(&serve, from).await;
        rows += &format!("{name}: {status} {}\n", told(&answer).replace(&future, "FUTURE"));
        for reject in stored {
            rows += &format!("    stored: {reject}\n");
        }
        let at = common::now().plus(-i64::try_from(n).unwrap() * MINUTE);
        serve.accept("okta", BEARER, &good(alice, at)).await;
    }
    expect![[r#"
        no credential: 401 {"error":"not authenticated"}
        wrong bearer: 401 {"error":"not authenticated"}
        the bearer of nobody at a signed source: 401 {"error":"not authenticated"}
        unknown source: 401 {"error":"not authenticated"}
        wrong signature: 401 {"error":"not authenticated"}
        signature of another body: 401 {"error":"not authenticated"}
        old timestamp: 401 {"error":"not authenticated"}
        timestamp in the future: 401 {"error":"not authenticated"}
        signed: 202 1 signal(s)
        the same once more: 202 {"repeated":true}
        signed with a bad line: 202 1 signal(s), {"reject":"unparsable","detail":"cut off JSON at line 1 column 13"}, 1 signal(s)
            stored: "hook" {"unparsable":1}
        the bad line once more: 202 {"repeated":true}
        over the wire's limit: 413 {"error":"the body is too large"}
        over the limit unpacked: 413 {"error":"the body is too large"}
        packed: 202 1 signal(s)
        not gzip: 400 {"error":"broken gzip"}
            stored: "okta" {"unparsable":1}
        gzip that is cut off: 400 {"error":"broken gzip"}
            stored: "okta" {"unparsable":1}
        an encoding nobody knows: 400 {"error":"a content encoding other than gzip"}
            stored: "okta" {"unparsable":1}
        not UTF-8: 400 {"error":"not UTF-8 after byte 15"}
            stored: "okta" {"unparsable":1}
        not JSON: 400 {"error":"broken JSON at line 1 column 1"}
            stored: "okta" {"unparsable":1}
        cut off: 400 {"error":"cut off JSON at line 1 column 200"}
            stored: "okta" {"unparsable":1}
        empty: 400 {"error":"an empty body"}
            stored: "okta" {"unparsable":1}
        spaces: 400 {"error":"an empty body"}
            stored: "okta" {"unparsable":1}
        an empty list: 202 
        a number: 202 {"reject":"unparsable","detail":"a record must be an object"}
            stored: "okta" {"unparsable":1}
        65 levels: 400 {"error":"nesting over the limit of 64 levels"}
            stored: "okta" {"too_large":1}
        100,000 levels: 400 {"error":"nesting over the limit of 64 levels"}
            stored: "okta" {"too_large":1}
        65 levels on one of two lines: 202 {"reject":"too_large","detail":"nesting over the limit of 64 levels"}, 1 signal(s)
            stored: "okta" {"too_large":1}
        one bad line: 202 1 signal(s), {"reject":"unparsable","detail":"cut off JSON at line 1 column 13"}, 1 signal(s)
            stored: "okta" {"unparsable":1}
        in the future: 202 {"reject":"future_time","detail":"`FUTURE` is more than 5 minutes in the future"}
            stored: "okta" {"future_time":1}
        no time at all: 202 {"reject":"bad_time","detail":"`\"yesterday\"` is no time"}
            stored: "okta" {"bad_time":1}
        far beyond any time: 202 {"reject":"bad_time","detail":"`\"9999999-01-01T00:00:00Z\"` is no time"}
            stored: "okta" {"bad_time":1}
        an event type that nobody lists: 202 {"reject":"unlisted_event","detail":"event type `user.session.dance` is not listed in the pack"}
            stored: "okta" {"unlisted_event":1}
    "#]].assert_eq(&rows);
    serve.stop().await;
    quell.no_secret_leaked("rejected");
}

fn requests<'s>(
    serve: &'s Serve<'_>,
    alice: &Person,
    future: &str,
) -> Vec<(&'s str, RequestBuilder)> {
    let now = common::now();
    let event = good(alice, now).to_string();
    let okta = |body: &str| serve.source("okta").bearer_auth(BEARER).body(body.to_owned());
    let hook = |sent: Time, body: &str| signed(serve, SIGNING, sent, body);
    let bytes = |body: Vec<u8>| serve.source("okta").bearer_auth(BEARER).body(body);
    let zipped = |body: Vec<u8>| bytes(body).header("content-encoding", "gzip");
    let bad_line = format!("{event}\n{{\"eventType\": \n{event}\n");
    let mut cut = packed(event.as_bytes());
    cut.truncate(cut.len() / 2);
    vec![
        ("no credential", serve.source("okta").body(event.clone())),
        ("wrong bearer", serve.source("okta").bearer_auth("wrong-bearer").body(event.clone())),
        ("the bearer of nobody at a signed source", {
            serve.source("hook").bearer_auth(BEARER).body(event.clone())
        }),
        ("unknown source", serve.source("nobody").bearer_auth(BEARER).body(event.clone())),
        ("wrong signature", signed(serve, "another-secret-of-16", now, &event)),
        ("signature of another body", hook(now, "{}").body(event.clone())),
        ("old timestamp", hook(now.plus(-10 * MINUTE), &event)),
        ("timestamp in the future", hook(now.plus(10 * MINUTE), &event)),
        ("signed", hook(now, &event)),
        ("the same once more", hook(now, &event)),
        ("signed with a bad line", hook(now, &bad_line)),
        ("the bad line once more", hook(now, &bad_line)),
        ("over the wire's limit", bytes(vec![b' '; WIRE_MAX + 1])),
        ("over the limit unpacked", zipped(packed(&vec![b' '; UNPACKED_MAX + 1]))),
        ("packed", zipped(packed(event.as_bytes()))),
        ("not gzip", zipped(b"no gzip at all".to_vec())),
        ("gzip that is cut off", zipped(cut)),
        ("an encoding nobody knows", okta(&event).header("content-encoding", "br")),
        ("not UTF-8", bytes(b"{\"eventType\": \"\xff\xfe\"}".to_vec())),
        ("not JSON", okta("<html>sign in</html>")),
        ("cut off", okta(event.get(..200).unwrap())),
        ("empty", okta("")),
        ("spaces", okta(" \n \n")),
        ("an empty list", okta("[]")),
        ("a number", okta("17")),
        ("65 levels", okta(&nested(64))),
        ("100,000 levels", okta(&nested(100_000))),
        ("65 levels on one of two lines", okta(&format!("{}\n{event}\n", nested(64)))),
        ("one bad line", okta(&bad_line)),
        ("in the future", okta(&with_time(alice, future))),
        ("no time at all", okta(&with_time(alice, "yesterday"))),
        ("far beyond any time", okta(&with_time(alice, "9999999-01-01T00:00:00Z"))),
        ("an event type that nobody lists", {
            okta(&event.replace("user.session.start", "user.session.dance"))
        }),
    ]
}

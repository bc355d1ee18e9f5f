//! Sources room: tests of the poller against a server that answers from a script, each fault once.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::poll::NextStep;

const NOW: Time = Time(1_772_442_000 * SECOND);
const TOKEN: &str = "00TokenOfTheTest";

/// A server on this machine that gives one scripted answer for each connection.
struct Server {
    org: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `ORG` in an answer stands for the server's own address. An empty answer closes the
    /// connection; after the script every connection stays open without an answer.
    async fn answering(script: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let org = format!("http://{}", listener.local_addr().unwrap());
        let script: Vec<String> = script.iter().map(|s| s.replace("ORG", &org)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut open = Vec::new();
            let mut script = script.into_iter();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                seen.lock().unwrap().push(String::from_utf8(request).unwrap());
                match script.next() {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    None => open.push(stream),
                }
            }
        });
        Self { org, asked }
    }

    fn poll(&self) -> OktaPoll {
        let token = SecretRef::new(|| Ok(format!(" {TOKEN}\n")));
        OktaPoll::new(&self.org, OktaCredential::ApiToken(token)).unwrap()
    }

    /// The first line of each request, without the version.
    fn lines(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let line = |r: &String| r.lines().next().unwrap().replace(" HTTP/1.1", "");
        asked.iter().map(line).collect()
    }
}

fn answer(status: &str, headers: &[&str], body: &str) -> String {
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

fn good(body: &str, after: &str) -> String {
    let link = format!("Link: <ORG/api/v1/logs?after={after}&limit=1000>; rel=\"next\"");
    answer("200 OK", &["Link: <ORG/api/v1/logs>; rel=\"self\"", &link], body)
}

fn linked(server: &Server) -> Cursor {
    let link = Some(format!("{}/api/v1/logs?after=a1&limit=1000", server.org));
    Cursor { link, published: Some(NOW.plus(-HOUR)), ..Cursor::default() }
}

/// The result of one request with a stored link.
async fn once(script: &str) -> Result<Page, PollFault> {
    let server = Server::answering(&[script]).await;
    server.poll().next(&linked(&server), NOW).await
}

#[tokio::test]
async fn pages_are_followed_until_nothing_is_left() {
    let event = |at: &str| format!(r#"{{"uuid":"u","published":"{at}"}}"#);
    let two =
        format!("[{},{}]", event("2026-03-02T08:00:00.000Z"), event("2026-03-02T07:00:00.000Z"));
    let one = format!("[{}]", event("2026-03-02T07:30:00.000Z"));
    let server =
        Server::answering(&[&good(&two, "a1"), &good(&one, "a2"), &good("[]", "a3")]).await;
    let poll = server.poll();
    let mut cursor = Cursor::starting(Time::parse("2026-03-01T00:00:00Z").unwrap().t);
    let mut states = Vec::new();
    for body in [two.as_str(), one.as_str(), "[]"] {
        let page = poll.next(&cursor, NOW).await.unwrap();
        assert_eq!(page.body, body.as_bytes());
        states.push(page.state);
        // the cursor survives its way through the store
        let stored = serde_json::to_string(&page.next).unwrap();
        cursor = serde_json::from_str(&stored).unwrap();
    }
    assert_eq!(states, [PageState::More, PageState::More, PageState::CaughtUp]);
    assert_eq!(cursor.link, Some(format!("{}/api/v1/logs?after=a3&limit=1000", server.org)));
    assert_eq!(cursor.published, Time::parse("2026-03-02T08:00:00Z").map(|m| m.t));
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1/logs?since=2026-03-01T00%3A00%3A00.000Z&sortOrder=ASCENDING&limit=1000",
            "GET /api/v1/logs?after=a1&limit=1000",
            "GET /api/v1/logs?after=a2&limit=1000",
        ]
    );
    let asked = server.asked.lock().unwrap();
    assert!(asked.iter().all(|r| r.contains(&format!("authorization: SSWS {TOKEN}\r\n"))));
}

#[tokio::test]
async fn an_empty_page_without_a_link_keeps_the_link() {
    let server = Server::answering(&[&answer("200 OK", &[], "[]")]).await;
    let cursor = linked(&server);
    let page = server.poll().next(&cursor, NOW).await.unwrap();
    assert_eq!((page.next, page.state), (cursor, PageState::CaughtUp));
    let last = r#"[{"published":"2026-03-02T08:00:00.000Z"}]"#;
    let server = Server::answering(&[&answer("200 OK", &[], last)]).await;
    let page = server.poll().next(&linked(&server), NOW).await.unwrap();
    assert_eq!(page.next.link, None);
    assert_eq!(page.next.since, Time::parse("2026-03-02T08:00:00Z").map(|m| m.t));
}

#[tokio::test]
async fn each_fault_says_what_to_do() {
    let status = |status: &str| answer(status, &[], r#"{"errorCode":"E"}"#);
    for (code, fault) in [("401 Unauthorized", 401), ("403 Forbidden", 403)] {
        let got = once(&status(code)).await.unwrap_err();
        assert_eq!(got, PollFault::Credential(fault));
        let reason = format!("the credential is refused with status {fault}");
        assert_eq!((got.next_step(), got.degraded()), (NextStep::Degraded, Some(reason)));
    }
    let got = once(&status("500 Internal Server Error")).await.unwrap_err();
    assert_eq!((got.next_step(), got.degraded()), (NextStep::BackOff, None));
    assert_eq!(got, PollFault::Server(500));
    assert_eq!(once(&status("418 Teapot")).await, Err(PollFault::Refused(418)));
    let elsewhere = answer("302 Found", &["Location: http://192.0.2.1/"], "");
    assert_eq!(once(&elsewhere).await, Err(PollFault::Refused(302)));
    for garbage in ["<html>", "{\"errorCode\":\"E\"}", "[1", "[3]", ""] {
        let got = once(&answer("200 OK", &[], garbage)).await.unwrap_err();
        assert!(matches!(got, PollFault::Garbage(_)), "{garbage} {got:?}");
        assert_eq!(got.next_step(), NextStep::BackOff);
    }
    let got = once("garbage instead of http\r\n\r\n").await.unwrap_err();
    assert!(matches!(got, PollFault::Unreachable(_)), "{got:?}");
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n[";
    assert!(matches!(once(cut).await, Err(PollFault::Unreachable(_))));
    assert!(matches!(once("").await, Err(PollFault::Unreachable(_))));
}

#[tokio::test]
async fn a_used_up_rate_says_when_to_come_again() {
    let until = |after: i64| Err(PollFault::Throttled { until: NOW.plus(after) });
    let limited = |headers: &[&str]| answer("429 Too Many Requests", headers, "");
    let reset = |after: i64| format!("X-Rate-Limit-Reset: {}", (NOW.0 / SECOND) + after);
    assert_eq!(once(&limited(&["Retry-After: 7"])).await, until(7 * SECOND));
    assert_eq!(once(&limited(&[&reset(30)])).await, until(30 * SECOND));
    assert_eq!(once(&limited(&[&reset(30), "Retry-After: 90"])).await, until(90 * SECOND));
    assert_eq!(once(&limited(&[])).await, until(WAIT_DEFAULT));
    assert_eq!(once(&limited(&["Retry-After: soon"])).await, until(WAIT_DEFAULT));
    assert_eq!(once(&limited(&[&reset(-30)])).await, until(WAIT_DEFAULT));
    assert_eq!(once(&limited(&["Retry-After: 9223372036854775807"])).await, until(WAIT_DEFAULT));
    assert_eq!(once(&limited(&[&reset(86_400)])).await, until(WAIT_MAX));
    let left = |left: &str| {
        let left = format!("X-Rate-Limit-Remaining: {left}");
        let link = "Link: <ORG/api/v1/logs?after=a2>; rel=\"next\"";
        answer("200 OK", &[link, "X-Rate-Limit-Limit: 60", &left, &reset(30)], "[]")
    };
    assert_eq!(once(&left("5")).await.unwrap().not_before, Some(NOW.plus(30 * SECOND)));
    assert_eq!(once(&left("6")).await.unwrap().not_before, None);
}

#[tokio::test]
async fn a_refused_link_restarts_a_little_before_the_last_record() {
    for status in ["400 Bad Request", "404 Not Found"] {
        let page = once(&answer(status, &[], "{}")).await.unwrap();
        assert_eq!((page.body.as_slice(), page.state), (b"[]".as_slice(), PageState::Restarted));
        let since = NOW.plus(-HOUR).plus(-15 * MINUTE);
        let want =
            Cursor { since: Some(since), published: Some(NOW.plus(-HOUR)), ..Cursor::default() };
        assert_eq!(page.next, want);
    }
    let server = Server::answering(&[&answer("400 Bad Request", &[], "{}")]).await;
    let old = Cursor { published: Some(NOW.plus(-100 * DAY)), ..linked(&server) };
    let page = server.poll().next(&old, NOW).await.unwrap();
    assert_eq!((page.state, page.next.since), (PageState::Gap, Some(NOW.plus(-90 * DAY))));
    // without a link there is nothing to restart from
    let server = Server::answering(&[&answer("400 Bad Request", &[], "{}")]).await;
    let got = server.poll().next(&Cursor::starting(NOW), NOW).await;
    assert_eq!(got, Err(PollFault::Refused(400)));
}

#[tokio::test]
async fn a_link_to_another_place_is_never_followed() {
    for place in [
        "https://evil.example.org/api/v1/logs?after=a",
        "http://127.0.0.1:1/api/v1/logs?after=a",
        "ORG.evil.example.org/api/v1/logs",
        "ORG/api/v1/users?after=a",
        "ORG/api/v1/logs/../users",
        "/api/v1/logs?after=a",
    ] {
        let link = format!("Link: <{place}>; rel=\"next\"");
        let got = once(&answer("200 OK", &[&link], "[]")).await;
        assert_eq!(got, Err(PollFault::ForeignLink), "{place}");
    }
    let server = Server::answering(&[]).await;
    let link = Some("http://127.0.0.1:1/api/v1/logs".to_owned());
    let stored = Cursor { link, ..Cursor::default() };
    assert_eq!(server.poll().next(&stored, NOW).await, Err(PollFault::ForeignLink));
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn a_page_over_the_cap_is_asked_for_with_fewer_records() {
    let large = answer("200 OK", &[], &format!("[{}]", " ".repeat(UNPACKED_BYTES_MAX)));
    let server = Server::answering(&[&large, &good("[{}]", "a2")]).await;
    let cursor = linked(&server);
    let fault = server.poll().next(&cursor, NOW).await.unwrap_err();
    let NextStep::AskWith(retry) = fault.next_step() else { panic!("{fault:?}") };
    assert_eq!(*retry, Cursor { limit: Some(500), ..cursor });
    let page = server.poll().next(&retry, NOW).await.unwrap();
    assert_eq!(page.next.limit, None);
    assert_eq!(server.lines()[1], "GET /api/v1/logs?after=a1&limit=500");
    let least = Cursor { limit: Some(PAGE_RECORDS_MIN), ..Cursor::default() };
    assert_eq!(least.with_fewer(PAGE_RECORDS_MAX, PAGE_RECORDS_MIN), None);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_given_up() {
    let server = Server::answering(&[]).await;
    let got = server.poll().next(&linked(&server), NOW).await;
    assert!(matches!(got, Err(PollFault::Unreachable(_))), "{got:?}");
}

#[tokio::test]
async fn nobody_listening_is_no_answer() {
    let token = SecretRef::new(|| Ok(TOKEN.to_owned()));
    let poll = OktaPoll::new("http://127.0.0.1:1", OktaCredential::AccessToken(token)).unwrap();
    let got = poll.next(&Cursor::starting(NOW), NOW).await.unwrap_err();
    assert_eq!(got, PollFault::Unreachable("no connection".to_owned()));
}

#[tokio::test]
async fn a_secret_that_cannot_be_resolved_asks_nothing() {
    let server = Server::answering(&[]).await;
    for resolved in [Err("the file is missing".to_owned()), Ok(String::new()), Ok("a b".to_owned())]
    {
        let token = SecretRef::new(move || resolved.clone());
        let poll = OktaPoll::new(&server.org, OktaCredential::ApiToken(token)).unwrap();
        assert!(!format!("{poll:?}").contains(TOKEN));
        let got = poll.next(&linked(&server), NOW).await.unwrap_err();
        assert!(matches!(got, PollFault::Secret(_)), "{got:?}");
        assert_eq!(got.next_step(), NextStep::Degraded);
    }
    assert!(server.lines().is_empty());
}

#[test]
fn only_an_origin_is_an_organisation() {
    let check = |org: &str, good: bool| {
        let token = SecretRef::new(|| Ok(TOKEN.to_owned()));
        let made = OktaPoll::new(org, OktaCredential::ApiToken(token));
        assert_eq!(made.is_ok(), good, "{org} {made:?}");
    };
    check("https://example.okta.com", true);
    check("https://example.okta.com/", true);
    check("https://example.okta.com:8443", true);
    check("http://localhost:8080", true);
    check("http://[::1]:8080", true);
    check("http://example.okta.com", false);
    check("https://example.okta.com/api", false);
    check("https://user@example.com", false);
    check("https://example.okta.com/?a", false);
    check("https://example.okta.com/#a", false);
    check("ftp://127.0.0.1", false);
    check("example.okta.com", false);
    check("", false);
}

proptest! {
    #[test]
    fn no_stored_link_leads_away(
        link in r"(https?://)?[a-z@:/\\.?#]{0,30}(example\.okta\.com)?[a-z@:/\\.?#]{0,20}",
    ) {
        let token = SecretRef::new(|| Ok(TOKEN.to_owned()));
        let org = "https://example.okta.com";
        let poll = OktaPoll::new(org, OktaCredential::ApiToken(token)).unwrap();
        let cursor = Cursor { link: Some(link), limit: Some(10), ..Cursor::default() };
        if let Ok(url) = poll.url(&cursor, NOW) {
            prop_assert_eq!(url.host_str(), Some("example.okta.com"));
            prop_assert_eq!((url.scheme(), url.path(), url.port()), ("https", LOGS, None));
        }
    }
}

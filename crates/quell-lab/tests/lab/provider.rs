//! The lab's provider behaves as it says: sessions, tokens, delays, the System Log, errors,
//! limits, effects and faults. Knows only its HTTP interface.

use std::time::Duration;

use crate::common::{ALIVE, DEAD, Lab, body, id, person};
use expect_test::expect;
use quell_lab::{Fault, Injected, Options, attack};
use reqwest::{Method, StatusCode};
use serde_json::Value;

fn prompt() -> Options {
    Options { effect_delay: Duration::ZERO, log_lag: Duration::ZERO, ..Options::default() }
}

#[tokio::test]
async fn ending_sessions_with_and_without_tokens() {
    let lab = Lab::start(prompt()).await;
    let alice = person("alice");
    let access = lab.sign_in(&alice, &alice.usual).await.unwrap();
    assert_eq!(lab.alive(&access).await, ALIVE);
    let path = format!("/api/v1/users/{}/sessions", id(&alice));
    // `oauthTokens` defaults to false: the cookie dies, the tokens live on
    let ended = lab.send(lab.http.delete(lab.url(&path))).await;
    assert_eq!(ended.status(), StatusCode::NO_CONTENT);
    assert_eq!(lab.alive(&access).await, [false, true, true, true]);
    let path = format!("{path}?oauthTokens=true&forgetDevices=true");
    assert_eq!(lab.send(lab.http.delete(lab.url(&path))).await.status(), 204);
    assert_eq!(lab.alive(&access).await, DEAD);
    assert_eq!(lab.refresh(&access).await.0, 400);
    // signing in again is possible
    let again = lab.sign_in(&alice, &alice.usual).await.unwrap();
    assert_eq!(lab.alive(&again).await, ALIVE);
    let (status, refreshed) = lab.refresh(&again).await;
    assert_eq!(
        (status.as_u16(), &refreshed["refresh_token"]),
        (200, &again.refresh.as_str().into())
    );
}

#[tokio::test]
async fn a_suspension_ends_nothing_and_its_lifting_revives() {
    let lab = Lab::start(prompt()).await;
    let alice = person("alice");
    let access = lab.sign_in(&alice, &alice.usual).await.unwrap();
    let user = format!("/api/v1/users/{}", id(&alice));
    let suspend = lab.url(&format!("{user}/lifecycle/suspend"));
    assert_eq!(lab.send(lab.http.post(&suspend)).await.status(), 200);
    assert_eq!(lab.get(&user).await.1["status"], "SUSPENDED");
    assert_eq!(lab.alive(&access).await, ALIVE);
    assert_eq!(lab.sign_in(&alice, &alice.usual).await.unwrap_err(), 401);
    assert_eq!(lab.send(lab.http.post(&suspend)).await.status(), 400);
    let unsuspend = lab.url(&format!("{user}/lifecycle/unsuspend"));
    assert_eq!(lab.send(lab.http.post(&unsuspend)).await.status(), 200);
    assert_eq!(lab.get(&user).await.1["status"], "ACTIVE");
    assert_eq!(lab.send(lab.http.post(&unsuspend)).await.status(), 400);
    // only what happened counts
    let effects: Vec<String> = lab.provider.effects().into_iter().map(|e| e.path).collect();
    assert_eq!(
        effects,
        [format!("{user}/lifecycle/suspend"), format!("{user}/lifecycle/unsuspend")]
    );
}

#[tokio::test]
async fn an_end_takes_effect_though_it_was_answered_before() {
    let options = Options { effect_delay: Duration::from_millis(60), ..prompt() };
    let lab = Lab::start(options).await;
    let alice = person("alice");
    let access = lab.sign_in(&alice, &alice.usual).await.unwrap();
    let path = format!("/api/v1/users/{}/sessions?oauthTokens=true", id(&alice));
    assert_eq!(lab.send(lab.http.delete(lab.url(&path))).await.status(), 204);
    lab.until(&access, DEAD).await;
}

#[tokio::test]
async fn a_refresh_in_flight_can_win() {
    let options =
        Options { effect_delay: Duration::from_millis(200), survives_in_flight: true, ..prompt() };
    let lab = Lab::start(options).await;
    let alice = person("alice");
    let access = lab.sign_in(&alice, &alice.usual).await.unwrap();
    let path = format!("/api/v1/users/{}/sessions?oauthTokens=true", id(&alice));
    assert_eq!(lab.send(lab.http.delete(lab.url(&path))).await.status(), 204);
    let second = lab.sign_in(&alice, &alice.usual).await.unwrap();
    lab.until(&access, DEAD).await;
    assert_eq!(lab.alive(&second).await, ALIVE);
}

#[tokio::test]
async fn the_system_log_is_polled_by_its_next_link() {
    let history = attack::sign_in_history(&person("alice"), now());
    let lab = Lab::start(Options { history: history.clone(), ..prompt() }).await;
    let alice = person("alice");
    lab.sign_in(&alice, &attack::attacker()).await.unwrap();
    let path = format!("/api/v1/users/{}/sessions?oauthTokens=true", id(&alice));
    lab.send(lab.http.delete(lab.url(&path))).await;
    let mut next = lab.url("/api/v1/logs?since=2000-01-01T00:00:00Z&limit=4");
    let mut events: Vec<Value> = Vec::new();
    loop {
        let response = lab.send(lab.http.get(&next)).await;
        let links: Vec<String> = response
            .headers()
            .get_all("link")
            .iter()
            .map(|link| link.to_str().unwrap().to_owned())
            .collect();
        assert!(links[0].ends_with("rel=\"self\""), "{links:?}");
        let link = links.iter().find(|link| link.ends_with("rel=\"next\"")).unwrap();
        next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
        let page: Vec<Value> = serde_json::from_slice(&body(response).await).unwrap();
        if page.is_empty() {
            break;
        }
        events.extend(page);
    }
    assert_eq!(events[..history.len()], history[..]);
    let line = |e: &Value| {
        let of = |pointer: &str| e.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        format!("{} {} {}\n", of("/eventType"), of("/outcome/result"), of("/client/ipAddress"))
    };
    let new: String = events[history.len()..].iter().map(line).collect();
    expect![[r#"
        user.session.start SUCCESS 198.51.100.77
        user.authentication.sso SUCCESS 198.51.100.77
        app.oauth2.token.grant.refresh_token SUCCESS 198.51.100.77
        app.oauth2.token.grant.access_token SUCCESS 198.51.100.77
        user.session.clear SUCCESS 192.0.2.250
        user.session.end SUCCESS 198.51.100.77
    "#]]
    .assert_eq(&new);
    let mut ids: Vec<&str> = events.iter().map(|e| e["uuid"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), events.len());
    // the link still works when there is something new
    lab.sign_in(&alice, &alice.usual).await.unwrap();
    let response = lab.send(lab.http.get(&next)).await;
    let page: Vec<Value> = serde_json::from_slice(&body(response).await).unwrap();
    assert_eq!(page.len(), 4);
}

#[tokio::test]
async fn errors_have_the_vendors_codes() {
    let lab = Lab::start(prompt()).await;
    let alice = id(&person("alice"));
    let mut lines = String::new();
    let asked = [
        ("GET", "/api/v1/users/00unobody".to_owned(), lab.provider.token()),
        ("GET", format!("/api/v1/users/{alice}"), "wrong"),
        ("DELETE", format!("/api/v1/users/{alice}/sessions"), lab.provider.viewer_token()),
        ("DELETE", format!("/api/v1/users/{alice}/sessions?oauthTokens=yes"), lab.provider.token()),
        ("POST", format!("/api/v1/users/{alice}/lifecycle/unsuspend"), lab.provider.token()),
        ("GET", "/api/v1/logs?filter=published%20gt%20%222026%22".to_owned(), lab.provider.token()),
        ("GET", "/api/v1/logs?limit=1001".to_owned(), lab.provider.token()),
        (
            "GET",
            "/api/v1/logs?after=1_2_3&since=2026-01-01T00:00:00Z".to_owned(),
            lab.provider.token(),
        ),
        ("GET", "/api/v2/users".to_owned(), lab.provider.token()),
    ];
    for (method, path, token) in asked {
        let method: Method = method.parse().unwrap();
        let request = lab.http.request(method, lab.url(&path));
        let request = request.header("authorization", format!("SSWS {token}"));
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("x-okta-request-id"));
        let status = response.status().as_u16();
        let body: Value = serde_json::from_slice(&body(response).await).unwrap();
        lines.push_str(&format!("{status} {} {}\n", body["errorCode"], body["errorSummary"]));
    }
    expect![[r#"
        404 "E0000007" "Not found: Resource not found: 00unobody (User)"
        401 "E0000011" "Invalid token provided"
        403 "E0000006" "You do not have permission to perform the requested action"
        400 "E0000001" "Api validation failed: flag"
        400 "E0000001" "Cannot unsuspend a user that is not suspended"
        400 "E0000053" "published is not a filter member"
        400 "E0000001" "Api validation failed: limit"
        400 "E0000053" "after cannot be used together with since"
        404 "E0000022" "no such endpoint"
    "#]]
    .assert_eq(&lines);
    assert!(lab.provider.effects().is_empty());
}

#[tokio::test]
async fn the_rate_limit_is_counted_and_told() {
    let lab = Lab::start(Options { rate_limit: 2, ..prompt() }).await;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let response = lab.send(lab.http.get(lab.url("/api/v1/logs"))).await;
        assert!(response.headers().contains_key("x-rate-limit-reset"));
        seen.push(response.status().as_u16());
    }
    // a minute may turn in between, so at most four of six pass
    assert!(seen.iter().filter(|s| **s == 429).count() >= 2, "{seen:?}");
    assert!(seen.contains(&200));
}

#[tokio::test]
async fn people_and_applications_are_answered() {
    let lab = Lab::start(prompt()).await;
    let alice = person("alice");
    let access = lab.sign_in(&alice, &alice.usual).await.unwrap();
    let me = |cookie: &str| {
        lab.http.get(lab.url("/api/v1/sessions/me")).header("cookie", format!("a=b; sid={cookie}"))
    };
    assert_eq!(me(&access.session).send().await.unwrap().status(), 200);
    assert_eq!(me("nothing").send().await.unwrap().status(), 404);
    let wrong = lab.http.post(lab.url("/oauth2/v1/introspect")).basic_auth("x", Some("y"));
    let wrong = wrong.form(&[("token", &access.access)]).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    let (_, unknown) = lab.form("/oauth2/v1/introspect", &[("token", "nothing")]).await;
    assert_eq!(unknown["active"], false);
    let (status, _) = lab.form("/oauth2/v1/token", &[("grant_type", "password")]).await;
    assert_eq!(status, 400);
    // a refresh token opens no resource
    let request = lab.http.get(lab.url("/lab/resource")).bearer_auth(&access.refresh);
    assert_eq!(request.send().await.unwrap().status(), 401);
    let (_, users) = lab.get("/api/v1/users?limit=200").await;
    assert_eq!(users.as_array().unwrap().len(), 7);
    let user = format!("/api/v1/users/{}", id(&alice));
    let (_, clients) = lab.get(&format!("{user}/clients")).await;
    let client = clients[0]["client_id"].as_str().unwrap();
    let (_, tokens) = lab.get(&format!("{user}/clients/{client}/tokens")).await;
    assert_eq!(tokens.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn faults_strike_before_or_after_the_effect() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("effects.ndjson");
    let lab = Lab::start(Options { effects_file: Some(file.clone()), ..prompt() }).await;
    let path = format!("/api/v1/users/{}/sessions", id(&person("alice")));
    let strike = |fault: Fault| {
        lab.provider.inject(Injected::once("DELETE", &path, fault)).unwrap();
        lab.admin(lab.http.delete(lab.url(&path))).header("user-agent", "quell/0 (ord_a)").send()
    };
    let before = |after_effect| Fault::Answer { status: 503, retry_after: Some(7), after_effect };
    let response = strike(before(false)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
    assert_eq!(lab.provider.effects().len(), 0);
    assert_eq!(strike(before(true)).await.unwrap().status(), 503);
    assert_eq!(lab.provider.effects().len(), 1);
    strike(Fault::Drop { after_effect: false }).await.unwrap_err();
    assert_eq!(lab.provider.effects().len(), 1);
    strike(Fault::Drop { after_effect: true }).await.unwrap_err();
    assert_eq!(lab.provider.effects().len(), 2);
    let garbage = strike(Fault::Garbage { after_effect: true }).await.unwrap();
    assert_eq!((garbage.status().as_u16(), lab.provider.effects().len()), (200, 3));
    assert_eq!(strike(Fault::Delay { millis: 1 }).await.unwrap().status(), 204);
    assert_eq!(lab.provider.pending_faults(), 0);
    // the file tells the same, and a caller in another process can ask for it
    let lines = std::fs::read_to_string(&file).unwrap();
    let written: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let (_, told) = lab.get("/lab/effects").await;
    assert_eq!(told, Value::Array(written.clone()));
    assert_eq!((written.len(), &written[0]["user_agent"]), (4, &"quell/0 (ord_a)".into()));
}

#[tokio::test]
async fn faults_can_be_queued_from_another_process() {
    let lab = Lab::start(prompt()).await;
    let body = r#"{"path":"/api/v1/logs","times":2,"fault":"answer","status":500}"#;
    let queue = |body: &str| {
        let request = lab.http.post(lab.url("/lab/faults"));
        request.header("content-type", "application/json").body(body.to_owned())
    };
    assert_eq!(lab.send(queue(body)).await.status(), 204);
    assert_eq!(lab.send(queue(r#"{"path":"logs","fault":"drop"}"#)).await.status(), 400);
    for want in [500, 500, 200] {
        assert_eq!(lab.get("/api/v1/logs").await.0, want);
    }
}

#[tokio::test]
async fn only_loopback_is_served() {
    let address = "192.0.2.1:0".parse().unwrap();
    let refused = quell_lab::Provider::serve(&quell_lab::company(), prompt(), address).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "`192.0.2.1:0` is not on loopback: the lab is for this machine alone"
    );
}

fn now() -> quell_core::time::Time {
    quell_core::time::Time(jiff::Timestamp::now().as_microsecond())
}

//! The own door from outside: roles on every route of the description, tokens before bodies, slow
//! and greedy senders, TLS, and what logs and figures say. What may be done is told in `people.rs`.

use std::collections::BTreeMap;

use expect_test::expect;
use quell_lab::attack;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::{self, Folder, PATIENCE, Serve, until};

const OKTA: &str = "invented-okta-bearer-token";
const HOOK: &str = "invented-signing-secret";

const SETTINGS: &str = r#"
[[source]]
name = "okta"
bearer = ["file:okta.token"]

[[source]]
name = "hook"
pack = "okta"
hmac = ["file:hook.secret"]
"#;

/// Roles in the order in which each holds those before it, each with a token.
const ROLES: [(&str, &str); 5] = [
    ("metrics", "invented-metrics-token-0001"),
    ("viewer", "invented-viewer-token-0002"),
    ("responder", "invented-responder-token-0003"),
    ("approver", "invented-approver-token-0004"),
    ("admin", "invented-admin-token-0005"),
];

async fn folder() -> Folder {
    let folder = Folder::init().await;
    folder.settings(SETTINGS);
    folder.secret("okta.token", OKTA);
    folder.secret("hook.secret", HOOK);
    for (role, token) in ROLES {
        folder.token(&format!("{role}-principal"), role, token);
    }
    folder
}

/// The operations of the description: method, path, least role.
async fn operations(serve: &Serve<'_>) -> Vec<(Method, String, Option<String>)> {
    let request = serve.http.get(format!("http://{}/openapi.json", serve.control));
    let (status, description) = serve.send(request).await;
    assert_eq!(status, 200, "it needs no token");
    let mut all = Vec::new();
    for (path, operations) in description.get("paths").unwrap().as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let tags = operation.get("tags").unwrap().as_array().unwrap();
            if tags.contains(&json!("control")) {
                let least = operation.get("x-least-role").map(|v| v.as_str().unwrap().to_owned());
                all.push((method.to_uppercase().parse().unwrap(), path.clone(), least));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_its_least_role_before_anything_else() {
    let folder = folder().await;
    let serve = folder.serve_with_level("trace").await;
    serve.accept("okta", OKTA, &event()).await;
    let mut table = String::new();
    for (method, path, least) in operations(&serve).await {
        let real = path.replace("{id}", "no-such-id").replace("{kind}", "user");
        // Empty of sense: whoever is let in changes nothing by it.
        let ask = |token: &str| {
            let request = serve.control(method.clone(), &real, token);
            if method == Method::POST { request.json(&json!({ "no": "sense" })) } else { request }
        };
        let mut row = Vec::new();
        for (_, token) in ROLES {
            row.push(serve.send(ask(token)).await.0);
        }
        let needed =
            least.as_ref().map(|least| ROLES.iter().position(|(role, _)| role == least).unwrap());
        for (place, (status, (role, _))) in row.iter().zip(ROLES).enumerate() {
            let allowed = needed.is_none_or(|needed| place >= needed);
            assert_eq!(*status == 403, !allowed, "{method} {path} as {role}: {status}");
            assert_ne!(*status, 401, "{method} {path} as {role}");
        }
        for nobody in ["", "no-such-token", OKTA] {
            let (status, answer) = serve.send(ask(nobody)).await;
            assert_eq!(status == 401, least.is_some(), "{method} {path}: {status} {answer}");
        }
        table += &format!("{method} {path}: {row:?}\n");
    }
    expect![[r#"
        GET /healthz: [200, 200, 200, 200, 200]
        GET /readyz: [200, 200, 200, 200, 200]
        GET /openapi.json: [200, 200, 200, 200, 200]
        GET /metrics: [200, 200, 200, 200, 200]
        GET /v1/cases: [403, 200, 200, 200, 200]
        POST /v1/cases/{id}/close: [403, 403, 400, 400, 400]
        GET /v1/precision: [403, 200, 200, 200, 200]
        GET /v1/orders: [403, 200, 200, 200, 200]
        POST /v1/orders/{id}/approve: [403, 403, 403, 400, 400]
        POST /v1/orders/{id}/deny: [403, 403, 403, 400, 400]
        POST /v1/orders/{id}/undo: [403, 403, 403, 400, 400]
        GET /v1/freeze: [403, 200, 200, 200, 200]
        POST /v1/freeze: [403, 403, 400, 400, 400]
        POST /v1/directory: [403, 403, 403, 403, 400]
        GET /v1/watchlists/{kind}: [403, 200, 200, 200, 200]
        GET /v1/records: [403, 200, 200, 200, 200]
        GET /v1/explain/{id}: [403, 404, 404, 404, 404]
        GET /v1/evidence/checkpoint: [403, 200, 200, 200, 200]
        GET /v1/evidence/bundle: [403, 403, 403, 403, 200]
        POST /v1/erasures: [403, 403, 403, 403, 400]
        GET /v1/erasures/{id}: [403, 403, 403, 403, 400]
    "#]]
    .assert_eq(&table);
    limits(&serve).await;
    serve.stop().await;
    folder.no_secret_leaked("configured");
}

/// Bodies, types, paths and methods that are not taken, in the words of the listener.
async fn limits(serve: &Serve<'_>) {
    let admin = ROLES[4].1;
    let post = |path: &str| serve.control(Method::POST, path, admin);
    let mut told = String::new();
    for (what, request) in [
        ("a form", post("/v1/freeze").form(&[("on", "true")])),
        ("no type", post("/v1/freeze").body("{\"on\":true}")),
        ("a list", post("/v1/freeze").json(&json!([true, 5, "why"]))),
        ("no such path", post("/v1/nothing")),
        ("no such method", serve.control(Method::DELETE, "/v1/orders", admin)),
        ("an unknown word in the query", {
            serve.control(Method::GET, "/v1/records?form=3", admin)
        }),
        ("no number", serve.control(Method::GET, "/v1/records?from=x", admin)),
        ("no UTF-8", serve.control(Method::GET, "/v1/explain/%ff", admin)),
        ("a long head", {
            serve.control(Method::GET, "/v1/orders", admin).header("x-long", "x".repeat(16 << 10))
        }),
    ] {
        let (status, answer) = serve.send(request).await;
        let error = answer.get("error").and_then(Value::as_str).unwrap_or("no words");
        told += &format!("{what}: {status} {error}\n");
    }
    expect![[r#"
        a form: 415 the body must come as `application/json`
        no type: 415 the body must come as `application/json`
        a list: 400 the body is not valid: invalid type: sequence, expected a map at line 1 column 0
        no such path: 404 there is nothing here
        no such method: 405 this path has no such method
        an unknown word in the query: 400 Failed to deserialize query string: form: unknown field `form`, expected one of `ref`, `type`, `from`
        no number: 400 Failed to deserialize query string: from: invalid digit found in string
        no UTF-8: 400 the path is not UTF-8
        a long head: 431 no words
    "#]]
    .assert_eq(&told);
    let too_large = format!(
        "POST /v1/directory HTTP/1.1\r\nhost: quell\r\ncontent-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\nauthorization: Bearer {admin}\r\n\r\n",
        (64 << 20) + 1
    );
    let told = heard(&serve.control, &too_large).await;
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
}

/// What a connection gets in all, after these bytes and nothing more.
async fn heard(address: &str, said: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let read = async {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut part).await {
            bytes.extend_from_slice(part.get(..length).unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_greedy_senders_hold_nothing() {
    let folder = folder().await;
    folder.edit(
        "quell.toml",
        "[listen]\n",
        "[listen]\nconnections_max = 12\nconnections_per_address_max = 8\n",
    );
    let serve = folder.serve().await;
    // The token is judged although the body never comes.
    let head = "POST /v1/freeze HTTP/1.1\r\nhost: quell\r\ncontent-type: application/json\r\n\
                connection: close\r\ncontent-length: 9\r\n";
    let early = heard(&serve.control, &format!("{head}authorization: Bearer wrong\r\n\r\n")).await;
    assert!(early.starts_with("HTTP/1.1 401 "), "{early}");
    let viewer = format!("{head}authorization: Bearer {}\r\n\r\n", ROLES[1].1);
    let early = heard(&serve.control, &viewer).await;
    assert!(early.starts_with("HTTP/1.1 403 "), "{early}");
    let early = heard(
        &serve.intake,
        "POST /v1/sources/okta HTTP/1.1\r\nhost: quell\r\nauthorization: Bearer wrong\r\n\
         connection: close\r\ncontent-length: 9\r\n\r\n",
    )
    .await;
    assert!(early.starts_with("HTTP/1.1 401 "), "{early}");
    // All seats of this address taken by heads that never end: one more is turned away, and when
    // the deadline of the heads is over everybody is welcome again.
    let mut slow = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&serve.intake).await.unwrap();
        stream.write_all(b"POST /v1/sources/okta HTTP/1.1\r\nhost: q").await.unwrap();
        slow.push(stream);
    }
    let alive = "GET /healthz HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\r\n";
    let ask = async || match heard(&serve.intake, alive).await {
        answer if answer.starts_with("HTTP/1.1 200 ") => Ok(()),
        other => Err(other),
    };
    until("the ninth connection is turned away", async || match ask().await {
        Err(answer) if answer.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    until("slow heads lose their seats", ask).await;
    let slow_ends = async {
        for stream in &mut slow {
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        }
    };
    tokio::time::timeout(PATIENCE, slow_ends).await.unwrap();
    // A body that stops is given up, and its sender is told.
    let stopped = "POST /v1/sources/okta HTTP/1.1\r\nhost: quell\r\nconnection: close\r\n\
                   content-length: 99\r\n\r\n[";
    let stopped = stopped.replace("host", &format!("authorization: Bearer {OKTA}\r\nhost"));
    let told = heard(&serve.intake, &stopped).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    serve.stop().await;
}

/// A self-signed certificate and its key in the folder.
fn certificate(folder: &Folder) -> String {
    let names = vec!["quell.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let chain = made.cert.pem();
    folder.write("chain.pem", &chain);
    folder.secret("chain.key", &made.signing_key.serialize_pem());
    chain
}

/// A client that trusts one certificate and resolves its name to an address.
fn trusting(chain: &str, address: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(chain.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([root]);
    client.resolve("quell.example.com", address.parse().unwrap()).build().unwrap()
}

async fn status(client: &reqwest::Client, port: &str) -> Result<u16, reqwest::Error> {
    let url = format!("https://quell.example.com:{port}/healthz");
    client.get(url).send().await.map(|answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_on_both_listeners_and_a_certificate_renewed_while_it_runs() {
    let folder = folder().await;
    folder.edit("quell.toml", "intake = \"127.0.0.1", "intake = \"0.0.0.0");
    let told = folder.quell(&["check"]).await.bad(3);
    expect![[r#"
        quell: Q0001: listen: `intake` is `0.0.0.0:0`, which is no loopback address, in clear
          help: give it a certificate in `[listen.intake_tls]`, or listen on 127.0.0.1 with a TLS proxy in front
    "#]]
    .assert_eq(&told);
    let tls = "{ certificate = \"chain.pem\", key = \"file:chain.key\" }";
    folder.edit(
        "quell.toml",
        "[listen]\n",
        &format!("[listen]\nintake_tls = {tls}\ncontrol_tls = {tls}\n"),
    );
    let told = folder.quell(&["check"]).await.bad(3);
    assert!(told.contains("chain.pem"), "{told}");
    let first = certificate(&folder);
    folder.quell(&["check"]).await.good();
    let serve = folder.serve().await;
    for address in [&serve.intake, &serve.control] {
        let port = address.rsplit(':').next().unwrap();
        let here = format!("127.0.0.1:{port}");
        assert_eq!(status(&trusting(&first, &here), port).await.unwrap(), 200);
        let clear = serve.http.get(format!("http://{here}/healthz")).send().await;
        assert!(clear.is_err(), "it answered in clear");
    }
    // The command line knows its own engine by the file, whatever name it is reached by.
    assert_eq!(folder.quell(&["freeze", "--status"]).await.good(), "not frozen\n");
    // Another certificate is put beside: after a SIGHUP it is the one that is shown.
    let second = certificate(&folder);
    folder.quell(&["freeze", "--status"]).await.bad(4);
    serve.signal("-HUP").await;
    let port = serve.control.rsplit(':').next().unwrap();
    until("the new certificate is shown", async || {
        let client = trusting(&second, &serve.control);
        status(&client, port).await.map_err(|error| format!("{error:?}"))
    })
    .await;
    assert_eq!(folder.quell(&["freeze", "--status"]).await.good(), "not frozen\n");
    assert!(status(&trusting(&first, &serve.control), port).await.is_err());
    // One that cannot be used leaves that one in force.
    folder.write("chain.pem", "no certificate");
    serve.signal("-HUP").await;
    until("the log tells of it", async || {
        let log = folder.log_text();
        if log.contains("the one before stays") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(status(&trusting(&second, &serve.control), port).await.unwrap(), 200);
    serve.stop().await;
}

/// A sign-in that the pack takes, as the lab writes it.
fn event() -> Value {
    let company = quell_lab::company();
    let alice = company.person("alice").unwrap();
    attack::sign_in(alice, &alice.usual, common::now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_say_what_happened_and_nothing_of_anybody() {
    let folder = folder().await;
    let serve = folder.serve().await;
    let metrics = ROLES[0].1;
    let before = serve.figures(metrics).await;
    serve.accept("okta", OKTA, &json!([event(), event()])).await;
    let unlisted = event().to_string().replace("user.session.start", "user.session.dance");
    let (status, _) = serve.send(serve.source("okta").bearer_auth(OKTA).body(unlisted)).await;
    assert_eq!(status, 202);
    for (source, bearer) in [("okta", "wrong"), ("nobody", "wrong"), ("somebody", "wrong")] {
        serve.send(serve.source(source).bearer_auth(bearer).body("[]")).await;
    }
    folder.quell(&["freeze", "--why", "a drill"]).await.good();
    serve.get("/v1/evidence/checkpoint").await;
    let after = serve.figures(metrics).await;
    let wanted = [
        "quell_signals_total{source=\"okta\",kind=\"sign_in\",use=\"fact\"}",
        "quell_rejects_total{source=\"okta\",reason=\"unlisted_event\"}",
        "quell_refused_total{source=\"okta\",status=\"401\"}",
        "quell_refused_total{source=\"unknown\",status=\"401\"}",
        "quell_door_turned_away_total{source=\"okta\",reason=\"unproven\"}",
        "quell_stage_seconds_count{stage=\"event_to_received\"}",
        "quell_stage_seconds_count{stage=\"received_to_committed\"}",
        "quell_requests_total{listener=\"intake\",method=\"post\",route=\"/v1/sources/{name}\",\
         status=\"202\"}",
        "quell_frozen",
        "quell_ready",
        "quell_failed_commits_total",
        "quell_waiting{place=\"intakes\"}",
        "quell_source_degraded{source=\"okta\"}",
    ];
    let mut table = String::new();
    for name in wanted {
        let value = |figures: &BTreeMap<String, f64>| {
            figures.get(name).map_or("-".to_owned(), f64::to_string)
        };
        table += &format!("{name} {} {}\n", value(&before), value(&after));
    }
    expect![[r#"
        quell_signals_total{source="okta",kind="sign_in",use="fact"} - 2
        quell_rejects_total{source="okta",reason="unlisted_event"} - 1
        quell_refused_total{source="okta",status="401"} - 1
        quell_refused_total{source="unknown",status="401"} - 2
        quell_door_turned_away_total{source="okta",reason="unproven"} 0 1
        quell_stage_seconds_count{stage="event_to_received"} - 2
        quell_stage_seconds_count{stage="received_to_committed"} - 2
        quell_requests_total{listener="intake",method="post",route="/v1/sources/{name}",status="202"} - 2
        quell_frozen 0 1
        quell_ready 1 1
        quell_failed_commits_total 0 0
        quell_waiting{place="intakes"} 0 0
        quell_source_degraded{source="okta"} 0 0
    "#]].assert_eq(&table);
    for name in ["quell_age_seconds{of=\"directory\"}", "quell_age_seconds{of=\"checkpoint\"}"] {
        assert!(after.get(name).is_some_and(|age| (0.0..600.0).contains(age)), "{name}: {after:?}");
    }
    let company = quell_lab::company();
    for person in &company.people {
        let text = format!("{after:?}");
        assert!(!text.contains(&person.address), "{}", person.address);
    }
    serve.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_proves_nothing_is_degraded_until_it_does() {
    let folder = folder().await;
    let serve = folder.serve().await;
    for _ in 0..20 {
        let (status, _) =
            serve.send(serve.source("okta").bearer_auth("wrong").json(&json!([]))).await;
        assert_eq!(status, 401);
    }
    let said = async |state: &str| {
        until(&format!("`okta` is {state}"), async || {
            let rows = serve.get("/v1/records?type=source_degraded").await;
            let rows = rows.as_array().unwrap().clone();
            let last = rows.last().and_then(|row| row.pointer("/body/state")).cloned();
            if last == Some(json!(state)) { Ok(rows) } else { Err(format!("{rows:?}")) }
        })
        .await
    };
    let rows = said("degraded").await;
    assert_eq!(rows[0].pointer("/body/source"), Some(&json!("okta")));
    serve.stop().await;
    // Another run knows what the first one said, and says the end.
    let serve = folder.serve().await;
    serve.accept("okta", OKTA, &event()).await;
    let rows = until("`okta` is well", async || {
        let rows = serve.get("/v1/records?type=source_degraded").await;
        let rows = rows.as_array().unwrap().clone();
        if rows.len() == 2 { Ok(rows) } else { Err(format!("{rows:?}")) }
    })
    .await;
    let words = rows.iter().map(|row| {
        let text = |name: &str| row.pointer(name).unwrap().as_str().unwrap().to_owned();
        format!("{} {}: {}\n", text("/body/source"), text("/body/state"), text("/body/why"))
    });
    expect![[r#"
        okta degraded: 20 requests in 5 minutes without a proof that fits
        okta well: it speaks again
    "#]]
    .assert_eq(&words.collect::<String>());
    serve.stop().await;
}

/// Nothing listens where it polls: after three failures the journal says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_poller_that_gets_no_answer_is_degraded() {
    let folder = folder().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    folder.settings(&format!(
        "[[source]]\nname = \"log\"\npack = \"okta\"\n[source.poll]\n\
         url = \"http://{closed}\"\ntoken = \"file:okta.token\"\nevery_s = 1\n"
    ));
    let serve = folder.serve().await;
    let row = until("the poller is degraded", async || {
        let rows = serve.get("/v1/records?type=source_degraded").await;
        rows.pointer("/0/body").cloned().ok_or_else(|| rows.to_string())
    })
    .await;
    let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap().to_owned();
    assert_eq!((text("source"), text("state")), ("log".to_owned(), "degraded".to_owned()));
    assert!(text("why").starts_with("no answer"), "{row}");
    let figures = serve.figures(ROLES[0].1).await;
    let failed = figures.get("quell_polls_total{source=\"log\",result=\"failed\"}");
    assert!(failed.is_some_and(|count| *count >= 3.0), "{figures:?}");
    assert_eq!(figures.get("quell_source_degraded{source=\"log\"}"), Some(&1.0));
    serve.stop().await;
}

/// At the finest level, as JSON: whatever is sent, no token, address, login or id of a message
/// stands in the log.
#[tokio::test(flavor = "multi_thread")]
async fn structured_logs_name_nobody_and_hold_no_token() {
    let folder = folder().await;
    folder.edit("quell.toml", "version = 1\n", "version = 1\nlog = \"json\"\n");
    let serve = folder.serve_with_level("trace").await;
    serve.accept("okta", OKTA, &event()).await;
    for (_, token) in ROLES {
        serve.send(serve.control(Method::GET, "/v1/orders", token)).await;
        serve.send(serve.source("okta").bearer_auth(token).body("[]")).await;
        serve.send(serve.control(Method::GET, &format!("/v1/explain/{}", 1), token)).await;
    }
    serve.send(serve.source("okta").bearer_auth(OKTA).body("<html>")).await;
    folder.quell(&["freeze"]).await.good();
    for _ in 0..20 {
        serve.send(serve.source("okta").bearer_auth("wrong").body("[]")).await;
    }
    let log = until("a page stands in the log", async || match folder.log_text() {
        log if log.contains("source_degraded") => Ok(log),
        log => Err(log),
    })
    .await;
    serve.get("/v1/records").await;
    serve.stop().await;
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let page = lines.iter().find(|line| line.get("message") == Some(&json!("page"))).unwrap();
    let mut members: Vec<&String> = page.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["id", "kind", "level", "message", "target", "timestamp"]);
    let company = quell_lab::company();
    for person in &company.people {
        let account = person.account();
        let login = account.and_then(|account| account.login.clone()).unwrap_or_default();
        let id = account.map(|account| account.id.clone()).unwrap_or_default();
        for word in [&person.address, &login, &id, &person.identity.name] {
            assert!(word.is_empty() || !log.contains(word.as_str()), "`{word}` stands in the log");
        }
    }
    folder.no_secret_leaked("source_degraded");
}

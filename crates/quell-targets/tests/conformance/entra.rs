//! Entra ID beyond the common suite: tokens and their faults, the requests to the letter, guests,
//! synchronised users, members of before, permissions, odd configurations.

use std::time::Duration;

use axum::http::Method;
use data_encoding::BASE64URL_NOPAD;
use expect_test::{expect, expect_file};
use quell_core::action::Action;
use quell_core::order::{Answer, Call, Fault, Verb};
use quell_core::time::MINUTE;
use quell_targets::entra::{Credential, Entra, EntraConfig};
use quell_targets::{Auth, Secret, Target, VendorConfig};
use serde_json::{Value, json};

use crate::server::{Asked, Plan, Server, Vendor, Wrong};
use crate::subjects::{CREDENTIAL, LATER, NOW, SUBJECTS, word};

/// The user of all these tests, and the step-up group.
pub(crate) const USER: &str = "8f0d3c1e-5b7a-4d0e-9c61-2b6f1d0a7e11";
const GROUP: &str = "1c2d3e4f-0000-4000-8000-00000000aaaa";

/// Everything that the target can do.
pub(crate) fn config(vendor: VendorConfig) -> EntraConfig {
    let login = vendor.base.clone();
    let secret = Credential::Secret(Secret::new(CREDENTIAL));
    let mut config = EntraConfig::new("entra_id", vendor, "tenant.example.com", "client-1", secret);
    config.login = login;
    config.actions.extend([Action::StepUp, Action::ConfirmCompromised]);
    config.step_up_group = Some(GROUP.to_owned());
    config
}

fn target(server: &Server) -> Entra {
    Entra::new(config(VendorConfig::new(&server.base, Auth::None))).unwrap()
}

/// The requests that change something; a question that is a POST does not.
pub(crate) fn changes(asked: &Asked) -> bool {
    asked.method != Method::GET
        && !asked.path.ends_with("/token")
        && !asked.path.ends_with("/checkMemberGroups")
}

fn is_token(asked: &Asked) -> bool {
    asked.path.ends_with("/token")
}

/// Graph and its login host in one. One flag stands for every state that can be taken back.
pub(crate) fn dialect(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
    vendor.date = Some(match vendor.alive {
        true => "Thu, 01 Jan 2026 10:00:00 GMT",
        false => "Thu, 01 Jan 2026 10:00:10 GMT",
    });
    if is_token(asked) {
        return token(vendor);
    }
    let error = |code: &str| json!({ "error": { "code": code, "message": "as told" } });
    let bearer = asked.headers.get("authorization").and_then(|value| value.to_str().ok());
    if !bearer.is_some_and(|text| text.starts_with("Bearer ")) {
        return (401, error("InvalidAuthenticationToken"));
    }
    let path = asked.path.strip_prefix("/v1.0").unwrap();
    let (user, risky) =
        (format!("/users/{USER}"), format!("/identityProtection/riskyUsers/{USER}"));
    let members = format!("/groups/{GROUP}/members");
    let member = format!("{members}/{USER}/$ref");
    let act = |vendor: &mut Vendor| vendor.effects.push(format!("{} {path}", asked.method));
    let body: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    match (asked.method.as_str(), path) {
        ("GET", path) if path == user => {
            let valid_from = match vendor.alive {
                true => "2025-06-01T00:00:00Z",
                false => "2026-01-01T10:00:01Z",
            };
            let told = json!({
                "id": USER,
                "accountEnabled": !vendor.suspended,
                "userType": "Member",
                "userPrincipalName": "alice.weber@example.com",
                "onPremisesSyncEnabled": null,
                "signInSessionsValidFromDateTime": valid_from,
            });
            (200, told)
        }
        ("POST", path) if path == format!("{user}/revokeSignInSessions") => {
            act(vendor);
            vendor.alive = false;
            (200, json!({ "value": true }))
        }
        ("PATCH", path) if path == user => {
            act(vendor);
            vendor.suspended = body["accountEnabled"] == json!(false);
            (204, Value::Null)
        }
        ("POST", path) if path == format!("{user}/checkMemberGroups") => {
            let groups = if vendor.suspended { json!([GROUP]) } else { json!([]) };
            (200, json!({ "value": groups }))
        }
        ("POST", path) if path == format!("{members}/$ref") => {
            if vendor.suspended {
                return (400, error("Request_BadRequest"));
            }
            act(vendor);
            vendor.suspended = true;
            (204, Value::Null)
        }
        ("DELETE", path) if path == member => {
            act(vendor);
            vendor.suspended = false;
            (204, Value::Null)
        }
        ("POST", "/identityProtection/riskyUsers/confirmCompromised") => {
            act(vendor);
            vendor.suspended = true;
            (204, Value::Null)
        }
        ("POST", "/identityProtection/riskyUsers/dismiss") => {
            act(vendor);
            vendor.suspended = false;
            (204, Value::Null)
        }
        ("GET", path) if path == risky => match vendor.suspended {
            true => (200, json!({ "id": USER, "riskState": "confirmedCompromised" })),
            false if vendor.effects.is_empty() => (404, error("Request_ResourceNotFound")),
            false => (200, json!({ "id": USER, "riskState": "dismissed" })),
        },
        ("GET", "/users" | "/identityProtection/riskyUsers") => (200, json!({ "value": [] })),
        ("GET", path) if path == format!("/groups/{GROUP}") => {
            (200, json!({ "id": GROUP, "groupTypes": [] }))
        }
        _ => (404, error("Request_ResourceNotFound")),
    }
}

/// A token that is another one each time.
fn token(vendor: &Vendor) -> (u16, Value) {
    let token = format!("{CREDENTIAL}.{}", vendor.asked.len());
    (200, json!({ "token_type": "Bearer", "expires_in": 3599, "access_token": token }))
}

fn call(action: Action, verb: Verb) -> Call {
    SUBJECTS[2].call(action, verb)
}

fn lines(server: &Server) -> String {
    let vendor = server.vendor.lock().unwrap();
    let line = |asked: &Asked| {
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        let query = if asked.query.is_empty() { "" } else { "?" };
        let line = format!("{} {}{query}{} {body}", asked.method, asked.path, asked.query);
        format!("{}\n", line.trim_end())
    };
    let text: String = vendor.asked.iter().map(line).collect();
    // written so that nobody takes it for a mail address
    let text = text.replace("@odata", "(at)odata");
    let encoded = server.base.replace(':', "%3A").replace('/', "%2F");
    let names =
        [(server.base.as_str(), "BASE"), (&encoded, "BASE"), (USER, "USER"), (GROUP, "GROUP")];
    names.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

#[tokio::test]
async fn every_request_to_the_letter() {
    let server = Server::start(dialect).await;
    let target = target(&server);
    for action in target.capabilities().iter().map(|c| c.action) {
        let mut call = call(action, Verb::Probe);
        let Answer::Before { snapshot, .. } = target.call(&call, NOW).await.answer else {
            panic!()
        };
        call.snapshot = snapshot;
        for verb in [Verb::Execute, Verb::Undo] {
            call.verb = verb;
            target.call(&call, NOW).await;
        }
        server.vendor.lock().unwrap().suspended = false;
    }
    target.check(NOW).await.unwrap();
    expect_file!["entra_requests.txt"].assert_eq(&lines(&server));
    let vendor = server.vendor.lock().unwrap();
    let order = &call(Action::EndSessions, Verb::Execute).order;
    let revoke = vendor.asked.iter().find(|a| a.path.ends_with("/revokeSignInSessions")).unwrap();
    let head = |name: &str| revoke.headers[name].to_str().unwrap().to_owned();
    assert_eq!(head("content-length"), "0");
    assert_eq!(head("x-ms-throttle-priority"), "high");
    assert!(head("user-agent").contains(&order.to_string()));
    let id = head("client-request-id");
    assert_eq!(id.replace('-', ""), data_encoding::HEXLOWER.encode(&order.0));
    let patch = vendor.asked.iter().find(|a| a.method == Method::PATCH).unwrap();
    assert_eq!(patch.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_token_is_kept_until_shortly_before_it_expires() {
    let server = Server::start(dialect).await;
    let target = target(&server);
    let probe = call(Action::Suspend, Verb::Probe);
    let tokens = || server.vendor.lock().unwrap().asked.iter().filter(|a| is_token(a)).count();
    for (after, want) in [(0, 1), (54 * MINUTE, 1), (56 * MINUTE, 2), (57 * MINUTE, 2)] {
        assert_eq!(word(&target.call(&probe, NOW.plus(after)).await), "alive");
        assert_eq!(tokens(), want, "after {after}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let server = Server::start(dialect).await;
    let target = target(&server);
    target.call(&call(Action::Suspend, Verb::Probe), NOW).await;
    // refuses the token of the first request
    let first: fn(&Asked) -> bool =
        |asked| asked.headers.get("authorization").is_some_and(|a| a.as_bytes().ends_with(b".1"));
    server.plan(Some(Plan { wrong: Wrong::Status(401), happens: false, strikes: first }));
    let outcome = target.call(&call(Action::Suspend, Verb::Execute), NOW).await;
    assert_eq!((word(&outcome), server.effects()), ("accepted".to_owned(), 1));
    assert_eq!(outcome.request.matches("PATCH").count(), 2, "{outcome:?}");
    // and refuses every one
    server.plan(Some(Plan { wrong: Wrong::Status(401), happens: false, strikes: changes }));
    let asked = server.vendor.lock().unwrap().asked.len();
    let outcome = target.call(&call(Action::Suspend, Verb::Execute), NOW).await;
    assert_eq!(word(&outcome), "auth_broken");
    // two tries and one token between them
    assert_eq!(server.vendor.lock().unwrap().asked.len() - asked, 3);
    // what was just issued is not replaced
    let outcome = self::target(&server).call(&call(Action::Suspend, Verb::Execute), NOW).await;
    assert_eq!(word(&outcome), "auth_broken");
    assert_eq!(outcome.request.matches("PATCH").count(), 1, "{outcome:?}");
    assert_eq!(server.effects(), 1);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let mut table = String::new();
    for wrong in Wrong::ALL {
        let server = Server::start(dialect).await;
        server.plan(Some(Plan { wrong, happens: false, strikes: is_token }));
        let mut vendor = VendorConfig::new(&server.base, Auth::None);
        vendor.body_max = crate::server::BODY_MAX;
        if wrong == Wrong::Silence {
            vendor.total_timeout = Duration::from_millis(1_500);
        }
        let target = Entra::new(config(vendor)).unwrap();
        let outcome = target.call(&call(Action::EndSessions, Verb::Execute), NOW).await;
        assert_eq!((outcome.sent_at, server.effects()), (None, 0), "{outcome:?}");
        let kept = serde_json::to_string(&outcome).unwrap();
        assert!(!kept.contains(CREDENTIAL) && outcome.request.contains("/token"), "{kept}");
        table.push_str(&format!("{:8} {}\n", wrong.name(), word(&outcome)));
    }
    expect![[r#"
        400      auth_broken
        401      auth_broken
        403      auth_broken
        404      auth_broken
        429      throttled (+30 s)
        500      transient
        502      transient
        503      transient
        garbage  transient
        closed   transient
        silence  transient
        302      bad_request
        307      bad_request
        huge     transient
    "#]]
    .assert_eq(&table);
}

#[tokio::test]
async fn a_login_host_that_echoes_gives_nothing_away() {
    fn echo(_: &mut Vendor, asked: &Asked) -> (u16, Value) {
        let body = String::from_utf8(asked.body.clone()).unwrap();
        let filled = format!("{}{CREDENTIAL}", "x".repeat(70));
        (401, json!({ "error": filled, "error_description": format!("{CREDENTIAL} {body}") }))
    }
    let server = Server::start(echo).await;
    let outcome = target(&server).call(&call(Action::EndSessions, Verb::Probe), NOW).await;
    assert_eq!(word(&outcome), "auth_broken");
    let kept = serde_json::to_string(&outcome).unwrap();
    let half: String = CREDENTIAL.chars().take(CREDENTIAL.len() / 2).collect();
    assert!(kept.contains("(redacted)") && !kept.contains(&half), "{kept}");
}

#[tokio::test]
async fn guests_are_left_to_their_own_tenant_and_synchronised_users_are_not_proven() {
    fn guest(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
        let (status, mut body) = dialect(vendor, asked);
        if body.get("userType").is_some() {
            body["userPrincipalName"] = json!("alice_example.org#EXT#@example.com");
        }
        (status, body)
    }
    fn synced(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
        let (status, mut body) = dialect(vendor, asked);
        if body.get("userType").is_some() {
            body["onPremisesSyncEnabled"] = json!(true);
        }
        (status, body)
    }
    let server = Server::start(guest).await;
    let guests = target(&server);
    for action in [Action::EndSessions, Action::ForceReauth, Action::ConfirmCompromised] {
        assert_eq!(word(&guests.call(&call(action, Verb::Probe), NOW).await), "unsupported");
    }
    assert_eq!(word(&guests.call(&call(Action::Suspend, Verb::Probe), NOW).await), "alive");
    let server = Server::start(synced).await;
    let target = target(&server);
    let mut call = call(Action::Suspend, Verb::Probe);
    let Answer::Before { snapshot, .. } = target.call(&call, NOW).await.answer else { panic!() };
    call.snapshot = snapshot;
    call.verb = Verb::Execute;
    assert_eq!(word(&target.call(&call, NOW).await), "accepted");
    call.verb = Verb::ReadBack;
    assert_eq!(word(&target.call(&call, LATER).await), "not provable");
}

#[tokio::test]
async fn what_others_did_is_not_taken_back() {
    for action in [Action::StepUp, Action::Suspend] {
        let server = Server::start(dialect).await;
        server.vendor.lock().unwrap().suspended = true;
        let target = target(&server);
        let mut call = call(action, Verb::Probe);
        let before = target.call(&call, NOW).await;
        assert_eq!(word(&before), "already");
        let Answer::Before { snapshot, .. } = before.answer else { panic!() };
        call.snapshot = snapshot;
        call.verb = Verb::Undo;
        let undone = target.call(&call, NOW).await;
        assert_eq!((word(&undone), undone.sent_at), ("precondition".to_owned(), None));
        assert_eq!(server.effects(), 0);
    }
    let server = Server::start(dialect).await;
    server.vendor.lock().unwrap().suspended = true;
    let mut add = call(Action::StepUp, Verb::Execute);
    assert_eq!(word(&target(&server).call(&add, NOW).await), "accepted already");
    add.attempt = 2;
    assert_eq!(word(&target(&server).call(&add, NOW).await), "accepted");
    assert_eq!(server.effects(), 0);
    // a user who was at risk by Microsoft's own word is not dismissed
    let mut dismiss = call(Action::ConfirmCompromised, Verb::Undo);
    dismiss.snapshot = Some(r#"{"state":"atRisk"}"#.to_owned());
    assert_eq!(word(&target(&server).call(&dismiss, NOW).await), "precondition");
}

#[tokio::test]
async fn missing_permissions_are_named() {
    fn with_roles(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
        if !is_token(asked) {
            return dialect(vendor, asked);
        }
        let scope = String::from_utf8(asked.body.clone()).unwrap();
        assert!(scope.contains("scope=http%3A%2F%2F127.0.0.1"), "{scope}");
        let roles = vendor.next.take().unwrap_or_default();
        let roles: Vec<&str> = roles.split(' ').collect();
        let claims = json!({ "roles": roles }).to_string();
        let token = format!("e30.{}.sig", BASE64URL_NOPAD.encode(claims.as_bytes()));
        (200, json!({ "expires_in": "3599", "access_token": token }))
    }
    async fn check(roles: &str) -> String {
        let server = Server::start(with_roles).await;
        server.vendor.lock().unwrap().next = Some(roles.to_owned());
        match target(&server).check(NOW).await {
            Ok(()) => "fine".to_owned(),
            Err(refusal) => format!("{}: {refusal}", refusal.fault),
        }
    }
    let least = "User.Read.All User.RevokeSessions.All User.EnableDisableAccount.All \
                 GroupMember.ReadWrite.All IdentityRiskyUser.ReadWrite.All";
    let wide = "User.ReadWrite.All Group.ReadWrite.All IdentityRiskyUser.ReadWrite.All";
    let told = [
        check(least).await,
        check(wide).await,
        check("Mail.Read").await,
        check("User.Read.All User.EnableDisableAccount.All").await,
        check("User.ReadWrite.All IdentityRiskyUser.ReadWrite.All").await,
        check("User.ReadWrite.All Group.ReadWrite.All").await,
        check("User.Read.All User.RevokeSessions.All").await,
    ];
    expect![[r#"
        fine
        fine
        no_permission: the application lacks User.Read.All, or it was not consented to
        no_permission: the application lacks User.RevokeSessions.All, or it was not consented to
        no_permission: the application lacks GroupMember.ReadWrite.All, or it was not consented to
        no_permission: the application lacks IdentityRiskyUser.ReadWrite.All, or it was not consented to
        no_permission: the application lacks GroupMember.ReadWrite.All, or it was not consented to"#]].assert_eq(&told.join("\n"));
}

#[tokio::test]
async fn a_group_that_others_fill_is_no_step_up_group() {
    fn group(vendor: &mut Vendor, asked: &Asked) -> (u16, Value) {
        let (status, mut body) = dialect(vendor, asked);
        if body.get("groupTypes").is_some() {
            match vendor.request_id.as_deref() {
                Some("dynamic") => body["groupTypes"] = json!(["DynamicMembership"]),
                Some("synced") => body["onPremisesSyncEnabled"] = json!(true),
                _ => body["isAssignableToRole"] = json!(true),
            }
        }
        (status, body)
    }
    for kind in ["dynamic", "synced", "roles"] {
        let server = Server::start(group).await;
        server.vendor.lock().unwrap().request_id = Some(kind.to_owned());
        let refusal = target(&server).check(NOW).await.unwrap_err();
        assert_eq!(refusal.fault, Fault::Precondition);
    }
}

#[tokio::test]
async fn odd_and_protected_ids_reach_no_vendor() {
    let server = Server::start(dialect).await;
    for odd in ["", "alice.weber@example.com", "../groups", &USER.replace('-', ""), "me"] {
        for action in target(&server).capabilities().iter().map(|c| c.action) {
            let mut call = call(action, Verb::Execute);
            call.account.id = odd.to_owned();
            let outcome = target(&server).call(&call, NOW).await;
            assert_eq!((word(&outcome), outcome.sent_at), ("bad_request".to_owned(), None));
        }
    }
    let mut protected = config(VendorConfig::new(&server.base, Auth::None));
    protected.protected = [USER.to_uppercase()].into();
    let protected = Entra::new(protected).unwrap();
    let outcome = protected.call(&call(Action::EndSessions, Verb::Execute), NOW).await;
    assert_eq!((word(&outcome), outcome.sent_at), ("unsupported".to_owned(), None));
    assert!(server.vendor.lock().unwrap().asked.iter().all(is_token));
}

#[test]
fn odd_configurations_are_refused() {
    let refuse = |change: fn(&mut EntraConfig)| {
        let mut config = config(VendorConfig::new("https://graph.example.com", Auth::None));
        change(&mut config);
        Entra::new(config).map(|_| ()).unwrap_err().to_string()
    };
    let texts = [
        refuse(|c| c.vendor.base = "http://graph.example.com".to_owned()),
        refuse(|c| c.login = "http://login.example.com".to_owned()),
        refuse(|c| c.tenant = "common".to_owned()),
        refuse(|c| c.tenant = "a/b".to_owned()),
        refuse(|c| c.client_id = String::new()),
        refuse(|c| c.step_up_group = None),
        refuse(|c| c.step_up_group = Some("admins".to_owned())),
        refuse(|c| c.actions = [Action::ResetPassword].into()),
        refuse(|c| c.credential = Credential::Certificate(Secret::new("no PEM"))),
    ];
    expect![[r#"
        `http://graph.example.com` cannot be a base address: `http` is for loopback alone
        `http://login.example.com` cannot be a base address: `http` is for loopback alone
        `tenant_id` is not usable: it is neither a tenant's id nor a domain of its
        `tenant_id` is not usable: it is neither a tenant's id nor a domain of its
        `client_id` is not usable: it is no client id
        `step_up_group` is not usable: `step_up` needs it
        `step_up_group` is not usable: it is no object id
        `actions` is not usable: `reset_password` is none of this target's
        `certificate` is not usable: it holds no certificate in PEM"#]]
    .assert_eq(&texts.join("\n"));
}

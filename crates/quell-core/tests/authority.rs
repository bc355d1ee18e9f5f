//! Authority through its public face: what loads, what fails closed, and what the shipped
//! policies permit. It reaches into nothing private.

use std::collections::BTreeSet;

use expect_test::expect;
use quell_core::action::{Action, Tier};
use quell_core::authority::{Question, Resource, Verdict};
use quell_core::identity::Class;
use quell_core::policy::{Mode, Policy, PolicyFiles};
use quell_core::signal::{Anomaly, Kind, Provenance, Use};
use quell_core::time::HOUR;

/// A well-founded finding about a person: what a strong case looks like.
fn question(source: &str, kind: Kind, action: Action, class: Option<Class>) -> Question {
    Question {
        source: source.to_owned(),
        action,
        resource: Resource::Identity("idn_test".to_owned()),
        class,
        kind,
        usage: Use::Alone,
        confidence: Some(90),
        provenance: Provenance::Polled,
        anomalies: BTreeSet::new(),
        attribution_weak: false,
        rule: "rule".to_owned(),
        tier: Tier::Evict,
        finding_confidence: Some(85),
        sources: 2,
        signal_age_s: 60,
        directory_age_s: 3_600,
        watched: false,
        case_state: "open".to_owned(),
        mode: Mode::Armed,
        cold: false,
        late: false,
        precision: None,
    }
}

fn say(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Permit { approvals, ttl, policies } => {
            let ttl = ttl.map_or("for ever".to_owned(), |ttl| format!("{}h", ttl / HOUR));
            format!("permit after {approvals}, {ttl}: {}", policies.join(" "))
        }
        Verdict::Deny { policies, reason } if policies.is_empty() => format!("deny: {reason}"),
        Verdict::Deny { policies, .. } => format!("deny: {}", policies.join(" ")),
        Verdict::Error { message } => format!("error: {message}"),
    }
}

#[test]
fn shipped_policy_loads() {
    match Policy::shipped() {
        Ok(policy) => assert_eq!(policy.armed.mode, Mode::Shadow),
        Err(errors) => {
            let lines: Vec<String> =
                errors.iter().map(|e| format!("{e} -> {}", e.remedy)).collect();
            panic!("{}", lines.join("\n"));
        }
    }
}

/// One row per step of interest and per answer: what the shipped policies say to which classes.
#[test]
fn shipped_policies_say() {
    let policy = Policy::shipped().expect("loads");
    let mut out = String::new();
    for (source, kind, action) in [
        ("proofpoint_tap", Kind::UrlClick, Action::EndSessions),
        ("proofpoint_tap", Kind::CredentialSubmitted, Action::RevokeTokens),
        ("okta", Kind::SignIn, Action::EndSessions),
        ("okta", Kind::CredentialLeaked, Action::Suspend),
        ("okta", Kind::CredentialLeaked, Action::ResetPassword),
        ("proofpoint_tap", Kind::UrlClick, Action::ForceReauth),
        ("okta", Kind::SignInFailed, Action::ForceReauth),
        ("okta", Kind::MfaFatigue, Action::Watch),
        ("entra_id", Kind::CredentialLeaked, Action::EndSessions),
    ] {
        out.push_str(&format!("{source} {kind} -> {action}\n"));
        let mut answers: Vec<(String, Vec<&str>)> = Vec::new();
        for class in Class::ALL.iter().copied().map(Some).chain([None]) {
            let answer = say(&policy.authority.ask(&question(source, kind, action, class)));
            let class = class.map_or("unknown", Class::name);
            match answers.iter_mut().find(|(text, _)| *text == answer) {
                Some((_, classes)) => classes.push(class),
                None => answers.push((answer, vec![class])),
            }
        }
        for (answer, classes) in answers {
            out.push_str(&format!("  {answer}\n      {}\n", classes.join(" ")));
        }
    }
    expect![[r#"
        proofpoint_tap url_click -> end_sessions
          permit after 0, for ever: contain-click
              human privileged high_value external_member
          deny: no policy permits it
              service_account oauth_app ai_agent shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        proofpoint_tap credential_submitted -> revoke_tokens
          permit after 0, for ever: contain-credential
              human privileged high_value external_member
          deny: no policy permits it
              service_account oauth_app ai_agent shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        okta sign_in -> end_sessions
          permit after 0, for ever: contain-access
              human privileged high_value external_member
          deny: no policy permits it
              service_account oauth_app ai_agent shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        okta credential_leaked -> suspend
          permit after 1, 24h: evict-person-access
              human privileged external_member
          permit after 2, 24h: evict-high-value-access
              high_value
          permit after 2, for ever: evict-program
              service_account oauth_app ai_agent
          deny: no policy permits it
              shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        okta credential_leaked -> reset_password
          deny: no policy permits it
              human privileged high_value service_account oauth_app ai_agent shared_mailbox external_member
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        proofpoint_tap url_click -> force_reauth
          permit after 0, for ever: challenge-lure
              human privileged high_value external_member
          deny: no policy permits it
              service_account oauth_app ai_agent shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        okta sign_in_failed -> force_reauth
          deny: no policy permits it
              human privileged high_value service_account oauth_app ai_agent shared_mailbox external_member
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
        okta mfa_fatigue -> watch
          permit after 0, 72h: observe
              human privileged high_value service_account oauth_app ai_agent shared_mailbox external_member unknown
          deny: never-break-glass
              break_glass
        entra_id credential_leaked -> end_sessions
          permit after 0, for ever: contain-access
              human privileged high_value external_member
          deny: no policy permits it
              service_account oauth_app ai_agent shared_mailbox
          deny: never-break-glass
              break_glass
          deny: never-unknown
              unknown
    "#]].assert_eq(&out);
}

/// What weakens a ground: the same step of one person, asked with one thing changed.
#[test]
fn weaker_grounds_ask_people_or_stop() {
    let policy = Policy::shipped().expect("loads");
    let mut out = String::new();
    let mut ask = |what: &str, change: fn(&mut Question)| {
        let mut answers = Vec::new();
        for action in [Action::ForceReauth, Action::EndSessions, Action::Suspend] {
            let mut question = question("okta", Kind::CredentialLeaked, action, Some(Class::Human));
            change(&mut question);
            answers.push(match policy.authority.ask(&question) {
                Verdict::Permit { approvals, .. } => approvals.to_string(),
                Verdict::Deny { .. } => "no".to_owned(),
                Verdict::Error { message } => message,
            });
        }
        out.push_str(&format!("{what}: {}\n", answers.join(" ")));
    };
    ask("strong", |_| ());
    ask("cold", |q| q.cold = true);
    ask("late", |q| q.late = true);
    ask("directory a week old", |q| q.directory_age_s = 604_800);
    ask("directory a second younger", |q| q.directory_age_s = 604_799);
    ask("weak attribution", |q| q.attribution_weak = true);
    ask("finding at 70", |q| q.finding_confidence = Some(70));
    ask("finding at 69", |q| q.finding_confidence = Some(69));
    ask("finding at 59", |q| q.finding_confidence = Some(59));
    ask("facts alone", |q| q.finding_confidence = None);
    ask("already stopped", |q| q.usage = Use::Stop);
    ask("asks for challenge", |q| q.tier = Tier::Challenge);
    ask("lure alone", |q| {
        (q.source, q.kind, q.sources) = ("proofpoint_tap".to_owned(), Kind::UrlClick, 1);
    });
    ask("lure confirmed", |q| (q.source, q.kind) = ("proofpoint_tap".to_owned(), Kind::UrlClick));
    ask("click by a scanner", |q| {
        (q.source, q.kind) = ("proofpoint_tap".to_owned(), Kind::UrlClick);
        q.anomalies.insert(Anomaly::KnownScanner);
    });
    expect![[r#"
        strong: 0 0 1
        cold: 0 1 1
        late: 1 1 1
        directory a week old: 0 1 1
        directory a second younger: 0 0 1
        weak attribution: no no no
        finding at 70: 0 0 1
        finding at 69: 0 no no
        finding at 59: no no no
        facts alone: no no no
        already stopped: 0 no no
        asks for challenge: 0 no no
        lure alone: 0 no no
        lure confirmed: 0 0 1
        click by a scanner: no no no
    "#]]
    .assert_eq(&out);
}

/// The page for users: its example loads, and it names every word of the lists that it prints.
#[test]
fn the_page_is_true() {
    let page = include_str!("../../../docs/authority.md");
    let example = page.split_once("```cedar\n").and_then(|(_, rest)| rest.split_once("```"));
    let mut files = PolicyFiles::shipped();
    files.0.insert("example.cedar".to_owned(), example.expect("has one").0.to_owned());
    let policy = Policy::load(&files).expect("the example loads");
    let entra = question("entra_id", Kind::TokenAnomaly, Action::EndSessions, Some(Class::Human));
    let verdict = policy.authority.ask(&entra);
    assert_eq!(say(&verdict), "permit after 0, for ever: contain-access contain-entra-token");
    assert_eq!(
        policy.authority.reason("contain-entra-token"),
        Some("the identity provider saw a stolen token")
    );
    let schema = &files.0["quell.cedarschema"];
    let actions = Action::ALL.iter().map(|action| action.name());
    let classes = Class::ALL.iter().map(|class| class.name());
    for word in actions.chain(classes).chain(Tier::ALL.iter().map(|tier| tier.name())) {
        assert!(page.contains(&format!("`{word}`")), "{word}");
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
    let anomalies = Anomaly::ALL.iter().map(|anomaly| anomaly.name());
    let provenance = Provenance::ALL.iter().map(|provenance| provenance.name());
    for word in anomalies.chain(provenance).chain(Use::ALL.iter().map(|usage| usage.name())) {
        assert!(page.contains(&format!("`{word}`")), "{word}");
        assert!(schema.contains(word), "{word}");
    }
}

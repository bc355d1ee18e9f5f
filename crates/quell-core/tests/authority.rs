//! Authority through its public face: what loads, what fails closed, and what the shipped
//! policies permit. It reaches into nothing private.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use quell_core::action::{Action, Tier};
use quell_core::authority::{Question, Resource, Verdict};
use quell_core::identity::Class;
use quell_core::policy::{Mode, Policy};
use quell_core::signal::{Kind, Provenance, Use};

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
            let ttl = ttl.map_or("for ever".to_owned(), |ttl| format!("{}h", ttl / 3_600_000_000));
            format!("permit after {approvals}, {ttl}: {}", policies.join(" "))
        }
        Verdict::Deny { policies, reason } => format!("deny: {} ({reason})", policies.join(" ")),
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

/// One row per step of interest: what the shipped policies say about it.
#[test]
fn shipped_policies_say() {
    let policy = Policy::shipped().expect("loads");
    let mut out = String::new();
    let cases = [
        ("proofpoint_tap", Kind::UrlClick, Action::EndSessions),
        ("okta", Kind::SignIn, Action::EndSessions),
        ("okta", Kind::CredentialLeaked, Action::Suspend),
        ("proofpoint_tap", Kind::UrlClick, Action::ForceReauth),
        ("okta", Kind::SignInFailed, Action::ForceReauth),
        ("okta", Kind::MfaFatigue, Action::Watch),
        ("entra_id", Kind::CredentialLeaked, Action::EndSessions),
    ];
    for (source, kind, action) in cases {
        out.push_str(&format!("{source} {kind} -> {action}\n"));
        for class in Class::ALL.iter().copied().map(Some).chain([None]) {
            let verdict = policy.authority.ask(&question(source, kind, action, class));
            let class = class.map_or("unknown", Class::name);
            out.push_str(&format!("  {class}: {}\n", say(&verdict)));
        }
    }
    let want: Expect = expect![[r#"
        proofpoint_tap url_click -> end_sessions
          human: permit after 0, for ever: contain-click
          privileged: permit after 0, for ever: contain-click
          high_value: permit after 0, for ever: contain-click
          service_account: deny:  (no policy permits it)
          oauth_app: deny:  (no policy permits it)
          ai_agent: deny:  (no policy permits it)
          shared_mailbox: deny:  (no policy permits it)
          external_member: deny:  (no policy permits it)
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: deny: never-unknown (nothing beyond watching while nobody knows what kind of identity it is)
        okta sign_in -> end_sessions
          human: permit after 0, for ever: contain-access
          privileged: permit after 0, for ever: contain-access
          high_value: permit after 0, for ever: contain-access
          service_account: deny:  (no policy permits it)
          oauth_app: deny:  (no policy permits it)
          ai_agent: deny:  (no policy permits it)
          shared_mailbox: deny:  (no policy permits it)
          external_member: deny:  (no policy permits it)
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: deny: never-unknown (nothing beyond watching while nobody knows what kind of identity it is)
        okta credential_leaked -> suspend
          human: permit after 1, 24h: evict-person-access
          privileged: permit after 1, 24h: evict-person-access
          high_value: permit after 2, 24h: evict-high-value-access
          service_account: deny:  (no policy permits it)
          oauth_app: deny:  (no policy permits it)
          ai_agent: deny:  (no policy permits it)
          shared_mailbox: deny:  (no policy permits it)
          external_member: deny:  (no policy permits it)
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: deny: never-unknown (nothing beyond watching while nobody knows what kind of identity it is)
        proofpoint_tap url_click -> force_reauth
          human: permit after 0, for ever: challenge-lure
          privileged: permit after 0, for ever: challenge-lure
          high_value: permit after 0, for ever: challenge-lure
          service_account: deny:  (no policy permits it)
          oauth_app: deny:  (no policy permits it)
          ai_agent: deny:  (no policy permits it)
          shared_mailbox: deny:  (no policy permits it)
          external_member: permit after 0, for ever: challenge-lure
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: deny: never-unknown (nothing beyond watching while nobody knows what kind of identity it is)
        okta sign_in_failed -> force_reauth
          human: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          privileged: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          high_value: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          service_account: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          oauth_app: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          ai_agent: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          shared_mailbox: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          external_member: deny: never-outsider (nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          break_glass: deny: never-break-glass never-outsider (the account of last resort is never acted on; it pages instead; nobody outside may lock anyone out: what anyone can cause never goes beyond watching)
          unknown: deny: never-outsider never-unknown (nobody outside may lock anyone out: what anyone can cause never goes beyond watching; nothing beyond watching while nobody knows what kind of identity it is)
        okta mfa_fatigue -> watch
          human: permit after 0, 72h: observe
          privileged: permit after 0, 72h: observe
          high_value: permit after 0, 72h: observe
          service_account: permit after 0, 72h: observe
          oauth_app: permit after 0, 72h: observe
          ai_agent: permit after 0, 72h: observe
          shared_mailbox: permit after 0, 72h: observe
          external_member: permit after 0, 72h: observe
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: permit after 0, 72h: observe
        entra_id credential_leaked -> end_sessions
          human: deny:  (no policy permits it)
          privileged: deny:  (no policy permits it)
          high_value: deny:  (no policy permits it)
          service_account: deny:  (no policy permits it)
          oauth_app: deny:  (no policy permits it)
          ai_agent: deny:  (no policy permits it)
          shared_mailbox: deny:  (no policy permits it)
          external_member: deny:  (no policy permits it)
          break_glass: deny: never-break-glass (the account of last resort is never acted on; it pages instead)
          unknown: deny: never-unknown (nothing beyond watching while nobody knows what kind of identity it is)
    "#]];
    want.assert_eq(&out);
}

//! Rules room: the shipped rules are valid, complete, and match what they say.

#![expect(clippy::disallowed_methods, reason = "the shipped rules are files")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking")]

use std::collections::BTreeMap;
use std::path::Path;

use expect_test::expect;
use quell_rules::{Category, Event, Field, Frameworks, Matcher, Rule, RuleSet, Subject, Tier, Use};

fn files() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn shipped() -> RuleSet {
    let files = files();
    let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let (set, errors) = RuleSet::parse(&files);
    assert_eq!(errors, []);
    set
}

fn name(rule: &Rule) -> &str {
    rule.meta().name.as_deref().unwrap()
}

#[test]
fn what_they_ask_for() {
    let set = shipped();
    let mut shown: Vec<String> = Vec::new();
    for (_, rule) in set.iter() {
        let what = match rule {
            Rule::Detection(detection) => format!("{:?}", detection.kinds.as_ref().unwrap()),
            Rule::Correlation(c) => {
                let members: Vec<&str> =
                    c.members.iter().map(|m| name(set.by_id(&m.id).unwrap())).collect();
                format!("{} {:?} {} s {:?}", c.kind, c.group_by, c.timespan_us / 1_000_000, members)
            }
        };
        let ask = rule.quell().ask.as_ref().map_or("asks for nothing".to_owned(), |ask| {
            format!("{} {} {}", ask.tier, ask.confidence, ask.subject.as_str())
        });
        let novel = &rule.quell().novel;
        shown.push(format!("{}: {ask}; {what}; novel {novel:?}", name(rule)));
    }
    shown.sort();
    expect![[r#"
        adversary_in_the_middle: contain 90 identity; ["adversary_in_the_middle"]; novel []
        breached_credential_used: contain 85 identity; ["credential_leaked"]; novel []
        consent: asks for nothing; ["oauth_consent"]; novel []
        consent_after_phish: challenge 60 identity; temporal_ordered ["identity"] 86400 s ["phishing_message_met", "consent"]; novel []
        hiding_mailbox_rule: asks for nothing; ["forwarding_enabled", "mailbox_rule_created"]; novel []
        mail_through_application: asks for nothing; ["message_delivered", "session_presented"]; novel []
        mailbox_rule_after_new_sign_in: contain 75 identity; temporal_ordered ["identity"] 21600 s ["sign_in_from_unseen_network_and_device", "hiding_mailbox_rule"]; novel []
        mailbox_rule_after_risky_sign_in: contain 80 identity; temporal_ordered ["identity"] 21600 s ["odd_sign_in_or_token", "hiding_mailbox_rule"]; novel []
        mfa_denials_then_success: contain 80 identity; temporal_ordered ["identity", "entity.ip"] 1800 s ["second_factor_asked_often", "signed_in"]; novel []
        mfa_denials_then_success_in_session: contain 80 identity; temporal_ordered ["identity", "entity.session"] 1800 s ["second_factor_asked_often_in_session", "signed_in"]; novel []
        mfa_fatigue_then_success: contain 85 identity; temporal_ordered ["identity", "entity.ip"] 1800 s ["mfa_fatigue_told", "signed_in"]; novel []
        mfa_fatigue_told: asks for nothing; ["mfa_fatigue"]; novel []
        odd_sign_in_or_token: asks for nothing; ["adversary_in_the_middle", "impossible_travel", "session_anomaly", "sign_in_risky", "token_anomaly"]; novel []
        outsider_observe: observe 50 identity; ["account_locked", "detection", "impersonation", "malware_delivered", "mfa_denied", "mfa_fatigue", "phish_delivered", "sign_in_failed", "suspicious_sender", "user_reported"]; novel []
        permitted_phish_click: challenge 60 identity; ["url_click"]; novel []
        permitted_phishing_click: asks for nothing; ["url_click"]; novel []
        phish_click_then_new_sign_in: contain 80 identity; temporal_ordered ["identity"] 3600 s ["permitted_phishing_click", "sign_in_from_unseen_network_and_device"]; novel []
        phish_click_then_odd_sign_in: contain 80 identity; temporal_ordered ["identity"] 3600 s ["permitted_phishing_click", "odd_sign_in_or_token"]; novel []
        phishing_message_met: asks for nothing; ["impersonation", "phish_delivered", "url_click"]; novel []
        provider_sure_of_compromise: contain 85 identity; ["credential_leaked", "credential_submitted", "device_code_sign_in", "impossible_travel", "oauth_consent_risky", "risk_changed", "session_anomaly", "sign_in_risky", "token_anomaly", "user_reported_activity"]; novel []
        risky_consent: asks for nothing; ["oauth_consent_risky"]; novel []
        risky_consent_after_phish: contain 75 identity; temporal_ordered ["identity"] 86400 s ["phishing_message_met", "risky_consent"]; novel []
        risky_consent_then_mail: contain 70 identity; temporal_ordered ["identity", "entity.oauth_app"] 172800 s ["risky_consent", "mail_through_application"]; novel []
        second_factor_asked_often: asks for nothing; event_count ["identity", "entity.ip"] 600 s ["second_factor_denied"]; novel []
        second_factor_asked_often_in_session: asks for nothing; event_count ["identity", "entity.session"] 600 s ["second_factor_denied"]; novel []
        second_factor_denied: asks for nothing; ["mfa_denied"]; novel []
        session_from_two_networks: contain 70 identity; temporal ["identity", "entity.session"] 1800 s ["session_on_two_networks", "session_in_two_clients"]; novel []
        session_in_two_clients: asks for nothing; value_count ["identity", "entity.session"] 1800 s ["session_in_use"]; novel []
        session_in_use: asks for nothing; ["message_delivered", "session_established", "session_presented", "sign_in"]; novel []
        session_on_two_networks: asks for nothing; value_count ["identity", "entity.session"] 1800 s ["session_in_use"]; novel []
        sign_in_from_unseen_network_and_device: asks for nothing; ["sign_in"]; novel [Network, Device]
        signed_in: asks for nothing; ["session_established", "sign_in"]; novel []"#]].assert_eq(&shown.join("\n"));
}

#[test]
fn each_is_complete() {
    let published = published();
    for (_, rule) in shipped().iter() {
        let meta = rule.meta();
        let lens: Vec<usize> = meta.id.split('-').map(str::len).collect();
        assert_eq!(lens, [8, 4, 4, 4, 12], "{} is no UUID", meta.id);
        assert!(meta.name.is_some() && meta.status.is_some() && meta.level.is_some(), "{meta:?}");
        assert!(!meta.description.is_empty() && !meta.false_positives.is_empty(), "{meta:?}");
        let Frameworks { attack, csf, nhi, maestro } = &rule.quell().frameworks;
        for item in attack.iter().chain(csf).chain(nhi).chain(maestro) {
            assert_eq!(published.get(item.id.as_str()), Some(&item.wording.as_str()), "{item:?}");
        }
        for item in attack {
            let tag = format!("attack.{}", item.id.to_lowercase());
            assert!(meta.tags.contains(&tag), "{} lacks the tag {tag}", meta.title);
        }
        if let Some(ask) = &rule.quell().ask {
            assert_eq!(ask.subject, Subject::Identity);
            assert!(!attack.is_empty() && !csf.is_empty() && !maestro.is_empty(), "{meta:?}");
        }
    }
}

/// The wording of the items as their publishers print them.
fn published() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("T1566", "Phishing"),
        ("T1566.002", "Spearphishing Link"),
        ("T1204.001", "Malicious Link"),
        ("T1557", "Adversary-in-the-Middle"),
        ("T1078.004", "Cloud Accounts"),
        ("T1621", "Multi-Factor Authentication Request Generation"),
        ("T1539", "Steal Web Session Cookie"),
        ("T1550.004", "Web Session Cookie"),
        ("T1528", "Steal Application Access Token"),
        ("T1671", "Cloud Application Integration"),
        ("T1114.002", "Remote Email Collection"),
        ("T1114.003", "Email Forwarding Rule"),
        ("T1564.008", "Email Hiding Rules"),
        ("NHI3:2025", "Vulnerable Third-Party NHI"),
        ("NHI4:2025", "Insecure Authentication"),
        ("NHI5:2025", "Overprivileged NHI"),
        ("L7", "Agent Ecosystem"),
        ("RS.MA-02", "Incident reports are triaged and validated"),
        ("RS.MI-01", "Incidents are contained"),
        ("L6", "Security and Compliance"),
    ])
}

#[test]
fn a_detection_asks_for_no_more_than_its_kinds_can_show() {
    let most = |kind: &str| match kind {
        "url_click" | "attachment_opened" => Tier::Challenge,
        "adversary_in_the_middle"
        | "credential_leaked"
        | "credential_submitted"
        | "device_code_sign_in"
        | "impossible_travel"
        | "oauth_consent_risky"
        | "risk_changed"
        | "session_anomaly"
        | "sign_in_risky"
        | "token_anomaly"
        | "user_reported_activity" => Tier::Evict,
        _ => Tier::Observe,
    };
    let set = shipped();
    let mut asking = 0;
    for (_, detection) in set.asking_alone() {
        let tier = detection.quell.ask.as_ref().unwrap().tier;
        for kind in detection.kinds.as_ref().unwrap() {
            assert!(tier <= most(kind), "{} asks for {tier} on {kind}", detection.meta.title);
        }
        asking += 1;
    }
    assert_eq!(asking, 5);
}

fn check(
    kind: &str,
    category: Category,
    uses: Use,
    source: &str,
    confidence: Option<u8>,
) -> String {
    let set = shipped();
    let mut event = Event::new(category)
        .with(Field::Kind, kind)
        .with(Field::Use, uses.as_str())
        .with(Field::Source, source)
        .with(Field::Subject, "ada@example.com");
    if let Some(confidence) = confidence {
        event.push(Field::Confidence, confidence);
    }
    let matched = Matcher::new(&set).match_event(&event);
    let mut names: Vec<&str> = matched.iter().map(|idx| name(set.get(*idx).unwrap())).collect();
    names.sort_unstable();
    names.join(" ")
}

#[test]
fn they_match_what_they_say() {
    let mail = |kind, uses, confidence| {
        check(kind, Category::Mail, uses, "proofpoint_tap", Some(confidence))
    };
    assert_eq!(
        mail("url_click", Use::Alone, 85),
        "permitted_phish_click permitted_phishing_click phishing_message_met"
    );
    assert_eq!(mail("url_click", Use::Join, 50), "permitted_phishing_click phishing_message_met");
    assert_eq!(mail("url_click", Use::Alone, 49), "");
    assert_eq!(mail("url_click", Use::Fact, 85), "");
    assert_eq!(mail("url_click", Use::Undo, 85), "");
    assert_eq!(mail("url_click_blocked", Use::Stop, 95), "");
    assert_eq!(mail("phish_delivered", Use::Join, 85), "outsider_observe phishing_message_met");
    assert_eq!(mail("phish_delivered", Use::Stop, 85), "");

    let okta = |kind, uses, confidence| check(kind, Category::Identity, uses, "okta", confidence);
    let new_sign_in = "sign_in_from_unseen_network_and_device signed_in";
    assert_eq!(okta("sign_in", Use::Fact, None), new_sign_in);
    assert_eq!(okta("sign_in_failed", Use::Fact, None), "");
    assert_eq!(okta("credential_leaked", Use::Alone, Some(85)), "breached_credential_used");
    assert_eq!(okta("credential_leaked", Use::Stop, Some(85)), "");
    assert_eq!(okta("mfa_denied", Use::Join, Some(60)), "outsider_observe second_factor_denied");
    assert_eq!(
        check("credential_leaked", Category::Identity, Use::Alone, "entra_id", Some(92)),
        "provider_sure_of_compromise"
    );
    assert_eq!(check("detection", Category::Any, Use::Join, "okta", Some(50)), "outsider_observe");
    assert_eq!(check("detection", Category::Any, Use::Join, "okta", Some(30)), "");
}

#[test]
fn the_digest_does_not_hang_on_file_order() {
    let files = files();
    let forth: Vec<(&str, &str)> = files.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let back: Vec<(&str, &str)> = files.iter().rev().map(|(_, t)| ("x.yml", t.as_str())).collect();
    assert_eq!(RuleSet::parse(&forth).0.digest(), RuleSet::parse(&back).0.digest());
}

#[test]
fn the_examples_of_the_guide_are_valid() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let examples: Vec<&str> =
        guide.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 2);
    let (set, errors) = RuleSet::parse(&[("rules.md", &examples.join("---\n"))]);
    assert_eq!(errors, []);
    assert_eq!(set.len(), 3);
    for modifier in quell_rules::MODIFIERS {
        assert!(guide.contains(&format!("`{modifier}`")), "the guide lacks `{modifier}`");
    }
    for field in quell_rules::FIELDS {
        assert!(guide.contains(&format!("`{field}`")), "the guide lacks `{field}`");
    }
}

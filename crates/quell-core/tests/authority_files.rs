//! The owner's TOML files: what they say, and what is refused with which line and remedy. Cedar
//! is not asked here.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use quell_core::action::{Action, Tier};
use quell_core::identity::Class;
use quell_core::policy::{Classes, Limits, PolicyError, PolicyFiles, Tiers};
use quell_core::time::{DAY, HOUR};

fn shipped(name: &str) -> String {
    PolicyFiles::shipped().0.remove(name).unwrap_or_default()
}

fn say<T>(result: Result<T, Vec<PolicyError>>) -> String {
    match result {
        Ok(_) => "reads\n".to_owned(),
        Err(errors) => {
            let line = |e: &PolicyError| format!("{e}\n    help: {}\n", e.remedy);
            errors.iter().map(line).collect()
        }
    }
}

fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    items.into_iter().collect()
}

/// Every way in which a file is refused: version, unknown words, missing words, wrong types.
#[test]
fn refused_files() {
    let check = |text: &str, want: Expect| want.assert_eq(&say(Classes::parse(text)));
    check(
        "",
        expect![[r#"
        classes.toml:1: `version` is missing
            help: write `version = 1` as the first line
    "#]],
    );
    check(
        "version = 2\nclasses = 1",
        expect![[r#"
        classes.toml:1: version `2` is not known
            help: write `version = 1`
    "#]],
    );
    check(
        "version = \"1\"",
        expect![[r#"
        classes.toml:1: version `"1"` is not known
            help: write `version = 1`
    "#]],
    );
    check(
        "version = 1\nclass = [",
        expect![[r#"
        classes.toml:2: unclosed array, expected `]`
            help: see docs/authority.md for the form of this file
    "#]],
    );
    check(
        "version = 1\n\n[[clas]]\nclass = \"human\"",
        expect![[r#"
        classes.toml:3: unknown field `clas`
            help: did you mean `class`?
    "#]],
    );
    check(
        "version = 1\n[[class]]\nclass = \"privilged\"\ngroups = []",
        expect![[r#"
        classes.toml:3: `privilged` is not a known class
            help: did you mean `privileged`?
    "#]],
    );
    check(
        "version = 1\n[[class]]\nclass = \"x\"\ngroups = []",
        expect![[r#"
        classes.toml:3: `x` is not a known class
            help: see docs/authority.md for the names that are known
    "#]],
    );
    check(
        "version = 1\n[[class]]\nclass = \"human\"\ngroups = \"all\"",
        expect![[r#"
        classes.toml:4: invalid type: string "all", expected a sequence
            help: see docs/authority.md for the form of this file
    "#]],
    );
    check(
        "version = 1\n[[class]]\ngroups = []",
        expect![[r#"
        classes.toml:2: `class` is missing
            help: add `class = ..`
    "#]],
    );
    check(
        "version = 1\n[[class]]\nclass = \"human\"\ngroups = [\"a\", \" \"]",
        expect![[r#"
        classes.toml:4: a group without a name
            help: name a directory group
    "#]],
    );
    check(
        "version = 1\nversion = 1",
        expect![[r#"
        classes.toml:2: duplicate key
            help: see docs/authority.md for the form of this file
    "#]],
    );
    check(
        &format!("version = 1\nx = {}", "[".repeat(100_000)),
        expect![[r#"
        classes.toml:2: cannot recurse further; max recursion depth met
            help: see docs/authority.md for the form of this file
    "#]],
    );
}

#[test]
fn groups_give_classes() {
    let text = "version = 1\n[[class]]\nclass = \"privileged\"\ngroups = [\"Okta-Admins\"]\n\
                [[class]]\nclass = \"high_value\"\ngroups = [\"finance\", \"okta-admins\"]";
    let classes = Classes::parse(text).expect("reads");
    let of = |directory: &[Class], groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        classes.of(&set(directory.iter().copied()), &groups)
    };
    assert_eq!(of(&[], &[]), set([]));
    assert_eq!(of(&[Class::AiAgent], &["others"]), set([Class::AiAgent]));
    assert_eq!(of(&[Class::Human], &["finance"]), set([Class::Human, Class::HighValue]));
    assert_eq!(of(&[], &["OKTA-admins "]), set([Class::Privileged, Class::HighValue]));
}

/// Tiers by sets of classes: the most protective decides, never the first match.
#[test]
fn tiers_by_classes() {
    let text = r#"
version = 1
[observe]
default = ["watch"]
unknown = ["watch"]
[challenge]
default = ["watch", "force_reauth"]
unknown = ["watch"]
[contain]
default = ["watch", "end_sessions"]
human = ["watch", "end_sessions", "revoke_tokens"]
privileged = ["watch", "end_sessions", "suspend"]
high_value = ["end_sessions"]
service_account = ["watch", "revoke_tokens", "rotate_credential"]
oauth_app = ["watch", "revoke_tokens", "revoke_grant"]
unknown = ["watch"]
[evict]
default = ["suspend"]
unknown = []
"#;
    let tiers = Tiers::parse(text).expect("reads");
    use Class as C;
    let cases: [&[Class]; 14] = [
        &[],
        &[C::Human],
        &[C::ExternalMember],
        &[C::Human, C::Privileged],
        &[C::HighValue],
        &[C::HighValue, C::Privileged],
        &[C::ServiceAccount],
        &[C::SharedMailbox],
        &[C::ServiceAccount, C::OauthApp],
        &[C::Human, C::ServiceAccount],
        &[C::Privileged, C::ServiceAccount],
        &[C::Human, C::SharedMailbox],
        &[C::AiAgent, C::ServiceAccount],
        &[C::Human, C::Privileged, C::BreakGlass],
    ];
    let mut out = String::new();
    for classes in cases {
        let names: Vec<&str> = classes.iter().map(|class| class.name()).collect();
        out.push_str(&format!("[{}]\n", names.join(" ")));
        for tier in Tier::ALL {
            let actions = tiers.actions(*tier, &set(classes.iter().copied()));
            let names: Vec<&str> = actions.iter().map(|action| action.name()).collect();
            out.push_str(&format!("  {tier}: {}\n", names.join(", ")));
        }
    }
    expect![[r#"
        []
          observe: watch
          challenge: watch
          contain: watch
          evict: 
        [human]
          observe: watch
          challenge: watch, force_reauth
          contain: watch, end_sessions, revoke_tokens
          evict: suspend
        [external_member]
          observe: watch
          challenge: watch, force_reauth
          contain: watch, end_sessions
          evict: suspend
        [human privileged]
          observe: watch
          challenge: watch, force_reauth
          contain: watch, end_sessions, revoke_tokens, suspend
          evict: suspend
        [high_value]
          observe: watch
          challenge: watch, force_reauth
          contain: end_sessions
          evict: suspend
        [high_value privileged]
          observe: watch
          challenge: watch, force_reauth
          contain: watch, end_sessions, suspend
          evict: suspend
        [service_account]
          observe: watch
          challenge: watch
          contain: watch, revoke_tokens, rotate_credential
          evict: 
        [shared_mailbox]
          observe: watch
          challenge: watch
          contain: watch
          evict: 
        [service_account oauth_app]
          observe: watch
          challenge: watch
          contain: watch, revoke_tokens
          evict: 
        [human service_account]
          observe: watch
          challenge: watch
          contain: watch, revoke_tokens
          evict: 
        [privileged service_account]
          observe: watch
          challenge: watch
          contain: watch
          evict: 
        [human shared_mailbox]
          observe: watch
          challenge: watch
          contain: watch
          evict: 
        [ai_agent service_account]
          observe: watch
          challenge: watch
          contain: watch
          evict: 
        [human privileged break_glass]
          observe: 
          challenge: 
          contain: 
          evict: 
    "#]]
    .assert_eq(&out);
}

#[test]
fn refused_tiers() {
    let tiers = shipped("tiers.toml");
    let check = |from: &str, to: &str, want: Expect| {
        assert!(tiers.contains(from), "{from}");
        want.assert_eq(&say(Tiers::parse(&tiers.replacen(from, to, 1))));
    };
    check(
        "\"end_sessions\"",
        "\"end_session\"",
        expect![[r#"
        reads
    "#]],
    );
    check(
        "\"end_sessions\"",
        "\"end_sesions\"",
        expect![[r#"
        tiers.toml:27: `end_sesions` is not a known action
            help: did you mean `end_sessions`?
    "#]],
    );
    check(
        "\"force_reauth\"",
        "\"end_sessions\"",
        expect![[r#"
        tiers.toml:18: tier `challenge` lists `end_sessions`, which is of group `contain`
            help: move it to tier `contain` or remove it
    "#]],
    );
    check(
        "default = [\"watch\"]",
        "default = [\"watch\", \"watch\"]",
        expect![[r#"
        tiers.toml:13: `watch` is listed twice
            help: remove one of the two
    "#]],
    );
    check(
        "break_glass = []",
        "break_glass = [\"watch\"]",
        expect![[r#"
        tiers.toml:15: `break_glass` lists `watch`
            help: leave `break_glass = []`: it is never acted on
    "#]],
    );
    check(
        "[evict]",
        "[evic]",
        expect![[r#"
            tiers.toml:42: unknown field `evic`
                help: did you mean `evict`?
        "#]],
    );
    check(
        "unknown = [\"watch\"]",
        "",
        expect![[r#"
        tiers.toml:12: tier `observe` has no row `unknown`
            help: add `unknown = ["watch"]` to it
    "#]],
    );
    check(
        "service_account = ",
        "service_acount = ",
        expect![[r#"
            tiers.toml:19: `service_acount` is not a known row
                help: did you mean `service_account`?
        "#]],
    );
    check(
        "high_value",
        "privileged",
        expect![[r#"
            tiers.toml:31: duplicate key
                help: see docs/authority.md for the form of this file
        "#]],
    );
}

#[test]
fn limits_and_their_counters() {
    let limits = Limits::parse(&shipped("limits.toml")).expect("reads");
    let mut out = String::new();
    for (action, classes, source) in [
        (Action::Watch, set([Class::Human]), "okta"),
        (Action::ForceReauth, set([Class::Human]), "okta"),
        (Action::EndSessions, set([Class::Human, Class::Privileged]), "okta"),
        (Action::Suspend, set([]), "proofpoint_tap"),
    ] {
        let counters = limits.counters(action, &classes, source);
        let texts: Vec<String> = counters.iter().map(|c| format!("{}<={}", c.key, c.max)).collect();
        out.push_str(&format!("{action}: {}\n", texts.join(" ")));
    }
    expect![[r#"
        watch: watch_any_okta_60m<=2000
        force_reauth: challenge_any_okta_60m<=100 total_60m<=200 total_okta_60m<=150
        end_sessions: contain_any_okta_60m<=50 contain_privileged_okta_60m<=5 total_60m<=200 total_okta_60m<=150
        suspend: evict_any_proofpoint_tap_60m<=10 total_60m<=200 total_proofpoint_tap_60m<=150
    "#]].assert_eq(&out);
    let times = [limits.case_gap, limits.act_within, limits.approval, limits.watch_ttl];
    assert_eq!(times, [72 * HOUR, 24 * HOUR, HOUR, 72 * HOUR]);
    assert_eq!([limits.retention, limits.seen], [31 * DAY, 30 * DAY]);
    assert_eq!([limits.entries_per_key, limits.cold_history], [4_096, 10]);
    assert_eq!(limits.ttl.get(&Action::Suspend), Some(&(24 * HOUR)));
    assert_eq!(limits.ttl.get(&Action::EndSessions), None);
    let floors: Vec<(&str, u32)> =
        limits.floors.iter().map(|floor| (floor.role.name(), floor.at_least)).collect();
    assert_eq!(floors, [("approver", 2), ("global_admin", 2), ("service_desk", 1)]);
}

#[test]
fn refused_limits() {
    let limits = shipped("limits.toml");
    let check = |from: &str, to: &str, want: Expect| {
        assert!(limits.contains(from), "{from}");
        want.assert_eq(&say(Limits::parse(&limits.replacen(from, to, 1))));
    };
    check(
        "case_gap_hours = 72",
        "case_gap_hours = 0",
        expect![[r#"
        limits.toml:6: `case_gap_hours` is 0
            help: write a number from 1 to 720
    "#]],
    );
    check(
        "case_gap_hours = 72",
        "",
        expect![[r#"
        limits.toml:1: `case_gap_hours` is missing
            help: add `case_gap_hours = ..`
    "#]],
    );
    check(
        "case_gap_hours = 72",
        "case_gap_hour = 72",
        expect![[r#"
        limits.toml:6: unknown field `case_gap_hour`
            help: did you mean `case_gap_hours`?
    "#]],
    );
    check(
        "approval_minutes = 60",
        "approval_minutes = -9223372036854775808",
        expect![[r#"
        limits.toml:10: `approval_minutes` is -9223372036854775808
            help: write a number from 5 to 10080
    "#]],
    );
    check(
        "seen_days = 30",
        "seen_days = 60",
        expect![[r#"
        limits.toml:20: `seen_days` is 60
            help: keep it at or under `retention_days`
    "#]],
    );
    check(
        "suspend = 24",
        "supend = 24",
        expect![[r#"
        limits.toml:26: `supend` is not a known action
            help: did you mean `suspend`?
    "#]],
    );
    check(
        "group = \"contain\"\n",
        "",
        expect![[r#"
            limits.toml:38: a budget counts one action or one group
                help: write `action = ..` or `group = ..`
        "#]],
    );
    check(
        "group = \"contain\"",
        "group = \"contain\"\naction = \"suspend\"",
        expect![[r#"
            limits.toml:38: a budget counts one action or one group
                help: write `action = ..` or `group = ..`
        "#]],
    );
    check(
        "class = \"privileged\"",
        "class = \"priviliged\"",
        expect![[r#"
            limits.toml:45: `priviliged` is not a known class
                help: did you mean `privileged`?
        "#]],
    );
    check(
        "max = 100",
        "max = 100\nsource = \"\"",
        expect![[r#"
            limits.toml:36: a source without a name
                help: write a source, `each` or `any`
        "#]],
    );
    check(
        "one_source_max = 150",
        "one_source_max = 200",
        expect![[r#"
            limits.toml:68: `one_source_max` is 200 of 200
                help: write less than `max`, so that one source cannot spend all of it
        "#]],
    );
    check(
        "role = \"global_admin\"",
        "role = \"approver\"",
        expect![[r#"
            limits.toml:79: `approver` has two floors
                help: keep one of the two
        "#]],
    );
    check(
        "role = \"global_admin\"",
        "role = \"admin\"",
        expect![[r#"
            limits.toml:79: `admin` is not a known role
                help: see docs/authority.md for the names that are known
        "#]],
    );
    check(
        "[total]",
        "[totals]",
        expect![[r#"
            limits.toml:66: unknown field `totals`
                help: did you mean `total`?
        "#]],
    );
}

#[test]
fn budgets_by_source() {
    let row = |source: &str| {
        let text = shipped("limits.toml");
        let (head, _) = text.split_once("[[budget]]").expect("has budgets");
        let (_, tail) = text.split_once("[total]").expect("has a total");
        let text = format!(
            "{head}[[budget]]\naction = \"suspend\"\nmax = 3\nper_minutes = 5\n\
             {source}\n[total]{tail}"
        );
        let limits = Limits::parse(&text).expect("reads");
        let keys = |source: &str| -> Vec<String> {
            let counters = limits.counters(Action::Suspend, &set([Class::Human]), source);
            let own =
                |c: quell_core::policy::Counter| (!c.key.starts_with("total")).then_some(c.key);
            counters.into_iter().filter_map(own).collect()
        };
        [keys("okta"), keys("proofpoint_tap")].concat().join(" ")
    };
    assert_eq!(row(""), "suspend_any_okta_5m suspend_any_proofpoint_tap_5m");
    assert_eq!(row("source = \"each\""), "suspend_any_okta_5m suspend_any_proofpoint_tap_5m");
    assert_eq!(row("source = \"any\""), "suspend_any_any_5m suspend_any_any_5m");
    assert_eq!(row("source = \"okta\""), "suspend_any_okta_5m");
}

proptest! {
    /// No set of classes gets an action that a restricting class of it does not list.
    #[test]
    fn tiers_never_widen(classes in prop::collection::btree_set(
        prop::sample::select(Class::ALL), 0..5
    )) {
        let tiers = Tiers::parse(&shipped("tiers.toml")).expect("reads");
        for tier in Tier::ALL {
            let actions = tiers.actions(*tier, &classes);
            for class in classes.iter().filter(|c| quell_core::policy::tiers::restricts(**c)) {
                let alone = tiers.actions(*tier, &set([*class]));
                prop_assert!(actions.iter().all(|action| alone.contains(action)));
            }
            let capped = *tier <= Tier::Challenge;
            prop_assert!(!capped || actions.iter().all(|action| action.group() <= *tier));
        }
    }
}

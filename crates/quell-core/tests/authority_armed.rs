//! Protection and arming: whom and what nothing touches, what is sent, and the edit that arms a
//! pair. Cedar is not asked here.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use quell_core::action::Action;
use quell_core::policy::{Armed, Mode, Policy, PolicyError, PolicyFiles, Protected, Why};
use quell_core::signal::EntityKind;

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

#[test]
fn protected_accounts_and_entities() {
    let text = r#"
version = 1
[[account]]
provider = "okta"
id = "00u1"
why = "break_glass"
[[account]]
provider = "okta"
id = "00u2"
why = "own_principal"
[entities]
own_domains = ["Example.com.", "*.example.org"]
addresses = ["Abuse@partner.example", "192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]
saas_hosts = ["okta.example"]
shared_hosting = ["pages.example"]
mail_providers = ["mail.example"]
"#;
    let protected = Protected::parse(text).expect("reads");
    assert_eq!(protected.account("okta", "00u1"), Some(Why::BreakGlass));
    assert_eq!(protected.account("okta", "00U1"), None, "ids are exact");
    assert_eq!(protected.account("entra_id", "00u1"), None);
    assert_eq!(protected.accounts().len(), 2);
    let mut out = String::new();
    for (kind, value) in [
        (EntityKind::Domain, "example.com"),
        (EntityKind::Domain, "login.EXAMPLE.com."),
        (EntityKind::Domain, "badexample.com"),
        (EntityKind::Domain, "com"),
        (EntityKind::Domain, "tenant.okta.example"),
        (EntityKind::Domain, "evil.pages.example"),
        (EntityKind::Domain, "evil.example.net"),
        (EntityKind::Domain, ""),
        (EntityKind::Sender, "abuse@partner.example"),
        (EntityKind::Sender, "other@partner.example"),
        (EntityKind::Sender, "ceo@mail.example.com"),
        (EntityKind::Sender, "evil@mail.example"),
        (EntityKind::Sender, "@mail.example"),
        (EntityKind::Url, "https://example.com/login"),
        (EntityKind::Url, "https://example.com@evil.example.net/login"),
        (EntityKind::Url, "https://evil.example.net@example.com:8443/login"),
        (EntityKind::Url, "https://evil.pages.example/kit/index.html"),
        (EntityKind::Url, "https://evil.pages.example/"),
        (EntityKind::Url, "https://tenant.okta.example"),
        (EntityKind::Url, "tenant.okta.example?x=1"),
        (EntityKind::Url, "http://192.0.2.9/x"),
        (EntityKind::Url, "http://[2001:db8::1]:8080/x"),
        (EntityKind::Url, "http://203.0.113.9/"),
        (EntityKind::Ip, "192.0.2.255"),
        (EntityKind::Ip, "192.0.3.0"),
        (EntityKind::Ip, "::ffff:192.0.2.1"),
        (EntityKind::Ip, "2001:db8:ffff::1"),
        (EntityKind::Ip, "2001:db9::1"),
        (EntityKind::Ip, "198.51.100.7"),
        (EntityKind::Ip, "198.51.100.8"),
        (EntityKind::Ip, "not an address"),
        (EntityKind::Session, "example.com"),
    ] {
        let guard = protected.entity(kind, value).map_or("-", |guard| guard.name());
        out.push_str(&format!("{guard}: {kind} {value}\n"));
    }
    expect![[r#"
        own_domain: domain example.com
        own_domain: domain login.EXAMPLE.com.
        -: domain badexample.com
        own_domain: domain com
        saas_host: domain tenant.okta.example
        shared_hosting: domain evil.pages.example
        -: domain evil.example.net
        unreadable: domain 
        own_address: sender abuse@partner.example
        -: sender other@partner.example
        own_domain: sender ceo@mail.example.com
        -: sender evil@mail.example
        mail_provider: sender @mail.example
        own_domain: url https://example.com/login
        -: url https://example.com@evil.example.net/login
        own_domain: url https://evil.example.net@example.com:8443/login
        -: url https://evil.pages.example/kit/index.html
        shared_hosting: url https://evil.pages.example/
        saas_host: url https://tenant.okta.example
        unreadable: url tenant.okta.example?x=1
        own_address: url http://192.0.2.9/x
        own_address: url http://[2001:db8::1]:8080/x
        -: url http://203.0.113.9/
        own_address: ip 192.0.2.255
        -: ip 192.0.3.0
        own_address: ip ::ffff:192.0.2.1
        own_address: ip 2001:db8:ffff::1
        -: ip 2001:db9::1
        own_address: ip 198.51.100.7
        -: ip 198.51.100.8
        own_address: ip not an address
        -: session example.com
    "#]]
    .assert_eq(&out);
}

#[test]
fn refused_protection() {
    let check = |text: &str, want: Expect| {
        want.assert_eq(&say(Protected::parse(&format!("version = 1\n{text}"))));
    };
    check(
        "",
        expect![[r#"
        reads
    "#]],
    );
    let account = "[[account]]\nprovider = \"okta\"\nid = \"1\"\nwhy = \"break_glass\"\n";
    check(
        account,
        expect![[r#"
        reads
    "#]],
    );
    check(
        &account.repeat(2),
        expect![[r#"
        protected.toml:8: this account is listed twice
            help: keep one of the two
    "#]],
    );
    check(
        &account.replace("\"1\"", "\"\""),
        expect![[r#"
        protected.toml:4: `id` is empty
            help: write the provider's name and immutable id
    "#]],
    );
    check(
        &account.replace("break_glass", "breakglass"),
        expect![[r#"
        protected.toml:5: `breakglass` is not a known why
            help: did you mean `break_glass`?
    "#]],
    );
    check(
        "[entities]\nown_domains = [\"a b\", \"a..b\", \"\"]",
        expect![[r#"
        protected.toml:3: `a b` is no domain name
            help: write a name like `example.com`
        protected.toml:3: `a..b` is no domain name
            help: write a name like `example.com`
        protected.toml:3: `` is no domain name
            help: write a name like `example.com`
    "#]],
    );
    check(
        "[entities]\naddresses = [\"192.0.2.0/33\", \"::ffff:192.0.2.0/120\"]",
        expect![[r#"
            protected.toml:3: `192.0.2.0/33` is no mail address, IP address or network
                help: write `a@example.com` or `192.0.2.0/24`
            protected.toml:3: `::ffff:192.0.2.0/120` is no mail address, IP address or network
                help: write `a@example.com` or `192.0.2.0/24`
        "#]],
    );
    check(
        "[entities]\nsass_hosts = []",
        expect![[r#"
        protected.toml:3: unknown field `sass_hosts`
            help: did you mean `saas_hosts`?
    "#]],
    );
}

#[test]
fn armed_pairs() {
    let text =
        "version = 1\nmode = \"armed\"\npairs = [{ source = \"okta\", action = \"suspend\" }]";
    let armed = Armed::parse(text).expect("reads");
    assert!(armed.is_armed("okta", Action::Suspend));
    assert!(!armed.is_armed("okta", Action::EndSessions));
    assert!(!armed.is_armed("proofpoint_tap", Action::Suspend));
    let shadow = Armed::parse(&text.replace("armed", "shadow")).expect("reads");
    assert!(!shadow.is_armed("okta", Action::Suspend), "shadow sends nothing");
}

#[test]
fn arming_keeps_the_text() {
    let check = |before: &str, want: Expect| {
        let after = Armed::arm(before, "okta", Action::EndSessions);
        let after = after.unwrap_or_else(|e| format!("{e}\n    help: {}\n", e.remedy));
        want.assert_eq(&after.replace('\r', "<CR>"));
    };
    check(
        &shipped("armed.toml"),
        expect![[r##"
            # Shadow: everything runs and is recorded, nothing is sent. `quell arm SOURCE ACTION` adds a pair
            # and sets the mode to "armed"; only listed pairs are then sent, the rest stays in shadow. To send
            # nothing again, write "shadow": the pairs stay listed for the next time.
            version = 1
            mode = "armed"
            pairs = [
              { source = "okta", action = "end_sessions" },
            ]
        "##]],
    );
    check(
        "version = 1\nmode = 'shadow' # quiet\n# end",
        expect![[r#"
        version = 1
        mode = "armed" # quiet
        pairs = [
          { source = "okta", action = "end_sessions" },
        ]
        # end"#]],
    );
    let pair = "{ source = \"tap\", action = \"watch\" }";
    let head = "version = 1\nmode = \"shadow\"";
    check(
        &format!("{head}\npairs = [{pair}] # one"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [{ source = "tap", action = "watch" }, { source = "okta", action = "end_sessions" }] # one"#]],
    );
    check(
        &format!("{head}\npairs = [{pair}, ]"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [{ source = "tap", action = "watch" }, { source = "okta", action = "end_sessions" }, ]"#]],
    );
    check(
        &format!(
            "{head}\npairs = [\n  # first, of two\n  {pair}, # tap, watches\n  # later\n]\n# end\n"
        ),
        expect![[r#"
            version = 1
            mode = "armed"
            pairs = [
              # first, of two
              { source = "tap", action = "watch" }, # tap, watches
              { source = "okta", action = "end_sessions" },
              # later
            ]
            # end
        "#]],
    );
    check(
        &format!("{head}\npairs = [\n  {pair} # no comma\n]"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [
          { source = "tap", action = "watch" }, # no comma
          { source = "okta", action = "end_sessions" },
        ]"#]],
    );
    check(
        &format!("{head}\npairs = [\n  # none\n]"),
        expect![[r#"
            version = 1
            mode = "armed"
            pairs = [
              # none
              { source = "okta", action = "end_sessions" },
            ]"#]],
    );
    check(
        &format!("{head}\npairs = [ # none\n  {pair}\n  ,\n]"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [ # none
          { source = "tap", action = "watch" }
          ,
          { source = "okta", action = "end_sessions" },
        ]"#]],
    );
    check(
        &format!("{head}\r\npairs = [\r\n  {pair},\r\n]\r\n"),
        expect![[r#"
            version = 1
            mode = "armed"<CR>
            pairs = [<CR>
              { source = "tap", action = "watch" },<CR>
              { source = "okta", action = "end_sessions" },<CR>
            ]<CR>
        "#]],
    );
    check(
        &format!("pairs = [{pair}]\n{head}"),
        expect![[r#"
        pairs = [{ source = "tap", action = "watch" }, { source = "okta", action = "end_sessions" }]
        version = 1
        mode = "armed""#]],
    );
    check(
        &format!("{head}\n[[pairs]]\nsource = \"tap\"\naction = \"watch\"\n"),
        expect![[r#"
        armed.toml: the form of `pairs` cannot be edited
            help: set `mode = "armed"` and add { source = "okta", action = "end_sessions" } to `pairs` by hand
    "#]],
    );
    // Already listed: only the mode changes; already armed: nothing does.
    let own = "{ source = \"okta\", action = \"end_sessions\" }";
    check(
        &format!("{head}\npairs = [{own}]"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [{ source = "okta", action = "end_sessions" }]"#]],
    );
    check(
        &format!("version = 1\nmode = \"armed\"\npairs = [{own}]"),
        expect![[r#"
        version = 1
        mode = "armed"
        pairs = [{ source = "okta", action = "end_sessions" }]"#]],
    );
    check(
        "version = 1\nmode = \"armedd\"",
        expect![[r#"
        armed.toml:2: `armedd` is not a known mode
            help: did you mean `armed`?
    "#]],
    );
    let bad = Armed::arm(head, "okta\", x = \"", Action::Watch);
    assert_eq!(
        bad.map_err(|e| e.to_string()),
        Err("armed.toml: `okta\", x = \"` is no source".into())
    );
}

fn pairs() -> impl Strategy<Value = Vec<(String, Action)>> {
    let pair = ("[a-z][a-z0-9_.-]{0,8}", prop::sample::select(Action::ALL));
    prop::collection::vec(pair, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arming_adds_exactly_what_is_asked(pairs in pairs()) {
        let mut text = shipped("armed.toml");
        for (source, action) in &pairs {
            text = Armed::arm(&text, source, *action).expect("can be armed");
            prop_assert!(Armed::parse(&text).expect("reads").is_armed(source, *action));
        }
        let armed = Armed::parse(&text).expect("reads");
        let got: BTreeSet<_> = armed.pairs.into_iter().map(|p| (p.source, p.action)).collect();
        prop_assert_eq!(armed.mode == Mode::Armed, !pairs.is_empty());
        prop_assert_eq!(got, pairs.into_iter().collect::<BTreeSet<_>>());
        for line in shipped("armed.toml").lines().filter(|line| line.starts_with('#')) {
            prop_assert!(text.contains(line));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", source in "\\PC{0,8}") {
        let text = format!("version = 1\n{text}");
        let armed = Armed::arm(&text, &source, Action::Watch);
        prop_assert!(armed.is_err() || Armed::parse(&text).is_ok());
        let mut files = PolicyFiles::shipped();
        for name in ["classes.toml", "tiers.toml", "limits.toml", "protected.toml", "own.cedar"] {
            files.0.insert(name.to_owned(), text.clone());
        }
        prop_assert!(Policy::load(&files).is_err());
    }

    #[test]
    fn no_entity_panics(kind in prop::sample::select(EntityKind::ALL), value in "\\PC{0,40}") {
        let protected = Protected::parse(&shipped("protected.toml")).expect("reads");
        let guard = protected.entity(kind, &value);
        let folded = value.to_uppercase().to_lowercase();
        prop_assert!(protected.entity(kind, &folded).is_some() || guard.is_none());
    }
}

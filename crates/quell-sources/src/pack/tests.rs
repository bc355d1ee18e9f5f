//! Sources room: tests of loading packs: every problem has its line and its remedy.

use super::*;
use crate::embedded::EMBEDDED;
use expect_test::{Expect, expect};

const GOOD: &str = "\
version: 1
name: vendor
type: $.kind
times: {happened: $.at}
subjects:
  user:
    ids: [{login: $.user}]
events:
  signed_in:
    type: login
    about: user
    rows:
      - {kind: sign_in, use: fact}
";

fn check(change: impl Fn(&str) -> String, want: &Expect) {
    let shown = match Pack::load("pack.yml", &change(GOOD)) {
        Ok(pack) => format!("ok: {:?}\n", pack.event_types()),
        Err(errors) => errors.iter().map(|e| format!("{e}; {}\n", e.help())).collect(),
    };
    want.assert_eq(&shown);
}

#[test]
fn a_good_pack_loads() {
    check(
        str::to_owned,
        &expect![[r#"
        ok: ["login"]
    "#]],
    );
    let pack = Pack::load("pack.yml", GOOD).unwrap();
    assert_eq!((pack.name(), pack.title(), pack.provider()), ("vendor", "vendor", None));
    assert_eq!(pack.digest(), Digest::of(GOOD.as_bytes()));
}

#[test]
fn the_shipped_packs_load() {
    for (name, text) in EMBEDDED {
        let pack = Pack::load(name, text).unwrap();
        assert_eq!(pack.name(), *name);
        assert!(!pack.event_types().is_empty());
    }
}

#[test]
fn slips_in_keys_are_named() {
    check(
        |good| good.replace("version: 1", "version: 2"),
        &expect![[r#"
        pack.yml:1: `version` must be 1; this program reads packs of version 1
    "#]],
    );
    check(
        |good| good.replace("about: user", "abuot: user"),
        &expect![[r#"
        pack.yml:11: unknown key `abuot`; did you mean `about`?
    "#]],
    );
    check(
        |good| good.replace("name: vendor", "name: Vendor One"),
        &expect![[r#"
        pack.yml:2: `name` has other characters than a-z, 0-9 and `_`: `Vendor One`; name the folder and the pack alike
    "#]],
    );
    check(
        |good| good.replace("type: $.kind\n", ""),
        &expect![[r#"
        pack.yml:1: `type` is missing; see `docs/packs.md`
    "#]],
    );
    check(
        |good| good.replace("times: {happened: $.at}\n", ""),
        &expect![[r#"
        pack.yml:8: no path for the time `happened`; add it to `times`
    "#]],
    );
    check(
        |_| String::new(),
        &expect![[r#"
        pack.yml:1: the file is empty; write a pack
    "#]],
    );
    check(
        |good| format!("{good}---\na: 1\n"),
        &expect![[r#"
        pack.yml:1: more than one document in the file; one file, one pack
    "#]],
    );
    check(
        |good| format!("{good}\tx"),
        &expect![[r#"
        pack.yml:14: yaml: found character that cannot start any token; check indentation and quotes
    "#]],
    );
    check(
        |good| format!("{good}{}", "#".repeat(PACK_MAX)),
        &expect![[r#"
        pack.yml:1: the size of the file is over the limit of 262144 bytes; split the pack by product
    "#]],
    );
}

const PACK_MAX: usize = crate::limits::PACK_BYTES_MAX;

#[test]
fn slips_in_values_are_named() {
    check(
        |good| good.replace("kind: sign_in,", "kind: sing_in,"),
        &expect![[r#"
        pack.yml:13: `sing_in` is not a known kind: did you mean `sign_in`?; see `docs/packs.md`
    "#]],
    );
    check(
        |good| good.replace("use: fact", "use: fact, confidence: 10"),
        &expect![[r#"
        pack.yml:13: a fact has no `confidence`; remove it
    "#]],
    );
    check(
        |good| good.replace("use: fact", "use: join"),
        &expect![[r#"
        pack.yml:13: `confidence` is missing; add a number from 1 to 100
    "#]],
    );
    check(
        |good| good.replace("use: fact", "use: join, confidence: 101"),
        &expect![[r#"
        pack.yml:13: `confidence` must be a whole number from 1 to 100; see `docs/packs.md`
        pack.yml:13: `confidence` is missing; add a number from 1 to 100
    "#]],
    );
    check(
        |good| good.replace("use: fact", "use: fact, withdraws: threat"),
        &expect![[r#"
        pack.yml:13: only an `undo` withdraws; remove `withdraws`
    "#]],
    );
    check(
        |good| good.replace("login: $.user", "logon: $.user"),
        &expect![[r#"
        pack.yml:7: `logon` is not a known scheme: did you mean `login`?; see `docs/packs.md`
    "#]],
    );
    check(
        |good| good.replace("$.user", "'$.user['"),
        &expect![[r#"
            pack.yml:7: `$.user[` is no path of RFC 9535 at position 6: parser error; see RFC 9535
        "#]],
    );
    check(
        |good| good.replace("about: user", "about: users"),
        &expect![[r#"
        pack.yml:11: unknown subject `users`; use one of `user`
    "#]],
    );
    check(
        |good| good.replace("type: login", "type: [login, login]"),
        &expect![[r#"
        pack.yml:10: event type `login` stands twice; list it in one group
    "#]],
    );
    check(
        |good| {
            good.replace(
                "{kind: sign_in, use: fact}",
                "{kind: sign_in, use: fact, when: {a|startwith: b}}",
            )
        },
        &expect![[r#"
        pack.yml:13: unknown modifier `startwith`; did you mean `startswith`?
    "#]],
    );
    check(
        |good| format!("{good}      - {{kind: sign_in_failed, use: fact}}\n"),
        &expect![[r#"
        pack.yml:12: a row below one without `when` can never hold; put the row without `when` last, or give it `goes_on: true`
    "#]],
    );
    check(
        |good| format!("{good}attributes: {{self: $.a, Odd: $.b}}\n"),
        &expect![[r#"
            pack.yml:14: `self` cannot be the name of an attribute; use a-z, 0-9 and `_`; `self` is Quell's own
            pack.yml:14: `Odd` cannot be the name of an attribute; use a-z, 0-9 and `_`; `self` is Quell's own
        "#]],
    );
    check(
        |good| format!("{good}derive: {{list: [{{path: $.a, capture: a}}]}}\n"),
        &expect![[r#"
        pack.yml:14: `list` is a name of Quell's own; choose another
        pack.yml:14: no pattern with one group: `a`; write one pair of parentheses
    "#]],
    );
    check(
        |good| format!("{good}records: {{odd: '$.a[*]'}}\n"),
        &expect![[r#"
        pack.yml:14: a list of records is named by members only; `$.a.b`
    "#]],
    );
}

//! Everything that authority refuses at load, one row each: file, line, message, remedy. It asks
//! no questions.

use expect_test::{Expect, expect};
use quell_core::policy::{Policy, PolicyFiles};

/// The shipped files after an edit; what `Policy::load` says.
#[expect(clippy::needless_pass_by_value, reason = "a snapshot is written where it is used")]
fn check(edit: impl FnOnce(&mut std::collections::BTreeMap<String, String>), want: Expect) {
    let mut files = PolicyFiles::shipped();
    edit(&mut files.0);
    let got = match Policy::load(&files) {
        Ok(_) => "loads\n".to_owned(),
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().map(|e| format!("{e}\n    help: {}\n", e.remedy)).collect()
        }
    };
    want.assert_eq(&got);
}

/// One more policy file.
fn cedar(text: &str, want: Expect) {
    check(|files| drop(files.insert("own.cedar".to_owned(), text.to_owned())), want);
}

/// A permit for ending sessions with this scope and condition.
fn own(principal: &str, resource: &str, when: &str) -> String {
    format!(
        "@id(\"own\")\n@reason(\"r\")\npermit (\n  {principal},\n  \
         action in [Action::\"watch\", Action::\"contain\"],\n  {resource}\n)\n{when};\n"
    )
}

const CLASS: &str = "resource in Class::\"human\"";
const SOURCE: &str = "principal == Source::\"okta\"";

#[test]
fn no_policy() {
    check(
        |files| files.clear(),
        expect![[r#"
        armed.toml: the file is missing
            help: write the shipped one with `quell init` and edit it
        classes.toml: the file is missing
            help: write the shipped one with `quell init` and edit it
        limits.toml: the file is missing
            help: write the shipped one with `quell init` and edit it
        protected.toml: the file is missing
            help: write the shipped one with `quell init` and edit it
        quell.cedarschema: the file is missing
            help: write the shipped one with `quell init`
        tiers.toml: the file is missing
            help: write the shipped one with `quell init` and edit it
    "#]],
    );
    check(
        |files| drop(files.remove("default.cedar")),
        expect![[r#"
        *.cedar: there is no policy file
            help: write the shipped `default.cedar` with `quell init` and edit it
    "#]],
    );
    check(
        |files| drop(files.remove("quell.cedarschema")),
        expect![[r#"
        quell.cedarschema: the file is missing
            help: write the shipped one with `quell init`
    "#]],
    );
    check(
        |files| {
            let text = files.remove("default.cedar").unwrap();
            files.insert("default.shadow.cedar".to_owned(), text);
        },
        expect![[r#"
            *.cedar: there is no policy file
                help: write the shipped `default.cedar` with `quell init` and edit it
        "#]],
    );
}

#[test]
fn invalid_syntax() {
    cedar(
        "permit (principal, action, resource)\nwhen { context.kind = \"x\" };",
        expect![[r#"
        own.cedar:2: '=' is not a valid operator in Cedar
            help: try using '==' instead
    "#]],
    );
    cedar(
        "// a comment\n\npermitt (principal, action, resource);",
        expect![[r#"
        own.cedar:3: invalid policy effect: permitt
            help: effect must be either `permit` or `forbid`
    "#]],
    );
    cedar(
        "permit (principal == ?principal, action, resource);",
        expect![[r#"
        own.cedar:1: templates are not used here
            help: write the entity in place of `?principal` or `?resource`
    "#]],
    );
    cedar(
        "",
        expect![[r#"
        loads
    "#]],
    );
}

#[test]
fn type_error() {
    let policy = |when: &str| {
        format!(
            "@id(\"own\")\n@reason(\"r\")\nforbid (principal, action, resource)\nwhen {{\n  {when}\n}};"
        )
    };
    cedar(
        &policy("context.finding_confidence >= \"70\""),
        expect![[r#"
        own.cedar:5: `own`: unexpected type: expected Long but saw String
            help: compare with quell.cedarschema
    "#]],
    );
    cedar(
        &policy("context.confidense > 70"),
        expect![[r#"
            own.cedar:5: `own`: attribute `confidense` in context not found
                help: did you mean `confidence`?
        "#]],
    );
    cedar(
        &policy("context.precision > 70"),
        expect![[r#"
            own.cedar:5: `own`: unable to guarantee safety of access to optional attribute `precision` in context
                help: try testing for the attribute's presence with `context has precision && ..`
        "#]],
    );
    cedar(
        &policy("context has precision && context.precision > 70"),
        expect![[r#"
        loads
    "#]],
    );
    cedar(
        &policy("resource in Class::\"privilged\""),
        expect![[r#"
            own.cedar:5: `own`: entity `Class::"privilged"` is of an enumerated entity type, but `"privilged"` is not declared as a valid eid
                help: did you mean `privileged`?
        "#]],
    );
    cedar(
        &policy("action == Action::\"supend\""),
        expect![[r#"
            own.cedar:5: `own`: unrecognized action `Action::"supend"`
                help: did you mean `Action::"suspend"`?
        "#]],
    );
    cedar(
        &policy("principal in Group::\"x\""),
        expect![[r#"
            own.cedar:5: `own`: unrecognized entity type `Group`
                help: known here: `Source`, `Identity`, `Entity`, `Class`, `Action`
        "#]],
    );
    cedar(
        &policy("context.kind == \"url_click\" && context.kind == 3"),
        expect![[r#"
            own.cedar:5: `own`: the types Long and String are not compatible
                help: both operands to a `==` expression must have compatible types. Types must be exactly equal to be compatible
        "#]],
    );
    // A policy that never applies is a mistake, above all a forbid.
    cedar(
        &policy("principal is Identity"),
        expect![[r#"
        own.cedar:1: `own`: policy is impossible: the policy expression evaluates to false for all valid requests
            help: compare with quell.cedarschema
    "#]],
    );
}

#[test]
fn words_that_do_not_exist() {
    let policy = |when: &str| {
        format!(
            "@id(\"own\") @reason(\"r\") forbid (principal, action, resource)\nwhen {{ {when} }};"
        )
    };
    cedar(
        &policy("context.kind == \"url_clik\""),
        expect![[r#"
        own.cedar:1: `url_clik` is never a value of `context.kind`
            help: did you mean `url_click`?
    "#]],
    );
    cedar(
        &policy("[\"lure\", \"acess\"].contains(context.reach)"),
        expect![[r#"
        own.cedar:1: `acess` is never a value of `context.reach`
            help: did you mean `access`?
    "#]],
    );
    cedar(
        &policy("context.anomalies.containsAny([\"known_scaner\"])"),
        expect![[r#"
        own.cedar:1: `known_scaner` is never a value of `context.anomalies`
            help: did you mean `known_scanner`?
    "#]],
    );
    cedar(
        &policy("!(\"shadowed\" == context.mode)"),
        expect![[r#"
        own.cedar:1: `shadowed` is never a value of `context.mode`
            help: did you mean `shadow`?
    "#]],
    );
    cedar(
        &policy("if context.cold then context.tier == \"x\" else false"),
        expect![[r#"
        own.cedar:1: `x` is never a value of `context.tier`
            help: see docs/authority.md for the words of `tier`
    "#]],
    );
}

#[test]
fn annotations() {
    let policy = |notes: &str| format!("{notes}\nforbid (principal, action, resource);");
    cedar(
        &policy("@id(\"own\")"),
        expect![[r#"
        own.cedar:1: a policy without a valid @reason
            help: write @reason("..") before it: one sentence of at most 240 characters
    "#]],
    );
    cedar(
        &policy("@reason(\"r\")"),
        expect![[r#"
        own.cedar:1: a policy without a valid @id
            help: write @id("a-name") before it: lower case letters, digits, `-`, `_`, `.`
    "#]],
    );
    cedar(
        &policy("@id(\"two words\") @reason(\" \")"),
        expect![[r#"
        own.cedar:1: a policy without a valid @id
            help: write @id("a-name") before it: lower case letters, digits, `-`, `_`, `.`
        own.cedar:1: a policy without a valid @reason
            help: write @reason("..") before it: one sentence of at most 240 characters
    "#]],
    );
    cedar(
        &policy("@id(\"own\") @reason(\"r\") @tll(\"24h\")"),
        expect![[r#"
        own.cedar:1: unknown annotation `@tll`
            help: did you mean `@ttl`?
    "#]],
    );
    cedar(
        &policy("@id(\"own\") @reason(\"r\") @ttl(\"24h\")"),
        expect![[r#"
        own.cedar:1: `@ttl("24h")` gives no time to live
            help: write @ttl("30m"), ("24h") or ("7d") on a permit, at most 365 days
    "#]],
    );
    cedar(
        &policy("@id(\"observe\") @reason(\"twice\")"),
        expect![[r#"
            own.cedar:1: the id `observe` is used twice
                help: give every policy an @id of its own
        "#]],
    );
    for ttl in ["24", "0h", "-1h", "h", "", "9999d", "1.5h", "1 h", "99999999999h", "١h"] {
        let text = format!(
            "@id(\"own\") @reason(\"r\") @ttl(\"{ttl}\")\n\
             permit (principal, action == Action::\"watch\", resource);"
        );
        let mut files = PolicyFiles::shipped();
        files.0.insert("own.cedar".to_owned(), text);
        assert!(Policy::load(&files).is_err(), "{ttl}");
    }
}

#[test]
fn open_permits() {
    let open = |principal: &str, resource: &str, when: &str, want: &[&str]| {
        let mut files = PolicyFiles::shipped();
        files.0.insert("own.cedar".to_owned(), own(principal, resource, when));
        let errors = Policy::load(&files).expect_err("is open");
        let message = "own.cedar:1: a permit for contain or evict that leaves the";
        let want: Vec<String> = want.iter().map(|what| format!("{message} {what} open")).collect();
        let got: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(got, want);
    };
    let kind = "when { context.kind == \"sign_in\" }";
    open("principal", "resource", "", &["class", "kind", "source"]);
    open("principal", CLASS, kind, &["source"]);
    open(SOURCE, "resource", kind, &["class"]);
    open(SOURCE, CLASS, "", &["kind"]);
    open("principal is Source", "resource is Identity", kind, &["class", "source"]);
    open(SOURCE, "resource == Identity::\"x\"", kind, &["class"]);
    for when in [
        "unless { context.kind == \"sign_in\" }",
        "when { context.kind != \"sign_in\" }",
        "when { context.kind like \"sign*\" }",
        "when { context.kind == context.rule }",
        "when { context.reach == \"access\" }",
        "when { context.rule == \"sign_in\" }",
        "when { context.cold || context.kind == \"sign_in\" }",
        "when { !(context.kind == \"sign_in\") }",
        "when { [\"sign_in\", context.rule].contains(context.kind) }",
        "when { if context.kind == \"sign_in\" then context.cold else context.late }",
        "when { if context.cold then context.kind == \"sign_in\" else context.late }",
    ] {
        open(SOURCE, CLASS, when, &["kind"]);
    }
    let class = "when { context.kind == \"sign_in\" && !(resource in Class::\"human\") }";
    open(SOURCE, "resource", class, &["class"]);
    let source = "when { context.kind == \"sign_in\" && principal != Source::\"okta\" }";
    open("principal", CLASS, source, &["source"]);
    cedar(
        &own("principal", "resource", ""),
        expect![[r#"
        own.cedar:1: a permit for contain or evict that leaves the class open
            help: name it: `resource in Class::"human"` in the scope, or `resource in [Class::"human"]` in `when`
        own.cedar:1: a permit for contain or evict that leaves the kind open
            help: name it in `when`: `["url_click"].contains(context.kind)`
        own.cedar:1: a permit for contain or evict that leaves the source open
            help: name it: `principal == Source::"okta"` in the scope, or `[Source::"okta"].contains(principal)` in `when`
    "#]],
    );
}

#[test]
fn closed_permits() {
    let loads = |principal: &str, resource: &str, when: &str| {
        cedar(&own(principal, resource, when), expect![["loads\n"]]);
    };
    let all = "context.kind == \"sign_in\" && resource in Class::\"human\"";
    loads("principal in Source::\"okta\"", "resource", &format!("when {{ {all} }}"));
    loads(
        "principal is Source in Source::\"okta\"",
        "resource is Identity in Class::\"human\"",
        "when { \"sign_in\" == context.kind }",
    );
    let sets = "when { [Source::\"okta\", Source::\"entra_id\"].contains(principal) && \
                resource in [Class::\"human\", Class::\"privileged\"] && \
                [\"sign_in\", \"url_click\"].contains(context.kind) }";
    loads("principal", "resource", sets);
    loads(SOURCE, CLASS, "when { context.kind == \"sign_in\" || context.kind == \"url_click\" }");
    loads(SOURCE, CLASS, "when { context.cold } when { context.kind == \"sign_in\" }");
    loads(SOURCE, CLASS, "when { if context.cold then context.kind == \"sign_in\" else false }");
    loads(
        SOURCE,
        "resource",
        "when { resource is Identity in Class::\"human\" && \
        context.kind == \"sign_in\" }",
    );
    loads(
        "principal",
        CLASS,
        "when { principal in [Source::\"okta\"] && context.kind == \"sign_in\" }",
    );
    loads(
        "principal",
        CLASS,
        "when { Source::\"okta\" == principal && context.kind == \"sign_in\" }",
    );
    // Observe and challenge may stay open; so may a forbid.
    for text in [
        "permit (principal, action in [Action::\"watch\", Action::\"challenge\"], resource);",
        "forbid (principal, action, resource) when { context.watched };",
    ] {
        cedar(&format!("@id(\"own\") @reason(\"r\")\n{text}"), expect![["loads\n"]]);
    }
    // Without an action every action is meant, contain and evict too.
    cedar(
        "@id(\"own\") @reason(\"r\")\npermit (principal, action, resource);",
        expect![[r#"
        own.cedar:1: a permit for contain or evict that leaves the class open
            help: name it: `resource in Class::"human"` in the scope, or `resource in [Class::"human"]` in `when`
        own.cedar:1: a permit for contain or evict that leaves the kind open
            help: name it in `when`: `["url_click"].contains(context.kind)`
        own.cedar:1: a permit for contain or evict that leaves the source open
            help: name it: `principal == Source::"okta"` in the scope, or `[Source::"okta"].contains(principal)` in `when`
    "#]],
    );
}

#[test]
fn schema_that_does_not_fit() {
    let edit = |from: &str, to: &str, want: Expect| {
        check(
            |files| {
                let schema = files.get_mut("quell.cedarschema").unwrap();
                assert!(schema.contains(from), "{from}");
                *schema = schema.replacen(from, to, 1);
            },
            want,
        );
    };
    edit(
        "{ kind: String }",
        "{ kind: Sting }",
        expect![[r#"
        quell.cedarschema:19: failed to resolve type: Sting
            help: `Sting` has not been declared as a common or entity type
    "#]],
    );
    edit(
        "entity Source;",
        "entity Source {",
        expect![[r#"
        quell.cedarschema:9: error parsing schema: unexpected token `Class`
            help: write the shipped one with `quell init`
    "#]],
    );
    edit(
        "\"step_up\" in",
        "\"suspend\" in",
        expect![[r#"
        quell.cedarschema:64: error parsing schema: `suspend` is declared twice
            help: write the shipped one with `quell init`
    "#]],
    );
    edit(
        "\"force_reauth\", \"step_up\" in [\"challenge\"]",
        "\"force_reauth\", \"step_up\" in [\"observe\"]",
        expect![[r#"
            quell.cedarschema: action `force_reauth` is in `observe`, not in `challenge` alone
                help: write the shipped one with `quell init`
            quell.cedarschema: action `step_up` is in `observe`, not in `challenge` alone
                help: write the shipped one with `quell init`
        "#]],
    );
    edit(
        "cold: Bool,",
        "",
        expect![[r#"
            quell.cedarschema: its facts are not those that this version asks with
                help: write the shipped one with `quell init`
        "#]],
    );
    edit(
        "cold: Bool,",
        "cold: Long,",
        expect![[r#"
            quell.cedarschema: its facts are not those that this version asks with
                help: write the shipped one with `quell init`
        "#]],
    );
    edit(
        "precision?: Long",
        "precision: Long",
        expect![[r#"
            quell.cedarschema: its facts are not those that this version asks with
                help: write the shipped one with `quell init`
        "#]],
    );
    edit(
        "entity Identity in [Class];",
        "entity Identity;",
        expect![[r#"
        quell.cedarschema: a resource does not fit: entity does not conform to the schema: `Identity::"probe"` is not allowed to have an ancestor of type `Class` according to the schema
            help: write the shipped one with `quell init`
    "#]],
    );
    edit(
        "\"ai_agent\",",
        "",
        expect![[r#"
        quell.cedarschema: a resource does not fit: entity does not conform to the schema: entity `Class::"ai_agent"` is of an enumerated entity type, but `"ai_agent"` is not declared as a valid eid
            help: write the shipped one with `quell init`
    "#]],
    );
    edit(
        "entity Source;",
        &format!("type A = {}Long;", "Set<".repeat(9_000)),
        expect![[r#"
        quell.cedarschema:5: more than 24 brackets inside each other
            help: split it into several policies, or use a list: `[..].contains(..)`
    "#]],
    );
    // Comments and layout are free.
    edit(
        "entity Source;",
        "// ours\nentity Source;\n",
        expect![[r#"
        loads
    "#]],
    );
}

#[test]
fn misnamed_files() {
    check(
        |files| {
            let text = files.remove("classes.toml").unwrap();
            files.insert("clases.toml".to_owned(), text);
            files.insert("own.cedarschema".to_owned(), String::new());
            files.insert("README.md".to_owned(), "read me".to_owned());
        },
        expect![[r#"
            clases.toml: no known TOML file of the policy
                help: rename it to `classes.toml`
            classes.toml: the file is missing
                help: write the shipped one with `quell init` and edit it
            own.cedarschema: no known Cedar schema of Quell
                help: rename it to `quell.cedarschema`
        "#]],
    );
    check(
        |files| drop(files.insert("tiers.toml".to_owned(), "#".repeat(1 << 21))),
        expect![[r#"
        tiers.toml: larger than 1048576 bytes
            help: split it or remove what is not used
    "#]],
    );
}

#[test]
fn the_digest_covers_every_policy_file_and_nothing_else() {
    let shipped = PolicyFiles::shipped();
    for name in shipped.0.keys() {
        let mut files = shipped.clone();
        files.0.get_mut(name).unwrap().push('\n');
        assert_ne!(files.digest(), shipped.digest(), "{name}");
    }
    let mut files = shipped.clone();
    files.0.insert("README.md".to_owned(), "read me".to_owned());
    assert_eq!(files.digest(), shipped.digest());
    assert_eq!(Policy::load(&files).map(|policy| policy.digest).ok(), Some(shipped.digest()));
    let mut files = shipped.clone();
    let text = files.0.remove("default.cedar").unwrap();
    files.0.insert("other.cedar".to_owned(), text);
    assert_ne!(files.digest(), shipped.digest(), "names count");
}

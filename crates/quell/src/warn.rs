//! Binary room, warnings: what is valid and yet cannot do what its owner means. Pure; it refuses
//! nothing and reads no file.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::directory::Import;
use quell_core::identity::{Account, Identity};
use quell_core::policy::{Policy, PolicyFiles, ProtectedAccount};

use crate::assemble::Problem;
use crate::config::line_with;

/// Accounts that are named one by one; the rest is counted.
const NAMED_MAX: usize = 20;

/// What the warnings rest on.
pub(crate) struct Facts<'a> {
    /// The policy in force.
    pub(crate) policy: &'a Policy,
    /// Its texts, for the lines.
    pub(crate) files: &'a PolicyFiles,
    /// Names of the configured sources.
    pub(crate) sources: Vec<&'a str>,
    /// Providers of the configured targets.
    pub(crate) targets: Vec<&'a str>,
    /// Ids of our own principals, as sources name them: the directory need not list these.
    pub(crate) own: Vec<&'a str>,
    /// The directory file and what it holds; none where none is configured or readable.
    pub(crate) directory: Option<(&'a str, &'a Import)>,
}

/// Everything that is worth a warning, in the order of files.
pub(crate) fn warnings(facts: &Facts<'_>) -> Vec<Problem> {
    let mut all = Vec::new();
    if let Some((file, import)) = facts.directory {
        directory(file, &import.identities, &mut all);
    }
    armed(facts, &mut all);
    floors(facts, &mut all);
    protected(facts, &mut all);
    all
}

fn problem(file: &str, line: Option<u32>, message: String, remedy: String) -> Problem {
    Problem { file: file.to_owned(), line, message, remedy }
}

/// The line of a policy file on which a word first stands in quotes.
fn line(facts: &Facts<'_>, file: &str, word: &str) -> Option<u32> {
    facts.files.0.get(file).and_then(|text| line_with(text, word))
}

/// Names for people: each in backticks, comma between.
fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn directory(file: &str, identities: &[Identity], all: &mut Vec<Problem>) {
    if identities.is_empty() {
        let message = "it holds 0 identities: everybody is unknown".to_owned();
        let remedy = "write the people and their accounts into it, whole".to_owned();
        all.push(problem(file, None, message, remedy));
    }
    let mut owners: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for identity in identities {
        for Account { provider, id, login: _ } in &identity.accounts {
            owners.entry((provider, id)).or_default().insert(&identity.key);
        }
    }
    let shared: Vec<_> = owners.into_iter().filter(|(_, keys)| keys.len() > 1).collect();
    for ((provider, id), keys) in shared.iter().take(NAMED_MAX) {
        let keys = list(keys.iter().copied());
        let message = format!("the account `{provider}:{id}` stands at several identities: {keys}");
        let remedy = "keep it at the one whose account it is: who of them a signal is about, \
                      nobody can say";
        all.push(problem(file, None, message, remedy.to_owned()));
    }
    if let Some(more) = shared.len().checked_sub(NAMED_MAX).filter(|more| *more > 0) {
        let message = format!("{more} more accounts stand at several identities");
        all.push(problem(file, None, message, "keep each at one".to_owned()));
    }
}

fn armed(facts: &Facts<'_>, all: &mut Vec<Problem>) {
    let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pair in &facts.policy.armed.pairs {
        if !facts.sources.contains(&pair.source.as_str()) {
            unknown.entry(&pair.source).or_default().push(pair.action.name());
        }
    }
    for (source, actions) in unknown {
        let line = line(facts, "armed.toml", source);
        let actions = list(actions);
        let message = format!("`{source}` is armed for {actions}, but is no configured source");
        let remedy = match quell_core::nearest(source, facts.sources.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add the source to quell.toml, or take the pair out".to_owned(),
        };
        all.push(problem("policy/armed.toml", line, message, remedy));
    }
}

fn floors(facts: &Facts<'_>, all: &mut Vec<Problem>) {
    let Some((_, import)) = facts.directory.filter(|(_, d)| !d.identities.is_empty()) else {
        return;
    };
    for floor in facts.policy.limits.floors.iter().filter(|floor| floor.at_least > 0) {
        if import.identities.iter().any(|identity| floor.holds(identity)) {
            continue;
        }
        let role = floor.role.name();
        let groups = list(floor.groups.iter().map(String::as_str));
        let message = format!("nobody in the directory holds `{role}`: the floor guards nobody");
        let remedy = format!("name the directory's groups in `groups`, here {groups}");
        let line = line(facts, "limits.toml", role);
        all.push(problem("policy/limits.toml", line, message, remedy));
    }
}

fn protected(facts: &Facts<'_>, all: &mut Vec<Problem>) {
    let listed = facts.directory.map(|(_, import)| import.identities.iter());
    let listed: Vec<&Account> = listed.into_iter().flatten().flat_map(|i| &i.accounts).collect();
    let mut providers: BTreeSet<&str> = facts.targets.iter().copied().collect();
    providers.extend(listed.iter().map(|account| account.provider.as_str()));
    if providers.is_empty() && facts.directory.is_none() {
        // Nothing is known yet that an account could be compared with.
        return;
    }
    let known: Vec<&str> = providers.into_iter().collect();
    let accounts = facts.policy.protected.accounts();
    let mut told = BTreeSet::new();
    for ProtectedAccount { provider, id, why: _ } in &accounts {
        if !known.contains(&provider.as_str()) {
            if told.insert(provider) {
                let message =
                    format!("`{provider}` is the provider of no target and of no account known");
                let remedy = match quell_core::nearest(provider, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", list(known.iter().copied())),
                };
                let line = line(facts, "protected.toml", provider);
                all.push(problem("policy/protected.toml", line, message, remedy));
            }
            continue;
        }
        let here: Vec<&Account> =
            listed.iter().filter(|account| account.provider == *provider).copied().collect();
        let is_known = here.iter().any(|account| account.id == *id);
        if facts.directory.is_none() || is_known || facts.own.contains(&id.as_str()) {
            continue;
        }
        let message = format!("the directory lists no account `{provider}:{id}`");
        let alike = here.iter().find(|account| {
            let login = account.login.as_deref();
            account.id.eq_ignore_ascii_case(id) || login.is_some_and(|l| l.eq_ignore_ascii_case(id))
        });
        let remedy = match alike {
            Some(account) => format!("write its immutable id: `{}`", account.id),
            None => "write the provider's immutable id: only that is protected".to_owned(),
        };
        let line = line(facts, "protected.toml", id);
        all.push(problem("policy/protected.toml", line, message, remedy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const PEOPLE: &str = r#"[
        {"key": "E1", "groups": ["Approvers", "global_admin"],
         "accounts": [{"provider": "okta", "id": "00uONE", "login": "one@example.com"}]},
        {"key": "E2", "groups": ["service desk"],
         "accounts": [{"provider": "okta", "id": "00uTWO"}]}
    ]"#;

    /// The policy as shipped with other texts in some files.
    fn check(changes: &[(&str, &str)], people: Option<&str>, want: &Expect) {
        let mut files = PolicyFiles::shipped();
        for (file, text) in changes {
            files.0.insert((*file).to_owned(), (*text).to_owned());
        }
        let policy = Policy::load(&files).unwrap();
        let import =
            people.map(|text| crate::people::json("default", "people.json", text).unwrap());
        let facts = Facts {
            policy: &policy,
            files: &files,
            sources: vec!["okta", "proofpoint_tap"],
            targets: vec!["okta"],
            own: vec!["00uQUELL"],
            directory: import.as_ref().map(|import| ("people.json", import)),
        };
        let lines: Vec<String> = warnings(&facts).iter().map(|w| format!("{w}\n")).collect();
        want.assert_eq(&lines.concat());
    }

    fn account(provider: &str, id: &str) -> String {
        let row = format!("provider = \"{provider}\"\nid = \"{id}\"\nwhy = \"break_glass\"\n");
        format!("[[account]]\n{row}")
    }

    #[test]
    fn what_holds_gives_no_warning() {
        check(&[], Some(PEOPLE), &expect![[""]]);
        check(&[], None, &expect![[""]]);
        let text =
            format!("version = 1\n{}{}", account("okta", "00uONE"), account("okta", "00uQUELL"));
        check(&[("protected.toml", &text)], Some(PEOPLE), &expect![[""]]);
        check(&[("protected.toml", &text)], None, &expect![[""]]);
    }

    #[test]
    fn a_protected_account_that_protects_nobody_is_named() {
        let rows = [
            account("otka", "00uONE"),
            account("okta", "one@example.com"),
            account("okta", "00uone"),
            account("okta", "00uNOBODY"),
        ];
        let text = format!("version = 1\n{}", rows.concat());
        check(
            &[("protected.toml", &text)],
            Some(PEOPLE),
            &expect![[r#"
            policy/protected.toml:16: the directory lists no account `okta:00uNOBODY`
                remedy: write the provider's immutable id: only that is protected
            policy/protected.toml:12: the directory lists no account `okta:00uone`
                remedy: write its immutable id: `00uONE`
            policy/protected.toml:8: the directory lists no account `okta:one@example.com`
                remedy: write its immutable id: `00uONE`
            policy/protected.toml:3: `otka` is the provider of no target and of no account known
                remedy: did you mean `okta`?
        "#]],
        );
    }

    #[test]
    fn armed_sources_that_do_not_exist_are_named_once() {
        let text = "version = 1\nmode = \"armed\"\npairs = [\n  \
                    { source = \"okta\", action = \"end_sessions\" },\n  \
                    { source = \"otka\", action = \"end_sessions\" },\n  \
                    { source = \"otka\", action = \"suspend\" },\n  \
                    { source = \"entra_id\", action = \"watch\" },\n]\n";
        check(
            &[("armed.toml", text)],
            Some(PEOPLE),
            &expect![[r#"
            policy/armed.toml:7: `entra_id` is armed for `watch`, but is no configured source
                remedy: add the source to quell.toml, or take the pair out
            policy/armed.toml:5: `otka` is armed for `end_sessions`, `suspend`, but is no configured source
                remedy: did you mean `okta`?
        "#]],
        );
    }

    #[test]
    fn a_directory_without_people_or_with_shared_accounts_is_named() {
        check(
            &[],
            Some("[]"),
            &expect![[r#"
            people.json: it holds 0 identities: everybody is unknown
                remedy: write the people and their accounts into it, whole
        "#]],
        );
        let shared = PEOPLE.replace("00uTWO", "00uONE").replace("Approvers", "people");
        check(
            &[],
            Some(&shared),
            &expect![[r#"
                people.json: the account `okta:00uONE` stands at several identities: `E1`, `E2`
                    remedy: keep it at the one whose account it is: who of them a signal is about, nobody can say
                policy/limits.toml:74: nobody in the directory holds `approver`: the floor guards nobody
                    remedy: name the directory's groups in `groups`, here `approver`, `approvers`
            "#]],
        );
        let rows: Vec<String> = (0..50)
            .map(|n| {
                let account = format!("{{\"provider\": \"okta\", \"id\": \"00u{}\"}}", n / 2);
                format!("{{\"key\": \"E{n}\", \"accounts\": [{account}]}}")
            })
            .collect();
        let text = format!("[{}]", rows.join(","));
        let import = crate::people::json("default", "people.json", &text).unwrap();
        let mut all = Vec::new();
        directory("people.json", &import.identities, &mut all);
        assert_eq!(all.len(), NAMED_MAX + 1);
        assert_eq!(all[NAMED_MAX].message, "5 more accounts stand at several identities");
    }
}

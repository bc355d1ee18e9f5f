//! The kill test's people: the lab's company and as many more as there are stories. No person
//! here exists.

use std::collections::BTreeSet;

use quell_core::id::IdentityId;
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use quell_lab::{Company, Person, Place, company};
use serde_json::{Value, json};

/// What happens to somebody, and what must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plot {
    /// A click, then the attacker signs in.
    Phished,
    /// The same to an administrator.
    PhishedAdmin,
    /// The attacker signs in, and the password is known from a breach.
    Breached,
    /// A click alone.
    Clicked,
}

impl Plot {
    /// Actions that must be carried out.
    pub(crate) fn wants(self) -> &'static [&'static str] {
        match self {
            Self::Phished | Self::Breached => &["end_sessions"],
            Self::PhishedAdmin => &["end_sessions", "suspend"],
            Self::Clicked => &["force_reauth"],
        }
    }
}

/// Plots in turn.
const PLOTS: [Plot; 6] = [
    Plot::Phished,
    Plot::Breached,
    Plot::PhishedAdmin,
    Plot::Phished,
    Plot::Clicked,
    Plot::PhishedAdmin,
];

/// The lab's company with `count` more people, and the plot of each of these.
pub(crate) fn enlarged(count: usize) -> (Company, Vec<(Person, Plot)>) {
    let mut company = company();
    let plots = PLOTS.iter().cycle().take(count);
    let cast: Vec<(Person, Plot)> =
        plots.enumerate().map(|(n, plot)| (person(n, *plot), *plot)).collect();
    company.people.extend(cast.iter().map(|(person, _)| person.clone()));
    (company, cast)
}

fn person(n: usize, plot: Plot) -> Person {
    let key = format!("K{n:04}");
    let address = format!("person{n:04}@example.com");
    let mut classes = BTreeSet::from([Class::Human]);
    if plot == Plot::PhishedAdmin {
        classes.insert(Class::Privileged);
    }
    let login = Some(address.clone());
    let account = Account { provider: "okta".to_owned(), id: format!("00ukill{n:013}"), login };
    let identifier = Identifier::new(Scheme::Address, None, &address);
    let identity = Identity {
        id: IdentityId::of("default", &key),
        key,
        name: format!("Person {n}"),
        classes,
        groups: BTreeSet::from(["staff".to_owned()]),
        accounts: vec![account],
        names: vec![Held { identifier, from: None, until: None }],
    };
    let usual = Place {
        ip: format!("192.0.2.{}", 10 + n % 200),
        user_agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/142.0.0.0".to_owned(),
        device: format!("guokill{n:013}"),
    };
    Person { handle: "extra", identity, address, usual }
}

/// The immutable id of somebody's account.
pub(crate) fn account(person: &Person) -> String {
    person.account().unwrap().id.clone()
}

/// The directory as `quell.toml` names it.
pub(crate) fn directory(company: &Company) -> Value {
    let entry = |person: &Person| {
        let identity = &person.identity;
        let classes: Vec<&str> = identity.classes.iter().map(|class| class.name()).collect();
        let account = |a: &Account| json!({ "provider": a.provider, "id": a.id, "login": a.login });
        json!({
            "key": identity.key, "name": identity.name, "classes": classes,
            "groups": identity.groups, "addresses": [person.address],
            "accounts": identity.accounts.iter().map(account).collect::<Vec<_>>(),
        })
    };
    company.people.iter().map(entry).collect()
}

//! The lab's company: invented people at example.com, with their accounts and usual places. Pure;
//! no person, host or address here exists.

use std::collections::{BTreeMap, BTreeSet};

use quell_core::id::IdentityId;
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The provider's name under which the lab's accounts are kept.
pub const PROVIDER: &str = "okta";

/// The name of the provider in the Graph dialect.
pub const ENTRA_PROVIDER: &str = "entra_id";

/// From where, and with what, somebody signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The address, from a documentation range (RFC 5737).
    pub ip: String,
    /// The browser.
    pub user_agent: String,
    /// The device; a registered one begins with `guo`, as Okta's ids do.
    pub device: String,
}

/// One person or non-human principal of the company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The short name by which the demonstration speaks of it: `alice`, `admin`, ...
    pub handle: &'static str,
    /// As the directory knows it.
    pub identity: Identity,
    /// The primary address.
    pub address: String,
    /// Where it usually signs in from.
    pub usual: Place,
}

impl Person {
    /// Its account at the lab's provider.
    pub fn account(&self) -> Option<&Account> {
        self.identity.accounts.iter().find(|account| account.provider == PROVIDER)
    }

    /// Its account at the lab's provider in the Graph dialect, which the directory of the company
    /// does not name by itself: an object id, always the same for the same person.
    pub fn entra_account(&self) -> Option<Account> {
        let account = self.account()?;
        Some(Account {
            provider: ENTRA_PROVIDER.to_owned(),
            id: crate::event::uuid(&[ENTRA_PROVIDER, &self.identity.key]),
            login: account.login.clone(),
        })
    }
}

/// The company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// Its mail domain.
    pub domain: &'static str,
    /// Everybody, in a fixed order.
    pub people: Vec<Person>,
    /// Shared mailbox (directory key) to the keys of its delegates.
    pub delegates: BTreeMap<String, Vec<String>>,
}

impl Company {
    /// Somebody by short name.
    pub fn person(&self, handle: &str) -> Option<&Person> {
        self.people.iter().find(|person| person.handle == handle)
    }

    /// Somebody by login or immutable account id.
    pub fn by_account(&self, name: &str) -> Option<&Person> {
        self.people.iter().find(|person| {
            person.account().is_some_and(|a| a.id == name || a.login.as_deref() == Some(name))
        })
    }

    /// The directory in a neutral form: `{version, identities, delegates}`; an identity is
    /// written as the core writes it.
    pub fn directory(&self) -> Value {
        let identities: Vec<&Identity> = self.people.iter().map(|p| &p.identity).collect();
        json!({ "version": 1, "identities": identities, "delegates": self.delegates })
    }
}

/// The lab's company: an employee (`alice`), an administrator (`admin`), an executive
/// (`executive`), people whom only outsiders or only a click touch (`dario`, `eva`), a service
/// account (`service`), a shared mailbox (`shared`) and a break-glass account (`break_glass`).
pub fn company() -> Company {
    use Class as C;
    let people = vec![
        entry("alice", "E1001", "Alice Weber", "alice.weber", &[C::Human], &["staff"]),
        entry(
            "admin",
            "E1002",
            "Bruno Keller",
            "bruno.keller",
            &[C::Human, C::Privileged],
            &["staff", "identity-admins"],
        ),
        entry(
            "executive",
            "E1003",
            "Carla Moretti",
            "carla.moretti",
            &[C::Human, C::HighValue],
            &["staff", "executives"],
        ),
        entry("dario", "E1004", "Dario Silva", "dario.silva", &[C::Human], &["staff"]),
        entry("eva", "E1005", "Eva Lindgren", "eva.lindgren", &[C::Human], &["staff"]),
        entry(
            "service",
            "S2001",
            "Nightly backup",
            "svc-backup",
            &[C::ServiceAccount],
            &["services"],
        ),
        entry("shared", "M3001", "Invoices", "invoices", &[C::SharedMailbox], &["mailboxes"]),
        entry(
            "break_glass",
            "B9001",
            "Emergency access 1",
            "emergency-1",
            &[C::BreakGlass],
            &["emergency"],
        ),
    ];
    let delegates = vec!["E1001".to_owned(), "E1004".to_owned()];
    let delegates = BTreeMap::from([("M3001".to_owned(), delegates)]);
    Company { domain: DOMAIN, people, delegates }
}

const DOMAIN: &str = "example.com";

/// The browser of the company's own machines.
pub(crate) const COMPANY_BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) \
     AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";

fn entry(
    handle: &'static str,
    key: &str,
    name: &str,
    local: &str,
    classes: &[Class],
    groups: &[&str],
) -> Person {
    let address = format!("{local}@{DOMAIN}");
    let id = okta_id("00u", key);
    // a shared mailbox has no sign-in of its own
    let accounts = if classes.contains(&Class::SharedMailbox) {
        Vec::new()
    } else {
        vec![Account { provider: PROVIDER.to_owned(), id, login: Some(address.clone()) }]
    };
    let mut names = vec![held(&address)];
    if let Some((first, last)) = local.split_once('.') {
        let initial: String = first.chars().take(1).collect();
        names.push(held(&format!("{initial}.{last}@{DOMAIN}")));
    }
    let identity = Identity {
        id: IdentityId::of("default", key),
        key: key.to_owned(),
        name: name.to_owned(),
        classes: classes.iter().copied().collect(),
        groups: groups.iter().map(|g| (*g).to_owned()).collect::<BTreeSet<_>>(),
        accounts,
        names,
    };
    let usual = Place {
        ip: format!("192.0.2.{}", 10 + number(key) % 100),
        user_agent: COMPANY_BROWSER.to_owned(),
        device: okta_id("guo", key),
    };
    Person { handle, identity, address, usual }
}

fn held(address: &str) -> Held {
    let identifier = Identifier::new(Scheme::Address, None, address);
    Held { identifier, from: None, until: None }
}

/// The digits of a directory key.
fn number(key: &str) -> u32 {
    key.bytes().filter(u8::is_ascii_digit).fold(0, |n, b| n * 10 + u32::from(b - b'0'))
}

/// An id in Okta's shape: a prefix of three and seventeen letters and digits, always the same for
/// the same name.
pub(crate) fn okta_id(prefix: &str, name: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let digest = Sha256::digest(format!("{prefix}/{name}").as_bytes());
    let letter = |b: &u8| LETTERS.get(usize::from(b % 32)).copied().map_or('a', char::from);
    let rest: String = digest.iter().take(17).map(letter).collect();
    format!("{prefix}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn everybody_has_an_immutable_id_and_a_class() {
        let company = company();
        let line = |p: &Person| {
            let classes: Vec<&str> = p.identity.classes.iter().map(|c| c.name()).collect();
            let account = p.account().map_or("-", |a| a.id.as_str());
            format!("{} {} {} {}\n", p.handle, p.address, classes.join("+"), account)
        };
        let lines: String = company.people.iter().map(line).collect();
        expect![[r#"
            alice alice.weber@example.com human 00ufbydxet7ifv3w4td7
            admin bruno.keller@example.com human+privileged 00umcakqvushqiftzvi6
            executive carla.moretti@example.com human+high_value 00uyb3nhdz55uah5znmv
            dario dario.silva@example.com human 00uwcxkzgf6q5m26ka5s
            eva eva.lindgren@example.com human 00ubchvfdvjyxmnvaswc
            service svc-backup@example.com service_account 00un8npht72c4y7vqtak
            shared invoices@example.com shared_mailbox -
            break_glass emergency-1@example.com break_glass 00uwcdpcmdfyi3yputb2
        "#]]
        .assert_eq(&lines);
    }

    #[test]
    fn the_directory_reads_back_as_identities() {
        let directory = company().directory();
        let identities = directory.get("identities").unwrap().clone();
        let read: Vec<Identity> = serde_json::from_value(identities).unwrap();
        let written: Vec<Identity> = company().people.into_iter().map(|p| p.identity).collect();
        assert_eq!(read, written);
    }
}

//! Binary room, directory files: CSV and JSON to identities, with line and remedy for what is
//! wrong.

use std::collections::BTreeSet;
use std::path::Path;

use quell_core::directory::Import;
use quell_core::id::IdentityId;
use quell_core::identity::{Account, Class, Held, Identifier, Identity, Scheme};
use quell_core::time::Time;
use serde::Deserialize;

use crate::fault::Fault;

/// Bytes that a directory file may have.
const FILE_MAX: u64 = 256 << 20;

/// One identity as JSON files write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    classes: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    accounts: Vec<AccountEntry>,
    #[serde(default)]
    addresses: Vec<AddressEntry>,
    #[serde(default)]
    sam: Vec<String>,
    #[serde(default)]
    clients: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountEntry {
    provider: String,
    id: String,
    #[serde(default)]
    login: Option<String>,
}

/// An address, with the time during which it was this identity's where that is known.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AddressEntry {
    Always(String),
    Within(AddressWithin),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AddressWithin {
    address: String,
    #[serde(default)]
    from: Option<Time>,
    #[serde(default)]
    until: Option<Time>,
}

/// A JSON file: a list, or an object with the time of the data.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum File {
    List(Vec<Entry>),
    Whole {
        #[serde(default)]
        as_of: Option<Time>,
        identities: Vec<Entry>,
    },
}

/// Reads a directory file by its ending, `.csv` or `.json`.
pub(crate) fn read(tenant: &str, path: &Path) -> Result<Import, Fault> {
    let size = std::fs::metadata(path).map_err(|e| Fault::file(path, &e))?.len();
    if size > FILE_MAX {
        return Err(Fault::input(
            format!("`{}` has {size} bytes", path.display()),
            "at most 256 MiB",
        ));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Fault::file(path, &e))?;
    let name = path.display().to_string();
    let mut import = if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
        csv(tenant, &name, &text)?
    } else {
        json(tenant, &name, &text)?
    };
    // The age of a directory is part of each decision: a file is as old as its last change.
    let changed = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let since = changed.and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let changed = since.and_then(|d| i64::try_from(d.as_micros()).ok()).map(Time);
    import.as_of = import.as_of.or(changed);
    Ok(import)
}

/// Reads JSON text.
pub(crate) fn json(tenant: &str, name: &str, text: &str) -> Result<Import, Fault> {
    let file: File = serde_json::from_str(text).map_err(|e| {
        let help = "a list of {key, name, classes, groups, accounts, addresses}";
        Fault::input(format!("{name}:{}: {e}", e.line()), help)
    })?;
    let (as_of, entries) = match file {
        File::List(entries) => (None, entries),
        File::Whole { as_of, identities } => (as_of, identities),
    };
    let identities = entries
        .into_iter()
        .enumerate()
        .map(|(n, entry)| identity(tenant, &format!("{name}, entry {}", n + 1), entry))
        .collect::<Result<Vec<_>, _>>()?;
    import(name, as_of, identities)
}

/// Reads CSV text with the columns key, name, classes, groups, accounts, addresses; several
/// values in one cell are separated by `;`, an account is `provider:id:login`.
fn csv(tenant: &str, name: &str, text: &str) -> Result<Import, Fault> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let bad = |e: &csv::Error| {
        let line = e.position().map_or(1, csv::Position::line);
        let help = "columns: key,name,classes,groups,accounts,addresses";
        Fault::input(format!("{name}:{line}: {e}"), help)
    };
    let headers = reader.headers().map_err(|e| bad(&e))?.clone();
    let known = ["key", "name", "classes", "groups", "accounts", "addresses"];
    if let Some(other) = headers.iter().find(|h| !known.contains(h)) {
        let near = quell_core::nearest(other, known);
        let help = near.map_or("see `quell init`".to_owned(), |n| format!("did you mean `{n}`?"));
        return Err(Fault::input(format!("{name}:1: unknown column `{other}`"), help));
    }
    let mut identities = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|e| bad(&e))?;
        let line = row.position().map_or(0, csv::Position::line);
        let cell = |column: &str| {
            let at = headers.iter().position(|h| h == column);
            at.and_then(|at| row.get(at)).unwrap_or_default()
        };
        let list = |column: &str| -> Vec<String> {
            let parts = cell(column).split(';').map(str::trim);
            parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
        };
        let accounts = list("accounts")
            .into_iter()
            .map(|text| {
                let mut parts = text.splitn(3, ':');
                let provider = parts.next().unwrap_or_default().to_owned();
                let id = parts.next().unwrap_or_default().to_owned();
                AccountEntry { provider, id, login: parts.next().map(str::to_owned) }
            })
            .collect();
        let entry = Entry {
            key: cell("key").to_owned(),
            name: cell("name").to_owned(),
            classes: list("classes"),
            groups: list("groups"),
            accounts,
            addresses: list("addresses").into_iter().map(AddressEntry::Always).collect(),
            sam: Vec::new(),
            clients: Vec::new(),
        };
        identities.push(identity(tenant, &format!("{name}:{line}"), entry)?);
    }
    import(name, None, identities)
}

fn import(name: &str, as_of: Option<Time>, identities: Vec<Identity>) -> Result<Import, Fault> {
    let mut keys = BTreeSet::new();
    if let Some(twice) = identities.iter().find(|i| !keys.insert(i.key.clone())) {
        let message = format!("{name}: the key `{}` stands twice", twice.key);
        return Err(Fault::input(message, "keys are stable and never reused"));
    }
    let origin = Path::new(name).file_name().map(|n| n.to_string_lossy().into_owned());
    Ok(Import { origin: origin.unwrap_or_default(), as_of, identities })
}

fn identity(tenant: &str, place: &str, entry: Entry) -> Result<Identity, Fault> {
    if entry.key.is_empty() || entry.key.len() > 256 {
        return Err(Fault::input(
            format!("{place}: no key"),
            "give a stable key of 1 to 256 bytes",
        ));
    }
    let classes = entry
        .classes
        .iter()
        .map(|class| class.parse::<Class>())
        .collect::<Result<BTreeSet<_>, _>>()
        .map_err(|e| Fault::input(format!("{place}: {e}"), "see docs/authority.md"))?;
    let accounts = entry
        .accounts
        .into_iter()
        .map(|a| {
            if a.provider.is_empty() || a.id.is_empty() {
                let message = format!("{place}: an account without provider or id");
                return Err(Fault::input(message, "write provider:id:login"));
            }
            Ok(Account { provider: a.provider, id: a.id, login: a.login })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let always = |identifier| Held { identifier, from: None, until: None };
    let mut names: Vec<Held> = entry
        .addresses
        .into_iter()
        .map(|address| match address {
            AddressEntry::Always(text) => always(Identifier::new(Scheme::Address, None, &text)),
            AddressEntry::Within(AddressWithin { address, from, until }) => {
                Held { identifier: Identifier::new(Scheme::Address, None, &address), from, until }
            }
        })
        .collect();
    names.extend(entry.sam.iter().map(|n| always(Identifier::new(Scheme::Sam, None, n))));
    names.extend(entry.clients.iter().map(|n| always(Identifier::new(Scheme::Client, None, n))));
    Ok(Identity {
        id: IdentityId::of(tenant, &entry.key),
        key: entry.key,
        name: entry.name,
        classes,
        groups: entry.groups.into_iter().collect(),
        accounts,
        names,
    })
}

//! `protected.toml`: accounts by immutable id that nothing acts on, and entities that never reach
//! a block feed. It looks nothing up: only the owner's lists decide.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use super::PolicyError;
use super::file::Reader;
use crate::name::names;
use crate::signal::EntityKind;

names! {
    /// Why an account is protected.
    Why {
        /// The account of last resort.
        BreakGlass = "break_glass",
        /// What Quell itself signs in as.
        OwnPrincipal = "own_principal",
        /// What synchronises the directories.
        DirectorySync = "directory_sync",
    }
}

names! {
    /// Which list protects an entity.
    Guard {
        /// A domain of the company.
        OwnDomain = "own_domain",
        /// A mail address or network of the company.
        OwnAddress = "own_address",
        /// A host of an identity provider or SaaS.
        SaasHost = "saas_host",
        /// A host under which many unrelated parties publish.
        SharedHosting = "shared_hosting",
        /// A domain under which many unrelated people have mailboxes.
        MailProvider = "mail_provider",
        /// Nobody can say for sure whom a block of it would hit: not in the one form in which
        /// domains, addresses and URLs are compared.
        Unreadable = "unreadable",
    }
}

/// One protected account.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ProtectedAccount {
    /// The provider.
    pub provider: String,
    /// The provider's immutable id.
    pub id: String,
    /// Why.
    pub why: Why,
}

/// Whom and what nothing touches.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Protected {
    accounts: BTreeMap<(String, String), Why>,
    /// Domain suffixes, lower case, with the list that they stand in.
    domains: Vec<(String, Guard)>,
    mailboxes: Vec<String>,
    networks: Vec<(IpAddr, u8)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "version")]
    _version: i64,
    #[serde(default)]
    account: Vec<AccountRow>,
    #[serde(default)]
    entities: Entities,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountRow {
    provider: Spanned<String>,
    id: Spanned<String>,
    why: Why,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Entities {
    own_domains: Vec<Spanned<String>>,
    addresses: Vec<Spanned<String>>,
    saas_hosts: Vec<Spanned<String>>,
    shared_hosting: Vec<Spanned<String>>,
    mail_providers: Vec<Spanned<String>>,
}

impl Protected {
    /// Reads the text of `protected.toml`.
    ///
    /// # Errors
    /// Each thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Self, Vec<PolicyError>> {
        let (mut reader, file) = Reader::open::<File>("protected.toml", text)?;
        let mut protected = Self::default();
        for row in file.account {
            for (what, text) in [("provider", &row.provider), ("id", &row.id)] {
                if text.get_ref().trim().is_empty() {
                    let remedy = "write the provider's name and immutable id";
                    reader.wrong(text, format!("`{what}` is empty"), remedy);
                }
            }
            let trimmed = |text: &Spanned<String>| text.get_ref().trim().to_owned();
            let key = (trimmed(&row.provider), trimmed(&row.id));
            if protected.accounts.insert(key, row.why).is_some() {
                reader.wrong(&row.id, "this account is listed twice", "keep one of the two");
            }
        }
        let lists = [
            (Guard::OwnDomain, file.entities.own_domains),
            (Guard::SaasHost, file.entities.saas_hosts),
            (Guard::SharedHosting, file.entities.shared_hosting),
            (Guard::MailProvider, file.entities.mail_providers),
        ];
        for (guard, list) in lists {
            for written in list {
                match domain(written.get_ref()) {
                    Some(domain) => protected.domains.push((domain, guard)),
                    None => {
                        let message = format!("`{}` is no domain name", written.get_ref());
                        reader.wrong(&written, message, "write a name like `example.com`");
                    }
                }
            }
        }
        for written in file.entities.addresses {
            let text = written.get_ref().trim().to_lowercase();
            if text.contains('@') {
                protected.mailboxes.push(text);
            } else if let Some(network) = network(&text) {
                protected.networks.push(network);
            } else {
                let message = format!("`{text}` is no mail address, IP address or network");
                reader.wrong(&written, message, "write `a@example.com` or `192.0.2.0/24`");
            }
        }
        reader.close(protected)
    }

    /// Why an account is protected, by its immutable id.
    pub fn account(&self, provider: &str, id: &str) -> Option<Why> {
        self.accounts.get(&(provider.to_owned(), id.to_owned())).copied()
    }

    /// Every protected account, sorted; targets check them again.
    pub fn accounts(&self) -> Vec<ProtectedAccount> {
        let rows = self.accounts.iter();
        rows.map(|((provider, id), why)| ProtectedAccount {
            provider: provider.clone(),
            id: id.clone(),
            why: *why,
        })
        .collect()
    }

    /// Which list keeps an entity off the block feeds.
    ///
    /// A domain is protected with everything under it, and so is every domain above it. An exact
    /// URL or sender under shared hosting, a SaaS host or a mail provider may be blocked; a URL
    /// that is a host's front page may not. What is not in the plain form is protected as
    /// unreadable, since whoever enforces a feed may read it in another way.
    pub fn entity(&self, kind: EntityKind, value: &str) -> Option<Guard> {
        let value = value.trim().to_lowercase();
        match kind {
            EntityKind::Domain => self.whole_domain(&value),
            EntityKind::Sender => {
                if self.mailboxes.contains(&value) {
                    return Some(Guard::OwnAddress);
                }
                let (local, domain) = value.rsplit_once('@').unwrap_or(("", &value));
                let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '<' | '>' | '"' | ',');
                if !local.chars().all(plain) || !is_plain_host(domain.trim_end_matches('.')) {
                    return Some(Guard::Unreadable);
                }
                if local.is_empty() {
                    return self.whole_domain(domain);
                }
                self.under(domain).filter(|guard| *guard == Guard::OwnDomain)
            }
            EntityKind::Url => self.url(&value),
            EntityKind::Ip => {
                let Ok(ip) = value.parse::<IpAddr>() else { return Some(Guard::OwnAddress) };
                let own = self.networks.iter().any(|network| within(ip, *network));
                own.then_some(Guard::OwnAddress)
            }
            _ => None,
        }
    }

    /// A host or domain as a whole: protected under and above each entry.
    fn whole_domain(&self, value: &str) -> Option<Guard> {
        let value = value.trim_end_matches('.');
        if !is_plain_host(value) {
            return Some(Guard::Unreadable);
        }
        let above = self.domains.iter().find(|(own, _)| is_under(own, value));
        self.under(value).or(above.map(|(_, guard)| *guard))
    }

    /// The list under whose entry a host lies; own domains first.
    fn under(&self, host: &str) -> Option<Guard> {
        let host = host.trim_end_matches('.');
        self.domains.iter().find(|(own, _)| is_under(host, own)).map(|(_, guard)| *guard)
    }

    fn url(&self, value: &str) -> Option<Guard> {
        let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
        let Some(rest) = rest.filter(|_| !value.chars().any(char::is_control)) else {
            return Some(Guard::Unreadable);
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if let Some(ip) = bracketed(host) {
            return self.entity(EntityKind::Ip, ip);
        }
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        if host.parse::<IpAddr>().is_ok() {
            return self.entity(EntityKind::Ip, host);
        }
        let host = host.trim_end_matches('.');
        if !is_plain_host(host) {
            return Some(Guard::Unreadable);
        }
        let mut path = path.replace("%2e", ".").replace("%2f", "/").replace("%20", "");
        path.retain(|c| !matches!(c, '/' | '\\' | '?' | '#' | '.'));
        if path.is_empty() {
            return self.whole_domain(host);
        }
        self.under(host).filter(|guard| *guard == Guard::OwnDomain)
    }
}

/// True for a name of letters, digits, hyphens and underscores with dots between, whose last part
/// is no number: `0x7f.1` and `3221225991` are addresses to a browser.
fn is_plain_host(host: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    let number = last.starts_with("0x") || last.bytes().all(|b| b.is_ascii_digit());
    host.split('.').all(label) && !number
}

/// The text between brackets: an IPv6 host of a URL.
fn bracketed(host: &str) -> Option<&str> {
    host.strip_prefix('[')?.split_once(']').map(|(ip, _)| ip)
}

/// True when `host` is `domain` or lies under it.
fn is_under(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// A domain name in lower case, without the dots around it.
fn domain(text: &str) -> Option<String> {
    let text = text.trim().trim_start_matches("*.").trim_matches('.').to_lowercase();
    let label = |l: &str| {
        let form = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
        !l.is_empty() && l.len() <= 63 && l.chars().all(form)
    };
    (text.len() <= 253 && text.split('.').all(label)).then_some(text)
}

/// An IP address, or a network written `address/length`; IPv4 is to be written as IPv4.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (ip, length) = text.split_once('/').map_or((text, None), |(ip, l)| (ip, Some(l)));
    let ip: IpAddr = ip.parse().ok()?;
    let full = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(full), |l| l.parse().ok())?;
    let mapped = matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    (length <= full && !mapped).then_some((ip, length))
}

fn within(ip: IpAddr, (base, length): (IpAddr, u8)) -> bool {
    let bits = |ip: IpAddr| match ip.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    };
    let ((a, a_v4), (b, b_v4)) = (bits(ip), bits(base));
    let differ = u32::from(length).checked_sub(1).map(|shift| (a ^ b) >> (127 - shift));
    a_v4 == b_v4 && differ.unwrap_or(0) == 0
}

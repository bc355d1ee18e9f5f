//! Sources room: takes texts, addresses and hosts out of a vendor's values. Reads what is there and
//! rounds nothing.

use std::net::{IpAddr, SocketAddr};

use quell_core::signal::EntityKind;
use serde_json::Value;

/// The largest whole number below which a double holds every whole number: 2^53.
const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;

/// The text of a value; none for null, lists, objects, empty texts and numbers that were rounded
/// when they were read.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Value::Number(number) => {
            let exact = number.is_i64() || number.is_u64();
            let small = number.as_f64().is_some_and(|f| f.abs() < EXACT_BELOW);
            (exact || small).then(|| number.to_string())
        }
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Visits the values of a node: the items of a list, else the node itself.
pub(super) fn flat<'v>(node: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
    match node {
        Value::Array(items) => items.iter().for_each(visit),
        other => visit(other),
    }
}

/// The normal form of an entity's value; none when it is no value of its kind.
pub(super) fn entity(kind: EntityKind, text: &str) -> Option<String> {
    let normal = match kind {
        EntityKind::Ip => return ip(text).map(|ip| ip.to_string()),
        EntityKind::Sender => bare(text).to_lowercase(),
        EntityKind::Message => bare(text).to_owned(),
        EntityKind::Domain => text.trim().trim_end_matches('.').to_lowercase(),
        _ => text.trim().to_owned(),
    };
    (!normal.is_empty()).then_some(normal)
}

/// Without the angle brackets around it.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>'));
    inner.unwrap_or(text).trim()
}

/// An address in any of the ways that vendors write it: v4, v6, `[v6]`, `v4:port`, `[v6]:port`.
/// A v4 address inside v6 is the v4 address.
pub(super) fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let plain = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let ip = plain.parse::<IpAddr>().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    ip.map(|ip| ip.to_canonical())
}

/// The host name of a URL as browsers read it (WHATWG URL), in ASCII; none for an address. A text
/// without a scheme is read as `http`.
pub(super) fn host(text: &str) -> Option<String> {
    let url = match reqwest::Url::parse(text) {
        Ok(url) if url.has_host() => url,
        _ => reqwest::Url::parse(&format!("http://{text}")).ok()?,
    };
    let host = url.domain()?.trim_end_matches('.');
    host.contains('.').then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_are_read_as_text_and_never_rounded() {
        let check = |json: &str, want: Option<&str>| {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(text(&value).as_deref(), want, "{json}");
        };
        check("-9223372036854775808", Some("-9223372036854775808"));
        check("18446744073709551615", Some("18446744073709551615"));
        check("18446744073709551616", None);
        check("9007199254740993.0", None);
        check("1.5", Some("1.5"));
        check("\" a \"", Some("a"));
        check("\"  \"", None);
        check("true", Some("true"));
        check("null", None);
        check("[1]", None);
    }

    #[test]
    fn addresses_have_one_form() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(ip(text).map(|ip| ip.to_string()).as_deref(), want, "{text}");
        };
        check("192.0.2.1", Some("192.0.2.1"));
        check(" 192.0.2.1:443 ", Some("192.0.2.1"));
        check("2001:DB8::0:1", Some("2001:db8::1"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        check("[2001:db8::1]:8080", Some("2001:db8::1"));
        check("::ffff:192.0.2.1", Some("192.0.2.1"));
        check("192.0.2.01", None);
        check("192.0.2.1:", None);
        check("", None);
        check("redacted", None);
    }

    #[test]
    fn hosts_are_read_as_browsers_read_them() {
        let check = |text: &str, want: Option<&str>| {
            assert_eq!(host(text).as_deref(), want, "{text}");
        };
        check("https://Login.Example.com:8443/a?b#c", Some("login.example.com"));
        check("http://user:pass@evil.example.org/", Some("evil.example.org"));
        check("http://good.example.com\\@evil.example.org/", Some("good.example.com"));
        check("evil.example.org/path", Some("evil.example.org"));
        check("http://b\u{fc}cher.example.org/", Some("xn--bcher-kva.example.org"));
        check("http://192.0.2.1/", None);
        check("invoice.exe file", None);
        check("", None);
    }

    #[test]
    fn entities_have_one_form() {
        let check = |kind, text: &str, want: Option<&str>| {
            assert_eq!(entity(kind, text).as_deref(), want, "{text}");
        };
        check(EntityKind::Sender, "<Ann@Example.COM>", Some("ann@example.com"));
        check(EntityKind::Message, "<Id.1@Example.com>", Some("Id.1@Example.com"));
        check(EntityKind::Domain, "Example.com.", Some("example.com"));
        check(EntityKind::Url, " http://example.com/A ", Some("http://example.com/A"));
        check(EntityKind::Sender, "<>", None);
        check(EntityKind::Ip, "not found", None);
    }

    #[test]
    fn lists_are_flat() {
        let mut seen = Vec::new();
        let record = json!(["a", ["b"]]);
        flat(&record, &mut |node| seen.push(node.to_string()));
        flat(&record[0], &mut |node| seen.push(node.to_string()));
        assert_eq!(seen, ["\"a\"", "[\"b\"]", "\"a\""]);
    }
}

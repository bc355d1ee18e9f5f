//! From an HTTP answer to a fault: the table that decides what may be retried, and the waiting
//! times that vendors state. Pure; no requests are made here.

use quell_core::order::Fault;
use quell_core::time::{HOUR, SECOND, Time};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::secret::Unspoken;

/// Longest waiting time that a vendor can impose, microseconds.
const WAIT_MAX: i64 = HOUR;

/// The fault of a status that was not the expected one.
///
/// `effecting` says that the request changes something: an answer that leaves open whether it was
/// processed is then `indeterminate`, while a read may simply be made again.
pub(crate) fn by_status(status: u16, effecting: bool) -> Fault {
    let lost = if effecting { Fault::Indeterminate } else { Fault::Transient };
    match status {
        401 => Fault::AuthBroken,
        403 => Fault::NoPermission,
        404 | 410 => Fault::UnknownSubject,
        408 => lost,
        412 => Fault::Precondition,
        425 | 503 => Fault::Transient,
        429 => Fault::Throttled,
        501 => Fault::Unsupported,
        // 302 and 303 are also the answer to a form that was processed
        302 | 303 if effecting => Fault::Indeterminate,
        // a success that we did not ask for: a proxy's page, another version of the interface
        200..=299 => Fault::Indeterminate,
        100..=499 => Fault::BadRequest,
        _ => lost,
    }
}

/// When to try again, from `Retry-After` (seconds or HTTP date, RFC 9110 section 10.2.3) or from
/// `X-Rate-Limit-Reset` (epoch seconds, Okta). The vendor's clock is read through its `Date`
/// header. At least a second, at most an hour from now; none when nothing is stated, and none for
/// a concurrency limit (`X-Rate-Limit-Remaining` above zero), where a short pause is right.
pub(crate) fn retry_at(headers: &HeaderMap, now: Time) -> Option<Time> {
    let vendor_now = date(headers).unwrap_or(now);
    let wait = match text(headers, RETRY_AFTER.as_str()) {
        Some(value) => match seconds(value) {
            Some(wait) => wait,
            None => http_date(value)?.since(vendor_now),
        },
        None => {
            if text(headers, "x-rate-limit-remaining").and_then(seconds).is_some_and(|n| n > 0) {
                return None;
            }
            let reset = seconds(text(headers, "x-rate-limit-reset")?)?;
            Time(reset).since(vendor_now).saturating_add(SECOND)
        }
    };
    Some(now.plus(wait.clamp(SECOND, WAIT_MAX)))
}

/// The vendor's clock, from the `Date` header; whole seconds.
pub(crate) fn date(headers: &HeaderMap) -> Option<Time> {
    http_date(text(headers, DATE.as_str())?)
}

/// The vendor's id of the request: 1 to 128 letters, digits and `._:/+=-`; what is longer, holds
/// anything else, or echoes our credential, is none.
pub(crate) fn request_id(headers: &HeaderMap, unspoken: &Unspoken) -> Option<String> {
    const NAMES: [&str; 4] =
        ["x-okta-request-id", "x-request-id", "request-id", "x-correlation-id"];
    let form = |b: u8| b.is_ascii_alphanumeric() || b"._:/+=-".contains(&b);
    let is_id =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(form) && !unspoken.is_in(id);
    let id = NAMES.iter().filter_map(|name| text(headers, name)).find(is_id)?;
    Some(id.to_owned())
}

/// The targets of `Link: <..>; rel="next"` (RFC 8288), unchecked.
pub(crate) fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers.get_all("link").iter().filter_map(|value| value.to_str().ok());
    // `<` cannot stand inside a URL, a comma can
    values.flat_map(|value| value.split('<').skip(1)).find_map(|link| {
        let (target, parameters) = link.split_once('>')?;
        let next = parameters.split([';', ',']).any(|p| {
            let p = p.trim();
            p.eq_ignore_ascii_case("rel=\"next\"") || p.eq_ignore_ascii_case("rel=next")
        });
        next.then(|| target.to_owned())
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Non-negative whole seconds, as microseconds.
fn seconds(value: &str) -> Option<i64> {
    value.parse::<u32>().ok().map(|n| i64::from(n) * SECOND)
}

fn http_date(value: &str) -> Option<Time> {
    let zoned = jiff::fmt::rfc2822::parse(value).ok()?;
    Some(Time(zoned.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn every_status_has_its_fault() {
        let statuses = [
            200, 301, 302, 303, 307, 400, 401, 403, 404, 405, 408, 409, 410, 412, 418, 422, 425,
            429, 500, 501, 502, 503, 504, 599,
        ];
        let lines: Vec<String> = statuses
            .iter()
            .map(|s| format!("{s} read {} act {}\n", by_status(*s, false), by_status(*s, true)))
            .collect();
        expect![[r#"
            200 read indeterminate act indeterminate
            301 read bad_request act bad_request
            302 read bad_request act indeterminate
            303 read bad_request act indeterminate
            307 read bad_request act bad_request
            400 read bad_request act bad_request
            401 read auth_broken act auth_broken
            403 read no_permission act no_permission
            404 read unknown_subject act unknown_subject
            405 read bad_request act bad_request
            408 read transient act indeterminate
            409 read bad_request act bad_request
            410 read unknown_subject act unknown_subject
            412 read precondition act precondition
            418 read bad_request act bad_request
            422 read bad_request act bad_request
            425 read transient act transient
            429 read throttled act throttled
            500 read transient act indeterminate
            501 read unsupported act unsupported
            502 read transient act indeterminate
            503 read transient act transient
            504 read transient act indeterminate
            599 read transient act indeterminate
        "#]]
        .assert_eq(&lines.concat());
    }

    #[test]
    fn waiting_times_are_read_in_every_shape() {
        let now = Time::parse("2026-03-01T12:00:00.250Z").unwrap().t;
        let check = |pairs: &[(&str, &str)], want: Option<&str>| {
            let got = retry_at(&headers(pairs), now).map(|t| t.to_string());
            assert_eq!(got.as_deref(), want, "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "30")], Some("2026-03-01T12:00:30.250000Z"));
        check(&[("retry-after", "0")], Some("2026-03-01T12:00:01.250000Z"));
        check(&[("retry-after", "999999")], Some("2026-03-01T13:00:00.250000Z"));
        check(&[("retry-after", "-5")], None);
        check(&[("retry-after", "soon")], None);
        check(
            &[("retry-after", "Sun, 01 Mar 2026 12:00:10 GMT")],
            Some("2026-03-01T12:00:10.000000Z"),
        );
        // the vendor's clock runs 20 s ahead of ours
        let date = ("date", "Sun, 01 Mar 2026 12:00:20 GMT");
        check(
            &[("retry-after", "Sun, 01 Mar 2026 12:00:30 GMT"), date],
            Some("2026-03-01T12:00:10.250000Z"),
        );
        let reset = ("x-rate-limit-reset", "1772366430");
        check(&[reset, date], Some("2026-03-01T12:00:11.250000Z"));
        check(&[reset, ("x-rate-limit-remaining", "0"), date], Some("2026-03-01T12:00:11.250000Z"));
        check(&[reset, ("x-rate-limit-remaining", "12"), date], None);
    }

    #[test]
    fn request_ids_are_ids_and_no_credentials() {
        let mut unspoken = Unspoken::default();
        unspoken.add("Bearer abcdefgh12345678");
        let check = |pairs: &[(&str, &str)], want: Option<&str>| {
            let got = request_id(&headers(pairs), &unspoken);
            assert_eq!(got.as_deref(), want, "{pairs:?}");
        };
        check(&[("x-request-id", "a1-B2_c3.d:e/f+g=")], Some("a1-B2_c3.d:e/f+g="));
        check(&[("x-request-id", "")], None);
        check(&[("x-request-id", &"a".repeat(128))], Some(&"a".repeat(128)));
        check(&[("x-request-id", &"a".repeat(129))], None);
        check(&[("x-request-id", "a b")], None);
        check(&[("x-request-id", "<script>")], None);
        check(&[("x-request-id", "Bearer abcdefgh12345678")], None);
        check(&[("x-request-id", "id-abcdefgh12345678")], None);
        let two = [("x-request-id", "abcdefgh12345678"), ("x-correlation-id", "c-1")];
        check(&two, Some("c-1"));
    }

    #[test]
    fn next_links_are_found_among_others() {
        let check = |value: &str, want: Option<&str>| {
            assert_eq!(next_link(&headers(&[("link", value)])).as_deref(), want, "{value}");
        };
        let both =
            "<https://a.example/l?x=1>; rel=\"self\", <https://a.example/l?x=2,3>; rel=\"next\"";
        check(both, Some("https://a.example/l?x=2,3"));
        check("<https://a.example/l>; rel=\"self\"", None);
        check("https://a.example/l; rel=next", None);
        check("<https://a.example/l>; rel=next", Some("https://a.example/l"));
    }
}

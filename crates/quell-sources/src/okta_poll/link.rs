//! Sources room: finds the link to the next page in `Link` headers (RFC 8288). Judges no address.

use reqwest::header::HeaderValue;

/// The target of the first link whose relation is `next`.
pub(super) fn next<'h>(headers: impl Iterator<Item = &'h HeaderValue>) -> Option<&'h str> {
    headers.filter_map(|value| value.to_str().ok()).find_map(next_of)
}

/// Links are separated by commas, which may also stand inside `<` and `>`.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (target, after) = from.split_once('>')?;
        let (parameters, others) = match after.find('<') {
            Some(at) => after.split_at(at),
            None => (after, ""),
        };
        if parameters.split(&[';', ','][..]).any(is_next) {
            return Some(target.trim());
        }
        rest = others;
    }
    None
}

/// `rel=next`, quoted or not, alone or among other relations.
fn is_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let relations = value.trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel")
        && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        let check = |headers: &[&str], want: Option<&str>| {
            let values: Vec<HeaderValue> =
                headers.iter().map(|h| HeaderValue::from_str(h).unwrap()).collect();
            assert_eq!(next(values.iter()), want, "{headers:?}");
        };
        check(&["<https://a/?after=1>; rel=\"next\""], Some("https://a/?after=1"));
        check(&["<https://a/s>; rel=\"self\"", "<https://a/n>; rel=\"next\""], Some("https://a/n"));
        check(
            &["<https://a/s>; rel=\"self\", <https://a/n?x=1,2>;rel=next"],
            Some("https://a/n?x=1,2"),
        );
        check(&["<https://a/n>; title=\"a\"; REL=\"prev Next\""], Some("https://a/n"));
        check(&["<https://a/s>; rel=\"self\""], None);
        check(&["<https://a/n; rel=\"next\""], None);
        check(&["https://a/n; rel=next"], None);
        check(&["<https://a/n>; nextrel=\"next\""], None);
        check(&[], None);
    }
}

//! Rules room: finds the known word nearest to a mistyped one. Knows nothing about rules.

/// The word of `known` nearest to `word`, when it is near enough to be what was meant.
///
/// Near enough is an edit distance (insert, delete, replace, swap of neighbours) of at most one
/// third of the known word, and at least 1. The first of equally near words in `known` wins.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word: Vec<char> = word.chars().take(WORD_CHARS_MAX).flat_map(char::to_lowercase).collect();
    let mut best: Option<(usize, &str)> = None;
    for candidate in known {
        let chars: Vec<char> = candidate.chars().take(WORD_CHARS_MAX).collect();
        let distance = distance(&word, &chars);
        if distance <= (chars.len() / 3).max(1) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The optimal string alignment distance of two words, in three rows.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, to) in b.iter().enumerate() {
            let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX);
            let mut least = (at(&above, j) + usize::from(from != to))
                .min(at(&above, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

const WORD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_far_off() {
        let known = ["kind", "use", "source", "startswith", "endswith", "contains"];
        let check = |word: &str| nearest(word, known);
        assert_eq!(check("knd"), Some("kind"));
        assert_eq!(check("KIND"), Some("kind"));
        assert_eq!(check("startwith"), Some("startswith"));
        assert_eq!(check("contians"), Some("contains"));
        assert_eq!(check("sorce"), Some("source"));
        assert_eq!(check("confidence"), None);
        assert_eq!(check(""), None);
        assert_eq!(check("x"), None);
        let check = |word: &str| nearest(word, ["okta", "proofpoint_tap"]);
        assert_eq!(check("otka"), Some("okta"));
        assert_eq!(check("okat"), Some("okta"));
        assert_eq!(check("octa"), Some("okta"));
        assert_eq!(check("proofpoint-tap"), Some("proofpoint_tap"));
        assert_eq!(check("tako"), None);
        assert_eq!(check("oktat2"), None);
        assert_eq!(check("entra_id"), None);
        assert_eq!(check(""), None);
    }
}

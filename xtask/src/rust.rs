//! A rough reader of Rust source: which characters are code, which lines belong to tests, where
//! functions begin and end. It need not be right for every program, only for ours; the compiler
//! stays the judge.

/// One file, line by line.
#[derive(Debug)]
pub(crate) struct Source {
    /// The lines with comments and the insides of strings and characters blanked.
    pub(crate) code: Vec<String>,
    /// Whether the line lies in test code.
    pub(crate) test: Vec<bool>,
    /// Whether the line begins inside a string.
    pub(crate) in_string: Vec<bool>,
}

/// One function: its name, its first line (from 1) and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

impl Source {
    /// Reads one file; its path decides whether all of it is test code.
    pub(crate) fn read(path: &str, text: &str) -> Self {
        let (masked, in_string) = mask(text);
        let code: Vec<String> = masked.lines().map(str::to_owned).collect();
        let test = match is_test_path(path) {
            true => vec![true; code.len()],
            false => test_lines(&masked, code.len()),
        };
        Self { code, test, in_string }
    }

    /// The lines of code that are not test code, numbered from 1.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.test).enumerate();
        lines.filter(|(_, (_, test))| !**test).map(|(at, (line, _))| (at + 1, line.as_str()))
    }

    /// All lines of code, numbered from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()))
    }

    /// The functions that are not test code.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let chars: Vec<char> = self.code.join("\n").chars().collect();
        let mut found = Vec::new();
        for at in words(&chars, "fn") {
            let Some(name) = identifier_after(&chars, at + 2) else { continue };
            let Some(open) = body_start(&chars, at) else { continue };
            let close = matching_brace(&chars, open);
            let line = line_of(&chars, at);
            if self.test.get(line - 1).copied().unwrap_or(false) {
                continue;
            }
            found.push(Function { name, line, lines: line_of(&chars, close) - line + 1 });
        }
        found
    }
}

/// Whether a path holds nothing but tests, benches or examples.
pub(crate) fn is_test_path(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.any(|part| matches!(part, "tests" | "tests.rs" | "benches" | "examples"))
}

/// Whether the code names `parent::child`, directly or as a member of `parent::{..}`.
pub(crate) fn names_path(code: &str, parent: &str, child: &str) -> bool {
    if !code.contains(parent) || !code.contains(child) {
        return false;
    }
    let chars: Vec<char> = code.chars().collect();
    words(&chars, parent).into_iter().any(|at| {
        let after = skip_space(&chars, at + parent.chars().count());
        if chars.get(after..after + 2) != Some(&[':', ':']) {
            return false;
        }
        let after = skip_space(&chars, after + 2);
        match chars.get(after) {
            Some('{') => group(&chars, after).iter().any(|name| name == child),
            _ => identifier_after(&chars, after).is_some_and(|name| name == child),
        }
    })
}

/// Whether the code holds the word, with no identifier character beside it.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    if !code.contains(word) {
        return false;
    }
    let chars: Vec<char> = code.chars().collect();
    !words(&chars, word).is_empty()
}

/// The names directly inside a use group that opens at `open`.
fn group(chars: &[char], open: usize) -> Vec<String> {
    let close = matching_brace(chars, open);
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut first = true;
    let mut at = open;
    while at < close {
        match chars.get(at) {
            Some('{') => depth += 1,
            Some('}') => depth = depth.saturating_sub(1),
            Some(',') => first = depth == 1 || first,
            Some(c) if is_identifier(*c) => {
                if let Some(name) = identifier_after(chars, at) {
                    at += name.chars().count() - 1;
                    if depth == 1 && first {
                        names.push(name);
                    }
                    first = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    names
}

/// Marks the lines of items under `#[cfg(test)]`.
fn test_lines(masked: &str, count: usize) -> Vec<bool> {
    let chars: Vec<char> = masked.chars().collect();
    let mut test = vec![false; count];
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let starts = chars.windows(mark.len()).enumerate();
    for (at, _) in starts.filter(|(_, window)| *window == mark.as_slice()) {
        let end = item_end(&chars, at + mark.len());
        for line in line_of(&chars, at)..=line_of(&chars, end) {
            if let Some(slot) = test.get_mut(line - 1) {
                *slot = true;
            }
        }
    }
    test
}

/// Where the item that starts at `from` ends: at its semicolon, or at its closing brace.
fn item_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in chars.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return matching_brace(chars, at),
            ';' | ',' if depth == 0 => return at,
            _ => {}
        }
    }
    chars.len()
}

/// Where the body of the function at `from` opens; none for a declaration without a body.
fn body_start(chars: &[char], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in chars.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '{' if depth == 0 => return Some(at),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn matching_brace(chars: &[char], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in chars.iter().enumerate().skip(open) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// Where the word stands alone.
fn words(chars: &[char], word: &str) -> Vec<usize> {
    let word: Vec<char> = word.chars().collect();
    let alone =
        |at: Option<usize>| !at.and_then(|at| chars.get(at)).copied().is_some_and(is_identifier);
    let starts_open = word.first().copied().is_some_and(is_identifier);
    let ends_open = word.last().copied().is_some_and(is_identifier);
    let windows = chars.windows(word.len().max(1)).enumerate();
    windows
        .filter(|(_, window)| *window == word.as_slice())
        .map(|(at, _)| at)
        .filter(|at| !starts_open || alone(at.checked_sub(1)))
        .filter(|at| !ends_open || alone(Some(at + word.len())))
        .collect()
}

fn identifier_after(chars: &[char], from: usize) -> Option<String> {
    let from = skip_space(chars, from);
    let name: String = chars.iter().skip(from).copied().take_while(|c| is_identifier(*c)).collect();
    (!name.is_empty()).then_some(name)
}

fn skip_space(chars: &[char], from: usize) -> usize {
    from + chars.iter().skip(from).take_while(|c| c.is_whitespace()).count()
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(chars: &[char], at: usize) -> usize {
    chars.iter().take(at).filter(|c| **c == '\n').count() + 1
}

/// Blanks comments and the insides of strings and characters, keeping every line break, and says
/// for each line whether it begins inside a string.
fn mask(text: &str) -> (String, Vec<bool>) {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut in_string = vec![false];
    let mut at = 0;
    while let Some(c) = chars.get(at).copied() {
        let (end, kind) = token(&chars, at);
        match kind {
            Token::Code => out.push(c),
            Token::Comment | Token::Literal => {
                for c in chars.iter().take(end).skip(at) {
                    out.push(if *c == '\n' { '\n' } else { ' ' });
                }
            }
        }
        for c in chars.iter().take(end).skip(at) {
            if *c == '\n' {
                in_string.push(kind == Token::Literal);
            }
        }
        at = end;
    }
    (out, in_string)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Code,
    Comment,
    Literal,
}

/// The token at `at`: where it ends and what it is.
fn token(chars: &[char], at: usize) -> (usize, Token) {
    let is = |offset: usize, c: char| chars.get(at + offset) == Some(&c);
    let inside_word = at.checked_sub(1).and_then(|at| chars.get(at)).copied();
    let starts = !inside_word.is_some_and(is_identifier);
    if is(0, '/') && is(1, '/') {
        let length = chars.iter().skip(at).take_while(|c| **c != '\n').count();
        return (at + length, Token::Comment);
    }
    if is(0, '/') && is(1, '*') {
        return (block_comment_end(chars, at), Token::Comment);
    }
    if starts && (is(0, 'r') || (is(0, 'b') && is(1, 'r')) || (is(0, 'c') && is(1, 'r'))) {
        let from = if is(0, 'r') { at + 1 } else { at + 2 };
        let hashes = chars.iter().skip(from).take_while(|c| **c == '#').count();
        if chars.get(from + hashes) == Some(&'"') {
            return (raw_end(chars, from + hashes + 1, hashes), Token::Literal);
        }
    }
    if is(0, '"') {
        return (quoted_end(chars, at + 1, '"'), Token::Literal);
    }
    if is(0, '\'') && (is(1, '\\') || is(2, '\'')) {
        return (quoted_end(chars, at + 1, '\''), Token::Literal);
    }
    (at + 1, Token::Code)
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at < chars.len() {
        match chars.get(at..at + 2) {
            Some(['/', '*']) => {
                depth += 1;
                at += 2;
            }
            Some(['*', '/']) => {
                depth = depth.saturating_sub(1);
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_end(chars: &[char], from: usize, hashes: usize) -> usize {
    for (at, c) in chars.iter().enumerate().skip(from) {
        let closed = chars.iter().skip(at + 1).take_while(|c| **c == '#').count() >= hashes;
        if *c == '"' && closed {
            return at + 1 + hashes;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], from: usize, quote: char) -> usize {
    let mut at = from;
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            c if *c == quote => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

#[cfg(test)]
mod tests;

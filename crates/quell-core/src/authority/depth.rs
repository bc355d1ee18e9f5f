//! How deep a Cedar text nests, looked at before it is parsed: parser and evaluator are recursive
//! and a thread's stack is fixed. It knows brackets, strings and comments, no grammar.

use crate::policy::{PolicyError, SCHEMA, line_of};

/// Brackets that may be open at once. Measured: 80 fit the 2 MiB stack of a debug build, 160 not.
const NESTING_MAX: usize = 24;

/// Operators that one policy may have, each of which may nest one level deeper. Measured: 320
/// fit the 2 MiB stack of a debug build, 640 do not.
const OPERATORS_MAX: usize = 240;

/// Refuses what nests deeper than the stack can bear.
pub(super) fn bounded(file: &str, text: &str) -> Result<(), PolicyError> {
    let is_schema = file == SCHEMA;
    let (mut nesting, mut operators) = (0_usize, 0_usize);
    let (mut in_string, mut in_comment, mut escaped) = (false, false, false);
    let mut last = b' ';
    for (at, byte) in text.bytes().enumerate() {
        let before = std::mem::replace(&mut last, byte);
        if in_comment {
            in_comment = byte != b'\n';
            continue;
        }
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'/' => in_comment = before == b'/',
            b'(' | b'[' | b'{' => nesting += 1,
            b')' | b']' | b'}' => nesting = nesting.saturating_sub(1),
            b'<' if is_schema => nesting += 1,
            b'>' if is_schema => nesting = nesting.saturating_sub(1),
            b'&' | b'|' if before == byte => operators += 1,
            b'.' | b'+' | b'-' | b'*' | b'!' => operators += 1,
            // `if`, which nests to its right.
            b'f' if before == b'i' => operators += 1,
            b';' => operators = 0,
            _ => {}
        }
        let message = if nesting > NESTING_MAX {
            format!("more than {NESTING_MAX} brackets inside each other")
        } else if operators > OPERATORS_MAX {
            format!("more than {OPERATORS_MAX} operators in one policy")
        } else {
            continue;
        };
        let remedy = "split it into several policies, or use a list: `[..].contains(..)`";
        return Err(PolicyError::new(file, Some(line_of(text, at)), message, remedy));
    }
    Ok(())
}

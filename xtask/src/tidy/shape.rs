//! The shape of source files: the head that says which room it is, widths and lengths.

use super::{Exception, Finding, excuse};
use crate::rust::Source;
use crate::tree::Tree;

const COLUMNS_MAX: usize = 100;
const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;

/// Files and functions that may be longer.
const LONG: &[Exception] = &[];

/// The first line of every file says what it is.
pub(super) fn heads(tree: &Tree) -> Vec<Finding> {
    let headless = |text: &str| {
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("//!").is_none_or(|words| words.trim().is_empty())
    };
    let files = tree.rust().filter(|(_, text)| headless(text));
    files
        .map(|(path, _)| {
            Finding::at(
                path,
                1,
                "the first line is not a `//!` that says what \
                                                it is",
            )
        })
        .collect()
}

/// No line is wider than a screen half. Snapshots inside strings of tests are what a program
/// printed, and a link cannot be broken.
pub(super) fn columns(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let source = Source::read(path, text);
        for (at, line) in text.lines().enumerate() {
            let width = line.chars().count();
            let flag = |flags: &[bool]| flags.get(at).copied().unwrap_or(false);
            let snapshot = flag(&source.test) && flag(&source.in_string);
            let link = line.trim_start().starts_with("//")
                && line.split_whitespace().last().is_some_and(|word| word.contains("://"));
            let printed = snapshot || path.contains("/conformance/");
            if width > COLUMNS_MAX && !printed && !link && !is_long_text(line) {
                let why = format!("{width} columns, {COLUMNS_MAX} are allowed");
                findings.push(Finding::at(path, at + 1, why));
            }
        }
    }
    findings
}

/// A text of 60 characters or more without a break is not cut in two for the width's sake.
fn is_long_text(line: &str) -> bool {
    line.split('"').skip(1).step_by(2).any(|text| text.chars().count() >= 60)
}

/// Files and functions stay short enough to be read at once; tests do not count.
pub(super) fn sizes(tree: &Tree) -> Vec<Finding> {
    excuse(long(tree), LONG)
}

fn long(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree.rust() {
        let source = Source::read(path, text);
        let lines = source.shipped().count();
        if lines > FILE_LINES_MAX {
            let why = format!("{lines} lines without tests, {FILE_LINES_MAX} are allowed");
            findings.push(Finding::about(path, why));
        }
        for function in source.functions() {
            if function.lines > FUNCTION_LINES_MAX {
                let why = format!(
                    "`{}` has {} lines, {FUNCTION_LINES_MAX} are allowed",
                    function.name, function.lines
                );
                findings.push(Finding::at(path, function.line, why));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str) -> Tree {
        Tree::sample(&[("crates/a/src/lib.rs", text)])
    }

    #[test]
    fn a_head_is_needed() {
        assert_eq!(heads(&sample("//! The room.\nfn a() {}\n")), []);
        for text in ["fn a() {}\n", "//!\n", "", "// The room.\n", "\n//! The room.\n"] {
            assert_eq!(heads(&sample(text)).len(), 1, "{text:?}");
        }
        assert_eq!(heads(&Tree::sample(&[("docs/a.rs", "fn a() {}\n")])), []);
        assert_eq!(heads(&Tree::sample(&[("xtask/src/a.rs", "fn a() {}\n")])).len(), 1);
    }

    #[test]
    fn wide_lines_are_found() {
        let wide = "x".repeat(101);
        assert_eq!(columns(&sample(&"é".repeat(100))), []);
        assert_eq!(columns(&sample(&wide)).len(), 1);
        assert_eq!(columns(&sample(&format!("let a = \"{wide}\";"))), []);
        assert_eq!(columns(&sample(&format!("let a = \"b\" + {wide};"))).len(), 1);
        assert_eq!(columns(&sample(&format!("// see https://example.com/{wide}"))), []);
        assert_eq!(columns(&sample(&format!("// https://example.com {wide}"))).len(), 1);
        let inside =
            format!("#[cfg(test)]\nmod tests {{\n    const A: &str = r#\"\n{wide}\n\"#;\n}}");
        assert_eq!(columns(&sample(&inside)), []);
        assert_eq!(columns(&sample(&inside.replace("#[cfg(test)]", ""))).len(), 1);
    }

    #[test]
    fn long_files_and_functions_are_found() {
        assert_eq!(long(&sample(&"//! a\n".repeat(500))), []);
        assert_eq!(long(&sample(&"//! a\n".repeat(501))).len(), 1);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "let a = 1;\n".repeat(600));
        assert_eq!(long(&sample(&tests)), []);
        let function = |lines: usize| format!("fn f() {{\n{}}}\n", "a();\n".repeat(lines - 2));
        assert_eq!(long(&sample(&function(70))), []);
        assert_eq!(long(&sample(&function(71))).len(), 1);
    }
}

//! Tests of the rough reader of Rust source.

use super::*;

#[test]
fn comments_strings_and_characters_are_not_code() {
    let text = "let a = \"std::fs // no\"; // std::net\n/* tokio\n/* x */ tokio */ let b = 'q';\n\
                let c = r#\"tokio \" \"#; let d: &'static str = b\"tokio\"; let e = '\\'';tail";
    let source = Source::read("crates/a/src/lib.rs", text);
    let code = source.code.join("\n");
    for word in ["std::fs", "std::net", "tokio", "q"] {
        assert!(!has_word(&code, word), "{word} in {code}");
    }
    for word in ["a", "b", "c", "d", "static", "tail"] {
        assert!(has_word(&code, word), "{word} not in {code}");
    }
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn lines_that_begin_inside_a_string_are_known() {
    let source = Source::read("crates/a/src/lib.rs", "let a = \"one\ntwo\";\nlet b = r\"x\ny\";\n");
    assert_eq!(source.in_string, [false, true, false, true, false]);
}

#[test]
fn test_code_is_told_from_shipped_code() {
    let text = "fn a() {}\n#[cfg(test)]\nuse b::c;\nfn d() {}\n#[cfg(test)]\nmod tests {\n    \
                fn e() {}\n}\nfn f() {}\n#[cfg(test)]\nmod tests;\nfn g() {}\n";
    let source = Source::read("crates/a/src/lib.rs", text);
    let names: Vec<String> = source.functions().into_iter().map(|f| f.name).collect();
    assert_eq!(names, ["a", "d", "f", "g"]);
    let shipped: Vec<usize> = source.shipped().map(|(line, _)| line).collect();
    assert_eq!(shipped, [1, 4, 9, 12]);
    assert!(Source::read("crates/a/src/x/tests.rs", text).shipped().next().is_none());
    assert!(Source::read("crates/a/tests/it.rs", text).shipped().next().is_none());
}

#[test]
fn functions_are_measured_from_head_to_closing_brace() {
    let text = "trait T {\n    fn declared(&self);\n}\nfn one() {}\n\
                fn four<F>(f: F) -> [u8; { 1 }]\n\
                where\n    F: Fn(),\n{\n    let g: fn() = one; if x { y }\n}\n";
    let found = Source::read("crates/a/src/lib.rs", text).functions();
    let sizes: Vec<(&str, usize, usize)> =
        found.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect();
    assert_eq!(sizes, [("one", 4, 1), ("four", 5, 6)]);
}

#[test]
fn a_path_is_found_directly_and_in_a_group() {
    for code in [
        "std::fs::read(x)",
        "use std::fs;",
        "use std::{collections::{BTreeMap, fs}, fs};",
        "use std::{\n    io,\n    fs::File,\n};",
        "std :: fs",
    ] {
        assert!(names_path(code, "std", "fs"), "{code}");
    }
    for code in [
        "use std::{io, collections::{BTreeMap, fs}};",
        "my_std::fs",
        "std::fss",
        "std::{io}",
        "fs::read",
    ] {
        assert!(!names_path(code, "std", "fs"), "{code}");
    }
}

#[test]
fn a_word_stands_alone() {
    assert!(has_word("rand::random()", "rand::"));
    assert!(!has_word("operand::new()", "rand::"));
    assert!(!has_word("tokio_like", "tokio"));
}

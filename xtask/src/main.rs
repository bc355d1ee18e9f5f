//! The command line of the workspace's checks: `cargo xtask tidy`. Never shipped.

use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command: Option<String> = std::env::args().nth(1);
    let (text, code) = match command.as_deref() {
        Some("tidy") => tidy(),
        Some(other) => (format!("`{other}` is not a task\n{USAGE}"), ExitCode::from(2)),
        None => (USAGE.to_owned(), ExitCode::from(2)),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tidy() -> (String, ExitCode) {
    match xtask::tidy::workspace() {
        Ok(findings) if findings.is_empty() => ("tidy: ok\n".to_owned(), ExitCode::SUCCESS),
        Ok(findings) => (xtask::tidy::report(&findings), ExitCode::FAILURE),
        Err(error) => (format!("tidy: {error}\n"), ExitCode::FAILURE),
    }
}

const USAGE: &str = "\
usage: cargo xtask tidy

tidy    check what the compiler cannot: crate edges, purity, sizes, words, fixtures, papers
";

//! Evidence: the whole verifier of an auditor, from this crate alone. Never talks to a network,
//! and reads the named files and nothing else.
//!
//! `cargo run -p quell-evidence --example verify -- evidence.bundle key.pub [HELD_CHECKPOINT]`

#![expect(clippy::disallowed_methods, reason = "an example reads files; only src is pure")]

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::{env, fs, io};

use quell_evidence::bundle::verify;
use quell_evidence::note::VerifierKey;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    match writeln!(io::stderr(), "error: {error}") {
        Ok(()) => ExitCode::from(1),
        Err(_) => ExitCode::from(2),
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut names = env::args().skip(1);
    let (Some(bundle), Some(key)) = (names.next(), names.next()) else {
        return Err("usage: verify BUNDLE KEY [HELD_CHECKPOINT]".into());
    };
    let held = names.next().map(fs::read).transpose()?;
    let key: VerifierKey = fs::read_to_string(key)?.trim_end().parse()?;
    let proved = verify(&fs::read(bundle)?, &key, held.as_deref())?;
    writeln!(
        io::stdout(),
        "log {}\ntenant {}\nrecords {}, of them erased {}\nfrom {} to {}",
        proved.origin,
        proved.tenant,
        proved.records,
        proved.erased,
        proved.first_at.as_deref().unwrap_or("-"),
        proved.last_at.as_deref().unwrap_or("-"),
    )?;
    Ok(())
}

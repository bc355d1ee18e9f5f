//! Binary room, commands: one verb a file. Each prints for people, or with `--json` for machines.

pub(crate) mod arm;
pub(crate) mod authority;
pub(crate) mod bench;
pub(crate) mod case;
pub(crate) mod check;
pub(crate) mod decode;
pub(crate) mod demo;
pub(crate) mod directory;
pub(crate) mod evidence;
pub(crate) mod explain;
pub(crate) mod freeze;
pub(crate) mod init;
pub(crate) mod order;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod store;
pub(crate) mod test;
pub(crate) mod watch;

use std::io::Write;

use serde::Serialize;

use crate::fault::Fault;

/// Writes a line to standard output; a closed pipe ends the program quietly.
pub(crate) fn say(line: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}") {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(e) => Err(Fault::new("Q0002", format!("standard output: {e}"), "")),
    }
}

/// Writes a value as one line of JSON.
pub(crate) fn say_json(value: &impl Serialize) -> Result<(), Fault> {
    let line = serde_json::to_string(value);
    say(&line.map_err(|e| Fault::new("Q0002", format!("standard output: {e}"), ""))?)
}

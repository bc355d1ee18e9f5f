//! The one binary: configuration, HTTP listeners and command line. Decides nothing by itself.

/// Adds to a text.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { $out.push_str(&format!($($text)*)) };
}

/// Adds a line to a text.
macro_rules! putln {
    ($out:expr, $($text:tt)*) => {{
        $out.push_str(&format!($($text)*));
        $out.push('\n');
    }};
}

mod assemble;
mod bundle;
mod client;
mod command;
mod config;
mod explain;
mod fault;
mod junit;
mod memory;
mod people;
mod secret;
mod server;
mod shipped;
mod sources;
mod start;
mod vigil;
mod warn;

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::fault::{Exit, Fault};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The response path between email security and identity.
#[derive(Debug, Parser)]
#[command(name = "quell", version, propagate_version = true)]
struct Cli {
    /// The folder of `quell.toml`, or the file; the current folder when unset.
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(command::demo::Demo),
    Init(command::init::Init),
    Check(command::check::Check),
    Serve(command::serve::Serve),
    Arm(command::arm::Arm),
    Authority(command::authority::Authority),
    Decode(command::decode::Decode),
    Replay(command::replay::Replay),
    Test(command::test::Test),
    Case(command::case::Cases),
    Order(command::order::List),
    Explain(command::explain::Explain),
    /// Approve an order that waits for people
    #[command(after_help = "Example:\n  quell approve ord_… --why \"confirmed by phone\"")]
    Approve(command::order::Answer),
    /// Deny an order that waits for people
    #[command(after_help = "Example:\n  quell deny ord_… --why \"she is travelling, it was her\"")]
    Deny(command::order::Answer),
    /// Take an order back where the target has an inverse
    #[command(after_help = "Example:\n  quell undo ord_… --why \"her laptop is clean\"")]
    Undo(command::order::Answer),
    Freeze(command::freeze::FreezeArgs),
    Watch(command::watch::Watch),
    Directory(command::directory::Directory),
    Evidence(command::evidence::Evidence),
    Store(command::store::StoreArgs),
    Bench(command::bench::Bench),
}

fn main() -> std::process::ExitCode {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let config = cli.config.as_deref();
    let result = match &cli.command {
        Command::Demo(command) => command.run(),
        Command::Init(command) => command.run(),
        Command::Check(command) => command.run(config),
        Command::Serve(command) => command.run(config),
        Command::Arm(command) => command.run(config),
        Command::Authority(command) => command.run(config),
        Command::Decode(command) => command.run(config),
        Command::Replay(command) => match matches.subcommand() {
            Some((_, matches)) => command.run(config, matches),
            None => Ok(()),
        },
        Command::Test(command) => command.run(config),
        Command::Case(command) => command.run(config),
        Command::Order(command) => command.run(config),
        Command::Explain(command) => command.run(config),
        Command::Approve(command) => command.run(config, command::order::Verb::Approve),
        Command::Deny(command) => command.run(config, command::order::Verb::Deny),
        Command::Undo(command) => command.run(config, command::order::Verb::Undo),
        Command::Freeze(command) => command.run(config),
        Command::Watch(command) => command.run(config),
        Command::Directory(command) => command.run(config),
        Command::Evidence(command) => command.run(config),
        Command::Store(command) => command.run(config),
        Command::Bench(command) => command.run(),
    };
    let exit = match result {
        Ok(()) => Exit::Ok,
        Err(fault) => {
            complain(&fault);
            fault.exit()
        }
    };
    std::process::ExitCode::from(exit as u8)
}

#[expect(clippy::print_stderr, reason = "the one place where a command's error is shown")]
fn complain(fault: &Fault) {
    eprintln!("{fault}");
}

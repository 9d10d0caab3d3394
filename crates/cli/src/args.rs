//! The command line: every verb, also those that the executable does itself.

mod foreign;
mod pull;
mod up;

pub use pull::Pull;
pub use up::{DownArgs, Join, Mirror, RestoreArgs, Subnet, UpArgs};

use crate::commands::backup::BackupArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::describe::DescribeArgs;
use crate::commands::env::EnvArgs;
use crate::commands::history::HistoryArgs;
use crate::commands::images::ImagesArgs;
use crate::commands::keys::KeysArgs;
use crate::commands::login::{LoginArgs, LogoutArgs};
use crate::commands::logs::LogsArgs;
use crate::commands::ls::LsArgs;
use crate::commands::nodes::NodesArgs;
use crate::commands::ps::PsArgs;
use crate::commands::register::RegisterArgs;
use crate::commands::run::RunArgs;
use crate::commands::stop::StopArgs;
use crate::commands::version::VersionArgs;
use crate::commands::wait::WaitArgs;
use crate::commands::why::WhyArgs;
use crate::failure::USAGE;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The data folder when `--data` names none.
pub const DATA_DEFAULT: &str = "/var/lib/windlass";

/// Where `up` serves when `--listen` says nothing.
pub const LISTEN_DEFAULT: &str = "127.0.0.1:7737";

const EXAMPLES: &str = "\
Examples:
  sudo windlass up --detach            serve the ECS API and run tasks on this machine
  eval \"$(sudo windlass env)\"          point aws, SDKs and windlass at it
  windlass run web.json                run a task definition, with its logs
  windlass ps                          what runs
  windlass why 3f2a                    why a task stopped, from the first digits of its id

Exit codes: 0 done, 1 failed, 2 could not place or timed out, 3 not found, 4 denied, 64 usage,
69 no server answers, 130 interrupted. `run` exits with its container's code, or 125.";

/// Amazon ECS on machines you own.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    /// Folder of an installation's state, by which the server is found too. Clients without it go
    /// by the AWS_* variables that `windlass env` prints, then by /var/lib/windlass.
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    #[command(subcommand)]
    pub verb: Verb,
}

impl Args {
    /// The data folder of the verbs that need one.
    pub fn data_or_default(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DATA_DEFAULT))
    }
}

/// What to do. `Up`, `Down` and `Restore` are the executable's.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Up(UpArgs),
    Down(DownArgs),
    Env(EnvArgs),
    Run(Box<RunArgs>),
    Register(RegisterArgs),
    Ps(PsArgs),
    Ls(LsArgs),
    Logs(LogsArgs),
    Stop(StopArgs),
    Wait(WaitArgs),
    Describe(DescribeArgs),
    Why(WhyArgs),
    History(HistoryArgs),
    Nodes(NodesArgs),
    Images(ImagesArgs),
    Keys(KeysArgs),
    Login(LoginArgs),
    Logout(LogoutArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Completion(CompletionArgs),
    Version(VersionArgs),
}

/// Parses a command line, with the program's name first. Help goes to stdout and what is wrong to
/// stderr; the error is the code to exit with.
///
/// # Errors
/// The exit code: 0 after help or the version, 64 after a wrong command line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Args, u8> {
    read(words).map_err(|err| {
        // A reader that has gone away needs no help.
        let _ = err.print();
        match err.use_stderr() {
            true => USAGE,
            false => 0,
        }
    })
}

fn read(words: impl IntoIterator<Item = OsString>) -> Result<Args, clap::Error> {
    let matches = command().try_get_matches_from(words);
    let matches = matches.map_err(foreign::with_suggestion)?;
    Args::from_arg_matches(&matches)
}

/// Examples before the flags: most who ask for help want a line to copy.
const HELP: &str = "{about}{after-help}\n\n{usage-heading} {usage}\n\n{all-args}\n";

fn command() -> clap::Command {
    let verbs = |verb: clap::Command| verb.help_template(HELP);
    Args::command().help_template(HELP).mut_subcommands(verbs)
}

#[cfg(test)]
mod tests;

//! The verbs that are clients, one file each: its arguments, its function, its rendering.

pub(crate) mod backup;
pub(crate) mod completion;
pub(crate) mod describe;
pub(crate) mod env;
pub(crate) mod history;
pub(crate) mod images;
pub(crate) mod keys;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod ls;
pub(crate) mod nodes;
pub(crate) mod ps;
pub(crate) mod register;
pub(crate) mod run;
pub(crate) mod stop;
pub(crate) mod thing;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod why;

use crate::args::{Args, Verb};
use crate::client::Client;
use crate::environment::Environment;
use crate::escape;
use crate::failure::Failure;
use crate::find::find_server;
use crate::link::Link;
use crate::output::Output;
use std::path::PathBuf;

/// What every verb works with.
pub(crate) struct Context<'e> {
    pub(crate) environment: &'e Environment,
    pub(crate) data: Option<PathBuf>,
    pub(crate) out: Output,
}

impl Context<'_> {
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        find_server(self.data.as_deref(), self.environment)
    }

    /// To the server that is meant, for who stays with a task longer than a server may run.
    pub(crate) fn link(&self) -> Result<Link, Failure> {
        Link::new(self.data.clone(), self.environment.clone())
    }
}

/// Does a client's verb and gives the code to exit with. Needs a tokio runtime with IO and time; a
/// current-thread one will do.
pub async fn run(args: Args, environment: &Environment) -> u8 {
    let Args { data, verb } = args;
    let mut context = Context {
        environment,
        data,
        out: Output::of_process(environment),
    };
    let done = dispatch(verb, &mut context).await;
    let done = done.and_then(|code| context.out.flush().map(|()| code));
    done.unwrap_or_else(|failure| {
        if !failure.is_silent() {
            context.out.note(&format!(
                "windlass: {}",
                escape::block(&failure.to_string())
            ));
        }
        failure.exit_code()
    })
}

async fn dispatch(verb: Verb, context: &mut Context<'_>) -> Result<u8, Failure> {
    match verb {
        Verb::Up(_) | Verb::Down(_) | Verb::Restore(_) => {
            let why = "up, down and restore need the machine itself and are not for a client";
            return Err(Failure::Usage(why.to_owned()));
        }
        Verb::Run(args) => return run::run(*args, context).await,
        Verb::Env(args) => env::run(args, context).await,
        Verb::Register(args) => register::run(args, context).await,
        Verb::Ps(args) => ps::run(args, context).await,
        Verb::Ls(args) => ls::run(args, context).await,
        Verb::Logs(args) => logs::run(args, context).await,
        Verb::Stop(args) => stop::run(args, context).await,
        Verb::Wait(args) => wait::run(args, context).await,
        Verb::Describe(args) => describe::run(args, context).await,
        Verb::Why(args) => why::run(args, context).await,
        Verb::History(args) => history::run(args, context).await,
        Verb::Nodes(args) => nodes::run(args, context).await,
        Verb::Images(args) => images::run(args, context).await,
        Verb::Keys(args) => keys::run(args, context).await,
        Verb::Login(args) => login::login(args, context).await,
        Verb::Logout(args) => login::logout(args, context).await,
        Verb::Backup(args) => backup::run(args, context).await,
        Verb::Completion(args) => completion::run(args, context),
        Verb::Version(args) => version::run(args, context).await,
    }
    .map(|()| 0)
}

//! The command line of Windlass: the arguments of every verb, and the verbs that are clients of a
//! server.
//!
//! Where to look:
//! - [`args`] holds [`Args`] and [`Verb`]; the arguments of a client verb lie with the verb.
//! - `commands/<verb>.rs` does one verb each: ask the server, then render. What is rendered comes
//!   from a pure function, so that tests need no server.
//! - [`find`] looks for the server: a data folder, or the `AWS_*` variables.
//! - [`client`] speaks HTTP with it, [`sign`] signs as the AWS clients do.
//! - `link` finds the server again after it was restarted.
//! - [`output`] decides about terminals and colour, `table`, `progress` and `escape` write.
//! - [`failure`] has the exit codes.
//!
//! Not here: `up`, `down` and `restore`, which need the machine and not a server; the executable
//! does them with the arguments parsed here. The crate reads no environment variable: the
//! executable passes an [`Environment`].

pub mod args;
pub mod client;
mod commands;
mod definition_file;
pub mod environment;
mod escape;
pub mod failure;
pub mod find;
mod interrupts;
mod limits;
mod link;
mod output;
mod progress;
mod sign;
mod table;
mod task;
mod task_list;
mod words;

pub use args::{Args, DATA_DEFAULT, LISTEN_DEFAULT, Verb, parse};
pub use client::{Client, Keys};
pub use commands::run;
pub use environment::Environment;
pub use failure::Failure;
pub use find::find_server;

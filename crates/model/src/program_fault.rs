//! Why the kernel would not run a program that was found: typed, so that every text about it comes
//! from one value.

use minicbor::{Decode, Encode};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProgramFault {
    /// The program's path in the container.
    #[n(0)]
    pub path: String,
    /// What `execve` answered, in words: `exec format error`.
    #[n(1)]
    pub error: String,
    #[n(2)]
    pub cause: ProgramCause,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ProgramCause {
    /// Nobody looked, or what was found explains nothing.
    #[n(0)]
    Unknown,
    #[n(1)]
    Empty,
    /// Built for processors that this machine has not; both as in `uname -m`.
    #[n(2)]
    Architecture {
        #[n(0)]
        program: String,
        #[n(1)]
        machine: String,
    },
    /// Neither a program nor a script: it does not begin with `#!`.
    #[n(3)]
    NoInterpreterLine,
    /// The interpreter that its `#!` line names is missing, or may not be run.
    #[n(4)]
    Interpreter(#[n(0)] String),
    /// As before, and the name ends in a carriage return: the script has the line ends of Windows.
    #[n(5)]
    CarriageReturn(#[n(0)] String),
    /// The loader that a program names is missing: it was built for another C library.
    #[n(6)]
    Loader(#[n(0)] String),
}

impl fmt::Display for ProgramCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramCause::Unknown => Ok(()),
            ProgramCause::Empty => f.write_str("the file is empty"),
            ProgramCause::Architecture { program, machine } => {
                write!(
                    f,
                    "it is built for {program}, and this machine is {machine}"
                )
            }
            ProgramCause::NoInterpreterLine => {
                f.write_str("it is no program, and as a script it lacks a first line with #!")
            }
            ProgramCause::Interpreter(path) => {
                write!(
                    f,
                    "its #! line names {path:?}, which is missing or cannot be run"
                )
            }
            ProgramCause::CarriageReturn(path) => write!(
                f,
                "its #! line names {path:?}: the script has the line ends of Windows"
            ),
            ProgramCause::Loader(path) => write!(
                f,
                "it needs the loader {path}, which the image does not have: it was built for another \
                 C library"
            ),
        }
    }
}

/// `exec /bin/app: exec format error: it is built for aarch64, and this machine is x86_64`.
impl fmt::Display for ProgramFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec {}: {}", self.path, self.error)?;
        match &self.cause {
            ProgramCause::Unknown => Ok(()),
            cause => write!(f, ": {cause}"),
        }
    }
}

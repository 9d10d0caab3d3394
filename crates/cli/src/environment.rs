//! What a process finds around it, gathered by the executable and passed in, so that a test can
//! pass something else.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The surroundings of one invocation.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Environment variables whose names and values are UTF-8.
    pub vars: BTreeMap<String, String>,
    /// The working directory; relative paths are left to the system when it is unknown.
    pub directory: Option<PathBuf>,
    pub stdout_is_terminal: bool,
    /// Columns of the terminal that is stdout.
    pub stdout_columns: Option<usize>,
    pub stderr_is_terminal: bool,
    pub stdin_is_terminal: bool,
}

impl Environment {
    /// A variable that is set to something.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

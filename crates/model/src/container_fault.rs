//! What kept a container from starting, or took it down from outside: typed, so that the texts of
//! the API and of `why` come from one value. Programs that the kernel would not run are in
//! `program_fault`.

use crate::container::Condition;
use minicbor::{Decode, Encode};

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ContainerFault {
    /// No such file in the image, or on its `PATH`.
    #[n(0)]
    ProgramMissing {
        #[n(0)]
        path: String,
    },
    /// The file is there, and may not be executed.
    #[n(1)]
    ProgramNotExecutable {
        #[n(0)]
        path: String,
    },
    /// The image does not have the user or the group.
    #[n(2)]
    User {
        #[n(0)]
        error: String,
    },
    #[n(3)]
    WorkingDirectory {
        #[n(0)]
        path: String,
        #[n(1)]
        error: String,
    },
    /// Something could not be mounted at `path` of the container.
    #[n(4)]
    Mount {
        #[n(0)]
        path: String,
        #[n(1)]
        error: String,
    },
    /// A volume of the task could not be had.
    #[n(5)]
    Volume {
        #[n(0)]
        volume: String,
        #[n(1)]
        error: String,
    },
    /// Of the image that the definition names.
    #[n(6)]
    Image(#[n(0)] ImageProblem),
    /// The container that it waits for will never be as it is to be.
    #[n(7)]
    Dependency {
        #[n(0)]
        container: String,
        #[n(1)]
        condition: Condition,
        #[n(2)]
        why: DependencyProblem,
    },
    /// The process that held the task's containers ended, and they with it.
    #[n(8)]
    HolderEnded,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ImageProblem {
    /// The registry answered, and said no.
    #[n(0)]
    Refused {
        #[n(0)]
        registry: String,
        #[n(1)]
        error: String,
    },
    #[n(1)]
    Unreachable {
        #[n(0)]
        registry: String,
        #[n(1)]
        error: String,
    },
    /// It is for other machines than this one.
    #[n(2)]
    Platform {
        #[n(0)]
        wanted: String,
        #[n(1)]
        found: String,
    },
    /// What came cannot be used, or not be kept.
    #[n(3)]
    Other {
        #[n(0)]
        error: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum DependencyProblem {
    /// It ended, or was never started.
    #[n(0)]
    Ended,
    /// Its `startTimeout` passed.
    #[n(1)]
    TimedOut,
    /// It is to be healthy, and has no health check.
    #[n(2)]
    Unchecked,
}

impl ContainerFault {
    /// With every text passed through `change`: what a node sends is cut before it is kept.
    pub fn map_texts(&self, change: impl Fn(&str) -> String) -> ContainerFault {
        match self {
            Self::ProgramMissing { path } => Self::ProgramMissing { path: change(path) },
            Self::ProgramNotExecutable { path } => {
                Self::ProgramNotExecutable { path: change(path) }
            }
            Self::User { error } => Self::User {
                error: change(error),
            },
            Self::WorkingDirectory { path, error } => Self::WorkingDirectory {
                path: change(path),
                error: change(error),
            },
            Self::Mount { path, error } => Self::Mount {
                path: change(path),
                error: change(error),
            },
            Self::Volume { volume, error } => Self::Volume {
                volume: change(volume),
                error: change(error),
            },
            Self::Image(problem) => Self::Image(problem.map_texts(change)),
            Self::Dependency {
                container,
                condition,
                why,
            } => Self::Dependency {
                container: change(container),
                condition: *condition,
                why: *why,
            },
            Self::HolderEnded => Self::HolderEnded,
        }
    }
}

impl ImageProblem {
    fn map_texts(&self, change: impl Fn(&str) -> String) -> ImageProblem {
        match self {
            Self::Refused { registry, error } => Self::Refused {
                registry: change(registry),
                error: change(error),
            },
            Self::Unreachable { registry, error } => Self::Unreachable {
                registry: change(registry),
                error: change(error),
            },
            Self::Platform { wanted, found } => Self::Platform {
                wanted: change(wanted),
                found: change(found),
            },
            Self::Other { error } => Self::Other {
                error: change(error),
            },
        }
    }
}

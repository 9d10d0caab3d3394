//! Why a task or container ended: typed, so that the API's sentence and `why`'s evidence come from
//! one value. First cause wins; later ones never overwrite it.

use crate::container_fault::ContainerFault;
use crate::program_fault::ProgramFault;
use minicbor::{Decode, Encode};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StopCode {
    #[n(0)]
    TaskFailedToStart,
    #[n(1)]
    EssentialContainerExited,
    #[n(2)]
    UserInitiated,
    #[n(3)]
    ServiceSchedulerInitiated,
    #[n(4)]
    SpotInterruption,
    #[n(5)]
    TerminationNotice,
    #[n(6)]
    InfrastructureHealth,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum StopReason {
    /// `reason` as the caller gave it, `by` their ARN.
    #[n(0)]
    User {
        #[n(0)]
        reason: Option<String>,
        #[n(1)]
        by: String,
    },
    #[n(1)]
    EssentialContainerExited {
        #[n(0)]
        container: String,
    },
    /// A container could not be started; the container's own reason has the detail.
    #[n(2)]
    FailedToStart(#[n(0)] ContainerReason),
    /// The machine came back with another boot: nothing of the old one runs.
    #[n(3)]
    NodeRebooted,
    /// The agent knows nothing of a task it was given.
    #[n(4)]
    LostByNode,
    #[n(5)]
    NodeRemoved,
    /// `windlass down`: everything here ends.
    #[n(6)]
    ShutDown,
    /// A node runs it, and the control plane does not know it: its state is an older one, restored
    /// from a backup.
    #[n(7)]
    NotInState,
}

/// `Name: detail`, as ECS writes a container's reason.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ContainerReason {
    #[n(0)]
    pub name: ReasonName,
    #[n(1)]
    pub detail: String,
    /// What `detail` says, where a program was found that the kernel would not run.
    #[n(2)]
    pub program: Option<Box<ProgramFault>>,
    /// What `detail` says, where its kind is known.
    #[n(3)]
    pub fault: Option<Box<ContainerFault>>,
}

impl ContainerReason {
    pub fn new(name: ReasonName, detail: impl Into<String>) -> ContainerReason {
        ContainerReason {
            name,
            detail: detail.into(),
            program: None,
            fault: None,
        }
    }

    pub fn with_fault(self, fault: impl Into<Option<ContainerFault>>) -> ContainerReason {
        ContainerReason {
            fault: fault.into().map(Box::new),
            ..self
        }
    }
}

impl From<ProgramFault> for ContainerReason {
    fn from(fault: ProgramFault) -> ContainerReason {
        ContainerReason {
            name: ReasonName::CannotStartContainerError,
            detail: fault.to_string(),
            program: Some(Box::new(fault)),
            fault: None,
        }
    }
}

macro_rules! reason_names {
    ($($n:literal $name:ident),+ $(,)?) => {
        /// ECS's error names for containers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
        #[cbor(index_only)]
        pub enum ReasonName { $(#[n($n)] $name),+ }

        impl ReasonName {
            pub fn as_str(self) -> &'static str {
                match self { $(ReasonName::$name => stringify!($name)),+ }
            }
        }
    };
}

reason_names! {
    0 CannotPullContainerError,
    1 CannotPullImageManifestError,
    2 CannotCreateContainerError,
    3 CannotStartContainerError,
    4 CannotStopContainerError,
    5 CannotInspectContainerError,
    6 CannotCreateVolumeError,
    7 ContainerRuntimeError,
    8 ContainerRuntimeTimeoutError,
    9 OutOfMemoryError,
    10 ContainerNetworkingError,
    11 ResourceInitializationError,
    12 TaskDependencyError,
    13 TaskStoppedBeforePullBeginError,
    14 InternalError,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Stop {
    #[n(0)]
    pub code: StopCode,
    #[n(1)]
    pub reason: StopReason,
}

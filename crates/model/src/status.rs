//! Statuses and their tables of legal moves.
//!
//! ```text
//! PROVISIONING → PENDING → ACTIVATING → RUNNING → DEACTIVATING → STOPPING → DEPROVISIONING → STOPPED
//! ```
//! A task may skip statuses and never goes back. Source: ECS API, task lifecycle.

use minicbor::{Decode, Encode};

macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($n:literal $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
        #[cbor(index_only)]
        pub enum $name { $(#[n($n)] $variant),+ }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// The word of the ECS API.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }

            pub fn from_api(text: &str) -> Option<$name> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

status!(
    /// A task's `lastStatus`, in order.
    TaskStatus {
        0 Provisioning = "PROVISIONING",
        1 Pending = "PENDING",
        2 Activating = "ACTIVATING",
        3 Running = "RUNNING",
        4 Deactivating = "DEACTIVATING",
        5 Stopping = "STOPPING",
        6 Deprovisioning = "DEPROVISIONING",
        7 Stopped = "STOPPED",
    }
);

status!(
    /// Where a task is meant to go. Written by the control plane alone.
    Desired { 0 Running = "RUNNING", 1 Stopped = "STOPPED" }
);

status!(
    /// A container's `lastStatus`.
    ContainerStatus { 0 Pending = "PENDING", 1 Running = "RUNNING", 2 Stopped = "STOPPED" }
);

status!(
    /// Health of a container or task.
    Health { 0 Unknown = "UNKNOWN", 1 Healthy = "HEALTHY", 2 Unhealthy = "UNHEALTHY" }
);

status!(
    /// A network interface's attachment to its task.
    AttachmentStatus {
        0 Precreated = "PRECREATED",
        1 Created = "CREATED",
        2 Attaching = "ATTACHING",
        3 Attached = "ATTACHED",
        4 Detaching = "DETACHING",
        5 Detached = "DETACHED",
        6 Deleted = "DELETED",
        7 Failed = "FAILED",
    }
);

status!(
    /// A task definition revision.
    DefinitionStatus {
        0 Active = "ACTIVE",
        1 Inactive = "INACTIVE",
        2 DeleteInProgress = "DELETE_IN_PROGRESS",
    }
);

/// Legal moves of a task's last status. A report that would make another is late or wrong: it is
/// dropped and counted.
pub const TASK_MOVES: &[(TaskStatus, &[TaskStatus])] = {
    use TaskStatus::*;
    &[
        (
            Provisioning,
            &[
                Pending,
                Activating,
                Running,
                Deactivating,
                Stopping,
                Deprovisioning,
                Stopped,
            ],
        ),
        (
            Pending,
            &[
                Activating,
                Running,
                Deactivating,
                Stopping,
                Deprovisioning,
                Stopped,
            ],
        ),
        (
            Activating,
            &[Running, Deactivating, Stopping, Deprovisioning, Stopped],
        ),
        (Running, &[Deactivating, Stopping, Deprovisioning, Stopped]),
        (Deactivating, &[Stopping, Deprovisioning, Stopped]),
        (Stopping, &[Deprovisioning, Stopped]),
        (Deprovisioning, &[Stopped]),
        (Stopped, &[]),
    ]
};

impl TaskStatus {
    pub fn can_become(self, next: TaskStatus) -> bool {
        TASK_MOVES
            .iter()
            .any(|(from, to)| *from == self && to.contains(&next))
    }
}

impl ContainerStatus {
    /// A container only moves forward too.
    pub fn can_become(self, next: ContainerStatus) -> bool {
        self < next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_only_move_forward_and_always_can_stop() {
        for from in TaskStatus::ALL {
            for to in TaskStatus::ALL {
                assert!(!from.can_become(*to) || from < to, "{from:?} to {to:?}");
            }
            assert!(*from == TaskStatus::Stopped || from.can_become(TaskStatus::Stopped));
        }
        assert_eq!(TASK_MOVES.len(), TaskStatus::ALL.len());
    }

    #[test]
    fn every_word_reads_back() {
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::from_api(status.as_str()), Some(*status));
        }
        assert_eq!(TaskStatus::from_api("running"), None);
    }
}

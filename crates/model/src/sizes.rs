//! CPU and memory of a task: which pairs Fargate has, and whether the containers fit into the task.
//! Source: ECS developer guide, task definition parameters.

/// MiB: from, to, step.
type Range = (u32, u32, u32);

/// CPU units, and the MiB that go with them.
const FARGATE: &[(u32, &[Range])] = &[
    (256, &[(512, 512, 1), (1024, 2048, 1024)]),
    (512, &[(1024, 4096, 1024)]),
    (1024, &[(2048, 8192, 1024)]),
    (2048, &[(4096, 16384, 1024)]),
    (4096, &[(8192, 30720, 1024)]),
    (8192, &[(16384, 61440, 4096)]),
    (16384, &[(32768, 122_880, 8192)]),
    (
        32768,
        &[
            (61440, 61440, 1),
            (122_880, 122_880, 1),
            (249_856, 249_856, 1),
        ],
    ),
];

/// CPU units of a Windows task on Fargate.
const FARGATE_WINDOWS: std::ops::RangeInclusive<u32> = 1024..=4096;

/// Whether Fargate has a task of this size, in CPU units and MiB.
pub fn fargate_has(cpu: u32, memory: u32, windows: bool) -> bool {
    FARGATE.iter().any(|(units, ranges)| {
        *units == cpu
            && (!windows || FARGATE_WINDOWS.contains(units))
            && ranges.iter().any(|(from, to, step)| {
                (*from..=*to).contains(&memory) && (memory - from).is_multiple_of(*step)
            })
    })
}

/// What one container of a task asks for, its overrides included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// CPU units; 0 when unset.
    pub cpu: u32,
    /// Hard limit in MiB.
    pub memory: Option<u32>,
    /// Soft limit in MiB.
    pub memory_reservation: Option<u32>,
}

/// A setting of a task that its containers exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Cpu,
    /// By the sum of what the containers reserve.
    Memory,
    /// By the hard limit of one container: its place in the list.
    MemoryBy(usize),
}

impl ContainerSize {
    /// MiB that count against the task and the node: the soft limit before the hard one.
    pub fn reserved_mib(&self) -> u32 {
        self.memory_reservation.or(self.memory).unwrap_or(0)
    }
}

/// The setting of a task of `cpu` units and `memory` MiB into which the containers do not fit.
pub fn exceeded(
    cpu: Option<u32>,
    memory: Option<u32>,
    containers: &[ContainerSize],
) -> Option<Exceeded> {
    let sum = |of: fn(&ContainerSize) -> u32| -> u64 {
        containers.iter().map(|size| u64::from(of(size))).sum()
    };
    if cpu.is_some_and(|cpu| sum(|size| size.cpu) > u64::from(cpu)) {
        return Some(Exceeded::Cpu);
    }
    let memory = memory?;
    let hard = |size: &ContainerSize| size.memory.is_some_and(|mib| mib > memory);
    if let Some(at) = containers.iter().position(hard) {
        return Some(Exceeded::MemoryBy(at));
    }
    (sum(ContainerSize::reserved_mib) > u64::from(memory)).then_some(Exceeded::Memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fargate_sizes_are_those_of_the_table() {
        for good in [
            (256, 512),
            (256, 2048),
            (1024, 3072),
            (8192, 20480),
            (32768, 249_856),
        ] {
            assert!(fargate_has(good.0, good.1, false), "{good:?}");
        }
        for bad in [
            (256, 4096),
            (256, 600),
            (300, 512),
            (8192, 17408),
            (0, 0),
            (32768, 61441),
        ] {
            assert!(!fargate_has(bad.0, bad.1, false), "{bad:?}");
        }
        // Windows has the sizes of the middle.
        for (size, has) in [
            ((512, 2048), false),
            ((1024, 2048), true),
            ((4096, 30720), true),
            ((8192, 16384), false),
        ] {
            assert_eq!(fargate_has(size.0, size.1, true), has, "{size:?}");
        }
    }

    #[test]
    fn containers_fit_into_their_task() {
        let size = |cpu, memory, memory_reservation| ContainerSize {
            cpu,
            memory,
            memory_reservation,
        };
        let two = [size(128, Some(512), Some(128)), size(128, Some(256), None)];
        for (cpu, memory, expected) in [
            (None, None, None),
            (Some(256), Some(512), None),
            (Some(255), Some(512), Some(Exceeded::Cpu)),
            // The sum is 384, and yet one of them may use 512.
            (Some(256), Some(400), Some(Exceeded::MemoryBy(0))),
            (None, Some(383), Some(Exceeded::MemoryBy(0))),
        ] {
            assert_eq!(exceeded(cpu, memory, &two), expected, "{cpu:?} {memory:?}");
        }
        let three = [size(0, Some(512), Some(256)), size(0, None, Some(257))];
        assert_eq!(
            exceeded(None, Some(512), &three),
            Some(Exceeded::Memory),
            "each fits and together they do not"
        );
        let huge = [size(u32::MAX, None, None), size(u32::MAX, None, None)];
        assert_eq!(exceeded(Some(u32::MAX), None, &huge), Some(Exceeded::Cpu));
    }
}

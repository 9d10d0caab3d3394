//! Task sizes that Fargate accepts. Source: ECS developer guide, task definition parameters.

use crate::error::ApiError;
use crate::messages;

/// MiB: from, to, step.
type Range = (u32, u32, u32);

/// CPU units, and the MiB that go with them.
const SIZES: &[(u32, &[Range])] = &[
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

/// Whether Fargate has this size.
pub fn has_size(cpu: u32, memory: u32) -> bool {
    SIZES.iter().any(|(units, ranges)| {
        *units == cpu
            && ranges.iter().any(|(from, to, step)| {
                (*from..=*to).contains(&memory) && (memory - from).is_multiple_of(*step)
            })
    })
}

/// The task-level size of a Fargate task.
///
/// # Errors
/// `ClientException` when a part is absent or the pair does not exist.
pub fn check_size(cpu: Option<u32>, memory: Option<u32>) -> Result<(), ApiError> {
    let cpu = cpu.ok_or_else(|| {
        ApiError::client("Fargate requires that 'cpu' be defined at the task level.")
    })?;
    let memory = memory.ok_or_else(|| {
        ApiError::client("Fargate requires that 'memory' be defined at the task level.")
    })?;
    if has_size(cpu, memory) {
        return Ok(());
    }
    Err(messages::task_definition::no_fargate_configuration())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_table() {
        for good in [
            (256, 512),
            (256, 2048),
            (1024, 3072),
            (8192, 20480),
            (32768, 249_856),
        ] {
            assert!(has_size(good.0, good.1), "{good:?}");
        }
        for bad in [
            (256, 4096),
            (256, 600),
            (300, 512),
            (8192, 17408),
            (0, 0),
            (32768, 61441),
        ] {
            assert!(!has_size(bad.0, bad.1), "{bad:?}");
        }
    }
}

//! Names derived from ids: the same after every restart, so that a crash between two steps leaves
//! nothing that cannot be found again.

use std::net::Ipv4Addr;
use windlass_model::id::{AttachmentId, ContainerId, TaskId};
use windlass_model::task::Launch;

/// The sandbox of a task: 20 of `a-z2-7`, from the low 100 bits of its id, which hold the random
/// part and the milliseconds.
pub fn sandbox(task: TaskId) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    (0..20)
        .rev()
        .map(|place| LETTERS[(task.0 >> (place * 5) & 31) as usize] as char)
        .collect()
}

/// A container's runtime id: 64 hexadecimal digits, as container engines have them; on Fargate the
/// task's id and a number.
pub fn runtime_id(launch: Launch, task: TaskId, container: ContainerId) -> String {
    match launch {
        Launch::Ec2 | Launch::External => format!("{:032x}{:032x}", task.0, container.0),
        Launch::Fargate => format!("{task}-{:010}", container.0 % 10_000_000_000),
    }
}

/// `eni-` and 17 digits.
pub fn interface(attachment: AttachmentId) -> String {
    format!("eni-{:017x}", attachment.0 & 0xf_ffff_ffff_ffff_ffff)
}

/// The name AWS gives an address.
pub fn private_dns_name(address: Ipv4Addr, region: &str) -> String {
    let [a, b, c, d] = address.octets();
    match region {
        "us-east-1" => format!("ip-{a}-{b}-{c}-{d}.ec2.internal"),
        _ => format!("ip-{a}-{b}-{c}-{d}.{region}.compute.internal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_the_expected_shape() {
        let task = TaskId(0x0193_4567_89ab_cdef_0123_4567_89ab_cdef);
        let name = sandbox(task);
        assert_eq!(name.len(), 20);
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        );
        assert_ne!(name, sandbox(TaskId(task.0 ^ 1)));
        assert_ne!(name, sandbox(TaskId(task.0 ^ 1 << 99)));
        assert_eq!(interface(AttachmentId(0xabc)).len(), 21);
        assert_eq!(runtime_id(Launch::Ec2, task, ContainerId(1)).len(), 64);
        assert_eq!(
            runtime_id(Launch::Fargate, task, ContainerId(u128::from(u64::MAX))),
            "0193456789abcdef0123456789abcdef-3709551615"
        );
        assert_eq!(
            private_dns_name(Ipv4Addr::new(10, 0, 0, 5), "eu-west-1"),
            "ip-10-0-0-5.eu-west-1.compute.internal"
        );
    }
}

//! Amazon Resource Names: shown from ids, parsed once at the edge.

use crate::definition::DefinitionKey;
use crate::id::{ContainerId, InstanceId, Name, TaskId};
use minicbor::{Decode, Encode};

/// The account and region this installation answers for; fixed at its first start.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Scope {
    #[n(0)]
    pub region: String,
    /// 12 digits.
    #[n(1)]
    pub account: String,
}

impl Scope {
    pub fn arn(&self, resource: &str) -> String {
        format!("arn:aws:ecs:{}:{}:{resource}", self.region, self.account)
    }

    pub fn cluster(&self, name: &Name) -> String {
        self.arn(&format!("cluster/{name}"))
    }

    pub fn task(&self, cluster: &Name, id: TaskId) -> String {
        self.arn(&format!("task/{cluster}/{id}"))
    }

    pub fn container(&self, cluster: &Name, task: TaskId, id: ContainerId) -> String {
        self.arn(&format!("container/{cluster}/{task}/{id}"))
    }

    pub fn instance(&self, cluster: &Name, id: InstanceId) -> String {
        self.arn(&format!("container-instance/{cluster}/{id}"))
    }

    pub fn definition(&self, key: &DefinitionKey) -> String {
        self.arn(&format!("task-definition/{key}"))
    }
}

/// An ARN's parts, borrowed. `resource` is everything after the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arn<'a> {
    pub partition: &'a str,
    pub service: &'a str,
    pub region: &'a str,
    pub account: &'a str,
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// `None` when the text is no ARN.
    pub fn parse(text: &'a str) -> Option<Arn<'a>> {
        let rest = text.strip_prefix("arn:")?;
        let mut parts = rest.splitn(5, ':');
        let arn = Arn {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        (!arn.partition.is_empty() && !arn.service.is_empty() && !arn.resource.is_empty())
            .then_some(arn)
    }

    /// The part of the resource after `kind/`.
    pub fn id_of(&self, kind: &str) -> Option<&'a str> {
        self.resource.strip_prefix(kind)?.strip_prefix('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_read_what_they_show() {
        let scope = Scope {
            region: "eu-central-1".into(),
            account: "111122223333".into(),
        };
        let cluster = scope.cluster(&Name::new("default").unwrap());
        assert_eq!(
            cluster,
            "arn:aws:ecs:eu-central-1:111122223333:cluster/default"
        );
        let arn = Arn::parse(&cluster).unwrap();
        assert_eq!(arn.id_of("cluster"), Some("default"));
        assert_eq!(arn.id_of("task"), None);
        for bad in [
            "",
            "arn:",
            "arn:aws:ecs:r:a:",
            "cluster/default",
            "arn:aws:ecs:r:a",
        ] {
            assert_eq!(Arn::parse(bad), None, "{bad:?}");
        }
    }
}

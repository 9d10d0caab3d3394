//! What an image's error is about, for `why`.

use windlass_image::Error;
use windlass_model::container_fault::{ContainerFault, ImageProblem};

pub(super) fn of(error: &Error) -> ContainerFault {
    let problem = match error {
        Error::Registry {
            registry, reason, ..
        } => ImageProblem::Refused {
            registry: registry.clone(),
            error: reason.clone(),
        },
        Error::Unreachable {
            registry, reason, ..
        } => ImageProblem::Unreachable {
            registry: registry.clone(),
            error: reason.clone(),
        },
        Error::Platform { wanted, found, .. } => ImageProblem::Platform {
            wanted: format!("linux/{wanted}"),
            found: found.clone(),
        },
        other => ImageProblem::Other {
            error: other.detail(),
        },
    };
    ContainerFault::Image(problem)
}

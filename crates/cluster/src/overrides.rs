//! What a request's overrides make of its definition: each container's size, and whether the whole
//! still holds. Registration checked the definition alone.

use crate::reject::Reject;
use windlass_model::container::ContainerDefinition;
use windlass_model::definition::Template;
use windlass_model::sizes::{self, ContainerSize, Exceeded};
use windlass_model::task::{Launch, TaskOverrides};

/// A container's size as the task will have it.
pub(crate) fn size(container: &ContainerDefinition, overrides: &TaskOverrides) -> ContainerSize {
    let own = container.size();
    let mut given = overrides.containers.iter();
    let Some(given) = given.find(|given| given.name == container.name) else {
        return own;
    };
    ContainerSize {
        cpu: given.cpu.unwrap_or(own.cpu),
        memory: given.memory.or(own.memory),
        memory_reservation: given.memory_reservation.or(own.memory_reservation),
    }
}

/// What the definition was held against when it was registered, once more with the overrides in.
pub(crate) fn check(
    template: &Template,
    overrides: &TaskOverrides,
    launch: Launch,
) -> Result<(), Reject> {
    let (cpu, memory) = (
        overrides.cpu.or(template.cpu),
        overrides.memory.or(template.memory),
    );
    if launch == Launch::Fargate {
        let (cpu, memory) = (cpu.unwrap_or(0), memory.unwrap_or(0));
        if !sizes::fargate_has(cpu, memory, template.is_windows()) {
            return Err(Reject::NoFargateSize { cpu, memory });
        }
    }
    let mut all = Vec::with_capacity(template.containers.len());
    for container in &template.containers {
        let size = size(container, overrides);
        if let (Some(hard), Some(soft)) = (size.memory, size.memory_reservation)
            && soft > hard
        {
            return Err(Reject::MemoryBelowReservation(container.name.clone()));
        }
        all.push(size);
    }
    match sizes::exceeded(cpu, memory, &all) {
        None => Ok(()),
        Some(Exceeded::Cpu) => Err(Reject::CpuExceedsTask),
        Some(Exceeded::Memory) => Err(Reject::MemoryExceedsTask),
        Some(Exceeded::MemoryBy(at)) => match template.containers.get(at) {
            Some(container) => Err(Reject::ContainerExceedsTask(container.name.clone())),
            None => Err(Reject::MemoryExceedsTask),
        },
    }
}

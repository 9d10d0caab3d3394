//! Tests of the agent over fakes: whole lives of tasks, and a crash at every call it makes.

mod crashes;
mod definitions;
#[path = "../../../node/tests/node/fixture.rs"]
mod fixture;
mod gate;
mod lives;
mod specs;
mod world;

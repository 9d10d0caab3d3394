//! The pure half of the agent: what a node does next for one task.
//!
//! Scope: the state of a task on its node ([`view::TaskView`]), how an observation changes it
//! ([`event::observe`]), which actions follow ([`plan::plan`]), what is told to the control plane
//! ([`report::report`]) and what a restarted agent makes of what it finds ([`recover::recover`]).
//! Not here: system calls, files, images, networks, timers; the agent performs the actions.
//!
//! ```text
//!            ┌──────── plan(template, view, now) ─────────► actions, next deadline
//!  TaskView ◄┤
//!            └──────── observe(template, view, event, now) ◄──── what came of an action
//! ```
//! `plan` marks in the view what it hands out. The agent writes the view to its ledger *before* it
//! performs the actions, so a crash at any point leaves a view that says what may have happened;
//! `recover` compares it with what is there. That is why no container is started twice.
//!
//! Time comes in as an argument; deadlines go out as data.

pub mod dependency;
pub mod event;
pub mod health;
pub mod limits;
pub mod plan;
pub mod recover;
pub mod report;
pub mod restart;
pub mod view;

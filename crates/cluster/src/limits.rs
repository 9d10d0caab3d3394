//! Limits of deciding; those of the model lie in `windlass_model::limits`.

/// Things that time made due and that one call of `take_due` settles.
pub(crate) const DUE_PER_STEP_MAX: usize = 64;
/// Tasks that one step of a command about all tasks of a node or region changes. The rows of one may
/// take tens of KiB, and a step must fit the half of a batch that a turn keeps free.
pub(crate) const TASKS_PER_STEP_MAX: usize = 16;
/// Refusals an answer lists when nothing fits.
pub(crate) const REFUSALS_ANSWERED_MAX: usize = 100;
/// Refusals the history keeps of one RunTask; it has their count besides.
pub(crate) const REFUSALS_KEPT_MAX: usize = 5;
/// Characters of a placement expression. Source: Amazon ECS, `memberOf`.
pub(crate) const EXPRESSION_CHARS_MAX: usize = 2_000;
/// Parentheses and negations inside each other in an expression: parsing and evaluating recurse.
pub(crate) const EXPRESSION_DEPTH_MAX: usize = 64;
/// Bytes a compiled pattern may take.
pub(crate) const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Of an observation: characters of a health check's output, and of one note or line.
pub(crate) const OUTPUT_CHARS_MAX: usize = 4_096;
pub(crate) const LINE_CHARS_MAX: usize = 1_024;
pub(crate) const NOTES_PER_REPORT_MAX: usize = 16;
pub(crate) const LAST_LINES_MAX: usize = 20;
/// Port bindings of one container.
pub(crate) const BINDINGS_MAX: usize = 256;
/// The ephemeral storage of a Fargate task that asks for none.
pub(crate) const EPHEMERAL_STORAGE_GIB: u32 = 20;

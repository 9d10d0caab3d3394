//! Verbs of other tools that people try: which of ours does it. By its letters alone `rm` would be
//! taken for `run`.

use clap::error::{ContextKind, ContextValue, ErrorKind};

const VERBS: [(&str, &str); 24] = [
    ("attach", "logs -f"),
    (
        "deregister",
        "ls definitions` and `aws ecs deregister-task-definition",
    ),
    ("df", "images"),
    ("events", "history"),
    ("import", "images import-rootfs"),
    ("info", "version"),
    ("init", "up"),
    ("inspect", "describe"),
    ("kill", "stop --force"),
    ("list", "ls` or `windlass ps"),
    ("load", "images load"),
    ("node", "nodes"),
    ("pull", "images pull"),
    ("restart", "stop` and `windlass run"),
    ("rm", "stop` or `windlass images rm"),
    ("rmi", "images rm"),
    ("serve", "up"),
    ("server", "up"),
    ("show", "describe"),
    ("start", "run` or `windlass up"),
    ("status", "ps"),
    ("tasks", "ps"),
    ("top", "ps --watch"),
    ("watch", "ps --watch"),
];

/// The error with a suggestion that fits, where the verb is known from elsewhere.
pub(super) fn with_suggestion(mut err: clap::Error) -> clap::Error {
    if err.kind() != ErrorKind::InvalidSubcommand {
        return err;
    }
    let Some(ContextValue::String(given)) = err.get(ContextKind::InvalidSubcommand) else {
        return err;
    };
    let known = VERBS.iter().find(|(verb, _)| verb == given);
    if let Some((_, ours)) = known {
        err.remove(ContextKind::SuggestedSubcommand);
        let tip = format!("that is `windlass {ours}`");
        err.insert(
            ContextKind::Suggested,
            ContextValue::StyledStrs(vec![tip.into()]),
        );
    }
    err
}

//! `completion`: a script that completes verbs and flags in a shell.

use super::Context;
use crate::args::Args;
use crate::failure::Failure;
use clap::CommandFactory;
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  source <(windlass completion bash)
  windlass completion fish > ~/.config/fish/completions/windlass.fish
  windlass completion zsh > \"${fpath[1]}/_windlass\"";

/// Print a script that completes command lines.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct CompletionArgs {
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: CompletionArgs, context: &mut Context<'_>) -> Result<(), Failure> {
    context.out.raw(&script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "windlass", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_has_a_script_with_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for verb in ["why", "import-rootfs"] {
                assert!(script.contains(verb), "{shell}: {verb}");
            }
        }
    }
}

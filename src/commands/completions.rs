//! `byron completions SHELL`: a script that completes commands, flags and their values.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::{Generator, Shell as ClapShell};
use clap_complete_nushell::Nushell;

use super::write_stdout;
use crate::cli::Cli;
use crate::exit_code::ExitCode;

const EXAMPLES: &str = "\
Examples:
  byron completions bash > ~/.local/share/bash-completion/completions/byron
  byron completions zsh > \"${fpath[1]}/_byron\"
  byron completions fish > ~/.config/fish/completions/byron.fish
";

/// What `byron completions` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct CompletionsArguments {
    /// The shell that is to complete
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Elvish,
    Nushell,
}

/// Prints the script.
pub(super) fn run(arguments: &CompletionsArguments) -> anyhow::Result<ExitCode> {
    let script = match arguments.shell {
        Shell::Bash => script(ClapShell::Bash),
        Shell::Zsh => script(ClapShell::Zsh),
        Shell::Fish => script(ClapShell::Fish),
        Shell::Powershell => script(ClapShell::PowerShell),
        Shell::Elvish => script(ClapShell::Elvish),
        Shell::Nushell => script(Nushell),
    };
    write_stdout(&script)?;
    Ok(ExitCode::Done)
}

/// In memory first: the generators panic when their writer fails, and a closed pipe is no bug.
fn script(shell: impl Generator) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "byron", &mut script);
    script
}

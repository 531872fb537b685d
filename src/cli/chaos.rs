//! `--chaos` and its kin: which failures a command rehearses. For every command that runs actors.

use std::path::PathBuf;

use byron_supervisors::chaos::{Chaos, ParseChaosError};
use clap::Args;

use super::heading;

/// Which failures to rehearse.
#[derive(Debug, Args)]
pub(super) struct ChaosArguments {
    /// Rehearse failures: PATTERN:FAULT[=ARG][@P%], such as connection:panic@20%; several after ;
    ///
    /// PATTERN is an id, a type of actor (connection, listener, download) or a path such as listeners/*. FAULT is panic,
    /// exit or kill (panic=3 in the third turn, else in one of the first 63, by the seed), stall=DUR, start, or for
    /// connections reset. P is how many of a hundred fall.
    #[arg(long, value_name = "SPEC", value_parser = parse_chaos)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    chaos: Option<Chaos>,

    /// Seed of --chaos: the same seed rehearses the same failures [default: a random one, which is told]
    #[arg(long, value_name = "N", requires = "chaos")]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    seed: Option<u64>,

    /// Write the report of --chaos to FILE as JSON, too
    #[arg(long, value_name = "FILE", requires = "chaos")]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    chaos_report: Option<PathBuf>,
}

/// The failures to rehearse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChaosSettings {
    /// The rules.
    pub chaos: Chaos,
    /// The seed; a random one when absent.
    pub seed: Option<u64>,
    /// The file for the report.
    pub report_file: Option<PathBuf>,
}

impl From<ChaosArguments> for Option<ChaosSettings> {
    fn from(arguments: ChaosArguments) -> Option<ChaosSettings> {
        arguments.chaos.map(|chaos| ChaosSettings {
            chaos,
            seed: arguments.seed,
            report_file: arguments.chaos_report,
        })
    }
}

fn parse_chaos(spec: &str) -> Result<Chaos, ParseChaosError> {
    Chaos::parse_with(spec, &[byron_actors::RESET])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::cli::{Cli, Command, ServeConfig, error_text};

    fn config(arguments: &[&str]) -> Result<ServeConfig, String> {
        let arguments = ["byron", "serve", "p"].iter().chain(arguments);
        let cli = Cli::try_parse_from(arguments).map_err(|error| error_text(&error))?;
        let Command::Serve(serve) = cli.command else {
            panic!("not serve")
        };
        serve.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn rules_and_seed_arrive() {
        assert_eq!(config(&[]).unwrap().server.chaos, None);
        let config = config(&["--chaos", "connection:panic@20%,reset", "--seed", "7"]);
        let chaos = config.unwrap().server.chaos.unwrap();
        let rules = chaos.chaos.to_string();
        assert_eq!(rules, "connection:panic@20%;connection:reset");
        assert_eq!((chaos.seed, chaos.report_file), (Some(7), None));
    }

    #[test]
    fn a_mistake_in_the_rules_is_one_line_that_points_at_it() {
        assert_eq!(
            config(&["--chaos", "connection:panick@20%"]).unwrap_err(),
            "byron: --chaos <SPEC>: invalid rules \"connection:panick@20%\": unknown fault \"panick\" at column 12; \
             did you mean panic?\n"
        );
    }

    #[test]
    fn a_seed_without_rules_is_refused() {
        for flag in ["--seed=7", "--chaos-report=f"] {
            let error = config(&[flag]).unwrap_err();
            assert!(error.contains("--chaos <SPEC>"), "{error}");
        }
    }
}

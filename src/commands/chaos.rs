//! Rehearsals of a command: rules in force from before its first actor until after its last, and the report at the end.

use std::env;
use std::fs;
use std::hash::{BuildHasher, RandomState};

use anyhow::Context;
use byron_supervisors::Rehearsal;

use crate::cli::{ChaosSettings, Verbosity};
use crate::present::chaos::{Outcome, again, report_json, report_text};

/// A rehearsal that is under way.
pub(super) struct Rehearsing {
    rehearsal: Rehearsal,
    settings: ChaosSettings,
    verbosity: Verbosity,
}

/// Puts the rules in force, if there are any, and says so. To be called before the first actor starts.
pub(super) fn begin(settings: Option<&ChaosSettings>, verbosity: Verbosity) -> Option<Rehearsing> {
    let settings = settings?.clone();
    let seed = settings.seed.unwrap_or_else(any_seed);
    let rehearsal = settings.chaos.clone().rehearse(seed);
    if verbosity > Verbosity::Quiet {
        let rules = &settings.chaos;
        super::say(&format!(
            "actors will fall on purpose: {rules}, seed {seed}"
        ));
    }
    Some(Rehearsing {
        rehearsal,
        settings,
        verbosity,
    })
}

/// Short enough to be typed.
fn any_seed() -> u64 {
    RandomState::new().hash_one(0_u8) % 1_000_000
}

impl Rehearsing {
    /// Reports what it came to. To be called when the last actor has ended.
    pub(super) fn conclude(self, outcome: Outcome) -> anyhow::Result<()> {
        let Rehearsing {
            rehearsal,
            settings,
            verbosity,
        } = self;
        let report = rehearsal.report();
        let chosen = settings.seed.is_none().then_some(report.seed);
        let again = again(env::args_os().skip(1), chosen);
        if verbosity > Verbosity::Quiet {
            super::say(&report_text(&report, outcome, &again));
        }
        if let Some(file) = &settings.report_file {
            let json = report_json(&report, outcome, &again)?;
            fs::write(file, json)
                .with_context(|| format!("cannot write the report to {}", file.display()))?;
        }
        Ok(())
    }
}

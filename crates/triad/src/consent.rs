//! Asking before something is taken from somebody.

use std::io::{self, BufRead as _, IsTerminal as _};

use crate::args::seats::ConsentOptions;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::text::printable_lines;

/// Longer answers are no answers.
const ANSWER_BYTES_MAX: u64 = 1_000;

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Do it.
    Given,
    /// Do not.
    Withheld,
    /// It was only to be said.
    Rehearsed,
}

/// Refuses a verb that would have to ask where nobody can answer.
pub fn demand_somebody_to_ask(options: ConsentOptions) -> Result<(), Failure> {
    let somebody = io::stdin().is_terminal() && io::stderr().is_terminal();
    if options.dry_run || options.yes || somebody {
        return Ok(());
    }
    Err(Failure::Usage {
        what: "this takes something from somebody, and there is no terminal to ask on".to_owned(),
        remedy: "look first with --dry-run, then give --yes".to_owned(),
    })
}

/// Says what would be done, and asks whether to do it.
pub fn consent(
    settings: &Settings,
    options: ConsentOptions,
    plan: &str,
) -> Result<Consent, Failure> {
    let plan = printable_lines(plan);
    if options.dry_run {
        let value = serde_json::json!({ "dryRun": true, "plan": plan.trim_end() });
        settings.output.answer(&value, || plan.clone())?;
        return Ok(Consent::Rehearsed);
    }
    settings.output.notice(&plan);
    if options.yes {
        return Ok(Consent::Given);
    }
    settings.output.notice("Go on? [y/N] ");
    let mut answer = String::new();
    // A line is short, and what is longer is no "yes".
    let read = io::Read::take(io::stdin().lock(), ANSWER_BYTES_MAX).read_line(&mut answer);
    if read.is_ok() && is_yes(&answer) {
        return Ok(Consent::Given);
    }
    settings.output.notice("nothing was done\n");
    Ok(Consent::Withheld)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_a_yes() {
        for yes in ["y\n", "Y", "yes\r\n", " YES "] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n", "no", "yess", "ok", "1", "j"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }

    #[test]
    fn whoever_said_yes_or_only_looks_is_not_asked() {
        for (dry_run, yes) in [(true, false), (false, true), (true, true)] {
            assert!(demand_somebody_to_ask(ConsentOptions { dry_run, yes }).is_ok());
        }
    }
}

//! The command line of policies as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::asking::AskingOptions;

/// What to do with policies.
#[derive(Debug, Subcommand)]
pub enum PolicyVerb {
    /// Find mistakes in a policy
    Check(PolicyCheckArguments),
    /// What a policy changes against the one in force, or one file against another
    Diff(PolicyDiffArguments),
    /// Put a policy in force on all nodes at once, showing what changes
    Apply(PolicyApplyArguments),
    /// The policy in force, word for word
    Show,
    /// Make a policy of a FlexNet-style options file
    Import(PolicyImportArguments),
    /// What would come of a request under a policy that is not in force yet
    Simulate(PolicySimulateArguments),
}

/// See [`PolicyVerb::Check`].
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  triad policy check policy.toml
  triad policy check policy.toml --offline -o json",
    after_help = "Ends with 1 if there are errors. When servers are named and answer, the rules are \
                  also compared with what is licensed."
)]
pub struct PolicyCheckArguments {
    /// The policy
    pub file: PathBuf,
    /// Fail if no server can compare it with what is licensed
    #[arg(long, conflicts_with = "offline")]
    pub online: bool,
    /// Ask no server
    #[arg(long)]
    pub offline: bool,
}

/// See [`PolicyVerb::Diff`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad policy diff policy.toml
  triad policy diff old.toml new.toml")]
pub struct PolicyDiffArguments {
    /// The policy; compared with the one in force
    pub file: PathBuf,
    /// Compare this one with FILE instead; asks no server
    pub newer: Option<PathBuf>,
}

/// See [`PolicyVerb::Apply`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad policy apply policy.toml --dry-run
  triad policy apply policy.toml
  triad policy apply policy.toml --base-version 4")]
pub struct PolicyApplyArguments {
    /// The policy
    pub file: PathBuf,
    /// Only say what it would change
    #[arg(long)]
    pub dry_run: bool,
    /// The version that it was made from: refused if another is in force
    #[arg(long, value_name = "NUMBER")]
    pub base_version: Option<u64>,
}

/// See [`PolicyVerb::Import`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad policy import acme.opt --out policy.toml
  triad policy check policy.toml")]
pub struct PolicyImportArguments {
    /// The options file
    pub file: PathBuf,
    /// Where to write the policy, which must not exist; stdout without
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Report every line, not only those that were not carried over
    #[arg(long)]
    pub all: bool,
}

/// See [`PolicyVerb::Simulate`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad policy simulate --policy new.toml --feature solver --user ann --host n1
  triad policy simulate --policy new.toml --feature solver --version 2026.1 --seats 4 --user ann")]
pub struct PolicySimulateArguments {
    /// The feature to ask for
    #[arg(long)]
    pub feature: String,
    /// The policy to judge by; without, the one in force
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Who asks for what.
    #[command(flatten)]
    pub asking: AskingOptions,
}

//! Who asks for what, for the verbs that say what would come of it.

use clap::Args;

/// Who asks for what.
#[derive(Clone, Debug, Default, Args)]
pub struct AskingOptions {
    /// The user; without, the one who runs this
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The host; without, this one
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    /// The version needed; any without
    #[arg(long, default_value = "", hide_default_value = true)]
    pub version: String,
    /// How many seats
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..), value_name = "NUMBER")]
    pub seats: u32,
    /// The display
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub display: String,
    /// The project
    #[arg(long, default_value = "", hide_default_value = true, value_name = "NAME")]
    pub project: String,
    /// Where it would come from, for rules about networks
    #[arg(long, default_value = "", hide_default_value = true, value_name = "IP")]
    pub address: String,
    /// A host id of the machine, as `triad hostid` prints it; may be given again
    #[arg(long = "hostid", value_name = "TYPE:VALUE")]
    pub hostids: Vec<String>,
}

/// See [`Verb::Explain`](super::Verb::Explain).
#[derive(Debug, Args)]
#[command(
    before_help = "\
Examples:
  triad explain solver --user ann --host n1
  triad explain TRD-2001
  triad explain -4
  triad explain --feature 2001 --user ann",
    after_help = "About a feature it ends as the request would: 0 granted, 6 no seat, 7 not entitled."
)]
pub struct ExplainArguments {
    /// A feature; or a code: TRD-2001, 2001, LICENSES_EXHAUSTED, a FlexNet number; all codes without
    #[arg(allow_negative_numbers = true, value_name = "FEATURE|CODE")]
    pub topic: Option<String>,
    /// A feature whose name looks like a code
    #[arg(long, conflicts_with = "topic", value_name = "NAME")]
    pub feature: Option<String>,
    /// Who asks for what.
    #[command(flatten)]
    pub asking: AskingOptions,
}

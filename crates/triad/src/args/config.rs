//! The command line of contexts as typed.

use clap::Subcommand;

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// What applies now; a flag goes before the environment, that before the context
    #[command(before_help = "\
Examples:
  triad config view --show-origin
  triad config view -o json")]
    View {
        /// Also say where each value comes from
        #[arg(long)]
        show_origin: bool,
    },
    /// The contexts of this user
    #[command(before_help = "\
Examples:
  triad config list")]
    List,
    /// Ask this cluster from now on
    #[command(before_help = "\
Examples:
  triad config use prod")]
    Use {
        /// The context
        name: String,
    },
    /// Make a context, or change it: what is given as options is kept
    #[command(before_help = "\
Examples:
  triad config set prod --servers lic-a,lic-b,lic-c --ca /etc/triad/ca.pem --token-file ~/.triad-token
  triad config set prod --timeout 10s")]
    Set {
        /// The context
        name: String,
    },
    /// Forget a context
    #[command(before_help = "\
Examples:
  triad config remove lab")]
    Remove {
        /// The context
        name: String,
    },
}

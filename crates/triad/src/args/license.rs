//! The command line of licenses as typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do with licenses.
#[derive(Debug, Subcommand)]
pub enum LicenseVerb {
    /// Verify a license on the nodes and put it in force, showing what changes
    Apply(LicenseApplyArguments),
    /// What a license changes against the one in force, or one file against another
    Diff(LicenseDiffArguments),
    /// The licenses in force
    List,
    /// What a license says, without checking who wrote it
    Show {
        /// The license
        file: PathBuf,
    },
    /// Check who signed a license, and where and until when it may be used
    Verify {
        /// The license
        file: PathBuf,
        /// The publisher's public key: a file, or the line triad-publisher-public-v1:...
        #[arg(long = "key", required = true, value_name = "PUBLIC")]
        keys: Vec<String>,
        /// Also check that it is for this cluster and has not expired
        #[arg(long, value_name = "ID")]
        cluster: Option<String>,
    },
    /// Publisher: draw a new key
    Keygen {
        /// The directory for publisher.secret and publisher.public
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Publisher: sign a license
    Issue {
        /// The secret key; give two while sites change from one to the other
        #[arg(long = "key", required = true, value_name = "FILE")]
        keys: Vec<PathBuf>,
        /// What is granted: the TOML that becomes the body of the license
        terms: PathBuf,
        /// Where to write the license; stdout without
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Publisher: make terms to sign of a FlexNet-style license file
    Convert(LicenseConvertArguments),
}

/// See [`LicenseVerb::Apply`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad license apply acme-2027.lic --dry-run
  triad license apply acme-2027.lic")]
pub struct LicenseApplyArguments {
    /// The license
    pub file: PathBuf,
    /// Only say what it would change
    #[arg(long)]
    pub dry_run: bool,
}

/// See [`LicenseVerb::Diff`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad license diff acme-2027.lic
  triad license diff acme-2026.lic acme-2027.lic")]
pub struct LicenseDiffArguments {
    /// The license; compared with the one of the same name in force
    pub file: PathBuf,
    /// Compare this one with FILE instead; asks no server
    pub newer: Option<PathBuf>,
}

/// See [`LicenseVerb::Convert`].
#[derive(Debug, Args)]
#[command(before_help = "\
Examples:
  triad license convert old.lic --out terms.toml
  triad license issue --key acme/publisher.secret terms.toml --out acme.lic")]
pub struct LicenseConvertArguments {
    /// The license file
    pub file: PathBuf,
    /// Where to write the terms, which must not exist; stdout without
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Report every line, not only those that were not carried over
    #[arg(long)]
    pub all: bool,
}

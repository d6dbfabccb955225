//! Policy documents: the site's rules as TOML, read with the place of each
//! word, so that every finding names line, column and remedy.

mod diff;
mod lint;
mod lint_rights;
mod period;
mod raw;
mod read;
mod render;
mod tables;

use std::collections::BTreeMap;
use std::ops::Range;

use triad_ledger::policy::{GroupName, Policy};
use triad_ledger::rights::Line;

use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Severity, Source};

pub use diff::{diff_policies, rule_in_words};
pub(crate) use period::{PERIOD_MS_MAX, parse as parse_period, show as show_period};
pub(crate) use render::render_noted;
pub use render::render_policy;

/// The largest policy document, in bytes. It travels in one message and one
/// log entry.
pub const POLICY_BYTES_MAX: usize = 1 << 20;

/// A policy document that was read and has no errors. Whether it does what was
/// meant is what [`PolicyDocument::lint`] asks.
#[derive(Clone, Debug)]
pub struct PolicyDocument {
    pub(crate) policy: Policy,
    /// What was doubtful while reading.
    pub(crate) doubts: Vec<Diagnostic>,
    /// Of each rule.
    pub(crate) places: Vec<Places>,
    /// Where each group is written.
    pub(crate) group_places: BTreeMap<GroupName, Range<usize>>,
    /// Where each host group is written.
    pub(crate) host_group_places: BTreeMap<GroupName, Range<usize>>,
}

/// Where the parts of a rule stand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) head: Range<usize>,
    pub(crate) feature: Option<Range<usize>>,
    pub(crate) subject: Option<Range<usize>>,
    pub(crate) value: Option<Range<usize>>,
}

impl PolicyDocument {
    /// Reads the text of a policy.
    ///
    /// # Errors
    ///
    /// What is wrong with it, at least one and at most [`DIAGNOSTICS_MAX`]
    /// findings. A mistake in the TOML itself is found alone.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        read::read(text)
    }

    /// What is probably not meant. `licensed` are the lines of all licenses in
    /// force; without them, rules are not compared with what is licensed.
    pub fn lint(&self, licensed: Option<&[Line]>) -> Vec<Diagnostic> {
        lint::lint(self, licensed)
    }

    /// The rules, as version 0.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The rules as this version, for the ledger.
    pub fn into_policy(self, version: u64) -> Policy {
        Policy { version, ..self.policy }
    }
}

/// Findings up to the bound. What is found beyond it is not even written.
struct Findings<'a> {
    source: &'a Source<'a>,
    list: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Findings { source, list: Vec::new() }
    }

    fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, code, span, message, help);
    }

    fn warning(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, code, span, message, help);
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.list.len() < DIAGNOSTICS_MAX {
            self.list.push(self.source.diagnostic(severity, code, span, message, help));
        }
    }
}

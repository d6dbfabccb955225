//! `triad policy import` and `triad license convert`: what administrators and
//! publishers bring along from FlexNet-style managers. Asks no server.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use triad_license::{Diagnostic, Entry, Fate, Report, convert_license, import_options};

use crate::args::license::LicenseConvertArguments;
use crate::args::policy::PolicyImportArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::publisher::{Readers, write_new};
use crate::settings::{Settings, read};
use crate::text::{counted, printable, printable_lines};

/// Makes a policy of an options file.
pub fn import(settings: &Settings, arguments: &PolicyImportArguments) -> Result<Exit, Failure> {
    let file = arguments.file.display().to_string();
    let import = import_options(&read(&arguments.file)?)
        .map_err(|source| Failure::License { place: file.clone(), source })?;
    let brought = Brought {
        file,
        what: "policy",
        text: &import.policy_text,
        report: &import.report,
        findings: import.report.findings.clone(),
        next: "triad policy check",
        all: arguments.all,
    };
    brought.hand_over(settings, arguments.out.as_deref())
}

/// Makes the terms of a license of a license file.
pub fn convert(settings: &Settings, arguments: &LicenseConvertArguments) -> Result<Exit, Failure> {
    let file = arguments.file.display().to_string();
    let conversion = convert_license(&read(&arguments.file)?)
        .map_err(|source| Failure::License { place: file.clone(), source })?;
    let brought = Brought {
        file,
        what: "terms",
        text: &conversion.terms,
        report: &conversion.report,
        findings: conversion.report.findings.clone(),
        next: "triad license issue --key acme/publisher.secret",
        all: arguments.all,
    };
    let exit = brought.hand_over(settings, arguments.out.as_deref())?;
    if let Some(problem) = &conversion.problem {
        settings.output.warn(&format!("these terms cannot be signed as they stand: {problem}"));
    }
    Ok(exit)
}

/// What a foreign text became.
struct Brought<'a> {
    file: String,
    /// "policy" or "terms".
    what: &'static str,
    text: &'a str,
    report: &'a Report,
    findings: Vec<Diagnostic>,
    /// What to do with it next.
    next: &'static str,
    /// Whether lines without a remark are reported too.
    all: bool,
}

impl Brought<'_> {
    /// The text goes to `out`, or to stdout and the report to stderr.
    fn hand_over(&self, settings: &Settings, out: Option<&Path>) -> Result<Exit, Failure> {
        if let Some(path) = out {
            write_new(path, self.text.as_bytes(), Readers::Everybody)?;
        }
        let output = settings.output;
        if output.is_json() {
            let entries = &self.report.entries;
            let value =
                json!({ self.what: self.text, "entries": entries, "findings": self.findings });
            output.answer(&value, String::new)?;
            return Ok(Exit::Ok);
        }
        match out {
            None => {
                output.document(self.text)?;
                output.notice(&self.told());
            }
            Some(path) => {
                let path = printable(&path.display().to_string());
                output.text(&format!("{}next: {} {path}\n", self.told(), self.next))?;
            }
        }
        Ok(Exit::Ok)
    }

    /// The report for a person.
    fn told(&self) -> String {
        let mut text = String::new();
        for entry in self.report.entries.iter().filter(|entry| self.is_told(entry)) {
            let _ = writeln!(text, "{}", printable_lines(&entry.to_string()));
        }
        let findings: Vec<_> =
            self.findings.iter().map(|found| finding::local(found, &self.file)).collect();
        if !findings.is_empty() {
            let _ = write!(text, "\n{}", finding::render(&findings));
        }
        let count = |fate| self.report.count(fate) as u64;
        let _ = writeln!(
            text,
            "{}: {} carried over, {} ignored, {} not carried over; {}",
            printable(&self.file),
            counted(count(Fate::Carried), "line"),
            count(Fate::Ignored),
            count(Fate::NotCarried),
            counted(count(Fate::Comment), "comment"),
        );
        text
    }

    fn is_told(&self, entry: &Entry) -> bool {
        let is_news = entry.fate != Fate::Carried || !entry.remark.is_empty();
        entry.fate != Fate::Comment && (self.all || is_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "\
# Engineering
REPORTLOG +/var/log/acme.rl
GROUP cfd anna ben
RESERVE 2 solver GROUP cfd
EXCLUDE solver USER guest*
RESERV 1 viewer USER dora
";

    fn told(all: bool) -> String {
        let import = import_options(OPTIONS.as_bytes()).unwrap();
        let brought = Brought {
            file: "acme.opt".into(),
            what: "policy",
            text: &import.policy_text,
            report: &import.report,
            findings: import.report.findings.clone(),
            next: "triad policy check",
            all,
        };
        brought.told()
    }

    #[test]
    fn what_is_missing_is_reported_with_its_line_and_why() {
        let text = told(false);
        for line in [
            "        2  ignored       REPORTLOG",
            "        5  NOT CARRIED   EXCLUDE solver USER guest*",
            "        6  NOT CARRIED   RESERV 1 viewer USER dora",
            "did you mean RESERVE?",
            "acme.opt: 2 lines carried over, 1 ignored, 2 not carried over; 1 comment",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("RESERVE 2 solver"), "{text}");
        assert!(told(true).contains("        4  carried over  RESERVE 2 solver GROUP cfd"));
    }
}

//! What is wrong or doubtful in a policy, from here or from a node, told the
//! same way.

use triad_license::{Diagnostic, Severity};
use triad_proto::v1::Finding;

use crate::output::{PLAIN, RED, YELLOW};
use crate::text::{counted, printable, printable_lines};

/// What nodes call the file in what they have rendered.
const NODES_NAME: &str = "--> policy:";

/// A finding of this machine as the wire has it.
pub fn local(diagnostic: &Diagnostic, file: &str) -> Finding {
    Finding {
        is_error: diagnostic.severity == Severity::Error,
        code: diagnostic.code.to_owned(),
        line: u32::try_from(diagnostic.line).unwrap_or(u32::MAX),
        column: u32::try_from(diagnostic.column).unwrap_or(u32::MAX),
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        rendered: diagnostic.render(file),
    }
}

/// A finding of a node, about the file as it is called here.
pub fn of_node(finding: Finding, file: &str) -> Finding {
    let here = format!("--> {}:", printable(file));
    Finding { rendered: finding.rendered.replacen(NODES_NAME, &here, 1), ..finding }
}

/// How many are errors, and how many warnings.
pub fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.is_error).count();
    (errors, findings.len() - errors)
}

/// `1 error, 2 warnings`; `no mistakes found`.
pub fn summary(findings: &[Finding]) -> String {
    match count(findings) {
        (0, 0) => "no mistakes found".to_owned(),
        (0, warnings) => counted(warnings as u64, "warning"),
        (errors, 0) => counted(errors as u64, "error"),
        (errors, warnings) => {
            format!("{}, {}", counted(errors as u64, "error"), counted(warnings as u64, "warning"))
        }
    }
}

/// All findings for a person, each with its line and a caret.
pub fn render(findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let text = printable_lines(&finding.rendered);
        let (word, color) = if finding.is_error { ("error", RED) } else { ("warning", YELLOW) };
        match text.strip_prefix(word) {
            Some(rest) => format!("{color}{word}{PLAIN}{rest}\n"),
            None => format!("{text}\n"),
        }
    };
    findings.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use triad_license::PolicyDocument;

    use super::*;

    #[test]
    fn a_finding_reads_the_same_from_here_and_from_a_node() {
        let text = "[groups]\ncfd = [\"ann\"]\n[[include]]\nfeature = \"f\"\ngroup = \"cdf\"\n";
        let found = PolicyDocument::parse(text).unwrap_err();
        let here = local(&found[0], "site.toml");
        let there = of_node(local(&found[0], "policy"), "site.toml");
        assert_eq!(here, there);
        assert!(here.is_error && here.line == 5, "{here:?}");
        let text = render(&[here]);
        assert!(text.starts_with(&format!("{RED}error{PLAIN}[unknown-group]: ")), "{text}");
        for told in ["--> site.toml:5:9\n", "^^^^^", "did you mean \"cfd\"?"] {
            assert!(text.contains(told), "{text}");
        }
    }

    #[test]
    fn findings_are_counted() {
        let finding = |is_error| Finding { is_error, ..Finding::default() };
        assert_eq!(summary(&[]), "no mistakes found");
        assert_eq!(
            summary(&[finding(true), finding(false), finding(false)]),
            "1 error, 2 warnings"
        );
        assert_eq!(summary(&[finding(false)]), "1 warning");
        assert_eq!(summary(&[finding(true)]), "1 error");
    }
}

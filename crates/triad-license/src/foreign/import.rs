//! Options files: who may have what, as administrators of FlexNet-style
//! managers wrote it, made a policy.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use triad_ledger::names::{Label, NameError, Seats};
use triad_ledger::policy::{
    FeatureSelector, GroupName, Policy, RULES_MAX, Rule, RuleId, RuleKind, Subject,
};
use triad_ledger::rights::Line as Licensed;

use super::keywords::{IGNORED, unknown};
use super::lines::{Line, Word};
use super::report::{Fate, Report};
use super::subjects::{Capped, Placed};
use super::words::{selector, shown};
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Severity, Source};
use crate::error::LicenseError;
use crate::policy::{PERIOD_MS_MAX, POLICY_BYTES_MAX, Places, PolicyDocument, render_noted};

/// An options file as a policy, and what became of each of its lines.
#[derive(Clone, Debug)]
pub struct Import {
    /// The policy as a document that has no errors.
    pub policy_text: String,
    /// What became of each line.
    pub report: Report,
    /// The rules with their places in the options file.
    document: PolicyDocument,
}

impl Import {
    /// The rules as they were read from the options file, as version 0.
    pub fn policy(&self) -> &Policy {
        self.document.policy()
    }

    /// What the options file probably does not mean, in the order of its
    /// lines. `licensed` are the lines of all licenses in force, if known.
    pub fn lint(&self, licensed: Option<&[Licensed]>) -> Vec<Diagnostic> {
        self.document.lint(licensed)
    }
}

/// Reads an options file of any bytes.
///
/// # Errors
///
/// It is too large, or becomes too large a policy. Everything else is said in
/// the report.
pub fn import_options(bytes: &[u8]) -> Result<Import, LicenseError> {
    let (text, lines) = super::read(bytes)?;
    let source = Source::new(&text);
    let mut importer = Importer::new(&source);
    let mut outcomes: Vec<Option<Outcome>> = vec![None; lines.len()];
    // Groups may be named before they stand.
    for (line, outcome) in lines.iter().zip(&mut outcomes) {
        importer.doubts(line);
        *outcome = importer.group_line(line);
    }
    for (line, outcome) in lines.iter().zip(&mut outcomes) {
        if outcome.is_none() {
            *outcome = Some(importer.line(line));
        }
    }
    let Importer { mut policy, places, group_places, host_group_places, findings, .. } = importer;
    let mut report = Report::default();
    for (line, outcome) in lines.iter().zip(outcomes) {
        let (fate, remark) = outcome.expect("the second pass fills what the first left");
        report.add(&text, line, fate, remark);
    }
    let policy_text = written(&policy, &report)?;
    policy.text = text.clone();
    let document =
        PolicyDocument { policy, doubts: findings, places, group_places, host_group_places };
    report.findings = document.lint(None);
    Ok(Import { policy_text, report, document })
}

pub(super) type Outcome = (Fate, String);

fn written(policy: &Policy, report: &Report) -> Result<String, LicenseError> {
    let mut head = String::from("# Imported from an options file.\n");
    for entry in report.entries.iter().filter(|entry| entry.fate == Fate::NotCarried).take(1_000) {
        head.push_str(&format!(
            "# Line {} was not carried over: {}\n",
            entry.first_line, entry.text
        ));
    }
    let noted = render_noted(policy, |rule| Some(format!("Line {}.", rule.id.line)));
    let mut text = format!("{head}\n{noted}");
    if text.len() > POLICY_BYTES_MAX {
        text = render_noted(policy, |_| None);
    }
    if text.len() > POLICY_BYTES_MAX {
        let (found, max) = (text.len(), POLICY_BYTES_MAX);
        return Err(LicenseError::TooLarge { what: "bytes of the policy it becomes", found, max });
    }
    Ok(text)
}

/// Collects the rules on its way through the lines.
pub(super) struct Importer<'a> {
    source: &'a Source<'a>,
    pub(super) policy: Policy,
    pub(super) member_count: usize,
    /// The networks of each host group, to find those written twice.
    pub(super) networks: BTreeSet<(GroupName, String)>,
    places: Vec<Places>,
    pub(super) group_places: BTreeMap<GroupName, Range<usize>>,
    pub(super) host_group_places: BTreeMap<GroupName, Range<usize>>,
    pub(super) findings: Vec<Diagnostic>,
    pub(super) capped: Capped,
}

/// What a line becomes: a rule for each of its subjects.
struct Rules {
    kind: RuleKind,
    selector: Option<FeatureSelector>,
    subjects: Vec<Placed>,
    remark: String,
}

impl Rules {
    fn for_anyone(kind: RuleKind, selector: Option<FeatureSelector>, remark: String) -> Self {
        Rules { kind, selector, subjects: vec![(Subject::Anyone, None)], remark }
    }
}

/// The rules of a line, or the reason why it has none.
type Ruled = Result<Rules, String>;

impl<'a> Importer<'a> {
    fn new(source: &'a Source<'a>) -> Self {
        Importer {
            source,
            policy: Policy::default(),
            member_count: 0,
            networks: BTreeSet::new(),
            places: Vec::new(),
            group_places: BTreeMap::new(),
            host_group_places: BTreeMap::new(),
            findings: Vec::new(),
            capped: Capped::default(),
        }
    }

    pub(super) fn warn(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: &str,
        help: &str,
    ) {
        if self.findings.len() < DIAGNOSTICS_MAX {
            let warning = Severity::Warning;
            self.findings.push(self.source.diagnostic(warning, code, span, message, help));
        }
    }

    fn doubts(&mut self, line: &Line) {
        for doubt in &line.doubts {
            let (span, message, help) = doubt.told();
            self.warn("doubtful-line", span.clone(), message, help);
        }
    }

    /// Any line but that of a group.
    fn line(&mut self, line: &Line) -> Outcome {
        let Some((keyword, rest)) = line.words.split_first() else {
            return (Fate::Comment, String::new());
        };
        let name = keyword.text.to_ascii_uppercase();
        let ruled = match name.as_str() {
            "REPORTLOG" if rest.iter().any(|word| word.text.eq_ignore_ascii_case("HIDE_USER")) => {
                let why = "the history of use is always kept, and nothing hides its users";
                return (Fate::NotCarried, why.to_owned());
            }
            "GROUPCASEINSENSITIVE" => return self.case(rest),
            "FQDN_MATCHING" => return fqdn_matching(rest),
            "INCLUDE" => self.access(RuleKind::Include, true, rest),
            "EXCLUDE" => self.access(RuleKind::Exclude, true, rest),
            "INCLUDEALL" => self.access(RuleKind::IncludeAll, false, rest),
            "EXCLUDEALL" => self.access(RuleKind::ExcludeAll, false, rest),
            "INCLUDE_BORROW" => self.access(RuleKind::IncludeBorrow, true, rest),
            "EXCLUDE_BORROW" => self.access(RuleKind::ExcludeBorrow, true, rest),
            "MAX" => self.counted(|count| Some(RuleKind::Max(count)), "MAX", rest),
            "RESERVE" => {
                self.counted(|count| Seats::new(count).map(RuleKind::Reserve), "RESERVE", rest)
            }
            "LINGER" => {
                let all = "for all features put [[linger]] into the policy";
                timed(RuleKind::LingerMs, "LINGER feature seconds", all, 1_000, rest)
            }
            "TIMEOUT" => {
                let all = "TIMEOUTALL is for all features";
                timed(RuleKind::IdleTimeoutMs, "TIMEOUT feature seconds", all, 1_000, rest)
            }
            "TIMEOUTALL" => timeout_all(rest),
            "MAX_BORROW_HOURS" => {
                let form = "MAX_BORROW_HOURS feature hours";
                let all = "for all features put [[max_borrow]] into the policy";
                timed(RuleKind::MaxBorrowMs, form, all, 3_600_000, rest)
            }
            "BORROW_LOWWATER" => {
                limited(RuleKind::BorrowLowwater, "BORROW_LOWWATER feature seats", rest)
            }
            "MAX_OVERDRAFT" => limited(RuleKind::MaxOverdraft, "MAX_OVERDRAFT feature seats", rest),
            other => match IGNORED.iter().find(|(ignored, _)| *ignored == other) {
                Some((_, why)) => return (Fate::Ignored, format!("ignored, because {why}")),
                None => Err(unknown(other)),
            },
        };
        match ruled.and_then(|ruled| self.add(line, rest, ruled)) {
            Ok(remark) => (Fate::Carried, remark),
            Err(why) if name.starts_with("INCLUDE") => {
                let stop = if why.ends_with('?') { "" } else { "." };
                let mind = "Mind: a missing INCLUDE may let others in";
                (Fate::NotCarried, format!("{why}{stop} {mind}"))
            }
            Err(why) => (Fate::NotCarried, why),
        }
    }

    fn add(&mut self, line: &Line, rest: &[Word], rules: Rules) -> Result<String, String> {
        let Rules { kind, selector, subjects, remark } = rules;
        if self.policy.rules.len() + subjects.len() > RULES_MAX {
            return Err(format!("a policy has at most {RULES_MAX} rules; name groups instead"));
        }
        let value_first = matches!(kind, RuleKind::Max(_) | RuleKind::Reserve(_));
        let span = |at: usize| rest.get(at).map(|word| word.span.clone());
        let feature_at = usize::from(value_first);
        let value_at = if value_first { 0 } else { usize::from(selector.is_some()) };
        for (subject, place) in subjects {
            let number = self.policy.rules.len() as u32 + 1;
            let id = RuleId { number, line: u32::try_from(line.first).unwrap_or(u32::MAX) };
            let named = place.is_some();
            self.places.push(Places {
                head: line.span.clone(),
                feature: selector.as_ref().and_then(|_| span(feature_at)),
                subject: place,
                value: if named && !value_first { None } else { span(value_at) },
            });
            self.policy.rules.push(Rule { id, selector: selector.clone(), kind, subject });
        }
        Ok(remark)
    }

    fn case(&mut self, rest: &[Word]) -> Outcome {
        match rest {
            [word] if word.text.eq_ignore_ascii_case("ON") => {
                self.policy.case_insensitive = true;
                let remark = "case = \"ignore\"; it holds for all names of users and hosts";
                (Fate::Carried, remark.to_owned())
            }
            [word] if word.text.eq_ignore_ascii_case("OFF") => {
                self.policy.case_insensitive = false;
                (Fate::Carried, "names are compared exactly unless it is ON".to_owned())
            }
            _ => (Fate::NotCarried, "write GROUPCASEINSENSITIVE ON".to_owned()),
        }
    }

    /// `KEYWORD [feature] type name`.
    fn access(&mut self, kind: RuleKind, has_feature: bool, rest: &[Word]) -> Ruled {
        let form = if has_feature { "feature type name" } else { "type name" };
        let (feature, rest) = match (has_feature, rest.split_first()) {
            (true, Some((feature, rest))) => (Some(feature), rest),
            (true, None) => return Err(format!("it ends too early; expected {form}")),
            (false, _) => (None, rest),
        };
        let (selector, mut remark) = match feature {
            Some(word) => selector(&word.text).map(|(selector, why)| (Some(selector), why))?,
            None => (None, String::new()),
        };
        let lets_in =
            matches!(kind, RuleKind::Include | RuleKind::IncludeAll | RuleKind::IncludeBorrow);
        let subjects = self.subjects(form, rest, lets_in, &mut remark)?;
        Ok(Rules { kind, selector, subjects, remark })
    }

    /// `KEYWORD count feature type name`.
    fn counted(
        &mut self,
        kind: fn(u32) -> Option<RuleKind>,
        keyword: &str,
        rest: &[Word],
    ) -> Ruled {
        let form = "count feature type name";
        let [count, feature, rest @ ..] = rest else {
            return Err(format!("it ends too early; expected {form}"));
        };
        let number = number(&count.text)?;
        let kind = kind(number).ok_or_else(|| format!("{keyword} 0 says nothing"))?;
        let (selector, mut remark) = selector(&feature.text)?;
        let subjects = self.counted_subjects(form, kind, &selector, rest, &mut remark)?;
        Ok(Rules { kind, selector: Some(selector), subjects, remark })
    }
}

pub(super) fn add_remark(remark: &mut String, more: &str) {
    if !remark.is_empty() {
        remark.push_str("; ");
    }
    remark.push_str(more);
}

fn fqdn_matching(rest: &[Word]) -> Outcome {
    match rest {
        [word] if word.text.eq_ignore_ascii_case("EXACT") => {
            let remark = "ignored, because hosts are always compared by their whole name";
            (Fate::Ignored, remark.to_owned())
        }
        _ => {
            let why = "hosts are compared by their whole name; list the short and the long one";
            (Fate::NotCarried, why.to_owned())
        }
    }
}

/// `KEYWORD feature length`. `all` says how to mean all features.
fn timed(kind: fn(u64) -> RuleKind, form: &str, all: &str, unit_ms: u64, rest: &[Word]) -> Ruled {
    let [feature, length] = rest else {
        let hint = if rest.len() == 1 { format!("; {all}") } else { String::new() };
        return Err(format!("write {form}{hint}"));
    };
    let (selector, remark) = selector(&feature.text)?;
    let kind = kind(period_ms(&length.text, unit_ms)?);
    if kind == RuleKind::IdleTimeoutMs(0) {
        return Err("0 seconds would take seats back at once".to_owned());
    }
    Ok(Rules::for_anyone(kind, Some(selector), remark))
}

fn timeout_all(rest: &[Word]) -> Ruled {
    let [length] = rest else { return Err("write TIMEOUTALL seconds".to_owned()) };
    match period_ms(&length.text, 1_000)? {
        0 => Err("0 seconds would take seats back at once".to_owned()),
        ms => Ok(Rules::for_anyone(RuleKind::IdleTimeoutAllMs(ms), None, String::new())),
    }
}

/// `KEYWORD feature count`.
fn limited(kind: fn(u32) -> RuleKind, form: &str, rest: &[Word]) -> Ruled {
    let (feature, count) = match rest {
        [feature, count] => (feature, count),
        // Some guides write for whom the seats are kept back; `*` is all.
        [feature, of, whom, count] if of.text == "*" && whom.text == "*" => (feature, count),
        [_, of, whom, _] => {
            let (of, whom) = (shown(&of.text), shown(&whom.text));
            return Err(format!("it holds for everybody, not for {of} {whom}; write {form}"));
        }
        _ => return Err(format!("write {form}")),
    };
    let (selector, remark) = selector(&feature.text)?;
    Ok(Rules::for_anyone(kind(number(&count.text)?), Some(selector), remark))
}

fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = digits.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| format!("{:?} is no number from 0 to {}", shown(text), u32::MAX))
}

fn period_ms(text: &str, unit_ms: u64) -> Result<u64, String> {
    let period_ms = u64::from(number(text)?) * unit_ms;
    if period_ms > PERIOD_MS_MAX {
        return Err(format!("{} is longer than ten years", shown(text)));
    }
    Ok(period_ms)
}

pub(super) fn label(text: &str) -> Result<Label, String> {
    let label = if text.is_empty() { Err(NameError::Empty) } else { Label::parse(text) };
    label.map_err(|reason| reason.to_string())
}

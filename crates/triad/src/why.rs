//! `triad explain FEATURE` and `triad policy simulate`: what would come of a
//! request, everything that has a say in it, and what to do next.

use std::fmt::Write as _;

use triad_license::{PolicyDocument, rule_in_words};
use triad_proto::v1::{
    CheckoutInfo, ExplainRequest, ExplainResponse, ExplainStep, ExplainVerdict, GetPolicyRequest,
    Holder, Item, Reason, Refusal, RuleRef,
};

use crate::args::asking::AskingOptions;
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::{Failure, exit_of};
use crate::lists::{feature_meant, holder, warn_if_stale};
use crate::myself;
use crate::output::{GREEN, PLAIN, RED};
use crate::reasons::explanation;
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, person, printable, printable_lines, shell_word};

/// The step that only says what comes of the others.
const ANSWER: &str = "answer";

/// Says what would come of a request, judged by `policy_text` or by the policy
/// in force. Ends as the request would.
pub async fn run(
    settings: &Settings,
    feature: &str,
    asking: &AskingOptions,
    policy_text: Option<String>,
) -> Result<Exit, Failure> {
    let holder = asking_holder(asking);
    let item =
        Item { feature: feature.to_owned(), version: asking.version.clone(), seats: asking.seats };
    let request = ExplainRequest {
        holder: Some(holder.clone()),
        address: asking.address.clone(),
        item: Some(item),
        policy_text: policy_text.clone(),
    };
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            let answer = admin.explain(request.clone()).await?.into_inner();
            let names_rules = answer.steps.iter().any(|step| rule_of(step).is_some());
            // A policy that cannot be had costs the words of its rules, no more.
            let in_force = match names_rules && policy_text.is_none() {
                true => admin.get_policy(GetPolicyRequest {}).await.ok(),
                false => None,
            };
            let text = in_force.map(|policy| policy.into_inner().text);
            Ok((answer, text.or(policy_text.clone())))
        })
        .await?;
    let (mut answer, policy) = read.answer;
    warn_if_stale(settings, answer.freshness.as_ref(), &read.address);
    if let Some(denial) = answer.denial.as_mut().filter(|denial| is_misspelt(denial))
        && let Some(meant) = feature_meant(settings, feature).await
    {
        // As a node says it to whoever asks for a seat.
        denial.remedy = format!("did you mean {meant:?}? {}", denial.remedy).trim_end().to_owned();
    }
    let policy = policy.and_then(|text| PolicyDocument::parse(&text).ok());
    let story = Story {
        feature,
        holder: &holder,
        answer: &answer,
        policy: policy.as_ref(),
        is_rehearsal: policy_text.is_some(),
    };
    settings.output.answer(&answer, || story.told(clock::now_ms()))?;
    Ok(answer.denial.as_ref().map_or(Exit::Ok, |denial| exit_of(denial.reason())))
}

/// Whether nobody has said yet which feature may be meant.
fn is_misspelt(denial: &Refusal) -> bool {
    denial.reason() == Reason::FeatureUnknown && !denial.remedy.contains("did you mean")
}

fn asking_holder(asking: &AskingOptions) -> Holder {
    Holder {
        user: asking.user.clone().unwrap_or_else(myself::user),
        host: asking.host.clone().unwrap_or_else(myself::host),
        display: asking.display.clone(),
        project: asking.project.clone(),
        hostids: asking.hostids.clone(),
        ..Holder::default()
    }
}

/// The rule of a step, if it is one of the policy.
fn rule_of(step: &ExplainStep) -> Option<&RuleRef> {
    step.rule.as_ref().filter(|rule| rule.number > 0)
}

/// What would come of a request, for a person.
struct Story<'a> {
    feature: &'a str,
    holder: &'a Holder,
    answer: &'a ExplainResponse,
    /// What was judged by, for the words of its rules.
    policy: Option<&'a PolicyDocument>,
    /// It was judged by a policy that is not in force.
    is_rehearsal: bool,
}

impl Story<'_> {
    fn told(&self, now_ms: u64) -> String {
        let mut text = self.verdict();
        if !self.answer.steps.is_empty() {
            let _ = write!(text, "\n{}", self.steps().render());
        }
        let judged = match (self.is_rehearsal, self.answer.policy_version) {
            (true, _) => "judged by a policy that is not in force\n".to_owned(),
            (false, 0) => "judged without a policy\n".to_owned(),
            (false, version) => format!("judged by policy version {version}\n"),
        };
        let _ = write!(text, "\n{judged}{}{}", self.holders(now_ms), self.next());
        text
    }

    fn verdict(&self) -> String {
        let feature = printable(self.feature);
        let who = person(&self.holder.user, &self.holder.host);
        match &self.answer.denial {
            None => format!("{GREEN}{feature} would be granted to {who}{PLAIN}\n"),
            Some(denial) => {
                // Messages name the feature, which the line has named.
                let message = denial.message.as_str();
                let bare = message.strip_prefix(self.feature).and_then(|m| m.strip_prefix(": "));
                let why = printable_lines(bare.unwrap_or(message));
                format!("{RED}{feature} would be denied to {who}{PLAIN}: {why}\n")
            }
        }
    }

    fn steps(&self) -> Table {
        let columns = [
            Column::text("VERDICT"),
            Column::text("ASKED"),
            Column::number("POOL"),
            Column::text("NUMBERS"),
            Column::text("RULE"),
        ];
        let mut table = Table::new(&columns);
        // The answer itself is the first line.
        for step in self.answer.steps.iter().filter(|step| step.asked != ANSWER) {
            table.add([
                verdict_name(step.verdict()).into(),
                step.asked.as_str().into(),
                Cell::unless_zero(step.pool_id),
                step.numbers.as_str().into(),
                self.rule(step).into(),
            ]);
        }
        table
    }

    /// `3, line 12: reserve solver group cfd: 2 seats`.
    fn rule(&self, step: &ExplainStep) -> String {
        let Some(RuleRef { number, line }) = rule_of(step) else { return String::new() };
        let index = (*number as usize).saturating_sub(1);
        let rule = self.policy.and_then(|policy| policy.policy().rules.get(index));
        let mut text = number.to_string();
        if *line > 0 {
            let _ = write!(text, ", line {line}");
        }
        if let Some(rule) = rule {
            let _ = write!(text, ": {}", rule_in_words(rule));
        }
        text
    }

    fn holders(&self, now_ms: u64) -> String {
        let mut text = String::new();
        if !self.answer.holders.is_empty() {
            text.push_str("held now, the longest first:\n");
        }
        for checkout in &self.answer.holders {
            let _ = writeln!(text, "  {}", self.holding(checkout, now_ms));
        }
        match self.answer.waiting {
            0 => {}
            1 => text.push_str("1 request waits for it\n"),
            waiting => {
                let _ = writeln!(text, "{waiting} requests wait for it");
            }
        }
        text
    }

    fn holding(&self, checkout: &CheckoutInfo, now_ms: u64) -> String {
        let holder = holder(checkout.holder.as_ref());
        let items = checkout.items.iter().filter(|item| item.feature == self.feature);
        let seats: u64 = items.map(|item| u64::from(item.seats)).sum();
        let held = show_ms(now_ms.saturating_sub(checkout.since_ms));
        let mut text = format!(
            "{}, {}, {held}, checkout {}",
            person(&holder.user, &holder.host),
            counted(seats, "seat"),
            checkout.checkout_id,
        );
        if checkout.idle_ms > 0 {
            let _ = write!(text, " (idle for {})", show_ms(checkout.idle_ms));
        }
        text
    }

    fn next(&self) -> String {
        let Some(denial) = &self.answer.denial else {
            let feature = shell_word(self.feature);
            return format!("next: triad run --feature {feature} -- COMMAND\n");
        };
        let reason = denial.reason();
        let remedy = match denial.remedy.as_str() {
            "" => explanation(reason).remedy.to_owned(),
            remedy => printable_lines(remedy),
        };
        format!("next: {remedy}\nmore: triad explain {}\n", reason.trd_code())
    }
}

fn verdict_name(verdict: ExplainVerdict) -> &'static str {
    match verdict {
        ExplainVerdict::Unspecified => "",
        ExplainVerdict::Passes => "passes",
        ExplainVerdict::Denies => "denies",
        ExplainVerdict::Decides => "DECIDES",
        ExplainVerdict::NotMeant => "not meant",
    }
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::GrantedItem;

    use super::*;

    const POLICY: &str = "\
[groups]
cfd = [\"ben\"]
[[reserve]]
feature = \"solver\"
group = \"cfd\"
seats = 2
";

    fn step(asked: &str, verdict: ExplainVerdict, number: u32, numbers: &str) -> ExplainStep {
        ExplainStep {
            asked: asked.into(),
            pool_id: 1,
            rule: Some(RuleRef { number, line: number * 3 }),
            verdict: verdict.into(),
            numbers: numbers.into(),
        }
    }

    fn denied() -> ExplainResponse {
        let item = |seats| GrantedItem { feature: "solver".into(), seats, ..Default::default() };
        ExplainResponse {
            steps: vec![
                step("license", ExplainVerdict::Passes, 0, "version 2026.1, until 2026-12-31"),
                step("reserve", ExplainVerdict::Decides, 1, "2 kept for group cfd"),
                step("answer", ExplainVerdict::Denies, 0, "solver: 2 free, all reserved"),
            ],
            denial: Some(Refusal::because(Reason::AllReserved, "solver: 2 free, all reserved")),
            holders: vec![CheckoutInfo {
                checkout_id: 17,
                holder: Some(Holder {
                    user: "bob\x1b".into(),
                    host: "node18".into(),
                    ..Holder::default()
                }),
                items: vec![item(4)],
                since_ms: 1_000,
                idle_ms: 10_800_000,
                ..CheckoutInfo::default()
            }],
            waiting: 2,
            policy_version: 4,
            ..ExplainResponse::default()
        }
    }

    fn told(answer: &ExplainResponse) -> String {
        let policy = PolicyDocument::parse(POLICY).unwrap();
        let holder = Holder { user: "ann".into(), host: "n1".into(), ..Holder::default() };
        let (policy, is_rehearsal) = (Some(&policy), false);
        let story = Story { feature: "solver", holder: &holder, answer, policy, is_rehearsal };
        story.told(21_001_000)
    }

    #[test]
    fn a_denial_is_told_with_its_rule_its_holders_and_what_to_do() {
        let expected = format!(
            "\
{RED}solver would be denied to ann@n1{PLAIN}: 2 free, all reserved

VERDICT  ASKED    POOL  NUMBERS                           RULE
passes   license  1     version 2026.1, until 2026-12-31  -
DECIDES  reserve  1     2 kept for group cfd              1, line 3: reserve solver group cfd: 2 seats

judged by policy version 4
held now, the longest first:
  bob\\u{{1b}}@node18, 4 seats, 5 h 50 min, checkout 17 (idle for 3 h)
2 requests wait for it
next: {}
more: triad explain TRD-2010
",
            explanation(Reason::AllReserved).remedy
        );
        assert_eq!(told(&denied()), expected);
    }

    #[test]
    fn what_would_be_granted_begins_so_too() {
        let text = told(&ExplainResponse::default());
        let expected = format!(
            "{GREEN}solver would be granted to ann@n1{PLAIN}\n\njudged without a policy\nnext: \
             triad run --feature solver -- COMMAND\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_rule_that_is_not_there_is_told_by_its_number() {
        let mut answer = denied();
        answer.steps[1].rule = Some(RuleRef { number: 9, line: 0 });
        assert!(told(&answer).contains("group cfd              9\n"), "{}", told(&answer));
    }
}

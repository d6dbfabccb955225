//! The policy as administrators see it: read, compared, put in force, and
//! explained.

use triad_ledger::names::{CheckoutId, FeatureName};
use triad_ledger::policy::Policy;
use triad_ledger::rights::Line;
use triad_ledger::{Asked, Command, Ledger, Outcome, Step, Verdict};
use triad_license::{Diagnostic, PolicyDocument, diff_policies};
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::admin_service::{Admin, checkout_info};
use crate::convert;
use crate::node::Now;
use crate::session_stream::position;
use crate::tokens::Principal;

/// Holders that an explanation names.
const HOLDERS_EXPLAINED_MAX: usize = 10;
/// Checkouts that are looked at to find them: the oldest of all.
const HOLDERS_LOOKED_AT_MAX: usize = 10_000;

impl Admin {
    pub(crate) async fn policy_in_force(&self) -> v1::GetPolicyResponse {
        let (freshness, (version, text)) = self
            .read(|ledger| {
                let policy = ledger.policy();
                policy.map_or_else(Default::default, |policy| (policy.version, policy.text.clone()))
            })
            .await;
        v1::GetPolicyResponse { freshness: Some(freshness), version, text }
    }

    pub(crate) async fn policy_checked(&self, text: &str) -> v1::CheckPolicyResponse {
        let (freshness, (in_force, lines)) =
            self.read(|ledger| (ledger.policy().cloned(), licensed_lines(ledger))).await;
        let version = in_force.as_ref().map_or(0, |policy| policy.version);
        let (findings, changes) = match PolicyDocument::parse(text) {
            Err(errors) => (errors, Vec::new()),
            Ok(document) => {
                let changes = diff_policies(&in_force.unwrap_or_default(), document.policy());
                (document.lint(Some(&lines)), changes)
            }
        };
        let findings = findings.iter().map(convert::finding).collect();
        v1::CheckPolicyResponse { freshness: Some(freshness), findings, changes, version }
    }

    /// Puts a policy in force. Applying the same text again changes nothing.
    pub(crate) async fn policy_applied(
        &self,
        by: &Principal,
        request: v1::ApplyPolicyRequest,
    ) -> Result<v1::ApplyPolicyResponse, Refusal> {
        let node = &self.node;
        if node.leading_term().is_none() {
            return Err(node.not_leader());
        }
        let document = PolicyDocument::parse(&request.text).map_err(|errors| malformed(&errors))?;
        let (in_force, lines) =
            node.consensus.read(|ledger| (ledger.policy().cloned(), licensed_lines(ledger)));
        let current = in_force.as_ref().map_or(0, |policy| policy.version);
        if let Some(base) = request.base_version
            && base != current
        {
            let message =
                format!("policy: version {current} is in force, this was made from {base}");
            return Err(Refusal::because(Reason::PolicySuperseded, message)
                .with_remedy("start again from the policy in force: triad policy show"));
        }
        let findings = document.lint(Some(&lines));
        let old = in_force.unwrap_or_default();
        let changes = diff_policies(&old, document.policy());
        // The same text under the same version is no change; another gets the
        // next, and loses against whoever was faster.
        let version = if old.text == request.text && current > 0 { current } else { current + 1 };
        let policy = document.into_policy(version);
        let committed = node.propose_by(by, Command::SetPolicy { policy }).await?;
        let position = Some(position(&committed));
        let answer = committed.answers.into_iter().next();
        let answer =
            answer.ok_or_else(|| Refusal::because(Reason::Internal, "no answer to a policy"))?;
        match answer.map_err(|denial| convert::denial(&denial))? {
            Outcome::PolicySet { changed } => {
                let findings = findings.iter().map(convert::finding).collect();
                Ok(v1::ApplyPolicyResponse { version, changed, changes, findings, position })
            }
            other => unreachable!("a policy is not answered {other:?}"),
        }
    }

    /// What would come of a request, by the policy in force or by another.
    pub(crate) async fn explained(
        &self,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Refusal> {
        let address = convert::address(&request.address)?;
        let holder = convert::holder(request.holder, address)?;
        let item = convert::one_item(request.item)?;
        let supposed = match &request.policy_text {
            None => None,
            Some(text) => {
                let document = PolicyDocument::parse(text).map_err(|errors| malformed(&errors))?;
                Some(document.into_policy(u64::MAX))
            }
        };
        let now = self.node.now();
        let (freshness, response) = self
            .read(|ledger| {
                let steps = match &supposed {
                    None => ledger.explain(&holder, &item),
                    Some(policy) => ledger.explain_under(policy, &holder, &item),
                };
                let version = match &supposed {
                    None => ledger.policy().map_or(0, |policy: &Policy| policy.version),
                    Some(_) => 0,
                };
                v1::ExplainResponse {
                    denial: denial_of(&steps),
                    steps: steps.iter().map(step).collect(),
                    holders: holders(ledger, &item.feature, now),
                    waiting: ledger.waiting_for(&item.feature),
                    policy_version: version,
                    freshness: None,
                }
            })
            .await;
        let mut response = v1::ExplainResponse { freshness: Some(freshness), ..response };
        // A rehearsal is about the policy, and not about today.
        if supposed.is_none()
            && let Err(refusal) = self.may_grant(freshness.linearizable)
        {
            nothing_is_granted(&mut response, refusal);
        }
        Ok(response)
    }

    /// Whether anything is granted at all, as far as this node knows.
    fn may_grant(&self, is_confirmed: bool) -> Result<(), Refusal> {
        let node = &self.node;
        let leader = node.consensus.leadership().leader;
        let follows = leader.is_some_and(|leader| leader != node.consensus.node_id());
        if !is_confirmed && !follows {
            return Err(node.no_quorum());
        }
        node.may_grant()
    }
}

/// What the policy says of a request does not count while nobody grants anything.
fn nothing_is_granted(response: &mut v1::ExplainResponse, refusal: Refusal) {
    let (decides, denies) = (v1::ExplainVerdict::Decides, v1::ExplainVerdict::Denies);
    for step in response.steps.iter_mut().filter(|step| step.verdict() == decides) {
        step.verdict = denies.into();
    }
    let quorum = v1::ExplainStep {
        asked: "quorum".to_owned(),
        verdict: decides.into(),
        numbers: refusal.message.clone(),
        ..v1::ExplainStep::default()
    };
    response.steps.insert(0, quorum);
    if let Some(answer) = response.steps.iter_mut().rfind(|step| step.asked == "answer") {
        answer.verdict = denies.into();
        answer.numbers.clone_from(&refusal.message);
    }
    response.denial = Some(refusal);
}

fn licensed_lines(ledger: &Ledger) -> Vec<Line> {
    ledger.licenses().flat_map(|license| license.lines.iter().cloned()).collect()
}

fn malformed(errors: &[Diagnostic]) -> Refusal {
    let message = match errors.first() {
        Some(first) => {
            format!("policy, line {}, column {}: {}", first.line, first.column, first.message)
        }
        None => "policy: it cannot be read".to_owned(),
    };
    Refusal::because(Reason::PolicyMalformed, message)
        .with_remedy("see all findings: triad policy check FILE")
}

/// The longest holders of a feature.
fn holders(ledger: &Ledger, feature: &FeatureName, now: Now) -> Vec<v1::CheckoutInfo> {
    let oldest = ledger.checkouts(CheckoutId(0)).take(HOLDERS_LOOKED_AT_MAX);
    let of_feature = oldest.filter(|(_, checkout)| {
        ledger.granted_items(checkout).iter().any(|item| item.feature == *feature)
    });
    let told = of_feature.take(HOLDERS_EXPLAINED_MAX);
    told.map(|(id, checkout)| checkout_info(ledger, id, checkout, now)).collect()
}

/// The denial that the last step tells; the answer's own words are there.
fn denial_of(steps: &[Step]) -> Option<Refusal> {
    let answer = steps.iter().rfind(|step| step.what == Asked::Answer)?;
    answer.denial.as_ref().map(convert::denial)
}

fn step(step: &Step) -> v1::ExplainStep {
    let asked = match step.what {
        Asked::License => "license",
        Asked::HostId => "hostid",
        Asked::Exclude => "exclude",
        Asked::Seats => "seats",
        Asked::Reserve => "reserve",
        Asked::Max => "max",
        Asked::Include => "include",
        Asked::Named => "named",
        Asked::Blocked => "blocked",
        Asked::Queue => "queue",
        Asked::Answer => "answer",
    };
    let verdict = match step.verdict {
        Verdict::Passes => v1::ExplainVerdict::Passes,
        Verdict::Denies => v1::ExplainVerdict::Denies,
        Verdict::Decides => v1::ExplainVerdict::Decides,
        Verdict::NotMeant => v1::ExplainVerdict::NotMeant,
    };
    v1::ExplainStep {
        asked: asked.to_owned(),
        pool_id: step.pool.map_or(0, |pool| pool.0),
        rule: step.rule.map(convert::rule),
        verdict: verdict.into(),
        numbers: step.numbers.clone(),
    }
}

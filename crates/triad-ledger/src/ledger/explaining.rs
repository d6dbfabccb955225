//! Why somebody would or would not be granted something: every rule that has a
//! say, in the order in which it is asked.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Ledger;
use crate::choice::Asking;
use crate::command::{Holder, Item};
use crate::denial::Denial;
use crate::names::{CheckoutId, PoolId};
use crate::policy::{Policy, RuleId, Subject};
use crate::pools::Pool;
use crate::rights::Share;
use crate::rulebook::{Named, Remaining};

/// One thing that has a say, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is asked.
    pub what: Asked,
    /// Of which pool. `None`: of the feature.
    pub pool: Option<PoolId>,
    /// The rule, if it is one of the policy.
    pub rule: Option<RuleId>,
    /// What it says.
    pub verdict: Verdict,
    /// The numbers, in words.
    pub numbers: String,
    /// The answer's denial; of [`Asked::Answer`] only.
    pub denial: Option<Denial>,
}

/// What is asked, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// Is the feature licensed, in this version and today?
    License,
    /// Do the line's host ids let the holder in?
    HostId,
    /// Is the holder excluded?
    Exclude,
    /// Are seats free?
    Seats,
    /// Are they kept for others?
    Reserve,
    /// Is the holder's MAX used up?
    Max,
    /// Is the holder included?
    Include,
    /// Does the line's list of users and hosts name the holder?
    Named,
    /// Was it taken from the holder lately, and blocked?
    Blocked,
    /// Do others wait?
    Queue,
    /// What would be the answer?
    Answer,
}

/// What a step says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not stand in the way.
    Passes,
    /// It does.
    Denies,
    /// It denies, and this is the denial that is told.
    Decides,
    /// It is not about this holder.
    NotMeant,
}

/// Writing down steps.
struct Steps {
    steps: Vec<Step>,
    pool: Option<PoolId>,
}

impl Steps {
    fn say(&mut self, what: Asked, rule: Option<RuleId>, passes: bool, numbers: String) {
        let verdict = if passes { Verdict::Passes } else { Verdict::Denies };
        let (pool, denial) = (self.pool, None);
        self.steps.push(Step { what, pool, rule, verdict, numbers, denial });
    }

    fn not_meant(&mut self, what: Asked, rule: RuleId, subject: &Subject) {
        let numbers = format!("it is about {subject}");
        let (pool, verdict) = (self.pool, Verdict::NotMeant);
        let (rule, denial) = (Some(rule), None);
        self.steps.push(Step { what, pool, rule, verdict, numbers, denial });
    }
}

impl Ledger {
    /// What would come of this holder's request for this item, and why: every
    /// rule that has a say, in the order in which it is asked, and the answer at
    /// the end. Nothing is changed. All seats of the feature's pools count as
    /// they are now, but for what lingers of the holder's own, which would come
    /// back to him: then it works on a copy, whose size is that of the ledger.
    pub fn explain(&self, holder: &Holder, item: &Item) -> Vec<Step> {
        let holder = Arc::new(holder.clone());
        let (lingering, same) = self.lingering_for(&holder, core::slice::from_ref(item));
        if lingering.is_empty() {
            return self.explain_now(&holder, item, &[]);
        }
        let mut supposed = self.clone();
        supposed.as_if_returned(&lingering, |ledger| ledger.explain_now(&holder, item, &same))
    }

    /// Who comes back for what lingered, one of `same`, does not wait.
    fn explain_now(&self, holder: &Arc<Holder>, item: &Item, same: &[CheckoutId]) -> Vec<Step> {
        let asking = self.asking(holder);
        let mut steps = Steps { steps: Vec::new(), pool: None };
        let mut any = false;
        for (id, pool) in self.pools.candidates(&item.feature) {
            any = true;
            steps.pool = Some(id);
            self.explain_pool(&asking, item, id, pool, &mut steps);
        }
        steps.pool = None;
        if !any {
            steps.say(Asked::License, None, false, "no license names it".to_string());
        }
        let blocked = self.stays.unblocked(holder, core::slice::from_ref(item), self.now_ms());
        if let Err(blocked) = &blocked {
            steps.say(Asked::Blocked, None, false, blocked.to_string());
        }
        let choices = asking.choose(core::slice::from_ref(item));
        let in_turn = self.choose_in_turn(asking, core::slice::from_ref(item), same, None);
        let waiting = self.queue.ahead(&item.feature, None);
        let free = in_turn.is_ok() || choices.is_ok_and(|choices| choices[0].out_of_turn);
        let numbers = match waiting {
            1 => "1 waits for the feature".to_string(),
            _ => format!("{waiting} wait for the feature"),
        };
        steps.say(Asked::Queue, None, waiting == 0 || free, numbers);
        match blocked.and(in_turn) {
            Ok(choices) => {
                steps.pool = Some(choices[0].seats.pool);
                let numbers = match item.seats.get() {
                    1 => "1 seat would be granted".to_string(),
                    seats => format!("{seats} seats would be granted"),
                };
                steps.say(Asked::Answer, None, true, numbers);
            }
            Err(denial) => {
                steps.decide(&denial);
                steps.say(Asked::Answer, None, false, denial.to_string());
                if let Some(answer) = steps.steps.last_mut() {
                    answer.denial = Some(denial);
                }
            }
        }
        steps.steps
    }

    /// As [`Ledger::explain`], if `policy` were in force. Works on a copy, whose
    /// size is that of the ledger.
    pub fn explain_under(&self, policy: &Policy, holder: &Holder, item: &Item) -> Vec<Step> {
        let mut supposed = self.clone();
        supposed.rules.set(policy.clone());
        supposed.follow_rules();
        supposed.explain(holder, item)
    }

    fn now_ms(&self) -> u64 {
        self.meta.at.cluster_ms
    }

    fn explain_pool(
        &self,
        asking: &Asking<'_>,
        item: &Item,
        id: PoolId,
        pool: &Pool,
        steps: &mut Steps,
    ) {
        let serves = pool.key.version >= item.version;
        let valid = pool.valid_at(self.meta.at.date_ms);
        let numbers = match (serves, valid) {
            (false, _) => format!("version {} licensed, {} wanted", pool.key.version, item.version),
            (true, false) => "outside its dates".to_string(),
            (true, true) => format!("version {} licensed and in force", pool.key.version),
        };
        steps.say(Asked::License, None, serves && valid, numbers);
        if !(serves && valid) {
            return;
        }
        if !pool.key.terms.hostids.is_empty() {
            let open = pool.key.terms.open_to(asking.holder);
            steps.say(Asked::HostId, None, open, "locked to host ids".to_string());
        }
        let who = self.rules.who(asking.holder);
        let rules = self.rules.of(id);
        let lists = rules.map(|rules| self.rules.lists(rules, &who)).unwrap_or_default();
        for (rule, means) in &lists.exclude {
            let (rule, subject) = (self.rules.rule_id(*rule), self.rules.subject(*rule));
            match means {
                true => {
                    steps.say(Asked::Exclude, Some(rule), false, format!("it excludes {subject}"))
                }
                false => steps.not_meant(Asked::Exclude, rule, subject),
            }
        }
        let fresh = self.pools.fresh(id, item.seats, asking.holder, &[]);
        let free = pool.free();
        let shared = match pool.key.terms.share {
            Share::NOTHING => String::new(),
            share => format!(", shared by {share}: {fresh} of them anew"),
        };
        let numbers = if pool.key.terms.uncounted {
            "not counted".to_string()
        } else {
            let (held, total) = (pool.held, pool.lendable());
            format!("{held} of {total} held, {} wanted{shared}", item.seats)
        };
        steps.say(Asked::Seats, None, fresh <= free, numbers);
        let Some(rules) = rules else { return };
        let kept = self.rules.kept(&self.pools, &item.feature, None);
        let Remaining { for_others, for_holder, rule } =
            self.rules.remaining(&kept, id, pool, &who);
        if rules.reserves() {
            let numbers = format!("{for_others} kept for others, {for_holder} for this holder");
            let rule = rule.map(|rule| self.rules.rule_id(rule));
            let passes = fresh <= free.saturating_sub(for_others);
            steps.say(Asked::Reserve, rule, passes, numbers);
        }
        for &rule in &rules.max {
            let (number, subject) = (self.rules.rule_id(rule), self.rules.subject(rule));
            match self.rules.max(rules, rule, &who) {
                Some((used, max)) => {
                    let numbers = format!("{used} of at most {max} held by {subject}");
                    steps.say(Asked::Max, Some(number), fresh == 0 || used + fresh <= max, numbers);
                }
                None => steps.not_meant(Asked::Max, number, subject),
            }
        }
        let missing = lists.include.iter().all(|(_, means)| !means);
        for (rule, means) in &lists.include {
            let (rule, subject) = (self.rules.rule_id(*rule), self.rules.subject(*rule));
            match (means, missing) {
                (true, _) => {
                    steps.say(Asked::Include, Some(rule), true, format!("it includes {subject}"));
                }
                (false, true) => {
                    let numbers = format!("it includes only {subject}");
                    steps.say(Asked::Include, Some(rule), false, numbers);
                }
                (false, false) => steps.not_meant(Asked::Include, rule, subject),
            }
        }
        if let Some(named) = rules.named(&who) {
            let numbers = match named {
                Named::Yes => "named",
                Named::No => "others are named",
                Named::Nobody => "nobody is named",
            };
            steps.say(Asked::Named, None, named == Named::Yes, numbers.to_string());
        }
    }
}

impl Steps {
    /// Marks the first step that gave this denial.
    fn decide(&mut self, denial: &Denial) {
        let (asked, rule): (Asked, Option<RuleId>) = match denial {
            Denial::FeatureUnknown { .. }
            | Denial::VersionNotLicensed { .. }
            | Denial::NotYetValid { .. }
            | Denial::Expired { .. } => (Asked::License, None),
            Denial::HostNotLicensed { .. } => (Asked::HostId, None),
            Denial::Excluded { rule, .. } => (Asked::Exclude, Some(*rule)),
            Denial::NoSeat { .. } | Denial::MoreThanExist { .. } => (Asked::Seats, None),
            Denial::AllReserved { rule, .. } => (Asked::Reserve, Some(*rule)),
            Denial::PolicyMax { rule, .. } => (Asked::Max, Some(*rule)),
            Denial::NotIncluded { rule, .. } => (Asked::Include, Some(*rule)),
            Denial::NoNamedUsers { .. } | Denial::NotNamed { .. } => (Asked::Named, None),
            Denial::Blocked { .. } => (Asked::Blocked, None),
            Denial::QueueNonempty { .. } => (Asked::Queue, None),
            _ => return,
        };
        let decides = self.steps.iter_mut().find(|step| {
            asked == step.what
                && step.verdict == Verdict::Denies
                && (rule.is_none() || step.rule == rule)
        });
        if let Some(step) = decides {
            step.verdict = Verdict::Decides;
        }
    }
}

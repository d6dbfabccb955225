//! Whom a line of an options file is about: one of them, several, or all.

use std::collections::BTreeSet;
use std::ops::Range;

use triad_ledger::names::Label;
use triad_ledger::policy::{FeatureSelector, GroupName, Network, RuleKind, Subject};

use super::import::{Importer, add_remark, label};
use super::keywords::TYPES;
use super::lines::Word;
use super::words::{is_address, shown};
use crate::suggest::nearest;

/// A subject, and where it is named.
pub(super) type Placed = (Subject, Option<Range<usize>>);

/// What MAX lines said so far, each feature as it was chosen.
#[derive(Default)]
pub(super) struct Capped {
    each_user: BTreeSet<String>,
    each_group: BTreeSet<String>,
    groups: BTreeSet<(String, GroupName)>,
}

/// MAX for everybody, each for himself; and for each group of the file.
const ALL_USERS: &str = "ALL_USERS";
const ALL_GROUPS: &str = "ALL_GROUPS";

impl Importer<'_> {
    /// The subjects of a line that says yes or no: one, or, as some guides
    /// write it, several of the same type.
    pub(super) fn subjects(
        &mut self,
        form: &str,
        rest: &[Word],
        lets_in: bool,
        remark: &mut String,
    ) -> Result<Vec<Placed>, String> {
        let [kind, names @ ..] = rest else { return Err(too_early(form)) };
        known_type(kind, form)?;
        let may_be_several = ["USER", "HOST", "INTERNET", "GROUP", "HOST_GROUP"]
            .iter()
            .any(|several| kind.text.eq_ignore_ascii_case(several));
        let [first, .., last] = names else {
            return self.subject(form, rest, lets_in, remark).map(|subject| vec![subject]);
        };
        if !may_be_several {
            return self.subject(form, rest, lets_in, remark).map(|subject| vec![subject]);
        }
        let mut subjects = Vec::with_capacity(names.len());
        for name in names {
            let one = [kind.clone(), name.clone()];
            subjects.push(self.subject(form, &one, lets_in, remark)?);
        }
        let (count, kind) = (names.len(), shown(&kind.text));
        let message = format!("a line is about one {kind}, and here stand {count} names");
        let help = "each became a rule; if it is one name with blanks, quote it";
        self.warn("several-names", first.span.start..last.span.end, &message, help);
        add_remark(remark, &format!("{count} rules, one for each name"));
        Ok(subjects)
    }

    /// The subjects of a MAX or RESERVE, whose count is for one.
    pub(super) fn counted_subjects(
        &mut self,
        form: &str,
        kind: RuleKind,
        selector: &FeatureSelector,
        rest: &[Word],
        remark: &mut String,
    ) -> Result<Vec<Placed>, String> {
        let is_max = matches!(kind, RuleKind::Max(_));
        let chosen = format!("{selector:?}");
        if let ([kind, name], true) = (rest, is_max) {
            let is = |of: &str, all| kind.text.eq_ignore_ascii_case(of) && name.text == all;
            if is("USER", ALL_USERS) {
                self.capped.each_user.insert(chosen);
                add_remark(remark, "each user for himself, but those with a MAX of their own");
                return Ok(vec![(Subject::EachUser, Some(name.span.clone()))]);
            }
            if is("GROUP", ALL_GROUPS) {
                return self.each_group(chosen, name, remark);
            }
        }
        let (subject, place) = self.subject(form, rest, false, remark)?;
        if !is_max {
            return Ok(vec![(subject, place)]);
        }
        let void = |all| {
            Err(format!("MAX for {all} stands above it, which makes it void; move it above that"))
        };
        match &subject {
            Subject::User(_) if self.capped.each_user.contains(&chosen) => return void(ALL_USERS),
            Subject::Group(_) if self.capped.each_group.contains(&chosen) => {
                return void(ALL_GROUPS);
            }
            Subject::Group(name) => {
                self.capped.groups.insert((chosen, name.clone()));
            }
            _ => {}
        }
        Ok(vec![(subject, place)])
    }

    /// The groups of the file that have no MAX of their own yet.
    fn each_group(
        &mut self,
        chosen: String,
        name: &Word,
        remark: &mut String,
    ) -> Result<Vec<Placed>, String> {
        let own =
            |group: &&GroupName| !self.capped.groups.contains(&(chosen.clone(), (*group).clone()));
        let groups: Vec<Placed> = self
            .policy
            .groups
            .keys()
            .filter(own)
            .map(|group| (Subject::Group(group.clone()), Some(name.span.clone())))
            .collect();
        self.capped.each_group.insert(chosen);
        if groups.is_empty() {
            return Err("there is no GROUP without a MAX of its own".to_owned());
        }
        add_remark(remark, &format!("for each group that has none of its own: {}", groups.len()));
        Ok(groups)
    }

    fn subject(
        &mut self,
        form: &str,
        rest: &[Word],
        lets_in: bool,
        remark: &mut String,
    ) -> Result<Placed, String> {
        if let [kind, _, ..] = rest {
            known_type(kind, form)?;
        }
        let (kind, name) = match rest {
            [kind, name] => (kind, name),
            [kind, _, more, ..] => {
                let (kind, more) = (shown(&kind.text), shown(&more.text));
                return Err(format!(
                    "one {kind} is expected, {more:?} is too much; quote names with blanks, put \
                     several into a group"
                ));
            }
            _ => return Err(too_early(form)),
        };
        let upper = kind.text.to_ascii_uppercase();
        let subject = match upper.as_str() {
            "USER" if name.text == ALL_USERS => Err(format!("only MAX knows {ALL_USERS}")),
            "USER" => {
                self.named_like_a_group(true, name);
                whole(&name.text).map(Subject::User)
            }
            "DISPLAY" => whole(&name.text).map(Subject::Display),
            "PROJECT" => whole(&name.text).map(Subject::Project),
            "HOST" if is_address(&name.text) => {
                add_remark(remark, "an address is a network here");
                network(&name.text).map(Subject::Internet)
            }
            "HOST" => {
                self.named_like_a_group(false, name);
                whole(&name.text).map(Subject::Host)
            }
            "INTERNET" => network(&name.text).map(Subject::Internet),
            "GROUP" | "USER_GROUP" => self.group(true, name, lets_in, remark),
            "HOST_GROUP" => self.group(false, name, lets_in, remark),
            _ => Err(not_a_type(kind, form)),
        };
        subject.map(|subject| (subject, Some(name.span.clone())))
    }

    /// A single name that is also that of a group is more likely the group.
    fn named_like_a_group(&mut self, users: bool, name: &Word) {
        let Ok(group) = GroupName::parse(&name.text) else { return };
        let (is_group, keyword, one) = if users {
            (self.policy.groups.contains_key(&group), "GROUP", "user")
        } else {
            (self.policy.host_groups.contains_key(&group), "HOST_GROUP", "host")
        };
        if is_group {
            let shown = shown(&name.text);
            let message = format!("{shown:?} is a {keyword}, but this is about one {one}");
            let help = format!("write {keyword} {shown} to mean its members");
            self.warn("group-name", name.span.clone(), &message, &help);
        }
    }
}

fn too_early(form: &str) -> String {
    format!("it ends too early; expected {form}")
}

fn known_type(kind: &Word, form: &str) -> Result<(), String> {
    let upper = kind.text.to_ascii_uppercase();
    if TYPES.contains(&upper.as_str()) || upper == "USER_GROUP" {
        return Ok(());
    }
    Err(not_a_type(kind, form))
}

fn not_a_type(kind: &Word, form: &str) -> String {
    let hint = nearest(&kind.text, TYPES).map(|t| format!("; did you mean {t}?"));
    let hint = hint.unwrap_or_else(|| format!("; expected {form}"));
    format!("{:?} is not one of {}{hint}", shown(&kind.text), TYPES.join(", "))
}

/// A name that is compared whole.
fn whole(text: &str) -> Result<Label, String> {
    if text.contains('*') {
        return Err("names are compared whole, `*` is no wildcard; put them into a group".into());
    }
    label(text)
}

fn network(text: &str) -> Result<Network, String> {
    Network::parse(text).map_err(|reason| format!("{:?}: {reason}", shown(text)))
}

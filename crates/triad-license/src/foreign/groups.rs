//! The groups of an options file, and rules that name them.

use std::collections::BTreeSet;

use triad_ledger::names::Label;
use triad_ledger::policy::{GROUPS_MAX, GroupName, MEMBERS_MAX, Network, Subject};

use super::import::{Importer, Outcome, add_remark, label};
use super::lines::{Line, Word};
use super::report::Fate;
use super::words::{is_address, shown};
use crate::diagnostic::DIAGNOSTICS_MAX;
use crate::suggest::nearest;

impl Importer<'_> {
    /// `GROUP` and `HOST_GROUP`; `None`: another line.
    pub(super) fn group_line(&mut self, line: &Line) -> Option<Outcome> {
        let (keyword, rest) = line.words.split_first()?;
        let users = match keyword.text.to_ascii_uppercase().as_str() {
            "GROUP" | "USER_GROUP" => true,
            "HOST_GROUP" => false,
            _ => return None,
        };
        let Some((name, members)) = rest.split_first() else {
            let form = format!("write {} name member ...", keyword.text);
            return Some((Fate::NotCarried, form));
        };
        let group = match GroupName::parse(&name.text) {
            Ok(group) => group,
            Err(reason) => {
                return Some((Fate::NotCarried, format!("{:?}: {reason}", shown(&name.text))));
            }
        };
        if self.policy.groups.len() + self.policy.host_groups.len() >= GROUPS_MAX {
            let why = format!("a policy has at most {GROUPS_MAX} groups");
            return Some((Fate::NotCarried, why));
        }
        let remarks = if users {
            self.group_places.entry(group.clone()).or_insert(name.span.clone());
            self.users(group, members)
        } else {
            self.host_group_places.entry(group.clone()).or_insert(name.span.clone());
            self.hosts(group, members)
        };
        Some((Fate::Carried, remarks))
    }

    fn users(&mut self, group: GroupName, members: &[Word]) -> String {
        let mut set = self.policy.groups.remove(&group).unwrap_or_default();
        let mut left_out = LeftOut::default();
        for word in members {
            self.comma(word);
            match self.member(&word.text) {
                Err(reason) => left_out.add(word, &reason),
                Ok(label) if label.as_str().contains('*') => {
                    let help = "names are compared whole; list the users";
                    self.warn("wildcard", word.span.clone(), "`*` is no wildcard here", help);
                    set.insert(label);
                }
                Ok(label) => self.count(set.insert(label), word),
            }
        }
        self.policy.groups.insert(group, set);
        left_out.told()
    }

    fn hosts(&mut self, group: GroupName, members: &[Word]) -> String {
        let mut hosts = self.policy.host_groups.remove(&group).unwrap_or_default();
        let mut left_out = LeftOut::default();
        for word in members {
            self.comma(word);
            if word.text.contains(['*', '/']) && !is_address(&word.text) {
                let reason = match word.text.contains('*') {
                    true => "names are compared whole, `*` is no wildcard",
                    false => "it is no network, and no host has a `/` in its name",
                };
                left_out.add(word, reason);
                continue;
            }
            if is_address(&word.text) {
                match Network::parse(&word.text) {
                    Err(reason) => left_out.add(word, &reason.to_string()),
                    Ok(network) => {
                        let is_new = self.networks.insert((group.clone(), network.to_string()));
                        if is_new {
                            hosts.networks.push(network);
                        }
                        self.count(is_new, word);
                    }
                }
                continue;
            }
            match self.member(&word.text) {
                Err(reason) => left_out.add(word, &reason),
                Ok(label) => self.count(hosts.names.insert(label), word),
            }
        }
        self.policy.host_groups.insert(group, hosts);
        left_out.told()
    }

    fn comma(&mut self, word: &Word) {
        if word.text.contains(',') {
            let help = "members are separated by blanks";
            self.warn("comma", word.span.clone(), "the comma is part of the name", help);
        }
    }

    fn member(&self, text: &str) -> Result<Label, String> {
        if self.member_count >= MEMBERS_MAX {
            return Err(format!("groups have at most {MEMBERS_MAX} members together"));
        }
        label(text)
    }

    fn count(&mut self, is_new: bool, word: &Word) {
        if is_new {
            self.member_count += 1;
        } else {
            let help = "it counts once; remove one";
            self.warn("member-twice", word.span.clone(), "the same member twice", help);
        }
    }

    /// A group that is defined nowhere has no members. A rule that lets it in
    /// is kept, because without it the feature would be open to all.
    pub(super) fn group(
        &mut self,
        users: bool,
        name: &Word,
        lets_in: bool,
        remark: &mut String,
    ) -> Result<Subject, String> {
        let group = GroupName::parse(&name.text).map_err(|reason| reason.to_string())?;
        let (keyword, other) =
            if users { ("GROUP", "HOST_GROUP") } else { ("HOST_GROUP", "GROUP") };
        let in_users = self.policy.groups.contains_key(&group);
        let in_hosts = self.policy.host_groups.contains_key(&group);
        if !(if users { in_users } else { in_hosts }) {
            let shown = shown(&name.text);
            let help = if in_users || in_hosts {
                format!("{shown:?} is a {other}, which is another thing")
            } else if let Some(near) = self.near(&name.text, users) {
                format!("did you mean {near:?}?")
            } else {
                format!("define it with {keyword} {shown} ...")
            };
            let message = format!("no {keyword} is called {shown:?}");
            self.warn("unknown-group", name.span.clone(), &message, &help);
            if !lets_in {
                return Err(format!("{message}, so the line is about nobody; {help}"));
            }
            let groups = self.policy.groups.len() + self.policy.host_groups.len();
            if groups >= GROUPS_MAX {
                return Err(format!("a policy has at most {GROUPS_MAX} groups"));
            }
            add_remark(remark, &format!("{message}: an empty one lets nobody in; {help}"));
            if users {
                self.group_places.insert(group.clone(), name.span.clone());
                self.policy.groups.insert(group.clone(), BTreeSet::new());
            } else {
                self.host_group_places.insert(group.clone(), name.span.clone());
                self.policy.host_groups.insert(group.clone(), Default::default());
            }
        }
        Ok(if users { Subject::Group(group) } else { Subject::HostGroup(group) })
    }

    /// A group of nearly this name. Once there are as many findings as are
    /// reported nothing is looked up any more: groups are many.
    fn near(&self, name: &str, users: bool) -> Option<&str> {
        if self.findings.len() >= DIAGNOSTICS_MAX {
            None
        } else if users {
            nearest(name, self.policy.groups.keys().map(GroupName::as_str))
        } else {
            nearest(name, self.policy.host_groups.keys().map(GroupName::as_str))
        }
    }
}

/// Members that were left out, for the remark.
#[derive(Default)]
struct LeftOut {
    names: Vec<String>,
    count: usize,
}

impl LeftOut {
    fn add(&mut self, word: &Word, reason: &str) {
        const TOLD_MAX: usize = 5;
        self.count += 1;
        if self.count <= TOLD_MAX {
            self.names.push(format!("{:?} was left out: {reason}", shown(&word.text)));
        }
    }

    fn told(self) -> String {
        let more = self.count - self.names.len();
        let mut told = self.names.join("; ");
        if more > 0 {
            told.push_str(&format!("; and {more} more"));
        }
        told
    }
}

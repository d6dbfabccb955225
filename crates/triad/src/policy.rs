//! `triad policy`: the site's rules, checked, compared and put in force.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;
use triad_license::{PolicyDocument, diff_policies};
use triad_proto::v1::{
    ApplyPolicyRequest, ApplyPolicyResponse, CheckPolicyRequest, CheckPolicyResponse, Finding,
    GetPolicyRequest,
};

use crate::args::policy::{
    PolicyApplyArguments, PolicyCheckArguments, PolicyDiffArguments, PolicyVerb,
};
use crate::cluster::{Admin, Cluster, Read};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::foreign;
use crate::lists::warn_if_stale;
use crate::settings::{Settings, read_text};
use crate::text::{printable, printable_lines};
use crate::why;

/// Does what was asked with policies.
pub async fn run(settings: &Settings, verb: PolicyVerb) -> Result<Exit, Failure> {
    match verb {
        PolicyVerb::Check(arguments) => check(settings, &arguments).await,
        PolicyVerb::Diff(arguments) => diff(settings, &arguments).await,
        PolicyVerb::Apply(arguments) => apply(settings, &arguments).await,
        PolicyVerb::Show => show(settings).await,
        PolicyVerb::Import(arguments) => foreign::import(settings, &arguments),
        PolicyVerb::Simulate(arguments) => {
            let text = match &arguments.policy {
                Some(file) => match Draft::read(file)? {
                    Draft { document: Some(_), text, .. } => Some(text),
                    broken => return broken.refuse(settings),
                },
                None => None,
            };
            why::run(settings, &arguments.feature, &arguments.asking, text).await
        }
    }
}

/// A policy in a file of this machine.
struct Draft {
    file: String,
    text: String,
    /// `None`: it has errors.
    document: Option<PolicyDocument>,
    findings: Vec<Finding>,
}

impl Draft {
    fn read(path: &Path) -> Result<Self, Failure> {
        Ok(Self::new(path.display().to_string(), read_text(path)?))
    }

    fn new(file: String, text: String) -> Self {
        let (document, found) = match PolicyDocument::parse(&text) {
            Ok(document) => {
                let found = document.lint(None);
                (Some(document), found)
            }
            Err(found) => (None, found),
        };
        let findings = found.iter().map(|found| finding::local(found, &file)).collect();
        Draft { file, text, document, findings }
    }

    /// Tells the errors that keep it from being used.
    fn refuse(&self, settings: &Settings) -> Result<Exit, Failure> {
        settings.output.notice(&finding::render(&self.findings));
        let summary = finding::summary(&self.findings);
        let file = printable(&self.file);
        settings.output.notice(&format!("{file}: {summary}; it cannot be applied\n"));
        Ok(Exit::Error)
    }

    /// What a node finds in it.
    async fn ask(&self, cluster: &Cluster, settings: &Settings) -> Result<Checked, Failure> {
        let request = CheckPolicyRequest { text: self.text.clone() };
        let read = cluster
            .read(async |admin: &mut Admin| {
                Ok(admin.check_policy(request.clone()).await?.into_inner())
            })
            .await?;
        warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
        let mut answer = read.answer;
        let findings = std::mem::take(&mut answer.findings);
        answer.findings =
            findings.into_iter().map(|found| finding::of_node(found, &self.file)).collect();
        Ok(answer)
    }
}

type Checked = CheckPolicyResponse;

async fn check(settings: &Settings, arguments: &PolicyCheckArguments) -> Result<Exit, Failure> {
    let draft = Draft::read(&arguments.file)?;
    let asks = arguments.online || (!arguments.offline && settings.names_servers());
    let checked = match draft.document {
        // What cannot be read here cannot be read there.
        None => None,
        Some(_) if !asks => None,
        Some(_) => {
            let asked = async { draft.ask(&Cluster::new(settings)?, settings).await };
            match asked.await {
                Ok(checked) => Some(checked),
                Err(failure) if arguments.online => return Err(failure),
                Err(failure) => {
                    settings.output.warn(&format!("not compared with what is licensed: {failure}"));
                    None
                }
            }
        }
    };
    let compared = checked.is_some();
    let findings = match checked {
        Some(checked) => checked.findings,
        None => draft.findings,
    };
    let (errors, warnings) = finding::count(&findings);
    let value = json!({
        "file": draft.file,
        "errors": errors,
        "warnings": warnings,
        "comparedWithLicenses": compared,
        "findings": findings,
    });
    settings.output.answer(&value, || {
        let scope = match (errors, compared) {
            (0, true) => "; compared with what is licensed",
            (0, false) => "; not compared with what is licensed",
            _ => "",
        };
        let (file, summary) = (printable(&draft.file), finding::summary(&findings));
        format!("{}{file}: {summary}{scope}\n", finding::render(&findings))
    })?;
    Ok(if errors > 0 { Exit::Error } else { Exit::Ok })
}

async fn diff(settings: &Settings, arguments: &PolicyDiffArguments) -> Result<Exit, Failure> {
    let draft = Draft::read(&arguments.file)?;
    let Some(document) = &draft.document else { return draft.refuse(settings) };
    let (changes, against) = match &arguments.newer {
        Some(newer) => {
            let newer = Draft::read(newer)?;
            let Some(new) = &newer.document else { return newer.refuse(settings) };
            (diff_policies(document.policy(), new.policy()), json!(draft.file))
        }
        None => {
            let checked = draft.ask(&Cluster::new(settings)?, settings).await?;
            (checked.changes, json!(checked.version))
        }
    };
    let value = json!({ "against": against, "changes": changes });
    settings.output.answer(&value, || told_changes(&changes))?;
    Ok(Exit::Ok)
}

async fn apply(settings: &Settings, arguments: &PolicyApplyArguments) -> Result<Exit, Failure> {
    let draft = Draft::read(&arguments.file)?;
    if draft.document.is_none() {
        return draft.refuse(settings);
    }
    let cluster = Cluster::new(settings)?;
    let checked = draft.ask(&cluster, settings).await?;
    settings.output.notice(&finding::render(&checked.findings));
    if finding::count(&checked.findings).0 > 0 {
        return Draft { findings: checked.findings, ..draft }.refuse_again(settings);
    }
    let base_version = arguments.base_version.unwrap_or(checked.version);
    if arguments.dry_run {
        settings.output.answer(&checked, || {
            let next = match (base_version == checked.version, checked.changes.is_empty()) {
                (false, _) => format!(
                    "it would be refused: it is made from version {base_version}, and version {} \
                     is in force\n",
                    checked.version
                ),
                (true, true) => String::new(),
                (true, false) => "nothing was applied: this was a rehearsal\n".to_owned(),
            };
            told_changes(&checked.changes) + &next
        })?;
        let fits = base_version == checked.version;
        return Ok(if fits { Exit::Ok } else { Exit::Error });
    }
    // What was shown is what is applied: if somebody else was faster, it is
    // refused.
    let request = ApplyPolicyRequest { text: draft.text.clone(), base_version: Some(base_version) };
    let Read { answer: applied, address } = cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.apply_policy(request.clone()).await?.into_inner())
        })
        .await?;
    settings.output.answer(&applied, || told_applied(&applied))?;
    cluster.warn_if_alone(settings, &address).await;
    Ok(Exit::Ok)
}

async fn show(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            Ok(admin.get_policy(GetPolicyRequest {}).await?.into_inner())
        })
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    if settings.output.is_json() {
        settings.output.answer(&read.answer, String::new)?;
    } else if read.answer.version == 0 {
        settings.output.notice(
            "no policy was ever applied: seats go to whoever asks first\n  begin with: triad \
             policy apply policy.toml\n",
        );
    } else {
        settings.output.document(&read.answer.text)?;
    }
    Ok(Exit::Ok)
}

impl Draft {
    /// The same when the errors themselves were told already.
    fn refuse_again(&self, settings: &Settings) -> Result<Exit, Failure> {
        let (file, summary) = (printable(&self.file), finding::summary(&self.findings));
        settings.output.notice(&format!("{file}: {summary}; it was not applied\n"));
        Ok(Exit::Error)
    }
}

/// Changes as lines, or a word that there are none.
pub fn told_changes(changes: &[String]) -> String {
    match changes {
        [] => "no change\n".to_owned(),
        changes => changes.iter().map(|change| printable_lines(change) + "\n").collect(),
    }
}

fn told_applied(applied: &ApplyPolicyResponse) -> String {
    let mut text = String::new();
    if !applied.changes.is_empty() {
        text.push_str(&told_changes(&applied.changes));
    }
    let version = applied.version;
    let _ = match applied.changed {
        true => writeln!(text, "policy version {version}: in force on all nodes"),
        false => writeln!(text, "policy version {version}: was in force already"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_knows_whether_it_can_be_used() {
        let good = Draft::new("p.toml".into(), "case = \"exact\"\n".into());
        assert!(good.document.is_some() && good.findings.is_empty());
        let doubtful = Draft::new("p.toml".into(), "[groups]\nnobody = []\n".into());
        assert!(doubtful.document.is_some());
        assert_eq!(finding::count(&doubtful.findings).0, 0, "{:?}", doubtful.findings);
        let bad = Draft::new("p.toml".into(), "[[max]]\nseats = 1\n".into());
        assert!(bad.document.is_none() && finding::count(&bad.findings).0 > 0);
    }

    #[test]
    fn what_was_applied_is_told_with_its_version() {
        let applied = ApplyPolicyResponse {
            version: 4,
            changed: true,
            changes: vec!["+ max solver group cfd: 5 seats".into()],
            ..ApplyPolicyResponse::default()
        };
        let expected = "+ max solver group cfd: 5 seats\npolicy version 4: in force on all nodes\n";
        assert_eq!(told_applied(&applied), expected);
        let again = ApplyPolicyResponse { changed: false, changes: vec![], ..applied };
        assert_eq!(told_applied(&again), "policy version 4: was in force already\n");
        assert_eq!(told_changes(&[]), "no change\n");
    }
}

//! `triad cert`: issuing and renewing the certificates of nodes, where the
//! authority is.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use triad_server::init::{IssuedFiles, certificates_in, issue_certificate, renew_certificate};

use crate::args::certs::{CertVerb, IssueArguments, RenewArguments};
use crate::clock;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::table::{Column, Table};
use crate::text::{instant, printable, rfc3339};

const DAY_MS: u64 = 86_400_000;
/// What ends sooner is to be renewed.
const SOON_DAYS: u64 = 30;

/// Does what was asked with certificates.
pub fn run(settings: &Settings, verb: &CertVerb) -> Result<Exit, Failure> {
    match verb {
        CertVerb::Issue(arguments) => issue(settings, arguments),
        CertVerb::Renew(arguments) => renew(settings, arguments),
        CertVerb::Show { dir } => show(settings, dir),
    }
}

fn issue(settings: &Settings, arguments: &IssueArguments) -> Result<Exit, Failure> {
    let IssueArguments { node, dir, out, days } = arguments;
    let issued = issue_certificate(dir, &configuration(dir, node)?, out, *days, clock::now())?;
    tell(settings, &[issued], "copy them over those of the node; it takes them up as it runs")
}

fn renew(settings: &Settings, arguments: &RenewArguments) -> Result<Exit, Failure> {
    let RenewArguments { node, dir, days, .. } = arguments;
    let configurations = match node {
        Some(node) => vec![configuration(dir, node)?],
        None => {
            let homes = certificates_in(dir)?.into_iter().filter(|info| info.whose != "ca");
            homes.map(|info| dir.join(info.whose).join("triad.toml")).collect()
        }
    };
    let mut renewed = Vec::new();
    for configuration in configurations {
        renewed.push(renew_certificate(dir, &configuration, *days, clock::now())?);
    }
    let next = "a node that runs with these files takes them up within seconds; \
                copy them to those that run elsewhere";
    tell(settings, &renewed, next)
}

fn tell(settings: &Settings, issued: &[IssuedFiles], next: &str) -> Result<Exit, Failure> {
    let value: Vec<_> = issued
        .iter()
        .map(|one| {
            json!({
                "nodeId": one.node_id.to_string(),
                "name": one.name,
                "certificate": one.certificate.display().to_string(),
                "key": one.key.display().to_string(),
                "ends": rfc3339(ms(one.ends)),
            })
        })
        .collect();
    settings.output.answer(&json!({ "certificates": value }), || {
        let line = |one: &IssuedFiles| {
            let (file, key) = (one.certificate.display(), one.key.display());
            let name = printable(&one.name);
            printable(&format!("{name}: {file} and {key}, until {}", instant(ms(one.ends))))
        };
        let lines: Vec<_> = issued.iter().map(line).collect();
        format!("{}\n{next}\n", lines.join("\n"))
    })?;
    Ok(Exit::Ok)
}

fn show(settings: &Settings, dir: &Path) -> Result<Exit, Failure> {
    let now_ms = clock::now_ms();
    let mut table = Table::new(&[
        Column::text("WHOSE"),
        Column::text("FILE"),
        Column::instant("ENDS"),
        Column::number("DAYS LEFT"),
        Column::text("STATE"),
    ]);
    let mut rows = Vec::new();
    let mut worst = Exit::Ok;
    for info in certificates_in(dir)? {
        let ends_ms = info.ends.as_ref().map_or(0, |ends| ms(*ends));
        let left = ends_ms.saturating_sub(now_ms) / DAY_MS;
        let state = match &info.ends {
            Err(error) => error.as_str(),
            Ok(_) if ends_ms <= now_ms => "expired",
            Ok(_) if left < SOON_DAYS => "ends soon",
            Ok(_) => "valid",
        };
        if state != "valid" {
            worst = Exit::Degraded;
        }
        let file = info.file.display().to_string();
        table.add([
            info.whose.as_str().into(),
            file.as_str().into(),
            ends_ms.into(),
            left.into(),
            state.into(),
        ]);
        rows.push(json!({
            "whose": info.whose, "file": file, "ends": rfc3339(ends_ms), "daysLeft": left,
            "state": state,
        }));
    }
    settings.output.list(&json!({ "certificates": rows }), &rows, || table)?;
    Ok(worst)
}

/// The configuration of a node, by the directory that it has.
fn configuration(dir: &Path, node: &str) -> Result<PathBuf, Failure> {
    let file = dir.join(node).join("triad.toml");
    if file.exists() {
        return Ok(file);
    }
    Err(Failure::Usage {
        what: format!("{} is not there", file.display()),
        remedy: "name the directory of the node below --dir, as `triad cert show` does".to_owned(),
    })
}

fn ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

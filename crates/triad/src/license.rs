//! `triad license` for sites: what a document says, whether it is good, and
//! putting it in force.

use std::path::Path;

use serde_json::json;
use triad_license::{
    Binding, Keyring, LicenseError, Site, Summary, authenticate, diff_licenses, show, text_of,
    verify,
};
use triad_proto::v1::{ApplyLicenseRequest, ApplyLicenseResponse, LicenseInfo};

use crate::args::license::{LicenseApplyArguments, LicenseDiffArguments, LicenseVerb};
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::foreign;
use crate::lists::{all_licenses, warn_if_stale};
use crate::policy::told_changes;
use crate::publisher;
use crate::settings::{Settings, read, read_text};
use crate::table::{Cell, Column, Table};
use crate::text::{counted, printable, printable_lines};

/// Does what was asked with licenses.
pub async fn run(settings: &Settings, verb: LicenseVerb) -> Result<Exit, Failure> {
    match verb {
        LicenseVerb::Apply(arguments) => apply(settings, &arguments).await,
        LicenseVerb::Diff(arguments) => diff(settings, &arguments).await,
        LicenseVerb::Convert(arguments) => foreign::convert(settings, &arguments),
        LicenseVerb::List => list(settings).await,
        LicenseVerb::Show { file } => {
            let summary = with_document(&file, show)?;
            print(settings, &summary)
        }
        LicenseVerb::Verify { file, keys, cluster } => {
            let keyring = keyring(&keys)?;
            let (summary, unseen) = with_document(&file, |text| {
                let authentic = authenticate(text, &keyring)?;
                let Some(cluster_id) = &cluster else { return Ok((authentic.summary(), None)) };
                // Which machines a cluster has, only its nodes know.
                let binding = authentic.binding();
                let site = Site { cluster_id, hostids: binding.hosts().unwrap_or_default() };
                let verified = verify(text, &keyring, &site, clock::now_ms())?;
                Ok(match binding {
                    Binding::Cluster(_) => (verified.summary(), None),
                    Binding::Group { .. } => (verified.summary(), Some(binding.to_string())),
                    // Nothing was seen of the site.
                    Binding::Hosts(_) => (authentic.summary(), Some(binding.to_string())),
                })
            })?;
            print(settings, &summary)?;
            if let Some(binding) = unseen {
                settings.output.warn(&format!(
                    "it is bound to {}: each node looks at its own host, and here none was looked at",
                    printable(&binding)
                ));
            }
            Ok(Exit::Ok)
        }
        LicenseVerb::Keygen { out } => publisher::keygen(settings, &out),
        LicenseVerb::Issue { keys, terms, out } => {
            publisher::issue_license(settings, &keys, &terms, out.as_deref())
        }
    }
}

/// Reads a publisher's public keys: each a file, or a key line itself.
pub fn keyring(keys: &[String]) -> Result<Keyring, Failure> {
    let mut keyring = Keyring::new();
    for key in keys {
        // A key line has no place for a path separator at its beginning, and
        // no file is named like this.
        let is_line = key.trim_start().starts_with("triad-publisher-");
        let text = if is_line { key.clone() } else { read_text(Path::new(key))? };
        let place = || if is_line { "the public key".to_owned() } else { key.clone() };
        let failed = |source| Failure::License { place: place(), source };
        let read = Keyring::parse(&text).map_err(failed)?;
        if read.is_empty() {
            let what = format!("{}: there is no public key in it", place());
            let remedy =
                "a public key reads triad-publisher-public-v1:<key id>:<base64>".to_owned();
            return Err(Failure::Usage { what, remedy });
        }
        for key in read.keys() {
            keyring.trust(key.clone()).map_err(failed)?;
        }
    }
    Ok(keyring)
}

async fn apply(settings: &Settings, arguments: &LicenseApplyArguments) -> Result<Exit, Failure> {
    // A file that no node could read is refused here, with its line.
    let look = |text: &str| show(text).map(|summary| (summary, text.to_owned()));
    let (offered, text) = with_document(&arguments.file, look)?;
    let cluster = Cluster::new(settings)?;
    let in_force = in_force(&cluster, settings).await?;
    let changes = changes(&in_force, &offered);
    if arguments.dry_run {
        let value = json!({
            "licenseId": offered.license,
            "serial": offered.serial,
            "inForce": same_license(&in_force, &offered).map(|license| license.serial),
            "changes": changes,
        });
        settings.output.answer(&value, || {
            let rehearsal = "nothing was applied, and nobody checked the signature\n";
            told_changes(&changes) + rehearsal
        })?;
        return Ok(Exit::Ok);
    }
    let request = ApplyLicenseRequest { text };
    let read = cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.apply_license(request.clone()).await?.into_inner())
        })
        .await?;
    settings.output.answer(&read.answer, || {
        let changes = if read.answer.changed { told_changes(&changes) } else { String::new() };
        changes + &applied(&read.answer)
    })?;
    cluster.warn_if_alone(settings, &read.address).await;
    Ok(Exit::Ok)
}

async fn diff(settings: &Settings, arguments: &LicenseDiffArguments) -> Result<Exit, Failure> {
    let first = with_document(&arguments.file, show)?;
    let changes = match &arguments.newer {
        Some(newer) => diff_licenses(&first, &with_document(newer, show)?),
        None => changes(&in_force(&Cluster::new(settings)?, settings).await?, &first),
    };
    let value = json!({ "changes": changes });
    settings.output.answer(&value, || told_changes(&changes))?;
    Ok(Exit::Ok)
}

/// The licenses in force.
async fn in_force(cluster: &Cluster, settings: &Settings) -> Result<Vec<LicenseInfo>, Failure> {
    let read = cluster.read(async |admin: &mut Admin| all_licenses(admin).await).await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    Ok(read.answer.licenses)
}

fn same_license<'a>(in_force: &'a [LicenseInfo], offered: &Summary) -> Option<&'a LicenseInfo> {
    in_force.iter().find(|license| license.license_id == offered.license)
}

/// What the offered license changes. One that is not in force yet adds all that
/// it grants.
fn changes(in_force: &[LicenseInfo], offered: &Summary) -> Vec<String> {
    // The nodes verified what is in force; here it is only looked at.
    let old = same_license(in_force, offered).and_then(|license| show(&license.text).ok());
    match old {
        Some(old) => diff_licenses(&old, offered),
        None => {
            let nothing = Summary { features: Vec::new(), ..offered.clone() };
            let mut lines = vec![format!("+ license {}", offered.license)];
            lines.extend(diff_licenses(&nothing, offered));
            lines
        }
    }
}

fn applied(answer: &ApplyLicenseResponse) -> String {
    let license = printable(&answer.license_id);
    let mut text = match answer.changed {
        true => format!("{license}, serial {}: in force\n", answer.serial),
        false => format!("{license}, serial {}: was in force already\n", answer.serial),
    };
    if answer.overage > 0 {
        text.push_str(&format!(
            "{} held beyond what is now licensed; nobody is evicted, and nothing is granted until \
             enough come back\n",
            counted(answer.overage, "seat")
        ));
    }
    text
}

async fn list(settings: &Settings) -> Result<Exit, Failure> {
    let read =
        Cluster::new(settings)?.read(async |admin: &mut Admin| all_licenses(admin).await).await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    let licenses = &read.answer.licenses;
    settings.output.list(&read.answer, licenses, || license_table(licenses))?;
    Ok(Exit::Ok)
}

fn license_table(licenses: &[LicenseInfo]) -> Table {
    let columns = [
        Column::text("LICENSE"),
        Column::number("SERIAL"),
        Column::text("PUBLISHER"),
        Column::number("FEATURES"),
        Column::text("BOUND TO"),
    ];
    let mut table = Table::new(&columns);
    for license in licenses {
        // The nodes verified it; here it is only looked at.
        let summary = show(&license.text).ok();
        let features = summary.as_ref().map(|summary| summary.features.len() as u64);
        table.add([
            license.license_id.as_str().into(),
            license.serial.into(),
            license.publisher.as_str().into(),
            features.map_or(Cell::None, Cell::Number),
            summary.map(|summary| summary.binding).unwrap_or_default().into(),
        ]);
    }
    table
}

fn print(settings: &Settings, summary: &Summary) -> Result<Exit, Failure> {
    settings.output.answer(summary, || printable_lines(&summary.to_string()))?;
    Ok(Exit::Ok)
}

fn with_document<T>(
    file: &Path,
    look: impl FnOnce(&str) -> Result<T, LicenseError>,
) -> Result<T, Failure> {
    let bytes = read(file)?;
    text_of(&bytes)
        .and_then(look)
        .map_err(|source| Failure::License { place: file.display().to_string(), source })
}

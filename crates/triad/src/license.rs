//! `triad license` for sites: what a document says, whether it is good, and
//! putting it in force.

use std::path::Path;

use triad_license::{Keyring, LicenseError, Site, Summary, authenticate, show, text_of, verify};
use triad_proto::v1::{
    ApplyLicenseRequest, ApplyLicenseResponse, LicenseInfo, ListLicensesRequest,
};

use crate::args::LicenseVerb;
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::warn_if_stale;
use crate::publisher;
use crate::settings::{Settings, read, read_text};
use crate::table::Table;
use crate::text::{counted, printable, printable_lines};

/// Does what was asked with licenses.
pub async fn run(settings: &Settings, verb: LicenseVerb) -> Result<Exit, Failure> {
    match verb {
        LicenseVerb::Apply { file } => apply(settings, &file).await,
        LicenseVerb::List => list(settings).await,
        LicenseVerb::Show { file } => {
            let summary = with_document(&file, show)?;
            print(settings, &summary)
        }
        LicenseVerb::Verify { file, keys, cluster } => {
            let keyring = keyring(&keys)?;
            let summary = with_document(&file, |text| match &cluster {
                None => Ok(authenticate(text, &keyring)?.summary()),
                Some(cluster_id) => {
                    let site = Site { cluster_id, hostids: &[] };
                    Ok(verify(text, &keyring, &site, clock::now_ms())?.summary())
                }
            })?;
            print(settings, &summary)
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

async fn apply(settings: &Settings, file: &Path) -> Result<Exit, Failure> {
    // A file that no node could read is refused here, with its line.
    let text = with_document(file, |text| show(text).map(|_| text.to_owned()))?;
    let request = ApplyLicenseRequest { text };
    let read = Cluster::new(settings)?
        .write(async |admin: &mut Admin| {
            Ok(admin.apply_license(request.clone()).await?.into_inner())
        })
        .await?;
    settings.output.answer(&read.answer, || applied(&read.answer))?;
    Ok(Exit::Ok)
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
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            Ok(admin.list_licenses(ListLicensesRequest {}).await?.into_inner())
        })
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    settings.output.answer(&read.answer, || license_table(&read.answer.licenses).render())?;
    Ok(Exit::Ok)
}

fn license_table(licenses: &[LicenseInfo]) -> Table {
    let mut table = Table::new(&["LICENSE", "SERIAL", "PUBLISHER", "FEATURES", "BOUND TO"]);
    for license in licenses {
        // The nodes verified it; here it is only looked at.
        let summary = show(&license.text).ok();
        let features = summary.as_ref().map(|summary| summary.features.len().to_string());
        table.add([
            license.license_id.clone(),
            license.serial.to_string(),
            license.publisher.clone(),
            features.unwrap_or_default(),
            summary.map(|summary| summary.binding).unwrap_or_default(),
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

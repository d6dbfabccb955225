//! `triad capability`: the exchange with the publisher's back office by file, for
//! sites that reach nobody.

use std::path::Path;

use serde_json::json;
use triad_license::{
    CapabilityResponse, CurrentLicense, FeatureUsage, ResponseStatus, SignedResponse, WantedRights,
    license_digest, show, text_of,
};
use triad_proto::v1::{ApplyLicenseRequest, LicenseInfo, Pool};
use triad_server::Config;
use triad_server::office::{OfflineAsk, offline_request};

use crate::args::capability::{CapabilityRequestArguments, CapabilityVerb};
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{all_features, all_licenses};
use crate::publisher::{Readers, write_new};
use crate::settings::{Settings, read};
use crate::text::printable;

/// Does what was asked with requests and responses.
pub async fn run(settings: &Settings, verb: CapabilityVerb) -> Result<Exit, Failure> {
    match verb {
        CapabilityVerb::Request(arguments) => request(settings, &arguments).await,
        CapabilityVerb::Apply { file } => apply(settings, &file).await,
    }
}

async fn request(
    settings: &Settings,
    arguments: &CapabilityRequestArguments,
) -> Result<Exit, Failure> {
    let failed = |error: String| Failure::Serve(error);
    let config = Config::load(&arguments.config).map_err(|error| failed(error.to_string()))?;
    let rights = arguments.rights.iter().map(|text| wanted(text)).collect::<Result<_, _>>()?;
    let mut ask = OfflineAsk { rights, now_ms: clock::now_ms(), ..OfflineAsk::default() };
    if settings.names_servers() {
        let cluster = Cluster::new(settings)?;
        let read = cluster
            .read(async |admin: &mut Admin| {
                let licenses = all_licenses(admin).await?.licenses;
                Ok((licenses, all_features(admin, "").await?.pools))
            })
            .await?;
        let (licenses, pools) = read.answer;
        ask.license = current(&licenses);
        ask.usage = usage(&pools);
    } else {
        settings.output.notice(
            "note: without --servers the request does not tell which license is in force, and \
             copies that are on their way back are not credited\n",
        );
    }
    let text = offline_request(&config, ask).map_err(|error| failed(error.to_string()))?;
    match &arguments.out {
        None => settings.output.text(&text)?,
        Some(path) => write_new(path, text.as_bytes(), Readers::Everybody)?,
    }
    Ok(Exit::Ok)
}

/// `ID` or `ID=COPIES`
fn wanted(text: &str) -> Result<WantedRights, Failure> {
    let usage = || Failure::Usage {
        what: format!("--rights {text:?} is not ID or ID=COPIES"),
        remedy: "write the rights id as the publisher sent it, such as \
                 --rights 7QKD-M3XA-94TZ-B1EH=2"
            .to_owned(),
    };
    let (id, copies) = match text.split_once('=') {
        None => (text, None),
        Some((id, copies)) => (id, Some(copies.parse::<u32>().map_err(|_| usage())?)),
    };
    if id.is_empty() {
        return Err(usage());
    }
    Ok(WantedRights { id: id.to_owned(), copies })
}

/// The license that a back office issued: only these name both a cluster and its
/// machines.
fn current(licenses: &[LicenseInfo]) -> Option<CurrentLicense> {
    let issued = licenses.iter().filter_map(|license| {
        let summary = show(&license.text).ok()?;
        let is_of_group =
            summary.binding.starts_with("cluster ") && summary.binding.contains(" on hosts ");
        let digest = license_digest(&license.text).ok().filter(|_| is_of_group)?;
        let grants = !summary.features.is_empty();
        Some((grants, CurrentLicense { id: summary.license, serial: summary.serial, digest }))
    });
    CurrentLicense::of_group(issued)
}

fn usage(pools: &[Pool]) -> Vec<FeatureUsage> {
    let mut usage: Vec<FeatureUsage> = Vec::new();
    for pool in pools {
        match usage.iter_mut().find(|usage| usage.feature == pool.feature) {
            Some(usage) => {
                usage.seats += pool.seats_licensed;
                usage.in_use += pool.seats_in_use;
            }
            None => usage.push(FeatureUsage {
                feature: pool.feature.clone(),
                seats: pool.seats_licensed,
                in_use: pool.seats_in_use,
            }),
        }
    }
    usage.truncate(triad_license::USAGE_LINES_MAX);
    usage
}

async fn apply(settings: &Settings, file: &Path) -> Result<Exit, Failure> {
    let bytes = read(file)?;
    let failed = |source| Failure::License { place: file.display().to_string(), source };
    let text = text_of(&bytes).map_err(failed)?.to_owned();
    // Only looked at; the nodes verify it.
    let response = SignedResponse::look(&text).map_err(failed)?;
    for refused in &response.refused {
        let (id, reason) = (printable(&refused.id), printable(&refused.reason));
        let message = printable(&refused.message);
        settings.output.notice(&format!("refused: {id}: {reason}: {message}\n"));
    }
    if response.license.is_none() {
        return nothing_enclosed(settings, &response);
    }
    let request = ApplyLicenseRequest { text };
    let read = Cluster::new(settings)?
        .write(async |admin: &mut Admin| {
            Ok(admin.apply_license(request.clone()).await?.into_inner())
        })
        .await?;
    settings.output.answer(&read.answer, || {
        let (license, serial) = (printable(&read.answer.license_id), read.answer.serial);
        match read.answer.changed {
            true => format!("{license}, serial {serial}: in force\n"),
            false => format!("{license}, serial {serial}: was in force already\n"),
        }
    })?;
    Ok(Exit::Ok)
}

fn nothing_enclosed(settings: &Settings, response: &CapabilityResponse) -> Result<Exit, Failure> {
    let (exit, text) = match response.status {
        ResponseStatus::Unchanged => (Exit::Ok, "the license in force is the current one"),
        ResponseStatus::Registered => (Exit::Ok, "the server is registered"),
        ResponseStatus::NoRights => {
            (Exit::Error, "the server is registered, and the publisher has mapped no rights to it")
        }
        ResponseStatus::PendingMain => {
            (Exit::Error, "this back-up waits for its main server: make a request there first")
        }
        ResponseStatus::Licensed => (Exit::Error, "the response lost its license on the way"),
    };
    let status = response.status.as_str();
    settings.output.answer(&json!({ "status": status }), || format!("{status}: {text}\n"))?;
    Ok(exit)
}

//! `triad snapshot`: the whole ledger in a file, and a cluster from it.

use serde_json::json;
use triad_proto::v1::SaveSnapshotRequest;
use triad_server::{Config, Saved, look_into, look_into_for, may_restore, restore};

use crate::args::snapshots::{RestoreArguments, SnapshotVerb};
use crate::cluster::{Admin, Cluster};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::publisher::{Readers, write_new};
use crate::settings::{Settings, read};
use crate::text::{counted, instant, printable};

/// Does what was asked with snapshots.
pub async fn run(settings: &Settings, verb: &SnapshotVerb) -> Result<Exit, Failure> {
    match verb {
        SnapshotVerb::Save { file } => save(settings, file).await,
        SnapshotVerb::Restore(arguments) => begin(settings, arguments).await,
    }
}

async fn save(settings: &Settings, file: &std::path::Path) -> Result<Exit, Failure> {
    let bytes = Cluster::new(settings)?
        .write(async |admin: &mut Admin| {
            let mut pieces = admin.save_snapshot(SaveSnapshotRequest {}).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.message().await? {
                bytes.extend_from_slice(&piece.piece);
            }
            Ok(bytes)
        })
        .await?
        .answer;
    let saved = look_into(&bytes).map_err(|error| Failure::Serve(error.to_string()))?;
    // It names people.
    write_new(file, &bytes, Readers::Owner)?;
    settings.output.answer(&value(&saved), || {
        format!("{}, is in {}\n", in_words(&saved), printable(&file.display().to_string()))
    })?;
    Ok(Exit::Ok)
}

async fn begin(settings: &Settings, arguments: &RestoreArguments) -> Result<Exit, Failure> {
    demand_somebody_to_ask(arguments.consent)?;
    let bytes = read(&arguments.file)?;
    let config =
        Config::load(&arguments.config).map_err(|error| Failure::Serve(error.to_string()))?;
    let saved = look_into_for(&config, &bytes)
        .map_err(|error| Failure::Serve(format!("{}: {error}", arguments.file.display())))?;
    let addresses: Vec<_> =
        config.nodes.values().map(|node| node.member.client_address.clone()).collect();
    let alive = Cluster::new(&settings.about(&addresses, config.tls.as_ref().map(|t| &t.ca)))?;
    let alive = alive.statuses().await.into_iter().find(|answer| answer.outcome.is_ok());
    if let Some(answer) = alive.filter(|_| !arguments.force) {
        return Err(Failure::Usage {
            what: format!("the cluster lives: {} answers", answer.address),
            remedy: "a second ledger beside it would lend every seat twice. A node that is lost is \
                     replaced with `triad node replace`. If really all is to begin anew, stop every \
                     node first"
                .to_owned(),
        });
    }
    may_restore(&config, &saved).map_err(|error| Failure::Serve(error.to_string()))?;
    let name = printable(&config.name);
    let plan = format!(
        "begins a new cluster of {name} alone with {}\n\
         what was granted after that is not known: nothing is granted for {} s after the start, so \
         that no seat is held twice, and loans that were made later are lost\n\
         the other nodes must never start again with the data that they have; let them join anew \
         with `triad node add`\n",
        in_words(&saved),
        config.sessions.lease_max.as_secs(),
    );
    match consent(settings, arguments.consent, &plan)? {
        Consent::Given => {}
        Consent::Rehearsed => return Ok(Exit::Ok),
        Consent::Withheld => return Ok(Exit::Error),
    }
    let saved = restore(&config, &bytes).map_err(|error| Failure::Serve(error.to_string()))?;
    settings.output.answer(&value(&saved), || {
        let file = printable(&arguments.config.display().to_string());
        format!("{name} has {}. Start it:\n\n  triad serve --config {file}\n", in_words(&saved))
    })?;
    Ok(Exit::Ok)
}

fn value(saved: &Saved) -> serde_json::Value {
    json!({
        "clusterId": saved.cluster_id, "index": saved.index.to_string(),
        "date": crate::text::rfc3339(saved.date_ms), "epoch": saved.epoch.to_string(),
        "sessions": saved.sessions, "checkouts": saved.checkouts, "loans": saved.loans,
        "stateHash": saved.state_hash,
    })
}

fn in_words(saved: &Saved) -> String {
    format!(
        "the ledger of {} (entry {}): {}, {}, of them {}",
        instant(saved.date_ms),
        saved.index,
        counted(saved.sessions as u64, "session"),
        counted(saved.checkouts as u64, "checkout"),
        counted(saved.loans as u64, "loan"),
    )
}

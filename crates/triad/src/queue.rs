//! `triad queue`: who waits, for what, and who is served first.

use tonic::Status;
use triad_proto::v1::{ListQueueRequest, ListQueueResponse, QueueEntry};

use crate::args::seats::ListArguments;
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{PAGE_ROWS, holder, warn_if_stale, warn_if_unknown};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};

/// Lists all requests that wait, or those for one feature.
pub async fn run(settings: &Settings, arguments: &ListArguments) -> Result<Exit, Failure> {
    let feature = arguments.feature.clone().unwrap_or_default();
    let mut read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_waiting(admin, &feature).await)
        .await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    if read.answer.entries.is_empty() {
        warn_if_unknown(settings, &feature).await;
    }
    read.answer.entries.retain(|entry| arguments.asks_for(entry.holder.as_ref()));
    let entries = &read.answer.entries;
    settings.output.list(&read.answer, entries, || queue_table(entries))?;
    Ok(Exit::Ok)
}

/// All pages as one answer, as fresh as the first.
pub async fn all_waiting(admin: &mut Admin, feature: &str) -> Result<ListQueueResponse, Status> {
    let mut whole = ListQueueResponse::default();
    loop {
        let page_token = std::mem::take(&mut whole.next_page_token);
        let feature = feature.to_owned();
        let request = ListQueueRequest { feature, page_size: PAGE_ROWS, page_token };
        let page = admin.list_queue(request).await?.into_inner();
        whole.freshness = whole.freshness.or(page.freshness);
        whole.entries.extend(page.entries);
        whole.next_page_token = page.next_page_token;
        if whole.next_page_token.is_empty() {
            return Ok(whole);
        }
    }
}

pub fn queue_table(entries: &[QueueEntry]) -> Table {
    let columns = [
        Column::number("PLACE"),
        Column::text("FEATURE"),
        Column::text("VERSION"),
        Column::number("SEATS"),
        Column::text("USER"),
        Column::text("HOST"),
        Column::number("PRIORITY"),
        Column::length("WAITED"),
        Column::length("LEFT"),
        Column::length("ESTIMATE"),
        Column::text("REMARK"),
        Column::text("DISPLAY").wide(),
        Column::text("PROJECT").wide(),
        Column::text("APPLICATION").wide(),
        Column::text("SESSION").wide(),
        Column::number("REQUEST").wide(),
    ];
    let mut table = Table::new(&columns);
    for entry in entries {
        for item in &entry.items {
            let holder = holder(entry.holder.as_ref());
            table.add([
                entry.place.into(),
                item.feature.as_str().into(),
                item.version.as_str().into(),
                item.seats.into(),
                holder.user.into(),
                holder.host.into(),
                entry.priority.into(),
                entry.waited_ms.into(),
                Cell::unless_zero(entry.remaining_ms),
                Cell::unless_zero(entry.estimate_ms),
                if entry.held_back { "held back by its maximum" } else { "" }.into(),
                holder.display.into(),
                holder.project.into(),
                holder.application.into(),
                entry.session_id.as_str().into(),
                entry.request_id.into(),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{Holder, Item};

    use super::*;

    #[test]
    fn a_row_says_how_long_and_behind_whom() {
        let entry = QueueEntry {
            holder: Some(Holder { user: "ann".into(), host: "n1".into(), ..Holder::default() }),
            items: vec![Item { feature: "solver".into(), seats: 2, ..Item::default() }],
            priority: 10,
            place: 3,
            waited_ms: 95_000,
            remaining_ms: 505_000,
            held_back: true,
            ..QueueEntry::default()
        };
        let expected = "\
PLACE  FEATURE  VERSION  SEATS  USER  HOST  PRIORITY  WAITED      LEFT         ESTIMATE  REMARK
3      solver   -        2      ann   n1    10        1 min 35 s  8 min 25 s   -         held back by its maximum
";
        let text = queue_table(&[entry]).render();
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>(),
            "{text}"
        );
    }
}

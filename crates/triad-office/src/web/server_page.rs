//! View Server: all servers of the group side by side, their rights, and what
//! can be mended.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::get;

use super::page::{Field, FieldKind, ListView, MemberCard, Page, PageError, Section};
use super::pages::empty;
use super::visit;
use crate::lists;
use crate::office::Office;
use crate::people::Role;
use crate::table::{Ask, CSV_ROWS, Cell, CellKind};
use crate::view;

pub fn routes() -> Router<Office> {
    Router::new().route("/servers/{id}", get(server))
}

async fn server(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Query(ask): Query<Ask>,
) -> Result<Page, PageError> {
    let visitor = visit::signed_in(&office, &headers).await?;
    let may_write = visitor.role >= Role::Operator;
    let found = office.read(move |tx| view::server(tx, id, may_write)).await?;
    let here = found.members.iter().find(|member| member.id == id);
    let name = here
        .map_or("", |member| if member.name.is_empty() { &member.hostid } else { &member.name });
    let mut page = Page::new(format!("View Server: {name}"), "/servers", visitor, &ask.done);
    let card =
        |member: &view::Member| MemberCard { member: member.clone(), is_here: member.id == id };
    page.sections.push(Section::Members(found.members.iter().map(card).collect()));
    if here.is_some_and(|member| member.role == "PENDING_MAIN") {
        let text = "This back-up has called before its main server. It is registered as soon as \
                    the main server names it; or register the pair by hand.";
        page.sections.push(Section::Text(text.into()));
    }
    let serial = if found.serial == 0 { "none yet".to_owned() } else { found.serial.to_string() };
    let kind = match (found.kind.as_str(), found.group) {
        (kind, Some(group)) => format!("{} {group}", kind.to_lowercase()),
        _ => "none".to_owned(),
    };
    page.sections.push(Section::Facts {
        title: "Group".into(),
        facts: vec![
            ("Group", kind),
            ("Organisation", found.organisation.clone()),
            ("Cluster", found.cluster.clone()),
            ("Serial of the license", serial),
            ("Good without a poll until the end of", found.licensed_until.clone()),
        ],
    });
    page.sections.push(Section::List(ListView {
        title: "Rights held".into(),
        table: found.rights.clone(),
        path: "",
        csv: String::new(),
        empty: match may_write && found.group.is_some() {
            true => empty(
                "No rights are mapped to this group. Map some below: the servers get \
                           them with their next poll.",
                "",
                "",
            ),
            false => empty("No rights are mapped to this group.", "", ""),
        },
    }));
    if may_write && let Some(group) = found.group {
        page.sections.push(map_form(&office, &page, &found, group).await?);
    }
    page.sections.push(Section::List(ListView {
        title: "Use".into(),
        table: found.usage.clone(),
        path: "",
        csv: String::new(),
        empty: empty("Nothing was reported yet; servers report with each request.", "", ""),
    }));
    page.sections.push(Section::List(ListView {
        title: "Timeline".into(),
        table: found.timeline.clone(),
        path: "",
        csv: String::new(),
        empty: empty("Nothing has happened yet.", "", ""),
    }));
    if may_write && let Some(group) = found.group {
        page.sections.extend(mending(&page, &found, group));
    }
    if may_write && here.is_some_and(|member| member.has_key) {
        let mut form = page.form(
            "Forget the key",
            format!("/servers/{id}/forget-key"),
            "Forget its key",
            vec![],
        );
        form.text = "Only if this machine was set up anew: its next call shows the key that it is \
                     known by from then on."
            .into();
        page.sections.push(Section::Form(form));
    }
    Ok(page)
}

/// What maps rights to the group.
async fn map_form(
    office: &Office,
    page: &Page,
    found: &view::ServerView,
    group: i64,
) -> Result<Section, PageError> {
    let ask = Ask { sees_secrets: true, ..Ask::default() };
    let items = office.read(move |tx| lists::RIGHTS.read(tx, &ask, &[], CSV_ROWS)).await?;
    let choice = |row: &Vec<Cell>| {
        let [id, rights_id, organisation, _, product, copies, mapped, ..] = &row[..] else {
            return (String::new(), String::new());
        };
        let text = format!(
            "{}: {} for {}, {} of {} mapped",
            rights_id.text, product.text, organisation.text, mapped.text, copies.text
        );
        (id.text.clone(), text)
    };
    let own = |row: &&Vec<Cell>| found.organisation.is_empty() || row[2].text == found.organisation;
    let items: Vec<(String, String)> = items.rows.iter().filter(own).map(choice).collect();
    if items.is_empty() {
        let text = "There is nothing to map yet: add a line item in the catalogue.";
        return Ok(Section::Text(text.into()));
    }
    let mut form = page.form(
        "Map rights",
        format!("/groups/{group}/rights"),
        "Map",
        vec![
            here(found),
            Field::new("line_item", "Line item", FieldKind::Choice(items)),
            Field::new("copies", "Copies this group is to have", FieldKind::Input("number")),
        ],
    );
    form.text =
        "Fewer than before are credited once the servers have confirmed that they have the \
                 smaller license; nobody is evicted."
            .into();
    Ok(Section::Form(form))
}

fn hidden(name: &'static str, value: &str) -> Field {
    Field::new(name, "", FieldKind::Hidden).value(value)
}

/// The page to come back to.
fn here(found: &view::ServerView) -> Field {
    hidden("server", &found.id.to_string())
}

/// What is seldom needed: roles put right, and beginning anew.
fn mending(page: &Page, found: &view::ServerView, group: i64) -> Vec<Section> {
    let mut forms = Vec::new();
    let repair = format!("/groups/{group}/repair");
    if let [main, backup] = &found.members[..] {
        let mut form = page.form(
            "Repair",
            repair,
            "Exchange the roles",
            vec![here(found), hidden("main", &backup.hostid), hidden("backup", &main.hostid)],
        );
        form.text = format!(
            "If the roles are the wrong way round: makes {} the main server and {} its back-up. \
             The rights stay with the pair.",
            backup.hostid, main.hostid
        );
        forms.push(form);
    } else if let [alone] = &found.members[..] {
        let mut form = page.form(
            "Repair",
            repair,
            "Make it the back-up",
            vec![
                here(found),
                Field::new("main", "Host id of the main server", FieldKind::Input("text"))
                    .hint("TYPE:value, as \"triad hostid\" prints it there."),
                hidden("backup", &alone.hostid),
            ],
        );
        form.text =
            "If this server is really a back-up that called before its main server and was \
                     given rights: registers the pair and moves the rights to it."
                .into();
        forms.push(form);
    }
    if let Some(own) = found.members.iter().find(|member| member.id == found.id) {
        let action = format!("/servers/{}/replace", found.id);
        let new = Field::new("new", "Host id of the new machine", FieldKind::Input("text"))
            .hint("TYPE:value, as \"triad hostid\" prints it there.");
        let fields = vec![hidden("old", &own.hostid), new];
        let mut form = page.form("Replace the machine", action, "Replace it", fields);
        form.text = "Another machine takes the place of this one, with its role. The rights stay \
                     with the group; its next license names the new machine."
            .into();
        forms.push(form);
    }
    if !found.cluster.is_empty() {
        let action = format!("/groups/{group}/forget-cluster");
        let title = "Let the group begin anew";
        let mut form = page.form(title, action, "Forget the cluster", vec![here(found)]);
        form.text = "Only if the site made a new cluster: its next call says which cluster the \
                     rights are bound to from then on."
            .into();
        forms.push(form);
    }
    // Numbers but the line item's own: copies, and those on their way back.
    let holds_none = |row: &Vec<Cell>| {
        row.iter().skip(1).all(|cell| cell.kind != CellKind::Number || cell.text == "0")
    };
    if found.rights.rows.iter().all(holds_none) {
        let action = format!("/groups/{group}/apart");
        let mut form = page.form("Take the group apart", action, "Take it apart", vec![]);
        form.text = "Its servers are placed anew when they call again.".into();
        forms.push(form);
    }
    forms.into_iter().map(Section::Form).collect()
}

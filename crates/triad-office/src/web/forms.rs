//! What people fill in and send. Each form carries the token of its sign-in.

use axum::Router;
use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use rusqlite::{Connection, params};
use serde::Deserialize;
use triad_license::HostId;

use super::page::{Field, FieldKind, Page, PageError, Section, Sent};
use super::{pages, visit};
use crate::clock::now_ms;
use crate::error::OfficeError;
use crate::exchange::{self, Way};
use crate::office::Office;
use crate::people::{self, Role, Visitor};
use crate::registration::{self, Kind, Registrar};
use crate::rights::{self, NewLineItem, ProductFeature, Writer};
use crate::table::Ask;
use crate::view;

type Done = Result<Redirect, PageError>;

pub fn routes() -> Router<Office> {
    Router::new()
        .route("/register", get(register_page).post(register))
        .route("/exchange", get(exchange_page).post(exchange_file))
        .route("/groups/{id}/rights", post(map))
        .route("/groups/{id}/repair", post(repair))
        .route("/groups/{id}/apart", post(apart))
        .route("/servers/{id}/replace", post(replace))
        .route("/groups/{id}/forget-cluster", post(forget_cluster))
        .route("/servers/{id}/forget-key", post(forget_key))
        .route("/organisations", post(add_organisation))
        .route("/products", post(add_product))
        .route("/entitlements", post(add_entitlement))
        .route("/line-items", post(add_line_item))
        .route("/line-items/copies", post(set_copies))
        .route("/users", post(invite))
}

/// Who sends a form, if they may and the form is theirs; and the form's number.
async fn sender(
    office: &Office,
    headers: &HeaderMap,
    form_token: &str,
    role: Role,
) -> Result<(Visitor, String), OfficeError> {
    let visitor = visit::signed_in(office, headers).await?;
    let form = visit::check_form(&visitor, form_token)?.to_owned();
    visitor.needs(role)?;
    Ok((visitor, form))
}

/// A form does what it says once, however often it is sent: an answer may have been lost on its way.
fn once(tx: &Connection, form: &str) -> Result<(), OfficeError> {
    let now_ms = now_ms();
    // The sign-ins of those are over.
    let before = now_ms.saturating_sub(people::LOGIN_MS);
    tx.execute("DELETE FROM forms_sent WHERE at_ms < ?1", [before])?;
    let text = "INSERT OR IGNORE INTO forms_sent (form, at_ms) VALUES (?1, ?2)";
    if tx.execute(text, params![form, now_ms])? > 0 {
        return Ok(());
    }
    let message = "this form was sent before, and what it asks for is done; load its page again to do \
                   the same once more";
    Err(OfficeError::refused("ALREADY_DONE", message))
}

fn host(text: &str) -> Result<HostId, OfficeError> {
    HostId::parse(text.trim()).map_err(|error| OfficeError::refused("INVALID", error.to_string()))
}

async fn register_page(
    State(office): State<Office>,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Result<Page, PageError> {
    let visitor = visit::signed_in(&office, &headers).await?;
    let page = Page::new("Register servers", "/register", visitor, &ask.done);
    let text = "Servers register themselves with their first request: a main server that names its \
                back-up registers the pair, one of a triad all three. By hand it is done here; the \
                host ids are what \"triad hostid\" prints on each machine, all of one type.";
    let input = || FieldKind::Input("text");
    let form = |kind: &str, title: &str, labels: &[&str]| {
        let mut fields = vec![Field::new("kind", "", FieldKind::Hidden).value(kind)];
        let names = ["first", "second", "third"];
        fields.extend(names.iter().zip(labels).map(|(name, label)| {
            Field::new(name, *label, input()).hint("Such as ETHERNET:001122334455.")
        }));
        Section::Form(page.form(title, "/register", "Register", fields))
    };
    let forms = [
        form("PAIR", "A pair", &["Host id of the main server", "Host id of the back-up"]),
        form("TRIAD", "A triad", &["Host id of one server", "of another", "of the third"]),
        form("SINGLE", "A single server", &["Host id"]),
    ];
    let mut page = page.with(Section::Text(text.into()));
    page.sections.extend(forms);
    Ok(page)
}

#[derive(Deserialize)]
struct Register {
    form_token: String,
    kind: String,
    first: String,
    #[serde(default)]
    second: String,
    #[serde(default)]
    third: String,
}

async fn register(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<Register>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    let kind = Kind::parse(&sent.kind).ok_or_else(|| OfficeError::NotFound("this kind".into()))?;
    let named = [&sent.first, &sent.second, &sent.third];
    let hosts = named.iter().take(kind.size()).map(|text| host(text));
    let hosts: Vec<HostId> = hosts.collect::<Result<_, _>>()?;
    let server = office
        .write(move |tx| {
            once(tx, &form)?;
            let how = format!("by hand by {}", visitor.name);
            let by = Registrar::person(&visitor.name, &how, false);
            registration::register_group(tx, kind, &hosts, by)?;
            let first = registration::find(tx, &hosts[0].to_string())?;
            Ok(first.map_or(0, |server| server.id))
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{server}?done=registered")))
}

#[derive(Deserialize)]
struct Repair {
    form_token: String,
    server: i64,
    main: String,
    backup: String,
}

async fn repair(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<Repair>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    let hosts = [host(&sent.main)?, host(&sent.backup)?];
    office
        .write(move |tx| {
            once(tx, &form)?;
            let how = format!("by repair by {}", visitor.name);
            let by = Registrar::person(&visitor.name, &how, true);
            registration::register_group(tx, Kind::Pair, &hosts, by)
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{}?done=repaired", sent.server)))
}

#[derive(Deserialize)]
struct Replace {
    form_token: String,
    old: String,
    new: String,
}

async fn replace(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Sent(sent): Sent<Replace>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    let (old, new) = (host(&sent.old)?, host(&sent.new)?);
    office
        .write(move |tx| {
            once(tx, &form)?;
            let how = format!("by hand by {}", visitor.name);
            let by = Registrar::person(&visitor.name, &how, false);
            registration::replace_server(tx, &old, &new, by)
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{id}?done=replaced")))
}

#[derive(Deserialize)]
struct OnlyToken {
    form_token: String,
    #[serde(default)]
    server: i64,
}

async fn apart(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(group): Path<i64>,
    Sent(sent): Sent<OnlyToken>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Registrar::person(&visitor.name, "", false);
            registration::take_apart(tx, group, by)
        })
        .await?;
    Ok(Redirect::to("/servers?done=apart"))
}

async fn forget_cluster(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(group): Path<i64>,
    Sent(sent): Sent<OnlyToken>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            view::forget_cluster(tx, group, by)
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{}?done=cluster", sent.server)))
}

async fn forget_key(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(id): Path<i64>,
    Sent(sent): Sent<OnlyToken>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            view::forget_key(tx, id, Writer { actor: &visitor.name, now_ms: now_ms() })
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{id}?done=key")))
}

#[derive(Deserialize)]
struct Map {
    form_token: String,
    server: i64,
    line_item: i64,
    copies: u32,
}

async fn map(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(group): Path<i64>,
    Sent(sent): Sent<Map>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Operator).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::map(tx, group, sent.line_item, sent.copies, false, by)
        })
        .await?;
    Ok(Redirect::to(&format!("/servers/{}?done=mapped", sent.server)))
}

#[derive(Deserialize)]
struct AddOrganisation {
    form_token: String,
    name: String,
}

async fn add_organisation(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<AddOrganisation>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_organisation(tx, &sent.name, by)
        })
        .await?;
    Ok(Redirect::to("/catalogue?done=added"))
}

#[derive(Deserialize)]
struct AddProduct {
    form_token: String,
    name: String,
    version: String,
    features: String,
}

/// `solver 2026.1 4`, one feature on a line; a fourth number is the overdraft.
fn features_of(text: &str) -> Result<Vec<ProductFeature>, OfficeError> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let feature = |line: &str| {
        let wrong = || {
            let message = format!("\"{line}\" does not read: name, version, seats");
            OfficeError::refused("INVALID", message)
        };
        let words: Vec<&str> = line.split([' ', ',', '\t']).filter(|w| !w.is_empty()).collect();
        let [name, version, seats, rest @ ..] = &words[..] else { return Err(wrong()) };
        let number = |text: &str| text.parse::<u32>().map_err(|_| wrong());
        let overdraft = rest.first().map_or(Ok(0), |text| number(text))?;
        Ok(ProductFeature {
            feature: (*name).to_owned(),
            version: (*version).to_owned(),
            seats: number(seats)?,
            overdraft,
        })
    };
    lines.map(feature).collect()
}

async fn add_product(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<AddProduct>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    let features = features_of(&sent.features)?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_product(tx, &sent.name, &sent.version, &features, by)
        })
        .await?;
    Ok(Redirect::to("/catalogue?done=added"))
}

#[derive(Deserialize)]
struct AddEntitlement {
    form_token: String,
    organisation: i64,
    reference: String,
}

async fn add_entitlement(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<AddEntitlement>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_entitlement(tx, sent.organisation, &sent.reference, by)
        })
        .await?;
    Ok(Redirect::to("/catalogue?done=added"))
}

#[derive(Deserialize)]
struct AddLineItem {
    form_token: String,
    entitlement: i64,
    product: i64,
    copies: u32,
    #[serde(default)]
    starts: String,
    #[serde(default)]
    expires: String,
    #[serde(default)]
    rights_id: String,
}

async fn add_line_item(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<AddLineItem>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            let item = NewLineItem {
                product: sent.product,
                copies: sent.copies,
                starts: Some(sent.starts),
                expires: Some(sent.expires),
                rights_id: Some(sent.rights_id),
            };
            rights::add_line_item(tx, sent.entitlement, &item, by)
        })
        .await?;
    Ok(Redirect::to("/rights?done=added"))
}

#[derive(Deserialize)]
struct SetCopies {
    form_token: String,
    line_item: i64,
    copies: u32,
}

async fn set_copies(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<SetCopies>,
) -> Done {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    office
        .write(move |tx| {
            once(tx, &form)?;
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::set_copies(tx, sent.line_item, sent.copies, by)
        })
        .await?;
    Ok(Redirect::to("/rights?done=changed"))
}

#[derive(Deserialize)]
struct Invite {
    form_token: String,
    name: String,
    role: String,
}

async fn invite(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<Invite>,
) -> Result<Page, PageError> {
    let (visitor, form) = sender(&office, &headers, &sent.form_token, Role::Admin).await?;
    let role = match sent.role.as_str() {
        "" => None,
        role => Some(Role::parse(role)?),
    };
    let (name, actor) = (sent.name.clone(), visitor.name.clone());
    let token = office
        .write(move |tx| {
            once(tx, &form)?;
            people::invite(tx, &name, role, Writer { actor: &actor, now_ms: now_ms() })
        })
        .await?;
    // Shown once, and in no address that a browser remembers.
    let link = format!("{}/set-up/{token}", office.config.url);
    Ok(pages::users_page(&office, visitor, Ask::default(), Some((sent.name, link))).await?)
}

async fn exchange_page(
    State(office): State<Office>,
    headers: HeaderMap,
) -> Result<Page, PageError> {
    let visitor = visit::signed_in(&office, &headers).await?;
    let page = Page::new("Offline exchange", "/exchange", visitor, "");
    let text = "For sites that reach nobody: on one of their servers \"triad capability request\" \
                writes a file. Give it here, take the answer back, and put it in force there with \
                \"triad capability apply\".";
    let mut form = page.form(
        "Answer a request",
        "/exchange",
        "Download the response",
        vec![
            Field::new("file", "The request, as a file", FieldKind::Input("file")).optional(),
            Field::new("text", "or its text", FieldKind::Area).optional(),
        ],
    );
    form.has_file = true;
    Ok(page.with(Section::Text(text.into())).with(Section::Form(form)))
}

async fn exchange_file(
    State(office): State<Office>,
    headers: HeaderMap,
    mut parts: Multipart,
) -> Result<Response, PageError> {
    let wrong = |error: axum::extract::multipart::MultipartError| {
        PageError(OfficeError::refused("INVALID", format!("the form: {error}")))
    };
    let (mut form_token, mut request) = (String::new(), Vec::new());
    while let Some(part) = parts.next_field().await.map_err(wrong)? {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(wrong)?;
        match name.as_str() {
            "form_token" => form_token = String::from_utf8_lossy(&bytes).into_owned(),
            "file" | "text" if !bytes.is_empty() && request.is_empty() => request = bytes.to_vec(),
            _ => {}
        }
    }
    sender(&office, &headers, &form_token, Role::Operator).await?;
    if request.is_empty() {
        let message = "Choose the file of the request, or paste its text.";
        return Err(PageError(OfficeError::refused("INVALID", message)));
    }
    let text = triad_license::text_of(&request).map_err(OfficeError::License)?.to_owned();
    let answer = office
        .with(move |connection, config| {
            exchange::answer(connection, config, &text, Way::Offline, now_ms())
        })
        .await?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    let file = HeaderValue::from_static("attachment; filename=\"triad-response.txt\"");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], answer)
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_a_product_are_read_line_by_line() {
        let read = features_of("solver 2026.1 4\n\n viewer, 1, 10, 2\n").unwrap();
        let told: Vec<_> =
            read.iter().map(|f| (f.feature.as_str(), f.seats, f.overdraft)).collect();
        assert_eq!(told, [("solver", 4, 0), ("viewer", 10, 2)]);
        let error = features_of("solver 4").unwrap_err().to_string();
        assert_eq!(error, "\"solver 4\" does not read: name, version, seats");
    }

    #[test]
    fn a_form_does_what_it_says_once() {
        let connection = crate::db::in_memory().unwrap();
        once(&connection, "one").unwrap();
        once(&connection, "another").unwrap();
        assert_eq!(once(&connection, "one").unwrap_err().reason(), "ALREADY_DONE");
    }
}

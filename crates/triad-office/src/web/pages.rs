//! The pages that list things, and those before the sign-in.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::page::{Empty, Field, FieldKind, ListView, Page, PageError, Section, Sent};
use super::visit;
use crate::clock::now_ms;
use crate::error::OfficeError;
use crate::lists;
use crate::office::Office;
use crate::people::{self, Role, Visitor};
use crate::table::{Ask, CSV_ROWS, List, PAGE_ROWS};

type Shown = Result<Page, PageError>;

pub fn routes() -> Router<Office> {
    Router::new()
        .route("/", get(async || Redirect::to("/servers")))
        .route("/sign-in", get(sign_in_page).post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/set-up/{token}", get(set_up_page).post(set_up))
        .route("/servers", get(servers))
        .route("/rights", get(rights))
        .route("/catalogue", get(catalogue))
        .route("/requests", get(requests))
        .route("/audit", get(audit))
        .route("/users", get(users))
        .route("/csv/{list}", get(csv))
}

/// One page of a list as a part of a page.
pub async fn listed(
    office: &Office,
    list: &'static List,
    ask: Ask,
    path: &'static str,
    csv: &'static str,
    empty: Empty,
) -> Result<ListView, OfficeError> {
    let address = match csv {
        "" => String::new(),
        name => format!("/csv/{name}?q={}", super::page::encoded(ask.q.trim())),
    };
    let table = office.read(move |tx| list.read(tx, &ask, &[], PAGE_ROWS)).await?;
    let empty = match table.q.is_empty() {
        true => empty,
        false => Empty {
            text: format!("Nothing matches \"{}\". Look for less of it, or see all.", table.q),
            href: path.to_owned(),
            link: format!("All {}", table.noun),
        },
    };
    Ok(ListView { title: String::new(), table, path, csv: address, empty })
}

pub fn empty(text: &str, href: &str, link: &str) -> Empty {
    Empty { text: text.to_owned(), href: href.to_owned(), link: link.to_owned() }
}

async fn servers(
    State(office): State<Office>,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    let page = Page::new("Search Servers", "/servers", visitor, &ask.done);
    let empty = empty(
        "No server has called yet. Give the sites this office's address and fingerprint, or \
         register their servers by hand.",
        "/register",
        "Register servers",
    );
    let list = listed(&office, &lists::SERVERS, ask, "/servers", "servers", empty).await?;
    let text = "Look for a host id, a name or an organisation.";
    Ok(page.with(Section::Text(text.into())).with(Section::List(list)))
}

async fn rights(State(office): State<Office>, headers: HeaderMap, Query(ask): Query<Ask>) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    let is_admin = visitor.role >= Role::Admin;
    let ask = Ask { sees_secrets: visitor.role >= Role::Operator, ..ask };
    let page = Page::new("Rights", "/rights", visitor, &ask.done);
    let empty = empty(
        "Nothing was sold yet. Add an organisation, a product and an entitlement first.",
        "/catalogue",
        "Open the catalogue",
    );
    let list = listed(&office, &lists::RIGHTS, ask, "/rights", "rights", empty).await?;
    let mut form = page.form(
        "Change how many copies were bought",
        "/line-items/copies",
        "Change",
        vec![
            Field::new("line_item", "Line item, by its number", FieldKind::Input("number")),
            Field::new("copies", "Copies", FieldKind::Input("number")),
        ],
    );
    form.text =
        "Fewer than are mapped takes nothing from anybody: they are shown as overage until \
                 copies are taken back."
            .into();
    let text = "Each line item has a rights id. A site puts it into its servers' configuration, or \
                you map its copies on the page of a server.";
    let page = page.with(Section::Text(text.into())).with(Section::List(list));
    Ok(if is_admin { page.with(Section::Form(form)) } else { page })
}

async fn catalogue(
    State(office): State<Office>,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    let is_admin = visitor.role >= Role::Admin;
    let mut page = Page::new("Catalogue", "/catalogue", visitor, &ask.done);
    let choices = |list: &'static List, named: usize| {
        let office = office.clone();
        async move {
            let table =
                office.read(move |tx| list.read(tx, &Ask::default(), &[], CSV_ROWS)).await?;
            let choice = |row: &Vec<crate::table::Cell>| {
                (row[0].text.clone(), format!("{} (No. {})", row[named].text, row[0].text))
            };
            Ok::<_, OfficeError>(table.rows.iter().map(choice).collect::<Vec<_>>())
        }
    };
    for (list, title, text) in [
        (
            &lists::ORGANISATIONS,
            "Organisations",
            "No organisation yet. Add the first customer below.",
        ),
        (&lists::PRODUCTS, "Products", "No product yet. Add what you sell below."),
        (&lists::ENTITLEMENTS, "Entitlements", "No entitlement yet. Add a purchase below."),
    ] {
        let ask = Ask::default();
        let table = office.read(move |tx| list.read(tx, &ask, &[], PAGE_ROWS)).await?;
        page.sections.push(Section::List(ListView {
            title: title.into(),
            table,
            path: "",
            csv: format!("/csv/{}", title.to_lowercase()),
            empty: empty(text, "", ""),
        }));
    }
    if !is_admin {
        return Ok(page);
    }
    let organisations = choices(&lists::ORGANISATIONS, 1).await?;
    let products = choices(&lists::PRODUCTS, 1).await?;
    let entitlements = choices(&lists::ENTITLEMENTS, 1).await?;
    let text = || FieldKind::Input("text");
    let forms = [
        page.form(
            "Add an organisation",
            "/organisations",
            "Add the organisation",
            vec![Field::new("name", "Name", text())],
        ),
        page.form(
            "Add a product",
            "/products",
            "Add the product",
            vec![
                Field::new("name", "Name", text()),
                Field::new("version", "Version", text()),
                Field::new("features", "What each copy grants", FieldKind::Area)
                    .hint("One feature on a line: name, version, seats. Such as: solver 2026.1 4"),
            ],
        ),
        page.form(
            "Add an entitlement",
            "/entitlements",
            "Add the entitlement",
            vec![
                Field::new("organisation", "Organisation", FieldKind::Choice(organisations)),
                Field::new("reference", "Reference", text())
                    .hint("Such as the number of the order."),
            ],
        ),
        page.form(
            "Add a line item",
            "/line-items",
            "Add the line item",
            vec![
                Field::new("entitlement", "Entitlement", FieldKind::Choice(entitlements)),
                Field::new("product", "Product", FieldKind::Choice(products)),
                Field::new("copies", "Copies", FieldKind::Input("number")),
                Field::new("starts", "First day", FieldKind::Input("date")).optional(),
                Field::new("expires", "Last day", FieldKind::Input("date"))
                    .optional()
                    .hint("Permanent without."),
                Field::new("rights_id", "Rights id", text()).optional().hint("Drawn without."),
            ],
        ),
    ];
    page.sections.extend(forms.map(Section::Form));
    Ok(page)
}

async fn requests(
    State(office): State<Office>,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    let page = Page::new("Requests", "/requests", visitor, "");
    let text =
        "No server has called yet. Each request that comes will stand here with its outcome.";
    let empty = empty(text, "/register", "Register servers");
    let list = listed(&office, &lists::REQUESTS, ask, "/requests", "requests", empty).await?;
    Ok(page.with(Section::List(list)))
}

async fn audit(State(office): State<Office>, headers: HeaderMap, Query(ask): Query<Ask>) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    let page = Page::new("Audit", "/audit", visitor, "");
    let empty = empty("Nothing was written yet.", "", "");
    let list = listed(&office, &lists::AUDIT, ask, "/audit", "audit", empty).await?;
    Ok(page.with(Section::List(list)))
}

async fn users(State(office): State<Office>, headers: HeaderMap, Query(ask): Query<Ask>) -> Shown {
    let visitor = visit::signed_in(&office, &headers).await?;
    Ok(users_page(&office, visitor, ask, None).await?)
}

/// Users and keys; with the link of somebody who was invited just now.
pub async fn users_page(
    office: &Office,
    visitor: Visitor,
    ask: Ask,
    link: Option<(String, String)>,
) -> Result<Page, OfficeError> {
    let is_admin = visitor.role >= Role::Admin;
    let mut page = Page::new("Users and keys", "/users", visitor, &ask.done);
    if let Some((name, link)) = link {
        let label = format!("The set-up link of {name}: good once, until this time tomorrow");
        page.sections.push(Section::Copy { label, text: link });
    }
    let nobody = empty("Nobody may sign in yet.", "", "");
    let list = listed(office, &lists::USERS, ask, "/users", "users", nobody).await?;
    page.sections.push(Section::List(ListView { title: "Users".into(), ..list }));
    let keys = office.read(|tx| lists::KEYS.read(tx, &Ask::default(), &[], PAGE_ROWS)).await?;
    let none = empty("There is no key. Draw one: triad-office key new", "", "");
    page.sections.push(Section::List(ListView {
        title: "Publisher keys".into(),
        table: keys,
        path: "",
        csv: String::new(),
        empty: none,
    }));
    if is_admin {
        let mut roles = vec![(String::new(), "as before; operator for somebody new".to_owned())];
        roles
            .extend(["viewer", "operator", "admin"].map(|role| (role.to_owned(), role.to_owned())));
        let mut form = page.form(
            "Invite a user",
            "/users",
            "Make a set-up link",
            vec![
                Field::new("name", "Name", FieldKind::Input("text")),
                Field::new("role", "Role", FieldKind::Choice(roles)),
            ],
        );
        form.text =
            "The link lets them choose a password, once. Somebody who is there already chooses \
                     a new one, and has the role that is given here. \"triad-office user remove \
                     NAME\" removes a user."
                .into();
        page.sections.push(Section::Form(form));
    }
    Ok(page)
}

async fn csv(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(ask): Query<Ask>,
) -> Result<Response, PageError> {
    let visitor = visit::signed_in(&office, &headers).await?;
    let ask = Ask { sees_secrets: visitor.role >= Role::Operator, ..ask };
    let list = match name.as_str() {
        "servers" => &lists::SERVERS,
        "rights" => &lists::RIGHTS,
        "requests" => &lists::REQUESTS,
        "audit" => &lists::AUDIT,
        "users" => &lists::USERS,
        "organisations" => &lists::ORGANISATIONS,
        "products" => &lists::PRODUCTS,
        "entitlements" => &lists::ENTITLEMENTS,
        _ => return Err(PageError(OfficeError::NotFound("this list".into()))),
    };
    let text = office.read(move |tx| Ok(list.read(tx, &ask, &[], CSV_ROWS)?.to_csv())).await?;
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    let file = HeaderValue::from_static("attachment");
    Ok(([(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, file)], text).into_response())
}

async fn sign_in_page() -> Page {
    sign_in_form(None)
}

fn sign_in_form(wrong: Option<&str>) -> Page {
    let mut page = Page::outside("Sign in");
    page.sections.extend(wrong.map(|text| Section::Error(text.to_owned())));
    let form = page.form(
        "Your name and password",
        "/sign-in",
        "Sign in",
        vec![
            Field::new("name", "Name", FieldKind::Input("text")),
            Field::new("password", "Password", FieldKind::Input("password")),
        ],
    );
    let text = "There is no default password. The first link was shown by \"triad-office init\"; \
                \"triad-office user invite NAME\" makes another.";
    page.with(Section::Form(form)).with(Section::Text(text.into()))
}

#[derive(Deserialize)]
struct SignIn {
    name: String,
    password: String,
}

async fn sign_in(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<SignIn>,
) -> Result<Response, PageError> {
    visit::check_same_site(&headers)?;
    let name = sent.name.clone();
    let hash = office.read(move |tx| people::password_of(tx, &name)).await?;
    if !office.hash(move || people::fits(&sent.password, hash.as_deref())).await? {
        let page = sign_in_form(Some("Name or password is not right."));
        return Ok((axum::http::StatusCode::UNPROCESSABLE_ENTITY, page).into_response());
    }
    let token = office.write(move |tx| people::sign_in(tx, &sent.name, now_ms())).await?;
    let cookie = visit::set_cookie(&office, &token)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/servers")).into_response())
}

#[derive(Deserialize)]
struct OnlyToken {
    form_token: String,
}

async fn sign_out(
    State(office): State<Office>,
    headers: HeaderMap,
    Sent(sent): Sent<OnlyToken>,
) -> Result<Response, PageError> {
    let visitor = visit::signed_in(&office, &headers).await?;
    visit::check_form(&visitor, &sent.form_token)?;
    let token = visit::token(&office, &headers);
    office.write(move |tx| people::sign_out(tx, &token)).await?;
    let cookie = visit::set_cookie(&office, "")?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/sign-in")).into_response())
}

async fn set_up_page(State(office): State<Office>, Path(token): Path<String>) -> Shown {
    let link = token.clone();
    let name = office.read(move |tx| people::invited(tx, &link, now_ms())).await?;
    let Some(name) = name else {
        let message = "This link was used or is too old. Have a new one made: triad-office user \
                       invite NAME";
        return Err(PageError(OfficeError::refused("LINK_VOID", message)));
    };
    let page = Page::outside(format!("Welcome, {name}"));
    let form = page.form(
        "Choose your password",
        format!("/set-up/{token}"),
        "Choose it",
        vec![
            Field::new("new_password", "Password", FieldKind::Input("password"))
                .hint("At least 12 characters."),
            Field::new("again", "The same once more", FieldKind::Input("password")),
        ],
    );
    Ok(page.with(Section::Form(form)))
}

#[derive(Deserialize)]
struct SetUp {
    new_password: String,
    again: String,
}

async fn set_up(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(token): Path<String>,
    Sent(sent): Sent<SetUp>,
) -> Result<Response, PageError> {
    visit::check_same_site(&headers)?;
    if sent.new_password != sent.again {
        let message = "The two passwords differ.";
        return Err(PageError(OfficeError::refused("INVALID", message)));
    }
    let hash = office.hash(move || people::hash_password(&sent.new_password)).await??;
    let token = office
        .write(move |tx| {
            let name = people::set_up(tx, &token, &hash, now_ms())?;
            people::sign_in(tx, &name, now_ms())
        })
        .await?;
    let cookie = visit::set_cookie(&office, &token)?;
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/servers")).into_response())
}

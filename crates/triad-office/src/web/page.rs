//! What a page is made of, and how it becomes HTML. All text is escaped by the
//! template; names of servers and users are whatever somebody chose to write.

use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::de::DeserializeOwned;

use super::status_of;
use super::visit::NUMBER;
use crate::error::OfficeError;
use crate::people::{self, Visitor};
use crate::table::{CellKind, Column, Table};
use crate::view::Member;

/// A page.
#[derive(Template)]
#[template(path = "page.html")]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// Which entry of the navigation it belongs to.
    pub here: &'static str,
    /// Who looks at it; nobody on the pages before the sign-in.
    pub visitor: Option<Visitor>,
    /// What was done just now.
    pub notice: &'static str,
    /// Its parts.
    pub sections: Vec<Section>,
}

/// A part of a page.
pub enum Section {
    /// A paragraph.
    Text(String),
    /// Something that went wrong.
    Error(String),
    /// Something to be copied whole.
    Copy { label: String, text: String },
    /// Facts with their names.
    Facts { title: String, facts: Vec<(&'static str, String)> },
    /// The servers of a group, side by side.
    Members(Vec<MemberCard>),
    /// A list.
    List(ListView),
    /// Something to fill in.
    Form(Form),
}

/// One server of a group.
pub struct MemberCard {
    /// The server.
    pub member: Member,
    /// Whether it is the one whose page this is.
    pub is_here: bool,
}

/// A list with what stands around it.
pub struct ListView {
    /// Its heading; empty where the page's own says enough.
    pub title: String,
    /// Its rows.
    pub table: Table,
    /// The page's own address; empty for a list without search, pages and
    /// sorting.
    pub path: &'static str,
    /// Where it is found as CSV; empty for nowhere.
    pub csv: String,
    /// What to do while it is empty.
    pub empty: Empty,
}

/// What an empty list says.
pub struct Empty {
    /// Why it is empty, and the next step.
    pub text: String,
    /// Where the next step is; empty for nowhere.
    pub href: String,
    /// What the link says.
    pub link: String,
}

/// A form.
pub struct Form {
    /// Its heading.
    pub title: String,
    /// What it does, and what that means.
    pub text: String,
    /// Where it is sent.
    pub action: String,
    /// Its fields.
    pub fields: Vec<Field>,
    /// What its button says.
    pub button: &'static str,
    /// Shows that it is of this sign-in.
    pub form_token: String,
    /// Whether it carries a file.
    pub has_file: bool,
}

/// A field of a form.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What stands beside it.
    pub label: String,
    /// What it takes.
    pub kind: FieldKind,
    /// What stands in it.
    pub value: String,
    /// More about it; may be empty.
    pub hint: &'static str,
    /// Whether it must be filled in.
    pub required: bool,
}

/// What a field takes.
pub enum FieldKind {
    /// One line, of an `input` of this type.
    Input(&'static str),
    /// Several lines.
    Area,
    /// One of these: value and text.
    Choice(Vec<(String, String)>),
    /// Nothing to be seen.
    Hidden,
}

impl Field {
    /// A field that must be filled in.
    pub fn new(name: &'static str, label: impl Into<String>, kind: FieldKind) -> Self {
        Field { name, label: label.into(), kind, value: String::new(), hint: "", required: true }
    }

    /// With a hint.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = hint;
        self
    }

    /// With something in it.
    pub fn value(mut self, value: impl Into<String>) -> Self {
        self.value = value.into();
        self
    }

    /// That may be left empty.
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}

impl Page {
    /// A page for somebody who is signed in.
    pub fn new(title: impl Into<String>, here: &'static str, visitor: Visitor, done: &str) -> Self {
        Page {
            title: title.into(),
            here,
            visitor: Some(visitor),
            notice: notice(done),
            sections: Vec::new(),
        }
    }

    /// A page for somebody who is not.
    pub fn outside(title: impl Into<String>) -> Self {
        let sections = Vec::new();
        Page { title: title.into(), here: "", visitor: None, notice: "", sections }
    }

    /// With one more part.
    pub fn with(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }

    /// A form with this visitor's token, and a number of its own.
    pub fn form(
        &self,
        title: impl Into<String>,
        action: impl Into<String>,
        button: &'static str,
        fields: Vec<Field>,
    ) -> Form {
        let form_token = self.visitor.as_ref().map(|visitor| {
            // Without randomness nobody could have signed in.
            let number = people::drawn("").unwrap_or_default();
            format!("{}{NUMBER}{number}", visitor.form_token)
        });
        Form {
            title: title.into(),
            text: String::new(),
            action: action.into(),
            fields,
            button,
            form_token: form_token.unwrap_or_default(),
            has_file: false,
        }
    }
}

/// Messages by their codes: what stands in an address is shown to nobody.
fn notice(code: &str) -> &'static str {
    match code {
        "registered" => "Registered.",
        "repaired" => "Repaired: the roles are as chosen, and the rights moved along.",
        "replaced" => "Replaced. The group's next license names the new machine.",
        "apart" => "The group is apart. Its servers are placed anew when they call.",
        "key" => "The key is forgotten. The server's next call shows its new one.",
        "cluster" => "The cluster is forgotten. The next call says which cluster it is.",
        "mapped" => "Mapped. The servers get it with their next poll.",
        "added" => "Added.",
        "changed" => "Changed.",
        _ => "",
    }
}

impl ListView {
    /// The address of another page or order of the same list.
    fn at(&self, page: u32, sort: &str) -> String {
        let mut address = format!("{}?q={}", self.path, encoded(&self.table.q));
        if !sort.is_empty() {
            address.push_str(&format!("&sort={}", encoded(sort)));
        }
        if page > 1 {
            address.push_str(&format!("&page={page}"));
        }
        address
    }

    fn page_at(&self, page: &u32) -> String {
        self.at(*page, &self.table.sort)
    }

    /// Sorted by this column, and by the other direction if it is already.
    fn sorted_by(&self, column: &Column) -> String {
        let key = column.key;
        let sort = if self.table.sort == key { format!("-{key}") } else { key.to_owned() };
        self.at(1, &sort)
    }

    fn aria_sort(&self, column: &Column) -> &'static str {
        match self.table.sort.strip_prefix('-') {
            Some(key) if key == column.key => "descending",
            None if self.table.sort == column.key => "ascending",
            _ => "none",
        }
    }

    fn caption(&self) -> String {
        let Table { total, page, .. } = &self.table;
        let noun = if *total == 1 { singular(self.table.noun) } else { self.table.noun.to_owned() };
        let found = if self.table.q.is_empty() { "" } else { " found" };
        match self.table.pages() {
            _ if self.path.is_empty() && self.table.rows.len() as u64 == *total => {
                format!("{total} {noun}")
            }
            _ if self.path.is_empty() => {
                format!("{total} {noun}, the newest {} shown", self.table.rows.len())
            }
            1 => format!("{total} {noun}{found}"),
            pages => format!("{total} {noun}{found}, page {page} of {pages}"),
        }
    }
}

/// `entries` as one entry, `line items mapped` as one line item mapped.
fn singular(noun: &str) -> String {
    let mut found = false;
    let words = noun.split(' ').map(|word| match word.strip_suffix('s') {
        Some(one) if !found => {
            found = true;
            one.strip_suffix("ie").map_or_else(|| one.to_owned(), |stem| format!("{stem}y"))
        }
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// How a state looks, apart from what it says.
/// The name of a server, or that it has none yet.
fn shown(name: &str) -> &str {
    if name.is_empty() { "(has not called)" } else { name }
}

fn tone(state: &str) -> &'static str {
    match state {
        "MAIN" | "SINGLE" | "MEMBER" | "LICENSED" | "ACTIVE" | "CURRENT" | "UNCHANGED" => "good",
        "BACKUP" | "REGISTERED" | "NO_RIGHTS" | "NEXT" => "calm",
        "PENDING_MAIN" | "INVITED" => "wait",
        "RETIRED" => "off",
        _ => "bad",
    }
}

/// A text as it stands in the query of an address.
pub fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        match self.render() {
            Ok(html) => {
                ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
            }
            Err(error) => {
                tracing::error!(%error, "a page cannot be shown");
                (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be shown\n").into_response()
            }
        }
    }
}

/// What was filled in and sent.
pub struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageError> {
        let sent = axum::extract::Form::<T>::from_request(request, state).await;
        sent.map(|sent| Sent(sent.0)).map_err(|rejection| {
            let what = rejection.body_text();
            let what = what.rsplit_once(": ").map_or(what.as_str(), |(_, what)| what);
            let message = format!("a field is empty, or takes something else: {what}");
            PageError(OfficeError::refused("INVALID", message))
        })
    }
}

/// An error as people read it.
pub struct PageError(pub OfficeError);

impl From<OfficeError> for PageError {
    fn from(error: OfficeError) -> Self {
        PageError(error)
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if self.0.reason() == "NOT_SIGNED_IN" {
            return Redirect::to("/sign-in").into_response();
        }
        if self.0.reason() == "INTERNAL" {
            tracing::error!(error = %self.0, "a page failed");
        }
        let text = match self.0.reason() {
            "ALREADY_DONE" => "Nothing was changed by sending it again.",
            _ => {
                "Nothing was changed. Go back to what you filled in, correct it, and send it \
                 again."
            }
        };
        let page = Page::outside("This was not done")
            .with(Section::Error(self.0.to_string()))
            .with(Section::Text(text.to_owned()));
        (status_of(&self.0), page).into_response()
    }
}

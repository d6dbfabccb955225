//! Pages: what stands on them, and how that becomes HTML.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::signin::Visitor;
use super::table::Listing;
use super::verdict::Verdict;

/// One page.
#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page {
    title: String,
    /// The path of the entry of the menu that it belongs to.
    here: &'static str,
    /// The name of this node.
    node: String,
    visitor: Option<Visitor>,
    /// How the cluster is; on every page but those of strangers.
    verdict: Option<Verdict>,
    notice: String,
    sections: Vec<Section>,
    status: StatusCode,
}

/// A part of a page.
pub(super) enum Section {
    /// A paragraph.
    Text(String),
    /// What went wrong.
    Error(String),
    /// Names and values.
    Facts { title: &'static str, facts: Vec<(&'static str, String)> },
    /// How seats are used.
    Bars { title: &'static str, bars: Vec<Bar>, more: &'static str },
    /// A table.
    List(Listing),
    /// Something to fill in.
    Form(Form),
    /// What happened, the newest first.
    Events(Events),
    /// A page of the documentation, ready.
    Document(String),
    /// Links to pages, one on each line.
    Links { title: String, links: Vec<(String, String)> },
}

/// Seats of one feature, in parts of all of them.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) href: String,
    /// In words: the bar says nothing that these do not.
    pub(super) words: String,
    /// In thousandths of the bar.
    pub(super) used: u64,
    pub(super) reserved: u64,
    pub(super) tone: &'static str,
}

/// What happened.
pub(super) struct Events {
    pub(super) title: &'static str,
    pub(super) lines: Vec<EventLine>,
    /// The number after which new ones come; where they come by themselves.
    pub(super) live_after: Option<u64>,
    /// Older ones.
    pub(super) older: String,
    pub(super) newest: String,
    /// All that fit, as a file.
    pub(super) file: String,
    pub(super) empty: &'static str,
}

/// One thing that happened.
pub(super) struct EventLine {
    pub(super) sequence: u64,
    /// Milliseconds since 1970 UTC.
    pub(super) date_ms: u64,
    pub(super) at: String,
    pub(super) kind: String,
    pub(super) tone: &'static str,
    pub(super) text: String,
}

/// What can be sent.
pub(super) struct Form {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) action: String,
    pub(super) method: &'static str,
    pub(super) form_token: String,
    pub(super) fields: Vec<Field>,
    pub(super) button: &'static str,
}

/// One thing to fill in.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) kind: &'static str,
    pub(super) value: String,
    /// Where it is one of some: value and words.
    pub(super) choices: Vec<(String, String)>,
    pub(super) required: bool,
}

impl Field {
    /// Something short to type.
    pub(super) fn input(name: &'static str, label: &'static str, kind: &'static str) -> Self {
        let (value, choices) = (String::new(), Vec::new());
        Field { name, label, hint: "", kind, value, choices, required: false }
    }
}

impl Page {
    pub(super) fn new(title: impl Into<String>, here: &'static str, node: &str) -> Self {
        Page {
            title: title.into(),
            here,
            node: node.to_owned(),
            visitor: None,
            verdict: None,
            notice: String::new(),
            sections: Vec::new(),
            status: StatusCode::OK,
        }
    }

    pub(super) fn visitor(self, visitor: Option<Visitor>) -> Self {
        Page { visitor, ..self }
    }

    pub(super) fn verdict(self, verdict: Verdict) -> Self {
        Page { verdict: Some(verdict), ..self }
    }

    pub(super) fn notice(self, notice: impl Into<String>) -> Self {
        Page { notice: notice.into(), ..self }
    }

    pub(super) fn status(self, status: StatusCode) -> Self {
        Page { status, ..self }
    }

    pub(super) fn with(mut self, section: Section) -> Self {
        self.sections.push(section);
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        match self.render() {
            Ok(html) => (self.status, Html(html)).into_response(),
            Err(error) => {
                tracing::error!(%error, "a page cannot be made");
                (StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be made\n").into_response()
            }
        }
    }
}

/// A list on its own page, or as a file where that is asked for.
pub(super) fn listed(page: Page, listing: Listing, name: &str) -> Response {
    if listing.ask.format != "csv" {
        return page.with(Section::List(listing)).into_response();
    }
    saved(listing.csv(), name)
}

/// A file of CSV, to be saved under this name.
pub(super) fn saved(csv: String, name: &str) -> Response {
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    let mut response = csv.into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(disposition) = HeaderValue::from_str(&disposition) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

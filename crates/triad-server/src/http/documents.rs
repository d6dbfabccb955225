//! `/docs`: the book, from the node itself.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pulldown_cmark::{
    CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html,
};

use super::Web;
use super::page::{Page, Section};
use super::signin::Visitor;

include!(concat!(env!("OUT_DIR"), "/documents.rs"));

const CONTENTS: &str = "SUMMARY.md";

fn file(path: &str) -> Option<&'static [u8]> {
    let found = FILES.binary_search_by_key(&path, |(name, _)| name).ok()?;
    Some(FILES[found].1)
}

/// The list of contents.
pub(super) async fn contents(State(web): State<Web>, headers: HeaderMap) -> Response {
    shown(&web, &headers, CONTENTS)
}

/// One page, or one of its pictures.
pub(super) async fn document(
    State(web): State<Web>,
    headers: HeaderMap,
    Path(path): Path<String>,
) -> Response {
    let kind = match path.rsplit_once('.') {
        Some((_, "png")) => "image/png",
        Some((_, "svg")) => "image/svg+xml",
        _ => return shown(&web, &headers, &format!("{path}.md")),
    };
    match file(&path) {
        Some(bytes) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn shown(web: &Web, headers: &HeaderMap, path: &str) -> Response {
    let visitor = Visitor::signed_in(web, headers);
    let page =
        |title: String| Page::new(title, "/docs", &web.node.config.name).visitor(visitor.clone());
    let Some(text) = file(path).and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        let links = vec![("/docs".to_owned(), "All pages of the documentation".to_owned())];
        return page("No such page".to_owned())
            .status(StatusCode::NOT_FOUND)
            .with(Section::Links { title: "Go on".into(), links })
            .into_response();
    };
    let Rendered { title, html } = render(text, path);
    let title = if path == CONTENTS { "Documentation".to_owned() } else { title };
    page(title).with(Section::Document(html)).into_response()
}

/// A page as HTML: its title, and what follows.
struct Rendered {
    title: String,
    html: String,
}

/// Makes HTML of a page. What is HTML in it already is left out.
fn render(text: &str, path: &str) -> Rendered {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let mut rendering =
        Rendering { path, title: String::new(), in_title: false, linked: Vec::new() };
    let events: Vec<Event<'_>> = Parser::new_ext(text, options).collect();
    let mut shown = Vec::with_capacity(events.len());
    for (n, event) in events.iter().enumerate() {
        rendering.take(event, &events[n + 1..], &mut shown);
    }
    let mut html = String::new();
    html::push_html(&mut html, shown.into_iter());
    Rendered { title: rendering.title, html }
}

struct Rendering<'p> {
    path: &'p str,
    title: String,
    in_title: bool,
    /// For each link that is open: whether it leads anywhere.
    linked: Vec<bool>,
}

impl Rendering<'_> {
    fn take<'a>(&mut self, event: &Event<'a>, rest: &[Event<'a>], shown: &mut Vec<Event<'a>>) {
        let raw = |text: String| Event::Html(CowStr::from(text));
        match event {
            Event::Start(Tag::Heading { level: HeadingLevel::H1, .. }) if self.title.is_empty() => {
                self.in_title = true;
            }
            Event::End(TagEnd::Heading(HeadingLevel::H1)) if self.in_title => self.in_title = false,
            Event::Text(text) | Event::Code(text) if self.in_title => self.title.push_str(text),
            _ if self.in_title => {}
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::Start(Tag::Heading { level, .. }) => {
                let level = lower(*level);
                shown.push(raw(format!("<{level} id=\"{}\">", slug(rest))));
            }
            Event::End(TagEnd::Heading(level)) => {
                shown.push(raw(format!("</{}>\n", lower(*level))));
            }
            Event::Start(Tag::Link { dest_url, title, link_type, id }) => {
                let to = address(self.path, dest_url);
                self.linked.push(to.is_some());
                if let Some(to) = to {
                    let (title, id, link_type) = (title.clone(), id.clone(), *link_type);
                    let dest_url = CowStr::from(to);
                    shown.push(Event::Start(Tag::Link { link_type, dest_url, title, id }));
                }
            }
            Event::End(TagEnd::Link) => {
                if self.linked.pop() == Some(true) {
                    shown.push(event.clone());
                }
            }
            Event::Start(Tag::Image { dest_url, title, link_type, id }) => {
                let dest_url = CowStr::from(format!("/docs/{}", beside(self.path, dest_url)));
                let (title, id, link_type) = (title.clone(), id.clone(), *link_type);
                shown.push(Event::Start(Tag::Image { link_type, dest_url, title, id }));
            }
            // Alignment would be a style of its own, which the page's policy forbids.
            Event::Start(Tag::Table(columns)) => {
                let frame =
                    "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-label=\"Table\">";
                shown.push(raw(frame.to_owned()));
                let columns = vec![pulldown_cmark::Alignment::None; columns.len()];
                shown.push(Event::Start(Tag::Table(columns)));
            }
            Event::End(TagEnd::Table) => {
                shown.push(event.clone());
                shown.push(raw("</div>\n".to_owned()));
            }
            // What may be wider than the page is to be reached by keyboard.
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented)) => {
                shown.push(raw("<pre tabindex=\"0\"><code>".to_owned()));
            }
            Event::End(TagEnd::CodeBlock) => shown.push(raw("</code></pre>\n".to_owned())),
            other => shown.push(other.clone()),
        }
    }
}

/// The page's title is its one heading of the first level.
fn lower(level: HeadingLevel) -> HeadingLevel {
    level.max(HeadingLevel::H2)
}

/// The name of a heading, as links to it have it.
fn slug(rest: &[Event<'_>]) -> String {
    let heading = rest.iter().take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    let mut slug = String::new();
    for event in heading {
        let (Event::Text(text) | Event::Code(text)) = event else { continue };
        for c in text.chars() {
            match c {
                ' ' | '-' => slug.push('-'),
                '_' => slug.push('_'),
                _ if c.is_alphanumeric() => slug.extend(c.to_lowercase()),
                _ => {}
            }
        }
    }
    slug
}

/// Where a link of a page leads here; `None` if it leads out of the book to
/// something that only the source tree has.
fn address(path: &str, to: &str) -> Option<String> {
    if to.starts_with('#') || to.starts_with("https://") || to.starts_with("http://") {
        return Some(to.to_owned());
    }
    let (file_of, heading) = to.split_once('#').map_or((to, ""), |(file, heading)| (file, heading));
    let target = beside(path, file_of);
    let found = file(&target)?;
    debug_assert!(!found.is_empty());
    let page = target.strip_suffix(".md").unwrap_or(&target);
    let heading = if heading.is_empty() { String::new() } else { format!("#{heading}") };
    Some(format!("/docs/{page}{heading}"))
}

/// A path beside a page's own, with every `..` taken.
fn beside(path: &str, to: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in to.split('/') {
        match part {
            "." | "" => {}
            ".." if parts.pop().is_none() => return String::new(),
            ".." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_book_is_here_and_its_links_lead_somewhere() {
        assert!(FILES.len() > 40, "{}", FILES.len());
        let mut links = 0;
        for (path, bytes) in FILES.iter().filter(|(path, _)| path.ends_with(".md")) {
            let rendered = render(std::str::from_utf8(bytes).expect("text"), path);
            assert!(!rendered.title.is_empty(), "{path} has no title");
            for href in rendered.html.split("href=\"/docs/").skip(1) {
                let href = href.split(['"', '#']).next().unwrap_or_default();
                assert!(
                    file(href).or_else(|| file(&format!("{href}.md"))).is_some(),
                    "{path}: {href}"
                );
                links += 1;
            }
        }
        assert!(links > 100, "{links}");
    }

    #[test]
    fn what_a_page_brings_along_runs_nowhere() {
        let text = "# A & B\n\n<script>x</script>\n\n## Two `words`\n\n| a |\n|--:|\n| 1 |\n\n\
                    [out](../../Cargo.toml) [in](configuration.md#listen)\n\n```\n<b>\n```\n";
        let Rendered { title, html } = render(text, "reference/metrics.md");
        assert_eq!(title, "A & B");
        assert!(
            !html.contains("<script") && !html.contains("style=") && !html.contains("Cargo"),
            "{html}"
        );
        assert!(html.contains("<h2 id=\"two-words\">"), "{html}");
        assert!(html.contains("href=\"/docs/reference/configuration#listen\""), "{html}");
        assert!(html.contains("&lt;b&gt;"), "{html}");
    }
}

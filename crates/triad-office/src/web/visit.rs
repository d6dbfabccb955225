//! Who is visiting: by cookie for people, by bearer token for programs. Forms
//! carry a token that no other site can know.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::clock::now_ms;
use crate::error::OfficeError;
use crate::office::Office;
use crate::people::{self, Visitor};

/// The prefix lets browsers accept it from this host alone, over TLS alone.
const COOKIE: &str = "__Host-triad-office";
const COOKIE_PLAIN: &str = "triad-office";

fn cookie_name(office: &Office) -> &'static str {
    if office.config.tls.is_some() || office.config.url.starts_with("https:") {
        COOKIE
    } else {
        COOKIE_PLAIN
    }
}

/// The sign-in token of a request; empty without one.
pub fn token(office: &Office, headers: &HeaderMap) -> String {
    let name = cookie_name(office);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = all.flat_map(|line| line.split(';')).map(str::trim);
    let found = cookies.find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

/// The header that keeps a sign-in in the browser; an empty token ends it.
pub fn set_cookie(office: &Office, token: &str) -> Result<HeaderValue, OfficeError> {
    let name = cookie_name(office);
    let secure = if name == COOKIE { "; Secure" } else { "" };
    let age = if token.is_empty() { 0 } else { people::LOGIN_MS / 1_000 };
    let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&text).map_err(|error| OfficeError::System(error.to_string()))
}

/// Who is signed in.
///
/// # Errors
///
/// Nobody is.
pub async fn signed_in(office: &Office, headers: &HeaderMap) -> Result<Visitor, OfficeError> {
    let token = token(office, headers);
    let visitor = office.read(move |tx| people::visitor(tx, &token, now_ms())).await?;
    visitor.ok_or_else(|| OfficeError::refused("NOT_SIGNED_IN", "sign in first"))
}

/// The program that brings a bearer token.
///
/// # Errors
///
/// There is none, or nobody knows it.
pub async fn program(office: &Office, headers: &HeaderMap) -> Result<Visitor, OfficeError> {
    let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default();
    let token = token.to_owned();
    let visitor = office.read(move |tx| people::program(tx, &token)).await?;
    visitor.ok_or_else(|| {
        let message = "this needs a token: Authorization: Bearer tot_...; make one with \
                       \"triad-office token add NAME\"";
        OfficeError::refused("NOT_SIGNED_IN", message)
    })
}

/// What stands between the token of the sign-in and the number of the form.
pub const NUMBER: char = '.';

/// Checks that a form was made by this office for this visitor, and returns its number.
pub fn check_form<'a>(visitor: &Visitor, form_token: &'a str) -> Result<&'a str, OfficeError> {
    let (token, number) = form_token.split_once(NUMBER).unwrap_or((form_token, ""));
    let same = !visitor.form_token.is_empty()
        && aws_lc_rs::constant_time::verify_slices_are_equal(
            visitor.form_token.as_bytes(),
            token.as_bytes(),
        )
        .is_ok();
    if same {
        return Ok(number);
    }
    let message = "this form is not of your present sign-in; go back, load the page again, and \
                   send it once more";
    Err(OfficeError::refused("FORGED_FORM", message))
}

/// Whether a form that is sent before anybody is signed in comes from this
/// office's own page. Browsers say so; who is no browser signs nobody in.
pub fn check_same_site(headers: &HeaderMap) -> Result<(), OfficeError> {
    let said = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    match said {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => {
            let message = "this form came from another site; open the office itself";
            Err(OfficeError::refused("FORGED_FORM", message))
        }
    }
}

//! Signing in and out.

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::{Form as Sent, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use tokio::time::Instant;

use super::Web;
use super::page::{Field, Form, Page, Section};
use super::signin::{Visitor, cookie, is_same_site, own_path, set_cookie};
use crate::tokens::authorize;

/// From where somebody asks.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Where to go after signing in.
#[derive(Default, serde::Deserialize)]
pub(super) struct To {
    #[serde(default)]
    to: String,
}

/// What the form sends.
#[derive(serde::Deserialize)]
pub(super) struct SignIn {
    token: String,
    #[serde(default)]
    to: String,
}

/// The page on which to sign in.
pub(super) async fn sign_in_page(State(web): State<Web>, Query(To { to }): Query<To>) -> Page {
    page(&web, &to, None)
}

fn page(web: &Web, to: &str, error: Option<&str>) -> Page {
    let mut token = Field::input("token", "Administrator token", "password");
    token.required = true;
    token.hint = "The line in admin.token, which triad init wrote, or one of triad token create.";
    let mut to_field = Field::input("to", "", "hidden");
    to_field.value = own_path(to).to_owned();
    let mut page = Page::new("Sign in", "/sign-in", &web.node.config.name);
    if let Some(error) = error {
        page = page.with(Section::Error(error.to_owned()));
    }
    page.with(Section::Form(Form {
        title: format!("Node {}", web.node.config.name),
        text: "Who holds which seat is for administrators.".to_owned(),
        action: "/sign-in".into(),
        method: "post",
        form_token: String::new(),
        fields: vec![token, to_field],
        button: "Sign in",
    }))
}

/// Signs in whoever shows a token that is known.
pub(super) async fn sign_in(
    State(web): State<Web>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    Sent(SignIn { token, to }): Sent<SignIn>,
) -> Response {
    let now = Instant::now();
    if !is_same_site(&headers) {
        let why = "This form came from another site; open this node's own page.";
        return page(&web, "", Some(why)).status(StatusCode::FORBIDDEN).into_response();
    }
    if !web.sign_ins.may_try(peer.ip(), now) {
        let why = "Too many wrong tokens came from your address. Try again in a minute.";
        let page = page(&web, &to, Some(why)).status(StatusCode::TOO_MANY_REQUESTS);
        let mut response = page.into_response();
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
        return response;
    }
    let token = token.trim().to_owned();
    if authorize(&web.node, &token).is_none() {
        web.sign_ins.was_wrong(peer.ip(), now);
        tracing::warn!(%peer, "a wrong token was tried on the pages");
        let why = "This token is not known here: it was never made, was revoked, or has expired.";
        return page(&web, &to, Some(why)).status(StatusCode::UNAUTHORIZED).into_response();
    }
    let kept = web.sign_ins.open(token, now).and_then(|value| set_cookie(&web, &value));
    let Some(kept) = kept else {
        let why = "This machine has no randomness now; try again.";
        let page = page(&web, &to, Some(why));
        return page.status(StatusCode::SERVICE_UNAVAILABLE).into_response();
    };
    ([(header::SET_COOKIE, kept)], Redirect::to(own_path(&to))).into_response()
}

/// What the button sends.
#[derive(serde::Deserialize)]
pub(super) struct SignOut {
    form_token: String,
}

/// Ends a sign-in.
pub(super) async fn sign_out(
    State(web): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    Sent(SignOut { form_token }): Sent<SignOut>,
) -> Response {
    if !visitor.made(&form_token) {
        return (StatusCode::FORBIDDEN, "this form is not of your sign-in\n").into_response();
    }
    web.sign_ins.close(&cookie(&web, &headers));
    let mut response = Redirect::to("/sign-in").into_response();
    if let Some(ended) = set_cookie(&web, "") {
        response.headers_mut().insert(header::SET_COOKIE, ended);
    }
    response
}

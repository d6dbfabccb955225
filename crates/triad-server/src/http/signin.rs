//! Who is looking at the pages: whoever showed an administrator's token, which
//! the node keeps in memory for a while, and gave the browser a cookie for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use triad_proto::net::block_of;

use super::Web;
use super::table::encoded;
use crate::init::admin_token_hash;
use crate::tokens::{Principal, Role, authorize};

/// Sign-ins at once. One too many takes the place of another of the token that has
/// the most, the one that was used longest ago: nobody drives others out.
const OPEN_MAX: usize = 256;
/// Sign-ins at once with one token: all the browsers of one person.
const OPEN_PER_TOKEN_MAX: usize = 16;
/// A sign-in ends after this, however much it is used.
const AGE_MAX: Duration = Duration::from_secs(12 * 3_600);
/// And after this, if it is not.
const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// Wrong tokens from one address within [`WINDOW`].
const WRONG_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses whose mistakes are counted apart; others share one count.
const ADDRESSES_MAX: usize = 1_024;
const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// All sign-ins of a node.
#[derive(Default)]
pub(super) struct SignIns(Mutex<Book>);

#[derive(Default)]
struct Book {
    /// By the digest of the cookie, so that how long a look takes says nothing.
    open: HashMap<String, SignIn>,
    wrong: HashMap<IpAddr, (Instant, u32)>,
}

struct SignIn {
    /// Asked for again with each page: it may be revoked meanwhile.
    bearer: String,
    form_token: String,
    began: Instant,
    used: Instant,
}

/// Who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    pub(super) label: String,
    pub(super) role: Role,
    /// What his forms carry, and no other site can know.
    pub(super) form_token: String,
    pub(super) bearer: String,
}

impl SignIns {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody at this address may try a token now.
    pub(super) fn may_try(&self, address: IpAddr, now: Instant) -> bool {
        let mut book = self.book();
        let address = book.counted(address, now);
        book.wrong.get(&address).is_none_or(|(_, wrong)| *wrong < WRONG_MAX)
    }

    /// He tried a wrong one.
    pub(super) fn was_wrong(&self, address: IpAddr, now: Instant) {
        let mut book = self.book();
        let address = book.counted(address, now);
        book.wrong.entry(address).or_insert((now, 0)).1 += 1;
    }

    /// A new sign-in; returns its cookie's value.
    pub(super) fn open(&self, bearer: String, now: Instant) -> Option<String> {
        let (cookie, form_token) = (random()?, random()?);
        let mut book = self.book();
        book.open.retain(|_, sign_in| sign_in.is_open(now));
        if let Some(oldest) = book.gives_way(&bearer) {
            book.open.remove(&oldest);
        }
        let sign_in = SignIn { bearer, form_token, began: now, used: now };
        book.open.insert(admin_token_hash(&cookie), sign_in);
        Some(cookie)
    }

    /// The token and the form token of the sign-in with this cookie.
    fn find(&self, cookie: &str, now: Instant) -> Option<(String, String)> {
        let mut book = self.book();
        let sign_in = book.open.get_mut(&admin_token_hash(cookie))?;
        if !sign_in.is_open(now) {
            return None;
        }
        sign_in.used = now;
        Some((sign_in.bearer.clone(), sign_in.form_token.clone()))
    }

    /// It is over.
    pub(super) fn close(&self, cookie: &str) {
        self.book().open.remove(&admin_token_hash(cookie));
    }
}

impl Book {
    /// Which sign-in, if any, is over when one more is opened with this token.
    fn gives_way(&self, bearer: &str) -> Option<String> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for sign_in in self.open.values() {
            *counts.entry(&sign_in.bearer).or_default() += 1;
        }
        let own = counts.get(bearer).copied().unwrap_or(0);
        let whose = match () {
            () if own >= OPEN_PER_TOKEN_MAX => bearer,
            () if self.open.len() >= OPEN_MAX => counts.into_iter().max_by_key(|(_, n)| *n)?.0,
            () => return None,
        };
        let of_token = self.open.iter().filter(|(_, sign_in)| sign_in.bearer == whose);
        of_token.min_by_key(|(_, sign_in)| sign_in.used).map(|(cookie, _)| cookie.clone())
    }

    /// Under which address somebody's mistakes count. What is a minute old is
    /// forgotten.
    fn counted(&mut self, address: IpAddr, now: Instant) -> IpAddr {
        let address = block_of(address);
        self.wrong.retain(|_, (since, _)| now < *since + WINDOW);
        let room = self.wrong.contains_key(&address) || self.wrong.len() < ADDRESSES_MAX;
        if room { address } else { OTHERS }
    }
}

impl SignIn {
    fn is_open(&self, now: Instant) -> bool {
        now < self.began + AGE_MAX && now < self.used + IDLE_MAX
    }
}

fn random() -> Option<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).ok()?;
    Some(URL_SAFE_NO_PAD.encode(bytes))
}

/// Cookies belong to hosts, not to ports: nodes that share a host, as in a
/// demonstration, each have a name for theirs. The prefix lets browsers take it
/// from this host alone, over TLS alone.
fn cookie_name(web: &Web) -> String {
    let config = &web.node.config;
    let prefix = if config.tls.is_some() { "__Host-" } else { "" };
    format!("{prefix}triad-{}-{}", config.cluster_id.as_str(), config.node_id)
}

/// The value of the cookie in a request; empty without one.
pub(super) fn cookie(web: &Web, headers: &HeaderMap) -> String {
    let name = cookie_name(web);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut cookies = all.flat_map(|line| line.split(';')).map(str::trim);
    let found = cookies.find_map(|cookie| cookie.strip_prefix(&name)?.strip_prefix('='));
    found.unwrap_or_default().to_owned()
}

/// The header that keeps a sign-in in the browser; an empty value ends it.
pub(super) fn set_cookie(web: &Web, value: &str) -> Option<HeaderValue> {
    let name = cookie_name(web);
    let secure = if web.node.config.tls.is_some() { "; Secure" } else { "" };
    let age = if value.is_empty() { 0 } else { AGE_MAX.as_secs() };
    let text = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    HeaderValue::from_str(&text).ok()
}

impl Visitor {
    fn of(principal: Principal, bearer: String, form_token: String) -> Self {
        let Principal { label, role, .. } = principal;
        Visitor { label, role, form_token, bearer }
    }

    /// Whoever is signed in.
    pub(super) fn signed_in(web: &Web, headers: &HeaderMap) -> Option<Self> {
        let value = cookie(web, headers);
        let (bearer, form_token) = web.sign_ins.find(&value, Instant::now())?;
        let principal = authorize(&web.node, &bearer)?;
        Some(Visitor::of(principal, bearer, form_token))
    }

    /// Whether a form was made by this node for this sign-in.
    pub(super) fn made(&self, form_token: &str) -> bool {
        let (own, shown) = (self.form_token.as_bytes(), form_token.as_bytes());
        !own.is_empty() && aws_lc_rs::constant_time::verify_slices_are_equal(own, shown).is_ok()
    }
}

/// Every page but a few needs a visitor who is signed in, and sends others to
/// where they can.
impl FromRequestParts<Web> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Response> {
        if let Some(visitor) = Visitor::signed_in(web, &parts.headers) {
            return Ok(visitor);
        }
        if parts.method != axum::http::Method::GET {
            return Err((StatusCode::UNAUTHORIZED, "sign in first\n").into_response());
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        Err(Redirect::to(&format!("/sign-in?to={}", encoded(path))).into_response())
    }
}

/// Whether a form that is sent before anybody is signed in comes from this node's
/// own page. Browsers say so; who is no browser signs nobody in.
pub(super) fn is_same_site(headers: &HeaderMap) -> bool {
    let said = headers.get("sec-fetch-site").and_then(|value| value.to_str().ok());
    matches!(said, None | Some("same-origin" | "none"))
}

/// Where to go after signing in: a page of this node, whatever was asked.
pub(super) fn own_path(to: &str) -> &str {
    let inside = to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
    // Browsers leave tabs and line ends out of what they follow.
    let inside = inside && !to.chars().any(char::is_control);
    if inside { to } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn a_sign_in_ends_when_it_is_old_unused_or_one_too_many() {
        let sign_ins = SignIns::default();
        let start = Instant::now();
        let first = sign_ins.open("tat_a".into(), start).expect("chance");
        let found = |cookie: &str, at: Duration| sign_ins.find(cookie, start + at).is_some();
        assert!(found(&first, IDLE_MAX / 2) && !found("", Duration::ZERO));
        let mut at = IDLE_MAX / 2;
        while at + IDLE_MAX / 2 < AGE_MAX {
            at += IDLE_MAX / 2;
            assert!(found(&first, at), "it is in use");
        }
        assert!(!found(&first, AGE_MAX), "it is old");
        let second = sign_ins.open("tat_a".into(), start + AGE_MAX).expect("chance");
        assert!(!found(&second, AGE_MAX + IDLE_MAX), "nobody used it");
        let third = sign_ins.open("tat_a".into(), start).expect("chance");
        for n in 0..OPEN_MAX as u32 {
            let at = start + Duration::from_secs(1 + u64::from(n));
            sign_ins.open("tat_a".into(), at).expect("chance");
        }
        assert_eq!(sign_ins.book().open.len(), OPEN_PER_TOKEN_MAX);
        assert!(!found(&third, Duration::from_secs(300)), "it gave way");
        sign_ins.close(&second);
    }

    #[test]
    fn nobody_drives_others_out() {
        let sign_ins = SignIns::default();
        let start = Instant::now();
        let quiet = sign_ins.open("tat_quiet".into(), start).expect("chance");
        for n in 0..10 * OPEN_MAX as u64 {
            let at = start + Duration::from_millis(n);
            sign_ins.open(format!("tat_{}", n % 40), at).expect("chance");
        }
        assert_eq!(sign_ins.book().open.len(), OPEN_MAX);
        assert!(sign_ins.find(&quiet, start + Duration::from_secs(60)).is_some());
    }

    #[test]
    fn guesses_are_throttled_for_each_address_and_forgotten_after_a_minute() {
        let sign_ins = SignIns::default();
        let start = Instant::now();
        for _ in 0..WRONG_MAX {
            assert!(sign_ins.may_try(address(1), start));
            sign_ins.was_wrong(address(1), start);
        }
        assert!(!sign_ins.may_try(address(1), start));
        assert!(sign_ins.may_try(address(2), start), "others are not to suffer");
        assert!(sign_ins.may_try(address(1), start + WINDOW));
        for n in 0..10 * ADDRESSES_MAX as u32 {
            sign_ins.was_wrong(address(n), start);
        }
        assert!(sign_ins.book().wrong.len() <= ADDRESSES_MAX + 1);
    }

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for (to, expected) in [
            ("/checkouts?q=a", "/checkouts?q=a"),
            ("//evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("", "/"),
        ] {
            assert_eq!(own_path(to), expected, "{to}");
        }
    }
}

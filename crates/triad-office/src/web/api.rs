//! The interface for programs, `/api/v1`, and the place where servers call.
//! `openapi.json` describes both.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use triad_license::HostId;

use super::{status_of, visit};
use crate::clock::now_ms;
use crate::error::OfficeError;
use crate::exchange::{self, Way};
use crate::lists;
use crate::office::Office;
use crate::people::{Role, Visitor};
use crate::registration::{self, Kind, Registrar};
use crate::rights::{self, NewLineItem, ProductFeature, Writer};
use crate::table::{Ask, List, PAGE_ROWS};

const OPENAPI: &str = include_str!("../../assets/openapi.json");

type Answer = Result<axum::Json<Value>, ApiError>;

/// An error as programs read it.
struct ApiError(OfficeError);

impl From<OfficeError> for ApiError {
    fn from(error: OfficeError) -> Self {
        ApiError(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "reason": self.0.reason(), "message": self.0.to_string() });
        if let OfficeError::Replayed { last } = self.0 {
            body["last_sequence"] = last.into();
        }
        if self.0.reason() == "INTERNAL" {
            tracing::error!(error = %self.0, "a call failed");
        }
        (status_of(&self.0), axum::Json(body)).into_response()
    }
}

pub fn routes() -> Router<Office> {
    Router::new()
        .route(
            "/api/v1/openapi.json",
            get(async || {
                ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI)
            }),
        )
        .route("/api/v1/capability", post(capability))
        .route("/api/v1/capability/offline", post(offline))
        .route("/api/v1/servers", get(listed::<Servers>))
        .route("/api/v1/servers/{id}", get(one_server))
        .route("/api/v1/servers/{id}/forget-key", post(forget_key))
        .route("/api/v1/replacements", post(replace))
        .route("/api/v1/groups", post(add_group))
        .route("/api/v1/groups/{id}/apart", post(apart))
        .route("/api/v1/groups/{id}/rights/{line_item}", put(map_rights))
        .route("/api/v1/organisations", get(listed::<Organisations>).post(add_organisation))
        .route("/api/v1/products", get(listed::<Products>).post(add_product))
        .route("/api/v1/entitlements", get(listed::<Entitlements>).post(add_entitlement))
        .route("/api/v1/entitlements/{id}/line-items", post(add_line_item))
        .route("/api/v1/line-items", get(listed::<LineItems>))
        .route("/api/v1/line-items/{id}", put(set_copies))
        .route("/api/v1/requests", get(listed::<Requests>))
        .route("/api/v1/audit", get(listed::<Audit>))
}

/// A list that programs may read, and who may.
trait Listed {
    const LIST: List;
    const NEEDS: Role = Role::Viewer;
}

macro_rules! listed {
    ($($name:ident: $list:ident),*) => {
        $(struct $name;
        impl Listed for $name {
            const LIST: List = lists::$list;
        })*
    };
}

listed!(Servers: SERVERS, Organisations: ORGANISATIONS, Products: PRODUCTS,
        Entitlements: ENTITLEMENTS, LineItems: RIGHTS, Requests: REQUESTS, Audit: AUDIT);

async fn listed<L: Listed>(
    State(office): State<Office>,
    headers: HeaderMap,
    Query(ask): Query<Ask>,
) -> Answer {
    let visitor = visit::program(&office, &headers).await?;
    visitor.needs(L::NEEDS)?;
    let ask = Ask { sees_secrets: visitor.role >= Role::Operator, ..ask };
    let table = office.read(move |tx| L::LIST.read(tx, &ask, &[], PAGE_ROWS)).await?;
    Ok(axum::Json(table.to_json()))
}

/// A body of JSON, with an answer in JSON when it is none.
fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, OfficeError> {
    serde_json::from_slice(bytes)
        .map_err(|error| OfficeError::refused("INVALID", format!("the body: {error}")))
}

async fn allowed(office: &Office, headers: &HeaderMap, role: Role) -> Result<Visitor, OfficeError> {
    let visitor = visit::program(office, headers).await?;
    visitor.needs(role)?;
    Ok(visitor)
}

/// A server calls. Its signature says who it is.
async fn capability(State(office): State<Office>, bytes: Bytes) -> Result<Response, ApiError> {
    exchanged(&office, &bytes, Way::Online).await
}

/// Somebody brings a request by file.
async fn offline(
    State(office): State<Office>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Response, ApiError> {
    allowed(&office, &headers, Role::Operator).await?;
    exchanged(&office, &bytes, Way::Offline).await
}

async fn exchanged(office: &Office, bytes: &Bytes, way: Way) -> Result<Response, ApiError> {
    let text = triad_license::text_of(bytes).map_err(OfficeError::License)?.to_owned();
    let answer = office
        .with(move |connection, config| exchange::answer(connection, config, &text, way, now_ms()))
        .await?;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, kind)], answer).into_response())
}

async fn one_server(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Viewer).await?;
    let sees_secrets = visitor.role >= Role::Operator;
    let view = office.read(move |tx| crate::view::server(tx, id, sees_secrets)).await?;
    Ok(axum::Json(view.to_json()))
}

async fn forget_key(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(id): Path<i64>,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Operator).await?;
    office
        .write(move |tx| {
            crate::view::forget_key(tx, id, Writer { actor: &visitor.name, now_ms: now_ms() })
        })
        .await?;
    Ok(axum::Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGroup {
    kind: String,
    hostids: Vec<String>,
    /// Moves rights to where they belong.
    #[serde(default)]
    repair: bool,
}

async fn add_group(State(office): State<Office>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let visitor = allowed(&office, &headers, Role::Operator).await?;
    let new: NewGroup = body(&bytes)?;
    let kind = Kind::parse(&new.kind).ok_or_else(|| {
        OfficeError::refused("INVALID", "a group's kind is SINGLE, PAIR or TRIAD")
    })?;
    let hosts = new.hostids.iter().map(|text| HostId::parse(text)).collect::<Result<Vec<_>, _>>();
    let hosts = hosts.map_err(|error| OfficeError::refused("INVALID", error.to_string()))?;
    let group = office
        .write(move |tx| {
            let how = format!("by hand by {}", visitor.name);
            let (actor, repairs) = (visitor.name.as_str(), new.repair);
            let by = Registrar::person(actor, &how, repairs);
            registration::register_group(tx, kind, &hosts, by)
        })
        .await?;
    Ok(axum::Json(json!({ "group": group })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    old: String,
    new: String,
}

async fn replace(State(office): State<Office>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let visitor = allowed(&office, &headers, Role::Operator).await?;
    let Replacement { old, new } = body(&bytes)?;
    let host = |text: &str| {
        HostId::parse(text).map_err(|error| OfficeError::refused("INVALID", error.to_string()))
    };
    let (old, new) = (host(&old)?, host(&new)?);
    let group = office
        .write(move |tx| {
            let how = format!("by hand by {}", visitor.name);
            let by = Registrar::person(&visitor.name, &how, false);
            registration::replace_server(tx, &old, &new, by)
        })
        .await?;
    Ok(axum::Json(json!({ "group": group })))
}

async fn apart(State(office): State<Office>, headers: HeaderMap, Path(id): Path<i64>) -> Answer {
    let visitor = allowed(&office, &headers, Role::Operator).await?;
    office
        .write(move |tx| {
            let by = Registrar::person(&visitor.name, "", false);
            registration::take_apart(tx, id, by)
        })
        .await?;
    Ok(axum::Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NumberOf {
    copies: u32,
}

async fn map_rights(
    State(office): State<Office>,
    headers: HeaderMap,
    Path((group, line_item)): Path<(i64, i64)>,
    bytes: Bytes,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Operator).await?;
    let NumberOf { copies } = body(&bytes)?;
    office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::map(tx, group, line_item, copies, false, by)
        })
        .await?;
    Ok(axum::Json(json!({ "copies": copies })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

async fn add_organisation(
    State(office): State<Office>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Admin).await?;
    let Named { name } = body(&bytes)?;
    let id = office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_organisation(tx, &name, by)
        })
        .await?;
    Ok(axum::Json(json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewProduct {
    name: String,
    version: String,
    features: Vec<ProductFeature>,
}

async fn add_product(State(office): State<Office>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let visitor = allowed(&office, &headers, Role::Admin).await?;
    let new: NewProduct = body(&bytes)?;
    let id = office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_product(tx, &new.name, &new.version, &new.features, by)
        })
        .await?;
    Ok(axum::Json(json!({ "id": id })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEntitlement {
    organisation: i64,
    reference: String,
}

async fn add_entitlement(State(office): State<Office>, headers: HeaderMap, bytes: Bytes) -> Answer {
    let visitor = allowed(&office, &headers, Role::Admin).await?;
    let new: NewEntitlement = body(&bytes)?;
    let id = office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_entitlement(tx, new.organisation, &new.reference, by)
        })
        .await?;
    Ok(axum::Json(json!({ "id": id })))
}

async fn add_line_item(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(entitlement): Path<i64>,
    bytes: Bytes,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Admin).await?;
    let new: NewLineItem = body(&bytes)?;
    let (id, rights_id) = office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::add_line_item(tx, entitlement, &new, by)
        })
        .await?;
    Ok(axum::Json(json!({ "id": id, "rights_id": rights_id })))
}

async fn set_copies(
    State(office): State<Office>,
    headers: HeaderMap,
    Path(line_item): Path<i64>,
    bytes: Bytes,
) -> Answer {
    let visitor = allowed(&office, &headers, Role::Admin).await?;
    let NumberOf { copies } = body(&bytes)?;
    office
        .write(move |tx| {
            let by = Writer { actor: &visitor.name, now_ms: now_ms() };
            rights::set_copies(tx, line_item, copies, by)
        })
        .await?;
    Ok(axum::Json(json!({ "copies": copies })))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_description_names_every_path_and_no_other() {
        let described: Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<&str> =
            described["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        // Up to the tests: what stands in a route's parentheses first is its path.
        let source = include_str!("api.rs").split("mod tests").next().unwrap();
        let routes = source.split("\"/api/v1").skip(1);
        let routes: BTreeSet<String> = routes
            .map(|rest| format!("/api/v1{}", rest.split('"').next().unwrap()))
            .filter(|path| !path.ends_with("openapi.json"))
            .collect();
        assert_eq!(routes, described.iter().map(|path| (*path).to_owned()).collect());
    }
}

//! What was bought, and by whom it is used: products, entitlements, line items,
//! and the mapping of their copies to groups of servers.
//!
//! Nothing here evicts anybody. A line item whose copies are lowered below what
//! is mapped shows an overage; copies that are taken back from a group count as
//! used until the group's own license is without them.

use rusqlite::{Connection, OptionalExtension, params};
use triad_license::{Binding, Day, Draft, DraftFeature, HostId, issue, license_digest};

use crate::audit::{self, About};
use crate::error::OfficeError;
use crate::keys::Keys;
use crate::registration::members;

/// Seats of one line of a license; more is a slip.
const SEATS_MAX: u64 = 1_000_000_000;
const DAY_MS: u64 = 86_400_000;
/// The last day of what has none.
const FOREVER: &str = "9999-12-31";
/// By how much a group's serial may be ahead of ours: an office that was restored from a copy has
/// forgotten some.
const SERIALS_FORGOTTEN_MAX: u64 = 100_000;

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// For the audit: a user, a token, `server` or `console`.
    pub actor: &'a str,
    /// Now.
    pub now_ms: u64,
}

/// One feature of a product, as one copy grants it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductFeature {
    /// What may be used.
    pub feature: String,
    /// Up to which version.
    pub version: String,
    /// Seats for each copy.
    pub seats: u32,
    /// Seats beyond them that are reported, for each copy.
    #[serde(default)]
    pub overdraft: u32,
}

/// A line item to be added.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLineItem {
    /// The product's number.
    pub product: i64,
    /// How many copies were bought.
    pub copies: u32,
    /// The first day; from the beginning without.
    #[serde(default)]
    pub starts: Option<String>,
    /// The last day; permanent without.
    #[serde(default)]
    pub expires: Option<String>,
    /// Its rights id; drawn without.
    #[serde(default)]
    pub rights_id: Option<String>,
}

/// Copies of one line item, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copies {
    /// Bought.
    pub bought: i64,
    /// Mapped to groups, those on their way back included.
    pub used: i64,
}

impl Copies {
    /// What can still be mapped.
    pub fn free(self) -> i64 {
        (self.bought - self.used).max(0)
    }

    /// What is mapped beyond what was bought.
    pub fn overage(self) -> i64 {
        (self.used - self.bought).max(0)
    }
}

fn named(what: &str, text: &str) -> Result<String, OfficeError> {
    let text = text.trim();
    if !text.is_empty() && text.len() <= 256 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    let message = format!(
        "{what} takes 1 to 256 bytes without control characters, or such as turn the direction of \
         the text"
    );
    Err(OfficeError::refused("INVALID", message))
}

/// Whether a character stands where it is written, so that nobody draws over another's line.
pub fn is_plain(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
    );
    !c.is_control() && !turns
}

/// A rights id as it may be told to everybody: whoever has the whole of it claims the rights.
pub fn masked(rights_id: &str) -> String {
    let shown = (rights_id.chars().count() / 4).min(4);
    rights_id.chars().take(shown).chain(['…']).collect()
}

fn unique(error: rusqlite::Error, what: &str) -> OfficeError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => {
            OfficeError::refused("EXISTS", format!("{what} is there already, or names nothing"))
        }
        _ => OfficeError::Database(error),
    }
}

/// Adds an organisation and returns its number.
pub fn add_organisation(tx: &Connection, name: &str, by: Writer<'_>) -> Result<i64, OfficeError> {
    let name = named("the name of an organisation", name)?;
    tx.execute("INSERT INTO organisations (name) VALUES (?1)", [&name])
        .map_err(|error| unique(error, &format!("the organisation {name}")))?;
    let id = tx.last_insert_rowid();
    audit::record(tx, by.now_ms, by.actor, "organisation.add", About::default(), &name)?;
    Ok(id)
}

/// Adds a product with what one copy of it grants, and returns its number.
pub fn add_product(
    tx: &Connection,
    name: &str,
    version: &str,
    features: &[ProductFeature],
    by: Writer<'_>,
) -> Result<i64, OfficeError> {
    let (name, version) = (named("the name of a product", name)?, named("its version", version)?);
    let product = format!("{name} {version}");
    if features.is_empty() || features.len() > 1_000 {
        return Err(OfficeError::refused("INVALID", "a product grants 1 to 1,000 features"));
    }
    // What no license could say is refused here and not when a server asks.
    let draft: Vec<DraftFeature> = features
        .iter()
        .map(|f| DraftFeature::new(f.feature.trim(), f.version.trim(), f.seats))
        .collect();
    try_out(draft)?;
    tx.execute("INSERT INTO products (name, version) VALUES (?1, ?2)", [&name, &version])
        .map_err(|error| unique(error, &format!("the product {product}")))?;
    let id = tx.last_insert_rowid();
    for feature in features {
        let text = "INSERT INTO product_features (product_id, feature, version, seats, overdraft)
             VALUES (?1, ?2, ?3, ?4, ?5)";
        let (name, version) = (feature.feature.trim(), feature.version.trim());
        tx.execute(text, params![id, name, version, feature.seats, feature.overdraft])
            .map_err(|error| unique(error, &format!("the feature {name}")))?;
    }
    audit::record(tx, by.now_ms, by.actor, "product.add", About::default(), &product)?;
    Ok(id)
}

fn try_out(features: Vec<DraftFeature>) -> Result<(), OfficeError> {
    let draft = Draft {
        license: "trial".into(),
        publisher: "trial".into(),
        serial: 1,
        zone: None,
        issued: None,
        notice: None,
        binding: Binding::Cluster("trial".into()),
        features,
    };
    let key = triad_license::PublisherKey::generate([1; 32]);
    issue(&draft.to_toml(), &[&key])
        .map(|_| ())
        .map_err(|error| OfficeError::refused("INVALID", error.to_string()))
}

/// Adds an entitlement of an organisation and returns its number.
pub fn add_entitlement(
    tx: &Connection,
    organisation: i64,
    reference: &str,
    by: Writer<'_>,
) -> Result<i64, OfficeError> {
    let reference = named("the reference of an entitlement", reference)?;
    let text = "INSERT INTO entitlements (organisation_id, reference) VALUES (?1, ?2)";
    tx.execute(text, params![organisation, reference])
        .map_err(|error| unique(error, &format!("the entitlement {reference}")))?;
    let id = tx.last_insert_rowid();
    audit::record(tx, by.now_ms, by.actor, "entitlement.add", About::default(), &reference)?;
    Ok(id)
}

/// Adds a line item and returns its number and rights id.
pub fn add_line_item(
    tx: &Connection,
    entitlement: i64,
    item: &NewLineItem,
    by: Writer<'_>,
) -> Result<(i64, String), OfficeError> {
    let day = |text: &Option<String>| match text.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) => Day::parse(text)
            .map(Some)
            .ok_or_else(|| OfficeError::refused("INVALID", "a day is written like 2026-12-31")),
    };
    let (starts, expires) = (day(&item.starts)?, day(&item.expires)?);
    if let (Some(starts), Some(expires)) = (starts, expires)
        && expires < starts
    {
        return Err(OfficeError::refused("INVALID", "the last day is before the first"));
    }
    // Days that no license could say are refused here and not when a server asks.
    try_out(vec![DraftFeature { start: starts, expires, ..DraftFeature::new("trial", "1", 1) }])?;
    let rights_id = match item.rights_id.as_deref().map(str::trim) {
        None | Some("") => drawn_rights_id()?,
        Some(given) => named("a rights id", given)?,
    };
    let text = "INSERT INTO line_items (entitlement_id, product_id, rights_id, copies, starts,
                                        expires) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (starts, expires) = (starts.map(|d| d.to_string()), expires.map(|d| d.to_string()));
    tx.execute(text, params![entitlement, item.product, rights_id, item.copies, starts, expires])
        .map_err(|error| unique(error, &format!("the rights id {rights_id}")))?;
    let id = tx.last_insert_rowid();
    let detail = format!("line item {id} ({}): {} copies", masked(&rights_id), item.copies);
    audit::record(tx, by.now_ms, by.actor, "line-item.add", About::default(), &detail)?;
    Ok((id, rights_id))
}

/// Nobody can guess one: 80 random bits, spelled so that they can be read out.
fn drawn_rights_id() -> Result<String, OfficeError> {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| OfficeError::System(error.to_string()))?;
    let letters: Vec<char> =
        random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let blocks: Vec<String> = letters.chunks(4).map(|block| block.iter().collect()).collect();
    Ok(blocks.join("-"))
}

/// Changes how many copies were bought. Those that are mapped stay mapped.
pub fn set_copies(
    tx: &Connection,
    line_item: i64,
    copies: u32,
    by: Writer<'_>,
) -> Result<(), OfficeError> {
    let text = "UPDATE line_items SET copies = ?1 WHERE id = ?2 RETURNING rights_id";
    let rights_id: Option<String> =
        tx.query_row(text, params![copies, line_item], |row| row.get(0)).optional()?;
    let rights_id =
        rights_id.ok_or_else(|| OfficeError::NotFound(format!("the line item {line_item}")))?;
    let mut detail = format!("line item {line_item} ({}): {copies} copies", masked(&rights_id));
    let overage = copies_of(tx, line_item)?.overage();
    if overage > 0 {
        detail.push_str(&format!(", {overage} more are mapped"));
    }
    audit::record(tx, by.now_ms, by.actor, "line-item.copies", About::default(), &detail)
}

/// How many copies of a line item there are, and how many are used.
pub fn copies_of(tx: &Connection, line_item: i64) -> Result<Copies, OfficeError> {
    let text = "SELECT copies, (SELECT coalesce(sum(copies + in_return), 0) FROM mappings
                                WHERE line_item_id = line_items.id)
         FROM line_items WHERE id = ?1";
    let copies = |row: &rusqlite::Row<'_>| Ok(Copies { bought: row.get(0)?, used: row.get(1)? });
    let found = tx.prepare_cached(text)?.query_row([line_item], copies).optional()?;
    found.ok_or_else(|| OfficeError::NotFound(format!("the line item {line_item}")))
}

/// The number of the line item with this rights id.
pub fn line_item_of(tx: &Connection, rights_id: &str) -> Result<Option<i64>, OfficeError> {
    let text = "SELECT id FROM line_items WHERE rights_id = ?1";
    Ok(tx.prepare_cached(text)?.query_row([rights_id], |row| row.get(0)).optional()?)
}

/// Maps exactly so many copies of a line item to a group. Fewer than before
/// begin their return: they are credited when the group has confirmed.
///
/// # Errors
///
/// Another organisation's rights, expired ones, or too few that are free.
pub fn map(
    tx: &Connection,
    group: i64,
    line_item: i64,
    copies: u32,
    requested: bool,
    by: Writer<'_>,
) -> Result<(), OfficeError> {
    credit_ended(tx, by)?;
    let text = "SELECT serial, organisation_id FROM server_groups WHERE id = ?1";
    let found = tx.query_row(text, [group], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (serial, organisation): (u64, Option<i64>) =
        found.ok_or_else(|| OfficeError::NotFound(format!("the group {group}")))?;
    let text = "SELECT rights_id, organisation_id, expires FROM line_items
         JOIN entitlements ON entitlements.id = entitlement_id WHERE line_items.id = ?1";
    let item = tx
        .query_row(text, [line_item], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (rights_id, owner, expires): (String, i64, Option<String>) =
        item.ok_or_else(|| OfficeError::NotFound(format!("the line item {line_item}")))?;
    let text = "SELECT copies, in_return FROM mappings WHERE group_id = ?1 AND line_item_id = ?2";
    let held = tx.query_row(text, [group, line_item], |row| Ok((row.get(0)?, row.get(1)?)));
    let (mut held, mut in_return): (u32, u32) = held.optional()?.unwrap_or_default();
    if copies == held {
        if !requested {
            // As it is, says a person now, and not the servers.
            let text =
                "UPDATE mappings SET requested = 0 WHERE group_id = ?1 AND line_item_id = ?2";
            tx.execute(text, [group, line_item])?;
        }
        return Ok(());
    }
    let before = held;
    if copies > held {
        if organisation.is_some_and(|organisation| organisation != owner) {
            let message = format!(
                "{rights_id} belongs to another organisation than this group; map rights of its \
                 own organisation"
            );
            return Err(OfficeError::refused("RIGHTS_OF_ANOTHER_ORGANISATION", message));
        }
        let today = Day::in_utc(by.now_ms);
        if expires.as_deref().and_then(Day::parse).zip(today).is_some_and(|(end, now)| end < now) {
            let message = format!("{rights_id} expired on {}", expires.unwrap_or_default());
            return Err(OfficeError::refused("RIGHTS_EXPIRED", message));
        }
        // What is on its way back simply stays.
        let stays = in_return.min(copies - held);
        (held, in_return) = (held + stays, in_return - stays);
        let free = copies_of(tx, line_item)?.free();
        let wanted = i64::from(copies - held);
        if wanted > free {
            let message = format!(
                "{wanted} more copies of {rights_id} are wanted and {free} are free; take some \
                 back from another group, or raise the copies of the line item"
            );
            return Err(OfficeError::refused("RIGHTS_EXHAUSTED", message));
        }
    } else if serial > 0 {
        in_return += held - copies;
    }
    let text = "INSERT INTO mappings (group_id, line_item_id, copies, in_return, requested)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (group_id, line_item_id) DO UPDATE
         SET copies = excluded.copies, in_return = excluded.in_return, return_serial = NULL,
             requested = min(requested, excluded.requested)";
    tx.execute(text, params![group, line_item, copies, in_return, requested])?;
    tx.execute(
        "UPDATE server_groups SET organisation_id = coalesce(organisation_id, ?1)
         WHERE id = ?2",
        params![owner, group],
    )?;
    forget_empty(tx, group)?;
    if copies > before {
        try_out(features_of(tx, group, Day::in_utc(by.now_ms))?)?;
    }
    let item = format!("line item {line_item} ({})", masked(&rights_id));
    let detail = match in_return {
        0 => format!("{item}: {before} to {copies} copies"),
        _ => format!("{item}: {before} to {copies} copies, {in_return} await their return"),
    };
    let about = About { group: Some(group), hostid: "" };
    audit::record(tx, by.now_ms, by.actor, "rights.map", about, &detail)
}

/// What a person took back stays, at nothing: its servers may not take it again.
fn forget_empty(tx: &Connection, group: i64) -> Result<(), OfficeError> {
    let text = "DELETE FROM mappings WHERE group_id = ?1 AND copies = 0 AND in_return = 0
         AND requested = 1";
    tx.execute(text, [group])?;
    // Whose it is, is said by what it holds: what was mapped by mistake is taken back.
    let text = "UPDATE server_groups SET organisation_id = NULL WHERE id = ?1 AND NOT EXISTS (
             SELECT 1 FROM mappings WHERE group_id = ?1 AND copies + in_return > 0)";
    tx.execute(text, [group])?;
    Ok(())
}

/// The group says which license it has: what that is without has come back.
pub fn confirm_returns(
    tx: &Connection,
    group: i64,
    serial: u64,
    by: Writer<'_>,
) -> Result<(), OfficeError> {
    let text = "UPDATE mappings SET in_return = 0, return_serial = NULL
         WHERE group_id = ?1 AND in_return > 0 AND return_serial <= ?2";
    let confirmed = tx.execute(text, params![group, serial])?;
    if confirmed > 0 {
        forget_empty(tx, group)?;
        let about = About { group: Some(group), hostid: "" };
        let detail = format!("the group's license has serial {serial}: copies are credited");
        audit::record(tx, by.now_ms, by.actor, "rights.returned", about, &detail)?;
    }
    Ok(())
}

/// Copies on their way back whose every license has ended are credited: nobody uses them any more,
/// also if the site never calls again.
pub fn credit_ended(tx: &Connection, by: Writer<'_>) -> Result<(), OfficeError> {
    // A day later, wherever the site counts its days.
    let Some(yesterday) = Day::in_utc(by.now_ms.saturating_sub(DAY_MS)) else { return Ok(()) };
    let text = "SELECT DISTINCT group_id FROM mappings JOIN server_groups ON id = group_id
         WHERE in_return > 0 AND out_until < ?1";
    let mut statement = tx.prepare_cached(text)?;
    let rows = statement.query_map([yesterday.to_string()], |row| row.get(0))?;
    for group in rows.collect::<Result<Vec<i64>, _>>()? {
        let text = "UPDATE mappings SET in_return = 0, return_serial = NULL WHERE group_id = ?1";
        tx.execute(text, [group])?;
        forget_empty(tx, group)?;
        let about = About { group: Some(group), hostid: "" };
        let detail = "every license with the copies has ended: they are credited";
        audit::record(tx, by.now_ms, "server", "rights.returned", about, detail)?;
    }
    Ok(())
}

/// The license of a group as it should be now.
#[derive(Clone, Debug)]
pub struct GroupLicense {
    /// The document.
    pub text: String,
    /// Its digest.
    pub digest: String,
    /// Its serial.
    pub serial: u64,
}

/// What the issuing of licenses needs to know.
pub struct Issuer<'a> {
    /// Who signs.
    pub keys: &'a Keys,
    /// The publisher's name.
    pub publisher: &'a str,
    /// For how many days a license is good without being renewed; 0: as long
    /// as what was bought.
    pub lifetime_days: u32,
}

/// The license id of a group's license: the same through all serials, also if the publisher is
/// called otherwise later. A site would keep both.
pub fn license_id(tx: &Connection, group: i64, publisher: &str) -> Result<String, OfficeError> {
    let text = "SELECT license_id FROM server_groups WHERE id = ?1";
    let known: Option<String> = tx.prepare_cached(text)?.query_row([group], |row| row.get(0))?;
    Ok(known.unwrap_or_else(|| {
        let good = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let slug: String = publisher.chars().take(40).map(good).collect();
        format!("{}-{group}", slug.trim_matches('-'))
    }))
}

/// The group has a license with this serial. A later one than was issued is of before this office was
/// restored from a copy: the next goes above it, since sites go back to none.
pub fn has_serial(tx: &Connection, group: i64, serial: u64) -> Result<(), OfficeError> {
    let text = "UPDATE server_groups SET serial = ?1, content = ''
         WHERE id = ?2 AND serial < ?1 AND serial + ?3 >= ?1";
    tx.prepare_cached(text)?.execute(params![serial, group, SERIALS_FORGOTTEN_MAX])?;
    Ok(())
}

/// The license of a group, issued anew if anything in it has changed or if it
/// is to be renewed; `None` while nothing was ever granted.
pub fn license_of(
    tx: &Connection,
    group: i64,
    issuer: &Issuer<'_>,
    now_ms: u64,
) -> Result<Option<GroupLicense>, OfficeError> {
    let text = "SELECT cluster_id, serial, license, license_digest, content, licensed_until
         FROM server_groups WHERE id = ?1";
    type Row = (Option<String>, u64, Option<String>, Option<String>, String, Option<String>);
    let (cluster, serial, license, digest, content, until): Row =
        tx.query_row(text, [group], |r| {
            Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?))
        })?;
    let Some(cluster) = cluster else { return Ok(None) };
    let hosts: Result<Vec<HostId>, _> =
        members(tx, group)?.iter().map(|server| HostId::parse(&server.hostid)).collect();
    let today = Day::in_utc(now_ms);
    let features = features_of(tx, group, today)?;
    let mut draft = Draft {
        license: license_id(tx, group, issuer.publisher)?,
        publisher: issuer.publisher.to_owned(),
        // The zero serial stands for whichever it will be.
        serial: 0,
        zone: None,
        issued: None,
        notice: None,
        binding: Binding::Group { cluster, hosts: hosts? },
        features,
    };
    let signers = issuer.keys.signers();
    let signed_by: Vec<String> = signers.iter().map(|key| key.key_id().to_string()).collect();
    let wanted = format!("{}\n# {}\n", draft.to_toml(), signed_by.join(" "));
    let in_days = |days: u32| Day::in_utc(now_ms + u64::from(days) * DAY_MS);
    // Renewed at half of its life, so that one missed poll costs nothing.
    let is_fresh = match until.as_deref().and_then(Day::parse) {
        None => issuer.lifetime_days == 0,
        Some(_) if issuer.lifetime_days == 0 => false,
        Some(until) => in_days(issuer.lifetime_days / 2).is_some_and(|half| half < until),
    };
    if let (Some(text), Some(digest)) = (license, digest)
        && content == wanted
        && is_fresh
    {
        // It is without them already.
        await_returns(tx, group, serial)?;
        return Ok(Some(GroupLicense { text, digest, serial }));
    }
    let until = if issuer.lifetime_days == 0 { None } else { in_days(issuer.lifetime_days) };
    // What begins after that is in the next one.
    draft
        .features
        .retain(|feature| feature.start.zip(until).is_none_or(|(start, end)| start <= end));
    if draft.features.is_empty() && serial == 0 {
        return Ok(None);
    }
    for feature in &mut draft.features {
        feature.expires = match (feature.expires, until) {
            (Some(bought), Some(until)) => Some(bought.min(until)),
            (bought, until) => bought.or(until),
        };
    }
    draft.serial = serial + 1;
    draft.issued = today;
    // Not what the caller did wrong.
    let failed = |error: triad_license::LicenseError| {
        OfficeError::System(format!("the license of group {group} cannot be issued: {error}"))
    };
    let text = issue(&draft.to_toml(), &signers).map_err(failed)?;
    let digest = license_digest(&text).map_err(failed)?;
    let last_day = |feature: &DraftFeature| {
        feature.expires.map_or_else(|| FOREVER.to_owned(), |day| day.to_string())
    };
    let out_until = draft.features.iter().map(last_day).max().unwrap_or_default();
    let update = "UPDATE server_groups SET serial = ?1, license = ?2, license_digest = ?3,
             content = ?4, licensed_until = ?5, license_id = ?6, out_until = max(out_until, ?7)
         WHERE id = ?8";
    let until = until.map(|day| day.to_string());
    let serial = draft.serial;
    tx.execute(
        update,
        params![serial, text, digest, wanted, until, draft.license, out_until, group],
    )?;
    await_returns(tx, group, draft.serial)?;
    let about = About { group: Some(group), hostid: "" };
    let detail = format!("{} serial {}", draft.license, draft.serial);
    audit::record(tx, now_ms, "server", "license.issued", about, &detail)?;
    Ok(Some(GroupLicense { text, digest, serial: draft.serial }))
}

/// The license with this serial is without the copies that are on their way back.
fn await_returns(tx: &Connection, group: i64, serial: u64) -> Result<(), OfficeError> {
    let update = "UPDATE mappings SET return_serial = ?1
         WHERE group_id = ?2 AND in_return > 0 AND return_serial IS NULL";
    tx.execute(update, params![serial, group])?;
    Ok(())
}

/// What the copies of a group come to, without what has expired.
fn features_of(
    tx: &Connection,
    group: i64,
    today: Option<Day>,
) -> Result<Vec<DraftFeature>, OfficeError> {
    let text = "SELECT feature, version, seats * mappings.copies, overdraft * mappings.copies,
                starts, expires
         FROM mappings
         JOIN line_items ON line_items.id = line_item_id
         JOIN product_features USING (product_id)
         WHERE group_id = ?1 AND mappings.copies > 0
         ORDER BY line_items.id, feature, version";
    let mut statement = tx.prepare_cached(text)?;
    type Row = (String, String, u64, u64, Option<String>, Option<String>);
    let rows = statement.query_map([group], |r| {
        Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?))
    })?;
    let rows: Vec<Row> = rows.collect::<Result<_, _>>()?;
    let mut features = Vec::new();
    for (name, version, seats, overdraft, starts, expires) in rows {
        let day = |text: Option<String>| text.as_deref().and_then(Day::parse);
        let (start, expires) = (day(starts), day(expires));
        if expires.zip(today).is_some_and(|(end, today)| end < today) {
            continue;
        }
        let bounded = |count: u64| u32::try_from(count.min(SEATS_MAX)).unwrap_or(u32::MAX);
        let feature = DraftFeature::new(name, version, bounded(seats));
        features.push(DraftFeature { overdraft: bounded(overdraft), start, expires, ..feature });
    }
    Ok(features)
}

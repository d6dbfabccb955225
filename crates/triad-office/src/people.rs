//! Users, their roles, sign-ins and set-up links; and the tokens of programs.
//!
//! Nobody has a password that somebody else chose: a new user gets a link that
//! works once and for a day, and chooses one there.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{Connection, OptionalExtension, params};

use crate::audit::{self, About};
use crate::error::OfficeError;
use crate::keys::random;
use crate::rights::{Writer, is_plain};

/// A set-up link is for today.
const SETUP_MS: u64 = 24 * 3_600_000;
/// A sign-in lasts a working day.
pub const LOGIN_MS: u64 = 12 * 3_600_000;
/// Sign-ins of one user at a time; more push out the oldest.
const LOGINS_MAX: u32 = 20;
/// Shorter passwords are guessed.
const PASSWORD_MIN: usize = 12;
/// Longer ones cost more to hash than they are worth.
const PASSWORD_MAX: usize = 256;

/// What somebody may do. Each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Viewer,
    /// Register servers, map rights, answer requests by file.
    Operator,
    /// Everything: products, entitlements, users, keys.
    Admin,
}

impl Role {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] writes.
    pub fn parse(text: &str) -> Result<Self, OfficeError> {
        let roles = [Role::Viewer, Role::Operator, Role::Admin];
        roles
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| OfficeError::refused("INVALID", "a role is viewer, operator or admin"))
    }
}

/// Who is signed in.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The user or token.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Stands in every form that they are shown; empty for a token.
    pub form_token: String,
}

impl Visitor {
    /// Whether they may do what needs this role.
    ///
    /// # Errors
    ///
    /// They may not.
    pub fn needs(&self, role: Role) -> Result<(), OfficeError> {
        if self.role >= role {
            return Ok(());
        }
        let (own, needed) = (self.role.as_str(), role.as_str());
        let message = format!("you are {own}, and this needs the role {needed}; ask an admin");
        Err(OfficeError::refused("NOT_ALLOWED", message))
    }
}

/// 256 random bits as text, after a prefix.
pub fn drawn(prefix: &str) -> Result<String, OfficeError> {
    Ok(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(random()?)))
}

/// What is stored of a token. Tokens have 256 random bits, so that a plain hash
/// cannot be turned round.
fn hashed(token: &str) -> String {
    let digest = digest::digest(&digest::SHA256, token.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// Names that stand for what is no user.
const RESERVED: [&str; 2] = ["server", "console"];

/// Adds a user, or lets one choose a new password; returns the token of the
/// set-up link. An earlier link of the same user is void. Without a role a user
/// keeps the one that they have, and a new one is an operator.
///
/// # Errors
///
/// Nobody would be admin any more; a name that is none.
pub fn invite(
    tx: &Connection,
    name: &str,
    role: Option<Role>,
    by: Writer<'_>,
) -> Result<String, OfficeError> {
    let name = name.trim();
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        return Err(OfficeError::refused("INVALID", "a user's name has 1 to 64 bytes"));
    }
    if RESERVED.contains(&name) {
        let message = format!("{name} stands for what is no user in the audit; take another name");
        return Err(OfficeError::refused("INVALID", message));
    }
    let before = role_of(tx, name)?;
    let role = role.or(before).unwrap_or(Role::Operator);
    if role < Role::Admin {
        check_other_admin(tx, name, before)?;
    }
    let text = "INSERT INTO users (name, role, created_ms) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET role = excluded.role RETURNING id";
    let user: i64 =
        tx.query_row(text, params![name, role.as_str(), by.now_ms], |row| row.get(0))?;
    tx.execute(
        "DELETE FROM setup_links WHERE user_id = ?1 OR expires_ms < ?2",
        params![user, by.now_ms],
    )?;
    let token = drawn("")?;
    let text = "INSERT INTO setup_links (token_hash, user_id, expires_ms) VALUES (?1, ?2, ?3)";
    tx.execute(text, params![hashed(&token), user, by.now_ms + SETUP_MS])?;
    let detail = format!("{name} as {}", role.as_str());
    audit::record(tx, by.now_ms, by.actor, "user.invite", About::default(), &detail)?;
    Ok(token)
}

fn role_of(tx: &Connection, name: &str) -> Result<Option<Role>, OfficeError> {
    let text = "SELECT role FROM users WHERE name = ?1";
    let role: Option<String> = tx.query_row(text, [name], |row| row.get(0)).optional()?;
    role.map(|role| Role::parse(&role)).transpose()
}

/// Somebody else is admin when this one is not any more.
fn check_other_admin(tx: &Connection, name: &str, role: Option<Role>) -> Result<(), OfficeError> {
    let text = "SELECT count(*) FROM users WHERE role = 'admin' AND name <> ?1";
    let others: u64 = tx.query_row(text, [name], |row| row.get(0))?;
    if role != Some(Role::Admin) || others > 0 {
        return Ok(());
    }
    let message = format!("{name} is the only admin; make somebody else admin first");
    Err(OfficeError::refused("LAST_ADMIN", message))
}

/// Removes a user: sign-ins and links of theirs are void at once. What they did stays in the audit.
///
/// # Errors
///
/// There is none of that name, or nobody would be admin any more.
pub fn remove_user(tx: &Connection, name: &str, by: Writer<'_>) -> Result<(), OfficeError> {
    let role = role_of(tx, name)?;
    let role = role.ok_or_else(|| OfficeError::NotFound(format!("the user {name}")))?;
    check_other_admin(tx, name, Some(role))?;
    for table in ["logins", "setup_links"] {
        let text =
            format!("DELETE FROM {table} WHERE user_id = (SELECT id FROM users WHERE name = ?1)");
        tx.execute(&text, [name])?;
    }
    tx.execute("DELETE FROM users WHERE name = ?1", [name])?;
    audit::record(tx, by.now_ms, by.actor, "user.remove", About::default(), name)
}

/// Whose set-up link this is; `None` if it was used or is too old.
pub fn invited(tx: &Connection, token: &str, now_ms: u64) -> Result<Option<String>, OfficeError> {
    let text = "SELECT users.name FROM setup_links JOIN users ON users.id = user_id
         WHERE token_hash = ?1 AND expires_ms > ?2";
    Ok(tx.query_row(text, params![hashed(token), now_ms], |row| row.get(0)).optional()?)
}

/// Uses a set-up link up.
pub fn set_up(
    tx: &Connection,
    token: &str,
    password_hash: &str,
    now_ms: u64,
) -> Result<String, OfficeError> {
    let void = || {
        let message = "this link was used or is too old; have a new one made: triad-office user \
                       invite NAME";
        OfficeError::refused("LINK_VOID", message)
    };
    let name = invited(tx, token, now_ms)?.ok_or_else(void)?;
    tx.execute("UPDATE users SET password = ?1 WHERE name = ?2", [password_hash, &name])?;
    tx.execute("DELETE FROM setup_links WHERE token_hash = ?1", [hashed(token)])?;
    let logins = "DELETE FROM logins WHERE user_id = (SELECT id FROM users WHERE name = ?1)";
    tx.execute(logins, [&name])?;
    audit::record(tx, now_ms, &name, "user.set-up", About::default(), "chose a password")?;
    Ok(name)
}

/// Hashes a password. Slow on purpose: not to be done while the database waits.
pub fn hash_password(password: &str) -> Result<String, OfficeError> {
    if !(PASSWORD_MIN..=PASSWORD_MAX).contains(&password.len()) {
        let message = format!("a password has {PASSWORD_MIN} to {PASSWORD_MAX} bytes");
        return Err(OfficeError::refused("INVALID", message));
    }
    let hash = Argon2::default().hash_password(password.as_bytes());
    Ok(hash.map_err(|error| OfficeError::System(error.to_string()))?.to_string())
}

/// The password hash of a user, if there is one.
pub fn password_of(tx: &Connection, name: &str) -> Result<Option<String>, OfficeError> {
    let text = "SELECT password FROM users WHERE name = ?1";
    let found: Option<Option<String>> = tx.query_row(text, [name], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Whether the password fits. Slow on purpose, and as slow for a user who does
/// not exist, so that nobody can find out who does.
pub fn fits(password: &str, hash: Option<&str>) -> bool {
    let Some(hash) = hash else {
        let _ = Argon2::default().hash_password(password.as_bytes());
        return false;
    };
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Signs a user in and returns the token for the cookie.
pub fn sign_in(tx: &Connection, name: &str, now_ms: u64) -> Result<String, OfficeError> {
    let token = drawn("")?;
    let text = "INSERT INTO logins (token_hash, user_id, form_token, expires_ms)
         SELECT ?1, id, ?2, ?3 FROM users WHERE name = ?4";
    tx.execute(text, params![hashed(&token), drawn("")?, now_ms + LOGIN_MS, name])?;
    let prune = "DELETE FROM logins WHERE expires_ms < ?1 OR token_hash IN (
             SELECT token_hash FROM logins JOIN users ON users.id = user_id WHERE name = ?2
             ORDER BY expires_ms DESC LIMIT -1 OFFSET ?3)";
    tx.execute(prune, params![now_ms, name, LOGINS_MAX])?;
    audit::record(tx, now_ms, name, "user.sign-in", About::default(), "signed in")?;
    Ok(token)
}

/// Ends a sign-in.
pub fn sign_out(tx: &Connection, token: &str) -> Result<(), OfficeError> {
    tx.execute("DELETE FROM logins WHERE token_hash = ?1", [hashed(token)])?;
    Ok(())
}

/// Who comes with this cookie.
pub fn visitor(tx: &Connection, token: &str, now_ms: u64) -> Result<Option<Visitor>, OfficeError> {
    let text = "SELECT name, role, form_token FROM logins JOIN users ON users.id = user_id
         WHERE token_hash = ?1 AND expires_ms > ?2";
    let row: Option<(String, String, String)> = tx
        .prepare_cached(text)?
        .query_row(params![hashed(token), now_ms], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
        .optional()?;
    row.map(|(name, role, form_token)| Ok(Visitor { name, role: Role::parse(&role)?, form_token }))
        .transpose()
}

/// Makes a token for a program, and returns it: it is never shown again.
pub fn add_token(
    tx: &Connection,
    name: &str,
    role: Role,
    by: Writer<'_>,
) -> Result<String, OfficeError> {
    let token = drawn("tot_")?;
    let text = "INSERT INTO api_tokens (token_hash, name, role, created_ms) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO NOTHING";
    let added = tx.execute(text, params![hashed(&token), name, role.as_str(), by.now_ms])?;
    if added == 0 {
        return Err(OfficeError::refused("EXISTS", format!("there is a token {name} already")));
    }
    let detail = format!("{name} as {}", role.as_str());
    audit::record(tx, by.now_ms, by.actor, "token.add", About::default(), &detail)?;
    Ok(token)
}

/// Voids a program's token.
pub fn revoke_token(tx: &Connection, name: &str, by: Writer<'_>) -> Result<(), OfficeError> {
    if tx.execute("DELETE FROM api_tokens WHERE name = ?1", [name])? == 0 {
        return Err(OfficeError::NotFound(format!("the token {name}")));
    }
    audit::record(tx, by.now_ms, by.actor, "token.revoke", About::default(), name)
}

/// Which program comes with this token.
pub fn program(tx: &Connection, token: &str) -> Result<Option<Visitor>, OfficeError> {
    let text = "SELECT name, role FROM api_tokens WHERE token_hash = ?1";
    let row: Option<(String, String)> = tx
        .prepare_cached(text)?
        .query_row([hashed(token)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(name, role)| {
        Ok(Visitor { name, role: Role::parse(&role)?, form_token: String::new() })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: Writer<'static> = Writer { actor: "console", now_ms: 1 };

    /// Another link is how a lost password is mended: it makes nobody more, or less, than before.
    #[test]
    fn a_new_link_changes_no_role_and_somebody_stays_admin() {
        let connection = crate::db::in_memory().unwrap();
        let invite = |name: &str, role| invite(&connection, name, role, CONSOLE);
        let role = |name: &str| role_of(&connection, name).unwrap();
        invite("ann", Some(Role::Admin)).unwrap();
        invite("bob", Some(Role::Viewer)).unwrap();
        invite("cid", None).unwrap();
        for name in ["ann", "bob"] {
            invite(name, None).unwrap();
        }
        assert_eq!((role("ann"), role("bob")), (Some(Role::Admin), Some(Role::Viewer)));
        assert_eq!(role("cid"), Some(Role::Operator));
        assert_eq!(invite("ann", Some(Role::Viewer)).unwrap_err().reason(), "LAST_ADMIN");
        let remove = |name: &str| remove_user(&connection, name, CONSOLE);
        assert_eq!(remove("ann").unwrap_err().reason(), "LAST_ADMIN");
        assert_eq!(remove("eve").unwrap_err().reason(), "NOT_FOUND");
        invite("bob", Some(Role::Admin)).unwrap();
        remove("ann").unwrap();
        assert_eq!(role("ann"), None);
        assert_eq!(invite("server", None).unwrap_err().reason(), "INVALID");
        assert_eq!(invite("a\u{202E}nn", None).unwrap_err().reason(), "INVALID");
    }

    /// Sign-ins and links of a user who is removed are void.
    #[test]
    fn who_is_removed_is_out_at_once() {
        let connection = crate::db::in_memory().unwrap();
        for name in ["ann", "bob"] {
            invite(&connection, name, Some(Role::Admin), CONSOLE).unwrap();
        }
        let link = invite(&connection, "bob", None, CONSOLE).unwrap();
        let signed_in = sign_in(&connection, "bob", 1).unwrap();
        assert!(visitor(&connection, &signed_in, 2).unwrap().is_some());
        remove_user(&connection, "bob", CONSOLE).unwrap();
        assert!(visitor(&connection, &signed_in, 2).unwrap().is_none());
        assert_eq!(invited(&connection, &link, 2).unwrap(), None);
    }
}

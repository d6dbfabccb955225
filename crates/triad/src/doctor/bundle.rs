//! The archive for support: a tar of a few texts, without anything that opens a
//! door and without the names of people.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use triad_proto::v1::Pool;

use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::failure::Failure;
use crate::lists::all_features;
use crate::settings::{Settings, read_text};
use crate::verdict::Answer;

const BLOCK: usize = 512;
/// What stands in the place of a secret.
const REDACTED: &str = "[redacted]";
/// Keys of a configuration whose values nobody else needs.
const SECRET_KEYS: [&str; 5] = ["token", "secret", "password", "private", "sha256"];
/// What secrets begin with, wherever they stand.
const SECRET_PREFIXES: [&str; 3] = ["tat_", "triad-publisher-secret", "Bearer "];

/// Writes the archive; an older one is never overwritten.
pub async fn write(
    settings: &Settings,
    file: &Path,
    config: Option<&Path>,
    findings: &Value,
    answers: &[Answer],
) -> Result<(), Failure> {
    let mut parts = vec![
        ("version.txt", format!("triad {}\n", env!("CARGO_PKG_VERSION"))),
        ("doctor.json", pretty(findings)),
        ("status.json", pretty(&status(answers))),
    ];
    if let Ok(pools) = features(settings).await {
        parts.push(("features.json", pretty(&json!(pools))));
    }
    if let Some(config) = config {
        parts.push(("triad.toml", read_text(config)?));
    }
    let mut archive = Vec::new();
    for (name, text) in parts {
        append(&mut archive, name, redacted(&text).as_bytes(), clock::now_ms() / 1_000);
    }
    // The end of an archive is two empty blocks.
    archive.resize(archive.len() + 2 * BLOCK, 0);
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let written = opened.and_then(|mut opened| {
        opened.write_all(&archive)?;
        opened.sync_all()
    });
    written.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Failure::Exists(file.to_owned()),
        _ => Failure::Write { path: file.to_owned(), source },
    })
}

fn status(answers: &[Answer]) -> Value {
    let told = |answer: &Answer| match &answer.outcome {
        Ok(status) => json!({ "address": answer.address, "status": status }),
        Err(error) => json!({ "address": answer.address, "error": error }),
    };
    json!(answers.iter().map(told).collect::<Vec<_>>())
}

/// The features, without for whom their seats are kept.
async fn features(settings: &Settings) -> Result<Vec<Pool>, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_features(admin, "").await)
        .await?;
    let mut pools = read.answer.pools;
    for kept in pools.iter_mut().flat_map(|pool| &mut pool.reservations) {
        kept.subject = REDACTED.to_owned();
    }
    Ok(pools)
}

fn pretty(value: &Value) -> String {
    // A value that was made here can be written.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// The text without secrets: values of keys that sound like one, words that begin
/// like one, and whatever stands in a PEM of a key.
fn redacted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut in_key = false;
    for line in text.lines() {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY") {
            in_key = true;
        }
        if in_key {
            in_key = !line.contains("-----END");
            if !in_key {
                safe.push_str(REDACTED);
                safe.push('\n');
            }
            continue;
        }
        safe.push_str(&redacted_line(line));
        safe.push('\n');
    }
    safe
}

fn redacted_line(line: &str) -> String {
    let key = line.split(['=', ':']).next().unwrap_or_default().to_ascii_lowercase();
    if line.contains(['=', ':']) && SECRET_KEYS.iter().any(|secret| key.contains(secret)) {
        let at = line.find(['=', ':']).unwrap_or(0);
        return format!("{} \"{REDACTED}\"", &line[..=at]);
    }
    let mut safe = line.to_owned();
    for prefix in SECRET_PREFIXES {
        while let Some(at) = safe.find(prefix) {
            let after = &safe[at + prefix.len()..];
            let end = after.find(|c: char| c.is_whitespace() || "\"',;)".contains(c));
            let end = end.map_or(safe.len(), |end| at + prefix.len() + end);
            safe.replace_range(at..end, REDACTED);
        }
    }
    safe
}

/// Adds a file to a tar (POSIX ustar).
fn append(archive: &mut Vec<u8>, name: &str, content: &[u8], mtime_s: u64) {
    let mut header = [0u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", content.len()).as_bytes());
    put(136, format!("{mtime_s:011o}\0").as_bytes());
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_leave() {
        let text = "\
node_id = 1
admin_token_sha256 = \"00112233445566778899aabbccddeeff\"
note = \"with Bearer tat_abc.def, and tat_xyz\"
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIA
-----END PRIVATE KEY-----
name = \"a\"
";
        let safe = redacted(text);
        for secret in ["0011223344", "tat_", "abc.def", "xyz", "MC4CAQ", "PRIVATE"] {
            assert!(!safe.contains(secret), "{secret}: {safe}");
        }
        assert!(safe.starts_with("node_id = 1\n") && safe.ends_with("name = \"a\"\n"), "{safe}");
    }
}

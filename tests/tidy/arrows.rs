//! The arrows between the crates: who may import whom.

use crate::tree::Manifest;

/// For each crate, the crates of ours that it may name. All arrows point from
/// a shell to its core; the client shares nothing with the server but the wire.
const ALLOWED: [(&str, &[&str]); 9] = [
    // Nobody of ours imports it: it stands in for a published crate that openraft names.
    ("base2histogram", &[]),
    ("triad-ledger", &[]),
    ("triad-proto", &[]),
    ("triad-license", &["triad-ledger"]),
    ("triad-raft", &["triad-ledger", "triad-proto"]),
    ("triad-server", &["triad-ledger", "triad-license", "triad-proto", "triad-raft"]),
    ("triad-client", &["triad-proto"]),
    ("triad-office", &["triad-license", "triad-proto"]),
    ("triad", &["triad-client", "triad-license", "triad-proto", "triad-server"]),
];

/// The imports that the table does not allow. Dev-dependencies may point
/// anywhere: a test may look at what its crate may not use.
pub fn broken(manifests: &[Manifest]) -> Vec<String> {
    let mut findings = Vec::new();
    for manifest in manifests.iter().filter(|manifest| manifest.path.starts_with("crates/")) {
        let name = manifest.table["package"]["name"].as_str().expect("a package name is text");
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            findings.push(format!(
                "{}: the crate {name} is not in the table of arrows; add it to \
                 tests/tidy/arrows.rs with what it may import, and say why it must exist.",
                manifest.path
            ));
            continue;
        };
        for import in imports(&manifest.table) {
            let ours = import == "triad" || import.starts_with("triad-");
            if ours && !allowed.contains(&import.as_str()) {
                findings.push(format!(
                    "{}: {name} imports {import}, and the arrows allow it {}; move the code to \
                     the side that may.",
                    manifest.path,
                    if allowed.is_empty() { "nothing of ours".into() } else { allowed.join(", ") }
                ));
            }
        }
    }
    findings
}

/// The packages that a manifest depends on, in normal and build use, on every
/// target, under their own names.
fn imports(manifest: &toml::Table) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(|targets| targets.values());
    let tables = tables.filter_map(toml::Value::as_table).chain([manifest]);
    let mut imports = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies"] {
            let Some(entries) = table.get(kind).and_then(toml::Value::as_table) else {
                continue;
            };
            imports.extend(entries.iter().map(|(key, entry)| {
                let package = entry.get("package").and_then(toml::Value::as_str);
                package.unwrap_or(key).to_owned()
            }));
        }
    }
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest { path: "crates/x/Cargo.toml".into(), table: text.parse().unwrap() }
    }

    #[test]
    fn an_arrow_backwards_is_found() {
        for dependency in [
            "[dependencies]\ntriad-server = { workspace = true }",
            "[build-dependencies]\ntriad-server = { path = '../triad-server' }",
            "[target.'cfg(unix)'.dependencies]\ntriad-server.workspace = true",
            "[dependencies]\nharmless = { package = 'triad-server', version = '1' }",
        ] {
            let client = manifest(&format!("[package]\nname = 'triad-client'\n{dependency}"));
            let findings = broken(&[client]);
            assert_eq!(findings.len(), 1, "{dependency}");
            assert!(findings[0].contains("triad-client imports triad-server"), "{findings:?}");
        }
    }

    #[test]
    fn an_arrow_in_a_test_is_not() {
        let client = "[package]\nname = 'triad-client'\n[dev-dependencies]\ntriad-server = '1'";
        assert_eq!(broken(&[manifest(client)]), Vec::<String>::new());
    }

    #[test]
    fn a_crate_that_nobody_listed_is_found() {
        let findings = broken(&[manifest("[package]\nname = 'triad-util'")]);
        assert!(findings[0].contains("triad-util is not in the table"), "{findings:?}");
    }
}

//! The programs under test: where they are, and that they are built from what
//! stands in the tree.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::SystemTime;

/// Names another program to test, for example a release build.
const PROGRAM_VARIABLE: &str = "TRIAD_BIN";
/// The same for the back office.
const OFFICE_VARIABLE: &str = "TRIAD_OFFICE_BIN";

/// `triad`, of the same profile as this test. Built once if it is missing or
/// older than its sources, as it may be when one package alone is tested.
///
/// # Panics
///
/// If it cannot be built.
pub fn triad() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os(PROGRAM_VARIABLE) {
        Some(program) => PathBuf::from(program),
        None => current("triad"),
    })
}

/// `triad-office`, likewise.
///
/// # Panics
///
/// If it cannot be built.
pub fn triad_office() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match std::env::var_os(OFFICE_VARIABLE) {
        Some(program) => PathBuf::from(program),
        None => current("triad-office"),
    })
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent")
}

fn current(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test is a program");
    // A test stands in target/PROFILE/deps, a program of this package beside `triad`.
    let folder = test.parent().expect("a program stands in a folder");
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if modified(&program).is_none_or(|built| built < newest_source()) {
        build(name, folder);
    }
    assert!(
        program.exists(),
        "{} is not there; name it with TRIAD_BIN or TRIAD_OFFICE_BIN",
        program.display()
    );
    program
}

fn build(name: &str, folder: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
    let profile = if profile == "debug" { "dev" } else { profile };
    let target = folder.parent().expect("a profile's folder stands in the target directory");
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--package", name, "--profile", profile])
        // What tests can ask of the program, as in a build of the whole workspace.
        .args((name == "triad").then_some("--features=seeded-bugs"))
        .arg("--target-dir")
        .arg(target)
        .current_dir(repository())
        .status();
    let built = built.expect("cargo can be started");
    assert!(built.success(), "cargo build --package {name}: {built}");
}

fn newest_source() -> SystemTime {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut folders = vec![repository().join("crates"), repository().join("proto")];
    let mut look = |path: &Path| newest = newest.max(modified(path).unwrap_or(newest));
    look(&repository().join("Cargo.lock"));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                look(&path);
            }
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

//! The programs of the system that these tests use, and what they say.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use triad_tests::program::{repository, triad, triad_office};
use triad_tests::skip;

/// Where `tests/setup.sh` puts what it installs.
const TOOLS_VARIABLE: &str = "TRIAD_TOOLS";

/// The folder of `tests/setup.sh`.
pub fn tools() -> PathBuf {
    let tools = std::env::var_os(TOOLS_VARIABLE).map(PathBuf::from);
    tools.unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/triad-tools")
    })
}

/// Whether root runs this, and all these programs are there. If not, the test is
/// skipped, which is said aloud.
pub fn can(programs: &[&str]) -> bool {
    if !rustix::process::geteuid().is_root() {
        skip::skip("only root can make containers and roots of file systems");
        return false;
    }
    have(programs)
}

/// Whether all these programs are there. If not, the test is skipped, which is
/// said aloud.
pub fn have(programs: &[&str]) -> bool {
    let path = search_path();
    let is_there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).exists());
    match programs.iter().find(|name| !is_there(name)) {
        None => true,
        Some(missing) => {
            skip::skip(&format!("{missing} is not installed, see tests/setup.sh"));
            false
        }
    }
}

/// The search path of a command, with the folder of the tools before it.
fn search_path() -> std::ffi::OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = [tools().join("bin"), tools().join("venv/bin")];
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = folders.into_iter().chain(std::env::split_paths(&own)).chain(system);
    std::env::join_paths(all).unwrap()
}

/// A command that finds the tools.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env("PATH", search_path());
    command
}

/// Runs it to its end; what it said, if it ended well.
pub fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.output().map_err(|error| format!("{shown}: {error}"))?;
    let (out, err) = both(&output);
    if output.status.success() {
        return Ok(out);
    }
    Err(format!("{shown}: {}\n{out}{err}", output.status))
}

/// Runs it to its end; what it said.
///
/// # Panics
///
/// If it did not end well.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    output(command).unwrap_or_else(|error| panic!("{error}"))
}

/// What a program said, on either way.
pub fn both(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The packages of `deploy/package.sh`, made of the programs under test.
pub struct Packages {
    /// `triad`, for Debian.
    pub deb: PathBuf,
    /// `triad-office`, for Debian.
    pub office_deb: PathBuf,
    /// `triad`, for systems with RPM.
    pub rpm: PathBuf,
    /// `triad-office`, for systems with RPM.
    pub office_rpm: PathBuf,
}

/// Makes the packages, once.
pub fn packages() -> &'static Packages {
    static PACKAGES: OnceLock<Packages> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let profile = triad().parent().unwrap();
        assert_eq!(profile, triad_office().parent().unwrap(), "two programs of one build");
        let out = profile.join("package/tests");
        let _ = std::fs::remove_dir_all(&out);
        run(command(repository().join("deploy/package.sh"))
            .args(["--no-build", "--profile", &profile.file_name().unwrap().to_string_lossy()])
            .arg("--out")
            .arg(&out)
            .env("CARGO_TARGET_DIR", profile.parent().unwrap()));
        let find = |begin: &str, end: &str| find(&out, begin, end);
        Packages {
            deb: find("triad_", ".deb"),
            office_deb: find("triad-office_", ".deb"),
            rpm: find("triad-0", ".rpm"),
            office_rpm: find("triad-office-", ".rpm"),
        }
    })
}

/// What `packages` needs.
pub const PACKAGERS: [&str; 4] = ["cargo-deb", "cargo-generate-rpm", "dpkg-deb", "dpkg-shlibdeps"];

fn find(folder: &Path, begin: &str, end: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    let mut found: Vec<_> = files.filter(fits).collect();
    assert_eq!(found.len(), 1, "one package {begin}*{end} in {}: {found:?}", folder.display());
    found.remove(0)
}

//! The packages: what is in them, and what they do to a system when they are
//! installed, upgraded, removed and purged.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use triad_tests::program::repository;

use crate::tools::{PACKAGERS, both, can, command, have, packages, run};

/// What lintian finds and is meant to be so.
const LINTIAN_KNOWN: [&str; 1] = [
    // Packages of our own are not in Debian, so there is no request to close.
    "initial-upload-closes-no-bugs",
];

#[test]
fn the_debian_packages_hold_what_they_should() {
    if !have(&PACKAGERS) {
        return;
    }
    let version = format!("{}-1", env!("CARGO_PKG_VERSION"));
    for (deb, name) in [(&packages().deb, "triad"), (&packages().office_deb, "triad-office")] {
        let field = |field: &str| {
            run(command("dpkg-deb").arg("--field").arg(deb).arg(field)).trim().to_owned()
        };
        assert_eq!((field("Package"), field("Version")), (name.to_owned(), version.clone()));
        let depends = field("Depends");
        assert!(depends.contains("adduser") && depends.contains("libc6 (>= "), "{depends}");

        let list = run(command("dpkg-deb").arg("--contents").arg(deb));
        assert!(list.lines().all(|line| line.contains(" root/root ") || line.contains(" 0/0 ")));
        let has = |mode: &str, path: &str| {
            let is_it =
                |line: &&str| line.starts_with(mode) && line.ends_with(&format!(" .{path}"));
            assert!(list.lines().any(|line| is_it(&line)), "{name}: no {mode} {path} in\n{list}");
        };
        has("-rwxr-xr-x", &format!("/usr/bin/{name}"));
        has("-rw-r--r--", &format!("/usr/lib/systemd/system/{name}.service"));
        has("-rw-r--r--", &format!("/usr/share/doc/{name}/copyright"));
        has("-rw-r--r--", &format!("/usr/share/doc/{name}/changelog.gz"));
        has("-rw-r--r--", &format!("/usr/share/man/man1/{name}.1.gz"));
        if name == "triad" {
            has("-rw-r--r--", "/etc/default/triad");
            has("-rw-r--r--", "/usr/share/bash-completion/completions/triad");
            has("-rw-r--r--", "/usr/share/zsh/vendor-completions/_triad");
            has("-rw-r--r--", "/usr/share/fish/vendor_completions.d/triad.fish");
            let conffiles = run(command("dpkg-deb").args(["--info"]).arg(deb).arg("conffiles"));
            assert_eq!(conffiles.trim(), "/etc/default/triad");
        }
    }
}

#[test]
fn lintian_finds_nothing_in_the_debian_packages() {
    if !have(&PACKAGERS) || !have(&["lintian"]) {
        return;
    }
    let mut lintian = command("lintian");
    lintian.args(["--allow-root", "--tag-display-limit", "0", "--suppress-tags"]);
    lintian.arg(LINTIAN_KNOWN.join(",")).arg(&packages().deb).arg(&packages().office_deb);
    // Some of its findings leave its exit code at 0.
    let (found, said) = both(&lintian.output().unwrap());
    assert!(found.trim().is_empty(), "{found}{said}");
}

#[test]
fn a_debian_package_is_installed_upgraded_removed_and_purged() {
    if !can(&["dpkg", "unshare"]) || !have(&PACKAGERS) {
        return;
    }
    let told = throwaway(&[&packages().deb, &packages().office_deb], include_str!("life.sh"));
    assert!(told.ends_with("all well\n"), "{told}");
}

#[test]
fn an_rpm_is_installed_and_removed() {
    if !can(&["rpm", "unshare"]) || !have(&PACKAGERS) {
        return;
    }
    for (rpm, name) in [(&packages().rpm, "triad"), (&packages().office_rpm, "triad-office")] {
        let list = run(command("rpm").args(["-qplv"]).arg(rpm));
        let has = |mode: &str, path: &str| {
            let is_it = |line: &&str| line.starts_with(mode) && line.ends_with(path);
            assert!(list.lines().any(|line| is_it(&line)), "{name}: no {mode} {path} in\n{list}");
        };
        has("-rwxr-xr-x", &format!(" /usr/bin/{name}"));
        has("-rw-r--r--", &format!(" /usr/lib/systemd/system/{name}.service"));
    }
    let configs = run(command("rpm").args(["-qpc"]).arg(&packages().rpm));
    assert_eq!(configs.trim(), "/etc/default/triad");
    let told = throwaway(&[&packages().rpm, &packages().office_rpm], include_str!("life_rpm.sh"));
    assert!(told.ends_with("all well\n"), "{told}");
}

/// Runs a script in a copy of this system that is forgotten afterwards.
fn throwaway(packages: &[&Path], script: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for package in packages {
        std::fs::copy(package, folder.path().join(package.file_name().unwrap())).unwrap();
    }
    let mut root = command(repository().join("tests/deploy/throwaway.sh"));
    root.arg(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut root = root.spawn().unwrap();
    root.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = root.wait_with_output().unwrap();
    let (told, said) = both(&output);
    assert!(output.status.success(), "{}\n{told}{said}", output.status);
    told
}

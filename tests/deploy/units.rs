//! The systemd units: spelt right, and giving up what they do not need.

use triad_tests::program::repository;

use crate::tools::{command, have, run};

/// Of ten; what `systemd-analyze security` calls the exposure level.
const EXPOSURE_MAX: f64 = 2.0;

#[test]
fn the_units_are_spelt_right_and_give_up_what_they_do_not_need() {
    if !have(&["systemd-analyze"]) {
        return;
    }
    for name in ["triad", "triad-office"] {
        let unit = repository().join(format!("deploy/systemd/{name}.service"));
        // The program and its page are not where the unit looks, on a machine without the package.
        let text = std::fs::read_to_string(&unit).unwrap();
        let text = text.replace(&format!("/usr/bin/{name}"), "/bin/true");
        let text: Vec<_> =
            text.lines().filter(|line| !line.starts_with("Documentation=man:")).collect();
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(format!("{name}.service"));
        std::fs::write(&copy, text.join("\n")).unwrap();
        let verify = command("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
        let said = String::from_utf8_lossy(&verify.unwrap().stderr).into_owned();
        assert!(!said.contains(&format!("{name}.service")), "{said}");

        let security = run(command("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(&unit));
        let exposure = exposure(&security).unwrap_or_else(|| panic!("no level in {security}"));
        assert!(exposure <= EXPOSURE_MAX, "{name}.service: {exposure}\n{security}");
    }
}

/// The number in `Overall exposure level for triad.service: 1.3 OK`.
fn exposure(security: &str) -> Option<f64> {
    let line = security.lines().find(|line| line.contains("Overall exposure level"))?;
    line.split(": ").nth(1)?.split(' ').next()?.parse().ok()
}

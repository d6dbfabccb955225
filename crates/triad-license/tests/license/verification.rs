//! Who is believed, where, and until when.

use triad_ledger::names::{FeatureName, Version};
use triad_license::*;

use crate::*;

#[test]
fn what_was_issued_is_verified_and_arrives_in_the_ledger_word_for_word() {
    let acme = key(1);
    let mut draft = draft();
    draft.notice = Some("Support: +49 30 \"1234\" \\ Müller".to_owned());
    draft.features[0].overdraft = 2;
    draft.features[0].vendor_string = "tier=gold".to_owned();
    draft.features.push(DraftFeature::new("viewer", "1", 5));
    let text = issued(&draft, &[&acme]);

    let verified = verify(&text, &trusting(&[&acme]), &site(), at("2026-11-23")).expect("good");
    assert_eq!(verified.signed_by(), [acme.key_id()]);
    let license = verified.into_license();
    assert_eq!(license.text, text);
    assert_eq!((license.id.as_str(), license.publisher.as_str()), ("acme-2026", "Acme"));
    assert_eq!(license.serial, 3);
    let [solver, viewer] = license.lines.as_slice() else { panic!("{:?}", license.lines) };
    assert_eq!(solver.feature, FeatureName::parse("solver").unwrap());
    assert_eq!(solver.version, Version::parse("2026.1").unwrap());
    assert_eq!((solver.seats, solver.overdraft), (40, 2));
    assert_eq!(solver.starts_ms, Some(at("2026-01-01")));
    assert_eq!(solver.expires_ms, Some(at("2027-01-01")), "to the end of the last day");
    assert_eq!(solver.vendor_string.as_str(), "tier=gold");
    assert_eq!((viewer.starts_ms, viewer.expires_ms), (None, None));
}

#[test]
fn mail_and_editors_may_change_line_endings_and_trailing_blanks() {
    let acme = key(1);
    let text = issued(&draft(), &[&acme]);
    let variants = [
        text.replace('\n', "\r\n"),
        text.replace('\n', " \t \n"),
        text.replace('\n', " \r\n"),
        text.trim_end().to_owned(),
        format!("\u{FEFF}{text}"),
        format!("\n \r\n{text}\n\n  \n"),
    ];
    for variant in variants {
        let verified = verify(&variant, &trusting(&[&acme]), &site(), 0).expect(&variant);
        assert_eq!(verified.into_license().text, variant);
    }
}

#[test]
fn an_altered_license_is_told_from_a_foreign_one() {
    let (acme, other) = (key(1), key(2));
    let text = issued(&draft(), &[&acme]);
    let altered = text.replace("seats = 40", "seats = 4000");
    assert_eq!(
        verify(&altered, &trusting(&[&acme]), &site(), 0).unwrap_err(),
        LicenseError::Tampered { key_id: acme.key_id(), line: 18 },
    );
    assert_eq!(
        altered.lines().nth(17).unwrap().split(' ').next(),
        Some(&*acme.key_id().to_string())
    );
    let foreign = LicenseError::Foreign { key_ids: vec![acme.key_id()], trusted: 1 };
    assert_eq!(verify(&text, &trusting(&[&other]), &site(), 0).unwrap_err(), foreign);
    let nobody = LicenseError::Foreign { key_ids: vec![acme.key_id()], trusted: 0 };
    assert_eq!(verify(&text, &Keyring::new(), &site(), 0).unwrap_err(), nobody);

    // Another publisher's signature under a trusted name.
    let theirs = issued(&draft(), &[&other]);
    let forged = theirs.replace(&other.key_id().to_string(), &acme.key_id().to_string());
    let error = verify(&forged, &trusting(&[&acme, &other]), &site(), 0).unwrap_err();
    assert!(matches!(error, LicenseError::Tampered { .. }), "{error}");
}

#[test]
fn a_foreign_license_is_not_even_parsed() {
    let text = issued(&draft(), &[&key(1)]).replace("serial = 3", "serial = [[[");
    let error = verify(&text, &trusting(&[&key(2)]), &site(), 0).unwrap_err();
    assert!(matches!(error, LicenseError::Foreign { .. }), "{error}");
}

#[test]
fn two_keys_carry_a_site_over_a_rotation() {
    let (old, new) = (key(1), key(2));
    let text = issued(&draft(), &[&old, &new, &old]);
    for (trusted, signed_by) in [
        (trusting(&[&old]), vec![old.key_id()]),
        (trusting(&[&new]), vec![new.key_id()]),
        (trusting(&[&old, &new]), vec![old.key_id(), new.key_id()]),
    ] {
        let verified = verify(&text, &trusted, &site(), 0).expect("one trusted key is enough");
        assert_eq!(verified.signed_by(), signed_by);
    }

    // One good signature does not excuse a bad one of a trusted key.
    let altered = issued(&Draft { serial: 4, ..draft() }, &[&new]);
    let line_of = |text: &str, key: &PublisherKey| {
        text.lines().find(|l| l.starts_with(&key.key_id().to_string())).unwrap().to_owned()
    };
    let mixed = text.replace(&line_of(&text, &new), &line_of(&altered, &new));
    assert!(verify(&mixed, &trusting(&[&old]), &site(), 0).is_ok());
    let error = verify(&mixed, &trusting(&[&old, &new]), &site(), 0).unwrap_err();
    assert!(matches!(error, LicenseError::Tampered { key_id, .. } if key_id == new.key_id()));
}

#[test]
fn a_license_expires_when_its_last_feature_does() {
    let acme = key(1);
    let keyring = trusting(&[&acme]);
    let mut draft = draft();
    let text = issued(&draft, &[&acme]);
    let end_ms = at("2027-01-01");
    assert!(verify(&text, &keyring, &site(), end_ms - 1).is_ok());
    let error = verify(&text, &keyring, &site(), end_ms).unwrap_err();
    assert!(matches!(error, LicenseError::Expired { at_ms, .. } if at_ms == end_ms), "{error}");
    assert!(error.to_string().contains("expired at 2027-01-01T00:00:00Z"), "{error}");

    let longer =
        DraftFeature { expires: Some(day("2027-01-31")), ..DraftFeature::new("b", "1", 1) };
    draft.features.push(longer);
    let text = issued(&draft, &[&acme]);
    assert!(verify(&text, &keyring, &site(), end_ms).is_ok(), "the other feature goes on");
    assert!(verify(&text, &keyring, &site(), at("2027-02-01")).is_err());

    draft.features.push(DraftFeature::new("c", "1", 1));
    assert!(verify(&issued(&draft, &[&acme]), &keyring, &site(), u64::MAX).is_ok(), "permanent");
}

#[test]
fn days_end_in_the_zone_of_the_license() {
    let acme = key(1);
    // 2027-01-01T00:00Z and five hours.
    let midnight_in_new_york_ms = at("2027-01-01") + 5 * 3_600_000;
    let text = issued(&Draft { zone: Some("America/New_York".to_owned()), ..draft() }, &[&acme]);
    let verify = |now_ms| verify(&text, &trusting(&[&acme]), &site(), now_ms);
    let line = &verify(0).expect("good").into_license().lines[0];
    assert_eq!(line.starts_ms, Some(at("2026-01-01") + 5 * 3_600_000));
    assert_eq!(line.expires_ms, Some(midnight_in_new_york_ms));
    assert!(verify(midnight_in_new_york_ms - 1).is_ok());
    assert!(matches!(verify(midnight_in_new_york_ms), Err(LicenseError::Expired { .. })));
}

#[test]
fn a_cluster_license_serves_its_cluster_on_any_machine() {
    let acme = key(1);
    let text = issued(&draft(), &[&acme]);
    let verified = verify(&text, &trusting(&[&acme]), &site(), 0).expect("its own cluster");
    assert_eq!(check_own_host(&verified, &[]), Ok(()));
    let elsewhere = Site { cluster_id: "another", hostids: &[] };
    let error = verify(&text, &trusting(&[&acme]), &elsewhere, 0).unwrap_err();
    let (expected, found) = (format!("cluster {CLUSTER}"), "cluster another".to_owned());
    assert_eq!(error, LicenseError::WronglyBound { expected, found });
}

#[test]
fn a_license_for_three_machines_serves_these_and_each_checks_itself() {
    let acme = key(1);
    let text = issued(&Draft { binding: Binding::Hosts(hosts()), ..draft() }, &[&acme]);
    let keyring = trusting(&[&acme]);
    let mut known = hosts().to_vec();
    known.push(hostid("HOSTNAME:lic-a"));
    let here = Site { cluster_id: "any", hostids: &known };
    let verified = verify(&text, &keyring, &here, 0).expect("all three machines are here");

    for own in hosts() {
        assert_eq!(check_own_host(&verified, &[hostid("HOSTNAME:lic-a"), own]), Ok(()));
    }
    let error = check_own_host(&verified, &[hostid("ETHERNET:00-11-22-33-44-77")]).unwrap_err();
    assert!(matches!(error, LicenseError::WronglyBound { .. }));
    assert!(error.to_string().contains("a machine of hosts ETHERNET:001122334477"), "{error}");

    for missing in 0..3 {
        let mut known = known.clone();
        known.remove(missing);
        let error = verify(&text, &keyring, &Site { cluster_id: "any", hostids: &known }, 0);
        assert!(matches!(error, Err(LicenseError::WronglyBound { .. })), "without {missing}");
    }
}

#[test]
fn nothing_is_issued_without_a_signature_or_with_too_many() {
    let toml = draft().to_toml();
    assert_eq!(issue(&toml, &[]), Err(LicenseError::Unsigned));
    let keys: Vec<PublisherKey> = (1..=9).map(key).collect();
    let keys: Vec<&PublisherKey> = keys.iter().collect();
    assert!(authenticate(&issue(&toml, &keys[..8]).unwrap(), &trusting(&keys[7..8])).is_ok());
    assert!(matches!(issue(&toml, &keys), Err(LicenseError::TooLarge { found: 9, max: 8, .. })));
}

#[test]
fn a_summary_says_how_far_the_license_was_checked() {
    let (acme, next) = (key(1), key(2));
    let text = issued(&draft(), &[&acme, &next]);
    let keyring = trusting(&[&acme]);
    let looked_at = show(&text).unwrap();
    assert_eq!((looked_at.standing, looked_at.signed_by.len()), (Standing::Unverified, 0));
    assert!(looked_at.to_string().starts_with("UNVERIFIED"));
    let signed = authenticate(&text, &keyring).unwrap().summary();
    assert_eq!(signed.standing, Standing::Signed);
    let verified = verify(&text, &keyring, &site(), 0).unwrap().summary();
    assert_eq!(verified.signed_by, [acme.key_id().to_string()]);
    assert_eq!(verified.also_signed_by, [next.key_id().to_string()]);
    assert_eq!(verified.features, looked_at.features);
    let json = serde_json::to_value(&verified).unwrap();
    assert_eq!(json["standing"], "verified");
    assert_eq!(json["features"][0]["expires_ms"], at("2027-01-01"));
}

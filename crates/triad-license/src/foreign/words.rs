//! The words that options files and license files share: days, host ids and
//! features with a choice of one pool.

use triad_ledger::names::{FeatureName, Label, Version};
use triad_ledger::policy::{FeatureSelector, Network};

use crate::dates::{Day, Zone};
use crate::error::printable;
use crate::hostid::HostId;
use crate::suggest::nearest;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The keys by which a line of an options file chooses one pool, and which of
/// them tell pools apart here.
const POOL_KEYS: [&str; 4] = ["VERSION", "VENDOR_STRING", "EXPDATE", "HOSTID"];
/// Keys that choose a pool elsewhere, and mean nothing of one here.
const OTHER_KEYS: [&str; 9] =
    ["KEY", "SIGN", "SIGN2", "ISSUER", "NOTICE", "SN", "DIST_INFO", "USER_INFO", "ASSET_INFO"];

/// A day `dd-mmm-yyyy`; `Ok(None)`: `permanent`, or a year of nothing but
/// zeros, which means the same.
pub(super) fn day(text: &str) -> Result<Option<Day>, String> {
    if text.eq_ignore_ascii_case("permanent") || text.bytes().all(|b| b == b'0') {
        return if text.is_empty() { Err(not_a_day(text)) } else { Ok(None) };
    }
    let parts: Vec<&str> = text.split('-').collect();
    let [day, month, year] = parts[..] else { return Err(not_a_day(text)) };
    let digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    if !digits(year, 4) || !digits(day, 2) {
        return Err(not_a_day(text));
    }
    if year.bytes().all(|b| b == b'0') {
        return Ok(None);
    }
    if year.len() < 4 {
        // Which century was meant is the publisher's guess, not ours.
        return Err(format!("{:?}: write the year with four digits", shown(text)));
    }
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month));
    let date = month.map(|month| format!("{year:0>4}-{:02}-{day:0>2}", month + 1));
    match date.and_then(|date| Day::parse(&date)) {
        Some(day) => Ok(Some(day)),
        None => Err(not_a_day(text)),
    }
}

/// The last day of a line. `31-dec-9999` is how some publishers write that
/// there is none: that day has no end that a clock can tell.
pub(super) fn last_day(text: &str) -> Result<Option<Day>, String> {
    Ok(day(text)?.filter(|day| *day != Day::LAST))
}

fn not_a_day(text: &str) -> String {
    let text: String = printable(text).chars().take(40).collect();
    format!("{text:?} is no day such as 31-dec-2026, and not `permanent`")
}

/// A host id as this product writes it. `Ok(None)`: it means any host.
pub(super) fn hostid(text: &str) -> Result<Option<HostId>, String> {
    let shown: String = printable(text).chars().take(60).collect();
    if text.eq_ignore_ascii_case("ANY") {
        return Ok(None);
    }
    let (kind, value) = match text.split_once('=') {
        None => ("", text),
        Some((kind, value)) => (kind, value),
    };
    let typed = match kind.to_ascii_uppercase().as_str() {
        "" if value.len() == 12 && value.bytes().all(|b| b.is_ascii_hexdigit()) => {
            format!("ETHERNET:{value}")
        }
        "ETHER" | "ETHERNET" => format!("ETHERNET:{value}"),
        "HOSTNAME" | "HOST" => format!("HOSTNAME:{value}"),
        "VM_UUID" => format!("VM_UUID:{value}"),
        "ID" | "ID_STRING" => format!("STRING:{value}"),
        "" if value.eq_ignore_ascii_case("DEMO") => {
            return Err("DEMO is no host; use the demonstration of this product".to_owned());
        }
        "" => return Err(format!("host id {shown:?} is not an Ethernet address")),
        kind => {
            let kind: String = printable(kind).chars().take(30).collect();
            return Err(format!("host ids of type {kind:?} are not known here"));
        }
    };
    HostId::parse(&typed).map(Some).map_err(|error| error.to_string())
}

/// `feature`, or `feature:KEY=value` for one pool of it, or the same in quotes
/// with a blank for the colon. With the selector comes what should be known
/// about it; it may be empty.
pub(super) fn selector(text: &str) -> Result<(FeatureSelector, String), String> {
    let quoted = text.split_once(char::is_whitespace).filter(|(name, _)| !name.contains('='));
    let (name, mut rest) = match (quoted, text.split_once(':')) {
        (Some((name, rest)), _) => (name, Some(rest.trim())),
        (None, Some((name, rest))) => (name, Some(rest)),
        (None, None) => (text, None),
    };
    if name == "*" {
        return Err("`*` is no feature; INCLUDEALL and EXCLUDEALL are about all of them".into());
    }
    let feature = FeatureName::parse(name).map_err(|reason| {
        let name: String = printable(name).chars().take(40).collect();
        format!("feature {name:?}: {reason}")
    })?;
    let mut selector = FeatureSelector::all_of(feature);
    let mut remark = String::new();
    while let Some(part) = rest {
        let Some((key, value)) = part.split_once('=') else {
            return Err(format!("{:?} is not KEY=value", shown(part)));
        };
        // A value may hold colons: only one before another KEY= ends it.
        let (value, next) = split_before_key(value);
        rest = next;
        match key.to_ascii_uppercase().as_str() {
            "VERSION" => {
                let version = Version::parse(value).map_err(|reason| reason.to_string())?;
                selector.version = Some(version);
            }
            "VENDOR_STRING" => {
                let label = Label::parse(value).map_err(|reason| reason.to_string())?;
                selector.vendor_string = Some(label);
            }
            "EXPDATE" => {
                let day =
                    last_day(value)?.ok_or("a pool that never ends cannot be chosen by its end")?;
                let ends_ms = Zone::utc().ends_ms(day).ok_or_else(|| not_a_day(value))?;
                selector.expires_ms = Some(ends_ms);
                remark = format!("{day} counts in UTC; correct it if the license has a zone");
            }
            "HOSTID" => {
                let hostid = hostid(value)?.ok_or("HOSTID=ANY chooses no pool")?;
                let label = Label::parse(&hostid.to_string()).map_err(|e| e.to_string())?;
                selector.hostid = Some(label);
            }
            other => {
                let hint = nearest(other, POOL_KEYS).map(|key| format!("; did you mean {key}?"));
                let hint = hint.unwrap_or_else(|| format!("; leave it out if {name} has one pool"));
                return Err(format!(
                    "pools are not told apart by {} here, only by {}{hint}",
                    shown(key),
                    POOL_KEYS.join(", "),
                ));
            }
        }
    }
    Ok((selector, remark))
}

/// Up to the first colon behind which another choice begins, and the rest.
fn split_before_key(text: &str) -> (&str, Option<&str>) {
    for (at, _) in text.match_indices(':') {
        let rest = &text[at + 1..];
        let begins = |key: &&str| {
            rest.get(..key.len()).is_some_and(|word| word.eq_ignore_ascii_case(key))
                && rest.as_bytes().get(key.len()) == Some(&b'=')
        };
        if POOL_KEYS.iter().chain(&OTHER_KEYS).any(begins) {
            return (&text[..at], Some(rest));
        }
    }
    (text, None)
}

/// Whether the name of a host is an address, or a pattern of addresses.
pub(super) fn is_address(text: &str) -> bool {
    let pattern = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'*' | b'/'));
    Network::parse(text).is_ok()
        || pattern && text.contains('.') && text.bytes().any(|b| b.is_ascii_digit())
}

/// The beginning of a word, safe to print.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = printable(text).chars().take(40).collect();
    if text.chars().nth(40).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_license_files_write_them() {
        let read = |text: &str| day(text).map(|day| day.map(|day| day.to_string()));
        assert_eq!(read("31-dec-2026"), Ok(Some("2026-12-31".to_owned())));
        assert_eq!(read("1-JAN-2027"), Ok(Some("2027-01-01".to_owned())));
        for never in ["permanent", "0", "1-jan-0", "01-jan-0000", "00-jan-00"] {
            assert_eq!(read(never), Ok(None), "{never:?}");
        }
        for bad in ["", "2026-12-31", "31-dez-2026", "31-feb-2026", "1-jan-26", "é-jan-2026"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
        assert!(read("1-jan-26").is_err_and(|why| why.contains("four digits")));
        assert_eq!(last_day("31-dec-9999"), Ok(None));
        assert!(last_day("30-dec-9999").is_ok_and(|day| day.is_some()));
    }

    #[test]
    fn host_ids_get_their_type() {
        let read = |text: &str| hostid(text).map(|id| id.map(|id| id.to_string()));
        assert_eq!(read("001122AABBCC"), Ok(Some("ETHERNET:001122aabbcc".to_owned())));
        assert_eq!(read("HOSTNAME=Pat.acme"), Ok(Some("HOSTNAME:pat.acme".to_owned())));
        assert_eq!(read("ID=abc"), Ok(Some("STRING:abc".to_owned())));
        assert_eq!(read("any"), Ok(None));
        for bad in ["", "DEMO", "17003456", "FLEXID=9-abc", "COMPOSITE=1", "HOSTNAME=a b"] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_feature_may_choose_a_pool() {
        let (chosen, _) =
            selector("f:VENDOR_STRING=a:b=:VERSION=1.10:HOSTID=HOSTNAME=pat").expect("good");
        assert_eq!(chosen.vendor_string.expect("given").as_str(), "a:b=");
        assert_eq!(chosen.version.expect("given").to_string(), "1.1");
        assert_eq!(chosen.hostid.expect("given").as_str(), "HOSTNAME:pat");
        let (chosen, remark) = selector("f:version=1.0:EXPDATE=31-dec-2026").expect("good");
        assert_eq!(chosen.version.expect("given").to_string(), "1.0");
        assert!(chosen.expires_ms.is_some() && remark.contains("UTC"));
        for text in ["f VERSION=2.0:VENDOR_STRING=a b", "f  VERSION=2.0:VENDOR_STRING=a b"] {
            let (chosen, _) = selector(text).expect(text);
            assert_eq!(chosen.version.expect("given").to_string(), "2.0", "{text}");
            assert_eq!(chosen.vendor_string.expect("given").as_str(), "a b", "{text}");
        }
        for bad in ["", "a b", "f:", "f:VERSION", "f:SIGN=12", "f:VERSION=x", "f:EXPDATE=0"] {
            assert!(selector(bad).is_err(), "{bad:?}");
        }
    }
}

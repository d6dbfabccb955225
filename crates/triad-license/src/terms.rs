//! How the seats of a line are counted and who may have them: its keys in the
//! document, and the same in words.

use std::collections::BTreeSet;

use toml::Spanned;
use triad_ledger::names::{FeatureName, Label, Seats, Version};
use triad_ledger::rights::{About, Share, Terms, TokenCost};

use crate::content::Source;
use crate::dates::{Day, Zone};
use crate::error::LicenseError;
use crate::hostid::HostId;
use crate::policy::{parse_period, show_period};
use crate::written::{RawFeature, RawTokenCost};

/// The most host ids of one line, and the most features that it supersedes.
pub(crate) const LIST_MAX: usize = 1_000;

impl Source<'_> {
    pub(crate) fn terms(&self, raw: &RawFeature, version: Version) -> Result<Terms, LicenseError> {
        let mut terms = Terms { uncounted: raw.uncounted, ..Terms::default() };
        if let Some(text) = &raw.dup_group {
            let what = "write NONE, SITE, or some of U, H, D and V, each once";
            terms.share =
                parse_share(text.get_ref()).ok_or_else(|| self.malformed(text.span(), what))?;
        }
        if let Some(hostids) = &raw.hostids {
            self.check_list(hostids)?;
            let mut seen = BTreeSet::new();
            for text in hostids.get_ref() {
                let host = HostId::parse(text.get_ref())
                    .map_err(|error| self.malformed(text.span(), error.to_string()))?;
                // What identifies a host is at most as long as a label.
                let label = Label::parse(&host.to_string());
                let label = label.map_err(|e| self.malformed(text.span(), e.to_string()))?;
                if !seen.insert(label) {
                    return Err(self.malformed(text.span(), "the same host id twice; remove one"));
                }
            }
            // In one order, so that the same hosts are the same pool.
            terms.hostids = seen.into_iter().collect();
        }
        terms.borrow_max_ms = raw.borrow.as_ref().map(|p| self.period(p)).transpose()?;
        terms.linger_ms = raw.linger.as_ref().map_or(Ok(0), |p| self.period(p))?;
        if let Some(cost) = &raw.consumes {
            terms.consumes = Some(self.token_cost(cost, version)?);
        }
        terms.users_max = raw.user_based.as_ref().map(|n| self.seats(n)).transpose()?;
        terms.hosts_max = raw.host_based.as_ref().map(|n| self.seats(n)).transpose()?;
        Ok(terms)
    }

    /// `issued` is that of the whole license, for lines without their own.
    pub(crate) fn about(
        &self,
        raw: &RawFeature,
        issued: Option<Day>,
        zone: &Zone,
    ) -> Result<About, LicenseError> {
        let label = |text: &Option<Spanned<String>>, key: &str| match text {
            None => Ok(Label::default()),
            Some(text) => self.named(text, key, Label::parse),
        };
        let own = raw.issued.as_ref().map(|day| self.day(day)).transpose()?;
        let mut supersedes = Vec::new();
        if let Some(names) = &raw.supersedes {
            self.check_list(names)?;
            for name in names.get_ref() {
                supersedes.push(self.named(name, "supersedes", FeatureName::parse)?);
            }
            if own.or(issued).is_none() && !supersedes.is_empty() {
                let what = "what is superseded was issued earlier; add the day in `issued`";
                return Err(self.malformed(names.span(), what));
            }
        }
        Ok(About {
            notice: label(&raw.notice, "notice")?,
            serial_number: label(&raw.sn, "sn")?,
            issued_ms: own.or(issued).and_then(|day| zone.starts_ms(day)),
            supersedes,
        })
    }

    fn token_cost(&self, raw: &RawTokenCost, of: Version) -> Result<TokenCost, LicenseError> {
        let version = match &raw.version {
            Some(version) => self.named(version, "consumes, version", Version::parse)?,
            None => of,
        };
        let feature = self.named(&raw.feature, "consumes, feature", FeatureName::parse)?;
        Ok(TokenCost { feature, version, tokens: self.seats(&raw.tokens)? })
    }

    pub(crate) fn seats(&self, raw: &Spanned<u32>) -> Result<Seats, LicenseError> {
        let seats = Seats::new(*raw.get_ref());
        seats.ok_or_else(|| self.malformed(raw.span(), "write at least 1"))
    }

    fn period(&self, raw: &Spanned<String>) -> Result<u64, LicenseError> {
        let what = "write digits and one of s, m, h, d, such as \"168h\"; at most \"3650d\"";
        parse_period(raw.get_ref()).ok_or_else(|| self.malformed(raw.span(), what))
    }

    fn check_list(&self, raw: &Spanned<Vec<Spanned<String>>>) -> Result<(), LicenseError> {
        if raw.get_ref().len() > LIST_MAX {
            let what = format!("at most {LIST_MAX} are allowed; write several lines");
            return Err(self.malformed(raw.span(), what));
        }
        Ok(())
    }
}

/// Reads `NONE`, `SITE`, or letters of `UHDV`.
pub(crate) fn parse_share(text: &str) -> Option<Share> {
    match text.to_ascii_uppercase().as_str() {
        "NONE" => return Some(Share::NOTHING),
        "SITE" => return Some(Share::SITE),
        "" => return None,
        _ => {}
    }
    let mut share = Share::NOTHING;
    for letter in text.chars() {
        let part = match letter.to_ascii_uppercase() {
            'U' => Share::USER,
            'H' => Share::HOST,
            'D' => Share::DISPLAY,
            'V' => Share::VENDOR,
            _ => return None,
        };
        if share.asks(part) {
            return None;
        }
        share = share.and(part);
    }
    Some(share)
}

/// What is special about a line; nothing for an ordinary one.
pub fn terms_in_words(terms: &Terms, about: &About) -> Vec<String> {
    let mut words = Vec::new();
    if terms.uncounted {
        words.push("uncounted".to_owned());
    }
    if terms.share != Share::NOTHING {
        words.push(format!("dup_group {}", terms.share));
    }
    if !terms.hostids.is_empty() {
        let names: Vec<&str> = terms.hostids.iter().map(Label::as_str).collect();
        words.push(format!("only on {}", names.join(", ")));
    }
    words.extend(terms.borrow_max_ms.map(|ms| format!("borrow {}", show_period(ms))));
    if terms.linger_ms > 0 {
        words.push(format!("linger {}", show_period(terms.linger_ms)));
    }
    words.extend(
        terms
            .consumes
            .as_ref()
            .map(|cost| format!("each takes {} of {} {}", cost.tokens, cost.feature, cost.version)),
    );
    words.extend(terms.users_max.map(|users| format!("for {users} named users")));
    words.extend(terms.hosts_max.map(|hosts| format!("for {hosts} named hosts")));
    if !about.supersedes.is_empty() {
        let names: Vec<&str> = about.supersedes.iter().map(FeatureName::as_str).collect();
        words.push(format!("supersedes {}", names.join(", ")));
    }
    if !about.serial_number.as_str().is_empty() {
        words.push(format!("sn {}", about.serial_number));
    }
    if !about.notice.as_str().is_empty() {
        words.push(format!("notice {:?}", about.notice.as_str()));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_are_shown() {
        for text in ["NONE", "SITE", "U", "UHD", "V", "UHDV", "HD"] {
            assert_eq!(parse_share(text).expect(text).to_string(), text);
        }
        assert_eq!(parse_share("dhu"), parse_share("UHD"));
        for text in ["", "UU", "X", "U,H", "SITEU"] {
            assert_eq!(parse_share(text), None, "{text:?}");
        }
    }
}

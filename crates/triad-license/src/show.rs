//! What a license says, for a person or a script, and how far it was checked.

use std::fmt;

use serde::Serialize;

use crate::content::{Content, Feature};
use crate::document::{Frame, LICENSE};
use crate::error::LicenseError;
use crate::keys::KeyId;
use crate::terms::terms_in_words;

/// The columns of the table of features.
const COLUMNS: usize = 7;

/// How far a document was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not at all: anybody may have written it.
    Unverified,
    /// A trusted publisher signed it; place and date were not checked.
    Signed,
    /// A trusted publisher signed it for this site, and it has not expired.
    Verified,
}

/// What a license says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How far it was checked.
    pub standing: Standing,
    /// The license id.
    pub license: String,
    /// Who says to have issued it.
    pub publisher: String,
    /// Higher replaces lower.
    pub serial: u64,
    /// Where it may be used: `cluster <id>` or `hosts <id>, <id>, <id>`.
    pub binding: String,
    /// The IANA zone in which its days are counted.
    pub zone: String,
    /// The day of issue.
    pub issued: Option<String>,
    /// The publisher's remark; may be empty.
    pub notice: String,
    /// The trusted keys whose signatures were verified.
    pub signed_by: Vec<String>,
    /// Keys it claims to be signed by, not checked.
    pub also_signed_by: Vec<String>,
    /// The features in the order of the document.
    pub features: Vec<FeatureSummary>,
}

/// One feature of a license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FeatureSummary {
    /// What may be used.
    pub name: String,
    /// Up to which version.
    pub version: String,
    /// How many seats were bought.
    pub seats: u32,
    /// How many more may be used.
    pub overdraft: u32,
    /// The first day; `None`: from the beginning.
    pub start: Option<String>,
    /// The last day; `None`: permanent.
    pub expires: Option<String>,
    /// The first instant, ms since 1970 UTC.
    pub starts_ms: Option<u64>,
    /// The first instant after it, ms since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// Handed to the application with each grant; may be empty.
    pub vendor_string: String,
    /// What else holds for it, in words: `uncounted`, `borrow 7d`, ...
    pub terms: Vec<String>,
}

/// Reads a document without checking any signature. The answer is marked
/// [`Standing::Unverified`] and is for looking at only.
pub fn show(text: &str) -> Result<Summary, LicenseError> {
    let frame = Frame::parse(LICENSE, text)?;
    let content = Content::parse(&frame.body, frame.lines_above)?;
    let claimed: Vec<KeyId> = frame.signatures.iter().map(|line| line.key_id).collect();
    Ok(Summary::new(&content, Standing::Unverified, &[], &claimed))
}

impl Summary {
    pub(crate) fn new(
        content: &Content,
        standing: Standing,
        signed_by: &[KeyId],
        also_signed_by: &[KeyId],
    ) -> Self {
        let names = |ids: &[KeyId]| ids.iter().map(KeyId::to_string).collect();
        Summary {
            standing,
            license: content.id.to_string(),
            publisher: content.publisher.to_string(),
            serial: content.serial,
            binding: content.binding.to_string(),
            zone: content.zone.to_string(),
            issued: content.issued.map(|day| day.to_string()),
            notice: content.notice.to_string(),
            signed_by: names(signed_by),
            also_signed_by: names(also_signed_by),
            features: content.features.iter().map(FeatureSummary::new).collect(),
        }
    }
}

impl FeatureSummary {
    fn new(feature: &Feature) -> Self {
        FeatureSummary {
            name: feature.line.feature.to_string(),
            version: feature.line.version.to_string(),
            seats: feature.line.seats,
            overdraft: feature.line.overdraft,
            start: feature.start.map(|day| day.to_string()),
            expires: feature.expires.map(|day| day.to_string()),
            starts_ms: feature.line.starts_ms,
            expires_ms: feature.line.expires_ms,
            vendor_string: feature.line.vendor_string.to_string(),
            terms: terms_in_words(&feature.line.terms, &feature.line.about),
        }
    }

    fn row(&self) -> [String; COLUMNS] {
        let seats = match self.overdraft {
            _ if self.terms.iter().any(|word| word == "uncounted") => "-".to_owned(),
            0 => self.seats.to_string(),
            more => format!("{} (+{more})", self.seats),
        };
        let start = self.start.as_deref().unwrap_or("-");
        let expires = self.expires.as_deref().unwrap_or("permanent");
        let text = |text: &str| text.to_owned();
        [
            text(&self.name),
            text(&self.version),
            seats,
            text(start),
            text(expires),
            text(&self.vendor_string),
            self.terms.join("; "),
        ]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = match self.standing {
            Standing::Unverified => {
                "UNVERIFIED: no signature was checked, anybody may have written this"
            }
            Standing::Signed => "SIGNED: the signature is good; place and date were not checked",
            Standing::Verified => "VERIFIED: signed, for this site, not expired",
        };
        writeln!(f, "{standing}")?;
        writeln!(f, "license    {}, serial {}", self.license, self.serial)?;
        writeln!(f, "publisher  {}", self.publisher)?;
        writeln!(f, "bound to   {}", self.binding)?;
        writeln!(f, "days in    {}", self.zone)?;
        if let Some(issued) = &self.issued {
            writeln!(f, "issued     {issued}")?;
        }
        if !self.notice.is_empty() {
            writeln!(f, "notice     {}", self.notice)?;
        }
        if !self.signed_by.is_empty() {
            writeln!(f, "signed by  {}", self.signed_by.join(", "))?;
        }
        if !self.also_signed_by.is_empty() {
            writeln!(f, "not checked: signatures of {}", self.also_signed_by.join(", "))?;
        }
        writeln!(f)?;
        let any = self.features.iter().any(|feature| !feature.terms.is_empty());
        let terms = if any { "TERMS" } else { "" };
        let head = ["FEATURE", "VERSION", "SEATS", "FIRST DAY", "LAST DAY", "VENDOR STRING", terms];
        let rows: Vec<[String; COLUMNS]> = std::iter::once(head.map(str::to_owned))
            .chain(self.features.iter().map(FeatureSummary::row))
            .collect();
        let width =
            |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; COLUMNS] = std::array::from_fn(width);
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

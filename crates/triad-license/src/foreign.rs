//! Texts of FlexNet-style license managers: options files become policies,
//! license files become the terms of licenses. Structure only: no foreign
//! signature is read, made or believed.

mod attributes;
mod convert;
mod groups;
mod import;
mod keywords;
mod lines;
mod report;
mod subjects;
mod words;

pub use convert::{CLUSTER_TO_NAME, Conversion, convert_license};
pub use import::{Import, import_options};
pub use report::{Entry, Fate, Report};

use crate::error::LicenseError;

/// The largest foreign text, in bytes.
pub const FOREIGN_BYTES_MAX: usize = 1 << 20;
/// The most lines of a foreign text that are not blank.
pub const FOREIGN_LINES_MAX: usize = 50_000;

/// A foreign file as text and its lines, within the bounds.
fn read(bytes: &[u8]) -> Result<(String, Vec<lines::Line>), LicenseError> {
    let bound = |what, found, max| {
        if found > max { Err(LicenseError::TooLarge { what, found, max }) } else { Ok(()) }
    };
    bound("bytes of the file", bytes.len(), FOREIGN_BYTES_MAX)?;
    let text = lines::with_line_feeds(lines::decode(bytes));
    let lines = lines::lines(&text);
    bound("lines of the file", lines.len(), FOREIGN_LINES_MAX)?;
    Ok((text, lines))
}

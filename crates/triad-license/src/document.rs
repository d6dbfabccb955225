//! The frame of a document: markers, the text between them, signatures.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::LicenseError;
use crate::keys::KeyId;

/// The largest document, in bytes. It travels in one message and one log entry.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The most signatures on one document: the current key, the next one, and
/// room for several publishers.
pub const SIGNATURES_MAX: usize = 8;

const SIGNATURE: &str = "-----SIGNATURE-----";

/// A kind of signed document: its markers, and what its signed bytes begin
/// with, so that no signature made for one purpose fits another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) noun: &'static str,
    pub(crate) begin: &'static str,
    end: &'static str,
    domain: &'static str,
}

/// What a publisher grants.
pub(crate) const LICENSE: Kind = Kind {
    noun: "license",
    begin: "-----BEGIN TRIAD LICENSE-----",
    end: "-----END TRIAD LICENSE-----",
    domain: "triad-license-v1\n",
};

/// What a server asks of the publisher's back office.
pub(crate) const REQUEST: Kind = Kind {
    noun: "capability request",
    begin: "-----BEGIN TRIAD CAPABILITY REQUEST-----",
    end: "-----END TRIAD CAPABILITY REQUEST-----",
    domain: "triad-capability-request-v1\n",
};

/// What the back office answers.
pub(crate) const RESPONSE: Kind = Kind {
    noun: "capability response",
    begin: "-----BEGIN TRIAD CAPABILITY RESPONSE-----",
    end: "-----END TRIAD CAPABILITY RESPONSE-----",
    domain: "triad-capability-response-v1\n",
};

/// The bytes of a file as text; names line and column of the first byte that
/// is not UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str, LicenseError> {
    check_size(bytes.len())?;
    std::str::from_utf8(bytes).map_err(|error| {
        let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let (line, column) = position(&good, good.len());
        let what =
            "not UTF-8; save the file as UTF-8, or use it as the publisher sent it".to_owned();
        LicenseError::Malformed { line, column, what }
    })
}

/// A document taken apart, nothing of it checked.
#[derive(Debug)]
pub(crate) struct Frame {
    /// What was signed: normalised, each line ended by a line feed.
    pub(crate) body: String,
    /// How many lines of the document stand above the body.
    pub(crate) lines_above: usize,
    /// At least one, at most [`SIGNATURES_MAX`].
    pub(crate) signatures: Vec<SignatureLine>,
}

/// One signature as it stands in the document.
#[derive(Clone, Debug)]
pub(crate) struct SignatureLine {
    pub(crate) key_id: KeyId,
    pub(crate) bytes: [u8; 64],
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Frame {
    /// Takes a document apart.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, LicenseError> {
        let (noun, begin_marker, end_marker) = (kind.noun, kind.begin, kind.end);
        check_size(text.len())?;
        let lines: Vec<&str> = lines(text).collect();
        let missing = |marker: &str| {
            let what = format!(
                "the line {marker} is missing; copy the {noun} whole, from {begin_marker} to \
                 {end_marker}"
            );
            LicenseError::Malformed { line: lines.len().max(1), column: 1, what }
        };

        let begin =
            lines.iter().position(|line| !line.is_empty()).ok_or_else(|| missing(begin_marker))?;
        let markers = [begin_marker, SIGNATURE, end_marker];
        if !lines.iter().any(|line| markers.contains(line)) {
            let what = format!(
                "this is not a {noun}: no line of it is {begin_marker}; give the {noun} itself, as \
                 it was sent"
            );
            return Err(LicenseError::Malformed { line: begin + 1, column: 1, what });
        }
        if !lines.contains(&begin_marker) {
            return Err(missing(begin_marker));
        }
        if lines[begin] != begin_marker {
            // Text above the first marker would be unsigned and still look
            // like a part of the document.
            let what = format!("expected the line {begin_marker}; remove what stands above it");
            return Err(LicenseError::Malformed { line: begin + 1, column: 1, what });
        }
        let body = begin + 1;
        let signatures = find(&lines, body, SIGNATURE).ok_or_else(|| missing(SIGNATURE))?;
        let end = find(&lines, signatures + 1, end_marker).ok_or_else(|| missing(end_marker))?;
        if let Some(after) = lines[end + 1..].iter().position(|line| !line.is_empty()) {
            let what = format!("expected nothing after {end_marker}; remove it");
            return Err(LicenseError::Malformed { line: end + 2 + after, column: 1, what });
        }
        Ok(Frame {
            body: joined(&lines[body..signatures]),
            lines_above: body,
            signatures: signature_lines(noun, &lines, signatures + 1..end)?,
        })
    }

    /// The document of a body and its signatures.
    pub(crate) fn render(kind: Kind, body: &str, signatures: &[(KeyId, [u8; 64])]) -> String {
        let mut text = format!("{}\n{body}{SIGNATURE}\n", kind.begin);
        for (key_id, bytes) in signatures {
            writeln!(text, "{key_id} {}", BASE64.encode(bytes)).expect("a string takes any text");
        }
        text.push_str(kind.end);
        text.push('\n');
        text
    }
}

/// The bytes that a signature covers.
pub(crate) fn signed_bytes(kind: Kind, body: &str) -> Vec<u8> {
    [kind.domain.as_bytes(), body.as_bytes()].concat()
}

/// The name of what was signed: hexadecimal BLAKE3 of those bytes. It stays the
/// same when mail and editors change the line endings.
pub(crate) fn digest_of(kind: Kind, body: &str) -> String {
    blake3::hash(&signed_bytes(kind, body)).to_hex().to_string()
}

/// The body that `text` becomes between the markers. The writer's own text
/// may not contain a marker line, or it would end there.
pub(crate) fn body_of(kind: Kind, text: &str) -> Result<String, LicenseError> {
    check_size(text.len())?;
    let lines: Vec<&str> = lines(text).collect();
    if let Some(at) = lines.iter().position(|line| [kind.begin, SIGNATURE, kind.end].contains(line))
    {
        let what = "a marker line inside the text; give the TOML alone".to_owned();
        return Err(LicenseError::Malformed { line: at + 1, column: 1, what });
    }
    let kept = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    Ok(joined(&lines[..kept]))
}

/// Line and column, counted from 1, of a byte offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before: Cow<'_, str> = String::from_utf8_lossy(&text.as_bytes()[..offset.min(text.len())]);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    (line, column)
}

fn check_size(bytes: usize) -> Result<(), LicenseError> {
    if bytes > DOCUMENT_BYTES_MAX {
        let (found, max) = (bytes, DOCUMENT_BYTES_MAX);
        return Err(LicenseError::TooLarge { what: "bytes of the document", found, max });
    }
    Ok(())
}

/// The lines without what mail and editors change: their endings, blanks
/// before those, and a byte order mark.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    text.split('\n').map(|line| line.trim_end_matches([' ', '\t', '\r']))
}

fn joined(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

fn find(lines: &[&str], from: usize, marker: &str) -> Option<usize> {
    lines[from..].iter().position(|line| *line == marker).map(|at| from + at)
}

fn signature_lines(
    noun: &str,
    lines: &[&str],
    range: std::ops::Range<usize>,
) -> Result<Vec<SignatureLine>, LicenseError> {
    if range.len() > SIGNATURES_MAX {
        let (found, max) = (range.len(), SIGNATURES_MAX);
        return Err(LicenseError::TooLarge { what: "signature lines", found, max });
    }
    let malformed = |line: usize, what: &str| {
        Err(LicenseError::Malformed { line, column: 1, what: what.to_owned() })
    };
    if range.is_empty() {
        let what = format!("a {noun} needs a signature; ask for the file again");
        return malformed(range.start + 1, &what);
    }
    let mut signatures: Vec<SignatureLine> = Vec::with_capacity(range.len());
    for at in range {
        let line = at + 1;
        let Some((key_id, bytes)) = lines[at].split_once(' ').and_then(|(key_id, encoded)| {
            let bytes = BASE64.decode(encoded).ok()?;
            Some((KeyId::parse(key_id)?, bytes.try_into().ok()?))
        }) else {
            let what = "a signature reads `<key id> <base64>`; ask for the file again";
            return malformed(line, what);
        };
        if signatures.iter().any(|other| other.key_id == key_id) {
            return malformed(line, "a second signature of the same key; ask for the file again");
        }
        signatures.push(SignatureLine { key_id, bytes, line });
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_is_the_domain_and_the_normalised_text() {
        let frame = Frame::parse(
            LICENSE,
            &Frame::render(LICENSE, "a = 1\n\nb = 2\n", &[(key_id(), [7; 64])]),
        )
        .expect("its own rendering");
        assert_eq!(signed_bytes(LICENSE, &frame.body), b"triad-license-v1\na = 1\n\nb = 2\n");
        assert_eq!((frame.lines_above, frame.signatures[0].line), (1, 6));
        assert_eq!((frame.signatures[0].key_id, frame.signatures[0].bytes), (key_id(), [7; 64]));
    }

    #[test]
    fn what_is_no_license_is_not_called_one_with_something_above_it() {
        let refused = |text: &str| Frame::parse(LICENSE, text).unwrap_err().to_string();
        let whole = Frame::render(LICENSE, "a = 1\n", &[(key_id(), [7; 64])]);
        for (text, told) in [
            ("FEATURE cad acme 1.0 permanent 2 SIGN=0\n".to_owned(), "this is not a license: no"),
            (whole.replace(LICENSE.begin, ""), "the line -----BEGIN TRIAD LICENSE----- is missing"),
            (format!("Dear customer,\n{whole}"), "remove what stands above it"),
        ] {
            let error = refused(&text);
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        let text = "äb\nçd\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (1, 2));
        assert_eq!(position(text, text.len() - 2), (2, 2));
        assert_eq!(position(text, 999), (3, 1));
    }

    fn key_id() -> KeyId {
        KeyId::parse("0123456789abcdef").expect("16 digits")
    }
}

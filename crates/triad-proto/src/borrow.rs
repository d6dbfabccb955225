//! The borrow token: a signed text by which an application proves, without a
//! server, that seats were lent to this host until an end.
//!
//! A node signs with the key of its certificate, and sends the certificate
//! along; whoever trusts the cluster's authority can check both. The token
//! counts on the host that it names, within its time, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message;
use rustls::{SignatureScheme, crypto::aws_lc_rs};
use rustls_pki_types::alg_id::{ECDSA_P256, ECDSA_SHA256};
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::net::{Identity, TlsError, certificate_is_a_nodes};
use crate::v1::{BorrowTerms, BorrowToken};

const BEGIN: &str = "-----BEGIN TRIAD BORROW-----";
const END: &str = "-----END TRIAD BORROW-----";
/// What is signed begins with this, so that the signature can stand for
/// nothing else.
const DOMAIN: &[u8] = b"triad borrow v1\0";
const LINE_CHARACTERS: usize = 64;
/// The longest token that is read: 64 items with all their names, twice over.
pub const TOKEN_BYTES_MAX: usize = 256 << 10;
/// A machine's clock may be so much behind the cluster's when it borrows.
const CLOCK_BEHIND_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// Why a token does not count here and now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BorrowError {
    /// It is no token, or a part of one.
    #[error("this is not a borrow token: {0}")]
    Malformed(String),
    /// Its certificate is not that of a node of this cluster.
    #[error("the token was not signed by a node of this cluster: {0}")]
    Foreign(String),
    /// It was altered after it was signed.
    #[error("the token was altered after it was signed")]
    Tampered,
    /// It is another machine's.
    #[error("the token is for host {named:?}, this is {here:?}")]
    OtherHost {
        /// The host in the token.
        named: String,
        /// This host.
        here: String,
    },
    /// Its time is over.
    #[error("the borrowed seats were due back {ago_ms} ms ago")]
    Over {
        /// For how long, ms.
        ago_ms: u64,
    },
    /// The clock of this machine is more than a day before the borrowing.
    #[error("this machine's clock is {behind_ms} ms before the time of borrowing; set it right")]
    ClockSetBack {
        /// By how much, ms.
        behind_ms: u64,
    },
}

/// The machine and the moment at which a token is looked at.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// This host's name.
    pub host: String,
    /// This host's ids, as `TYPE:value`; a token that names some wants one of
    /// them.
    pub hostids: Vec<String>,
    /// Now, ms since 1970 UTC.
    pub now_ms: u64,
}

/// Signs terms as the node that `identity` shows, and writes the token.
///
/// # Errors
///
/// The key cannot sign with ECDSA on P-256, as the keys of `triad init` can.
pub fn seal(terms: &BorrowTerms, identity: &Identity) -> Result<String, TlsError> {
    let terms = terms.encode_to_vec();
    let signature = identity.sign(SignatureScheme::ECDSA_NISTP256_SHA256, &signed(&terms))?;
    let certificate = identity.certificate().to_vec();
    let bytes = BorrowToken { terms, signature, certificate }.encode_to_vec();
    let mut text = format!("{BEGIN}\n");
    let encoded = BASE64.encode(bytes);
    for line in encoded.as_bytes().chunks(LINE_CHARACTERS) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text.push_str(END);
    text.push('\n');
    Ok(text)
}

/// What a token says, believed or not.
///
/// # Errors
///
/// [`BorrowError::Malformed`].
pub fn look_into(text: &str) -> Result<BorrowTerms, BorrowError> {
    Ok(read(text)?.1)
}

/// What a token says, if it counts here and now. `ca_pem` is the cluster's
/// authority.
///
/// # Errors
///
/// See [`BorrowError`].
pub fn verify(text: &str, ca_pem: &[u8], here: &Here) -> Result<BorrowTerms, BorrowError> {
    let (token, terms) = read(text)?;
    let foreign = |error: &dyn std::fmt::Display| BorrowError::Foreign(error.to_string());
    let certificate = CertificateDer::from(token.certificate.as_slice());
    // The certificate must have been good when it signed; it may run out before
    // the seats are due.
    let signed_at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(terms.from_ms));
    certificate_is_a_nodes(&certificate, ca_pem, signed_at).map_err(|error| foreign(&error))?;
    let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| foreign(&error))?;
    let key = &parsed.tbs_certificate.subject_pki.subject_public_key.data;
    let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let ours = algorithms.iter().find(|algorithm| {
        algorithm.public_key_alg_id() == ECDSA_P256 && algorithm.signature_alg_id() == ECDSA_SHA256
    });
    ours.ok_or(BorrowError::Tampered)?
        .verify_signature(key, &signed(&token.terms), &token.signature)
        .map_err(|_| BorrowError::Tampered)?;
    is_here(&terms, here)?;
    if here.now_ms >= terms.until_ms {
        return Err(BorrowError::Over { ago_ms: here.now_ms - terms.until_ms });
    }
    let behind_ms = terms.from_ms.saturating_sub(here.now_ms);
    if behind_ms > CLOCK_BEHIND_MAX_MS {
        return Err(BorrowError::ClockSetBack { behind_ms });
    }
    Ok(terms)
}

fn is_here(terms: &BorrowTerms, here: &Here) -> Result<(), BorrowError> {
    let holder = terms.holder.clone().unwrap_or_default();
    let by_name = holder.host.eq_ignore_ascii_case(&here.host);
    let by_id = holder.hostids.is_empty()
        || holder.hostids.iter().any(|id| here.hostids.iter().any(|own| own == id));
    if by_name && by_id {
        return Ok(());
    }
    Err(BorrowError::OtherHost { named: holder.host, here: here.host.clone() })
}

fn read(text: &str) -> Result<(BorrowToken, BorrowTerms), BorrowError> {
    let malformed = |what: &dyn std::fmt::Display| BorrowError::Malformed(what.to_string());
    if text.len() > TOKEN_BYTES_MAX {
        return Err(malformed(&format_args!("it is longer than {TOKEN_BYTES_MAX} bytes")));
    }
    let (_, after) = text.split_once(BEGIN).ok_or_else(|| malformed(&"it has no beginning"))?;
    let (middle, _) = after.split_once(END).ok_or_else(|| malformed(&"it has no end"))?;
    let encoded: String = middle.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = BASE64.decode(encoded).map_err(|error| malformed(&error))?;
    let token = BorrowToken::decode(bytes.as_slice()).map_err(|error| malformed(&error))?;
    let terms = BorrowTerms::decode(token.terms.as_slice()).map_err(|error| malformed(&error))?;
    Ok((token, terms))
}

fn signed(terms: &[u8]) -> Vec<u8> {
    [DOMAIN, terms].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{Authority, UNIX_NOW};
    use crate::v1::Holder;

    const NOW_MS: u64 = UNIX_NOW * 1_000;
    const DAY_MS: u64 = 86_400_000;

    fn terms() -> BorrowTerms {
        let hostids = vec!["MACHINE_ID:1".to_owned()];
        let holder = Holder { host: "Laptop7".into(), hostids, ..Holder::default() };
        BorrowTerms {
            checkout_id: 7,
            holder: Some(holder),
            from_ms: NOW_MS,
            until_ms: NOW_MS + 3 * DAY_MS,
            ..BorrowTerms::default()
        }
    }

    fn here(now_ms: u64) -> Here {
        let hostids = vec!["ETHERNET:2".into(), "MACHINE_ID:1".into()];
        Here { host: "laptop7".into(), hostids, now_ms }
    }

    #[test]
    fn a_token_counts_on_its_host_until_its_end() {
        let authority = Authority::new();
        let ca = authority.ca_pem.as_bytes();
        let token = seal(&terms(), &authority.node(1).identity()).expect("it signs");
        assert_eq!(verify(&token, ca, &here(NOW_MS + DAY_MS)), Ok(terms()));
        // Mail adds blanks and other line endings.
        let mailed = format!("Dear Ann,\r\n{}\r\nBob", token.replace('\n', " \r\n"));
        assert_eq!(verify(&mailed, ca, &here(NOW_MS)), Ok(terms()));
        let over = verify(&token, ca, &here(NOW_MS + 3 * DAY_MS + 5));
        assert_eq!(over, Err(BorrowError::Over { ago_ms: 5 }));
        let back = verify(&token, ca, &here(NOW_MS - 2 * DAY_MS));
        assert_eq!(back, Err(BorrowError::ClockSetBack { behind_ms: 2 * DAY_MS }));
        for other in [
            Here { host: "laptop8".into(), ..here(NOW_MS) },
            Here { hostids: vec!["MACHINE_ID:2".into()], ..here(NOW_MS) },
        ] {
            let elsewhere = verify(&token, ca, &other);
            assert!(matches!(elsewhere, Err(BorrowError::OtherHost { .. })), "{elsewhere:?}");
        }
    }

    #[test]
    fn a_certificate_may_run_out_after_it_signed() {
        let authority = Authority::new();
        let ca = authority.ca_pem.as_bytes();
        let long = BorrowTerms { until_ms: NOW_MS + 40_000 * DAY_MS, ..terms() };
        let token = seal(&long, &authority.node(1).identity()).expect("it signs");
        assert_eq!(verify(&token, ca, &here(NOW_MS + 39_000 * DAY_MS)), Ok(long));
    }

    #[test]
    fn foreign_altered_and_torn_tokens_do_not_count() {
        let (authority, foreign) = (Authority::new(), Authority::new());
        let ca = authority.ca_pem.as_bytes();
        let token = seal(&terms(), &authority.node(1).identity()).expect("it signs");
        let by_foreigner = seal(&terms(), &foreign.node(1).identity()).expect("it signs");
        let refused = verify(&by_foreigner, ca, &here(NOW_MS));
        assert!(matches!(refused, Err(BorrowError::Foreign(_))), "{refused:?}");
        let by_application = seal(&terms(), &authority.application("app").identity());
        let refused = verify(&by_application.expect("it signs"), ca, &here(NOW_MS));
        assert!(matches!(refused, Err(BorrowError::Foreign(_))), "{refused:?}");
        let (signed, _) = read(&token).expect("a token");
        for forged in [
            BorrowTerms { until_ms: NOW_MS + 9 * DAY_MS, ..terms() },
            BorrowTerms { checkout_id: 8, ..terms() },
        ] {
            let forged = BorrowToken { terms: forged.encode_to_vec(), ..signed.clone() };
            let text = format!("{BEGIN}{}{END}", BASE64.encode(forged.encode_to_vec()));
            assert_eq!(verify(&text, ca, &here(NOW_MS)), Err(BorrowError::Tampered));
        }
        for torn in ["", BEGIN, &token[..token.len() / 2], &token.replace('A', "?")] {
            let refused = verify(torn, ca, &here(NOW_MS));
            assert!(matches!(refused, Err(BorrowError::Malformed(_))), "{refused:?}");
        }
    }
}

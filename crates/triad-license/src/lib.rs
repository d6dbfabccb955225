//! License documents: what a publisher signs and a node verifies; and policy
//! documents: what a site's administrators lay down. No I/O and no clock: text,
//! keys, random bytes and `now_ms` arrive as arguments.
//!
//! A license is TOML that a person can check by eye, between two markers,
//! followed by one or more signatures:
//!
//! ```text
//! -----BEGIN TRIAD LICENSE-----
//! license = "acme-2026"
//! ...
//! -----SIGNATURE-----
//! 3f0c9a5be1d2a740 mRXv...
//! -----END TRIAD LICENSE-----
//! ```
//!
//! | who | does | with |
//! |---|---|---|
//! | the publisher | draws a key once | [`PublisherKey::generate`] |
//! | the publisher | writes TOML, or fills a [`Draft`], and signs it | [`issue`] |
//! | anybody | reads a document without trusting it | [`show`] |
//! | the publisher's desk | checks the signature alone | [`authenticate`] |
//! | a node | checks signature, binding and dates | [`verify`], [`check_own_host`] |
//! | the ledger | counts the seats | [`Verified::into_license`] |
//! | a server | asks the back office, reads its answer | [`CapabilityRequest`], [`SignedResponse`] |
//! | the back office | reads what is asked, answers | [`SignedRequest`], [`CapabilityResponse`] |
//! | anybody | compares two licenses | [`diff_licenses`] |
//! | an administrator | checks a policy, compares two | [`PolicyDocument`], [`diff_policies`] |
//! | an administrator | comes with an options file | [`import_options`] |
//! | a publisher | comes with a license file to sign anew | [`convert_license`] |
//!
//! # Invariants
//!
//! **Nothing is parsed before its signature was verified**, except by
//! [`show`], whose answer says so, and by [`issue`], whose input is the
//! publisher's own. A [`Verified`] is made by [`verify`] and nowhere else.
//!
//! **There is nothing to negotiate.** One signature scheme (Ed25519, verified
//! strictly), no algorithm field, a fixed domain prefix.
//!
//! **Every part has a bound**: [`DOCUMENT_BYTES_MAX`], [`SIGNATURES_MAX`],
//! [`KEYS_MAX`], [`POLICY_BYTES_MAX`], [`FOREIGN_BYTES_MAX`],
//! [`DIAGNOSTICS_MAX`], and `LINES_MAX` and `RULES_MAX` of the ledger.
//!
//! **What a policy says is independent of where it came from**: an options file
//! becomes the text of a policy, which is read like any other.

mod binding;
mod capability;
mod changes;
mod content;
mod dates;
mod diagnostic;
mod document;
mod draft;
mod error;
mod foreign;
mod hostid;
mod issue;
mod keys;
mod policy;
mod resolve;
mod show;
mod suggest;
mod terms;
mod verify;
mod written;

pub use binding::{Binding, HOSTIDS_PER_BINDING, Site};
pub use capability::{
    CapabilityRequest, CapabilityResponse, CurrentLicense, DeclaredRole, FeatureUsage, GroupMember,
    Operation, PARTNERS_MAX, RIGHTS_PER_REQUEST_MAX, RefusedRights, ResponseStatus, ServerKey,
    ServerPublicKey, SignedRequest, SignedResponse, USAGE_LINES_MAX, WantedRights, is_response,
    license_digest,
};
pub use changes::diff_licenses;
pub use content::{binding_of, failover_hours};
pub use dates::{Day, Zone};
pub use diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Severity};
pub use document::{DOCUMENT_BYTES_MAX, SIGNATURES_MAX, text_of};
pub use draft::{Draft, DraftFeature};
pub use error::LicenseError;
pub use foreign::{
    CLUSTER_TO_NAME, Conversion, Entry, FOREIGN_BYTES_MAX, FOREIGN_LINES_MAX, Fate, Import, Report,
    convert_license, import_options,
};
pub use hostid::{HostId, HostIdKind};
pub use issue::issue;
pub use keys::{KEYS_MAX, KeyId, Keyring, PublicKey, PublisherKey};
pub use policy::{POLICY_BYTES_MAX, PolicyDocument, diff_policies, render_policy, rule_in_words};
pub use show::{FeatureSummary, Standing, Summary, show};
pub use suggest::nearest;
pub use terms::terms_in_words;
pub use verify::{Authentic, Verified, authenticate, check_own_host, verify};

//! How a "no" travels: which gRPC status each reason is, how a refusal becomes
//! a status with typed details, and how a client reads it back. Both
//! directions stand here, side by side, and nowhere else.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::v1::{Reason, Refusal};

/// The domain of our `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "triad";

const REFUSAL_TYPE: &str = "type.googleapis.com/triad.v1.Refusal";
const ERROR_INFO_TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";
const QUOTA_FAILURE_TYPE: &str = "type.googleapis.com/google.rpc.QuotaFailure";
/// The longest message that goes into a status; HTTP/2 headers are bounded.
const MESSAGE_BYTES_MAX: usize = 1_024;

impl Reason {
    /// Every reason that can be sent.
    pub const ALL: [Reason; 53] = [
        Reason::NotLeader,
        Reason::NoQuorum,
        Reason::NotReady,
        Reason::Deadline,
        Reason::Overloaded,
        Reason::NodeUnreachable,
        Reason::NodeRemoved,
        Reason::FailoverOver,
        Reason::LicensesExhausted,
        Reason::FeatureUnknown,
        Reason::VersionNotLicensed,
        Reason::FeatureExpired,
        Reason::NotYetValid,
        Reason::CountExceedsTotal,
        Reason::Excluded,
        Reason::NotIncluded,
        Reason::PolicyMax,
        Reason::AllReserved,
        Reason::QueueNonempty,
        Reason::QueueTimedOut,
        Reason::Cancelled,
        Reason::Blocked,
        Reason::HostNotLicensed,
        Reason::NoNamedUsers,
        Reason::NotNamed,
        Reason::BorrowOff,
        Reason::BorrowNotAllowed,
        Reason::BorrowTooLong,
        Reason::BorrowLowwater,
        Reason::CheckoutUnknown,
        Reason::BorrowedAway,
        Reason::NotBorrowed,
        Reason::PolicySuperseded,
        Reason::PolicyMalformed,
        Reason::SessionUnknown,
        Reason::RequestForgotten,
        Reason::LimitReached,
        Reason::SessionTaken,
        Reason::InvalidRequest,
        Reason::NotAuthenticated,
        Reason::ProtocolVersion,
        Reason::WrongCluster,
        Reason::RoleNeeded,
        Reason::TokenUnknown,
        Reason::LastAdmin,
        Reason::LicenseMalformed,
        Reason::LicenseTampered,
        Reason::LicenseForeign,
        Reason::LicenseExpired,
        Reason::LicenseWronglyBound,
        Reason::LicenseSuperseded,
        Reason::Internal,
        Reason::Unspecified,
    ];

    /// The gRPC status code of this reason.
    pub fn code(self) -> Code {
        match self {
            Reason::NotLeader | Reason::NoQuorum | Reason::NotReady | Reason::NodeUnreachable => {
                Code::Unavailable
            }
            Reason::Deadline | Reason::QueueTimedOut => Code::DeadlineExceeded,
            Reason::Cancelled => Code::Cancelled,
            Reason::Overloaded
            | Reason::LicensesExhausted
            | Reason::PolicyMax
            | Reason::AllReserved
            | Reason::QueueNonempty
            | Reason::BorrowLowwater
            | Reason::LimitReached => Code::ResourceExhausted,
            Reason::FeatureUnknown
            | Reason::SessionUnknown
            | Reason::CheckoutUnknown
            | Reason::TokenUnknown => Code::NotFound,
            Reason::Excluded
            | Reason::NotIncluded
            | Reason::NotNamed
            | Reason::RoleNeeded
            | Reason::BorrowNotAllowed => Code::PermissionDenied,
            Reason::VersionNotLicensed
            | Reason::FeatureExpired
            | Reason::NotYetValid
            | Reason::RequestForgotten
            | Reason::WrongCluster
            | Reason::LastAdmin
            | Reason::NodeRemoved
            | Reason::FailoverOver
            | Reason::LicenseTampered
            | Reason::LicenseForeign
            | Reason::LicenseExpired
            | Reason::LicenseWronglyBound
            | Reason::LicenseSuperseded
            | Reason::PolicySuperseded
            | Reason::Blocked
            | Reason::HostNotLicensed
            | Reason::NoNamedUsers
            | Reason::BorrowOff
            | Reason::BorrowedAway
            | Reason::NotBorrowed => Code::FailedPrecondition,
            Reason::CountExceedsTotal | Reason::BorrowTooLong => Code::OutOfRange,
            Reason::SessionTaken => Code::AlreadyExists,
            Reason::InvalidRequest | Reason::LicenseMalformed | Reason::PolicyMalformed => {
                Code::InvalidArgument
            }
            Reason::NotAuthenticated => Code::Unauthenticated,
            Reason::ProtocolVersion => Code::Unimplemented,
            Reason::Internal => Code::Internal,
            Reason::Unspecified => Code::Unknown,
        }
    }

    /// The number that people quote: `TRD-2001`.
    pub fn trd_code(self) -> String {
        format!("TRD-{:04}", self as i32)
    }

    /// The reason without the prefix of the enum: `LICENSES_EXHAUSTED`.
    pub fn name(self) -> &'static str {
        self.as_str_name().trim_start_matches("REASON_")
    }
}

impl Refusal {
    /// A refusal with a reason and a sentence.
    pub fn because(reason: Reason, message: impl Into<String>) -> Self {
        Refusal { reason: reason.into(), message: message.into(), ..Refusal::default() }
    }

    /// The same with what to do about it.
    pub fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Refusal { remedy: remedy.into(), ..self }
    }

    /// The same, worth another try after `after`.
    pub fn retry_after(self, after: Duration) -> Self {
        Refusal { retryable: true, retry_after_ms: after.as_millis() as u64, ..self }
    }

    /// This refusal as a status, with the standard details for clients that
    /// know nothing of Triad and ours for those that do.
    pub fn into_status(self) -> Status {
        let reason = self.reason();
        let info = pb::ErrorInfo {
            reason: reason.name().to_owned(),
            domain: ERROR_DOMAIN.to_owned(),
            metadata: self.metadata(),
        };
        let mut details = vec![detail(ERROR_INFO_TYPE, &info)];
        if self.retryable {
            let delay = Duration::from_millis(self.retry_after_ms);
            let retry_delay = prost_types::Duration::try_from(delay).ok();
            details.push(detail(RETRY_INFO_TYPE, &pb::RetryInfo { retry_delay }));
        }
        if reason.code() == Code::ResourceExhausted && !self.feature.is_empty() {
            let violation = pb::quota_failure::Violation {
                subject: format!("feature:{}", self.feature),
                description: self.message.clone(),
                ..Default::default()
            };
            let quota = pb::QuotaFailure { violations: vec![violation] };
            details.push(detail(QUOTA_FAILURE_TYPE, &quota));
        }
        let mut message = self.message.clone();
        if !self.remedy.is_empty() {
            message = format!("{message}; {}", self.remedy);
        }
        truncate(&mut message, MESSAGE_BYTES_MAX);
        details.push(detail(REFUSAL_TYPE, &self));
        let code = reason.code();
        let status = pb::Status { code: code as i32, message: message.clone(), details };
        Status::with_details(code, message, status.encode_to_vec().into())
    }

    /// The refusal that a status carries; `None` if it is not from our services
    /// but from the transport, or from a proxy.
    pub fn typed(status: &Status) -> Option<Self> {
        let decoded = pb::Status::decode(status.details()).ok()?;
        let ours = decoded.details.into_iter().find(|any| any.type_url == REFUSAL_TYPE)?;
        Refusal::decode(ours.value.as_slice()).ok()
    }

    /// The refusal that a status carries, or what the bare status amounts to.
    pub fn from_status(status: &Status) -> Self {
        Self::typed(status).unwrap_or_else(|| {
            let (reason, retryable) = match status.code() {
                Code::Unavailable | Code::Cancelled | Code::Unknown => {
                    (Reason::NodeUnreachable, true)
                }
                Code::DeadlineExceeded => (Reason::Deadline, true),
                Code::ResourceExhausted => (Reason::Overloaded, true),
                Code::Unimplemented => (Reason::ProtocolVersion, false),
                Code::InvalidArgument | Code::OutOfRange => (Reason::InvalidRequest, false),
                _ => (Reason::Internal, false),
            };
            Refusal { retryable, ..Refusal::because(reason, status.message()) }
        })
    }

    fn metadata(&self) -> HashMap<String, String> {
        let fields = [
            ("feature", self.feature.clone()),
            ("leader", self.leader_address.clone()),
            ("version_licensed", self.version_licensed.clone()),
        ];
        let numbers = [
            ("seats_in_use", self.seats_in_use),
            ("seats_total", self.seats_total),
            ("seats_wanted", self.seats_wanted),
        ];
        let numbers = numbers.into_iter().filter(|(_, number)| *number > 0);
        let numbers = numbers.map(|(name, number)| (name.to_owned(), number.to_string()));
        let fields = fields.into_iter().filter(|(_, text)| !text.is_empty());
        fields.map(|(name, text)| (name.to_owned(), text)).chain(numbers).collect()
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        refusal.into_status()
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

fn detail(type_url: &str, message: &impl Message) -> prost_types::Any {
    prost_types::Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        let end = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_makes_the_trip_and_back() {
        for reason in Reason::ALL {
            let sent = Refusal {
                feature: "solver".into(),
                seats_in_use: 40,
                seats_total: 40,
                seats_wanted: 1,
                ..Refusal::because(reason, "no seat free")
            }
            .with_remedy("wait")
            .retry_after(Duration::from_millis(250));
            let status = sent.clone().into_status();
            assert_eq!(status.code(), reason.code(), "{reason:?}");
            assert_eq!(Refusal::from_status(&status), sent, "{reason:?}");
        }
    }

    #[test]
    fn all_means_all() {
        // Enum values are sparse; walk far enough to meet every one.
        let known = (0..10_000).filter_map(|n| Reason::try_from(n).ok());
        let mut known: Vec<_> = known.collect();
        let mut all = Reason::ALL.to_vec();
        known.sort_by_key(|reason| *reason as i32);
        all.sort_by_key(|reason| *reason as i32);
        assert_eq!(known, all);
    }

    #[test]
    fn a_bare_status_is_understood() {
        let refusal = Refusal::from_status(&Status::unavailable("connection refused"));
        assert_eq!(Refusal::typed(&Status::unavailable("connection refused")), None);
        assert_eq!(refusal.reason(), Reason::NodeUnreachable);
        assert!(refusal.retryable);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = Refusal::because(Reason::Internal, "ü".repeat(5_000)).into_status();
        assert!(status.message().len() <= MESSAGE_BYTES_MAX);
    }
}

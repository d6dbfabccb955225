//! Host ids: what a machine is known by, spelled one way only.

use std::fmt;

use triad_ledger::names::Label;

use crate::error::{LicenseError, printable};

/// What kind of thing identifies the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostIdKind {
    /// A network card's address: 12 hexadecimal digits.
    Ethernet,
    /// The operating system's installation id, such as `/etc/machine-id`.
    MachineId,
    /// The id that a hypervisor gave the virtual machine.
    VmUuid,
    /// The name of the host.
    Hostname,
    /// Any text that publisher and site have agreed on.
    String,
}

impl HostIdKind {
    const ALL: [HostIdKind; 5] =
        [Self::Ethernet, Self::MachineId, Self::VmUuid, Self::Hostname, Self::String];

    /// As it is written before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ethernet => "ETHERNET",
            Self::MachineId => "MACHINE_ID",
            Self::VmUuid => "VM_UUID",
            Self::Hostname => "HOSTNAME",
            Self::String => "STRING",
        }
    }
}

/// A typed host id such as `ETHERNET:001122334455`. Two that mean the same
/// machine are equal: case and separators are normalised when it is read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId {
    kind: HostIdKind,
    value: String,
}

impl HostId {
    /// Reads `TYPE:value`.
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        Self::checked(text).map_err(|what| {
            let beginning: String = printable(text).chars().take(80).collect();
            LicenseError::HostId { text: beginning, what }
        })
    }

    fn checked(text: &str) -> Result<Self, &'static str> {
        let (kind, value) = text.split_once(':').ok_or("write TYPE:value")?;
        let kind = HostIdKind::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(kind.trim()))
            .ok_or("the type is one of ETHERNET, MACHINE_ID, VM_UUID, HOSTNAME, STRING")?;
        let value = value.trim();
        let value = match kind {
            HostIdKind::Ethernet => hex(value, &[':', '-', '.'], 12..=12)
                .ok_or("an ETHERNET address has 12 hexadecimal digits, not all 0 or all F")?,
            HostIdKind::MachineId => hex(value, &['-'], 8..=64)
                .ok_or("a MACHINE_ID has 8 to 64 hexadecimal digits, not all 0 or all F")?,
            HostIdKind::VmUuid => {
                let digits = hex(value, &['-'], 32..=32)
                    .ok_or("a VM_UUID has 32 hexadecimal digits, not all 0 or all F")?;
                let [a, b, c, d, e] = [0..8, 8..12, 12..16, 16..20, 20..32].map(|r| &digits[r]);
                format!("{a}-{b}-{c}-{d}-{e}")
            }
            HostIdKind::Hostname => hostname(value)
                .ok_or("a HOSTNAME has 1 to 253 letters, digits, '-', '_' and '.'")?,
            HostIdKind::String => Label::parse(value)
                .ok()
                .filter(|label| !label.as_str().is_empty())
                .ok_or("a STRING has 1 to 256 bytes and no control characters")?
                .to_string(),
        };
        Ok(HostId { kind, value })
    }

    /// What kind of id it is.
    pub fn kind(&self) -> HostIdKind {
        self.kind
    }

    /// The part after the colon, normalised.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The digits in lower case without `separators`. All zeros and all ones are
/// what broken firmware reports; they identify nobody.
fn hex(text: &str, separators: &[char], count: std::ops::RangeInclusive<usize>) -> Option<String> {
    let digits: String =
        text.chars().filter(|c| !separators.contains(c)).take(count.end() + 1).collect();
    let digits = digits.to_ascii_lowercase();
    let identifies = !digits.bytes().all(|b| b == b'0') && !digits.bytes().all(|b| b == b'f');
    let good = digits.bytes().all(|b| b.is_ascii_hexdigit()) && count.contains(&digits.len());
    (good && identifies).then_some(digits)
}

fn hostname(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    ((1..=253).contains(&name.len()) && name.bytes().all(good)).then(|| name.to_ascii_lowercase())
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_machine_are_equal() {
        let table = [
            ("ETHERNET:00:1A:2B:3C:4D:5E", "ETHERNET:001a2b3c4d5e"),
            ("ethernet:001a-2b3c-4d5e", "ETHERNET:001a2b3c4d5e"),
            (
                "MACHINE_ID:0123456789ABCDEF0123456789abcdef",
                "MACHINE_ID:0123456789abcdef0123456789abcdef",
            ),
            (
                "VM_UUID:564D1234567812345678123456781234",
                "VM_UUID:564d1234-5678-1234-5678-123456781234",
            ),
            ("HOSTNAME:Lic-A.Example.COM.", "HOSTNAME:lic-a.example.com"),
            ("STRING: Rack 7 ", "STRING:Rack 7"),
        ];
        for (written, normal) in table {
            let id = HostId::parse(written).expect(written);
            assert_eq!(id.to_string(), normal);
            assert_eq!(HostId::parse(normal), Ok(id), "what is printed can be read");
        }
    }

    #[test]
    fn what_identifies_nobody_is_refused() {
        for text in [
            "",
            "ETHERNET",
            "ETHERNET:",
            "ETHERNET:00112233445",
            "ETHERNET:0011223344556",
            "ETHERNET:00112233445g",
            "ETHERNET:000000000000",
            "ETHERNET:ff-ff-ff-ff-ff-ff",
            "ANY:1",
            "MACHINE_ID:",
            "VM_UUID:1234",
            "HOSTNAME:",
            "HOSTNAME:a b",
            "STRING:",
            "STRING:a\nb",
        ] {
            assert!(matches!(HostId::parse(text), Err(LicenseError::HostId { .. })), "{text:?}");
        }
    }
}

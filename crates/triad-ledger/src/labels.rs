//! Labels that many holders have in common are kept once.

use alloc::vec::Vec;

use crate::command::Holder;
use crate::names::Label;

/// How many labels are remembered. A site has few applications, and the sessions of one
/// host or user often come one after another.
const SLOTS: usize = 256;

/// The labels that were met last, each in the slot that its text says. Nothing follows from
/// them but what memory they take.
#[derive(Clone, Debug, Default)]
pub(crate) struct KnownLabels(Vec<Label>);

impl KnownLabels {
    /// Makes the holder's labels those that are known, where they are the same.
    pub(crate) fn share(&mut self, holder: &mut Holder) {
        let Holder { user, host, display, project, application, vendor_data, .. } = holder;
        for label in [user, host, display, project, application, vendor_data] {
            self.share_one(label);
        }
        holder.hostids.iter_mut().for_each(|label| self.share_one(label));
    }

    fn share_one(&mut self, label: &mut Label) {
        // That takes no memory anyway.
        if label.as_str().is_empty() {
            return;
        }
        self.0.resize(SLOTS, Label::default());
        let known = &mut self.0[slot(label.as_str())];
        if known != label {
            known.clone_from(label);
        }
        label.clone_from(known);
    }
}

/// FNV-1a: whoever makes labels meet in one slot makes them be kept twice.
fn slot(text: &str) -> usize {
    let step = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    fn is_one(label: &Label, other: &Label) -> bool {
        core::ptr::eq(label.as_str(), other.as_str())
    }

    #[test]
    fn equal_labels_of_many_holders_are_one() {
        let label = |text: &str| Label::parse(text).expect("good");
        let holder = |n: u32| Holder {
            user: label(&format!("user{n}")),
            application: label("solver"),
            hostids: [label("ETHERNET:02005e000001")].into(),
            ..Holder::default()
        };
        let mut known = KnownLabels::default();
        let [mut ann, mut ben] = [holder(1), holder(2)];
        known.share(&mut ann);
        known.share(&mut ben);
        assert_eq!((&ann, &ben), (&holder(1), &holder(2)), "they say what they said");
        assert!(is_one(&ann.application, &ben.application));
        assert!(is_one(&ann.hostids[0], &ben.hostids[0]));
        // However many others come, they take the same room and say the same.
        for n in 3..3_000 {
            let mut other = holder(n);
            known.share(&mut other);
            assert_eq!(other, holder(n));
        }
        assert_eq!(known.0.len(), SLOTS);
    }
}

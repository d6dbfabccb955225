//! Packages and upgrades: what they make of the lines of their document,
//! before it reaches the ledger.

use triad_ledger::names::{FeatureName, Seats, Version};
use triad_ledger::rights::{LINES_MAX, Share, TokenCost};

use crate::content::Feature;
use crate::dates::Day;

/// The most components of one package.
pub(crate) const COMPONENTS_MAX: usize = 1_000;

/// One `[[package]]`: a name under which several features are sold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: FeatureName,
    pub(crate) version: Version,
    /// Whoever uses any of the components uses one seat of the package.
    pub(crate) suite: bool,
    pub(crate) components: Vec<Component>,
}

/// One feature of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) feature: FeatureName,
    pub(crate) version: Version,
    /// Seats of it for each seat of the package.
    pub(crate) seats: Seats,
}

/// One `[[upgrade]]`: seats that get a higher version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    pub(crate) feature: FeatureName,
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) seats: Seats,
    pub(crate) start: Option<Day>,
    pub(crate) starts_ms: Option<u64>,
    pub(crate) expires: Option<Day>,
    pub(crate) expires_ms: Option<u64>,
}

/// Why a package or an upgrade means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// No line before it has such seats.
    NothingToUpgrade,
    /// Fewer seats than are to be upgraded.
    TooFewToUpgrade { found: u32 },
    /// No line has the name and version of the package.
    PackageNotSold,
    /// A component would be a package.
    Nested,
    /// More lines than a license may have.
    TooManyLines,
    /// More seats than can be counted.
    TooManySeats,
}

/// Takes `upgrade.seats` seats from the closest line before that has an older
/// version to upgrade, and adds them as the newer version. It takes all of them
/// or is refused: the publisher wrote a number, and a smaller one would be a
/// mistake that nobody sees.
pub(crate) fn upgrade(before: &mut Vec<Feature>, upgrade: &Upgrade) -> Result<(), Unresolved> {
    let old = |feature: &Feature| {
        let line = &feature.line;
        line.feature == upgrade.feature
            && !line.terms.uncounted
            && (upgrade.from..upgrade.to).contains(&line.version)
    };
    let place = before.iter().rposition(old).ok_or(Unresolved::NothingToUpgrade)?;
    let seats = upgrade.seats.get();
    let older = &mut before[place];
    if older.line.seats < seats {
        return Err(Unresolved::TooFewToUpgrade { found: older.line.seats });
    }
    let mut newer = older.clone();
    older.line.seats -= seats;
    newer.line.version = upgrade.to;
    newer.line.seats = seats;
    newer.line.overdraft = 0;
    (newer.start, newer.line.starts_ms) = (upgrade.start, upgrade.starts_ms);
    (newer.expires, newer.line.expires_ms) = (upgrade.expires, upgrade.expires_ms);
    if older.line.seats == 0 {
        // Nothing is left of it but an overdraft, which is of something.
        before.remove(place);
    }
    before.push(newer);
    Ok(())
}

/// Puts the components of a package beside the lines that sell it. Without
/// suite the line itself goes: it licenses nothing but its components. As a
/// suite it stays, as the token that its components share.
pub(crate) fn unpack(features: &mut Vec<Feature>, package: &Package) -> Result<(), Unresolved> {
    if package.components.iter().any(|component| component.feature == package.name) {
        return Err(Unresolved::Nested);
    }
    let sells = |feature: &Feature| {
        feature.line.feature == package.name && feature.line.version == package.version
    };
    let mut sold = Vec::new();
    let mut unpacked = Vec::with_capacity(features.len());
    for mut feature in std::mem::take(features) {
        if !sells(&feature) {
            unpacked.push(feature);
            continue;
        }
        sold.push(feature.clone());
        if package.suite {
            if feature.line.terms.share == Share::NOTHING {
                feature.line.terms.share = Share::USER.and(Share::HOST).and(Share::DISPLAY);
            }
            unpacked.push(feature);
        }
    }
    if sold.is_empty() {
        return Err(Unresolved::PackageNotSold);
    }
    if unpacked.len() + sold.len() * package.components.len() > LINES_MAX {
        return Err(Unresolved::TooManyLines);
    }
    for of in sold {
        for component in &package.components {
            let mut feature = of.clone();
            let line = &mut feature.line;
            line.feature = component.feature.clone();
            line.version = component.version;
            let times = |seats: u32| {
                seats.checked_mul(component.seats.get()).ok_or(Unresolved::TooManySeats)
            };
            line.seats = times(line.seats)?;
            line.overdraft = times(line.overdraft)?;
            if package.suite {
                line.terms.consumes = Some(TokenCost {
                    feature: package.name.clone(),
                    version: package.version,
                    tokens: Seats::MIN,
                });
            }
            unpacked.push(feature);
        }
    }
    *features = unpacked;
    Ok(())
}

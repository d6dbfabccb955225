//! `triad explain CODE`: what a code means, without asking a server.

use std::fmt::Write as _;

use serde_json::json;
use triad_proto::v1::Reason;

use crate::args::asking::ExplainArguments;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reasons::explanation;
use crate::settings::Settings;
use crate::table::{Column, Table};
use crate::why;

const MEANING: Column = Column::text("MEANING");

/// A name with more wrong letters is another name.
const MISSPELT_LETTERS_MAX: usize = 3;

/// Explains a code, or a feature for a holder, or lists all codes.
pub async fn run(settings: &Settings, arguments: &ExplainArguments) -> Result<Exit, Failure> {
    match (&arguments.topic, &arguments.feature) {
        (_, Some(feature)) => why::run(settings, feature, &arguments.asking, None).await,
        (Some(topic), None) if looks_like_a_code(topic) => code(settings, topic),
        (Some(topic), None) => why::run(settings, topic, &arguments.asking, None).await,
        (None, None) => {
            let all = sorted();
            settings.output.list(&as_json(&all), &rows(&all), || overview(&all))?;
            Ok(Exit::Ok)
        }
    }
}

fn code(settings: &Settings, code: &str) -> Result<Exit, Failure> {
    let reasons = reasons_of(code).map_err(|nearest| Failure::UnknownCode {
        code: code.chars().take(80).collect(),
        nearest,
    })?;
    settings.output.answer(&as_json(&reasons), || {
        let texts: Vec<_> = reasons.iter().map(|reason| as_text(*reason)).collect();
        texts.join("\n")
    })?;
    Ok(Exit::Ok)
}

/// Whether a word is meant as a code and not as a feature: a number, `TRD-` and
/// a number, or a reason in capitals, if need be misspelt. Features in capitals
/// are common, so a word that is like no reason is one.
pub fn looks_like_a_code(text: &str) -> bool {
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let number = upper.strip_prefix("TRD-").or(upper.strip_prefix('-')).unwrap_or(&upper);
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return true;
    }
    let name = text.strip_prefix("REASON_").unwrap_or(text);
    let is_loud = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    let misspelt = |reason: &Reason| {
        let letters = reason.name().len();
        distance(name, reason.name()) <= (letters / 4).min(MISSPELT_LETTERS_MAX)
    };
    is_loud && !name.is_empty() && Reason::ALL.iter().any(misspelt)
}

/// The reasons that a text names: one by code or name, perhaps several by a
/// FlexNet number. Otherwise the nearest name.
fn reasons_of(text: &str) -> Result<Vec<Reason>, &'static str> {
    let wanted = text.trim().to_ascii_uppercase().replace(['-', ' '], "_");
    let name = wanted.strip_prefix("REASON_").unwrap_or(&wanted);
    let digits = wanted.strip_prefix("TRD_").unwrap_or(&wanted);
    let all = sorted();
    let named = all
        .iter()
        .copied()
        .find(|reason| name == reason.name() || digits.parse() == Ok(*reason as i32));
    if let Some(reason) = named {
        return Ok(vec![reason]);
    }
    let flexnet = text.trim().parse::<i32>().ok().filter(|number| *number < 0);
    let known = |reason: &Reason| {
        flexnet.is_some_and(|number| explanation(*reason).flexnet.contains(&number))
    };
    let found: Vec<_> = all.iter().copied().filter(known).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    if digits.trim_start_matches('_').bytes().all(|byte| byte.is_ascii_digit()) {
        // A number is like no other.
        return Err("");
    }
    let nearest = all.into_iter().min_by_key(|reason| distance(name, reason.name()));
    Err(nearest.map_or("", Reason::name))
}

fn sorted() -> Vec<Reason> {
    let mut all = Reason::ALL.to_vec();
    all.sort_by_key(|reason| *reason as i32);
    all
}

fn as_json(reasons: &[Reason]) -> serde_json::Value {
    json!({ "reasons": rows(reasons) })
}

fn rows(reasons: &[Reason]) -> Vec<serde_json::Value> {
    let one = |reason: &Reason| {
        let explanation = explanation(*reason);
        json!({
            "code": reason.trd_code(),
            "name": reason.name(),
            "flexnet": explanation.flexnet,
            "meaning": explanation.meaning,
            "remedy": explanation.remedy,
        })
    };
    reasons.iter().map(one).collect()
}

fn as_text(reason: Reason) -> String {
    let explanation = explanation(reason);
    let mut text = format!("{} {}", reason.trd_code(), reason.name());
    if !explanation.flexnet.is_empty() {
        let _ = write!(text, " (FlexNet {})", numbers(explanation.flexnet));
    }
    let _ = write!(text, "\n\n  {}\n\n  What to do: {}\n", explanation.meaning, explanation.remedy);
    text
}

fn overview(reasons: &[Reason]) -> Table {
    let columns =
        [Column::text("CODE"), Column::text("NAME"), Column::text("FLEXNET"), MEANING.wide()];
    let mut table = Table::new(&columns);
    for reason in reasons {
        let explanation = explanation(*reason);
        table.add([
            reason.trd_code().into(),
            reason.name().into(),
            numbers(explanation.flexnet).into(),
            explanation.meaning.into(),
        ]);
    }
    table
}

fn numbers(flexnet: &[i32]) -> String {
    flexnet.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

/// How many letters must be added, removed or changed (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    // A name has a few dozen letters; longer text is like none of them.
    for (index, letter) in from.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_found_by_each_of_its_names() {
        for reason in Reason::ALL {
            let number = (reason as i32).to_string();
            let spellings = [
                reason.trd_code(),
                reason.trd_code().to_lowercase(),
                reason.name().to_owned(),
                reason.as_str_name().to_owned(),
                reason.name().to_lowercase().replace('_', "-"),
                number,
            ];
            for spelling in spellings {
                assert_eq!(reasons_of(&spelling), Ok(vec![reason]), "{spelling}");
            }
            for number in explanation(reason).flexnet {
                assert!(reasons_of(&number.to_string()).unwrap().contains(&reason), "{number}");
            }
        }
    }

    #[test]
    fn every_explanation_is_sentences() {
        for reason in Reason::ALL {
            let explanation = explanation(reason);
            for text in [explanation.meaning, explanation.remedy] {
                assert!(text.ends_with('.') && text.len() > 20, "{reason:?}: {text}");
                assert!(!text.contains("  "), "{reason:?}: {text}");
            }
        }
    }

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        for (text, nearest) in [
            ("LICENCES_EXHAUSTED", "LICENSES_EXHAUSTED"),
            ("no_qorum", "NO_QUORUM"),
            ("feature-unknwon", "FEATURE_UNKNOWN"),
        ] {
            assert_eq!(reasons_of(text), Err(nearest), "{text}");
        }
        assert!(reasons_of("").is_err() && reasons_of("-99999").is_err());
        assert!(reasons_of(&"x".repeat(100_000)).is_err());
    }

    #[test]
    fn codes_and_features_are_told_apart() {
        for reason in Reason::ALL {
            for spelling in [reason.trd_code(), reason.name().into(), reason.as_str_name().into()] {
                assert!(looks_like_a_code(&spelling), "{spelling}");
            }
        }
        for code in ["2001", "-4", "trd-2001", "TRD-9999", "NO_QORUM", "LICENCES_EXHAUSTED"] {
            assert!(looks_like_a_code(code), "{code}");
        }
        for feature in
            ["solver", "SOLVER", "MATLAB", "excluded", "no_quorum", "2001a", "f-2001", "", "TRD-"]
        {
            assert!(!looks_like_a_code(feature), "{feature}");
        }
    }

    #[test]
    fn one_flexnet_number_may_mean_several_things() {
        assert_eq!(reasons_of("-10"), Ok(vec![Reason::FeatureExpired, Reason::LicenseExpired]));
    }
}

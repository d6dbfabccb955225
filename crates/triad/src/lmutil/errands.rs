//! The smaller tools: why not, take back, read again, who am I.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use triad_license::HostIdKind;
use triad_proto::v1::{
    CheckoutInfo, ExplainRequest, Holder, Item, Pool, PoolState, Reason, Refusal,
    RevokeCheckoutRequest, StatusRequest, StatusResponse,
};
use triad_server::hostids::of_this_machine;

use crate::checkouts::{all_checkouts, is_away};
use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::{all_features, all_licenses, holder};
use crate::myself;
use crate::reasons::explanation;
use crate::settings::Settings;
use crate::text::FIRST_DAY_ON_MS;
use crate::verdict::{Level, best_view, statuses, verdict};

use super::lmstat::{
    NO_SUCH_FEATURE, VENDOR_DOWN, answers_of, day, expiry, first_of, handle, is_server, servers,
};
use super::plain;
use super::typed::Typed;

/// `lmdiag`: whether this user on this host would be granted a feature, or each.
pub async fn diagnose(settings: &Settings, typed: &Typed) -> Result<Exit, Failure> {
    let only = typed.words.first().cloned().unwrap_or_default();
    let mut cluster = Cluster::new(settings)?;
    let answers = answers_of(&mut cluster).await?;
    let state = verdict(&answers);
    let heard = statuses(&answers);
    let servers = best_view(&heard).map_or_else(Vec::new, |view| servers(view, &heard));
    let server = first_of(&servers).map_or("unknown", |server| &server.host);
    let read = cluster
        .read(async |admin: &mut Admin| {
            let mut pools = all_features(admin, &only).await?.pools;
            // What no license names any more is only there for those who still hold it.
            pools.retain(|pool| pool.state() != PoolState::Withdrawn);
            let mut answers = Vec::new();
            for pool in pools {
                let item = Item { feature: pool.feature.clone(), version: String::new(), seats: 1 };
                let me = Holder { user: myself::user(), host: myself::host(), ..Holder::default() };
                let request = ExplainRequest {
                    holder: Some(me),
                    item: Some(item),
                    ..ExplainRequest::default()
                };
                answers.push((pool, admin.explain(request).await?.into_inner().denial));
            }
            Ok(answers)
        })
        .await?;
    if read.answer.is_empty() {
        let only = plain::line(&only);
        settings.output.text(&format!(
            "No licenses for {only}: No such feature exists. ({NO_SUCH_FEATURE})\n"
        ))?;
        return Ok(Exit::lmutil(NO_SUCH_FEATURE));
    }
    let mut text = String::new();
    for (pool, denial) in &read.answer {
        // What a node without a quorum would grant, it does not grant.
        let why = match (state.level, denial) {
            (Level::NoQuorum, _) => {
                let state = plain::line(&state.sentence);
                Some(format!("The desired vendor daemon is down. {state} ({VENDOR_DOWN})"))
            }
            // Another line of the feature may serve, and this one does not.
            (_, None) if pool.state() == PoolState::Expired => {
                Some(numbered("this line has expired", Reason::FeatureExpired))
            }
            (_, None) if pool.state() == PoolState::NotYetValid => {
                Some(numbered("this line is not valid yet", Reason::NotYetValid))
            }
            (_, Some(denial)) => Some(numbered(&denial.message, denial.reason())),
            (_, None) => None,
        };
        text.push_str(&diagnosis(pool, server, why.as_deref()));
    }
    settings.output.text(&text)?;
    // The question was answered, whatever the answer.
    Ok(Exit::Ok)
}

/// Why, with the number that the tools have for it.
fn numbered(why: &str, reason: Reason) -> String {
    let number = explanation(reason).flexnet.first().copied().unwrap_or(-1);
    format!("{} ({number})", plain::line(why))
}

/// What is said of one line of a license, and why it is of no use, if it is not.
fn diagnosis(pool: &Pool, server: &str, why: Option<&str>) -> String {
    let (feature, version) = (&pool.feature, plain::version(&pool.version));
    let (vendor, expiry) = (plain::vendor(&pool.publisher), expiry(pool));
    let kind = if pool.uncounted { "uncounted nodelocked" } else { "floating" };
    // A license that always was in force begins on this day, for such readers.
    let starts = if pool.starts_ms == 0 {
        "1-jan-1990".to_owned()
    } else {
        day(pool.starts_ms.saturating_add(FIRST_DAY_ON_MS))
    };
    let expires = match pool.expires_ms {
        0 => "no expiration date".to_owned(),
        _ => format!("expires: {expiry}"),
    };
    let verdict = match why {
        None => "This license can be checked out\n".to_owned(),
        Some(why) => format!("This license cannot be checked out because:\n{why}\n"),
    };
    format!(
        "\"{feature}\" v{version}, vendor: {vendor}, expiry: {expiry}\nLicense server: {server}\n\
         {kind} license  starts: {starts},   {expires}\n\n{verdict}\n"
    )
}

/// `lmremove`: takes checkouts back. It does not ask; the tools never did.
pub async fn remove(settings: &Settings, typed: &Typed) -> Result<Exit, Failure> {
    let words: Vec<&str> = typed.words.iter().map(String::as_str).collect();
    let [feature, a, b, c] = words.as_slice() else {
        return Err(Failure::Usage {
            what: "lmremove needs four words".to_owned(),
            remedy: "lmremove FEATURE USER HOST DISPLAY, or lmremove -h FEATURE SERVER PORT HANDLE"
                .to_owned(),
        });
    };
    let by_handle = typed.has("h").then(|| c.parse::<u32>().ok());
    let refused = |message: String, remedy: &str| {
        let refusal = Refusal::because(Reason::CheckoutUnknown, message).with_remedy(remedy);
        Err(Failure::refused(refusal))
    };
    let meant = |checkout: &CheckoutInfo| match by_handle {
        Some(wanted) => Some(handle(checkout.checkout_id)) == wanted,
        None => {
            let who = holder(checkout.holder.as_ref());
            // As lmstat shows them, or as they are.
            let same = |word: &str, shown: String, name: &str| word == shown || word == name;
            same(a, plain::user(&who.user), &who.user)
                && same(b, plain::host(&who.host), &who.host)
                && same(c, plain::display(&who.display), &who.display)
        }
    };
    let mut cluster = Cluster::new(settings)?;
    let read = cluster
        .read(async |admin: &mut Admin| {
            let view: StatusResponse = admin.status(StatusRequest {}).await?.into_inner();
            Ok((view, all_checkouts(admin, feature).await?.checkouts))
        })
        .await?;
    let (view, checkouts) = read.answer;
    if by_handle.is_some() && !is_server(&view, a, b) {
        let message = format!("{}:{} is no server of this cluster", plain::line(a), plain::line(b));
        return refused(message, "server and port stand before the handle in `lmstat -f`");
    }
    let found: Vec<&CheckoutInfo> = checkouts.iter().filter(|checkout| meant(checkout)).collect();
    if found.is_empty() {
        let message = format!("nobody like that holds {}", plain::line(feature));
        return refused(message, "`lmstat -f` shows who does");
    }
    if let Some(all) = ambiguous(&found, by_handle.is_some()) {
        return Err(Failure::Usage {
            what: format!("that may be any of the checkouts {all}, and none was taken back"),
            remedy: "say which: `triad checkouts` shows them as they are, `triad checkouts revoke \
                     NUMBER` takes one back"
                .to_owned(),
        });
    }
    if let Some(away) = found.iter().find(|checkout| is_away(checkout.state())) {
        let message = format!("checkout {} is borrowed", away.checkout_id);
        return Err(Failure::refused(Refusal::because(Reason::BorrowedAway, message)));
    }
    let mut text = String::new();
    for checkout in found {
        let request = RevokeCheckoutRequest {
            checkout_id: checkout.checkout_id,
            reason: "lmremove".to_owned(),
            block_ms: 0,
        };
        cluster.begin_anew();
        cluster
            .write(async |admin: &mut Admin| {
                Ok(admin.revoke_checkout(request.clone()).await?.into_inner())
            })
            .await?;
        let who = holder(checkout.holder.as_ref());
        let (user, host) = (plain::user(&who.user), plain::host(&who.host));
        let _ = writeln!(text, "{feature} was taken back from {user} {host}");
    }
    settings.output.text(&text)?;
    Ok(Exit::Ok)
}

/// The numbers of the checkouts, where it is not plain that all of them are meant.
/// Names that cannot be shown as they are may be shown like others, and handles
/// begin again after four billion; all that one holder has by the words given are
/// meant together, as by the tool that this one stands for.
fn ambiguous(found: &[&CheckoutInfo], by_handle: bool) -> Option<String> {
    let holders: BTreeSet<_> = found
        .iter()
        .map(|checkout| {
            let who = holder(checkout.holder.as_ref());
            (who.user, who.host, who.display)
        })
        .collect();
    let several = holders.len() > 1 || (by_handle && found.len() > 1);
    several.then(|| {
        let numbers = found.iter().map(|checkout| checkout.checkout_id.to_string());
        numbers.collect::<Vec<_>>().join(", ")
    })
}

/// `lmreread`: there is nothing to read again, and it says what is in force.
pub async fn reread(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            let licenses = all_licenses(admin).await?.licenses;
            let policy = admin.get_policy(triad_proto::v1::GetPolicyRequest {}).await?;
            Ok((licenses, policy.into_inner().version))
        })
        .await?;
    let (licenses, policy) = read.answer;
    let mut text = "lmreread: the nodes read no files again. In force on all of them:\n".to_owned();
    for license in licenses {
        let _ = writeln!(
            text,
            "  license {}, serial {}",
            plain::line(&license.license_id),
            license.serial
        );
    }
    let _ = writeln!(text, "  policy version {policy}");
    text.push_str("Others are put in force with `triad license apply` and `triad policy apply`.\n");
    settings.output.text(&text)?;
    Ok(Exit::Ok)
}

/// `lmhostid`: what this machine is known by.
pub fn hostid(settings: &Settings, typed: &Typed) -> Result<Exit, Failure> {
    let named = if typed.has("hostname") {
        vec![format!("HOSTNAME={}", plain::host(&myself::host()))]
    } else if typed.has("user") {
        vec![format!("USER={}", plain::user(&myself::user()))]
    } else {
        let all = of_this_machine();
        let cards = all.iter().filter(|id| id.kind() == HostIdKind::Ethernet);
        cards.map(|id| bare(&id.to_string())).collect()
    };
    let ids = named.join(" ");
    let ids = if named.len() > 1 { format!("\"{ids}\"") } else { ids };
    settings.output.text(&match typed.has("n") {
        true => format!("{ids}\n"),
        false => format!(
            "lmhostid - Triad v{}\nThe host ID of this machine is \"{ids}\"\n",
            plain::version(env!("CARGO_PKG_VERSION"))
        ),
    })?;
    Ok(Exit::Ok)
}

/// `001122334455` of `ETHERNET:001122334455`.
fn bare(id: &str) -> String {
    id.rsplit_once(':').map_or(id, |(_, value)| value).to_ascii_lowercase()
}

/// `lmver`: which program this is.
pub fn version(settings: &Settings) -> Result<Exit, Failure> {
    let version = plain::version(env!("CARGO_PKG_VERSION"));
    settings.output.text(&format!("lmver - Triad\nlmutil: Triad v{version}\n"))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnosis_names_what_readers_look_for() {
        let mut pool = Pool {
            feature: "solver".into(),
            version: "2026.1".into(),
            publisher: "Acme".into(),
            expires_ms: 1_797_811_200_000,
            ..Pool::default()
        };
        let expected = "\
\"solver\" v2026.1, vendor: Acme, expiry: 20-dec-2026
License server: lic-b
floating license  starts: 1-jan-1990,   expires: 20-dec-2026

This license can be checked out

";
        assert_eq!(diagnosis(&pool, "lic-b", None), expected);
        pool.starts_ms = 1_795_393_260_000;
        pool.expires_ms = 0;
        let expected = "\
\"solver\" v2026.1, vendor: Acme, expiry: permanent
License server: lic-b
floating license  starts: 23-nov-2026,   no expiration date

This license cannot be checked out because:
all seats are in use (-4)

";
        assert_eq!(diagnosis(&pool, "lic-b", Some("all seats are in use (-4)")), expected);
    }

    #[test]
    fn names_that_look_alike_are_not_taken_for_one_another() {
        let checkout = |checkout_id, user: &str| CheckoutInfo {
            checkout_id,
            holder: Some(Holder { user: user.into(), host: "n1".into(), ..Holder::default() }),
            ..CheckoutInfo::default()
        };
        let (one, other) = (checkout(3, "=cmd|x"), checkout(7, "_cmd_x"));
        assert_eq!(plain::user("=cmd|x"), "_cmd_x");
        assert_eq!(ambiguous(&[&one, &other], false), Some("3, 7".to_owned()));
        let again = checkout(9, "_cmd_x");
        assert_eq!(ambiguous(&[&other, &again], false), None);
        assert_eq!(ambiguous(&[&other, &again], true), Some("7, 9".to_owned()));
    }
}

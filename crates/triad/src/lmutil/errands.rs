//! The smaller tools: why not, take back, read again, who am I.

use std::fmt::Write as _;

use triad_license::HostIdKind;
use triad_proto::v1::{
    CheckoutInfo, ExplainRequest, Holder, Item, Reason, Refusal, RevokeCheckoutRequest,
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

use super::lmstat::handle;
use super::plain;
use super::typed::Typed;

/// `lmdiag`: whether this user on this host would be granted a feature, or each.
pub async fn diagnose(settings: &Settings, typed: &Typed) -> Result<Exit, Failure> {
    let only = typed.words.first().cloned().unwrap_or_default();
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| {
            let pools = all_features(admin, &only).await?.pools;
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
    let mut text = String::new();
    let mut exit = Exit::Ok;
    for (pool, denial) in &read.answer {
        let (version, vendor) = (plain::version(&pool.version), plain::vendor(&pool.publisher));
        let _ = writeln!(text, "\"{}\" v{version}, vendor: {vendor}", pool.feature);
        match denial {
            None => text.push_str("This license can be checked out\n\n"),
            Some(denial) => {
                let number = explanation(denial.reason()).flexnet.first().copied().unwrap_or(-1);
                let why = plain::line(&denial.message);
                let _ = write!(
                    text,
                    "This license cannot be checked out because:\n{why} ({number})\n\n"
                );
                exit = Exit::lmutil(number);
            }
        }
    }
    if read.answer.is_empty() {
        let _ = writeln!(text, "No such feature exists: {} (-5)", plain::line(&only));
        exit = Exit::lmutil(-5);
    }
    settings.output.text(&text)?;
    Ok(exit)
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
    let read = cluster.read(async |admin: &mut Admin| all_checkouts(admin, feature).await).await?;
    let found: Vec<&CheckoutInfo> = read.answer.checkouts.iter().filter(|c| meant(c)).collect();
    if found.is_empty() {
        let message = format!("nobody like that holds {}", plain::line(feature));
        let refusal = Refusal::because(Reason::CheckoutUnknown, message);
        return Err(Failure::refused(refusal.with_remedy("`lmstat -f` shows who does")));
    }
    let mut text = String::new();
    for checkout in found {
        if is_away(checkout.state()) {
            let message = format!("checkout {} is borrowed", checkout.checkout_id);
            return Err(Failure::refused(Refusal::because(Reason::BorrowedAway, message)));
        }
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

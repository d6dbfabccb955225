//! `triad token`: who may administer. The secret is drawn here and never leaves
//! this machine; the nodes are told its hash.

use triad_proto::v1::{
    CreateTokenRequest, ListTokensRequest, ListTokensResponse, Reason, Refusal, RevokeTokenRequest,
    TokenInfo, TokenRole,
};
use triad_server::init::{draw_token, token_digest};

use crate::args::tokens::{CreateArguments, RevokeArguments, RoleOption, TokenVerb};
use crate::clock;
use crate::cluster::{Admin, Cluster, Read};
use crate::consent::{Consent, consent, demand_somebody_to_ask};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::warn_if_stale;
use crate::moment::Moment;
use crate::publisher::{Readers, write_new};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{instant, printable};

/// Does what was asked with tokens.
pub async fn run(settings: &Settings, verb: TokenVerb) -> Result<Exit, Failure> {
    match verb {
        TokenVerb::Create(arguments) => create(settings, &arguments).await,
        TokenVerb::List => list(settings).await,
        TokenVerb::Revoke(arguments) => revoke(settings, &arguments).await,
    }
}

async fn create(settings: &Settings, arguments: &CreateArguments) -> Result<Exit, Failure> {
    let cluster = Cluster::new(settings)?;
    let secret = draw_token().map_err(Failure::Init)?;
    let now_ms = clock::now_ms();
    let expires_ms = match arguments.expires {
        None => 0,
        // A length of time counts forward here.
        Some(Moment::Ago(length)) => {
            now_ms.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX))
        }
        Some(Moment::At(ms)) => ms,
    };
    let request = CreateTokenRequest {
        sha256: token_digest(&secret).to_vec(),
        role: role(arguments.role).into(),
        label: arguments.label.clone(),
        expires_ms,
    };
    // Before the nodes know of it: a token that nobody can write down is none.
    if let Some(path) = &arguments.out {
        write_new(path, format!("{secret}\n").as_bytes(), Readers::Owner)?;
    }
    let created = cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.create_token(request.clone()).await?.into_inner())
        })
        .await;
    let Read { answer, address } = match (created, &arguments.out) {
        (Ok(read), _) => read,
        // It may be there: whoever has the secret can use it, and the list says how to end it.
        (Err(failure), path) if may_be_done(&failure) => {
            let place = match path {
                Some(path) => {
                    format!("its secret is in {}", printable(&path.display().to_string()))
                }
                None => format!("its secret is {secret}"),
            };
            settings.output.warn(&format!(
                "the token may have been made: {place}; `triad token list` says whether it was, \
                 and `triad token revoke` ends it"
            ));
            return Err(failure);
        }
        (Err(failure), path) => {
            if let Some(path) = path {
                let _ = std::fs::remove_file(path);
            }
            return Err(failure);
        }
    };
    let role = role_name(role(arguments.role));
    let file = arguments.out.as_ref().map(|path| path.display().to_string());
    let shown = file.is_none().then_some(&secret);
    let value = serde_json::json!({
        "tokenId": answer.token_id,
        "role": role,
        "label": arguments.label,
        "expiresMs": expires_ms,
        "token": shown,
        "file": file,
    });
    settings.output.answer(&value, || {
        let (id, label) = (&answer.token_id, printable(&arguments.label));
        let until = match expires_ms {
            0 => String::new(),
            ms => format!(", until {}", instant(ms)),
        };
        let made = format!("token {id} for {label}, role {role}{until}");
        match &file {
            Some(file) => format!("{made}, is in {}\n", printable(file)),
            None => format!("{made}; it is shown this once:\n{secret}\n"),
        }
    })?;
    cluster.warn_if_alone(settings, &address).await;
    Ok(Exit::Ok)
}

/// Whether a node may have done what it did not answer for.
fn may_be_done(failure: &Failure) -> bool {
    use Reason::{Deadline, Internal, NoQuorum, NotReady};
    let was_asked = matches!(failure, Failure::TimedOut { .. } | Failure::Refused(_));
    let is_open = matches!(failure.reason(), Some(Deadline | Internal | NoQuorum | NotReady));
    was_asked && is_open
}

async fn list(settings: &Settings) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?.read(all).await?;
    warn_if_stale(settings, read.answer.freshness.as_ref(), &read.address);
    let tokens = &read.answer.tokens;
    settings.output.list(&read.answer, tokens, || table(tokens))?;
    Ok(Exit::Ok)
}

async fn all(admin: &mut Admin) -> Result<ListTokensResponse, tonic::Status> {
    Ok(admin.list_tokens(ListTokensRequest {}).await?.into_inner())
}

async fn revoke(settings: &Settings, arguments: &RevokeArguments) -> Result<Exit, Failure> {
    demand_somebody_to_ask(arguments.consent)?;
    let mut cluster = Cluster::new(settings)?;
    let tokens = cluster.read(all).await?.answer.tokens;
    let token = tokens.iter().find(|token| token.token_id.eq_ignore_ascii_case(&arguments.id));
    let Some(token) = token else {
        let message = format!("no token has the id {}", printable(&arguments.id));
        let refusal = Refusal::because(Reason::TokenUnknown, message);
        return Err(Failure::refused(refusal.with_remedy("see the ids: triad token list")));
    };
    match consent(settings, arguments.consent, &plan(token))? {
        Consent::Given => {}
        Consent::Rehearsed => return Ok(Exit::Ok),
        Consent::Withheld => return Ok(Exit::Error),
    }
    cluster.begin_anew();
    let request = RevokeTokenRequest { token_id: token.token_id.clone() };
    let Read { answer, address } = cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.revoke_token(request.clone()).await?.into_inner())
        })
        .await?;
    settings.output.answer(&answer, || format!("token {} was revoked\n", token.token_id))?;
    cluster.warn_if_alone(settings, &address).await;
    Ok(Exit::Ok)
}

/// What revoking does, and to whom.
fn plan(token: &TokenInfo) -> String {
    let used = match token.used_ms {
        0 => "its use was never noted".to_owned(),
        ms => format!("its use was last noted at {}", instant(ms)),
    };
    format!(
        "makes token {} of {} good for nothing; role {}, {used}\n",
        token.token_id,
        printable(&token.label),
        role_name(token.role()),
    )
}

fn table(tokens: &[TokenInfo]) -> Table {
    let columns = [
        Column::text("ID"),
        Column::text("ROLE"),
        Column::text("LABEL"),
        Column::instant("CREATED"),
        Column::instant("EXPIRES"),
        Column::instant("LAST USE"),
        Column::text("STATE"),
    ];
    let mut table = Table::new(&columns);
    for token in tokens {
        table.add([
            token.token_id.as_str().into(),
            role_name(token.role()).into(),
            token.label.as_str().into(),
            Cell::unless_zero(token.created_ms),
            Cell::unless_zero(token.expires_ms),
            Cell::unless_zero(token.used_ms),
            if token.expired { "expired" } else { "valid" }.into(),
        ]);
    }
    table
}

fn role(role: RoleOption) -> TokenRole {
    match role {
        RoleOption::Viewer => TokenRole::Viewer,
        RoleOption::Operator => TokenRole::Operator,
        RoleOption::Admin => TokenRole::Admin,
    }
}

fn role_name(role: TokenRole) -> &'static str {
    match role {
        TokenRole::Unspecified => "",
        TokenRole::Viewer => "viewer",
        TokenRole::Operator => "operator",
        TokenRole::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_harmless_in_the_table_and_in_the_question() {
        let token = TokenInfo {
            token_id: "3f2a91c07b11".into(),
            label: "eve\x1b[2J".into(),
            role: TokenRole::Viewer.into(),
            created_ms: 1_795_442_709_000,
            expired: true,
            ..TokenInfo::default()
        };
        let expected = "\
ID            ROLE    LABEL         CREATED               EXPIRES  LAST USE  STATE
3f2a91c07b11  viewer  eve\\u{1b}[2J  2026-11-23 14:05:09Z  -        -         expired
";
        assert_eq!(table(std::slice::from_ref(&token)).render(), expected);
        let asked = plan(&token);
        assert!(asked.contains("of eve\\u{1b}[2J good for nothing; role viewer"), "{asked}");
    }
}

//! `triad-office`: the publisher's back office, and what is done at its console.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use triad_license::HostId;
use triad_office::clock::now_ms;
use triad_office::config::Config;
use triad_office::error::OfficeError;
use triad_office::exchange::{self, Way};
use triad_office::init::{New, init};
use triad_office::keys;
use triad_office::office::Office;
use triad_office::people::{self, Role};
use triad_office::registration::{self, Kind, Registrar};
use triad_office::rights::Writer;
use triad_office::{db, web};

/// The publisher's back office of Triad.
#[derive(Debug, Parser)]
#[command(
    version,
    before_help = "\
Examples:
  triad-office init --dir office --publisher Acme --host office.acme.example:27090
  triad-office serve --config office/office.toml
  triad-office pair repair ETHERNET:001122334455 ETHERNET:001122334466"
)]
struct Arguments {
    /// The configuration
    #[arg(
        long,
        global = true,
        env = "TRIAD_OFFICE_CONFIG",
        default_value = "office.toml",
        value_name = "FILE"
    )]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new office: configuration, database, key, certificate
    Init(InitArguments),
    /// Run it, until SIGTERM or SIGINT
    Serve {
        /// What is logged
        #[arg(
            long,
            env = "TRIAD_LOG",
            default_value = "warn,triad_office=info",
            value_name = "FILTER"
        )]
        log: String,
    },
    /// The publisher's keys
    #[command(subcommand)]
    Key(KeyVerb),
    /// Users of the portal
    #[command(subcommand)]
    User(UserVerb),
    /// Tokens of programs
    #[command(subcommand)]
    Token(TokenVerb),
    /// Pairs of servers
    #[command(subcommand)]
    Pair(PairVerb),
    /// Register a group of servers by hand
    Register {
        /// single, pair or triad
        #[arg(value_parser = kind)]
        kind: Kind,
        /// The host ids, TYPE:value; of a pair the main server first
        #[arg(required = true, value_parser = host)]
        hostids: Vec<HostId>,
    },
    /// Put another machine in the place of a server, with its role and its group's rights
    Replace {
        /// The machine that is gone, TYPE:value
        #[arg(value_parser = host)]
        old: HostId,
        /// The machine that takes its place, TYPE:value
        #[arg(value_parser = host)]
        new: HostId,
    },
    /// Answer a request that came as a file
    Answer {
        /// The request
        request: PathBuf,
        /// Where to write the response, which must not exist; stdout without
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct InitArguments {
    /// The directory to make it in
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// The publisher's name, as it is to stand in licenses
    #[arg(long)]
    publisher: String,
    /// How others reach it
    #[arg(long, default_value = "localhost:27090", value_name = "HOST:PORT")]
    host: String,
    /// The whole address instead, where a proxy before it speaks TLS: https://office.acme.example
    #[arg(long, value_name = "URL", requires = "plain_http")]
    url: Option<String>,
    /// Where to listen
    #[arg(long, default_value = "0.0.0.0:27090", value_name = "ADDRESS:PORT")]
    listen: String,
    /// Plain HTTP: behind a proxy that speaks TLS, or for trials
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Subcommand)]
enum KeyVerb {
    /// All keys, and which sign
    List,
    /// Draw the next key; from now on both sign
    New,
    /// Make the next key the current one; the old one signs no more
    Promote,
}

#[derive(Debug, Subcommand)]
enum UserVerb {
    /// Make a link with which somebody chooses a password, once
    Invite {
        /// The user
        name: String,
        /// viewer, operator or admin; as before without, and operator for somebody new
        #[arg(long, value_parser = role)]
        role: Option<Role>,
    },
    /// Remove a user; what they did stays in the audit
    Remove {
        /// The user
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token for a program; it is shown once
    Add {
        /// What it is called
        name: String,
        /// viewer, operator or admin
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
    },
    /// Make a token void
    Revoke {
        /// What it is called
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum PairVerb {
    /// Say which server is the main one; roles and rights are put right
    Repair {
        /// The main server, TYPE:value
        #[arg(value_parser = host)]
        main: HostId,
        /// Its back-up, TYPE:value
        #[arg(value_parser = host)]
        backup: HostId,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).map_err(|error| error.to_string())
}

fn kind(text: &str) -> Result<Kind, String> {
    Kind::parse(text).ok_or_else(|| "a group is single, pair or triad".to_owned())
}

fn host(text: &str) -> Result<HostId, String> {
    HostId::parse(text).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(text) => {
            // A closed pipe is no error.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "error[{}]: {error}", error.reason());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<String, OfficeError> {
    if let Verb::Init(new) = &arguments.verb {
        return made(new);
    }
    let config = Config::load(&arguments.config)?;
    if let Verb::Serve { log } = &arguments.verb {
        return serve(config, log);
    }
    let mut connection = db::open(&config.database)?;
    let by = Writer { actor: "console", now_ms: now_ms() };
    let registrar = |how, repairs| Registrar::person("console", how, repairs);
    match &arguments.verb {
        Verb::Init(_) | Verb::Serve { .. } => unreachable!("done above"),
        Verb::Key(KeyVerb::List) => {
            let lines = keys::list(&connection)?;
            let lines = lines.iter().map(|key| format!("{:8} {}\n", key.state, key.public_key));
            Ok(lines.collect())
        }
        Verb::Key(KeyVerb::New) => {
            let key = db::write(&mut connection, |tx| keys::draw(tx, &config.keys, by))?;
            Ok(format!(
                "{}\n\nAdd this line to publisher_keys at every site. Until \"triad-office key \
                 promote\" both keys sign.\n",
                key.public_key
            ))
        }
        Verb::Key(KeyVerb::Promote) => {
            let key = db::write(&mut connection, |tx| keys::promote(tx, by))?;
            Ok(format!("{} signs alone now\n", key.key_id))
        }
        Verb::User(UserVerb::Invite { name, role }) => {
            let token = db::write(&mut connection, |tx| people::invite(tx, name, *role, by))?;
            Ok(format!("{}/set-up/{token}\n", config.url))
        }
        Verb::User(UserVerb::Remove { name }) => {
            db::write(&mut connection, |tx| people::remove_user(tx, name, by))?;
            Ok(format!("{name} is removed\n"))
        }
        Verb::Token(TokenVerb::Add { name, role }) => {
            let token = db::write(&mut connection, |tx| people::add_token(tx, name, *role, by))?;
            Ok(format!("{token}\n"))
        }
        Verb::Token(TokenVerb::Revoke { name }) => {
            db::write(&mut connection, |tx| people::revoke_token(tx, name, by))?;
            Ok(format!("{name} is void\n"))
        }
        Verb::Pair(PairVerb::Repair { main, backup }) => {
            let hosts = [main.clone(), backup.clone()];
            let by = registrar("by repair at the console", true);
            let group = db::write(&mut connection, |tx| {
                registration::register_group(tx, Kind::Pair, &hosts, by)
            })?;
            Ok(format!("pair {group}: {main} is the main server, {backup} its back-up\n"))
        }
        Verb::Register { kind, hostids } => {
            let by = registrar("by hand at the console", false);
            let group = db::write(&mut connection, |tx| {
                registration::register_group(tx, *kind, hostids, by)
            })?;
            Ok(format!("{} {group}\n", kind.as_str().to_lowercase()))
        }
        Verb::Replace { old, new } => {
            let by = registrar("at the console", false);
            let group =
                db::write(&mut connection, |tx| registration::replace_server(tx, old, new, by))?;
            Ok(format!("group {group}: {new} is in the place of {old}\n"))
        }
        Verb::Answer { request, out } => {
            let bytes = fs::read(request)
                .map_err(|source| OfficeError::File { path: request.clone(), source })?;
            let text = triad_license::text_of(&bytes)?;
            let answer = exchange::answer(&mut connection, &config, text, Way::Offline, now_ms())?;
            match out {
                None => Ok(answer),
                Some(path) => {
                    keys::write_secret(path, answer.as_bytes())?;
                    Ok(format!("{}\n", path.display()))
                }
            }
        }
    }
}

fn made(new: &InitArguments) -> Result<String, OfficeError> {
    let made = init(&New {
        directory: new.dir.clone(),
        publisher: new.publisher.clone(),
        host: new.host.clone(),
        url: new.url.clone(),
        listen: new.listen.clone(),
        plain: new.plain_http,
        now_ms: now_ms(),
    })?;
    let fingerprint = made.fingerprint.as_ref().map(|hex| format!("fingerprint = \"{hex}\"\n"));
    Ok(format!(
        "Made {config}. Start the office:\n\n    triad-office serve --config {config}\n\n\
         Then choose a password, once, until this time tomorrow:\n\n    {link}\n\n\
         Every site adds to triad.toml of each node:\n\n\
         publisher_keys = [\"{key}\"]\n\n[office]\nurl = \"{url}\"\n{fingerprint}",
        config = made.config.display(),
        link = made.link,
        key = made.public_key,
        url = made.url,
        fingerprint = fingerprint.unwrap_or_default(),
    ))
}

fn serve(config: Config, log: &str) -> Result<String, OfficeError> {
    let filter = EnvFilter::try_new(log)
        .map_err(|error| OfficeError::System(format!("the log filter {log:?}: {error}")))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let failed = |error: io::Error| OfficeError::System(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(async {
        let office = Office::open(config)?;
        let door = web::Door::open(&office).await?;
        let url = office.config.url.clone();
        tracing::info!(address = %door.address(), url, "listening");
        web::serve(office, door, told_to_stop()).await.map_err(failed)
    })?;
    Ok(String::new())
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

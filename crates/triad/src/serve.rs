//! `triad serve`: a node in the foreground, until SIGTERM or SIGINT.

use tracing_subscriber::EnvFilter;
use triad_server::{Config, ServeOptions};

use crate::args::{LogFormat, ServeArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// Runs the node.
pub async fn run(settings: &Settings, arguments: &ServeArguments) -> Result<Exit, Failure> {
    log_to_stderr(settings, arguments)?;
    let config =
        Config::load(&arguments.config).map_err(|error| Failure::Serve(error.to_string()))?;
    triad_server::serve(config, ServeOptions::default())
        .await
        .map_err(|error| Failure::Serve(error.to_string()))?;
    Ok(Exit::Ok)
}

/// The log of this process, which is one node and nothing else.
fn log_to_stderr(settings: &Settings, arguments: &ServeArguments) -> Result<(), Failure> {
    let usage = |what: String| Failure::Usage {
        what,
        remedy: "write TRIAD_LOG=debug, or TRIAD_LOG=warn,triad_server=debug".to_owned(),
    };
    // What comes first gives way to what is asked for.
    let filter = EnvFilter::try_new(format!("{},{}", triad_server::LOG_QUIET, arguments.log))
        .map_err(|error| usage(format!("the log filter {:?}: {error}", arguments.log)))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let log = log.with_ansi(settings.output.colors_stderr());
    let started = match arguments.log_format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    started.map_err(|error| usage(format!("the log cannot be written: {error}")))
}

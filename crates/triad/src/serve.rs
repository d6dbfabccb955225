//! `triad serve`: a node in the foreground, until SIGTERM or SIGINT.

use std::process::Command;

use tracing_subscriber::EnvFilter;
use triad_server::{Config, Ended, ServeOptions};

use crate::args::{LogFormat, ServeArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// Runs the node.
pub async fn run(settings: &Settings, arguments: &ServeArguments) -> Result<Exit, Failure> {
    log_to_stderr(settings, arguments)?;
    let config =
        Config::load(&arguments.config).map_err(|error| Failure::Serve(error.to_string()))?;
    let ended = triad_server::serve(config, ServeOptions::default())
        .await
        .map_err(|error| Failure::Serve(error.to_string()))?;
    match ended {
        Ended::Stopped => Ok(Exit::Ok),
        Ended::Again => Err(begin_anew()),
    }
}

/// Becomes a new process of the same program, so that nothing of what was is left:
/// no lock, no thread, no memory. Returns only if that failed.
fn begin_anew() -> Failure {
    use std::os::unix::process::CommandExt;
    let mut line = std::env::args_os();
    // As it was called: the program may have been upgraded meanwhile.
    let program = line.next().unwrap_or_else(|| "triad".into());
    let error = Command::new(program).args(line).exec();
    Failure::Serve(format!("{error}; start this node again, as its data directory now says"))
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

//! `triad serve`: a node in the foreground, until SIGTERM or SIGINT.

use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use triad_server::{Config, Ended, ServeOptions};

use crate::args::{LogFormat, ServeArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// Runs the node.
pub async fn run(settings: &Settings, arguments: &ServeArguments) -> Result<Exit, Failure> {
    let config =
        Config::load(&arguments.config).map_err(|error| Failure::Serve(error.to_string()))?;
    log_to_stderr(settings, arguments, &config)?;
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

/// What is logged where nobody says.
const LEVEL: &str = "warn,triad=info";

/// The log of this process, which is one node and nothing else.
fn log_to_stderr(
    settings: &Settings,
    arguments: &ServeArguments,
    config: &Config,
) -> Result<(), Failure> {
    let usage = |what: String| Failure::Usage {
        what,
        remedy: "write TRIAD_LOG=debug, or TRIAD_LOG=warn,triad_server=debug".to_owned(),
    };
    // What comes first gives way to what is asked for.
    let level = arguments.log.as_ref().or(config.log.level.as_ref());
    let level = level.map_or(LEVEL, String::as_str);
    let filter = EnvFilter::try_new(format!("{},{level}", triad_server::LOG_QUIET))
        .map_err(|error| usage(format!("the log filter {level:?}: {error}")))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    let configured = config.log.format.map(|format| match format {
        triad_server::config::LogFormat::Text => LogFormat::Text,
        triad_server::config::LogFormat::Json => LogFormat::Json,
    });
    let started = match arguments.log_format.or(configured).unwrap_or(LogFormat::Text) {
        LogFormat::Text => {
            log.with_writer(io::stderr).with_ansi(settings.output.colors_stderr()).try_init()
        }
        LogFormat::Json => {
            let named = Named::new(&config.name);
            log.json().flatten_event(true).with_writer(move || named.clone()).try_init()
        }
    };
    started.map_err(|error| usage(format!("the log cannot be written: {error}")))
}

/// Writes lines of JSON to stderr, each with the name of the node: logs of all
/// nodes end up in one place.
#[derive(Clone)]
struct Named(Arc<[u8]>);

impl Named {
    fn new(node: &str) -> Self {
        let name = serde_json::Value::from(node);
        Named(format!("{{\"node\":{name},").into_bytes().into())
    }

    fn line(&self, line: &[u8]) -> Vec<u8> {
        match line.strip_prefix(b"{") {
            Some(rest) => [&self.0, rest].concat(),
            None => line.to_owned(),
        }
    }
}

impl Write for Named {
    /// Takes whole lines, which is how they come.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(&self.line(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_json_names_the_node() {
        let line = Named::new("lic-\"a\"").line(b"{\"level\":\"INFO\"}\n");
        let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!((&line["node"], &line["level"]), (&"lic-\"a\"".into(), &"INFO".into()));
    }
}

//! `triad serve`: a node in the foreground, until SIGTERM or SIGINT.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use triad_server::{Config, Ended, Relog, ServeOptions};

use crate::args::{LogFormat, ServeArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// What is logged if nobody says otherwise.
const LOG_DEFAULT: &str = "warn,triad=info";

/// Runs the node.
pub async fn run(settings: &Settings, arguments: &ServeArguments) -> Result<Exit, Failure> {
    let config =
        Config::load(&arguments.config).map_err(|error| Failure::Serve(error.to_string()))?;
    let relog = log_to_stderr(settings, arguments, &config)?;
    // What the command line says holds for as long as the process does.
    let relog = arguments.log.is_none().then_some(relog);
    let options = ServeOptions { relog, ..ServeOptions::default() };
    let ended = triad_server::serve(config, options)
        .await
        .map_err(|error| Failure::Serve(error.to_string()))?;
    match ended {
        Ended::Stopped => Ok(Exit::Ok),
        Ended::Again => Err(begin_anew()),
    }
}

/// Where programs were looked for before [`find_no_programs`].
static PATH_BEFORE: OnceLock<Option<OsString>> = OnceLock::new();

/// A node runs no programs, but its store would: `sync`, at each opening, and that waits for every
/// disk of the machine, also for one that hangs. The node syncs what must be (decision 1); so that
/// nothing else is, no program is found.
///
/// To be called before there is a second thread.
pub fn find_no_programs() {
    PATH_BEFORE.get_or_init(|| std::env::var_os("PATH"));
    // SAFETY: no other thread reads the environment, for there is none.
    #[allow(unsafe_code)]
    unsafe {
        // Not the empty path, which is the current folder; and this is no folder.
        std::env::set_var("PATH", "/dev/null");
    }
}

/// Becomes a new process of the same program, so that nothing of what was is left:
/// no lock, no thread, no memory. Returns only if that failed.
fn begin_anew() -> Failure {
    use std::os::unix::process::CommandExt;
    let mut line = std::env::args_os();
    // As it was called: the program may have been upgraded meanwhile.
    let program = line.next().unwrap_or_else(|| "triad".into());
    let mut again = Command::new(program);
    again.args(line);
    match PATH_BEFORE.get().and_then(Option::as_ref) {
        Some(path) => again.env("PATH", path),
        None => again.env_remove("PATH"),
    };
    let error = again.exec();
    Failure::Serve(format!("{error}; start this node again, as its data directory now says"))
}

/// The log of this process, which is one node and nothing else; and how to change
/// what is logged.
fn log_to_stderr(
    settings: &Settings,
    arguments: &ServeArguments,
    config: &Config,
) -> Result<Relog, Failure> {
    let usage = |what: String| Failure::Usage {
        what,
        remedy: "write TRIAD_LOG=debug, or TRIAD_LOG=warn,triad_server=debug".to_owned(),
    };
    let level = arguments.log.as_ref().or(config.log.level.as_ref());
    let filter = read_filter(level.map_or(LOG_DEFAULT, String::as_str)).map_err(usage)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    let configured = config.log.format.map(|format| match format {
        triad_server::config::LogFormat::Text => LogFormat::Text,
        triad_server::config::LogFormat::Json => LogFormat::Json,
    });
    let (started, relog) = match arguments.log_format.or(configured).unwrap_or(LogFormat::Text) {
        LogFormat::Text => {
            let log = log.with_writer(io::stderr).with_ansi(settings.output.colors_stderr());
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            let relog: Relog = Box::new(move |filter| relog(filter, |new| handle.reload(new)));
            (log.try_init(), relog)
        }
        LogFormat::Json => {
            let named = Named::new(&config.name);
            let log = log.json().flatten_event(true).with_writer(move || named.clone());
            let log = log.with_filter_reloading();
            let handle = log.reload_handle();
            let relog: Relog = Box::new(move |filter| relog(filter, |new| handle.reload(new)));
            (log.try_init(), relog)
        }
    };
    started.map_err(|error| usage(format!("the log cannot be written: {error}")))?;
    Ok(relog)
}

fn relog<E: std::fmt::Display>(
    filter: Option<&str>,
    reload: impl Fn(EnvFilter) -> Result<(), E>,
) -> Result<(), String> {
    reload(read_filter(filter.unwrap_or(LOG_DEFAULT))?).map_err(|error| error.to_string())
}

/// What comes first gives way to what is asked for.
fn read_filter(filter: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{},{}", triad_server::LOG_QUIET, spelt_out(filter)))
        .map_err(|error| format!("the log filter {filter:?}: {error}"))
}

/// A level alone is asked of Triad: what the libraries below it say of every frame
/// hides that, and is to be named.
fn spelt_out(filter: &str) -> String {
    let level = filter.trim().parse::<LevelFilter>().ok();
    match level.filter(|level| *level > LevelFilter::WARN) {
        Some(level) => format!("warn,triad={level}"),
        None => filter.to_owned(),
    }
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
    fn a_level_alone_is_that_of_our_own_crates() {
        for (filter, spelt) in [
            ("debug", "warn,triad=debug"),
            (" TRACE ", "warn,triad=trace"),
            ("info", "warn,triad=info"),
            ("error", "error"),
            ("off", "off"),
            ("debug,h2=info", "debug,h2=info"),
            ("warn,triad_server=debug", "warn,triad_server=debug"),
            ("h2", "h2"),
        ] {
            assert_eq!(spelt_out(filter), spelt, "{filter:?}");
            assert!(read_filter(filter).is_ok(), "{filter:?}");
        }
        assert!(read_filter("triad=loud").is_err());
    }

    #[test]
    fn every_line_of_json_names_the_node() {
        let line = Named::new("lic-\"a\"").line(b"{\"level\":\"INFO\"}\n");
        let line: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!((&line["node"], &line["level"]), (&"lic-\"a\"".into(), &"INFO".into()));
    }
}

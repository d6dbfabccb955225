//! The door for tools of another age: `triad lmutil lmstat -a -c 27070@lic-a`,
//! also under the names `lmutil`, `lmstat` and so on. Scripts, exporters and
//! schedulers read this text, so its form is fixed; see
//! docs/reference/lmstat.md.

mod errands;
mod lmstat;
pub mod plain;
mod typed;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::reasons::explanation;
use crate::settings::Settings;

use typed::Typed;

/// The tools, by the names that scripts call.
const TOOLS: [&str; 7] =
    ["lmstat", "lmhostid", "lmver", "lmdiag", "lmreread", "lmremove", "lmdown"];

/// What the tools say to whoever asks wrongly.
const USAGE: &str = "\
usage: lmutil lmstat   [-a] [-i [FEATURE]] [-f [FEATURE]] [-s] [-A] [-v] [-t SECONDS] [-c SERVERS]
       lmutil lmdiag   [-n] [-c SERVERS] [FEATURE]
       lmutil lmremove [-c SERVERS] FEATURE USER HOST DISPLAY
       lmutil lmremove [-c SERVERS] -h FEATURE SERVER PORT HANDLE
       lmutil lmreread [-c SERVERS]
       lmutil lmhostid [-n] [-ether | -hostname | -user]
       lmutil lmver
SERVERS are 27070@lic-a,27070@lic-b,27070@lic-c, or a file with SERVER lines; without -c those of
TRIAD_SERVERS or of the context. TRIAD_CA and TRIAD_TOKEN_FILE as for every command of triad.
";

/// The words of the command line, where this program was called by the name of
/// one of the tools; `None` where it was called by its own.
pub fn as_called(words: &[OsString]) -> Option<Vec<OsString>> {
    let name = Path::new(words.first()?).file_name().and_then(OsStr::to_str)?;
    let name = name.strip_suffix(".exe").unwrap_or(name);
    let mut line: Vec<OsString> = vec!["triad".into(), "lmutil".into()];
    if TOOLS.contains(&name) {
        line.push(name.into());
    } else if name != "lmutil" {
        return None;
    }
    line.extend(words.iter().skip(1).cloned());
    Some(line)
}

/// Runs the tool that is named first.
pub async fn run(settings: &Settings, words: &[String]) -> Result<Exit, Failure> {
    let Some((tool, words)) = words.split_first() else {
        settings.output.notice(USAGE);
        return Ok(Exit::Error);
    };
    let typed = match typed::read(tool, words) {
        Ok(typed) => typed,
        Err(wrong) => {
            settings.output.notice(&format!("{wrong}\n{USAGE}"));
            return Ok(Exit::Error);
        }
    };
    let settings = &asking(settings, &typed)?;
    let ended = match tool.as_str() {
        _ if typed.has("help") || (typed.has("h") && tool != "lmremove") => {
            settings.output.text(USAGE)?;
            return Ok(Exit::Ok);
        }
        "lmstat" => lmstat::run(settings, &typed).await,
        "lmdiag" => errands::diagnose(settings, &typed).await,
        "lmremove" => errands::remove(settings, &typed).await,
        "lmreread" => errands::reread(settings).await,
        "lmhostid" => errands::hostid(settings, &typed),
        "lmver" => errands::version(settings),
        "lmdown" => {
            settings.output.notice(
                "lmdown: Triad's nodes are not stopped from afar\n  hint: on the machine itself \
                 `systemctl stop triad`, one node at a time; it hands its work over first\n",
            );
            return Ok(Exit::Error);
        }
        other => {
            settings.output.notice(&format!("lmutil: no tool is called {other:?}\n{USAGE}"));
            return Ok(Exit::Error);
        }
    };
    match ended {
        Ok(exit) => Ok(exit),
        Err(failure) => {
            let number = error_number(&failure);
            if let Some(number) = number.filter(|_| tool == "lmstat") {
                // Tools look for this line on stdout.
                let line = format!(
                    "Error getting status: {} ({number})\n",
                    plain::line(&failure.to_string())
                );
                settings.output.text(&line)?;
            }
            settings.output.notice(&failure.render());
            Ok(number.map_or(Exit::Error, Exit::lmutil))
        }
    }
}

/// The servers and the patience that the tool was given.
fn asking(settings: &Settings, typed: &Typed) -> Result<Settings, Failure> {
    let mut settings = settings.clone();
    if let Some(servers) = typed.value("c") {
        settings = settings.with_servers(&typed::servers(servers)?);
    }
    if let Some(seconds) = typed.value("t").and_then(|text| text.parse().ok()) {
        settings = settings.with_timeout(Duration::from_secs(seconds));
    }
    Ok(settings)
}

/// The number by which the tools' callers know a failure, if they know it.
fn error_number(failure: &Failure) -> Option<i32> {
    explanation(failure.reason()?).flexnet.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_answers_to_the_names_of_the_tools() {
        let called = |line: &str| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            as_called(&words).map(|words| {
                let words: Vec<_> =
                    words.iter().map(|w| w.to_string_lossy().into_owned()).collect();
                words.join(" ")
            })
        };
        assert_eq!(called("/opt/bin/lmutil lmstat -a"), Some("triad lmutil lmstat -a".into()));
        assert_eq!(called("lmstat -a -c 1@a"), Some("triad lmutil lmstat -a -c 1@a".into()));
        assert_eq!(called("/usr/bin/triad status"), None);
    }
}

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

use crate::exit::Exit;
use crate::failure::Failure;
use crate::reasons::explanation;
use crate::settings::Settings;

use typed::Typed;

/// The tools, by the names that scripts call.
const TOOLS: [&str; 14] = [
    "lmstat",
    "lmhostid",
    "lmver",
    "lmdiag",
    "lmreread",
    "lmremove",
    "lmdown",
    "lmborrow",
    "lmpath",
    "lmcksum",
    "lminstall",
    "lmswitch",
    "lmswitchr",
    "lmnewlog",
];

/// What a file of servers is known by that cannot be read.
const NO_FILE: i32 = -1;

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

/// What a tool's users do instead, where the tool has nothing to do here.
fn instead(tool: &str) -> Option<&'static str> {
    Some(match tool {
        "lmdown" => {
            "Triad's nodes are not stopped from afar: on the machine itself `systemctl stop triad`, \
             one node at a time; it hands its work over first"
        }
        "lmborrow" => {
            "seats are borrowed with `triad borrow take`; `triad borrow return` and `triad borrow \
             list` are the rest"
        }
        "lmpath" => {
            "servers are kept with `triad config set NAME --servers ...`; see `triad config view`"
        }
        "lmcksum" => "licenses are signed, and `triad license verify FILE` checks one",
        "lminstall" => "`triad license convert FILE` reads a license of another form",
        "lmswitch" | "lmswitchr" | "lmnewlog" => {
            "there is no report log to rotate: every node keeps the history, see `triad events`"
        }
        _ => return None,
    })
}

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
    if matches!(tool.trim_start_matches('-'), "h" | "help") {
        settings.output.text(USAGE)?;
        return Ok(Exit::Ok);
    }
    if let Some(instead) = instead(tool) {
        settings.output.notice(&format!("{tool}: {instead}\n"));
        return Ok(Exit::Error);
    }
    let typed = match typed::read(tool, words) {
        Ok(typed) => typed,
        Err(wrong) => {
            settings.output.notice(&format!("{wrong}\n{USAGE}"));
            return Ok(Exit::Error);
        }
    };
    if typed.has("help") || (typed.has("h") && tool != "lmremove") {
        settings.output.text(USAGE)?;
        return Ok(Exit::Ok);
    }
    match use_tool(settings, tool, &typed).await {
        Ok(exit) => Ok(exit),
        Err(failure) => failed(settings, tool, &typed, &failure),
    }
}

async fn use_tool(settings: &Settings, tool: &str, typed: &Typed) -> Result<Exit, Failure> {
    let settings = &asking(settings, typed)?;
    match tool {
        "lmstat" => lmstat::run(settings, typed).await,
        "lmdiag" => errands::diagnose(settings, typed).await,
        "lmremove" => errands::remove(settings, typed).await,
        "lmreread" => errands::reread(settings).await,
        "lmhostid" => errands::hostid(settings, typed),
        "lmver" => errands::version(settings),
        other => {
            settings.output.notice(&format!("lmutil: no tool is called {other:?}\n{USAGE}"));
            Ok(Exit::Error)
        }
    }
}

/// Tells a failure once: that of lmstat on stdout, where its readers look, and
/// the remedy on stderr; any other on stderr.
fn failed(
    settings: &Settings,
    tool: &str,
    typed: &Typed,
    failure: &Failure,
) -> Result<Exit, Failure> {
    let named = typed.value("c").map(Path::new);
    let number = match failure {
        // Other files, such as that of the token, the callers know nothing of.
        Failure::Read { path, .. } if named == Some(path) => Some(NO_FILE),
        failure => error_number(failure),
    };
    match number.filter(|_| tool == "lmstat") {
        None => settings.output.notice(&failure.render()),
        Some(number) => {
            let what = plain::line(&failure.to_string());
            // Readers know these two by their words.
            let (told, circumstances) = match number {
                lmstat::CANNOT_CONNECT => {
                    ("Cannot connect to license server system.", format!("  {what}\n"))
                }
                NO_FILE => ("Cannot find license file.", format!("  {what}\n")),
                _ => (what.as_str(), String::new()),
            };
            settings.output.text(&format!("Error getting status: {told} ({number})\n"))?;
            settings.output.notice(&(circumstances + &failure.render_rest()));
        }
    }
    Ok(number.map_or(Exit::Error, Exit::lmutil))
}

/// The servers and the patience that the tool was given.
fn asking(settings: &Settings, typed: &Typed) -> Result<Settings, Failure> {
    let mut settings = settings.clone();
    if let Some(servers) = typed.value("c") {
        settings = settings.with_servers(&typed::servers(servers)?);
    }
    if let Some(patience) = typed.value("t").and_then(|text| typed::patience(text).ok()) {
        settings = settings.with_timeout(patience);
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

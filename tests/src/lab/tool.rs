//! The system's own programs, run to their end.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Stdio};

/// Runs a program of the system; its output.
///
/// # Errors
///
/// What it said, with the command.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String, String> {
    run_with(program, arguments, "")
}

/// Runs a program of the system with a text on its standard input.
///
/// # Errors
///
/// What it said, with the command.
pub fn run_with<S: AsRef<OsStr>>(
    program: &str,
    arguments: &[S],
    input: &str,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}").replace('"', "");
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(error) => {
            return Err(format!("{program} cannot be started ({error}); run tests/setup.sh"));
        }
    };
    let mut stdin = process.stdin.take().expect("it is piped");
    // A program that does not read has failed, and says why below.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = process.wait_with_output().map_err(|error| format!("{shown}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{shown}: {}, {}", output.status, said.trim()))
}

/// Splits a command as typed and runs it.
///
/// # Errors
///
/// As [`run`].
pub fn run_line(line: &str) -> Result<String, String> {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command has a first word");
    run(program, &words.collect::<Vec<_>>())
}

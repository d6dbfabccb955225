//! Words as the tools take them: long names after one dash, values where a name
//! has one.

use std::path::Path;
use std::time::Duration;

use crate::duration;
use crate::failure::Failure;
use crate::settings::read_text;

/// Names that are followed by a value.
const WITH_VALUE: [&str; 2] = ["c", "t"];
/// Names that may be followed by a value.
const WITH_OPTIONAL_VALUE: [&str; 4] = ["f", "i", "s", "S"];
/// Names that stand alone.
const ALONE: [&str; 12] =
    ["a", "A", "v", "n", "h", "p", "help", "ether", "hostname", "user", "q", "all"];

/// A file with SERVER lines has a few hundred bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What was typed after the name of a tool.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Typed {
    options: Vec<(String, Option<String>)>,
    /// The words that belong to no option.
    pub words: Vec<String>,
}

impl Typed {
    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| given == name)
    }

    /// The value of an option, the last that was given.
    pub fn value(&self, name: &str) -> Option<&str> {
        let given = self.options.iter().rev().find(|(given, _)| given == name);
        given.and_then(|(_, value)| value.as_deref())
    }
}

/// Reads the words after the name of a tool.
pub fn read(tool: &str, words: &[String]) -> Result<Typed, String> {
    let mut typed = Typed::default();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            typed.words.push(word.clone());
            continue;
        };
        let name = name.strip_prefix('-').unwrap_or(name);
        let optional = tool == "lmstat" && WITH_OPTIONAL_VALUE.contains(&name);
        let value = if WITH_VALUE.contains(&name) {
            Some(words.next().ok_or_else(|| format!("{tool}: -{name} needs a value"))?.clone())
        } else if optional {
            words.next_if(|next| !next.starts_with('-')).cloned()
        } else if ALONE.contains(&name) {
            None
        } else {
            return Err(format!("{tool}: what does -{name} mean?"));
        };
        if let Some(text) = value.as_deref().filter(|_| name == "t") {
            patience(text).map_err(|wrong| format!("{tool}: -t {wrong}"))?;
        }
        typed.options.push((name.to_owned(), value));
    }
    Ok(typed)
}

/// The patience that `-t` asks for, in whole seconds.
pub fn patience(text: &str) -> Result<Duration, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("needs a number of seconds, and {text:?} is none"));
    }
    duration::parse(&format!("{text}s"))
}

/// The servers that `-c` names: as they are, or from the SERVER lines of a file.
pub fn servers(named: &str) -> Result<String, Failure> {
    let path = Path::new(named);
    if named.contains('@') || !(path.is_file() || looks_like_a_file(named)) {
        return Ok(named.to_owned());
    }
    let text = read_text(path)?;
    let found: Vec<String> = text.lines().take(FILE_BYTES_MAX).filter_map(server_line).collect();
    match found.is_empty() {
        false => Ok(found.join(",")),
        true => Err(Failure::Usage {
            what: format!("{named} has no SERVER line"),
            remedy: "name the servers: -c 27070@lic-a,27070@lic-b,27070@lic-c".to_owned(),
        }),
    }
}

/// Whether a file was meant, there or not: no host has such a name.
fn looks_like_a_file(named: &str) -> bool {
    let named = named.to_ascii_lowercase();
    named.contains(['/', '\\']) || [".lic", ".dat", ".txt"].iter().any(|end| named.ends_with(end))
}

/// `SERVER host hostid port`; the host id may be missing, and the port.
fn server_line(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    words.next().filter(|word| *word == "SERVER")?;
    let host = words.next()?;
    let rest: Vec<&str> = words.collect();
    let port = match rest.as_slice() {
        [port] | [_, port, ..] if port.parse::<u16>().is_ok() => port,
        _ => "",
    };
    Some(format!("{port}@{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(tool: &str, line: &str) -> Result<Typed, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        read(tool, &words)
    }

    #[test]
    fn words_are_understood_as_the_tools_understand_them() {
        let all = typed("lmstat", "-a -c 27070@a,27070@b -t 5").unwrap();
        assert!(all.has("a"));
        assert_eq!(all.value("c"), Some("27070@a,27070@b"));
        assert_eq!(all.value("t"), Some("5"));
        let one = typed("lmstat", "-i solver -f").unwrap();
        assert_eq!((one.value("i"), one.value("f")), (Some("solver"), None));
        assert!(one.has("f"));
        let remove = typed("lmremove", "-h solver lic-a 27070 17").unwrap();
        assert!(remove.has("h"));
        assert_eq!(remove.words, ["solver", "lic-a", "27070", "17"]);
        assert_eq!(typed("lmstat", "-c"), Err("lmstat: -c needs a value".into()));
        for wrong in ["-t abc", "-t -5", "-t 0", "-t 5s", "-t 99999999999999999999"] {
            assert!(typed("lmstat", wrong).is_err(), "{wrong}");
        }
        assert_eq!(typed("lmstat", "-z"), Err("lmstat: what does -z mean?".into()));
    }

    #[test]
    fn servers_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("license.dat");
        let text =
            "SERVER lic-a 001122334455 27070\nSERVER lic-b ANY\nSERVER lic-c 7\nUSE_SERVER\n";
        std::fs::write(&file, text).unwrap();
        let found = servers(file.to_str().unwrap()).unwrap();
        assert_eq!(found, "27070@lic-a,@lic-b,7@lic-c");
        assert_eq!(servers("27070@lic-a").unwrap(), "27070@lic-a");
        // A file that is not there is missed, not taken for a host.
        for missing in ["missing.lic", "./license", "LICENSE.DAT"] {
            assert!(matches!(servers(missing), Err(Failure::Read { .. })), "{missing}");
        }
        assert_eq!(servers("lic-a").unwrap(), "lic-a");
        std::fs::write(&file, "nothing\n").unwrap();
        assert!(servers(file.to_str().unwrap()).is_err());
    }
}

//! Contexts: clusters by name, in a file of the user's own, so that servers,
//! certificate and token need not be typed. A flag goes before a context that was
//! named by a flag, that before the environment, the environment before the current
//! context, and that before what is built in.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Names another file than the one in the user's configuration.
const FILE_VARIABLE: &str = "TRIAD_CONFIG";
/// The file may name a token; nobody else reads or writes it.
const MODE: u32 = 0o600;
/// A name is a word in a shell.
const NAME_BYTES_MAX: usize = 64;

/// A cluster by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// As `--servers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
    /// As `--ca`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// As `--token-file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// As `--tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// As `--timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// All of the user's contexts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that is used where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default, rename = "context", skip_serializing_if = "BTreeMap::is_empty")]
    pub by_name: BTreeMap<String, Context>,
}

/// Where the user's contexts stand; `None` for a user without a home.
pub fn file() -> Option<PathBuf> {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable(FILE_VARIABLE).or_else(|| {
        let folder =
            variable("XDG_CONFIG_HOME").or_else(|| Some(variable("HOME")?.join(".config")));
        Some(folder?.join("triad/config.toml"))
    })
}

impl Contexts {
    /// The contexts of this file; none where it is not there.
    pub fn read(file: &Path) -> Result<Self, Failure> {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contexts::default()),
            Err(source) => return Err(Failure::Read { path: file.to_owned(), source }),
        };
        let contexts: Contexts = toml::from_str(&text).map_err(|error| Failure::Usage {
            what: format!("{}: {}", file.display(), error.message().replace('\n', " ")),
            remedy: "correct it, or remove it and make it anew with `triad config set`".to_owned(),
        })?;
        let names_token = contexts.by_name.values().any(|context| context.token_file.is_some());
        let mode = fs::metadata(file).map(|data| data.permissions().mode() & 0o777);
        if names_token && mode.is_ok_and(|mode| mode & 0o022 != 0) {
            // Whoever may write it may send the token to servers of their own.
            return Err(Failure::Usage {
                what: format!("{} may be written by others, and names a token", file.display()),
                remedy: format!("chmod 600 {}", file.display()),
            });
        }
        Ok(contexts)
    }

    /// The context of this name.
    pub fn named(&self, name: &str) -> Result<&Context, Failure> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            let meant = triad_license::nearest(name, known.iter().copied());
            let there_are = match known.as_slice() {
                [only] => format!("there is {only}"),
                all => format!("there are {}", all.join(", ")),
            };
            Failure::Usage {
                what: format!("there is no context {name:?}"),
                remedy: match meant {
                    _ if known.is_empty() => {
                        "make it: triad config set NAME --servers ... --ca ...".to_owned()
                    }
                    Some(meant) => format!("did you mean {meant}? {there_are}"),
                    None => there_are,
                },
            }
        })
    }

    /// Writes the file, whole or not at all.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let failed = |source| Failure::Write { path: file.to_owned(), source };
        // What was read can be written.
        let text = toml::to_string(self).map_err(|error| failed(std::io::Error::other(error)))?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let beside = file.with_extension(format!("new-{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(MODE)
            .open(&beside)
            .and_then(|mut new| {
                new.write_all(text.as_bytes())?;
                new.sync_all()
            })
            .and_then(|()| fs::rename(&beside, file));
        written.map_err(failed)
    }
}

/// Refuses what is no name.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(Failure::Usage {
        what: format!("{name:?} is no name for a context"),
        remedy: "take letters, digits, dots, dashes and underscores".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_written_for_nobody_else_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/config.toml");
        assert_eq!(Contexts::read(&file).unwrap(), Contexts::default());
        let context = Context {
            servers: Some("a:1".into()),
            token_file: Some("/t".into()),
            ..Context::default()
        };
        let contexts = Contexts {
            current: Some("prod".into()),
            by_name: [("prod".to_owned(), context)].into(),
        };
        contexts.write(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Contexts::read(&file).unwrap(), contexts);
        let missing = contexts.named("pord").unwrap_err().to_string();
        assert_eq!(missing, "there is no context \"pord\"");
        let remedy = |name: &str| contexts.named(name).unwrap_err().render();
        assert!(remedy("prdo").contains("did you mean prod? there is prod"), "{}", remedy("prdo"));
        assert!(!remedy("elsewhere").contains("did you mean"), "{}", remedy("elsewhere"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(Contexts::read(&file).is_err());
        fs::write(&file, "colour = 1\n").unwrap();
        assert!(Contexts::read(&file).unwrap_err().to_string().contains("colour"));
    }

    #[test]
    fn a_name_is_a_word() {
        for name in ["prod", "site-1.lab"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", "a b", "../x/", "ü", &"x".repeat(65)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}

//! The global options as meant: what they come to once files are read.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use triad_client::parse_servers;
use triad_proto::net::ClientTls;

use crate::args::{GlobalOptions, TlsOption};
use crate::context::{self, Context, Contexts};
use crate::duration;
use crate::failure::Failure;
use crate::output::Output;

/// The variable that holds the token itself. It is no option: command lines
/// are seen by everybody on the machine.
const TOKEN_VARIABLE: &str = "TRIAD_TOKEN";

/// A node answers in milliseconds; an election takes less than a second.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// The global options, with the files they name read when a verb asks.
#[derive(Clone, Debug)]
pub struct Settings {
    options: GlobalOptions,
    /// The options that were typed, by their names; others may be of the
    /// environment.
    typed: BTreeSet<String>,
    /// How to print.
    pub output: Output,
    /// It was said which of two tokens counts, or is not to be said.
    is_token_told: Arc<AtomicBool>,
}

/// Where the administrator's token is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// In the variable of its own.
    Variable(String),
    /// In the file that an option, the environment or a context names.
    File(PathBuf),
}

impl Settings {
    /// Nothing is read yet: verbs that ask no server need none of it.
    pub fn new(options: GlobalOptions, typed: BTreeSet<String>) -> Self {
        let output = Output::new(&options);
        Settings { options, typed, output, is_token_told: Arc::default() }
    }

    /// How often to ask again, if at all.
    pub fn watch(&self) -> Option<Duration> {
        self.options.watch
    }

    /// The context that is used, with its name.
    fn context(&self) -> Result<Option<(String, Context)>, Failure> {
        let named = self.named_context();
        let contexts = match context::file() {
            Some(file) => Contexts::read(&file)?,
            None => Contexts::default(),
        };
        let Some(name) = named.or(contexts.current.as_deref()) else { return Ok(None) };
        Ok(Some((name.to_owned(), contexts.named(name)?.clone())))
    }

    /// The context that a flag or the environment names.
    fn named_context(&self) -> Option<&str> {
        self.options.context.as_deref().filter(|name| !name.is_empty())
    }

    /// Whether the context goes before this option: it was named by a flag, and the
    /// option is at most of the environment.
    fn context_beats(&self, id: &str) -> bool {
        self.typed.contains("context") && self.named_context().is_some() && !self.typed.contains(id)
    }

    /// What applies of an option and what the context has of it.
    fn applying<T>(
        &self,
        id: &str,
        option: Option<T>,
        kept: impl FnOnce(Context) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        if option.is_some() && !self.context_beats(id) {
            return Ok(option);
        }
        Ok(self.context()?.and_then(|(_, context)| kept(context)).or(option))
    }

    /// The same; nothing where it cannot be read, which whoever asks servers is
    /// told.
    fn context_if_good(&self) -> Context {
        self.context().ok().flatten().map(|(_, context)| context).unwrap_or_default()
    }

    /// Keeps in a context what was typed, and nothing of the environment.
    pub fn write_typed(&self, context: &mut Context) -> Result<(), Failure> {
        let typed = |name: &str| self.typed.contains(name);
        let whole = |file: Option<&OsString>| {
            let path = PathBuf::from(file.cloned().unwrap_or_default());
            let whole = std::path::absolute(&path);
            whole.map(Some).map_err(|source| Failure::Read { path, source })
        };
        let mut kept = false;
        if typed("servers") {
            self.servers()?;
            (context.servers, kept) = (self.options.servers.clone(), true);
        }
        if typed("ca") {
            (context.ca, kept) = (whole(self.options.ca.as_ref())?, true);
        }
        if typed("token_file") {
            (context.token_file, kept) = (whole(self.options.token_file.as_ref())?, true);
        }
        if typed("tls") {
            if self.options.tls == Some(TlsOption::Both) {
                return Err(no_such_tls());
            }
            let tls = if self.encrypted() { "on" } else { "off" };
            (context.tls, kept) = (Some(tls.to_owned()), true);
        }
        if typed("timeout") {
            let timeout = format!("{}ms", self.timeout().as_millis());
            (context.timeout, kept) = (Some(timeout), true);
        }
        match kept {
            true => Ok(()),
            false => Err(Failure::Usage {
                what: "nothing was given to keep".to_owned(),
                remedy: "give --servers, --ca, --token-file, --tls or --timeout".to_owned(),
            }),
        }
    }

    /// What applies: key, value, and where it comes from.
    pub fn applied(&self) -> Result<Vec<(&'static str, String, String)>, Failure> {
        let found = self.context()?;
        let (name, context) = found.clone().unwrap_or_default();
        let path =
            |file: &Option<OsString>| given(file.as_ref()).map(|file| file.display().to_string());
        let kept = |file: &Option<PathBuf>| file.as_ref().map(|file| file.display().to_string());
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        // A context that names servers says of TLS what it says, if only by silence.
        let says_tls = self.context_beats("tls") && context.servers.is_some();
        let tls = self.options.tls.filter(|_| !says_tls).map(|tls| match tls {
            TlsOption::On => "on",
            TlsOption::Off => "off",
            TlsOption::Both => "both",
        });
        let timeout = self.options.timeout.map(|time| format!("{}ms", time.as_millis()));
        let rows = [
            (
                "servers",
                "servers",
                text(&self.options.servers),
                "TRIAD_SERVERS",
                context.servers,
                "",
            ),
            ("ca", "ca", path(&self.options.ca), "TRIAD_CA", kept(&context.ca), ""),
            (
                "token-file",
                "token_file",
                path(&self.options.token_file),
                "TRIAD_TOKEN_FILE",
                kept(&context.token_file),
                "",
            ),
            ("tls", "tls", tls.map(str::to_owned), "TRIAD_TLS", context.tls, "on"),
            ("timeout", "timeout", timeout, "", context.timeout, "5s"),
        ];
        let mut applied = vec![match &found {
            None => ("context", String::new(), "default".to_owned()),
            Some((name, _)) if self.typed.contains("context") => {
                ("context", name.clone(), "flag --context".to_owned())
            }
            Some((name, _)) if self.options.context.is_some() => {
                ("context", name.clone(), "environment TRIAD_CONTEXT".to_owned())
            }
            Some((name, _)) => ("context", name.clone(), "current".to_owned()),
        }];
        for (key, id, option, variable, kept, usual) in rows {
            let origin = |option: &Option<String>| match (option, &kept) {
                (Some(_), _) if self.typed.contains(id) => format!("flag --{key}"),
                (Some(_), Some(_)) if self.context_beats(id) => format!("context {name}"),
                (Some(_), _) => format!("environment {variable}"),
                (None, Some(_)) => format!("context {name}"),
                (None, None) => "default".to_owned(),
            };
            let from = origin(&option);
            let value = match self.context_beats(id) {
                true => kept.clone().or(option),
                false => option.or(kept.clone()),
            };
            applied.push((key, value.unwrap_or(usual.to_owned()), from));
        }
        let of_file = applied.iter().find(|(key, ..)| *key == "token-file");
        let (token, from) = match (self.token(token_variable())?, of_file) {
            (Some(Token::Variable(_)), _) => {
                ("(kept to itself)", format!("environment {TOKEN_VARIABLE}"))
            }
            (Some(Token::File(_)), Some((_, _, from))) => ("(in the token-file)", from.clone()),
            _ => ("", "default".to_owned()),
        };
        applied.push(("token", token.to_owned(), from));
        Ok(applied)
    }

    /// The variables that are set and go before what this context keeps, once it is the
    /// current one.
    pub fn variables_before(&self, name: &str, context: &Context) -> Vec<&'static str> {
        let options = &self.options;
        let is_set = |id: &str, option: bool| option && !self.typed.contains(id);
        let servers = options.servers.as_ref().is_some_and(|text| !text.trim().is_empty());
        let other = self.named_context().is_some_and(|other| other != name);
        let says_tls = context.tls.is_some() || context.servers.is_some();
        let (ca, token_file) = (given(options.ca.as_ref()), given(options.token_file.as_ref()));
        let keeps_token = context.token_file.is_some();
        let all = [
            ("TRIAD_CONTEXT", is_set("context", other)),
            ("TRIAD_SERVERS", is_set("servers", servers) && context.servers.is_some()),
            ("TRIAD_CA", is_set("ca", ca.is_some()) && context.ca.is_some()),
            (TOKEN_VARIABLE, token_variable().is_some() && keeps_token),
            ("TRIAD_TOKEN_FILE", is_set("token_file", token_file.is_some()) && keeps_token),
            ("TRIAD_TLS", is_set("tls", options.tls.is_some()) && says_tls),
        ];
        all.into_iter().filter(|(_, goes)| *goes).map(|(variable, _)| variable).collect()
    }

    /// Warns of files that were typed to be kept in a context and cannot be read.
    pub fn warn_of_unreadable(&self, context: &Context) {
        for (id, file) in [("ca", &context.ca), ("token_file", &context.token_file)] {
            if let Some(file) = file.as_ref().filter(|_| self.typed.contains(id))
                && let Err(failure) = read(file)
            {
                self.output.warn(&format!("{failure}; it is kept, and must be there to ask"));
            }
        }
    }

    /// The same, without a word about which of two tokens counts.
    pub fn quiet(self) -> Self {
        self.is_token_told.store(true, Relaxed);
        self
    }

    /// The same, asking other servers.
    pub fn with_servers(mut self, servers: &str) -> Self {
        self.options.servers = Some(servers.to_owned());
        self.typed.insert("servers".to_owned());
        self
    }

    /// The same, with another patience.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The same for the cluster with these servers and this authority, whatever the
    /// options name.
    pub fn about(&self, servers: &[String], ca: Option<&PathBuf>) -> Settings {
        let mut options = self.options.clone();
        options.servers = Some(servers.join(","));
        options.tls = Some(if ca.is_some() { TlsOption::On } else { TlsOption::Off });
        options.ca = ca.map(|ca| ca.clone().into_os_string());
        let named = ["servers", "tls", "ca"].map(str::to_owned);
        let typed = self.typed.iter().cloned().chain(named).collect();
        Settings { options, typed, ..self.clone() }
    }

    /// How long an answer may take, where that was said.
    pub fn timeout_given(&self) -> Option<Duration> {
        self.options.timeout
    }

    /// How long to wait for answers.
    pub fn timeout(&self) -> Duration {
        self.timeout_or(TIMEOUT_DEFAULT)
    }

    /// The same, where the usual time would not do.
    pub fn timeout_or(&self, usual: Duration) -> Duration {
        let kept = || duration::parse(self.context_if_good().timeout.as_deref()?).ok();
        self.options.timeout.or_else(kept).unwrap_or(usual)
    }

    /// Whether there is anybody to ask.
    pub fn names_servers(&self) -> bool {
        let named = |servers: Option<&str>| servers.is_some_and(|text| !text.trim().is_empty());
        // A context that is not there is told by asking.
        let is_misnamed = self.named_context().is_some() && self.context().is_err();
        let context = self.context_if_good();
        named(self.options.servers.as_deref()) || named(context.servers.as_deref()) || is_misnamed
    }

    /// Whether connections are encrypted.
    pub fn encrypted(&self) -> bool {
        let kept = || {
            let Context { servers, tls, .. } = self.context_if_good();
            let tls = tls.map(|tls| tls != "off");
            // A context that names servers says of TLS what it says, if only by silence.
            tls.or((self.context_beats("tls") && servers.is_some()).then_some(true))
        };
        let option = self.options.tls.map(|tls| tls != TlsOption::Off);
        let applies = match self.context_beats("tls") {
            true => kept().or(option),
            false => option.or_else(kept),
        };
        applies.unwrap_or(true)
    }

    /// What was said about TLS by an option or the environment, whatever the
    /// context says.
    pub fn tls_option(&self) -> Option<TlsOption> {
        self.options.tls
    }

    /// Refuses `--tls both` where there is one cluster, which is either.
    pub fn one_tls(&self) -> Result<(), Failure> {
        match self.options.tls {
            Some(TlsOption::Both) => Err(no_such_tls()),
            _ => Ok(()),
        }
    }

    /// The servers of the cluster, as `host:port`.
    pub fn servers(&self) -> Result<Vec<String>, Failure> {
        if self.named_context().is_some() {
            // One that is not there is no reason to ask another cluster.
            self.context()?;
        }
        let option = self.options.servers.clone().filter(|text| !text.trim().is_empty());
        let servers = self.applying("servers", option, |context| context.servers)?;
        match servers.as_deref().map(str::trim) {
            None | Some("") => Err(Failure::Usage {
                what: "no servers are named".to_owned(),
                remedy: "give --servers lic-a:27070,lic-b:27070,lic-c:27070, set TRIAD_SERVERS, or keep \
                         them: triad config set NAME --servers ..."
                    .to_owned(),
            }),
            Some(text) => Ok(parse_servers(text)?),
        }
    }

    /// The authority's certificate. `None`: plain text.
    pub fn authority_pem(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self.authority()? {
            Some(path) => Ok(Some(checked_authority(&path)?.0)),
            None => Ok(None),
        }
    }

    /// TLS as the options say. `None`: plain text.
    pub fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        match self.authority()? {
            Some(path) => Ok(Some(checked_authority(&path)?.1)),
            None => Ok(None),
        }
    }

    fn authority(&self) -> Result<Option<PathBuf>, Failure> {
        if !self.encrypted() {
            return Ok(None);
        }
        let option = given(self.options.ca.as_ref()).map(Path::to_owned);
        match self.applying("ca", option, |context| context.ca)? {
            Some(path) => Ok(Some(path)),
            None => Err(Failure::Usage {
                what: "the cluster's authority is not known, so no server can be trusted"
                    .to_owned(),
                remedy: "give --ca cluster/ca/ca.pem, or set TRIAD_CA".to_owned(),
            }),
        }
    }

    /// Where the token is, which may be in the variable of its own: that goes before the
    /// one that names a file, and behind what was typed.
    fn token(&self, variable: Option<String>) -> Result<Option<Token>, Failure> {
        let kept = || -> Result<Option<PathBuf>, Failure> {
            Ok(self.context()?.and_then(|(_, context)| context.token_file))
        };
        let option = given(self.options.token_file.as_ref()).map(Path::to_owned);
        let first = match self.context_beats("token_file") {
            true => kept()?,
            false => option.clone().filter(|_| self.typed.contains("token_file")),
        };
        Ok(match (first, variable) {
            (Some(file), _) => Some(Token::File(file)),
            (None, Some(token)) => Some(Token::Variable(token)),
            (None, None) => option.map_or_else(kept, |file| Ok(Some(file)))?.map(Token::File),
        })
    }

    /// The value of the `authorization` metadata, if there is a token.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let (token, place) = match self.token(token_variable())? {
            None => return Ok(None),
            Some(Token::Variable(token)) => {
                let names_file = given(self.options.token_file.as_ref()).is_some();
                if names_file && !self.is_token_told.swap(true, Relaxed) {
                    self.output.warn(
                        "TRIAD_TOKEN and TRIAD_TOKEN_FILE are both set, and the first counts; \
                         unset the one that is not meant",
                    );
                }
                (token, TOKEN_VARIABLE.to_owned())
            }
            Some(Token::File(path)) => {
                let token = String::from_utf8_lossy(&read(&path)?).into_owned();
                (token, path.display().to_string())
            }
        };
        authorization(&token).map(Some).ok_or_else(|| Failure::Usage {
            what: format!("{place} does not hold a token"),
            remedy: "give the admin.token that `triad init` wrote".to_owned(),
        })
    }
}

/// The token itself, where the environment has it. An empty variable is as good as none.
fn token_variable() -> Option<String> {
    std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty())
}

fn no_such_tls() -> Failure {
    Failure::Usage {
        what: "a cluster speaks TLS or it does not, so --tls is not both".to_owned(),
        remedy: "give --tls on or --tls off; both is for `triad bench --local`".to_owned(),
    }
}

/// An authority's certificate that TLS accepts, and that TLS.
fn checked_authority(path: &Path) -> Result<(Vec<u8>, ClientTls), Failure> {
    let pem = read(path)?;
    match ClientTls::new(&pem, None) {
        Ok(tls) => Ok((pem, tls)),
        Err(source) => Err(Failure::Authority { path: path.to_owned(), source }),
    }
}

/// The file that an option names. An empty variable is as good as none.
fn given(file: Option<&OsString>) -> Option<&Path> {
    file.filter(|file| !file.is_empty()).map(Path::new)
}

/// Reads a file whole.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

/// Reads a file of text whole.
pub fn read_text(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::Read { path: path.to_owned(), source })
}

fn authorization(token: &str) -> Option<MetadataValue<Ascii>> {
    let token = token.trim();
    let one_word = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
    // Kept out of logs and out of HTTP/2's table of headers.
    value.set_sensitive(true);
    one_word.then_some(value)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::args::Arguments;

    use super::*;

    fn settings(words: &[&str], typed: &[&str]) -> Settings {
        let words = ["triad", "status"].iter().chain(words);
        let arguments = Arguments::try_parse_from(words).unwrap();
        Settings::new(arguments.global, typed.iter().map(ToString::to_string).collect())
    }

    /// Without a file of contexts: what goes before what is decided before it is read.
    #[test]
    fn a_context_that_was_typed_goes_before_the_environment_alone() {
        let words = ["--context", "lab", "--servers", "a:1"];
        for (typed, beats) in [
            (&["context"][..], true),
            (&["context", "servers"], false),
            (&["servers"], false),
            (&[], false),
        ] {
            assert_eq!(settings(&words, typed).context_beats("servers"), beats, "{typed:?}");
        }
        // What another verb was told goes before all.
        let told = settings(&words, &["context"]).with_servers("b:1");
        assert!(!told.context_beats("servers"));
        let about = settings(&words, &["context"]).about(&["b:1".to_owned()], None);
        assert!(["servers", "tls", "ca"].iter().all(|id| !about.context_beats(id)));
    }

    #[test]
    fn the_variable_with_the_token_goes_before_the_one_that_names_a_file() {
        let words = ["--token-file", "admin.token"];
        let file = || Some(Token::File("admin.token".into()));
        let variable = || Some("tat_abc".to_owned());
        for (typed, variable, token) in [
            (&["token_file"][..], variable(), file()),
            (&[], variable(), variable().map(Token::Variable)),
            (&["token_file"], None, file()),
            (&[], None, file()),
        ] {
            assert_eq!(settings(&words, typed).token(variable).unwrap(), token, "{typed:?}");
        }
        let none = settings(&["--token-file", ""], &["token_file"]).token(variable()).unwrap();
        assert_eq!(none, variable().map(Token::Variable), "an empty name is none");
    }

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(authorization("tat_abc\n").unwrap().to_str().unwrap(), "Bearer tat_abc");
        for text in ["", " \n", "two words", "a\nb", "ü"] {
            assert!(authorization(text).is_none(), "{text:?}");
        }
    }
}

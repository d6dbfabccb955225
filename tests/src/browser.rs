//! A headless Chromium, driven by the WebDriver protocol: JSON over HTTP/1.1, of
//! which a driver on this machine needs little.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::ports::Ports;
use crate::{skip, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// Where `tests/setup.sh` puts what it installs.
const TOOLS_VARIABLE: &str = "TRIAD_TOOLS";
/// A folder for pictures of the pages, for people to look at.
const PICTURES_VARIABLE: &str = "TRIAD_PICTURES";

/// How a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Dark rather than light.
    pub dark: bool,
    /// Whether pages may run scripts.
    pub scripts: bool,
}

/// One browser with one window.
pub struct Browser {
    port: u16,
    session: String,
    axe: String,
    _driver: Child,
    _profile: TempDir,
    _ports: Ports,
}

fn axe() -> Option<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let tools = std::env::var_os(TOOLS_VARIABLE).map(PathBuf::from);
    let tools = tools.or_else(|| Some(home?.join(".cache/triad-tools")))?;
    fs::read_to_string(tools.join("npm/node_modules/axe-core/axe.min.js")).ok()
}

impl Browser {
    /// Starts one; `None` where there is none, which is said aloud.
    pub async fn start(wanted: Wanted) -> Option<Self> {
        let Some(axe) = axe() else {
            skip::skip("axe-core is not installed, see tests/setup.sh");
            return None;
        };
        let mut ports = Ports::reserve();
        let port = ports.take();
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn();
        let Ok(driver) = driver else {
            skip::skip("chromedriver is not installed, see tests/setup.sh");
            return None;
        };
        let profile = tempfile::tempdir().unwrap();
        let mut browser = Browser {
            port,
            session: String::new(),
            axe,
            _driver: driver,
            _profile: profile,
            _ports: ports,
        };
        let look = async || browser.send("GET", "/status", Value::Null).await;
        wait::until("the driver answers", LIMIT, look).await;
        let mut arguments: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--window-size=1280,1000",
        ]
        .map(str::to_owned)
        .into();
        arguments.push(format!("--user-data-dir={}", browser._profile.path().display()));
        if wanted.dark {
            arguments.push("--force-dark-mode".into());
            arguments.push("--blink-settings=preferredColorScheme=0".into());
        } else {
            arguments.push("--blink-settings=preferredColorScheme=1".into());
        }
        let scripts = if wanted.scripts { 1 } else { 2 };
        let preferences = json!({ "profile.managed_default_content_settings.javascript": scripts });
        let options = json!({ "args": arguments, "prefs": preferences });
        let always = json!({ "acceptInsecureCerts": true, "goog:chromeOptions": options });
        let wanted = json!({ "capabilities": { "alwaysMatch": always } });
        let made = browser.send("POST", "/session", wanted).await.expect("the browser starts");
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        Some(browser)
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Result<Value, String> {
        let sending = self.sent(method, path, body);
        let answer = timeout(LIMIT, sending).await.map_err(|_| format!("{path}: no answer"))?;
        let answer = answer.map_err(|error| format!("{path}: {error}"))?;
        let value = answer["value"].clone();
        match value["error"].as_str() {
            Some(error) => Err(format!("{path}: {error}: {}", value["message"])),
            None => Ok(value),
        }
    }

    async fn sent(&self, method: &str, path: &str, body: Value) -> std::io::Result<Value> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        socket.write_all((head + &body).as_bytes()).await?;
        let mut reader = BufReader::new(socket);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).await?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("content-length:") {
                length = number.trim().parse().unwrap_or(0);
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).await?;
        serde_json::from_slice(&bytes).map_err(std::io::Error::other)
    }

    async fn command(&self, method: &str, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.send(method, &path, body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) {
        self.command("POST", "/url", json!({ "url": url })).await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        self.command("GET", "/url", Value::Null).await.as_str().unwrap_or_default().to_owned()
    }

    /// The page as it is now.
    pub async fn source(&self) -> String {
        self.command("GET", "/source", Value::Null).await.as_str().unwrap_or_default().to_owned()
    }

    async fn find(&self, selector: &str) -> String {
        let look = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", look).await;
        let id = found.as_object().and_then(|object| object.values().next());
        id.and_then(Value::as_str).expect("an element").to_owned()
    }

    /// Types into the field that the selector finds first.
    pub async fn fill(&self, selector: &str, text: &str) {
        let field = self.find(selector).await;
        let path = format!("/element/{field}/value");
        self.command("POST", &path, json!({ "text": text })).await;
    }

    /// Clicks on what the selector finds first, and waits for the page that
    /// follows.
    pub async fn click(&self, selector: &str) {
        let before = self.find("html").await;
        let element = self.find(selector).await;
        self.command("POST", &format!("/element/{element}/click"), json!({})).await;
        let path = format!("/session/{}/element/{before}/name", self.session);
        let look = async || match self.send("GET", &path, Value::Null).await {
            Err(_) => Ok(()),
            Ok(_) => Err("still the page before"),
        };
        let look = async || look().await.map_err(str::to_owned);
        wait::until("another page is there", LIMIT, look).await;
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// What axe-core finds wrong with the page, one line for each finding.
    pub async fn violations(&self) -> Vec<String> {
        self.script(&self.axe).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run().then(found => done(found.violations.flatMap(rule => rule.nodes.map(
                node => rule.id + ': ' + node.html.slice(0, 200) + ' ' + node.failureSummary))));";
        let found = json!({ "script": script, "args": [] });
        let found = self.command("POST", "/execute/async", found).await;
        let lines = found.as_array().expect("a list");
        lines.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Takes a picture of the whole page, if somebody wants to look at them.
    pub async fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os(PICTURES_VARIABLE) else { return };
        // The page of before may have been longer.
        let small = json!({ "width": 1280, "height": 400 });
        self.command("POST", "/window/rect", small).await;
        let height = self.script("return document.documentElement.scrollHeight;").await;
        let rectangle = json!({ "width": 1280, "height": height.as_i64().unwrap_or(1000) + 150 });
        self.command("POST", "/window/rect", rectangle).await;
        let picture = self.command("GET", "/screenshot", Value::Null).await;
        let path = Path::new(&folder).join(format!("{name}.png.base64"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(path, picture.as_str().unwrap_or_default()).unwrap();
    }

    /// Closes the window.
    pub async fn close(self) {
        self.command("DELETE", "", Value::Null).await;
    }
}

//! A publisher's back office as a process, and how to ask it: as a program by
//! its interface, and as a person by its pages.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::codegen::http::{Method, header};
use triad_proto::net::ClientTls;

use crate::cluster::Cluster;
use crate::node::run;
use crate::ports::Ports;
use crate::web::{Answered, Web};
use crate::{program, wait};

/// How long the office may take to start or to answer.
const LIMIT: Duration = Duration::from_secs(20);
/// The password that the tests' administrator chooses.
const PASSWORD: &str = "correct horse battery staple";

/// An office with its process. It is gone when this is dropped.
pub struct Office {
    folder: TempDir,
    address: String,
    /// The line that sites trust.
    pub public_key: String,
    /// How sites know its certificate.
    pub fingerprint: String,
    token: String,
    web: Web,
    process: Option<Child>,
    _ports: Ports,
}

impl Office {
    /// Makes an office and starts it.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("triad-office-").tempdir().unwrap();
        let mut ports = Ports::reserve();
        let address = format!("127.0.0.1:{}", ports.take());
        let home = folder.path().join("office");
        let mut init = Command::new(program::triad_office());
        init.args(["init", "--publisher", "Acme", "--host", &address, "--listen", &address]);
        init.arg("--dir").arg(&home);
        let made = run(init, LIMIT).await;
        assert!(made.status.success(), "{made:?}");
        let told = |before: &str| {
            let rest = made.stdout.split_once(before).expect("init tells it").1;
            rest.split('"').next().expect("it is quoted").to_owned()
        };
        let (public_key, fingerprint) = (told("publisher_keys = [\""), told("fingerprint = \""));
        let pinned = ClientTls::pinned(bytes_of(&fingerprint)).unwrap();
        let web = Web::new(&address, Some(pinned));
        let mut office = Office {
            folder,
            address,
            public_key,
            fingerprint,
            token: String::new(),
            web,
            process: None,
            _ports: ports,
        };
        office.token = office.console("token add tests --role admin").await.trim().to_owned();
        office.up().await;
        office
    }

    /// Its folder.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("office")
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What each node's `triad.toml` says of it, with more lines.
    pub fn section(&self, more: &str) -> String {
        let (address, fingerprint) = (&self.address, &self.fingerprint);
        format!(
            "\n[office]\nurl = \"https://{address}\"\nfingerprint = \"{fingerprint}\"\n\
             poll_interval_s = 1\nretry_min_s = 1\nretry_max_s = 1\n{more}\n"
        )
    }

    /// Makes the nodes of a cluster know this office: node `n` is the host
    /// `STRING:{names[n]}`, and its section has `more[n]`.
    pub fn adopt(&self, cluster: &Cluster, names: &[&str], more: &[&str]) {
        for (node, more) in cluster.nodes.iter().zip(more) {
            node.edit("triad.toml", |text| {
                let key = "publisher_keys = [";
                let text = text.replacen(key, &format!("{key}\"{}\", ", self.public_key), 1);
                let mut parts = text.split("[[node]]\n");
                let mut text = parts.next().expect("there is a first part").to_owned();
                for (part, name) in parts.zip(names) {
                    text.push_str(&format!("[[node]]\nhostid = \"STRING:{name}\"\n{part}"));
                }
                text + &self.section(more)
            });
        }
    }

    /// Starts its process, and waits until it answers.
    pub async fn up(&mut self) {
        assert!(self.process.is_none(), "the office runs already");
        let log = fs::OpenOptions::new();
        let log = log.clone().create(true).append(true).open(self.folder.path().join("log.txt"));
        let mut command = self.command();
        command.arg("serve").stdin(Stdio::null()).stderr(log.unwrap());
        self.process = Some(command.spawn().expect("triad-office can be started"));
        let look = async || match self.get("/healthz", &[]).await {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        };
        wait::until("the office answers", LIMIT, look).await;
    }

    /// `kill -9`, and waits until the process is gone.
    pub async fn kill9(&mut self) {
        let mut process = self.process.take().expect("the office runs");
        process.kill().await.expect("our own child can be killed");
    }

    fn command(&self) -> Command {
        let mut command = Command::new(program::triad_office());
        command.arg("--config").arg(self.home().join("office.toml")).kill_on_drop(true);
        command
    }

    /// What a command at its console prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub async fn console(&self, arguments: &str) -> String {
        let mut command = self.command();
        command.args(arguments.split_whitespace());
        let ended = run(command, LIMIT).await;
        assert!(ended.status.success(), "{arguments}: {ended:?}");
        ended.stdout
    }

    /// A page or file, with these headers.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub async fn get(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Answered, String> {
        self.web.get(path, headers).await
    }

    /// Any request.
    ///
    /// # Errors
    ///
    /// Nobody answers.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
        body: String,
    ) -> Result<Answered, String> {
        self.web.ask(method, path, headers, body).await
    }

    /// A call of its interface for programs, as an administrator's program.
    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answered {
        let bearer = format!("Bearer {}", self.token);
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/api/v1{path}");
        self.ask(method, &path, &headers, body.to_string()).await.expect("the office answers")
    }

    /// The same, which must succeed.
    pub async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.call(method, path, body).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Sells `copies` of a product that grants one seat of `feature` each, and
    /// says the number of the line item and its rights id.
    pub async fn sell(&self, feature: &str, copies: u32) -> (i64, String) {
        let post = Method::POST;
        let name = json!({ "name": format!("customer of {feature}") });
        let organisation = self.done(post.clone(), "/organisations", name).await;
        let grants = json!([{ "feature": feature, "version": "2026.1", "seats": 1 }]);
        let product = json!({ "name": feature, "version": "1", "features": grants });
        let product = self.done(post.clone(), "/products", product).await;
        let order = json!({ "organisation": organisation["id"], "reference": feature });
        let order = self.done(post.clone(), "/entitlements", order).await;
        let item = json!({ "product": product["id"], "copies": copies });
        let path = format!("/entitlements/{}/line-items", order["id"]);
        let item = self.done(post, &path, item).await;
        let rights_id = item["rights_id"].as_str().expect("it is text").to_owned();
        (item["id"].as_i64().expect("a number"), rights_id)
    }

    /// Maps so many copies to a group.
    pub async fn map(&self, group: i64, line_item: i64, copies: u32) {
        let path = format!("/groups/{group}/rights/{line_item}");
        self.done(Method::PUT, &path, json!({ "copies": copies })).await;
    }

    /// Every server that the office knows, as its list tells it.
    pub async fn servers(&self) -> Vec<Value> {
        let found = self.done(Method::GET, "/servers", Value::Null).await;
        found["rows"].as_array().expect("rows").clone()
    }

    /// The outcomes of the requests so far, the newest first: host id and outcome.
    pub async fn outcomes(&self) -> Vec<(String, String)> {
        let found = self.done(Method::GET, "/requests", Value::Null).await;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = found["rows"].as_array().expect("rows");
        rows.iter().map(|row| (text(row, "hostid"), text(row, "outcome"))).collect()
    }

    /// Signs the administrator in by the set-up link, and returns the cookie.
    pub async fn sign_in(&self) -> String {
        let link = self.console("user invite admin").await;
        let path = link.trim().split_once(&self.address).expect("a link to the office").1;
        let password = PASSWORD.replace(' ', "+");
        let body = format!("new_password={password}&again={password}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = self.ask(Method::POST, path, &headers, body).await.expect("it answers");
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.headers[header::SET_COOKIE].to_str().expect("plain").to_owned();
        cookie.split(';').next().expect("a name and a value").to_owned()
    }

    /// The password that [`Office::sign_in`] chose.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }
}

fn bytes_of(hex: &str) -> [u8; 32] {
    let byte = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hexadecimal");
    std::array::from_fn(byte)
}

impl Drop for Office {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log.txt")).unwrap_or_default();
            eprintln!("--- the log of the office:\n{log}");
        }
    }
}

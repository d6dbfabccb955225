//! A new office: configuration, database, the first key, a certificate, and the
//! link for the first administrator.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use triad_proto::net::fingerprint_of;

use crate::config::Config;
use crate::error::OfficeError;
use crate::keys::{self, write_secret};
use crate::people::{self, Role};
use crate::rights::Writer;

/// What a new office is told.
#[derive(Clone, Debug)]
pub struct New {
    /// Where it is to be.
    pub directory: PathBuf,
    /// The publisher's name.
    pub publisher: String,
    /// By which name and port others reach it.
    pub host: String,
    /// The whole address, where it is not that: a proxy before it speaks TLS.
    pub url: Option<String>,
    /// Where to listen.
    pub listen: String,
    /// Plain HTTP, because somebody asked for it.
    pub plain: bool,
    /// Now.
    pub now_ms: u64,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The configuration.
    pub config: PathBuf,
    /// The publisher's public key, for the sites.
    pub public_key: String,
    /// The SHA-256 fingerprint of the certificate, for the sites; none without
    /// TLS.
    pub fingerprint: Option<String>,
    /// How people and servers reach it.
    pub url: String,
    /// Where the first administrator chooses a password.
    pub link: String,
}

/// How long its own certificate lives. Sites know it by its fingerprint.
const CERTIFICATE_YEARS: i32 = 10;

/// Makes an office where there was none.
pub fn init(new: &New) -> Result<Made, OfficeError> {
    let home = &new.directory;
    let file = home.join("office.toml");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OfficeError::File { path, source }
    };
    if file.exists() {
        return Err(OfficeError::Exists(file));
    }
    fs::create_dir_all(home).map_err(failed(home))?;
    let scheme = if new.plain { "http" } else { "https" };
    let tls = match new.plain {
        true => "mode = \"off\"\n",
        false => "mode = \"on\"\ncertificate = \"office.pem\"\nkey = \"office-key.pem\"\n",
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let text = format!(
        "# A publisher's back office. Start it with\n#     triad-office serve --config office.toml\n\
         # Relative paths are relative to this file.\n\n\
         # Stands in every license.\npublisher = {}\n\n\
         # Where it listens, and how people and servers reach it.\nlisten = {}\nurl = {}\n\n\
         database = \"office.db\"\n\
         # Whoever has what is in here can make licenses.\nkeys = \"keys\"\n\n\
         [tls]\n# \"off\" is plain HTTP: behind a proxy that speaks TLS, or for trials.\n{tls}\n\
         [exchange]\n\
         # For how many days a license is good without being renewed; 0: as long as was bought.\n\
         lifetime_days = 30\n\
         # Whether servers that nobody registered before are let in.\nregister_unknown = true\n",
        quoted(&new.publisher),
        quoted(&new.listen),
        quoted(&new.url.clone().unwrap_or_else(|| format!("{scheme}://{}", new.host))),
    );
    let config = Config::parse(&text, &file)?;
    fs::create_dir_all(&config.keys).map_err(failed(&config.keys))?;
    let fingerprint = match &config.tls {
        None => None,
        Some((certificate, key)) => Some(certify(&new.host, certificate, key)?),
    };
    let mut connection = crate::db::create(&config.database)?;
    let by = Writer { actor: "console", now_ms: new.now_ms };
    let (key, token) = crate::db::write(&mut connection, |tx| {
        let key = keys::draw(tx, &config.keys, by)?;
        Ok((key, people::invite(tx, "admin", Some(Role::Admin), by)?))
    })?;
    // Last: an office without its configuration is none, and can be made again.
    fs::write(&file, text).map_err(failed(&file))?;
    Ok(Made {
        config: file,
        public_key: key.public_key,
        fingerprint,
        link: format!("{}/set-up/{token}", config.url),
        url: config.url,
    })
}

fn certify(host: &str, certificate: &Path, key: &Path) -> Result<String, OfficeError> {
    let failed = |error: rcgen::Error| OfficeError::System(format!("the certificate: {error}"));
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).trim_matches(['[', ']']);
    let mut names = vec![name.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    names.dedup();
    let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, format!("Triad office {name}"));
    parameters.not_before = rcgen::date_time_ymd(2026, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2026 + CERTIFICATE_YEARS, 12, 31);
    let made = parameters.self_signed(&pair).map_err(failed)?;
    write_secret(key, pair.serialize_pem().as_bytes())?;
    fs::write(certificate, made.pem())
        .map_err(|source| OfficeError::File { path: certificate.to_owned(), source })?;
    let digest = fingerprint_of(made.der());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

//! The key that signs requests. It lies beside the configuration and not in the
//! data directory: who has copied the data cannot ask in this server's name.
//!
//! It is not the key of the node's certificate, since that is replaced when the
//! certificate is renewed, while the office knows a server by its key for good.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use triad_license::ServerKey;

use super::OfficeError;

/// Reads the key, or draws one where there is none yet.
pub(crate) fn load_or_draw(path: &Path) -> Result<ServerKey, OfficeError> {
    let failed = |what: String| OfficeError { place: path.display().to_string(), what };
    match fs::read_to_string(path) {
        Ok(text) => return ServerKey::parse(&text).map_err(|error| failed(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error.to_string())),
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| failed(error.to_string()))?;
    let key = ServerKey::generate(random);
    random.fill(0);
    write(path, &key).map_err(|error| {
        failed(format!("{error}; name a place that can be written with office.key"))
    })?;
    Ok(key)
}

/// Whole or not at all: a process may be killed in the middle.
fn write(path: &Path, key: &ServerKey) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(key.secret_text().as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_drawn_once_and_its_owner_alone_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("office.key");
        let drawn = load_or_draw(&path).unwrap().public();
        assert_eq!(load_or_draw(&path).unwrap().public(), drawn);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "damaged").unwrap();
        let error = load_or_draw(&path).unwrap_err().to_string();
        assert!(error.contains("office.key: ") && error.contains("backup"), "{error}");
    }
}

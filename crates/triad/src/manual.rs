//! `triad man`: a manual page for each command, made of the same words as `--help`.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::args::examples;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// Writes the pages.
pub fn write(settings: &Settings, folder: &Path) -> Result<Exit, Failure> {
    let failed = |source| Failure::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(examples::command(), folder).map_err(failed)?;
    let mut pages = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let is_page = entry.map_err(failed)?.path().extension().is_some_and(|end| end == "1");
        pages += u64::from(is_page);
    }
    let value = json!({ "folder": folder.display().to_string(), "pages": pages });
    settings.output.answer(&value, || format!("{pages} pages in {}\n", folder.display()))?;
    Ok(Exit::Ok)
}

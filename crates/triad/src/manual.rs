//! `triad man`: a manual page for each command, made of the same words as `--help`.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use serde_json::json;

use crate::args::{EXIT_CODES, examples};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;

/// Writes the pages.
pub fn write(settings: &Settings, folder: &Path) -> Result<Exit, Failure> {
    let failed = |source| Failure::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut command = examples::command().disable_help_subcommand(true);
    // With it, each command knows its whole name.
    command.build();
    write_pages(&command, folder).map_err(failed)?;
    let mut pages = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let is_page = entry.map_err(failed)?.path().extension().is_some_and(|end| end == "1");
        pages += u64::from(is_page);
    }
    let value = json!({ "folder": folder.display().to_string(), "pages": pages });
    settings.output.answer(&value, || format!("{pages} pages in {}\n", folder.display()))?;
    Ok(Exit::Ok)
}

fn write_pages(command: &Command, folder: &Path) -> io::Result<()> {
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        write_pages(verb, folder)?;
    }
    let page = Man::new(command.clone());
    fs::write(folder.join(page.get_filename()), text(&page, command)?)
}

fn text(page: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|verb| !verb.is_hide_set()) {
        page.render_subcommands_section(&mut text)?;
    }
    let said = |help: Option<&clap::builder::StyledStr>| help.map(ToString::to_string);
    section("EXAMPLES", &said(command.get_before_help()).unwrap_or_default(), &mut text)?;
    let ends = said(command.get_after_help()).unwrap_or_else(|| EXIT_CODES.to_owned());
    section("EXIT STATUS", &ends, &mut text)?;
    if command.get_version().is_some() {
        page.render_version_section(&mut text)?;
    }
    Ok(text)
}

/// A section with the lines of a help text as they are, but for the title that they
/// have there.
fn section(title: &str, help: &str, text: &mut Vec<u8>) -> io::Result<()> {
    let mut lines = help.lines().peekable();
    let is_set = lines.next_if(|first| first.ends_with(':')).is_some();
    if lines.peek().is_none() {
        return Ok(());
    }
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    if is_set {
        roff.control("nf", []);
    }
    for line in lines {
        roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
    }
    if is_set {
        roff.control("fi", []);
    }
    roff.to_writer(text)
}

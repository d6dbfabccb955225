//! `triad config`: the contexts of this user, and what applies now.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::config::ConfigVerb;
use crate::context::{Contexts, check_name, file};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};

/// Does what was asked with contexts.
pub fn run(settings: &Settings, verb: &ConfigVerb) -> Result<Exit, Failure> {
    let file = file().ok_or_else(|| Failure::Usage {
        what: "this user has no home, so there is no place for contexts".to_owned(),
        remedy: "name a file with TRIAD_CONFIG".to_owned(),
    })?;
    match verb {
        ConfigVerb::View { show_origin } => view(settings, *show_origin),
        ConfigVerb::List => list(settings, &file),
        ConfigVerb::Use { name } => {
            let mut contexts = Contexts::read(&file)?;
            let before = settings.variables_before(name, contexts.named(name)?);
            contexts.current = Some(name.clone());
            contexts.write(&file)?;
            let exit = told(settings, name, &file, "is used from now on")?;
            if !before.is_empty() {
                let one = before.len() == 1;
                let (goes, it) =
                    if one { ("is set and goes", "it") } else { ("are set and go", "them") };
                settings.output.warn(&format!(
                    "{} {goes} before it; unset {it}, or see `triad config view \
                     --show-origin`",
                    before.join(", ")
                ));
            }
            Ok(exit)
        }
        ConfigVerb::Set { name } => {
            check_name(name)?;
            let mut contexts = Contexts::read(&file)?;
            let context = contexts.by_name.entry(name.clone()).or_default();
            settings.write_typed(context)?;
            settings.warn_of_unreadable(context);
            // The first is meant to be used.
            contexts.current.get_or_insert_with(|| name.clone());
            contexts.write(&file)?;
            told(settings, name, &file, "is set")
        }
        ConfigVerb::Remove { name } => {
            let mut contexts = Contexts::read(&file)?;
            contexts.named(name)?;
            contexts.by_name.remove(name);
            contexts.current = contexts.current.filter(|current| current != name);
            contexts.write(&file)?;
            told(settings, name, &file, "is removed")
        }
    }
}

fn told(settings: &Settings, name: &str, file: &Path, what: &str) -> Result<Exit, Failure> {
    let value = json!({ "context": name, "file": file.display().to_string() });
    settings.output.answer(&value, || format!("context {name} {what} ({})\n", file.display()))?;
    Ok(Exit::Ok)
}

fn list(settings: &Settings, file: &Path) -> Result<Exit, Failure> {
    let contexts = Contexts::read(file)?;
    let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let rows: Vec<_> = contexts
        .by_name
        .iter()
        .map(|(name, context)| {
            json!({
                "name": name,
                "current": contexts.current.as_ref() == Some(name),
                "servers": context.servers,
                "ca": shown(&context.ca),
                "tokenFile": shown(&context.token_file),
            })
        })
        .collect();
    settings.output.list(&json!({ "contexts": rows }), &rows, || {
        let mut table = Table::new(&LIST_COLUMNS);
        for (name, context) in &contexts.by_name {
            let current = contexts.current.as_ref() == Some(name);
            table.add([
                if current { "*".into() } else { Cell::None },
                name.as_str().into(),
                context.servers.clone().unwrap_or_default().into(),
                shown(&context.ca).unwrap_or_default().into(),
                shown(&context.token_file).unwrap_or_default().into(),
            ]);
        }
        table
    })?;
    Ok(Exit::Ok)
}

const LIST_COLUMNS: [Column; 5] = [
    Column::text("CURRENT"),
    Column::text("NAME"),
    Column::text("SERVERS"),
    Column::text("CA"),
    Column::text("TOKEN FILE"),
];

fn view(settings: &Settings, show_origin: bool) -> Result<Exit, Failure> {
    let applied = settings.applied()?;
    let rows: Vec<_> = applied
        .iter()
        .map(|(key, value, origin)| json!({ "key": key, "value": value, "origin": origin }))
        .collect();
    settings.output.list(&json!({ "settings": rows }), &rows, || {
        let origin = Column::text("ORIGIN");
        let origin = if show_origin { origin } else { origin.wide() };
        let mut table = Table::new(&[Column::text("KEY"), Column::text("VALUE"), origin]);
        for (key, value, origin) in &applied {
            table.add([(*key).into(), value.as_str().into(), origin.as_str().into()]);
        }
        table
    })?;
    Ok(Exit::Ok)
}

//! `triad hostid`: what this machine is known by in licenses.

use serde_json::json;
use triad_license::{HostId, HostIdKind};
use triad_server::hostids::of_this_machine;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::table::{Column, Table};

/// Prints the host ids of this machine.
pub fn run(settings: &Settings) -> Result<Exit, Failure> {
    let ids = of_this_machine();
    let names: Vec<String> = ids.iter().map(HostId::to_string).collect();
    settings.output.answer(&json!({ "hostids": names }), || {
        let mut table = Table::new(&[Column::text("HOST ID"), Column::text("WHAT IT IS")]);
        for (id, name) in ids.iter().zip(&names) {
            table.add([name.as_str().into(), meaning(id.kind()).into()]);
        }
        table.render()
    })?;
    Ok(Exit::Ok)
}

fn meaning(kind: HostIdKind) -> &'static str {
    match kind {
        HostIdKind::Ethernet => "address of a network card",
        HostIdKind::MachineId => "installation id of the operating system",
        HostIdKind::VmUuid => "id given by the hypervisor",
        HostIdKind::Hostname => "name of the host",
        HostIdKind::String => "agreed upon",
    }
}

//! The bugs that can be put in, to see whether the simulation finds them.

/// Puts a bug in, by its name.
pub fn put_in(name: &str) -> Result<(), String> {
    Err(format!("no seeded bug is called {name}"))
}

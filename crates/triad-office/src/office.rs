//! The office as its pages, its interface and its commands share it.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, Transaction};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::db;
use crate::error::OfficeError;

/// The database behind one lock, and the configuration. Clones are the same
/// office.
#[derive(Clone)]
pub struct Office {
    /// As it was read at start.
    pub config: Arc<Config>,
    connection: Arc<Mutex<Connection>>,
    hashing: Arc<Semaphore>,
}

/// Passwords that are hashed at a time. Each takes 19 MiB and a core: more would
/// let strangers fill the machine.
const HASHES_MAX: usize = 2;

impl Office {
    /// Opens the office of this configuration.
    pub fn open(config: Config) -> Result<Self, OfficeError> {
        let connection = db::open(&config.database)?;
        Ok(Office {
            config: Arc::new(config),
            connection: Arc::new(Mutex::new(connection)),
            hashing: Arc::new(Semaphore::new(HASHES_MAX)),
        })
    }

    /// Asks the database. What takes long is not to be done in here.
    pub async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        self.with(move |connection, _| question(connection)).await
    }

    /// Writes in one transaction: all of it, or nothing.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        self.with(move |connection, _| db::write(connection, work)).await
    }

    /// Hashes a password, which is slow on purpose, apart from the database.
    pub async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, OfficeError> {
        let failed = |error: &dyn std::fmt::Display| OfficeError::System(error.to_string());
        let place = self.hashing.clone().acquire_owned().await.map_err(|e| failed(&e))?;
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await.map_err(|error| failed(&error))
    }

    /// Both, for what makes transactions of its own.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection, &Config) -> Result<T, OfficeError> + Send + 'static,
    ) -> Result<T, OfficeError> {
        let office = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            // A panic elsewhere has rolled its transaction back.
            let mut held = office.connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut held, &office.config)
        });
        done.await.unwrap_or_else(|error| Err(OfficeError::System(error.to_string())))
    }
}

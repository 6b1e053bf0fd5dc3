//! The configuration of a test's processes: short times, and what leads to the servers. Keys are set one by one over
//! Lockstep's own defaults.

use std::path::Path;

use toml::{Table, Value};

/// Keys with values, as `section.key`.
#[derive(Clone, Debug, Default)]
pub struct Configuration(Table);

impl Configuration {
    /// Sets a key, such as `scheduler.scan_millis`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.set(key, value);
        self
    }

    /// Sets a key in place.
    ///
    /// # Panics
    /// When a section is used as a key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        let mut table = &mut self.0;
        let mut names: Vec<&str> = key.split('.').collect();
        let last = names.pop().unwrap_or_default();
        for name in names {
            let section = table.entry(name).or_insert_with(|| Table::new().into());
            table = section.as_table_mut().expect("a section");
        }
        table.insert(last.to_owned(), value.into());
    }

    /// The text of a key's value.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut names = key.split('.');
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| value.get(name))?.as_str()
    }

    /// Writes the file that `lockstep --config` reads.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.0.to_string()).expect("a configuration file");
    }
}

//! Store, tests only: the suite on SQLite, and what only SQLite can show.

use std::path::PathBuf;

use super::{Options, SqliteStore};
use crate::Store;
use crate::conformance::{Make, conformance};

mod suite {
    use super::*;
    conformance!(Folder::new());
}

/// A store in a folder that vanishes with it.
struct Folder {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        Self { _folder: folder, path }
    }

    fn options() -> Options {
        Options::default()
    }

    fn sqlite(&self) -> SqliteStore {
        SqliteStore::open(&self.path, Self::options()).unwrap()
    }
}

impl Make for Folder {
    fn open(&mut self) -> Box<dyn Store> {
        Box::new(self.sqlite())
    }
}

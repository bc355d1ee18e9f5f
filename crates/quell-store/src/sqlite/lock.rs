//! Store: the lock that keeps a second process from writing. The operating system frees it when
//! the process dies; the file stays and says nothing by being there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use super::{DATABASE, LOCK, OpenError};

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Makes the folder, for its owner alone, and takes the lock.
    pub(super) fn take(folder: &Path) -> Result<Self, OpenError> {
        let unusable = |error: std::io::Error| OpenError::Folder {
            path: folder.to_owned(),
            cause: error.to_string(),
        };
        make_folder(folder).map_err(unusable)?;
        let mut file = open_private(&folder.join(LOCK)).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: folder.to_owned(), pid: pid_in(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        write_pid(&mut file).map_err(unusable)?;
        // SQLite gives its other files the mode of this one.
        open_private(&folder.join(DATABASE)).map_err(unusable)?;
        Ok(Self { _file: file })
    }
}

/// Makes the folder and makes its name durable in the folder above.
fn make_folder(folder: &Path) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    #[cfg(unix)]
    if let Some(above) = folder.canonicalize()?.parent() {
        File::open(above)?.sync_all()?;
    }
    Ok(())
}

/// Opens a file, made for its owner alone where there is none.
fn open_private(path: &Path) -> std::io::Result<File> {
    let mut open = OpenOptions::new();
    open.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
    open.open(path)
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The process that the lock file names, which is only a hint.
fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

//! The files of the workspace as the checks see them: paths relative to the root, and text where
//! there is text. Reads only what git tracks or would track; never the build folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All files of one workspace.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

/// One file: its size, and its text when it is UTF-8.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) bytes: usize,
    pub(crate) text: Option<String>,
}

impl Tree {
    /// Reads the workspace that this crate belongs to.
    pub(crate) fn workspace() -> Result<Self, String> {
        let root = root();
        let mut files = BTreeMap::new();
        for path in listed(&root)? {
            let full = root.join(&path);
            // A path that was removed but not yet committed as removed is still listed.
            if !full.is_file() {
                continue;
            }
            let bytes = std::fs::read(&full).map_err(|error| format!("`{path}`: {error}"))?;
            files.insert(path, File::new(bytes));
        }
        Ok(Self { files })
    }

    /// A small tree for a test.
    #[cfg(test)]
    pub(crate) fn sample(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File::new(text.as_bytes().to_vec());
        Self { files: files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect() }
    }

    /// Every path and file, sorted by path.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// Every file that is text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all().filter_map(|(path, file)| Some((path, file.text.as_deref()?)))
    }

    /// The Rust files of the crates and of xtask.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let ours = |path: &str| path.starts_with("crates/") || path.starts_with("xtask/");
        self.texts().filter(move |(path, _)| ours(path) && path.ends_with(".rs"))
    }

    /// The text of one file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path)?.text.as_deref()
    }

    /// Whether any file lies under the folder.
    pub(crate) fn has_under(&self, folder: &str) -> bool {
        self.files.keys().any(|path| path.starts_with(folder))
    }

    /// The names of the entries directly under the folder, each once.
    pub(crate) fn names_under(&self, folder: &str) -> Vec<&str> {
        let rests = self.files.keys().filter_map(|path| path.strip_prefix(folder));
        let mut names: Vec<&str> = rests.filter_map(|rest| rest.split('/').next()).collect();
        names.dedup();
        names
    }
}

impl File {
    fn new(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.len(), text: String::from_utf8(bytes).ok() }
    }
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The paths that git tracks or would add. The owner of the folder does not matter: continuous
/// integration often clones as one user and builds as another.
fn listed(root: &Path) -> Result<Vec<String>, String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "safe.directory=*", "ls-files", "-z", "--cached"]);
    let out = git.args(["--others", "--exclude-standard"]).output();
    let out = out.map_err(|error| format!("cannot run `git ls-files`: {error}"))?;
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        return Err(format!("`git ls-files` failed: {why}"));
    }
    let text = String::from_utf8(out.stdout).map_err(|_| "a path is not utf-8".to_owned())?;
    Ok(text.split_terminator('\0').map(str::to_owned).collect())
}

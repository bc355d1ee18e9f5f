//! Binary room, secrets by reference: `env:NAME` or `file:PATH`, never a value in a file of the
//! user, a log, a record or an error.

use std::path::Path;

use quell_store::OuterKey;

use crate::fault::Fault;

/// Reads the secret that a reference names. Relative paths are relative to `folder`.
pub(crate) fn resolve(folder: &Path, reference: &str) -> Result<String, Fault> {
    let text = match reference.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| {
            Fault::config(
                format!("the environment variable `{name}` is not set"),
                "set it before starting, or use `file:PATH`",
            )
        })?,
        Some(("file", path)) => {
            let path = folder.join(path);
            private(&path)?;
            std::fs::read_to_string(&path).map_err(|e| Fault::file(&path, &e))?
        }
        _ => {
            return Err(Fault::config(
                "a secret is not given by reference",
                "write `env:NAME` or `file:PATH`; secrets never stand in configuration files",
            ));
        }
    };
    let secret = text.trim().to_owned();
    if secret.len() < 8 {
        let message = format!("the secret behind `{reference}` has fewer than 8 characters");
        return Err(Fault::config(message, "use a long random one"));
    }
    Ok(secret)
}

/// Reads the key of a store; nothing of it stands in an error.
pub(crate) fn store_key(folder: &Path, reference: &str) -> Result<OuterKey, Fault> {
    OuterKey::parse(&resolve(folder, reference)?).map_err(|e| {
        Fault::config(
            format!("`{reference}`: {e}"),
            "make one with `openssl rand -base64 32`, and keep a copy where the store is not",
        )
    })
}

/// Refuses a secret file that others can read.
#[cfg(unix)]
pub(crate) fn private(path: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::PermissionsExt;
    let meta = std::fs::metadata(path).map_err(|e| Fault::file(path, &e))?;
    if meta.permissions().mode() & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("`{}` can be read by others", path.display());
    Err(Fault::config(message, format!("run `chmod 600 {}`", path.display())))
}

#[cfg(not(unix))]
pub(crate) fn private(_path: &Path) -> Result<(), Fault> {
    Ok(())
}

/// Writes a new secret file with mode 0600; refuses to replace one.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), Fault> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path).map_err(|e| Fault::file(path, &e))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| Fault::file(path, &e))
}

/// Random bytes from the operating system, as lower-case hexadecimal text.
pub(crate) fn random_hex(bytes: usize) -> Result<String, Fault> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(|e| Fault::store(&e))?;
    Ok(data_encoding::HEXLOWER.encode(&buffer))
}

//! Store: the schema, one numbered file after the other. Never goes back, and never touches a
//! database that is newer than the program or not ours.

use std::path::Path;

use quell_core::id::Digest;
use rusqlite::{Connection, params};

use super::{APPLICATION_ID, OpenError, failed, unread};
use crate::views::ReadError;

/// Every migration: its number is its place from 1; published files are never changed.
const MIGRATIONS: &[(&str, &str)] = &[
    ("first", include_str!("migrations/0001_first.sql")),
    ("keys", include_str!("migrations/0002_keys.sql")),
];

/// Brings the schema up to date in one transaction.
///
/// *Crash*: the schema is as before or up to date.
pub(super) fn migrate(conn: &mut Connection, path: &Path) -> Result<(), OpenError> {
    migrate_to(conn, path, MIGRATIONS)
}

/// Refuses a database that holds something else; writes nothing.
pub(super) fn refuse_foreign(conn: &Connection, path: &Path) -> Result<(), OpenError> {
    let tables: u32 = conn
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;
    let id: i32 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
    if tables == 0 || id == APPLICATION_ID {
        return Ok(());
    }
    Err(OpenError::Foreign { path: path.to_owned(), cause: "it holds other tables".to_owned() })
}

/// Refuses to read a schema that is not this program's; writes nothing.
pub(super) fn refuse_other_schema(conn: &Connection) -> Result<(), ReadError> {
    let found: u32 =
        conn.query_row("SELECT count(*) FROM migration", [], |row| row.get(0)).map_err(unread)?;
    let known = small(MIGRATIONS.len());
    if found == known { Ok(()) } else { Err(ReadError::Schema { found, known }) }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn migrate_to(
    conn: &mut Connection,
    path: &Path,
    migrations: &[(&str, &str)],
) -> Result<(), OpenError> {
    let foreign = |cause: String| OpenError::Foreign { path: path.to_owned(), cause };
    let tx =
        conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
    let applied = applied(&tx).map_err(failed)?;
    if applied.len() > migrations.len() {
        let (found, known) = (small(applied.len()), small(migrations.len()));
        return Err(OpenError::Newer { found, known });
    }
    for (place, (name, sql)) in migrations.iter().enumerate() {
        let digest = Digest::of(sql.as_bytes());
        match applied.get(place) {
            Some(known) if *known == digest.0 => {}
            Some(_) => return Err(foreign(format!("its migration `{name}` is another one"))),
            None => {
                tx.execute_batch(sql).map_err(failed)?;
                tx.execute(
                    "INSERT INTO migration (number, name, digest) VALUES (?1, ?2, ?3)",
                    params![i64::try_from(place).unwrap_or(i64::MAX) + 1, name, digest.0],
                )
                .map_err(failed)?;
            }
        }
    }
    tx.commit().map_err(|error| failed(error).into())
}

/// The digests of the migrations that were applied, in order.
fn applied(conn: &Connection) -> rusqlite::Result<Vec<[u8; 32]>> {
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.execute_batch(
        "CREATE TABLE IF NOT EXISTS migration (
             number INTEGER PRIMARY KEY,
             name   TEXT NOT NULL,
             digest BLOB NOT NULL
         ) STRICT;",
    )?;
    let mut select = conn.prepare("SELECT digest FROM migration ORDER BY number")?;
    let rows = select.query_map([], |row| row.get(0))?;
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::super::{DATABASE, Options, SqliteStore, SqliteViews};
    use super::*;

    const NEXT: (&str, &str) = ("next", "CREATE TABLE more (x INTEGER) STRICT;");

    #[test]
    fn goes_forward_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mut conn = Connection::open(&path).unwrap();
        let newer: Vec<_> = MIGRATIONS.iter().copied().chain([NEXT]).collect();
        migrate(&mut conn, &path).unwrap();
        migrate(&mut conn, &path).unwrap();
        migrate_to(&mut conn, &path, &newer).unwrap();
        let older = migrate(&mut conn, &path).unwrap_err();
        assert_eq!(
            older.to_string(),
            "the store has schema `3`, this program knows up to `2`: use a newer one"
        );
        let mut changed = newer;
        changed[0] = ("first", "CREATE TABLE other (x INTEGER)");
        let error = migrate_to(&mut conn, &path, &changed).unwrap_err().to_string();
        assert!(error.ends_with("its migration `first` is another one"), "{error}");
    }

    #[test]
    fn leaves_other_databases_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(DATABASE);
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch("CREATE TABLE theirs (x INTEGER)").unwrap();
        drop(conn);
        let before = std::fs::read(&path).unwrap();
        let error = SqliteStore::open(folder.path(), Options::default()).unwrap_err().to_string();
        assert!(error.ends_with("it holds other tables"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn reads_its_own_schema_only() {
        let folder = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(folder.path(), Options::default()).unwrap());
        SqliteViews::open(folder.path()).unwrap();
        let path = folder.path().join(DATABASE);
        let mut conn = Connection::open(&path).unwrap();
        let newer: Vec<_> = MIGRATIONS.iter().copied().chain([NEXT]).collect();
        migrate_to(&mut conn, &path, &newer).unwrap();
        let error = SqliteViews::open(folder.path()).unwrap_err().to_string();
        assert_eq!(error, "the store has schema `3`, this program reads schema `2`");
    }
}

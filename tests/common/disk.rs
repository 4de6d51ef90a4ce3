//! What somebody finds who takes the disk of a node away: every file as bytes, and the databases opened with the key
//! that lies beside them.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use silbo_node::vault::DatabaseKey;

/// The bytes of one file, or of one opened database.
pub struct Found {
    /// Where they are from.
    pub name: String,
    /// What is there.
    pub bytes: Vec<u8>,
}

impl Found {
    /// Whether these bytes are in it.
    pub fn has(&self, needle: &[u8]) -> bool {
        assert!(!needle.is_empty(), "nothing is in everything");
        self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}

/// Every file below a folder, as it is.
pub fn files(home: &Path) -> Vec<Found> {
    let mut folders = vec![home.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("what it is").file_type();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(home).expect("below the home").display().to_string();
                found.push(Found { name, bytes: fs::read(&path).expect("a file") });
            }
        }
    }
    found
}

/// The rows of both databases of a stopped node without a passphrase, opened with its own key file.
pub fn opened_databases(home: &Path) -> Vec<Found> {
    let data = home.join("data");
    let key: [u8; 32] = fs::read(data.join("key")).expect("the key file").try_into().expect("32 bytes");
    let key = DatabaseKey::from_bytes(&key);
    let files = [("private.db", "silbo private database v1"), ("mailbox.db", "silbo mailbox database v1")];
    files
        .into_iter()
        .map(|(name, label)| Found {
            name: format!("{name}, opened"),
            bytes: rows(&data.join(name), &key.derive(label)),
        })
        .collect()
}

fn rows(path: &PathBuf, key: &[u8; 32]) -> Vec<u8> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("a database");
    let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let opening = format!("PRAGMA key = \"x'{digits}'\"; PRAGMA cipher_hmac_algorithm = HMAC_SHA256");
    connection.execute_batch(&opening).expect("a key");
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("the key opens the database");
    assert!(tables.iter().any(|table| table == "kv"), "{tables:?}");
    let mut bytes = Vec::new();
    for table in tables {
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{table}\"")).expect("a table");
        let columns = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            for column in 0..columns {
                match row.get_ref(column).expect("a value") {
                    ValueRef::Text(value) | ValueRef::Blob(value) => bytes.extend_from_slice(value),
                    ValueRef::Integer(value) => bytes.extend_from_slice(value.to_string().as_bytes()),
                    ValueRef::Real(_) | ValueRef::Null => {}
                }
                bytes.push(b'\n');
            }
        }
    }
    bytes
}

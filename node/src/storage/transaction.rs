//! One transaction over many steps of the engine, and the order in which the two files and the spool are committed.
//!
//! **The mailbox file is committed first.** Each file is atomic by itself, the pair is not: a crash between the two
//! commits leaves the first one ahead. What a step tells anybody (frames, receipts, answers) leaves only after both
//! commits, so either order keeps every promise made to others; the question is which half may exist without the other.
//! * Mailbox ahead: the relay holds mail, a queue or its own signing key that nobody was told about. The depositor had
//!   no receipt and deposits again, which the tag makes harmless; a key that no setting points to is never used.
//! * Private ahead: the settings could say "this node serves as a relay" while the signing key and the queues it
//!   promised are not there. That state could not repair itself.
//!
//! A purge never removes mail early in this order either: the receipt that asks for it is sent by a step whose private
//! half was committed, so it arrives in a later transaction.
//!
//! **The spool is changed last, and its failure is nobody's**: what it holds is replicated, so a crash before it loses a
//! copy others still have, and never a receipt, which the private file has.

use rusqlite::Connection;
use silbo_protocol::step::Event;
use silbo_protocol::store::Write;

use super::pending::Pending;
use super::records::Place;
use super::{Database, File, MAILBOX_FILE, PRIVATE_FILE, StorageError, event_log, items, records, search_index};

/// What the open transaction has done so far.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    open: bool,
    private: bool,
    mailbox: bool,
    /// Messages were erased: what the write-ahead log still holds of them goes as well.
    pub(super) erased: bool,
    /// The first failure; the transaction can only be rolled back.
    failed: Option<StorageError>,
}

impl Transaction {
    pub(super) fn touches(&self, file: File) -> bool {
        match file {
            File::Private => self.private,
            File::Mailbox => self.mailbox,
        }
    }
}

impl Database {
    /// Begins a transaction. A file is locked and synced only if a write touches it.
    ///
    /// # Errors
    /// A transaction is open, or an earlier I/O error has made this handle unusable.
    pub fn begin(&mut self) -> Result<(), StorageError> {
        if let Some(error) = &self.unusable {
            return Err(error.clone());
        }
        if self.transaction.open {
            return Err(StorageError::Bug("a transaction is open already".to_owned()));
        }
        self.transaction = Transaction { open: true, ..Transaction::default() };
        Ok(())
    }

    /// Adds the writes of one step to the open transaction; reads see them at once. Persisted events are numbered and
    /// returned, to be published after [`Database::commit`].
    ///
    /// # Errors
    /// No transaction is open, or the disk is full, failing or damaged. Nothing of the transaction can be committed then.
    pub fn apply(&mut self, writes: &[Write]) -> Result<Vec<(u64, Event)>, StorageError> {
        if !self.transaction.open {
            return Err(StorageError::Bug("no transaction is open".to_owned()));
        }
        if let Some(error) = &self.transaction.failed {
            return Err(error.clone());
        }
        let mut events = Vec::new();
        for write in writes {
            if let Err(error) = self.write(write, &mut events) {
                self.transaction.failed = Some(error.clone());
                return Err(self.noted(error));
            }
        }
        Ok(events)
    }

    /// Makes everything since [`Database::begin`] durable: the mailbox file, then the private one, then the spool.
    ///
    /// # Errors
    /// Nothing more of the transaction is kept, except that the mailbox file may be ahead (see the module). After an I/O
    /// error the handle refuses further transactions.
    pub fn commit(&mut self) -> Result<(), StorageError> {
        if !self.transaction.open {
            return Err(StorageError::Bug("no transaction is open".to_owned()));
        }
        if let Some(error) = self.transaction.failed.clone() {
            self.rollback();
            return Err(error);
        }
        if let Err(error) = self.settle().and_then(|()| self.index_what_waits()) {
            self.rollback();
            return Err(self.noted(error));
        }
        for file in [File::Mailbox, File::Private] {
            if !self.transaction.touches(file) {
                continue;
            }
            let (connection, name) = self.file(file);
            if let Err(error) = connection.execute_batch("COMMIT") {
                let error = StorageError::from_sqlite(name, &error);
                self.rollback();
                return Err(self.noted(error));
            }
        }
        self.spooled.commit();
        let done = std::mem::take(&mut self.transaction);
        self.tend(&done);
        Ok(())
    }

    /// Forgets everything since [`Database::begin`]. Does nothing if no transaction is open.
    pub fn rollback(&mut self) {
        self.transaction = Transaction::default();
        self.pending = Pending::default();
        self.spooled.rollback();
        for file in [File::Mailbox, File::Private] {
            let (connection, name) = self.file(file);
            // Some failures have rolled back by themselves.
            if connection.is_autocommit() {
                continue;
            }
            if let Err(error) = connection.execute_batch("ROLLBACK") {
                let error = StorageError::from_sqlite(name, &error);
                tracing::warn!(%error, "a transaction could not be rolled back");
                self.unusable = Some(error);
            }
        }
    }

    /// Runs `work` on the private file in the open transaction, or in one of its own.
    pub(super) fn in_private<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let alone = !self.transaction.open;
        if alone {
            self.begin()?;
        }
        let done = self.touch(File::Private).and_then(work);
        match done {
            Ok(value) if alone => self.commit().map(|()| value),
            Ok(value) => Ok(value),
            Err(error) => {
                if alone {
                    self.rollback();
                } else {
                    self.transaction.failed = Some(error.clone());
                }
                Err(self.noted(error))
            }
        }
    }

    /// A file and its name.
    pub(super) fn file(&self, file: File) -> (&Connection, &'static str) {
        match file {
            File::Private => (&self.private, PRIVATE_FILE),
            File::Mailbox => (&self.mailbox, MAILBOX_FILE),
        }
    }

    fn write(&mut self, write: &Write, events: &mut Vec<(u64, Event)>) -> Result<(), StorageError> {
        match write {
            Write::Put { table, key, value } => match records::place(*table) {
                Place::Database(file) => {
                    self.touch(file)?;
                    if self.pending.put(*table, key, value) {
                        return if self.pending.is_full() { self.settle() } else { Ok(()) };
                    }
                    self.pending.forget(*table, key);
                    records::put(self.touch(file)?, *table, key, value)
                }
                Place::Spool(space) => {
                    self.spooled.put(space, key, value);
                    Ok(())
                }
            },
            Write::Delete { table, key } => match records::place(*table) {
                Place::Database(file) => {
                    self.pending.forget(*table, key);
                    records::delete(self.touch(file)?, *table, key)
                }
                Place::Spool(space) => {
                    self.spooled.delete(space, key);
                    Ok(())
                }
            },
            Write::PutItem(row) => {
                let hidden = items::put(self.touch(File::Private)?, row)?;
                self.unindexed = self.unindexed.saturating_add(1);
                self.transaction.erased |= hidden;
                Ok(())
            }
            Write::EraseItem { chat, id } => {
                let erased = items::erase(self.touch(File::Private)?, chat, id)?;
                self.transaction.erased |= erased;
                Ok(())
            }
            Write::EraseChat { chat } => {
                items::erase_chat(self.touch(File::Private)?, chat)?;
                self.transaction.erased = true;
                Ok(())
            }
            Write::AppendEvent(event) => {
                let seq = event_log::append(self.touch(File::Private)?, event)?;
                events.push((seq, event.clone()));
                Ok(())
            }
        }
    }

    /// Writes the small records that wait into the transaction.
    fn settle(&mut self) -> Result<(), StorageError> {
        for ((table, key), value) in self.pending.take() {
            if let Place::Database(file) = records::place(table) {
                records::put(self.touch(file)?, table, &key, &value)?;
            }
        }
        Ok(())
    }

    fn index_what_waits(&mut self) -> Result<(), StorageError> {
        if self.transaction.private && self.unindexed >= search_index::WAITING_MAX {
            let more = search_index::catch_up(&self.private, search_index::BATCH)?;
            self.unindexed = if more { self.unindexed.saturating_sub(search_index::BATCH) } else { 0 };
        }
        Ok(())
    }

    /// The file, inside the transaction from here on.
    fn touch(&mut self, file: File) -> Result<&Connection, StorageError> {
        if !self.transaction.touches(file) {
            let (connection, name) = self.file(file);
            connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| StorageError::from_sqlite(name, &error))?;
            match file {
                File::Private => self.transaction.private = true,
                File::Mailbox => self.transaction.mailbox = true,
            }
        }
        Ok(self.file(file).0)
    }

    /// Remembers an error after which this handle may not be used. After a failed sync nobody knows what is on disk:
    /// retrying could report as durable what is not.
    fn noted(&mut self, error: StorageError) -> StorageError {
        if matches!(error, StorageError::Io(_)) {
            self.unusable = Some(error.clone());
        }
        error
    }
}

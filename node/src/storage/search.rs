//! Finding messages by their text: whole words and beginnings of words, else any part of the text.

use rusqlite::params;
use silbo_protocol::ids::ChatId;
use silbo_protocol::store::ItemRow;
use silbo_protocol::time::UnixTime;

use super::items::{COLUMNS, integer, rows};
use super::{Database, StorageError};

/// Words of a query that count; the rest is ignored.
const WORDS_MAX: usize = 16;
/// Characters of a query that count.
const CHARS_MAX: usize = 256;
/// Shortest text the index of parts can find.
const GRAM_CHARS: usize = 3;

/// What is looked for.
#[derive(Clone, Debug, Default)]
pub struct SearchQuery {
    /// Words as a person types them. All must occur; the last may be the beginning of one.
    pub text: String,
    /// Only in this conversation.
    pub chat: Option<ChatId>,
    /// Only messages written at or after this time.
    pub after: Option<UnixTime>,
    /// Only messages written before this time.
    pub before: Option<UnixTime>,
    /// At most so many.
    pub limit: usize,
}

impl Database {
    /// Visible messages that match, latest first. Upper and lower case and accents make no difference.
    ///
    /// Text in scripts without spaces, and text that is no beginning of any word, is looked for as a part of messages.
    ///
    /// # Errors
    /// When the database cannot be read. No text is an error.
    pub fn search(&self, query: &SearchQuery) -> Result<Vec<ItemRow>, StorageError> {
        let words = words_of(&query.text);
        if words.is_empty() {
            return Ok(Vec::new());
        }
        self.index_everything()?;
        if !words.iter().any(|word| word.chars().any(is_written_without_spaces)) {
            let found = self.matching("words", &beginnings(&words), query)?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        if words.iter().all(|word| word.chars().count() >= GRAM_CHARS) {
            return self.matching("grams", &parts(&words), query);
        }
        self.containing(&words, query)
    }

    fn matching(&self, index: &str, expression: &str, query: &SearchQuery) -> Result<Vec<ItemRow>, StorageError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM {index} JOIN items ON items.row = {index}.rowid
             WHERE {index} MATCH ?1 AND items.visible = 1 AND (?2 IS NULL OR items.chat = ?2)
               AND items.sent_at >= ?3 AND items.sent_at < ?4
             ORDER BY items.sent_at DESC, items.id DESC LIMIT ?5"
        );
        let (chat, after, before, limit) = bounds(query);
        rows(&self.private, &sql, params![expression, chat, after, before, limit])
    }

    /// Reads every text: for one or two characters there is no index, and one or two Han characters are a word.
    fn containing(&self, words: &[String], query: &SearchQuery) -> Result<Vec<ItemRow>, StorageError> {
        let (chat, after, before, limit) = bounds(query);
        let mut values: Vec<rusqlite::types::Value> = vec![chat.into(), after.into(), before.into(), limit.into()];
        let mut conditions = String::new();
        for word in words {
            values.push(format!("%{}%", word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")).into());
            conditions.push_str(&format!(" AND items.body LIKE ?{} ESCAPE '\\'", values.len()));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM items WHERE items.visible = 1 AND (?1 IS NULL OR items.chat = ?1)
               AND items.sent_at >= ?2 AND items.sent_at < ?3{conditions}
             ORDER BY items.sent_at DESC, items.id DESC LIMIT ?4"
        );
        rows(&self.private, &sql, rusqlite::params_from_iter(values))
    }
}

fn bounds(query: &SearchQuery) -> (Option<Vec<u8>>, i64, i64, i64) {
    (
        query.chat.map(|chat| chat.0.to_vec()),
        query.after.map_or(0, |at| integer(at.0)),
        query.before.map_or(i64::MAX, |at| integer(at.0)),
        i64::try_from(query.limit).unwrap_or(i64::MAX),
    )
}

fn words_of(text: &str) -> Vec<String> {
    let text: String = text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().take(WORDS_MAX).map(str::to_owned).collect()
}

/// An FTS5 expression in which nothing of the user's text has a meaning of its own.
fn beginnings(words: &[String]) -> String {
    format!("{} *", parts(words))
}

fn parts(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
    quoted.join(" AND ")
}

/// Han, kana, Hangul, Thai, Lao, Khmer and Burmese: the tokenizer sees whole sentences as one word.
fn is_written_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1100}'..='\u{11FF}' | '\u{1780}'..='\u{17FF}'
        | '\u{2E80}'..='\u{9FFF}' | '\u{A960}'..='\u{A97F}' | '\u{AC00}'..='\u{D7FF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{FF66}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}')
}

//! Mail that people carry: what is carried for others, and mail in a file or a text.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde_json::{Value, json};
use silbo_protocol::wire::base64;

use super::arguments::{ExportArguments, MeshCommand};
use super::failure::{Class, Failure};
use super::{Session, params, qr, render};

/// Largest bag as a text, and the size of one that still makes a code people can scan.
const TEXT_BYTES_MAX: u64 = 2_600;
const TEXT_BYTES: u64 = 2 << 10;
/// Largest bag in a file that the API takes.
const FILE_BYTES_MAX: u64 = 512 << 10;
/// What a text begins with, in any case.
const TEXT_PREFIX: &str = "SILBO:B/";

/// `silbo mesh …`
pub async fn mesh(session: &Session, command: MeshCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    let wanted = match command {
        MeshCommand::Status => {
            let mut status = session.call("mesh.status", json!({})).await?;
            status["radio"] = radio(session).await?;
            return screen.result(&status, render::mesh);
        }
        MeshCommand::Peers | MeshCommand::Scan => {
            let mut radio = radio(session).await?;
            if command == MeshCommand::Peers
                && let Some(items) = radio["items"].as_array_mut()
            {
                items.retain(|item| item["linked"] == true);
            }
            return screen.result(&radio, render::radio_neighbours);
        }
        MeshCommand::Map => return screen.list(&session.call("mesh.map", json!({})).await?, render::mesh_map),
        MeshCommand::Announce => {
            let done = session.call("mesh.announce", json!({})).await?;
            screen.result(&done, |_, _| String::new())?;
            screen.note("looked for; who is there is in: silbo mesh map");
            return Ok(());
        }
        MeshCommand::Power { mode } => json!({"power": mode.word()}),
        MeshCommand::Appoint { contact, off } => {
            let done = session.call("mesh.appoint", json!({"contact": contact, "on": !off})).await?;
            return screen.result(&done, |_, _| String::new());
        }
        MeshCommand::Set { carry: None, max_messages: None, max_size: None, auto_carriers: None } => {
            return Err(Failure::usage("there is nothing to change", "silbo mesh set --carry off")
                .why("none of --carry, --max-messages, --max-size and --auto-carriers is given"));
        }
        MeshCommand::Set { carry, max_messages, max_size, auto_carriers } => params([
            ("enabled", json!(carry.map(|carry| carry.is_on()))),
            ("maxEnvelopes", json!(max_messages)),
            ("maxBytes", json!(max_size)),
            ("autoCarriers", json!(auto_carriers)),
        ]),
    };
    screen.result(&session.call("mesh.set", wanted).await?, render::mesh)
}

/// How the radio looks, and how many nodes are heard, whichever of them are shown.
async fn radio(session: &Session) -> Result<Value, Failure> {
    let mut radio = session.call("mesh.radio", json!({})).await?;
    radio["heard"] = json!(radio["items"].as_array().map_or(0, Vec::len));
    Ok(radio)
}

/// `silbo msg carry export …`
pub async fn export(session: &Session, arguments: ExportArguments) -> Result<(), Failure> {
    let screen = &session.screen;
    let (usual, most) = match arguments.file {
        Some(_) => (FILE_BYTES_MAX, FILE_BYTES_MAX),
        None => (TEXT_BYTES, TEXT_BYTES_MAX),
    };
    let max = arguments.max.unwrap_or(usual);
    if max > most {
        let hint = if most == TEXT_BYTES_MAX { "silbo msg carry export --file FILE" } else { "export it in parts" };
        return Err(Failure::usage("the mail cannot be exported", hint)
            .why(format!("--max {max} is more than the {most} bytes that fit")));
    }
    // The file first: handing mail over changes how many copies are still made of it.
    let file = arguments.file.as_deref().map(create).transpose()?;
    let wanted = params([("chat", json!(arguments.to)), ("maxBytes", json!(max))]);
    let packed = session.call("message.pack", wanted).await;
    if let (Err(_), Some(path)) = (&packed, &arguments.file) {
        drop(fs::remove_file(path)); // an empty file would look like a bag
    }
    let packed = packed?;
    if let (Some(mut file), Some(path)) = (file, &arguments.file) {
        let bag = base64::decode(packed["bag"].as_str().unwrap_or_default()).unwrap_or_default();
        file.write_all(&bag).and_then(|()| file.sync_all()).map_err(|error| not_written(path, &error))?;
        screen.result(&packed, render::packed)?;
        screen.note(&format!("on the other node: silbo msg carry import {}", path.display()));
        return Ok(());
    }
    let text = render::text(&packed, "text");
    if let Some(path) = &arguments.qr_file {
        fs::write(path, qr::draw_svg(&text)?).map_err(|error| not_written(path, &error))?;
    }
    if screen.is_json() {
        return screen.document(&packed);
    }
    screen.line(&text)?;
    if screen.is_seen() && !arguments.no_qr {
        screen.line(&qr::draw_in_terminal(&text, true)?)?;
    }
    screen.note(&render::packed(&packed, &screen.time));
    screen.note("on the other node: silbo msg carry import TEXT");
    Ok(())
}

fn create(path: &Path) -> Result<File, Failure> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::usage("the mail cannot be exported", "choose another file").why(format!("{}: {error}", path.display()))
}

/// `silbo msg carry import …`
pub async fn import(session: &Session, from: &str) -> Result<(), Failure> {
    let is_text = from.get(..TEXT_PREFIX.len()).is_some_and(|head| head.eq_ignore_ascii_case(TEXT_PREFIX));
    let bag = if is_text { from.to_owned() } else { base64::encode(&read(from)?) };
    let taken = session.call("message.unpack", json!({"bag": bag})).await?;
    session.screen.result(&taken, render::unpacked)
}

/// A file, or standard input.
fn read(from: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let source: io::Result<Box<dyn Read>> = match from {
        "-" => Ok(Box::new(io::stdin().lock())),
        path => File::open(path).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let done = source.and_then(|source| source.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    done.map_err(|error| {
        Failure::usage("the mail cannot be imported", "silbo msg carry import FILE").why(format!("{from}: {error}"))
    })?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Failure::new(Class::Limit, "the mail cannot be imported")
            .why(format!("{from} has more than {FILE_BYTES_MAX} bytes"))
            .hint("export it in parts: silbo msg carry export --to NAME --file FILE"));
    }
    Ok(bytes)
}

/// What a bag holds, as a value of the API counts it.
pub fn counted(value: &Value, parts: &[(&str, &str)]) -> String {
    let words = parts.iter().filter_map(|(name, noun)| {
        let count = value.get(name).and_then(Value::as_u64).filter(|count| *count > 0)?;
        Some(format!("{count} {noun}"))
    });
    let words: Vec<String> = words.collect();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_named_and_nothing_is_said_so() {
        let parts = [("forMe", "for me"), ("carried", "for others")];
        assert_eq!(counted(&json!({"forMe": 2, "carried": 0}), &parts), "2 for me");
        assert_eq!(counted(&json!({}), &parts), "nothing");
    }
}

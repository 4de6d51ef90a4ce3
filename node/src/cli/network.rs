//! The node and its surroundings: status, relays, peers, ping, doctor, tokens.

use serde_json::{Value, json};
use tokio::time::Duration;

use super::arguments::{NetCommand, RelayCommand, TokenCommand};
use super::failure::{Class, Failure};
use super::{Session, milliseconds, params, render};

/// `silbo status`
pub async fn status(session: &Session) -> Result<(), Failure> {
    session.screen.result(&session.call("system.status", json!({})).await?, render::status)
}

/// `silbo relay …`, without `serve`
pub async fn relay(session: &Session, command: RelayCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        RelayCommand::Serve(serve) => super::up::serve(session, &serve),
        RelayCommand::Add { address } => {
            if !address.contains("/p2p/") {
                return Err(Failure::usage("the relay cannot be added", "on the relay: silbo relay status")
                    .why("its address has no /p2p/ part, so nobody could tell whether the right one answers"));
            }
            screen.result(&session.call("relay.add", json!({"address": address})).await?, render::relay)
        }
        RelayCommand::List => screen.list(&session.call("relay.list", json!({})).await?, render::relays),
        RelayCommand::Remove { peer, yes, dry_run } => {
            if dry_run {
                screen.note(&format!("would no longer use {peer}"));
                return screen.result(&json!({"dryRun": true, "peer": peer}), |_, _| String::new());
            }
            screen.confirm(&format!("no longer use {peer}? Mail it holds for me is fetched no more."), yes)?;
            let done = session.call("relay.remove", json!({"peer": peer})).await?;
            screen.result(&done, |_, _| String::new())?;
            screen.note(&format!("{peer} is no longer used"));
            Ok(())
        }
        RelayCommand::Status => screen.result(&session.call("relay.status", json!({})).await?, render::relay_status),
    }
}

/// `silbo net …`
pub async fn net(session: &Session, command: NetCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        NetCommand::Check => screen.result(&session.call("net.check", json!({})).await?, render::net),
        NetCommand::Peers => screen.list(&session.call("net.peers", json!({})).await?, render::peers),
    }
}

/// `silbo ping …`
pub async fn ping(session: &Session, to: &str, count: u32, timeout: Duration) -> Result<(), Failure> {
    let screen = &session.screen;
    let wanted = json!({"contact": to, "timeoutMs": milliseconds(timeout)});
    let mut answers = Vec::new();
    for round in 0..count {
        if round > 0 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let answer = session.client.call_waiting("net.ping", wanted.clone(), timeout).await?;
        if !screen.is_json() {
            screen.line(&format!("{to}: {} ms, {}", render::text(&answer, "rttMs"), render::text(&answer, "path")))?;
        }
        answers.push(answer);
    }
    match answers.as_slice() {
        [only] if screen.is_json() => screen.document(only),
        _ if screen.is_json() => screen.list(&json!({"items": answers}), |_, _| String::new()),
        _ => Ok(()),
    }
}

/// `silbo doctor`: what the node finds, or without a node what can be seen from outside.
pub async fn doctor(session: &Session) -> Result<(), Failure> {
    let screen = &session.screen;
    match session.call("system.doctor", json!({})).await {
        Ok(found) => screen.result(&found, render::doctor),
        Err(failure) if failure.class == Class::NoDaemon => {
            screen.result(&outside(session, &failure), render::doctor)?;
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

fn outside(session: &Session, failure: &Failure) -> Value {
    let paths = &session.paths;
    let config = super::config_file::load(&paths.config_path);
    let (config_ok, config_detail) = match &config {
        Ok((_, unknown)) if unknown.is_empty() => (true, paths.config_path.display().to_string()),
        Ok((_, unknown)) => (false, unknown.join("; ")),
        Err(failure) => (false, failure.why.clone()),
    };
    let data_detail = paths.data_dir.display().to_string();
    let there = paths.data_dir.is_dir();
    json!({"checks": [
        {"name": "node", "ok": false, "detail": failure.why, "hint": failure.hint},
        {"name": "configuration", "ok": config_ok, "detail": config_detail, "hint": if config_ok { Value::Null } else { json!("silbo config edit") }},
        {"name": "data", "ok": there, "detail": data_detail, "hint": if there { Value::Null } else { json!("silbo up") }},
    ]})
}

/// `silbo token …`
pub async fn token(session: &Session, command: TokenCommand) -> Result<(), Failure> {
    let screen = &session.screen;
    match command {
        TokenCommand::Create { name, scopes, ttl } => {
            let wanted =
                params([("name", json!(name)), ("scopes", json!(scopes)), ("ttlMs", json!(ttl.map(milliseconds)))]);
            let made = session.call("token.create", wanted).await?;
            screen.result(&made, |made, _| render::text(made, "token"))?;
            screen.note("this is the only time the token is shown");
            Ok(())
        }
        TokenCommand::List => screen.list(&session.call("token.list", json!({})).await?, render::tokens),
        TokenCommand::Revoke { name } => {
            let done = session.call("token.revoke", json!({"name": name})).await?;
            screen.result(&done, |_, _| String::new())?;
            screen.note(&format!("{name} is void"));
            Ok(())
        }
    }
}

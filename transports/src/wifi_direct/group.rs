//! One group with everything in it: how it comes up and how it goes, whatever part of it there is.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use silbo_protocol::ids::PeerKey;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::left::{self, Left};
use super::record::Place;
use super::tunnel::{Tunnel, link_local};
use super::upgrade::Plan;
use super::wpa::{Group, Problem, Wpa};
use crate::internet::{self, Internet, InternetSettings, parse_multiaddr_with_peer, peer_text};
use crate::link::{LinkCommand, LinkIds};

/// What there is of a group, to be taken back by [`Made::undo`].
#[derive(Debug, Default)]
pub(super) struct Made {
    /// What was changed, and by which names our group is known.
    left: Option<Left>,
    /// The group itself.
    pub(super) group: Option<Group>,
    /// QUIC in it.
    pub(super) net: Option<Internet>,
    tunnel: Option<Tunnel>,
    /// The tunnel's task.
    carrying: Option<AbortOnDropHandle<()>>,
    /// Where QUIC dials, and whom; only at the end that does.
    dial: Option<LinkCommand>,
    /// The key of the other end.
    pub(super) peer: Option<PeerKey>,
}

/// Makes a group and everything in it, up to where it can be told to the other end. When `stop` is cancelled, it ends early.
/// Whatever there is then has to be undone.
pub(super) async fn make(
    wpa: &Wpa,
    plan: &Plan,
    ids: LinkIds,
    left_path: Option<&PathBuf>,
    stop: &CancellationToken,
) -> (Made, Result<Place, String>) {
    let mut made = Made::default();
    let outcome = tokio::select! {
        biased;
        () = stop.cancelled() => Err("it was given up".to_owned()),
        outcome = fill(&mut made, wpa, plan, ids, left_path) => outcome,
    };
    (made, outcome)
}

async fn fill(
    made: &mut Made,
    wpa: &Wpa,
    plan: &Plan,
    ids: LinkIds,
    left_path: Option<&PathBuf>,
) -> Result<Place, String> {
    let said = |problem: Problem| problem.to_string();
    if let Some(before) = Left::read(left_path)
        && !tidy(wpa, &before, None, left_path).await
    {
        // What is set now is ours: it must not be taken for what was there before.
        return Err(Problem::NotPutBack.to_string());
    }
    let before = wpa.before().await.map_err(said)?;
    let left = Left { names: [plan.own, plan.theirs], interface: wpa.name.clone(), before };
    left.write(left_path).map_err(|problem| format!("nothing can be written down: {problem}"))?;
    made.left = Some(left);
    wpa.rename(plan.own).await.map_err(said)?;
    let group = wpa.join(plan).await?;
    tracing::debug!(interface = group.name, owner = group.owner, "the group is there");
    let name = group.name.clone();
    made.group = Some(group);
    let at = link_local(&name).await.ok_or_else(|| format!("{name} has no link-local IPv6 address"))?;
    let settings = InternetSettings {
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".to_owned()],
        mdns: false,
        upnp: false,
        hole_punching: false,
        dht_server: internet::DhtMode::Off,
        link_ids: ids,
        ..InternetSettings::default()
    };
    let net = internet::start(settings).await.map_err(|problem| problem.to_string())?;
    let port = quic_port(&net).ok_or("QUIC does not listen on the loopback")?;
    let (peer, tunnel) = (net.local.clone(), Tunnel::open(at, port).await);
    made.net = Some(net);
    let tunnel = tunnel.map_err(|problem| format!("no packets through {name}: {problem}"))?;
    let port = tunnel.outside_port().map_err(|problem| problem.to_string())?;
    made.tunnel = Some(tunnel);
    Ok(Place { address: at.address, port, peer })
}

/// The port of the one address it listens on.
fn quic_port(net: &Internet) -> Option<u16> {
    let snapshot = net.snapshot.borrow();
    snapshot
        .listen
        .iter()
        .find_map(|address| address.strip_prefix("/ip4/127.0.0.1/udp/")?.split('/').next()?.parse().ok())
}

impl Made {
    /// Opens the way to the other end; the end that dials can do so from now on.
    pub(super) fn connect(&mut self, theirs: &Place, dials: bool) {
        let Some(tunnel) = self.tunnel.take() else { return };
        self.peer = Some(theirs.peer.clone());
        if let Some(port) = tunnel.inside_port().ok().filter(|_| dials) {
            let text = format!("/ip4/{}/udp/{port}/quic-v1/p2p/{}", Ipv4Addr::LOCALHOST, peer_text(&theirs.peer));
            let address = parse_multiaddr_with_peer(&text).ok();
            self.dial = address.map(|address| LinkCommand::Dial { address, relay: false });
        }
        let theirs = theirs.clone();
        self.carrying = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            if let Err(problem) = tunnel.carry(&theirs).await {
                tracing::debug!(%problem, "the way through the group is gone");
            }
        })));
        self.dial();
    }

    /// Dials, if this end does. Answered by a link or by `DialFailed`.
    pub(super) fn dial(&self) {
        if let (Some(dial), Some(net)) = (&self.dial, &self.net)
            && net.commands.try_send(dial.clone()).is_err()
        {
            tracing::debug!("QUIC takes no dial");
        }
    }

    /// The way through the group has ended by itself.
    pub(super) fn is_cut(&self) -> bool {
        self.carrying.as_ref().is_some_and(|task| task.is_finished())
    }

    /// Takes back whatever there is, and nothing else. False if some of it stays written down.
    pub(super) async fn undo(self, wpa: Option<&Wpa>, left_path: Option<&PathBuf>) -> bool {
        if let Some(net) = self.net {
            net.stop().await;
        }
        drop((self.carrying, self.tunnel));
        let Some(left) = self.left else { return true };
        let Some(wpa) = wpa else { return false };
        if self.group.is_none() {
            wpa.cancel().await;
        }
        tidy(wpa, &left, self.group, left_path).await
    }
}

/// Removes a group of this attempt and puts names back.
pub(super) async fn tidy(wpa: &Wpa, left: &Left, group: Option<Group>, left_path: Option<&PathBuf>) -> bool {
    let group = match group {
        Some(group) => Some(group),
        None => match wpa.group_of(&left.names).await {
            Ok(group) => group,
            Err(problem) => {
                tracing::warn!(%problem, "whether a Wi-Fi Direct group of ours is left cannot be seen");
                return false;
            }
        },
    };
    if let Some(group) = group
        && let Err(problem) = wpa.remove(&group).await
    {
        // It stays written down, and ends by itself when it is empty.
        tracing::warn!(%problem, "a Wi-Fi Direct group of ours could not be removed");
        return false;
    }
    match wpa.restore(&left.before).await {
        Ok(()) => {
            left::forget(left_path);
            true
        }
        Err(problem) => {
            tracing::warn!(%problem, "the name on Wi-Fi Direct was not put back");
            false
        }
    }
}

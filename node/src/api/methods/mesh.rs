//! `mesh.*`, `message.pack`, `message.unpack`.

use std::sync::Arc;

use silbo_protocol::carry::store::CarrySettings;
use silbo_protocol::input::Request;
use silbo_protocol::limits::{
    AUTO_CARRIERS_MAX, BAG_BYTES_MIN, CARRIED_BYTES_MAX, CARRIED_ENVELOPES_MAX, CARRIED_TEXT_BYTES_MAX,
};
use silbo_protocol::step::{MeshView, Reply, RequestError};
use silbo_protocol::wire::base64;
use silbo_transports::LinkCommand;
use silbo_transports::bluetooth::BluetoothState;
use tokio::sync::mpsc::error::TrySendError;

use super::unexpected;
use crate::api::error::{ApiError, ErrorKind};
use crate::api::limits::{BAG_BYTES_MAX, QR_BAG_BYTES_MAX};
use crate::api::types::{
    Done, List, Mesh, MeshAppoint, MeshNode, MeshSet, MessagePack, MessageUnpack, Nothing, Packed, RadioStatus,
    Unpacked,
};
use crate::api::{Api, convert, people};
use crate::core::{self, CoreError};

pub(super) async fn status(api: Arc<Api>, _: Nothing) -> Result<Mesh, ApiError> {
    Ok(convert::mesh(own_status(&api).await?))
}

pub(super) async fn radio(api: Arc<Api>, _: Nothing) -> Result<RadioStatus, ApiError> {
    Ok(convert::radio(&api.facts.radio))
}

/// Links with contacts first, then the others, then those who are only heard.
pub(super) async fn map(api: Arc<Api>, _: Nothing) -> Result<List<MeshNode>, ApiError> {
    let now = core::now().moment;
    let links = api.core.read_with_engine(|_, engine| Ok(engine.link_views())).await?;
    let contacts = people::contacts(&api).await?;
    let radio = &api.facts.radio;
    let (radio_links, bluetooth) = (radio.links.borrow().links.clone(), radio.bluetooth.borrow().clone());
    let heard = |rid: [u8; 6]| bluetooth.neighbours.iter().find(|neighbour| neighbour.rid == rid);
    let mut nodes: Vec<MeshNode> = Vec::new();
    for link in links {
        let rid = radio_links.iter().find(|known| known.link == link.link).map(|known| known.instance.rid());
        let contact = contacts.iter().find(|contact| Some(contact.chat) == link.chat);
        nodes.push(MeshNode {
            contact: contact.map(|contact| contact.name.clone()),
            id: contact.map(|contact| contact.chat.full()),
            route: Some(convert::route(link.route)),
            carries: link.carries,
            rid: rid.map(|rid| convert::rid(&rid)),
            rssi: rid.and_then(heard).and_then(|neighbour| neighbour.rssi),
            up_ms: Some(now.0.saturating_sub(link.up_at.0)),
        });
    }
    nodes.sort_by_key(|node| (node.contact.is_none(), node.contact.clone()));
    nodes.extend(bluetooth.neighbours.iter().filter(|neighbour| !neighbour.linked).map(|neighbour| MeshNode {
        contact: None,
        id: None,
        route: None,
        carries: false,
        rid: Some(convert::rid(&neighbour.rid)),
        rssi: neighbour.rssi,
        up_ms: None,
    }));
    Ok(List { items: nodes })
}

/// What this node carries for others.
pub(super) async fn own_status(api: &Api) -> Result<MeshView, ApiError> {
    match api.core.request(Request::MeshStatus).await? {
        Reply::Mesh(view) => Ok(view),
        _ => Err(unexpected("MeshStatus")),
    }
}

pub(super) async fn set(api: Arc<Api>, params: MeshSet) -> Result<Mesh, ApiError> {
    let asked = settings(own_status(&api).await?.settings, &params)?;
    if let Some(power) = params.power.map(convert::power_of_radios) {
        api.core.request(Request::SetRadioPower(power)).await?;
        api.facts.radio.conditions.send_modify(|known| known.power = power);
    }
    match api.core.request(Request::SetCarry(asked)).await? {
        Reply::Mesh(view) => Ok(convert::mesh(view)),
        _ => Err(unexpected("SetCarry")),
    }
}

/// The settings with what was asked for.
fn settings(before: CarrySettings, params: &MeshSet) -> Result<CarrySettings, ApiError> {
    let mut asked = before;
    if let Some(power) = params.power {
        if params.max_envelopes.is_some() || params.max_bytes.is_some() {
            return Err(ApiError::invalid("power", "not together with maxEnvelopes or maxBytes")
                .hint("a power mode is short for both numbers"));
        }
        (asked.envelopes_max, asked.bytes_max) = convert::amounts(power);
    }
    if let Some(envelopes) = params.max_envelopes {
        if !(1..=CARRIED_ENVELOPES_MAX).contains(&envelopes) {
            return Err(ApiError::invalid("maxEnvelopes", format!("from 1 to {CARRIED_ENVELOPES_MAX}"))
                .hint("to carry nothing: {\"enabled\": false}"));
        }
        asked.envelopes_max = envelopes;
    }
    if let Some(bytes) = params.max_bytes {
        if !(CARRIED_TEXT_BYTES_MAX as u64..=CARRIED_BYTES_MAX).contains(&bytes) {
            let bounds = format!("from {CARRIED_TEXT_BYTES_MAX} to {CARRIED_BYTES_MAX}");
            return Err(ApiError::invalid("maxBytes", bounds).hint("to carry nothing: {\"enabled\": false}"));
        }
        asked.bytes_max = bytes;
    }
    if let Some(carriers) = params.auto_carriers {
        if carriers > AUTO_CARRIERS_MAX {
            return Err(ApiError::invalid("autoCarriers", format!("from 0 to {AUTO_CARRIERS_MAX}"))
                .hint("appoint single contacts: `silbo mesh appoint NAME`"));
        }
        asked.carriers = carriers;
    }
    asked.enabled = params.enabled.unwrap_or(asked.enabled);
    Ok(asked)
}

pub(super) async fn appoint(api: Arc<Api>, params: MeshAppoint) -> Result<Done, ApiError> {
    let chat = people::find_contact(&api, &params.contact).await?;
    api.core.request(Request::SetCarrier { chat, on: params.on }).await?;
    Ok(Done {})
}

pub(super) async fn announce(api: Arc<Api>, _: Nothing) -> Result<Done, ApiError> {
    let radio = &api.facts.radio;
    let on = radio.bluetooth.borrow().state == BluetoothState::On;
    let by_radio = radio.commands.as_ref().filter(|_| on);
    let on_network = Some(&api.facts.commands).filter(|_| api.facts.net.borrow().mdns);
    if by_radio.is_none() && on_network.is_none() {
        return Err(ApiError::new(ErrorKind::Offline, "there is no way to look for neighbours")
            .why("Bluetooth is off, and discovery on the local network is off or does not work here")
            .hint(
                "`silbo config set transports.mdns true` or `transports.bluetooth true`, then start the node again",
            ));
    }
    for way in by_radio.into_iter().chain(on_network) {
        match way.try_send(LinkCommand::LookAround) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(CoreError::Busy.into()),
            Err(TrySendError::Closed(_)) => return Err(CoreError::Stopped.into()),
        }
    }
    Ok(Done {})
}

pub(super) async fn pack(api: Arc<Api>, params: MessagePack) -> Result<Packed, ApiError> {
    let bytes_max = params.max_bytes as usize;
    if !(BAG_BYTES_MIN..=BAG_BYTES_MAX).contains(&bytes_max) {
        return Err(ApiError::invalid("maxBytes", format!("from {BAG_BYTES_MIN} to {BAG_BYTES_MAX}")));
    }
    let chat = match &params.chat {
        Some(chat) => Some(people::find(&api, chat, "chat").await?),
        None => None,
    };
    match api.core.request(Request::PackBag { chat, bytes_max }).await? {
        Reply::BagPacked { bag, text, view } => Ok(Packed {
            text: (bag.len() <= QR_BAG_BYTES_MAX).then_some(text),
            bytes: u32::try_from(bag.len()).unwrap_or(u32::MAX),
            bag: base64::encode(&bag),
            own: view.own,
            carried: view.carried,
            vaccines: view.vaccines,
            left_out: view.refused,
        }),
        _ => Err(unexpected("PackBag")),
    }
}

pub(super) async fn unpack(api: Arc<Api>, params: MessageUnpack) -> Result<Unpacked, ApiError> {
    // A text of a QR code has a colon, base64url has none.
    let bag = match params.bag.contains(':') {
        true => params.bag.into_bytes(),
        false => {
            base64::decode(params.bag.trim()).ok_or_else(|| unreadable("this is neither base64url nor a QR text"))?
        }
    };
    match api.core.request(Request::OpenBag { bag }).await {
        Ok(Reply::BagOpened(view)) => {
            Ok(Unpacked { for_me: view.for_me, carried: view.carried, vaccines: view.vaccines, refused: view.refused })
        }
        Ok(_) => Err(unexpected("OpenBag")),
        Err(CoreError::Request(RequestError::Invalid { why, .. })) => Err(unreadable(&why)),
        Err(error) => Err(error.into()),
    }
}

fn unreadable(why: &str) -> ApiError {
    ApiError::new(ErrorKind::InvalidParams, "the bag cannot be opened; nothing was taken out of it")
        .why(why)
        .hint("copy it again from where it was made: `silbo msg carry export`")
        .field("bag")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::PowerMode;

    #[test]
    fn what_is_not_asked_for_stays() {
        let before = CarrySettings { enabled: false, envelopes_max: 7, bytes_max: 20_000, carriers: 3 };
        assert_eq!(settings(before, &MeshSet::default()).ok(), Some(before));
        let some = MeshSet { enabled: Some(true), max_bytes: Some(1 << 20), ..MeshSet::default() };
        let after = CarrySettings { enabled: true, bytes_max: 1 << 20, ..before };
        assert_eq!(settings(before, &some).ok(), Some(after));
    }

    #[test]
    fn a_power_mode_is_its_two_numbers_and_is_recognised_by_them() {
        for power in [PowerMode::Performance, PowerMode::Balanced, PowerMode::Saver] {
            let asked = MeshSet { power: Some(power), ..MeshSet::default() };
            let after = settings(CarrySettings::default(), &asked).expect("a power mode");
            assert_eq!(convert::power_of(after), Some(power));
        }
        assert_eq!(convert::power_of(CarrySettings::default()), Some(PowerMode::Performance));
    }

    #[test]
    fn bounds_are_kept_and_named() {
        let bad = [
            (MeshSet { max_envelopes: Some(0), ..MeshSet::default() }, "maxEnvelopes"),
            (MeshSet { max_envelopes: Some(100_001), ..MeshSet::default() }, "maxEnvelopes"),
            (MeshSet { max_bytes: Some((64 << 20) + 1), ..MeshSet::default() }, "maxBytes"),
            (MeshSet { max_bytes: Some(1), ..MeshSet::default() }, "maxBytes"),
            (MeshSet { auto_carriers: Some(17), ..MeshSet::default() }, "autoCarriers"),
            (MeshSet { power: Some(PowerMode::Saver), max_bytes: Some(1 << 20), ..MeshSet::default() }, "power"),
        ];
        for (params, field) in bad {
            let error = settings(CarrySettings::default(), &params).expect_err(field);
            assert_eq!(error.data.field.as_deref(), Some(field));
            assert!(error.data.hint.is_some());
        }
    }
}

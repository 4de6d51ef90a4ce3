//! wpa_supplicant over D-Bus: what is free, how a group is made and removed. Its interface is described in
//! wpa_supplicant's `dbus.doxygen`.
//!
//! Nothing here decides anything: `upgrade` does, and calls are made by the supervisor. What a group needs that was
//! changed (names on the air, the time an empty group lives) is put back by [`Wpa::restore`].

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use zbus::message::Type;
use zbus::zvariant::{DynamicType, ObjectPath, OwnedObjectPath, OwnedValue, Value};
use zbus::{Connection, MatchRule, MessageStream, connection};

use super::record::Name;
use super::upgrade::Plan;

/// The service, its interface and its root object.
const SERVICE: &str = "fi.w1.wpa_supplicant1";
const ROOT: &str = "/fi/w1/wpa_supplicant1";
const INTERFACE: &str = "fi.w1.wpa_supplicant1.Interface";
const P2P: &str = "fi.w1.wpa_supplicant1.Interface.P2PDevice";
const PEER: &str = "fi.w1.wpa_supplicant1.Peer";
const GROUP: &str = "fi.w1.wpa_supplicant1.Group";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// No call takes longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the nodes that were heard are looked at.
const LOOK: Duration = Duration::from_millis(300);
/// The one who waits is asked by then, or looks again.
const WAIT_FOR_ASK: Duration = Duration::from_secs(6);
/// A request that leads nowhere is given up by then, and made again.
const ATTEMPT: Duration = Duration::from_secs(18);
/// How often a group is tried for.
const ATTEMPTS_MAX: u32 = 4;
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(500);
/// How long all tries may take, a little less than `upgrade` gives them.
const JOIN: Duration = Duration::from_secs(55);
/// Seconds an owner keeps a group that nobody is in: as long as a crash of both ends leaves it behind.
const EMPTY_GROUP_S: u32 = 60;
/// Nodes that are looked at for a name, the first ones.
const PEERS_MAX: usize = 128;
/// Signals that may wait.
const SIGNALS_MAX: usize = 128;

/// Why wpa_supplicant is of no use here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// There is no bus.
    #[error("there is no D-Bus: {0}")]
    NoBus(zbus::Error),
    /// It is not on the bus.
    #[error("wpa_supplicant is not on the bus: it has to run with D-Bus (-u)")]
    NoService,
    /// No interface can do it, or not the one that is wanted.
    #[error(
        "wpa_supplicant has no interface with Wi-Fi Direct{0}: `iw list` says what a chip can (P2P-GO), transports.wifi_direct_interface which one is used"
    )]
    NoInterface(String),
    /// This user may not speak to it.
    #[error(
        "this user may not speak to wpa_supplicant: let it in a D-Bus policy for fi.w1.wpa_supplicant1, or switch transports.wifi_direct off"
    )]
    NotAllowed,
    /// It said no.
    #[error("wpa_supplicant: {0}")]
    Refused(zbus::Error),
    /// The group is not there any more.
    #[error("the group was removed")]
    NoGroup,
    /// An attempt of before could not be taken back.
    #[error("what the last group had changed could not be put back yet; it is tried again")]
    NotPutBack,
    /// It said something else.
    #[error("wpa_supplicant answers otherwise than expected")]
    Strange,
}

impl From<zbus::Error> for Problem {
    fn from(error: zbus::Error) -> Self {
        match &error {
            zbus::Error::MethodError(name, ..) => match name.as_str() {
                "org.freedesktop.DBus.Error.AccessDenied" => Self::NotAllowed,
                "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
                    Self::NoService
                }
                _ => Self::Refused(error),
            },
            _ => Self::Refused(error),
        }
    }
}

impl From<zbus::zvariant::Error> for Problem {
    fn from(_: zbus::zvariant::Error) -> Self {
        Self::Strange
    }
}

type Dict = HashMap<String, OwnedValue>;

/// One interface of wpa_supplicant. Cloning is cheap.
#[derive(Clone, Debug)]
pub(super) struct Wpa {
    bus: Connection,
    /// The connection that owns the service: signals of others are not believed.
    owner: String,
    path: OwnedObjectPath,
    /// Its name, such as `wlan0`.
    pub(super) name: String,
}

/// What was set before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Before {
    pub(super) device_name: String,
    pub(super) ssid_postfix: String,
    pub(super) group_idle_s: u32,
}

/// A group this process has made.
#[derive(Clone, Debug)]
pub(super) struct Group {
    path: OwnedObjectPath,
    /// Its name on the air; two characters of it are by chance, so that it is no other group's.
    ssid: Vec<u8>,
    /// Its network interface.
    pub(super) name: String,
    /// This end is the owner.
    pub(super) owner: bool,
}

/// What the name of a group of an attempt ends in.
fn postfix(name: &str) -> String {
    format!("-{name}")
}

/// Whether a group with this name on the air is of an attempt with these names.
fn is_of(ssid: &[u8], names: &[Name]) -> bool {
    names.iter().any(|name| ssid.ends_with(postfix(&name.text()).as_bytes()))
}

impl Wpa {
    /// The interface that is wanted, or the first one with Wi-Fi Direct. `address` is that of the bus; `None` takes the
    /// system's.
    pub(super) async fn open(address: Option<&str>, wanted: Option<&str>) -> Result<Self, Problem> {
        let builder = match address {
            Some(address) => connection::Builder::address(address),
            None => connection::Builder::system(),
        };
        let bus =
            builder.map_err(Problem::NoBus)?.method_timeout(CALL_TIMEOUT).build().await.map_err(Problem::NoBus)?;
        // Asked first: a call would start the service on systems that start services by being called.
        let owner = bus
            .call_method(
                Some("org.freedesktop.DBus"),
                "/org/freedesktop/DBus",
                Some("org.freedesktop.DBus"),
                "GetNameOwner",
                &SERVICE,
            )
            .await?;
        let owner: String = owner.body().deserialize()?;
        let mut found = Self { bus, owner, path: ObjectPath::try_from(ROOT)?.into(), name: String::new() };
        let paths: Vec<OwnedObjectPath> = found.get(&found.path, SERVICE, "Interfaces").await?;
        for path in paths {
            let name: String = found.get(&path, INTERFACE, "Ifname").await?;
            let usable = wanted.is_none_or(|wanted| wanted == name)
                && found.get::<Dict>(&path, P2P, "P2PDeviceConfig").await.is_ok();
            if usable {
                (found.path, found.name) = (path, name);
                return Ok(found);
            }
        }
        Err(Problem::NoInterface(wanted.map_or_else(String::new, |wanted| format!(" called {wanted}"))))
    }

    /// Who uses the radio already, in words.
    pub(super) async fn busy(&self) -> Result<Option<String>, Problem> {
        let root = ObjectPath::try_from(ROOT)?.into();
        let paths: Vec<OwnedObjectPath> = self.get(&root, SERVICE, "Interfaces").await?;
        for path in &paths {
            let role: String = self.get(path, P2P, "Role").await.unwrap_or_default();
            if matches!(role.as_str(), "GO" | "client") {
                return Ok(Some("there is a Wi-Fi Direct group that is not ours".to_owned()));
            }
        }
        let state: String = self.get(&self.path, INTERFACE, "State").await?;
        Ok(match state.as_str() {
            "disconnected" | "inactive" | "scanning" | "interface_disabled" => None,
            _ => Some(format!("{} is in a Wi-Fi network ({state})", self.name)),
        })
    }

    /// What a group changes.
    pub(super) async fn before(&self) -> Result<Before, Problem> {
        let config: Dict = self.get(&self.path, P2P, "P2PDeviceConfig").await?;
        let text = |name| config.get(name).and_then(|value| String::try_from(value.clone()).ok()).unwrap_or_default();
        let idle = config.get("GroupIdle").and_then(|value| u32::try_from(value.clone()).ok()).unwrap_or(0);
        Ok(Before { device_name: text("DeviceName"), ssid_postfix: text("SsidPostfix"), group_idle_s: idle })
    }

    /// Takes a name for one attempt.
    pub(super) async fn rename(&self, name: Name) -> Result<(), Problem> {
        let name = &name.text();
        let before = Before { device_name: name.clone(), ssid_postfix: postfix(name), group_idle_s: EMPTY_GROUP_S };
        self.restore(&before).await
    }

    /// Puts back what was set before.
    pub(super) async fn restore(&self, before: &Before) -> Result<(), Problem> {
        let config: HashMap<&str, Value<'_>> = HashMap::from([
            ("DeviceName", Value::from(before.device_name.as_str())),
            ("SsidPostfix", Value::from(before.ssid_postfix.as_str())),
            ("GroupIdle", Value::from(before.group_idle_s)),
        ]);
        self.call::<_, ()>(&self.path, PROPERTIES, "Set", &(P2P, "P2PDeviceConfig", Value::from(config))).await
    }

    /// Makes a group as planned, or says in words why there is none. What it began is ended by [`Wpa::cancel`], whether it
    /// is waited for or dropped.
    pub(super) async fn join(&self, plan: &Plan) -> Result<Group, String> {
        let late = |_| "the other end was not found, or did not answer, on Wi-Fi".to_owned();
        timeout(JOIN, self.try_to_join(plan)).await.map_err(late)?.map_err(|problem| problem.to_string())
    }

    async fn try_to_join(&self, plan: &Plan) -> Result<Group, Problem> {
        let rule = MatchRule::builder().msg_type(Type::Signal).interface(P2P)?.build();
        let mut signals = MessageStream::for_match_rule(rule, &self.bus, Some(SIGNALS_MAX)).await?;
        let (mut attempts, mut asked) = (0, None);
        self.find().await?;
        let mut look = Instant::now() + LOOK;
        let mut waits_until: Option<Instant> = None;
        loop {
            let message = tokio::select! {
                message = signals.next() => message.ok_or(Problem::NoService)??,
                () = sleep_until(look) => {
                    look = Instant::now() + LOOK;
                    let over = waits_until.is_some_and(|until| until <= Instant::now());
                    if over {
                        tracing::debug!("nothing came of it: once more");
                        self.again(&mut attempts, &mut asked).await?;
                        waits_until = None;
                    } else if waits_until.is_none() && let Some(peer) = self.peer(&plan.theirs.text()).await? {
                        tracing::debug!("the other end is heard");
                        if plan.asks {
                            self.connect(plan, &peer).await?;
                            waits_until = Some(Instant::now() + ATTEMPT);
                        } else {
                            self.call::<_, ()>(&self.path, P2P, "StopFind", &()).await?;
                            self.call::<_, ()>(&self.path, P2P, "Listen", &(10i32,)).await?;
                            waits_until = Some(Instant::now() + WAIT_FOR_ASK);
                        }
                        asked = Some(peer);
                    }
                    continue;
                }
            };
            let header = message.header();
            if header.sender().is_none_or(|sender| sender.as_str() != self.owner) {
                continue;
            }
            let member = header.member().map(ToString::to_string).unwrap_or_default();
            match member.as_str() {
                "GONegotiationRequest" if !plan.asks => {
                    let body = message.body();
                    let (from, _, _): (ObjectPath<'_>, u16, u8) = body.deserialize()?;
                    let name: String = self.get(&from.clone().into(), PEER, "DeviceName").await.unwrap_or_default();
                    if name == plan.theirs.text() {
                        tracing::debug!("the other end asks for the group");
                        let from = OwnedObjectPath::from(from);
                        self.connect(plan, &from).await?;
                        (asked, waits_until) = (Some(from), Some(Instant::now() + ATTEMPT));
                    }
                }
                "GONegotiationFailure" | "GroupFormationFailure" | "WpsFailed" if asked.is_some() => {
                    tracing::debug!(member, "no group yet");
                    self.again(&mut attempts, &mut asked).await?;
                    waits_until = None;
                }
                "GroupStarted" if asked.is_some() => {
                    let started: Dict = message.body().deserialize()?;
                    if let Some(group) = self.group(&started, &[plan.own, plan.theirs]).await? {
                        return Ok(group);
                    }
                }
                _ => {}
            }
        }
    }

    /// Begins to look for others: on the social channels only, where whoever looks for a group is.
    async fn find(&self) -> Result<(), Problem> {
        let how: HashMap<&str, Value<'_>> =
            HashMap::from([("Timeout", Value::I32(60)), ("DiscoveryType", Value::from("social"))]);
        self.call::<_, ()>(&self.path, P2P, "Find", &(how,)).await
    }

    async fn again(&self, attempts: &mut u32, asked: &mut Option<OwnedObjectPath>) -> Result<(), Problem> {
        *attempts += 1;
        *asked = None;
        if *attempts >= ATTEMPTS_MAX {
            return Err(Problem::Refused(zbus::Error::Failure("no group came of several tries".to_owned())));
        }
        self.quietly("Cancel").await;
        sleep_until(Instant::now() + PAUSE).await;
        self.find().await
    }

    /// Who is heard under this name.
    async fn peer(&self, name: &str) -> Result<Option<OwnedObjectPath>, Problem> {
        let peers: Vec<OwnedObjectPath> = self.get(&self.path, P2P, "Peers").await?;
        for peer in peers.into_iter().take(PEERS_MAX) {
            // Whoever is out of reach again has no properties.
            if self.get::<String>(&peer, PEER, "DeviceName").await.is_ok_and(|found| found == name) {
                return Ok(Some(peer));
            }
        }
        Ok(None)
    }

    async fn connect(&self, plan: &Plan, peer: &OwnedObjectPath) -> Result<(), Problem> {
        let pin = plan.pin.text();
        let how: HashMap<&str, Value<'_>> = HashMap::from([
            ("peer", Value::from(peer.as_ref())),
            ("wps_method", Value::from(if plan.asks { "display" } else { "keypad" })),
            ("pin", Value::from(pin.as_str())),
            ("go_intent", Value::I32(plan.intent.into())),
        ]);
        self.call::<_, String>(&self.path, P2P, "Connect", &(how,)).await.map(drop)
    }

    /// The group that has started; `None` if it is somebody else's, begun in the same moment.
    async fn group(&self, started: &Dict, names: &[Name]) -> Result<Option<Group>, Problem> {
        let value = |name| started.get(name).cloned().ok_or(Problem::Strange);
        let path = OwnedObjectPath::try_from(value("interface_object")?)?;
        let group = OwnedObjectPath::try_from(value("group_object")?)?;
        let owner = String::try_from(value("role")?)? == "GO";
        let ssid: Vec<u8> = self.get(&group, GROUP, "SSID").await?;
        if !is_of(&ssid, names) {
            return Ok(None);
        }
        let name: String = self.get(&path, INTERFACE, "Ifname").await?;
        Ok(Some(Group { path, ssid, name, owner }))
    }

    /// The group whose name on the air ends in one of these names, if there is one: it is of an attempt with them.
    pub(super) async fn group_of(&self, names: &[Name]) -> Result<Option<Group>, Problem> {
        let root = ObjectPath::try_from(ROOT)?.into();
        let paths: Vec<OwnedObjectPath> = self.get(&root, SERVICE, "Interfaces").await?;
        for path in paths {
            let Ok(Some(ssid)) = self.ssid_on(&path).await else { continue };
            if is_of(&ssid, names) {
                let name: String = self.get(&path, INTERFACE, "Ifname").await?;
                let owner = self.get::<String>(&path, P2P, "Role").await? == "GO";
                return Ok(Some(Group { path, ssid, name, owner }));
            }
        }
        Ok(None)
    }

    /// The name on the air of the group that is on an interface now, if there is one.
    async fn ssid_on(&self, path: &OwnedObjectPath) -> Result<Option<Vec<u8>>, Problem> {
        let no_group = |problem| match problem {
            Problem::Refused(zbus::Error::MethodError(..)) => Ok(None),
            problem => Err(problem),
        };
        let group: OwnedObjectPath = match self.get(path, P2P, "Group").await {
            Ok(group) => group,
            Err(problem) => return no_group(problem),
        };
        self.get(&group, GROUP, "SSID").await.map_or_else(no_group, |ssid| Ok(Some(ssid)))
    }

    /// Whether a group of ours is still there.
    pub(super) async fn is_there(&self, group: &Group) -> bool {
        matches!(self.ssid_on(&group.path).await, Ok(Some(ssid)) if ssid == group.ssid)
    }

    /// Removes a group of ours, unless it has gone: what is on its interface now may be somebody else's.
    pub(super) async fn remove(&self, group: &Group) -> Result<(), Problem> {
        if self.ssid_on(&group.path).await? != Some(group.ssid.clone()) {
            return Ok(());
        }
        self.call::<_, ()>(&group.path, P2P, "Disconnect", &()).await
    }

    /// Ends what [`Wpa::join`] has begun, unless there is a group.
    pub(super) async fn cancel(&self) {
        self.quietly("Cancel").await;
        self.quietly("StopFind").await;
    }

    async fn quietly(&self, method: &str) {
        if let Err(problem) = self.call::<_, ()>(&self.path, P2P, method, &()).await {
            tracing::trace!(%problem, method, "there was nothing to end");
        }
    }

    async fn get<T>(&self, path: &OwnedObjectPath, interface: &str, property: &str) -> Result<T, Problem>
    where
        T: TryFrom<OwnedValue>,
    {
        let value: OwnedValue = self.call(path, PROPERTIES, "Get", &(interface, property)).await?;
        T::try_from(value).map_err(|_| Problem::Strange)
    }

    async fn call<B, R>(&self, path: &OwnedObjectPath, interface: &str, method: &str, body: &B) -> Result<R, Problem>
    where
        B: serde::Serialize + DynamicType,
        R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
    {
        let answer =
            self.bus.call_method(Some(self.owner.as_str()), path.as_ref(), Some(interface), method, body).await?;
        Ok(answer.body().deserialize()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_ours_by_the_name_of_its_owner_only() {
        let names = [Name([0xab; 8]), Name([1; 8])];
        assert!(is_of(b"DIRECT-xy-abababababababab", &names));
        assert!(is_of(b"DIRECT-xy-0101010101010101", &names));
        for other in
            [&b"DIRECT-xy"[..], b"DIRECT-xy-0202020202020202", b"0101010101010101", b"DIRECT-xy-abababababababab2"]
        {
            assert!(!is_of(other, &names));
        }
    }
}

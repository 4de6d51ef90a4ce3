//! The radios of this machine, and what a person may see of them. Where there is none, it says so and costs nothing.

use std::time::Duration;

use silbo_protocol::radio::{Conditions, RadioPower};
use silbo_transports::bluetooth::{
    self, Bluetooth, BluetoothSettings, BluetoothSnapshot, BluetoothState, Cause, HubEnds, Off,
};
use silbo_transports::host_radio::{self, Hub, RadioSnapshot};
use silbo_transports::wifi_direct::{self, WifiDirect, WifiDirectSettings, WifiDirectSnapshot, WifiDirectState};
use silbo_transports::{LinkCommand, LinkEvent, LinkIds};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::battery;
use crate::settings::NodeSettings;

/// How often the battery is looked at.
const BATTERY_EVERY: Duration = Duration::from_secs(60);
/// Where is written down what Wi-Fi Direct has changed on this machine and has to put back.
const LEFT_FILE: &str = "wifi-direct";

/// The hub and its radios.
pub struct Radio {
    hub: Hub,
    bluetooth: Option<Bluetooth>,
    /// Watches the battery, on a machine that has one.
    battery: Option<JoinHandle<()>>,
    wifi_direct: Option<WifiDirect>,
    view: RadioView,
}

/// How the radios look.
#[derive(Clone, Debug)]
pub struct RadioView {
    /// Links of all radios.
    pub links: watch::Receiver<RadioSnapshot>,
    /// The Bluetooth radio.
    pub bluetooth: watch::Receiver<BluetoothSnapshot>,
    /// What the radios go by; the power mode is changed here.
    pub conditions: watch::Sender<Conditions>,
    /// The way to the radios; `None` without any.
    pub commands: Option<mpsc::Sender<LinkCommand>>,
    /// Wi-Fi Direct.
    pub wifi_direct: watch::Receiver<WifiDirectSnapshot>,
}

impl RadioView {
    /// Of a node without radios.
    #[must_use]
    pub fn off(why: &str) -> Self {
        let off = Off { cause: Cause::Unwanted, why: why.to_owned() };
        let off = BluetoothSnapshot { state: BluetoothState::Off(off), ..BluetoothSnapshot::default() };
        let no_wifi = WifiDirectState::Off("Wi-Fi Direct is off: transports.wifi_direct".to_owned());
        let no_wifi = WifiDirectSnapshot { state: no_wifi, ..WifiDirectSnapshot::default() };
        Self {
            links: watch::Sender::new(RadioSnapshot::default()).subscribe(),
            bluetooth: watch::Sender::new(off).subscribe(),
            conditions: watch::Sender::new(Conditions::default()),
            commands: None,
            wifi_direct: watch::Sender::new(no_wifi).subscribe(),
        }
    }
}

impl Radio {
    /// Starts them; what happens goes where the internet transport puts its events.
    ///
    /// # Panics
    /// When the internet transport has ended already.
    pub fn start(settings: &NodeSettings, power: RadioPower, events: &mpsc::WeakSender<LinkEvent>) -> Self {
        let events = events.upgrade().expect("the internet transport runs");
        let mut hub = host_radio::start(LinkIds::of_radios(), events.clone());
        let mut view = RadioView {
            links: hub.snapshot.clone(),
            commands: Some(hub.commands.clone()),
            ..RadioView::off("Bluetooth is off: transports.bluetooth")
        };
        let battery = battery::read();
        view.conditions.send_modify(|known| (known.power, known.battery) = (power, battery));
        let battery = battery.map(|_| tokio::spawn(watch_battery(view.conditions.clone())));
        let bluetooth = settings.bluetooth.then(|| {
            let wanted = BluetoothSettings {
                adapter: settings.bluetooth_adapter.clone(),
                rotation: settings.bluetooth_rotation,
                conditions: view.conditions.subscribe(),
                hide_name: settings.bluetooth_hide_name,
                ..BluetoothSettings::default()
            };
            bluetooth::start(wanted, HubEnds::of(&hub))
        });
        if let Some(radio) = &bluetooth {
            view.bluetooth = radio.snapshot.clone();
        }
        let left_path = settings.paths.state_dir.join(LEFT_FILE);
        let ends = wifi_direct::HubEnds::of(&mut hub).filter(|_| settings.wifi_direct);
        if !settings.wifi_direct && left_path.exists() {
            tokio::spawn(wifi_direct::put_back(settings.wifi_direct_bus.clone(), left_path.clone()));
        }
        let wifi_direct = ends.map(|ends| {
            let wanted = WifiDirectSettings {
                interface: settings.wifi_direct_interface.clone(),
                bus: settings.wifi_direct_bus.clone(),
                left_path: Some(left_path),
                conditions: view.conditions.subscribe(),
            };
            wifi_direct::start(wanted, ends, events)
        });
        if let Some(wifi_direct) = &wifi_direct {
            view.wifi_direct = wifi_direct.snapshot.clone();
        }
        Self { hub, bluetooth, battery, wifi_direct, view }
    }

    /// The way to links over Wi-Fi Direct.
    pub fn wifi_direct_commands(&self) -> Option<mpsc::Sender<LinkCommand>> {
        self.wifi_direct.as_ref().map(|wifi_direct| wifi_direct.commands.clone())
    }

    /// The way to the links.
    pub fn commands(&self) -> mpsc::Sender<LinkCommand> {
        self.hub.commands.clone()
    }

    /// How they look.
    pub fn view(&self) -> RadioView {
        self.view.clone()
    }

    /// Off the air, and every link closed.
    pub async fn stop(self) {
        if let Some(battery) = self.battery {
            battery.abort();
        }
        if let Some(wifi_direct) = self.wifi_direct {
            wifi_direct.running.stop().await;
        }
        if let Some(bluetooth) = self.bluetooth {
            bluetooth.running.stop().await;
        }
        self.hub.running.stop().await;
    }
}

async fn watch_battery(conditions: watch::Sender<Conditions>) {
    loop {
        tokio::time::sleep(BATTERY_EVERY).await;
        let battery = battery::read();
        conditions.send_if_modified(|known| std::mem::replace(&mut known.battery, battery) != battery);
    }
}

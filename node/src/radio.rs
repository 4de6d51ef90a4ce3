//! The radios of this machine, and what a person may see of them. Where there is none, it says so and costs nothing.

use silbo_transports::bluetooth::{self, Bluetooth, BluetoothSettings, BluetoothSnapshot, BluetoothState, HubEnds};
use silbo_transports::host_radio::{self, Hub, RadioSnapshot};
use silbo_transports::{LinkCommand, LinkEvent, LinkIds};
use tokio::sync::{mpsc, watch};

use crate::settings::NodeSettings;

/// The hub and its radios.
pub struct Radio {
    hub: Hub,
    bluetooth: Option<Bluetooth>,
    view: RadioView,
}

/// How the radios look.
#[derive(Clone, Debug)]
pub struct RadioView {
    /// Links of all radios.
    pub links: watch::Receiver<RadioSnapshot>,
    /// The Bluetooth radio.
    pub bluetooth: watch::Receiver<BluetoothSnapshot>,
}

impl RadioView {
    /// Of a node without radios.
    #[must_use]
    pub fn off(why: &str) -> Self {
        let off = BluetoothSnapshot { state: BluetoothState::Off(why.to_owned()), ..BluetoothSnapshot::default() };
        Self {
            links: watch::Sender::new(RadioSnapshot::default()).subscribe(),
            bluetooth: watch::Sender::new(off).subscribe(),
        }
    }
}

impl Radio {
    /// Starts them; what happens goes where the internet transport puts its events.
    ///
    /// # Panics
    /// When the internet transport has ended already.
    pub fn start(settings: &NodeSettings, events: &mpsc::WeakSender<LinkEvent>) -> Self {
        let events = events.upgrade().expect("the internet transport runs");
        let hub = host_radio::start(LinkIds::of_radios(), events);
        let mut view =
            RadioView { links: hub.snapshot.clone(), ..RadioView::off("Bluetooth is off: transports.bluetooth") };
        let bluetooth = settings.bluetooth.then(|| {
            let wanted = BluetoothSettings {
                adapter: settings.bluetooth_adapter.clone(),
                rotation: settings.bluetooth_rotation,
                hide_name: settings.bluetooth_hide_name,
            };
            bluetooth::start(wanted, HubEnds::of(&hub))
        });
        if let Some(radio) = &bluetooth {
            view.bluetooth = radio.snapshot.clone();
        }
        Self { hub, bluetooth, view }
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
        if let Some(bluetooth) = self.bluetooth {
            bluetooth.running.stop().await;
        }
        self.hub.running.stop().await;
    }
}

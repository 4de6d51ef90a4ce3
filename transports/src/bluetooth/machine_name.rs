//! The name a machine shows by Bluetooth. bluetoothd reads it from every machine it connects to, in clear, so that it is on
//! the air again and again whatever rotates beside it; often it is the name of a person.

use std::time::Duration;

use bluer::Adapter;
use tokio::time::timeout;

/// The name every machine has while the radio is on.
pub(super) const NOBODY: &str = "Bluetooth";
/// The system's own name of a machine is back with this one.
const SYSTEM: &str = "";
/// How long the service may take to change it.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is to be put back when the radio goes off.
#[derive(Debug, Default)]
pub(super) struct MachineName(Option<(Adapter, String)>);

impl MachineName {
    /// Hides the name of this machine.
    pub(super) async fn hide(&mut self, adapter: &Adapter) -> bluer::Result<()> {
        let name = adapter.alias().await?;
        // Hidden already: by a run that did not come to its end.
        let before = if name == NOBODY || name == adapter.system_name().await? { SYSTEM.to_owned() } else { name };
        adapter.set_alias(NOBODY.to_owned()).await?;
        self.0 = Some((adapter.clone(), before));
        Ok(())
    }

    /// Puts it back.
    pub(super) async fn restore(&mut self) {
        let Some((adapter, name)) = self.0.take() else { return };
        match timeout(PATIENCE, adapter.set_alias(name)).await {
            Ok(Ok(())) => {}
            problem => tracing::debug!(?problem, "the machine's Bluetooth name could not be put back"),
        }
    }
}

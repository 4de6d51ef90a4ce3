//! Scenarios in TOML: who there is, how they move, what their radios carry, what they write and what goes wrong.
//!
//! ```toml
//! ttl = "24h"            # lifetime of a message
//! buffer = 400           # envelopes of others that a device carries
//! routers = ["silbo"]    # "all" for a comparison
//!
//! [mobility]
//! model = "villages"     # or "waypoint", or contacts = "FILE.csv"
//! people = 240
//! days = 1
//!
//! [radio]
//! setup = "1s-3s"
//! rate = 100000          # bytes a second
//! loss = "10%"
//!
//! [messages]
//! count = 500            # or file = "FILE.csv"
//!
//! [faults]
//! droppers = "30%"
//! flood = 10
//! crash_every = "10m"    # some device dies within a step and starts again
//! clocks = true          # wall clocks jump by up to 36 hours
//! ```
//! Files are found beside the scenario file. What is left out is as in [`Experiment::default`].

use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use silbo_protocol::chance::Chance;

use crate::experiment::{Experiment, Trouble};
use crate::mobility::village::Villages;
use crate::mobility::waypoint::Waypoint;
use crate::mobility::{ContactTrace, MessageList};
use crate::quantity;
use crate::radio::Radio;
use crate::routers::Router;

/// A scenario as it stands in its file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScenarioFile {
    ttl: Option<String>,
    buffer: Option<usize>,
    friends: Option<u8>,
    routers: Vec<String>,
    mobility: Mobility,
    radio: RadioTable,
    messages: Messages,
    faults: Faults,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Mobility {
    model: Option<String>,
    contacts: Option<String>,
    people: Option<u32>,
    days: Option<u32>,
    village_min: Option<u32>,
    village_max: Option<u32>,
    travellers: Option<String>,
    market: Option<String>,
    side_m: Option<u32>,
    range_m: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RadioTable {
    setup: Option<String>,
    rate: Option<u64>,
    delay: Option<String>,
    loss: Option<String>,
    mtu: Option<u64>,
    fragment_overhead: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Messages {
    count: Option<u32>,
    file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Faults {
    droppers: Option<String>,
    flood: Option<u32>,
    crash_every: Option<String>,
    clocks: bool,
}

impl ScenarioFile {
    /// Reads a scenario.
    ///
    /// # Errors
    /// A place in the file and what was expected there.
    pub fn read(text: &str) -> anyhow::Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The experiment it describes. `beside` is the folder of the file.
    ///
    /// # Errors
    /// A value that cannot be read, or a file that is missing.
    pub fn experiment(&self, beside: &Path, seed: u64) -> anyhow::Result<(Experiment, Vec<Router>)> {
        let mut trace = self.mobility.trace(beside, seed)?;
        let messages = self.messages.list(beside, seed, &mut trace)?;
        let experiment = Experiment {
            trace,
            messages,
            ttl_ms: read_or(self.ttl.as_deref(), "ttl", quantity::duration_ms, Experiment::default().ttl_ms)?,
            buffer: self.buffer.unwrap_or(Experiment::default().buffer),
            seed,
            radio: self.radio.read()?,
            droppers_per_mille: read_or(self.faults.droppers.as_deref(), "droppers", quantity::per_mille, 0)?,
            flood: self.faults.flood.unwrap_or_default(),
            friends: self.friends.unwrap_or(Experiment::default().friends),
            trouble: Trouble {
                crash_every_ms: read_or(
                    self.faults.crash_every.as_deref(),
                    "crash_every",
                    |text| quantity::duration_ms(text).map(Some),
                    None,
                )?,
                clocks: self.faults.clocks,
            },
            ..Experiment::default()
        };
        Ok((experiment, self.routers()?))
    }

    fn routers(&self) -> anyhow::Result<Vec<Router>> {
        match self.routers.as_slice() {
            [] => Ok(vec![Router::Silbo]),
            [all] if all == "all" => Ok(Router::ALL.to_vec()),
            names => names.iter().map(|name| Router::named(name).map_err(anyhow::Error::msg)).collect(),
        }
    }
}

impl Mobility {
    fn trace(&self, beside: &Path, seed: u64) -> anyhow::Result<ContactTrace> {
        let chance = Chance::from_seed(blake3::derive_key("silbo simulations mobility", &seed.to_be_bytes()));
        let share = |text: Option<&str>, name, or| read_or(text, name, quantity::per_mille, or);
        match (self.model.as_deref(), self.contacts.as_deref()) {
            (None, Some(file)) => ContactTrace::read(&read(beside, file)?).with_context(|| file.to_owned()),
            (None | Some("villages"), None) => {
                let or = Villages::default();
                let settings = Villages {
                    people: self.people.unwrap_or(or.people),
                    village_min: self.village_min.unwrap_or(or.village_min),
                    village_max: self.village_max.unwrap_or(or.village_max),
                    days: self.days.unwrap_or(or.days),
                    travellers_per_mille: share(self.travellers.as_deref(), "travellers", or.travellers_per_mille)?,
                    market_per_mille: share(self.market.as_deref(), "market", or.market_per_mille)?,
                };
                Ok(settings.contacts(chance))
            }
            (Some("waypoint"), None) => {
                let or = Waypoint::default();
                let settings = Waypoint {
                    people: self.people.unwrap_or(or.people),
                    side_m: self.side_m.unwrap_or(or.side_m),
                    range_m: self.range_m.unwrap_or(or.range_m),
                    duration_ms: u64::from(self.days.unwrap_or(1)) * 86_400_000,
                    ..or
                };
                Ok(settings.contacts(chance))
            }
            (Some(_), Some(_)) => anyhow::bail!("[mobility] has a model and contacts; leave one of them out"),
            (Some(model), None) => {
                anyhow::bail!(
                    "[mobility] model is \"{model}\"; write \"villages\" or \"waypoint\", or contacts = \"FILE\""
                )
            }
        }
    }
}

impl Messages {
    fn list(&self, beside: &Path, seed: u64, trace: &mut ContactTrace) -> anyhow::Result<MessageList> {
        match (self.count, self.file.as_deref()) {
            (Some(_), Some(_)) => anyhow::bail!("[messages] has a count and a file; leave one of them out"),
            (None, Some(file)) => MessageList::read(&read(beside, file)?, trace).with_context(|| file.to_owned()),
            (count, None) => {
                const COUNT: u32 = 100;
                let mut chance = Chance::from_seed(blake3::derive_key("silbo simulations mail", &seed.to_be_bytes()));
                // Written in the first half, so that there is time to arrive.
                let until_ms = (trace.end_ms() / 2).max(1);
                Ok(MessageList::random(trace.people() as u32, count.unwrap_or(COUNT), until_ms, &mut chance))
            }
        }
    }
}

impl RadioTable {
    fn read(&self) -> anyhow::Result<Radio> {
        let or = Radio::default();
        Ok(Radio {
            setup_ms: read_or(self.setup.as_deref(), "setup", quantity::duration_range_ms, or.setup_ms)?,
            rate: self.rate.unwrap_or(or.rate),
            delay_ms: read_or(self.delay.as_deref(), "delay", quantity::duration_ms, or.delay_ms)?,
            loss_per_mille: read_or(self.loss.as_deref(), "loss", quantity::per_mille, or.loss_per_mille)?,
            mtu: self.mtu.unwrap_or(or.mtu),
            fragment_overhead: self.fragment_overhead.unwrap_or(or.fragment_overhead),
        })
    }
}

fn read_or<T>(
    text: Option<&str>,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
    or: T,
) -> anyhow::Result<T> {
    match text {
        None => Ok(or),
        Some(text) => read(text).map_err(anyhow::Error::msg).with_context(|| name.to_owned()),
    }
}

fn read(beside: &Path, file: &str) -> anyhow::Result<String> {
    let path = beside.join(file);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}: is the path right?", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn experiment(text: &str) -> anyhow::Result<(Experiment, Vec<Router>)> {
        ScenarioFile::read(text)?.experiment(Path::new("."), 7)
    }

    #[test]
    fn a_scenario_is_read_and_the_rest_is_as_usual() {
        let text = "ttl = \"7d\"\nrouters = [\"direct\"]\n[mobility]\npeople = 30\ndays = 2\n[radio]\nloss = \"10%\"\n\
                    setup = \"1s-3s\"\n[messages]\ncount = 5\n[faults]\ndroppers = \"30%\"\ncrash_every = \"10m\"\n";
        let (experiment, routers) = experiment(text).expect("a good scenario");
        assert_eq!((experiment.trace.people(), experiment.messages.0.len()), (30, 5));
        assert_eq!((experiment.ttl_ms, experiment.buffer, experiment.seed), (7 * 86_400_000, 400, 7));
        assert_eq!((experiment.radio.loss_per_mille, experiment.radio.setup_ms), (100, 1_000..=3_000));
        assert_eq!(experiment.trouble.crash_every_ms, Some(600_000));
        assert_eq!(routers, [Router::Direct]);
    }

    #[test]
    fn what_cannot_be_read_says_what_to_write() {
        let error = |text: &str| experiment(text).map_or_else(|error| format!("{error:#}"), |_| String::from("none"));
        assert!(error("tll = \"7d\"").contains("unknown field"), "{}", error("tll = \"7d\""));
        assert!(error("ttl = \"a week\"").contains("24h"));
        assert!(error("[mobility]\nmodel = \"bus\"").contains("villages"));
        assert!(error("routers = [\"best\"]").contains("epidemic-vaccine"));
        assert!(error("[messages]\nfile = \"none.csv\"").contains("none.csv"));
    }
}

//! What of a project is on the engine, and what takes whose place there, as plain data. Nothing here knows bollard.

use std::collections::{BTreeMap, BTreeSet};

/// What of a project is on the engine now.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Containers of services of the project, by service, those of lower numbers first.
    pub containers: BTreeMap<String, Vec<ObservedContainer>>,
    /// Containers of one command each (`run`) that have ended.
    pub one_offs: Vec<ObservedContainer>,
    /// What is left of containers that were being made anew when somebody killed whoever did it.
    pub interrupted: Vec<Interrupted>,
    /// Networks, by name on the engine.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Volumes, by name on the engine.
    pub volumes: BTreeMap<String, ObservedVolume>,
    /// Images the engine has, among those asked for: reference to image id.
    pub images: BTreeMap<String, String>,
}

impl Observed {
    /// All containers of services, by service and number.
    pub fn all(&self) -> impl Iterator<Item = &ObservedContainer> + Clone {
        self.containers.values().flatten()
    }

    /// The containers of a service, those of lower numbers first.
    pub fn of_service(&self, service: &str) -> &[ObservedContainer] {
        self.containers.get(service).map_or(&[], Vec::as_slice)
    }
}

/// A container of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedContainer {
    /// The full id.
    pub id: String,
    /// The name, without the leading `/`.
    pub name: String,
    /// The service, by its label.
    pub service: String,
    /// Its number among the containers of the service, by its label.
    pub number: u32,
    /// The services it depends on, by its label.
    pub depends_on: Vec<String>,
    /// Whether it runs.
    pub running: bool,
    /// `com.docker.compose.config-hash`.
    pub config_hash: Option<String>,
    /// The digests of the parts of its configuration, where devctl made it.
    pub config_keys: Option<String>,
    /// The id of the image it was made from.
    pub image_id: String,
    /// `com.docker.compose.image`.
    pub image_label: Option<String>,
    /// The networks it is on, by name: their ids, as far as it ever was connected.
    pub networks: BTreeMap<String, String>,
    /// The names of the volumes that it mounts.
    pub volumes: Vec<String>,
    /// Published ports: address and port on the host, port in the container.
    pub ports: Vec<(String, u16, u16)>,
    /// One line as `docker ps` shows it: `Up 3 minutes (healthy)`.
    pub status: String,
    /// `dev.devctl.run`, where devctl made it.
    pub run: Option<String>,
    /// `com.docker.compose.project.working_dir`.
    pub working_dir: Option<String>,
}

/// A network that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedNetwork {
    /// Its id.
    pub id: String,
    /// The Compose project it was made for.
    pub project: Option<String>,
    /// `com.docker.compose.config-hash`.
    pub config_hash: Option<String>,
}

/// A volume that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedVolume {
    /// The Compose project it was made for.
    pub project: Option<String>,
    /// `com.docker.compose.config-hash`.
    pub config_hash: Option<String>,
}

/// A container with the name of one that was being made anew, `0123456789ab_shop-db-1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupted {
    /// The full id.
    pub id: String,
    /// The name it has.
    pub name: String,
    /// The name it was to get, where the one it replaces is gone; otherwise it is one too many.
    pub becomes: Option<String>,
}

/// A container that takes the place of another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Takeover {
    /// The id of the other.
    pub old: String,
    /// Whether volumes without a name begin empty, instead of those of the other.
    pub renew_volumes: bool,
    /// Containers that have to be stopped before the other is: they are restarted with it.
    pub stop_first: Vec<String>,
    /// How many seconds they have to stop, where that is not theirs to say.
    pub stop_timeout: Option<u32>,
}

/// Sorts containers into levels to stop one after the other, each at once: a container comes before those it depends
/// on. Labels are other people's text: those that go round in a circle make one level.
pub fn stop_levels(containers: Vec<ObservedContainer>) -> Vec<Vec<ObservedContainer>> {
    let mut levels = Vec::new();
    let mut left = containers;
    while !left.is_empty() {
        let needed: BTreeSet<String> = left.iter().flat_map(|found| found.depends_on.iter().cloned()).collect();
        let (mut now, mut later): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|found| !needed.contains(&found.service));
        if now.is_empty() {
            std::mem::swap(&mut now, &mut later);
        }
        levels.push(now);
        left = later;
    }
    levels
}

//! Which driver runs the containers, and why: one decision, one line.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::docker::{self, Docker, Observed, PullPolicy};
use crate::name::ProjectName;

/// What the user asked for: `--driver`, or `containers.driver` in `devctl.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Docker where it works, embedded otherwise.
    Auto,
    /// Docker or nothing.
    Docker,
    /// Embedded servers.
    Embedded,
}

/// What a stack wants to know of an engine before it starts, and what must be there or come.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The project.
    pub project: ProjectName,
    /// Networks, by name on the engine.
    pub networks: Vec<String>,
    /// Volumes, by name on the engine.
    pub volumes: Vec<String>,
    /// Images, and when each is pulled.
    pub images: Vec<(String, PullPolicy)>,
}

/// What was chosen.
#[derive(Clone)]
pub enum Choice {
    /// The Docker Engine, which answers, and what it has of the project.
    Docker {
        /// The connection.
        engine: Docker,
        /// What is there.
        observed: Box<Observed>,
        /// Why, in one line.
        why: String,
    },
    /// Embedded servers.
    Embedded {
        /// Why, in one line.
        why: String,
        /// Why Docker, which would have been preferred, could not be taken; `None` where nobody asked for it.
        passed_over: Option<String>,
    },
}

/// Chooses a driver. Docker is taken when its engine answers and every image is there or can be pulled; whether one
/// can be pulled is asked only for those that are missing.
pub async fn choose(wish: Wish, wanted: &Wanted, env: &BTreeMap<String, String>) -> Result<Choice, docker::Error> {
    match wish {
        Wish::Embedded => Ok(Choice::Embedded { why: "asked for".to_owned(), passed_over: None }),
        Wish::Docker => {
            let (engine, observed) = ask(wanted, env).await?;
            let why = format!("{}, asked for", engine.describe());
            Ok(Choice::Docker { engine, observed, why })
        }
        Wish::Auto => {
            let (engine, observed) = match ask(wanted, env).await {
                Ok(answer) => answer,
                Err(error) => {
                    let why = format!("no Docker: {error}");
                    return Ok(Choice::Embedded { why, passed_over: Some(error.to_string()) });
                }
            };
            let lost = out_of_reach(&engine, &observed, wanted).await;
            if lost.is_empty() {
                let why = engine.describe().to_owned();
                Ok(Choice::Docker { engine, observed, why })
            } else {
                let why = format!("{} answers, but cannot get {}", engine.describe(), lost.join(", "));
                Ok(Choice::Embedded { passed_over: Some(why.clone()), why })
            }
        }
    }
}

async fn ask(wanted: &Wanted, env: &BTreeMap<String, String>) -> Result<(Docker, Box<Observed>), docker::Error> {
    let images: Vec<String> = wanted.images.iter().map(|(image, _)| image.clone()).collect();
    let Wanted { project, networks, volumes, images: _ } = wanted;
    let (engine, observed) = Docker::connect_and_observe(env, project, networks, volumes, &images).await?;
    Ok((engine, Box::new(observed)))
}

/// The images that are neither there nor to be had.
async fn out_of_reach(engine: &Docker, observed: &Observed, wanted: &Wanted) -> Vec<String> {
    let missing = wanted.images.iter().filter(|(image, _)| !observed.images.contains_key(image));
    let asked = missing.map(async |(image, policy)| {
        let can = match policy {
            PullPolicy::Never => false,
            // Made here, so that no registry need have it.
            PullPolicy::Build => true,
            PullPolicy::Missing | PullPolicy::Always | PullPolicy::Refresh(_) => engine.can_pull(image).await,
        };
        (!can).then(|| image.clone())
    });
    join_all(asked).await.into_iter().flatten().collect()
}

//! What the engine takes by itself: a network, and containers created and started all at once over its API.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

/// Creates a network and that many containers, starts them, and takes them away again; the time is until the last of
/// them is started.
pub(super) fn run(name: &str, containers: usize) -> anyhow::Result<Duration> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let engine = Engine::new()?;
        let time = engine.start(name, containers).await;
        engine.clean(name, containers).await;
        time
    })
}

struct Engine(reqwest::Client);

impl Engine {
    fn new() -> anyhow::Result<Self> {
        let host = devctl::os::env::all().remove("DOCKER_HOST");
        let host = host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let socket = host.strip_prefix("unix://").context("the engine is measured over a Unix socket")?;
        Ok(Self(reqwest::Client::builder().unix_socket(socket).build()?))
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<()> {
        let answer = self.0.post(format!("http://engine/v1.41{path}")).json(body).send().await?;
        if !answer.status().is_success() {
            bail!("the engine said to `{path}`: {}", answer.text().await?);
        }
        Ok(())
    }

    async fn start(&self, name: &str, containers: usize) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.post("/networks/create", &json!({ "Name": name, "CheckDuplicate": true })).await?;
        let body = json!({
            "Image": "redis:7-alpine",
            "Cmd": ["sleep", "1000"],
            "HostConfig": { "NetworkMode": name },
        });
        let each = (0..containers).map(|number| {
            let body = &body;
            async move {
                self.post(&format!("/containers/create?name={name}-{number}"), body).await?;
                self.post(&format!("/containers/{name}-{number}/start"), &Value::Null).await
            }
        });
        futures_util::future::try_join_all(each).await?;
        Ok(start.elapsed())
    }

    /// Removes what was made; what was not is no matter.
    async fn clean(&self, name: &str, containers: usize) {
        let delete = |path: String| self.0.delete(format!("http://engine/v1.41{path}")).send();
        let all = (0..containers).map(|number| delete(format!("/containers/{name}-{number}?force=1&v=1")));
        futures_util::future::join_all(all).await;
        drop(delete(format!("/networks/{name}")).await);
    }
}

//! What happens to a project's containers, as the engine tells it.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::{Stream, StreamExt};
use jiff::Timestamp;

use super::Docker;
use super::error::Error;
use super::observe::{ONEOFF, PROJECT, SERVICE};

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// The service.
    pub service: String,
    /// The container's full id.
    pub container: String,
    /// What: `start`, `die`, `exec_create: sh`, `health_status: healthy`.
    pub action: String,
    /// The container's labels but those of Compose, its image and name, and what belongs to the action.
    pub attributes: BTreeMap<String, String>,
}

impl Docker {
    /// What happens to the containers of a project, one-offs left out; ends at `until` where that is given.
    pub fn happenings(
        &self,
        project: &str,
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    ) -> impl Stream<Item = Result<Happening, Error>> + use<> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("label".to_owned(), vec![format!("{PROJECT}={project}")]),
        ]);
        let mut options = EventsOptionsBuilder::default().filters(&filters);
        if let Some(since) = since {
            options = options.since(&seconds(since));
        }
        if let Some(until) = until {
            options = options.until(&seconds(until));
        }
        let client = self.client().clone();
        told(client.events(Some(options.build())))
    }
}

fn told(
    events: impl Stream<Item = Result<EventMessage, bollard::errors::Error>>,
) -> impl Stream<Item = Result<Happening, Error>> {
    events.filter_map(async |event| match event {
        Ok(event) => happening(event).map(Ok),
        Err(error) => Some(Err(Error::from_call("tell what happens", error))),
    })
}

fn seconds(at: Timestamp) -> String {
    format!("{}.{:09}", at.as_second(), at.subsec_nanosecond())
}

fn happening(event: EventMessage) -> Option<Happening> {
    if event.typ != Some(EventMessageTypeEnum::CONTAINER) {
        return None;
    }
    let actor = event.actor?;
    let mut attributes: BTreeMap<String, String> = actor.attributes.unwrap_or_default().into_iter().collect();
    if attributes.get(ONEOFF).is_some_and(|oneoff| oneoff == "True") {
        return None;
    }
    let service = attributes.get(SERVICE).cloned().unwrap_or_default();
    attributes.retain(|key, _| !key.starts_with("com.docker.compose."));
    let at = match event.time_nano {
        Some(nanos) if nanos != 0 => Timestamp::from_nanosecond(nanos.into()).ok()?,
        Some(_) | None => Timestamp::from_second(event.time?).ok()?,
    };
    Some(Happening { at, service, container: actor.id?, action: event.action?, attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_container_is_told_without_the_labels_of_compose() {
        let event = |typ: &str, oneoff: &str| -> EventMessage {
            serde_json::from_value(serde_json::json!({
                "Type": typ, "Action": "die", "time": 1, "timeNano": 1_500_000_000_i64,
                "Actor": { "ID": "abc", "Attributes": {
                    "com.docker.compose.oneoff": oneoff, "com.docker.compose.service": "web",
                    "exitCode": "3", "name": "p-web-1",
                } },
            }))
            .unwrap()
        };
        let seen = happening(event("container", "False")).unwrap();
        assert_eq!((seen.service.as_str(), seen.container.as_str(), seen.action.as_str()), ("web", "abc", "die"));
        assert_eq!(seen.at.to_string(), "1970-01-01T00:00:01.5Z");
        assert_eq!(seen.attributes.keys().collect::<Vec<_>>(), ["exitCode", "name"]);
        assert_eq!(happening(event("container", "True")), None);
        assert_eq!(happening(event("network", "False")), None);
    }
}

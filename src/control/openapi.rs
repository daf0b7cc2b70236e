//! The description of the API for programs (OpenAPI 3.1), made of the types that travel and of the routes that there are.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::server::ROUTES;
use super::wire::{API_HEADER, Apply, Down, EventLine, Kill, LogEntry, Problem, Reply, Restart, Scale, Status};

/// The description, as it is kept in `docs/control-api.json`.
pub fn json() -> String {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for (method, path) in ROUTES {
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[method] = operation(path, &mut schemas);
    }
    let problem = schemas.subschema_for::<Problem>();
    let mut components = json!({ "responses": { "problem": {
        "description": "What was wrong, and what to do about it (RFC 9457).",
        "headers": version_header(),
        "content": { "application/problem+json": { "schema": problem } },
    } } });
    components["schemas"] = Value::Object(schemas.take_definitions(true));
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "devctl control socket",
            "version": "1",
            "description": "HTTP over the Unix socket `.devctl/control.sock` of a project, while `devctl up` runs it. \
                See docs/control-api.md.",
            "license": { "name": "MIT", "identifier": "MIT" },
        },
        "servers": [{ "url": "http://devctl", "description": "The host is not looked at: the socket is." }],
        "paths": paths,
        "components": components,
    });
    let mut text = serde_json::to_string_pretty(&document).expect("a description is plain JSON");
    text.push('\n');
    text
}

/// What there is to say of a route.
fn operation(path: &str, schemas: &mut SchemaGenerator) -> Value {
    let (summary, parameters, body, answer) = match path {
        "/v1/status" => ("How everything is now.", vec![], None, Answer::json::<Status>(schemas)),
        "/v1/events" => (
            "What happened and happens, one line of JSON for each event. An empty line means nothing: it is sent every \
             15 seconds where there is nothing else.",
            vec![
                query(
                    "from",
                    "The number of the first event that is wanted.",
                    &json!({ "type": "integer", "minimum": 1, "default": 1 }),
                ),
                query("follow", "Go on with what comes.", &json!({ "type": "boolean", "default": false })),
            ],
            None,
            Answer::lines::<EventLine>(schemas),
        ),
        "/v1/logs" => (
            "What services print, one line of JSON for each line: the last ones that are in memory, and what comes.",
            vec![
                query(
                    "service",
                    "Names with commas between them; all services where it is left out.",
                    &json!({ "type": "string" }),
                ),
                query(
                    "tail",
                    "How many of the last lines of each service; 100 where it is left out, 0 with `follow`.",
                    &json!({ "type": "integer", "minimum": 0 }),
                ),
                query("follow", "Go on with what comes.", &json!({ "type": "boolean", "default": false })),
            ],
            None,
            Answer::lines::<LogEntry>(schemas),
        ),
        "/v1/services/{names}/start" => command("Start services, and what they need.", None, schemas),
        "/v1/services/{names}/stop" => command("Stop services, those that need them first.", None, schemas),
        "/v1/services/{names}/restart" => {
            command("Stop services and start them again.", Some(schemas.subschema_for::<Restart>()), schemas)
        }
        "/v1/services/{names}/kill" => {
            command("Send a signal to the processes of services.", Some(schemas.subschema_for::<Kill>()), schemas)
        }
        "/v1/services/{name}/scale" => {
            command("Run so many replicas of a service.", Some(schemas.subschema_for::<Scale>()), schemas)
        }
        "/v1/apply" => command(
            "Bring the stack to what the manifest says now: what `devctl up` does when a supervisor runs already.",
            Some(schemas.subschema_for::<Apply>()),
            schemas,
        ),
        "/v1/reload" => command("Read the project's files again and apply what changed in them.", None, schemas),
        "/v1/down" => command("Take everything down, and end.", Some(schemas.subschema_for::<Down>()), schemas),
        _ => ("This description.", vec![], None, Answer { kind: "application/json", schema: json!({}) }),
    };
    let mut parameters = parameters;
    if path.contains("{names}") {
        parameters.insert(0, in_path("names", "Names of services with commas between them, or `*` for all."));
    } else if path.contains("{name}") {
        parameters.insert(0, in_path("name", "The name of a service."));
    }
    let mut operation = json!({
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Done, or begun.",
                "headers": version_header(),
                "content": { answer.kind: { "schema": answer.schema } },
            },
            "default": { "$ref": "#/components/responses/problem" },
        },
    });
    if let Some(body) = body {
        // What has defaults for everything may be left out.
        let required = path.ends_with("/scale");
        operation["requestBody"] =
            json!({ "required": required, "content": { "application/json": { "schema": body } } });
    }
    operation
}

struct Answer {
    kind: &'static str,
    schema: Value,
}

impl Answer {
    fn json<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Self {
        Self { kind: "application/json", schema: schemas.subschema_for::<T>().to_value() }
    }

    fn lines<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Self {
        Self { kind: "application/x-ndjson", schema: schemas.subschema_for::<T>().to_value() }
    }
}

type Parts = (&'static str, Vec<Value>, Option<Schema>, Answer);

fn command(summary: &'static str, body: Option<Schema>, schemas: &mut SchemaGenerator) -> Parts {
    (summary, Vec::new(), body, Answer::json::<Reply>(schemas))
}

fn query(name: &str, description: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": schema })
}

fn in_path(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "description": description, "schema": { "type": "string" } })
}

fn version_header() -> Value {
    json!({ API_HEADER: { "description": "The version of the API.", "schema": { "const": 1 } } })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_description_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/control-api.json");
        let committed = crate::os::files::read(&path).unwrap_or_default();
        assert!(committed == json(), "docs/control-api.json is out of date: run `cargo xtask schema`");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
            }
        }
        let document: Value = serde_json::from_str(&json()).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

//! The part of Go's templates that people use with Docker's `--format`: fields, `json`, `upper`, `lower`, `.Label`. Pure.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::{Map, Value};

/// A template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A value, and what is done to it.
    Value(What, Option<How>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    /// `.`
    All,
    /// `.Name`
    Field(String),
    /// `.Label "com.example"`
    Label(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Json,
    Upper,
    Lower,
    Title,
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.replace("\\t", "\t").replace("\\n", "\n");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((action, next)) = after.split_once("}}") else { return Err("`{{` has no `}}`".to_owned()) };
            parts.push(action_of(action.trim().trim_matches('-').trim())?);
            rest = next;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

fn action_of(action: &str) -> Result<Part, String> {
    let not_understood = || {
        format!(
            "`{{{{{action}}}}}` is not understood: there are `{{{{.Field}}}}`, `{{{{json .}}}}`, `{{{{json .Field}}}}`, \
             `{{{{.Label \"NAME\"}}}}`, `{{{{upper .Field}}}}` and `{{{{lower .Field}}}}`"
        )
    };
    let (how, value) = match action.split_once(char::is_whitespace) {
        Some(("json", value)) => (Some(How::Json), value.trim()),
        Some(("upper", value)) => (Some(How::Upper), value.trim()),
        Some(("lower", value)) => (Some(How::Lower), value.trim()),
        Some(("title", value)) => (Some(How::Title), value.trim()),
        Some(_) | None => (None, action),
    };
    let what = match value.strip_prefix('.') {
        Some("") => What::All,
        Some(field) => match field.split_once(char::is_whitespace) {
            Some(("Label", name)) => {
                let name = name.trim().trim_matches(['"', '`']);
                What::Label(name.to_owned())
            }
            None if field.chars().all(char::is_alphanumeric) => What::Field(field.to_owned()),
            Some(_) | None => return Err(not_understood()),
        },
        None => return Err(not_understood()),
    };
    Ok(Part::Value(what, how))
}

impl Template {
    /// Fills it in. A field that there is not is a mistake in the template.
    pub(super) fn fill(&self, object: &Map<String, Value>, label: impl Fn(&str) -> String) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(words) => text.push_str(words),
                Part::Value(what, how) => {
                    let value = match what {
                        What::All => Value::Object(object.clone()),
                        What::Field(name) => object.get(name).cloned().ok_or_else(|| no_field(name, object))?,
                        What::Label(name) => Value::String(label(name)),
                    };
                    let plain = match &value {
                        Value::String(text) => text.clone(),
                        Value::Null => String::new(),
                        other => other.to_string(),
                    };
                    let _ = match how {
                        None => write!(text, "{plain}"),
                        Some(How::Json) => write!(text, "{value}"),
                        Some(How::Upper) => write!(text, "{}", plain.to_uppercase()),
                        Some(How::Lower) => write!(text, "{}", plain.to_lowercase()),
                        Some(How::Title) => write!(text, "{}", title(&plain)),
                    };
                }
            }
        }
        Ok(text)
    }

    /// The head of a table made with it: the names of its fields.
    pub(super) fn head(&self, title: impl Fn(&str) -> String) -> String {
        let part = |part: &Part| match part {
            Part::Text(words) => words.clone(),
            Part::Value(What::Field(name), _) => title(name),
            Part::Value(What::Label(name), _) => name.clone(),
            Part::Value(What::All, _) => String::new(),
        };
        self.parts.iter().map(part).collect()
    }
}

fn title(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn no_field(name: &str, object: &Map<String, Value>) -> String {
    let fields: Vec<&str> = object.keys().map(String::as_str).collect();
    format!("there is no field `{name}`; there are {}", fields.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let object = serde_json::json!({ "Name": "shop-db-1", "ExitCode": 3, "Health": "" });
        let Value::Object(object) = object else { panic!("it is one") };
        template.parse::<Template>()?.fill(&object, |label| format!("<{label}>"))
    }

    #[test]
    fn templates_are_filled_in() {
        for (template, expected) in [
            ("{{.Name}}", "shop-db-1"),
            ("{{ .Name }}\\t{{.ExitCode}}!", "shop-db-1\t3!"),
            ("{{json .Name}} {{json .ExitCode}}", "\"shop-db-1\" 3"),
            ("{{json .}}", r#"{"ExitCode":3,"Health":"","Name":"shop-db-1"}"#),
            (r#"{{.Label "com.docker.compose.service"}}"#, "<com.docker.compose.service>"),
            ("{{upper .Name}}{{lower .Name}}{{title .Name}}", "SHOP-DB-1shop-db-1Shop-db-1"),
            ("no field", "no field"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expected), "{template}");
        }
        for (template, part) in [
            ("{{.Nmae}}", "there is no field `Nmae`; there are ExitCode, Health, Name"),
            ("{{.Name", "has no `}}`"),
            ("{{range .Ports}}", "is not understood"),
            ("{{.Name | printf}}", "is not understood"),
        ] {
            let error = filled(template).expect_err(template);
            assert!(error.contains(part), "{error}");
        }
        assert_eq!("{{.Name}}\\t{{.Status}}".parse::<Template>().unwrap().head(str::to_uppercase), "NAME\tSTATUS");
    }
}

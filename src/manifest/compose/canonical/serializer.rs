//! From the model's types to values: what Go's `omitempty` leaves out is left out here.

use std::convert::Infallible;
use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant, Serializer,
};

use super::{EXTENSIONS, Form, HashDialect, Value};

pub(super) fn value<T: Serialize + ?Sized>(part: &T, form: Form) -> Value {
    part.serialize(Writer { form }).expect("the model's types refuse nothing").value
}

/// A value, and whether `omitempty` leaves it out.
struct Written {
    value: Value,
    empty: bool,
}

impl Written {
    fn new(value: Value, empty: bool) -> Self {
        Self { value, empty }
    }
}

/// Nothing can go wrong here; `serde` wants an error all the same.
#[derive(Debug)]
struct Impossible(Infallible);

impl Display for Impossible {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {}
    }
}

impl std::error::Error for Impossible {}

impl ser::Error for Impossible {
    fn custom<T: Display>(message: T) -> Self {
        unreachable!("no type of the model raises an error: {message}")
    }
}

#[derive(Clone, Copy)]
struct Writer {
    form: Form,
}

impl Writer {
    fn int(n: i128) -> Written {
        Written::new(Value::Int(n), n == 0)
    }
}

/// The newtypes that are written in another way than what they hold.
pub(in crate::manifest) const BYTES: &str = "Bytes";
pub(in crate::manifest) const FILE_MODE: &str = "FileMode";

impl Serializer for Writer {
    type Ok = Written;
    type Error = Impossible;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Map;
    type SerializeStruct = Struct;
    type SerializeStructVariant = Struct;

    fn serialize_bool(self, v: bool) -> Result<Written, Impossible> {
        Ok(Written::new(Value::Bool(v), !v))
    }

    fn serialize_i8(self, v: i8) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_i16(self, v: i16) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_i32(self, v: i32) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_i64(self, v: i64) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_u8(self, v: u8) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_u16(self, v: u16) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_u32(self, v: u32) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_u64(self, v: u64) -> Result<Written, Impossible> {
        Ok(Self::int(v.into()))
    }

    fn serialize_i128(self, v: i128) -> Result<Written, Impossible> {
        Ok(Self::int(v))
    }

    fn serialize_f32(self, v: f32) -> Result<Written, Impossible> {
        Ok(Written::new(Value::Single(v), v == 0.0))
    }

    fn serialize_f64(self, v: f64) -> Result<Written, Impossible> {
        Ok(Written::new(Value::Double(v), v == 0.0))
    }

    fn serialize_char(self, v: char) -> Result<Written, Impossible> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<Written, Impossible> {
        Ok(Written::new(Value::Text(v.to_owned()), v.is_empty()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Written, Impossible> {
        self.serialize_str(&String::from_utf8_lossy(v))
    }

    fn serialize_none(self) -> Result<Written, Impossible> {
        Ok(Written::new(Value::Null, true))
    }

    /// What is behind a pointer is written, empty or not.
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Written, Impossible> {
        Ok(Written::new(value.serialize(self)?.value, false))
    }

    fn serialize_unit(self) -> Result<Written, Impossible> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Written, Impossible> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Written, Impossible> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Written, Impossible> {
        let written = value.serialize(self)?;
        Ok(match (name, written.value) {
            (BYTES, Value::Int(n)) => Written::new(Value::Text(n.to_string()), written.empty),
            (FILE_MODE, Value::Int(n)) => Written::new(Value::Text(format!("0{n:o}")), false),
            (_, value) => Written::new(value, written.empty),
        })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Written, Impossible> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, Impossible> {
        Ok(List { writer: self, items: Vec::new() })
    }

    fn serialize_tuple(self, len: usize) -> Result<List, Impossible> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<List, Impossible> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, len: usize) -> Result<List, Impossible> {
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Map, Impossible> {
        Ok(Map { writer: self, key: String::new(), entries: Vec::new() })
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Struct, Impossible> {
        Ok(Struct { writer: self, entries: Vec::new(), extensions: Vec::new() })
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Struct, Impossible> {
        self.serialize_struct(name, len)
    }
}

struct List {
    writer: Writer,
    items: Vec<Value>,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Impossible> {
        self.items.push(value.serialize(self.writer)?.value);
        Ok(())
    }

    fn finish(self) -> Written {
        let empty = self.items.is_empty();
        Written::new(Value::List(self.items), empty)
    }
}

/// Implements one of `serde`'s many names for a list.
macro_rules! list {
    ($name:ident, $push:ident) => {
        impl $name for List {
            type Ok = Written;
            type Error = Impossible;

            fn $push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Impossible> {
                self.push(value)
            }

            fn end(self) -> Result<Written, Impossible> {
                Ok(self.finish())
            }
        }
    };
}

list!(SerializeSeq, serialize_element);
list!(SerializeTuple, serialize_element);
list!(SerializeTupleStruct, serialize_field);
list!(SerializeTupleVariant, serialize_field);

struct Map {
    writer: Writer,
    key: String,
    entries: Vec<(String, Value)>,
}

impl SerializeMap for Map {
    type Ok = Written;
    type Error = Impossible;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Impossible> {
        self.key = match key.serialize(self.writer)?.value {
            Value::Text(text) => text,
            Value::Int(n) => n.to_string(),
            other => unreachable!("keys are texts, not {other:?}"),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Impossible> {
        let value = value.serialize(self.writer)?.value;
        self.entries.push((std::mem::take(&mut self.key), value));
        Ok(())
    }

    /// Maps are sorted in JSON by the bytes of their keys, in YAML as people count.
    fn end(mut self) -> Result<Written, Impossible> {
        match self.writer.form {
            Form::Json(_) => self.entries.sort_by(|a, b| a.0.cmp(&b.0)),
            Form::Yaml => self.entries.sort_by(|a, b| super::yaml::natural_order(&a.0, &b.0)),
        }
        let empty = self.entries.is_empty();
        Ok(Written::new(Value::Map(self.entries), empty))
    }
}

struct Struct {
    writer: Writer,
    entries: Vec<(String, Value)>,
    extensions: Vec<(String, Value)>,
}

impl Struct {
    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Impossible> {
        let written = value.serialize(self.writer)?;
        let form = self.writer.form;
        if key == EXTENSIONS {
            if let (Form::Yaml, Value::Map(entries)) = (form, written.value) {
                self.extensions = entries;
            }
            return Ok(());
        }
        let yaml = form == Form::Yaml;
        let name = key.trim_end_matches(['!', '?', '^', '~', '+']);
        let wanted = match key[name.len()..].chars().next() {
            Some('!') => true,
            Some('?') => !yaml || written.value != Value::Null,
            Some('^') => yaml || !written.empty,
            Some('~') => match form {
                Form::Json(HashDialect::V5) => written.value == Value::Bool(false),
                Form::Json(HashDialect::V2) | Form::Yaml => written.value == Value::Bool(true),
            },
            Some('+') => form == Form::Json(HashDialect::V5) && !written.empty,
            Some(_) | None => !written.empty,
        };
        if wanted {
            // Some of Compose's fields have no name of their own in its formats: Go's for JSON, in small letters for YAML.
            let name = if yaml { name.to_ascii_lowercase() } else { name.to_owned() };
            self.entries.push((name, written.value));
        }
        Ok(())
    }

    /// JSON's `omitempty` never leaves out a struct; YAML's does where nothing is in it.
    fn finish(mut self) -> Written {
        self.entries.append(&mut self.extensions);
        let empty = self.writer.form == Form::Yaml && self.entries.is_empty();
        Written::new(Value::Map(self.entries), empty)
    }
}

impl SerializeStruct for Struct {
    type Ok = Written;
    type Error = Impossible;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Impossible> {
        self.field(key, value)
    }

    fn end(self) -> Result<Written, Impossible> {
        Ok(self.finish())
    }
}

impl SerializeStructVariant for Struct {
    type Ok = Written;
    type Error = Impossible;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Impossible> {
        self.field(key, value)
    }

    fn end(self) -> Result<Written, Impossible> {
        Ok(self.finish())
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! etcd's documents, as its JSON gateway has them: bytes in base64, 64-bit numbers as texts, and
//! what is zero or empty left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// Bytes, in base64.
#[must_use]
pub fn bytes(of: impl AsRef<[u8]>) -> Value {
    Value::String(STANDARD.encode(of))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

fn from_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Text(String),
        Number(i64),
    }
    match Number::deserialize(deserializer)? {
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
        Number::Number(number) => Ok(number),
    }
}

/// A key and its value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct KeyValue {
    /// The key.
    #[serde(deserialize_with = "from_base64")]
    pub key: Vec<u8>,
    /// The value.
    #[serde(deserialize_with = "from_base64")]
    pub value: Vec<u8>,
    /// The revision of its last change.
    #[serde(deserialize_with = "from_text")]
    pub mod_revision: i64,
}

/// What comes with each answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The revision of the store.
    #[serde(deserialize_with = "from_text")]
    pub revision: i64,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Range {
    /// What comes with each answer.
    pub header: Header,
    /// What was found.
    pub kvs: Vec<KeyValue>,
    /// Whether there is more.
    pub more: bool,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Txn {
    /// What comes with each answer.
    pub header: Header,
    /// Whether all was as it was compared with.
    pub succeeded: bool,
}

/// The answer to a request for a lease.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    /// Its number.
    #[serde(rename = "ID", deserialize_with = "from_text")]
    pub id: i64,
}

/// A part of a watch's answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Watched {
    /// What comes with each answer.
    pub header: Header,
    /// Whether the watch has ended.
    pub canceled: bool,
    /// If it could not begin: what is older than this is not kept.
    #[serde(deserialize_with = "from_text")]
    pub compact_revision: i64,
    /// What has changed.
    pub events: Vec<Event>,
}

/// A change.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    /// `DELETE`, or nothing for a put.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was put, or the key that was deleted.
    pub kv: KeyValue,
}

/// The key behind all keys that begin with a prefix.
#[must_use]
pub fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Compares a key's revision of its last change; 0 for one that is not there.
#[must_use]
pub fn is_at(key: &str, mod_revision: i64) -> Value {
    json!({
        "key": bytes(key),
        "result": "EQUAL",
        "target": "MOD",
        "mod_revision": mod_revision.to_string(),
    })
}

/// Puts a value, perhaps under a lease.
#[must_use]
pub fn put(key: &str, value: impl AsRef<[u8]>, lease: Option<i64>) -> Value {
    let lease = lease.unwrap_or_default().to_string();
    json!({ "request_put": { "key": bytes(key), "value": bytes(value), "lease": lease } })
}

/// Deletes a key, or all from it up to another.
#[must_use]
pub fn delete(key: &str, up_to: Option<&str>) -> Value {
    let mut range = json!({ "key": bytes(key) });
    if let Some(end) = up_to {
        range["range_end"] = bytes(end);
    }
    json!({ "request_delete_range": range })
}

/// A transaction.
#[must_use]
pub fn txn(compare: Vec<Value>, success: Vec<Value>) -> Value {
    json!({ "compare": compare, "success": success })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_empty() {
        let text = r#"{"header":{"revision":"7"},"kvs":[{"key":"YQ==","mod_revision":"5"}]}"#;
        let range: Range = serde_json::from_str(text).unwrap();
        assert_eq!(range.header.revision, 7);
        assert_eq!(range.kvs[0].key, b"a");
        assert!(range.kvs[0].value.is_empty() && !range.more);
    }

    #[test]
    fn the_end_of_a_prefix_is_behind_it() {
        assert_eq!(end_of("/a/"), b"/a0");
        assert_eq!(end_of(""), [0]);
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What QEMU says: lines of JSON.

use serde_json::Value;

/// The most bytes of a line. The answer to `query-qmp-schema` has some 300,000.
pub const MAX_LINE: usize = 16 << 20;

/// Something has happened to the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its name, for example `SHUTDOWN`.
    pub name: String,
    /// What goes with it.
    pub data: Value,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The first line: QEMU's version.
    Greeting(String),
    /// The answer to a command, with its number.
    Answer {
        id: Option<u64>,
        result: Result<Value, String>,
    },
    Event(Event),
}

/// Bytes that become lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// How far no line's end was found.
    seen: usize,
}

impl Lines {
    pub(super) fn push(&mut self, new: &[u8]) -> Result<(), String> {
        if self.bytes.len().saturating_add(new.len()) > MAX_LINE {
            return Err(format!("a line of more than {MAX_LINE} bytes"));
        }
        self.bytes.extend(new);
        Ok(())
    }

    /// The next whole line.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        let new = self.bytes.get(self.seen..).unwrap_or_default();
        let Some(end) = new.iter().position(|byte| *byte == b'\n') else {
            self.seen = self.bytes.len();
            return None;
        };
        let rest = self.bytes.split_off(self.seen + end + 1);
        self.seen = 0;
        Some(std::mem::replace(&mut self.bytes, rest))
    }
}

/// Reads a line; says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<Heard, String> {
    let nonsense = || {
        let text = String::from_utf8_lossy(line);
        text.chars().take(200).collect::<String>()
    };
    let mut value: Value = serde_json::from_slice(line).map_err(|_| nonsense())?;
    if let Some(greeting) = value.get("QMP") {
        return Ok(Heard::Greeting(version(greeting)));
    }
    if let Some(name) = value.get("event").and_then(Value::as_str) {
        let name = name.to_owned();
        let data = value.get_mut("data").map(Value::take).unwrap_or_default();
        return Ok(Heard::Event(Event { name, data }));
    }
    let id = value.get("id").and_then(Value::as_u64);
    if let Some(error) = value.get("error") {
        let why = error.get("desc").and_then(Value::as_str);
        let result = Err(why.unwrap_or("it does not say why").to_owned());
        return Ok(Heard::Answer { id, result });
    }
    match value.get_mut("return").map(Value::take) {
        Some(value) => Ok(Heard::Answer {
            id,
            result: Ok(value),
        }),
        None => Err(nonsense()),
    }
}

/// The version in a greeting: three numbers, and what the distribution adds.
fn version(greeting: &Value) -> String {
    let version = greeting.get("version");
    let qemu = version.and_then(|version| version.get("qemu"));
    let number = |name: &str| {
        let number = qemu.and_then(|qemu| qemu.get(name));
        number.and_then(Value::as_u64).unwrap_or_default()
    };
    let package = version.and_then(|version| version.get("package"));
    let package = package.and_then(Value::as_str).unwrap_or_default();
    let [major, minor, micro] = ["major", "minor", "micro"].map(number);
    let mut text = format!("{major}.{minor}.{micro}");
    if !package.is_empty() {
        text.push_str(" (");
        text.push_str(package);
        text.push(')');
    }
    text
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The texts in `interfaces/` and the types say the same.

use std::collections::BTreeMap;

use luo_varlink::interface::{self, Interface};
use luo_varlink::{admin, client, status};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use zlink_core::idl::{self, CustomType, Type};
use zlink_core::introspect::{CustomType as _, ReplyError};

fn types() -> BTreeMap<String, &'static CustomType<'static>> {
    use luo_varlink::*;
    let all = [
        Check::CUSTOM_TYPE,
        CheckStatus::CUSTOM_TYPE,
        Custody::CUSTOM_TYPE,
        Event::CUSTOM_TYPE,
        EventKind::CUSTOM_TYPE,
        HistoryEntry::CUSTOM_TYPE,
        Identity::CUSTOM_TYPE,
        Orchestrator::CUSTOM_TYPE,
        Outcome::CUSTOM_TYPE,
        Phase::CUSTOM_TYPE,
        Plan::CUSTOM_TYPE,
        PlanStep::CUSTOM_TYPE,
        Report::CUSTOM_TYPE,
        SessionInfo::CUSTOM_TYPE,
        Status::CUSTOM_TYPE,
        Step::CUSTOM_TYPE,
        Target::CUSTOM_TYPE,
        TimelineEvent::CUSTOM_TYPE,
        TimelineKind::CUSTOM_TYPE,
        Work::CUSTOM_TYPE,
        Workload::CUSTOM_TYPE,
        WorkloadState::CUSTOM_TYPE,
    ];
    all.into_iter()
        .map(|known| (known.name().to_string(), known))
        .collect()
}

fn parse(interface: Interface) -> idl::Interface<'static> {
    interface.1.try_into().unwrap()
}

#[test]
fn types_are_the_same() {
    let known = types();
    for text in interface::ALL {
        for declared in parse(text).custom_types() {
            let ours = known[&declared.name().to_string()];
            assert_eq!(bare(declared), bare(ours), "{}", text.0);
        }
    }
}

/// A declaration without its comments, on one line.
fn bare(declaration: &impl ToString) -> String {
    let text = declaration.to_string();
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let words: Vec<_> = lines.flat_map(str::split_whitespace).collect();
    words.join(" ").replace("( ", "(").replace(" )", ")")
}

#[test]
fn errors_are_the_same() {
    let all = [
        (interface::ADMIN, admin::Error::VARIANTS),
        (interface::CLIENT, client::Error::VARIANTS),
        (interface::STATUS, status::Error::VARIANTS),
    ];
    for (text, ours) in all {
        let parsed = parse(text);
        let declared: Vec<_> = parsed.errors().collect();
        assert_eq!(declared.len(), ours.len(), "{}", text.0);
        for (declared, ours) in declared.into_iter().zip(ours) {
            assert_eq!(bare(declared), bare(ours), "{}", text.0);
        }
    }
}

/// Some value of a type.
fn value(of: &Type<'_>, interface: &idl::Interface<'_>) -> Value {
    match of {
        Type::Bool => json!(true),
        Type::Int => json!(7),
        Type::String => json!("text"),
        Type::Optional(_) => Value::Null,
        Type::Array(item) => json!([value(item.inner(), interface)]),
        Type::Custom(name) => {
            let mut all = interface.custom_types();
            match all
                .find(|known| known.name().to_string() == name.to_string())
                .unwrap()
            {
                CustomType::Enum(words) => json!(words.variants().next().unwrap().name()),
                CustomType::Object(object) => object
                    .fields()
                    .map(|field| (field.name().to_string(), value(field.ty(), interface)))
                    .collect(),
            }
        }
        other => panic!("no value of {other}"),
    }
}

/// What is null may be left out, at any depth.
fn without_nulls(value: &mut Value) {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(without_nulls);
    }
}

/// Each call that a text declares is one that is understood, and says the same again.
fn calls<M: DeserializeOwned + serde::Serialize>(text: Interface) -> usize {
    let parsed = parse(text);
    let mut count = 0;
    for method in parsed.methods() {
        let parameters: Map<String, Value> = method
            .inputs()
            .map(|input| (input.name().to_string(), value(input.ty(), &parsed)))
            .collect();
        let mut call = json!({ "method": format!("{}.{}", text.0, method.name()) });
        if !parameters.is_empty() {
            call["parameters"] = parameters.into();
        }
        let understood: M = serde_json::from_value(call.clone())
            .unwrap_or_else(|why| panic!("{}: {why}", method.name()));
        let mut said = serde_json::to_value(understood).unwrap();
        without_nulls(&mut said);
        without_nulls(&mut call);
        assert_eq!(said, call);
        count += 1;
    }
    count
}

#[test]
fn calls_are_the_same() {
    assert_eq!(calls::<client::Method>(interface::CLIENT), 13);
    assert_eq!(calls::<admin::Method>(interface::ADMIN), 10);
    assert_eq!(calls::<status::Method>(interface::STATUS), 3);
}

#[test]
fn words_are_those_of_the_wire() {
    for &phase in luo_varlink::Phase::ALL {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.word());
    }
    for &kind in luo_varlink::TimelineKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
    }
    for &state in luo_varlink::WorkloadState::ALL {
        assert_eq!(serde_json::to_value(state).unwrap(), state.word());
    }
}

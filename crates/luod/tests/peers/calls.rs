// SPDX-License-Identifier: MIT OR Apache-2.0
//! Calls that are none.

use serde_json::json;

use crate::agent::{Luod, open_policy};

#[test]
fn junk_ends_the_connection_and_nothing_else() {
    let luod = Luod::start(&open_policy());
    let deep = format!(
        "{{\"method\":\"a.b\",\"parameters\":{{\"x\":{}",
        "[".repeat(60_000)
    );
    let objects = format!("{}\0", "{\"a\":".repeat(10_000));
    let junk: &[&[u8]] = &[
        b"\0",
        b"\0\0\0",
        b"junk\0",
        b"{\0",
        b"[]\0",
        b"null\0",
        b"7\0",
        b"{}\0",
        b"{\"method\":1}\0",
        b"{\"method\":\"a.b\",\"parameters\":[]}\0",
        b"{\"method\":\"a.b\",\"more\":\"yes\"}\0",
        b"{\"method\":\"a.b\"}{\"method\":\"a.b\"}\0",
        b"{\"method\":\"\xff\xfe\"}\0",
        b"\xff\xff\xff\xff\0",
        deep.as_bytes(),
        objects.as_bytes(),
    ];
    for bytes in junk {
        for door in ["client", "admin", "status"] {
            let mut peer = luod.connect(door);
            let _ = peer.send(bytes);
            // Closing our end cuts off a call that has no end.
            let _ = peer.stream().shutdown(std::net::Shutdown::Write);
            let text = String::from_utf8_lossy(bytes);
            // One that has an end is told what is wrong with it.
            if bytes.ends_with(b"\0") {
                let parameter = peer.told();
                assert!(
                    parameter.starts_with("a message is a JSON object"),
                    "{parameter}"
                );
            }
            assert_eq!(peer.answer(), None, "{text}");
        }
    }
    luod.serves();
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let luod = Luod::start(&open_policy());
    let service = |name: &str| format!("org.varlink.service.{name}");
    let cases = [
        ("client", "org.liveupdate.Admin.Plan", "PermissionDenied"),
        (
            "client",
            "org.liveupdate.Admin.Nonsense",
            "PermissionDenied",
        ),
        ("status", "org.liveupdate.Admin.Update", "PermissionDenied"),
        (
            "status",
            "org.liveupdate.Client.Register",
            "PermissionDenied",
        ),
        (
            "admin",
            "org.liveupdate.Client.Register",
            "PermissionDenied",
        ),
        ("admin", "org.liveupdate.Admin.Nonsense", "MethodNotFound"),
        ("client", "org.liveupdate.Client.", "MethodNotFound"),
        (
            "client",
            "org.liveupdate.Client.Register(",
            "MethodNotFound",
        ),
        ("client", "org.liveupdate.Client.register", "MethodNotFound"),
        ("status", "org.varlink.service.Nonsense", "MethodNotFound"),
        ("status", "nonsense", "MethodNotFound"),
        ("status", "", "MethodNotFound"),
        ("status", "org.example.Other.Call", "InterfaceNotFound"),
        (
            "status",
            "org.liveupdate.Client2.Register",
            "InterfaceNotFound",
        ),
        ("status", "org.liveupdate.Status.Watch", "ExpectedMore"),
    ];
    for (door, method, error) in cases {
        luod.connect(door)
            .refused(method, json!({}), &service(error));
    }
}

#[test]
fn wrong_parameters_are_refused() {
    let luod = Luod::start(&open_policy());
    let mut peer = luod.connect("client");
    let wrong = [
        ("Register", json!({})),
        ("Register", json!({"workload": "a"})),
        ("Register", json!({"workload": 7, "needs": []})),
        ("Register", json!({"workload": "a", "needs": "b"})),
        ("Register", json!({"workload": "a", "needs": [null]})),
        ("CreateSession", json!({"name": {}})),
        (
            "Answer",
            json!({"update": "u", "step": "jump", "veto": null}),
        ),
        ("Declare", json!({"session": "s", "token": -1})),
        ("Declare", json!({"session": "s", "token": 1e300})),
    ];
    for (method, parameters) in wrong {
        let method = format!("org.liveupdate.Client.{method}");
        peer.refused(&method, parameters, "org.varlink.service.InvalidParameter");
    }
    let unknown = json!({"interface": "org.example.Other"});
    let describe = "org.varlink.service.GetInterfaceDescription";
    peer.refused(describe, unknown, "org.varlink.service.InterfaceNotFound");
    peer.refused(describe, json!({}), "org.varlink.service.InvalidParameter");
    // The connection is as good as new.
    assert_eq!(peer.register("a")["parameters"]["phase"], "normal");
}

/// No parameters, an empty object and null are the same, whatever a method takes.
#[test]
fn parameters_that_are_optional_may_be_left_out() {
    let luod = Luod::start(&open_policy());
    for (method, error) in [
        ("Cancel", "org.liveupdate.Admin.Illegal"),
        ("Freeze", "org.liveupdate.Admin.Illegal"),
        ("Release", "org.varlink.service.InvalidParameter"),
    ] {
        for parameters in ["", ",\"parameters\":{}", ",\"parameters\":null"] {
            let mut admin = luod.connect("admin");
            let call = format!("{{\"method\":\"org.liveupdate.Admin.{method}\"{parameters}}}\0");
            admin.send(call.as_bytes()).unwrap();
            let answer = admin.answer().unwrap();
            assert_eq!(answer["error"], error, "{call}: {answer}");
        }
    }
}

#[test]
fn calls_out_of_turn_are_refused() {
    let luod = Luod::start(&open_policy());
    let client = |name: &str| format!("org.liveupdate.Client.{name}");
    let mut peer = luod.connect("client");
    for (method, parameters) in [
        ("Unregister", json!({})),
        ("CreateSession", json!({"name": "s"})),
        ("DropSession", json!({"name": "s"})),
        ("NextEvent", json!({})),
        (
            "Answer",
            json!({"update": "u", "step": "prepare", "veto": null}),
        ),
        ("Detach", json!({})),
        ("Claim", json!({"session": "s"})),
        ("Restored", json!({})),
        ("Describe", json!({"about": "idle"})),
        ("FinishSession", json!({"name": "s"})),
    ] {
        peer.refused(&client(method), parameters, &client("NotRegistered"));
    }
    peer.register("a");
    for (method, parameters, error) in [
        (
            "Register",
            json!({"workload": "b", "needs": []}),
            "NotExpected",
        ),
        (
            "Answer",
            json!({"update": "u", "step": "prepare", "veto": null}),
            "NotExpected",
        ),
        ("Restored", json!({}), "NotExpected"),
        ("Claim", json!({"session": "s"}), "NoSuchSession"),
        ("FinishSession", json!({"name": "s"}), "NoSuchSession"),
        ("DropSession", json!({"name": "s"}), "NoSuchSession"),
        // There is no live update here.
        ("CreateSession", json!({"name": "s"}), "Kernel"),
        ("Detach", json!({}), "Denied"),
    ] {
        peer.refused(&client(method), parameters, &client(error));
    }
    let mut admin = luod.connect("admin");
    for (method, parameters, error) in [
        ("Freeze", json!({}), "Illegal"),
        ("Kexec", json!({}), "Illegal"),
        ("Cancel", json!({"reason": null}), "Illegal"),
        ("Finish", json!({"release_unclaimed": true}), "Illegal"),
        ("Release", json!({"session": "s"}), "NoSuchSession"),
        ("Prepare", json!({"target": {}}), "CheckFailed"),
        ("Update", json!({"target": {}}), "CheckFailed"),
    ] {
        let method = format!("org.liveupdate.Admin.{method}");
        let error = format!("org.liveupdate.Admin.{error}");
        admin.refused(&method, parameters, &error);
    }
}

#[test]
fn names_and_numbers_have_limits() {
    let luod = Luod::start(&open_policy());
    let client = |name: &str| format!("org.liveupdate.Client.{name}");
    let mut peer = luod.connect("client");
    let names = ["", "systemd", "luod", "luod.x", "a b", "../a", "a\n", ".a"];
    for name in names.into_iter().chain([&*"x".repeat(64)]) {
        let parameters = json!({"workload": name, "needs": []});
        peer.refused(&client("Register"), parameters, &client("BadName"));
    }
    let needs: Vec<_> = (0..65).map(|number| format!("w{number}")).collect();
    let parameters = json!({"workload": "a", "needs": needs});
    peer.refused(&client("Register"), parameters, &client("TooMany"));
    // Nobody has the second; the first would wait for itself.
    for need in ["a", "systemd"] {
        let parameters = json!({"workload": "a", "needs": [need]});
        peer.refused(&client("Register"), parameters, &client("BadName"));
    }
    peer.register("a");
    let mut other = luod.connect("client");
    let parameters = json!({"workload": "a", "needs": []});
    other.refused(&client("Register"), parameters, &client("WorkloadTaken"));
}

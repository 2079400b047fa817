// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calls of `varlinkctl introspect`, made by zlink's own client.

use std::collections::BTreeMap;

use zlink_core::varlink_service::Proxy;

use crate::agent::{Luod, open_policy};

/// The methods of each interface that a socket has.
async fn methods(luod: &Luod, socket: &str) -> BTreeMap<String, Vec<String>> {
    let mut connection = zlink_tokio::unix::connect(luod.socket(socket))
        .await
        .unwrap();
    let info = connection.owned_get_info().await.unwrap().unwrap();
    assert_eq!(info.product, "luod");
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    let mut all = BTreeMap::new();
    for name in &info.interfaces {
        let name = name.as_str();
        let wanted = name.try_into().unwrap();
        let answer = connection.owned_get_interface_description(wanted).await;
        let description = answer.unwrap().unwrap();
        let interface = description.parse().unwrap();
        assert_eq!(interface.name().to_string(), name);
        let methods = interface.methods().map(|method| method.name().to_string());
        all.insert(name.to_owned(), methods.collect());
    }
    all
}

#[test]
fn each_socket_describes_its_interfaces() {
    let luod = Luod::start(&open_policy());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let service = "org.varlink.service";
    let (status, client, admin) = (
        "org.liveupdate.Status",
        "org.liveupdate.Client",
        "org.liveupdate.Admin",
    );
    for (socket, expected) in [
        ("status", vec![status, service]),
        ("client", vec![client, status, service]),
        ("admin", vec![admin, status, service]),
    ] {
        let found = runtime.block_on(methods(&luod, socket));
        let mut names: Vec<_> = found.keys().map(String::as_str).collect();
        let mut expected = expected;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{socket}");
        let has = |interface: &str, method: &str| {
            let methods = found.get(interface);
            methods.is_some_and(|methods| methods.iter().any(|known| known == method))
        };
        assert!(has(status, "Watch") && has(service, "GetInterfaceDescription"));
        assert_eq!(has(client, "Claim"), socket == "client");
        assert_eq!(has(admin, "Update"), socket == "admin");
    }
}

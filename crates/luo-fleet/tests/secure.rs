// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who may what: certificates and tokens, over TLS.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use luo_fleet::config::{Config, Tls};
use luo_fleet::dev::cluster::Cluster;
use luo_fleet::dev::show::{BEGINS, until_fresh};
use luo_fleet::identity::{Role, token};
use luo_fleet::run::run;
use luo_fleetlock::client::{Client, Error, Settings};
use luo_fleetlock::lock::ClientParams;

use crate::common::authority::Authority;

const KEY: [u8; 32] = [9; 32];

/// How a client presents itself.
#[derive(Clone)]
enum By {
    Nothing,
    Token(String),
    Certificate(PathBuf, PathBuf),
}

/// What becomes of a call for `host`, and of a look at the fleet, and of what an administrator does.
fn tried(folder: &Path, server: &str, by: &By, host: &str) -> [Result<(), Error>; 3] {
    let mut settings = Settings {
        servers: vec![server.to_owned()],
        ca: Some(folder.join("ca.pem")),
        ..Settings::default()
    };
    match by {
        By::Nothing => {}
        By::Token(token) => {
            let path = folder.join("token");
            std::fs::write(&path, format!("{token}\n")).unwrap();
            settings.token = Some(path);
        }
        By::Certificate(certificate, key) => {
            settings.certificate = Some((certificate.clone(), key.clone()));
        }
    }
    let client = Client::new(&settings).unwrap();
    let who = ClientParams {
        id: host.to_owned(),
        group: "g".to_owned(),
    };
    [
        client.pre_reboot(&who, None),
        client.status(None).map(drop),
        client.by_hand("hold", "other", "a test").map(drop),
    ]
}

/// A certificate and the key of another one are a mistake in words, and no panic.
#[test]
fn a_certificate_that_cannot_be_shown_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Authority::new(folder.path(), "ca");
    let (one, other) = (ca.sign("one"), ca.sign("other"));
    let client = |certificate: &Path, key: &Path| {
        Client::new(&Settings {
            servers: vec!["https://localhost:1".to_owned()],
            ca: Some(folder.path().join("ca.pem")),
            certificate: Some((certificate.to_owned(), key.to_owned())),
            ..Settings::default()
        })
    };
    client(&one.0, &one.1).unwrap();
    // So it is with what a server shows to etcd.
    let path = |path: &Path| path.display().to_string();
    let config = |key: &Path| {
        let text = format!(
            "[access]\nopen = true\n[etcd]\nendpoints = [\"https://a:1\"]\nca = {:?}\ncertificate = {:?}\n\
             key = {:?}\n",
            path(&folder.path().join("ca.pem")),
            path(&one.0),
            path(key)
        );
        Config::parse(&text).unwrap().etcd()
    };
    config(&one.1).map(drop).unwrap();
    let why = config(&other.1).map(drop).unwrap_err();
    assert!(why.to_string().contains("one.pem"), "{why:#}");
    // Nor is a server accepted whose certificate nobody can look at.
    let blind = Client::new(&Settings {
        servers: vec!["https://localhost:1".to_owned()],
        ..Settings::default()
    });
    assert!(blind.unwrap_err().to_string().contains("name ca"));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for (certificate, key, named) in [
        (&one.0, &other.1, "one.pem"),
        (&one.0, &empty, "empty.pem"),
        (&empty, &one.1, "empty.pem"),
    ] {
        let why = client(certificate, key).unwrap_err();
        assert!(matches!(&why, Error::Settings { .. }), "{why:?}");
        assert!(why.to_string().contains(named), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes etcd"]
async fn each_speaks_for_itself_and_only_administrators_act() {
    let cluster = Cluster::start(1).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let (ca, foreign) = (
        Authority::new(&path, "ca"),
        Authority::new(&path, "foreign"),
    );
    std::fs::write(path.join("token.key"), KEY).unwrap();
    let (certificate, key) = ca.sign("localhost");
    let mut config = Config {
        listen: vec!["127.0.0.1:0".to_owned()],
        ..Config::default()
    };
    config.etcd.endpoints = cluster.endpoints();
    config.access.token_keys = vec![path.join("token.key")];
    config.access.revoked = vec!["host:lost".to_owned(), "host:sold".to_owned()];
    config.access.admins = vec!["ops.example.org".to_owned()];
    config.tls = Some(Tls {
        certificate,
        key,
        client_ca: Some(path.join("ca.pem")),
    });
    let running = run(&config, Box::new(Timestamp::now)).await.unwrap();
    until_fresh(&running.keeper, BEGINS).await.unwrap();
    let policy = "version = 1\nrollout = \"r\"\nslots = 9\n[[group]]\nname = \"g\"\n";
    running
        .keeper
        .set_policy(policy, "a test", "a test")
        .await
        .unwrap();
    let server = format!("https://localhost:{}", running.addresses[0].port());
    let token = |role, name| By::Token(token(&KEY, role, name).unwrap());
    let signed = |(certificate, key)| By::Certificate(certificate, key);
    let forged = luo_fleet::identity::token(&[8; 32], Role::Admin, "mona").unwrap();
    let cases = [
        // By whom, for which host, and the status of each call; 0 is one that did not come about.
        (token(Role::Host, "a"), "a", [200, 403, 403]),
        (token(Role::Host, "a"), "other", [403, 403, 403]),
        (token(Role::Viewer, "v"), "v", [403, 200, 403]),
        (token(Role::Admin, "mona"), "a", [403, 200, 200]),
        (token(Role::Host, "lost"), "lost", [401, 401, 401]),
        (By::Token(forged), "a", [401, 401, 401]),
        (By::Nothing, "a", [401, 401, 401]),
        (signed(ca.sign("b")), "b", [200, 403, 403]),
        (signed(ca.sign("b")), "other", [403, 403, 403]),
        (signed(ca.sign("ops.example.org")), "a", [403, 200, 200]),
        // One that is revoked is told so.
        (signed(ca.sign("sold")), "sold", [401, 401, 401]),
        (signed(foreign.sign("c")), "c", [0, 0, 0]),
    ];
    tokio::task::spawn_blocking(move || {
        // Somebody has to be there who can be held.
        let other = By::Token(luo_fleet::identity::token(&KEY, Role::Host, "other").unwrap());
        tried(&path, &server, &other, "other")[0].as_ref().unwrap();
        for (number, (by, host, wanted)) in cases.iter().enumerate() {
            let status = tried(&path, &server, by, host).map(|tried| match tried {
                Ok(()) => 200,
                Err(Error::Refused { status, .. }) => status,
                Err(_) => 0,
            });
            assert_eq!(status, *wanted, "case {number}");
        }
    })
    .await
    .unwrap();
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Users other than root. Who runs the tests as root becomes another one for them: the
//! test starts itself once more.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::agent::{Luod, Raw, until};

/// The variable that names the folder of the sockets for the one that is started.
const FOLDER: &str = "LUOD_TEST_FOLDER";

/// Another user than root.
const OTHER: u32 = 4711;

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// Runs a test of this file in another process, as another user.
fn as_other(test: &str, luod: &Luod) {
    let folder = luod.socket("");
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(luod.socket("client"), open).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--include-ignored", "--exact", "--nocapture", test])
        .env(FOLDER, folder)
        .current_dir("/")
        .uid(OTHER)
        .gid(OTHER)
        .output()
        .expect("another user must be able to run the test's program");
    let text = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{why}");
    assert!(text.contains("1 passed"), "{text}{why}");
}

fn flood(folder: &Path) {
    let mut open = Vec::new();
    // As many as may be, in whichever way.
    for socket in ["status", "metrics"].iter().cycle().take(20) {
        open.push(Raw::new(UnixStream::connect(folder.join(socket)).unwrap()));
    }
    let mut closed = 0;
    for peer in &mut open {
        let _ = peer.send(b"{\"method\":\"org.varlink.service.GetInfo\"}\0");
        let _ = peer.stream().shutdown(std::net::Shutdown::Write);
        let mut first = [0];
        let read = std::io::Read::read(&mut peer.stream(), &mut first);
        closed += usize::from(!matches!(read, Ok(1)));
    }
    // Those of the metrics may have been answered, and have made room, before all came.
    assert!(closed >= 1, "all were let in");
    drop(open);
    // There is room again.
    until("a place", || {
        let mut peer = Raw::new(UnixStream::connect(folder.join("status")).unwrap());
        let sent = peer.send(b"{\"method\":\"org.varlink.service.GetInfo\"}\0");
        sent.is_ok() && peer.answer().is_some()
    });
}

#[test]
fn a_user_has_so_many_connections() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return flood(folder.as_ref());
    }
    let luod = Luod::start("[limits]\nconnections = 5\n");
    if is_root() {
        // Root has no limit.
        let open: Vec<_> = (0..20).map(|_| luod.connect("status")).collect();
        luod.serves();
        drop(open);
        as_other("users::a_user_has_so_many_connections", &luod);
    } else {
        flood(&luod.socket(""));
    }
    luod.serves();
}

fn knock(folder: &Path) {
    let client = |name: &str| format!("org.liveupdate.Client.{name}");
    let connect = || Raw::new(UnixStream::connect(folder.join("client")).unwrap());
    // A user owns the names that begin with its number, and no others.
    let mut own = connect();
    assert!(own.register("uid-4711.x")["error"].is_null());
    for name in ["db", "uid-47110", "cache.service"] {
        let parameters = json!({"workload": name, "needs": []});
        connect().refused(&client("Register"), parameters, &client("Denied"));
        own.refused(
            &client("CreateSession"),
            json!({"name": name}),
            &client("Denied"),
        );
    }
    own.refused(
        &client("Claim"),
        json!({"session": "db.ram"}),
        &client("NoSuchSession"),
    );
    // The policy allows this name, but another connection is that workload.
    let parameters = json!({"workload": "shared", "needs": []});
    connect().refused(&client("Register"), parameters, &client("WorkloadTaken"));
    // The socket of administrators is closed to this user.
    let why = UnixStream::connect(folder.join("admin")).unwrap_err();
    assert_eq!(why.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
#[ignore = "takes root"]
fn another_user_is_kept_out() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return knock(folder.as_ref());
    }
    assert!(is_root(), "becoming another user takes root");
    let luod = Luod::start(
        "[[allow]]\nuid = 4711\nnames = [\"shared\"]\n[[allow]]\nuid = 0\nnames = [\"*\"]\n",
    );
    let mut owner = luod.connect("client");
    assert!(owner.register("shared")["error"].is_null());
    as_other("users::another_user_is_kept_out", &luod);
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! The header is what the functions say.

use std::path::Path;

const RENEW: &str = "LUO_RENEW=1 cargo test -p luo-client-c --test header";

#[test]
fn the_header_is_in_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(folder.join("cbindgen.toml")).unwrap();
    let sources = [
        "error.rs",
        "event.rs",
        "kernel.rs",
        "regions.rs",
        "workload.rs",
    ];
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in sources {
        builder = builder.with_src(folder.join("src").join(source));
    }
    let mut generated = Vec::new();
    builder.generate().unwrap().write(&mut generated);
    let generated = String::from_utf8(generated).unwrap();
    let path = folder.join("include/luo_client.h");
    if std::env::var_os("LUO_RENEW").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "the header is old; renew it: {RENEW}"
    );
}

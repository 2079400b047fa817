// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates of a test's own.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

fn pem(path: &Path, kind: &str, der: &[u8]) {
    let mut text = format!("-----BEGIN {kind}-----\n");
    for line in STANDARD.encode(der).as_bytes().chunks(64) {
        text += &format!("{}\n", String::from_utf8_lossy(line));
    }
    text += &format!("-----END {kind}-----\n");
    std::fs::write(path, text).unwrap();
}

/// An authority, and certificates by it.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        pem(
            &folder.join(format!("{name}.pem")),
            "CERTIFICATE",
            own.der(),
        );
        Self {
            folder: folder.to_owned(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for a name, and its key.
    pub(crate) fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["pem", "key"].map(|kind| self.folder.join(format!("{name}.{kind}")));
        pem(&paths[0], "CERTIFICATE", own.der());
        pem(&paths[1], "PRIVATE KEY", &key.serialize_der());
        paths.into()
    }
}

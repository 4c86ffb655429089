//! The suite's image as `docker/pack-image.rs` packs it: the same bytes each time, nothing of root, small, and told what is
//! in it.

#![allow(clippy::unwrap_used, reason = "all that is read here was just packed")]

#[path = "../../docker/pack.rs"]
mod pack;

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

const LOCK: &str = include_str!("../../Cargo.lock");

fn image(dir: &Path, architectures: &[&str]) -> pack::Image {
    let platforms = architectures.iter().map(|architecture| {
        let file = |name: &str| {
            let path = dir.join(format!("{name}-{architecture}"));
            std::fs::write(&path, format!("{name} for {architecture}")).unwrap();
            path
        };
        pack::Platform {
            architecture: (*architecture).to_owned(),
            program: file("kfconform"),
            busybox: file("busybox"),
        }
    });
    pack::Image {
        name: "docker.io/kubeflow/kfconform:0.1.0".to_owned(),
        version: "0.1.0".to_owned(),
        revision: Some("0123abc".to_owned()),
        created: 1_760_000_000,
        platforms: platforms.collect(),
        lock: LOCK.to_owned(),
        licence: "a licence".to_owned(),
    }
}

/// The files of a tar: path, mode, owner, bytes.
fn files(bytes: &[u8]) -> BTreeMap<PathBuf, (u32, u64, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        assert_eq!(entry.header().mtime().unwrap(), 0);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let header = entry.header();
        let (mode, owner) = (header.mode().unwrap(), header.uid().unwrap());
        (entry.path().unwrap().into_owned(), (mode, owner, bytes))
    });
    entries.collect()
}

fn blob(archive: &BTreeMap<PathBuf, (u32, u64, Vec<u8>)>, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let name = digest.strip_prefix("sha256:").unwrap();
    let bytes = &archive[&PathBuf::from(format!("blobs/sha256/{name}"))].2;
    let is: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(is, name);
    assert_eq!(descriptor["size"], bytes.len());
    bytes.clone()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn an_image_is_packed_to_the_same_bytes_and_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), &["amd64"]);
    let bytes = pack::pack(&image).unwrap();
    assert_eq!(bytes, pack::pack(&image).unwrap());
    let archive = files(&bytes);
    let index = json(&archive[Path::new("index.json")].2);
    let top = &index["manifests"][0];
    assert_eq!(
        top["annotations"]["io.containerd.image.name"],
        "docker.io/kubeflow/kfconform:0.1.0"
    );
    let manifest = json(&blob(&archive, top));
    let config = json(&blob(&archive, &manifest["config"]));
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(
        config["config"]["Labels"]["org.opencontainers.image.revision"],
        "0123abc"
    );
    let mut all = BTreeMap::new();
    for (layer, diff) in manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .zip(config["rootfs"]["diff_ids"].as_array().unwrap())
    {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(blob(&archive, layer).as_slice())
            .read_to_end(&mut plain)
            .unwrap();
        let is: String = Sha256::digest(&plain)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(*diff, format!("sha256:{is}"));
        all.extend(files(&plain));
    }
    assert!(
        all.values()
            .all(|(mode, owner, _)| *owner == 0 && mode & 0o6000 == 0)
    );
    assert_eq!(
        all[Path::new("usr/local/bin/kfconform")].2,
        b"kfconform for amd64"
    );
    assert_eq!(all[Path::new("bin/busybox")].0, 0o755);
    // Katib's collector wraps a trial's command in it.
    assert!(all.contains_key(Path::new("bin/sh")));
    let bill = json(&all[Path::new(pack::SBOM)].2);
    assert_eq!(bill["spdxVersion"], "SPDX-2.3");
    let packages = bill["packages"].as_array().unwrap();
    assert_eq!(packages.len(), LOCK.matches("[[package]]").count());
    assert!(packages.iter().any(|p| p["name"] == "kubeflow-conformance"));
    assert!(packages.iter().any(|p| p["name"] == "kube"));
}

#[test]
fn architectures_share_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pack::pack(&image(dir.path(), &["amd64", "arm64"])).unwrap();
    let archive = files(&bytes);
    let index = json(&archive[Path::new("index.json")].2);
    let list = json(&blob(&archive, &index["manifests"][0]));
    let platforms: Vec<&Value> = list["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["platform"]["architecture"])
        .collect();
    assert_eq!(platforms, ["amd64", "arm64"]);
}

#[test]
fn an_image_that_is_too_large_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let image = image(dir.path(), &["amd64"]);
    // Random enough that it does not get smaller.
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..pack::LARGEST + 4096)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    std::fs::write(&image.platforms[0].program, noise).unwrap();
    let error = pack::pack(&image).unwrap_err().to_string();
    assert!(error.contains("--release"), "{error}");
}

#[test]
fn a_platform_is_an_architecture_and_two_programs() {
    let good: pack::Platform = "arm64=a,b".parse().unwrap();
    assert_eq!(good.architecture, "arm64");
    for bad in ["arm64", "arm64=a", "x=a,b"] {
        assert!(bad.parse::<pack::Platform>().is_err(), "{bad}");
    }
}

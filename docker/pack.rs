//! Packs locally built programs into the suite's image without any registry: an OCI archive that `ctr`, `podman load`,
//! `skopeo` and `docker load` read. The same input gives the same bytes.
//!
//! ```text
//! cargo run --example pack-image -- --platform amd64=target/release/kfconform,/bin/busybox --out kfconform.tar
//! ```
//!
//! `--platform` may be given again for another architecture. A program that is not static takes the libraries with it that
//! its loader names; a static one is the whole image, with busybox.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The largest image that is packed, compressed, in bytes.
pub const LARGEST: u64 = 25 << 20;
/// Who runs in the image: nobody's id, with no name that a cluster could need.
pub const USER: u32 = 65532;
/// Where the list of all that is in the program stands in the image.
pub const SBOM: &str = "usr/share/sbom/kfconform.spdx.json";

/// Where a distribution keeps the certificates of public authorities; the first that is there is taken.
const AUTHORITIES: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// The programs of one architecture.
#[derive(Debug, Clone)]
pub struct Platform {
    /// As OCI spells it: `amd64`, `arm64`.
    pub architecture: String,
    /// The suite.
    pub program: PathBuf,
    /// A busybox, static.
    pub busybox: PathBuf,
}

impl std::str::FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .and_then(|(arch, files)| Some((arch, files.split_once(',')?)));
        match parts {
            Some((architecture, (program, busybox)))
                if ["amd64", "arm64", "ppc64le", "s390x"].contains(&architecture) =>
            {
                Ok(Self {
                    architecture: architecture.to_owned(),
                    program: program.into(),
                    busybox: busybox.into(),
                })
            }
            _ => Err(format!(
                "`{text}` is not ARCHITECTURE=PROGRAM,BUSYBOX, like amd64=target/release/kfconform,/bin/busybox"
            )),
        }
    }
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its name with registry and tag, under which a node finds it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The commit that the programs were built from, if known.
    pub revision: Option<String>,
    /// When it was built, in seconds since 1970; 0 says nothing.
    pub created: i64,
    /// The programs.
    pub platforms: Vec<Platform>,
    /// The text of the lock file that the programs were built with.
    pub lock: String,
    /// The licence's text.
    pub licence: String,
}

/// Something that became too large, or that cannot be read.
fn bad(what: impl Into<String>) -> io::Error {
    io::Error::other(what.into())
}

fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_string()
}

/// The packages of a lock file: names and versions, in their order.
pub fn packages(lock: &str) -> Vec<(String, String)> {
    let value = |line: &str, key: &str| {
        let rest = line.strip_prefix(key)?.trim_start().strip_prefix('=')?;
        Some(rest.trim().trim_matches('"').to_owned())
    };
    let mut all = Vec::new();
    let mut name = None;
    for line in lock.lines() {
        if line == "[[package]]" {
            name = None;
        } else if let Some(found) = value(line, "name") {
            name = Some(found);
        } else if let (Some(name), Some(version)) = (&name, value(line, "version")) {
            all.push((name.clone(), version));
        }
    }
    all
}

/// A bill of materials in SPDX 2.3: the program, and each package that it may hold.
pub fn bill(image: &Image) -> Value {
    let id = |index: usize| format!("SPDXRef-Package-{index}");
    let all = packages(&image.lock);
    let entries: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(index, (name, version))| {
            json!({
                "SPDXID": id(index), "name": name, "versionInfo": version,
                "downloadLocation": "NOASSERTION", "filesAnalyzed": false,
                "externalRefs": [{
                    "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
                    "referenceLocator": format!("pkg:cargo/{name}@{version}"),
                }],
            })
        })
        .collect();
    let root = all
        .iter()
        .position(|(name, _)| name == "kubeflow-conformance")
        .unwrap_or_default();
    let mut relations = vec![json!({
        "spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": id(root),
    })];
    relations.extend((0..all.len()).filter(|index| *index != root).map(|index| {
        json!({"spdxElementId": id(root), "relationshipType": "DEPENDS_ON", "relatedSpdxElement": id(index)})
    }));
    json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("kfconform-{}", image.version),
        "documentNamespace": format!("https://github.com/kubeflow/conformance/sbom/{}/{}", image.version, digest(image.lock.as_bytes())),
        "creationInfo": {"created": stamp(image.created), "creators": ["Tool: kfconform-pack-image"]},
        "packages": entries,
        "relationships": relations,
    })
}

/// A layer on its way: every entry of root's, of one time, in the order in which it is added.
struct Layer {
    tar: tar::Builder<Vec<u8>>,
    made: std::collections::BTreeSet<String>,
}

impl Layer {
    fn new() -> Self {
        Self {
            tar: tar::Builder::new(Vec::new()),
            made: std::collections::BTreeSet::new(),
        }
    }

    fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    /// A folder, and those above it.
    fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above, 0o755)?;
        }
        if path.is_empty() || !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = Self::header(tar::EntryType::Directory, mode, 0);
        self.tar
            .append_data(&mut header, format!("{path}/"), io::empty())
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.above(path)?;
        if !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = Self::header(tar::EntryType::Regular, mode, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }

    fn link(&mut self, path: &str, to: &str) -> io::Result<()> {
        self.above(path)?;
        if !self.made.insert(path.to_owned()) {
            return Ok(());
        }
        let mut header = Self::header(tar::EntryType::Symlink, 0o777, 0);
        self.tar.append_link(&mut header, path, to)
    }

    fn above(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((above, _)) => self.folder(above, 0o755),
            None => Ok(()),
        }
    }

    /// The layer's bytes: as they are, by which a runtime knows them, and compressed.
    fn end(self) -> io::Result<(String, Vec<u8>)> {
        let plain = self.tar.into_inner()?;
        let mut packed = flate2::GzBuilder::new()
            .mtime(0)
            .write(Vec::new(), flate2::Compression::best());
        packed.write_all(&plain)?;
        Ok((digest(&plain), packed.finish()?))
    }
}

/// The files that a program's loader needs beside it; none for a static one.
fn libraries(program: &Path) -> io::Result<Vec<PathBuf>> {
    let Ok(told) = Command::new("ldd").arg(program).output() else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(&told.stdout);
    let mut files = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.contains("not found") {
            return Err(bad(format!("{}: {line}", program.display())));
        }
        let path = line.split_once("=>").map_or(line, |(_, path)| path.trim());
        let path = path.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            files.push(PathBuf::from(path));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

/// What busybox answers to. A busybox of another architecture cannot be asked.
const APPLETS: &str = "awk base64 basename cat chmod cp cut date df dirname du echo env expr false find grep gunzip gzip head \
                       hostname id kill ln ls mkdir mv nc nproc ps pwd readlink rm sed seq sh sha256sum sleep sort stat tail tar \
                       tee test touch tr true uname wc wget which xargs";

fn layers(image: &Image, platform: &Platform) -> io::Result<Vec<(String, Vec<u8>)>> {
    let read = |path: &Path| {
        fs::read(path).map_err(|e| bad(format!("cannot read {}: {e}", path.display())))
    };
    let mut base = Layer::new();
    base.folder("tmp", 0o1777)?;
    base.folder("home/kfconform", 0o1777)?;
    base.file("bin/busybox", 0o755, &read(&platform.busybox)?)?;
    for applet in APPLETS.split_whitespace() {
        base.link(&format!("bin/{applet}"), "busybox")?;
    }
    base.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    base.file(
        "etc/passwd",
        0o644,
        format!(
            "root:x:0:0:root:/root:/bin/sh\nkfconform:x:{USER}:{USER}::/home/kfconform:/bin/sh\n"
        )
        .as_bytes(),
    )?;
    base.file(
        "etc/group",
        0o644,
        format!("root:x:0:\nkfconform:x:{USER}:\n").as_bytes(),
    )?;
    if let Some(bundle) = AUTHORITIES
        .into_iter()
        .find(|path| Path::new(path).exists())
    {
        base.file(
            "etc/ssl/certs/ca-certificates.crt",
            0o644,
            &read(Path::new(bundle))?,
        )?;
    }
    let libraries = libraries(&platform.program)?;
    for library in &libraries {
        let path = library.to_string_lossy();
        base.file(path.trim_start_matches('/'), 0o755, &read(library)?)?;
    }
    let mut suite = Layer::new();
    suite.file("usr/local/bin/kfconform", 0o755, &read(&platform.program)?)?;
    suite.file(
        "usr/share/licenses/kfconform/LICENSE",
        0o644,
        image.licence.as_bytes(),
    )?;
    let mut bill = serde_json::to_vec_pretty(&bill(image))?;
    bill.push(b'\n');
    suite.file(SBOM, 0o644, &bill)?;
    Ok(vec![base.end()?, suite.end()?])
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        labels.insert(format!("org.opencontainers.image.{name}"), value.to_owned());
    };
    set("title", "kfconform");
    set(
        "description",
        "Checks a Kubeflow distribution and signs the result",
    );
    set("version", &image.version);
    set("licenses", "Apache-2.0");
    set("source", "https://github.com/kubeflow/conformance");
    set("vendor", "Kubeflow");
    set("created", &stamp(image.created));
    if let Some(revision) = &image.revision {
        set("revision", revision);
    }
    labels
}

/// An OCI archive on its way: its blobs, by their digests.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({
            "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len(),
        });
        self.0.insert(digest, bytes);
        descriptor
    }

    fn add_json(&mut self, media_type: &str, value: &impl Serialize) -> io::Result<Value> {
        Ok(self.add(media_type, serde_json::to_vec(value)?))
    }
}

/// Packs an image into the bytes of an OCI archive.
///
/// # Errors
///
/// A file cannot be read, or one platform's image is larger than [`LARGEST`].
pub fn pack(image: &Image) -> io::Result<Vec<u8>> {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let labels = labels(image);
    let mut blobs = Blobs::default();
    let mut manifests = Vec::new();
    for platform in &image.platforms {
        let layers = layers(image, platform)?;
        let size: u64 = layers.iter().map(|(_, packed)| packed.len() as u64).sum();
        if size > LARGEST {
            return Err(bad(format!(
                "the image for {} has {size} bytes, more than {LARGEST}; build with --release, which leaves out symbols",
                platform.architecture
            )));
        }
        let diffs: Vec<String> = layers
            .iter()
            .map(|(plain, _)| format!("sha256:{plain}"))
            .collect();
        let config = json!({
            "architecture": platform.architecture, "os": "linux", "created": stamp(image.created),
            "config": {
                "User": format!("{USER}:{USER}"),
                "Env": ["PATH=/usr/local/bin:/bin", "HOME=/home/kfconform", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
                "Entrypoint": ["/usr/local/bin/kfconform"],
                "WorkingDir": "/home/kfconform",
                "Labels": labels,
            },
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": [
                {"created": stamp(image.created), "created_by": "busybox, accounts, certificates"},
                {"created": stamp(image.created), "created_by": "kfconform"},
            ],
        });
        let config = blobs.add_json("application/vnd.oci.image.config.v1+json", &config)?;
        let layers: Vec<Value> = layers
            .into_iter()
            .map(|(_, packed)| blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", packed))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, "annotations": labels,
        });
        let mut manifest = blobs.add_json(MANIFEST, &manifest)?;
        manifest["platform"] = json!({"architecture": platform.architecture, "os": "linux"});
        manifests.push(manifest);
    }
    let named = json!({
        "org.opencontainers.image.ref.name": image.name, "io.containerd.image.name": image.name,
    });
    // One architecture is an image; several are a list of images under one name.
    let mut top = if let [one] = manifests.as_slice() {
        one.clone()
    } else {
        let list = json!({
            "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "annotations": labels,
        });
        blobs.add_json(INDEX, &list)?
    };
    top["annotations"] = named;
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [top]});

    let mut archive = Layer::new();
    for (digest, bytes) in &blobs.0 {
        archive.file(&format!("blobs/sha256/{digest}"), 0o644, bytes)?;
    }
    archive.file("index.json", 0o644, &serde_json::to_vec(&index)?)?;
    archive.file(
        "oci-layout",
        0o644,
        &serde_json::to_vec(&json!({"imageLayoutVersion": "1.0.0"}))?,
    )?;
    archive.tar.into_inner()
}

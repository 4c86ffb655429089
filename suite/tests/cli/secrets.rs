//! What is secret is in nothing that a run leaves: not raw, not in base64, not in a URL, not in hexadecimal.
//!
//! Between the program and the reference stands a front that sees all traffic. It says what was really sent and answered,
//! so that a secret that was never near the run cannot pass for one that was kept.

use std::{
    collections::BTreeSet,
    io::Read as _,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex},
};

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD as BASE64},
    },
};
use kfconform::reference::{Reference, ReferenceOptions, kube::resources};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Said, beside, folder, interruption::Running, program, read, results};

const BEARER: &str = "planted-bearer/7Qx+1~of-the-kubeconfig";
const PASSWORD: &str = "planted-password/7Qx+2~of-the-kubeconfig";
const PROXY: &str = "planted-proxy/7Qx+3";
const URL: &str = "planted-user-of-a-url-7Qx4";
const COOKIE: &str = "planted-cookie-7Qx5";
const TOKEN: &str = "planted-token-of-the-configuration-7Qx6";
const LITERAL: &str = "planted-literal-7qx7";
const OWN_SECRET: &str = "planted-secret-of-the-namespace-7Qx8";
const OTHER_SECRET: &str = "planted-secret-of-another-7Qx9";
const PULL_SECRET: &str = "planted-pull-secret-7Qxa";
const MARKED_ENV: &str = "planted-env-by-its-name-7Qxb";
const FOREIGN_ENV: &str = "planted-env-of-somebody-7Qxc";
const CONTROLLER_ENV: &str = "planted-env-of-a-controller-7Qxd";
const APPLIED: &str = "planted-last-applied-7Qxe";
const NODE: &str = "planted-node-7qxf";
const NEIGHBOUR: &str = "planted-deployment-7qxg";
const ANNOTATION: &str = "planted-annotation-7Qxh";
const ARGUMENT: &str = "planted-argument-7qxi";
/// A key of nothing, and its certificate.
const CLIENT_KEY: &str = include_str!("client.key");
const CLIENT_CERTIFICATE: &str = include_str!("client.crt");

/// What bytes hold, however it is written: each way of reading them that gives something.
fn readings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let unescaped = json_unescaped(bytes);
    vec![
        ("raw", bytes.to_vec()),
        ("URL-encoded", percent_decoded(bytes)),
        ("in JSON in JSON", json_unescaped(&unescaped)),
        ("in base64 in JSON", runs(&unescaped, is_base64, 4, base64)),
        ("in JSON", unescaped),
        ("in base64", runs(bytes, is_base64, 4, base64)),
        (
            "in hexadecimal",
            runs(
                bytes,
                |b| b.is_ascii_hexdigit(),
                2,
                |text| {
                    let digit = |b: u8| char::from(b).to_digit(16).unwrap_or(0) as u8;
                    text.chunks_exact(2)
                        .map(|pair| digit(pair[0]) * 16 + digit(pair[1]))
                        .collect()
                },
            ),
        ),
    ]
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let code = code.and_then(|c| u8::from_str_radix(std::str::from_utf8(c).ok()?, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    out
}

fn json_unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(other) => other,
                None => b'\\',
            },
            byte => byte,
        });
    }
    out
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn base64(text: &[u8]) -> Vec<u8> {
    let standard: Vec<u8> = text
        .iter()
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            b => *b,
        })
        .collect();
    let lenient = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let end = standard.len() - usize::from(standard.len() % 4 == 1);
    GeneralPurpose::new(&STANDARD, lenient)
        .decode(&standard[..end])
        .unwrap_or_default()
}

/// Decodes each run of such bytes from each place at which a group of them may begin.
fn runs(
    bytes: &[u8],
    is: impl Fn(u8) -> bool,
    group: usize,
    decode: impl Fn(&[u8]) -> Vec<u8>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for run in bytes.split(|b| !is(*b)).filter(|run| run.len() >= 12) {
        for skip in 0..group {
            out.extend(decode(&run[skip..]));
            out.push(0);
        }
    }
    out
}

/// The secrets that bytes hold, each with how.
fn held<'a>(bytes: &[u8], secrets: &[&'a str]) -> BTreeSet<(&'a str, &'static str)> {
    let mut found = BTreeSet::new();
    for (how, reading) in readings(bytes) {
        for secret in secrets {
            if contains(&reading, secret.as_bytes()) {
                found.insert((*secret, how));
            }
        }
    }
    found
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    // By the first byte, which is quick enough for megabytes.
    let first = what[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| *b == first) {
        if rest[at..].starts_with(what) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

#[test]
fn the_search_finds_every_form() {
    let secret = "a/secret+of~some\"length";
    for before in ["", "x", "xy", "xyz"] {
        let text = BASE64.encode(format!("{before}{secret}{before}"));
        assert!(!held(text.as_bytes(), &[secret]).is_empty(), "{text}");
        let text = text.replace('+', "-").replace('/', "_");
        assert!(!held(text.as_bytes(), &[secret]).is_empty(), "{text}");
    }
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    let url: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
    for text in [
        secret.to_owned(),
        hex.clone(),
        format!("0{hex}"),
        url,
        json!({"a": secret}).to_string(),
    ] {
        assert!(!held(text.as_bytes(), &[secret]).is_empty(), "{text}");
    }
    assert!(held(b"a/secret of nobody", &[secret]).is_empty());
}

/// Everything in a folder, archives unpacked, by name.
pub(crate) fn everything(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(everything(&path));
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("a file");
        if path.extension().is_some_and(|e| e == "gz") {
            let mut unpacked = Vec::new();
            let mut gzip = flate2::read::GzDecoder::new(bytes.as_slice());
            gzip.read_to_end(&mut unpacked).expect("an archive");
            bytes = unpacked;
        }
        all.push((path.display().to_string(), bytes));
    }
    all
}

/// What stands between the program and the reference.
struct Front {
    upstream: SocketAddr,
    /// The token that the reference accepts: credentials that were planted are nothing to it.
    admin: String,
    /// Whether it answers some requests itself, with all that it knows.
    telling: bool,
    /// All that went through it, both ways.
    traffic: Mutex<Vec<u8>>,
}

impl Front {
    fn note(&self, bytes: &[u8]) {
        self.traffic
            .lock()
            .expect("no panic")
            .extend_from_slice(bytes);
    }

    fn seen(&self) -> Vec<u8> {
        self.traffic.lock().expect("no panic").clone()
    }

    /// A text with what a program that logs too much would say.
    fn indiscretion(authorization: &str) -> String {
        let hex: String = authorization.bytes().map(|b| format!("{b:02x}")).collect();
        let url: String = authorization.bytes().map(|b| format!("%{b:02X}")).collect();
        let again = BASE64.encode(format!("x{authorization}"));
        let token = authorization.split(' ').next_back().unwrap_or_default();
        format!(
            "authorization: {authorization} or {token} or {hex} or {url} or {again} for {LITERAL} in {} at \
             http://me:{URL}@host/path with {PROXY} and {CLIENT_KEY}",
            BASE64.encode(format!("xx{LITERAL}"))
        )
    }

    async fn carry(&self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes).await {
            self.note(&bytes[..count]);
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream) {
        let mut buffer = Vec::new();
        let Some(mut end) = head(&mut client, &mut buffer).await else {
            return;
        };
        if buffer.starts_with(b"CONNECT ") {
            self.note(&buffer);
            drop(client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await);
            buffer.drain(..end + 4);
            match head(&mut client, &mut buffer).await {
                Some(at) => end = at,
                None => return,
            }
        }
        self.note(&buffer);
        let start = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let told = Self::indiscretion(authorization(&start));
        if self.telling && start.starts_with("POST ") && start.contains("/experiments?dryRun=All") {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 400, "message": told});
            return self
                .tell(client, "400 Bad Request", &status.to_string())
                .await;
        }
        if self.telling && start.starts_with("GET ") && start.contains("/log?") {
            return self.tell(client, "200 OK", &told).await;
        }
        let upgrade = start.to_lowercase().contains("upgrade:");
        let kept = start.lines().filter(|line| {
            let line = line.to_lowercase();
            !line.starts_with("authorization:") && (upgrade || !line.starts_with("connection:"))
        });
        let mut sent = kept.collect::<Vec<_>>().join("\r\n");
        sent.push_str(&format!("\r\nauthorization: Bearer {}", self.admin));
        if !upgrade {
            sent.push_str("\r\nconnection: close");
        }
        let Ok(mut server) = TcpStream::connect(self.upstream).await else {
            return;
        };
        let body = buffer.split_off(end);
        if server
            .write_all(&[sent.as_bytes(), &body].concat())
            .await
            .is_err()
        {
            return;
        }
        let (client_in, mut client_out) = client.into_split();
        let (mut server_in, server_out) = server.into_split();
        let down = async {
            let mut answer = Vec::new();
            if head(&mut server_in, &mut answer).await.is_none() {
                return;
            }
            let line = answer.iter().position(|b| *b == b'\r').expect("a line");
            let cookie = format!("\r\nset-cookie: session={COOKIE}");
            answer.splice(line..line, cookie.bytes());
            self.note(&answer);
            if client_out.write_all(&answer).await.is_ok() {
                self.carry(server_in, client_out).await;
            }
        };
        let up = async {
            self.carry(client_in, server_out).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = down => {}
            () = up => {}
        }
    }

    async fn tell(&self, mut client: TcpStream, status: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nset-cookie: session={COOKIE}\r\nlocation: http://me:{URL}@host/\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        self.note(answer.as_bytes());
        drop(client.write_all(answer.as_bytes()).await);
        drop(client.shutdown().await);
        drop(tokio::io::copy(&mut client, &mut tokio::io::sink()).await);
    }

    /// As a Pipelines API server that tells everything that it is told.
    async fn serve_pipelines(self: Arc<Self>, mut client: TcpStream) {
        let mut buffer = Vec::new();
        let Some(end) = head(&mut client, &mut buffer).await else {
            return;
        };
        self.note(&buffer);
        let start = String::from_utf8_lossy(&buffer[..end]).into_owned();
        if start.contains("/healthz") {
            let health = json!({"multi_user": self.telling, "tag_name": "2.15.0"});
            return self.tell(client, "200 OK", &health.to_string()).await;
        }
        let told = Self::indiscretion(authorization(&start));
        let error = json!({"code": 3, "message": told, "details": []});
        self.tell(client, "400 Bad Request", &error.to_string())
            .await;
    }
}

/// Reads up to the blank line behind a head, and says where that is.
async fn head(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<usize> {
    loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            return Some(at);
        }
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return None;
        }
    }
}

fn authorization(head: &str) -> &str {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    found.map_or("nobody", |(_, value)| value)
}

/// Where a front listens: for the API, and as Pipelines.
async fn listen(front: &Arc<Front>) -> (SocketAddr, SocketAddr) {
    let api = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let pipelines = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addresses = (
        api.local_addr().expect("an address"),
        pipelines.local_addr().expect("an address"),
    );
    let (one, other) = (Arc::clone(front), Arc::clone(front));
    tokio::spawn(async move {
        while let Ok((client, _)) = api.accept().await {
            tokio::spawn(Arc::clone(&one).serve(client));
        }
    });
    tokio::spawn(async move {
        while let Ok((client, _)) = pipelines.accept().await {
            tokio::spawn(Arc::clone(&other).serve_pipelines(client));
        }
    });
    addresses
}

/// A reference full of secrets, behind a front, with a kubeconfig and a configuration in a folder.
struct Scene {
    dir: tempfile::TempDir,
    reference: Reference,
    front: Arc<Front>,
    /// What was planted in the cluster, or comes with it.
    uid: String,
}

/// How the user of a kubeconfig shows who it is.
fn token() -> Value {
    json!({"token": BEARER, "client-key-data": BASE64.encode(CLIENT_KEY), "client-certificate-data": BASE64.encode(CLIENT_CERTIFICATE)})
}

impl Scene {
    async fn new(telling: bool, user: &Value) -> Self {
        kfconform::install_crypto();
        let faults = if telling {
            vec!["notebooks/server/becomes-ready".to_owned()]
        } else {
            Vec::new()
        };
        let reference = Reference::start(ReferenceOptions {
            faults,
            ..ReferenceOptions::default()
        })
        .await
        .expect("the reference starts");
        plant(&reference).await;
        let world = &reference.world;
        let system = world.get(&resources::NAMESPACES, "", "kube-system");
        let uid = system.expect("it is there")["metadata"]["uid"].clone();
        let front = Arc::new(Front {
            upstream: world.address(),
            admin: world.admin_token().to_owned(),
            telling,
            traffic: Mutex::default(),
        });
        let (api, pipelines) = listen(&front).await;
        let dir = folder();
        let proxy: String = PROXY.replace('/', "%2F").replace('+', "%2B");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": format!("http://{api}"), "proxy-url": format!("http://me:{proxy}@{api}")}}],
            "users": [{"name": "c", "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        });
        std::fs::write(dir.path().join("ref.yaml"), kubeconfig.to_string()).expect("written");
        let mut config = json!({"redact": [LITERAL, ARGUMENT]});
        if telling {
            config["namespace"] = json!("team");
            config["imagePullSecrets"] = json!(["pull"]);
            // What stands behind the Service that discovery finds.
            let pods = world.list(&resources::PODS, Some("kubeflow"));
            let name = |pod: &Value| {
                pod["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let pod = pods
                .iter()
                .map(|pod| name(pod))
                .find(|name| name.starts_with("ml-pipeline"));
            world.register_endpoint("kubeflow", &pod.expect("its pod"), 8888, pipelines);
        } else {
            std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).expect("written");
            config["components"] = json!({"pipelines": {
                "url": format!("http://{pipelines}"), "tokenFile": dir.path().join("token"),
            }});
        }
        std::fs::write(dir.path().join("config.yaml"), config.to_string()).expect("written");
        Self {
            dir,
            reference,
            front,
            uid: uid.as_str().expect("a uid").to_owned(),
        }
    }

    fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec![
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--config",
            "config.yaml",
            "--out",
            "out",
            "--only",
            "notebooks/server/becomes-ready",
            "--only",
            "katib/validation/objective",
        ];
        arguments.extend(more);
        arguments
    }

    async fn run(&self, more: &[&str]) -> Said {
        beside(program(self.dir.path(), &Self::arguments(more))).await
    }

    /// Asserts that each of these was in the traffic, and none of all that is secret is in what was left.
    fn tells_nothing(&self, said: &Said, used: &[&str]) {
        let traffic = self.front.seen();
        let in_traffic = held(&traffic, used);
        for secret in used {
            assert!(
                in_traffic.iter().any(|(found, _)| found == secret),
                "{secret} was not near the run"
            );
        }
        // The key of the kubeconfig in every line of it; the tokens that were made for the run.
        let key = CLIENT_KEY.lines().filter(|line| !line.starts_with("-----"));
        let certificate = CLIENT_CERTIFICATE
            .lines()
            .filter(|line| !line.starts_with("-----"));
        let mut secrets: Vec<&str> = key.chain(certificate).collect();
        let minted = minted(&traffic);
        secrets.extend(minted.iter().map(String::as_str));
        secrets.extend(ALL);
        secrets.push(&self.uid);
        let mut left = everything(&self.dir.path().join("out"));
        assert!(!left.is_empty());
        left.push(("standard output".to_owned(), said.out.clone().into_bytes()));
        left.push(("standard error".to_owned(), said.err.clone().into_bytes()));
        for (name, bytes) in left {
            assert_eq!(held(&bytes, &secrets), BTreeSet::new(), "{name}");
        }
    }
}

const ALL: [&str; 18] = [
    BEARER,
    PASSWORD,
    PROXY,
    URL,
    COOKIE,
    TOKEN,
    LITERAL,
    OWN_SECRET,
    OTHER_SECRET,
    PULL_SECRET,
    MARKED_ENV,
    FOREIGN_ENV,
    CONTROLLER_ENV,
    APPLIED,
    NODE,
    NEIGHBOUR,
    ANNOTATION,
    ARGUMENT,
];

/// The service accounts' tokens that the API server made.
fn minted(traffic: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(traffic);
    let tokens = text.split("\"token\":\"").skip(1);
    tokens
        .filter_map(|rest| rest.split('"').next())
        .map(ToOwned::to_owned)
        .collect()
}

/// Puts what is secret or private on the cluster: in the namespace `team`, in which a run may work, and elsewhere.
async fn plant(reference: &Reference) {
    let meta = |name: &str, namespace: &str| json!({"name": name, "namespace": namespace, "annotations": {"example.org/note": ANNOTATION}});
    let secret = |name: &str, namespace: &str, text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta(name, namespace), "type": "Opaque", "data": {"key": BASE64.encode(text)}});
    let container = json!({
        "name": "main", "image": "example.org/kfconform:1", "command": ["kfconform", "workload", "step", "--print", ANNOTATION],
        "env": [
            {"name": "DB_PASSWORD", "value": MARKED_ENV}, {"name": "HARMLESS", "value": FOREIGN_ENV},
            {"name": "FROM", "valueFrom": {"secretKeyRef": {"name": "theirs", "key": "key"}}},
        ],
    });
    let pull = json!({"auths": {"example.org": {"password": PULL_SECRET}}}).to_string();
    let controller = json!({
        "name": "manager", "image": "ghcr.io/kubeflow/kubeflow/notebook-controller:v1.10.0",
        "env": [{"name": "SMTP", "value": CONTROLLER_ENV}],
    });
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "annotations": {"owner": ANNOTATION}}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default-editor", "namespace": "team"}}),
        secret("theirs", "team", OWN_SECRET),
        secret("other", "default", OTHER_SECRET),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "pull", "namespace": "team"},
               "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": BASE64.encode(pull)}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta("theirs", "team"), "spec": {"containers": [container]}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(NEIGHBOUR, "default"), "spec": {
            "replicas": 0, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}}}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"kubernetes.io/hostname": NODE}},
               "status": {"nodeInfo": {"architecture": "arm64", "osImage": "kfconform reference"},
                          "addresses": [{"type": "Hostname", "address": NODE}]}}),
    ];
    let world = &reference.world;
    for object in objects {
        let what = object["kind"].clone();
        world
            .create(object)
            .await
            .unwrap_or_else(|e| panic!("{what}: {e:?}"));
    }
    let place = resources::DEPLOYMENTS;
    let controllers = world.list(&place, None);
    let found = controllers
        .iter()
        .find(|d| d["metadata"]["name"] == "notebook-controller-deployment")
        .expect("the controller");
    let namespace = found["metadata"]["namespace"]
        .as_str()
        .expect("a namespace");
    let change = json!({
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": json!({"env": APPLIED}).to_string()}},
        "spec": {"template": {"spec": {"containers": [controller]}}},
    });
    world
        .patch_merge(&place, namespace, "notebook-controller-deployment", change)
        .await
        .expect("is changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conformant_run_tells_nothing() {
    let scene = Scene::new(false, &token()).await;
    let said = scene
        .run(&["--registry", "registry.example/planted-literal-7qx7"])
        .await
        .exits(0);
    let used = [
        BEARER,
        PROXY,
        COOKIE,
        TOKEN,
        LITERAL,
        CONTROLLER_ENV,
        APPLIED,
        NODE,
        NEIGHBOUR,
    ];
    scene.tells_nothing(&said, &used);
    // What was taken out is missed by nobody.
    let replay = program(scene.dir.path(), &["evidence", "out", "--replay"]);
    let said = beside(replay).await.exits(0);
    assert_eq!(held(said.out.as_bytes(), &ALL), BTreeSet::new());
    let results = results(&scene.dir.path().join("out"));
    assert!(
        results["run"]["arguments"]
            .to_string()
            .contains("[redacted]")
    );

    // The key is read: a broken one is refused, and not shown.
    let broken = CLIENT_KEY.replace("MIGHAgEA", "AAAAAAAA");
    let file = scene.dir.path().join("ref.yaml");
    let config = read(&file).replace(&BASE64.encode(CLIENT_KEY), &BASE64.encode(&broken));
    std::fs::write(&file, config).expect("written");
    let run = program(
        scene.dir.path(),
        &["run", "--kubeconfig", "ref.yaml", "--out", "broken"],
    );
    let said = beside(run).await.exits(3);
    for line in broken.lines().filter(|line| !line.starts_with("-----")) {
        assert_eq!(held(said.err.as_bytes(), &[line, BEARER]), BTreeSet::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_run_tells_nothing() {
    let user = json!({"username": "me", "password": PASSWORD});
    let scene = Scene::new(true, &user).await;
    let said = scene
        .run(&[
            "--only",
            "pipelines/experiment/is-created-as-asked",
            "--timeout",
            "notebook-ready=4s",
            "--registry",
            "registry.example/planted-argument-7qxi",
        ])
        .await
        .exits(1);
    let tokens = minted(&scene.front.seen());
    assert!(!tokens.is_empty(), "a service account spoke to Pipelines");
    let used = [
        PASSWORD,
        PROXY,
        COOKIE,
        LITERAL,
        URL,
        MARKED_ENV,
        FOREIGN_ENV,
        CONTROLLER_ENV,
        APPLIED,
        NODE,
        NEIGHBOUR,
        ANNOTATION,
    ];
    scene.tells_nothing(&said, &used);
    let world = &scene.reference.world;
    let secrets = world.list(&resources::SECRETS, None);
    let planted = secrets.iter().map(ToString::to_string).collect::<String>();
    for secret in [OWN_SECRET, OTHER_SECRET, PULL_SECRET] {
        assert!(!held(planted.as_bytes(), &[secret]).is_empty(), "{secret}");
    }
    // What was answered did come so far, without what is secret: in a message, in a log that was collected.
    let out = scene.dir.path().join("out");
    let results = results(&out);
    for check in results["checks"].as_array().expect("checks") {
        assert_eq!(check["outcome"], "failed", "{check}");
        if check["id"] != "notebooks/server/becomes-ready" {
            let message = check["message"].as_str().expect("a message");
            assert!(
                message.contains("authorization: ") && message.contains("[redacted]"),
                "{message}"
            );
        }
    }
    let evidence = everything(&out);
    let (_, evidence) = evidence
        .iter()
        .find(|(name, _)| name.contains("evidence.tar"))
        .expect("evidence");
    assert!(contains(evidence, b"/log?") && contains(evidence, b"http://[redacted]@host/path"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_tells_nothing() {
    let scene = Scene::new(true, &token()).await;
    let mut run = Running::start(
        scene.dir.path(),
        &Scene::arguments(&["--only", "pipelines/experiment/is-created-as-asked"]),
    );
    run.until("katib/validation/objective");
    run.until("pipelines/experiment/is-created-as-asked");
    // While it goes on there is a journal.
    let unfinished = Said {
        code: 0,
        out: String::new(),
        err: run.seen.clone(),
    };
    let there = everything(&scene.dir.path().join("out"));
    assert!(
        there
            .iter()
            .any(|(name, _)| name.ends_with("results.ndjson"))
    );
    scene.tells_nothing(&unfinished, &[BEARER, PROXY, COOKIE, LITERAL, URL]);
    run.signal("-INT");
    // A failure is never outweighed, not even by an interruption.
    let said = run.end().exits(1);
    let results = results(&scene.dir.path().join("out"));
    assert_eq!(results["run"]["complete"], false);
    scene.tells_nothing(&said, &[BEARER, PROXY, COOKIE, LITERAL, URL]);
}

/// A controller is found on whatever page of a large cluster's Deployments it is.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_to_their_end() {
    let scene = Scene::new(false, &token()).await;
    for number in 0..260 {
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": format!("neighbour-{number}"), "namespace": "default"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}},
                     "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "x", "image": "x"}]}}}});
        scene
            .reference
            .world
            .create(deployment)
            .await
            .expect("is created");
    }
    let said = scene.run(&[]).await.exits(0);
    assert!(said.err.contains("notebooks v1.10.0"), "{}", said.err);
    let traffic = scene.front.seen();
    assert!(
        contains(&traffic, b"limit=250&continue="),
        "one page was enough"
    );
    for (name, bytes) in everything(&scene.dir.path().join("out")) {
        assert!(!contains(&bytes, b"neighbour-"), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_reached_is_named_without_its_password() {
    let dir = folder();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://me:{URL}@127.0.0.1:1")}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    });
    std::fs::write(dir.path().join("ref.yaml"), config.to_string()).expect("written");
    let run = program(
        dir.path(),
        &["run", "--kubeconfig", "ref.yaml", "--out", "out"],
    );
    let said = beside(run).await.exits(3);
    assert!(
        said.err.contains("http://127.0.0.1:1 cannot be reached"),
        "{}",
        said.err
    );
    assert_eq!(
        held(said.err.as_bytes(), &[URL]),
        BTreeSet::new(),
        "{}",
        said.err
    );
}

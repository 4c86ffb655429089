//! A cluster that answers with what would harm a terminal, a parser or a page.

use std::{fmt::Write as _, net::SocketAddr, process::Command};

use kfconform::{
    reference::{Reference, ReferenceOptions},
    report::text::MAX_TEXT,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{beside, folder, kfconform, program, read, results};

/// Leads every connection to `upstream`, but for dry runs of experiments: these get `answer`.
pub(crate) async fn hostile(upstream: SocketAddr, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                let end = loop {
                    if let Some(at) = head.windows(4).position(|w| w == b"\r\n\r\n") {
                        break at;
                    }
                    if client.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                };
                let start = String::from_utf8_lossy(&head[..end]).into_owned();
                if start.starts_with("POST ") && start.contains("/experiments?dryRun=All") {
                    drop(client.write_all(&answer).await);
                    drop(client.shutdown().await);
                    // What is sent on is read, so that the answer is not lost with a reset.
                    drop(tokio::io::copy(&mut client, &mut tokio::io::sink()).await);
                    return;
                }
                let Ok(mut server) = TcpStream::connect(upstream).await else {
                    return;
                };
                // One request a connection: the next one may be another.
                let mut sent = head[..end].to_vec();
                if !start.to_lowercase().contains("upgrade:") {
                    sent.extend(b"\r\nconnection: close");
                }
                sent.extend(&head[end..]);
                if server.write_all(&sent).await.is_ok() {
                    drop(tokio::io::copy_bidirectional(&mut client, &mut server).await);
                }
            });
        }
    });
    address
}

/// A refusal with this body, as an API server sends it.
pub(crate) fn refusal(body: &[u8]) -> Vec<u8> {
    let mut answer = String::new();
    let _ = write!(
        answer,
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [answer.as_bytes(), body].concat()
}

/// Runs one check against a cluster that gives this body, and looks at everything that comes of it.
async fn survives(name: &str, body: &[u8]) {
    let dir = folder();
    let reference = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    let address = hostile(reference.world.address(), refusal(body)).await;
    let config = reference
        .kubeconfig()
        .replace(&reference.world.url(), &format!("http://{address}"));
    std::fs::write(dir.path().join("ref.yaml"), config).expect("written");
    let run = program(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--only",
            "katib/validation/objective",
            "--out",
            "out",
        ],
    );
    let said = beside(run).await.exits(1);
    for text in [&said.out, &said.err] {
        let acts = |c: char| {
            (c.is_control() && c != '\n' && c != '\t')
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!text.contains(acts), "{name}: {text:?}");
        assert!(
            text.len() < 64 * 1024,
            "{name}: {} bytes on the console",
            text.len()
        );
    }

    let out = dir.path().join("out");
    let results = results(&out);
    let schema: Value = serde_json::from_str(&read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/specs/schema/results.schema.json"
    )))
    .expect("JSON");
    assert!(
        jsonschema::validator_for(&schema)
            .expect("a schema")
            .is_valid(&results),
        "{name}"
    );
    let check = &results["checks"][0];
    assert_eq!(check["outcome"], "failed", "{name}: {check}");
    for key in ["message", "expected", "observed", "lastState"] {
        assert!(
            check[key]
                .as_str()
                .is_none_or(|text| text.len() < MAX_TEXT + 200),
            "{name}: {key}"
        );
    }

    let page = read(out.join("report.html"));
    assert!(
        !page.contains("<script>alert") && !page.contains("<img src=x"),
        "{name}"
    );
    let junit = out.join("junit.xml");
    let text = read(&junit);
    let mut reader = quick_xml::Reader::from_str(&text);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => break,
            Ok(_) => {}
            Err(error) => panic!("{name}: junit.xml is not well-formed: {error}"),
        }
    }
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/junit/junit-10.xsd");
    if let Ok(lint) = Command::new("xmllint")
        .args(["--noout", "--schema", schema])
        .arg(&junit)
        .output()
    {
        assert!(
            lint.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&lint.stderr)
        );
    }

    // The evidence says what was really answered, and is shown no more harmfully.
    let said = kfconform(
        dir.path(),
        &["evidence", "out", "katib/validation/objective"],
    )
    .exits(0);
    assert!(!said.out.contains(['\u{1b}', '\0', '\u{202e}']), "{name}");
    kfconform(dir.path(), &["evidence", "out", "--replay"]).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_answers_harm_nothing() {
    kfconform::install_crypto();
    let status = |message: &str| {
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 400, "message": message}).to_string()
    };
    let nasty = "\u{1b}[2J\u{1b}]0;gone\u{7} \0 \u{9b}31m \r\n ]]> <script>alert(1)</script> <img src=x onerror=y> &amp; \
                 \u{202e}txt.exe\u{202c} \u{2028} \u{fffe}\u{ffff} \u{feff} %s {} `$(id)` '\"";
    survives("a nasty message", status(nasty).as_bytes()).await;
    let long = format!("{nasty}{}{nasty}", "]]>\u{1b}x".repeat(250_000));
    survives("a megabyte", status(&long).as_bytes()).await;
    // Half of a pair is no text, so that this is no JSON.
    survives(
        "half a pair",
        br#"{"kind": "Status", "message": "\ud800 \udc00 <script>alert(1)</script>"}"#,
    )
    .await;
    survives("no text", &[0xff, 0xfe, 0x00, 0x1b, b'[', b'2', b'J', 0xc3]).await;
}

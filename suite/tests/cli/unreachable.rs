//! A cluster that cannot be used: the exit code says whose it is to mend, the words say how.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
};

use kfconform::reference::{Reference, ReferenceOptions};

use crate::{beside, folder, kfconform, program, results};

/// Writes a kubeconfig for a server.
fn kubeconfig(dir: &Path, name: &str, server: &str) -> String {
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: one, clusters: [{{name: c, cluster: {{server: \"{server}\"}}}}], \
         users: [{{name: u, user: {{token: secret-token}}}}], \
         contexts: [{{name: one, context: {{cluster: c, user: u}}}}]}}\n"
    );
    std::fs::write(dir.join(name), text).expect("written");
    name.to_owned()
}

/// A server that gives every request the same answer, for as long as the test runs.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 4096];
            // One read holds the whole of so small a request.
            drop(stream.read(&mut head));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    address
}

/// What each command says about this cluster; all of them exit with 3 and write nothing.
#[track_caller]
fn says(dir: &Path, config: &str, hints: &[&str]) {
    for args in [
        vec!["run", "--kubeconfig", config],
        vec!["cleanup", "--run", "abcdefgh", "--kubeconfig", config],
        vec!["doctor", "--kubeconfig", config],
    ] {
        let said = kfconform(dir, &args).exits(3);
        // The doctor's findings are its output; the others' are errors.
        let text = format!("{}{}", said.out, said.err);
        for hint in hints {
            assert!(
                text.contains(hint),
                "{args:?} does not say `{hint}`:\n{text}"
            );
        }
        assert!(!text.contains("secret-token"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(!dir.join("kfconform-results").exists());
}

#[test]
fn a_cluster_that_does_not_answer() {
    let dir = folder();
    // A port that was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a port");
    let config = kubeconfig(dir.path(), "closed", &format!("http://{closed}"));
    says(
        dir.path(),
        &config,
        &[
            &format!("http://{closed} cannot be reached"),
            "refused",
            "kubectl version",
        ],
    );

    let config = kubeconfig(dir.path(), "nowhere", "https://kubernetes.invalid:6443");
    says(
        dir.path(),
        &config,
        &[
            "https://kubernetes.invalid:6443 cannot be reached",
            "kubectl version",
        ],
    );

    // TLS spoken to a server that has none.
    let plain =
        answering("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let config = kubeconfig(dir.path(), "tls", &format!("https://{plain}"));
    says(
        dir.path(),
        &config,
        &[
            &format!("https://{plain} cannot be reached"),
            "kubectl version",
        ],
    );
}

#[test]
fn a_server_that_is_no_cluster_or_refuses() {
    let dir = folder();
    let expired = answering(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
         {\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"Unauthorized\",\"code\":401}",
    );
    let config = kubeconfig(dir.path(), "expired", &format!("http://{expired}"));
    says(
        dir.path(),
        &config,
        &[
            "does not accept the credentials",
            "401 Unauthorized",
            "log in again",
        ],
    );

    let page = answering(
        "HTTP/1.1 404 Not Found\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>\u{1b}[31m\n<b>second line</b>",
    );
    let config = kubeconfig(dir.path(), "page", &format!("http://{page}"));
    says(
        dir.path(),
        &config,
        &[
            "does not answer like a Kubernetes API",
            "404 <html>\\u{1b}[31m",
        ],
    );

    let other = answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"hello\": 1}",
    );
    let config = kubeconfig(dir.path(), "other", &format!("http://{other}"));
    says(
        dir.path(),
        &config,
        &[
            "does not answer like a Kubernetes API",
            "names no Kubernetes version",
        ],
    );

    let broken = answering("HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{");
    let config = kubeconfig(dir.path(), "broken", &format!("http://{broken}"));
    says(dir.path(), &config, &["cannot be reached"]);
}

#[test]
fn a_kubeconfig_that_cannot_be_used_is_the_callers_to_mend() {
    let dir = folder();
    let write =
        |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write("yaml", "a: [b\n");
    write("text", "hello\n");
    write("empty", "");
    write(
        "no-current",
        "{contexts: [{name: one, context: {cluster: c, user: u}}]}\n",
    );
    kubeconfig(dir.path(), "good", "http://127.0.0.1:1");
    for (args, hints) in [
        (
            ["--kubeconfig", "none"].as_slice(),
            ["kubeconfig none", "KUBECONFIG"],
        ),
        (
            &["--kubeconfig", "yaml"],
            ["kubeconfig yaml is not one, line 1", "kubectl config view"],
        ),
        (
            &["--kubeconfig", "text"],
            ["kubeconfig text is not one", "kubectl config view"],
        ),
        (
            &["--kubeconfig", "empty"],
            ["names no cluster", "--kubeconfig"],
        ),
        (
            &["--kubeconfig", "no-current"],
            ["no current context", "--context: one"],
        ),
        (
            &["--kubeconfig", "good", "--context", "onne"],
            ["unknown context `onne`", "`one`"],
        ),
        (&[], ["no cluster is given", "--reference"]),
    ] {
        for command in [["run"].as_slice(), &["cleanup", "--run", "abcdefgh"]] {
            let args = [command, args].concat();
            let said = kfconform(dir.path(), &args).exits(2);
            for hint in hints {
                assert!(
                    said.err.contains(hint),
                    "{args:?} does not say `{hint}`:\n{}",
                    said.err
                );
            }
            assert_eq!(said.err.lines().count(), 1, "{}", said.err);
        }
    }
}

#[test]
fn credentials_come_from_a_plugin_and_its_failure_is_told() {
    let dir = folder();
    let plugin = |command: &str, args: &str| {
        let text = format!(
            "{{current-context: one, clusters: [{{name: c, cluster: {{server: \"http://127.0.0.1:1\"}}}}], \
             users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {command}, \
             args: {args}, interactiveMode: Never}}}}}}], contexts: [{{name: one, context: {{cluster: c, user: u}}}}]}}\n"
        );
        std::fs::write(dir.path().join("config"), text).expect("written");
        kfconform(dir.path(), &["run", "--kubeconfig", "config"])
            .exits(3)
            .err
    };
    let said = plugin("no-such-plugin-of-ours", "[]");
    assert!(
        said.contains("credential plugin does not start") && said.contains("kubectl version"),
        "{said}"
    );
    let said = plugin("sh", r#"["-c", "echo log in first >&2; exit 3"]"#);
    assert!(said.contains("exit status: 3: log in first"), "{said}");
    // One that works leads on to the server, which is not there.
    let said = plugin(
        "echo",
        r#"['{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}']"#,
    );
    assert!(
        said.contains("http://127.0.0.1:1 cannot be reached"),
        "{said}"
    );
}

#[test]
fn a_proxy_of_the_environment_is_not_between_us_and_this_machine() {
    let dir = folder();
    let said = program(
        dir.path(),
        &[
            "run",
            "--reference",
            "--only",
            "katib/validation/objective",
            "--quiet",
            "--out",
            "out",
        ],
    )
    .env("HTTPS_PROXY", "http://127.0.0.1:1")
    .output()
    .expect("starts");
    assert_eq!(crate::Said::from(said).exits(0).out, "conformant\n");
}

/// Only what has an address outside the cluster is asked by way of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_the_environment_leads_to_a_component() {
    let dir = folder();
    let reference = Reference::start(ReferenceOptions::default())
        .await
        .expect("the reference starts");
    std::fs::write(dir.path().join("ref.yaml"), reference.kubeconfig()).expect("written");
    let address = "components: {pipelines: {url: 'http://pipelines.invalid'}}\n";
    std::fs::write(dir.path().join("c.yaml"), address).expect("written");
    // It answers by itself, as if it had asked there.
    let proxy = answering(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 21\r\nconnection: close\r\n\r\n{\"multi_user\": false}\n",
    );
    let mut command = program(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "ref.yaml",
            "--config",
            "c.yaml",
            "--only",
            "pipelines/server/reports-health",
            "--out",
            "out",
        ],
    );
    command.env("HTTP_PROXY", format!("http://someone:pass-word@{proxy}"));
    beside(command).await;
    let check = &results(&dir.path().join("out"))["checks"][0];
    assert_eq!(check["outcome"], "passed", "{check}");
}

#[test]
fn a_server_that_says_more_than_is_read() {
    let dir = folder();
    let answer = |body: &str| -> &'static str {
        Box::leak(
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .into_boxed_str(),
        )
    };
    let long = format!(r#"{{"gitVersion": "{}"}}"#, "v".repeat(9 << 20));
    let endless = r#"{"kind": "List", "items": [], "metadata": {"continue": "more"}}"#;
    for (name, body, hint) in [
        (
            "long",
            long.as_str(),
            "the answer is larger than 8388608 bytes",
        ),
        ("endless", endless, "the list has more than 64 pages"),
    ] {
        let server = answering(answer(body));
        let config = kubeconfig(dir.path(), name, &format!("http://{server}"));
        says(
            dir.path(),
            &config,
            &[
                "says more than the suite reads: GET kubernetes /version",
                hint,
            ],
        );
    }
}

//! A cluster that answers with what would take all memory, or for ever: no verdict, in bounded time and memory.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::process::kfconform;

/// Answers a request for a path; whatever it writes is all that is answered.
type Answer = fn(&mut TcpStream, &str) -> std::io::Result<()>;

const JSON: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";

/// A server whose every answer is hostile.
const ANSWERS: &[(&str, Answer)] = &[
    ("a body without end", |to, _| {
        to.write_all(JSON)?;
        to.write_all(b"\r\n")?;
        loop {
            to.write_all(&[b' '; 1 << 16])?;
        }
    }),
    ("a body of a terabyte, as it says", |to, _| {
        to.write_all(JSON)?;
        to.write_all(b"content-length: 1099511627776\r\n\r\n")?;
        loop {
            to.write_all(&[b'['; 1 << 16])?;
        }
    }),
    ("a body that drips", |to, _| {
        to.write_all(JSON)?;
        to.write_all(b"\r\n{")?;
        loop {
            to.write_all(b" ")?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }),
    ("no answer at all", |to, _| {
        let mut rest = Vec::new();
        to.read_to_end(&mut rest).map(drop)
    }),
    ("headers without end", |to, _| {
        to.write_all(b"HTTP/1.1 200 OK\r\n")?;
        for n in 0_u64.. {
            write!(to, "x-{n}: {}\r\n", "a".repeat(1000))?;
        }
        Ok(())
    }),
    ("a header without end", |to, _| {
        to.write_all(b"HTTP/1.1 200 OK\r\nlocation: ")?;
        loop {
            to.write_all(&[b'a'; 1 << 16])?;
        }
    }),
    ("interim answers without end", |to, _| {
        loop {
            to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    }),
    ("a compressed bomb", |to, _| {
        to.write_all(JSON)?;
        to.write_all(b"content-encoding: gzip\r\n\r\n")?;
        to.write_all(&crate::submissions::zeros(4 << 30))
    }),
    ("chunks of absurd sizes", |to, _| {
        to.write_all(JSON)?;
        to.write_all(b"transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n")?;
        loop {
            to.write_all(&[b'{'; 1 << 16])?;
        }
    }),
    ("no JSON", |to, _| {
        answer(to, b"<html><script>alert(1)</script>\x1b[2J")
    }),
    ("JSON of a hundred thousand levels", |to, _| {
        answer(to, "[".repeat(100_000).as_bytes())
    }),
    ("JSON of 127 levels", |to, _| {
        let deep = format!("{}1{}", "[".repeat(127), "]".repeat(127));
        answer(to, deep.as_bytes())
    }),
    ("millions of lists", |to, _| {
        answer(to, format!("[{}0]", "[],".repeat(2_600_000)).as_bytes())
    }),
    ("what is no text", |to, _| answer(to, &[0xff; 1 << 20])),
    ("nothing", |to, _| answer(to, b"")),
    (
        "a hundred thousand objects a page, and a next page",
        |to, path| {
            let items = "{\"metadata\":{\"name\":\"n\"},\"kind\":\"Pod\"},".repeat(100_000);
            match path {
            "/version" => answer(to, b"{\"gitVersion\":\"v1.34.4\",\"platform\":\"linux/amd64\"}"),
            _ => answer(
                to,
                format!("{{\"kind\":\"List\",\"metadata\":{{\"continue\":\"more\"}},\"groups\":[],\"items\":[{items}{{}}]}}")
                    .as_bytes(),
            ),
        }
        },
    ),
];

fn answer(to: &mut TcpStream, body: &[u8]) -> std::io::Result<()> {
    to.write_all(JSON)?;
    write!(to, "content-length: {}\r\n\r\n", body.len())?;
    to.write_all(body)
}

/// Serves on a port of its own, for as long as the test runs.
fn serve(
    work: impl Fn(&mut TcpStream, &str) -> std::io::Result<()> + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let work = Arc::new(work);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let work = Arc::clone(&work);
            std::thread::spawn(move || {
                let Ok(mut client) = client else { return };
                let mut head = Vec::new();
                let mut byte = [0; 1];
                while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head);
                let path = head.split(' ').nth(1).unwrap_or_default();
                // That the other side has had enough is what is hoped for.
                drop(work(&mut client, path));
            });
        }
    });
    format!("http://{address}")
}

/// Runs a check, which must come to no verdict.
fn no_verdict(name: &str, server: &str) {
    let dir = tempfile::tempdir().expect("a folder");
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: '{server}'}}}}]\n\
         users: [{{name: c, user: {{}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n"
    );
    std::fs::write(dir.path().join("k.yaml"), config).expect("written");
    let only = "katib/validation/objective";
    let said = kfconform(
        dir.path(),
        &[
            "run",
            "--kubeconfig",
            "k.yaml",
            "--only",
            only,
            "--out",
            "out",
        ],
    );
    assert_eq!(said.code, 3, "{name}: {}{}", said.out, said.err);
    assert!(
        said.took < Duration::from_secs(90),
        "{name}: {:?}",
        said.took
    );
    if std::env::var_os("HOSTILE_SHOW").is_some() {
        eprintln!(
            "{name}: {:.1} s, {} MiB: {}",
            said.took.as_secs_f64(),
            said.peak,
            said.err.chars().take(200).collect::<String>()
        );
    }
}

#[test]
fn hostile_answers_come_to_no_verdict() {
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    // Most of them wait.
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let rows = ANSWERS.iter().filter(|(name, _)| name.contains(&only));
        let running: Vec<_> = rows
            .map(|(name, work)| (*name, scope.spawn(move || no_verdict(name, &serve(work)))))
            .collect();
        let ended = running.into_iter().map(|(name, row)| (name, row.join()));
        ended
            .filter(|(_, row)| row.is_err())
            .map(|(name, _)| name)
            .collect()
    });
    assert_eq!(failed, Vec::<&str>::new());
}

#[test]
fn a_redirect_leads_nowhere() {
    let asked = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&asked);
    let other = serve(move |to, _| {
        told.store(true, Ordering::Relaxed);
        answer(to, b"{\"gitVersion\":\"v1.34.4\"}")
    });
    let server = serve(move |to, path| {
        write!(
            to,
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {other}{path}\r\ncontent-length: 0\r\n\r\n"
        )
    });
    no_verdict("a redirect", &server);
    assert!(
        !asked.load(Ordering::Relaxed),
        "credentials would have gone with it"
    );
}

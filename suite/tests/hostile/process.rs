//! The program as a process that may take only so much.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// The most private memory that a process gets, in KiB; one that wants more is ended by its allocator.
const MEMORY: u32 = 256 * 1024;
/// The most processor time, in seconds. Without optimisation everything takes ten times as long, and is only kept from
/// taking for ever.
const SECONDS: u32 = if cfg!(debug_assertions) { 20 } else { 5 };
/// The longest that is waited: a process that hangs takes no processor time.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a process did.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; −1 where a signal ended it.
    pub code: i32,
    pub out: String,
    pub err: String,
    /// The most memory that it was seen to have, in MiB.
    pub peak: u64,
    /// How long it took.
    pub took: Duration,
}

/// The program to run: `HOSTILE_PROGRAM`, such as one that was built to be released, else the one that was built for tests.
fn binary() -> String {
    std::env::var("HOSTILE_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kfconform").to_owned())
}

/// Runs the program to its end, within bounds. It panics where the program does, or hangs.
pub fn kfconform(dir: &Path, args: &[&str]) -> Ran {
    let seconds = if std::env::var_os("HOSTILE_PROGRAM").is_some() {
        5
    } else {
        SECONDS
    };
    let out = tempfile::NamedTempFile::new().expect("a file");
    let err = tempfile::NamedTempFile::new().expect("a file");
    let limits = format!("ulimit -d {MEMORY} && ulimit -t {seconds} && exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limits, &binary()])
        .args(args)
        .current_dir(dir)
        .env("HOME", dir)
        .env("COSIGN_PASSWORD", "x")
        .env_remove("KUBECONFIG")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .stdout(out.reopen().expect("open"))
        .stderr(err.reopen().expect("open"))
        .spawn()
        .expect("there is a shell");
    let began = Instant::now();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        let seen = std::fs::read_to_string(&status).unwrap_or_default();
        let line = seen.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0) / 1024);
        if let Some(ended) = child.try_wait().expect("it is ours") {
            break ended;
        }
        if began.elapsed() > PATIENCE {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            panic!("{args:?} hangs");
        }
        std::thread::sleep(Duration::from_millis(3));
    };
    let read = |file: &tempfile::NamedTempFile| {
        let bytes = std::fs::read(file.path()).expect("readable");
        String::from_utf8(bytes).expect("the program writes UTF-8")
    };
    let ran = Ran {
        code: ended.code().unwrap_or(-1),
        out: read(&out),
        err: read(&err),
        peak,
        took: began.elapsed(),
    };
    assert!(!ran.err.contains("panicked"), "{args:?}: {}", ran.err);
    let start = |text: &str| text.chars().take(2000).collect::<String>();
    assert!(
        (0..=3).contains(&ran.code),
        "{args:?} ended with {ended}: {}\n{}",
        start(&ran.err),
        start(&ran.out)
    );
    for text in [&ran.out, &ran.err] {
        assert!(!crate::readers::acts(text), "{args:?}: {:?}", start(text));
    }
    assert!(
        ran.err.len() < 100_000,
        "{args:?}: {} bytes of errors",
        ran.err.len()
    );
    ran
}

//! The command line as a person or a pipeline meets it: the real program, its exit codes, its words, its files.

#[path = "../common/mod.rs"]
mod common;

mod bot;
mod coverage;
mod diff;
mod docs;
mod export;
mod hostile;
mod interruption;
mod launch;
mod locked;
mod pipelines;
mod plugins;
mod rerun;
mod rights;
mod sample;
mod secrets;
mod shows;
mod signed;
mod site;
mod submission;
mod unreachable;
mod usage;

use std::{
    path::Path,
    process::{Command, Output},
};

pub(crate) use common::PRODUCT;

/// What a command left.
pub(crate) struct Said {
    /// Its exit code; −1 where a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

impl Said {
    /// Asserts the exit code, and shows everything that was said where it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "\nstdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }
}

/// The program in a folder, with nothing of the caller's environment that could lead it to a cluster.
pub(crate) fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kfconform"));
    command.args(args).current_dir(dir).env("HOME", dir);
    for name in [
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
        "NO_COLOR",
        "COSIGN_PASSWORD",
        "COLUMNS",
        "KFCONFORM_LOG",
    ] {
        command.env_remove(name);
    }
    command.stdin(std::process::Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn kfconform(dir: &Path, args: &[&str]) -> Said {
    Said::from(program(dir, args).output().expect("the program starts"))
}

/// The same, with the password of keys that have none.
pub(crate) fn with_key(dir: &Path, args: &[&str]) -> Said {
    let mut command = program(dir, args);
    command.env("COSIGN_PASSWORD", "");
    Said::from(command.output().expect("the program starts"))
}

/// Runs the program while a reference of this test's own answers it.
pub(crate) async fn beside(mut command: Command) -> Said {
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    Said::from(ran.expect("it ends").expect("the program starts"))
}

/// An empty folder of this test's own.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A file's bytes as text.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The results of a folder as they stand there.
pub(crate) fn results(dir: &Path) -> serde_json::Value {
    serde_json::from_str(&read(dir.join("results.json"))).expect("results.json is JSON")
}

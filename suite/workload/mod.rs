//! What runs inside the pods that the checks make: `kfconform workload …`, the one image of the suite.
//!
//! Every command is an ordinary async function over a [`Context`], so that a real pod runs it as a process and the
//! reference runs it as a task.

mod context;
mod http;
mod notebook;
mod options;
mod predict;
mod serve;
mod shell;
mod step;
#[cfg(test)]
mod testing;
mod trial;

use std::collections::BTreeMap;

use clap::{Parser, Subcommand};
use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use context::{Context, Listen, MapPath, Resolve, Sink, Stop, Stopper};
pub use notebook::Notebook;
pub use predict::{INPUT, MODEL_FILE, OUTPUT, VERSION};
pub use serve::{HOPS_HEADER, POD_HEADER, Serve, TAG_HEADER};
pub use shell::run_shell;
pub use step::{Action, Step};
pub use trial::{Format, Trial};

/// The entrypoint of the image: what runs when a container names no command.
pub const ENTRYPOINT: &str = "/usr/local/bin/kfconform";

/// The exit code of a command that was stopped before its end: 128 and the number of `SIGTERM`.
const STOPPED: i32 = 143;

/// A command that runs inside a pod.
#[derive(Clone, Debug, Subcommand)]
pub enum WorkloadCommand {
    /// Serve as a notebook does: a page under `NB_PREFIX`, files in the home directory
    Notebook(Notebook),
    /// Serve a model over the V1 and V2 inference protocols
    Serve(Serve),
    /// Report metrics as a training program does, then exit
    Trial(Trial),
    /// Do small actions in the order given, until the first that fails
    Step(Step),
    /// Do nothing until told to stop
    Hold,
}

#[derive(Parser)]
#[command(name = "kfconform workload", disable_version_flag = true)]
struct Program {
    #[command(subcommand)]
    command: WorkloadCommand,
}

/// Runs a command as this process; the exit code is the process's.
///
/// Must be called inside a tokio runtime; one of a single thread is enough and starts faster.
pub async fn main(command: WorkloadCommand, env: BTreeMap<String, String>) -> i32 {
    match Context::system(env) {
        Ok(cx) => execute(command, cx).await,
        Err(_) => 1,
    }
}

/// Runs what a container runs: the image's entrypoint or the container's command, followed by its arguments, after
/// [`expand`]. Knows `kfconform workload …` under any path and `sh -c SCRIPT`; anything else is the exit code 127 and a
/// line on standard error, as a shell does it.
pub fn run(argv: Vec<String>, cx: Context) -> BoxFuture<'static, i32> {
    async move {
        let name = argv
            .first()
            .map_or("", |path| path.rsplit('/').next().unwrap_or_default());
        match (name, argv.get(1).map(String::as_str)) {
            ("kfconform", Some("workload")) => match Program::try_parse_from(&argv[1..]) {
                Ok(program) => execute(program.command, cx).await,
                Err(error) => {
                    cx.log(&error.to_string());
                    error.exit_code()
                }
            },
            ("sh", _) => shell::sh(&argv[1..], cx).await,
            _ => {
                cx.log(&format!("{}: not found", argv.join(" ")));
                127
            }
        }
    }
    .boxed()
}

async fn execute(command: WorkloadCommand, cx: Context) -> i32 {
    match command {
        WorkloadCommand::Notebook(notebook) => notebook.run(cx).await,
        WorkloadCommand::Serve(serve) => serve.run(cx).await,
        WorkloadCommand::Trial(trial) => trial.run(&cx).await,
        WorkloadCommand::Step(step) => step.run(&cx).await,
        WorkloadCommand::Hold => {
            cx.stop.stopped().await;
            0
        }
    }
}

/// Replaces `$(NAME)` by the variable's value and `$$` by `$`, as the kubelet does in a container's command and
/// arguments; a reference to an unknown variable stays as it is.
pub fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at..];
        let reference = rest
            .strip_prefix("$(")
            .and_then(|after| after.split_once(')'));
        if let Some((name, after)) = reference {
            match env.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[..name.len() + 3]),
            }
            rest = after;
        } else {
            expanded.push('$');
            rest = rest.strip_prefix("$$").unwrap_or(&rest[1..]);
        }
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_the_kubelet_does() {
        let env = BTreeMap::from([("A".to_owned(), "x".to_owned())]);
        for (text, expected) in [
            ("a $(A) b", "a x b"),
            ("$$(A)", "$(A)"),
            ("/d/$$$$.pid", "/d/$$.pid"),
            ("$(head -n 1 /d/$$.pid)", "$(head -n 1 /d/$$.pid)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}

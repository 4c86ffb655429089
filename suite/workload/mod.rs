//! What runs inside the pods that the checks make: `kfconform workload …`, the one image of the suite.
//!
//! Every command is an ordinary async function over a [`Context`], so that a real pod runs it as a process and the
//! reference runs it as a task. The image has `kfconform` in its `PATH` and a busybox `sh`; nothing else may be relied on.
//!
//! # In fixtures
//!
//! Always give `command`: with `args` alone Katib asks the image's registry for the entrypoint, which air-gapped sites
//! have not. Options and environment of each command: `kfconform workload COMMAND --help`.
//!
//! A **notebook**, ready within milliseconds and gone at once when stopped, whatever its grace period:
//! ```yaml
//! command: [kfconform, workload, notebook, --show-env, NB_PREFIX]
//! ```
//! `GET NB_PREFIX/?env=NB_PREFIX` answers `{"notebook", "prefix", "pod", "env": {"NB_PREFIX": …}}` (403 for a variable
//! that is not shown), `GET|PUT NB_PREFIX/files/NAME` reads and writes `--home`, `NB_PREFIX/api/kernels` has one kernel, which
//! is busy unless `--kernel idle` says otherwise, so that no culler stops it. All of it is served without the prefix too.
//!
//! A **predictor** of the model `MODEL` (else `--model_name`, else `m`), an FP32 tensor `[-1, 4]` to its row sums:
//! ```yaml
//! command: [kfconform, workload, serve]
//! env: [{name: MODEL, value: m}, {name: TAG, value: "1"}]
//! ports: [{containerPort: 8080, protocol: TCP}]
//! ```
//! `MODE` makes it a part of a mesh: `transform` (to `--predictor_host`, which KServe gives, or `PREDICTOR_HOST`), `explain` (by the
//! predictions of the same), `sink`
//! (any POST is kept; `GET /_events[?id=ID]` answers `{"events": [{path, attributes, contentType, data}], "dropped"}`), `echo`,
//! `fail:CODE`, `slow:MS`, `unready` (503 where readiness is asked) and `crash`. In every mode `GET /_calls` answers
//! `{"calls", "recent": [{path, rows}]}` and `GET /_info` what is served, with the arguments. A storage initializer finds a
//! model under `http://SINK/_model/1,2,3,4/model.json`, which the predictor then shows by weighted sums and in `/_info`.
//! What answered is in the headers `x-kfconform-{tag,pod,hops}`; the hops also in V1 bodies (`kfconform.hops`) and in V2
//! bodies (`parameters.kfconform_hops`), since an inference graph passes on bodies only.
//!
//! A **trial** of Katib, in the form that survives being joined by blanks and put through `sh`:
//! ```yaml
//! command: [kfconform, workload, trial, --metric, acc, --value, "${trialParameters.lr}"]
//! ```
//! `--value 0.1 --value 0.3 --value 0.2` is a curve, `--timestamps` dates its points, `--sleep-ms 60000` before them makes
//! the trial slow, `--exit 1` lets it fail, `--print hello` alone reports nothing, `--format json --file PATH` is for the
//! File collector. Once wrapped, `sh` is the first process and passes no `SIGTERM` on: give trial pods a short
//! `terminationGracePeriodSeconds` where they may be deleted while they run.
//!
//! A **step** of a pipeline, actions in their order:
//! ```yaml
//! command: [kfconform, workload, step]
//! args: [--expect-file, "{{$.inputs.artifacts['blob'].path}}=hello",
//!        --write, "{{$.outputs.parameters['text'].output_file}}={{$.inputs.parameters['msg']}}-out"]
//! ```
//! Without logs or metadata, a run's state tells what happened: `--expect` fails the task on a wrong value, `--now` and
//! `--at-most AT=LIMIT` tell a cached result from a fresh one, `--not-before` with a retry policy tells a retry, and
//! `--contains FAILED={{$.inputs.parameters['status']}}` reads a final status.
//!
//! Beside a plugin, `command: [kfconform, workload, collect]` waits for its `done` file and prints the JUnit that this leads to.
//!
//! A pod that only has to **hold** still: `command: [kfconform, workload, hold]`.
//!
//! # Exit codes
//!
//! 0 done · 1 a failure that was looked for, a port or a file that cannot be used · 2 wrong arguments or environment ·
//! 127 no such command or syntax that the embedded `sh` does not know · 143 told to stop before the end.

mod collect;
mod context;
mod grpc;
pub(crate) mod http;
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

pub use collect::{Collect, Collected, Document, MAX_BYTES, MAX_DOCUMENTS, RESULTS_DIRS};
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
    /// Wait for a plugin's result and print its JUnit as one line of JSON
    Collect(Collect),
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
        WorkloadCommand::Collect(collect) => collect.run(cx).await,
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

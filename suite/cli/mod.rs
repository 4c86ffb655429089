//! `kfconform`: arguments in, exit code out; no logic.

mod args;
mod cluster_tools;
mod compare;
mod doctor;
mod export;
mod keys;
mod launch;
mod review;
mod run;
mod serve;
mod show;
mod signals;
mod site;
mod sonobuoy;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};

use crate::{
    cluster::ConnectError,
    engine::EngineError,
    outcome::shorten,
    report::text::{json_printable, printable},
};

/// The longest error that is printed, in characters.
const MAX_MESSAGE: usize = 8000;

/// The exit codes of every command.
pub mod exit_code {
    /// All is well: conformant, accepted, verified.
    pub const OK: u8 = 0;
    /// The answer is no: non-conformant, refused, worse, a survivor.
    pub const NO: u8 = 1;
    /// The command was not usable as given.
    pub const USAGE: u8 = 2;
    /// No verdict is possible: incomplete, unreachable, interrupted.
    pub const INCOMPLETE: u8 = 3;
}

/// An error for a person: what, why, and what to do; with the exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    fn usage(message: impl std::fmt::Display) -> Self {
        Self {
            code: exit_code::USAGE,
            message: message.to_string(),
        }
    }

    fn incomplete(message: impl std::fmt::Display) -> Self {
        Self {
            code: exit_code::INCOMPLETE,
            message: message.to_string(),
        }
    }

    /// A kubeconfig that cannot be used is the caller's to mend; a client that cannot be made is not.
    fn connect(error: ConnectError) -> Self {
        match error {
            ConnectError::Kubeconfig(_) => Self::usage(error),
            ConnectError::Client(_) => Self::incomplete(error),
        }
    }

    fn engine(error: &EngineError) -> Self {
        Self {
            code: error.exit_code(),
            message: error.to_string(),
        }
    }

    fn no(message: impl std::fmt::Display) -> Self {
        Self {
            code: exit_code::NO,
            message: message.to_string(),
        }
    }
}

type Done = Result<u8, Failure>;

/// Runs the program.
pub fn main() -> ExitCode {
    crate::install_crypto();
    let cli = match command()
        .try_get_matches()
        .and_then(|m| Cli::from_arg_matches(&m))
    {
        Ok(cli) => cli,
        Err(error) => {
            // clap's own codes: 0 for help and version, 2 for usage errors.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE));
        }
    };
    log_to_stderr(cli.verbose);
    match dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            // It may quote what stands in a file, and that file may be anybody's.
            let message = printable(failure.message.trim_end());
            drop(writeln!(
                anstream::stderr(),
                "error: {}",
                shorten(&message, MAX_MESSAGE)
            ));
            ExitCode::from(failure.code)
        }
    }
}

/// The name of the plugin's program: `kubectl kfconform` runs what is called so.
const PLUGIN: &str = "kubectl-kfconform";

/// What the program was called by: itself, or as a plugin of `kubectl`.
fn program_name() -> &'static str {
    let called = std::env::args_os().next();
    let called = called.as_ref().map(std::path::Path::new);
    let plugin = called
        .and_then(|path| path.file_stem())
        .is_some_and(|stem| stem == PLUGIN);
    if plugin { PLUGIN } else { "kfconform" }
}

/// The command line, whose usage says what people type.
fn command() -> clap::Command {
    let command = Cli::command();
    if program_name() == PLUGIN {
        command.bin_name("kubectl kfconform")
    } else {
        command
    }
}

fn dispatch(cli: Cli) -> Done {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Rerun(args) => run::rerun(&args),
        Command::Selftest(args) => run::selftest(&args),
        Command::List(args) => show::list(&args),
        Command::Explain(args) => show::explain(&args),
        Command::Plan(args) => show::plan(&args),
        Command::Images(args) => show::images(&args),
        Command::Rbac(args) => show::rbac(&args),
        Command::Evidence(args) => block_on(show::evidence(args)),
        Command::Doctor(args) => block_on(doctor::doctor(args)),
        Command::Diff(args) => compare::diff(&args),
        Command::Coverage(args) => compare::coverage(&args),
        Command::Keygen(args) => keys::keygen(&args),
        Command::Sign(args) => keys::sign(&args),
        Command::Verify(args) => keys::verify(&args),
        Command::Submit(args) => block_on(review::submit(args)),
        Command::Review(args) => review::review(args),
        Command::Export { what } => export::export(&what),
        Command::Site(args) => site::site(&args),
        Command::Report(args) => show::report(&args),
        Command::Reference(args) => block_on(serve::reference(args)),
        Command::Cleanup(args) => block_on(cluster_tools::cleanup(args)),
        Command::Launch(args) => block_on(launch::launch(args)),
        Command::Status(args) => block_on(launch::status(args)),
        Command::Logs(args) => block_on(launch::logs(args)),
        Command::Retrieve(args) => block_on(launch::retrieve(args)),
        Command::Delete(args) => block_on(launch::delete(args)),
        Command::Fleet(args) => block_on(launch::fleet(args)),
        Command::Runner { show } => launch::runner(show),
        Command::Completions(args) => show::completions(&args),
        Command::Man(args) => show::man(&args),
        Command::Complete { words } => show::complete(&words),
        Command::Workload { command } => workload(command),
    }
}

fn workload(command: crate::workload::WorkloadCommand) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::incomplete)?;
    let code = runtime.block_on(crate::workload::main(command, std::env::vars().collect()));
    // A workload's code is its own contract, not one of ours.
    Ok(u8::try_from(code).unwrap_or(1))
}

fn block_on(work: impl Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::incomplete)?;
    let done = runtime.block_on(work);
    // Tasks that still read from a closed stream must not hold the exit.
    runtime.shutdown_background();
    done
}

fn log_to_stderr(verbose: u8) {
    let level = match verbose {
        0 => "kfconform=error",
        1 => "kfconform=debug",
        _ => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("KFCONFORM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .try_init(),
    );
}

/// Writes to standard output. A reader that went away (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::incomplete(
            format!("cannot write the output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Writes a JSON document to standard output.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::incomplete)?;
    print(&format!("{}\n", json_printable(&text)))
}

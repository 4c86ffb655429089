//! How long the suite itself takes, beside what it waits for: `cargo bench`.
//!
//! Each row is a process of its own, so that its peak memory is its own. `ideal` is the time that nothing can beat:
//! the waits of the checks divided by how many may run at once, or a run's longest single set-up.

#![expect(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::{
    env, fs, io,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use kfconform::{
    checks::Check,
    cluster::Target,
    engine::{self, Event, Interrupt, Plan, Planned, Recording, RunOptions},
    reference::{Reference, ReferenceOptions},
    report::model::{RESULTS_FILE, Results},
    spec::Specs,
};
use tokio::sync::{mpsc, watch};

type Failure = Box<dyn std::error::Error>;

/// What a check of the engine's benchmark waits for.
const WAIT: Duration = Duration::from_millis(100);
/// How many checks run with how many jobs. One job alone would take a minute and a half for a thousand.
const ENGINE: [(usize, usize); 4] = [(100, 1), (1000, 4), (1000, 16), (1000, 64)];
/// How often `list` is started.
const STARTS: usize = 20;
/// Makes this program run the engine, and nothing else: `--engine CHECKS JOBS`.
const ENGINE_FLAG: &str = "--engine";

fn main() -> Result<(), Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, checks, jobs] = args.as_slice()
        && flag == ENGINE_FLAG
    {
        return engine(checks.parse()?, jobs.parse()?);
    }
    if !args.iter().any(|arg| arg == "--bench") {
        // `cargo test --all-targets` starts benchmarks too; nothing that is timed is a test.
        return Ok(());
    }
    println!(
        "{:<38} {:>9} {:>9} {:>7} {:>9}  also",
        "what", "ideal", "took", "ratio", "peak"
    );
    for (checks, jobs) in ENGINE {
        let mut command = Command::new(env::current_exe()?);
        command.args([ENGINE_FLAG, &checks.to_string(), &jobs.to_string()]);
        let ran = Ran::of(&mut command)?;
        let took = Duration::from_secs_f64(ran.output.trim().parse()?);
        let ideal = WAIT * u32::try_from(checks.div_ceil(jobs))?;
        let what = format!("engine: {checks} checks, {jobs} jobs");
        row(&what, Some(ideal), took, ran.peak, "");
    }
    full_run()?;
    list()
}

fn row(what: &str, ideal: Option<Duration>, took: Duration, peak: Option<u64>, also: &str) {
    let none = || "-".to_owned();
    let seconds = |of: Duration| format!("{:.3} s", of.as_secs_f64());
    let ratio = ideal.map(|ideal| took.as_secs_f64() / ideal.as_secs_f64());
    let line = format!(
        "{what:<38} {:>9} {:>9} {:>7} {:>9}  {also}",
        ideal.map_or_else(none, seconds),
        seconds(took),
        ratio.map_or_else(none, |ratio| format!("{ratio:.2}")),
        peak.map_or_else(none, |kib| format!("{} MB", kib * 1024 / 1_000_000)),
    );
    println!("{}", line.trim_end());
}

/// A process that came to its end.
struct Ran {
    output: String,
    wall: Duration,
    /// Its peak resident memory in KiB, where the system tells.
    peak: Option<u64>,
}

impl Ran {
    fn of(command: &mut Command) -> Result<Self, Failure> {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let reader = thread::spawn(|| io::read_to_string(stdout));
        let mut peak = None;
        let status = loop {
            // The peak only grows: the last look before the end counts.
            peak = peak_of(&child).or(peak);
            if let Some(status) = child.try_wait()? {
                break status;
            }
            thread::sleep(Duration::from_micros(500));
        };
        let wall = began.elapsed();
        let output = reader.join().map_err(|_| "its output was lost")??;
        if !status.success() {
            return Err(format!("{command:?} ended with {status}:\n{output}").into());
        }
        Ok(Self { output, wall, peak })
    }
}

fn peak_of(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs made-up checks, all of which only wait, on the reference; prints the seconds from the first one's beginning to
/// the last one's end. Evidence and journal are written as in any run.
#[tokio::main]
async fn engine(checks: usize, jobs: usize) -> Result<(), Failure> {
    kfconform::install_crypto();
    let reference = Reference::start(ReferenceOptions::default()).await?;
    let specs = Arc::new(Specs::embedded().clone());
    let out = tempfile::tempdir()?;
    let plan = waiting(&specs, checks)?;
    let options = RunOptions {
        target: Target {
            kubeconfig_text: Some(reference.kubeconfig()),
            ..Target::default()
        },
        reference: true,
        specs,
        profile: plan.profile.clone(),
        jobs,
        out: Some(out.path().to_owned()),
        ..RunOptions::default()
    };
    let (events, mut heard) = mpsc::unbounded_channel();
    let (_keep, interrupt) = watch::channel(Interrupt::No);
    let run = tokio::spawn(engine::run_plan(options, plan, events, interrupt));
    let (mut began, mut took) = (None, Duration::ZERO);
    while let Some(event) = heard.recv().await {
        match event {
            Event::CheckStarted(_) => {
                began.get_or_insert_with(Instant::now);
            }
            Event::CheckFinished(_) => took = began.map_or(took, |began| began.elapsed()),
            _ => {}
        }
    }
    let results = run.await??;
    let passed = results.checks.iter().filter(|c| c.message.is_none());
    if passed.count() != checks {
        return Err("a check that only waits did not pass".into());
    }
    println!("{}", took.as_secs_f64());
    Ok(())
}

/// A plan of checks that only wait.
fn waiting(specs: &Specs, checks: usize) -> Result<Plan, Failure> {
    let pattern = specs.requirements().first().ok_or("no requirement")?;
    let items = (0..checks).map(|number| {
        let mut requirement = pattern.clone();
        requirement.id = format!("{}/bench/waits-{number}", pattern.component().as_str());
        // Checks live as long as the program; so do these.
        let check: &'static Check = Box::leak(Box::new(Check {
            id: requirement.id.clone().leak(),
            needs: &[],
            run: |cx| {
                Box::pin(async move {
                    cx.pause(WAIT).await;
                    Ok(())
                })
            },
        }));
        Planned { requirement, check }
    });
    Ok(Plan {
        profile: "all".to_owned(),
        release: specs.latest_release().name.clone(),
        items: items.collect(),
    })
}

/// A whole run of the program on the embedded reference.
fn full_run() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("results");
    let mut command = program();
    command.args(["run", "--reference", "--quiet", "--out"]);
    let ran = Ran::of(command.arg(&out))?;
    let results = Results::read(&out.join(RESULTS_FILE))?;
    let requests = requests(&out)?;
    let longest = results.timing.longest_setup.as_ref();
    let also = format!(
        "{} checks, {requests} requests, {:.0} a second",
        results.checks.len(),
        requests as f64 / ran.wall.as_secs_f64()
    );
    row(
        "full run on the embedded reference",
        longest.map(|setup| Duration::from_secs_f64(setup.seconds)),
        ran.wall,
        ran.peak,
        &also,
    );
    Ok(())
}

/// How many exchanges a run recorded.
fn requests(out: &Path) -> Result<usize, Failure> {
    let recording = Recording::read(&out.join("evidence.tar.gz"))?;
    let exchanges = recording.evidence.values().map(|e| e.exchanges.len());
    Ok(exchanges.sum())
}

/// The start of the program, by the command that only prints what is embedded: the median, and the quickest.
fn list() -> Result<(), Failure> {
    let mut ran = Vec::new();
    for _ in 0..STARTS {
        ran.push(Ran::of(program().arg("list"))?);
    }
    ran.sort_by_key(|ran| ran.wall);
    let also = format!(
        "the quickest of {STARTS}: {:.3} s",
        ran[0].wall.as_secs_f64()
    );
    let median = &ran[STARTS / 2];
    row("start-up of `list`", None, median.wall, median.peak, &also);
    Ok(())
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_kfconform"))
}

//! `run` and `selftest`.

use std::{
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::sync::{mpsc, watch};

use super::{
    Done, Failure,
    args::{
        ClusterArgs, Format, LimitArgs, OutputArgs, RerunArgs, RunArgs, SelectArgs, SelftestArgs,
    },
    block_on, exit_code, keys, print, print_json,
    signals::Signals,
    sonobuoy,
};
use crate::{
    checks::Timeouts,
    cluster::{Config, Target},
    engine::{self, Event, Interrupt, RunOptions},
    hurry,
    outcome::shorten,
    reference::{Reference, ReferenceOptions},
    report::{
        self,
        console::{self, Style},
        model::{self, Results},
        progress::ProgressLine,
        text::{one_line, shell_quoted},
    },
    seal,
    selftest::{self, Matrix, Progress, Row},
    spec::{self, Specs},
};

pub(super) fn image(registry: Option<&str>, config: &Config) -> String {
    match (&config.image, registry) {
        (Some(image), _) => image.clone(),
        (None, Some(registry)) => {
            let name = engine::DEFAULT_IMAGE
                .rsplit('/')
                .next()
                .unwrap_or(engine::DEFAULT_IMAGE);
            format!("{}/{name}", registry.trim_end_matches('/'))
        }
        (None, None) => engine::DEFAULT_IMAGE.to_owned(),
    }
}

/// The folder for results whose place nobody chose.
pub(super) const RESULTS: &str = "kfconform-results";

/// The requirements that a command was told to use, and whether they are not the embedded ones.
pub(super) fn specs(dir: Option<&PathBuf>) -> Result<(Arc<Specs>, bool), Failure> {
    match dir {
        Some(dir) => Ok((Arc::new(Specs::load(dir).map_err(Failure::usage)?), true)),
        None => Ok((Arc::new(Specs::embedded().clone()), false)),
    }
}

pub(super) fn config(args: &ClusterArgs) -> Result<Config, Failure> {
    args.config.as_ref().map_or_else(
        || Ok(Config::default()),
        |path| Config::read(path).map_err(Failure::usage),
    )
}

pub(super) fn target(args: &ClusterArgs) -> Target {
    Target {
        kubeconfig: args.kubeconfig.clone(),
        kubeconfig_text: None,
        context: args.context.clone(),
    }
}

pub(super) fn timeouts(limits: &LimitArgs, config: &Config) -> Result<Timeouts, Failure> {
    let mut timeouts = Timeouts::default();
    for (name, duration) in &config.timeouts {
        timeouts.set(name, duration).map_err(Failure::usage)?;
    }
    for setting in &limits.timeout {
        let (name, duration) = setting.split_once('=').ok_or_else(|| {
            Failure::usage(format!(
                "`--timeout {setting}` is not NAME=DURATION, like experiment-finished=20m"
            ))
        })?;
        timeouts.set(name, duration).map_err(Failure::usage)?;
    }
    Ok(timeouts)
}

/// The options of a run, but for what depends on the target.
pub(super) fn options(
    select: &SelectArgs,
    limits: &LimitArgs,
    config: Config,
) -> Result<RunOptions, Failure> {
    let (specs, specs_overridden) = specs(select.specs.as_ref())?;
    let timeouts = timeouts(limits, &config)?;
    Ok(RunOptions {
        image: image(limits.registry.as_deref(), &config),
        config,
        specs,
        specs_overridden,
        profile: select.profile.clone(),
        release: select.release.clone(),
        only: select.only.clone(),
        skip: select.skip.clone(),
        jobs: limits.jobs.into(),
        timeouts,
        arguments: std::env::args().skip(1).collect(),
        ..RunOptions::default()
    })
}

pub(super) fn run(args: &RunArgs) -> Done {
    let mut options = options(&args.select, &args.limits, config(&args.cluster)?)?;
    options.target = target(&args.cluster);
    options.reference = args.reference;
    options.faults.clone_from(&args.fault);
    for fault in &args.fault {
        if let Some(unknown) = selftest::unknown_fault(fault) {
            return Err(Failure::usage(unknown));
        }
    }
    let folder = match (&args.resume, &args.out) {
        (Some(dir), _) => {
            take_over_target(&mut options, dir)?;
            Folder::Unfinished(dir.clone())
        }
        (None, Some(out)) => Folder::New(out.clone()),
        (None, None) => Folder::New(Path::new(RESULTS).join(&options.id)),
    };
    make(options, folder, &args.output)
}

pub(super) fn rerun(args: &RerunArgs) -> Done {
    let config = config(&args.cluster)?;
    let mut options = RunOptions {
        target: target(&args.cluster),
        config,
        jobs: args.jobs.into(),
        ..RunOptions::default()
    };
    take_over_target(&mut options, &args.results)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let numbered = (2..).map(|n: u32| beside(&args.results, &n.to_string()));
        let mut free = numbered.filter(|folder| !folder.exists());
        free.next().unwrap_or_else(|| args.results.clone())
    });
    let of = args.results.clone();
    make(options, Folder::Again { of, out }, &args.output)
}

/// A run that goes on does so where it was begun: on the reference, with its faults, or on a cluster.
fn take_over_target(options: &mut RunOptions, dir: &Path) -> Result<(), Failure> {
    let results = Results::read(&dir.join(model::RESULTS_FILE))
        .map_err(|e| Failure::usage(format!("there is no run to go on with: {e}")))?;
    if results.run.target == model::Target::Reference {
        options.reference = true;
        options.faults = results.run.faults;
    }
    Ok(())
}

/// Where a run writes.
enum Folder {
    /// A folder of its own.
    New(PathBuf),
    /// That of an unfinished run, which goes on.
    Unfinished(PathBuf),
    /// A folder of its own, for what of a result has not passed.
    Again { of: PathBuf, out: PathBuf },
}

/// Makes a run. On the reference its time passes as fast as nothing happens, and that of the reference with it: an interval
/// of a minute costs a fraction of a second, and nothing is left out for it.
fn make(options: RunOptions, folder: Folder, output: &OutputArgs) -> Done {
    if options.reference {
        hurry::run(|| perform(options, folder, output)).map_err(Failure::incomplete)?
    } else {
        block_on(perform(options, folder, output))
    }
}

/// Makes a run, signs its result and shows it.
async fn perform(mut options: RunOptions, folder: Folder, output: &OutputArgs) -> Done {
    // What is wrong with these must not show after an hour's run.
    let product = output.product.as_deref().map(product).transpose()?;
    let key = match &output.key {
        Some(path) => Some(keys::open(path)?),
        None if options.reference => Some(keys::ephemeral()?),
        None => None,
    };
    options.keep = output.keep;
    options.resume = !matches!(folder, Folder::New(_));
    let out = match folder {
        Folder::New(out) => {
            vacant_for_run(&out)?;
            out
        }
        Folder::Unfinished(dir) => dir,
        Folder::Again { of, out } => {
            vacant(&out)?;
            engine::take_apart(&of, &out).map_err(|error| {
                drop(std::fs::remove_dir(&out));
                Failure::engine(&error)
            })?;
            out
        }
    };
    let reference = if options.reference {
        let reference = Reference::start(ReferenceOptions {
            clock: options.clock,
            faults: options.faults.clone(),
            ..ReferenceOptions::default()
        })
        .await
        .map_err(|e| Failure::incomplete(format!("the embedded reference does not start: {e}")))?;
        options.target.kubeconfig_text = Some(reference.kubeconfig());
        Some(reference)
    } else {
        None
    };
    options.out = Some(out.clone());
    let specs = Arc::clone(&options.specs);

    let (sender, events) = mpsc::unbounded_channel();
    let events = match &output.progress_url {
        Some(url) => sonobuoy::told(url.clone(), events),
        None => events,
    };
    let shown = tokio::spawn(show(events, output.quiet));
    let results = engine::run(options, sender, interrupts()).await;
    drop(shown.await);
    drop(reference);
    let results = results.map_err(|e| {
        // A folder in which nothing was written is of no use; one with something in it stays.
        if std::fs::remove_dir(&out).is_ok() && out.starts_with(RESULTS) {
            drop(std::fs::remove_dir(RESULTS));
        }
        Failure::engine(&e)
    })?;

    let written = |error: &dyn std::fmt::Display| {
        Failure::incomplete(format!("cannot write the result: {error}"))
    };
    report::write_beside(&results, &specs, &out).map_err(|e| written(&e))?;
    conclude(&results, key, product, output, &out)
}

/// Signs a result that is written, puts the product's metadata beside it, and shows it.
pub(super) fn conclude(
    results: &Results,
    key: Option<seal::PrivateKey>,
    product: Option<String>,
    output: &OutputArgs,
    out: &Path,
) -> Done {
    let written = |error: &dyn std::fmt::Display| {
        Failure::incomplete(format!("cannot write the result: {error}"))
    };
    if let Some(product) = product {
        std::fs::write(beside(out, "product.yaml"), product).map_err(|e| written(&e))?;
    }
    let mut trust = None;
    // What may still go on is not signed: the signature is over the whole of a folder.
    if let Some(key) = key.filter(|_| results.run.complete) {
        seal::folder::sign(out, &key).map_err(|e| written(&e))?;
        trust = Some(if let Some(path) = &output.key {
            path.with_extension("pub")
        } else {
            let path = beside(out, "pub");
            std::fs::write(&path, key.public().to_pem()).map_err(|e| written(&e))?;
            path
        });
    }
    show_report(results, output, out, trust.as_deref())?;
    Ok(results.verdict.exit_code())
}

/// Refuses a run's folder that is no folder, or that holds something.
fn vacant_for_run(out: &Path) -> Result<(), Failure> {
    let or = format!(
        ", or --resume {} to go on with an interrupted run",
        out.display()
    );
    vacant_or(out, &or)
}

/// Refuses a folder to write to that is no folder, or that holds something.
pub(super) fn vacant(out: &Path) -> Result<(), Failure> {
    vacant_or(out, "")
}

fn vacant_or(out: &Path, or: &str) -> Result<(), Failure> {
    let shown = out.display();
    match out.read_dir().map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Failure::usage(format!(
            "{shown} is not empty; give another folder with --out{or}"
        ))),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => std::fs::create_dir_all(out)
            .map_err(|e| {
                Failure::usage(format!(
                    "cannot make the folder {shown}: {e}; give another with --out"
                ))
            }),
        Err(error) => Err(Failure::usage(format!(
            "{shown} cannot be the result's folder: {error}; give another with --out"
        ))),
    }
}

/// A file beside a result folder: `DIR.NAME`. Inside, it would be one that was not signed.
fn beside(out: &Path, name: &str) -> PathBuf {
    let whole = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    match (out.file_name(), whole.file_name(), whole.parent()) {
        // `.` and `..` have a name of their own only once they are resolved.
        (None, Some(file), Some(parent)) => parent.join(with_suffix(file, name)),
        (Some(file), ..) => out.with_file_name(with_suffix(file, name)),
        (None, ..) => PathBuf::from(name),
    }
}

fn with_suffix(file: &std::ffi::OsStr, name: &str) -> std::ffi::OsString {
    let mut file = file.to_owned();
    file.push(".");
    file.push(name);
    file
}

/// The product's metadata: a YAML file with keys and values.
pub(super) fn product(path: &Path) -> Result<String, Failure> {
    let unusable = |why: &dyn std::fmt::Display| {
        Failure::usage(format!(
            "cannot use the product's metadata {}: {why}",
            path.display()
        ))
    };
    let text = std::fs::read_to_string(path).map_err(|e| unusable(&e))?;
    serde_saphyr::from_str::<std::collections::BTreeMap<String, serde_json::Value>>(&text)
        .map_err(|e| unusable(&spec::read_error(&e).1))?;
    Ok(text)
}

fn show_report(
    results: &Results,
    output: &OutputArgs,
    out: &Path,
    trust: Option<&Path>,
) -> Result<(), Failure> {
    match output.format {
        Format::Json => print_json(results),
        Format::Text if output.quiet => print(&format!("{}\n", results.verdict)),
        Format::Text => {
            let mut text =
                console::summary(results, Some(out), style(std::io::stdout().is_terminal()));
            let folder = shell_quoted(&out.to_string_lossy());
            if output.keep {
                text.push_str(&format!(
                    "remove it:    kfconform cleanup --run {}{}\n",
                    results.run.id,
                    results.run.cluster_arguments()
                ));
            }
            if results.run.complete
                && !results
                    .checks
                    .iter()
                    .all(|check| check.outcome.is_settled())
            {
                text.push_str(&format!(
                    "run again what did not pass:    kfconform rerun {folder}{}\n",
                    results.run.cluster_arguments()
                ));
            }
            if let Some(trust) = trust {
                text.push_str(&format!(
                    "verify it:    kfconform verify {folder} --trust {}\n",
                    shell_quoted(&trust.to_string_lossy())
                ));
            }
            print(&text)
        }
    }
}

/// How text is written to a stream.
pub(super) fn style(terminal: bool) -> Style {
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let width = std::env::var("COLUMNS")
        .ok()
        .and_then(|c| c.parse().ok())
        .unwrap_or(100);
    Style { color, width }
}

/// One live line on a terminal, plain lines elsewhere. Both go to standard error.
pub(super) async fn show(mut events: mpsc::UnboundedReceiver<Event>, quiet: bool) {
    let terminal = std::io::stderr().is_terminal() && !quiet;
    let style = style(terminal);
    let mut line: Option<ProgressLine> = None;
    let (mut done, mut total) = (0, 0);
    let mut running: Vec<String> = Vec::new();
    let say = |line: &Option<ProgressLine>, text: &str| {
        if quiet {
            return;
        }
        match line {
            Some(line) => line.println(text),
            None => drop(writeln!(anstream::stderr(), "{text}")),
        }
    };
    while let Some(event) = events.recv().await {
        match event {
            Event::Discovered(facts) => {
                let found: Vec<String> = facts
                    .components
                    .iter()
                    .map(|(name, c)| {
                        c.version
                            .as_ref()
                            .map_or_else(|| name.clone(), |v| format!("{name} {v}"))
                    })
                    .collect();
                say(
                    &line,
                    &one_line(&format!(
                        "Kubernetes {}; found {}",
                        facts.kubernetes,
                        if found.is_empty() {
                            "no component".to_owned()
                        } else {
                            found.join(", ")
                        }
                    )),
                );
            }
            Event::Planned { total: all, kept } => {
                (total, done) = (all, kept);
                if terminal {
                    let progress = ProgressLine::new(total);
                    progress.kept(kept);
                    line = Some(progress);
                }
                if kept > 0 {
                    say(
                        &line,
                        &format!("{kept} of {total} checks have a result already"),
                    );
                }
            }
            Event::Concerned(concerns) => {
                for concern in concerns {
                    let text = format!("warning: {}: {}", concern.what, concern.seen);
                    say(&line, &shorten(&one_line(&text), 400));
                }
            }
            Event::NamespaceReady(name) => say(&line, &format!("working in namespace {name}")),
            Event::Notice(text) => say(&line, &one_line(&text)),
            Event::SetupStarted(id) => {
                running.push(id.into_owned());
                if let Some(line) = &line {
                    line.running(&running);
                }
            }
            Event::SetupFinished(setup) => {
                running.retain(|id| *id != setup.id);
                if let Some(line) = &line {
                    line.running(&running);
                } else if setup.outcome != model::Outcome::Passed {
                    say(
                        &line,
                        &shorten(
                            &one_line(&format!(
                                "{} {}: {}",
                                setup.id,
                                setup.outcome,
                                setup.message.as_deref().unwrap_or_default()
                            )),
                            400,
                        ),
                    );
                }
            }
            Event::CheckStarted(id) => {
                running.push(id.into_owned());
                if let Some(line) = &line {
                    line.running(&running);
                }
            }
            Event::CheckFinished(check) => {
                running.retain(|id| *id != check.id);
                done += 1;
                if let Some(line) = &line {
                    line.finished(&check.id, check.outcome);
                }
                if !terminal
                    || check.outcome == model::Outcome::Failed
                    || check.outcome == model::Outcome::CouldNotRun
                {
                    say(&line, &console::status_line(&check, done, total, style));
                }
            }
            Event::Interrupted => say(
                &line,
                "interrupted: removing what the run made; once more stops at once",
            ),
            Event::CleaningUp => {
                if let Some(line) = &line {
                    line.waiting("removing what the run made");
                }
            }
            Event::Finished(_) => {
                if let Some(line) = line.take() {
                    line.clear();
                }
            }
        }
    }
    if let Some(line) = line.take() {
        line.clear();
    }
}

/// Counts Ctrl-C and the termination signal.
pub(super) fn interrupts() -> watch::Receiver<Interrupt> {
    let (sender, receiver) = watch::channel(Interrupt::No);
    let mut signals = Signals::new();
    tokio::spawn(async move {
        loop {
            signals.next().await;
            let next = if *sender.borrow() == Interrupt::No {
                Interrupt::Stop
            } else {
                Interrupt::Now
            };
            sender.send_replace(next);
        }
    });
    receiver
}

pub(super) fn selftest(args: &SelftestArgs) -> Done {
    let faults = selftest::choose(&args.only).map_err(Failure::usage)?;
    if args.list {
        match args.format {
            Format::Json => {
                let ids: Vec<&str> = faults.iter().map(|f| f.id).collect();
                print_json(&ids)?;
            }
            Format::Text => {
                let lines: String = faults
                    .iter()
                    .map(|f| format!("{}\n    {}\n", f.id, f.says))
                    .collect();
                print(&lines)?;
            }
        }
        return Ok(exit_code::OK);
    }
    let select = SelectArgs {
        profile: args.profile.clone(),
        release: None,
        only: vec![],
        skip: vec![],
        specs: None,
    };
    let limits = LimitArgs {
        jobs: 32,
        timeout: vec![],
        registry: None,
    };
    let options = options(&select, &limits, Config::default())?;
    let side_by_side = args.jobs.map_or_else(
        // Each waits now and then for an answer to come through a socket.
        || 2 * std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    );
    let started = std::time::Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut line: Option<ProgressLine> = None;
    let matrix = selftest::selftest(&options, &faults, side_by_side, |progress| match progress {
        Progress::Planned(total) => line = terminal.then(|| ProgressLine::new(total)),
        Progress::Shown(row) => {
            let outcome = if row.is_fine() {
                model::Outcome::Passed
            } else {
                model::Outcome::Failed
            };
            match &line {
                Some(line) => {
                    line.finished(&row.fault, outcome);
                    if !row.is_fine() {
                        line.println(&row_text(row));
                    }
                }
                None => drop(writeln!(anstream::stderr(), "{}", row_text(row))),
            }
        }
    })
    .map_err(|e| Failure {
        code: e.exit_code(),
        message: e.to_string(),
    })?;
    if let Some(line) = line.take() {
        line.clear();
    }
    match args.format {
        Format::Json => print_json(&matrix)?,
        Format::Text => print(&matrix_text(&matrix, started.elapsed().as_secs_f64()))?,
    }
    Ok(if matrix.is_fine() {
        exit_code::OK
    } else {
        exit_code::NO
    })
}

fn row_text(row: &Row) -> String {
    let word = if !row.killed() {
        "SURVIVES"
    } else if row.spills() {
        "SPILLS"
    } else {
        "killed"
    };
    format!("{word:>8}  {}  ({:.1} s)", row.fault, row.seconds)
}

fn matrix_text(matrix: &Matrix, seconds: f64) -> String {
    let mut text = String::new();
    for row in &matrix.rows {
        text.push_str(&format!("{}\n", row_text(row)));
        if let Some(message) = &row.message {
            let outcome = row.outcome.map_or_else(String::new, |o| o.to_string());
            let message = crate::outcome::shorten(message, 160);
            text.push_str(&format!("          {outcome}: {message}\n"));
        }
        let why = row.wide.as_deref();
        for id in &row.spilled {
            let why = why.map_or_else(
                || "SPILLS: also fails".to_owned(),
                |why| format!("also fails, as it says ({why}):"),
            );
            text.push_str(&format!("          {why} {id}\n"));
        }
        if row.nothing_passed && why.is_none() {
            text.push_str("          SPILLS: no check of the component passes\n");
        }
        if !row.blocked.is_empty() {
            text.push_str(&format!(
                "          could then not run: {}\n",
                row.blocked.join(", ")
            ));
        }
    }
    for id in &matrix.without_fault {
        text.push_str(&format!("NO FAULT  {id}\n"));
    }
    for line in &matrix.baseline {
        text.push_str(&format!("WITHOUT ANY FAULT  {line}\n"));
    }
    let survive = matrix.rows.iter().filter(|r| !r.killed()).count();
    let spill = matrix.rows.iter().filter(|r| r.spills()).count();
    text.push_str(&format!(
        "{} faults: {} killed, {survive} survive, {spill} spill; {} requirements without a fault; {seconds:.1} s\n",
        matrix.rows.len(),
        matrix.rows.len() - survive,
        matrix.without_fault.len(),
    ));
    text
}

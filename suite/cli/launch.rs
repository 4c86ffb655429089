//! `launch`, `status`, `logs`, `retrieve`, `delete`: a run inside the cluster. `fleet`: runs on several.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Done, Failure,
    args::{
        ClusterArgs, DeleteArgs, FleetArgs, Format, LaunchArgs, LaunchedArgs, LimitArgs, LogsArgs,
        OutputArgs, RetrieveArgs, StatusArgs,
    },
    block_on, exit_code, keys, print, print_json,
    run::{self, RESULTS},
    signals::Signals,
};
use crate::{
    cluster::{Config, Target},
    engine::{self, Event, Plan, parts},
    launch::{
        self, Launch, LaunchError, Launcher, Settings, State, Status,
        fleet::{self, Fleet, Summary},
        objects, runner as in_pod,
        wire::Order,
    },
    report::{
        model::{ApiVersion, Outcome, Results, Verdict},
        text::{one_line, shell_quoted},
    },
    seal::PrivateKey,
};

fn failed(error: LaunchError) -> Failure {
    Failure {
        code: error.exit_code(),
        message: error.to_string(),
    }
}

/// The arguments that lead to a cluster, for the next command.
fn to_cluster(args: &ClusterArgs, namespace: Option<&str>) -> String {
    let mut out = String::new();
    let files = [
        ("--kubeconfig", &args.kubeconfig),
        ("--config", &args.config),
    ];
    for (name, file) in files {
        if let Some(file) = file {
            out.push_str(&format!(
                " {name} {}",
                shell_quoted(&file.to_string_lossy())
            ));
        }
    }
    for (name, value) in [
        ("--context", args.context.as_deref()),
        ("--namespace", namespace),
    ] {
        if let Some(value) = value {
            out.push_str(&format!(" {name} {}", shell_quoted(value)));
        }
    }
    out
}

/// A launcher, and a task that shows what it hears of.
async fn launcher(
    target: &Target,
    config: &Config,
    quiet: bool,
) -> Result<(Launcher, tokio::task::JoinHandle<()>), Failure> {
    let (sender, events) = mpsc::unbounded_channel();
    let launcher = Launcher::connect(target, config, sender)
        .await
        .map_err(failed)?;
    Ok((launcher, tokio::spawn(run::show(events, quiet))))
}

/// Does `work` unless somebody presses Ctrl-C; what was launched goes on without us.
async fn unless_interrupted<T>(
    launch: &Launch,
    cluster: &str,
    work: impl Future<Output = Result<T, LaunchError>>,
) -> Result<T, Failure> {
    let mut signals = Signals::new();
    tokio::select! {
        done = work => done.map_err(failed),
        () = signals.next() => Err(Failure::incomplete(format!(
            "interrupted; launch {id} goes on in the cluster: `kfconform status {id} --wait{cluster}` watches it again, \
             `kfconform delete {id}{cluster}` ends it and removes it",
            id = launch.id
        ))),
    }
}

fn order(args: &LaunchArgs, config: &Config) -> Result<Order, Failure> {
    if args.select.specs.is_some() {
        return Err(Failure::usage(
            "`--specs` cannot be launched: the runner has the requirements of its own image",
        ));
    }
    // What is wrong with these must show here and not in a pod.
    let options = run::options(&args.select, &args.limits, config.clone())?;
    let specs = &options.specs;
    let profile = specs.profile(&options.profile).map_err(Failure::usage)?;
    let release = match &options.release {
        Some(name) => specs.release(name).map_err(Failure::usage)?,
        None => specs.latest_release(),
    };
    let plan = Plan::new(specs, profile, &release.name, &options.only, &options.skip)
        .map_err(Failure::usage)?;
    let timeouts: BTreeMap<String, String> = args
        .limits
        .timeout
        .iter()
        .filter_map(|setting| setting.split_once('='))
        .map(|(name, duration)| (name.to_owned(), duration.to_owned()))
        .collect();
    Ok(Order {
        id: options.id,
        profile: options.profile,
        release: options.release,
        only: options.only,
        skip: options.skip,
        jobs: args.limits.jobs,
        timeouts,
        image: options.image,
        arguments: options.arguments,
        parts: parts::parts(&plan, args.shards),
        started: None,
        keep: args.output.keep,
        dry_run: args.dry_run,
        hold_seconds: args.hold.as_secs().max(60),
        storage: args.storage.is_some() || args.claim.is_some(),
    })
}

pub(super) async fn launch(args: Box<LaunchArgs>) -> Done {
    let config = run::config(&args.cluster)?;
    let mut order = order(&args, &config)?;
    if args.dry_run {
        order.parts = 1;
    }
    let authorities = args.ca.as_deref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string());
        text.and_then(|text| {
            if text.contains("-----BEGIN CERTIFICATE-----") && text.len() < 512 << 10 {
                Ok(text)
            } else {
                Err("it holds no certificates in PEM, or too many".to_owned())
            }
        })
        .map_err(|why| Failure::usage(format!("cannot use `--ca {}`: {why}", path.display())))
    });
    let settings = Settings {
        authorities: authorities.transpose()?,
        namespace: args.namespace.clone(),
        claim: args.claim.clone(),
        storage: args.storage.clone(),
        environment: args.environment.iter().cloned().collect(),
    };
    if args.print {
        return print_objects(&order, &config, &settings, args.output.format);
    }
    // What is wrong with these must not show after an hour's run.
    let product = args
        .output
        .product
        .as_deref()
        .map(run::product)
        .transpose()?;
    let key = args.output.key.as_deref().map(keys::open).transpose()?;
    if let Some(out) = &args.out {
        run::vacant(out)?;
    }
    let (launcher, shown) =
        launcher(&run::target(&args.cluster), &config, args.output.quiet).await?;
    let launch = launcher.launch(&order, &settings).await.map_err(failed)?;
    let cluster = to_cluster(&args.cluster, args.namespace.as_deref());
    say(
        args.output.quiet,
        &format!("launched {} in namespace {}", launch.id, launch.namespace),
    );
    let started = async {
        let started = launcher.until_started(&launch, args.start_timeout).await;
        if let Err(error @ LaunchError::NotStarted { .. }) = started {
            // Nothing ran, so that there is nothing to look at; what is the matter was said.
            return Err(
                match launcher.delete(&launch.id, Some(&launch.namespace)).await {
                    Ok(()) => error,
                    Err(left) => LaunchError::Usage(format!("{error}; {left}")),
                },
            );
        }
        started
    };
    unless_interrupted(&launch, &cluster, started)
        .await
        .map_err(|mut failure| {
            failure.code = exit_code::INCOMPLETE;
            failure
        })?;
    if args.detach {
        return detached(&launch, &cluster, args.output.format);
    }
    unless_interrupted(&launch, &cluster, launcher.follow(&launch)).await?;
    let Some(out) = args.out.clone() else {
        let status = launcher.status(&launch).await.map_err(failed)?;
        finish_showing(launcher, shown).await;
        show_status(&status, &cluster, args.output.format)?;
        return Ok(status.verdict.map_or(exit_code::OK, Verdict::exit_code));
    };
    let fetched = launcher.retrieve(&launch, &out, false);
    let results = unless_interrupted(&launch, &cluster, fetched).await?;
    if args.delete {
        let clean = results.run.complete && results.leftovers.is_empty();
        let removed = async {
            if clean && !args.output.keep {
                launcher.discard(&launch).await
            } else {
                launcher.delete(&launch.id, Some(&launch.namespace)).await
            }
        };
        unless_interrupted(&launch, &cluster, removed).await?;
    }
    finish_showing(launcher, shown).await;
    conclude(&results, key, product, &args.output, &out, args.dry_run)
}

/// Signs and shows a result. Of a dry run nothing is to be judged: that it came to its end is what was asked.
fn conclude(
    results: &Results,
    key: Option<PrivateKey>,
    product: Option<String>,
    output: &OutputArgs,
    out: &Path,
    dry_run: bool,
) -> Done {
    if dry_run {
        match output.format {
            Format::Json => print_json(results)?,
            Format::Text => print(&format!(
                "a run from inside works: Kubernetes {}, result in {}\n",
                results
                    .cluster
                    .version
                    .as_deref()
                    .unwrap_or("of an unknown version"),
                out.display()
            ))?,
        }
        return Ok(exit_code::OK);
    }
    run::conclude(results, key, product, output, out)
}

/// Ends what shows events: it waits for those that nobody can send any more.
async fn finish_showing(launcher: Launcher, shown: tokio::task::JoinHandle<()>) {
    drop(launcher);
    drop(shown.await);
}

fn say(quiet: bool, text: &str) {
    if !quiet {
        drop(writeln!(anstream::stderr(), "{}", one_line(text)));
    }
}

fn print_objects(order: &Order, config: &Config, settings: &Settings, format: Format) -> Done {
    let objects = objects::manifests(order, config, settings);
    match format {
        Format::Json => {
            let items: Vec<_> = objects.into_iter().map(|(_, object)| object).collect();
            print_json(&json!({"apiVersion": "v1", "kind": "List", "items": items}))?;
        }
        Format::Text => {
            let documents: Result<Vec<String>, _> = objects
                .iter()
                .map(|(_, object)| serde_saphyr::to_string(object))
                .collect();
            print(&documents.map_err(Failure::incomplete)?.join("---\n"))?;
        }
    }
    Ok(exit_code::OK)
}

fn detached(launch: &Launch, cluster: &str, format: Format) -> Done {
    match format {
        Format::Json => print_json(
            &json!({"id": launch.id, "namespace": launch.namespace, "parts": launch.parts}),
        )?,
        Format::Text => print(&format!(
            "watch it:     kfconform status {id} --wait{cluster}\nits result:   kfconform retrieve {id}{cluster}\n\
             remove it:    kfconform delete {id}{cluster}\n",
            id = launch.id
        ))?,
    }
    Ok(exit_code::OK)
}

/// The launch that a command is about.
async fn find<A: clap::Args>(
    launcher: &Launcher,
    args: &LaunchedArgs<A>,
) -> Result<Launch, Failure> {
    launcher
        .find(args.id.as_deref(), args.namespace.as_deref())
        .await
        .map_err(failed)
}

pub(super) async fn status(args: LaunchedArgs<StatusArgs>) -> Done {
    let config = run::config(&args.cluster)?;
    let (launcher, shown) = launcher(&run::target(&args.cluster), &config, !args.of.wait).await?;
    let launch = find(&launcher, &args).await?;
    let cluster = to_cluster(&args.cluster, args.namespace.as_deref());
    if args.of.wait {
        unless_interrupted(&launch, &cluster, launcher.follow(&launch)).await?;
    }
    let status = launcher.status(&launch).await.map_err(failed)?;
    finish_showing(launcher, shown).await;
    show_status(&status, &cluster, args.of.format)?;
    Ok(match (status.state, status.verdict) {
        (State::Lost | State::Broken, _) => exit_code::INCOMPLETE,
        (_, Some(verdict)) if args.of.wait => verdict.exit_code(),
        _ => exit_code::OK,
    })
}

fn show_status(status: &Status, cluster: &str, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return print_json(status);
    }
    let id = &status.id;
    let mut text = format!("launch {id} in namespace {}: ", status.namespace);
    text.push_str(match status.state {
        State::Starting => "its runner does not run yet",
        State::Running => "the run goes on",
        State::Over => "the run is over and its result waits to be retrieved",
        State::Stored => "the run is over and its result is on the volume",
        State::Retrieved => "its result was retrieved",
        State::Lost => "its result is lost",
        State::Broken => "the run came to no result",
    });
    if status.total > 0 {
        text.push_str(&format!(
            ", {} of {} checks done",
            status.done, status.total
        ));
    }
    if status.parts > 1 {
        text.push_str(&format!(", in {} parts", status.parts));
    }
    text.push('\n');
    if let Some(verdict) = status.verdict {
        text.push_str(&format!("verdict:      {verdict}\n"));
    }
    if let Some(problem) = status.problem {
        text.push_str(&format!(
            "problem:      {}; {}\n",
            problem.code(),
            problem.mend()
        ));
    }
    if let Some(message) = &status.message {
        text.push_str(&format!("              {}\n", one_line(message)));
    }
    match status.state {
        State::Over | State::Stored => {
            text.push_str(&format!("its result:   kfconform retrieve {id}{cluster}\n"));
        }
        State::Lost | State::Broken | State::Retrieved => {
            text.push_str(&format!("remove it:    kfconform delete {id}{cluster}\n"));
        }
        State::Starting | State::Running => {}
    }
    print(&text)
}

pub(super) async fn logs(args: LaunchedArgs<LogsArgs>) -> Done {
    let config = run::config(&args.cluster)?;
    let (launcher, _) = launcher(&run::target(&args.cluster), &config, true).await?;
    let launch = find(&launcher, &args).await?;
    launcher
        .logs(&launch, args.of.follow, |line| {
            let text = crate::report::text::printable(line);
            let mut out = anstream::stdout();
            out.write_all(text.as_bytes())
                .and_then(|()| out.flush())
                .is_ok()
        })
        .await
        .map_err(failed)?;
    Ok(exit_code::OK)
}

pub(super) async fn retrieve(args: Box<LaunchedArgs<RetrieveArgs>>) -> Done {
    let config = run::config(&args.cluster)?;
    let product = args.of.product.as_deref().map(run::product).transpose()?;
    let key = args.of.key.as_deref().map(keys::open).transpose()?;
    let (launcher, shown) = launcher(&run::target(&args.cluster), &config, args.of.quiet).await?;
    let launch = find(&launcher, &args).await?;
    let out = args
        .of
        .out
        .clone()
        .unwrap_or_else(|| Path::new(RESULTS).join(&launch.id));
    run::vacant(&out)?;
    let cluster = to_cluster(&args.cluster, args.namespace.as_deref());
    let fetched = launcher.retrieve(&launch, &out, args.of.again);
    let results = unless_interrupted(&launch, &cluster, fetched)
        .await
        .inspect_err(|_| {
            // An empty folder is of no use to anybody.
            drop(std::fs::remove_dir(&out));
        })?;
    finish_showing(launcher, shown).await;
    let output = OutputArgs {
        key: args.of.key.clone(),
        product: args.of.product.clone(),
        keep: false,
        progress_url: None,
        quiet: args.of.quiet,
        format: args.of.format,
    };
    let dry_run = results.run.planned.is_empty();
    conclude(&results, key, product, &output, &out, dry_run)
}

pub(super) async fn delete(args: LaunchedArgs<DeleteArgs>) -> Done {
    let config = run::config(&args.cluster)?;
    let (launcher, shown) = launcher(&run::target(&args.cluster), &config, false).await?;
    let id = match &args.id {
        Some(id) if launch::is_id(id) => id.clone(),
        Some(id) => {
            return Err(Failure::usage(format!(
                "`{id}` is no launch's id; that has eight letters and digits"
            )));
        }
        None => find(&launcher, &args).await?.id,
    };
    launcher
        .delete(&id, args.namespace.as_deref())
        .await
        .map_err(failed)?;
    finish_showing(launcher, shown).await;
    match args.of.format {
        Format::Json => print_json(&json!({"id": id, "leftovers": []}))?,
        Format::Text => print(&format!("nothing of launch {id} is left\n"))?,
    }
    Ok(exit_code::OK)
}

pub(super) async fn fleet(args: Box<FleetArgs>) -> Done {
    let fleet = Fleet::read(&args.file).map_err(Failure::usage)?;
    let out = args
        .out
        .clone()
        .unwrap_or_else(|| Path::new(RESULTS).join(format!("fleet-{}", engine::new_run_id())));
    run::vacant(&out)?;
    let limits = |limits: &LimitArgs| LimitArgs {
        jobs: limits.jobs,
        timeout: limits.timeout.clone(),
        registry: limits.registry.clone(),
    };
    let mut members = Vec::new();
    for member in &fleet.clusters {
        let cluster = ClusterArgs {
            kubeconfig: member.kubeconfig.clone(),
            context: member.context.clone(),
            config: member.config.clone(),
        };
        let mut options =
            run::options(&args.select, &limits(&args.limits), run::config(&cluster)?)?;
        options.target = run::target(&cluster);
        let folder: PathBuf = out.join(&member.name);
        std::fs::create_dir_all(&folder)
            .map_err(|e| Failure::usage(format!("cannot make {}: {e}", folder.display())))?;
        options.out = Some(folder);
        members.push((member.name.clone(), options));
    }
    let rows = fleet::run(members, run::interrupts(), |name, event| match event {
        Event::CheckFinished(check) if !check.outcome.is_settled() => {
            let why = check.message.as_deref().unwrap_or_default();
            say(
                false,
                &format!("{name}: {} {}: {why}", check.id, check.outcome),
            );
        }
        Event::Finished(results) => say(false, &format!("{name}: {}", results.verdict)),
        _ => {}
    })
    .await;
    let summary = Summary {
        api_version: ApiVersion::V1,
        kind: "FleetSummary".to_owned(),
        profile: args.select.profile.clone(),
        release: args.select.release.clone(),
        clusters: rows,
    };
    let text = serde_json::to_string_pretty(&summary).map_err(Failure::incomplete)?;
    std::fs::write(out.join(fleet::SUMMARY_FILE), text + "\n")
        .map_err(|e| Failure::incomplete(format!("cannot write the summary: {e}")))?;
    match args.format {
        Format::Json => print_json(&summary)?,
        Format::Text => print(&summary_text(&summary, &out))?,
    }
    Ok(summary.exit_code())
}

fn summary_text(summary: &Summary, out: &Path) -> String {
    let width = summary
        .clusters
        .iter()
        .map(|row| row.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for row in &summary.clusters {
        text.push_str(&format!("{:width$}  {}", row.name, row.verdict));
        if let Some(error) = &row.error {
            text.push_str(&format!(": {}", one_line(error)));
        } else {
            let counts =
                Outcome::ALL.map(|outcome| format!("{} {outcome}", row.totals.of(outcome)));
            text.push_str(&format!("  ({})", counts.join(", ")));
        }
        text.push('\n');
    }
    text.push_str(&format!("results and summary:  {}\n", out.display()));
    text
}

pub(super) fn runner(show: bool) -> Done {
    block_on(async move {
        let arguments = if show {
            vec!["--show".to_owned()]
        } else {
            Vec::new()
        };
        let code = Box::pin(in_pod::main(std::env::vars().collect(), arguments)).await;
        Ok(u8::try_from(code).unwrap_or(1))
    })
}

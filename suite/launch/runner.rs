//! What runs in the pod of a launch: the run, its events and files for whoever asks, and an end once they were taken.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{Method, StatusCode};
use tokio::sync::{mpsc, watch};

use super::{
    server::{self, Answer, Asked},
    wire::{
        CONFIG_FILE, FILES, File, LARGEST, ORDER_DIR, ORDER_FILE, Order, PART_VARIABLE, PORT,
        Phase, RESULTS_DIR, Report,
    },
};
use crate::{
    checks::Timeouts,
    clock::Clock,
    cluster::{Config, Target},
    engine::{
        self, EngineError, Event, Interrupt, Part, Plan, RunOptions, recording::EVIDENCE_FILE,
    },
    outcome::shorten,
    report::{
        self,
        console::{self, Style},
        model::{self, Results},
        text::one_line,
    },
    workload::Context,
};

/// Where Kubernetes puts the credentials of a pod.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Where a container says in short how it ended.
const LAST_WORDS: &str = "/dev/termination-log";
/// How long a runner that is told to end waits for whoever watches.
const LAST_CHANCE: Duration = Duration::from_secs(5);
/// How long a runner stays that has nothing to be taken, so that whoever watches learns why.
const LINGER: Duration = Duration::from_secs(30);

/// What the parts of the runner share.
struct Stage {
    report: Mutex<Report>,
    /// The events so far, each as a line.
    events: Mutex<Vec<Bytes>>,
    /// Tells of another event, and at last that there will be no more.
    told: watch::Sender<bool>,
    interrupt: watch::Sender<Interrupt>,
    retrieved: watch::Sender<bool>,
    out: PathBuf,
}

impl Stage {
    fn report(&self) -> Report {
        self.report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, event: &Event) {
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line.into());
        self.told.send_modify(|_| {});
    }

    fn event(&self, number: usize) -> Option<Bytes> {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(number)
            .cloned()
    }
}

/// Runs as the container's process: the same as [`in_pod`], as the runtime of a reference calls it.
pub fn program() -> crate::reference::Runner {
    Arc::new(|context| in_pod(context).boxed())
}

/// Runs what the mounted order says, and returns the exit code: 0 once a result was made and taken (whatever its verdict),
/// else what `run` gives.
pub async fn in_pod(cx: Context) -> i32 {
    match prepare(&cx) {
        Ok((order, config, part)) => i32::from(Box::pin(work(&cx, order, config, part)).await),
        Err(why) => {
            cx.log(&format!("error: {why}"));
            last_words(&cx, &why);
            2
        }
    }
}

fn last_words(cx: &Context, text: &str) {
    // Not every runtime has a place for them.
    drop(std::fs::write(cx.path(LAST_WORDS), shorten(text, 2000)));
}

/// What the runner was told.
fn prepare(cx: &Context) -> Result<(Order, Config, u32), String> {
    let read = |name: &str| {
        let path = Path::new(ORDER_DIR).join(name);
        std::fs::read_to_string(cx.path(&path))
            .map_err(|e| format!("cannot read {}: {e}", path.display()))
    };
    let order: Order = serde_json::from_str(&read(ORDER_FILE)?)
        .map_err(|e| format!("{ORDER_FILE} is of another version of the suite: {e}"))?;
    let config = Config::parse(&read(CONFIG_FILE)?, CONFIG_FILE).map_err(|e| e.to_string())?;
    let part = cx.var(PART_VARIABLE).map_or(Ok(0), str::parse);
    let part = part.map_err(|_| format!("{PART_VARIABLE} is no number"))?;
    Ok((order, config, part))
}

/// How the pod's own cluster is reached.
fn target(cx: &Context) -> Target {
    let mut target = Target::default();
    // In a real pod the process has the same environment, and kube reads what it needs, anew as tokens change.
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_none()
        && let (Some(host), Some(port)) = (
            cx.var("KUBERNETES_SERVICE_HOST"),
            cx.var("KUBERNETES_SERVICE_PORT"),
        )
        && let Ok(token) = std::fs::read_to_string(cx.path(format!("{ACCOUNT}/token")))
    {
        let token = token.trim();
        // Without TLS a client sends no token but in the address.
        target.kubeconfig_text = Some(format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: own\n  cluster:\n    server: http://{host}:{port}/token/{token}\n\
             users:\n- name: own\n  user: {{}}\ncontexts:\n- name: own\n  context: {{cluster: own, user: own}}\n\
             current-context: own\n"
        ));
    }
    target
}

fn options(cx: &Context, order: &Order, config: Config, part: u32) -> Result<RunOptions, String> {
    let mut timeouts = Timeouts::default();
    for (name, duration) in config.timeouts.iter().chain(&order.timeouts) {
        timeouts.set(name, duration)?;
    }
    let target = target(cx);
    Ok(RunOptions {
        id: order.id.clone(),
        clock: Clock::at(cx.clock.now()),
        // Only the reference's pods are no processes of their own.
        reference: target.kubeconfig_text.is_some(),
        target,
        config: Config {
            // As from outside: through the Kubernetes API, which no mesh and no network policy stands before.
            in_cluster: config.in_cluster.or(Some(false)),
            ..config
        },
        profile: order.profile.clone(),
        release: order.release.clone(),
        only: order.only.clone(),
        skip: order.skip.clone(),
        jobs: usize::from(order.jobs.max(1)),
        timeouts,
        image: order.image.clone(),
        arguments: order.arguments.clone(),
        keep: order.keep,
        started: order.started,
        part: (order.parts > 1).then_some(Part {
            index: part,
            of: order.parts,
        }),
        ..RunOptions::default()
    })
}

async fn work(cx: &Context, order: Order, config: Config, part: u32) -> u8 {
    let out = cx.path(RESULTS_DIR).join(format!("{}-{part}", order.id));
    let stage = Arc::new(Stage {
        report: Mutex::new(Report {
            id: order.id.clone(),
            part,
            phase: Phase::Running,
            done: 0,
            total: 0,
            verdict: None,
            message: None,
            code: None,
            files: Vec::new(),
        }),
        events: Mutex::default(),
        told: watch::channel(false).0,
        interrupt: watch::channel(Interrupt::No).0,
        retrieved: watch::channel(false).0,
        out: out.clone(),
    });
    let listener = match (cx.listen)(PORT).await {
        Ok(listener) => listener,
        Err(error) => {
            let why = format!("cannot listen on port {PORT}: {error}");
            cx.log(&format!("error: {why}"));
            last_words(cx, &why);
            return 3;
        }
    };
    let serving = {
        let stage = Arc::clone(&stage);
        server::serve(listener, move |asked| {
            let stage = Arc::clone(&stage);
            async move { answer(&stage, &asked) }
        })
    };
    let running = async {
        let made = Box::pin(make(cx, &stage, &order, config, part)).await;
        let (code, linger) = end(cx, &stage, made);
        stage.told.send_replace(true);
        let hold = if linger || order.storage {
            // There is nothing to take, or a volume keeps it.
            if cx.arguments.is_empty() {
                LINGER
            } else {
                LINGER * 10
            }
        } else {
            Duration::from_secs(order.hold_seconds)
        };
        let mut retrieved = stage.retrieved.subscribe();
        tokio::select! {
            _ = retrieved.wait_for(|retrieved| *retrieved) => {}
            () = ordered_to_end(cx) => if !linger && !order.storage {
                // 128 and the number of the signal: what was not taken is lost with the pod.
                return 143;
            },
            () = cx.clock.sleep(hold) => if !linger && !order.storage {
                let why = format!("nobody took the result within {} s", order.hold_seconds);
                cx.log(&why);
                last_words(cx, &why);
                return 4;
            },
        }
        code
    };
    tokio::select! {
        code = running => code,
        () = serving => 3,
    }
}

/// Waits for the order to end, and then for a moment longer: whoever watches the run can still take what it found.
async fn ordered_to_end(cx: &Context) {
    cx.stop.stopped().await;
    cx.clock.sleep(LAST_CHANCE).await;
}

/// Makes the run, or goes on with one whose pod was lost.
async fn make(
    cx: &Context,
    stage: &Arc<Stage>,
    order: &Order,
    config: Config,
    part: u32,
) -> Result<Results, (u8, String)> {
    let written = |e: std::io::Error| (3, format!("cannot write the result: {e}"));
    let out = &stage.out;
    std::fs::create_dir_all(out).map_err(written)?;
    let show = cx.arguments.iter().any(|argument| argument == "--show");
    match Results::read(&out.join(model::RESULTS_FILE)) {
        // An earlier pod came to the end of it.
        Ok(results) if show || results.run.complete => return Ok(results),
        Err(error) if show => return Err((3, format!("there is no result: {error}"))),
        _ => {}
    }
    let mut options = options(cx, order, config, part).map_err(|why| (2, why))?;
    options.out = Some(out.clone());
    options.resume = options.part.is_none() && out.join(model::RESULTS_FILE).exists();

    let (sender, mut events) = mpsc::unbounded_channel();
    let (stop, stage_of_stop) = (cx.stop.clone(), Arc::clone(stage));
    let stopper = tokio::spawn(async move {
        stop.stopped().await;
        stage_of_stop.interrupt.send_replace(Interrupt::Stop);
    });
    let hears = {
        let (stage, cx) = (Arc::clone(stage), cx.clone());
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                hear(&stage, &cx, &event);
            }
        })
    };
    let interrupt = stage.interrupt.subscribe();
    let specs = Arc::clone(&options.specs);
    let made = if order.dry_run {
        let release = match &options.release {
            Some(name) => specs.release(name).map_err(|e| (2, e.to_string()))?,
            None => specs.latest_release(),
        };
        let plan = Plan {
            profile: order.profile.clone(),
            release: release.name.clone(),
            items: Vec::new(),
        };
        engine::run_plan(options, plan, sender, interrupt).await
    } else {
        engine::run(options, sender, interrupt).await
    };
    stopper.abort();
    drop(hears.await);
    let results = made.map_err(|error: EngineError| (error.exit_code(), error.to_string()))?;
    if order.parts <= 1 {
        report::write_beside(&results, &specs, out).map_err(written)?;
    }
    Ok(results)
}

/// Takes an event in: counts, passes it on, and prints it for `kubectl logs`.
fn hear(stage: &Stage, cx: &Context, event: &Event) {
    let style = Style {
        color: false,
        width: 120,
    };
    match event {
        Event::Discovered(facts) => {
            cx.print(&one_line(&format!("Kubernetes {}", facts.kubernetes)));
        }
        Event::Concerned(concerns) => {
            for concern in concerns {
                let text = format!("warning: {}: {}", concern.what, concern.seen);
                cx.print(&shorten(&one_line(&text), 400));
            }
        }
        Event::Planned { total, kept } => {
            stage.change(|report| (report.total, report.done) = (*total, *kept));
        }
        Event::NamespaceReady(name) => {
            cx.print(&format!("working in namespace {}", one_line(name)));
        }
        Event::CheckFinished(check) => {
            stage.change(|report| report.done += 1);
            let report = stage.report();
            cx.print(&console::status_line(
                check,
                report.done,
                report.total,
                style,
            ));
        }
        Event::Interrupted => cx.print("interrupted: removing what the run made"),
        Event::CleaningUp => cx.print("removing what the run made"),
        Event::Notice(text) => cx.print(&one_line(text)),
        Event::SetupFinished(setup) if setup.outcome != model::Outcome::Passed => {
            cx.print(&shorten(
                &one_line(&format!(
                    "{} {}: {}",
                    setup.id,
                    setup.outcome,
                    setup.message.as_deref().unwrap_or_default()
                )),
                400,
            ));
        }
        Event::Finished(results) => cx.print(&format!("the verdict: {}", results.verdict)),
        Event::SetupStarted(_) | Event::SetupFinished(_) | Event::CheckStarted(_) => {}
    }
    stage.tell(event);
}

/// Says how the run ended. The values: the exit code, and whether there is nothing to take.
fn end(cx: &Context, stage: &Stage, made: Result<Results, (u8, String)>) -> (u8, bool) {
    let files = made
        .as_ref()
        .ok()
        .map(|_| files(&stage.out))
        .transpose()
        .map_err(|e| (3, format!("cannot read the result: {e}")));
    match (made, files) {
        (Ok(results), Ok(files)) => {
            let verdict = results.verdict;
            stage.change(|report| {
                report.phase = Phase::Over;
                report.verdict = Some(verdict);
                report.code = Some(verdict.exit_code());
                report.files = files.unwrap_or_default();
            });
            last_words(
                cx,
                &serde_json::json!({"run": results.run.id, "verdict": verdict, "complete": results.run.complete}).to_string(),
            );
            (0, false)
        }
        (Err((code, message)), _) | (_, Err((code, message))) => {
            cx.log(&format!("error: {message}"));
            last_words(cx, &message);
            stage.change(|report| {
                report.phase = Phase::Broken;
                report.code = Some(code);
                report.message = Some(message);
            });
            (code, true)
        }
    }
}

/// The files of a result, those that are there.
fn files(out: &Path) -> std::io::Result<Vec<File>> {
    let mut files = Vec::new();
    for name in FILES {
        match std::fs::read(out.join(name)) {
            Ok(bytes) => files.push(File {
                name: name.to_owned(),
                size: bytes.len() as u64,
                sha256: crate::digest::sha256(&bytes),
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name != EVIDENCE_FILE => {
            }
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

fn answer(stage: &Arc<Stage>, asked: &Asked) -> Answer {
    let get = asked.method == Method::GET;
    match (get, asked.path.as_str()) {
        (true, "/status") => match serde_json::to_vec(&stage.report()) {
            Ok(report) => server::whole(StatusCode::OK, report),
            Err(error) => server::whole(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
        (true, "/events") => {
            let from = asked
                .query
                .strip_prefix("from=")
                .and_then(|n| n.parse().ok());
            server::lines(Box::pin(events(Arc::clone(stage), from.unwrap_or(0))))
        }
        (true, path) => match path.strip_prefix("/files/") {
            Some(name) if stage.report().files.iter().any(|file| file.name == name) => {
                part_of(&stage.out.join(name), asked.from)
            }
            _ => server::whole(StatusCode::NOT_FOUND, "there is no such file"),
        },
        (false, "/retrieved") if asked.method == Method::POST => {
            stage.retrieved.send_replace(true);
            server::whole(StatusCode::NO_CONTENT, "")
        }
        (false, "/stop") if asked.method == Method::POST => {
            stage.interrupt.send_replace(Interrupt::Stop);
            server::whole(StatusCode::NO_CONTENT, "")
        }
        _ => server::whole(StatusCode::NOT_FOUND, "nothing is there"),
    }
}

/// A file from one byte on.
fn part_of(path: &Path, from: u64) -> Answer {
    match std::fs::read(path) {
        Ok(bytes) if bytes.len() as u64 <= LARGEST => {
            let bytes = Bytes::from(bytes);
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
            server::whole(StatusCode::PARTIAL_CONTENT, bytes.slice(from..))
        }
        Ok(_) => server::whole(StatusCode::PAYLOAD_TOO_LARGE, "it is too large"),
        Err(error) => server::whole(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// The events from one on, until there are no more.
fn events(stage: Arc<Stage>, from: usize) -> impl futures::Stream<Item = Bytes> + Send {
    let told = stage.told.subscribe();
    futures::stream::unfold((stage, told, from), |(stage, mut told, next)| async move {
        loop {
            let over = *told.borrow_and_update();
            if let Some(line) = stage.event(next) {
                return Some((line, (stage, told, next + 1)));
            }
            if over || told.changed().await.is_err() {
                return None;
            }
        }
    })
}

/// Runs as this process, in a real pod.
pub async fn main(env: BTreeMap<String, String>, arguments: Vec<String>) -> i32 {
    match Context::system(env) {
        Ok(mut cx) => {
            cx.arguments = arguments;
            // Nobody but a port-forward, which ends inside the pod, has anything to ask here.
            cx.listen = Arc::new(|port| {
                let listen: BoxFuture<'static, _> = async move {
                    match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
                        Ok(listener) => Ok(listener),
                        Err(_) => tokio::net::TcpListener::bind(("::1", port)).await,
                    }
                }
                .boxed();
                listen
            });
            Box::pin(in_pod(cx)).await
        }
        Err(_) => 1,
    }
}

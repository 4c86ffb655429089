//! One run, from the first look at the cluster to the last byte of the result.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Either, Shared, select},
};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
};

use super::{
    Event, Plan, PlanError, Planned, cleanup,
    collect::{Made, collect},
    journal::{Journal, Line},
    parts::{self, Part},
    plan, plugins,
    replay::guarded,
    space,
    sweep::{ToCome, sweep},
};
use crate::{
    checks::{self, Cx, RunContext, Setup, Timeouts},
    clock::Clock,
    cluster::{
        self, Config, ConnectError, Door, Evidence, Facts, Plugin, Session,
        config::Access,
        door::DoorOptions,
        redact::{REDACTED, Redactor},
    },
    outcome::{CouldNotRun, NotApplicable, Outcome, Stop},
    report::{
        model::{self, CheckResult, Results},
        plugins::{PluginReport, PluginResult},
        text::{MAX_TEXT, bounded},
    },
    spec::{Requirement, Specs, Unknown},
};

/// The suite's image where no other is configured.
pub const DEFAULT_IMAGE: &str = concat!("kubeflow/kfconform:", env!("CARGO_PKG_VERSION"));

/// Everything that a run is told.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one switch of the command line"
)]
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The run's id: eight lower-case letters and digits.
    pub id: String,
    /// The run's clock.
    pub clock: Clock,
    /// Which cluster.
    pub target: cluster::Target,
    /// Whether that is the embedded reference.
    pub reference: bool,
    /// The configuration.
    pub config: Config,
    /// The requirements.
    pub specs: Arc<Specs>,
    /// Whether they are not the embedded ones.
    pub specs_overridden: bool,
    /// The profile's name.
    pub profile: String,
    /// The release to judge; the newest when absent.
    pub release: Option<String>,
    /// Globs of requirements to check; all when empty.
    pub only: Vec<String>,
    /// Globs of requirements not to check.
    pub skip: Vec<String>,
    /// How many checks, and how many set-ups, may run at once.
    pub jobs: usize,
    /// The named timeouts.
    pub timeouts: Timeouts,
    /// The suite's image.
    pub image: String,
    /// The command's arguments, for the record.
    pub arguments: Vec<String>,
    /// The reference's faults, for the record.
    pub faults: Vec<String>,
    /// The result folder; nothing is written when absent.
    pub out: Option<PathBuf>,
    /// Whether to go on with an interrupted run in that folder.
    pub resume: bool,
    /// Whether to leave what the run made.
    pub keep: bool,
    /// When the run began, where that is not when its clock was started: the parts of a run have one beginning.
    pub started: Option<Timestamp>,
    /// The part of the run that this process makes; all of it when absent.
    pub part: Option<Part>,
}

/// A run of every requirement on the cluster that the environment names, of which nothing is written.
impl Default for RunOptions {
    fn default() -> Self {
        Self {
            id: new_run_id(),
            clock: Clock::wall(),
            target: cluster::Target::default(),
            reference: false,
            config: Config::default(),
            specs: Arc::new(Specs::embedded().clone()),
            specs_overridden: false,
            profile: "all".to_owned(),
            release: None,
            only: Vec::new(),
            skip: Vec::new(),
            jobs: 16,
            timeouts: Timeouts::default(),
            image: DEFAULT_IMAGE.to_owned(),
            arguments: Vec::new(),
            faults: Vec::new(),
            out: None,
            resume: false,
            keep: false,
            started: None,
            part: None,
        }
    }
}

/// How often a person asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Interrupt {
    /// Not at all.
    #[default]
    No,
    /// Once: stop and clean up.
    Stop,
    /// Twice: stop at once.
    Now,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A profile or release is not known.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// No client can be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The cluster cannot be looked at, so that nothing can be said of it.
    #[error("{0}")]
    Cluster(String),
    /// The result cannot be written.
    #[error("cannot write the result in {path}: {error}")]
    Write {
        /// The folder.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// There is nothing to go on with.
    #[error("cannot resume the run in {path}: {error}")]
    Resume {
        /// The folder.
        path: String,
        /// Why.
        error: String,
    },
    /// There is nothing to make again.
    #[error("cannot run anything of {path} again: {error}")]
    Rerun {
        /// The result folder.
        path: String,
        /// Why.
        error: String,
    },
    /// The run was interrupted before it had made anything.
    #[error("interrupted before anything was made; nothing was checked")]
    Interrupted,
    /// The run was stopped at once; what it made may still be there.
    #[error("stopped at once; `kfconform cleanup --run {run}{cluster}` removes what the run made")]
    Stopped {
        /// The run's id.
        run: String,
        /// The arguments that lead to the cluster, each after a blank.
        cluster: String,
    },
}

impl EngineError {
    fn resume(options: &RunOptions, error: String) -> Self {
        let out = options.out.as_ref();
        Self::Resume {
            path: out.map(|out| out.display().to_string()).unwrap_or_default(),
            error,
        }
    }

    /// The exit code: 2 for what the caller can mend in the command, 3 where no verdict is possible.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Plan(_)
            | Self::Unknown(_)
            | Self::Resume { .. }
            | Self::Rerun { .. }
            | Self::Connect(ConnectError::Kubeconfig(_)) => 2,
            Self::Connect(ConnectError::Client(_))
            | Self::Cluster(_)
            | Self::Write { .. }
            | Self::Interrupted
            | Self::Stopped { .. } => 3,
        }
    }
}

/// A run's id: eight lower-case letters and digits, beginning with a letter, so that it can stand in any name.
pub fn new_run_id() -> String {
    use std::hash::{BuildHasher, Hasher};
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    // The keys of a RandomState are random; a run's id needs to be rare, not secret.
    let mut bits = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let mut id = String::with_capacity(8);
    for place in 0..8 {
        let base = if place == 0 { 26 } else { LETTERS.len() as u64 };
        id.push(char::from(LETTERS[(bits % base) as usize]));
        bits /= base;
    }
    id
}

type SharedSetup = Shared<BoxFuture<'static, checks::SetupResult>>;

/// What the tasks of a run share.
struct Shop {
    door: Arc<Door>,
    context: Arc<RunContext>,
    events: mpsc::UnboundedSender<Event>,
    journal: std::sync::Mutex<Option<Journal>>,
    setups: std::sync::Mutex<Vec<model::SetupResult>>,
    /// What each ended set-up made.
    made: std::sync::Mutex<HashMap<&'static str, Vec<Made>>>,
    started: Timestamp,
    /// The attempt that this process makes: 1, or one more for each resumption.
    attempt: u32,
    places: Places,
}

/// How much may be under way at once.
struct Places {
    checks: Semaphore,
    /// A check that waits for a set-up must not keep it from beginning.
    setups: Semaphore,
}

impl Places {
    fn new(jobs: usize) -> Self {
        Self {
            checks: Semaphore::new(jobs.max(1)),
            setups: Semaphore::new(jobs.max(1)),
        }
    }

    /// Whether set-ups wait for one another, so that what goes makes room for them.
    fn are_taken(&self) -> bool {
        self.setups.available_permits() == 0
    }
}

impl Shop {
    fn say(&self, event: Event) {
        // A reporter that went away stops no run.
        drop(self.events.send(event.written(&self.door.redactor())));
    }

    fn at(&self, ms: u64) -> Timestamp {
        self.started
            .checked_add(Duration::from_millis(ms))
            .unwrap_or(Timestamp::MAX)
    }

    fn record(&self, evidence: &Evidence) -> io::Result<Option<model::Evidence>> {
        let journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let journal = journal.as_ref();
        journal.map(|j| j.evidence(evidence)).transpose()
    }

    fn line(&self, line: &Line) -> io::Result<()> {
        let mut journal = self
            .journal
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match journal.as_mut() {
            Some(journal) => journal.line(&self.door.redactor().written(line)),
            None => Ok(()),
        }
    }

    /// What was made by ended set-ups.
    fn made_by(&self, setups: &[&'static Setup]) -> Vec<Made> {
        let made = self
            .made
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let of = setups.iter().filter_map(|setup| made.get(setup.id));
        of.flatten().cloned().collect()
    }

    /// Reads what a failed check made, before it is removed.
    async fn collect(&self, cx: &Cx, made: &[Made]) -> Vec<cluster::Exchange> {
        let look = self.after(cx);
        collect(&look, made).await;
        look.session
            .evidence(&self.context.id, Vec::new())
            .exchanges
    }

    /// Removes what a check made that is over, and what it built on, as far as nobody needs it any more.
    async fn sweep(
        &self,
        cx: &Cx,
        planned: &Planned,
        mut made: Vec<Made>,
        to_come: &ToCome,
    ) -> Vec<cluster::Exchange> {
        let Some(free) = to_come.over(planned) else {
            return Vec::new();
        };
        let broom = self.after(cx);
        made.extend(self.made_by(&free));
        sweep(&broom, &made, self.places.are_taken()).await;
        broom
            .session
            .evidence(&self.context.id, Vec::new())
            .exchanges
    }

    /// What asks for a check that is over.
    fn after(&self, cx: &Cx) -> Cx {
        let session = Session::live(
            Arc::clone(&self.door),
            cx.id(),
            cx.session.attempt(),
            Duration::from_secs(20),
        );
        Cx::new(session, Arc::clone(&self.context), BTreeMap::new())
    }
}

/// Makes a run. `events` hears of everything as it happens; the result is also the last event.
///
/// A run that goes on takes its profile, release, selection, timeouts and image from its folder; what these options say of
/// them does not count. The configuration must be the one that it was begun with.
pub async fn run(
    mut options: RunOptions,
    events: mpsc::UnboundedSender<Event>,
    interrupt: watch::Receiver<Interrupt>,
) -> Result<Results, EngineError> {
    let resumed = if options.resume {
        Some(Kept::read(&options)?)
    } else {
        None
    };
    if let Some(kept) = &resumed {
        kept.take_over(&mut options)?;
    }
    let specs = &options.specs;
    let profile = specs.profile(&options.profile)?;
    let release = match &options.release {
        Some(name) => specs.release(name)?,
        None => specs.latest_release(),
    };
    let plan = Plan::new(specs, profile, &release.name, &options.only, &options.skip)?;
    follow(options, plan, resumed, events, interrupt).await
}

/// Makes a run of a plan that does not follow from the options: of checks that somebody else declared, for example a
/// benchmark's. As [`run`] otherwise; such a run cannot be resumed.
pub async fn run_plan(
    options: RunOptions,
    plan: Plan,
    events: mpsc::UnboundedSender<Event>,
    interrupt: watch::Receiver<Interrupt>,
) -> Result<Results, EngineError> {
    follow(options, plan, None, events, interrupt).await
}

async fn follow(
    options: RunOptions,
    plan: Plan,
    resumed: Option<Kept>,
    events: mpsc::UnboundedSender<Event>,
    mut interrupt: watch::Receiver<Interrupt>,
) -> Result<Results, EngineError> {
    let release = plan.release.clone();
    let started = resumed.as_ref().map_or_else(
        || options.started.unwrap_or(options.clock.origin()),
        |kept| kept.results.run.started,
    );
    let id = options.id.clone();
    let part = options.part.as_ref();
    // Each part of a run makes attempts of its own, so that nothing of two parts bears one name.
    let attempt = resumed.as_ref().map_or_else(
        || part.map_or(1, |part| part.index + 1),
        |kept| kept.attempt,
    );

    let writing = |error: io::Error| EngineError::Write {
        path: options
            .out
            .as_ref()
            .map(|p| p.display().to_string())
            .unwrap_or_default(),
        error,
    };
    let connect = Door::connect(
        &options.target,
        &options.config,
        DoorOptions {
            run: id.clone(),
            clock: options.clock,
            offset: options
                .clock
                .origin()
                .duration_since(started)
                .try_into()
                .unwrap_or_default(),
            request_timeout: options.timeouts.get("request"),
        },
    );
    let door = tokio::select! {
        door = connect => Arc::new(door?),
        () = stopped(&mut interrupt) => return Err(EngineError::Interrupted),
    };

    // Look at the cluster; what was found decides the rest.
    let session = Session::live(
        Arc::clone(&door),
        "run/discovery",
        attempt,
        Duration::from_secs(60),
    );
    let facts = tokio::select! {
        facts = Facts::discover(&session, &options.config) => facts,
        () = stopped(&mut interrupt) => return Err(EngineError::Interrupted),
    }
    .map_err(|stop| {
        let (what, mend) = cluster::discover::no_look(door.server(), &stop);
        EngineError::Cluster(format!("{what}; nothing was checked; {mend}"))
    })?;
    if let Some(kept) = &resumed {
        kept.is_of(&options, &door.redactor().written(&facts))?;
    }
    let discovery = session.evidence(&id, Vec::new());
    let discovered = Event::Discovered(Box::new(facts.clone()));
    drop(events.send(discovered.written(&door.redactor())));
    // Of no account for the results, and so in no evidence.
    let look = Session::live(
        Arc::clone(&door),
        "run/preflight",
        attempt,
        Duration::from_secs(30),
    );
    let concerns = match options.specs.release(release.as_str()) {
        Ok(judged) => tokio::select! {
            concerns = super::concerns(&look, &facts, judged) => concerns,
            () = stopped(&mut interrupt) => return Err(EngineError::Interrupted),
        },
        Err(_) => Vec::new(),
    };
    let concerned = Event::Concerned(concerns);
    drop(events.send(concerned.written(&door.redactor())));

    let context = Arc::new(RunContext {
        id: id.clone(),
        namespace: options
            .config
            .namespace
            .clone()
            .unwrap_or_else(|| own_namespace_of(&id)),
        image: options.image.clone(),
        started: started.as_second(),
        facts,
        release: release.as_str().to_owned(),
        timeouts: options
            .timeouts
            .changed()
            .map(|(n, d)| (n.to_owned(), cluster::session::millis(d)))
            .collect(),
        pod: pod_settings(&options.config),
        storage_class: options.config.storage_class.clone(),
        components: options.config.public_components(),
        plugins: match &resumed {
            Some(kept) => kept.context.plugins.clone(),
            None => options.config.plugins.clone(),
        },
    });
    let journal = match &options.out {
        Some(out) => {
            let journal = Journal::open(out).map_err(writing)?;
            journal
                .configuration(&options.config.digest(&id))
                .map_err(writing)?;
            let context = door.redactor().written(&*context);
            journal.context(&context).map_err(writing)?;
            Some(journal)
        }
        None => None,
    };
    let shop = Arc::new(Shop {
        door: Arc::clone(&door),
        context: Arc::clone(&context),
        events: events.clone(),
        journal: std::sync::Mutex::new(journal),
        made: std::sync::Mutex::default(),
        setups: std::sync::Mutex::new(
            resumed
                .as_ref()
                .map(|kept| kept.setups.clone())
                .unwrap_or_default(),
        ),
        started,
        attempt,
        places: Places::new(options.jobs),
    });
    shop.record(&discovery).map_err(writing)?;

    let mut draft = Draft::new(&options, &plan, &context, started, resumed.as_ref());
    // From here on a crash leaves something to go on with.
    draft.write(&shop).map_err(writing)?;
    let kept = draft.results.checks.len();
    let mine: Vec<&Planned> = match part {
        Some(part) => part.of(&plan),
        None => plan.items.iter().collect(),
    };
    shop.say(Event::Planned {
        total: mine.len(),
        kept,
    });

    // What no verdict reads and no review makes again: the parts' word to each other.
    let look = || {
        let limit = Duration::from_secs(1200);
        let session = Session::live(Arc::clone(&door), "run/parts", attempt, limit);
        Cx::new(session, Arc::clone(&context), BTreeMap::new())
    };
    let own_namespace = options.config.namespace.is_none();
    if let Some(part) = part {
        let look = look();
        tokio::select! {
            () = parts::until_ready(&look, *part, !own_namespace) => {}
            () = stopped(&mut interrupt) => {}
        }
    }

    // The namespace. Without it nothing can be made, and everything that remains could not run.
    let limit = context.timeout("namespace") * 2;
    let session = Session::live(Arc::clone(&door), "run/namespace", attempt, limit);
    let cx = Cx::new(session, Arc::clone(&context), BTreeMap::new());
    let owner = options.config.profile_owner.as_deref();
    let prepare = async {
        if plan.items.is_empty() {
            // A run that only looks makes nothing.
            return (false, Ok(()));
        }
        let goes_on = resumed.is_some() || part.is_some_and(|part| part.index > 0);
        space::prepare(&cx, goes_on, !own_namespace, owner).await
    };
    let (made, prepared) = tokio::select! {
        prepared = prepare => prepared,
        // There may be something to remove.
        () = stopped(&mut interrupt) => (true, Ok(())),
    };
    let evidence = cx.session.evidence(&id, Vec::new());
    let prepared = prepared.and(
        shop.record(&evidence)
            .map(drop)
            .map_err(|e| not_written(&e)),
    );
    if made && prepared.is_ok() && *interrupt.borrow() == Interrupt::No {
        shop.say(Event::NamespaceReady(context.namespace.clone()));
    }

    // Everything runs at once, within limits: set-ups as early as what they build on allows, checks by the job.
    let todo: Vec<(Planned, Option<Stop>)> = mine
        .into_iter()
        .filter(|p| {
            !draft
                .results
                .checks
                .iter()
                .any(|c| c.id == p.requirement.id)
        })
        .map(|p| {
            let stop = not_to_run(&p.requirement, &release, &context.facts)
                .or_else(|| prepared.clone().err());
            (p.clone(), stop)
        })
        .collect();
    let wanted: Vec<Planned> = todo
        .iter()
        .filter(|(_, stop)| stop.is_none())
        .map(|(planned, _)| planned.clone())
        .collect();
    let setups = Setups::start(&shop, &wanted);
    let to_come = (!options.keep).then(|| Arc::new(ToCome::new(&wanted)));
    // Of a run in parts, the first has the plugins.
    let mut beside = JoinSet::new();
    if part.is_none_or(|part| part.index == 0) && !plan.items.is_empty() {
        let over = |plugin: &Plugin| {
            let mut over = draft.results.plugins.iter();
            over.any(|result| result.name == plugin.name)
        };
        for place in 0..context.plugins.len() {
            if !over(&context.plugins[place]) {
                let (shop, ready) = (Arc::clone(&shop), prepared.is_ok());
                beside.spawn(async move {
                    run_plugin(&shop, &shop.context.plugins[place], ready).await
                });
            }
        }
    }
    let mut tasks = JoinSet::new();
    for (planned, stop) in todo {
        let shop = Arc::clone(&shop);
        let to_come = to_come.clone();
        let needs = setups.of(planned.check.needs);
        let limit = context.limit(&planned.requirement);
        tasks.spawn(
            async move { check(&shop, &planned, needs, stop, limit, to_come.as_deref()).await },
        );
    }
    let mut interrupted = false;
    while !(tasks.is_empty() && beside.is_empty()) {
        tokio::select! {
            Some(done) = tasks.join_next() => match done {
                Ok(result) => draft.add(&shop, result),
                Err(error) => tracing::error!(%error, "a check's task was lost"),
            },
            Some(done) = beside.join_next() => match done {
                Ok(result) => draft.add_plugin(&shop, result),
                Err(error) => tracing::error!(%error, "a plugin's task was lost"),
            },
            () = stopped(&mut interrupt) => {
                interrupted = true;
                break;
            }
        }
    }
    if interrupted {
        shop.say(Event::Interrupted);
    }
    // Nothing may be made any more while what was made is removed.
    tasks.abort_all();
    beside.shutdown().await;
    while let Some(done) = tasks.join_next().await {
        if let Ok(result) = done {
            draft.add(&shop, result);
        }
    }
    setups.stop().await;
    if let Some(id) = setups.image_digest() {
        draft.results.images[0].digest = Some(id);
    }

    // What was made goes, and what stays is named.
    let (mut left, mut written) = (Vec::new(), true);
    let mut swept = made && !options.keep;
    if swept && let Some(part) = part {
        swept = match parts::is_last(&look(), *part).await {
            Ok(last) => last,
            Err(stop) => {
                left.push(format!(
                    "Namespace//{}: nobody knows whether the other parts of the run are over: {}",
                    context.namespace,
                    stop.message()
                ));
                false
            }
        };
        if swept && !own_namespace {
            // A mark that stays on a namespace of others harms nothing.
            drop(parts::unmark(&look(), *part).await);
        }
    }
    if swept {
        shop.say(Event::CleaningUp);
        let session = Session::live(
            Arc::clone(&door),
            "run/cleanup",
            // Of a run in parts, the clean-up is that of the whole.
            part.map_or(attempt, |part| part.of),
            context.timeout("cleanup") * 2,
        );
        let cx = Cx::new(session, Arc::clone(&context), BTreeMap::new());
        left = tokio::select! {
            left = cleanup::clean(&cx, own_namespace) => left,
            () = stopped_now(&mut interrupt) => {
                drop(draft.write(&shop));
                return Err(EngineError::Stopped {
                    run: id,
                    cluster: draft.results.run.cluster_arguments(),
                });
            }
        };
        let evidence = cx.session.evidence(&id, Vec::new());
        if let Err(error) = shop.record(&evidence) {
            tracing::error!(%error, "cannot write the evidence of the clean-up; the run is not complete");
            written = false;
        }
    }
    draft.results.leftovers = left;
    draft.results.run.complete = !interrupted && written;
    let results = draft.finish(&shop).map_err(writing)?;
    shop.say(Event::Finished(Box::new(results.clone())));
    Ok(results)
}

/// The namespace that a run makes for itself.
pub fn own_namespace_of(run: &str) -> String {
    cluster::own_name(run)
}

async fn stopped(interrupt: &mut watch::Receiver<Interrupt>) {
    if interrupt.wait_for(|i| *i >= Interrupt::Stop).await.is_err() {
        // Nobody can interrupt any more.
        std::future::pending::<()>().await;
    }
}

async fn stopped_now(interrupt: &mut watch::Receiver<Interrupt>) {
    if interrupt.wait_for(|i| *i >= Interrupt::Now).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Why a requirement is not checked on this cluster at all.
pub fn not_to_run(
    requirement: &Requirement,
    release: &crate::spec::ReleaseName,
    facts: &Facts,
) -> Option<Stop> {
    if !requirement.holds_for(release) {
        return Some(Stop::NotApplicable(
            NotApplicable::OtherRelease,
            format!("it does not hold for Kubeflow {release}"),
        ));
    }
    if !facts
        .components
        .contains_key(requirement.component().as_str())
    {
        return Some(absent(requirement.component().as_str(), facts));
    }
    let feature = requirement
        .feature
        .as_ref()
        .filter(|feature| !facts.has(feature))?;
    Some(match facts.feature_not_seen(feature) {
        Some(refused) => Stop::CouldNotRun(
            CouldNotRun::NoPermission,
            format!("nobody knows whether the cluster has the feature `{feature}`: {refused}"),
        ),
        None => Stop::NotApplicable(
            NotApplicable::FeatureAbsent,
            format!("the feature `{feature}` was not found on the cluster"),
        ),
    })
}

/// What it means that a component was not found.
fn absent(component: &str, facts: &Facts) -> Stop {
    match facts.not_seen(component) {
        Some(refused) => Stop::CouldNotRun(
            CouldNotRun::NoPermission,
            format!("{component} could not be looked for: {refused}"),
        ),
        None => Stop::CouldNotRun(
            CouldNotRun::ComponentAbsent,
            format!("{component} was not found on the cluster"),
        ),
    }
}

/// The shared set-ups of a run, each on its way.
struct Setups {
    started: HashMap<&'static str, (SharedSetup, tokio::task::AbortHandle)>,
}

impl Setups {
    /// Starts every set-up that these checks need. Each waits for those that it builds on.
    fn start(shop: &Arc<Shop>, wanted: &[Planned]) -> Self {
        let mut setups = Self {
            started: HashMap::new(),
        };
        for setup in plan::setups(wanted) {
            let task = tokio::spawn(make(Arc::clone(shop), setup, setups.of(setup.needs)));
            let abort = task.abort_handle();
            let shared = async move {
                task.await.unwrap_or_else(|error| checks::SetupResult {
                    value: Err(Stop::CouldNotRun(
                        CouldNotRun::Defect,
                        format!("the set-up was lost: {error}"),
                    )),
                    attempt: 1,
                })
            };
            setups
                .started
                .insert(setup.id, (shared.boxed().shared(), abort));
        }
        setups
    }

    /// Those of `needs` that were started.
    fn of(&self, needs: &[&'static Setup]) -> Vec<(&'static str, SharedSetup)> {
        needs
            .iter()
            .filter_map(|s| Some((s.id, self.started.get(s.id)?.0.clone())))
            .collect()
    }

    /// Ends those that are still on their way.
    async fn stop(&self) {
        for (_, abort) in self.started.values() {
            abort.abort();
        }
        for (shared, _) in self.started.values() {
            shared.clone().await;
        }
    }

    /// The digest of the suite's image, as a node reported it.
    fn image_digest(&self) -> Option<String> {
        let made = self.started.get(checks::IMAGE.id)?.0.peek()?;
        let id = made.value.as_ref().ok()?["imageID"].as_str()?;
        (!id.is_empty()).then(|| id.to_owned())
    }
}

async fn make(
    shop: Arc<Shop>,
    setup: &'static Setup,
    needs: Vec<(&'static str, SharedSetup)>,
) -> checks::SetupResult {
    let attempt = shop.attempt;
    let facts = &shop.context.facts;
    let component = setup.id.split('/').nth(1).unwrap_or_default();
    if component != "run" && !facts.components.contains_key(component) {
        return checks::SetupResult {
            value: Err(absent(component, facts)),
            attempt,
        };
    }
    let mut made = BTreeMap::new();
    let mut image = None;
    for (id, need) in needs {
        if id == checks::IMAGE.id {
            image = Some(need);
        } else {
            made.insert(id, need.await);
        }
    }
    // What all of a run's pods ask for at once, a small cluster does not have. The image's pod takes no place: those that hold
    // one wait for it.
    let _place = if setup.id == checks::IMAGE.id {
        None
    } else {
        Some(shop.places.setups.acquire().await)
    };
    shop.say(Event::SetupStarted(setup.id.into()));
    let begin = |made: &BTreeMap<&'static str, checks::SetupResult>| {
        let limit = shop.context.extended(setup.limit);
        let session = Session::live(Arc::clone(&shop.door), setup.id, attempt, limit);
        Cx::new(session, Arc::clone(&shop.context), made.clone())
    };
    let mut cx = begin(&made);
    let mut value = None;
    if let Some(image) = image {
        let image = {
            let making = std::pin::pin!(guarded(setup.make(&cx)));
            match select(making, image).await {
                Either::Left((done, image)) => {
                    value = Some(done);
                    image.await
                }
                Either::Right((image, making)) => {
                    if image.value.is_ok() {
                        value = Some(making.await);
                    }
                    image
                }
            }
        };
        if image.value.is_err() {
            // What was begun without knowing that no pod can run says nothing.
            value = None;
        }
        made.insert(checks::IMAGE.id, image);
        if value.is_none() {
            cx = begin(&made);
        }
    }
    let value = match value {
        Some(value) => value,
        None => guarded(setup.make(&cx)).await,
    };
    let mut value = value.map(Arc::new);
    let started = cx.session.started_ms();
    let ended = cx.session.now_ms();
    let uses = made.iter().map(|(id, of)| ((*id).to_owned(), of.attempt));
    let mut evidence = cx.session.evidence(&shop.context.id, uses.collect());
    let own = Made::all(&evidence.exchanges);
    if matches!(value, Err(Stop::Failed(_))) {
        let mut all = own.clone();
        all.extend(shop.made_by(&plan::built_on(setup.needs)));
        evidence.collected = shop.collect(&cx, &all).await;
    }
    shop.made
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .insert(setup.id, own);
    let place = shop.record(&evidence).unwrap_or_else(|error| {
        value = Err(not_written(&error));
        None
    });
    let mut result = model::SetupResult {
        id: setup.id.to_owned(),
        outcome: model::Outcome::Passed,
        message: None,
        started: shop.at(started),
        seconds: model::seconds(Duration::from_millis(ended - started)),
        evidence: place,
    };
    end(&mut result, &value);
    if let Err(error) = shop.line(&Line::Setup(Box::new(result.clone()))) {
        value = Err(not_written(&error));
        end(&mut result, &value);
    }
    shop.setups
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .push(result.clone());
    shop.say(Event::SetupFinished(Box::new(result)));
    checks::SetupResult { value, attempt }
}

/// Says of a set-up how it ended.
fn end(result: &mut model::SetupResult, value: &Outcome<Arc<Value>>) {
    result.outcome = model::Outcome::from(value);
    result.message = value
        .as_ref()
        .err()
        .map(|stop| bounded(stop.message(), MAX_TEXT, "the evidence").into_owned());
}

/// What is not written down cannot be looked at again, and counts for nothing.
fn not_written(error: &io::Error) -> Stop {
    Stop::CouldNotRun(
        CouldNotRun::NotWritten,
        format!("what was found cannot be written: {error}"),
    )
}

async fn check(
    shop: &Shop,
    planned: &Planned,
    needs: Vec<(&'static str, SharedSetup)>,
    stop: Option<Stop>,
    limit: Duration,
    to_come: Option<&ToCome>,
) -> CheckResult {
    let id = planned.check.id;
    let mut setups = BTreeMap::new();
    if stop.is_none() {
        for (id, need) in needs {
            setups.insert(id, need.await);
        }
    }
    // Of a set-up that failed the same is collected there.
    let sound = setups.values().all(|setup| setup.value.is_ok());
    // A check that waits for a set-up holds no place; the semaphore is never closed.
    let place = shop.places.checks.acquire().await;
    let session = Session::live(Arc::clone(&shop.door), id, shop.attempt, limit);
    let cx = Cx::new(session, Arc::clone(&shop.context), setups);
    // What was never to run is no check that others wait for.
    let to_come = to_come.filter(|_| stop.is_none());
    let outcome = if let Some(stop) = stop {
        Err(stop)
    } else {
        shop.say(Event::CheckStarted(id.into()));
        guarded(planned.check.prove(&cx)).await
    };
    let started = cx.session.started_ms();
    let ended = cx.session.now_ms();
    let mut evidence = cx.session.evidence(&shop.context.id, cx.uses());
    if matches!(outcome, Err(Stop::Failed(_))) && sound {
        let mut made = Made::all(&evidence.exchanges);
        made.extend(shop.made_by(&plan::built_on(planned.check.needs)));
        evidence.collected = shop.collect(&cx, &made).await;
    }
    drop(place);
    if let Some(to_come) = to_come {
        let made = Made::all(&evidence.exchanges);
        evidence.removed = shop.sweep(&cx, planned, made, to_come).await;
    }
    let (place, outcome) = match shop.record(&evidence) {
        Ok(place) => (place, outcome),
        Err(error) => (None, Err(not_written(&error))),
    };
    let mut result = result_of(
        &planned.requirement,
        shop.at(started),
        Duration::from_millis(ended - started),
    )
    .ended(&outcome);
    result.evidence = place;
    if result.outcome == model::Outcome::Failed {
        result.known_deviation = known_deviation(&planned.requirement, &shop.context.facts);
    }
    result
}

/// Runs a plugin beside the checks. What is not written down counts as no report.
async fn run_plugin(shop: &Shop, plugin: &Plugin, ready: bool) -> PluginResult {
    let session = Session::live(
        Arc::clone(&shop.door),
        plugins::id(plugin),
        shop.attempt,
        plugins::limit(plugin),
    );
    let cx = Cx::new(session, Arc::clone(&shop.context), BTreeMap::new());
    let started = shop.at(cx.session.started_ms());
    let mut result = plugins::run(&cx, plugin, ready, started).await;
    let evidence = cx.session.evidence(&shop.context.id, Vec::new());
    match shop.record(&evidence) {
        Ok(place) => result.evidence = place,
        Err(error) => {
            result.message = Some(not_written(&error).message().to_owned());
            result.report = PluginReport::default();
        }
    }
    result
}

/// A result with nothing in it yet but the requirement.
fn result_of(requirement: &Requirement, started: Timestamp, took: Duration) -> CheckResult {
    CheckResult {
        id: requirement.id.clone(),
        component: requirement.component().as_str().to_owned(),
        level: match requirement.level {
            crate::spec::Level::Core => model::Level::Core,
            crate::spec::Level::Extended => model::Level::Extended,
        },
        title: requirement.title.clone(),
        outcome: model::Outcome::Passed,
        reason: None,
        message: None,
        expected: None,
        observed: None,
        last_state: None,
        started,
        seconds: model::seconds(took),
        attempts: Vec::new(),
        evidence: None,
        known_deviation: None,
    }
}

/// The upstream defect that explains a failure on the versions that were found.
pub fn known_deviation(requirement: &Requirement, facts: &Facts) -> Option<model::KnownDeviation> {
    requirement.deviations.iter().find_map(|deviation| {
        let version = facts
            .components
            .get(deviation.component.as_str())?
            .version
            .as_deref()?;
        let version = cluster::discover::semver_of(version)?;
        deviation
            .versions
            .matches(&version)
            .then(|| model::KnownDeviation {
                issue: deviation.issue.clone(),
                summary: deviation.says.clone(),
            })
    })
}

/// The settings of the configuration that go into each pod's spec.
fn pod_settings(config: &Config) -> serde_json::Map<String, Value> {
    let mut pod = serde_json::Map::new();
    if !config.tolerations.is_empty() {
        pod.insert(
            "tolerations".to_owned(),
            Value::Array(config.tolerations.clone()),
        );
    }
    if !config.node_selector.is_empty() {
        pod.insert("nodeSelector".to_owned(), json!(config.node_selector));
    }
    if !config.image_pull_secrets.is_empty() {
        let secrets = config
            .image_pull_secrets
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        pod.insert("imagePullSecrets".to_owned(), Value::Array(secrets));
    }
    pod
}

/// What an interrupted run left in its folder.
struct Kept {
    context: RunContext,
    results: Results,
    checks: Vec<CheckResult>,
    setups: Vec<model::SetupResult>,
    plugins: Vec<PluginResult>,
    /// What earlier attempts at other checks gave.
    again: Vec<CheckResult>,
    attempt: u32,
    /// The digest of the configuration that it was begun with; a result that is complete does not have it any more.
    configuration: Option<String>,
}

impl Kept {
    fn read(options: &RunOptions) -> Result<Self, EngineError> {
        let out = options.out.clone().unwrap_or_default();
        let unusable = |error: String| EngineError::resume(options, error);
        let results =
            Results::read(&out.join(model::RESULTS_FILE)).map_err(|e| unusable(e.to_string()))?;
        if results.run.complete {
            return Err(unusable(
                "it came to its end; start another with `kfconform run`".to_owned(),
            ));
        }
        let no_journal = |e| unusable(format!("there is no journal of an unfinished run ({e})"));
        let context = Journal::read_context(&out).map_err(no_journal)?;
        let configuration = Journal::read_configuration(&out).map_err(no_journal)?;
        if results.suite.version != env!("CARGO_PKG_VERSION")
            || results.suite.specs_digest != options.specs.digest()
        {
            return Err(unusable(format!(
                "it was begun by version {} with other specs; finish it with that version",
                results.suite.version
            )));
        }
        let lines = Journal::lines(&out).map_err(|e| unusable(e.to_string()))?;
        let (mut checks, mut setups, mut again) = (Vec::new(), Vec::new(), Vec::new());
        let mut plugins = Vec::new();
        for line in lines {
            match line {
                Line::Check(check) => checks.push(*check),
                Line::Setup(setup) => setups.push(*setup),
                Line::Again(check) => again.push(*check),
                Line::Plugin(plugin) => plugins.push(*plugin),
            }
        }
        let evidence = checks
            .iter()
            .chain(&again)
            .filter_map(|c: &CheckResult| c.evidence.as_ref())
            .chain(
                setups
                    .iter()
                    .filter_map(|s: &model::SetupResult| s.evidence.as_ref()),
            );
        let attempt = evidence
            .filter_map(|e| {
                e.path
                    .trim_end_matches(".json")
                    .rsplit_once('@')?
                    .1
                    .parse::<u32>()
                    .ok()
            })
            .max()
            .unwrap_or(1);
        Ok(Self {
            context,
            results,
            checks,
            setups,
            plugins,
            again,
            attempt: attempt.saturating_add(1),
            configuration,
        })
    }
}

impl Kept {
    /// Puts what the run was begun with in the place of what the options say.
    fn take_over(&self, options: &mut RunOptions) -> Result<(), EngineError> {
        let run = &self.results.run;
        options.id.clone_from(&self.context.id);
        options.profile.clone_from(&run.profile);
        options.release = Some(run.release.clone());
        options.only.clone_from(&run.selection.only);
        options.skip.clone_from(&run.selection.skip);
        options.faults.clone_from(&run.faults);
        options.arguments.clone_from(&run.arguments);
        options.timeouts = Timeouts::of(&self.context.timeouts);
        // What the configuration says is private, so that it is not kept; it is given again.
        let config = &mut options.config;
        let digest = config.digest(&options.id);
        if self
            .configuration
            .as_ref()
            .is_some_and(|was| *was != digest)
        {
            let error = "it was begun with another configuration; give that one, unchanged, with --config (or none, if \
                         there was none)";
            return Err(EngineError::resume(options, error.to_owned()));
        }
        let redactor = Redactor::new(config.secrets());
        let own = own_namespace_of(&options.id);
        let wanted = config.namespace.as_ref().unwrap_or(&own);
        if redactor.text(wanted) != self.context.namespace {
            if config.namespace.is_some() || self.context.namespace.contains(REDACTED) {
                return Err(EngineError::resume(
                    options,
                    format!(
                        "it works in namespace {}, not in the configured one",
                        self.context.namespace
                    ),
                ));
            }
            config.namespace = Some(self.context.namespace.clone());
        }
        if redactor.text(&options.image) != self.context.image {
            if self.context.image.contains(REDACTED) {
                let error = "`redact` took the name of its image out of it, so that it cannot be gone on with; start another \
                             with `kfconform run`";
                return Err(EngineError::resume(options, error.to_owned()));
            }
            options.image.clone_from(&self.context.image);
        }
        Ok(())
    }

    /// Whether the cluster is the one that the run was begun on.
    fn is_of(&self, options: &RunOptions, facts: &Facts) -> Result<(), EngineError> {
        let reference = self.results.run.target == model::Target::Reference;
        if reference != options.reference {
            let what = if reference {
                "it was begun on the embedded reference"
            } else {
                "it was begun on a cluster, not on the reference"
            };
            return Err(EngineError::resume(options, what.to_owned()));
        }
        let (before, now) = (&self.context.facts.cluster_digest, &facts.cluster_digest);
        if !reference && !before.is_empty() && !now.is_empty() && before != now {
            return Err(EngineError::resume(
                options,
                "it was begun on another cluster; name that one with --kubeconfig and --context"
                    .to_owned(),
            ));
        }
        match self.context.facts.differs(facts) {
            Some(what) => Err(EngineError::resume(
                options,
                format!(
                    "what was found on the cluster has changed since ({what}), and a result is of one installation; start another with `kfconform run`"
                ),
            )),
            None => Ok(()),
        }
    }
}

/// The result while it grows.
struct Draft {
    results: Results,
    /// What earlier attempts gave at checks that are made again.
    again: HashMap<String, CheckResult>,
    out: Option<PathBuf>,
    order: Vec<String>,
    saved: std::time::Instant,
}

impl Draft {
    fn new(
        options: &RunOptions,
        plan: &Plan,
        context: &RunContext,
        started: Timestamp,
        kept: Option<&Kept>,
    ) -> Self {
        let facts = &context.facts;
        let mut timeouts = IndexMap::new();
        for named in checks::timeouts::ALL {
            timeouts.insert(
                named.name.to_owned(),
                model::seconds(options.timeouts.get(named.name)),
            );
        }
        let results = Results {
            api_version: model::ApiVersion::V1,
            kind: model::Kind::Results,
            suite: model::Suite {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: option_env!("KFCONFORM_COMMIT").map(ToOwned::to_owned),
                binary_digest: binary_digest(),
                specs_digest: options.specs.digest().to_owned(),
                specs_overridden: options.specs_overridden,
            },
            run: model::Run {
                id: context.id.clone(),
                started,
                finished: options.clock.now(),
                target: if options.reference {
                    model::Target::Reference
                } else {
                    model::Target::Cluster
                },
                profile: plan.profile.clone(),
                release: plan.release.as_str().to_owned(),
                arguments: options.arguments.clone(),
                complete: false,
                jobs: u32::try_from(options.jobs).unwrap_or(u32::MAX),
                faults: options.faults.clone(),
                selection: model::Selection {
                    only: options.only.clone(),
                    skip: options.skip.clone(),
                },
                timeouts,
                planned: plan.ids(),
                resumed: kept.map(|kept| model::Resumed {
                    at: options.clock.origin(),
                    kept: kept.checks.iter().map(|c| c.id.clone()).collect(),
                }),
            },
            cluster: cluster_of(facts),
            components: components(plan, facts),
            verdict: model::Verdict::Incomplete,
            reasons: Vec::new(),
            totals: IndexMap::new(),
            checks: kept.map(|kept| kept.checks.clone()).unwrap_or_default(),
            setups: Vec::new(),
            plugins: kept.map(|kept| kept.plugins.clone()).unwrap_or_default(),
            features: features(facts),
            images: vec![model::Image {
                name: context.image.clone(),
                digest: kept.and_then(|kept| kept.results.images.first()?.digest.clone()),
            }],
            leftovers: Vec::new(),
            timing: model::Timing::default(),
            submittable: false,
            not_submittable_because: Vec::new(),
        };
        let again = kept.map(|kept| kept.again.as_slice()).unwrap_or_default();
        Self {
            results,
            again: again.iter().map(|c| (c.id.clone(), c.clone())).collect(),
            out: options.out.clone(),
            order: plan.ids(),
            saved: std::time::Instant::now(),
        }
    }

    fn update(&mut self, shop: &Shop) {
        let place: HashMap<&str, usize> = self
            .order
            .iter()
            .enumerate()
            .map(|(i, id)| (id.as_str(), i))
            .collect();
        self.results
            .checks
            .sort_by_key(|c| place.get(c.id.as_str()).copied().unwrap_or(usize::MAX));
        let mut setups = shop
            .setups
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        setups.sort_by(|a, b| a.id.cmp(&b.id));
        self.results.setups = setups;
        let wanted = &shop.context.plugins;
        let place = |name: &str| wanted.iter().position(|plugin| plugin.name == name);
        self.results
            .plugins
            .sort_by_key(|plugin| place(&plugin.name));
        self.results.run.finished = shop.at(shop.door.now_ms());
        // All that is made of a result, its pages and its signature, is made of this.
        self.results = shop.door.redactor().written(&self.results);
        self.results.judge();
    }

    /// Takes a check's result in, and writes what there is so far at most once a second.
    fn add(&mut self, shop: &Shop, mut result: CheckResult) {
        if let Some(earlier) = self.again.remove(&result.id) {
            result.attempts = earlier.into_attempts(&self.results.run.id);
        }
        if let Err(error) = shop.line(&Line::Check(Box::new(result.clone()))) {
            result = result.ended(&Err(not_written(&error)));
        }
        shop.say(Event::CheckFinished(Box::new(result.clone())));
        self.results.checks.push(result);
        if self.saved.elapsed() >= Duration::from_secs(1)
            && let Err(error) = self.write(shop)
        {
            tracing::error!(%error, "cannot write the unfinished result");
        }
    }

    /// Takes in what a plugin reported.
    fn add_plugin(&mut self, shop: &Shop, mut result: PluginResult) {
        if let Err(error) = shop.line(&Line::Plugin(Box::new(result.clone()))) {
            result.message = Some(not_written(&error).message().to_owned());
            result.report = PluginReport::default();
        }
        let said = match &result.message {
            Some(why) => format!("no report: {why}"),
            None => "reported".to_owned(),
        };
        shop.say(Event::Notice(format!("plugin {}: {said}", result.name)));
        self.results.plugins.push(result);
    }

    /// Writes the unfinished result.
    fn write(&mut self, shop: &Shop) -> io::Result<()> {
        self.saved = std::time::Instant::now();
        self.update(shop);
        match &self.out {
            Some(out) => self
                .results
                .write(&out.join(model::RESULTS_FILE))
                .map_err(io::Error::other),
            None => Ok(()),
        }
    }

    fn finish(mut self, shop: &Shop) -> io::Result<Results> {
        self.update(shop);
        if let Some(out) = &self.out {
            let journal = shop
                .journal
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(journal) = journal.as_ref() {
                journal.pack(out)?;
            }
            self.results
                .write(&out.join(model::RESULTS_FILE))
                .map_err(io::Error::other)?;
            if self.results.run.complete {
                Journal::remove(out)?;
            }
        }
        Ok(self.results)
    }
}

/// What the result says of the cluster.
pub fn cluster_of(facts: &Facts) -> model::Cluster {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    model::Cluster {
        version: some(&facts.kubernetes),
        platform: some(&facts.platform),
        architecture: some(&facts.architectures.join(",")),
        id_digest: some(&facts.cluster_digest),
    }
}

/// What the result says of optional capabilities.
pub fn features(facts: &Facts) -> IndexMap<String, model::Feature> {
    let feature = |found: &cluster::discover::Feature| model::Feature {
        present: found.found,
        how: found.how.clone(),
    };
    let all = facts.features.iter();
    all.map(|(name, found)| (name.clone(), feature(found)))
        .collect()
}

/// What the result says of the components that the plan is about.
pub fn components(plan: &Plan, facts: &Facts) -> Vec<model::Component> {
    let mut names: Vec<&str> = Vec::new();
    for planned in &plan.items {
        let name = planned.requirement.component().as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
        .into_iter()
        .map(|name| match facts.components.get(name) {
            Some(found) => model::Component {
                name: name.to_owned(),
                version: found.version.clone(),
                endpoint_kind: Some(match &found.access {
                    None => model::EndpointKind::KubernetesApi,
                    Some(Access::Service { .. }) => model::EndpointKind::PortForward,
                    Some(Access::Url { .. }) => model::EndpointKind::Url,
                }),
                how_found: found.how.clone(),
            },
            None => model::Component {
                name: name.to_owned(),
                version: None,
                endpoint_kind: None,
                how_found: "it was not found".to_owned(),
            },
        })
        .collect()
}

/// SHA-256 of the running program, read once.
fn binary_digest() -> Option<String> {
    static DIGEST: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    DIGEST
        .get_or_init(|| {
            use sha2::{Digest, Sha256};
            // Piece by piece: a debug build is larger than all that a run needs.
            let mut program =
                io::BufReader::new(std::fs::File::open(std::env::current_exe().ok()?).ok()?);
            let mut digest = Sha256::new();
            loop {
                let piece = io::BufRead::fill_buf(&mut program).ok()?;
                if piece.is_empty() {
                    break;
                }
                digest.update(piece);
                let read = piece.len();
                io::BufRead::consume(&mut program, read);
            }
            Some(crate::digest::hex(&digest.finalize()))
        })
        .clone()
}

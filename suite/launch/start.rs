//! Launches, waits until the runner runs, and follows the run to its end.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::{sync::mpsc, time::Instant};

use super::{
    LAUNCH_LABEL, LaunchError, Launcher, Problem, Settings,
    link::Link,
    name_of,
    objects::{self, CLAIM_NAME, PARTS},
    wire::{Order, Phase, Report},
};
use crate::{
    cluster::kinds::{JOB, POD, SERVICE_ACCOUNT},
    engine::Event,
    outcome::shorten,
    report::{model::Verdict, text::one_line},
};

/// How often it is looked at what becomes of a pod that starts.
const LOOK: Duration = Duration::from_millis(150);
/// How long a problem that does not go away by itself may stay.
const GRACE: Duration = Duration::from_secs(15);
/// How long a pod that is there but cannot be reached is waited for.
const UNREACHED: Duration = Duration::from_secs(300);

/// The states of parts, in the order in which one of them is that of the whole.
const WORST: [State; 7] = [
    State::Lost,
    State::Broken,
    State::Starting,
    State::Running,
    State::Over,
    State::Stored,
    State::Retrieved,
];

/// A launch that is on the cluster.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its id, which is the run's.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// Of how many parts the run is made.
    pub parts: u32,
    /// The claim in which the result stays, if in one.
    pub claim: Option<String>,
    pub(super) job: Value,
}

/// How it is with a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The runner does not run yet.
    Starting,
    /// The run goes on.
    Running,
    /// The run is over, and its result waits to be retrieved.
    Over,
    /// The run is over, and its result stays on a volume.
    Stored,
    /// The result was retrieved.
    Retrieved,
    /// The pod that held the result is gone.
    Lost,
    /// The run came to no result.
    Broken,
}

/// How it is with a launch, for whoever asks.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The launch.
    pub id: String,
    /// Its namespace.
    pub namespace: String,
    /// How it is; of several parts, the least of them.
    pub state: State,
    /// Checks that ended.
    pub done: usize,
    /// All checks, as far as they are known.
    pub total: usize,
    /// What came of the run, where it is not made of parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What keeps it from going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The same in the cluster's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of how many parts the run is made.
    pub parts: u32,
}

/// What is seen of a part's pod.
pub(super) enum Seen {
    /// There is no pod, or none that runs; with why, if that is known.
    Waiting(Option<(Problem, String)>),
    /// The runner runs in this pod.
    Running(String),
    /// The pod ended, with this exit code and these last words.
    Ended(i64, String),
}

/// What came of a part of a run.
#[derive(Debug)]
pub(super) enum Part {
    /// It is over: its pod, and what the runner says.
    Over(Box<Report>),
    /// Its pod ended before anybody asked.
    Ended(i64, String),
}

impl Launcher {
    /// Puts a launch on the cluster. What was made is removed again where the whole cannot be.
    pub async fn launch(&self, order: &Order, settings: &Settings) -> Result<Launch, LaunchError> {
        match self.make(order.clone(), settings).await {
            Ok(job) => Ok(of_job(job)),
            Err(error) => {
                drop(
                    self.remove_objects(&order.id, &settings.namespace_of(&order.id), 1)
                        .await,
                );
                Err(error)
            }
        }
    }

    async fn make(&self, mut order: Order, settings: &Settings) -> Result<Value, LaunchError> {
        let mut made = Value::Null;
        let count = objects::manifests(&order, &self.config, settings).len();
        for place in 0..count {
            let (kind, object) =
                objects::manifests(&order, &self.config, settings).swap_remove(place);
            made = self.api.create(&kind, &object).await?;
            if kind == SERVICE_ACCOUNT && order.parts > 1 {
                // The parts have one beginning, and of all clocks that of the API server is nearest to theirs.
                let at = made["metadata"]["creationTimestamp"].as_str();
                order.started = at.and_then(|at| at.parse().ok());
            }
        }
        Ok(made)
    }

    /// Finds a launch by its id, or the only one that there is.
    pub async fn find(
        &self,
        id: Option<&str>,
        namespace: Option<&str>,
    ) -> Result<Launch, LaunchError> {
        let selector = id.map_or_else(
            || LAUNCH_LABEL.to_owned(),
            |id| format!("{LAUNCH_LABEL}={id}"),
        );
        let jobs = self
            .api
            .list(&JOB, namespace.unwrap_or_default(), &selector)
            .await?;
        let place = namespace.map_or_else(String::new, |namespace| {
            format!(" in namespace {namespace}")
        });
        let mut jobs: Vec<Launch> = jobs.into_iter().map(of_job).collect();
        match (jobs.len(), id) {
            (1, _) => Ok(jobs.remove(0)),
            (0, Some(id)) => Err(LaunchError::Absent(format!(
                "there is no launch `{id}`{place}: it was deleted, or is on another cluster"
            ))),
            (0, None) => Err(LaunchError::Absent(format!("there is no launch{place}"))),
            _ => {
                let all: Vec<&str> = jobs.iter().map(|launch| launch.id.as_str()).collect();
                Err(LaunchError::Absent(format!(
                    "there are several launches{place}; name one: {}",
                    all.join(", ")
                )))
            }
        }
    }

    /// The pods of a launch.
    pub(super) async fn pods(&self, launch: &Launch) -> Result<Vec<Value>, LaunchError> {
        let selector = format!("{LAUNCH_LABEL}={}", launch.id);
        let mut pods = self.api.list(&POD, &launch.namespace, &selector).await?;
        pods.retain(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "Job");
        Ok(pods)
    }

    /// How it is with the pod of one part.
    pub(super) async fn seen(&self, launch: &Launch, part: u32) -> Result<Seen, LaunchError> {
        let pods = self.pods(launch).await?;
        let mine = pods.iter().filter(|pod| index_of(pod) == part);
        // Of several, the newest: the others are what it came for.
        let newest = mine.max_by_key(|pod| {
            pod["metadata"]["creationTimestamp"]
                .as_str()
                .map(ToOwned::to_owned)
        });
        let Some(pod) = newest else {
            return self.no_pod(launch).await;
        };
        let seen = self.seen_of(launch, pod).await?;
        let killed = matches!(seen, Seen::Ended(code, _) if code != 0 && !broken(code));
        // Its Job takes its time, ten seconds and more, before another pod goes on with what the volume keeps.
        if killed
            && launch.claim.is_some()
            && let Seen::Waiting(why) = self.no_pod(launch).await?
        {
            return Ok(Seen::Waiting(why));
        }
        Ok(seen)
    }

    async fn seen_of(&self, launch: &Launch, pod: &Value) -> Result<Seen, LaunchError> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        // A mesh may have put a container of its own beside it.
        let statuses = pod["status"]["containerStatuses"].as_array();
        let mut statuses = statuses.into_iter().flatten();
        let status = statuses.find(|status| status["name"] == "runner");
        let state = status.map_or(&Value::Null, |status| &status["state"]);
        if state["running"].is_object() {
            return Ok(Seen::Running(name.to_owned()));
        }
        if let Some(code) = state["terminated"]["exitCode"].as_i64() {
            let words = state["terminated"]["message"].as_str().unwrap_or_default();
            return Ok(Seen::Ended(code, short(words)));
        }
        let status = &pod["status"];
        if status["phase"] == "Failed" {
            let why = ["reason", "message"].map(|key| status[key].as_str().unwrap_or_default());
            return Ok(Seen::Ended(-1, short(&why.join(": "))));
        }
        let waiting = &state["waiting"];
        let message = || short(waiting["message"].as_str().unwrap_or_default());
        let problem = match waiting["reason"].as_str() {
            Some(
                reason @ ("ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "ImageInspectError"
                | "RegistryUnavailable"),
            ) => {
                let image = pod["spec"]["containers"][0]["image"]
                    .as_str()
                    .unwrap_or_default();
                Some((
                    Problem::ImagePull,
                    format!("{image}: {reason}: {}", message()),
                ))
            }
            Some(
                reason @ ("CreateContainerConfigError"
                | "CreateContainerError"
                | "RunContainerError"),
            ) => Some((Problem::Configuration, format!("{reason}: {}", message()))),
            _ => unscheduled(pod),
        };
        if problem.is_some() {
            return Ok(Seen::Waiting(problem));
        }
        // A volume that cannot be mounted shows in events alone.
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let events = self.api.about(&launch.namespace, uid).await?;
        let mount = events.iter().rev().find(|event| {
            matches!(
                event["reason"].as_str(),
                Some("FailedMount" | "FailedAttachVolume")
            )
        });
        Ok(Seen::Waiting(mount.map(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            (Problem::Configuration, short(message))
        })))
    }

    /// Why a Job has no pod that runs, or may run yet.
    async fn no_pod(&self, launch: &Launch) -> Result<Seen, LaunchError> {
        let uid = launch.job["metadata"]["uid"].as_str().unwrap_or_default();
        let Some(job) = self
            .api
            .get(&JOB, &launch.namespace, &name_of(&launch.id))
            .await?
        else {
            return Ok(Seen::Ended(-1, "the Job was deleted".to_owned()));
        };
        let conditions = job["status"]["conditions"].as_array();
        let failed = conditions.into_iter().flatten().find(|condition| {
            matches!(condition["type"].as_str(), Some("Failed" | "Complete"))
                && condition["status"] == "True"
        });
        if let Some(failed) = failed {
            let words = ["reason", "message"].map(|key| failed[key].as_str().unwrap_or_default());
            return Ok(Seen::Ended(-1, short(&words.join(": "))));
        }
        let events = self.api.about(&launch.namespace, uid).await?;
        let refused = events
            .iter()
            .rev()
            .find(|event| event["reason"] == "FailedCreate");
        Ok(Seen::Waiting(refused.map(|event| {
            let message = event["message"].as_str().unwrap_or_default();
            (problem_of(message), short(message))
        })))
    }

    /// Waits until every part's runner runs, or ended. Problems are told as they show.
    pub async fn until_started(&self, launch: &Launch, limit: Duration) -> Result<(), LaunchError> {
        for part in 0..launch.parts {
            self.until_part_started(launch, part, limit).await?;
        }
        Ok(())
    }

    async fn until_part_started(
        &self,
        launch: &Launch,
        part: u32,
        limit: Duration,
    ) -> Result<(), LaunchError> {
        let began = Instant::now();
        let mut since: Option<(Problem, Instant)> = None;
        let mut last = None;
        loop {
            match self.seen(launch, part).await? {
                Seen::Running(_) | Seen::Ended(0, _) => return Ok(()),
                Seen::Ended(code, words) => {
                    return Err(LaunchError::NotStarted {
                        problem: Problem::Ended,
                        message: format!("exit code {code}: {words}"),
                    });
                }
                Seen::Waiting(Some((problem, message))) => {
                    if since.is_none_or(|(known, _)| known != problem) {
                        self.says(format!("{}: {message}", problem.code()));
                        since = Some((problem, Instant::now()));
                    }
                    last = Some(message);
                }
                Seen::Waiting(None) => since = None,
            }
            if let Some((problem, at)) = since
                && (!problem.may_pass() && at.elapsed() >= GRACE || began.elapsed() >= limit)
            {
                return Err(LaunchError::NotStarted {
                    problem,
                    message: last.unwrap_or_default(),
                });
            }
            if began.elapsed() >= limit {
                return Err(LaunchError::NotStarted {
                    problem: Problem::TimedOut,
                    message: format!("the pod does not run after {} s", limit.as_secs()),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Follows the run to its end; its events go where the launcher's go.
    pub async fn follow(&self, launch: &Launch) -> Result<(), LaunchError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let relay = tokio::spawn(relay(receiver, launch.parts, self.events.clone()));
        let parts = (0..launch.parts).map(|part| {
            let sender = sender.clone();
            async move {
                self.follow_part(launch, part, |event| drop(sender.send((part, event))))
                    .await
            }
        });
        let ended = futures::future::join_all(parts).await;
        drop(sender);
        drop(relay.await);
        for part in ended {
            match part? {
                Part::Over(report) => over(&report)?,
                Part::Ended(code, words) => lost(launch, code, &words)?,
            }
        }
        Ok(())
    }

    /// Follows one part to its end, over breaks of the way.
    async fn follow_part(
        &self,
        launch: &Launch,
        part: u32,
        mut hear: impl FnMut(Event),
    ) -> Result<Part, LaunchError> {
        let mut next = 0;
        let mut broken: Option<Instant> = None;
        let mut pod_was = String::new();
        loop {
            let why = match self.seen(launch, part).await? {
                Seen::Ended(code, words) => return Ok(Part::Ended(code, words)),
                Seen::Waiting(why) => why.map_or_else(
                    || "there is no pod that runs".to_owned(),
                    |(problem, message)| format!("{}: {message}", problem.code()),
                ),
                Seen::Running(pod) => {
                    if pod != pod_was {
                        // Another pod goes on with the run, and tells of it from its own beginning.
                        next = 0;
                        pod_was.clone_from(&pod);
                    }
                    match self.hear_out(launch, &pod, &mut next, &mut hear).await {
                        Ok(report) => return Ok(Part::Over(Box::new(report))),
                        Err(why) => why.0,
                    }
                }
            };
            let since = *broken.get_or_insert_with(|| {
                self.says(format!(
                    "nothing is heard of the run: {}; trying again",
                    shorten(&one_line(&why), 200)
                ));
                Instant::now()
            });
            if since.elapsed() > UNREACHED {
                return Err(LaunchError::Silent {
                    server: format!("{}/{pod_was}", launch.namespace),
                    seconds: since.elapsed().as_secs(),
                    why: shorten(&one_line(&why), 300),
                });
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn hear_out(
        &self,
        launch: &Launch,
        pod: &str,
        next: &mut usize,
        hear: &mut impl FnMut(Event),
    ) -> Result<Report, super::link::Cut> {
        let link = Link::open(&self.api, &launch.namespace, pod).await?;
        link.events(next, hear).await?;
        let report = link.report().await?;
        if report.phase == Phase::Running {
            return Err(super::link::Cut(
                "the stream of events ended early".to_owned(),
            ));
        }
        Ok(report)
    }

    /// How it is with a launch.
    pub async fn status(&self, launch: &Launch) -> Result<Status, LaunchError> {
        let mut status = Status {
            id: launch.id.clone(),
            namespace: launch.namespace.clone(),
            state: State::Retrieved,
            done: 0,
            total: 0,
            verdict: None,
            problem: None,
            message: None,
            parts: launch.parts,
        };
        let mut states = Vec::new();
        for part in 0..launch.parts {
            states.push(match self.seen(launch, part).await? {
                Seen::Waiting(why) => {
                    if let Some((problem, message)) = why {
                        status.problem = Some(problem);
                        status.message = Some(message);
                    }
                    State::Starting
                }
                Seen::Ended(0, _) if launch.claim.is_some() => State::Stored,
                Seen::Ended(0, _) => State::Retrieved,
                Seen::Ended(code, words) => {
                    let state = if broken(code) && launch.claim.is_none() {
                        State::Broken
                    } else {
                        State::Lost
                    };
                    status.message = Some(words);
                    state
                }
                Seen::Running(pod) => match self.report_of(launch, &pod).await {
                    Ok(report) => {
                        status.done += report.done;
                        status.total += report.total;
                        if launch.parts == 1 {
                            status.verdict = report.verdict;
                        }
                        status.message = report.message.or(status.message);
                        match report.phase {
                            Phase::Running => State::Running,
                            Phase::Over => State::Over,
                            Phase::Broken => State::Broken,
                        }
                    }
                    Err(why) => {
                        status.message =
                            Some(format!("the runner does not answer: {}", short(&why.0)));
                        State::Running
                    }
                },
            });
        }
        status.state = WORST
            .into_iter()
            .find(|state| states.contains(state))
            .unwrap_or(State::Starting);
        Ok(status)
    }

    pub(super) async fn report_of(
        &self,
        launch: &Launch,
        pod: &str,
    ) -> Result<Report, super::link::Cut> {
        Link::open(&self.api, &launch.namespace, pod)
            .await?
            .report()
            .await
    }

    /// What the runners printed, pod by pod.
    pub async fn logs(
        &self,
        launch: &Launch,
        follow: bool,
        mut print: impl FnMut(&str) -> bool,
    ) -> Result<(), LaunchError> {
        use futures::AsyncBufReadExt;
        let mut pods = self.pods(launch).await?;
        pods.sort_by_key(index_of);
        if pods.is_empty() {
            return Err(LaunchError::Absent(format!(
                "launch `{}` has no pod (yet)",
                launch.id
            )));
        }
        for pod in &pods {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let mut log = Box::pin(self.api.log(&launch.namespace, name, follow).await?);
            let prefix = if launch.parts > 1 {
                format!("[{}] ", index_of(pod))
            } else {
                String::new()
            };
            let mut line = Vec::new();
            loop {
                line.clear();
                match log.read_until(b'\n', &mut line).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {
                        let text = String::from_utf8_lossy(&line);
                        if !print(&format!("{prefix}{}\n", text.trim_end_matches('\n'))) {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether an exit code is one with which a runner says that there is no result.
pub(super) fn broken(code: i64) -> bool {
    (1..=3).contains(&code)
}

/// What it means that a runner is over.
pub(super) fn over(report: &Report) -> Result<(), LaunchError> {
    match report.phase {
        Phase::Broken => Err(LaunchError::Broken {
            code: report.code.unwrap_or(3),
            message: report.message.clone().unwrap_or_default(),
        }),
        Phase::Running | Phase::Over => Ok(()),
    }
}

/// What it means that a pod ended before its result was taken.
pub(super) fn lost(launch: &Launch, code: i64, words: &str) -> Result<(), LaunchError> {
    if launch.claim.is_some() && code == 0 {
        return Ok(());
    }
    if broken(code) {
        return Err(LaunchError::Broken {
            code: u8::try_from(code).unwrap_or(3),
            message: words.to_owned(),
        });
    }
    let why = match (code, words) {
        (0, _) => "it was retrieved already, or nobody took it in time".to_owned(),
        (-1, words) => format!("the pod is gone ({words})"),
        (code, words) => format!("the pod ended with {code} ({words})"),
    };
    Err(LaunchError::Lost {
        id: launch.id.clone(),
        why,
    })
}

fn of_job(job: Value) -> Launch {
    let metadata = &job["metadata"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let annotations = &metadata["annotations"];
    Launch {
        id: text(&metadata["labels"][LAUNCH_LABEL]),
        namespace: text(&metadata["namespace"]),
        parts: annotations[PARTS]
            .as_str()
            .and_then(|parts| parts.parse().ok())
            .unwrap_or(1)
            .clamp(1, 64),
        claim: annotations[CLAIM_NAME].as_str().map(ToOwned::to_owned),
        job,
    }
}

/// Which part of the run a pod makes.
pub(super) fn index_of(pod: &Value) -> u32 {
    let index = &pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"];
    index
        .as_str()
        .and_then(|index| index.parse().ok())
        .unwrap_or(0)
}

fn unscheduled(pod: &Value) -> Option<(Problem, String)> {
    let conditions = pod["status"]["conditions"].as_array();
    let condition = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?;
    let message = condition["message"].as_str().unwrap_or_default();
    // A claim that is not there keeps a pod from every node, and none will ever take it.
    let problem = if message.contains("persistentvolumeclaim") && message.contains("not found") {
        Problem::Configuration
    } else {
        Problem::Unschedulable
    };
    Some((problem, short(message)))
}

/// Which problem the Job controller's words are about.
pub(super) fn problem_of(message: &str) -> Problem {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&[
        "exceeded quota",
        "failed quota",
        "maximum cpu",
        "maximum memory",
        "minimum cpu",
        "minimum memory",
        "limit to request ratio",
    ]) {
        Problem::Quota
    } else if has(&[
        "violates PodSecurity",
        "admission webhook",
        "denied the request",
        "ValidatingAdmissionPolicy",
        "security context constraint",
    ]) {
        Problem::Admission
    } else {
        Problem::PodRefused
    }
}

fn short(text: &str) -> String {
    shorten(&one_line(text.trim()), 500)
}

/// Makes one stream of events of those of the parts.
async fn relay(
    mut from: mpsc::UnboundedReceiver<(u32, Event)>,
    parts: u32,
    to: mpsc::UnboundedSender<Event>,
) {
    let mut planned = vec![None; parts as usize];
    let (mut discovered, mut ready, mut interrupted, mut cleaning) = (false, false, false, false);
    let mut early = Vec::new();
    let say = |event| drop(to.send(event));
    while let Some((part, event)) = from.recv().await {
        match event {
            Event::Planned { total, kept } => {
                if let Some(place) = planned.get_mut(part as usize) {
                    *place = Some((total, kept));
                }
                if planned.iter().all(Option::is_some) {
                    let sum = |of: fn(&(usize, usize)) -> usize| {
                        planned.iter().flatten().map(of).sum::<usize>()
                    };
                    say(Event::Planned {
                        total: sum(|(total, _)| *total),
                        kept: sum(|(_, kept)| *kept),
                    });
                    early.drain(..).for_each(say);
                }
            }
            Event::Discovered(_) if std::mem::replace(&mut discovered, true) => {}
            Event::NamespaceReady(_) if std::mem::replace(&mut ready, true) => {}
            Event::Interrupted if std::mem::replace(&mut interrupted, true) => {}
            Event::CleaningUp if std::mem::replace(&mut cleaning, true) => {}
            // The whole is over when the last part is; what it is, the result says.
            Event::Finished(_) if parts > 1 => {}
            // Nothing is counted before it is known how much there is.
            event @ (Event::CheckFinished(_) | Event::CheckStarted(_))
                if planned.iter().any(Option::is_none) =>
            {
                early.push(event);
            }
            event => say(event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_named() {
        for (message, problem) in [
            (
                "Error creating: pods \"a-1\" is forbidden: exceeded quota: q, requested: pods=1",
                Problem::Quota,
            ),
            (
                "Error creating: pods \"a\" is forbidden: maximum memory usage per Container is 64Mi, but limit is 1Gi",
                Problem::Quota,
            ),
            (
                "Error creating: pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": x",
                Problem::Admission,
            ),
            (
                "Error creating: admission webhook \"v.example\" denied the request: no",
                Problem::Admission,
            ),
            (
                "Error creating: pods \"a\" is forbidden: error looking up service account",
                Problem::PodRefused,
            ),
        ] {
            assert_eq!(problem_of(message), problem, "{message}");
        }
    }
}

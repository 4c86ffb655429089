//! The metrics collector: put beside the container that trains, it reads what that printed and reports it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::FutureExt;
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    super::kube::{
        ContainerStart, Key, Operation, Program, World,
        resources::{JOBS, NAMESPACES, PODS},
    },
    IMAGES, INJECTION_LABEL, METRICS_COLLECTORS, SUGGESTIONS, TRIAL_LABEL, TRIALS, VERSION,
    database::{Database, Measurement},
    early_stopping, text,
};

/// Name of the sidecar for standard output and files.
const SIDECAR: &str = "metrics-logger-and-collector";
/// Where standard output is written for the sidecar to read.
const LOG: &str = "/var/log/katib/metrics.log";
/// How often a trial that may be stopped early is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How metrics are written unless a filter says otherwise.
const FORMAT: &str = r"([\w|-]+)\s*=\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)";

/// Which containers that train have ended, as the collectors beside them see it in the process table: exit codes, by the
/// uid of their pod.
#[derive(Debug)]
pub(super) struct Processes(watch::Sender<HashMap<String, i64>>);

impl Default for Processes {
    fn default() -> Self {
        Self(watch::channel(HashMap::new()).0)
    }
}

/// Makes the images of Katib available: the collector that works, and the servers that need only be there.
pub(super) fn offer(world: &World, database: &Arc<Database>, processes: &Arc<Processes>) {
    let idle: Program = Arc::new(|container: ContainerStart| {
        async move {
            container.stop.stopped().await;
            0
        }
        .boxed()
    });
    let servers = SUGGESTIONS.iter().map(|(_, image)| *image);
    for image in servers.chain(["katib-controller"]) {
        world.offer(&format!("{IMAGES}/{image}"), idle.clone());
    }
    let manager = super::database::manager(world, database);
    world.offer(&format!("{IMAGES}/katib-db-manager"), manager);
    let (database, processes) = (database.clone(), processes.clone());
    let of = world.clone();
    let collects: Program = Arc::new(move |container| {
        collect(of.clone(), container, database.clone(), processes.clone()).boxed()
    });
    world.offer(&format!("{IMAGES}/{}", METRICS_COLLECTORS[0].1), collects);
}

/// Puts the collector into the pods of trials.
pub(super) fn webhook(world: &World) {
    let of = world.clone();
    world.mutating(&PODS, &[Operation::Create], move |request| {
        let mut pod = request.object;
        if let Some(trial) = trial_of(&of, &request.namespace, &pod) {
            inject(&of, &mut pod, &trial);
        }
        async move { Ok(pod) }
    });
}

/// The trial whose job a pod belongs to, in a namespace that Katib works in.
fn trial_of(world: &World, namespace: &str, pod: &Value) -> Option<Arc<Value>> {
    let labels = &world.find(&NAMESPACES, "", namespace)?["metadata"]["labels"];
    if labels[INJECTION_LABEL] != "enabled" {
        return None;
    }
    let owner = |object: &Value, kind: &str| {
        let owners = object["metadata"]["ownerReferences"].as_array()?;
        let owner = owners.iter().find(|o| o["kind"] == kind)?;
        owner["name"].as_str().map(str::to_owned)
    };
    let job = world.find(&JOBS, namespace, &owner(pod, "Job")?)?;
    world.find(&TRIALS, namespace, &owner(&job, "Trial")?)
}

fn inject(world: &World, pod: &mut Value, trial: &Value) {
    let name = text(trial, "name");
    for (key, value) in trial["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
    {
        pod["metadata"]["labels"][key] = value.clone();
    }
    pod["metadata"]["labels"][TRIAL_LABEL] = json!(name);
    let spec = &trial["spec"];
    let primary = &spec["primaryContainerName"];
    let containers = pod["spec"]["containers"].as_array_mut();
    let Some(containers) = containers else { return };
    let Some(container) = containers.iter_mut().find(|c| c["name"] == *primary) else {
        return;
    };
    push(
        &mut container["env"],
        json!({
            "name": "KATIB_TRIAL_NAME",
            "valueFrom": {"fieldRef": {"fieldPath": format!("metadata.labels['{TRIAL_LABEL}']")}},
        }),
    );
    let kind = spec["metricsCollector"]["collector"]["kind"]
        .as_str()
        .unwrap_or_default();
    let file = &spec["metricsCollector"]["source"]["fileSystemPath"];
    let (path, mut format) = match kind {
        "StdOut" => (LOG, "TEXT"),
        "Push" if world.has_fault("katib/metrics/takes-pushed:collector") => (LOG, "TEXT"),
        "File" => (
            file["path"].as_str().unwrap_or(LOG),
            file["format"].as_str().unwrap_or("TEXT"),
        ),
        _ => return,
    };
    if world.has_fault("katib/metrics/reads-json-file") {
        format = "TEXT";
    }
    let directory = path
        .rsplit_once('/')
        .map_or("/", |(directory, _)| directory);
    let mount = json!({"name": "metrics-volume", "mountPath": directory});
    push(&mut container["volumeMounts"], mount.clone());
    wrap(container, (kind == "StdOut").then_some(path), directory);

    let objective = &spec["objective"];
    let mut metrics = vec![
        objective["objectiveMetricName"]
            .as_str()
            .unwrap_or_default(),
    ];
    let more = objective["additionalMetricNames"].as_array();
    metrics.extend(more.into_iter().flatten().filter_map(Value::as_str));
    let mut args = vec![
        "-t".to_owned(),
        name.to_owned(),
        "-m".to_owned(),
        metrics.join(";"),
        "-path".to_owned(),
        path.to_owned(),
        "-format".to_owned(),
        format.to_owned(),
    ];
    let filters = spec["metricsCollector"]["source"]["filter"]["metricsFormat"].as_array();
    if kind == "File" && format == "TEXT" && world.has_fault("katib/metrics/reads-text-file") {
        args.extend(["-missed".to_owned(), "1".to_owned()]);
    }
    if spec["earlyStoppingRules"].is_array() && !world.has_fault("katib/algorithm/stops-early") {
        args.extend([
            "-stop-rules".to_owned(),
            spec["earlyStoppingRules"].to_string(),
        ]);
    }
    let unfiltered = world.has_fault("katib/metrics/filters");
    if let Some(filters) = filters.filter(|f| !f.is_empty() && !unfiltered) {
        let filters: Vec<&str> = filters.iter().filter_map(Value::as_str).collect();
        args.extend(["-f".to_owned(), filters.join(";")]);
    }
    containers.push(json!({
        "name": SIDECAR,
        "image": format!("{IMAGES}/{}:{VERSION}", METRICS_COLLECTORS[0].1),
        "imagePullPolicy": "IfNotPresent",
        "args": args,
        "volumeMounts": [mount],
    }));
    pod["spec"]["shareProcessNamespace"] = json!(true);
    push(
        &mut pod["spec"]["volumes"],
        json!({"name": "metrics-volume", "emptyDir": {}}),
    );
}

/// Appends to a list that may not be there yet.
fn push(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

/// Rewrites a container's command as Katib does: through a shell, its output into a file, a mark when it is done.
fn wrap(container: &mut Value, output: Option<&str>, directory: &str) {
    let words = |key: &str| -> Vec<String> {
        let list = container[key].as_array();
        let list = list.into_iter().flatten();
        list.filter_map(|w| w.as_str().map(str::to_owned)).collect()
    };
    let mut words: Vec<String> = [words("command"), words("args")].concat();
    let mut command = vec!["sh".to_owned(), "-c".to_owned()];
    let shell = matches!(words.as_slice(), [shell, flag, ..] if (shell == "sh" || shell == "bash") && flag == "-c");
    if shell {
        command = words.drain(..2).collect();
    }
    if let Some(path) = output {
        words.push(format!("1>{path} 2>&1"));
    }
    words.push(format!("&& echo completed > {directory}/$$$$.pid"));
    container["command"] = json!(command);
    container["args"] = json!([words.join(" ")]);
}

/// Tells the collectors which of the containers that they wait for have ended.
pub(super) fn watch(world: &World, key: &Key, processes: &Processes) {
    let Some(pod) = world.find(&PODS, &key.namespace, &key.name) else {
        return;
    };
    let Some(trial) = pod["metadata"]["labels"][TRIAL_LABEL].as_str() else {
        return;
    };
    let Some(trial) = world.find(&TRIALS, &key.namespace, trial) else {
        return;
    };
    let primary = &trial["spec"]["primaryContainerName"];
    let statuses = pod["status"]["containerStatuses"].as_array();
    let status = statuses
        .into_iter()
        .flatten()
        .find(|s| s["name"] == *primary);
    let code = status.and_then(|s| s["state"]["terminated"]["exitCode"].as_i64());
    if let Some(code) = code {
        let uid = text(&pod, "uid").to_owned();
        processes
            .0
            .send_if_modified(|ended| ended.insert(uid, code) != Some(code));
    }
}

/// The value of an argument.
fn option<'a>(args: &'a [String], flag: &str) -> Option<&'a str> {
    let mut pairs = args.windows(2);
    let pair = pairs.find(|pair| pair[0] == flag)?;
    Some(&pair[1])
}

/// What was measured by now; none where it cannot be read.
fn read(container: &ContainerStart) -> Result<Vec<Measurement>, &'static str> {
    let of = |flag: &str| option(&container.args, flag);
    let metrics: Vec<&str> = of("-m").unwrap_or_default().split(';').collect();
    let filters: Vec<&str> = of("-f").map_or_else(|| vec![FORMAT], |f| f.split(';').collect());
    let file = of("-path").and_then(|path| container.path(path));
    let printed = file.and_then(|file| std::fs::read_to_string(file).ok());
    let printed = printed.ok_or("failed to open the file")?;
    let found = match of("-format") {
        Some("JSON") => parse_json(&printed, &metrics),
        _ => Some(parse_text(&printed, &metrics, &filters)),
    };
    let missed = of("-missed").and_then(|count| count.parse().ok());
    let found = found.ok_or("failed to parse the json object")?;
    Ok(found.into_iter().skip(missed.unwrap_or(0)).collect())
}

/// Returns when a trial meets one of the rules by which it is stopped.
async fn worse(world: &World, container: &ContainerStart) {
    let rules = option(&container.args, "-stop-rules");
    let Some(rules) = rules.and_then(|rules| serde_json::from_str(rules).ok()) else {
        return std::future::pending().await;
    };
    loop {
        if read(container).is_ok_and(|printed| early_stopping::is_met(&rules, &printed)) {
            return;
        }
        world.clock().sleep(LOOK).await;
    }
}

/// What the collector's container does.
async fn collect(
    world: World,
    container: ContainerStart,
    database: Arc<Database>,
    processes: Arc<Processes>,
) -> i32 {
    let uid = container.pod_uid.clone();
    let mut ended = processes.0.subscribe();
    let code = tokio::select! {
        () = container.stop.stopped() => return 143,
        () = worse(&world, &container) => None,
        found = ended.wait_for(|ended| ended.contains_key(&uid)) => match found {
            Ok(ended) => Some(ended.get(&uid).copied().unwrap_or(1)),
            Err(_) => return 143,
        },
    };
    let trial = option(&container.args, "-t").unwrap_or_default();
    if code.is_none() {
        database.report(trial, read(&container).unwrap_or_default());
        let stopped = early_stopping::stop(&world, &container.namespace, trial).await;
        return i32::from(stopped.is_err());
    }
    if code != Some(0) {
        container
            .log
            .line("Failed to wait for worker container: the main process did not complete");
        return 1;
    }
    let mut found = match read(&container) {
        Ok(found) => found,
        Err(why) => {
            container
                .log
                .line(&format!("Failed to collect logs: {why}"));
            return 1;
        }
    };
    let metrics = option(&container.args, "-m").unwrap_or_default();
    let objective = metrics.split(';').next().unwrap_or_default();
    if !found.iter().any(|m| m.name == objective) {
        found = vec![Measurement {
            time: Timestamp::UNIX_EPOCH,
            name: objective.to_owned(),
            value: "unavailable".to_owned(),
        }];
    }
    database.report(trial, found);
    0
}

fn parse_text(printed: &str, metrics: &[&str], filters: &[&str]) -> Vec<Measurement> {
    let patterns: Vec<Regex> = filters.iter().filter_map(|f| Regex::new(f).ok()).collect();
    let mut found = Vec::new();
    for line in printed.lines() {
        let first = line.split_once(' ').map(|(first, _)| first);
        let time = first
            .and_then(|t| t.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        for pattern in &patterns {
            for groups in pattern.captures_iter(line) {
                let of = |i: usize| groups.get(i).map_or("", |m| m.as_str().trim());
                if metrics.contains(&of(1)) {
                    found.push(Measurement {
                        time,
                        name: of(1).to_owned(),
                        value: of(2).to_owned(),
                    });
                }
            }
        }
    }
    found
}

/// None where a line is not a JSON object. Only texts are values.
fn parse_json(printed: &str, metrics: &[&str]) -> Option<Vec<Measurement>> {
    let mut found = Vec::new();
    for line in printed.lines().filter(|line| !line.is_empty()) {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line).ok()?;
        let time = object.get("timestamp").and_then(Value::as_str);
        let time = time
            .and_then(|t| t.parse().ok())
            .unwrap_or(Timestamp::UNIX_EPOCH);
        for name in metrics {
            if let Some(value) = object.get(*name).and_then(Value::as_str) {
                found.push(Measurement {
                    time,
                    name: (*name).to_owned(),
                    value: value.to_owned(),
                });
            }
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(found: &[Measurement]) -> Vec<String> {
        found
            .iter()
            .map(|m| format!("{}={}@{}", m.name, m.value, m.time.as_second()))
            .collect()
    }

    #[test]
    fn text_is_read_by_the_documented_format() {
        let printed = "epoch 1\nacc = 0.1 loss=1e-3\n1970-01-01T00:00:09Z acc=-2\nother=5\n";
        let found = parse_text(printed, &["acc", "loss"], &[FORMAT]);
        assert_eq!(shown(&found), ["acc=0.1@0", "loss=1e-3@0", "acc=-2@9"]);
        let found = parse_text("acc is 4", &["acc"], &["([a-z]+) is ([0-9]+)"]);
        assert_eq!(shown(&found), ["acc=4@0"]);
    }

    #[test]
    fn json_values_are_texts() {
        let found = parse_json("{\"acc\": \"0.5\", \"loss\": 1}\n", &["acc", "loss"]).unwrap();
        assert_eq!(shown(&found), ["acc=0.5@0"]);
        assert!(parse_json("acc=1", &["acc"]).is_none());
    }

    #[test]
    fn a_command_is_put_through_a_shell() {
        let mut container =
            json!({"command": ["kfconform", "workload", "trial"], "args": ["--exit", "0"]});
        wrap(&mut container, Some(LOG), "/var/log/katib");
        assert_eq!(container["command"], json!(["sh", "-c"]));
        assert_eq!(
            container["args"],
            json!([
                "kfconform workload trial --exit 0 1>/var/log/katib/metrics.log 2>&1 && echo completed > /var/log/katib/$$$$.pid"
            ])
        );
        let mut container = json!({"command": ["sh", "-c", "( a; b )"]});
        wrap(&mut container, None, "/d");
        assert_eq!(
            container["args"],
            json!(["( a; b ) && echo completed > /d/$$$$.pid"])
        );
    }
}

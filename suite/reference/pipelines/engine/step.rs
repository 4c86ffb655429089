//! One step: a container of the suite's image, as a task of this process.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard},
};

use futures::FutureExt;
use serde_json::{Value, json};

use super::{
    Cached, End, Ended, Execution, Values,
    flow::{keys, plain},
    locked,
};
use crate::{
    reference::pipelines::is_our_image,
    workload::{self, Context},
};

/// The largest file that is kept of a step, in bytes.
const LARGEST_FILE: u64 = 8 << 20;

impl Execution {
    /// What a step gave before, in this run or, where it may be taken from the cache, in another; else the step.
    pub(super) async fn known_or_step(
        &self,
        name: &str,
        task: &Value,
        component: &Value,
        executor: &Value,
        inputs: &Values,
    ) -> Ended {
        let given = json!([inputs.parameters, inputs.artifacts]);
        let same = format!("{name} {given}");
        if let Some(outputs) = self.before.get(&same).cloned() {
            return Ended {
                end: End::Succeeded,
                outputs,
            };
        }
        let broken = |fault: &str| self.server.broken(&format!("execution/{fault}"));
        let caches =
            task["cachingOptions"]["enableCache"] == true || broken("runs-again-without-cache");
        let counted = if broken("cache-minds-inputs") {
            Value::Null
        } else {
            // A file counts by its name, not by where it is.
            json!([
                inputs.parameters,
                keys(&Value::Object(inputs.artifacts.clone()))
            ])
        };
        let pipeline = &self.spec["pipelineInfo"]["name"];
        let key = json!([
            pipeline,
            executor["container"],
            component["outputDefinitions"],
            counted
        ]);
        let key = key.to_string();
        let usable = caches && !broken("reuses-cached-results");
        if let Some(cached) = usable.then(|| self.server.cached(&key)).flatten() {
            self.objects().extend(cached.objects);
            return Ended {
                end: End::Succeeded,
                outputs: cached.outputs,
            };
        }
        let ended = self.step(name, component, executor, inputs).await;
        if ended.end == End::Succeeded {
            let outputs = ended.outputs.clone();
            locked(&self.results.steps).insert(same, outputs.clone());
            if caches {
                let uris: Vec<&str> = outputs
                    .artifacts
                    .values()
                    .filter_map(Value::as_str)
                    .collect();
                let objects = self.objects();
                let objects = objects
                    .iter()
                    .filter(|(uri, _)| uris.contains(&uri.as_str()));
                let objects = objects
                    .map(|(uri, bytes)| (uri.clone(), bytes.clone()))
                    .collect();
                self.server.keep(key, Cached { outputs, objects });
            }
        }
        ended
    }

    /// One step: a container of the suite's image.
    async fn step(
        &self,
        name: &str,
        component: &Value,
        executor: &Value,
        inputs: &Values,
    ) -> Ended {
        let container = &executor["container"];
        let image = container["image"].as_str().unwrap_or_default();
        if !is_our_image(image) {
            // Its pod waits for an image that nobody has.
            self.stop.stopped().await;
            return Ended::without_outputs(End::Failed);
        }
        let root = self.directory.0.join(self.server.uid());
        let outputs = &component["outputDefinitions"];
        let parameters: Vec<&String> = keys(&outputs["parameters"]);
        let artifacts: Vec<&String> = keys(&outputs["artifacts"]);
        let parameter_path = |key: &str| format!("/tmp/kfp/outputs/{key}");
        let uri = |key: &str| {
            format!(
                "minio://mlpipeline/v2/artifacts/{}/{name}/{}/{key}",
                self.run,
                self.server.uid()
            )
        };
        let uris: BTreeMap<&str, String> = artifacts
            .iter()
            .map(|key| (key.as_str(), uri(key)))
            .collect();
        let mut marks: Vec<(String, String)> = Vec::new();
        for (key, value) in &inputs.parameters {
            let items = value
                .as_array()
                .filter(|_| self.server.broken("execution/passes-all-types"));
            let text = match items {
                Some(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
                None => plain(value),
            };
            marks.push((format!("{{{{$.inputs.parameters['{key}']}}}}"), text));
        }
        for (key, uri) in &inputs.artifacts {
            let uri = uri.as_str().unwrap_or_default();
            let path = path_of(uri);
            let bytes = self.objects().get(uri).cloned().unwrap_or_default();
            let bytes = if self.server.broken("run/passes-artifacts") {
                Vec::new()
            } else {
                bytes
            };
            if let Err(error) = write(&inside(&root, Path::new(&path)), &bytes) {
                tracing::warn!(%error, "an artifact cannot be written");
                return Ended::without_outputs(End::Failed);
            }
            marks.push((
                format!("{{{{$.inputs.artifacts['{key}'].uri}}}}"),
                uri.to_owned(),
            ));
            marks.push((format!("{{{{$.inputs.artifacts['{key}'].path}}}}"), path));
        }
        for key in &parameters {
            marks.push((
                format!("{{{{$.outputs.parameters['{key}'].output_file}}}}"),
                parameter_path(key),
            ));
        }
        for (key, uri) in &uris {
            marks.push((
                format!("{{{{$.outputs.artifacts['{key}'].uri}}}}"),
                uri.clone(),
            ));
            marks.push((
                format!("{{{{$.outputs.artifacts['{key}'].path}}}}"),
                path_of(uri),
            ));
        }
        let words = ["command", "args"]
            .iter()
            .flat_map(|key| container[*key].as_array().into_iter().flatten());
        let argv: Vec<String> = words
            .map(|word| {
                let word = word.as_str().unwrap_or_default().to_owned();
                marks
                    .iter()
                    .fold(word, |word, (mark, value)| word.replace(mark, value))
            })
            .collect();
        let env = container["env"].as_array().into_iter().flatten();
        let env = env.filter(|_| !self.server.broken("execution/sets-environment"));
        let mut env: BTreeMap<String, String> = env
            .map(|pair| (plain(&pair["name"]), plain(&pair["value"])))
            .collect();
        let label = component["executorLabel"].as_str().unwrap_or_default();
        env.extend(self.platform_env(&self.platform[label]));
        if let Err(error) = self.mount(&root, container, &self.platform[label]) {
            tracing::warn!(%error, "a volume cannot be mounted");
            return Ended::without_outputs(End::Failed);
        }
        let code = workload::run(argv, self.context(root.clone(), env)).await;
        if code != 0 {
            return Ended::without_outputs(End::Failed);
        }
        let mut given = Values::default();
        for key in parameters {
            let kind = outputs["parameters"][key.as_str()]["parameterType"].as_str();
            let file = inside(&root, Path::new(&parameter_path(key)));
            match read(&file)
                .ok()
                .and_then(|bytes| typed(&bytes, kind.unwrap_or_default()))
            {
                Some(value) => given.parameters.insert(key.clone(), value),
                None => return Ended::without_outputs(End::Failed),
            };
        }
        for (key, uri) in uris {
            let bytes = read(&inside(&root, Path::new(&path_of(&uri)))).unwrap_or_default();
            self.objects().insert(uri.clone(), bytes);
            given.artifacts.insert(key.to_owned(), uri.into());
        }
        Ended {
            end: End::Succeeded,
            outputs: given,
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        locked(&self.results.objects)
    }

    fn context(&self, root: PathBuf, env: BTreeMap<String, String>) -> Context {
        let no_ports = || io::Error::other("a step opens no ports here");
        let log: workload::Sink = Arc::new(|line| tracing::trace!(line, "a step says"));
        Context {
            arguments: Vec::new(),
            env,
            listen: Arc::new(move |_| async move { Err(no_ports()) }.boxed()),
            resolve: Arc::new(|_| None),
            map_path: Arc::new(move |path| inside(&root, path)),
            out: log.clone(),
            err: log,
            stop: self.stop.clone(),
            clock: *self.server.clock(),
        }
    }
}

/// What a step left in a file, as a value of its type; none when it is not one.
fn typed(bytes: &[u8], kind: &str) -> Option<Value> {
    let text = std::str::from_utf8(bytes).ok()?;
    match kind {
        "NUMBER_INTEGER" => text.trim().parse::<i64>().ok().map(Value::from),
        "NUMBER_DOUBLE" => text.trim().parse::<f64>().ok().map(Value::from),
        "BOOLEAN" => text
            .trim()
            .to_lowercase()
            .parse::<bool>()
            .ok()
            .map(Value::Bool),
        "LIST" => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_array),
        "STRUCT" => serde_json::from_str::<Value>(text)
            .ok()
            .filter(Value::is_object),
        _ => Some(text.into()),
    }
}

/// Where the object of an URI is in a container.
fn path_of(uri: &str) -> String {
    format!("/{}", uri.replacen("://", "/", 1))
}

/// A path of a container, inside of the directory that is its file system.
pub(super) fn inside(root: &Path, path: &Path) -> PathBuf {
    let parts = path
        .components()
        .filter(|part| matches!(part, std::path::Component::Normal(_)));
    root.join(parts.collect::<PathBuf>())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, bytes)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(LARGEST_FILE)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A directory that goes with its execution.
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(id: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("kfconform-run-{id}"));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary directory; nobody is left to tell.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

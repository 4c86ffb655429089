//! What Kubernetes adds to a step's container: variables, volumes, limits.

use std::{collections::BTreeMap, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use super::{
    Execution,
    flow::plain,
    step::{inside, write},
};
use crate::reference::kube::Resource;

const CLAIMS: Resource = Resource::new("", "persistentvolumeclaims");

/// Where a container reads its memory's limit, and its mounts.
const MEMORY: &str = "/sys/fs/cgroup/memory.max";
const MOUNTS: &str = "/proc/self/mounts";

/// What variables and files of a pod can come from.
struct Source {
    kind: Resource,
    /// Whether its texts are in base64.
    encoded: bool,
    /// What names it in a platform specification: the old key, and the newer one.
    name: (&'static str, &'static str),
    /// The key of the variables, and of one variable's key in it.
    as_env: &'static str,
    env_key: &'static str,
    /// The key of the volumes.
    as_volume: &'static str,
    /// The faults that lose the one and the other.
    env_fault: &'static str,
    volume_fault: &'static str,
}

const MAP: Source = Source {
    kind: Resource::new("", "configmaps"),
    encoded: false,
    name: ("configMapName", "configMapNameParameter"),
    as_env: "configMapAsEnv",
    env_key: "configMapKey",
    as_volume: "configMapAsVolume",
    env_fault: "execution/reads-config-maps",
    volume_fault: "execution/mounts-config-maps",
};
const SECRET: Source = Source {
    kind: Resource::new("", "secrets"),
    encoded: true,
    name: ("secretName", "secretNameParameter"),
    as_env: "secretAsEnv",
    env_key: "secretKey",
    as_volume: "secretAsVolume",
    env_fault: "execution/reads-secrets",
    volume_fault: "execution/mounts-secrets",
};

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

impl Execution {
    /// The variables that a pod gets from config maps, from secrets and from itself.
    pub(super) fn platform_env(&self, executor: &Value) -> Vec<(String, String)> {
        let broken = |fault: &str| self.server.broken(fault);
        let mut env = Vec::new();
        for source in [&MAP, &SECRET] {
            for asked in list(executor, source.as_env) {
                let data = self.data(source, asked);
                for pair in list(asked, "keyToEnv") {
                    let key = pair[source.env_key].as_str().unwrap_or_default();
                    if let Some(value) = data.get(key).filter(|_| !broken(source.env_fault)) {
                        env.push((plain(&pair["envVar"]), value.clone()));
                    }
                }
            }
        }
        for field in list(executor, "fieldPathAsEnv") {
            let path = field["fieldPath"].as_str().unwrap_or_default();
            let label = path
                .strip_prefix("metadata.labels['")
                .and_then(|l| l.strip_suffix("']"));
            let value = match (path, label) {
                (_, Some(_)) if broken("execution/labels-pods") => String::new(),
                (_, Some(label)) => plain(&executor["podMetadata"]["labels"][label]),
                ("metadata.namespace", _) => self.namespace.clone(),
                ("spec.serviceAccountName", _) if broken("run/is-executed-as-its-account") => {
                    "default".to_owned()
                }
                ("spec.serviceAccountName", _) => self.account.clone(),
                _ => String::new(),
            };
            env.push((plain(&field["name"]), value));
        }
        env
    }

    /// The texts of a config map or a secret that an entry of a platform specification names.
    fn data(&self, source: &Source, asked: &Value) -> BTreeMap<String, String> {
        let (old, new) = source.name;
        let name = asked[new]["runtimeValue"]["constant"].as_str();
        let name = name.or(asked[old].as_str()).unwrap_or_default();
        let world = self.server.world();
        let Some(found) = world.find(&source.kind, &self.namespace, name) else {
            return BTreeMap::new();
        };
        let data = found["data"].as_object().into_iter().flatten();
        data.filter_map(|(key, value)| {
            let text = value.as_str()?;
            let text = if source.encoded {
                String::from_utf8(BASE64.decode(text).ok()?).ok()?
            } else {
                text.to_owned()
            };
            Some((key.clone(), text))
        })
        .collect()
    }

    /// Puts into a container's directory what its pod mounts, and what it can read of its limits.
    pub(super) fn mount(&self, root: &Path, container: &Value, executor: &Value) -> io::Result<()> {
        let put = |path: &str, text: &str| write(&inside(root, Path::new(path)), text.as_bytes());
        let mut mounts = String::from("overlay / overlay rw 0 0\n");
        for source in [&MAP, &SECRET] {
            for asked in list(executor, source.as_volume) {
                let path = asked["mountPath"].as_str().unwrap_or_default();
                if self.server.broken(source.volume_fault) {
                    continue;
                }
                for (key, text) in self.data(source, asked) {
                    put(&format!("{path}/{key}"), &text)?;
                }
                mounts.push_str(&format!("tmpfs {path} tmpfs ro 0 0\n"));
            }
        }
        for asked in list(executor, "pvcMount") {
            let name = asked["pvcNameParameter"]["runtimeValue"]["constant"].as_str();
            let name = name.or(asked["constant"].as_str()).unwrap_or_default();
            let found = self.server.world().find(&CLAIMS, &self.namespace, name);
            if found.is_some() && !self.server.broken("execution/mounts-claims") {
                let path = asked["mountPath"].as_str().unwrap_or_default();
                mounts.push_str(&format!("/dev/disk {path} ext4 rw 0 0\n"));
            }
        }
        put(MOUNTS, &mounts)?;
        let limit = container["resources"]["memoryLimit"].as_f64();
        let limit = limit.filter(|_| !self.server.broken("execution/limits-memory"));
        // It is given in thousand millions of bytes.
        let limit = limit.map_or("max".to_owned(), |limit| format!("{:.0}", limit * 1e9));
        put(MEMORY, &format!("{limit}\n"))
    }
}

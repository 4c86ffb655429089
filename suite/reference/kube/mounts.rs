//! The files and the environment of containers: volumes as directories, references resolved.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::registry::resources::{CONFIG_MAPS, PERSISTENT_VOLUME_CLAIMS, SECRETS};
use super::store::Key;
use super::world::World;

/// The prepared volumes of a pod, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts(HashMap<String, PathBuf>);

impl Mounts {
    /// Where a container sees which directory or file, longest mount path first.
    pub(super) fn of(&self, container: &Value, env: &[(String, String)]) -> Vec<(String, PathBuf)> {
        let mut mounts = Vec::new();
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let name = mount["name"].as_str().unwrap_or_default();
            let (Some(path), Some(volume)) = (mount["mountPath"].as_str(), self.0.get(name)) else {
                continue;
            };
            let sub = match (mount["subPath"].as_str(), mount["subPathExpr"].as_str()) {
                (Some(sub), _) => sub.to_owned(),
                (None, Some(expression)) => expand(expression, env),
                (None, None) => String::new(),
            };
            let Some(real) = inside(volume, &sub) else {
                continue;
            };
            if !sub.is_empty() && !real.exists() && std::fs::create_dir_all(&real).is_err() {
                continue;
            }
            mounts.push((path.to_owned(), real));
        }
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        mounts
    }
}

/// A path below a directory, unless it leads out of it.
fn inside(directory: &Path, path: &str) -> Option<PathBuf> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Some(directory.to_owned());
    }
    let plain = path
        .split('/')
        .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'));
    plain.then(|| directory.join(path))
}

/// Makes the volumes of a pod.
///
/// # Errors
/// What is missing, as the kubelet says it.
pub(super) fn prepare(world: &World, pod: &Value) -> Result<Mounts, String> {
    let failed = |error: std::io::Error| format!("MountVolume.SetUp failed: {error}");
    let key = Key::of(pod);
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let mut found = Vec::new();
    for (index, volume) in pod["spec"]["volumes"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let name = volume["name"].as_str().unwrap_or_default();
        let root = world.directory().map_err(failed)?;
        let path = if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
            let claim = world
                .find(&PERSISTENT_VOLUME_CLAIMS, &key.namespace, claim)
                .filter(|claim| claim["status"]["phase"] == "Bound")
                .ok_or_else(|| {
                    format!("persistentvolumeclaim \"{claim}\" not found or not bound")
                })?;
            claim_directory(&root, &claim)
        } else {
            root.join("pods").join(uid).join(index.to_string())
        };
        found.push((name, path, files(world, pod, volume)?));
    }
    // Nothing is written before all is there: a pod may wait for a volume for as long as it lives.
    let mut mounts = Mounts::default();
    for (name, path, files) in found {
        std::fs::create_dir_all(&path).map_err(failed)?;
        for (file, bytes) in files {
            let Some(file) = inside(&path, &file) else {
                continue;
            };
            if let Some(parent) = file.parent() {
                std::fs::create_dir_all(parent).map_err(failed)?;
            }
            std::fs::write(file, bytes).map_err(failed)?;
        }
        mounts.0.insert(name.to_owned(), path);
    }
    Ok(mounts)
}

/// Where the content of a claim lies.
fn claim_directory(root: &Path, claim: &Value) -> PathBuf {
    root.join("claims")
        .join(claim["metadata"]["uid"].as_str().unwrap_or("unbound"))
}

/// Removes the volumes of a pod that were its own.
pub(super) fn remove(world: &World, uid: &str) {
    if let Ok(root) = world.directory() {
        // What stays is removed with the world.
        drop(std::fs::remove_dir_all(root.join("pods").join(uid)));
    }
}

/// Removes the content of a claim.
pub(super) fn remove_claim(world: &World, claim: &Value) {
    if let Ok(root) = world.directory() {
        drop(std::fs::remove_dir_all(claim_directory(&root, claim)));
    }
}

type Files = Vec<(String, Vec<u8>)>;

/// The files that a volume of configuration consists of.
fn files(world: &World, pod: &Value, volume: &Value) -> Result<Files, String> {
    if let Some(sources) = volume["projected"]["sources"].as_array() {
        let mut all = Vec::new();
        for source in sources {
            all.extend(source_files(world, pod, source)?);
        }
        return Ok(all);
    }
    source_files(world, pod, volume)
}

fn source_files(world: &World, pod: &Value, source: &Value) -> Result<Files, String> {
    let namespace = &Key::of(pod).namespace;
    for (key, resource, name) in [
        ("configMap", &CONFIG_MAPS, "name"),
        ("secret", &SECRETS, "secretName"),
    ] {
        let reference = &source[key];
        if !reference.is_object() {
            continue;
        }
        let name = reference[name]
            .as_str()
            .or_else(|| reference["name"].as_str())
            .unwrap_or_default();
        let Some(object) = world.find(resource, namespace, name) else {
            if reference["optional"] == true {
                return Ok(Vec::new());
            }
            return Err(format!(
                "MountVolume.SetUp failed for volume \"{}\" : {} \"{name}\" not found",
                source["name"].as_str().unwrap_or(key),
                key.to_lowercase()
            ));
        };
        let entries = entries(&object);
        let Some(items) = reference["items"].as_array() else {
            return Ok(entries);
        };
        let chosen = items.iter().filter_map(|item| {
            let (key, path) = (item["key"].as_str()?, item["path"].as_str()?);
            let (_, bytes) = entries.iter().find(|(name, _)| name == key)?;
            Some((path.to_owned(), bytes.clone()))
        });
        return Ok(chosen.collect());
    }
    let token = &source["serviceAccountToken"];
    if token.is_object() {
        let audiences: Vec<String> = token["audience"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .collect();
        let lifetime = Duration::from_secs(token["expirationSeconds"].as_u64().unwrap_or(3600));
        let account = pod["spec"]["serviceAccountName"]
            .as_str()
            .unwrap_or("default");
        let (token_text, _) = world
            .service_account_token(namespace, account, &audiences, lifetime)
            .map_err(|error| error.to_string())?;
        let path = token["path"].as_str().unwrap_or("token").to_owned();
        return Ok(vec![(path, token_text.into_bytes())]);
    }
    let items = source["downwardAPI"]["items"]
        .as_array()
        .into_iter()
        .flatten();
    Ok(items
        .filter_map(|item| {
            let path = item["path"].as_str()?.to_owned();
            let text = field(pod, item["fieldRef"]["fieldPath"].as_str()?, "")?;
            Some((path, text.into_bytes()))
        })
        .collect())
}

/// The data of a ConfigMap or a Secret.
fn entries(object: &Value) -> Files {
    let secret = object["kind"] == "Secret";
    let text = |key: &str, coded: bool| -> Files {
        let data = object[key].as_object().into_iter().flatten();
        data.filter_map(|(key, value)| {
            let value = value.as_str()?;
            let bytes = if coded {
                super::decode(value)?
            } else {
                value.as_bytes().to_vec()
            };
            Some((key.clone(), bytes))
        })
        .collect()
    };
    let mut all = text("data", secret);
    all.extend(text("binaryData", true));
    all
}

/// The environment of a container.
///
/// # Errors
/// Which reference leads nowhere.
pub(super) fn environment(
    world: &World,
    pod: &Value,
    container: &Value,
    address: &str,
) -> Result<Vec<(String, String)>, String> {
    let key = Key::of(pod);
    let server = world.address();
    let mut env = vec![
        ("HOSTNAME".to_owned(), key.name.clone()),
        (
            "KUBERNETES_SERVICE_HOST".to_owned(),
            server.ip().to_string(),
        ),
        (
            "KUBERNETES_SERVICE_PORT".to_owned(),
            server.port().to_string(),
        ),
    ];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for from in container["envFrom"].as_array().into_iter().flatten() {
        let prefix = from["prefix"].as_str().unwrap_or_default();
        for (reference, resource) in [
            (&from["configMapRef"], &CONFIG_MAPS),
            (&from["secretRef"], &SECRETS),
        ] {
            let Some(name) = reference["name"].as_str() else {
                continue;
            };
            match world.find(resource, &key.namespace, name) {
                Some(object) => env.extend(
                    entries(&object)
                        .into_iter()
                        .map(|(key, bytes)| (format!("{prefix}{key}"), text(&bytes))),
                ),
                None if reference["optional"] == true => {}
                None => {
                    return Err(format!(
                        "{} \"{name}\" not found",
                        resource.plural().trim_end_matches('s')
                    ));
                }
            }
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let Some(name) = variable["name"].as_str() else {
            continue;
        };
        let source = &variable["valueFrom"];
        let value = if source.is_object() {
            reference(world, pod, container, source, address)?
        } else {
            Some(expand(variable["value"].as_str().unwrap_or_default(), &env))
        };
        if let Some(value) = value {
            env.push((name.to_owned(), value));
        }
    }
    Ok(env)
}

fn reference(
    world: &World,
    pod: &Value,
    container: &Value,
    source: &Value,
    address: &str,
) -> Result<Option<String>, String> {
    let namespace = &Key::of(pod).namespace;
    for (kind, resource) in [
        ("configMapKeyRef", &CONFIG_MAPS),
        ("secretKeyRef", &SECRETS),
    ] {
        let reference = &source[kind];
        if !reference.is_object() {
            continue;
        }
        let text = |key: &str| reference[key].as_str().unwrap_or_default();
        let (name, key) = (text("name"), text("key"));
        let word = resource.plural().trim_end_matches('s');
        let object = world.find(resource, namespace, name);
        let found = object
            .as_ref()
            .and_then(|object| entries(object).into_iter().find(|(entry, _)| entry == key));
        return match (found, object) {
            (Some((_, bytes)), _) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            _ if reference["optional"] == true => Ok(None),
            (None, None) => Err(format!("{word} \"{name}\" not found")),
            (None, Some(_)) => Err(format!(
                "couldn't find key {key} in {word} {namespace}/{name}"
            )),
        };
    }
    if let Some(path) = source["fieldRef"]["fieldPath"].as_str() {
        return Ok(Some(field(pod, path, address).unwrap_or_default()));
    }
    if let Some(resource) = source["resourceFieldRef"]["resource"].as_str() {
        let (list, name) = resource.split_once('.').unwrap_or((resource, ""));
        let value = &container["resources"][list][name];
        return Ok(Some(
            value.as_str().map_or_else(|| "0".to_owned(), str::to_owned),
        ));
    }
    Ok(None)
}

/// A field of the pod, by the paths of the downward API.
fn field(pod: &Value, path: &str, address: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    match path {
        "spec.nodeName" => Some(super::bootstrap::NODE.to_owned()),
        "status.podIP" | "status.podIPs" => Some(address.to_owned()),
        "status.hostIP" | "status.hostIPs" => Some("127.0.0.1".to_owned()),
        "metadata.labels" | "metadata.annotations" => {
            let map = pod["metadata"][&path["metadata.".len()..]].as_object();
            let lines = map
                .into_iter()
                .flatten()
                .map(|(key, value)| format!("{key}={}", json!(value)));
            Some(lines.collect::<Vec<_>>().join("\n"))
        }
        _ => text(super::table::find(pod, &format!(".{path}"))?),
    }
}

/// Replaces `$(NAME)` by the value of a variable that is defined before; `$$` is a dollar sign.
pub(super) fn expand(text: &str, env: &[(String, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest
            .strip_prefix("$(")
            .and_then(|inner| inner.split_once(')'))
        {
            match env.iter().rev().find(|(key, _)| key == name) {
                Some((_, value)) => out.push_str(value),
                None => out.push_str(&rest[..name.len() + 3]),
            }
            rest = after;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// A list of texts with variables replaced.
pub(super) fn expanded(list: &Value, env: &[(String, String)]) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|text| expand(text, env))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_expanded() {
        let env = vec![
            ("A".to_owned(), "1".to_owned()),
            ("A".to_owned(), "2".to_owned()),
        ];
        assert_eq!(expand("x$(A)y $(B) $$(A) $ $(", &env), "x2y $(B) $(A) $ $(");
    }

    #[test]
    fn volumes_cannot_be_left() {
        let root = Path::new("/v");
        assert_eq!(inside(root, "/a/b/"), Some(PathBuf::from("/v/a/b")));
        for bad in ["..", "a/../../b", "a//b", "./a"] {
            assert_eq!(inside(root, bad), None, "{bad}");
        }
    }

    #[test]
    fn fields_of_the_pod_are_found() {
        let pod = json!({"metadata": {"name": "p", "labels": {"a/b.c": "d"}}, "spec": {"serviceAccountName": "s"}});
        assert_eq!(
            field(&pod, "metadata.labels['a/b.c']", ""),
            Some("d".to_owned())
        );
        assert_eq!(field(&pod, "metadata.name", ""), Some("p".to_owned()));
        assert_eq!(
            field(&pod, "spec.serviceAccountName", ""),
            Some("s".to_owned())
        );
        assert_eq!(
            field(&pod, "metadata.labels", ""),
            Some("a/b.c=\"d\"".to_owned())
        );
        assert_eq!(
            field(&pod, "status.podIP", "10.0.0.1"),
            Some("10.0.0.1".to_owned())
        );
    }
}

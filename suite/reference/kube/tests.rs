//! The embedded cluster as clients see it: through kube and through plain HTTP.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{
    Api, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams,
    WatchEvent, WatchParams,
};
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::clock::Clock;

/// Runs a few images: `server` answers every connection, `exit` ends with the code in its first argument, `print`
/// prints its arguments, `write` and `read` use the file in their first argument, `hold` waits to be stopped.
struct Images;

impl Runtime for Images {
    fn start(&self, start: ContainerStart) -> Result<Running, ImageError> {
        let name = start.image.clone();
        let known = ["server", "exit", "print", "write", "read", "hold", "env"];
        if !known.contains(&name.as_str()) {
            return Err(ImageError {
                image: name,
                cause: "not found".to_owned(),
            });
        }
        Ok(async move {
            let first = start.args.first().cloned().unwrap_or_default();
            match name.as_str() {
                "server" => serve(&start).await,
                "exit" => return first.parse().unwrap_or(1),
                "print" => start.args.iter().for_each(|line| start.log.line(line)),
                "write" => std::fs::write(start.path(&first).expect("is in a volume"), "written")
                    .expect("can write"),
                "read" => start.log.line(
                    &std::fs::read_to_string(start.path(&first).expect("is there")).expect("reads"),
                ),
                "env" => start
                    .args
                    .iter()
                    .for_each(|name| start.log.line(start.var(name).unwrap_or("-"))),
                _ => start.stop.stopped().await,
            }
            0
        }
        .boxed())
    }
}

async fn serve(start: &ContainerStart) {
    let listener = start
        .network
        .listen(start.ports[0])
        .await
        .expect("can listen");
    let body = format!("hello from {}", start.pod);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let accept = async {
        loop {
            let (mut stream, _) = listener.accept().await.expect("accepts");
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    };
    tokio::select! {
        () = start.stop.stopped() => {}
        () = accept => {}
    }
}

async fn world() -> World {
    crate::install_crypto();
    World::start(WorldOptions {
        runtime: Some(Arc::new(Images)),
        clock: Clock::scaled(20.0),
        ..WorldOptions::default()
    })
    .await
    .expect("starts")
}

fn client(world: &World) -> Client {
    client_with(world, world.admin_token())
}

fn client_with(world: &World, token: &str) -> Client {
    let mut config = Config::new(world.url().parse().expect("is a URL"));
    config.auth_info.token = Some(token.to_owned().into());
    Client::try_from(config).expect("is a client")
}

fn object<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("is such an object")
}

fn api_error<T: std::fmt::Debug>(result: Result<T, kube::Error>) -> (u16, String, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason, status.message),
        other => panic!("wanted a refusal, got {other:?}"),
    }
}

/// Waits until an object is as wanted; fails after ten seconds.
async fn until(
    world: &World,
    resource: &Resource,
    name: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Arc<Value> {
    let mut last = None;
    for _ in 0..1000 {
        last = world.find(resource, "default", name);
        if let Some(found) = last.as_ref().filter(|object| wanted(object)) {
            return found.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{resource} {name} never came to be as wanted: {last:#?}");
}

async fn gone(world: &World, resource: &Resource, namespace: &str, name: &str) {
    for _ in 0..1000 {
        if world.find(resource, namespace, name).is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "{resource} {name} is still there: {:#?}",
        world.find(resource, namespace, name)
    );
}

fn pod(name: &str, image: &str, args: &[&str], extra: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image, "args": args}]},
    });
    merge(&mut pod, &extra);
    pod
}

#[tokio::test]
async fn a_client_creates_reads_changes_and_deletes() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&world));
    let params = PostParams::default();
    let map: ConfigMap =
        object(json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"k": "v"}}));
    let created = maps.create(&params, &map).await.expect("is created");
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    assert_eq!(
        api_error(maps.create(&params, &map).await).1,
        "AlreadyExists"
    );
    let patch = json!({"data": {"k": null, "l": "w"}});
    let patched = maps
        .patch("a", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .expect("is patched");
    assert_eq!(
        patched
            .data
            .expect("has data")
            .into_keys()
            .collect::<Vec<_>>(),
        ["l"]
    );
    // The first version is stale now.
    let (code, reason, message) = api_error(maps.replace("a", &params, &created).await);
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(
        message.contains("the object has been modified"),
        "{message}"
    );
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"m": "1"}});
    let ssa = PatchParams::apply("tester").force();
    maps.patch("a", &ssa, &Patch::Apply(&apply))
        .await
        .expect("is applied");
    let apply = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"n": "1"}});
    let applied = maps
        .patch("a", &ssa, &Patch::Apply(&apply))
        .await
        .expect("is applied");
    assert_eq!(
        applied
            .data
            .expect("has data")
            .into_keys()
            .collect::<Vec<_>>(),
        ["l", "n"]
    );
    maps.patch("b", &ssa, &Patch::Apply(&apply))
        .await
        .expect("is created by apply");
    assert_eq!(
        maps.list(&ListParams::default().labels("x in (1,2)"))
            .await
            .expect("lists")
            .items
            .len(),
        1
    );
    maps.delete("a", &DeleteParams::default())
        .await
        .expect("is deleted");
    assert_eq!(api_error(maps.get("a").await).0, 404);
    assert_eq!(
        api_error(maps.delete("a", &DeleteParams::default()).await).2,
        "configmaps \"a\" not found"
    );
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&world));
    let map: ConfigMap = object(json!({"metadata": {"name": "a"}}));
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let shown = maps.create(&dry, &map).await.expect("is accepted");
    assert!(shown.metadata.uid.is_some() && shown.metadata.resource_version.is_none());
    assert_eq!(api_error(maps.get("a").await).0, 404);
    maps.create(&PostParams::default(), &map)
        .await
        .expect("is created");
    assert_eq!(api_error(maps.create(&dry, &map).await).0, 409);
    maps.delete(
        "a",
        &DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        },
    )
    .await
    .expect("is accepted");
    maps.get("a").await.expect("is still there");
}

#[tokio::test]
async fn lists_come_in_pages_of_one_snapshot() {
    let world = world().await;
    for index in 0..5 {
        world
            .create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": format!("s{index}")}}))
            .await
            .expect("is created");
    }
    let secrets: Api<Secret> = Api::default_namespaced(client(&world));
    let first = secrets
        .list(&ListParams::default().limit(2))
        .await
        .expect("lists");
    assert_eq!(
        (first.items.len(), first.metadata.remaining_item_count),
        (2, Some(3))
    );
    world
        .delete(&resources::SECRETS, "default", "s3")
        .await
        .expect("is deleted");
    let token = first.metadata.continue_.expect("goes on");
    let rest = secrets
        .list(&ListParams::default().continue_token(&token))
        .await
        .expect("lists");
    let names: Vec<_> = rest
        .items
        .into_iter()
        .filter_map(|s| s.metadata.name)
        .collect();
    assert_eq!(
        names,
        ["s2", "s3", "s4"],
        "the page shows what was there at first"
    );
}

#[tokio::test]
async fn watches_tell_changes_and_selections() {
    let world = world().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&world));
    let version = maps
        .list(&ListParams::default())
        .await
        .expect("lists")
        .metadata
        .resource_version
        .expect("has one");
    let stream = maps
        .watch(&WatchParams::default().labels("on=1"), &version)
        .await
        .expect("watches");
    let mut stream = stream.boxed();
    let labels = |value: &str| json!({"metadata": {"labels": {"on": value}}});
    world
        .create(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "w"}}))
        .await
        .expect("is created");
    for value in ["1", "0"] {
        world
            .patch_merge(&resources::CONFIG_MAPS, "default", "w", labels(value))
            .await
            .expect("is patched");
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        match stream.try_next().await.expect("goes on") {
            Some(WatchEvent::Added(_)) => seen.push("ADDED"),
            Some(WatchEvent::Deleted(_)) => seen.push("DELETED"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seen, ["ADDED", "DELETED"]);
    // What is too old is gone.
    for n in 0..5000 {
        let patch = json!({"data": {"n": n.to_string()}});
        world
            .patch_merge(&resources::CONFIG_MAPS, "default", "w", patch)
            .await
            .expect("is patched");
    }
    let mut stream = maps
        .watch(&WatchParams::default(), "2")
        .await
        .expect("watches")
        .boxed();
    match stream.try_next().await.expect("goes on") {
        Some(WatchEvent::Error(status)) => assert_eq!(status.code, 410),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reflector_follows() {
    let world = world().await;
    let api: Api<Pod> = Api::default_namespaced(client(&world));
    for config in [
        kube::runtime::watcher::Config::default(),
        kube::runtime::watcher::Config::default().streaming_lists(),
    ] {
        let mut stream = kube::runtime::watcher(api.clone(), config).boxed();
        loop {
            let event = tokio::time::timeout(Duration::from_secs(5), stream.try_next()).await;
            if matches!(
                event.expect("in time").expect("no error"),
                Some(kube::runtime::watcher::Event::InitDone)
            ) {
                break;
            }
        }
    }
}

fn toys() -> Crd {
    Crd::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "toys.example.org"},
        "spec": {"group": "example.org", "scope": "Namespaced", "names": {"kind": "Toy", "plural": "toys", "shortNames": ["ty"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "integer", "minimum": 1}, "colour": {"type": "string", "default": "red"}}},
                    "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}},
                {"name": "v1beta1", "served": true, "storage": false, "subresources": {"status": {}},
                 "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    }))
    .expect("is a CRD")
}

/// A plain request as the administrator: code, content type, body.
async fn call(
    world: &World,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> (u16, String, Value) {
    crate::install_crypto();
    let method: reqwest::Method = method.parse().expect("is a method");
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", world.url()));
    request = request.bearer_auth(world.admin_token());
    if let Some(body) = body {
        request = request.json(&body);
    }
    let response = request.send().await.expect("answers");
    let media = response
        .headers()
        .get("content-type")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let warning = response
        .headers()
        .get("warning")
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let code = response.status().as_u16();
    let text = response.text().await.expect("has a body");
    let value = serde_json::from_str(&text).unwrap_or_else(|_| json!(text));
    (code, format!("{media}{warning}"), value)
}

#[tokio::test]
async fn custom_resources_are_validated_as_by_the_real_server() {
    let world = world().await;
    world.install(&toys());
    let base = "/apis/example.org/v1/namespaces/default/toys";
    let toy = |name: &str, spec: Value| json!({"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"name": name}, "spec": spec});
    let (code, _, made) = call(&world, "POST", base, Some(toy("t", json!({"size": 1})))).await;
    assert_eq!(
        (
            code,
            &made["spec"]["colour"],
            &made["metadata"]["generation"]
        ),
        (201, &json!("red"), &json!(1))
    );
    let (code, media, status) = call(&world, "POST", base, Some(toy("x", json!({})))).await;
    assert_eq!((code, media.as_str()), (422, "application/json"));
    assert_eq!(
        status,
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Toy.example.org \"x\" is invalid: spec.size: Required value", "reason": "Invalid",
        "details": {"name": "x", "group": "example.org", "kind": "Toy", "causes": [
            {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.size"}]}, "code": 422})
    );
    let (code, _, status) = call(
        &world,
        "POST",
        base,
        Some(toy("Bad_Name", json!({"size": 1}))),
    )
    .await;
    assert_eq!(code, 422);
    assert!(
        status["message"]
            .as_str()
            .is_some_and(|m| m.contains("a lowercase RFC 1123 subdomain")),
        "{status}"
    );
    let strict = format!("{base}?fieldValidation=Strict");
    let (code, _, status) = call(
        &world,
        "POST",
        &strict,
        Some(toy("y", json!({"size": 1, "bogus": 1}))),
    )
    .await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "Toy in version \"v1\" cannot be handled as a Toy: strict decoding error: unknown field \"spec.bogus\""
    );
    let dry = format!("{base}?dryRun=All");
    let (code, warned, made) = call(
        &world,
        "POST",
        &dry,
        Some(toy("y", json!({"size": 1, "bogus": 1}))),
    )
    .await;
    assert_eq!((code, made["spec"].get("bogus")), (201, None));
    assert!(
        warned.ends_with("299 - \"unknown field \\\"spec.bogus\\\"\""),
        "{warned}"
    );
    let mut wrong = toy("z", json!({"size": 1}));
    wrong["apiVersion"] = json!("example.org/v9");
    let (code, _, status) = call(&world, "POST", base, Some(wrong)).await;
    assert_eq!(
        (code, &status["message"]),
        (
            400,
            &json!(
                "the API version in the data (example.org/v9) does not match the expected API version (example.org/v1)"
            )
        )
    );
    let (code, media, body) = call(
        &world,
        "GET",
        "/apis/example.org/v9/namespaces/default/toys",
        None,
    )
    .await;
    assert_eq!(
        (code, media.as_str(), &body),
        (
            404,
            "text/plain; charset=utf-8",
            &json!("404 page not found\n")
        )
    );
    let (code, _, status) = call(
        &world,
        "POST",
        "/apis/example.org/v1/namespaces/nope/toys",
        Some(toy("a", json!({"size": 1}))),
    )
    .await;
    assert_eq!(
        (code, &status["message"]),
        (404, &json!("namespaces \"nope\" not found"))
    );
    // The other version is the same object.
    let (_, _, other) = call(
        &world,
        "GET",
        "/apis/example.org/v1beta1/namespaces/default/toys/t",
        None,
    )
    .await;
    assert_eq!(
        (&other["apiVersion"], &other["spec"]["size"]),
        (&json!("example.org/v1beta1"), &json!(1))
    );
    let (code, _, _) = call(&world, "DELETE", &format!("{base}/t"), None).await;
    assert_eq!(code, 200);
}

#[tokio::test]
async fn the_status_is_written_apart() {
    let world = world().await;
    world.install(&toys());
    let resource = Resource::new("example.org", "toys");
    let toy = json!({"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"namespace": "default", "name": "t"},
        "spec": {"size": 1}, "status": {"x": 1}});
    let made = world.create(toy).await.expect("is created");
    assert!(made.get("status").is_none());
    let made = world
        .patch_status(
            &resource,
            "default",
            "t",
            json!({"status": {"y": 1}, "spec": {"size": 5}}),
        )
        .await
        .expect("is patched");
    assert_eq!(
        (
            &made["status"],
            &made["spec"]["size"],
            &made["metadata"]["generation"]
        ),
        (&json!({"y": 1}), &json!(1), &json!(1))
    );
    let made = world
        .patch_merge(
            &resource,
            "default",
            "t",
            json!({"status": null, "spec": {"size": 5}}),
        )
        .await
        .expect("is patched");
    assert_eq!(
        (&made["status"], &made["metadata"]["generation"]),
        (&json!({"y": 1}), &json!(2))
    );
    let same = world
        .patch_merge(&resource, "default", "t", json!({"spec": {"size": 5}}))
        .await
        .expect("is patched");
    assert_eq!(
        same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"],
        "nothing changed"
    );
}

#[tokio::test]
async fn crds_can_be_created_by_clients() {
    let world = world().await;
    let mut crd = Value::clone(&toys().object);
    crd["metadata"] = json!({"name": "toys.example.org"});
    crd.as_object_mut().expect("is one").shift_remove("status");
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, _, made) = call(&world, "POST", path, Some(crd)).await;
    assert_eq!(
        (code, &made["status"]["conditions"][1]["type"]),
        (201, &json!("Established"))
    );
    let kube = client(&world);
    let (found, _) = kube::discovery::pinned_kind(
        &kube,
        &kube::api::GroupVersionKind::gvk("example.org", "v1", "Toy"),
    )
    .await
    .expect("is discovered");
    let api: Api<DynamicObject> = Api::default_namespaced_with(kube, &found);
    let toy: DynamicObject = object(
        json!({"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"name": "t"}, "spec": {"size": 1}}),
    );
    api.create(&PostParams::default(), &toy)
        .await
        .expect("is created");
    call(&world, "DELETE", &format!("{path}/toys.example.org"), None).await;
    let (code, _, _) = call(&world, "GET", "/apis/example.org/v1/toys", None).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn hooks_change_and_refuse() {
    let world = world().await;
    world.install(&toys());
    let resource = Resource::new("example.org", "toys");
    let writes = [Operation::Create, Operation::Update];
    world.mutating(&resource, &writes, |mut request| async move {
        request.object["spec"]["colour"] = json!("blue");
        request.object["spec"]["pruned"] = json!(true);
        Ok(request.object)
    });
    world.validating(&resource, &writes, |request| async move {
        if request.object["spec"]["size"] == 13 {
            return Err(Denied::by("v.example.org", 400, None, "unlucky"));
        }
        Ok(())
    });
    let base = "/apis/example.org/v1/namespaces/default/toys";
    let toy = |size: u64| json!({"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"name": "t"}, "spec": {"size": size}});
    let (code, _, status) = call(&world, "POST", base, Some(toy(13))).await;
    assert_eq!(
        (code, status),
        (
            400,
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "admission webhook \"v.example.org\" denied the request: unlucky", "code": 400})
        )
    );
    let (_, _, made) = call(&world, "POST", base, Some(toy(1))).await;
    assert_eq!(made["spec"], json!({"size": 1, "colour": "blue"}));
}

#[tokio::test]
async fn finalizers_hold_and_owners_take_along() {
    let world = world().await;
    let map = |name: &str, extra: Value| {
        let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name}});
        merge(&mut map, &extra);
        map
    };
    let parent = world
        .create(map(
            "parent",
            json!({"metadata": {"finalizers": ["example.org/hold"]}}),
        ))
        .await
        .expect("is created");
    world
        .create(map(
            "child",
            json!({"metadata": {"ownerReferences": [owner(&parent)]}}),
        ))
        .await
        .expect("is created");
    world
        .create(map(
            "lost",
            json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "no-such-uid"}]}}),
        ))
        .await
        .expect("is created");
    let maps = &resources::CONFIG_MAPS;
    gone(&world, maps, "default", "lost").await;
    world
        .delete(maps, "default", "parent")
        .await
        .expect("is marked");
    assert!(
        world.get(maps, "default", "parent").expect("is held")["metadata"]["deletionTimestamp"]
            .is_string()
    );
    world
        .get(maps, "default", "child")
        .expect("stays as long as its owner");
    world
        .remove_finalizer(maps, "default", "parent", "example.org/hold")
        .await
        .expect("is let go");
    gone(&world, maps, "default", "parent").await;
    gone(&world, maps, "default", "child").await;
    for (propagation, stays) in [
        (Propagation::Foreground, false),
        (Propagation::Orphan, true),
    ] {
        let parent = world
            .create(map("parent", json!({})))
            .await
            .expect("is created");
        world
            .create(map(
                "child",
                json!({"metadata": {"ownerReferences": [owner(&parent)]}}),
            ))
            .await
            .expect("is created");
        let options = DeleteOptions {
            propagation,
            ..DeleteOptions::default()
        };
        world
            .delete_with(maps, "default", "parent", &options)
            .await
            .expect("is marked");
        gone(&world, maps, "default", "parent").await;
        assert_eq!(
            world.find(maps, "default", "child").is_some(),
            stays,
            "{propagation:?}"
        );
    }
}

#[tokio::test]
async fn namespaces_go_with_their_content() {
    let world = world().await;
    let kube = client(&world);
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    namespaces
        .create(
            &PostParams::default(),
            &object(json!({"metadata": {"name": "team"}})),
        )
        .await
        .expect("is created");
    world
        .get(&resources::SERVICE_ACCOUNTS, "team", "default")
        .expect("is there at once");
    let mut hold = pod("p", "hold", &[], json!({"metadata": {"namespace": "team"}}));
    hold["metadata"]["finalizers"] = json!(["example.org/hold"]);
    world.create(hold).await.expect("is created");
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .expect("is deleted");
    let going = namespaces.get("team").await.expect("is held by the pod");
    assert_eq!(
        going.status.and_then(|s| s.phase).as_deref(),
        Some("Terminating")
    );
    let maps: Api<ConfigMap> = Api::namespaced(kube, "team");
    let refused = api_error(
        maps.create(
            &PostParams::default(),
            &object(json!({"metadata": {"name": "late"}})),
        )
        .await,
    );
    assert_eq!(refused.0, 403);
    world
        .remove_finalizer(&resources::PODS, "team", "p", "example.org/hold")
        .await
        .expect("is let go");
    gone(&world, &resources::NAMESPACES, "", "team").await;
}

#[tokio::test]
async fn rbac_decides() {
    let world = world().await;
    let jane = client_with(&world, &world.token_of(User::named("jane", &[])));
    let pods: Api<Pod> = Api::default_namespaced(jane.clone());
    let (code, reason, message) = api_error(pods.list(&ListParams::default()).await);
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    world.create(json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": "default", "name": "jane"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}})).await.expect("is created");
    pods.list(&ListParams::default())
        .await
        .expect("is allowed now");
    let review = |user: &str, verb: &str| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": user, "resourceAttributes": {"verb": verb, "resource": "pods", "namespace": "default"}}})
    };
    for (user, verb, allowed) in [("jane", "create", true), ("joe", "create", false)] {
        let (code, _, answer) = call(
            &world,
            "POST",
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            Some(review(user, verb)),
        )
        .await;
        assert_eq!(
            (code, &answer["status"]["allowed"]),
            (201, &json!(allowed)),
            "{user}"
        );
    }
    let bad = client_with(&world, "nonsense");
    assert_eq!(
        api_error(
            Api::<Pod>::default_namespaced(bad)
                .list(&ListParams::default())
                .await
        )
        .0,
        401
    );
}

#[tokio::test]
async fn service_account_tokens_are_for_their_audience() {
    let world = world().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let ask = |audiences: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences, "expirationSeconds": 600}});
    let (code, _, answer) = call(&world, "POST", path, Some(ask(json!(["pipelines"])))).await;
    assert_eq!(code, 201);
    let token = answer["status"]["token"]
        .as_str()
        .expect("has a token")
        .to_owned();
    let review = |audiences: Value| json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token, "audiences": audiences}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, _, good) = call(&world, "POST", reviews, Some(review(json!(["pipelines"])))).await;
    assert_eq!(
        (
            &good["status"]["authenticated"],
            &good["status"]["user"]["username"]
        ),
        (
            &json!(true),
            &json!("system:serviceaccount:default:default")
        )
    );
    let (_, _, bad) = call(&world, "POST", reviews, Some(review(json!(["other"])))).await;
    assert_ne!(bad["status"]["authenticated"], json!(true));
    assert!(
        world.authenticate(&token, &[]).is_none(),
        "it is not for the API server"
    );
    let (own, _) = world
        .service_account_token("default", "default", &[], Duration::from_secs(600))
        .expect("is made");
    let api: Api<Pod> = Api::default_namespaced(client_with(&world, &own));
    assert!(
        api_error(api.list(&ListParams::default()).await)
            .2
            .contains("system:serviceaccount:default:default")
    );
}

#[tokio::test]
async fn pods_run_and_end() {
    let world = world().await;
    let pods: Api<Pod> = Api::default_namespaced(client(&world));
    world
        .create(pod(
            "ok",
            "print",
            &["one", "two", "$(NAME)"],
            json!({"spec": {"containers": [{"name": "main",
        "image": "print", "args": ["one", "two", "$(NAME)"],
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}]}}),
        ))
        .await
        .expect("is created");
    let done = until(&world, &resources::PODS, "ok", |pod| {
        pod["status"]["phase"] == "Succeeded"
    })
    .await;
    assert_eq!(
        done["status"]["containerStatuses"][0]["state"]["terminated"]["reason"],
        "Completed"
    );
    assert_eq!(
        pods.logs("ok", &LogParams::default())
            .await
            .expect("has a log"),
        "one\ntwo\nok\n"
    );
    let tail = LogParams {
        tail_lines: Some(1),
        ..LogParams::default()
    };
    assert_eq!(pods.logs("ok", &tail).await.expect("has a log"), "ok\n");
    world
        .create(pod("bad", "exit", &["3"], json!({})))
        .await
        .expect("is created");
    let failed = until(&world, &resources::PODS, "bad", |pod| {
        pod["status"]["phase"] == "Failed"
    })
    .await;
    assert_eq!(
        failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"],
        3
    );
    world
        .create(pod("none", "nosuch", &[], json!({})))
        .await
        .expect("is created");
    let reason =
        |pod: &Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    until(&world, &resources::PODS, "none", |pod| {
        reason(pod) == "ImagePullBackOff"
    })
    .await;
    world
        .create(pod(
            "loop",
            "exit",
            &["1"],
            json!({"spec": {"restartPolicy": "Always"}}),
        ))
        .await
        .expect("is created");
    let looping = until(&world, &resources::PODS, "loop", |pod| {
        reason(pod) == "CrashLoopBackOff"
    })
    .await;
    assert_eq!(looping["status"]["phase"], "Running");
    for name in ["ok", "bad", "none", "loop"] {
        pods.delete(name, &DeleteParams::default())
            .await
            .expect("is deleted");
        gone(&world, &resources::PODS, "default", name).await;
    }
}

#[tokio::test]
async fn containers_share_volumes_and_wait_for_what_is_missing() {
    let world = world().await;
    let volume = json!({"spec": {"initContainers": [{"name": "init", "image": "write", "args": ["/v/f"],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "containers": [{"name": "main", "image": "read", "args": ["/v/f"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "emptyDir": {}}]}});
    world
        .create(pod("shared", "read", &[], volume))
        .await
        .expect("is created");
    until(&world, &resources::PODS, "shared", |pod| {
        pod["status"]["phase"] == "Succeeded"
    })
    .await;
    let pods: Api<Pod> = Api::default_namespaced(client(&world));
    assert_eq!(
        pods.logs("shared", &LogParams::default())
            .await
            .expect("has a log"),
        "written\n"
    );
    let claim = json!({"spec": {"containers": [{"name": "main", "image": "write", "args": ["/v/sub/f"],
            "volumeMounts": [{"name": "v", "mountPath": "/v/sub", "subPath": "deep"}],
            "env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}});
    world
        .create(pod("claims", "write", &[], claim))
        .await
        .expect("is created");
    world.create(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"namespace": "default", "name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})).await.expect("is created");
    until(&world, &resources::PODS, "claims", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
            == "CreateContainerConfigError"
    })
    .await;
    world.create(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": "s"}, "stringData": {"k": "v"}})).await.expect("is created");
    until(&world, &resources::PODS, "claims", |pod| {
        pod["status"]["phase"] == "Succeeded"
    })
    .await;
}

#[tokio::test]
async fn servers_are_reached_by_every_way() {
    let world = world().await;
    let kube = client(&world);
    let deployments: Api<Deployment> = Api::default_namespaced(kube.clone());
    deployments.create(&PostParams::default(), &object(json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "server", "ports": [{"containerPort": 8080, "name": "http"}],
            "readinessProbe": {"httpGet": {"path": "/", "port": "http"}}}]}}}}))).await.expect("is created");
    world.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}})).await.expect("is created");
    let ready = until(&world, &resources::DEPLOYMENTS, "web", |d| {
        d["status"]["availableReplicas"] == 2
    })
    .await;
    assert_eq!(
        condition(&ready, "Available").expect("is told")["status"],
        "True"
    );
    let ready = until(&world, &resources::DEPLOYMENTS, "web", |d| {
        condition(d, "Progressing").is_some_and(|c| c["reason"] == "NewReplicaSetAvailable")
    })
    .await;
    assert_eq!(ready["status"]["observedGeneration"], 1);
    until(&world, &resources::ENDPOINTS, "web", |e| {
        e["subsets"][0]["addresses"]
            .as_array()
            .is_some_and(|a| a.len() == 2)
    })
    .await;
    // Through the API server's proxy.
    let (code, _, body) = call(
        &world,
        "GET",
        "/api/v1/namespaces/default/services/web:80/proxy/x?y=1",
        None,
    )
    .await;
    assert!(
        code == 200
            && body
                .as_str()
                .is_some_and(|text| text.starts_with("hello from web-")),
        "{body}"
    );
    // By cluster DNS.
    for host in ["web", "web.default", "web.default.svc.cluster.local"] {
        assert!(world.resolve("default", host, 80).is_some(), "{host}");
    }
    assert!(world.resolve("other", "web", 80).is_none());
    // By port-forward.
    let pods: Api<Pod> = Api::default_namespaced(kube);
    let name = pods
        .list(&ListParams::default().labels("app=web"))
        .await
        .expect("lists")
        .items
        .remove(0)
        .metadata
        .name
        .expect("has one");
    let mut forward = pods
        .portforward(&name, &[8080])
        .await
        .expect("is forwarded");
    let mut stream = forward.take_stream(8080).expect("has a stream");
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .expect("is sent");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("is answered");
    assert!(answer.ends_with(&format!("hello from {name}")), "{answer}");
    let mut forward = pods.portforward(&name, &[9]).await.expect("is forwarded");
    let error = forward
        .take_error(9)
        .expect("has errors")
        .await
        .expect("fails");
    assert!(error.contains("connection refused"), "{error}");
    // Scaled and removed.
    deployments
        .patch_scale(
            "web",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": 0}})),
        )
        .await
        .expect("is scaled");
    until(&world, &resources::DEPLOYMENTS, "web", |d| {
        d["status"].get("replicas").is_none()
    })
    .await;
    deployments
        .delete("web", &DeleteParams::default())
        .await
        .expect("is deleted");
    for _ in 0..500 {
        if world.list(&resources::REPLICA_SETS, None).is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(world.list(&resources::REPLICA_SETS, None).is_empty());
}

#[tokio::test]
async fn components_are_reached_through_pods_that_stand_for_them() {
    let world = world().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("listens");
    let address = listener.local_addr().expect("has one");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await;
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
                .await;
        }
    });
    world
        .stand_in_pod("default", "api", &json!({"app": "api"}), &[(8888, address)])
        .await
        .expect("is created");
    world.create(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "default", "name": "api"},
        "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 8888}]}})).await.expect("is created");
    until(&world, &resources::ENDPOINTS, "api", |e| {
        e["subsets"][0]["addresses"].is_array()
    })
    .await;
    let (code, _, body) = call(
        &world,
        "GET",
        "/api/v1/namespaces/default/services/http:api:http/proxy/",
        None,
    )
    .await;
    assert_eq!((code, body), (200, json!("hi")));
    world
        .delete(&resources::PODS, "default", "api")
        .await
        .expect("is deleted");
    gone(&world, &resources::PODS, "default", "api").await;
}

#[tokio::test]
async fn jobs_complete_and_fail() {
    let world = world().await;
    let job = |name: &str, image: &str, args: Value| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "default", "name": name},
        "spec": {"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image, "args": args}]}}}})
    };
    world
        .create(job("good", "print", json!(["x"])))
        .await
        .expect("is created");
    world
        .create(job("bad", "exit", json!(["1"])))
        .await
        .expect("is created");
    let holds =
        |job: &Value, kind: &str| condition(job, kind).is_some_and(|c| c["status"] == "True");
    let good = until(&world, &resources::JOBS, "good", |job| {
        holds(job, "Complete")
    })
    .await;
    assert_eq!(
        condition(&good, "Complete").expect("is told")["reason"],
        "CompletionsReached"
    );
    assert!(good["status"]["completionTime"].is_string() && good["status"]["succeeded"] == 1);
    let bad = until(&world, &resources::JOBS, "bad", |job| holds(job, "Failed")).await;
    assert_eq!(
        (
            &condition(&bad, "Failed").expect("is told")["reason"],
            &bad["status"]["failed"]
        ),
        (&json!("BackoffLimitExceeded"), &json!(2))
    );
}

#[tokio::test]
async fn stateful_sets_are_ordered_and_replaced() {
    let world = world().await;
    let sets = &resources::STATEFUL_SETS;
    world.create(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": "default", "name": "s"},
        "spec": {"replicas": 2, "serviceName": "", "selector": {"matchLabels": {"app": "s"}}, "template": {"metadata": {"labels": {"app": "s"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": "hold"}]}}}})).await.expect("is created");
    until(&world, sets, "s", |set| set["status"]["readyReplicas"] == 2).await;
    let first = world
        .get(&resources::PODS, "default", "s-0")
        .expect("is there");
    world
        .patch_merge(
            sets,
            "default",
            "s",
            json!({"spec": {"template": {"metadata": {"annotations": {"x": "1"}}}}}),
        )
        .await
        .expect("is patched");
    until(&world, &resources::PODS, "s-0", |pod| {
        pod["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await;
    until(&world, sets, "s", |set| {
        set["status"]["updatedReplicas"] == 2 && set["status"]["readyReplicas"] == 2
    })
    .await;
    world
        .patch_merge(sets, "default", "s", json!({"spec": {"replicas": 0}}))
        .await
        .expect("is patched");
    gone(&world, &resources::PODS, "default", "s-0").await;
    gone(&world, &resources::PODS, "default", "s-1").await;
}

#[tokio::test]
async fn a_token_in_the_address_serves_clients_that_send_none() {
    let world = world().await;
    let ask = |prefix: String, header: Option<&str>| {
        let mut request =
            reqwest::Client::new().get(format!("{}{prefix}/api/v1/nodes", world.url()));
        if let Some(token) = header {
            request = request.bearer_auth(token);
        }
        async move { request.send().await.expect("answers").status().as_u16() }
    };
    let admin = format!("/token/{}", world.admin_token());
    assert_eq!(ask(admin.clone(), None).await, 200);
    assert_eq!(ask("/token/other".to_owned(), None).await, 401);
    assert_eq!(ask(String::new(), None).await, 403);
    // What the headers say counts more.
    assert_eq!(ask(admin, Some("other")).await, 401);
    assert!(
        world
            .kubeconfig_with("mine")
            .contains(&format!("server: {}/token/mine\n", world.url()))
    );
}

#[tokio::test]
async fn tables_and_discovery_serve_kubectl() {
    let world = world().await;
    world.install(&toys());
    world.create(json!({"apiVersion": "example.org/v1", "kind": "Toy", "metadata": {"namespace": "default", "name": "t"}, "spec": {"size": 4}})).await.expect("is created");
    let get = |path: &str, accept: &str| {
        let request = reqwest::Client::new()
            .get(format!("{}{path}", world.url()))
            .bearer_auth(world.admin_token())
            .header("accept", accept);
        async move {
            request
                .send()
                .await
                .expect("answers")
                .json::<Value>()
                .await
                .expect("is JSON")
        }
    };
    let table = get(
        "/apis/example.org/v1/namespaces/default/toys",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )
    .await;
    assert_eq!(table["kind"], "Table");
    let heads: Vec<_> = table["columnDefinitions"]
        .as_array()
        .expect("has some")
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(heads, ["Name", "Size", "Age"]);
    assert_eq!(
        (&table["rows"][0]["cells"][0], &table["rows"][0]["cells"][1]),
        (&json!("t"), &json!(4))
    );
    let groups = get(
        "/apis",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    )
    .await;
    assert_eq!(groups["kind"], "APIGroupDiscoveryList");
    let names: Vec<_> = groups["items"]
        .as_array()
        .expect("has some")
        .iter()
        .map(|g| g["metadata"]["name"].clone())
        .collect();
    assert!(
        names.contains(&json!("example.org")) && names.contains(&json!("apps")),
        "{names:?}"
    );
    let discovery = kube::Discovery::new(client(&world))
        .run_aggregated()
        .await
        .expect("discovers");
    assert!(discovery.has_group("example.org"));
    let discovery = kube::Discovery::new(client(&world))
        .run()
        .await
        .expect("discovers");
    assert!(discovery.has_group("authorization.k8s.io"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_worlds_live_at_once() {
    let start = std::time::Instant::now();
    let mut worlds = Vec::new();
    for _ in 0..100 {
        let world = world().await;
        world
            .create(pod("p", "hold", &[], json!({})))
            .await
            .expect("is created");
        worlds.push(world);
    }
    for world in &worlds {
        until(world, &resources::PODS, "p", |pod| {
            pod["status"]["phase"] == "Running"
        })
        .await;
    }
    let weak: Vec<_> = worlds.iter().map(World::downgrade).collect();
    drop(worlds);
    for _ in 0..500 {
        if weak.iter().all(|core| core.upgrade().is_none()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let left = weak.iter().filter(|core| core.upgrade().is_some()).count();
    assert_eq!(left, 0, "worlds that were dropped are still in memory");
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_at_once_all_count() {
    let world = std::sync::Arc::new(world().await);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "m"}});
    world.create(map).await.expect("is created");
    let patches = (0..200).map(|index| {
        let world = std::sync::Arc::clone(&world);
        tokio::spawn(async move {
            let patch = json!({"data": {format!("k{index}"): "1"}});
            let maps = resources::CONFIG_MAPS;
            world.patch_merge(&maps, "default", "m", patch).await
        })
    });
    for patched in futures::future::join_all(patches).await {
        patched.expect("ends").expect("is patched");
    }
    let map = world.find(&resources::CONFIG_MAPS, "default", "m");
    let map = map.expect("is there");
    assert_eq!(map["data"].as_object().map(serde_json::Map::len), Some(200));
}

#[tokio::test]
async fn writes_are_fast() {
    let world = world().await;
    let start = std::time::Instant::now();
    for index in 0..1000 {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": format!("m{index}")}});
        world.create(map).await.expect("is created");
    }
    let each = start.elapsed() / 1000;
    assert!(each < Duration::from_millis(5), "{each:?} for one write");
}

//! The namespace controller: a deleted namespace takes its content with it. Also keeps `default` service accounts.

use serde_json::json;

use super::controller::{Next, Watch};
use super::delete::DeleteOptions;
use super::registry::resources::{NAMESPACES, SERVICE_ACCOUNTS};
use super::status::ApiError;
use super::store::Key;
use super::verbs::WriteOptions;
use super::world::World;

/// Starts the controllers.
pub(super) fn start(world: &World) {
    let mut removals = world.store().follow_all();
    let task_world = world.clone();
    world.controller(
        "namespace",
        vec![Watch::on(&NAMESPACES)],
        |world, key| async move {
            empty(&world, &key.name).await?;
            Ok(Next::Wait)
        },
    );
    // The last object that goes lets its namespace go.
    world.spawn(async move {
        let world = task_world;
        while let Some(event) = removals.recv().await {
            if event.change == super::Change::Deleted && !event.key.namespace.is_empty() {
                drop(finish(&world, &event.key.namespace).await);
            }
        }
    });
    let accounts = Watch::mapped(&SERVICE_ACCOUNTS, |_, account| {
        let key = Key::of(account);
        let own = key.name == "default";
        own.then(|| Key::new("", key.namespace))
            .into_iter()
            .collect()
    });
    world.controller("serviceaccount", vec![accounts], |world, key| async move {
        let lives =
            |namespace: &serde_json::Value| namespace["metadata"]["deletionTimestamp"].is_null();
        if world
            .find(&SERVICE_ACCOUNTS, &key.name, "default")
            .is_none()
            && world
                .find(&NAMESPACES, "", &key.name)
                .is_some_and(|n| lives(&n))
        {
            let account = json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"namespace": key.name, "name": "default"},
            });
            world.create(account).await?;
        }
        Ok(Next::Wait)
    });
}

/// Deletes the content of a namespace that is being deleted.
async fn empty(world: &World, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = world.find(&NAMESPACES, "", name) else {
        return Ok(());
    };
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    for (resource, keys) in world.store().census(name) {
        for key in keys {
            let going = world
                .store()
                .read(&resource, &key)
                .is_none_or(|object| !object["metadata"]["deletionTimestamp"].is_null());
            if going {
                continue;
            }
            let target = world.stored(&resource, name, &key.name)?;
            let deleted = world
                .write_end(&target, &DeleteOptions::default(), &WriteOptions::default())
                .await;
            match deleted {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    finish(world, name).await
}

/// Lets a namespace go that is being deleted and empty.
async fn finish(world: &World, name: &str) -> Result<(), ApiError> {
    let Some(namespace) = world.find(&NAMESPACES, "", name) else {
        return Ok(());
    };
    if namespace["metadata"]["deletionTimestamp"].is_null()
        || !world.store().census(name).is_empty()
    {
        return Ok(());
    }
    match world
        .patch_merge(&NAMESPACES, "", name, json!({"spec": {"finalizers": null}}))
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

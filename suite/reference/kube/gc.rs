//! The garbage collector: dependents go with their owners.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::delete::{DeleteOptions, FOREGROUND, ORPHAN, Propagation};
use super::registry::Resource;
use super::status::ApiError;
use super::store::{Change, Event, Key, owners};
use super::verbs::WriteOptions;
use super::world::World;

/// Starts the collector.
pub(super) fn start(world: &World) {
    let mut events = world.store().follow_all();
    let task_world = world.clone();
    world.spawn(async move {
        let world = task_world;
        while let Some(event) = events.recv().await {
            if let Err(error) = handle(&world, &event).await {
                tracing::debug!(%error, key = ?event.key, "garbage collection failed");
            }
        }
    });
}

async fn handle(world: &World, event: &Arc<Event>) -> Result<(), ApiError> {
    let metadata = &event.object["metadata"];
    let uid = metadata["uid"].as_str().unwrap_or_default();
    match event.change {
        Change::Deleted => {
            for (resource, key) in world.store().dependents(uid) {
                release(world, &resource, &key).await;
            }
            // An owner that waits for its dependents may be waiting for this one.
            for owner in owners(&event.object) {
                if let Some((resource, key)) = world.store().by_uid(owner) {
                    finish(world, &resource, &key).await?;
                }
            }
        }
        Change::Added if owners(&event.object).next().is_some() => {
            release(world, &event.resource, &event.key).await;
        }
        Change::Added => {}
        Change::Modified => {
            let going = !metadata["deletionTimestamp"].is_null();
            let asks = |f: &str| {
                metadata["finalizers"]
                    .as_array()
                    .is_some_and(|l| l.iter().any(|x| x == f))
            };
            if going && asks(ORPHAN) {
                orphan(world, uid).await?;
                world
                    .remove_finalizer(
                        &event.resource,
                        &event.key.namespace,
                        &event.key.name,
                        ORPHAN,
                    )
                    .await?;
            } else if going && asks(FOREGROUND) {
                for (resource, key) in world.store().dependents(uid) {
                    let options = DeleteOptions {
                        propagation: Propagation::Foreground,
                        ..DeleteOptions::default()
                    };
                    remove(world, &resource, &key, &options).await;
                }
                finish(world, &event.resource, &event.key).await?;
            }
        }
    }
    Ok(())
}

/// Deletes a dependent that has no living owner; else takes the dead owners off it.
async fn release(world: &World, resource: &Resource, key: &Key) {
    let Some(object) = world.store().read(resource, key) else {
        return;
    };
    let dead: HashSet<&str> = owners(&object)
        .filter(|uid| world.store().by_uid(uid).is_none())
        .collect();
    if dead.is_empty() {
        return;
    }
    if owners(&object).all(|uid| dead.contains(uid)) {
        let options = DeleteOptions {
            uid: object["metadata"]["uid"].as_str().map(str::to_owned),
            ..DeleteOptions::default()
        };
        remove(world, resource, key, &options).await;
    } else {
        let keep = |owner: &Value| owner["uid"].as_str().is_some_and(|uid| !dead.contains(uid));
        let left: Vec<&Value> = object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|owner| keep(owner))
            .collect();
        let patch = json!({"metadata": {"ownerReferences": left}});
        drop(
            world
                .patch_merge(resource, &key.namespace, &key.name, patch)
                .await,
        );
    }
}

async fn remove(world: &World, resource: &Resource, key: &Key, options: &DeleteOptions) {
    if let Some(object) = world.store().read(resource, key)
        && !object["metadata"]["deletionTimestamp"].is_null()
    {
        return;
    }
    let Ok(target) = world.stored(resource, &key.namespace, &key.name) else {
        return;
    };
    let write = WriteOptions::default();
    if let Err(error) = world.write_end(&target, options, &write).await
        && !error.is_not_found()
    {
        tracing::debug!(%error, ?key, "cannot delete a dependent");
    }
}

/// Takes the owner off all its dependents.
async fn orphan(world: &World, uid: &str) -> Result<(), ApiError> {
    for (resource, key) in world.store().dependents(uid) {
        let Some(object) = world.store().read(&resource, &key) else {
            continue;
        };
        let left: Vec<&Value> = object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|owner| owner["uid"] != uid)
            .collect();
        let patch = json!({"metadata": {"ownerReferences": left}});
        world
            .patch_merge(&resource, &key.namespace, &key.name, patch)
            .await?;
    }
    Ok(())
}

/// Lets an owner go that waited for its dependents, when none that blocks it is left.
async fn finish(world: &World, resource: &Resource, key: &Key) -> Result<(), ApiError> {
    let Some(object) = world.store().read(resource, key) else {
        return Ok(());
    };
    let waits = object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|list| list.iter().any(|f| f == FOREGROUND));
    if !waits || object["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    let blocked = world.store().dependents(uid).iter().any(|(resource, key)| {
        world.store().read(resource, key).is_some_and(|dependent| {
            let references = dependent["metadata"]["ownerReferences"].as_array();
            references.is_some_and(|list| {
                list.iter()
                    .any(|r| r["uid"] == uid && r["blockOwnerDeletion"] == true)
            })
        })
    });
    if blocked {
        return Ok(());
    }
    world
        .remove_finalizer(resource, &key.namespace, &key.name, FOREGROUND)
        .await
}

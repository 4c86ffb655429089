//! A small controller runtime: level-triggered, one key at a time, requeued on errors.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use tokio::time::Instant;

use super::registry::Resource;
use super::status::ApiError;
use super::store::Key;
use super::world::World;

/// What a reconcile asks for when it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the next event will call again.
    Wait,
    /// To be called again after this long (of the world's clock), if no event comes first.
    After(Duration),
}

type ToKeys = Arc<dyn Fn(&World, &Value) -> Vec<Key> + Send + Sync>;

/// Which objects make a controller reconcile which keys.
#[derive(Clone)]
pub struct Watch {
    resource: Resource,
    keys: ToKeys,
}

impl Watch {
    /// The controller's own objects: each is its own key.
    pub fn on(resource: &Resource) -> Self {
        Self::mapped(resource, |_, object| vec![Key::of(object)])
    }

    /// Objects that belong to one of `kind` by their ownerReferences: the owner is the key.
    pub fn owned(resource: &Resource, kind: &str) -> Self {
        let kind = kind.to_owned();
        Self::mapped(resource, move |_, object| {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            object["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|owner| owner["kind"] == kind.as_str())
                .filter_map(|owner| owner["name"].as_str())
                .map(|name| Key::new(namespace, name))
                .collect()
        })
    }

    /// Objects that carry `label`: its value is the name of the key in the same namespace.
    pub fn labelled(resource: &Resource, label: &str) -> Self {
        let label = label.to_owned();
        Self::mapped(resource, move |_, object| {
            let metadata = &object["metadata"];
            let namespace = metadata["namespace"].as_str().unwrap_or_default();
            let name = metadata["labels"][&label].as_str();
            name.map(|name| Key::new(namespace, name))
                .into_iter()
                .collect()
        })
    }

    /// Objects that concern the keys that `keys` makes of them.
    pub fn mapped(
        resource: &Resource,
        keys: impl Fn(&World, &Value) -> Vec<Key> + Send + Sync + 'static,
    ) -> Self {
        Self {
            resource: resource.clone(),
            keys: Arc::new(keys),
        }
    }
}

/// How many keys of one controller are reconciled at once; never the same key twice.
const WORKERS: usize = 16;
/// The first wait after an error, and the longest, both of the world's clock. Real controllers start at 5 ms.
const FIRST_RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// What a reconcile function comes down to.
pub(super) type Reconcile =
    Box<dyn Fn(World, Key) -> BoxFuture<'static, Result<Next, ApiError>> + Send + Sync>;

/// The state of one controller's queue.
#[derive(Default)]
struct Queue {
    waiting: BTreeSet<Key>,
    running: BTreeSet<Key>,
    /// Keys whose turn comes later, and when.
    later: HashMap<Key, Instant>,
    failures: HashMap<Key, u32>,
}

impl Queue {
    fn next(&mut self) -> Option<Key> {
        let key = self
            .waiting
            .iter()
            .find(|key| !self.running.contains(*key))?
            .clone();
        self.waiting.remove(&key);
        self.later.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    fn finish(
        &mut self,
        world: &World,
        key: Key,
        result: Result<Next, ApiError>,
    ) -> Option<ApiError> {
        self.running.remove(&key);
        match result {
            Ok(next) => {
                self.failures.remove(&key);
                if let Next::After(wait) = next {
                    self.schedule(key, world.clock().to_wall(wait));
                }
                None
            }
            Err(error) => {
                let failures = self.failures.entry(key.clone()).or_insert(0);
                *failures += 1;
                let wait = FIRST_RETRY
                    .saturating_mul(1 << (*failures - 1).min(12))
                    .min(LONGEST_RETRY);
                self.schedule(key, world.clock().to_wall(wait));
                Some(error)
            }
        }
    }

    fn schedule(&mut self, key: Key, wait: Duration) {
        let due = Instant::now() + wait;
        self.later
            .entry(key)
            .and_modify(|at| *at = due.min(*at))
            .or_insert(due);
    }

    fn due(&self) -> Option<Instant> {
        self.later.values().min().copied()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        let due: Vec<Key> = self
            .later
            .iter()
            .filter(|(_, at)| **at <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.later.remove(&key);
            self.waiting.insert(key);
        }
    }
}

/// Runs a controller until the world stops.
pub(super) async fn run(world: World, name: String, watches: Vec<Watch>, reconcile: Reconcile) {
    let mut queue = Queue::default();
    let mut sources = Vec::new();
    for (index, watch) in watches.iter().enumerate() {
        let (_, objects, receiver) = world.store().snapshot(&watch.resource, None);
        for object in objects {
            queue.waiting.extend((watch.keys)(&world, &object));
        }
        sources.push((index, receiver));
    }
    // One stream of all subscriptions: the store's channels end when the world stops, and so does this.
    let mut sources: futures::stream::SelectAll<_> = sources
        .into_iter()
        .map(|(index, receiver)| {
            futures::stream::unfold(receiver, move |mut receiver| async move {
                let event = receiver.recv().await?;
                Some(((index, event), receiver))
            })
            .boxed()
        })
        .collect();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < WORKERS
            && let Some(key) = queue.next()
        {
            let work = reconcile(world.clone(), key.clone());
            running.push(async move { (key, work.await) });
        }
        let due = queue.due();
        let timer = async move {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = sources.next() => {
                let Some((index, event)) = event else { return };
                let to_keys = &watches[index].keys;
                queue.waiting.extend(to_keys(&world, &event.object));
                // An object that changes hands concerns its former owner too.
                if let Some(previous) = &event.previous
                    && previous["metadata"] != event.object["metadata"]
                {
                    queue.waiting.extend(to_keys(&world, previous));
                }
            }
            Some((key, result)) = running.next(), if !running.is_empty() => {
                let shown = key.clone();
                if let Some(error) = queue.finish(&world, key, result) {
                    tracing::debug!(controller = %name, key = ?shown, %error, "reconcile failed, will retry");
                }
            }
            () = timer => queue.wake(),
        }
    }
}

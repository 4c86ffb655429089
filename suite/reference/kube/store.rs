//! The objects, their history, and who is told of changes. Knows nothing of HTTP, schemas or admission.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::registry::Resource;

/// Which object of a resource type: its namespace (empty for cluster-scoped types) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace, or empty.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Names an object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object by its metadata.
    pub fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        Self::new(
            metadata["namespace"].as_str().unwrap_or_default(),
            metadata["name"].as_str().unwrap_or_default(),
        )
    }
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was removed.
    Deleted,
}

impl Change {
    /// The word in watch events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Clone, Debug)]
pub struct Event {
    /// The resource version of the change.
    pub version: u64,
    /// What happened.
    pub change: Change,
    /// The type of the object.
    pub resource: Resource,
    /// Which object.
    pub key: Key,
    /// The object after the change; as it last was, when it was removed.
    pub object: Arc<Value>,
    /// The object before the change.
    pub previous: Option<Arc<Value>>,
}

/// What a commit demands of the present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// There is no such object.
    Absent,
    /// The object has this resource version.
    Version(u64),
}

/// Why a commit did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The object exists.
    Exists,
    /// The object has another resource version.
    Changed,
    /// There is no such object.
    Missing,
}

/// The resource version asked for is no longer known; holds the oldest that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone(pub(super) u64);

/// How many changes of one resource type are remembered.
const HISTORY: usize = 4096;

#[derive(Debug, Default)]
struct Table {
    objects: BTreeMap<Key, Arc<Value>>,
    events: VecDeque<Arc<Event>>,
    /// The highest version whose change is forgotten.
    forgotten: u64,
    listeners: Vec<mpsc::UnboundedSender<Arc<Event>>>,
}

#[derive(Debug)]
struct State {
    version: u64,
    tables: HashMap<Resource, Table>,
    listeners: Vec<mpsc::UnboundedSender<Arc<Event>>>,
    uids: HashMap<String, (Resource, Key)>,
    dependents: HashMap<String, BTreeSet<(Resource, Key)>>,
}

/// The changes to come.
pub(super) type Changes = mpsc::UnboundedReceiver<Arc<Event>>;

/// The objects of one server.
#[derive(Debug)]
pub(super) struct Store {
    state: Mutex<State>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                // Version 1 belongs to what is there before the world starts.
                version: 1,
                tables: HashMap::new(),
                listeners: Vec::new(),
                uids: HashMap::new(),
                dependents: HashMap::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest resource version.
    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    /// One object.
    pub(super) fn read(&self, resource: &Resource, key: &Key) -> Option<Arc<Value>> {
        self.lock().tables.get(resource)?.objects.get(key).cloned()
    }

    /// All objects of a type, or those of one namespace, with the version at which this is so.
    pub(super) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> (u64, Vec<Arc<Value>>) {
        let state = self.lock();
        let objects = state
            .tables
            .get(resource)
            .map(|table| select(&table.objects, namespace))
            .unwrap_or_default();
        (state.version, objects)
    }

    /// The objects as they were at `version`.
    pub(super) fn list_at(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        version: u64,
    ) -> Result<Vec<Arc<Value>>, Gone> {
        let state = self.lock();
        let Some(table) = state.tables.get(resource) else {
            return Ok(Vec::new());
        };
        if version < table.forgotten {
            return Err(Gone(table.forgotten));
        }
        let mut objects = table.objects.clone();
        for event in table
            .events
            .iter()
            .rev()
            .take_while(|event| event.version > version)
        {
            match &event.previous {
                Some(previous) => objects.insert(event.key.clone(), previous.clone()),
                None => objects.remove(&event.key),
            };
        }
        Ok(select(&objects, namespace))
    }

    /// Finds an object by its uid.
    pub(super) fn by_uid(&self, uid: &str) -> Option<(Resource, Key)> {
        self.lock().uids.get(uid).cloned()
    }

    /// The objects that name `uid` as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(Resource, Key)> {
        self.lock()
            .dependents
            .get(uid)
            .map(|set| set.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// The number of objects of each type in a namespace.
    pub(super) fn census(&self, namespace: &str) -> Vec<(Resource, Vec<Key>)> {
        self.lock()
            .tables
            .iter()
            .map(|(resource, table)| {
                let keys = range(&table.objects, namespace).map(|(key, _)| key.clone());
                (resource.clone(), keys.collect::<Vec<_>>())
            })
            .filter(|(_, keys)| !keys.is_empty())
            .collect()
    }

    /// Puts an object in at version 1, before the world's history begins: nobody is told, nothing is numbered.
    pub(super) fn preload(&self, resource: &Resource, object: Arc<Value>) {
        let key = Key::of(&object);
        let mut state = self.lock();
        state.index(resource, &key, &object);
        state
            .tables
            .entry(resource.clone())
            .or_default()
            .objects
            .insert(key, object);
    }

    /// Writes an object if the present state is as expected; returns it with its new resource version.
    pub(super) fn put(
        &self,
        resource: &Resource,
        key: &Key,
        expect: Expect,
        mut object: Value,
    ) -> Result<Arc<Value>, Refused> {
        let mut state = self.lock();
        let previous = state.check(resource, key, expect)?;
        let version = state.version + 1;
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        let object = Arc::new(object);
        if let Some(previous) = &previous {
            state.unindex(resource, key, previous);
        }
        state.index(resource, key, &object);
        let table = state.tables.entry(resource.clone()).or_default();
        table.objects.insert(key.clone(), object.clone());
        let change = if previous.is_some() {
            Change::Modified
        } else {
            Change::Added
        };
        state.publish(change, resource, key, object.clone(), previous);
        Ok(object)
    }

    /// Removes an object if it has the expected version; returns it as it last was.
    pub(super) fn remove(
        &self,
        resource: &Resource,
        key: &Key,
        expect: Expect,
    ) -> Result<Arc<Value>, Refused> {
        let mut state = self.lock();
        let previous = state
            .check(resource, key, expect)?
            .ok_or(Refused::Missing)?;
        state.unindex(resource, key, &previous);
        if let Some(table) = state.tables.get_mut(resource) {
            table.objects.remove(key);
        }
        let mut last = Value::clone(&previous);
        last["metadata"]["resourceVersion"] = json!((state.version + 1).to_string());
        let last = Arc::new(last);
        state.publish(Change::Deleted, resource, key, last.clone(), Some(previous));
        Ok(last)
    }

    /// Follows one resource type: the changes after `since` (none means from now on) and those to come.
    pub(super) fn follow(
        &self,
        resource: &Resource,
        since: Option<u64>,
    ) -> Result<(Vec<Arc<Event>>, Changes), Gone> {
        let mut state = self.lock();
        let now = state.version;
        let table = state.tables.entry(resource.clone()).or_default();
        let since = since.unwrap_or(now);
        if since < table.forgotten {
            return Err(Gone(table.forgotten));
        }
        let first = table.events.partition_point(|event| event.version <= since);
        let missed = table.events.range(first..).cloned().collect();
        let (sender, receiver) = mpsc::unbounded_channel();
        table.listeners.push(sender);
        Ok((missed, receiver))
    }

    /// Follows one resource type from a snapshot: every object there is, then every change.
    pub(super) fn snapshot(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
    ) -> (u64, Vec<Arc<Value>>, Changes) {
        let mut state = self.lock();
        let version = state.version;
        let table = state.tables.entry(resource.clone()).or_default();
        let (sender, receiver) = mpsc::unbounded_channel();
        table.listeners.push(sender);
        (version, select(&table.objects, namespace), receiver)
    }

    /// Follows every resource type from now on.
    pub(super) fn follow_all(&self) -> Changes {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.lock().listeners.push(sender);
        receiver
    }

    /// Ends every subscription.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.listeners.clear();
        for table in state.tables.values_mut() {
            table.listeners.clear();
        }
    }
}

impl State {
    fn check(
        &self,
        resource: &Resource,
        key: &Key,
        expect: Expect,
    ) -> Result<Option<Arc<Value>>, Refused> {
        let present = self
            .tables
            .get(resource)
            .and_then(|table| table.objects.get(key));
        match (expect, present) {
            (Expect::Absent, None) => Ok(None),
            (Expect::Absent, Some(_)) => Err(Refused::Exists),
            (Expect::Version(_), None) => Err(Refused::Missing),
            (Expect::Version(wanted), Some(object)) if version_of(object) == wanted => {
                Ok(Some(object.clone()))
            }
            (Expect::Version(_), Some(_)) => Err(Refused::Changed),
        }
    }

    fn publish(
        &mut self,
        change: Change,
        resource: &Resource,
        key: &Key,
        object: Arc<Value>,
        previous: Option<Arc<Value>>,
    ) {
        self.version += 1;
        let event = Arc::new(Event {
            version: self.version,
            change,
            resource: resource.clone(),
            key: key.clone(),
            object,
            previous,
        });
        let table = self.tables.entry(resource.clone()).or_default();
        table
            .listeners
            .retain(|listener| listener.send(event.clone()).is_ok());
        table.events.push_back(event.clone());
        if table.events.len() > HISTORY
            && let Some(oldest) = table.events.pop_front()
        {
            table.forgotten = oldest.version;
        }
        self.listeners
            .retain(|listener| listener.send(event.clone()).is_ok());
    }

    fn index(&mut self, resource: &Resource, key: &Key, object: &Value) {
        let place = (resource.clone(), key.clone());
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.uids.insert(uid.to_owned(), place.clone());
        }
        for owner in owners(object) {
            self.dependents
                .entry(owner.to_owned())
                .or_default()
                .insert(place.clone());
        }
    }

    fn unindex(&mut self, resource: &Resource, key: &Key, object: &Value) {
        if let Some(uid) = object["metadata"]["uid"].as_str() {
            self.uids.remove(uid);
        }
        let place = (resource.clone(), key.clone());
        for owner in owners(object) {
            if let Some(set) = self.dependents.get_mut(owner) {
                set.remove(&place);
                if set.is_empty() {
                    self.dependents.remove(owner);
                }
            }
        }
    }
}

/// The uids of the owners of an object.
pub(super) fn owners(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["ownerReferences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|owner| owner["uid"].as_str())
}

/// The resource version of an object as a number; 0 when there is none.
pub(super) fn version_of(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn range<'a>(
    objects: &'a BTreeMap<Key, Arc<Value>>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
    objects
        .range(Key::new(namespace, "")..)
        .take_while(move |(key, _)| key.namespace == namespace)
}

fn select(objects: &BTreeMap<Key, Arc<Value>>, namespace: Option<&str>) -> Vec<Arc<Value>> {
    match namespace {
        Some(namespace) => range(objects, namespace)
            .map(|(_, object)| object.clone())
            .collect(),
        None => objects.values().cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::resources::CONFIG_MAPS;
    use super::*;

    fn object(namespace: &str, name: &str, data: u64) -> Value {
        json!({"metadata": {"namespace": namespace, "name": name}, "data": data})
    }

    fn put(store: &Store, name: &str, expect: Expect, data: u64) -> Result<u64, Refused> {
        store
            .put(
                &CONFIG_MAPS,
                &Key::new("a", name),
                expect,
                object("a", name, data),
            )
            .map(|object| version_of(&object))
    }

    #[test]
    fn stale_writes_are_refused() {
        let store = Store::new();
        let first = put(&store, "x", Expect::Absent, 1).expect("is new");
        assert_eq!(put(&store, "x", Expect::Absent, 2), Err(Refused::Exists));
        let second = put(&store, "x", Expect::Version(first), 2).expect("is current");
        assert!(second > first);
        assert_eq!(
            put(&store, "x", Expect::Version(first), 3),
            Err(Refused::Changed)
        );
        assert_eq!(
            put(&store, "y", Expect::Version(1), 3),
            Err(Refused::Missing)
        );
    }

    #[test]
    fn the_past_can_be_listed() {
        let store = Store::new();
        put(&store, "x", Expect::Absent, 1).expect("is new");
        let then = put(&store, "y", Expect::Absent, 1).expect("is new");
        put(&store, "y", Expect::Version(then), 2).expect("is current");
        put(&store, "z", Expect::Absent, 1).expect("is new");
        let x = store
            .read(&CONFIG_MAPS, &Key::new("a", "x"))
            .expect("is there");
        store
            .remove(
                &CONFIG_MAPS,
                &Key::new("a", "x"),
                Expect::Version(version_of(&x)),
            )
            .expect("is current");
        let names = |objects: Vec<Arc<Value>>| -> Vec<String> {
            objects
                .iter()
                .map(|o| format!("{}{}", Key::of(o).name, o["data"]))
                .collect()
        };
        assert_eq!(names(store.list(&CONFIG_MAPS, Some("a")).1), ["y2", "z1"]);
        let past = store
            .list_at(&CONFIG_MAPS, Some("a"), then)
            .expect("is remembered");
        assert_eq!(names(past), ["x1", "y1"]);
        assert!(store.list(&CONFIG_MAPS, Some("b")).1.is_empty());
    }

    #[test]
    fn old_history_is_gone() {
        let store = Store::new();
        let mut version = put(&store, "x", Expect::Absent, 0).expect("is new");
        let first = version;
        for data in 0..=HISTORY as u64 {
            version = put(&store, "x", Expect::Version(version), data).expect("is current");
        }
        assert!(store.follow(&CONFIG_MAPS, Some(first)).is_err());
        assert!(store.list_at(&CONFIG_MAPS, None, first).is_err());
        let (missed, _) = store
            .follow(&CONFIG_MAPS, Some(version - 3))
            .expect("is remembered");
        assert_eq!(missed.len(), 3);
    }

    #[test]
    fn owners_are_indexed() {
        let store = Store::new();
        let mut child = object("a", "child", 0);
        child["metadata"]["ownerReferences"] = json!([{"uid": "u1"}]);
        store
            .put(&CONFIG_MAPS, &Key::new("a", "child"), Expect::Absent, child)
            .expect("is new");
        assert_eq!(store.dependents("u1").len(), 1);
        let child = store
            .read(&CONFIG_MAPS, &Key::new("a", "child"))
            .expect("is there");
        store
            .remove(
                &CONFIG_MAPS,
                &Key::new("a", "child"),
                Expect::Version(version_of(&child)),
            )
            .expect("is current");
        assert!(store.dependents("u1").is_empty());
    }
}

//! A world: one embedded cluster, with all that runs in it.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::admission::{AdmissionRequest, Denied, Hooks, Operation};
use super::auth::{API_AUDIENCE, Grant, Tokens, User};
use super::chaos::{Chaos, Weather};
use super::controller::{self, Next, Watch};
use super::http::TOKEN_PATH;
use super::ids::Ids;
use super::kubelet::Kubelet;
use super::registry::resources::{CONFIG_MAPS, CRDS, NAMESPACES, SERVICE_ACCOUNTS};
use super::registry::{Crd, Registry, Resource, ResourceType};
use super::runtime::{Network, Program, Runtime, Stop, Stopper};
use super::status::ApiError;
use super::store::{Expect, Key, Store};
use crate::clock::Clock;

/// Which faults a world has: the ids of the requirements that its components shall break.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(BTreeSet<String>);

impl Faults {
    /// A world without faults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether this fault is wanted.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains(id)
    }

    /// The ids.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl<S: Into<String>> FromIterator<S> for Faults {
    fn from_iter<I: IntoIterator<Item = S>>(ids: I) -> Self {
        Self(ids.into_iter().map(Into::into).collect())
    }
}

/// How a world is made.
#[derive(Clone)]
pub struct WorldOptions {
    /// The time of the world.
    pub clock: Clock,
    /// What its components do wrong.
    pub faults: Faults,
    /// What runs its containers; without one, every image is missing.
    pub runtime: Option<Arc<dyn Runtime>>,
    /// The first wait before a crashed container starts again, of the world's clock; it doubles up to 30 times as much.
    /// Real kubelets begin with 10 s.
    pub crash_back_off: Duration,
    /// Where the API server listens; port 0 is any free one.
    pub listen: SocketAddr,
    /// The version that the server claims, for example `v1.34.4`.
    pub version: String,
    /// The header by which the gateway says who asks, and what stands in it before the name.
    pub identity: (String, String),
    /// What troubles the API server and the way to it; nothing when absent.
    pub chaos: Option<Chaos>,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self {
            clock: Clock::wall(),
            faults: Faults::none(),
            runtime: None,
            crash_back_off: Duration::from_secs(10),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            version: "v1.34.4".to_owned(),
            identity: ("kubeflow-userid".to_owned(), String::new()),
            chaos: None,
        }
    }
}

impl fmt::Debug for WorldOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorldOptions")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

struct Core {
    options: WorldOptions,
    weather: Option<Weather>,
    address: SocketAddr,
    store: Arc<Store>,
    registry: Registry,
    hooks: Hooks,
    tokens: Tokens,
    admin_token: String,
    ids: Ids,
    network: Arc<Network>,
    kubelet: Kubelet,
    stopper: Stopper,
    next_address: AtomicU32,
    next_pod_address: AtomicU32,
    applied: Mutex<HashMap<(String, String), Value>>,
    directory: Mutex<Option<PathBuf>>,
}

impl Drop for Core {
    fn drop(&mut self) {
        let directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(directory) = directory {
            // What cannot be removed stays in the system's temporary directory; nobody is left to tell.
            drop(std::fs::remove_dir_all(directory));
        }
    }
}

/// A handle on an embedded cluster.
///
/// The handle that [`World::start`] returned owns the cluster: when it is dropped, everything stops. Its clones, which
/// components and tests pass around, do not keep the cluster alive.
pub struct World {
    core: Arc<Core>,
    owner: bool,
}

impl Clone for World {
    fn clone(&self) -> Self {
        Self {
            core: self.core.clone(),
            owner: false,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.owner {
            self.shutdown();
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("address", &self.core.address)
            .finish_non_exhaustive()
    }
}

impl World {
    /// Starts an empty cluster: API server, built-in controllers, kubelet; namespaces `default`, `kube-system`,
    /// `kube-public` and `kube-node-lease`; one node.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(options: WorldOptions) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind(options.listen).await?;
        let store = Arc::new(Store::new());
        let ids = Ids::new();
        let world = Self {
            core: Arc::new(Core {
                address: listener.local_addr()?,
                registry: Registry::new(),
                hooks: Hooks::default(),
                tokens: Tokens::default(),
                admin_token: ids.secret(),
                ids,
                network: Arc::new(Network::new(store.clone())),
                kubelet: Kubelet::default(),
                stopper: Stopper::new(),
                next_address: AtomicU32::new(1),
                next_pod_address: AtomicU32::new(2),
                applied: Mutex::new(HashMap::new()),
                directory: Mutex::new(None),
                store,
                weather: options.chaos.map(Weather::new),
                options,
            }),
            owner: true,
        };
        world.core.tokens.add(
            world.core.admin_token.clone(),
            Grant {
                user: User::admin(),
                audiences: Vec::new(),
                expires: None,
            },
        );
        super::bootstrap::fill(&world).await;
        super::gc::start(&world);
        super::namespaces::start(&world);
        super::workloads::start(&world);
        super::services::start(&world);
        super::kubelet::start(&world);
        super::http::serve(&world, listener);
        Ok(world)
    }

    /// Ends the API server, the controllers and the containers. Called again, it does nothing.
    pub fn shutdown(&self) {
        self.core.stopper.stop();
        self.core.store.close();
        // These may hold worlds: without this, a world would hold itself for ever.
        self.core.hooks.clear();
        if let Some(runtime) = &self.core.options.runtime {
            runtime.forget();
        }
    }

    /// Where the API server listens, for example `http://127.0.0.1:34567`.
    pub fn url(&self) -> String {
        format!("http://{}", self.core.address)
    }

    /// The socket of the API server.
    pub fn address(&self) -> SocketAddr {
        self.core.address
    }

    /// The administrator's bearer token.
    pub fn admin_token(&self) -> &str {
        &self.core.admin_token
    }

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_with(&self.core.admin_token)
    }

    /// A kubeconfig with another bearer token. The address carries it too, for clients that send none without TLS.
    pub fn kubeconfig_with(&self, token: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: reference\n  cluster:\n    server: {}{TOKEN_PATH}{token}\n\
             users:\n- name: reference\n  user:\n    token: {token}\n\
             contexts:\n- name: reference\n  context:\n    cluster: reference\n    user: reference\n    \
             namespace: default\ncurrent-context: reference\n",
            self.url()
        )
    }

    /// How many requests were struck by its chaos.
    pub fn struck(&self) -> u32 {
        self.weather().map_or(0, Weather::struck)
    }

    pub(super) fn weather(&self) -> Option<&Weather> {
        self.core.weather.as_ref()
    }

    /// Whether the API server takes no connections.
    pub(super) fn is_away(&self) -> bool {
        self.weather().is_some_and(Weather::is_away)
    }

    /// Waits until every connection breaks; for ever where nothing troubles the world.
    pub(super) async fn cut_off(&self) {
        match self.weather() {
            Some(weather) => weather.broken().await,
            None => std::future::pending().await,
        }
    }

    /// The world's clock.
    pub fn clock(&self) -> &Clock {
        &self.core.options.clock
    }

    /// The faults wanted of the world's components.
    pub fn faults(&self) -> &Faults {
        &self.core.options.faults
    }

    /// Shorthand for `faults().has(id)`.
    pub fn has_fault(&self, id: &str) -> bool {
        self.core.options.faults.has(id)
    }

    /// The present time as Kubernetes writes it in objects.
    pub fn stamp(&self) -> String {
        super::stamp(self.clock().now())
    }

    /// Says when the world ends.
    pub fn stop_signal(&self) -> Stop {
        self.core.stopper.signal()
    }

    /// Runs a task until it is done or the world ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop_signal();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.stopped() => {}
                () = task => {}
            }
        });
    }

    /// Runs a controller: `reconcile` is called for every key that `watches` yield, at first for all objects there are,
    /// then at every change; never twice at a time for one key; again after errors, with growing waits.
    pub fn controller<F, R>(&self, name: &str, watches: Vec<Watch>, reconcile: F)
    where
        F: Fn(World, Key) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Next, ApiError>> + Send + 'static,
    {
        let boxed: controller::Reconcile =
            Box::new(move |world, key| reconcile(world, key).boxed());
        self.spawn(controller::run(
            self.clone(),
            name.to_owned(),
            watches,
            boxed,
        ));
    }

    /// Registers a mutating admission hook. It gets the object in the version of the request and returns it changed.
    pub fn mutating<F, R>(&self, resource: &Resource, operations: &[Operation], hook: F)
    where
        F: Fn(AdmissionRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Value, Denied>> + Send + 'static,
    {
        let run = Arc::new(move |request| hook(request).boxed());
        self.core.hooks.add_mutating(resource, "", operations, run);
    }

    /// Registers a validating admission hook.
    pub fn validating<F, R>(&self, resource: &Resource, operations: &[Operation], hook: F)
    where
        F: Fn(AdmissionRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        let run = Arc::new(move |request| hook(request).boxed());
        self.core
            .hooks
            .add_validating(resource, "", operations, run);
    }

    /// Whether a kind is served.
    pub fn serves(&self, resource: &Resource) -> bool {
        self.registry().get(resource).is_some()
    }

    /// Installs a CRD without admission: its objects can be created at once. Cheap, as the schema is shared.
    pub fn install(&self, crd: &Crd) {
        self.core.store.preload(&CRDS, crd.object.clone());
        self.core.registry.add(crd.kind.clone());
    }

    /// Makes the containers of an image run a program of a component. Without a runtime it does nothing.
    pub fn offer(&self, repository: &str, program: Program) {
        if let Some(runtime) = &self.core.options.runtime {
            runtime.offer(repository, program);
        }
    }

    /// Makes a port of a pod lead to a socket, so that a server of a component can be reached through a pod that stands
    /// for it: by port-forward, proxy, Service or cluster DNS.
    pub fn register_endpoint(&self, namespace: &str, pod: &str, port: u16, address: SocketAddr) {
        self.core.network.register(namespace, pod, port, address);
    }

    /// Where a host and port of the cluster's network are really reached, as seen from `namespace`; see
    /// [`super::PodNetwork::resolve`].
    pub fn resolve(&self, namespace: &str, host: &str, port: u16) -> Option<SocketAddr> {
        self.core.network.resolve(namespace, host, port)
    }

    /// The header by which the gateway says who asks, and what stands in it before the name.
    pub fn identity(&self) -> (&str, &str) {
        let (header, prefix) = &self.core.options.identity;
        (header, prefix)
    }

    /// Makes a bearer token of any user, for example of a person in a test. It never expires.
    pub fn token_of(&self, user: User) -> String {
        let token = self.core.ids.secret();
        self.core.tokens.add(
            token.clone(),
            Grant {
                user,
                audiences: Vec::new(),
                expires: None,
            },
        );
        token
    }

    /// Makes a bearer token of a service account, as the TokenRequest API does.
    pub fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audiences: &[String],
        lifetime: Duration,
    ) -> Result<(String, Timestamp), ApiError> {
        let account = self.get(&SERVICE_ACCOUNTS, namespace, name)?;
        let uid = account["metadata"]["uid"].as_str().unwrap_or_default();
        let user = User::service_account(namespace, name, uid);
        let now = self.clock().now();
        let expires = now.checked_add(lifetime).unwrap_or(Timestamp::MAX);
        let audiences = if audiences.is_empty() {
            vec![API_AUDIENCE.to_owned()]
        } else {
            audiences.to_vec()
        };
        let claims = json!({
            "iss": API_AUDIENCE, "sub": user.name, "aud": audiences,
            "iat": now.as_second(), "nbf": now.as_second(), "exp": expires.as_second(),
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}},
        });
        // Shaped as a JSON web token, since clients look into them; what makes it valid is that the server knows it.
        let part = |value: &Value| super::encode_url(value.to_string().as_bytes());
        let head = json!({"alg": "RS256", "kid": "reference"});
        let token = format!(
            "{}.{}.{}",
            part(&head),
            part(&claims),
            self.core.ids.secret()
        );
        let grant = Grant {
            user,
            audiences,
            expires: Some(expires),
        };
        self.core.tokens.add(token.clone(), grant);
        Ok((token, expires))
    }

    /// Who a bearer token stands for: the user, if the token is valid now and is for one of `audiences` (for the API
    /// server, if there are none). For components that check tokens themselves.
    pub fn authenticate(&self, token: &str, audiences: &[String]) -> Option<User> {
        self.review(token, audiences).map(|(user, _)| user)
    }

    /// As `authenticate`, with the audiences that fit.
    pub(super) fn review(&self, token: &str, audiences: &[String]) -> Option<(User, Vec<String>)> {
        let grant = self.core.tokens.get(token, self.clock().now())?;
        let own = [API_AUDIENCE.to_owned()];
        let granted = if grant.audiences.is_empty() {
            own.to_vec()
        } else {
            grant.audiences
        };
        let wanted = if audiences.is_empty() {
            &own
        } else {
            audiences
        };
        let fitting: Vec<String> = wanted
            .iter()
            .filter(|a| granted.contains(a))
            .cloned()
            .collect();
        (!fitting.is_empty()).then_some((grant.user, fitting))
    }

    /// Whether RBAC allows an action. For components that ask with a SubjectAccessReview.
    pub fn allows(&self, user: &User, action: &super::Action) -> bool {
        super::auth::authorize(&self.core.store, user, action).is_some()
    }

    /// A directory of this world for volumes; removed with the world.
    pub(super) fn directory(&self) -> io::Result<PathBuf> {
        let mut directory = self
            .core
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(directory) = &*directory {
            return Ok(directory.clone());
        }
        let path = std::env::temp_dir().join(format!("kfconform-{}", self.core.ids.uid()));
        create_private(&path)?;
        *directory = Some(path.clone());
        Ok(path)
    }

    /// To see whether a world is still in memory.
    #[cfg(test)]
    pub(crate) fn downgrade(&self) -> std::sync::Weak<impl Sized + use<>> {
        Arc::downgrade(&self.core)
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.core.store
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.core.registry
    }

    pub(super) fn hooks(&self) -> &Hooks {
        &self.core.hooks
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.core.ids
    }

    pub(super) fn network(&self) -> &Arc<Network> {
        &self.core.network
    }

    pub(super) fn kubelet(&self) -> &Kubelet {
        &self.core.kubelet
    }

    pub(super) fn options(&self) -> &WorldOptions {
        &self.core.options
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.core.stopper.is_stopped()
    }

    /// An unused address of the Services' network.
    pub(super) fn next_address(&self) -> String {
        let [_, a, b, c] = self
            .core
            .next_address
            .fetch_add(1, Ordering::Relaxed)
            .to_be_bytes();
        format!("10.{}.{b}.{c}", 96_u8.wrapping_add(a))
    }

    /// An unused address of the pods' network.
    pub(super) fn next_pod_address(&self) -> String {
        let [_, a, b, c] = self
            .core
            .next_pod_address
            .fetch_add(1, Ordering::Relaxed)
            .to_be_bytes();
        format!("10.{}.{b}.{c}", 244_u8.wrapping_add(a))
    }

    /// Keeps what a manager applied, so that its next apply can remove what it then leaves out.
    pub(super) fn remember_applied(&self, object: &Value, manager: &str, applied: &Value) {
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.core
            .applied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((uid, manager.to_owned()), applied.clone());
    }

    /// What a manager applied to this object before.
    pub(super) fn applied_before(&self, object: &Value, manager: &str) -> Option<Value> {
        let uid = object["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.core
            .applied
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&(uid, manager.to_owned()))
            .cloned()
    }

    /// What every new object of some types brings with it at once.
    pub(super) fn created(&self, kind: &ResourceType, object: &Value) {
        if kind.resource != NAMESPACES {
            return;
        }
        // Real controllers need a moment for these; a moment in which pods are refused and components retry.
        let namespace = Key::of(object).name;
        let put = |resource: &Resource, mut object: Value| {
            object["metadata"]["namespace"] = json!(namespace);
            object["metadata"]["uid"] = json!(self.ids().uid());
            object["metadata"]["creationTimestamp"] = json!(self.stamp());
            let key = Key::of(&object);
            // If somebody else was faster, theirs stays.
            drop(self.store().put(resource, &key, Expect::Absent, object));
        };
        put(
            &SERVICE_ACCOUNTS,
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}),
        );
        put(
            &CONFIG_MAPS,
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"},
                "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
            }),
        );
    }
}

/// Makes a directory that only this user can enter.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

//! The live way to the cluster.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use http_body_util::BodyExt;
use kube::{
    Client,
    client::{AuthError, Body as KubeBody},
    config::{Kubeconfig, KubeconfigError},
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc};

use super::{
    Config, Kind, TransportError,
    config::{Access, IdentityHeader},
    exchange::{
        Answer, Asked, Body, Endpoint, Identity, Keep, MAX_BODY, MAX_PAGES, MAX_WEIGHT, Request,
        document, recorded_headers, weight,
    },
    grpc, kinds,
    proxy::{self, Proxies},
    redact::Redactor,
    tunnel::Tunnel,
};
use crate::clock::Clock;

/// Which cluster to connect to.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A kubeconfig file; `KUBECONFIG`, the home directory's and then the in-cluster configuration when absent.
    pub kubeconfig: Option<PathBuf>,
    /// A kubeconfig given as text (the embedded reference's).
    pub kubeconfig_text: Option<String>,
    /// The context; the current one when absent.
    pub context: Option<String>,
}

/// Why no connection to a cluster can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig cannot be used.
    #[error("{0}")]
    Kubeconfig(String),
    /// The client cannot be made.
    #[error("no client can be made from the kubeconfig: {0}")]
    Client(String),
}

/// The live cluster: the Kubernetes API by `kube`, the components' HTTP APIs by `reqwest`.
pub struct Door {
    kube: Client,
    /// The same without the kubeconfig's credentials, for requests as somebody else: these would win over a token.
    bare: Client,
    server: String,
    http: reqwest::Client,
    clock: Clock,
    /// What lies between the run's start and the clock's (a resumed run has a clock of its own).
    offset: Duration,
    run: String,
    request_timeout: Duration,
    in_cluster: bool,
    /// How components are told who asks.
    identity: std::sync::RwLock<IdentityHeader>,
    /// What is secret is learnt as the run goes: tokens are made for it.
    redactor: std::sync::RwLock<Arc<Redactor>>,
    components: std::sync::RwLock<BTreeMap<String, Access>>,
    tunnels: Mutex<HashMap<String, Tunnel>>,
    /// Tokens of service accounts, each with the time from which a new one is asked for.
    tokens: Mutex<HashMap<String, (u64, String)>>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// What a door is told about the run that it serves.
#[derive(Debug, Clone)]
pub struct DoorOptions {
    /// The run's id, for the User-Agent.
    pub run: String,
    /// The run's clock.
    pub clock: Clock,
    /// The time between the run's start and the clock's.
    pub offset: Duration,
    /// How long an answer may take unless a request says otherwise.
    pub request_timeout: Duration,
}

impl Door {
    /// Makes the clients. Nothing is sent yet.
    pub async fn connect(
        target: &Target,
        config: &Config,
        options: DoorOptions,
    ) -> Result<Self, ConnectError> {
        crate::install_crypto();
        let kubeconfig = kubeconfig(target)?;
        let in_cluster = kubeconfig.is_none();
        let mut kube_config = match kubeconfig {
            Some(kubeconfig) => configured(kubeconfig, target.context.clone()).await?,
            None => kube::Config::incluster().map_err(|e| {
                ConnectError::Kubeconfig(format!(
                    "this pod's own cluster cannot be used: {}",
                    chain(&e)
                ))
            })?,
        };
        // Our own retries are recorded; hidden ones would not be.
        kube_config.default_retry = false;
        kube_config.connect_timeout = Some(Duration::from_secs(10));
        kube_config.read_timeout = None;
        kube_config.write_timeout = None;
        let proxies = Proxies::of_environment();
        let secrets = config.secrets().chain(credentials(&kube_config));
        let redactor = Redactor::new(secrets.chain(proxies.passwords()));
        let clean = |why: &str| ConnectError::Client(redactor.text(why));
        let server = address(&kube_config.cluster_url);
        let mut bare_config = kube_config.clone();
        bare_config.auth_info = kube::config::AuthInfo::default();
        let bare = Client::try_from(bare_config).map_err(|e| clean(&no_client(&e)))?;
        // A plugin that gets the credentials blocks, and may ask its user something.
        let kube = tokio::task::spawn_blocking(move || Client::try_from(kube_config))
            .await
            .map_err(|e| clean(&e.to_string()))?
            .map_err(|e| clean(&no_client(&e)))?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .proxy(reqwest::Proxy::custom(move |url| {
                proxies.of(url).map(ToOwned::to_owned)
            }))
            .connect_timeout(Duration::from_secs(10))
            .build()
            .map_err(|e| clean(&e.to_string()))?;
        Ok(Self {
            kube,
            bare,
            server,
            http,
            clock: options.clock,
            offset: options.offset,
            run: options.run,
            request_timeout: options.request_timeout,
            in_cluster: config.in_cluster.unwrap_or(in_cluster),
            identity: std::sync::RwLock::new(config.identity.clone()),
            redactor: std::sync::RwLock::new(Arc::new(redactor)),
            components: std::sync::RwLock::new(BTreeMap::new()),
            tunnels: Mutex::new(HashMap::new()),
            tokens: Mutex::new(HashMap::new()),
        })
    }

    /// Milliseconds since the run's start.
    pub fn now_ms(&self) -> u64 {
        super::session::millis(self.offset + self.clock.elapsed())
    }

    /// The address of the Kubernetes API, like `https://10.0.0.1:6443`.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The run's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Tells where a component's HTTP API is; from then on [`Endpoint::Component`] of that name leads there.
    pub(super) fn set_component(&self, name: &str, access: Access) {
        self.components
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(name.to_owned(), access);
    }

    /// Tells in which header who asks is told to components.
    pub(super) fn set_identity(&self, header: IdentityHeader) {
        *self
            .identity
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = header;
    }

    /// The header in which who asks is told to components.
    fn identity(&self) -> IdentityHeader {
        self.identity
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// What takes secrets out of all that is written of the run, as far as they are known by now.
    pub(crate) fn redactor(&self) -> Arc<Redactor> {
        self.redactor
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn learn(&self, secret: &str) {
        let mut redactor = self
            .redactor
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::make_mut(&mut redactor).learn(secret);
    }

    /// A request as it may be recorded.
    pub(super) fn redact_asked(&self, mut asked: Asked) -> Asked {
        self.redactor().asked(&mut asked);
        asked
    }

    fn user_agent(&self, check: &str) -> String {
        format!(
            "kfconform/{} (run={}; check={check})",
            env!("CARGO_PKG_VERSION"),
            self.run
        )
    }

    /// Sends a request for a check and reads the whole answer, in the form in which it may be recorded.
    pub(super) async fn send(
        &self,
        request: Request,
        check: &str,
    ) -> Result<Answer, TransportError> {
        let timeout = request.timeout.unwrap_or(self.request_timeout);
        let sent = match (&request.call, &request.keep) {
            (Some(call), _) => {
                let answer = self.called(&request.asked, call, check);
                Self::in_time(timeout, answer).await
            }
            (None, None) => self.within(timeout, &request.asked, check).await,
            (None, Some(keep)) => self.reduced(timeout, &request.asked, keep, check).await,
        };
        match sent {
            Ok(answer) => Ok(self.recorded(answer, &request.asked.to)),
            Err(error) => Err(self.redactor().error(error)),
        }
    }

    /// An answer in the form in which it may be recorded.
    fn recorded(&self, mut answer: Answer, from: &Endpoint) -> Answer {
        if let (Endpoint::Kubernetes, Body::Json(value)) = (from, &mut answer.body) {
            super::foreign::reduce(value, &self.run);
        }
        self.redactor().answer(&mut answer);
        answer
    }

    /// Timeouts of requests are the wall's: a faster clock makes no faster network.
    async fn within(
        &self,
        timeout: Duration,
        asked: &Asked,
        check: &str,
    ) -> Result<Answer, TransportError> {
        Self::in_time(timeout, self.answer(asked, check)).await
    }

    async fn in_time(
        timeout: Duration,
        answer: impl Future<Output = Result<Answer, TransportError>>,
    ) -> Result<Answer, TransportError> {
        match tokio::time::timeout(timeout, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Timeout(timeout.as_secs())),
        }
    }

    /// The answer to the call of a gRPC method.
    async fn called(
        &self,
        asked: &Asked,
        call: &grpc::Call,
        check: &str,
    ) -> Result<Answer, TransportError> {
        let base = self.base_url(&asked.to).await?;
        let mut metadata = Vec::new();
        if let Identity::User { name } = &asked.identity {
            let identity = self.identity();
            let value = format!("{}{}", identity.prefix, name.as_str());
            metadata.push((identity.header.to_ascii_lowercase(), value));
        }
        if let Some(token) = self.component_token(asked).await? {
            metadata.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        let way = grpc::Way {
            base: &base,
            user_agent: &self.user_agent(check),
            metadata,
        };
        let error = match grpc::call(way, asked, call).await {
            Err(error @ TransportError::Unreachable(_)) => error,
            other => return other,
        };
        let tunnels = self.tunnels.lock().await;
        let tunnel = tunnels
            .values()
            .find(|tunnel| base == format!("http://{}", tunnel.address));
        Err(tunnel.and_then(Tunnel::trouble).unwrap_or(error))
    }

    /// What is to be kept of an answer, of all pages of a list.
    async fn reduced(
        &self,
        timeout: Duration,
        asked: &Asked,
        keep: &Keep,
        check: &str,
    ) -> Result<Answer, TransportError> {
        let mut page = asked.clone();
        let mut kept = Vec::new();
        let (mut seen, mut in_memory) = (HashSet::new(), 0);
        for _ in 0..MAX_PAGES {
            let mut answer = self.within(timeout, &page, check).await?;
            let success = answer.is_success();
            let Body::Json(body) = &mut answer.body else {
                return Ok(answer);
            };
            if !success {
                return Ok(answer);
            }
            let Some(Value::Array(items)) = body.get_mut("items").map(Value::take) else {
                *body = keep.of(body);
                return Ok(answer);
            };
            for item in items.iter().map(|item| keep.of(item)) {
                let text = item.to_string();
                in_memory += weight(text.as_bytes());
                if in_memory > MAX_WEIGHT {
                    return Err(TransportError::TooLarge(MAX_WEIGHT));
                }
                if !item.is_null() && seen.insert(text) {
                    kept.push(item);
                }
            }
            match body["metadata"]["continue"].as_str() {
                None | Some("") => {
                    *body = json!({"kind": body["kind"], "apiVersion": body["apiVersion"], "items": kept});
                    return Ok(answer);
                }
                // It names the last object of the page, whosever that is: another reason to record no page by itself.
                Some(next) => {
                    page.path =
                        format!("{}&continue={}", asked.path, super::discover::escape(next));
                }
            }
        }
        Err(TransportError::TooManyPages(MAX_PAGES))
    }

    async fn answer(&self, asked: &Asked, check: &str) -> Result<Answer, TransportError> {
        if asked.to == Endpoint::Kubernetes {
            let response = self
                .client(&asked.identity)
                .send(self.kube_request(asked, check).await?)
                .await
                .map_err(|e| kube_error(&e))?;
            let (parts, body) = response.into_parts();
            let bytes = http_body_util::Limited::new(body, MAX_BODY)
                .collect()
                .await
                .map_err(
                    |e| match e.downcast_ref::<http_body_util::LengthLimitError>() {
                        Some(_) => TransportError::TooLarge(MAX_BODY),
                        None => TransportError::Unreachable(e.to_string()),
                    },
                )?
                .to_bytes();
            return Ok(received(parts.status.as_u16(), &parts.headers, &bytes));
        }
        let mut request = self.http_request(asked, check).await?;
        if let Some(token) = self.component_token(asked).await? {
            request = request.bearer_auth(token);
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.no_answer(&asked.to, &error).await),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut response = response;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| http_error(&e))? {
            if bytes.len() + chunk.len() > MAX_BODY {
                return Err(TransportError::TooLarge(MAX_BODY));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(received(status, &headers, &bytes))
    }

    /// Opens a stream of JSON lines at the Kubernetes API. An answer that is no stream comes back beside the error.
    pub(super) async fn stream(
        &self,
        request: Request,
        check: &str,
    ) -> Result<mpsc::Receiver<Value>, (TransportError, Option<Answer>)> {
        let no_answer = |error| (self.redactor().error(error), None);
        let timeout = request.timeout.unwrap_or(self.request_timeout);
        let send = async {
            self.client(&request.asked.identity)
                .send(self.kube_request(&request.asked, check).await?)
                .await
                .map_err(|e| kube_error(&e))
        };
        let response = tokio::time::timeout(timeout, send)
            .await
            .map_err(|_| no_answer(TransportError::Timeout(timeout.as_secs())))?
            .map_err(no_answer)?;
        let (parts, body) = response.into_parts();
        if !parts.status.is_success() {
            // As for any other answer: a body that drips, or does not end, says no more than its status.
            let body = http_body_util::Limited::new(body, MAX_BODY).collect();
            let bytes = match tokio::time::timeout(timeout, body).await {
                Ok(Ok(body)) => body.to_bytes(),
                _ => bytes::Bytes::new(),
            };
            let answer = received(parts.status.as_u16(), &parts.headers, &bytes);
            let answer = self.recorded(answer, &request.asked.to);
            return Err((answer.no_stream(), Some(answer)));
        }
        let (sender, receiver) = mpsc::channel(64);
        let (redactor, run) = (self.redactor(), self.run.clone());
        tokio::spawn(async move {
            let mut body = body;
            let mut buffer: Vec<u8> = Vec::new();
            loop {
                let frame = tokio::select! {
                    frame = body.frame() => frame,
                    () = sender.closed() => return,
                };
                let Some(Ok(frame)) = frame else { return };
                let Some(data) = frame.data_ref() else {
                    continue;
                };
                if buffer.len() + data.len() > MAX_BODY {
                    return;
                }
                buffer.extend_from_slice(data);
                // Looked at once, whatever the lines are: the last one is whole, or is what is left for later.
                let Some(end) = data.iter().rposition(|b| *b == b'\n') else {
                    continue;
                };
                let left = buffer.split_off(buffer.len() - (data.len() - end - 1));
                let lines = std::mem::replace(&mut buffer, left);
                for line in lines.split(|b| *b == b'\n') {
                    let Some(mut value) = document(line) else {
                        continue;
                    };
                    if let Some(object) = value.get_mut("object") {
                        super::foreign::reduce(object, &run);
                    }
                    redactor.value(&mut value);
                    if sender.send(value).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(receiver)
    }

    /// The client of the Kubernetes API for requests as somebody.
    fn client(&self, identity: &Identity) -> &Client {
        match identity {
            Identity::Suite => &self.kube,
            Identity::Nobody | Identity::ServiceAccount { .. } | Identity::User { .. } => {
                &self.bare
            }
        }
    }

    async fn kube_request(
        &self,
        asked: &Asked,
        check: &str,
    ) -> Result<http::Request<KubeBody>, TransportError> {
        let mut request = http::Request::builder()
            .method(asked.method.as_str())
            .uri(&asked.path)
            .header("user-agent", self.user_agent(check));
        for (name, value) in &asked.headers {
            request = request.header(name, value);
        }
        match &asked.identity {
            Identity::ServiceAccount {
                namespace,
                name,
                audience,
            } => {
                let token = self.token(namespace, name, audience.as_deref()).await?;
                request = request.header("authorization", format!("Bearer {token}"));
            }
            Identity::User { name } => {
                return Err(TransportError::Credential(format!(
                    "the Kubernetes API knows no identity header, so that nothing can be asked of it as `{}`",
                    name.as_str()
                )));
            }
            Identity::Suite | Identity::Nobody => {}
        }
        request
            .body(KubeBody::from(asked.body.bytes()))
            .map_err(|e| TransportError::Unreachable(e.to_string()))
    }

    async fn http_request(
        &self,
        asked: &Asked,
        check: &str,
    ) -> Result<reqwest::RequestBuilder, TransportError> {
        let base = self.base_url(&asked.to).await?;
        let method = reqwest::Method::from_bytes(asked.method.as_bytes())
            .map_err(|e| TransportError::Unreachable(e.to_string()))?;
        let mut request = self
            .http
            .request(method, format!("{base}{}", asked.path))
            .header("user-agent", self.user_agent(check));
        for (name, value) in &asked.headers {
            request = request.header(name, value);
        }
        if let Identity::User { name } = &asked.identity {
            let identity = self.identity();
            let value = format!("{}{}", identity.prefix, name.as_str());
            request = request.header(&identity.header, value);
        }
        if !asked.body.is_empty() {
            request = request.body(asked.body.bytes());
        }
        Ok(request)
    }

    fn access(&self, name: &str) -> Result<Access, TransportError> {
        self.components
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(name)
            .cloned()
            .ok_or_else(|| TransportError::Unreachable(format!("no way to {name} is known")))
    }

    async fn base_url(&self, to: &Endpoint) -> Result<String, TransportError> {
        match to {
            Endpoint::Kubernetes => Err(TransportError::Unreachable(
                "the Kubernetes API has no URL here".to_owned(),
            )),
            Endpoint::Pod(address) => {
                let (pod, port) = address.rsplit_once(':').unwrap_or((address, ""));
                let (namespace, name) = pod.split_once('/').unwrap_or(("default", pod));
                let port: u16 = port
                    .parse()
                    .map_err(|_| TransportError::Unreachable(format!("no port in {address}")))?;
                self.pod_url(namespace, name, port).await
            }
            Endpoint::Component(name) => match self.access(name)? {
                Access::Url { url, .. } => Ok(url.trim_end_matches('/').to_owned()),
                Access::Service {
                    namespace,
                    name,
                    port,
                } if self.in_cluster => Ok(format!("http://{name}.{namespace}.svc:{port}")),
                Access::Service {
                    namespace,
                    name,
                    port,
                } => {
                    let (pod, port) = self.pod_of_service(&namespace, &name, port).await?;
                    self.pod_url(&namespace, &pod, port).await
                }
            },
        }
    }

    async fn pod_url(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
    ) -> Result<String, TransportError> {
        if self.in_cluster {
            let object = self.get(&kinds::POD, namespace, pod).await?;
            let ip = object["status"]["podIP"]
                .as_str()
                .unwrap_or_default()
                .to_owned();
            return Ok(if ip.contains(':') {
                format!("http://[{ip}]:{port}")
            } else {
                format!("http://{ip}:{port}")
            });
        }
        let key = format!("{namespace}/{pod}:{port}");
        let mut tunnels = self.tunnels.lock().await;
        if let Some(tunnel) = tunnels.get(&key) {
            return Ok(format!("http://{}", tunnel.address));
        }
        let tunnel = Tunnel::open(self.kube.clone(), namespace, pod, port)
            .await
            .map_err(|e| TransportError::Unreachable(format!("no local port for {key}: {e}")))?;
        let url = format!("http://{}", tunnel.address);
        tunnels.insert(key, tunnel);
        Ok(url)
    }

    /// Why a request had no answer, as the tunnel that it went through tells it, or as the connection does.
    async fn no_answer(&self, to: &Endpoint, error: &reqwest::Error) -> TransportError {
        let port = error.url().and_then(reqwest::Url::port);
        let tunnels = self.tunnels.lock().await;
        let tunnel = tunnels
            .values()
            .find(|tunnel| Some(tunnel.address.port()) == port);
        match tunnel {
            Some(tunnel) => tunnel.trouble().unwrap_or_else(|| http_error(error)),
            // In the cluster a pod's address is spoken to.
            None if matches!(to, Endpoint::Pod(_)) && is_refused(error) => {
                TransportError::Refused("connection refused".to_owned())
            }
            None => http_error(error),
        }
    }

    /// A ready pod behind a Service, and the port of it that the Service's `port` leads to. Looked up for each
    /// request, so that a component that was restarted is found again; not recorded, being no check's request.
    async fn pod_of_service(
        &self,
        namespace: &str,
        name: &str,
        port: u16,
    ) -> Result<(String, u16), TransportError> {
        let service = self.get(&kinds::SERVICE, namespace, name).await?;
        let selector = service["spec"]["selector"]
            .as_object()
            .map(|s| {
                s.iter()
                    .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
                    .collect::<Vec<_>>()
                    .join(",")
            })
            .unwrap_or_default();
        if selector.is_empty() {
            return Err(TransportError::Unreachable(format!(
                "Service {namespace}/{name} selects no pods"
            )));
        }
        let path = format!(
            "{}?labelSelector={}",
            kinds::POD.path(namespace),
            super::discover::escape(&selector)
        );
        let pods = self.fetch(&path).await?;
        let pod = pods["items"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|pod| super::discover::is_ready(pod))
            .ok_or_else(|| {
                TransportError::Unreachable(format!(
                    "no ready pod behind Service {namespace}/{name}"
                ))
            })?;
        let target = super::discover::target_port(&service, pod, port).ok_or_else(|| {
            TransportError::Unreachable(format!("Service {namespace}/{name} has no port {port}"))
        })?;
        Ok((
            pod["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            target,
        ))
    }

    async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, TransportError> {
        self.fetch(&format!("{}/{name}", kind.path(namespace)))
            .await
    }

    async fn fetch(&self, path: &str) -> Result<Value, TransportError> {
        let asked = Request::new(Endpoint::Kubernetes, "GET", path).asked;
        let answer = Box::pin(self.answer(&asked, "run/access")).await?;
        let said = || format!("GET {path}: {}", answer.summary());
        match answer.status {
            200..=299 => Ok(answer.json().clone()),
            401 | 403 => Err(TransportError::Credential(said())),
            _ => Err(TransportError::Unreachable(said())),
        }
    }

    /// The bearer token that a component's endpoint wants for this request, if any.
    async fn component_token(&self, asked: &Asked) -> Result<Option<String>, TransportError> {
        let Endpoint::Component(component) = &asked.to else {
            return Ok(None);
        };
        match &asked.identity {
            Identity::Nobody | Identity::User { .. } => Ok(None),
            Identity::ServiceAccount {
                namespace,
                name,
                audience,
            } => self
                .token(namespace, name, audience.as_deref())
                .await
                .map(Some),
            Identity::Suite => match self.access(component)? {
                Access::Url { token, .. } => Ok(token),
                Access::Service { .. } => Ok(None),
            },
        }
    }

    /// A service account's token of an hour, minted once for each account and audience.
    async fn token(
        &self,
        namespace: &str,
        name: &str,
        audience: Option<&str>,
    ) -> Result<String, TransportError> {
        let key = format!("{namespace}/{name}/{}", audience.unwrap_or_default());
        let mut tokens = self.tokens.lock().await;
        let now = self.now_ms();
        if let Some((until, token)) = tokens.get(&key)
            && now < *until
        {
            return Ok(token.clone());
        }
        let mut spec = json!({"expirationSeconds": 3600});
        if let Some(audience) = audience {
            spec["audiences"] = json!([audience]);
        }
        let body =
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
        let request = http::Request::post(format!(
            "{}/{name}/token",
            kinds::SERVICE_ACCOUNT.path(namespace)
        ))
        .header("content-type", "application/json")
        .header("user-agent", self.user_agent("run/access"))
        .body(KubeBody::from(body.to_string().into_bytes()))
        .map_err(|e| TransportError::Credential(e.to_string()))?;
        let what = |why: &str| format!("no token for service account {namespace}/{name}: {why}");
        let unreachable = |why: &str| TransportError::Unreachable(what(why));
        let sent = self.kube.send(request).await;
        let (parts, body) = sent.map_err(|e| unreachable(&chain(&e)))?.into_parts();
        let read = http_body_util::Limited::new(body, MAX_BODY).collect().await;
        let bytes = read.map_err(|e| unreachable(&e.to_string()))?.to_bytes();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: BTreeMap::new(),
            body: Body::of(&bytes),
        };
        match answer.status {
            200..=299 => {}
            401 | 403 => return Err(TransportError::Credential(what(&answer.summary()))),
            _ => return Err(unreachable(&answer.summary())),
        }
        let token = answer.json()["status"]["token"]
            .as_str()
            .ok_or_else(|| unreachable("the answer holds none"))?;
        self.learn(token);
        // Four fifths of the hour that was asked for.
        tokens.insert(key, (now + 48 * 60 * 1000, token.to_owned()));
        Ok(token.to_owned())
    }
}

/// A plain client of a target's Kubernetes API and its address, for what is no check's: nothing of it is recorded.
pub(crate) async fn client(target: &Target) -> Result<(Client, String), ConnectError> {
    crate::install_crypto();
    let mut config = match kubeconfig(target)? {
        Some(kubeconfig) => configured(kubeconfig, target.context.clone()).await?,
        None => kube::Config::incluster().map_err(|e| {
            ConnectError::Kubeconfig(format!(
                "this pod's own cluster cannot be used: {}",
                chain(&e)
            ))
        })?,
    };
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = None;
    config.write_timeout = None;
    let redactor = Redactor::new(credentials(&config));
    let server = address(&config.cluster_url);
    // A plugin that gets the credentials blocks, and may ask its user something.
    let client = tokio::task::spawn_blocking(move || Client::try_from(config))
        .await
        .map_err(|e| ConnectError::Client(e.to_string()))?
        .map_err(|e| ConnectError::Client(redactor.text(&no_client(&e))))?;
    Ok((client, server))
}

/// The kubeconfig of a target; none inside a pod that has none.
fn kubeconfig(target: &Target) -> Result<Option<Kubeconfig>, ConnectError> {
    let unusable = |what: String| Err(ConnectError::Kubeconfig(what));
    let read = match (&target.kubeconfig_text, &target.kubeconfig) {
        (Some(text), _) => Kubeconfig::from_yaml(text),
        (None, Some(path)) => Kubeconfig::read_from(path),
        (None, None) => Kubeconfig::read(),
    };
    let error = match read {
        Ok(kubeconfig) => return Ok(Some(kubeconfig)),
        Err(error) => error,
    };
    let named = target.kubeconfig.is_some() || std::env::var_os("KUBECONFIG").is_some();
    match error {
        KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath
            if !named && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() =>
        {
            Ok(None)
        }
        KubeconfigError::ReadConfig(..) | KubeconfigError::FindPath if !named => unusable(
            "no cluster is given: there is no ~/.kube/config, KUBECONFIG is not set, and this is no pod; name a kubeconfig \
             with --kubeconfig, or see it work with `kfconform run --reference`"
                .to_owned(),
        ),
        KubeconfigError::ReadConfig(error, path) => unusable(format!(
            "cannot read the kubeconfig {}: {error}; name another with --kubeconfig or KUBECONFIG",
            path.display()
        )),
        KubeconfigError::Parse(error) => {
            let (at, what) = crate::spec::read_error(&error);
            let what = what.lines().next().unwrap_or_default();
            let what = what.trim_start_matches("error: ");
            let path = target
                .kubeconfig
                .as_ref()
                .map(|path| format!(" {}", path.display()))
                .unwrap_or_default();
            let at = at
                .map(|(line, column)| format!(", line {line}, column {column}"))
                .unwrap_or_default();
            unusable(format!(
                "the kubeconfig{path} is not one{at}: {what}; a good one is what `kubectl config view --raw` prints"
            ))
        }
        error => unusable(format!(
            "the kubeconfig cannot be used: {}; compare it with what `kubectl config view` prints",
            chain(&error)
        )),
    }
}

/// The configuration of a kubeconfig's context.
async fn configured(
    kubeconfig: Kubeconfig,
    context: Option<String>,
) -> Result<kube::Config, ConnectError> {
    let known: Vec<String> = kubeconfig.contexts.iter().map(|c| c.name.clone()).collect();
    let wanted = context
        .clone()
        .or_else(|| kubeconfig.current_context.clone())
        .filter(|name| !name.is_empty());
    match wanted {
        Some(name) if !known.contains(&name) => {
            let unknown = crate::spec::Unknown::new("context", &name, &known);
            return Err(ConnectError::Kubeconfig(unknown.to_string()));
        }
        None => {
            return Err(ConnectError::Kubeconfig(match known.as_slice() {
                [] => {
                    "the kubeconfig names no cluster; name another with --kubeconfig or KUBECONFIG"
                        .to_owned()
                }
                known => format!(
                    "the kubeconfig has no current context; choose one with --context: {}",
                    known.join(", ")
                ),
            }));
        }
        Some(_) => {}
    }
    let own_proxy = kubeconfig
        .clusters
        .iter()
        .any(|c| c.cluster.as_ref().is_some_and(|c| c.proxy_url.is_some()));
    let options = kube::config::KubeConfigOptions {
        context,
        ..Default::default()
    };
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|e| {
            ConnectError::Kubeconfig(format!(
                "the kubeconfig cannot be used: {}; compare it with what `kubectl config view` prints",
                chain(&e)
            ))
        })?;
    // kube holds NO_PROXY against the proxy's own address; it is about the server's.
    let host = config.cluster_url.host().unwrap_or_default();
    if !own_proxy && Proxies::of_environment().spare(host) {
        config.proxy_url = None;
    }
    Ok(config)
}

/// Scheme, host and port of a URL; not the user.
fn address(url: &http::Uri) -> String {
    let authority = url.authority().map_or("", |a| a.as_str());
    format!(
        "{}://{}",
        url.scheme_str().unwrap_or("https"),
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    )
}

/// What came over the wire, in the form of what is recorded.
fn received(status: u16, headers: &http::HeaderMap, bytes: &[u8]) -> Answer {
    Answer {
        status,
        headers: recorded_headers(headers),
        body: Body::of(bytes),
    }
}

/// Why a client cannot be made, and what to do about it.
fn no_client(error: &kube::Error) -> String {
    let by_hand = "try it with `kubectl version`";
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(error)) => {
            format!("the user's credential plugin does not start: {error}; {by_hand}")
        }
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.trim();
            format!(
                "the user's credential plugin ended with {}{}{said}; {by_hand}",
                out.status,
                if said.is_empty() { "" } else { ": " }
            )
        }
        other => format!("{}; {by_hand}", chain(other)),
    }
}

/// The secrets that lead to the cluster: the kubeconfig's, in it or in files that it names, and the proxy's password.
fn credentials(config: &kube::Config) -> Vec<String> {
    let auth = &config.auth_info;
    // kube's own serialization is the one place that shows its secrets.
    let mut secrets = Vec::new();
    super::redact::secrets(
        &serde_json::to_value(auth).unwrap_or_default(),
        &mut secrets,
    );
    let files = [&auth.token_file, &auth.client_key, &auth.client_certificate];
    let files = files.into_iter().flatten();
    secrets.extend(files.filter_map(|file| std::fs::read_to_string(file).ok()));
    for data in secrets.clone() {
        let bytes = base64::engine::general_purpose::STANDARD.decode(&data);
        secrets.extend(bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    }
    // Of a PEM file each line is one, however they are joined.
    let lines = secrets.iter().flat_map(|text| text.lines());
    let lines = lines.map(str::trim).filter(|l| !l.starts_with("-----"));
    let mut secrets: Vec<String> = lines.map(ToOwned::to_owned).collect();
    for url in [Some(&config.cluster_url), config.proxy_url.as_ref()] {
        secrets.extend(url.into_iter().flat_map(proxy::password));
    }
    secrets
}

fn kube_error(error: &kube::Error) -> TransportError {
    TransportError::Unreachable(chain(error))
}

fn http_error(error: &reqwest::Error) -> TransportError {
    // reqwest's own message holds the URL with the tunnel's local port, which differs from run to run.
    let what = if error.is_connect() {
        "no connection could be made"
    } else {
        "the connection broke"
    };
    let why = std::error::Error::source(error)
        .map(|source| format!(": {}", chain(source)))
        .unwrap_or_default();
    TransportError::Unreachable(format!("{what}{why}"))
}

/// Whether the peer's host answered that nothing listens.
fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error with its causes, each once, without what only says in which layer it is.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    const LAYERS: [&str; 6] = [
        "ServiceError: ",
        "HyperError: ",
        "client error (Connect)",
        "client error (SendRequest)",
        "error sending request",
        "auth error: ",
    ];
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let whole = cause.to_string();
        let mut said = whole.as_str();
        for layer in LAYERS {
            if let Some(rest) = said.strip_prefix(layer)
                && (!rest.is_empty() || cause.source().is_some())
            {
                said = rest;
            }
        }
        if said == "deadline has elapsed" {
            said = "no answer in time";
        }
        if text.is_empty() {
            said.clone_into(&mut text);
        } else if !said.is_empty() && !text.contains(said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

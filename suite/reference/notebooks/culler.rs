//! Stops notebooks whose kernels are idle.
//!
//! Each notebook that runs is asked for its kernels once a period. When one of them last did something is kept in an
//! annotation; a notebook for which that is too long ago gets the annotation that stops it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    super::kube::{ApiError, Key, Next, Watch, World, resources::PODS},
    NOTEBOOKS, SERVING_PORT, STOPPED, is_stopped,
};

/// After how many minutes without work a notebook is stopped, and how often it is looked at.
pub(super) const IDLE: i64 = 1440;
pub(super) const PERIOD: i64 = 1;

/// When the notebook last did something, and when it was last asked.
const ACTIVITY: &str = "notebooks.kubeflow.org/last-activity";
const ASKED: &str = "notebooks.kubeflow.org/last_activity_check_timestamp";

/// The longest answer that is read, in bytes, and the longest time that it may take.
const LONGEST: u64 = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Watches all notebooks.
pub(super) fn install(world: &World) {
    let watches = vec![Watch::on(&NOTEBOOKS)];
    world.controller(
        "notebook-culler",
        watches,
        |world: World, key: Key| async move { Culler { world, key }.look().await },
    );
}

/// A look at one notebook.
struct Culler {
    world: World,
    key: Key,
}

impl Culler {
    fn has(&self, fault: &str) -> bool {
        self.world.has_fault(&format!("notebooks/culling/{fault}"))
    }

    async fn look(&self) -> Result<Next, ApiError> {
        let Key { namespace, name } = &self.key;
        let Some(notebook) = self.world.find(&NOTEBOOKS, namespace, name) else {
            return Ok(Next::Wait);
        };
        if !notebook["metadata"]["deletionTimestamp"].is_null() {
            return Ok(Next::Wait);
        }
        let annotations = &notebook["metadata"]["annotations"];
        let pod = self.world.find(&PODS, namespace, &format!("{name}-0"));
        if is_stopped(&notebook) || pod.is_none() {
            if !annotations[ACTIVITY].is_null() || !annotations[ASKED].is_null() {
                self.annotate(json!({ACTIVITY: null, ASKED: null})).await?;
            }
            return Ok(Next::Wait);
        }
        let period = SignedDuration::from_mins(PERIOD);
        let again = Next::After(period.unsigned_abs());
        let now = self.world.clock().now();
        let Some(asked) = time_of(&annotations[ASKED]) else {
            self.annotate(json!({ACTIVITY: self.world.stamp(), ASKED: self.world.stamp()}))
                .await?;
            return Ok(again);
        };
        if asked.checked_add(period).is_ok_and(|next| next >= now) {
            return Ok(again);
        }
        let mut active = time_of(&annotations[ACTIVITY]).unwrap_or(asked);
        if let Some(last) = self.kernels().await.and_then(|kernels| self.last(&kernels)) {
            active = last;
        }
        self.annotate(
            json!({ACTIVITY: super::super::kube::stamp(active), ASKED: self.world.stamp()}),
        )
        .await?;
        let idle = SignedDuration::from_mins(IDLE);
        let over = active.checked_add(idle).is_ok_and(|end| end < now);
        if over && !self.has("stops-idle") {
            self.annotate(json!({STOPPED: self.world.stamp()})).await?;
        }
        Ok(again)
    }

    async fn annotate(&self, mut annotations: Value) -> Result<(), ApiError> {
        if self.has("records-activity") && !annotations[ACTIVITY].is_null() {
            annotations[ACTIVITY] = Value::Null;
        }
        let Key { namespace, name } = &self.key;
        let patch = json!({"metadata": {"annotations": annotations}});
        self.world
            .patch_merge(&NOTEBOOKS, namespace, name, patch)
            .await
            .map(drop)
    }

    /// When the kernels last did something: now, if one of them is at work.
    fn last(&self, kernels: &[Value]) -> Option<Timestamp> {
        let busy = |kernel: &&Value| kernel["execution_state"] != "idle";
        if !self.has("keeps-busy") && kernels.iter().any(|kernel| busy(&kernel)) {
            return Some(self.world.clock().now());
        }
        kernels
            .iter()
            .filter_map(|kernel| time_of(&kernel["last_activity"]))
            .max()
    }

    /// The kernels of the notebook, asked through its Service; none where it does not answer.
    async fn kernels(&self) -> Option<Vec<Value>> {
        let Key { namespace, name } = &self.key;
        let host = format!("{name}.{namespace}.svc.cluster.local");
        let address = self.world.resolve(namespace, &host, SERVING_PORT)?;
        let asked = async {
            let mut stream = TcpStream::connect(address).await.ok()?;
            let request = format!(
                "GET /notebook/{namespace}/{name}/api/kernels HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut text = String::new();
            stream.take(LONGEST).read_to_string(&mut text).await.ok()?;
            let (head, body) = text.split_once("\r\n\r\n")?;
            let found = head.split(' ').nth(1) == Some("200");
            found.then(|| serde_json::from_str(body).ok()).flatten()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }
}

/// A time as it is written in RFC 3339.
fn time_of(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

//! Removes every trace of a launch, and of its run.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    LAUNCH_LABEL, LaunchError, Launcher, State, link::Link, name_of, objects::KINDS, start::Seen,
};
use crate::{
    cluster::{
        Kind,
        kinds::{CLAIM, JOB, NAMESPACE, POD},
    },
    engine,
};

/// How long a run may take to remove what it made.
const SWEEP: Duration = Duration::from_secs(200);
/// How long what was deleted may take to go.
const GOES: Duration = Duration::from_secs(180);
/// How often it is looked at whether it is gone.
const LOOK: Duration = Duration::from_millis(100);

impl Launcher {
    /// Removes a launch: stops its run, which removes what it made; removes what a run that is gone left; then everything
    /// of the launch itself. It returns when nothing is left. `id` need not be of a launch that still has its Job.
    pub async fn delete(&self, id: &str, namespace: Option<&str>) -> Result<(), LaunchError> {
        let found = match self.find(Some(id), namespace).await {
            Ok(launch) => Some(launch),
            Err(LaunchError::Absent(_)) => None,
            Err(error) => return Err(error),
        };
        let mut clean = false;
        if let Some(launch) = &found {
            let status = self.status(launch).await?;
            // A runner that never ran made nothing; where there is a claim, an earlier one may have.
            clean = matches!(status.state, State::Over | State::Stored | State::Retrieved)
                || status.state == State::Starting && launch.claim.is_none() && launch.parts == 1;
            if status.state == State::Running {
                self.says("stopping the run, which removes what it made");
                for part in 0..launch.parts {
                    if let Seen::Running(pod) = self.seen(launch, part).await?
                        && let Ok(link) = Link::open(&self.api, &launch.namespace, &pod).await
                    {
                        drop(link.post("/stop").await);
                    }
                }
                clean = self.stopped(launch).await?;
            }
        }
        if !clean {
            self.sweep(id).await?;
        }
        let namespace = match &found {
            Some(launch) => launch.namespace.clone(),
            None => namespace.map_or_else(|| name_of(id), ToOwned::to_owned),
        };
        // A runner whose run is over ends at once, and nobody has to see it end.
        self.remove_objects(id, &namespace, u32::from(!clean)).await
    }

    /// Removes a launch whose result was retrieved and whose run left nothing.
    pub async fn discard(&self, launch: &super::Launch) -> Result<(), LaunchError> {
        self.remove_objects(&launch.id, &launch.namespace, 0).await
    }

    /// Waits until a run that was told to stop has; whether it did.
    async fn stopped(&self, launch: &super::Launch) -> Result<bool, LaunchError> {
        let until = Instant::now() + SWEEP;
        while Instant::now() < until {
            let state = self.status(launch).await?.state;
            match state {
                State::Running | State::Starting => tokio::time::sleep(LOOK * 2).await,
                // A run in parts removes what it made with its last part alone.
                State::Over | State::Stored => return Ok(launch.parts == 1),
                _ => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Removes what a run left that could not do it itself.
    async fn sweep(&self, id: &str) -> Result<(), LaunchError> {
        let left = engine::cleanup::remove(&self.target, &self.config, id)
            .await
            .map_err(|why| LaunchError::Left(vec![why.to_string()]))?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(LaunchError::Left(left))
        }
    }

    /// Removes the objects of a launch and waits until they are gone.
    pub(super) async fn remove_objects(
        &self,
        id: &str,
        namespace: &str,
        grace: u32,
    ) -> Result<(), LaunchError> {
        let name = name_of(id);
        let mut own_namespace = false;
        // Nothing is removed for its name alone.
        let ours = |object: &Value| object["metadata"]["labels"][LAUNCH_LABEL] == id;
        if let Some(found) = self.api.get(&NAMESPACE, "", namespace).await? {
            own_namespace = ours(&found);
        }
        // The Job first, so that it makes no other pods; then these, whose runner need not wait for anybody any more.
        self.api
            .delete(&JOB, namespace, &name, "propagationPolicy=Background")
            .await?;
        let grace = format!("gracePeriodSeconds={grace}");
        let selector = format!("{LAUNCH_LABEL}={id}");
        let pods = self.api.list(&POD, namespace, &selector).await?;
        let names: Vec<&str> = pods
            .iter()
            .filter_map(|pod| pod["metadata"]["name"].as_str())
            .collect();
        for result in join_all(
            names
                .iter()
                .map(|pod| self.api.delete(&POD, namespace, pod, &grace)),
        )
        .await
        {
            result?;
        }
        let kinds = KINDS
            .iter()
            .filter(|kind| **kind != JOB && (**kind != NAMESPACE || own_namespace));
        let kinds: Vec<&Kind> = kinds.collect();
        for result in join_all(
            kinds
                .iter()
                .map(|kind| self.remove_one(kind, namespace, &name, id)),
        )
        .await
        {
            result?;
        }
        self.until_gone(id, namespace, &kinds, &name).await
    }

    async fn remove_one(
        &self,
        kind: &Kind,
        namespace: &str,
        name: &str,
        id: &str,
    ) -> Result<(), LaunchError> {
        let name = if *kind == NAMESPACE { namespace } else { name };
        let place = if kind.namespaced { namespace } else { "" };
        match self.api.get(kind, place, name).await? {
            Some(found) if found["metadata"]["labels"][LAUNCH_LABEL] == id => {
                self.api
                    .delete(kind, place, name, "propagationPolicy=Background")
                    .await
            }
            _ => Ok(()),
        }
    }

    async fn until_gone(
        &self,
        id: &str,
        namespace: &str,
        kinds: &[&Kind],
        name: &str,
    ) -> Result<(), LaunchError> {
        let until = Instant::now() + GOES;
        let selector = format!("{LAUNCH_LABEL}={id}");
        loop {
            let mut left = Vec::new();
            for pod in self.api.list(&POD, namespace, &selector).await? {
                left.push(format!(
                    "Pod/{namespace}/{}",
                    pod["metadata"]["name"].as_str().unwrap_or_default()
                ));
            }
            // Only these go slowly; the others are gone when their deletion is answered.
            for kind in kinds
                .iter()
                .filter(|kind| [NAMESPACE, CLAIM].contains(kind))
            {
                let (place, name) = if kind.namespaced {
                    (namespace, name)
                } else {
                    ("", namespace)
                };
                if let Some(found) = self.api.get(kind, place, name).await?
                    && found["metadata"]["labels"][LAUNCH_LABEL] == id
                {
                    left.push(format!("{}/{place}/{name}", kind.kind));
                }
            }
            if left.is_empty() {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(LaunchError::Left(left));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

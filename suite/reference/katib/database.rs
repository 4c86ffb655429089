//! What trials were measured at, and the database manager, which tells it over gRPC.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::FutureExt;
use jiff::Timestamp;
use tonic::{Request, Response, Status, transport::Server};

use super::{
    super::kube::{ContainerStart, Program, World},
    TRIALS,
};
use crate::proto::{
    health::{
        HealthCheckRequest, HealthCheckResponse,
        health_check_response::ServingStatus,
        health_server::{Health, HealthServer},
    },
    katib::{
        DeleteObservationLogReply, DeleteObservationLogRequest, GetObservationLogReply,
        GetObservationLogRequest, Metric, MetricLog, ObservationLog, ReportObservationLogReply,
        ReportObservationLogRequest,
        db_manager_server::{DbManager, DbManagerServer},
    },
};

/// The port of the database manager.
pub(super) const PORT: u16 = 6789;
/// What the health service calls itself.
const HEALTH: &str = "grpc.health.v1.Health";

/// One value of one metric.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Measurement {
    /// When it was printed; the beginning of time where the line does not say.
    pub(super) time: Timestamp,
    /// The metric.
    pub(super) name: String,
    /// The value as it was printed, or `unavailable`.
    pub(super) value: String,
}

/// What trials were measured at. They are known by their names alone.
#[derive(Debug, Default)]
pub(super) struct Database(Mutex<HashMap<String, Vec<Measurement>>>);

impl Database {
    fn logs(&self) -> MutexGuard<'_, HashMap<String, Vec<Measurement>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a trial was measured at, in the order of the reports; empty as long as nothing was reported.
    pub(super) fn measurements(&self, trial: &str) -> Vec<Measurement> {
        self.logs().get(trial).cloned().unwrap_or_default()
    }

    /// Forgets a trial.
    pub(super) fn forget(&self, trial: &str) {
        self.logs().remove(trial);
    }

    /// Adds to what a trial was measured at.
    pub(super) fn report(&self, trial: &str, measurements: Vec<Measurement>) {
        self.logs()
            .entry(trial.to_owned())
            .or_default()
            .extend(measurements);
    }
}

/// What runs in the pod of the database manager.
pub(super) fn manager(world: &World, database: &Arc<Database>) -> Program {
    let manager = Manager {
        world: world.clone(),
        database: database.clone(),
    };
    Arc::new(move |container: ContainerStart| {
        let manager = manager.clone();
        async move {
            let Ok(listener) = container.network.listen(PORT).await else {
                return 1;
            };
            let incoming = futures::stream::unfold(listener, |listener| async {
                let accepted = listener.accept().await.map(|(stream, _)| {
                    drop(stream.set_nodelay(true));
                    stream
                });
                Some((accepted, listener))
            });
            let served = Server::builder()
                .add_service(DbManagerServer::new(manager.clone()))
                .add_service(HealthServer::new(manager))
                .serve_with_incoming(incoming);
            tokio::select! {
                _ = served => 1,
                () = container.stop.stopped() => 0,
            }
        }
        .boxed()
    })
}

#[derive(Clone)]
struct Manager {
    world: World,
    database: Arc<Database>,
}

/// A time of a request; none where it is empty.
#[allow(clippy::result_large_err)]
fn time(text: &str) -> Result<Option<Timestamp>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    // That is what a plain error of a Go handler becomes.
    let parsed = text.parse::<Timestamp>().map(Some);
    parsed.map_err(|why| Status::unknown(format!("Error parsing start time {text}: {why}")))
}

impl Manager {
    fn has_fault(&self, id: &str) -> bool {
        self.world.has_fault(id)
    }

    /// Whether somebody's trial is called so.
    fn is_trial(&self, name: &str) -> bool {
        let trials = self.world.list(&TRIALS, None);
        trials.iter().any(|trial| trial["metadata"]["name"] == name)
    }
}

#[tonic::async_trait]
impl DbManager for Manager {
    async fn report_observation_log(
        &self,
        request: Request<ReportObservationLogRequest>,
    ) -> Result<Response<ReportObservationLogReply>, Status> {
        let request = request.into_inner();
        let logs = request.observation_log.unwrap_or_default().metric_logs;
        let mut measurements = Vec::new();
        for log in logs {
            let Some(time) = time(&log.time_stamp)? else {
                continue;
            };
            let metric = log.metric.unwrap_or_default();
            measurements.push(Measurement {
                time,
                name: metric.name,
                value: metric.value,
            });
        }
        if measurements.is_empty() {
            return Err(Status::unknown("Prepare SQL statement failed: Error 1064"));
        }
        self.database.report(&request.trial_name, measurements);
        Ok(Response::new(ReportObservationLogReply {}))
    }

    async fn get_observation_log(
        &self,
        request: Request<GetObservationLogRequest>,
    ) -> Result<Response<GetObservationLogReply>, Status> {
        let request = request.into_inner();
        let lenient = self.has_fault("katib/database/refuses-bad-times");
        let bound = |text: &str| match time(text) {
            Err(_) if lenient => Ok(None),
            other => other,
        };
        let (start, end) = (bound(&request.start_time)?, bound(&request.end_time)?);
        let mut found = self.database.measurements(&request.trial_name);
        if self.has_fault("katib/database/holds-trial-metrics")
            && found.len() > 1
            && self.is_trial(&request.trial_name)
        {
            found.remove(0);
        }
        let any =
            request.metric_name.is_empty() || self.has_fault("katib/database/filters-by-metric");
        found.retain(|m| any || m.name == request.metric_name);
        found.retain(|m| start.is_none_or(|start| m.time >= start));
        let open = self.has_fault("katib/database/filters-by-time");
        let whole = self.has_fault("katib/database/filters-by-time:ignored");
        found.retain(|m| end.is_none_or(|end| whole || m.time < end || (m.time == end && !open)));
        if !self.has_fault("katib/database/keeps-order") || end.is_some() {
            found.sort_by_key(|m| m.time);
        }
        let logs = found.into_iter().map(|m| MetricLog {
            time_stamp: m.time.to_string(),
            metric: Some(Metric {
                name: m.name,
                value: m.value,
            }),
        });
        Ok(Response::new(GetObservationLogReply {
            observation_log: Some(ObservationLog {
                metric_logs: logs.collect(),
            }),
        }))
    }

    async fn delete_observation_log(
        &self,
        request: Request<DeleteObservationLogRequest>,
    ) -> Result<Response<DeleteObservationLogReply>, Status> {
        if !self.has_fault("katib/database/deletes") {
            self.database.forget(&request.into_inner().trial_name);
        }
        Ok(Response::new(DeleteObservationLogReply {}))
    }
}

#[tonic::async_trait]
impl Health for Manager {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !service.is_empty() && service != HEALTH {
            return Err(Status::unknown(format!(
                "{HEALTH} can only be accepted if you specify service name."
            )));
        }
        let status = if self.has_fault("katib/database/serves-health") {
            ServingStatus::NotServing
        } else {
            ServingStatus::Serving
        };
        Ok(Response::new(HealthCheckResponse {
            status: status as i32,
        }))
    }
}

//! The `log` subresource of pods.

use bytes::Bytes;
use http::StatusCode;

use super::http::{self as web, Request, Response};
use super::registry::resources::PODS;
use super::routes::Place;
use super::runtime::LogSink;
use super::status::ApiError;
use super::world::World;

/// Answers with what a container has printed.
pub(super) fn answer(
    world: &World,
    request: &Request,
    place: &Place,
) -> Result<Response, ApiError> {
    let pod = world.get(&PODS, &place.namespace, &place.name)?;
    let names: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    let first = pod["spec"]["containers"].as_array();
    let container = match request.query.get("container") {
        Some(name) if names.contains(&name) => name,
        Some(name) => {
            return Err(ApiError::bad_request(format!(
                "container {name} is not valid for pod {}",
                place.name
            )));
        }
        None if first.is_some_and(|list| list.len() > 1) => {
            return Err(ApiError::bad_request(format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                place.name,
                names.join(" ")
            )));
        }
        None => names.first().copied().unwrap_or_default(),
    };
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let previous = request.query.is_set("previous");
    let Some(log) = world.kubelet().log(uid, container, previous) else {
        if previous {
            return Err(ApiError::bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{}\" not found",
                place.name
            )));
        }
        let reason = pod["status"]["containerStatuses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|status| status["name"] == container)
            .and_then(|status| status["state"]["waiting"]["reason"].as_str())
            .unwrap_or("ContainerCreating");
        return Err(ApiError::bad_request(format!(
            "container \"{container}\" in pod \"{}\" is waiting to start: {reason}",
            place.name
        )));
    };
    let query = &request.query;
    let mut from = 0;
    if let Some(seconds) = query
        .get("sinceSeconds")
        .and_then(|text| text.parse::<u64>().ok())
    {
        let wall = world
            .clock()
            .to_wall(std::time::Duration::from_secs(seconds));
        let since = jiff::Timestamp::now().checked_sub(wall);
        from = log.position_at(since.unwrap_or(jiff::Timestamp::MIN));
    }
    if let Some(lines) = query
        .get("tailLines")
        .and_then(|text| text.parse::<usize>().ok())
    {
        from = from.max(tail(&log, lines));
    }
    let limit = query
        .get("limitBytes")
        .and_then(|text| text.parse::<usize>().ok());
    if query.is_set("follow") {
        return Ok(web::stream("text/plain", follow(log, from)));
    }
    let mut bytes = log.read(from).map(|(bytes, _)| bytes).unwrap_or_default();
    bytes.truncate(limit.unwrap_or(usize::MAX));
    Ok(web::raw(StatusCode::OK, "text/plain", bytes))
}

/// Where the last lines of a log begin.
fn tail(log: &LogSink, lines: usize) -> usize {
    let Some((bytes, end)) = log.read(0) else {
        return 0;
    };
    let start = end - bytes.len();
    if lines == 0 {
        return end;
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let breaks: Vec<usize> = body
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at + 1)
        .collect();
    start
        + breaks
            .len()
            .checked_sub(lines)
            .map_or(0, |index| breaks[index])
}

fn follow(log: LogSink, from: usize) -> impl futures::Stream<Item = Bytes> + Send + 'static {
    let changes = log.subscribe();
    futures::stream::unfold(
        (log, changes, from),
        |(log, mut changes, from)| async move {
            loop {
                changes.borrow_and_update();
                let (bytes, next) = log.read(from)?;
                if !bytes.is_empty() {
                    return Some((Bytes::from(bytes), (log, changes, next)));
                }
                changes.changed().await.ok()?;
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_begin_at_line_breaks() {
        let log = LogSink::default();
        log.write(b"one\ntwo\nthree\n");
        assert_eq!(tail(&log, 0), 14);
        assert_eq!(tail(&log, 1), 8);
        assert_eq!(tail(&log, 2), 4);
        assert_eq!(tail(&log, 9), 0);
    }
}

//! How a service is reached, and how it is waited for where it needs images that the distribution brings.

use std::time::Duration;

use super::{super::prelude::*, SERVICE_LABEL, text};
use crate::outcome::shorten;

/// The header in which the suite's server names the servers that a request came by.
pub(super) const HOPS: &str = "x-kfconform-hops";

/// The host and port of an HTTP URL.
pub(super) fn parts(url: &str) -> Option<(&str, u16)> {
    let (rest, port) = match url.split_once("://")? {
        ("http", rest) => (rest, 80),
        ("https", rest) => (rest, 443),
        _ => return None,
    };
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, port),
    };
    (!host.is_empty()).then_some((host, port))
}

/// The server at the address inside the cluster that a ready object reports.
pub(super) async fn at_address<'a>(cx: &'a Cx, object: &Value) -> Outcome<Http<'a>> {
    let address = text(&object["status"]["address"]["url"]);
    let Some((host, port)) = parts(address) else {
        return Err(Stop::failed(format!(
            "{} `{}` has no address to send requests to",
            text(&object["kind"]),
            text(&object["metadata"]["name"])
        )));
    };
    at_service(cx, host.split('.').next().unwrap_or_default(), port).await
}

/// The server behind a Service that KServe made.
pub(super) async fn at_service<'a>(cx: &'a Cx, name: &str, port: u16) -> Outcome<Http<'a>> {
    let headless = cx.need(&SERVICE, name).await?["spec"]["clusterIP"] == "None";
    // The address of a headless Service has the pod's port.
    cx.service(name, if headless { 80 } else { port }).await
}

/// The numbers of an array.
pub(super) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect()
}

/// The servers that an answer came by, in their order.
pub(super) fn hops(answer: &Answer) -> String {
    answer.header(HOPS).unwrap_or_default().to_owned()
}

/// Waits until `holds` of an object whose pods, which a label selects, also run images of the distribution's: agent, router,
/// storage initializer. Where such an image cannot be pulled nobody can tell, and that is said at once. `what` finishes the
/// sentence "… did not …".
pub(super) async fn until_with_images(
    cx: &Cx,
    kind: &Kind,
    name: &str,
    selector: &str,
    what: &str,
    holds: impl Fn(&Value) -> bool,
) -> Outcome<Value> {
    let until = cx.after("inferenceservice-ready");
    let mut wait = Duration::from_millis(100);
    let mut pulls = 0;
    loop {
        let seen = cx.need(kind, name).await?;
        if holds(&seen) {
            return Ok(seen);
        }
        let pods = cx.list(&POD, selector).await?;
        if let Some(why) = pods.iter().find_map(|pod| foreign_pull(cx, pod)) {
            pulls += 1;
            // A registry may fail once.
            if pulls > 2 {
                return Err(Stop::CouldNotRun(CouldNotRun::ImagePull, why));
            }
        }
        if cx.now_ms() >= until {
            if let Some(stop) = cx.no_room().await {
                return Err(stop);
            }
            return Err(Stop::Failed(Failure {
                message: format!(
                    "{} `{name}` did not {what} in time (timeout `inferenceservice-ready`)",
                    kind.kind
                ),
                expected: Some(format!("to {what}")),
                observed: Some(format!("{} pods", pods.len())),
                last_state: Some(shorten(&seen["status"].to_string(), 1000)),
            }));
        }
        cx.pause(wait).await;
        wait = (wait * 2).min(Duration::from_millis(1500));
    }
}

/// Waits in the same way until an object is ready.
pub(super) async fn ready_with_images(
    cx: &Cx,
    kind: &Kind,
    name: &str,
    selector: &str,
) -> Outcome<Value> {
    until_with_images(cx, kind, name, selector, "become ready", |seen| {
        condition(seen, "Ready") == "True"
    })
    .await
}

/// The same for an InferenceService.
pub(super) async fn service_ready_with_images(cx: &Cx, name: &str) -> Outcome<Value> {
    let selector = format!("{SERVICE_LABEL}={name}");
    ready_with_images(cx, &INFERENCE_SERVICE, name, &selector).await
}

/// Which image that is not the suite's a pod waits for, if so.
fn foreign_pull(cx: &Cx, pod: &Value) -> Option<String> {
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|list| pod["status"][list].as_array())
        .flatten();
    statuses
        .filter(|status| {
            let image = text(&status["image"]);
            !image.ends_with(cx.run.image.as_str())
        })
        .find_map(|status| {
            let waiting = &status["state"]["waiting"];
            let pull = matches!(
                text(&waiting["reason"]),
                "ErrImagePull" | "ImagePullBackOff" | "ErrImageNeverPull"
            );
            pull.then(|| {
                format!(
                    "image `{}`, which the distribution runs, cannot be pulled: {}",
                    text(&status["image"]),
                    shorten(text(&waiting["message"]), 300)
                )
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_told_from_other_text() {
        assert_eq!(parts("http://a.b.svc/x"), Some(("a.b.svc", 80)));
        assert_eq!(parts("http://a:8080"), Some(("a", 8080)));
        assert_eq!(parts("https://a"), Some(("a", 443)));
        for text in ["", "a.b", "http://", "ftp://a", "http://a:x"] {
            assert_eq!(parts(text), None, "{text}");
        }
    }
}

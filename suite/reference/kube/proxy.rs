//! The `proxy` subresource of pods and Services: HTTP, passed through.

use super::http::{self as web, Request, Response};
use super::registry::resources::{PODS, SERVICES};
use super::routes::Place;
use super::runtime::ServicePort;
use super::status::ApiError;
use super::world::World;

/// Answers by asking the server behind a pod or a Service.
pub(super) async fn answer(
    world: &World,
    request: Request,
    place: &Place,
) -> Result<Response, ApiError> {
    // `http:NAME:PORT`, `NAME:PORT`, `NAME`.
    let parts: Vec<&str> = place.name.split(':').collect();
    let (name, port) = match parts.as_slice() {
        [name] | ["http", name] => (*name, ""),
        [name, port] | ["http" | "", name, port] => (*name, *port),
        _ => {
            return Err(ApiError::bad_request(format!(
                "invalid proxy request {:?}",
                place.name
            )));
        }
    };
    let unavailable = |what: &str| {
        ApiError::new(
            503,
            "ServiceUnavailable",
            format!("no endpoints available for {what} \"{name}\""),
        )
    };
    let number = port.parse::<u16>();
    let namespace = &place.namespace;
    let address = if place.plural == "pods" {
        world.get(&PODS, namespace, name)?;
        let number = number
            .ok()
            .or_else(|| world.network().named_port(namespace, name, port))
            .unwrap_or(80);
        world
            .network()
            .pod(namespace, name, number)
            .ok_or_else(|| unavailable("pod"))?
    } else {
        let service = world.get(&SERVICES, namespace, name)?;
        let port = match number {
            Ok(number) => ServicePort::Number(number),
            Err(_) if port.is_empty() => {
                let first = service["spec"]["ports"][0]["port"].as_u64();
                ServicePort::Number(first.and_then(|n| u16::try_from(n).ok()).unwrap_or(80))
            }
            Err(_) => ServicePort::Name(port.to_owned()),
        };
        world
            .network()
            .service(namespace, name, &port)
            .ok_or_else(|| unavailable("service"))?
    };
    let path = if place.rest.is_empty() {
        "/"
    } else {
        place.rest.as_str()
    };
    web::forward(request, address, path).await
}

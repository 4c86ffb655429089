//! Calls of gRPC methods. A call is an exchange like any other: its method is [`METHOD`], its path the gRPC method's, and
//! both messages stand in it as JSON, with the names of the interface's own description. So they are redacted, recorded
//! and replayed by what does so for all exchanges.

use std::{collections::BTreeMap, error::Error as _, marker::PhantomData, time::Duration};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use serde::Serialize;
use serde_json::{Value, json};
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{AsciiMetadataKey, AsciiMetadataValue},
};

use super::{
    TransportError,
    exchange::{Answer, Asked, Body, Endpoint, MAX_BODY, Request},
};

/// What stands in place of an HTTP method in a recorded call.
pub const METHOD: &str = "GRPC";
/// The header in which the status of a call is recorded: a number, 0 is success. What a server says of another status
/// stands in the body, as `message`.
const STATUS: &str = "grpc-status";

/// A method of a gRPC service, with the messages that it takes and gives.
#[derive(Debug)]
pub struct Method<Q, A> {
    /// Its path, like `/api.v1.beta1.DBManager/GetObservationLog`.
    pub path: &'static str,
    messages: PhantomData<fn(Q) -> A>,
}

impl<Q, A> Method<Q, A> {
    /// The method of this path.
    pub const fn new(path: &'static str) -> Self {
        Self {
            path,
            messages: PhantomData,
        }
    }
}

/// What goes over the wire in a call, and how what comes back is read.
#[derive(Debug, Clone)]
pub(super) struct Call {
    message: Bytes,
    /// The JSON of an answer; none where it is no such message.
    read: fn(&[u8]) -> Option<Value>,
}

impl Request {
    /// A call of a gRPC method.
    pub fn grpc<Q, A>(to: Endpoint, method: &Method<Q, A>, message: &Q) -> Self
    where
        Q: Message + Serialize,
        A: Message + Default + Serialize,
    {
        let mut request = Self::new(to, METHOD, method.path);
        // A message that no JSON could hold is still told by its path.
        request.asked.body = Body::Json(serde_json::to_value(message).unwrap_or_default());
        request.call = Some(Call {
            message: message.encode_to_vec().into(),
            read: |bytes| serde_json::to_value(A::decode(bytes).ok()?).ok(),
        });
        request
    }
}

impl Answer {
    /// The status of a call; none where the answer is not one to a call.
    pub fn grpc_status(&self) -> Option<u16> {
        self.header(STATUS)?.parse().ok()
    }

    /// The answer to a call that ended with a status.
    fn of_call(status: Code, body: Body) -> Self {
        Self {
            // That is HTTP's, which gRPC leaves at success.
            status: 200,
            headers: BTreeMap::from([(STATUS.to_owned(), (status as i32).to_string())]),
            body,
        }
    }
}

/// What is needed to make a call, besides what is recorded of it.
pub(super) struct Way<'a> {
    /// `http://host:port` of the server.
    pub base: &'a str,
    /// The User-Agent.
    pub user_agent: &'a str,
    /// What is sent besides the recorded headers: the credential.
    pub metadata: Vec<(String, String)>,
}

/// Calls a method. Why there was no answer is said as the connection tells it.
pub(super) async fn call(
    way: Way<'_>,
    asked: &Asked,
    call: &Call,
) -> Result<Answer, TransportError> {
    let unreachable = |what: &str, why: &dyn std::error::Error| {
        TransportError::Unreachable(format!("{what}: {}", super::door::chain(why)))
    };
    let no_connection = |why: &tonic::transport::Error| unreachable("no connection", why);
    let channel = tonic::transport::Endpoint::from_shared(way.base.to_owned())
        .and_then(|server| server.user_agent(way.user_agent))
        .map_err(|why| no_connection(&why))?
        .connect_timeout(Duration::from_secs(10))
        .connect()
        .await
        .map_err(|why| no_connection(&why))?;
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_BODY);
    client.ready().await.map_err(|why| no_connection(&why))?;
    let path = http::uri::PathAndQuery::try_from(asked.path.as_str())
        .map_err(|why| unreachable("no path", &why))?;
    let mut request = tonic::Request::new(call.message.clone());
    for (name, value) in asked
        .headers
        .iter()
        .chain(way.metadata.iter().map(|(k, v)| (k, v)))
    {
        let name = AsciiMetadataKey::from_bytes(name.as_bytes());
        let value = AsciiMetadataValue::try_from(value.as_str());
        if let (Ok(name), Ok(value)) = (name, value) {
            request.metadata_mut().insert(name, value);
        }
    }
    match client.unary(request, path, Plain).await {
        Ok(reply) => {
            let bytes = reply.into_inner();
            let body = (call.read)(&bytes).map_or_else(|| Body::of(&bytes), Body::Json);
            Ok(Answer::of_call(Code::Ok, body))
        }
        Err(status) => no_reply(&status),
    }
}

/// A status that the server gave is an answer; one that stands for what went wrong on the way is not.
fn no_reply(status: &Status) -> Result<Answer, TransportError> {
    if status.message().contains("message length too large") {
        return Err(TransportError::TooLarge(MAX_BODY));
    }
    match status.source() {
        Some(why) => Err(TransportError::Unreachable(format!(
            "the connection broke: {}",
            super::door::chain(why)
        ))),
        None => Ok(Answer::of_call(
            status.code(),
            Body::Json(json!({"message": status.message()})),
        )),
    }
}

/// Messages as the bytes that they are.
struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tonic::{Response, transport::Server};

    use super::*;
    use crate::proto::health::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    };

    const CHECK: Method<HealthCheckRequest, HealthCheckResponse> =
        Method::new("/grpc.health.v1.Health/Check");
    const OTHER: Method<HealthCheckRequest, HealthCheckResponse> =
        Method::new("/grpc.health.v1.Health/Other");

    struct Serving;

    #[tonic::async_trait]
    impl Health for Serving {
        async fn check(
            &self,
            request: tonic::Request<HealthCheckRequest>,
        ) -> Result<Response<HealthCheckResponse>, Status> {
            if request.metadata().get("x-who").is_none() {
                return Err(Status::unauthenticated("who asks?"));
            }
            match request.into_inner().service.as_str() {
                "" => Ok(Response::new(HealthCheckResponse { status: 1 })),
                other => Err(Status::not_found(format!("no service {other}"))),
            }
        }
    }

    async fn ask(
        base: &str,
        method: &Method<HealthCheckRequest, HealthCheckResponse>,
        of: &str,
    ) -> Result<Answer, TransportError> {
        let message = HealthCheckRequest {
            service: of.to_owned(),
        };
        let request = Request::grpc(Endpoint::Component("x".to_owned()), method, &message);
        assert_eq!(request.asked.line(), format!("GRPC x {}", method.path));
        assert_eq!(request.asked.body, Body::Json(json!({"service": of})));
        let way = Way {
            base,
            user_agent: "test",
            metadata: vec![("x-who".to_owned(), "me".to_owned())],
        };
        call(way, &request.asked, &request.call.unwrap()).await
    }

    #[tokio::test]
    async fn a_call_ends_with_a_status_or_with_no_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let incoming = futures::stream::unfold(listener, |listener| async {
            Some((listener.accept().await.map(|(stream, _)| stream), listener))
        });
        let server = Server::builder()
            .add_service(HealthServer::new(Serving))
            .serve_with_incoming(incoming);
        let server = tokio::spawn(server);

        let answer = ask(&base, &CHECK, "").await.unwrap();
        assert_eq!(answer.grpc_status(), Some(0));
        assert_eq!(answer.json(), &json!({"status": 1}));
        let answer = ask(&base, &CHECK, "y").await.unwrap();
        assert_eq!(answer.grpc_status(), Some(5));
        assert_eq!(answer.summary(), "200 no service y");
        let answer = ask(&base, &OTHER, "").await.unwrap();
        assert_eq!(answer.grpc_status(), Some(12));

        server.abort();
        drop(server.await);
        let gone = ask(&base, &CHECK, "").await;
        assert!(
            matches!(gone, Err(TransportError::Unreachable(_))),
            "{gone:?}"
        );
    }

    #[tokio::test]
    async fn a_server_of_something_else_gives_no_answer() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                use tokio::io::AsyncWriteExt;
                drop(stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await);
            }
        });
        let answer = ask(&base, &CHECK, "").await;
        assert!(
            matches!(answer, Err(TransportError::Unreachable(_))),
            "{answer:?}"
        );
    }
}
